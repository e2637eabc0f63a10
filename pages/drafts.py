"""A draft of the policy while it is edited: what its tables hold, and the document that they make."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from agents.canonical import NotCanonicalError, parse
from pages.rendering import place_name
from review.items import Tool
from review.policy import (
    DEFAULT_OUTCOME_WITHIN,
    DEFAULT_PERMIT_FOR,
    HOUR,
    Autonomy,
    Part,
    PolicyDocument,
    Queue,
    Sensitive,
    ToolRule,
    own_problems,
)

P = TypeVar("P", bound=Part)

MINUTE = 60

TOOL_COLUMNS = (
    *("agent", "tool", "autonomy", "threshold"),
    *("queue", "due_in", "permit_for", "outcome_within", "approve_on_expiry"),
)

TableColumns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A document not yet in force, the version ``base`` that it changes, and what in it cannot be used.

    The widgets began with ``began``; ``generation`` grows when they are to begin anew.
    """

    document: PolicyDocument
    base: PolicyDocument
    based_on: int
    began: PolicyDocument
    generation: int = 0
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: PolicyDocument, number: int, *, generation: int = 0) -> "Draft":
        """Return a draft that changes nothing yet of this version."""
        return cls(document, document, number, document, generation)

    @property
    def has_changes(self) -> bool:
        """Tell whether the draft differs from the version that it is a change of."""
        return bool(self.problems) or self.document != self.base

    def with_(self, **changes: Any) -> "Draft":  # noqa: ANN401 -- the document's fields, each of its own type
        """Return the draft with other fields in its document; the widgets stay."""
        return replace(self, document=self.document.model_copy(update=changes))

    def with_problems(self, problems: Iterable[str]) -> "Draft":
        """Return the draft with more that cannot be used."""
        return replace(self, problems=(*self.problems, *problems))

    def begun_anew(self, document: PolicyDocument) -> "Draft":
        """Return the draft with another document, its widgets new."""
        return replace(self, document=document, began=document, generation=self.generation + 1, problems=())


def document_in(text: str) -> tuple[PolicyDocument | None, list[str]]:
    """Return the document that the JSON text holds, or what is wrong with it."""
    try:
        return PolicyDocument.model_validate(parse(text.encode())), []
    except NotCanonicalError as error:
        return None, [str(error)]
    except ValidationError as error:
        return None, problems_of(error)


def as_text(document: PolicyDocument) -> str:
    """Return the document as JSON to be read and edited, without what is as it would be anyway."""
    return json.dumps(document.model_dump(mode="json", exclude_defaults=True) | {"version": 1}, indent=2)


def problems_of(error: ValidationError, *, of: str = "") -> list[str]:
    """Return what is wrong, each in a sentence that names its place."""
    return [
        ": ".join(part for part in (of, place_name(found["loc"]), found["msg"]) if part) for found in error.errors()
    ]


def moved(parts: Sequence[P], place: int, *, by: int) -> tuple[P, ...]:
    """Return the rules or queues with one of them moved up or down, as far as the ends."""
    order = list(parts)
    part = order.pop(place)
    order.insert(min(max(place + by, 0), len(order)), part)
    return tuple(order)


def put(parts: Sequence[P], part: P, *, at: int | None) -> tuple[P, ...]:
    """Return the rules or queues with one of them replaced, or with a new one at their end."""
    if at is None:
        return (*parts, part)
    return (*parts[:at], part, *parts[at + 1 :])


def without(parts: Sequence[P], place: int) -> tuple[P, ...]:
    """Return the rules or queues without one of them."""
    return (*parts[:place], *parts[place + 1 :])


def queue_made(values: Mapping[str, Any], *, others: Iterable[Queue]) -> tuple[Queue | None, list[str]]:
    """Return the queue that a form makes, its due time in minutes, or what keeps it from standing beside the others."""
    due_in = values["due_in"]
    named = {
        **values,
        "name": values["name"].strip(),
        "guidelines": values["guidelines"].strip(),
        "skills": tuple(dict.fromkeys(skill.strip() for skill in values["skills"])),
        "due_in": None if due_in is None else round(due_in * MINUTE),
    }
    try:
        queue = Queue.model_validate(named)
    except ValidationError as error:
        return None, problems_of(error)
    problems = list(own_problems(queue))
    if any(other.name == queue.name for other in others):
        problems.append(f"The queue {queue.name} stands in the policy already.")
    return (None if problems else queue), problems


