"""New items of submissions that share a transaction: keys are looked up together, and rows written together."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, Insert, text
from sqlalchemy.dialects import postgresql, sqlite

from db import tables
from db.rows import Values
from review.store import DuplicateKeyError, FilingKey

_KEY = ("workspace", "agent", "idempotency_key")

# Lets the item stand that was filed under the key before, and counts.
ADD_ITEM: dict[str, Insert] = {
    name: dialect.insert(tables.items)
    .on_conflict_do_nothing(index_elements=_KEY)
    .execution_options(preserve_rowcount=True)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}

# One statement for any number of keys, so that it is compiled once.
_TAKEN = {
    "sqlite": text(
        "SELECT items.workspace, items.agent, items.idempotency_key FROM json_each(:keys) AS asked CROSS JOIN items "
        "WHERE items.workspace = json_extract(asked.value, '$[0]') "
        "AND items.agent = json_extract(asked.value, '$[1]') "
        "AND items.idempotency_key = json_extract(asked.value, '$[2]')"
    ),
    "postgresql": text(
        "SELECT items.workspace, items.agent, items.idempotency_key "
        "FROM jsonb_array_elements(CAST(:keys AS jsonb)) AS asked JOIN items "
        "ON items.workspace = asked ->> 0 AND items.agent = asked ->> 1 AND items.idempotency_key = asked ->> 2"
    ),
}


class Filings:
    """What is known of the keys that a transaction was announced, and the rows that it has yet to write."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._free: set[FilingKey] = set()
        self._rows: list[Values] = []

    def expect(self, keys: Sequence[FilingKey]) -> None:
        """Look up which of the keys are free, all in one statement."""
        asked = json.dumps(keys)
        taken = self._connection.execute(_TAKEN[self._dialect], {"keys": asked})
        self._free = set(keys).difference(FilingKey(*row) for row in taken)

    def is_free(self, key: FilingKey) -> bool:
        """Tell whether the key is known to be free; False where that is not known."""
        return key in self._free

    def takes(self, key: FilingKey) -> bool:
        """Take the key if it is known to be free, so that its row may be written later."""
        is_free = key in self._free
        self._free.discard(key)
        return is_free

    def keep(self, rows: list[Values]) -> None:
        """Take over the rows of a piece of work that succeeded."""
        self._rows += rows

    def has(self, rows: list[Values]) -> bool:
        """Tell whether anything is to be written yet, these rows included."""
        return bool(self._rows or rows)

    def write(self, rows: list[Values]) -> None:
        """Write what was kept, and these rows. Raises DuplicateKeyError where another process took a key meanwhile."""
        due = [*self._rows, *rows]
        self._rows = []
        if due and self._connection.execute(ADD_ITEM[self._dialect], due).rowcount != len(due):
            raise DuplicateKeyError(len(due))
