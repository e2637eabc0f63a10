"""How a permitted call is run: in its time, again only where that is harmless, never twice unasked."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import ValidationError

from agents import Breaker, Gate, IdempotencyKey, Rate, RunPlan, idempotency_key
from agents.client import Pause, Run
from agents.execution import Ran, Traffic, Way, arun_way, tried
from agents.protocol import Approve, Args, Execution, OutcomeStatus
from review.desk import Seen
from tests.agents.answers import taken
from tests.agents.desk import a_gate, items, let_run, outcome
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS, eventually

CALL: Args = {"order_id": "R-1"}
FULL_CALL = {"type": "tool_call", "name": "refund", "args": CALL, "id": "call_1"}
BRIEF = 0.05
ENOUGH_TO_BEGIN = 1.0
ROOT = Path(__file__).parents[2]
KEEN: dict[str, Any] = {"idempotent": True, "attempts": 3, "passing": (ConnectionError,), "pause": 0.0}

Effect = Callable[[str], str]


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    let_run(console, "refund")
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield pool


class Shop:
    """Refunds orders; first it fails as often as it is told to. ``keys`` are those that it was called under."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.keys: list[str | None] = []

    def refund(self, order_id: str) -> str:
        """Refund an order."""
        self.keys.append(idempotency_key())
        if self.troubles:
            raise self.troubles.pop(0)
        return f"Refunded {order_id}."

    async def arefund(self, order_id: str) -> str:
        """Refund an order."""
        await asyncio.sleep(0)
        return self.refund(order_id)

    def tool(self, *, is_async: bool = False) -> BaseTool:
        if is_async:
            return StructuredTool.from_function(coroutine=self.arefund, name="refund")
        return StructuredTool.from_function(self.refund, name="refund")


class Stuck:
    """A shop that does not come back until it is let go."""

    def __init__(self) -> None:
        self.runs = 0
        self.go_on = threading.Event()
        self.was_cancelled = False

    def refund(self, order_id: str) -> str:
        """Refund an order, some day."""
        self.runs += 1
        self.go_on.wait(PATIENCE_SECONDS)
        return f"Refunded {order_id} at last."

    async def arefund(self, order_id: str) -> str:
        """Refund an order, some day."""
        self.runs += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return order_id


def called(gate: Gate, plain: BaseTool, plan: RunPlan, *, is_async: bool = False) -> Any:  # noqa: ANN401 -- whatever the tool returns
    guarded = gate.guard(plain, plan=plan)
    return asyncio.run(guarded.ainvoke(dict(CALL))) if is_async else guarded.invoke(dict(CALL))


def consumed_key(console: Console, gate: Gate) -> str:
    return str(console.desk.whole(console.person, items(gate)[0].id).item.jti)


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 2},
        {"attempts": 2, "idempotent": True},
        {"attempts": 2, "passing": (OSError,)},
        {"attempts": 0},
        {"seconds": 0.0},
        {"seconds": float("inf")},
        {"pause": -1.0},
        {"pause": 2.0, "longest_pause": 1.0},
        {"fallbacks": (print,)},
    ],
)
def test_a_plan_that_could_do_harm_is_not_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^\w"):
        RunPlan(**settings)


