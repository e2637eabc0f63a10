"""The store: pieces of work run against SQLite or PostgreSQL, as `review.store` asks for it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar
from uuid import uuid4

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from db import privileges, schema, sealing
from db.batch import WritingConnection, one_work_at_a_time, open_reading, refuse_inside_work
from db.engine import DatabaseUrlError, Engines, open_engines, scrub
from db.filings import Asked
from db.wakeups import Hub, Listener
from db.writer import Writer
from review.audit import Arrival
from review.clock import Clock
from review.store import FilingKey, Reading, Writing

T = TypeVar("T")


class SqlStore:
    """Reads on a pool of connections, writes through one thread that commits what waits together."""

    def __init__(self, engines: Engines, clock: Clock | None) -> None:
        self._engines = engines
        self._clock = clock
        self._hub = Hub()
        origin = uuid4().hex
        self._listener = Listener(engines.conninfo, self._hub, origin=origin) if engines.is_postgres else None
        self._connection = WritingConnection(engines, clock, origin=origin)
        self._writer = Writer(self._connection.open_batch, self._hub.wake)

    @property
    def wakeups(self) -> Hub:
        """Return where to wait for commits."""
        return self._hub

    def read(self, work: Callable[[Reading], T]) -> T:
        """Run the work on one consistent view; once more if the connection turns out to be lost."""
        with one_work_at_a_time():
            try:
                return self._read(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._read(work)

    def write(self, work: Callable[[Writing], T]) -> T:
        """Run the work in one transaction; return after its commit, or raise with nothing kept."""
        refuse_inside_work()
        return self._writer.write(work)

    def begin(
        self, work: Callable[[Writing], T], *, key: FilingKey | None = None, digest: str | None = None
    ) -> Future[T]:
        """Queue the work of a write and return at once; the future answers after the commit."""
        refuse_inside_work()
        return self._writer.begin(work, asked=None if key is None else Asked(key, digest))

    def unsealed(self, *, limit: int) -> Sequence[Arrival]:
        """Return the oldest committed events that have no leaf yet, by ``seq``, as far as none can come before them."""
        return sealing.unsealed(self._engines, limit=limit)

    def is_ready(self) -> bool:
        """Tell whether the database answers and has the schema of this release."""
        try:
            with self._engines.latch.reading(), self._engines.reading.begin() as connection:
                return schema.is_current(connection)
        except SQLAlchemyError:
            return False

    def scrub(self) -> None:
        """Write SQLite's file anew. Raises StoreBusyError.

        What is deleted is overwritten (``secure_delete``), but what SQLite has moved from page to page leaves remains
        that only VACUUM clears; of a write-ahead log, the checkpoint does. PostgreSQL does the like by itself, in time.
        """
        refuse_inside_work()
        if not self._engines.is_postgres:
            scrub(self._engines)

    def close(self) -> None:
        """Finish the writes that wait, then close every connection."""
        self._writer.close()
        self._connection.close()
        if self._listener is not None:
            self._listener.close()
        self._engines.dispose()

    def _read(self, work: Callable[[Reading], T]) -> T:
        with open_reading(self._engines, self._clock) as transaction:
            return work(transaction)


def open_store(
    url: str, *, clock: Clock | None = None, owner_url: str | None = None, is_guarded: bool = False
) -> SqlStore:
    """Open the database, bring its schema up to this release, and return its store.

    The URL is ``sqlite:///path`` or ``postgresql://…``. Time comes from the clock; without one from the database on
    PostgreSQL, where several hosts share it, and from this host on SQLite. The role of ``owner_url``, where given,
    migrates in place of the server's own. If ``is_guarded``, the server's role migrates nothing, and is refused where
    it could change the audit log. Raises UnfitDatabaseError.
    """
    engines = open_engines(url)
    try:
        if owner_url is not None:
            _upgrade_as(owner_url, engines)
        elif not is_guarded:
            schema.upgrade(engines.writing)
        if is_guarded:
            _refuse_unless_guarded(engines)
        return SqlStore(engines, clock)
    except BaseException:
        engines.dispose()
        raise


def _upgrade_as(owner_url: str, engines: Engines) -> None:
    owner = open_engines(owner_url)
    try:
        if not (owner.is_postgres and engines.is_postgres):
            why = "A database's owner and its server are two roles on PostgreSQL alone."
            raise DatabaseUrlError(why)
        with engines.reading.begin() as connection:
            server = privileges.current_role(connection)
        schema.upgrade(owner.writing, server=server)
    finally:
        owner.dispose()


def _refuse_unless_guarded(engines: Engines) -> None:
    if not engines.is_postgres:
        why = "A role that cannot change the audit log exists on PostgreSQL alone."
        raise DatabaseUrlError(why)
    with engines.reading.begin() as connection:
        if not schema.is_current(connection):
            raise schema.OldSchemaError
        privileges.refuse_unless_guarded(connection)
