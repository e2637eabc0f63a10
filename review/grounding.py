"""Grounding and provenance: where in what the agent was given each of an action's argument values stands.

A value that stands nowhere is the practical sign of a made-up id, price or address; one that stands only in untrusted
content, of an instruction that somebody slipped in (prompt injection). The agent's own words do not count as a source.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from agents.protocol import ActionRequest, ContextEntry, ContextKind

Path = tuple[str | int, ...]

SHORTEST_TEXT = 4
SMALLEST_NUMBER = 10
SHORTEST_ID = 6
MAX_VALUES = 1_000
MAX_REFS = 16
MAX_GROUPS = 10
MAX_DIGITS = 30
MAX_PLACES = 1_000

_OF_TOOLS = frozenset({ContextKind.TOOL_RESULT, ContextKind.RECORD})
_OF_STRANGERS = frozenset({ContextKind.DOCUMENT, ContextKind.LINK})
_GIVERS = frozenset({"user", "customer", "human", "client"})
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"(?<![\w.,])\d{1,30}(?:[,'’]\d{3})*(?:\.\d{1,30})?(?!\d)")
_COMMA_DECIMAL = re.compile(r"(?<![\w.,])(\d{1,30}),(\d{1,2})(?!\d)")
_NUMERIC_TEXT = re.compile(r"-?(?:0|[1-9]\d{0,29})(?:\.\d{1,30})?")
_HIDDEN = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_PIECE = re.compile(r"[^\W_]+")
_PIECE_OF_ONE_SORT = re.compile(r"[^\W\d_]+|\d+")
_DIGITS = re.compile(r"\d+")
_SEPARATORS = frozenset(".,'’ _\n\t")
_FIELD_NAME = re.compile(r"[^\W\d]+\d{0,2}")
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


class _Squeezed:
    """A text with nothing between its pieces, and where each of them begins and ends."""

    def __init__(self, pieces: Iterable[str]) -> None:
        ends = [0]
        listed = list(pieces)
        for piece in listed:
            ends.append(ends[-1] + len(piece))
        self._text = "".join(listed)
        self._edges = frozenset(ends)

    def has(self, value: str) -> bool:
        """Tell whether the value is a row of whole pieces; one that stands in too many places counts as such."""
        at = -1
        for _ in range(MAX_PLACES):
            at = self._text.find(value, at + 1)
            if at < 0:
                return False
            if at in self._edges and at + len(value) in self._edges:
                return True
        return True


class _Searched:
    """An entry of the context, made ready to be searched when it first is.

    What is untrusted is searched in ``loose`` forms too: numbers that touch letters or are grouped in any way, ids with
    spaces or hyphens inside. Who slips a value in chooses how it is written.
    """

    def __init__(self, entry: ContextEntry, *, loose: bool) -> None:
        self.entry = entry
        self._is_loose = loose

    def has(self, value: str | Decimal) -> bool:
        """Tell whether the value stands in the entry: a number by its value, a text by its words in a row."""
        if isinstance(value, Decimal):
            return value in self._numbers or (self._is_loose and self._has_loose_number(value))
        stands = value in self._words if " " not in value else f" {value} " in self._text
        return stands or (self._is_loose and self._has_loose_text(value))

    def _has_loose_number(self, value: Decimal) -> bool:
        if value in self._loose_numbers:
            return True
        digits = f"{value:f}" if value == value.to_integral_value() else ""
        return len(digits) >= SHORTEST_ID and self._pieces_of_one_sort.has(digits.partition(".")[0])

    def _has_loose_text(self, value: str) -> bool:
        squeezed = "".join(_PIECE.findall(value))
        return len(squeezed) >= SHORTEST_TEXT and self._pieces.has(squeezed)

    @cached_property
    def _bare(self) -> str:
        return _HIDDEN.sub("", _folded(self._given))

    @cached_property
    def _pieces(self) -> _Squeezed:
        return _Squeezed(_PIECE.findall(self._bare))

    @cached_property
    def _pieces_of_one_sort(self) -> _Squeezed:
        return _Squeezed(_PIECE_OF_ONE_SORT.findall(self._bare))

    @cached_property
    def _loose_numbers(self) -> frozenset[Decimal]:
        return frozenset(_loose_numbers(self._bare))

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
    sign; untrusted content is searched in looser forms too. Names in objects are values where they are data: where
    the schema does not name them or, without one, where they do not look like the name of a field. Looked at are
    messages of the user or customer, tool results, records, documents and links; which of them are trusted is told
    at `source_of`. Not looked for are texts under 4 letters, whole numbers under 10, booleans, and what the schema
    enumerates. The values behind the first 1,000 are not looked for; they count as standing nowhere or, where there
    is untrusted content that they may come from, as coming from there.
    """
    schema: object = request.args_schema
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
    records are trusted, documents and links are not. A message that it does not trust is untrusted whoever wrote it.
    """
    if entry.kind is ContextKind.MESSAGE:
        if entry.trusted is False:
            return Source.UNTRUSTED
        return Source.USER if (entry.role or "").casefold() in _GIVERS else Source.NOWHERE
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
        source = source_of(entry)
        by_source[source].append(_Searched(entry, loose=source is Source.UNTRUSTED))
    return [(source, searched) for source in _ORDER for searched in by_source[source]]


def _origin(path: Path, value: str | Decimal, searched: list[tuple[Source, _Searched]]) -> Origin:
    for source, at in searched:
        if at.has(value):
            return Origin(path, source, at.entry)
    return Origin(path, Source.NOWHERE)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _loose_numbers(text: str) -> Iterator[Decimal]:
    """Yield each number that a row of digits may stand for, alone or with the groups and decimals that follow it."""
    found = list(_DIGITS.finditer(text))
    for first, match in enumerate(found):
        digits = match.group()
        for place in range(first + 1, first + 1 + MAX_GROUPS):
            if len(digits) > MAX_DIGITS:
                break
            yield Decimal(digits)
            if place >= len(found) or not _is_close(text, found[place - 1].end(), found[place].start()):
                break
            more = found[place].group()
            if len(more) <= MAX_DIGITS:
                yield Decimal(f"{digits}.{more}")
            if len(more) != 3 or len(match.group()) > 3:
                break
            digits += more


def _is_close(text: str, end: int, begin: int) -> bool:
    return begin - end == 1 and text[end] in _SEPARATORS


def _decimal(text: str) -> Decimal:
    return Decimal(re.sub(r"[,'’]", "", text))


def _values(value: Any, path: Path, schema: object, root: object) -> Iterator[tuple[Path, str | Decimal]]:  # noqa: ANN401 -- any JSON value
    schema = _followed(schema, root)
    if isinstance(value, dict):
        named = _named(schema, root)
        for name, member in value.items():
            sought = None if name in named else _sought_name(name, schema, root)
            if sought is not None:
                yield (*path, name), sought
            yield from _values(member, (*path, name), named.get(name), root)
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _values(member, (*path, place), schema.get("items"), root)
    elif not _is_closed(schema, root):
        sought = _sought(value)
        if sought is not None:
            yield path, sought


def _sought_name(name: str, schema: dict[str, Any], root: object) -> str | Decimal | None:
    is_field = root is None and _FIELD_NAME.fullmatch(name)
    return None if is_field or _is_closed(_followed(schema.get("propertyNames"), root), root) else _sought(name)


def _sought(value: object) -> str | Decimal | None:
    if isinstance(value, str) and not _NUMERIC_TEXT.fullmatch(value):
        words = " ".join(_WORD.findall(_folded(value)))
        return words if len(words) >= SHORTEST_TEXT else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = Decimal(str(value)).copy_abs()
    return number if number >= SMALLEST_NUMBER or number % 1 else None


def _named(schema: dict[str, Any], root: object, depth: int = 2) -> dict[str, object]:
    """Return the properties that the schema or one of its forms names, with their schemas."""
    named: dict[str, object] = {}
    for keyword in ("anyOf", "oneOf", "allOf") if depth else ():
        forms = schema.get(keyword)
        for form in forms[:MAX_REFS] if isinstance(forms, list) else ():
            named |= _named(_followed(form, root), root, depth - 1)
    own = schema.get("properties")
    return named | own if isinstance(own, dict) else named


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
