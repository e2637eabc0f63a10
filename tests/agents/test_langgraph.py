"""Real LangGraph threads that stop for a person, and a running console: they go on with exactly what was decided."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.middleware.human_in_the_loop import DecisionType as Allowed
from langchain.agents.middleware.human_in_the_loop import InterruptMode
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Interrupt, interrupt

from agents import Gate, KeySetError
from agents.interrupts import AnswerRefusedError, InterruptUnreadableError, answer, question
from agents.langgraph import GraphDesk, ThreadBrickedError, ThreadStoppedError, TooManyStopsError
from agents.protocol import Action, Approve, Args, Decision, Edit, Execution, Reject, Respond, Route, Status
from review.policy import Autonomy, PolicyDocument, Rule, ToolRule
from tests.agents.desk import AGENT, Ledger, a_gate, decide_each, edited, items, refunds, scripted
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import eventually

Agent = CompiledStateGraph[Any, Any, Any, Any]
Saver = BaseCheckpointSaver[Any]

ASKED: dict[str, Any] = {"messages": [HumanMessage("Refund them.")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}
EVERY: list[Allowed] = ["approve", "edit", "reject", "respond"]
MIXED: dict[str, Decision] = {
    "R-1": Approve(),
    "R-2": edited("R-2", amount="10.00"),
    "R-3": Reject(message="Never paid."),
}

by_mode = pytest.mark.parametrize("mode", ["batched", "per_call"])


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def sqlite_saver(tmp_path: Path) -> Iterator[SqliteSaver]:
    with closing(sqlite3.connect(tmp_path / "threads.db", check_same_thread=False)) as connection:
        yield SqliteSaver(connection)


@pytest.fixture
def postgres_saver(postgres_url: str) -> Iterator[PostgresSaver]:
    with PostgresSaver.from_conn_string(postgres_url) as saver:
        saver.setup()
        yield saver


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def saver(request: pytest.FixtureRequest) -> Saver:
    kept: Saver = request.getfixturevalue(f"{request.param}_saver")
    return kept


class Noted(TypedDict):
    said: Any


def an_agent(
    tool: BaseTool,
    *said: AIMessage | str,
    saver: Saver | None = None,
    mode: InterruptMode = "batched",
    allowed: list[Allowed] = EVERY,
) -> Agent:
    stop = HumanInTheLoopMiddleware({"refund": {"allowed_decisions": allowed}}, interrupt_mode=mode)
    return create_agent(scripted(*said), [tool], middleware=[stop], checkpointer=saver or InMemorySaver())


def within(agent: Agent, *others: Agent, saver: Saver | None = None) -> Agent:
    """Return a graph whose nodes are these agents."""
    graph = StateGraph(MessagesState)
    for number, each in enumerate((agent, *others)):
        graph.add_node(f"agent-{number}", each)
        graph.add_edge(START, f"agent-{number}")
    return graph.compile(checkpointer=saver or InMemorySaver())


def a_part(tool: BaseTool, *said: AIMessage | str, mode: InterruptMode = "batched") -> Agent:
    """Return an agent that keeps its state with the graph that it is a node of."""
    stop = HumanInTheLoopMiddleware({"refund": {"allowed_decisions": EVERY}}, interrupt_mode=mode)
    return create_agent(scripted(*said), [tool], middleware=[stop])


def stopped(agent: Agent) -> Agent:
    agent.invoke(ASKED, THREAD)
    return agent


def told(state: dict[str, Any]) -> dict[str, str]:
    return {each.tool_call_id: str(each.content) for each in state["messages"] if isinstance(each, ToolMessage)}


def executions(gate: Gate) -> list[Execution]:
    return [each.execution for each in reversed(items(gate))]


def failing(ledger: Ledger, *orders: str) -> BaseTool:
    def refund(order_id: str, amount: str) -> str:
        """Refund an order; for some, the line breaks after that."""
        ledger.runs.append((order_id, amount))
        if order_id in orders:
            raise OSError(order_id)
        return f"Refunded {amount} on {order_id}."

    return StructuredTool.from_function(refund)


@by_mode
def test_a_batch_goes_on_with_what_was_decided_on_each_call(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver, mode: InterruptMode
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds(*MIXED), AIMessage("Done."), saver=saver, mode=mode))
    desk = GraphDesk(gate, agent, confidence=0.4)
    filed = desk.file(THREAD)
    decided = decide_each(console, MIXED)

    state = desk.resume(THREAD)

    said = told(state)
    assert state["messages"][-1].content == "Done."
    assert said["call_R-1"] == "Refunded 49.00 on R-1."
    assert "Do not re-issue your original call" in said["call_R-2"]
    assert "Refunded 10.00 on R-2." in said["call_R-2"]
    assert "Never paid." in said["call_R-3"]
    assert "Do not make this call again" in said["call_R-3"]
    assert sorted(ledger.runs) == [("R-1", "49.00"), ("R-2", "10.00")]
    assert [each.id for each in decided.values()] == filed
    assert {each.request.run.run_id for each in decided.values()} == {decided["R-1"].request.run.run_id}
    assert executions(gate) == [Execution.SUCCEEDED, Execution.SUCCEEDED, Execution.NONE]


@by_mode
def test_an_item_tells_where_the_call_comes_from(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), mode=mode))

    GraphDesk(gate, agent, confidence=0.4, agent_version="2.1").file(THREAD)

    request = decide_each(console, {"R-1": Approve()})["R-1"].request
    assert (request.run.framework, request.run.thread_id, request.run.tool_call_id) == (
        "langgraph",
        "thread-1",
        "call_R-1",
    )
    assert request.run.interrupt_id == agent.get_state(THREAD).interrupts[0].id
    assert (request.confidence, request.agent_version) == (0.4, "2.1")
    assert request.args_schema is not None
    assert set(request.args_schema["properties"]) == {"order_id", "amount"}  # type: ignore[arg-type]  # an object, by its schema


@by_mode
def test_an_answer_of_a_person_stands_in_for_the_result(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done."), mode=mode))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Respond(message="Refunded yesterday.")})

    state = desk.resume(THREAD)

    assert "a person answered in its place: Refunded yesterday." in told(state)["call_R-1"]
    assert ledger.runs == []


@by_mode
def test_a_thread_hears_nothing_until_every_decision_is_there(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1", "R-2"), AIMessage("Done."), mode=mode))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})
    before = agent.get_state(THREAD)

    answered = desk.resume(THREAD, wait=0.05)

    assert answered is None
    assert agent.get_state(THREAD) == before
    assert ledger.runs == []
    assert executions(gate) == [Execution.PERMITTED, Execution.NONE]


@by_mode
def test_a_decision_that_the_thread_does_not_take_never_reaches_it(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = an_agent(ledger.tool(), refunds("R-1", "R-2"), mode=mode, allowed=["approve", "edit"])
    desk = GraphDesk(gate, stopped(agent))
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve(), "R-2": Reject(message="Never paid.")})
    before = agent.get_state(THREAD)

    with pytest.raises(AnswerRefusedError, match="allows approve, edit, not reject"):
        desk.resume(THREAD)

    assert agent.get_state(THREAD) == before
    assert ledger.runs == []
    assert executions(gate) == [Execution.PERMITTED, Execution.NONE]


def test_a_rejection_is_said_as_a_response_where_that_is_all_the_thread_takes(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    agent = an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done."), allowed=["approve", "respond"])
    desk = GraphDesk(gate, stopped(agent))
    desk.file(THREAD)
    decide_each(console, {"R-1": Reject(message="Never paid.")})

    state = desk.resume(THREAD)

    assert "Never paid." in told(state)["call_R-1"]
    assert ledger.runs == []


def test_nothing_goes_on_where_the_consoles_key_is_not_the_pinned_one(
    console: Console, clock: MovableClock, ledger: Ledger
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1")))
    trusted = ["47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"]

    with a_gate(console, clock, trusted_keys=trusted) as gate, pytest.raises(KeySetError):
        GraphDesk(gate, agent).resume(THREAD)

    assert len(agent.get_state(THREAD).interrupts) == 1
    assert ledger.runs == []


@by_mode
def test_a_new_process_goes_on_where_the_old_one_ended_and_files_nothing_twice(
    console: Console, clock: MovableClock, ledger: Ledger, saver: Saver, mode: InterruptMode
) -> None:
    with a_gate(console, clock) as first:
        agent = stopped(an_agent(ledger.tool(), refunds(*MIXED), saver=saver, mode=mode))
        filed = GraphDesk(first, agent).file(THREAD)
    decide_each(console, MIXED)

    with a_gate(console, clock) as second:
        restarted = GraphDesk(second, an_agent(ledger.tool(), AIMessage("Done."), saver=saver, mode=mode))
        again = restarted.file(THREAD)
        state = restarted.run(None, THREAD)

        assert again == filed
        assert state["messages"][-1].content == "Done."
        assert sorted(ledger.runs) == [("R-1", "49.00"), ("R-2", "10.00")]
        assert len(items(second)) == 3


@by_mode
def test_a_permission_that_a_lost_process_used_is_not_used_again(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1", "R-2"), AIMessage("Done."), mode=mode))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decided = decide_each(console, {"R-1": Approve(), "R-2": Approve()})
    lost = next(each for each in items(gate) if each.id == decided["R-1"].id)
    assert lost.receipt is not None
    args = decided["R-1"].request.action.args
    gate.client.send(gate.client.consume(lost.id, receipt=lost.receipt, args=args))

    state = desk.run(None, THREAD)

    assert "nobody knows yet whether it took effect" in told(state)["call_R-1"]
    assert told(state)["call_R-2"] == "Refunded 49.00 on R-2."
    assert ledger.runs == [("R-2", "49.00")]
    assert executions(gate) == [Execution.UNKNOWN, Execution.SUCCEEDED]


@by_mode
def test_an_agent_within_a_graph_goes_on_with_what_was_decided(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = stopped(within(a_part(ledger.tool(), refunds(*MIXED), AIMessage("Done."), mode=mode)))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)

    decide_each(console, MIXED)
    state = desk.resume(THREAD)

    assert state["messages"][-1].content == "Done."
    assert sorted(ledger.runs) == [("R-1", "49.00"), ("R-2", "10.00")]
    known = [console.desk.whole(console.person, each.id).item for each in items(gate)]
    assert {each.request.run.tool_call_id: each.execution for each in known} == {
        "call_R-1": Execution.SUCCEEDED,
        "call_R-2": Execution.SUCCEEDED,
        "call_R-3": Execution.NONE,
    }


def test_of_agents_that_number_their_calls_alike_none_is_told_anothers_outcome(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    def numbered(order: str) -> AIMessage:
        return AIMessage("", tool_calls=[{**refunds(order).tool_calls[0], "id": "call_1"}])

    tool = failing(ledger)
    agent = stopped(within(*(a_part(tool, numbered(order), AIMessage("Done.")) for order in ("R-1", "R-2"))))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)

    decided = decide_each(console, {"R-1": Approve(), "R-2": Reject(message="Never paid.")})
    desk.resume(THREAD)

    assert ledger.runs == [("R-1", "49.00")]
    ended = {each.id: each.execution for each in items(gate)}
    assert ended[decided["R-1"].id] in {Execution.SUCCEEDED, Execution.UNKNOWN}
    assert ended[decided["R-2"].id] is Execution.NONE


@pytest.mark.parametrize("trouble", [OSError, KeyboardInterrupt])
def test_a_run_that_broke_off_in_a_tool_within_a_graph_does_not_run_it_again(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver, trouble: type[BaseException]
) -> None:
    def refund(order_id: str, amount: str) -> str:
        """Refund an order; the line breaks after that."""
        ledger.runs.append((order_id, amount))
        raise trouble(order_id)

    part = a_part(StructuredTool.from_function(refund), refunds("R-1"), AIMessage("Done."))
    agent = stopped(within(part, saver=saver))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decided = decide_each(console, {"R-1": Approve()})["R-1"]
    receipt = items(gate)[0].receipt
    assert receipt is not None
    gate.client.send(gate.client.consume(decided.id, receipt=receipt, args=decided.request.action.args))
    with pytest.raises(trouble):  # The process is killed here, and nothing is reported.
        agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)

    state = desk.run(None, THREAD)

    assert ledger.runs == [("R-1", "49.00")]
    assert "nobody knows yet whether it took effect" in told(state)["call_R-1"]
    assert state["messages"][-1].content == "Done."
    assert executions(gate) == [Execution.UNKNOWN]


@pytest.mark.parametrize("depth", [1, 2])
def test_an_agent_within_graphs_that_keeps_a_bad_answer_is_repaired_and_does_nothing_again(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver, depth: int
) -> None:
    agent = a_part(ledger.tool(), refunds("R-1"), refunds("R-2"), AIMessage("Done."))
    for _ in range(depth):
        agent = within(agent, saver=saver)
    desk = GraphDesk(gate, stopped(agent))
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})
    desk.resume(THREAD)
    for _ in range(2):
        with pytest.raises(ValueError, match="Number of human decisions"):
            agent.invoke(Command(resume={"decisions": []}), THREAD)

    desk.file(THREAD)
    decide_each(console, {"R-2": Approve()})
    state = desk.resume(THREAD)

    assert ledger.runs == [("R-1", "49.00"), ("R-2", "49.00")]
    assert (set(told(state)), state["messages"][-1].content) == ({"call_R-1", "call_R-2"}, "Done.")
    assert executions(gate) == [Execution.SUCCEEDED, Execution.SUCCEEDED]


@by_mode
def test_a_run_that_broke_off_in_a_tool_goes_on_without_running_it_again(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver, mode: InterruptMode
) -> None:
    tool = failing(ledger, "R-2")
    agent = stopped(an_agent(tool, refunds("R-1", "R-2"), AIMessage("Done."), saver=saver, mode=mode))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve(), "R-2": Approve()})
    with pytest.raises(OSError, match="R-2"):
        desk.resume(THREAD)

    state = desk.run(None, THREAD)

    assert sorted(ledger.runs) == [("R-1", "49.00"), ("R-2", "49.00")]
    assert state["messages"][-1].content == "Done."
    assert set(told(state)) == {"call_R-1", "call_R-2"}
    assert "nobody knows yet" in told(state)["call_R-2"]
    assert executions(gate)[1] is Execution.UNKNOWN


def test_a_run_that_broke_off_elsewhere_simply_goes_on(console: Console, gate: Gate, ledger: Ledger) -> None:
    saver = InMemorySaver()
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), saver=saver))  # The model then has nothing to say.
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})
    with pytest.raises(RuntimeError, match="StopIteration"):
        desk.resume(THREAD)

    state = GraphDesk(gate, an_agent(ledger.tool(), AIMessage("Done."), saver=saver)).run(None, THREAD)

    assert told(state) == {"call_R-1": "Refunded 49.00 on R-1."}
    assert ledger.runs == [("R-1", "49.00")]
    assert executions(gate) == [Execution.SUCCEEDED]


def test_a_permission_that_ran_out_is_told_and_nothing_runs(
    console: Console, gate: Gate, ledger: Ledger, clock: MovableClock
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done.")))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})

    clock.advance(timedelta(days=2))
    state = desk.resume(THREAD)

    assert "the permission ran out" in told(state)["call_R-1"]
    assert ledger.runs == []


@pytest.mark.parametrize(
    "bad",
    [{"decisions": []}, {"decisions": [{"type": "maybe"}]}, [{"type": "accept", "args": None}]],
    ids=["too few", "of no known type", "of another shape"],
)
def test_a_bricked_thread_is_repaired_and_asks_anew(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver, bad: object
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done."), saver=saver))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    for bad_or_good in (bad, {"decisions": [{"type": "approve"}]}):
        with pytest.raises((ValueError, TypeError)):
            agent.invoke(Command(resume=bad_or_good), THREAD)

    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})
    state = desk.resume(THREAD)

    assert told(state) == {"call_R-1": "Refunded 49.00 on R-1."}
    assert ledger.runs == [("R-1", "49.00")]
    assert [each.status for each in items(gate)] == [Status.SETTLED]


def test_what_was_decided_before_somebody_bricked_the_thread_still_counts(
    console: Console, gate: Gate, ledger: Ledger, saver: Saver
) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done."), saver=saver))
    desk = GraphDesk(gate, agent)
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})
    with pytest.raises(ValueError, match="Number of human decisions"):
        agent.invoke(Command(resume={"decisions": []}), THREAD)

    desk.run(None, THREAD)

    assert (ledger.runs, executions(gate)) == ([("R-1", "49.00")], [Execution.SUCCEEDED])


def test_of_two_questions_of_one_task_only_the_one_that_was_badly_answered_is_asked_again(
    console: Console, gate: Gate, saver: Saver
) -> None:
    heard: list[tuple[str, str]] = []

    def asks(state: Noted) -> Noted:
        for order in ("R-1", "R-2"):
            said = interrupt({"action": {"name": "refund", "args": {"order_id": order}}})
            if said == "bad":
                raise ValueError(said)
            heard.append((order, str(said)))
        return state

    graph = StateGraph(Noted)
    graph.add_node("asks", asks)
    graph.add_edge(START, "asks")
    compiled = graph.compile(checkpointer=saver)
    compiled.invoke({"said": ""}, THREAD)
    desk = GraphDesk(gate, compiled)
    desk.file(THREAD)
    decide_each(console, {"R-1": Respond(message="First.")})
    desk.resume(THREAD)
    with pytest.raises(ValueError, match="bad"):
        compiled.invoke(Command(resume="bad"), THREAD)

    desk.file(THREAD)
    decide_each(console, {"R-2": Respond(message="Second.")})
    heard.clear()
    desk.resume(THREAD)

    assert [(order, said.count("First."), said.count("Second.")) for order, said in heard] == [
        ("R-1", 1, 0),
        ("R-2", 0, 1),
    ]
    assert len(items(gate)) == 2


def test_a_task_that_has_finished_beside_a_bricked_one_is_not_run_again(console: Console, gate: Gate) -> None:
    runs: list[str] = []

    def asks(state: Noted) -> dict[str, str]:
        said = interrupt({"action": {"name": "refund", "args": state}})
        if said == "bad":
            raise ValueError(said)
        return {}

    def acts(state: Noted) -> dict[str, str]:
        runs.append(state["said"])
        return {}

    graph = StateGraph(Noted)
    graph.add_node("asks", asks)
    graph.add_node("acts", acts)
    graph.add_edge(START, "asks")
    graph.add_edge(START, "acts")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"said": ""}, THREAD)
    with pytest.raises(ValueError, match="bad"):
        compiled.invoke(Command(resume="bad"), THREAD)

    desk = GraphDesk(gate, compiled)
    asyncio.run(desk.afile(THREAD))
    decide_each(console, {"": Reject(message="Never paid.")}, by="said")
    asyncio.run(desk.aresume(THREAD))

    assert (runs, compiled.get_state(THREAD).next) == ([""], ())


class Unforgetting(InMemorySaver):
    """Lets nobody write over what it keeps."""

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if ("__error__", None) not in writes:
            super().put_writes(config, writes, task_id, task_path)


def test_a_bricked_thread_whose_answer_cannot_be_taken_back_is_left_alone(gate: Gate, ledger: Ledger) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), saver=Unforgetting()))
    with pytest.raises(ValueError, match="Number of human decisions"):
        agent.invoke(Command(resume={"decisions": []}), THREAD)

    with pytest.raises(ThreadBrickedError):
        GraphDesk(gate, agent).run(None, THREAD)

    assert (ledger.runs, items(gate)) == ([], ())


def test_a_model_that_proposes_a_rejected_call_again_is_stopped_again(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    agent = an_agent(ledger.tool(), refunds("R-1"), refunds("R-1"), AIMessage("I give up."))
    desk = GraphDesk(gate, stopped(agent))
    for _ in range(2):
        desk.file(THREAD)
        decide_each(console, {"R-1": Reject(message="Never paid.")})
        state = desk.resume(THREAD)

    assert state["messages"][-1].content == "I give up."
    assert ledger.runs == []
    assert len(items(gate)) == 2


def test_a_model_that_never_tires_is_stopped_for_good(console: Console, gate: Gate, ledger: Ledger) -> None:
    rule = Rule(name="cap", when="true", route=Route.DENY, reason="Refunds are closed today.")
    console.save_policy(PolicyDocument(rules=(rule,)))
    agent = an_agent(ledger.tool(), *[refunds("R-1") for _ in range(9)])

    with pytest.raises(TooManyStopsError):
        GraphDesk(gate, agent).run(ASKED, THREAD, stops=4)

    assert ledger.runs == []
    assert [each.route for each in items(gate)] == [Route.DENY] * 4
    assert "Refunds are closed today." in told(agent.get_state(THREAD).values)["call_R-1"]


@by_mode
def test_a_run_goes_through_all_its_stops(console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode) -> None:
    let_run(console)
    said = [refunds("R-1", "R-2"), refunds("R-3"), AIMessage("Done.")]

    state = GraphDesk(gate, an_agent(ledger.tool(), *said, mode=mode), confidence=0.99).run(ASKED, THREAD)

    assert state["messages"][-1].content == "Done."
    assert sorted(order for order, _ in ledger.runs) == ["R-1", "R-2", "R-3"]
    assert executions(gate) == [Execution.SUCCEEDED] * 3


def let_run(console: Console) -> None:
    rule = ToolRule(agent=AGENT, tool="refund", autonomy=Autonomy.AUTONOMOUS)
    console.save_policy(PolicyDocument(tools=(rule,), audit_rate=0.0))


@by_mode
def test_the_same_holds_without_blocking_the_event_loop(
    console: Console, gate: Gate, ledger: Ledger, mode: InterruptMode
) -> None:
    agent = an_agent(ledger.tool(), refunds(*MIXED), AIMessage("Done."), mode=mode)
    desk = GraphDesk(gate, agent)

    async def conversation() -> Any:  # noqa: ANN401 -- the graph's state
        going = asyncio.create_task(desk.arun(ASKED, THREAD))
        await asyncio.to_thread(decide_each, console, MIXED)
        return await going

    state = asyncio.run(conversation())

    assert "Never paid." in told(state)["call_R-3"]
    assert sorted(ledger.runs) == [("R-1", "49.00"), ("R-2", "10.00")]


def test_what_is_told_about_a_call_is_found_out_off_the_event_loop(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    asked_on: set[int] = set()

    def confidence(_args: Args) -> float:
        asked_on.add(threading.get_ident())
        return 0.4

    desk = GraphDesk(gate, an_agent(ledger.tool(), refunds("R-1"), AIMessage("Done.")), confidence=confidence)

    async def conversation() -> int:
        going = asyncio.create_task(desk.arun(ASKED, THREAD))
        await asyncio.to_thread(decide_each, console, {"R-1": Approve()})
        await going
        return threading.get_ident()

    assert asyncio.run(conversation()) not in asked_on
    assert asked_on


def test_a_cancelled_run_is_reported_as_unknown_and_not_run_again(console: Console, gate: Gate, ledger: Ledger) -> None:
    async def refund(order_id: str, amount: str) -> str:
        """Refund an order, and never come back."""
        ledger.runs.append((order_id, amount))
        await asyncio.Event().wait()
        return order_id

    tool = StructuredTool.from_function(coroutine=refund)
    desk = GraphDesk(gate, an_agent(tool, refunds("R-1"), AIMessage("Done.")))

    async def conversation() -> Any:  # noqa: ANN401 -- the graph's state
        going = asyncio.create_task(desk.arun(ASKED, THREAD))
        await asyncio.to_thread(decide_each, console, {"R-1": Approve()})
        while not ledger.runs:
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        return await desk.arun(None, THREAD)

    state = asyncio.run(conversation())

    assert "nobody knows yet" in told(state)["call_R-1"]
    assert ledger.runs == [("R-1", "49.00")]
    assert eventually(lambda: executions(gate) == [Execution.UNKNOWN])


def test_a_thread_in_the_middle_takes_no_new_input(gate: Gate, ledger: Ledger) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1")))

    with pytest.raises(ThreadStoppedError):
        GraphDesk(gate, agent).run(ASKED, THREAD)

    assert len(agent.get_state(THREAD).interrupts) == 1


def test_a_thread_that_asks_nothing_is_left_alone(gate: Gate, ledger: Ledger) -> None:
    desk = GraphDesk(gate, stopped(an_agent(ledger.tool(), AIMessage("Good evening."))))

    assert desk.file(THREAD) == []
    assert desk.resume(THREAD)["messages"][-1].content == "Good evening."


def a_graph(value: object) -> CompiledStateGraph[Any, Any, Any, Any]:
    def ask(state: Noted) -> Noted:
        return {**state, "said": interrupt(value)}

    graph = StateGraph(Noted)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"said": ""}, THREAD)
    return compiled


CALL: Args = {"order_id": "R-1", "amount": "49.00"}
REQUEST = {
    "action": {"name": "refund", "args": CALL},
    "confidence": 0.35,
    "rationale": "The client is right.",
    "impact": {"amount": "49.00", "currency": "EUR"},
}
LEGACY = {
    "action_request": {"action": "refund", "args": CALL},
    "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
    "description": "Refund R-1?",
}


@pytest.mark.parametrize(
    ("decision", "plain", "legacy"),
    [
        (Approve(), {"type": "approve"}, {"type": "accept", "args": None}),
        (
            edited("R-1", amount="10.00"),
            {"type": "edit", "edited_action": {"name": "refund", "args": {**CALL, "amount": "10.00"}}},
            {"type": "edit", "args": {"action": "refund", "args": {**CALL, "amount": "10.00"}}},
        ),
        (
            Respond(message="Refunded yesterday."),
            {"type": "respond", "message": "Refunded yesterday."},
            {"type": "response", "args": "Refunded yesterday."},
        ),
    ],
    ids=["approve", "edit", "respond"],
)
def test_a_node_of_ones_own_is_answered_in_the_words_it_asked_with(
    console: Console, gate: Gate, decision: Decision, plain: object, legacy: object
) -> None:
    heard = []
    for value in (REQUEST, LEGACY, [LEGACY]):
        desk = GraphDesk(gate, a_graph(value))
        desk.file(THREAD)
        decide_each(console, {"R-1": decision})
        heard.append(desk.resume(THREAD)["said"])

    assert heard == [plain, [legacy], [legacy]]


def test_what_a_node_of_ones_own_says_of_its_call_is_put_before_the_reviewer(console: Console, gate: Gate) -> None:
    GraphDesk(gate, a_graph(REQUEST)).file(THREAD)

    request = decide_each(console, {"R-1": Approve()})["R-1"].request

    assert (request.confidence, request.rationale, request.impact.amount) == (0.35, "The client is right.", "49.00")


def test_an_outcome_that_the_thread_does_not_tell_is_reported_as_unknown(console: Console, gate: Gate) -> None:
    desk = GraphDesk(gate, a_graph(REQUEST))
    desk.file(THREAD)
    decide_each(console, {"R-1": Approve()})

    desk.resume(THREAD)

    assert executions(gate) == [Execution.UNKNOWN]


@pytest.mark.parametrize(
    "value",
    [
        "May I?",
        None,
        [],
        {"type": "tool_approval", "name": "refund"},
        {"action_requests": [], "review_configs": []},
        {"action_requests": [{"name": "refund", "args": {}}], "review_configs": []},
        {"action_request": {"action": "refund"}, "config": {}},
        {"action": {"name": "no name", "args": {}}},
    ],
)
def test_what_asks_for_no_call_is_refused_and_left_as_it_is(gate: Gate, value: object) -> None:
    graph = a_graph(value)

    with pytest.raises(InterruptUnreadableError):
        GraphDesk(gate, graph).resume(THREAD)

    assert len(graph.get_state(THREAD).interrupts) == 1


@pytest.mark.parametrize(
    ("allows", "decision", "said"),
    [
        ({"allow_ignore": True}, Reject(), {"type": "ignore", "args": None}),
        ({"allow_ignore": True}, Reject(message="No."), {"type": "ignore", "args": None}),
        ({"allow_ignore": True, "allow_respond": True}, Reject(message="No."), {"type": "response", "args": "No."}),
        ({"allow_respond": True}, Reject(message="No."), {"type": "response", "args": "No."}),
    ],
)
def test_a_rejection_is_said_in_the_older_words_as_loudly_as_they_allow(
    allows: dict[str, bool], decision: Reject, said: object
) -> None:
    asked = question(Interrupt({**LEGACY, "config": allows}, id="1"), [])

    assert answer(asked, [decision]) == [said]


@pytest.mark.parametrize(
    "action",
    [Action(name="pay", args=CALL), Action(name="refund", args={"order_id": 1, "amount": "49.00"})],
    ids=["of another tool", "with arguments that do not fit"],
)
def test_an_edit_that_the_interrupts_schema_refuses_is_no_answer(ledger: Ledger, action: Action) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), mode="per_call"))
    asked = question(agent.get_state(THREAD).interrupts[0], [])

    with pytest.raises(AnswerRefusedError, match="its schema says"):
        answer(asked, [Edit(edited_action=action)])


@pytest.mark.parametrize("allowed", [["approve"], ["approve", "reject"], EVERY])
def test_a_single_call_allows_what_its_schema_allows(ledger: Ledger, allowed: list[Allowed]) -> None:
    agent = stopped(an_agent(ledger.tool(), refunds("R-1"), mode="per_call", allowed=allowed))

    asked = question(agent.get_state(THREAD).interrupts[0], [])

    assert asked.calls[0].allowed == tuple(allowed)


def test_a_call_is_not_taken_for_another_whose_arguments_python_takes_for_its_own() -> None:
    proposed = [{"name": "refund", "args": {"express": express}, "id": id_} for express, id_ in ((1, "a"), (True, "b"))]
    value = {
        "action_requests": [{"name": "refund", "args": {"express": True}}],
        "review_configs": [{"action_name": "refund", "allowed_decisions": ["approve"]}],
    }

    asked = question(Interrupt(value, id="1"), [AIMessage("", tool_calls=proposed)])

    assert [call.tool_call_id for call in asked.calls] == ["b"]
