"""How a permitted call is run: for how long, how often, at which pace, and what stands in for a tool that fails.

All of it happens within one consumed permission, and every run has the receipt's id as its idempotency key. The way
is written once, free of I/O (`tried`); what really blocks or awaits is the running of a single try (`run_way`,
`arun_way`).
"""

import asyncio
import contextvars
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tenacity import DoAttempt, DoSleep, RetryCallState, Retrying, retry_if_result, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from .client import Pause, Run, Steps
from .errors import StoppedInsideError
from .protocol import Args

if TYPE_CHECKING:
    from langchain_core.rate_limiters import InMemoryRateLimiter
    from langchain_core.tools import BaseTool

_LEAVE_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.01

_logger = logging.getLogger(__name__)
_key: contextvars.ContextVar[str | None] = contextvars.ContextVar("idempotency_key", default=None)

Errors = tuple[type[Exception], ...]


def idempotency_key() -> str | None:
    """Return the key of the call that is running here: a tool hands it to what it calls, which then acts once.

    It is the receipt's ``jti``, the same for every try and fallback of one permission, and is known to the tool's
    own threads and tasks; None outside of a guarded or observed call.
    """
    return _key.get()


class OvertimeError(TimeoutError):
    """A run did not come back in its time; nobody knows whether it took effect."""

    def __init__(self, way: str, seconds: float) -> None:
        super().__init__(f"{way} did not come back within {seconds:g} seconds.")
        self.way = way
        self.seconds = seconds


class HandledError(Exception):
    """A tool handled its own ``error``: the run failed, and ``result`` is what the tool tells the model instead."""

    def __init__(self, error: Exception, result: Any) -> None:  # noqa: ANN401 -- whatever the tool returns
        super().__init__(str(error))
        self.error = error
        self.result = result


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """After so many failures in a row the tool rests for so many seconds; then one call tries it out.

    ``counts`` are the errors that speak of a tool out of order; a run past its time always does.
    """

    failures: int = 5
    seconds: float = 60.0
    counts: Errors = (Exception,)

    def __post_init__(self) -> None:
        if self.failures < 1 or not self.seconds > 0:
            message = "a breaker opens after at least one failure, for more than no time"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many runs a second a tool takes, and how many at once after a rest."""

    per_second: float
    burst: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.per_second < math.inf or self.burst < 1:
            message = "a rate is above zero, with a burst of at least one"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How a permitted call is run, within its one permission.

    ``seconds`` is how long one try may take. A run that did not come back in time is ``unknown``, and where it may
    still be going on nothing else is run.

    ``idempotent`` says that the tool acts once for one idempotency key, however often it is run. Only then is it tried
    ``attempts`` times, and only after the errors in ``passing``, with pauses that double from ``pause`` seconds up to
    ``longest_pause`` and grow by a random part of ``pause`` on top.

    ``fallbacks`` are other tools, or functions of the same arguments, that are tried in their order after the tool
    failed: where it is idempotent after any error, else only after those in ``nothing_done``, which say that the call
    had no effect. Errors in ``doubtful`` leave that open, so that the outcome is ``unknown``, as it always is after a
    run past its time.

    ``breaker`` and ``rate`` hold for the tool, whoever guards it: all guards of one Gate share their state.
    """

    seconds: float | None = None
    idempotent: bool = False
    attempts: int = 1
    passing: Errors = ()
    pause: float = 0.5
    longest_pause: float = 30.0
    nothing_done: Errors = ()
    doubtful: Errors = (TimeoutError,)
    fallbacks: "tuple[BaseTool | Callable[..., Any], ...]" = ()
    breaker: Breaker | None = None
    rate: Rate | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            message = "a try is given more than no time, and not for ever; None waits as long as it takes"
            raise ValueError(message)
        if self.attempts < 1 or self.pause < 0 or self.longest_pause < self.pause:
            message = "there is at least one attempt, and no pause is shorter than none"
            raise ValueError(message)
        if self.attempts > 1 and not (self.idempotent and self.passing):
            message = "only an idempotent tool is tried again, and only after errors that are declared passing"
            raise ValueError(message)
        if self.fallbacks and not (self.idempotent or self.nothing_done):
            message = "a fallback needs an idempotent tool, or errors after which nothing was done"
            raise ValueError(message)

    def leaves_open(self, error: Exception) -> bool:
        """Tell whether the call may have taken effect although it failed."""
        if isinstance(error, OvertimeError | StoppedInsideError):
            return True
        return isinstance(error, self.doubtful) and not self.did_nothing(error)

    def did_nothing(self, error: Exception) -> bool:
        """Tell whether the call surely had no effect."""
        # OvertimeError is an OSError, which may well be declared; but nobody knows how such a run ended.
        return isinstance(error, self.nothing_done) and not isinstance(error, OvertimeError | StoppedInsideError)