def tool_columns(tools: Sequence[ToolRule]) -> TableColumns:
    """Return the rules of tools as the columns of an editable table; due and outcomes in minutes, permits in hours.

    Where there are none the table has one row to fill in: a column without a value would count as one of numbers.
    """
    if not tools:
        return {name: [None] for name in TOOL_COLUMNS}
    return {
        "agent": [tool.agent for tool in tools],
        "tool": [tool.tool for tool in tools],
        "autonomy": [tool.autonomy.value for tool in tools],
        "threshold": [tool.threshold for tool in tools],
        "queue": [tool.queue for tool in tools],
        "due_in": [tool.due_in / MINUTE if tool.due_in else None for tool in tools],
        "permit_for": [tool.permit_for / HOUR for tool in tools],
        "outcome_within": [tool.outcome_within / MINUTE for tool in tools],
        "approve_on_expiry": [tool.approve_on_expiry for tool in tools],
    }


def tool_rules(columns: Mapping[str, Sequence[Any]]) -> tuple[tuple[ToolRule, ...], list[str]]:
    """Return the rules that an edited table makes, and a sentence for each row that makes none."""
    rules: list[ToolRule] = []
    problems: list[str] = []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        row = {name: value for name, value in zip(columns, values, strict=True) if not _is_blank(value)}
        if not row.keys() - {"approve_on_expiry"}:
            continue  # A row that was added and not filled in.
        if not {"agent", "tool"} <= row.keys():
            problems.append(f"Row {number} of the tools needs an agent and a tool.")
            continue
        try:
            rules.append(_tool_rule(row))
        except ValidationError as error:
            problems += problems_of(error, of=f"Row {number} of the tools")
    return tuple(rules), problems


def _tool_rule(row: Mapping[str, Any]) -> ToolRule:
    return ToolRule.model_validate(
        {
            "agent": row["agent"],
            "tool": row["tool"],
            "autonomy": row.get("autonomy", Autonomy.SUPERVISED),
            "threshold": float(row["threshold"]) if "threshold" in row else None,
            "queue": row.get("queue"),
            "due_in": round(row["due_in"] * MINUTE) if "due_in" in row else None,
            "permit_for": round(row["permit_for"] * HOUR) if "permit_for" in row else DEFAULT_PERMIT_FOR,
            "outcome_within": (
                round(row["outcome_within"] * MINUTE) if "outcome_within" in row else DEFAULT_OUTCOME_WITHIN
            ),
            "approve_on_expiry": bool(row.get("approve_on_expiry", False)),
        }
    )


def sensitive_columns(parts: Sequence[Sensitive]) -> TableColumns:
    """Return what is declared sensitive as the columns of an editable table, a row for each argument."""
    if not parts:
        return {"tool": [None], "at": [None]}  # As for the tools.
    places = [(part.tool, at) for part in parts for at in part.at]
    return {"tool": [tool for tool, _ in places], "at": [at for _, at in places]}


def sensitive_parts(columns: Mapping[str, Sequence[Any]]) -> tuple[tuple[Sensitive, ...], list[str]]:
    """Return what an edited table declares sensitive, and a sentence for each row that declares nothing."""
    places: dict[str, list[str]] = {}
    problems: list[str] = []
    for number, row in enumerate(zip(columns["tool"], columns["at"], strict=True), start=1):
        tool, at = ("" if _is_blank(value) else str(value).strip() for value in row)
        if not tool and not at:
            continue  # A row that was added and not filled in.
        try:
            Sensitive(tool=tool, at=(at,))
        except ValidationError as error:
            problems += problems_of(error, of=f"Row {number} of what is masked")
            continue
        if at not in places.setdefault(tool, []):
            places[tool].append(at)
    parts = ((tool, known[begin : begin + 50]) for tool, known in places.items() for begin in range(0, len(known), 50))
    return tuple(Sensitive(tool=tool, at=tuple(some)) for tool, some in parts), problems


def _is_blank(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def unnamed_tools(document: PolicyDocument, seen: Iterable[Tool]) -> list[ToolRule]:
    """Return a supervised rule for each tool that an agent declared and the document does not name."""
    named = {(tool.agent, tool.tool) for tool in document.tools}
    return [ToolRule(agent=tool.agent, tool=tool.name) for tool in seen if (tool.agent, tool.name) not in named]
