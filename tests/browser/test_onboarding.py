"""The first run: from an empty desk to the first decision, and then out of the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from review.people import Person, Role
from tests.browser.agent import WorkingAgent
from tests.browser.house import House, running
from tests.browser.visitor import Visitor
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.browser


def come(house: House, visitor: Visitor, *roles: Role) -> Visitor:
    person = Person("https://id.example.com", uuid7().hex, "Ada Lovelace", frozenset(roles))
    visitor.page.goto(house.link(person))
    visitor.button("Sign in").click()
    visitor.wait()
    return visitor


def test_the_first_run_leads_from_a_key_to_a_decision_and_can_be_hidden(
    strangers: Callable[[House], Visitor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("first")) as house, ThreadPoolExecutor() as beside:
        grace = come(house, strangers(house), Role.REVIEWER)
        grace.sees("Nothing is waiting for you")
        expect(grace.button("Connect your first agent")).to_have_count(0)
        grace.page.close()
        ada, mary = come(house, strangers(house), *Role), come(house, strangers(house), Role.ADMIN)
        steps = ada.page.get_by_role("heading", name="The way to your first decision")
        mary.open("/agents")
        mary.press("Hide these steps")
        expect(mary.page.get_by_role("heading", name="The way to your first decision")).to_have_count(0)
        expect(mary.button("Make a key")).to_be_visible()
        mary.page.close()

        ada.press("Connect your first agent")
        expect(steps).to_be_visible()
        ada.write("The agent's name", "shop", leaves=False)
        ada.press("Make a key")
        line = ada.page.get_by_test_id("stCode").filter(has_text="export SIGNOFF_KEY=").inner_text()
        ada.sees("Waiting for its first action…")
        ada.press("I have copied it")
        agent = WorkingAgent("shop", house.url, line.strip().removeprefix("export SIGNOFF_KEY="), beside)
        answer = agent.calls()

        expect(ada.page.get_by_text("Waiting for its first action…")).to_have_count(0)
        ada.press("Go to your first decision")
        ada.sees("R-1042")
        ada.press("Approve")
        assert answer.result(PATIENCE_SECONDS) == "Refunded 49.00 on R-1042."
        ada.go("Agents")
        expect(steps).to_have_count(0)
        agent.gate.close()
