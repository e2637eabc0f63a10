"""The cards of tools as they are read from the schemas that agents send: hostile, so bounded, and never in the way.

What cannot be used is left out, and told by a stable code: a card is only ever a matter of looks, so nothing is refused
for it, and without a card everything is shown as the schema has it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue, TypeAdapter, ValidationError

from agents.cards import KEYWORD, MAX_FIELDS, Card, CardField, Headline

MAX_CARD_BYTES = 16 * 1024

Place = tuple[str | int, ...]
Schema = Mapping[str, object]

_HEADLINE = TypeAdapter(Headline)
_KNOWN = frozenset(Card.model_fields)
_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]{1,256})\}|[^{}]+")
_INDEX = re.compile(r"0|[1-9]\d{0,5}")


class CardFault(StrEnum):
    """Why a part of a card is not used."""

    NOT_AN_OBJECT = "card_not_an_object"
    TOO_LARGE = "card_too_large"
    UNKNOWN_MEMBER = "card_member_unknown"
    HEADLINE_MALFORMED = "card_headline_malformed"
    FIELDS_MALFORMED = "card_fields_malformed"
    FIELD_MALFORMED = "card_field_malformed"
    FIELD_REPEATED = "card_field_repeated"
    TOO_MANY_FIELDS = "card_fields_too_many"


@dataclass(frozen=True, slots=True)
class CardProblem:
    """A part of a card that is not used: a stable code, and a sentence for the tool's author."""

    code: CardFault
    text: str


@dataclass(frozen=True, slots=True)
class CardRead:
    """What can be used of a card, and what cannot; ``card`` is None where a tool declares none, or nothing usable."""

    card: Card | None = None
    problems: tuple[CardProblem, ...] = ()


def card_of(schema: Schema | None) -> CardRead:
    """Return the card that a tool's schema declares, as far as it can be used."""
    declared = (schema or {}).get(KEYWORD)
    if declared is None:
        return CardRead()
    if not isinstance(declared, Mapping):
        return CardRead(problems=(CardProblem(CardFault.NOT_AN_OBJECT, "The card is no JSON object."),))
    if len(json.dumps(declared)) > MAX_CARD_BYTES:
        too_large = f"The card is larger than {MAX_CARD_BYTES // 1024} KiB."
        return CardRead(problems=(CardProblem(CardFault.TOO_LARGE, too_large),))
    problems = [
        CardProblem(CardFault.UNKNOWN_MEMBER, f"{_cut(name)} is nothing that a card has.")
        for name in declared
        if name not in _KNOWN
    ]
    headline = _headline(declared.get("headline"), problems)
    fields = _fields(declared.get("fields"), problems)
    return CardRead(Card(headline=headline, fields=fields) if headline or fields else None, tuple(problems))


def _headline(declared: object, problems: list[CardProblem]) -> str | None:
    if declared is None:
        return None
    try:
        headline: str = _HEADLINE.validate_python(declared, strict=True)
    except ValidationError as error:
        problems.append(CardProblem(CardFault.HEADLINE_MALFORMED, f"The headline: {error.errors()[0]['msg']}."))
        return None
    if "".join(found.group() for found in _PIECES.finditer(headline)) != headline:
        told = "The headline: a brace stands alone. Places stand in braces; a brace itself is doubled."
        problems.append(CardProblem(CardFault.HEADLINE_MALFORMED, told))
        return None
    return headline


def _fields(declared: object, problems: list[CardProblem]) -> tuple[CardField, ...]:
    if declared is None:
        return ()
    if not isinstance(declared, list):
        problems.append(CardProblem(CardFault.FIELDS_MALFORMED, "The card's fields are no list."))
        return ()
    if len(declared) > MAX_FIELDS:
        told = f"The card has {len(declared):,} fields; the first {MAX_FIELDS} are used."
        problems.append(CardProblem(CardFault.TOO_MANY_FIELDS, told))
    fields: dict[Place, CardField] = {}
    for number, one in enumerate(declared[:MAX_FIELDS], start=1):
        try:
            field = CardField.model_validate_json(json.dumps(one))
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            told = f"Field {number}: {f'{_cut(where)}: ' if where else ''}{error.errors()[0]['msg']}."
            problems.append(CardProblem(CardFault.FIELD_MALFORMED, told))
            continue
        if place_of(field.at) in fields:
            problems.append(CardProblem(CardFault.FIELD_REPEATED, f"Field {number}: {_cut(field.at)} has one already."))
            continue
        fields[place_of(field.at)] = field
    return tuple(fields.values())


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def place_of(at: str) -> Place:
    """Return the place that a card names: an argument by its name, or what a JSON Pointer leads to."""
    if not at.startswith("/"):
        return (at,)
    steps = (step.replace("~1", "/").replace("~0", "~") for step in at.split("/")[1:])
    return tuple(int(step) if number and _INDEX.fullmatch(step) else step for number, step in enumerate(steps))


def value_at(args: Mapping[str, JsonValue], place: Place) -> tuple[JsonValue, ...]:
    """Return the value at the place, alone in a tuple; nothing where there is none."""
    value: JsonValue = dict(args)
    for step in place:
        if isinstance(value, dict) and str(step) in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return ()
    return (value,)


def pieces_of(headline: str) -> Iterator[tuple[str, Place | None]]:
    """Yield the parts of a headline: words with None, and the name of a place with the place."""
    for found in _PIECES.finditer(headline):
        at = found.group(1)
        text = found.group()
        yield (at, place_of(at)) if at is not None else ({"{{": "{", "}}": "}"}.get(text, text), None)


def uncovered(args: Mapping[str, JsonValue], fields: Sequence[CardField]) -> dict[str, JsonValue]:
    """Return the arguments that no field shows whole."""
    whole = {place[0] for field in fields if len(place := place_of(field.at)) == 1}
    return {name: value for name, value in args.items() if name not in whole}
