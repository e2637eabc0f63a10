"""The gate for LangGraph: a thread that stopped for a person goes on with what was decided at the desk.

LangGraph runs the tools itself once the thread goes on, so what was permitted is verified and consumed just before,
and its outcome is read from the thread afterwards. The way of a thread is written once, as generators that yield
what they need of graph and console, and is taken blocking or without blocking the event loop.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, Unpack, cast
from uuid import UUID

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import ERROR, RESUME
from langgraph.graph import END
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.types import Command, PregelTask, StateSnapshot, StateUpdate
from pydantic import BaseModel, JsonValue, ValidationError

from .answering import Answer, Answering
from .client import Local, Steps
from .conversation import context_of
from .errors import AlreadyConsumedError, EditRefusedError, GateError
from .gate import (
    CLOSED,
    About,
    Gate,
    Permit,
    Proposal,
    Told,
    failed,
    idempotency_key_for,
    is_undecided,
    request_for,
    succeeded,
    told_instead,
    told_of_closed,
)
from .interrupts import AskedCall, Question, Shape, answer, last_proposal, question
from .langchain import args_schema_of
from .protocol import (
    MAX_LONG_TEXT,
    MAX_SHORT_TEXT,
    ActionStatus,
    Approve,
    Args,
    Decision,
    DecisionType,
    Execution,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
)
from .protocol import Run as RunInfo

MAX_STOPS = 100
# LangGraph notes under this id an answer that names no task.
_NO_TASK = str(UUID(int=0))

_LONGEST_LOOK_BACK = 20
_LOOK_SECONDS = 2.0

_NOT_RUN = (
    "The agent was interrupted before this call was run, so it was not run. If it is still needed, make it again."
)

T = TypeVar("T")
Graph = Pregel[Any, Any, Any, Any]


class ThreadStoppedError(GateError):
    """The thread waits in the middle of a run, so it takes no new input."""

    code = "thread_stopped"

    def __init__(self) -> None:
        super().__init__("This thread waits in the middle of a run; let it go on before it is told more.")


class ThreadBrickedError(GateError):
    """The thread keeps an answer that it cannot go on with, and its checkpointer does not let it be taken back."""

    code = "thread_bricked"

    def __init__(self) -> None:
        super().__init__(
            "This thread keeps an answer that it cannot go on with, and where it is kept it could not be written over. "
            "Nothing was done again."
        )


class TooManyStopsError(GateError):
    """One run stopped so often that it looks like a loop."""

    code = "too_many_stops"

    def __init__(self, stops: int) -> None:
        super().__init__(f"The run stopped for decisions {stops} times; it waits at its latest stop.")


@dataclass(frozen=True, slots=True)
class _Doing:
    """One thing to do with the graph or the console, either way."""

    now: Callable[[], Any]
    later: Callable[[], Awaitable[Any]]


_Way = Generator[_Doing, Any, T]


@dataclass(frozen=True, slots=True)
class _Filed:
    """A call of a question, and the item that it became."""

    question: Question
    call: AskedCall
    proposal: Proposal
    item: ActionStatus


@dataclass(frozen=True, slots=True)
class _Permitted:
    """A call that the thread may run once it goes on."""

    call: AskedCall
    permit: Permit


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one question will be answered, and what that lets run."""

    question: Question
    answer: JsonValue
    permitted: tuple[_Permitted, ...]


