"""The engines: how connections to SQLite and PostgreSQL are opened, and which of their errors pass by themselves."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import psycopg.errors
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from db.direct import driver_cursor
from db.latch import Latch, OpenLatch
from review.errors import StoreBusyError

READ_CONNECTIONS = 8
WRITE_CONNECTIONS = 2  # The writer keeps one; migrations come before it.
BUSY_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 60_000
CONNECT_TIMEOUT_S = 5
# What is bound to a statement is what agents sent, and its errors reach the log.
_HIDE_PARAMETERS = True

_PASSING = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
)


class UnfitDatabaseError(Exception):
    """The database cannot be used as it is; the message says what to do about it."""


class DatabaseUrlError(UnfitDatabaseError):
    """The database URL is not one that we can open."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Use sqlite:///path/to/signoff.db or postgresql://user:password@host/database.")


class JournalModeError(UnfitDatabaseError):
    """SQLite did not take the journal mode that is safe with this version of its library."""

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(
            f"The database is in journal mode {got} and could not be put into {wanted}, the safe one with SQLite "
            f"{sqlite3.sqlite_version}. Stop every other program that has it open, then start again."
        )


@dataclass(frozen=True, slots=True)
class Engines:
    """The ways to one database: a pool for reads, one connection for the writer, and the latch between them."""

    reading: Engine
    writing: Engine
    latch: Latch

    @property
    def is_postgres(self) -> bool:
        """Tell PostgreSQL from SQLite."""
        return self.writing.dialect.name == "postgresql"

    @property
    def conninfo(self) -> str:
        """Return how libpq finds the database."""
        _, named = self.writing.dialect.create_connect_args(self.writing.url)
        named.pop("context", None)  # SQLAlchemy's own adapters, which a listener has no use for.
        return make_conninfo(**named)

    def dispose(self) -> None:
        """Close every connection."""
        self.reading.dispose()
        self.writing.dispose()


def journal_mode(version: tuple[int, ...]) -> str:
    """Return the journal mode for a version of the SQLite library.

    Write-ahead logs of 3.7.0 to 3.51.2 can lose committed transactions when connections write and checkpoint at once;
    3.51.3, 3.50.7 and 3.44.6 have the repair (https://sqlite.org/wal.html, "the WAL-reset bug").
    """
    branch, patch = version[:2], version[2]
    repaired = version[:3] >= (3, 51, 3) or (branch == (3, 50) and patch >= 7) or (branch == (3, 44) and patch >= 6)
    return "wal" if repaired else "truncate"


def open_engines(url: str) -> Engines:
    """Open the database that the URL names; a SQLite file and its folder are made where missing."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        why = "The database URL cannot be read."
        raise DatabaseUrlError(why) from error
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _postgres(parsed)
    why = f"There is no support for {parsed.get_backend_name()} databases."
    raise DatabaseUrlError(why)


def passes_by_itself(error: BaseException) -> bool:
    """Tell whether the same work may well succeed when run again: a lock, a deadlock, a lost connection."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        # The low byte is the primary code of what may be an extended one.
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return error.connection_invalidated or isinstance(error.orig, _PASSING)


def scrub(engines: Engines) -> None:
    """Write SQLite's file anew, and empty its write-ahead log if it has one. Raises StoreBusyError."""
    connection = engines.writing.raw_connection()
    try:
        # Not in a transaction, which SQLAlchemy would begin.
        cursor = connection.cursor()
        # What the full-text index was told to forget leaves it only when its parts are merged.
        cursor.execute("INSERT INTO item_search (item_search) VALUES ('optimize')")
        cursor.execute("VACUUM")
        is_busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        raise StoreBusyError from error
    finally:
        connection.close()
    if is_busy:
        raise StoreBusyError


def _sqlite(url: URL) -> Engines:
    if not url.database or url.database == ":memory:":
        why = "A database in memory is gone with the process."
        raise DatabaseUrlError(why)
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    mode = journal_mode(sqlite3.sqlite_version_info)
    url = url.set(drivername="sqlite+pysqlite")
    return Engines(
        reading=_sqlite_engine(url, mode, begin="BEGIN", size=READ_CONNECTIONS, pragmas=("query_only=ON",)),
        # Spilling dirty pages before the commit would need the readers out in the middle of a batch.
        writing=_sqlite_engine(
            url, mode, begin="BEGIN IMMEDIATE", size=WRITE_CONNECTIONS, pragmas=("cache_spill=OFF",)
        ),
        latch=OpenLatch() if mode == "wal" else Latch(),
    )


def _sqlite_engine(url: URL, mode: str, *, begin: str, size: int, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=_HIDE_PARAMETERS,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        # Transactions are begun by us, below; the driver's own ways begin them late and never immediately.
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        got = connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]
        if got != mode:
            raise JournalModeError(mode, got)
        for pragma in (
            "synchronous=FULL",
            "secure_delete=ON",
            "foreign_keys=ON",
            "recursive_triggers=ON",
            "cache_size=-65536",
            *pragmas,
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("casefold", 1, str.casefold, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        with driver_cursor(connection) as cursor:
            cursor.execute(begin)

    return engine


def _postgres(url: URL) -> Engines:
    url = url.set(drivername="postgresql+psycopg")
    return Engines(
        reading=_postgres_engine(
            url,
            size=READ_CONNECTIONS,
            isolation="repeatable\\ read",
            settings=("default_transaction_read_only=on",),
        ),
        writing=_postgres_engine(url, size=WRITE_CONNECTIONS, isolation="read\\ committed", settings=()),
        latch=OpenLatch(),
    )


def _postgres_engine(url: URL, *, size: int, isolation: str, settings: tuple[str, ...]) -> Engine:
    chosen = (
        "timezone=UTC",
        f"lock_timeout={LOCK_TIMEOUT_MS}",
        f"statement_timeout={STATEMENT_TIMEOUT_MS}",
        f"default_transaction_isolation={isolation}",
        *settings,
    )
    asked = url.query.get("options", "")
    options = " ".join([*([asked] if isinstance(asked, str) else asked), *(f"-c {setting}" for setting in chosen)])
    return create_engine(
        url.update_query_dict({"options": options.strip()}),
        hide_parameters=_HIDE_PARAMETERS,
        pool_size=size,
        max_overflow=0,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )
