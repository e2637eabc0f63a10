"""Grounding and provenance: where in what the agent was given each of an action's argument values stands.

A value that stands nowhere is the practical sign of a made-up id, price or address; one that stands only in untrusted
content, of an instruction that somebody slipped in (prompt injection). The agent's own words do not count as a source.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from agents.protocol import ActionRequest, ContextEntry, ContextKind

Path = tuple[str | int, ...]

SHORTEST_TEXT = 4
SMALLEST_NUMBER = 10
MAX_VALUES = 1_000
MAX_REFS = 16

_OF_TOOLS = frozenset({ContextKind.TOOL_RESULT, ContextKind.RECORD})
_OF_STRANGERS = frozenset({ContextKind.DOCUMENT, ContextKind.LINK})
_GIVERS = frozenset({"user", "customer", "human", "client"})
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"(?<![\w.,])\d{1,30}(?:[,'’]\d{3})*(?:\.\d{1,30})?(?!\d)")
_COMMA_DECIMAL = re.compile(r"(?<![\w.,])(\d{1,30}),(\d{1,2})(?!\d)")
_NUMERIC_TEXT = re.compile(r"-?(?:0|[1-9]\d{0,29})(?:\.\d{1,30})?")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[nrtbf])")


class Source(StrEnum):
    """Where an argument value comes from; the first that has it counts."""

    USER = "user"  # A message of the user or customer.
    TOOL = "tool"  # A tool result, a record, or a document that the agent vouches for.
    UNTRUSTED = "untrusted"  # Nothing but content that anybody may have written.
    NOWHERE = "nowhere"


_ORDER = (Source.USER, Source.TOOL, Source.UNTRUSTED)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value at ``path`` of the arguments comes from; ``entry`` is the context's entry that has it."""

    path: Path
    source: Source
    entry: ContextEntry | None = None


@dataclass(frozen=True, slots=True)
class Grounding:
    """``share`` of the values that stand in the context, None where there is no value to look for."""

    share: float | None
    ungrounded: tuple[Path, ...]


@dataclass(frozen=True)
class Provenance:
    """The origin of every value that was looked for, in the order of the arguments."""

    origins: tuple[Origin, ...]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Return how many values come from where, each source named."""
        found = Counter(origin.source for origin in self.origins)
        return {source.value: found[source] for source in Source}

    @property
    def grounding(self) -> Grounding:
        """Return the share of the values that stand anywhere in the context, and the places of those that do not."""
        if not self.origins:
            return Grounding(None, ())
        ungrounded = tuple(origin.path for origin in self.origins if origin.entry is None)
        return Grounding(1 - len(ungrounded) / len(self.origins), ungrounded)


class _Searched:
    """An entry of the context, made ready to be searched when it first is."""

    def __init__(self, entry: ContextEntry) -> None:
        self.entry = entry

    def has(self, value: str | Decimal) -> bool:
        """Tell whether the value stands in the entry: a number by its value, a text by its words in a row."""
        if isinstance(value, Decimal):
            return value in self._numbers
        return value in self._words if " " not in value else f" {value} " in self._text

    @cached_property
    def _given(self) -> str:
        # Tool results are mostly JSON, in which letters outside ASCII may stand as escapes.
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", self.entry.content)

    @cached_property
    def _listed(self) -> list[str]:
        return _WORD.findall(_folded(self._given))

    @cached_property
    def _text(self) -> str:
        return f" {' '.join(self._listed)} "

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(self._listed)

    @cached_property
    def _numbers(self) -> frozenset[Decimal]:
        plain = {_decimal(found.group()) for found in _NUMBER.finditer(self._given)}
        return frozenset(plain | {Decimal(f"{found[1]}.{found[2]}") for found in _COMMA_DECIMAL.finditer(self._given)})


def grounding(request: ActionRequest) -> Grounding:
    """Find the argument values that stand in the context, and those that do not; see `provenance`."""
    return provenance(request).grounding


def provenance(request: ActionRequest) -> Provenance:
    """Find where each argument value comes from: the user, a tool, only untrusted content, or nowhere.

    Texts are compared by their words, whatever their case and punctuation; numbers by value, whatever their
    sign. Looked at are messages of the user or customer, tool results, records, documents and links; which of them
    are trusted is told at `source_of`. Not looked for are texts under 4 letters, whole numbers under 10, booleans,
    and what the schema enumerates. The values behind the first 1,000 are not looked for; they count as standing
    nowhere or, where there is untrusted content that they may come from, as coming from there.
    """
    schema = request.args_schema or {}
    values = list(_values(request.action.args, (), schema, schema))
    if not values:
        return Provenance(())
    searched = _searched(request.context)
    unsought = next((Origin((), source, at.entry) for source, at in searched if source is Source.UNTRUSTED), None)
    left = Origin((), Source.NOWHERE) if unsought is None else unsought
    return Provenance(
        tuple(
            _origin(path, value, searched) if place < MAX_VALUES else Origin(path, left.source)
            for place, (path, value) in enumerate(values)
        )
    )


def source_of(entry: ContextEntry) -> Source:
    """Return what a value that stands in the entry comes from; NOWHERE where the entry is no source at all.

    Where the agent does not say whether it trusts an entry, messages of the user or customer, tool results and
    records are trusted, documents and links are not.
    """
    if entry.kind is ContextKind.MESSAGE:
        if (entry.role or "").casefold() not in _GIVERS:
            return Source.NOWHERE
        return Source.UNTRUSTED if entry.trusted is False else Source.USER
    if entry.kind in _OF_TOOLS:
        return Source.UNTRUSTED if entry.trusted is False else Source.TOOL
    if entry.kind in _OF_STRANGERS:
        return Source.TOOL if entry.trusted else Source.UNTRUSTED
    return Source.NOWHERE


def has_untrusted(context: tuple[ContextEntry, ...]) -> bool:
    """Tell whether the context holds content that anybody may have written."""
    return any(source_of(entry) is Source.UNTRUSTED for entry in context)


def _searched(context: tuple[ContextEntry, ...]) -> list[tuple[Source, _Searched]]:
    by_source: dict[Source, list[_Searched]] = {source: [] for source in Source}
    for entry in context:
        by_source[source_of(entry)].append(_Searched(entry))
    return [(source, searched) for source in _ORDER for searched in by_source[source]]


def _origin(path: Path, value: str | Decimal, searched: list[tuple[Source, _Searched]]) -> Origin:
    for source, at in searched:
        if at.has(value):
            return Origin(path, source, at.entry)
    return Origin(path, Source.NOWHERE)


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