class GraphDesk:
    """Puts the questions of a graph's stopped threads before reviewers, and lets the threads go on.

    Every call that a thread asks about becomes an item; the calls of one stop share ``run.run_id``, those of one
    interrupt ``run.interrupt_id``. Which items these are follows from thread, interrupt and call, so a process that
    was restarted goes on with the same ones; for that, what ``about`` says of a call must not change from one time
    to the next. One process at a time may drive a thread.

    The tools of the graph's own ToolNodes are known, and those given as ``tools``: their schemas are shown to
    reviewers, and an edit that they would refuse is not run. ``answer`` answers reviewers' questions while `resume` or
    `run` waits; see `Gate.guard`. Unless the context of a call is told, it is the thread's ``messages``; ``untrusted``
    names the tools whose results anybody may have written, see `context_of`.
    """

    def __init__(
        self,
        gate: Gate,
        graph: Graph,
        *,
        tools: Iterable[BaseTool] = (),
        answer: Answer | None = None,
        untrusted: Collection[str] = (),
        **about: Unpack[About],
    ) -> None:
        self._gate = gate
        self._graph = graph
        self._untrusted = frozenset(untrusted)
        self._about = about
        self._answer = answer
        nodes = [node.bound for node in graph.nodes.values() if isinstance(node.bound, ToolNode)]
        self._tools = {name: tool for node in nodes for name, tool in node.tools_by_name.items()}
        self._tools.update({tool.name: tool for tool in tools})

    def file(self, config: RunnableConfig) -> list[UUID]:
        """File what the thread asks, and return the items' ids; filed again, they are the same."""
        return _done(self._file(config))

    async def afile(self, config: RunnableConfig) -> list[UUID]:
        """File what the thread asks, and return the items' ids; filed again, they are the same."""
        return await _adone(self._file(config))

    def resume(self, config: RunnableConfig, *, wait: float | None = None) -> Any:  # noqa: ANN401 -- the graph's state
        """Let a stopped thread go on once all that it asks is decided, and return its state after that.

        None means that after ``wait`` seconds a decision is still missing; where ``wait`` is None, it waits until the
        items expire. A thread that stopped between two steps just goes on. Raises GateError on any doubt, before
        the thread hears anything.
        """
        return _done(self._resume(config, wait))

    async def aresume(self, config: RunnableConfig, *, wait: float | None = None) -> Any:  # noqa: ANN401 -- the graph's state
        """Let a stopped thread go on, as `resume` does, without blocking the event loop."""
        return await _adone(self._resume(config, wait))

    def run(self, given: Any, config: RunnableConfig, *, stops: int = MAX_STOPS) -> Any:  # noqa: ANN401 -- the graph's input and state
        """Run the graph to its end through all its stops; an input of None goes on with a thread.

        Raises ThreadStoppedError where an input is given to a thread that is in the middle, TooManyStopsError.
        """
        return _done(self._run(given, config, stops))

    async def arun(self, given: Any, config: RunnableConfig, *, stops: int = MAX_STOPS) -> Any:  # noqa: ANN401 -- the graph's input and state
        """Run the graph to its end, as `run` does, without blocking the event loop."""
        return await _adone(self._run(given, config, stops))

    def _run(self, given: Any, config: RunnableConfig, stops: int) -> _Way[Any]:  # noqa: ANN401 -- the graph's input and state
        snapshot: StateSnapshot = yield self._look(config)
        if given is not None and snapshot.next:
            raise ThreadStoppedError
        state = snapshot.values if given is None else (yield self._invoke(given, config))
        for _ in range(stops):
            if not (yield self._look(config)).next:
                return state
            state = yield from self._resume(config, None)
        if (yield self._look(config)).next:
            raise TooManyStopsError(stops)
        return state

    def _file(self, config: RunnableConfig) -> _Way[list[UUID]]:
        snapshot = yield from self._sound(config)
        filed: list[_Filed] = yield self._ask(lambda: self._filed(snapshot))
        return [each.item.id for each in filed]

    def _resume(self, config: RunnableConfig, wait: float | None) -> _Way[Any]:
        snapshot = yield from self._sound(config)
        if not snapshot.interrupts:
            return (yield self._invoke(None, config)) if snapshot.next else snapshot.values
        plans: list[_Plan] | None = yield self._ask(lambda: self._planned(snapshot, wait))
        if plans is None:
            return None
        state = snapshot.values
        for plan in plans:  # One at a time: LangGraph could run a call twice where one of several answers is bad.
            state = yield from self._answered(config, plan)
        return state

    def _sound(self, config: RunnableConfig) -> _Way[StateSnapshot]:
        snapshot: StateSnapshot = yield self._look(config)
        if bricked := _bricked_in(snapshot):
            yield self._take_back([*bricked, (snapshot.config, _NO_TASK)])
            snapshot = yield self._look(config)
            if _bricked_in(snapshot):
                raise ThreadBrickedError
        for task in snapshot.tasks:
            for inner in _broken_off_in(task):
                # What the graph says that this task asks was answered; the graph inside broke off after that.
                return (yield from self._gone_on(config, snapshot, task, inner))
        if any(task.result is None and (task.error or not task.interrupts) for task in snapshot.tasks):
            return (yield from self._cleared(config, snapshot))
        return snapshot

    def _gone_on(
        self, config: RunnableConfig, snapshot: StateSnapshot, task: PregelTask, inner: StateSnapshot
    ) -> _Way[StateSnapshot]:
        open_calls = _open_calls(inner)
        if open_calls:
            ids = {each.id for each in task.interrupts}
            filed: list[_Filed] = yield self._ask(lambda: self._filed(snapshot, only=ids))
            yield from self._closed(inner.config, inner, filed)
        yield self._invoke(None, config)
        return (yield from self._sound(config))

    def _cleared(self, config: RunnableConfig, snapshot: StateSnapshot) -> _Way[StateSnapshot]:
        # The thread stands before a step that may have begun. LangGraph would simply begin it again, so a call
        # whose permission is used, and whose result is missing, is closed by a message in the result's place.
        open_calls = _open_calls(snapshot)
        asked = snapshot if snapshot.interrupts else (yield self._look_back(config)) if open_calls else None
        if asked is None or _proposal_id(asked) != _proposal_id(snapshot):
            return snapshot
        filed: list[_Filed] = yield self._ask(lambda: self._filed(asked))
        is_closed = yield from self._closed(config, snapshot, filed)
        return cast(StateSnapshot, (yield self._look(config))) if is_closed else snapshot

    def _closed(self, config: RunnableConfig, stopped: StateSnapshot, filed: list[_Filed]) -> _Way[bool]:
        open_calls = _open_calls(stopped)
        lost = [each for each in filed if _is_begun(each.item) and each.call.tool_call_id in open_calls]
        if not lost:
            return False
        nodes = {task.name for task in stopped.tasks}
        if len(nodes) > 1:
            raise AlreadyConsumedError(lost[0].item.id)
        yield self._ask(lambda: self._given_up(filed))
        messages = _closing(open_calls, lost)
        # First what the tasks beside it have finished is kept, which an update alone would lose.
        yield self._update(config, (None, END), ({"messages": messages}, nodes.pop()))
        return True

    def _answered(self, config: RunnableConfig, plan: _Plan) -> _Way[Any]:
        before: StateSnapshot = yield self._look(config)
        yield self._ask(lambda: self._consumed(plan))
        try:
            state = yield self._invoke(Command(resume={plan.question.id: plan.answer}), config)
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
            yield from self._told(config, plan, before, trouble)
            raise
        except GeneratorExit:
            raise
        except BaseException:
            yield self._ask(lambda: self._reported(plan, (), "The agent was interrupted.", hurried=True))
            raise
        yield from self._told(config, plan, before, "The thread does not tell what came of the call.")
        return state

    def _told(self, config: RunnableConfig, plan: _Plan, before: StateSnapshot, otherwise: str) -> _Way[None]:
        if plan.permitted:
            known = {message.id for message in _all_messages(before)}
            snapshot: StateSnapshot = yield self._look(config)
            new = {message.id: message for message in _all_messages(snapshot) if message.id not in known}
            if len(before.tasks) > 1:
                # Graphs beside each other may number their calls alike; what cannot be told apart is not told.
                new = _unmistakable(new)
            yield self._ask(lambda: self._reported(plan, tuple(new.values()), otherwise))

    def _filed(self, snapshot: StateSnapshot, *, only: Collection[str] | None = None) -> Steps[list[_Filed]]:
        filed = []
        for asked in _questions(snapshot):
            if only is not None and asked.id not in only:
                continue
            for number, call in enumerate(asked.calls):
                # A confidence may have to ask a model, which must not hold an event loop up.
                proposal: Proposal = yield Local(partial(self._proposal, snapshot, asked, number))
                filed.append(_Filed(asked, call, proposal, (yield from self._gate.filed(proposal))))
        return filed

    def _planned(self, snapshot: StateSnapshot, wait: float | None) -> Steps[list[_Plan] | None]:
        decided = yield from self._all_decided((yield from self._filed(snapshot)), wait)
        if decided is None:
            return None
        plans = []
        for asked in _questions(snapshot):
            ruled = []
            for each in decided:
                if each.question.id == asked.id:
                    ruled.append((each.call, *(yield from self._ruled(each))))
            said = answer(asked, [decision for _, decision, _ in ruled])
            permitted = tuple(_Permitted(call, permit) for call, _, permit in ruled if permit is not None)
            plans.append(_Plan(asked, said, permitted))
        return plans

    def _all_decided(self, filed: list[_Filed], wait: float | None) -> Steps[list[_Filed] | None]:
        until = None if wait is None else time.monotonic() + wait
        while waiting := [number for number, each in enumerate(filed) if is_undecided(each.item)]:
            # A question may be asked about any of them, so none is waited for alone.
            look = _LOOK_SECONDS if self._answer is not None and len(waiting) > 1 else math.inf
            for number in waiting:
                each = filed[number]
                seconds = look if until is None else min(look, max(0.0, until - time.monotonic()))
                patience = None if seconds == math.inf else seconds
                item = yield from self._gate.awaited(each.item, patience, each.proposal.answering)
                filed[number] = replace(each, item=item)
                if until is not None and time.monotonic() >= until and is_undecided(item):
                    return None
        return filed

    def _ruled(self, filed: _Filed) -> Steps[tuple[Decision, Permit | None]]:
        item = filed.item
        told = told_instead(item, filed.call.name)
        if told is not None:
            return _told(filed, told), None
        try:
            permit = yield from self._gate.permitted(item, filed.proposal)
        except CLOSED as error:
            # Where it was begun, the process that used the permission is gone.
            yield from self._doubted(item)
            return _no(told_of_closed(error, filed.call.name).text), None
        return item.decision or Approve(), permit

    def _consumed(self, plan: _Plan) -> Steps[None]:
        used: list[UUID] = []
        for each in plan.permitted:
            try:
                yield from self._gate.consumed(each.permit)
            except GateError:
                for item_id in used:
                    yield from self._gate.reported(
                        item_id, failed("It was not run: a call beside it lost its permission.")
                    )
                raise
            used.append(each.permit.item_id)

    def _reported(
        self, plan: _Plan, messages: Sequence[BaseMessage], otherwise: str, *, hurried: bool = False
    ) -> Steps[None]:
        for each in plan.permitted:
            outcome = _outcome(each.call, messages) or Outcome(
                status=OutcomeStatus.UNKNOWN, error=otherwise[:MAX_LONG_TEXT]
            )
            yield from self._gate.reported(each.permit.item_id, outcome, hurried=hurried)

    def _doubted(self, item: ActionStatus) -> Steps[None]:
        if item.execution is Execution.STARTED:
            unknown = Outcome(status=OutcomeStatus.UNKNOWN, error="The agent was interrupted while the call ran.")
            yield from self._gate.reported(item.id, unknown)

    def _given_up(self, filed: Sequence[_Filed]) -> Steps[None]:
        for each in filed:
            if is_undecided(each.item):
                yield from self._gate.withdrawn(each.item.id)
            yield from self._doubted(each.item)

    def _proposal(self, snapshot: StateSnapshot, asked: Question, number: int) -> Proposal:
        call = asked.calls[number]
        place = snapshot.config["configurable"]
        tool = self._tools.get(call.name)
        known: dict[str, object] = {
            "description": (call.description or "")[:MAX_LONG_TEXT] or None,
            "args_schema": args_schema_of(tool) if tool else None,
            "context": context_of(snapshot.values, untrusted=self._untrusted),
        }
        about = self._about
        if call.request is not None:
            known |= call.request.model_dump(exclude_unset=True, exclude={"action", "run", "confidence"})
            about = {"confidence": call.request.confidence, **about}
        run = RunInfo(
            framework="langgraph",
            thread_id=str(place["thread_id"])[:MAX_SHORT_TEXT],
            run_id=str(place["checkpoint_id"])[:MAX_SHORT_TEXT],
            interrupt_id=asked.id[:MAX_SHORT_TEXT],
            tool_call_id=call.tool_call_id[:MAX_SHORT_TEXT] if call.tool_call_id else None,
        )
        # A person can always say no; how that is put to the thread is decided when it is answered.
        allowed = tuple(dict.fromkeys((*call.allowed, DecisionType.REJECT)))
        request = request_for(call.name, call.args, about, **known, run=run)
        request = request.model_copy(update={"allowed_decisions": allowed})
        key = idempotency_key_for(about, call.args) or _derived_key(
            str(place["thread_id"]), asked.id, number, call.name
        )

        def check_edit(args: Args) -> None:
            if tool is not None:
                _check_args(tool, args)

        answering = None if self._answer is None else Answering(self._answer, call.args)
        return Proposal(request, key, None, check_edit, succeeded, answering=answering)

    def _look(self, config: RunnableConfig) -> _Doing:
        graph = self._graph
        return _Doing(lambda: graph.get_state(config, subgraphs=True), lambda: graph.aget_state(config, subgraphs=True))

    def _look_back(self, config: RunnableConfig) -> _Doing:
        def now() -> StateSnapshot | None:
            history = self._graph.get_state_history(config, limit=_LONGEST_LOOK_BACK)
            return next((each for each in history if each.interrupts), None)

        async def later() -> StateSnapshot | None:
            async for each in self._graph.aget_state_history(config, limit=_LONGEST_LOOK_BACK):
                if each.interrupts:
                    return each
            return None

        return _Doing(now, later)

    def _invoke(self, given: Any, config: RunnableConfig) -> _Doing:  # noqa: ANN401 -- the graph's input
        # Written down before the next step begins, so that a crash finds the thread no further back than it was.
        return _Doing(
            lambda: self._graph.invoke(given, config, durability="sync"),
            lambda: self._graph.ainvoke(given, config, durability="sync"),
        )

    def _update(self, config: RunnableConfig, *updates: tuple[dict[str, Any] | None, str]) -> _Doing:
        steps = [[StateUpdate(values, as_node=node)] for values, node in updates]
        return _Doing(
            lambda: self._graph.bulk_update_state(config, steps),
            lambda: self._graph.abulk_update_state(config, steps),
        )

    def _take_back(self, kept: Sequence[tuple[RunnableConfig, str]]) -> _Doing:
        """Write over each answer that a task failed on: it waits again for what it asked, and nothing is done again."""
        saver = self._graph.checkpointer
        if not isinstance(saver, BaseCheckpointSaver):
            raise ThreadBrickedError

        def now() -> None:
            for place, task_id in kept:
                saver.put_writes(place, _taken_back(saver.get_tuple(place), task_id), task_id)

        async def later() -> None:
            for place, task_id in kept:
                await saver.aput_writes(place, _taken_back(await saver.aget_tuple(place), task_id), task_id)

        return _Doing(now, later)

    def _ask(self, steps: Callable[[], Steps[Any]]) -> _Doing:
        client = self._gate.client
        return _Doing(lambda: client.send(steps()), lambda: client.asend(steps()))


