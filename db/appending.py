"""New rows of several tables, written together: one statement on PostgreSQL, one for each table on SQLite.

Nearly everything that a batch of the writer does is to append, so this goes past SQLAlchemy's work on every value of
every row (a third of the time that an item's row takes on SQLite). On PostgreSQL each statement is also a round trip,
which costs this process as much as three rows do: all rows of a batch travel as JSON in one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Connection, Dialect, Table

from db import tables
from db.direct import driver_cursor
from db.rows import Values
from db.types import FreeText
from review.store import DuplicateKeyError

CHANNEL = "signoff_item"

Rows = dict[Table, list[Values]]
_Shape = tuple[tuple[Table, tuple[str, ...]], ...]
_Row = tuple[Any, ...]

# Lets the item stand that was filed under the key before; whoever wrote the rows sees by their count that one did.
_ON_CONFLICT = {tables.items: " ON CONFLICT (workspace, agent, idempotency_key) DO NOTHING"}

# What a SELECT gives is only worked out where something asks for it.
_TELLING = (
    f"told AS (SELECT count(pg_notify('{CHANNEL}', notice)) AS notices "  # noqa: S608 -- our own name
    "FROM unnest(CAST(%s AS text[])) AS notice)"
)


def append(connection: Connection, rows: Mapping[Table, Sequence[Values]], notices: Sequence[str] = ()) -> None:
    """Write the rows, of which those of one table all have the same columns, and give PostgreSQL the notices.

    Raises DuplicateKeyError where an item's idempotency key is taken; the transaction is to be rolled back then.
    """
    due = {table: some for table, some in rows.items() if some}
    if connection.dialect.name == "postgresql":
        filed = _at_once(connection, due, notices) if due or notices else 0
    else:
        written = {table: _at_a_time(connection, table, some) for table, some in due.items()}
        filed = written.get(tables.items, 0)
    wanted = len(due.get(tables.items, ()))
    if filed != wanted:
        raise DuplicateKeyError(wanted)


class Unwritten:
    """New items and decisions that a transaction has yet to write: whatever it asks next, they are written before."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows = _none()

    def keep(self, rows: Rows) -> None:
        """Take over the rows of a piece of work that succeeded."""
        for table, some in rows.items():
            self._rows[table] += some

    def has(self, rows: Rows) -> bool:
        """Tell whether anything is to be written yet, these rows included."""
        return bool(rows) or any(self._rows.values())

    def write(self, rows: Rows) -> None:
        """Write what was kept, and these rows. Raises DuplicateKeyError where another process took a key meanwhile."""
        self.keep(rows)
        append(self._connection, self.taken_over())

    def taken_over(self) -> Rows:
        """Return the rows that were kept, for whoever writes them now."""
        due, self._rows = self._rows, _none()
        return due


def _none() -> Rows:
    # An item comes before the decisions on it.
    return {tables.items: [], tables.decisions: []}


def at_a_time(table: Table, rows: Sequence[Values], dialect: Dialect) -> tuple[str, list[_Row]]:
    """Return the statement that inserts one of the rows into SQLite, and what each of them tells the driver."""
    statement, row_of = _plain(table, tuple(rows[0]), dialect)
    return statement, [row_of(row) for row in rows]


def _at_a_time(connection: Connection, table: Table, rows: Sequence[Values]) -> int:
    statement, told = at_a_time(table, rows, connection.dialect)
    with driver_cursor(connection) as cursor:
        cursor.executemany(statement, told)
        return cursor.rowcount


@lru_cache(maxsize=32)
def _plain(table: Table, columns: tuple[str, ...], dialect: Dialect) -> tuple[str, Callable[[Values], _Row]]:
    """Return the statement that inserts one row, and how the row's values are told to the driver."""
    listed, places = ", ".join(columns), ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.name} ({listed}) VALUES ({places}){_ON_CONFLICT.get(table, '')}"  # noqa: S608 -- our own names
    types = (table.c[name].type.dialect_impl(dialect) for name in columns)
    processors = [(at, told) for at, each in enumerate(types) if (told := each.bind_processor(dialect)) is not None]
    values_of = itemgetter(*columns)

    def row_of(row: Values) -> _Row:
        values = list(values_of(row))
        for at, told in processors:
            if values[at] is not None:
                values[at] = told(values[at])
        return tuple(values)

    return statement, row_of


def at_once(rows: Mapping[Table, Sequence[Values]], notices: Sequence[str] = ()) -> tuple[str, _Row]:
    """Return the statement that inserts all of the rows into PostgreSQL, and what it tells the driver."""
    statement = _combined(tuple((table, tuple(some[0])) for table, some in rows.items()))
    told = (orjson.dumps([_told(table, row) for row in some]).decode() for table, some in rows.items())
    return statement, (*told, list(notices))


def _at_once(connection: Connection, rows: Mapping[Table, Sequence[Values]], notices: Sequence[str]) -> int:
    statement, told = at_once(rows, notices)
    with driver_cursor(connection) as cursor:
        cursor.execute(statement, told)
        filed: int = cursor.fetchall()[0][0]
    return filed


@lru_cache(maxsize=32)
def _combined(shape: _Shape) -> str:
    """Return the statement that inserts JSON arrays of rows, one array for each table, and gives notices."""
    parts = []
    for table, columns in shape:
        listed = ", ".join(columns)
        parts.append(
            f"added_{table.name} AS (INSERT INTO {table.name} ({listed}) "  # noqa: S608 -- our own names
            f"SELECT {listed} FROM json_populate_recordset(CAST(NULL AS {table.name}), CAST(%s AS json))"
            f"{_ON_CONFLICT.get(table, '')} RETURNING 1)"
        )
    has_items = any(table is tables.items for table, _ in shape)
    filed = "(SELECT count(*) FROM added_items)" if has_items else "0"
    parts.append(_TELLING)
    return f"WITH {', '.join(parts)} SELECT {filed} FROM told WHERE notices IS NOT NULL"  # noqa: S608 -- our own names


def _told(table: Table, row: Values) -> Values:
    """Return what the row says, without the columns that are null, which are not worth their while."""
    free = _free_text(table)
    told = {name: value for name, value in row.items() if value is not None}
    for name in free & told.keys():
        told[name] = FreeText.kept(told[name])
    return told


@lru_cache(maxsize=32)
def _free_text(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.c if isinstance(column.type, FreeText))
