"""The words handed back to a model: they stop one that repeats its call, and one that would undo an edit, everywhere.

The model of these tests does what it likes until it is told not to, in so many words, by the latest tool message.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain.agents.middleware.human_in_the_loop import InterruptMode
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from agents import Breaker, Gate, RunPlan
from agents.gate import EDIT_NOTICE
from agents.langgraph import GraphDesk
from agents.protocol import Decision, Reject, Respond, Route, Status
from review.items import ReasonCode
from review.policy import PolicyDocument, Rule
from tests.agents.desk import Ledger, a_gate, decide_each, edited, items, let_run
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS, eventually

STUBBORN_TURNS = 4

_TOLD_NOT_TO_REPEAT = re.compile(r"do not make (this|your own) call again", re.IGNORECASE)
_TOLD_NOT_TO_UNDO = re.compile(r"do not undo", re.IGNORECASE)

AnAgent = CompiledStateGraph[Any, Any, Any, Any]
Converse = Callable[[Gate, BaseTool, BaseChatModel], list[BaseMessage]]


class Stubborn(BaseChatModel):
    """Makes its call again and again, until the latest tool message tells it not to; some time it tires."""

    forbidden: re.Pattern[str] = _TOLD_NOT_TO_REPEAT

    @property
    def _llm_type(self) -> str:
        return "stubborn"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Stubborn":  # noqa: ANN401, ARG002 -- as BaseChatModel
        return self

    def _generate(self, messages: list[BaseMessage], *_: object, **__: object) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        last = messages[-1]
        is_stopped = isinstance(last, ToolMessage) and self.forbidden.search(str(last.content)) is not None
        if is_stopped or turn >= STUBBORN_TURNS:
            said = AIMessage("I leave it at that.")
        else:
            call = {"name": "refund", "args": {"order_id": "R-1", "amount": "49.00"}, "id": f"call_{turn}"}
            said = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


ASKED: dict[str, Any] = {"messages": [HumanMessage("Refund it.")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}


def conversed(tool: BaseTool, model: BaseChatModel, *middleware: AgentMiddleware[Any, Any, Any]) -> list[BaseMessage]:
    agent: AnAgent = create_agent(model, [tool], middleware=middleware)
    return list(agent.invoke(ASKED)["messages"])


def guarded(gate: Gate, plain: BaseTool, model: BaseChatModel) -> list[BaseMessage]:
    return conversed(gate.guard(plain), model)


def by_middleware(gate: Gate, plain: BaseTool, model: BaseChatModel) -> list[BaseMessage]:
    return conversed(plain, model, gate.middleware())


def interrupted(mode: InterruptMode) -> Converse:
    def converse(gate: Gate, plain: BaseTool, model: BaseChatModel) -> list[BaseMessage]:
        hitl = HumanInTheLoopMiddleware(interrupt_on={"refund": True}, interrupt_mode=mode, edit_notice=EDIT_NOTICE)
        agent: AnAgent = create_agent(model, [plain], middleware=[hitl], checkpointer=InMemorySaver())
        return list(GraphDesk(gate, agent).run(ASKED, THREAD)["messages"])

    return converse


by_adapter = pytest.mark.parametrize(
    "converse",
    [guarded, by_middleware, interrupted("batched"), interrupted("per_call")],
    ids=["guard", "middleware", "desk, batched", "desk, per call"],
)


def calls(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.tool_calls) for message in messages if isinstance(message, AIMessage))


def test_the_model_is_stubborn_where_nobody_tells_it_anything(ledger: Ledger) -> None:
    messages = conversed(ledger.tool(), Stubborn())

    assert calls(messages) == STUBBORN_TURNS
    assert len(ledger.runs) == STUBBORN_TURNS


@by_adapter
@pytest.mark.parametrize(
    "decision",
    [Reject(message="Never paid."), Reject(), Respond(message="Refunded yesterday."), edited("R-1", amount="10.00")],
    ids=["reject", "reject without a word", "respond", "edit"],
)
def test_a_call_that_a_person_decided_is_not_made_again(
    console: Console,
    gate: Gate,
    ledger: Ledger,
    beside: ThreadPoolExecutor,
    converse: Converse,
    decision: Decision,
) -> None:
    conversation = beside.submit(converse, gate, ledger.tool(), Stubborn())

    decide_each(console, {"R-1": decision}, reason_codes=(ReasonCode.NOT_ALLOWED,))

    messages = conversation.result(PATIENCE_SECONDS)

    assert calls(messages) == 1
    assert len(items(gate)) == 1
    assert ledger.runs == ([("R-1", "10.00")] if decision.type == "edit" else [])


@by_adapter
def test_an_edit_is_not_undone(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor, converse: Converse
) -> None:
    conversation = beside.submit(converse, gate, ledger.tool(), Stubborn(forbidden=_TOLD_NOT_TO_UNDO))

    decide_each(console, {"R-1": edited("R-1", amount="10.00")})

    messages = conversation.result(PATIENCE_SECONDS)
    assert calls(messages) == 1
    assert ledger.runs == [("R-1", "10.00")]


@by_adapter
def test_a_call_that_the_policy_denies_is_not_made_again(
    console: Console, gate: Gate, ledger: Ledger, converse: Converse
) -> None:
    rule = Rule(name="closed", when="true", route=Route.DENY, reason="Refunds are closed today.")
    console.save_policy(PolicyDocument(rules=(rule,)))

    messages = converse(gate, ledger.tool(), Stubborn())

    assert calls(messages) == 1
    assert (len(items(gate)), ledger.runs) == (1, [])


@by_adapter
def test_a_call_that_expired_is_not_made_again(
    console: Console,
    gate: Gate,
    ledger: Ledger,
    beside: ThreadPoolExecutor,
    clock: MovableClock,
    converse: Converse,
) -> None:
    conversation = beside.submit(converse, gate, ledger.tool(), Stubborn())
    assert eventually(lambda: len(items(gate)) == 1)

    clock.advance(timedelta(days=2))
    console.intake.sweep()

    assert calls(conversation.result(PATIENCE_SECONDS)) == 1
    assert [each.status for each in items(gate)] == [Status.EXPIRED]
    assert ledger.runs == []


@pytest.mark.parametrize("converse", [guarded, by_middleware], ids=["guard", "middleware"])
def test_a_call_that_was_withdrawn_is_not_made_again(
    console: Console, clock: MovableClock, ledger: Ledger, converse: Converse
) -> None:
    with a_gate(console, clock, timeout=0.2) as gate:
        messages = converse(gate, ledger.tool(), Stubborn())

        assert calls(messages) == 1
        assert [each.status for each in items(gate)] == [Status.CANCELLED]


def test_a_run_that_did_not_come_back_is_not_made_again(console: Console, gate: Gate) -> None:
    let_run(console, "refund")
    go_on = threading.Event()

    def refund(order_id: str, amount: str) -> str:
        """Refund an order, some day."""
        go_on.wait(PATIENCE_SECONDS)
        return f"Refunded {amount} on {order_id}."

    plain = StructuredTool.from_function(refund)
    messages = conversed(plain, Stubborn(), gate.middleware(plan=RunPlan(seconds=0.05)))
    go_on.set()

    assert calls(messages) == 1
    assert len(items(gate)) == 1


def test_a_tool_out_of_order_is_left_alone(console: Console, gate: Gate) -> None:
    let_run(console, "refund")
    plan = RunPlan(breaker=Breaker(failures=1))

    @tool
    def refund(order_id: str, amount: str) -> str:
        """Be out of order."""
        raise OSError(order_id, amount)

    with pytest.raises(OSError, match="R-1"):
        gate.run(refund, {"order_id": "R-1", "amount": "49.00"}, plan=plan)
    messages = conversed(gate.guard(refund, plan=plan), Stubborn())

    assert calls(messages) == 1
    assert len(items(gate)) == 1


def test_the_edit_of_a_call_that_answers_with_a_command_is_told_too(
    console: Console, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    runs: list[str] = []

    def refund(order_id: str, amount: str) -> Command[Any]:
        """Refund an order, and write it into the agent's state."""
        runs.append(amount)
        message = ToolMessage(f"Refunded {amount} on {order_id}.", tool_call_id="call_0", name="refund")
        return Command(update={"messages": [message]})

    plain = StructuredTool.from_function(refund)
    conversation = beside.submit(guarded, gate, plain, Stubborn(forbidden=_TOLD_NOT_TO_UNDO))

    decide_each(console, {"R-1": edited("R-1", amount="10.00")})

    messages = conversation.result(PATIENCE_SECONDS)
    assert calls(messages) == 1
    assert runs == ["10.00"]
    assert str(messages[-2].content).endswith("Refunded 10.00 on R-1.")