def _done(way: _Way[T]) -> T:
    given: Any = None
    error: BaseException | None = None
    while True:
        try:
            doing = way.send(given) if error is None else way.throw(error)
        except StopIteration as end:
            return cast(T, end.value)
        given, error = None, None
        try:
            given = doing.now()
        except BaseException as trouble:  # noqa: BLE001 -- the generator decides about it, and raises it
            error = trouble


async def _adone(way: _Way[T]) -> T:
    given: Any = None
    error: BaseException | None = None
    while True:
        try:
            doing = way.send(given) if error is None else way.throw(error)
        except StopIteration as end:
            return cast(T, end.value)
        given, error = None, None
        try:
            given = await doing.later()
        except BaseException as trouble:  # noqa: BLE001 -- as in _done
            error = trouble


def _questions(snapshot: StateSnapshot) -> list[Question]:
    return [
        question(each, _messages(_asking(each.id, task, snapshot)))
        for task in snapshot.tasks
        for each in task.interrupts
    ]


def _asking(interrupt_id: str, task: PregelTask, snapshot: StateSnapshot) -> StateSnapshot:
    """Return the state of the graph that asks, which may be a graph inside the task."""
    here, at = snapshot, task
    while isinstance(at.state, StateSnapshot):
        here = at.state
        inside = [each for each in here.tasks if interrupt_id in {asked.id for asked in each.interrupts}] or here.tasks
        if not inside:
            break
        at = inside[0]
    return here


