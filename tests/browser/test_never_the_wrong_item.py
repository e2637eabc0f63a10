"""Never the wrong item: after slips, cuts, reloads and restarts what was painted is settled, once, or nothing is."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from agents.protocol import Approve, Reject, Status
from pages.headers import HEADERS
from review.people import Person, Role
from tests.browser.agent import CALL, WorkingAgent
from tests.browser.house import House, running
from tests.browser.visitor import A_LOOK_MS, PATIENCE_MS, Visitor
from tests.builders import a_request, an_action
from tests.outside import a_port

pytestmark = pytest.mark.browser

MESSAGE = "What the agent should know (optional with a reason)"
grace = Person("https://id.example.com", "grace", "Grace Hopper", frozenset(Role))


class Line:
    """The way between a tab and its server, which can be cut, and mended again."""

    def __init__(self, visitor: Visitor) -> None:
        self._is_cut = False
        self._open: list[WebSocketRoute] = []
        visitor.page.route_web_socket("**/_stcore/stream", self._opened)
        visitor.page.route("**/sittings/*", self._asked)
        visitor.page.reload()

    def _asked(self, route: Route) -> None:
        if self._is_cut:
            route.abort()
        else:
            route.continue_()

    def _opened(self, socket: WebSocketRoute) -> None:
        if self._is_cut:
            socket.close()
            return
        socket.connect_to_server()
        self._open.append(socket)

    def cut(self) -> None:
        self._is_cut = True
        while self._open:
            self._open.pop().close()

    def mend(self) -> None:
        self._is_cut = False


def orders(agent: WorkingAgent, count: int) -> None:
    for number in range(1, count + 1):
        agent.proposes(a_request(action=an_action(**{**CALL, "order_id": f"R-{number:04}"})))


def press(visitor: Visitor, name: str) -> None:
    """Press the button as soon as a press counts, with or without a server."""
    for _ in range(PATIENCE_MS // A_LOOK_MS):
        # Not waited for inside the page: the page lets no text be run as a script.
        left = A_LOOK_MS - float(visitor.page.evaluate("performance.now() - window.stillSince"))
        if left < 0:
            break
        visitor.page.wait_for_timeout(left + 1)
    visitor.button(name).click()


def is_told_the_loss(visitor: Visitor) -> bool:
    """Return whether the page says that its connection is lost, within the time that is given to everything."""
    app = "getComputedStyle(document.querySelector('.stApp'), '::after')"
    for _ in range(PATIENCE_MS // A_LOOK_MS):
        if visitor.page.evaluate(f"{app}.visibility === 'visible' && {app}.content.includes('connection is lost')"):
            return True
        visitor.page.wait_for_timeout(A_LOOK_MS)
    return False


def statuses(agent: WorkingAgent) -> list[Status]:
    return sorted(item.status for item in agent.items())


def test_the_next_item_is_painted_before_the_server_knows_of_the_press(ada: Visitor, agent: WorkingAgent) -> None:
    orders(agent, 4)
    ada.open()  # Else she may have been given the first before the next had come, and be told of that one only later.
    ada.sees("R-0001")
    ada.look()

    painted = ada.page.evaluate(
        """() => {
          document.querySelector('.focus-bar .primary').click();
          return document.querySelector('.focus-main').innerText;
        }"""
    )

    assert "R-0002" in painted
    ada.sees("Approved; it may run now.")
    ada.look()
    assert statuses(agent) == [Status.CLAIMED, Status.CLAIMED, Status.SETTLED, Status.WAITING]


def test_what_is_decided_while_the_connection_is_lost_is_settled_once_when_it_is_back(
    ada: Visitor, agent: WorkingAgent
) -> None:
    orders(agent, 4)
    line = Line(ada)
    ada.sees("R-0001")
    line.cut()

    press(ada, "Approve")
    ada.sees("R-0002")
    ada.sees("not confirmed yet")
    assert Status.SETTLED not in statuses(agent)
    line.mend()

    ada.sees("Approved; it may run now.")
    expect(ada.page.get_by_text("not confirmed yet")).to_have_count(0)
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0002")
    (settled,) = [item for item in agent.items() if item.status is Status.SETTLED]
    assert isinstance(settled.decision, Approve)
    assert statuses(agent).count(Status.CLAIMED) == 2


def test_a_decision_that_comes_too_late_is_refused_and_what_was_written_is_shown(
    ada: Visitor, agent: WorkingAgent
) -> None:
    orders(agent, 4)
    line = Line(ada)
    ada.sees("R-0001")
    ada.press("Reject")
    ada.write(MESSAGE, "Not this one.", leaves=False)
    line.cut()
    client = agent.gate.client
    (first,) = [item.id for item in agent.items() if item.status is Status.CLAIMED][-1:]
    client.send(client.cancel(first))

    press(ada, "Reject")
    ada.sees("R-0002")
    line.mend()

    ada.sees("This item is already cancelled; nothing was changed.")
    ada.sees("You had written: Not this one.")
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0002")
    assert Status.SETTLED not in statuses(agent)


def test_what_is_decided_comes_by_the_page_where_the_route_leads_to_another_server(
    ada: Visitor, agent: WorkingAgent
) -> None:
    orders(agent, 3)
    ada.page.route("**/sittings/*", lambda route: route.fulfill(status=410, headers=HEADERS))
    ada.sees("R-0001")

    press(ada, "Approve")
    ada.sees("Approved; it may run now.")
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0002")
    press(ada, "Approve")
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0003")
    press(ada, "Approve")

    ada.sees("Nothing is waiting for you")
    assert statuses(agent) == [Status.SETTLED] * 3
    orders(agent, 1)
    ada.sees("R-0001")


def test_a_reload_keeps_what_was_typed(ada: Visitor, agent: WorkingAgent) -> None:
    orders(agent, 3)
    ada.sees("R-0001")
    ada.press("Reject")
    ada.page.get_by_role("button", name="Unsafe").click()
    ada.write(MESSAGE, "Half a thought", leaves=False)
    ada.look()

    ada.page.reload()

    expect(ada.page.get_by_role("textbox", name=MESSAGE)).to_have_value("Half a thought")
    expect(ada.button("Unsafe")).to_have_attribute("aria-pressed", "true")
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0001")
    ada.press("Reject")
    ada.sees("Rejected; it will not run, and the agent is told why.")
    (settled,) = [item for item in agent.items() if item.status is Status.SETTLED]
    assert settled.decision == Reject(message="Half a thought")


def test_clicks_in_a_row_settle_the_one_item_that_was_looked_at(ada: Visitor, agent: WorkingAgent) -> None:
    orders(agent, 5)
    ada.sees("R-0001")
    ada.look()

    ada.button("Approve").click(click_count=4)

    ada.sees("Approved; it may run now.")
    ada.look()
    expect(ada.page.locator(".focus-main")).to_contain_text("R-0002")
    assert statuses(agent).count(Status.SETTLED) == 1


def test_who_leaves_the_screen_gives_back_the_item_that_follows(ada: Visitor, agent: WorkingAgent) -> None:
    orders(agent, 3)
    ada.open()  # Else she may have been given the first before the next had come.
    ada.sees("R-0001")
    ada.look()
    assert statuses(agent) == [Status.CLAIMED, Status.CLAIMED, Status.WAITING]

    ada.go("Queue")

    assert statuses(agent) == [Status.CLAIMED, Status.WAITING, Status.WAITING]


@pytest.fixture
def port() -> Iterator[int]:
    with a_port() as port:
        yield port


@pytest.mark.long
def test_a_restart_of_the_server_loses_and_doubles_nothing(
    strangers: Callable[[House], Visitor], tmp_path_factory: pytest.TempPathFactory, port: int
) -> None:
    folder = tmp_path_factory.mktemp("restarted")
    with running(folder, port=port) as house, ThreadPoolExecutor() as beside:
        agent = WorkingAgent("shop", house.url, key := house.agent_key("shop"), beside)
        orders(agent, 4)
        visitor = strangers(house)
        visitor.page.goto(house.link(grace))
        visitor.button("Sign in").click()
        visitor.sees("R-0001")
        press(visitor, "Reject")
        visitor.write(MESSAGE, "The house never refunds gift cards.", leaves=False)
        agent.gate.close()

    press(visitor, "Reject")
    visitor.sees("R-0002")
    visitor.sees("not confirmed yet")
    assert is_told_the_loss(visitor)

    with running(folder, port=port) as house, ThreadPoolExecutor() as beside:
        visitor.sees("Rejected; it will not run, and the agent is told why.")
        expect(visitor.page.locator(".focus-main")).to_contain_text("R-0002")
        agent = WorkingAgent("shop", house.url, key, beside)
        (settled,) = [item for item in agent.items() if item.status is Status.SETTLED]
        assert settled.decision == Reject(message="The house never refunds gift cards.")
        assert statuses(agent).count(Status.CLAIMED) == 2
        agent.gate.close()
        visitor.page.close()