@dataclass(frozen=True, slots=True)
class Ran:
    """The action ran: its result, or the error that it raised, and the arguments that a person gave it.

    ``attempts`` counts all runs, ``fallback`` names what gave the result in the tool's place. ``is_doubtful`` tells
    that a run may have taken effect although it gave no result, ``is_going_on`` that it may not have ended yet,
    ``is_handled`` that the tool itself made a result of its error.
    """

    result: Any = None
    error: Exception | None = None
    edited: Args | None = None
    attempts: int = 1
    fallback: str | None = None
    is_doubtful: bool = False
    is_going_on: bool = False
    is_handled: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a call: blocking, and where it is truly asynchronous also as a coroutine that can be cancelled.

    ``wait`` awaits it without regard to time, as the framework itself would.
    """

    name: str
    run: Callable[[Args], Any]
    wait: Callable[[Args], Awaitable[Any]]
    is_async: bool = False

    @classmethod
    def awaited(cls, name: str, wait: Callable[[Args], Awaitable[Any]]) -> "Way":
        """Return a way that is only asynchronous."""

        def run(_args: Args) -> Any:  # noqa: ANN401 -- as Way.run
            message = f"{name} can only be awaited"
            raise TypeError(message)

        return cls(name, run, wait, is_async=True)


class Traffic:
    """What all guards of one tool share: how its latest runs went, and its pace. Safe to share between threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failures = 0
        self._failed_at = 0.0
        self._trial: object = None
        self._limiters: dict[Rate, InMemoryRateLimiter] = {}

    def rest(self, breaker: Breaker | None) -> float:
        """Return for how many seconds the tool is still out of order; 0 where a call may be made."""
        with self._lock:
            return self._rest(breaker)

    def enter(self, breaker: Breaker | None, call: object = ()) -> bool:
        """Let ``call`` take part in the traffic, if the breaker does; after a rest it lets one through at a time."""
        with self._lock:
            if breaker is None or self._failures < breaker.failures:
                return True
            if self._rest(breaker) > 0 or self._trial is not None:
                return False
            self._trial = call
            return True

    def left(self, breaker: Breaker | None, ran: Ran | None = None, call: object = ()) -> None:
        """Tell how the run of ``call``, the object that entered, went; None where nothing was run."""
        with self._lock:
            if self._trial is call:
                self._trial = None
            if ran is None or breaker is None:
                return
            if ran.error is None:
                self._failures = 0
            elif isinstance(ran.error, (OvertimeError, *breaker.counts)):
                self._failures += 1
                self._failed_at = self._now()

    def paced(self, rate: Rate | None) -> Steps[None]:
        """Wait until the tool takes another run."""
        if rate is None:
            return
        limiter = self._limiter(rate)
        while not limiter.acquire(blocking=False):
            yield Pause(max(_SHORTEST_PAUSE_SECONDS, min(1.0, 0.25 / rate.per_second)))

    def _rest(self, breaker: Breaker | None) -> float:
        if breaker is None or self._failures < breaker.failures:
            return 0.0
        return max(0.0, self._failed_at + breaker.seconds - self._now())

    def _limiter(self, rate: Rate) -> "InMemoryRateLimiter":
        from langchain_core.rate_limiters import InMemoryRateLimiter

        with self._lock:
            if rate not in self._limiters:
                limiter = InMemoryRateLimiter(requests_per_second=rate.per_second, max_bucket_size=rate.burst)
                limiter.available_tokens = float(rate.burst)  # It begins empty, which would make the first call wait.
                self._limiters[rate] = limiter
            return self._limiters[rate]


@dataclass(slots=True)
class _Course:
    """How the tries of one permission have gone so far."""

    plan: RunPlan
    attempts: int = 0
    is_doubtful: bool = False
    seen: Ran = field(default_factory=Ran)

    def next_try(self, run: Run, *, fallback: str | None = None) -> Run:
        attempts, was_doubtful = self.attempts + 1, self.is_doubtful

        def late(ran: Ran) -> None:
            # A late error says no more than was said at its time, unless it tells for sure that nothing was done.
            if ran.error is not None and (was_doubtful or not self.plan.did_nothing(ran.error)):
                return
            if run.late is not None:
                run.late(replace(ran, attempts=attempts, fallback=fallback))

        # A tool may change its arguments in place; each try gets them as they were permitted.
        return replace(run, args=deepcopy(run.args), late=late)

    def kept(self, ran: Ran) -> Ran:
        self.attempts += 1
        self.is_doubtful = self.is_doubtful or (ran.error is not None and self.plan.leaves_open(ran.error))
        self.seen = ran
        return ran

    def may_try_again(self, ran: Ran) -> bool:
        return isinstance(ran.error, self.plan.passing) and not ran.is_going_on

    def may_fall_back(self) -> bool:
        if self.seen.error is None or self.seen.is_going_on:
            return False
        return self.plan.idempotent or self.plan.did_nothing(self.seen.error)