def _broken_off_in(task: PregelTask) -> Iterator[StateSnapshot]:
    """Yield the graphs inside the task that do not wait for an answer but stand before a step that may have begun."""
    if not isinstance(task.state, StateSnapshot) or task.result is not None:
        return
    inner = task.state
    nested = [each for inside in inner.tasks for each in _broken_off_in(inside)]
    yield from nested
    if not nested and any(each.result is None and (each.error or not each.interrupts) for each in inner.tasks):
        yield inner


def _messages(snapshot: StateSnapshot) -> list[BaseMessage]:
    values = snapshot.values
    said = values.get("messages", []) if isinstance(values, dict) else []
    return [each for each in said if isinstance(each, BaseMessage)]


def _all_messages(snapshot: StateSnapshot) -> list[BaseMessage]:
    inner = [task.state for task in snapshot.tasks if isinstance(task.state, StateSnapshot)]
    return [*_messages(snapshot), *(message for each in inner for message in _all_messages(each))]


def _unmistakable(messages: Mapping[str | None, BaseMessage]) -> dict[str | None, BaseMessage]:
    times = Counter(each.tool_call_id for each in messages.values() if isinstance(each, ToolMessage))
    return {
        id_: each for id_, each in messages.items() if isinstance(each, ToolMessage) and times[each.tool_call_id] == 1
    }


