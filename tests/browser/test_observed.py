"""An observed action on the screens: nobody is asked to let it run, and what is decided makes a label."""

import pytest
from langchain_core.tools import StructuredTool
from playwright.sync_api import expect

from agents.protocol import Execution
from review.items import ItemFilter, Purpose, ReviewItem
from tests.browser.agent import ABOUT, WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser


def test_an_observed_call_ran_already_and_is_judged_without_any_effect(
    house: House, ada: Visitor, agent: WorkingAgent
) -> None:
    def refund_order(order_id: str, amount: str) -> str:
        """Refund an order."""
        agent.runs.append({"order_id": order_id, "amount": amount})
        return f"Refunded {amount} on {order_id}."

    watched = agent.gate.observe(StructuredTool.from_function(refund_order), **ABOUT)
    assert watched.invoke({"order_id": "R-1042", "amount": "49.00"}) == "Refunded 49.00 on R-1042."
    ada.sees("Observed: nothing waits for this.")
    ada.sees("Why a person would have had to look")
    expect(ada.button("Ask the agent")).to_have_count(0)

    ada.press("Approve")

    ada.sees("Noted. Nothing waited for it; your decision is kept as a label.")
    (item,) = observed(house, agent)
    assert item.settled_by == "Ada Lovelace"
    assert (item.execution, item.receipt) == (Execution.NONE, None)
    assert agent.runs == [{"order_id": "R-1042", "amount": "49.00"}]
    ada.go("History")
    ada.sees("only observed")


def observed(house: House, agent: WorkingAgent) -> tuple[ReviewItem, ...]:
    where = ItemFilter(purpose=Purpose.SHADOW, agent=agent.name)
    return house.store.read(lambda tx: tx.whole_items("default", where, limit=10)).rows