def tried(
    plan: RunPlan, names: Sequence[str], traffic: Traffic, run: Run, *, is_in_order: bool = True, call: object = ()
) -> Steps[Ran]:
    """Run a permitted call as the plan says: the tool, again where it may be, then its fallbacks.

    ``names`` are those of the tool and of its fallbacks, ``run`` is the first try. A tool that is out of order is
    passed over. Only the tool's own runs count for its breaker and its pace; ``call`` is what entered the traffic.
    """
    course = _Course(plan)
    fallback = None
    if is_in_order:
        ran = yield from _tried_tool(course, traffic, run)
        traffic.left(plan.breaker, ran, call)
    for number, name in enumerate(names[1:], start=1):
        if is_in_order and not course.may_fall_back():
            break
        _logger.warning("%s failed or is out of order; %s is run in its place.", names[0], name)
        is_in_order, fallback = True, name
        course.kept((yield course.next_try(replace(run, way=number), fallback=name)))
    is_open = course.seen.error is not None and course.is_doubtful
    return replace(course.seen, attempts=course.attempts, fallback=fallback, is_doubtful=is_open)


def _tried_tool(course: _Course, traffic: Traffic, run: Run) -> Steps[Ran]:
    plan = course.plan
    retrying = Retrying(
        stop=stop_after_attempt(plan.attempts),
        wait=wait_exponential(multiplier=plan.pause, max=plan.longest_pause) + wait_random(0, plan.pause),
        retry=retry_if_result(course.may_try_again),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    retrying.begin()
    state = RetryCallState(retrying, fn=None, args=(), kwargs={})
    while True:
        doing = retrying.iter(state)
        if isinstance(doing, DoAttempt):
            if state.attempt_number > 1:
                yield from traffic.paced(plan.rate)
            state.set_result(course.kept((yield course.next_try(run))))
        elif isinstance(doing, DoSleep):
            _logger.info("Try %d of a permitted call failed and is made again: %s", course.attempts, course.seen.error)
            state.prepare_for_next_attempt()
            yield Pause(float(doing))
        else:
            return course.seen


def run_way(step: Run, ways: Sequence[Way]) -> Ran:
    """Run one try, blocking."""
    way = ways[step.way]
    with known_by(step.key):
        if step.seconds is None:
            return _ran(lambda: way.run(step.args))
        future = _in_thread(lambda: way.run(step.args))
        try:
            return future.result(step.seconds)
        except TimeoutError:
            return _overtime(way, step, future)


async def arun_way(step: Run, ways: Sequence[Way]) -> Ran:
    """Run one try without blocking the event loop."""
    way = ways[step.way]
    with known_by(step.key):
        if step.seconds is None:
            return await _aran(way, step.args)
        if way.is_async:
            return await _arun_cancellable(way, step)
        # What runs in a thread cannot be cancelled, and one of the event loop's own would keep the loop from closing.
        future = _in_thread(lambda: way.run(step.args))
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiting}, timeout=step.seconds)
        finally:
            waiting.cancel()
        return waiting.result() if done else _overtime(way, step, future)


@contextmanager
def known_by(key: str | None) -> Iterator[None]:
    """Let what runs inside know the idempotency key."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def _ran(run: Callable[[], Any]) -> Ran:
    try:
        return Ran(run())
    except HandledError as handled:
        return Ran(handled.result, handled.error, is_handled=True)
    except Exception as error:  # noqa: BLE001 -- what the tool raises is reported, then raised on
        return Ran(error=error)


async def _aran(way: Way, args: Args) -> Ran:
    try:
        return Ran(await way.wait(args))
    except HandledError as handled:
        return Ran(handled.result, handled.error, is_handled=True)
    except Exception as error:  # noqa: BLE001 -- what the tool raises is reported, then raised on
        return Ran(error=error)


def _in_thread(run: Callable[[], Any]) -> "Future[Ran]":
    future: Future[Ran] = Future()
    future.set_running_or_notify_cancel()  # It cannot be cancelled any more.
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(_ran, run))
        except BaseException as interruption:  # noqa: BLE001 -- raised on where the run is awaited
            future.set_exception(interruption)

    # A daemon, because one that never comes back must not keep the program from ending.
    threading.Thread(target=work, name="signoff-run", daemon=True).start()
    return future


def _overtime(way: Way, step: Run, future: "Future[Ran]") -> Ran:
    if future.done():
        return future.result()

    def came_back(done: "Future[Ran]") -> None:
        if step.late is not None and done.exception() is None:
            step.late(done.result())

    future.add_done_callback(came_back)
    return Ran(error=OvertimeError(way.name, step.seconds or 0.0), is_going_on=True)


async def _arun_cancellable(way: Way, step: Run) -> Ran:
    task = asyncio.ensure_future(_aran(way, step.args))
    try:
        done, _ = await asyncio.wait({task}, timeout=step.seconds)
    except BaseException:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=_LEAVE_SECONDS)
    overtime = Ran(error=OvertimeError(way.name, step.seconds or 0.0), is_going_on=not task.done())
    if not task.done():

        def came_back(ended: "asyncio.Task[Ran]") -> None:
            # What it raised after it was cancelled says nothing of what it had done before.
            if step.late is not None and not ended.cancelled() and ended.result().error is None:
                step.late(ended.result())

        task.add_done_callback(came_back)
        return overtime
    # It may have come back in the very moment in which it was to be cancelled.
    return overtime if task.cancelled() or task.result().error is not None else task.result()