@pytest.mark.parametrize("settings", [{"per_second": 0.0}, {"per_second": 1.0, "burst": 0}])
def test_a_rate_lets_something_through(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(**settings)


@pytest.mark.parametrize("settings", [{"failures": 0}, {"seconds": 0.0}])
def test_a_breaker_lets_something_through(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        Breaker(**settings)


@both
def test_an_idempotent_tool_is_tried_again_under_one_key(console: Console, gate: Gate, *, is_async: bool) -> None:
    shop = Shop(ConnectionError("no line"), ConnectionError("no line"))

    answer = called(gate, shop.tool(is_async=is_async), RunPlan(**KEEN), is_async=is_async)

    assert answer == "Refunded R-1."
    assert shop.keys == [consumed_key(console, gate)] * 3
    assert (outcome(console, gate).status, outcome(console, gate).attempts) == (OutcomeStatus.SUCCEEDED, 3)
    assert len(items(gate)) == 1


def test_every_try_and_fallback_gets_the_arguments_as_they_were_permitted() -> None:
    given: Args = {"lines": [{"order_id": "R-1"}]}
    plan = RunPlan(idempotent=True, fallbacks=(print, print))
    seen: list[Args] = []

    steps = tried(plan, ("refund", "by hand", "by mail"), Traffic(), Run(given))
    step = next(steps)
    for _ in range(2):
        assert isinstance(step, Run)
        seen.append(deepcopy(step.args))
        step.args["lines"].clear()  # type: ignore[union-attr]  # a list, as given above
        step = steps.send(Ran(error=ConnectionError()))

    assert isinstance(step, Run)
    assert [*seen, step.args, given] == [{"lines": [{"order_id": "R-1"}]}] * 4


def test_a_tool_that_keeps_failing_is_given_up_and_the_error_is_raised_on(console: Console, gate: Gate) -> None:
    shop = Shop(*[ConnectionError(f"no line {number}") for number in range(9)])

    with pytest.raises(ConnectionError, match="no line 2"):
        called(gate, shop.tool(), RunPlan(**KEEN))

    assert len(shop.keys) == 3
    assert outcome(console, gate).status is OutcomeStatus.FAILED
    assert outcome(console, gate).attempts == 3


@pytest.mark.parametrize(
    ("plan", "trouble"),
    [
        (RunPlan(), ConnectionError()),
        (RunPlan(passing=(ConnectionError,)), ConnectionError()),
        (RunPlan(**KEEN), KeyError("no such order")),
    ],
    ids=["no plan", "not idempotent", "not passing"],
)
def test_nothing_is_tried_again_that_was_not_declared(
    console: Console, gate: Gate, plan: RunPlan, trouble: Exception
) -> None:
    shop = Shop(trouble)

    with pytest.raises(type(trouble)):
        called(gate, shop.tool(), plan)

    assert len(shop.keys) == 1
    assert outcome(console, gate).attempts is None


def test_the_pauses_between_tries_double_and_are_spread() -> None:
    plan = RunPlan(idempotent=True, attempts=4, passing=(OSError,), pause=1.0, longest_pause=2.0)
    failed = Ran(error=OSError("no line"))

    steps, ran = taken(tried(plan, ("refund",), Traffic(), Run(CALL)), failed, None, failed, None, failed, None, failed)

    pauses = [step.seconds for step in steps if isinstance(step, Pause)]
    assert ran.attempts == 4
    assert [low <= pause <= low + 1.0 for low, pause in zip([1.0, 2.0, 2.0], pauses, strict=True)] == [True] * 3


@both
def test_a_sync_tool_that_does_not_come_back_is_unknown_and_never_run_again(
    console: Console, gate: Gate, *, is_async: bool
) -> None:
    stuck = Stuck()
    plain = StructuredTool.from_function(stuck.refund, name="refund")
    plan = RunPlan(seconds=BRIEF, **{**KEEN, "passing": (TimeoutError,)}, fallbacks=(Shop().refund,))

    answer = called(gate, plain, plan, is_async=is_async)

    assert "did not come back within 0.05 seconds" in answer
    assert "Do not make this call again" in answer
    assert outcome(console, gate).status is OutcomeStatus.UNKNOWN
    assert eventually(lambda: stuck.runs > 0)
    assert stuck.runs == 1
    stuck.go_on.set()


@both
def test_a_run_that_comes_back_late_is_reported_after_all(console: Console, gate: Gate, *, is_async: bool) -> None:
    stuck = Stuck()
    plain = StructuredTool.from_function(stuck.refund, name="refund")
    called(gate, plain, RunPlan(seconds=BRIEF), is_async=is_async)

    stuck.go_on.set()

    assert eventually(lambda: items(gate)[0].execution is Execution.SUCCEEDED)
    assert outcome(console, gate).result == "Refunded R-1 at last."


def test_a_coroutine_that_does_not_come_back_is_cancelled_and_unknown(console: Console, gate: Gate) -> None:
    stuck = Stuck()
    plain = StructuredTool.from_function(coroutine=stuck.arefund, name="refund")

    answer = called(gate, plain, RunPlan(seconds=ENOUGH_TO_BEGIN), is_async=True)

    assert "nobody knows yet whether it took effect" in answer
    assert (stuck.runs, stuck.was_cancelled) == (1, True)
    assert outcome(console, gate).status is OutcomeStatus.UNKNOWN


def test_an_idempotent_coroutine_that_was_cancelled_may_be_tried_again(console: Console, gate: Gate) -> None:
    stuck = Stuck()
    plain = StructuredTool.from_function(coroutine=stuck.arefund, name="refund")
    plan = RunPlan(seconds=ENOUGH_TO_BEGIN, **{**KEEN, "passing": (TimeoutError,)})

    called(gate, plain, plan, is_async=True)

    assert stuck.runs == 3
    assert outcome(console, gate).status is OutcomeStatus.UNKNOWN
    assert outcome(console, gate).attempts == 3


def test_a_coroutine_that_will_not_be_cancelled_is_left_alone(gate: Gate) -> None:
    runs: list[str] = []
    go_on = asyncio.Event()

    @tool
    async def refund(order_id: str) -> str:
        """Refund an order, and do not listen."""
        runs.append(order_id)
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()
        return f"Refunded {order_id} at last."

    async def agent() -> str:
        plan = RunPlan(seconds=ENOUGH_TO_BEGIN, **{**KEEN, "passing": (TimeoutError,)})
        told = str(await gate.guard(refund, plan=plan).ainvoke(dict(CALL)))
        go_on.set()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=PATIENCE_SECONDS)
        return told

    told = asyncio.run(agent())

    assert "did not come back" in told
    assert runs == ["R-1"]
    assert eventually(lambda: items(gate)[0].execution is Execution.SUCCEEDED)


def test_a_tool_in_time_is_not_disturbed(gate: Gate) -> None:
    shop = Shop()

    answers = [
        called(gate, shop.tool(), RunPlan(seconds=PATIENCE_SECONDS)),
        called(gate, shop.tool(), RunPlan(seconds=PATIENCE_SECONDS), is_async=True),
        called(gate, shop.tool(is_async=True), RunPlan(seconds=PATIENCE_SECONDS), is_async=True),
    ]

    assert answers == ["Refunded R-1."] * 3
    assert None not in shop.keys
    assert {each.execution for each in items(gate)} == {Execution.SUCCEEDED}


@pytest.mark.parametrize("seconds", [None, PATIENCE_SECONDS])
def test_a_tool_that_gives_up_waiting_itself_leaves_the_outcome_open(
    console: Console, gate: Gate, seconds: float | None
) -> None:
    with pytest.raises(TimeoutError):
        called(gate, Shop(TimeoutError("no answer")).tool(), RunPlan(seconds=seconds))

    assert outcome(console, gate).status is OutcomeStatus.UNKNOWN


def test_an_interruption_in_a_timed_run_is_raised_on_and_unknown(gate: Gate) -> None:
    @tool
    def refund(order_id: str) -> str:
        """Be interrupted."""
        raise KeyboardInterrupt(order_id)

    with pytest.raises(KeyboardInterrupt):
        gate.guard(refund, plan=RunPlan(seconds=PATIENCE_SECONDS)).invoke(dict(CALL))

    assert eventually(lambda: items(gate)[0].execution is Execution.UNKNOWN)


def test_a_doubt_of_an_earlier_try_stays_a_doubt(console: Console, gate: Gate) -> None:
    shop = Shop(TimeoutError("no answer"), KeyError("no such order"))
    plan = RunPlan(**{**KEEN, "passing": (TimeoutError,)})

    with pytest.raises(KeyError):
        called(gate, shop.tool(), plan)

    assert outcome(console, gate).status is OutcomeStatus.UNKNOWN


@both
@pytest.mark.parametrize("is_tool", [False, True], ids=["function", "tool"])
def test_a_fallback_runs_where_the_tool_did_nothing(
    console: Console, gate: Gate, *, is_async: bool, is_tool: bool
) -> None:
    first, second = Shop(ConnectionRefusedError("shut")), Shop()
    fallback = StructuredTool.from_function(second.refund, name="refund_by_hand") if is_tool else second.refund
    plan = RunPlan(nothing_done=(ConnectionRefusedError,), fallbacks=(fallback,))

    answer = called(gate, first.tool(), plan, is_async=is_async)

    assert answer == "Refunded R-1."
    assert first.keys == second.keys == [consumed_key(console, gate)]
    reported = outcome(console, gate)
    assert (reported.status, reported.attempts) == (OutcomeStatus.SUCCEEDED, 2)
    assert reported.fallback == ("refund_by_hand" if is_tool else "refund")


def test_a_coroutine_may_be_a_fallback_too(console: Console, gate: Gate) -> None:
    second = Shop()
    plan = RunPlan(nothing_done=(ConnectionError,), fallbacks=(second.arefund,))

    answer = called(gate, Shop(ConnectionError()).tool(), plan, is_async=True)

    assert answer == "Refunded R-1."
    assert second.keys == [consumed_key(console, gate)]


@pytest.mark.parametrize("trouble", [OSError("half done"), TimeoutError("no answer")])
def test_no_fallback_runs_where_the_tool_may_have_done_something(
    console: Console, gate: Gate, trouble: Exception
) -> None:
    second = Shop()
    plan = RunPlan(nothing_done=(ConnectionRefusedError,), fallbacks=(second.refund,))

    with pytest.raises(type(trouble)):
        called(gate, Shop(trouble).tool(), plan)

    assert second.keys == []
    assert outcome(console, gate).fallback is None


def test_the_fallbacks_of_an_idempotent_tool_follow_each_other_after_any_error(console: Console, gate: Gate) -> None:
    first, second, third = Shop(OSError("one")), Shop(KeyError("two")), Shop()
    plan = RunPlan(idempotent=True, fallbacks=(second.refund, third.refund))

    answer = called(gate, first.tool(), plan)

    assert answer == "Refunded R-1."
    assert [len(shop.keys) for shop in (first, second, third)] == [1, 1, 1]
    assert outcome(console, gate).attempts == 3


def test_the_message_of_a_fallback_answers_the_call_that_the_model_made(gate: Gate) -> None:
    by_hand = StructuredTool.from_function(Shop().refund, name="refund_by_hand")
    plan = RunPlan(nothing_done=(ConnectionError,), fallbacks=(by_hand,))

    message = gate.guard(Shop(ConnectionError()).tool(), plan=plan).invoke(dict(FULL_CALL))

    assert isinstance(message, ToolMessage)
    assert (message.name, message.tool_call_id, message.content) == ("refund", "call_1", "Refunded R-1.")


def test_a_tool_out_of_order_bothers_no_reviewer_and_no_other_guard_runs_it(gate: Gate) -> None:
    shop = Shop(*[OSError("broken")] * 9)
    plan = RunPlan(breaker=Breaker(failures=2, seconds=600))
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            called(gate, shop.tool(), plan)

    told = called(gate, shop.tool(), RunPlan(breaker=Breaker(failures=2, seconds=500)))

    assert "refund is out of order" in told
    assert "not put before a person" in told
    assert len(shop.keys) == 2
    assert len(items(gate)) == 2


def test_a_tool_that_broke_while_a_person_decided_keeps_its_permission_unused(
    console: Console, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    let_run(console)
    shop = Shop(OSError("broken"))
    plan = RunPlan(breaker=Breaker(failures=1, seconds=600))
    guarded = gate.guard(shop.tool(), plan=plan)
    first, second = (beside.submit(guarded.invoke, {"order_id": order}) for order in ("R-1", "R-2"))
    assert eventually(lambda: len(items(gate)) == 2)

    for count in (1, 2):
        item = console.desk.claim(console.person)
        assert item is not None
        console.desk.decide(item.id, Approve(), console.person, seen=Seen.of(item))
        assert eventually(lambda: first.done() + second.done() == count)  # noqa: B023 -- it is asked before the next turn

    outcomes = [first.exception(PATIENCE_SECONDS), second.exception(PATIENCE_SECONDS)]
    assert [type(each) for each in outcomes if each is not None] == [OSError]
    (told,) = [future.result() for future in (first, second) if future.exception() is None]
    assert "It was permitted, but it was not run." in told
    assert len(shop.keys) == 1
    assert sorted(each.execution for each in items(gate)) == [Execution.FAILED, Execution.PERMITTED]


def test_the_fallback_of_a_tool_out_of_order_runs_at_once(console: Console, gate: Gate) -> None:
    shop, second = Shop(*[ConnectionError("broken")] * 9), Shop()
    breaker = Breaker(failures=1, seconds=600)
    with pytest.raises(ConnectionError):
        called(gate, shop.tool(), RunPlan(breaker=breaker))

    answer = called(
        gate, shop.tool(), RunPlan(breaker=breaker, nothing_done=(ConnectionError,), fallbacks=(second.refund,))
    )

    assert answer == "Refunded R-1."
    assert (len(shop.keys), len(second.keys)) == (1, 1)
    assert outcome(console, gate).attempts is None


def test_a_breaker_opens_rests_and_lets_one_call_try() -> None:
    now = 100.0
    traffic = Traffic(lambda: now)
    breaker = Breaker(failures=2, seconds=60.0, counts=(OSError,))
    for error in (OSError(), KeyError(), OSError()):
        assert traffic.enter(breaker)
        traffic.left(breaker, Ran(error=error))

    assert (traffic.rest(breaker), traffic.enter(breaker)) == (60.0, False)
    now = 159.0
    assert (traffic.rest(breaker), traffic.enter(breaker)) == (1.0, False)
    now = 160.0
    assert (traffic.rest(breaker), traffic.enter(breaker), traffic.enter(breaker)) == (0.0, True, False)

    traffic.left(breaker)
    assert traffic.enter(breaker)
    traffic.left(breaker, Ran(error=OSError()))
    assert traffic.rest(breaker) == 60.0

    now = 220.0
    assert traffic.enter(breaker)
    traffic.left(breaker, Ran("done"))
    assert all(traffic.enter(breaker) for _ in range(9))


def test_somebody_elses_run_does_not_end_the_trial_of_a_tool() -> None:
    now = 0.0
    traffic, breaker = Traffic(lambda: now), Breaker(failures=1, seconds=60.0)
    slow, trial = object(), object()
    assert traffic.enter(breaker, slow)
    traffic.left(breaker, Ran(error=OSError()))
    now = 60.0
    assert traffic.enter(breaker, trial)

    traffic.left(breaker, Ran(error=OSError()), slow)
    now = 120.0

    assert not traffic.enter(breaker, object())
    traffic.left(breaker, call=trial)
    assert traffic.enter(breaker, object())


@pytest.mark.parametrize(
    ("late", "told"),
    [
        (Ran("done"), [Ran("done", attempts=2, fallback="by hand")]),
        (Ran(error=ConnectionRefusedError("shut")), []),
        (Ran(error=TimeoutError("no answer")), []),
        (Ran(error=KeyError("no such order")), []),
    ],
    ids=["success", "refused", "no answer", "error"],
)
def test_a_late_run_is_told_only_where_it_makes_sure(late: Ran, told: list[Ran]) -> None:
    heard: list[Ran] = []
    plan = RunPlan(idempotent=True, nothing_done=(ConnectionRefusedError,), fallbacks=(print,))
    steps = tried(plan, ("refund", "by hand"), Traffic(), Run(CALL, late=heard.append))
    next(steps)

    step = steps.send(Ran(error=TimeoutError("no answer")))
    assert isinstance(step, Run)
    assert step.late is not None
    step.late(late)

    assert heard == told


def test_a_late_error_that_says_that_nothing_was_done_is_told() -> None:
    heard: list[Ran] = []
    refused = Ran(error=ConnectionRefusedError("shut"))
    plan = RunPlan(nothing_done=(ConnectionRefusedError,))

    step = next(tried(plan, ("refund",), Traffic(), Run(CALL, late=heard.append)))
    assert isinstance(step, Run)
    assert step.late is not None
    step.late(refused)

    assert heard == [refused]


def test_what_a_coroutine_raises_after_its_cancellation_is_not_told() -> None:
    heard: list[Ran] = []
    go_on = asyncio.Event()

    async def stubborn(_: Args) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await go_on.wait()
            raise ConnectionRefusedError

    async def agent() -> Ran:
        ran = await arun_way(Run(CALL, seconds=BRIEF, late=heard.append), [Way.awaited("refund", stubborn)])
        go_on.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=PATIENCE_SECONDS)
        return ran

    ran = asyncio.run(agent())

    assert ran.is_going_on
    assert heard == []


def test_a_way_that_fails_before_it_can_be_awaited_failed_like_any_other() -> None:
    def broken(_: Args) -> Awaitable[None]:
        raise LookupError

    ways = [Way.awaited("refund", broken)]

    rans = [asyncio.run(arun_way(Run(CALL, seconds=seconds), ways)) for seconds in (None, PATIENCE_SECONDS)]

    assert [type(ran.error) for ran in rans] == [LookupError] * 2


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    traffic, breaker = Traffic(), Breaker(failures=2)

    for ran in (Ran(error=OSError()), Ran("done"), Ran(error=OSError())):
        traffic.left(breaker, ran)

    assert traffic.rest(breaker) == 0.0


def test_all_guards_of_a_tool_share_its_pace(gate: Gate) -> None:
    shop, rate = Shop(), Rate(per_second=0.001, burst=2)
    for _ in range(2):
        gate.guard(shop.tool(), plan=RunPlan(rate=Rate(per_second=0.001, burst=2))).invoke(dict(CALL))

    step = next(gate._traffic_of("refund").paced(rate))  # noqa: SLF001 -- the third call would wait for a quarter of an hour

    assert len(shop.keys) == 2
    assert step == Pause(1.0)


def test_a_tool_that_waited_for_its_pace_runs(gate: Gate) -> None:
    shop = Shop()
    guarded = gate.guard(shop.tool(), plan=RunPlan(rate=Rate(per_second=50.0)))

    answers = [guarded.invoke(dict(CALL)) for _ in range(3)]

    assert answers == ["Refunded R-1."] * 3


def test_the_key_is_known_inside_a_guarded_call_alone(console: Console, gate: Gate) -> None:
    seen: list[str | None] = []

    @tool
    def refund(order_id: str) -> str:
        """Look at the key, also from the depths."""
        seen.append(idempotency_key())
        return order_id

    for seconds in (None, PATIENCE_SECONDS):
        gate.guard(refund, plan=RunPlan(seconds=seconds)).invoke(dict(CALL))
        asyncio.run(gate.guard(refund, plan=RunPlan(seconds=seconds)).ainvoke(dict(CALL)))

    keys = {str(console.desk.whole(console.person, item.id).item.jti) for item in items(gate)}
    assert len(keys) == 4
    assert set(seen) == keys
    assert idempotency_key() is None


def test_of_concurrent_calls_each_knows_its_own_key(gate: Gate) -> None:
    seen: dict[str, list[str | None]] = {}

    @tool
    async def refund(order_id: str) -> str:
        """Look at the key twice."""
        seen[order_id] = [idempotency_key()]
        await asyncio.sleep(0.01)
        seen[order_id].append(await asyncio.to_thread(idempotency_key))
        return order_id

    async def agent() -> None:
        guarded = gate.guard(refund)
        await asyncio.gather(*(guarded.ainvoke({"order_id": f"R-{number}"}) for number in range(5)))

    asyncio.run(agent())

    assert all(first == second for first, second in seen.values())
    assert len({first for first, _ in seen.values()}) == 5


def refund_with_key(order_id: str, key: Annotated[str, IdempotencyKey]) -> str:
    """Refund an order, once for a key."""
    return f"{order_id} under {key}"


async def arefund_with_key(order_id: str, key: Annotated[str, IdempotencyKey()]) -> str:
    """Refund an order, once for a key."""
    return f"{order_id} under {key}"


class WithKey(BaseTool):
    """A tool that is a class of its own."""

    name: str = "refund"
    description: str = "Refund an order, once for a key."

    def _run(self, order_id: str, key: Annotated[str, IdempotencyKey]) -> str:
        return f"{order_id} under {key}"


@pytest.mark.parametrize(
    "plain",
    [
        StructuredTool.from_function(refund_with_key, name="refund"),
        StructuredTool.from_function(
            refund_with_key,
            name="refund",
            args_schema={"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
        ),
        WithKey(),
    ],
    ids=["function", "json schema", "class"],
)
def test_a_parameter_may_receive_the_key_and_nobody_else_sees_it(console: Console, gate: Gate, plain: BaseTool) -> None:
    guarded = gate.guard(plain)

    honest = guarded.invoke(dict(CALL))
    honest_key = consumed_key(console, gate)
    forged = guarded.invoke({**CALL, "key": "a key of the model's"})

    assert honest == f"R-1 under {honest_key}"
    assert forged == f"R-1 under {consumed_key(console, gate)}"
    shown = console.desk.whole(console.person, items(gate)[0].id).item.request
    assert shown.action.args == CALL
    assert shown.args_schema is not None
    assert set(shown.args_schema["properties"]) == {"order_id"}  # type: ignore[arg-type]  # an object, by its schema
    assert "key" not in guarded.args


def test_a_coroutine_may_receive_the_key(console: Console, gate: Gate) -> None:
    plain = StructuredTool.from_function(coroutine=arefund_with_key, name="refund")

    answer = asyncio.run(gate.guard(plain).ainvoke(dict(CALL)))

    assert answer == f"R-1 under {consumed_key(console, gate)}"


def test_a_fallback_may_receive_the_key_although_the_tool_does_not(console: Console, gate: Gate) -> None:
    plan = RunPlan(nothing_done=(ConnectionError,), fallbacks=(refund_with_key,))

    answer = called(gate, Shop(ConnectionError()).tool(), plan)

    assert answer == f"R-1 under {consumed_key(console, gate)}"


def test_a_fallback_that_takes_anything_gets_the_arguments(gate: Gate) -> None:
    def by_hand(**given: str) -> str:
        return f"By hand: {given}"

    plan = RunPlan(nothing_done=(ConnectionError,), fallbacks=(by_hand,))

    assert called(gate, Shop(ConnectionError()).tool(), plan) == "By hand: {'order_id': 'R-1'}"


def test_arguments_that_lack_something_are_still_the_models_to_mend(gate: Gate) -> None:
    with pytest.raises(ValidationError, match="order_id"):
        gate.guard(StructuredTool.from_function(refund_with_key, name="refund")).invoke({})


def test_whoever_imports_the_hook_alone_does_not_pay_for_langchain() -> None:
    program = "import sys, agents; print(*(name for name in sys.modules if name.startswith('langchain')))"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )

    assert done.stdout.split() == []


def test_single_calls_run_by_the_plan_too(gate: Gate) -> None:
    first, second = Shop(ConnectionError()), Shop(ConnectionError())

    answers = [
        gate.run(first.tool(), dict(CALL), plan=RunPlan(**KEEN)),
        asyncio.run(gate.arun(second.tool(), dict(CALL), plan=RunPlan(**KEEN))),
    ]

    assert answers == ["Refunded R-1."] * 2
    assert [len(shop.keys) for shop in (first, second)] == [2, 2]
