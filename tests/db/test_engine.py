"""The engines: what each connection is made to promise."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from db.engine import DatabaseUrlError, JournalModeError, journal_mode, open_engines
from db.store import SqlStore, open_store


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), "truncate"),
        ((3, 44, 5), "truncate"),
        ((3, 44, 6), "wal"),
        ((3, 45, 0), "truncate"),
        ((3, 49, 9), "truncate"),
        ((3, 50, 6), "truncate"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "truncate"),
        ((3, 51, 2), "truncate"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
        ((4, 0, 0), "wal"),
    ],
)
def test_a_write_ahead_log_is_used_only_where_it_loses_nothing(version: tuple[int, ...], expected: str) -> None:
    assert journal_mode(version) == expected


def test_every_sqlite_connection_keeps_its_promises(sqlite_url: str) -> None:
    engines = open_engines(sqlite_url)
    asked = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")

    told = []
    for engine in (engines.reading, engines.writing):
        with engine.connect() as connection:
            told.append([connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked])

    engines.dispose()
    assert told == [[journal_mode(sqlite3.sqlite_version_info), 2, 1, 1, 10_000]] * 2


@pytest.mark.postgres
def test_every_postgres_connection_keeps_its_promises(postgres_store: SqlStore) -> None:
    asked = (
        "TimeZone",
        "transaction_isolation",
        "transaction_read_only",
        "lock_timeout",
        "synchronous_commit",
    )

    told = []
    for engine in (postgres_store._engines.reading, postgres_store._engines.writing):  # noqa: SLF001 -- not to be seen from outside
        with engine.connect() as connection:
            told.append([connection.exec_driver_sql(f"SHOW {name}").scalar() for name in asked])

    assert told == [
        ["UTC", "repeatable read", "on", "5s", "on"],
        ["UTC", "read committed", "off", "5s", "on"],
    ]


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_we_cannot_open_is_refused_with_one_that_we_can(url: str) -> None:
    with pytest.raises(DatabaseUrlError, match="Use sqlite:///path"):
        open_store(url)


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "100% b" / "signoff.db"

    open_store(f"sqlite:///{path}").close()

    assert path.exists()


@pytest.mark.skipif(journal_mode(sqlite3.sqlite_version_info) == "wal", reason="this SQLite's write-ahead log is sound")
def test_a_write_ahead_log_that_another_program_holds_open_is_not_used(sqlite_url: str) -> None:
    open_store(sqlite_url).close()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("PRAGMA journal_mode=wal")
    other.execute("BEGIN").execute("SELECT count(*) FROM items").fetchone()

    with pytest.raises((JournalModeError, OperationalError), match=r"journal mode|locked"):
        open_store(sqlite_url)

    other.close()
    open_store(sqlite_url).close()
