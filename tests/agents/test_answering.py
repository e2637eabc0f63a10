"""Ask back: a reviewer asks, the agent answers while it waits, and the decision is untouched by it."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from agents import Gate, ServerAwayError
from agents.answering import Answer, Answering
from agents.client import Client, Exchange, Local, Pause
from agents.langgraph import GraphDesk
from agents.protocol import ActionStatus, Approve, Args, Execution, Note, Status
from review.desk import Seen
from review.items import ReviewItem
from tests.agents.answers import problem, reply, status, taken
from tests.agents.desk import Ledger, a_gate, items, refunds, scripted
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS, eventually

CALL: Args = {"order_id": "R-1", "amount": "49.00"}
ASKED = {"author": "reviewer", "text": "Which cup?", "at": "2026-11-22T12:00:01Z"}
ALSO_ASKED = {"author": "reviewer", "text": "Since when?", "at": "2026-11-22T12:00:02Z"}
ANSWERED = {"author": "agent", "text": "The blue one.", "at": "2026-11-22T12:00:03Z"}


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


class Agent:
    """Answers what it is asked, and remembers it."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Args]] = []

    def answer(self, question: str, args: Args) -> str | None:
        self.asked.append((question, args))
        return self.answers.pop(0)

    async def aanswer(self, question: str, args: Args) -> str | None:
        await asyncio.sleep(0)
        return self.answer(question, args)


def claimed(console: Console) -> ReviewItem:
    found: list[ReviewItem] = []

    def is_there() -> bool:
        item = console.desk.claim(console.person)
        found.extend([] if item is None else [item])
        return item is not None

    assert eventually(is_there), "nothing came to the desk"
    return found[0]


def thread_of(console: Console, item: ReviewItem) -> list[tuple[str, str]]:
    return [(kept.note.author, kept.note.text) for kept in console.desk.whole(console.person, item.id).notes]


def approve(console: Console, item: ReviewItem) -> None:
    console.desk.decide(item.id, Approve(), console.person, seen=Seen.of(item))


def result(future: "Future[Any]") -> Any:  # noqa: ANN401 -- whatever the tool returns
    return future.result(PATIENCE_SECONDS)


@pytest.mark.parametrize("is_async", [False, True], ids=["answer", "coroutine answer"])
def test_a_question_is_answered_while_the_item_stays_claimed_and_undecided(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor, *, is_async: bool
) -> None:
    agent = Agent("The blue one.")
    answer: Answer = agent.aanswer if is_async else agent.answer
    call = beside.submit(gate.guard(ledger.tool(), answer=answer).invoke, dict(CALL))
    item = claimed(console)

    console.desk.ask(console.person, item.id, "Which cup?")

    conversation = [("reviewer", "Which cup?"), ("agent", "The blue one.")]
    assert eventually(lambda: thread_of(console, item) == conversation)
    whole = console.desk.whole(console.person, item.id).item
    assert (whole.status, whole.decision, whole.epoch) == (Status.CLAIMED, None, item.epoch)
    assert agent.asked == [("Which cup?", CALL)]
    assert ledger.runs == []
    approve(console, item)
    assert result(call) == "Refunded 49.00 on R-1."
    assert thread_of(console, item) == conversation


@pytest.mark.parametrize("is_async", [False, True], ids=["answer", "coroutine answer"])
def test_an_async_agent_answers_too(console: Console, gate: Gate, ledger: Ledger, *, is_async: bool) -> None:
    agent = Agent("The blue one.", "Since Monday.")
    answer: Answer = agent.aanswer if is_async else agent.answer

    def reviewer() -> list[tuple[str, str]]:
        item = claimed(console)
        for question, count in (("Which cup?", 2), ("Since when?", 4)):
            console.desk.ask(console.person, item.id, question)
            assert eventually(lambda: len(thread_of(console, item)) == count)  # noqa: B023 -- asked before the next turn
        approve(console, item)
        return thread_of(console, item)

    async def conversation() -> tuple[Any, list[tuple[str, str]]]:
        call = gate.arun(ledger.tool(), dict(CALL), answer=answer)
        return await asyncio.gather(call, asyncio.to_thread(reviewer))

    told, thread = asyncio.run(conversation())

    assert told == "Refunded 49.00 on R-1."
    assert [text for _, text in thread] == ["Which cup?", "The blue one.", "Since when?", "Since Monday."]


