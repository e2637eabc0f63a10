"""What is known of the submissions that share a transaction, looked up together."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects import postgresql, sqlite

from db import tables
from db.tables import REJECTED
from review.store import FilingKey

_KEY = ("workspace", "agent", "idempotency_key")

# Lets the item stand that was filed under the key before, and counts.
ADD_ITEM: dict[str, Insert] = {
    name: dialect.insert(tables.items)
    .on_conflict_do_nothing(index_elements=_KEY)
    .execution_options(preserve_rowcount=True)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}

# What a row of the answer is, beside a key that is taken.
_REJECTED_CALL, _TIME = 1, 2
# One statement for any number of submissions: which keys are taken, and which calls people rejected before.
# PostgreSQL tells the time in the same answer, for which it would be asked next.
_KNOWN = {
    "sqlite": (
        "SELECT 0, items.workspace, items.agent, items.idempotency_key "  # noqa: S608 -- a constant
        "FROM json_each(:asked) AS asked CROSS JOIN items "
        "WHERE items.workspace = json_extract(asked.value, '$[0]') "
        "AND items.agent = json_extract(asked.value, '$[1]') "
        "AND items.idempotency_key = json_extract(asked.value, '$[2]') "
        "UNION ALL "
        "SELECT 1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[3]') "
        f"FROM json_each(:asked) WHERE EXISTS (SELECT 1 FROM items WHERE {REJECTED} "
        "AND items.workspace = json_extract(value, '$[0]') "
        "AND items.agent = json_extract(value, '$[1]') "
        "AND items.digest = json_extract(value, '$[3]'))"
    ),
    # The side queries are lateral and limited, so that the index is asked for each, whatever is estimated. Of a table
    # that was never analysed every index is thought to be as good, and asking for the agent's items reads all of them
    # (1.8 ms a key at 400 items): only from the index of the keys does a range of them come in order.
    "postgresql": (
        "SELECT 0, asked ->> 0, asked ->> 1, asked ->> 2 "  # noqa: S608 -- a constant
        "FROM jsonb_array_elements(CAST(%(asked)s AS jsonb)) AS asked CROSS JOIN LATERAL (SELECT 1 FROM items "
        "WHERE items.workspace = asked ->> 0 AND items.agent = asked ->> 1 "
        "AND items.idempotency_key BETWEEN asked ->> 2 AND asked ->> 2 ORDER BY items.idempotency_key "
        "LIMIT 1) AS found "
        "UNION ALL "
        "SELECT 1, asked ->> 0, asked ->> 1, asked ->> 3 FROM jsonb_array_elements(CAST(%(asked)s AS jsonb)) AS asked "
        f"CROSS JOIN LATERAL (SELECT 1 FROM items WHERE {REJECTED} AND items.workspace = asked ->> 0 "
        "AND items.agent = asked ->> 1 AND items.digest = asked ->> 3 LIMIT 1) AS found "
        "UNION ALL "
        "SELECT 2, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ'), NULL, NULL"
    ),
}


class Asked(NamedTuple):
    """What a submission is going to ask for: whether its key is free, and whether its call was rejected before."""

    key: FilingKey
    digest: str | None


class Filings:
    """What is known of the submissions that a transaction was announced."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._free: set[FilingKey] = set()
        self._unrejected: set[tuple[str, str, str]] = set()

    def expect(self, asked: Sequence[Asked]) -> datetime | None:
        """Look up which of the keys are free and which of the calls were never rejected, all in one statement.

        The answer is the database's time, from the database that keeps time for several hosts.
        """
        calls = {(key.workspace, key.agent, digest) for key, digest in asked if digest is not None}
        told = json.dumps([(*key, digest) for key, digest in asked])
        taken: set[FilingKey] = set()
        rejected: set[tuple[str, str, str]] = set()
        found = self._connection.exec_driver_sql(_KNOWN[self._dialect], {"asked": told})
        at: datetime | None = None
        for what, *told_of in found:
            if what == _TIME:
                at = datetime.fromisoformat(told_of[0])
            elif what == _REJECTED_CALL:
                rejected.add(tuple(told_of))
            else:
                taken.add(FilingKey(*told_of))
        self._free = {key for key, _ in asked} - taken
        self._unrejected = calls - rejected
        return at

    def is_unrejected(self, workspace: str, agent: str, digest: str) -> bool:
        """Tell whether the call is known never to have been rejected; False where that is not known."""
        return (workspace, agent, digest) in self._unrejected

    def is_free(self, key: FilingKey) -> bool:
        """Tell whether the key is known to be free; False where that is not known."""
        return key in self._free

    def takes(self, key: FilingKey) -> bool:
        """Take the key if it is known to be free, so that its row may be written later."""
        is_free = key in self._free
        self._free.discard(key)
        return is_free
