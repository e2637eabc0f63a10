"""The gate: without a session nobody sees a screen, on any address; a link opens one session, signing out ends it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from agents.protocol import Status
from pages.requests import cookie_name
from review.people import Person, Role
from review.sessions import LOCAL_OPERATOR
from tests.browser.agent import WorkingAgent
from tests.browser.house import House, running
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

ADDRESSES = (
    *("/", "/review", "/queue", "/history", "/labels", "/audit", "/agents", "/policy", "/people"),
    *("/review_page", "/audit_page", "/people_page", "/console", "/admin"),
)
EXPORTS = ("audit.csv", "decisions.csv", "labels.csv", "labels.jsonl", "labels-hf.zip")
GATE = "You are signed out"


def shows_only_the_gate(visitor: Visitor) -> None:
    expect(visitor.page.get_by_role("heading", name=GATE)).to_be_visible()
    expect(visitor.page.get_by_test_id("stMain")).to_have_text(
        f"{GATE}Open the sign-in link that the server printed, or ask for a fresh one on its machine:python app.py link"
    )
    for screen in ("Queue", "History", "Labels", "Audit", "Agents", "Policy", "People"):
        expect(visitor.page.get_by_role("link", name=screen)).to_have_count(0)


def test_a_console_that_has_drawn_nothing_yet_shows_strangers_the_gate_on_every_address(
    strangers: Callable[[House], Visitor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("cold")) as house:
        first = strangers(house)
        visitors = [first, *(Visitor(house, first.page.context.new_page()) for _ in ADDRESSES[1:])]
        # The last of them are asked for first: a page's own script must not run even as the very first one.
        for visitor, address in zip(visitors, reversed(ADDRESSES), strict=True):
            visitor.page.goto(house.url + address, wait_until="commit")

        for visitor in visitors:
            shows_only_the_gate(visitor)
            visitor.page.close()


@pytest.mark.parametrize("address", ["/", "/queue", "/policy", "/review_page"])
def test_a_forged_cookie_opens_nothing(stranger: Visitor, address: str) -> None:
    stranger.page.context.add_cookies(
        [{"name": cookie_name(is_secure=False), "value": "A" * 43, "url": stranger.house.url}]
    )

    stranger.open(address)

    shows_only_the_gate(stranger)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_stranger_downloads_nothing(stranger: Visitor, name: str) -> None:
    answer = stranger.page.context.request.get(f"{stranger.house.url}/download/{name}")

    assert (answer.status, answer.text()) == (401, "Sign in first.")


def test_the_printed_link_signs_in_one_browser_once(
    stranger: Visitor, strangers: Callable[[House], Visitor], house: House
) -> None:
    stranger.page.goto(house.printed_link)
    stranger.page.reload()  # A preview of the link must not use it up.
    stranger.page.get_by_role("button", name="Sign in").click()
    stranger.sees("Nothing is waiting for you")
    late = strangers(house)

    late.page.goto(house.printed_link)
    late.page.get_by_role("button", name="Sign in").click()

    late.sees("This link does not work any more")
    late.open()
    shows_only_the_gate(late)
    stranger.press("Account")
    stranger.sees(LOCAL_OPERATOR.name)


def test_the_cookie_is_out_of_reach_for_scripts(ada: Visitor) -> None:
    cookie = ada.page.context.cookies()[0]

    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (cookie_name(is_secure=False), True, "Lax")
    assert cookie_name(is_secure=False) not in ada.page.evaluate("document.cookie")


def test_signing_out_empties_the_review_in_another_tab(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    ada.sees("R-1042")
    other = ada.another_tab()
    other.sees("R-1042")
    ada.press("Account")
    ada.button("Sign out").click()

    shows_only_the_gate(ada)
    shows_only_the_gate(other)
    assert [item.status for item in agent.items()] == [Status.CLAIMED]
    assert agent.runs == []


def test_signing_out_empties_another_tab_that_nobody_touches(ada: Visitor, agent: WorkingAgent) -> None:
    agent.calls()
    other = ada.another_tab("/queue")
    other.sees(agent.name)
    ada.press("Account")
    ada.button("Sign out").click()

    shows_only_the_gate(ada)
    shows_only_the_gate(other)


def test_a_person_ends_the_sessions_of_their_other_browsers_by_keyboard(
    house: House, strangers: Callable[[House], Visitor]
) -> None:
    person = Person("https://id.example.com", uuid7().hex, "Mary Somerville", frozenset(Role))
    mary, *others = (strangers(house) for _ in range(3))
    for each in (mary, *others):
        each.page.goto(house.link(person))
        each.page.get_by_role("button", name="Sign in").click()
        each.wait()
    mary.open("/queue")
    mary.button("Account").focus()
    mary.page.keyboard.press("Enter")
    mary.button("Your sessions…").focus()
    mary.look()
    mary.page.keyboard.press("Enter")
    dialog = mary.page.get_by_role("dialog")
    expect(dialog.get_by_text("Another browser")).to_have_count(2)
    expect(dialog.get_by_text("This browser")).to_have_count(1)

    for name, left in (("Sign out there", 1), ("Sign out there", 0)):
        dialog.get_by_role("button", name=name).first.focus()
        mary.look()
        mary.page.keyboard.press("Enter")
        expect(dialog.get_by_text("Another browser")).to_have_count(left)

    expect(dialog.get_by_text("You are signed in nowhere else.")).to_be_visible()
    for other in others:
        other.open("/queue")
        shows_only_the_gate(other)
    mary.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    mary.open("/queue")
    expect(mary.page.get_by_role("heading", name="Queue", level=1)).to_be_visible()
