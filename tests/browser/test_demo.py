"""The demo house as a newcomer meets it: agents at work within a minute, and a decision that has an effect."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.house import House, running
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

FIRST_ITEM_MS = 120_000


def test_an_item_of_a_demo_agent_comes_within_a_minute_and_its_approval_runs_it(
    strangers: Callable[[House], Visitor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("demo"), has_demo=True) as house:
        visitor = strangers(house)
        visitor.page.goto(house.printed_link)
        visitor.page.get_by_role("button", name="Sign in").click()
        expect(visitor.page.get_by_role("heading", name="wants to")).to_be_visible(timeout=FIRST_ITEM_MS)
        visitor.look()
        hidden = visitor.page.get_by_role("button", name="hidden characters")
        if hidden.is_visible():
            hidden.click()

        visitor.press("Approve")

        visitor.sees("it may run now.")
        visitor.open("/history")
        row = visitor.page.get_by_role("row").filter(has_text="Local operator")
        expect(row).to_contain_text("Approved")
        outcome = row.get_by_text(re.compile(r"^(ran|failed)$"))
        for _ in range(20):
            if outcome.is_visible():
                break
            visitor.open("/history")
        expect(outcome).to_be_visible()
        visitor.page.close()
