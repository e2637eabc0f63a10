"""The audit log only grows: the database itself refuses everything else, whoever asks."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.store import SqlStore
from review.audit import EventFilter, LogHead, Seal
from review.merkle import Frontier, Node
from tests.builders import WORKSPACE, an_event
from tests.clock import START

COLUMNS = "workspace, id, at, kind, actor_id, actor_name, item_id, leaf"
SAME = f"SELECT {COLUMNS} FROM audit_events"  # noqa: S608 -- a constant

SAME_PLACE = "SELECT rowid, workspace, 'x', at, kind, actor_id, actor_name, item_id, leaf FROM audit_events"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET kind = 'item_decided'",
        "UPDATE audit_events SET leaf = leaf",
        "DELETE FROM audit_events",
        f"INSERT INTO audit_events ({COLUMNS}) {SAME} WHERE true ON CONFLICT (workspace, id) DO UPDATE SET leaf = 'x'",
    ],
)
def test_events_are_not_changed_on_either_database(store: SqlStore, statement: str) -> None:
    event = an_event()
    store.write(lambda tx: tx.record(event))

    engine = store._engines.writing  # noqa: SLF001 -- as the app's own role
    with pytest.raises(DBAPIError, match="audit events are never"), engine.begin() as connection:
        connection.execute(text(statement))

    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows == (event,)


@pytest.fixture
def raw_sqlite(sqlite_store: SqlStore, sqlite_url: str) -> Iterator[Callable[[str], None]]:
    """Runs a statement on a connection with SQLite's own settings, on a log of one event."""
    sqlite_store.write(lambda tx: tx.record(an_event()))
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        yield lambda statement: [None for _ in connection.execute(statement)].clear()


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO audit_events ({COLUMNS}) {SAME}",
        f"REPLACE INTO audit_events ({COLUMNS}) {SAME}",
        f"INSERT OR REPLACE INTO audit_events (rowid, {COLUMNS}) {SAME_PLACE}",
        f"INSERT OR IGNORE INTO audit_events ({COLUMNS}) {SAME}",
        "UPDATE OR REPLACE audit_events SET id = 'x'",
        "DELETE FROM audit_events",
    ],
)
def test_sqlite_does_not_replace_events_for_a_stranger_either(
    raw_sqlite: Callable[[str], None], statement: str, recursive: str
) -> None:
    raw_sqlite(f"PRAGMA recursive_triggers={recursive}")

    with pytest.raises(sqlite3.IntegrityError, match="audit events are never"):
        raw_sqlite(statement)


@pytest.mark.postgres
@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE audit_events",
        "TRUNCATE audit_events CASCADE",
        "DELETE FROM audit_events",
        "UPDATE audit_events SET at = at",
    ],
)
def test_postgres_does_not_empty_the_log_even_for_a_replica(
    postgres_store: SqlStore, postgres_url: str, statement: str, role: str
) -> None:
    postgres_store.write(lambda tx: tx.record(an_event()))

    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"SET session_replication_role = {role}".encode())
        with pytest.raises(psycopg.errors.RestrictViolation, match="audit events are never"):
            connection.execute(statement.encode())
        connection.rollback()


SEALED = ("audit_leaves", "audit_nodes", "checkpoints")
COPIED = {
    "audit_leaves": ("seq, workspace, leaf_index, hash", "seq"),
    "audit_nodes": ("workspace, level, number, hash", "workspace, level, number"),
    "checkpoints": ("workspace, number, size, frontier, origin, note, at", "workspace, number"),
}


def with_seal(store: SqlStore) -> SqlStore:
    """Keep a leaf, a node and a checkpoint, so that there is a row of each to attack."""
    head = LogHead(WORKSPACE, 1, Frontier(1, (bytes(32),)), "desk.example/default", "a note", START)
    store.write(lambda tx: tx.add_seal(Seal(head, ((1, 0, bytes(32)),), (Node(8, 0, bytes(32)),))))
    return store


def contents(store: SqlStore) -> list[list[tuple[object, ...]]]:
    with store._engines.reading.begin() as connection:  # noqa: SLF001 -- no question of ours shows every row
        return [[tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))] for table in SEALED]  # noqa: S608 -- constants


@pytest.mark.parametrize("table", SEALED)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET workspace = 'x'",
        "DELETE FROM {table}",
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE true ON CONFLICT ({key}) DO UPDATE "
        "SET workspace = 'x'",
    ],
)
def test_what_was_sealed_is_not_changed_on_either_database(store: SqlStore, statement: str, table: str) -> None:
    columns, key = COPIED[table]
    before = contents(with_seal(store))

    engine = store._engines.writing  # noqa: SLF001 -- as the app's own role
    with pytest.raises(DBAPIError, match="the audit log is never changed"), engine.begin() as connection:
        connection.execute(text(statement.format(table=table, columns=columns, key=key)))

    assert contents(store) == before


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("table", SEALED)
@pytest.mark.parametrize("words", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
def test_sqlite_does_not_replace_what_was_sealed_for_a_stranger_either(
    sqlite_store: SqlStore, sqlite_url: str, words: str, table: str, recursive: str
) -> None:
    with_seal(sqlite_store)
    columns = COPIED[table][0]

    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA recursive_triggers={recursive}")
        with pytest.raises(sqlite3.IntegrityError, match="the audit log is never changed"):
            connection.execute(f"{words} INTO {table} ({columns}) SELECT {columns} FROM {table}")  # noqa: S608 -- constants


@pytest.mark.postgres
@pytest.mark.parametrize("table", SEALED)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_postgres_does_not_empty_what_was_sealed_even_for_a_replica(
    postgres_store: SqlStore, postgres_url: str, table: str, role: str
) -> None:
    with_seal(postgres_store)

    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"SET session_replication_role = {role}".encode())
        with pytest.raises(psycopg.errors.RestrictViolation, match="the audit log is never changed"):
            connection.execute(f"TRUNCATE {table}".encode())
        connection.rollback()
