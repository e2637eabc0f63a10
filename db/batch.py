"""One database transaction that several pieces of work share."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from db import tables
from db.appending import Unwritten, append
from db.engine import Engines
from db.filings import Asked, Filings
from db.rows import Values
from db.transaction import REMOVE_OPENINGS, ReadTransaction, WriteTransaction
from review.clock import Clock, utc_now

_DATABASE_TIME = text("SELECT clock_timestamp()")


_running = threading.local()


class NestedWorkError(Exception):
    """A piece of work called the store, instead of the transaction that it was given."""

    def __init__(self) -> None:
        super().__init__("A piece of work may not call the store: it would wait for itself. Use its transaction.")


def refuse_inside_work() -> None:
    """Return only on a thread that is not running a piece of work. Raises NestedWorkError."""
    if getattr(_running, "is_work", False):
        raise NestedWorkError


@contextmanager
def one_work_at_a_time() -> Iterator[None]:
    """Mark this thread as running a piece of work. Raises NestedWorkError where it is already."""
    refuse_inside_work()
    _running.is_work = True
    try:
        yield
    finally:
        _running.is_work = False


class Moment:
    """The time of one transaction: asked for once, when it is first needed.

    Without a clock it is the database's where the database keeps time for several hosts, and else this host's.
    """

    def __init__(self, connection: Connection, clock: Clock | None) -> None:
        self._connection = connection
        self._clock = clock
        self._at: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        if self._at is None:
            self._at = self._ask()
        return self._at

    def hear(self, at: datetime | None) -> None:
        """Take the time that the database told with another answer, if that is what would be asked for."""
        if self._clock is None and self._at is None and at is not None:
            self._at = at.astimezone(UTC)

    def _ask(self) -> datetime:
        if self._clock is not None:
            return self._clock()
        if self._connection.dialect.name != "postgresql":
            return utc_now()
        at: datetime = self._connection.execute(_DATABASE_TIME).scalar_one()
        return at.astimezone(UTC)


class Batch:
    """A transaction under way. What is kept of each work is written with the others' when the batch is flushed."""

    def __init__(self, connection: Connection, engines: Engines, clock: Clock | None, *, origin: str) -> None:
        self.woken: list[UUID] = []
        self._connection = connection
        self._engines = engines
        self._now = Moment(connection, clock)
        self._origin = origin
        self._recorded: list[Values] = []
        self._openings: list[Values] = []
        self._closed_up: list[Values] = []
        self._filings = Filings(connection)
        self._unwritten = Unwritten(connection)

    def expect(self, asked: Sequence[Asked]) -> None:
        """Look up together what pieces of work are going to ask for one by one."""
        if asked:
            self._now.hear(self._filings.expect(asked))

    def transaction(self) -> WriteTransaction:
        """Return what the next piece of work is told to work with."""
        return WriteTransaction(self._connection, self._now, self._filings, self._unwritten)

    def keep(self, done: WriteTransaction) -> None:
        """Take over the new rows and wake-ups of a work that succeeded."""
        self._unwritten.keep(done.added)
        self._recorded += done.recorded
        self._openings += done.openings
        self._closed_up += done.closed_up
        self.woken += done.woken

    def flush(self) -> None:
        """Write what was collected. Raises DuplicateKeyError where another process filed an item meanwhile."""
        notices = [f"{self._origin} {item_id}" for item_id in dict.fromkeys(self.woken)]
        rows = {
            **self._unwritten.taken_over(),
            tables.audit_events: self._recorded,
            tables.openings: self._openings,
        }
        append(self._connection, rows, notices)
        if self._closed_up:
            self._connection.execute(REMOVE_OPENINGS, self._closed_up)

    def commit(self) -> None:
        """Commit, with every reader out where the database needs that."""
        with self._engines.latch.committing():
            self._connection.commit()


class WritingConnection:
    """The writer's own connection: kept from batch to batch, and exchanged after any trouble."""

    def __init__(self, engines: Engines, clock: Clock | None, *, origin: str) -> None:
        self._engines = engines
        self._clock = clock
        self._origin = origin
        self._kept: Connection | None = None

    @contextmanager
    def open_batch(self) -> Iterator[Batch]:
        """Begin a transaction for writing; it is rolled back unless the batch commits."""
        connection = self._kept or self._engines.writing.connect()
        self._kept = None
        with ExitStack() as trouble:
            trouble.callback(connection.close)
            transaction = connection.begin()
            yield Batch(connection, self._engines, self._clock, origin=self._origin)
            transaction.close()
            trouble.pop_all()
        self._kept = connection

    def close(self) -> None:
        """Give the connection back."""
        if self._kept is not None:
            self._kept.close()


@contextmanager
def open_reading(engines: Engines, clock: Clock | None) -> Iterator[ReadTransaction]:
    """Begin a transaction that sees one state of the database and changes nothing."""
    with engines.latch.reading(), engines.reading.begin() as connection:
        yield ReadTransaction(connection, Moment(connection, clock))
