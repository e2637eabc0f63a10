"""Undo in Review: what was decided a moment ago is taken back by key or button, after a reload as well."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from agents.protocol import Status
from review.items import ItemFilter, PendingDecision
from review.people import Person, Role
from tests.browser.agent import WorkingAgent
from tests.browser.house import House, running
from tests.browser.visitor import Visitor


def kept(house: House) -> tuple[Status, PendingDecision | None, int]:
    (item,) = house.store.read(lambda tx: tx.whole_items("default", ItemFilter(), limit=5)).rows
    return item.status, item.pending, item.epoch


def test_a_decision_is_taken_back_by_key_and_by_button(
    tmp_path_factory: pytest.TempPathFactory, strangers: Callable[[House], Visitor]
) -> None:
    with (
        running(tmp_path_factory.mktemp("patient"), settings={"SIGNOFF_UNDO_SECONDS": "300"}) as house,
        ThreadPoolExecutor() as beside,
    ):
        agent = WorkingAgent("shop", house.url, house.agent_key("shop"), beside)
        ada = strangers(house)
        ada.page.goto(house.link(Person("https://id.example.com", uuid7().hex, "Ada Lovelace", frozenset(Role))))
        ada.button("Sign in").click()
        agent.calls()
        expect(ada.button("Approve")).to_be_enabled()

        ada.press("Approve")
        ada.sees("Approved: refund_order")
        ada.sees("Nothing is waiting for you")
        ada.open()
        ada.sees("Nothing is waiting for you")
        ada.sees("Approved: refund_order")
        ada.look()
        ada.page.keyboard.press("u")
        expect(ada.button("Approve")).to_be_enabled()
        expect(ada.button("Undo")).to_have_count(0)
        by_key = kept(house)

        ada.press("Edit")
        ada.press("Back")
        ada.press("Approve")

        ada.press("Undo")
        expect(ada.button("Approve")).to_be_enabled()
        by_button = kept(house)

        ada.press("Edit")
        ada.write("amount", "12.50")
        ada.press("Approve with these changes")
        ada.sees("Nothing is waiting for you")
        ada.press("Undo")
        ada.sees("Changed: amount")
        expect(ada.page.get_by_role("textbox", name="amount", exact=True)).to_have_value("12.50")

        agent.ends()
        agent.gate.close()
    assert (by_key, by_button) == ((Status.CLAIMED, None, 2), (Status.CLAIMED, None, 3))
    assert agent.runs == []