def test_without_an_answer_a_question_stays_open(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor
) -> None:
    call = beside.submit(gate.guard(ledger.tool()).invoke, dict(CALL))
    item = claimed(console)

    console.desk.ask(console.person, item.id, "Which cup?")
    approve(console, item)

    assert result(call) == "Refunded 49.00 on R-1."
    assert thread_of(console, item) == [("reviewer", "Which cup?")]


def test_a_question_that_nobody_can_answer_stays_open_and_is_asked_once(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent(None, "Since Monday.")
    call = beside.submit(gate.guard(ledger.tool(), answer=agent.answer).invoke, dict(CALL))
    item = claimed(console)

    console.desk.ask(console.person, item.id, "Which cup?")
    assert eventually(lambda: len(agent.asked) == 1)
    console.desk.ask(console.person, item.id, "Since when?")
    assert eventually(lambda: len(thread_of(console, item)) == 3)
    approve(console, item)
    result(call)

    assert [question for question, _ in agent.asked] == ["Which cup?", "Since when?"]
    assert thread_of(console, item)[-1] == ("agent", "Since Monday.")
    assert "has no answer to a question" in caplog.text


def test_an_answer_that_fails_does_not_disturb_the_call(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(question: str, args: Args) -> str:
        raise LookupError(question, args)

    call = beside.submit(gate.guard(ledger.tool(), answer=broken).invoke, dict(CALL))
    item = claimed(console)

    console.desk.ask(console.person, item.id, "Which cup?")
    assert eventually(lambda: "could not be answered" in caplog.text)
    approve(console, item)

    assert result(call) == "Refunded 49.00 on R-1."
    assert thread_of(console, item) == [("reviewer", "Which cup?")]


def test_an_answer_that_comes_after_the_decision_is_not_taken_and_does_no_harm(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor
) -> None:
    thinking, go_on = threading.Event(), threading.Event()

    def slow(_question: str, _args: Args) -> str:
        thinking.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return "The blue one."

    call = beside.submit(gate.guard(ledger.tool(), answer=slow).invoke, dict(CALL))
    item = claimed(console)
    console.desk.ask(console.person, item.id, "Which cup?")
    assert thinking.wait(PATIENCE_SECONDS)

    approve(console, item)
    go_on.set()

    assert result(call) == "Refunded 49.00 on R-1."
    assert ledger.runs == [("R-1", "49.00")]
    assert thread_of(console, item) == [("reviewer", "Which cup?")]


def test_a_restarted_agent_answers_no_question_twice(
    console: Console, clock: MovableClock, ledger: Ledger, beside: ThreadPoolExecutor
) -> None:
    first, second = Agent("The blue one."), Agent("Since Monday.")
    with a_gate(console, clock, timeout=None, attempts=1, wait=1) as old:
        crashed = beside.submit(run_until_closed, old, ledger, first)
        item = claimed(console)
        console.desk.ask(console.person, item.id, "Which cup?")
        assert eventually(lambda: len(thread_of(console, item)) == 2)
        old.client.close()
        assert result(crashed)

    with a_gate(console, clock) as new:
        tool = new.guard(ledger.tool(), answer=second.answer, idempotency_key="refund-of-R-1")
        call = beside.submit(tool.invoke, dict(CALL))
        console.desk.ask(console.person, item.id, "Since when?")
        assert eventually(lambda: len(thread_of(console, item)) == 4)
        approve(console, item)
        result(call)

    assert [question for question, _ in first.asked + second.asked] == ["Which cup?", "Since when?"]
    assert ledger.runs == [("R-1", "49.00")]


def run_until_closed(gate: Gate, ledger: Ledger, agent: Agent) -> bool:
    """Wait for a decision until the connection is closed under the agent, as a crash would."""
    try:
        gate.run(ledger.tool(), dict(CALL), answer=agent.answer, idempotency_key="refund-of-R-1")
    except (ServerAwayError, RuntimeError):  # As the moment has it: in the middle of a request, or between two.
        return True
    return False


def test_any_of_a_threads_calls_may_be_asked_about(
    console: Console, gate: Gate, ledger: Ledger, beside: ThreadPoolExecutor
) -> None:
    agent = Agent("The blue one.")
    hitl = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    said = (refunds("R-1", "R-2"), AIMessage("Done."))
    graph = create_agent(scripted(*said), [ledger.tool()], middleware=[hitl], checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}
    desk = GraphDesk(gate, graph, answer=agent.answer)
    state = beside.submit(desk.run, {"messages": [HumanMessage("Refund both.")]}, thread)
    assert eventually(lambda: len(items(gate)) == 2)

    last = items(gate)[0]
    console.desk.ask(console.person, last.id, "Which cup?")
    assert eventually(lambda: len(console.desk.whole(console.person, last.id).notes) == 2)
    for _ in range(2):
        approve(console, claimed(console))

    assert result(state)["messages"][-1].content == "Done."
    assert [(question, args["order_id"]) for question, args in agent.asked] == [("Which cup?", "R-2")]
    assert {each.execution for each in items(gate)} == {Execution.SUCCEEDED}


def an_item(*notes: dict[str, str]) -> ActionStatus:
    waiting = status(status="claimed", decision=None, receipt=None, execution="none", notes=list(notes))
    return ActionStatus.model_validate(waiting)


def a_reply(*notes: dict[str, str]) -> Any:  # noqa: ANN401 -- a reply to an exchange
    return reply(an_item(*notes).model_dump(mode="json"))


def went(item: ActionStatus, *answers: object) -> tuple[list[object], ActionStatus]:
    answering = Answering(Agent().answer, CALL)
    with Client("http://127.0.0.1:9", "sgn_test_key", attempts=1) as client:
        return taken(answering.answered(item, client), *answers)


def sent(steps: list[object]) -> list[tuple[str, str]]:
    return [(step.method, step.path.rpartition("/")[2]) for step in steps if isinstance(step, Exchange)]


def test_several_open_questions_are_answered_in_one_note() -> None:
    answers = ("The blue one.", "Since Monday.", a_reply(ASKED, ALSO_ASKED, ANSWERED))

    steps, after = went(an_item(ASKED, ALSO_ASKED), *answers)

    assert [type(step) for step in steps] == [Local, Local, Exchange]
    assert isinstance(steps[2], Exchange)
    assert steps[2].body == b'{"text":"The blue one.\\n\\nSince Monday."}'
    assert after.notes[-1].author == "agent"


def test_an_answer_that_arrived_although_nobody_heard_so_is_not_given_twice() -> None:
    steps, after = went(an_item(ASKED), "The blue one.", ServerAwayError(why="cut off"), a_reply(ASKED, ANSWERED))

    assert [verb for verb, _ in sent(steps)] == ["POST", "GET"]
    assert after.notes[-1] == Note.model_validate(ANSWERED)


def test_an_answer_that_did_not_arrive_is_given_again() -> None:
    away, late = ServerAwayError(why="cut off"), problem(429, "too_many_requests")

    steps, _ = went(an_item(ASKED), "The blue one.", away, a_reply(ASKED), None, late, None, a_reply(ASKED, ANSWERED))

    assert [verb for verb, _ in sent(steps)] == ["POST", "GET", "POST", "POST"]
    assert sum(isinstance(step, Pause) for step in steps) == 2


@pytest.mark.parametrize("notes", [(), (ANSWERED,), (ASKED, ANSWERED), (ASKED, ALSO_ASKED, ANSWERED)])
def test_what_was_answered_before_is_not_answered_again(notes: tuple[dict[str, str], ...]) -> None:
    answering, item = Answering(Agent().answer, CALL), an_item(*notes)

    with Client("http://127.0.0.1:9", "sgn_test_key") as client, pytest.raises(StopIteration) as done:
        next(answering.answered(item, client))

    assert done.value.value is item