def _closing(open_calls: Mapping[str, str], lost: Sequence[_Filed]) -> list[ToolMessage]:
    told = {
        each.call.tool_call_id: told_of_closed(AlreadyConsumedError(each.item.id), each.call.name).text for each in lost
    }
    return [
        ToolMessage(told.get(each, _NOT_RUN), tool_call_id=each, name=name, status="error")
        for each, name in open_calls.items()
    ]


def _open_calls(snapshot: StateSnapshot) -> dict[str, str]:
    """Return the id and the tool of each call of the latest proposal that has no result yet."""
    messages = _messages(snapshot)
    proposal = last_proposal(messages)
    if proposal is None:
        return {}
    after = messages[messages.index(proposal) + 1 :]
    closed = {each.tool_call_id for each in after if isinstance(each, ToolMessage)}
    calls = {call["id"]: call["name"] for call in proposal.tool_calls}
    return {id_: name for id_, name in calls.items() if id_ is not None and id_ not in closed}


def _bricked_in(snapshot: StateSnapshot) -> list[tuple[RunnableConfig, str]]:
    """Return which tasks keep an answer that they failed on, and in which checkpoint, the graphs inside last."""
    # LangGraph keeps an answer before the node has heard it, unless the question came with a type to check it by,
    # as those of single calls do. A node that failed on a kept answer will be given it again for ever.
    found: list[tuple[RunnableConfig, str]] = []
    messages = _messages(snapshot)
    for task in snapshot.tasks:
        inside = _bricked_in(task.state) if isinstance(task.state, StateSnapshot) and task.result is None else []
        is_failing = task.error is not None and not isinstance(task.state, StateSnapshot)
        is_own = is_failing and any(question(each, messages).shape is not Shape.PER_CALL for each in task.interrupts)
        if inside or is_own:
            found += [(snapshot.config, task.id), *inside]
    return found


