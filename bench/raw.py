"""The baseline: how many rows a second the bare database takes, one to a commit, under the settings of the house."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import psycopg
from sqlalchemy import make_url
from uuid_utils.compat import uuid7

from bench.databases import POSTGRES, Database
from bench.figures import Figure, Table
from db.engine import BUSY_TIMEOUT_MS, journal_mode

CLIENTS = 8
BEST_RAW = "raw insert and commit, the better"

# As much as a submission keeps, with its audit event.
_ROW = "x" * 2_600


class _Connection(Protocol):
    def insert(self) -> None: ...

    def close(self) -> None: ...


def measure(database: Database, table: Table, *, seconds: float) -> None:
    """Measure with one client and with eight, and note the better of the two."""
    url = database.fresh()
    connect = _Postgres if database.name == POSTGRES else _Sqlite
    rates = {clients: _rate(lambda: connect(url), clients, seconds) for clients in (1, CLIENTS)}
    for clients, rate in rates.items():
        name = f"raw insert and commit, {clients} client{'s' if clients > 1 else ''}"
        table.add(Figure(database.name, name, rate, "rows/s"))
    table.add(Figure(database.name, BEST_RAW, max(rates.values()), "rows/s"))


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
