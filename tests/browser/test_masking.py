"""Masked values: shown to nobody who has not revealed them, and never in the log or the metrics."""

import urllib.request

import pytest
from playwright.sync_api import expect

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
    assert (event.actor.name, event.data["places"]) == ("Ada Lovelace", "/to\n/token")
    with urllib.request.urlopen(f"{house.url}/metrics") as answer:  # noqa: S310 -- our own address
        told = answer.read().decode() + house.log.read_text(encoding="utf-8")
    assert "signoff_decisions" in told
    assert "canary" not in told
