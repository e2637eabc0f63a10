"""However many rows an export has, it needs the memory of a few."""

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from review.audit import EventFilter
from review.exports import audit_csv, decisions_csv, labels_csv
from tests.builders import a_decision, an_event, an_item, keeping, mary
from tests.console import Console

FEW, MANY = 400, 4_000
# What the interpreter keeps for itself differs by this much from one run to the next.
SLACK_BYTES = 512 * 1024

EXPORTS: dict[str, tuple[str, Callable[[Console], Iterator[bytes]]]] = {
    "audit": ("audit_events", lambda house: audit_csv(house.records.audit_events(mary, EventFilter()))),
    "decisions": ("decisions", lambda house: decisions_csv(house.records.decisions(mary))),
    "labels": ("decisions", lambda house: labels_csv(house.records.labels(mary))),
}


def grow(path: Path, table: str, first: int, last: int) -> None:
    """Repeat the table's first row under ids of its own, which is faster than any use case."""
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "seq"]
        values = ["substr(id, 1, 24) || printf('%08x', n)" if name == "id" else name for name in names]
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) "  # noqa: S608 -- our own names
            f"INSERT INTO {table} ({', '.join(names)}) "
            f"SELECT {', '.join(values)} FROM numbers, (SELECT * FROM {table} ORDER BY id LIMIT 1)"
        )


def peak_of(chunks: Iterator[bytes]) -> tuple[int, int]:
    """The most bytes that Python held at a time while the export was read, and how many the file has."""
    tracemalloc.start()
    try:
        size = sum(map(len, chunks))
        return tracemalloc.get_traced_memory()[1], size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", list(EXPORTS))
def test_ten_times_the_rows_need_no_more_memory(house: Console, tmp_path: Path, what: str) -> None:
    table, export = EXPORTS[what]
    item = an_item()
    house.store.write(keeping(item, a_decision(item), an_event()))
    path = tmp_path / "signoff.db"
    grow(path, table, 1, FEW)
    few, small = peak_of(export(house))

    grow(path, table, FEW + 1, MANY)
    many, large = peak_of(export(house))

    assert large > 9 * small
    assert many < few + SLACK_BYTES