def _taken_back(kept: CheckpointTuple | None, task_id: str) -> list[tuple[str, Any]]:
    """Return what to write over the task's error and its latest answer; earlier ones, to other questions, stay."""
    mine = {name: value for owner, name, value in (kept.pending_writes or () if kept else ()) if owner == task_id}
    writes: list[tuple[str, Any]] = [(ERROR, None)] if ERROR in mine else []
    if RESUME in mine:
        answers = mine[RESUME] if isinstance(mine[RESUME], list) else []
        writes.append((RESUME, None if task_id == _NO_TASK else answers[:-1]))
    return writes


def _is_begun(item: ActionStatus) -> bool:
    return item.execution not in (Execution.NONE, Execution.PERMITTED)


def _proposal_id(snapshot: StateSnapshot) -> str | None:
    proposal = last_proposal(_messages(snapshot))
    return proposal.id if proposal else None


def _check_args(tool: BaseTool, args: Args) -> None:
    schema = tool.tool_call_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return
    unknown = set(args) - {field.alias or name for name, field in schema.model_fields.items()}
    if unknown:
        raise EditRefusedError(tool.name, why=f"it has no argument {', '.join(sorted(unknown))}.")
    try:
        schema.model_validate(args)
    except ValidationError as error:
        raise EditRefusedError(tool.name, why=str(error)) from error


def _outcome(call: AskedCall, messages: Sequence[BaseMessage]) -> Outcome | None:
    for each in messages:
        if isinstance(each, ToolMessage) and each.tool_call_id == call.tool_call_id:
            return failed(each.content) if each.status == "error" else succeeded(each.content)
    return None


def _told(filed: _Filed, told: Told) -> Decision:
    is_for_model = filed.question.shape in (Shape.BATCHED, Shape.PER_CALL)
    if isinstance(filed.item.decision, Respond):
        # A node of one's own gets the person's bare words, a model also what they mean.
        return Respond(message=told.text[:MAX_LONG_TEXT]) if is_for_model else filed.item.decision
    return _no(told.text)


def _no(text: str) -> Reject:
    return Reject(message=text[:MAX_LONG_TEXT])


def _derived_key(*parts: str | int) -> str:
    return "graph-" + hashlib.sha256(json.dumps(["langgraph", *parts]).encode()).hexdigest()
