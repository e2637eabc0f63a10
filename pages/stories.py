"""Audit events as rows: for the log, and for one item's story."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.canonical import canonical
from pages.rendering import humanised
from pages.tables import Cell, Column, Line
from review.audit import AuditEvent

EVENT_COLUMNS = (
    Column("kind", "Event"),
    Column("actor", "By"),
    Column("data", "What it holds", "mono"),
    Column("at", "When", "ago"),
)
DATA_SHOWN = 160
DIGEST_SHOWN = len("sha256:") + 8
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


def event_cells(event: AuditEvent) -> dict[str, Cell]:
    """Return the event's cells under EVENT_COLUMNS."""
    return {
        "kind": Cell(humanised(event.kind), tone="strong"),
        "actor": Cell(event.actor.name, under=event.actor.kind),
        "data": Cell(told(event.data), tone="quiet"),
        "at": Cell(at=event.at),
    }


def told(data: Mapping[str, Any]) -> str:
    """Return what an event holds in one line: names with their values, cut where it gets long."""
    text = ", ".join(f"{name} {_value(value)}" for name, value in data.items() if value not in (None, [], ""))
    return text if len(text) <= DATA_SHOWN else f"{text[:DATA_SHOWN]} …"


def _value(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    if not isinstance(value, str):
        return canonical(value).decode()
    return f"{value[:DIGEST_SHOWN]}…" if _DIGEST.match(value) else value


def story_lines(newest_first: Sequence[AuditEvent]) -> list[Line]:
    """Return an item's events as rows, oldest first."""
    return [
        Line(id=str(event.id), name=humanised(event.kind), cells=event_cells(event)) for event in reversed(newest_first)
    ]
