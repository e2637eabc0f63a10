"""Grounding: which of an action's argument values stand anywhere in what the agent was given.

A value that stands nowhere is the practical sign of a made-up id, price or address. The agent's own words do
not count as a source.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.protocol import ActionRequest, ContextEntry, ContextKind

Path = tuple[str | int, ...]

SHORTEST_TEXT = 4
SMALLEST_NUMBER = 10
MAX_VALUES = 1_000
MAX_REFS = 16

_SOURCES = frozenset({ContextKind.TOOL_RESULT, ContextKind.RECORD, ContextKind.DOCUMENT})
_GIVERS = frozenset({"user", "customer", "human", "client"})
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"(?<![\w.,])\d{1,30}(?:[,'’]\d{3})*(?:\.\d{1,30})?(?!\d)")
_COMMA_DECIMAL = re.compile(r"(?<![\w.,])(\d{1,30}),(\d{1,2})(?!\d)")
_NUMERIC_TEXT = re.compile(r"-?(?:0|[1-9]\d{0,29})(?:\.\d{1,30})?")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[nrtbf])")


@dataclass(frozen=True, slots=True)
class Grounding:
    """``share`` of the values that stand in the context, None where there is no value to look for."""

    share: float | None
    ungrounded: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """All that the agent was given, ready to be searched: words, in a row and as a set, and numbers."""

    text: str
    words: frozenset[str]
    numbers: frozenset[Decimal]

    def has(self, value: str | Decimal) -> bool:
        if isinstance(value, Decimal):
            return value in self.numbers
        return value in self.words if " " not in value else f" {value} " in self.text


def grounding(request: ActionRequest) -> Grounding:
    """Find the argument values that stand in the context, and those that do not.

    Texts are compared by their words, whatever their case and punctuation; numbers by value, whatever their
    sign. Looked at are messages of the user or customer, tool results, records and documents. Not looked for
    are texts under 4 letters, whole numbers under 10, booleans, and what the schema enumerates. Behind the
    first 1,000 values all count as standing nowhere.
    """
    schema = request.args_schema or {}
    values = list(_values(request.action.args, (), schema, schema))
    if not values:
        return Grounding(None, ())
    source = _source(request.context)
    ungrounded = tuple(
        path for place, (path, value) in enumerate(values) if place >= MAX_VALUES or not source.has(value)
    )
    return Grounding(1 - len(ungrounded) / len(values), ungrounded)


def _source(context: tuple[ContextEntry, ...]) -> _Source:
    given = "\n".join(entry.content for entry in context if _is_source(entry))
    # Tool results are mostly JSON, in which letters outside ASCII may stand as escapes.
    given = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", given)
    words = _WORD.findall(_folded(given))
    numbers = {_decimal(found.group()) for found in _NUMBER.finditer(given)}
    numbers |= {Decimal(f"{found[1]}.{found[2]}") for found in _COMMA_DECIMAL.finditer(given)}
    return _Source(f" {' '.join(words)} ", frozenset(words), frozenset(numbers))


def _is_source(entry: ContextEntry) -> bool:
    if entry.kind is ContextKind.MESSAGE:
        return (entry.role or "").casefold() in _GIVERS
    return entry.kind in _SOURCES


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _decimal(text: str) -> Decimal:
    return Decimal(re.sub(r"[,'’]", "", text))


def _values(value: Any, path: Path, schema: object, root: object) -> Iterator[tuple[Path, str | Decimal]]:  # noqa: ANN401 -- any JSON value
    schema = _followed(schema, root)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _values(member, (*path, name), _part(schema, "properties", name), root)
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _values(member, (*path, place), schema.get("items"), root)
    elif not _is_closed(schema, root):
        sought = _sought(value)
        if sought is not None:
            yield path, sought


def _sought(value: object) -> str | Decimal | None:
    if isinstance(value, str) and not _NUMERIC_TEXT.fullmatch(value):
        words = " ".join(_WORD.findall(_folded(value)))
        return words if len(words) >= SHORTEST_TEXT else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = Decimal(str(value)).copy_abs()
    return number if number >= SMALLEST_NUMBER or number % 1 else None


def _part(schema: dict[str, Any], keyword: str, name: str) -> object:
    parts = schema.get(keyword)
    return parts.get(name) if isinstance(parts, dict) else None


def _followed(schema: object, root: object) -> dict[str, Any]:
    for _ in range(MAX_REFS):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            break
        keyword, _, name = reference.removeprefix("#/").partition("/")
        schema = _part(root, keyword, name) if isinstance(root, dict) else None
    return schema if isinstance(schema, dict) else {}


def _is_closed(schema: dict[str, Any], root: object) -> bool:
    if "enum" in schema or "const" in schema or schema.get("type") == "boolean":
        return True
    forms = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if not isinstance(forms, list) or len(forms) > MAX_REFS:
        return False
    followed = [_followed(form, root) for form in forms]
    given = [form for form in followed if form.get("type") != "null"]
    return bool(given) and all("enum" in form or "const" in form for form in given)
