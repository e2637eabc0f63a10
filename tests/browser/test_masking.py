"""Masked values: shown to nobody who has not revealed them, and never in the log or the metrics."""

import urllib.request
from http import HTTPStatus

import pytest
from playwright.sync_api import Page, Response, WebSocket, expect

from agents.protocol import ContextEntry, ContextKind, Impact
from review.audit import EventFilter, EventKind
from tests.browser.agent import WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor
from tests.builders import a_request, an_action

pytestmark = pytest.mark.browser

MAIL, KEY = "canary-77@hidden.example", "sk_live_canary77canary77canary77"


def test_a_value_is_masked_until_it_is_revealed_and_reaches_no_log(
    ada: Visitor, house: House, agent: WorkingAgent
) -> None:
    item_id = agent.proposes(
        a_request(
            action=an_action("send_gift", to=MAIL, token=KEY),
            rationale=f"{MAIL} asked for it.",
            context=(ContextEntry(kind=ContextKind.MESSAGE, role="user", content=f"I am {MAIL}, my key is {KEY}"),),
            impact=Impact(subject=MAIL),
        )
    )
    ada.sees("Masked here: e-mail, sensitive value.")

    hidden = ada.page.content()
    expect(ada.button("Approve")).to_be_enabled()
    expect(ada.button("Edit")).to_be_disabled()
    ada.press("Reveal")
    expect(ada.button("Edit")).to_be_enabled()
    ada.sees(KEY)
    shown = ada.page.content()
    ada.press("Approve")
    ada.sees("Approved; it may run now.")

    assert [word in hidden for word in (MAIL, KEY)] == [False, False]
    assert [word in shown for word in (MAIL, KEY)] == [True, True]
    where = EventFilter(kind=EventKind.VALUES_REVEALED, item_id=item_id)
    (event,) = house.store.read(lambda tx: tx.events("default", where, limit=5)).rows
    places = "/to\n/token\ncontext/0/content\nimpact/subject\nrationale"
    assert (event.actor.name, event.data["places"]) == ("Ada Lovelace", places)
    with urllib.request.urlopen(f"{house.url}/metrics") as answer:  # noqa: S310 -- our own address
        told = answer.read().decode() + house.log.read_text(encoding="utf-8")
    assert "signoff_decisions" in told
    assert "canary" not in told


class Wire:
    """All that a tab is told of items from now on: by the route of its sitting, and over its sockets."""

    def __init__(self, page: Page) -> None:
        self._responses: list[Response] = []
        self._frames: list[bytes] = []
        page.on("response", self._answered)
        page.on("websocket", self._opened)

    def told(self) -> bytes:
        """Return what was sent so far."""
        return b"".join([*(answer.body() for answer in self._responses), *self._frames])

    def _answered(self, response: Response) -> None:
        if "/sittings/" in response.url and response.status == HTTPStatus.OK:
            self._responses.append(response)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._came)

    def _came(self, frame: str | bytes) -> None:
        self._frames.append(frame.encode() if isinstance(frame, str) else frame)


def test_a_value_beside_the_arguments_is_sent_to_nobody_who_has_not_revealed_it(
    ada: Visitor, house: House, agent: WorkingAgent
) -> None:
    ada.open("/history")
    wire = Wire(ada.page)
    item_id = agent.proposes(
        a_request(
            action=an_action(order_id="A-1001"),
            context=(ContextEntry(kind=ContextKind.RECORD, title=f"Mail of {MAIL}", content=f'{{"from": "{MAIL}"}}'),),
        )
    )
    ada.open(f"/history?item={item_id}")
    ada.sees("Masked outside the arguments: e-mail.")
    read = ada.page.content()
    ada.page.get_by_role("link", name="Review", exact=True).click()
    expect(ada.button("Approve")).to_be_enabled()
    ada.sees("Masked outside the arguments: e-mail.")
    expect(ada.button("Edit")).to_be_enabled()

    hidden, sent = read + ada.page.content(), wire.told()
    ada.press("Reveal")
    expect(ada.page.get_by_text(MAIL)).to_have_count(2)
    expect(ada.button("Reveal")).to_have_count(0)
    ada.go("Audit")
    ada.sees("Values revealed")

    assert sent.count(b"outside the arguments") > 1
    assert (MAIL in hidden, MAIL.encode() in sent) == (False, False)
    where = EventFilter(kind=EventKind.VALUES_REVEALED, item_id=item_id)
    (event,) = house.store.read(lambda tx: tx.events("default", where, limit=5)).rows
    assert (event.actor.name, event.data["places"]) == ("Ada Lovelace", "context/0/title\ncontext/0/content")
