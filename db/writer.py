"""The writer: one thread that runs what waits together in one transaction and answers each after the commit.

A disk flush takes as long for twenty submits as for one. The pieces of work share a transaction without savepoints
(they would double the cost), so one that fails after it has written takes the batch with it; each is then run again
alone.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from db.batch import Batch, one_work_at_a_time
from db.engine import passes_by_itself
from db.filings import Asked
from db.transaction import WriteTransaction
from review.store import DuplicateKeyError, StaleItemError

T = TypeVar("T")

MOST_TOGETHER = 64
LONGEST_GATHERING_S = 0.003
TRIES = 6
FIRST_PAUSE_S = 0.005

# What another process did meanwhile; a second run sees it.
_CONFLICTS = (StaleItemError, DuplicateKeyError)

_log = logging.getLogger(__name__)


class StoreClosedError(Exception):
    """The store was closed, or its writer ended, before the work was begun."""

    def __init__(self, why: str) -> None:
        super().__init__(f"Nothing was written: {why}.")


class CommitUnknownError(Exception):
    """Something broke while committing: the work may have been kept or not."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"It is not known whether the work was kept: {why}. Look before you repeat it; a submission repeated under "
            "the same idempotency key is filed once."
        )


class _OpeningError(Exception):
    """No transaction could be begun, for this cause."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[WriteTransaction], Any]
    asked: Asked | None = None
    future: Future[Any] = field(default_factory=Future)
    runs: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    job: _Job
    value: Any = None
    error: BaseException | None = None

    @property
    def is_worth_another_run(self) -> bool:
        return isinstance(self.error, _CONFLICTS) and self.job.runs < TRIES

    def give(self) -> None:
        if self.error is None:
            self.job.future.set_result(self.value)
        else:
            self.job.future.set_exception(self.error)


class Writer:
    """Runs pieces of work from any thread on a thread of its own, several in one commit, in the order of arrival."""

    def __init__(
        self, open_batch: Callable[[], AbstractContextManager[Batch]], wake: Callable[[Iterable[UUID]], None]
    ) -> None:
        self._open_batch = open_batch
        self._wake = wake
        self._waiting: deque[_Job] = deque()
        self._changed = Condition()
        self._refusal: str | None = None
        # How many were there the last time, how long they took, and how many are enough to begin with.
        self._crowd = 1
        self._duration = 0.0
        self._awaited = 1
        self._thread = Thread(target=self._serve, name="signoff-writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[WriteTransaction], T]) -> T:
        """Run the work and return its result once it is committed; raise what it raised, with nothing kept."""
        return self.begin(work).result()

    def begin(self, work: Callable[[WriteTransaction], T], *, asked: Asked | None = None) -> Future[T]:
        """Queue the work and return at once; the future answers as ``write`` does, and cannot be cancelled."""
        job = _Job(work, asked)
        job.future.set_running_or_notify_cancel()
        with self._changed:
            if self._refusal is not None:
                raise StoreClosedError(self._refusal)
            self._waiting.append(job)
            if len(self._waiting) >= self._awaited:
                self._changed.notify()
        return job.future

    def close(self) -> None:
        """Refuse what comes, finish what waits, and end the thread."""
        with self._changed:
            self._refusal = self._refusal or "the store is closed"
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        jobs: list[_Job] = []
        try:
            while jobs := self._next_jobs():
                self._run(jobs)
        except BaseException as error:  # noqa: BLE001 -- whatever ends the writer, nobody may wait for it forever
            _log.critical("The writer ended; the store takes no more work.", exc_info=error)
            self._give_up(jobs, f"the writer ended with {error!r}")

    def _give_up(self, begun: list[_Job], why: str) -> None:
        with self._changed:
            self._refusal = why
            waiting = list(self._waiting)
            self._waiting.clear()
        for job in begun:
            if not job.future.done():
                job.future.set_exception(CommitUnknownError(why))
        for job in waiting:
            job.future.set_exception(StoreClosedError(why))

    def _next_jobs(self) -> list[_Job]:
        with self._changed:
            while not self._waiting and self._refusal is None:
                self._changed.wait()
            self._gather()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _gather(self) -> None:
        """Give those who were just answered the time to come back: a fuller batch is worth a short wait."""
        self._awaited = min(self._crowd, MOST_TOGETHER)
        until = time.monotonic() + min(self._duration, LONGEST_GATHERING_S)
        while len(self._waiting) < self._awaited and self._refusal is None:
            left = until - time.monotonic()
            if left <= 0:
                break
            self._changed.wait(left)
        self._awaited = 1

    def _run(self, jobs: list[_Job]) -> None:
        try:
            for job in self._attempt(jobs):
                while self._attempt([job]):
                    pass
        except _OpeningError as error:
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(error.cause)

    def _attempt(self, jobs: list[_Job]) -> list[_Job]:
        """Run the jobs in one transaction; return those that must run again, each alone."""
        for job in jobs:
            job.runs += 1
        began = time.monotonic()
        is_committing = False
        try:
            with self._opened() as batch:
                batch.expect([job.asked for job in jobs if job.asked])
                answers = [_answer(batch, job) for job in jobs]
                batch.flush()
                is_committing = True
                batch.commit()
        except _OpeningError:
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever it is, those who asked must hear of it
            return _after_rollback(jobs, error, is_committing=is_committing)
        self._duration = time.monotonic() - began
        self._crowd = len(jobs) + len(self._waiting)
        again = [answer.job for answer in answers if answer.is_worth_another_run]
        for answer in answers:
            if answer.job not in again:
                answer.give()
        self._wake(batch.woken)
        return again

    @contextmanager
    def _opened(self) -> Iterator[Batch]:
        with ExitStack() as stack:
            try:
                batch = stack.enter_context(self._open_batch())
            except Exception as error:
                raise _OpeningError(error) from error
            yield batch


def _answer(batch: Batch, job: _Job) -> _Answer:
    """Run one work; raise what it raised only if the transaction is spoiled by it."""
    transaction = batch.transaction()
    try:
        with one_work_at_a_time():
            value = job.work(transaction)
    except BaseException as error:
        if transaction.wrote or isinstance(error, DBAPIError):
            raise
        return _Answer(job, error=error)
    batch.keep(transaction)
    return _Answer(job, value)


def _after_rollback(jobs: list[_Job], error: BaseException, *, is_committing: bool) -> list[_Job]:
    """Answer the jobs of a transaction that failed, or return those to run again alone."""
    if is_committing and isinstance(error, DBAPIError) and error.connection_invalidated:
        error = CommitUnknownError("the connection to the database broke during the commit")
    elif not is_committing or passes_by_itself(error):
        if len(jobs) > 1:
            return jobs
        job = jobs[0]
        if job.runs < TRIES and passes_by_itself(error):
            time.sleep(FIRST_PAUSE_S * 2**job.runs)
            return jobs
        if job.runs < TRIES and isinstance(error, _CONFLICTS):
            return jobs
    for job in jobs:
        job.future.set_exception(error)
    return []
