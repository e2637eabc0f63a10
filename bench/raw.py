"""The baselines: how fast the database takes rows by itself, one submission's to a commit, under the house's settings.

One has the very rows that a submission keeps, with their indexes and triggers: what is slower than that is the house.
The other has as many bytes in one column of a bare table: the difference between the two is the schema.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import psycopg
from sqlalchemy import make_url
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from uuid_utils.compat import uuid7

from bench.databases import POSTGRES, Database
from bench.figures import Figure, Table
from bench.workload import submitted, waiting_items
from db import rows, tables
from db.appending import Rows, at_a_time, at_once
from db.engine import BUSY_TIMEOUT_MS, journal_mode
from db.store import open_store

CLIENTS = 8
BARE = "raw insert and commit, bare table"
RAW = "raw insert and commit, same rows"

# As much as a submission keeps, with its audit event.
_ROW = "x" * 2_600


class _Connection(Protocol):
    def insert(self) -> None: ...

    def close(self) -> None: ...


def measure(database: Database, table: Table, *, seconds: float) -> None:
    """Measure both with one client and with eight, and note the better of the two."""
    url = database.fresh()
    open_store(url).close()  # For its tables.
    connects = {BARE: _Postgres, RAW: _PostgresRows} if database.name == POSTGRES else {BARE: _Sqlite, RAW: _SqliteRows}
    for name, connect in connects.items():
        rates = {clients: _rate(lambda connect=connect: connect(url), clients, seconds) for clients in (1, CLIENTS)}  # type: ignore[misc]  # bound at once
        table.add(Figure(database.name, f"{name}, 1 client", rates[1], "/s"))
        table.add(Figure(database.name, name, max(rates.values()), "/s"))


def rate_of(works: list[Callable[[], None]], seconds: float) -> float:
    """Run each work again and again on a thread of its own; return how many runs there were a second."""
    counts = [0] * len(works)
    barrier = threading.Barrier(len(works) + 1)

    def run(place: int) -> None:
        barrier.wait()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            works[place]()
            counts[place] += 1

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def _rate(connect: Callable[[], _Connection], clients: int, seconds: float) -> float:
    connections = [connect() for _ in range(clients)]
    try:
        return rate_of([connection.insert for connection in connections], seconds)
    finally:
        for connection in connections:
            connection.close()


class _Sqlite:
    def __init__(self, url: str) -> None:
        path = make_url(url).database or ""
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000
        )
        self._connection.execute(f"PRAGMA journal_mode={journal_mode(sqlite3.sqlite_version_info)}")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS raw (id BLOB PRIMARY KEY, body TEXT NOT NULL)")

    def insert(self) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("INSERT INTO raw VALUES (?, ?)", (uuid7().bytes, _ROW))
            cursor.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class _SqliteRows(_Sqlite):
    _dialect = sqlite_dialect()

    def insert(self) -> None:
        due = [at_a_time(table, some, self._dialect) for table, some in _rows_of_a_submission().items()]
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            for statement, told in due:
                cursor.executemany(statement, told)
            cursor.execute("COMMIT")


class _Postgres:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url)
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(1)")
            self._connection.execute("CREATE TABLE IF NOT EXISTS raw (id uuid PRIMARY KEY, body text NOT NULL)")

    def insert(self) -> None:
        self._connection.execute("INSERT INTO raw VALUES (%s, %s)", (uuid7(), _ROW))
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class _PostgresRows(_Postgres):
    def insert(self) -> None:
        self._connection.execute(*at_once(_rows_of_a_submission()))
        self._connection.commit()


_ITEM = next(waiting_items(1))
_ITEM_ROW = rows.item_values(_ITEM)
_EVENT_ROW, _OPENING_ROW = rows.event_values(submitted(_ITEM))


def _rows_of_a_submission() -> Rows:
    """Return the rows of one more submission, made beforehand but for what tells it from the others."""
    item_id, event_id = uuid7(), uuid7()
    return {
        tables.items: [{**_ITEM_ROW, "id": item_id, "idempotency_key": item_id.hex}],
        tables.audit_events: [{**_EVENT_ROW, "id": event_id, "item_id": item_id}],
        tables.openings: [{**(_OPENING_ROW or {}), "id": event_id}],
    }
