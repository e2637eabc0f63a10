"""Agents whose model says what the test wrote down, and the reviewer who decides on what they propose."""

import threading
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, StructuredTool

from agents import Gate
from agents.protocol import Action, ActionStatus, Args, Decision, Edit, Outcome
from review.desk import Seen
from review.items import ReasonCode, ReviewItem
from review.policy import Autonomy, PolicyDocument, ToolRule
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

AGENT = "shopper"


class Scripted(GenericFakeChatModel):
    """A model that says what the test wrote down."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":  # noqa: ANN401, ARG002 -- as BaseChatModel
        return self


class Ledger:
    """What the tools of these tests do: they write down what they were called with."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str]] = []

    def tool(self) -> BaseTool:
        def refund(order_id: str, amount: str) -> str:
            """Refund an order."""
            self.runs.append((order_id, amount))
            return f"Refunded {amount} on {order_id}."

        return StructuredTool.from_function(refund)


def scripted(*said: AIMessage | str) -> Scripted:
    return Scripted(messages=iter(said))


def refunds(*orders: str, amount: str = "49.00") -> AIMessage:
    """The model proposes to refund these orders, in one step."""
    calls = [{"order_id": order, "amount": amount} for order in orders]
    return AIMessage(
        "", tool_calls=[{"name": "refund", "args": args, "id": f"call_{args['order_id']}"} for args in calls]
    )


def a_gate(console: Console, clock: MovableClock, **settings: Any) -> Gate:  # noqa: ANN401 -- any of the gate's
    usual = {"timeout": PATIENCE_SECONDS, "clock": lambda: clock().timestamp()}
    return Gate(console.url, console.agent_key(AGENT), **{**usual, **settings})


def decide_each(
    console: Console,
    decisions: dict[str, Decision],
    *,
    reason_codes: tuple[ReasonCode, ...] = (),
    by: str = "order_id",
) -> dict[str, ReviewItem]:
    """Decide on one call of each order as it comes to the desk; return the items as they were decided.

    ``by`` is the argument that names the order.
    """
    decided: dict[str, ReviewItem] = {}
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        item = console.desk.claim(console.person)
        if item is not None:
            order = str(item.request.action.args[by])
            decided[order] = console.desk.decide(
                item.id, decisions[order], console.person, seen=Seen.of(item), reason_codes=reason_codes
            )
            if len(decided) == len(decisions):
                return decided
        else:
            pause.wait(0.01)
    pytest.fail("nothing came to the desk")


def edited(order_id: str, **args: str) -> Edit:
    changed: Args = {"order_id": order_id, "amount": "49.00", **args}
    return Edit(edited_action=Action(name="refund", args=changed))


def let_run(console: Console, *tools: str) -> None:
    """Let the agent use these tools without asking anybody."""
    rules = tuple(ToolRule(agent=AGENT, tool=name, autonomy=Autonomy.AUTONOMOUS) for name in tools)
    console.save_policy(PolicyDocument(tools=rules, audit_rate=0.0))


def outcome(console: Console, gate: Gate) -> Outcome:
    """Return what the agent reported of its latest item."""
    reported = console.desk.whole(console.person, items(gate)[0].id).item.outcome
    assert reported is not None, "nothing was reported"
    return reported


def items(gate: Gate) -> tuple[ActionStatus, ...]:
    return gate.client.send(gate.client.items()).items
