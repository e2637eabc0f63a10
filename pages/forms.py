"""Forms made from a tool's JSON Schema, as values: which field edits what, and which arguments a form holds.

Whatever is not touched comes back as the very value that was proposed, so its digest is the same; nothing is
rounded on its way. What has no widget of its own is edited as JSON.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import Any, Final

from pydantic import JsonValue

from agents.canonical import NotCanonicalError, canonical, is_same, parse
from agents.cards import CardField, Format
from agents.protocol import Args
from pages.cards import DECIMAL
from pages.rendering import Place
from review.cards import card_of, place_of
from review.schemas import args_errors, path_text

Schema = Mapping[str, Any]
State = Mapping[Any, Any]

_DEEPEST = 8
_HOPS = 16
_LONG = 60
_SAFE = 2**53 - 1
_NUMBER_WANTED = "Write a number, such as 12.5."
_AMOUNT_WANTED = "Write an amount, such as 420.00."
# RFC 3339: the day, the time to the minute, and the offset from UTC.
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):[0-5][0-9](?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Missing(Enum):
    """That there is no value, which in JSON is something else than null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Value = JsonValue | Missing


class Kind(StrEnum):
    """What a field is edited with."""

    TEXT = "text"
    WORDS = "words"  # Text of several lines.
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    DATE = "date"
    MOMENT = "date and time"  # To the minute, at the offset from UTC that was proposed.
    EMAIL = "e-mail"
    ADDRESS = "address"  # A URI.
    MONEY = "money"  # An amount in digits, as the tool's card declares it.
    OBJECT = "object"
    LIST = "list"
    JSON = "json"  # Whatever no other kind can show without changing it.


class Standing(StrEnum):
    """Whether a field has a value; offered where it may do without one."""

    VALUE = "value"
    NULL = "null"
    ABSENT = "left out"


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of a JSON Schema, the whole that its references point into, and what the tool's card says of places."""

    schema: Schema
    root: Schema
    card: Mapping[Place, CardField] = field(default_factory=dict)

    def at(self, schema: object) -> "Shape":
        """Return another part of the same whole; what is no schema allows anything."""
        return replace(self, schema=schema if isinstance(schema, Mapping) else {})


@dataclass(frozen=True, slots=True)
class Field:
    """One place in the arguments, and how it is edited; ``value`` is what it starts from.

    ``members`` are the fields of an object, or of a list's elements; ``element`` shapes an element to add.
    """

    place: Place
    kind: Kind
    value: Value
    shape: Shape
    is_required: bool = True
    is_nullable: bool = False
    choices: tuple[JsonValue, ...] = ()
    members: tuple["Field", ...] = ()
    element: Shape | None = None

    @property
    def name(self) -> str:
        """Return the last step of the place, as a reader counts."""
        last = self.place[-1] if self.place else ""
        return f"{last + 1}" if isinstance(last, int) else last

    @property
    def description(self) -> str:
        """Return what the schema says of the field."""
        said = self.shape.schema.get("description")
        return said if isinstance(said, str) else ""

    @property
    def on_card(self) -> CardField | None:
        """Return what the tool's card says of the place."""
        return self.shape.card.get(self.place)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Return what the field can be: a value, and where it may do without one, null or left out."""
        null = (Standing.NULL,) if self.is_nullable else ()
        absent = () if self.is_required else (Standing.ABSENT,)
        return (Standing.VALUE, *null, *absent)

    @property
    def standing(self) -> Standing:
        """Return how the field starts."""
        if self.value is MISSING:
            return Standing.VALUE if self.is_required else Standing.ABSENT
        return Standing.NULL if self.value is None and self.is_nullable else Standing.VALUE


@dataclass(frozen=True, slots=True)
class Edited:
    """What a form holds: the arguments, None where they cannot be read, and what is wrong at which place."""

    args: Args | None
    errors: Mapping[Place, str] = field(default_factory=dict)

    @property
    def is_fitting(self) -> bool:
        """The arguments can be read and fit their schema."""
        return self.args is not None and not self.errors


class UnreadableError(ValueError):
    """What was typed is no value of its field; the message says what would be."""


def form_of(schema: Schema | None, args: Mapping[str, JsonValue]) -> Field:
    """Return the form that edits these arguments; without a schema, their own types shape it."""
    whole = schema or {}
    card = card_of(whole).card
    on_card = {place_of(declared.at): declared for declared in card.fields} if card else {}
    root = field_of(Shape(whole, whole, on_card), dict(args))
    return root if root.kind is Kind.OBJECT else field_of(Shape({}, {}), dict(args))


def field_of(shape: Shape, value: Value, *, place: Place = (), is_required: bool = True) -> Field:
    """Return how a value of this shape is edited."""
    shape, is_nullable = _narrowed(shape, value)
    made = Field(place, Kind.JSON, value, shape, is_required, is_nullable or value is None)
    if len(place) >= _DEEPEST:
        return made
    choices = _choices(shape.schema)
    if choices:
        return replace(made, kind=Kind.CHOICE, choices=choices)
    return _MAKERS.get(_type_of(shape.schema, value), _as_json)(made)


def _as_json(made: Field) -> Field:
    return made


def _narrowed(shape: Shape, value: Value) -> tuple[Shape, bool]:
    """Follow references and alternatives until one plain schema is left; tell whether null fits."""
    is_nullable = False
    for _ in range(_HOPS):
        schema = shape.schema
        if "$ref" in schema:
            others = {name: part for name, part in schema.items() if name != "$ref"}
            shape = shape.at({**_referred(shape.root, schema["$ref"]), **others})
        elif isinstance(parts := schema.get("allOf"), list):
            shape = shape.at(_merged(shape, schema, parts))
        elif isinstance(parts := schema.get("anyOf", schema.get("oneOf")), list):
            chosen, null = _alternative(shape, parts, value)
            is_nullable = is_nullable or null
            others = {name: part for name, part in schema.items() if name not in ("anyOf", "oneOf")}
            shape = shape.at({**chosen, **others})
        else:
            break
    types = shape.schema.get("type")
    return shape, is_nullable or types == "null" or (isinstance(types, list) and "null" in types)


def _referred(root: Schema, reference: object) -> Schema:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return {}
    part: object = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        part = part.get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _merged(shape: Shape, schema: Schema, parts: Sequence[object]) -> Schema:
    merged: dict[str, Any] = {name: part for name, part in schema.items() if name != "allOf"}
    for part in parts:
        plain = _narrowed(shape.at(part), MISSING)[0].schema
        properties = {**merged.get("properties", {}), **plain.get("properties", {})}
        required = [*merged.get("required", []), *plain.get("required", [])]
        merged = {**plain, **merged}
        if properties:
            merged |= {"properties": properties, "required": required}
    return merged


def _alternative(shape: Shape, parts: Sequence[object], value: Value) -> tuple[Schema, bool]:
    """Return the alternative that the value is of, else the first; several lists of choices become one."""
    plain = [_narrowed(shape.at(part), value)[0].schema for part in parts]
    others = [part for part in plain if part.get("type") != "null"]
    is_nullable = len(others) < len(plain)
    if others and all(map(_choices, others)):
        return {"enum": [choice for part in others for choice in _choices(part)]}, is_nullable
    fitting = [part for part in others if _fits(part, value)]
    return next(iter(fitting or others), {}), is_nullable


def _choices(schema: Schema) -> tuple[JsonValue, ...]:
    if "const" in schema:
        return (schema["const"],)
    listed = schema.get("enum")
    return tuple(choice for choice in listed if choice is not None) if isinstance(listed, list) else ()


def _json_type(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    names: tuple[tuple[type, str], ...] = (
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "")


def _fits(schema: Schema, value: Value) -> bool:
    if value is MISSING or value is None:
        return True
    types = schema.get("type")
    allowed = types if isinstance(types, list) else [types]
    found = _json_type(value)
    return types is None or found in allowed or (found == "integer" and "number" in allowed)


def _type_of(schema: Schema, value: Value) -> str:
    """Return the JSON type that the field is edited as; nothing where the value is of another type."""
    if not _fits(schema, value):
        return ""
    types = schema.get("type")
    allowed = [name for name in (types if isinstance(types, list) else [types]) if name not in (None, "null")]
    found = _json_type(value)
    if len(allowed) == 1:
        return str(allowed[0])
    return found or (str(allowed[0]) if allowed else _implied(schema))


def _implied(schema: Schema) -> str:
    return "object" if "properties" in schema else "array" if "items" in schema else ""


def _string(made: Field) -> Field:
    value = made.value
    kind, fits = _FORMATS.get(str(made.shape.schema.get("format")), (Kind.TEXT, _is_short))
    if kind is Kind.TEXT and made.on_card is not None and made.on_card.format is Format.MONEY:
        kind, fits = Kind.MONEY, _is_amount
    if not isinstance(value, str) or fits(value):
        return replace(made, kind=kind)
    return replace(made, kind=Kind.TEXT if _is_short(value) else Kind.WORDS)


def _is_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text


def _is_short(text: str) -> bool:
    return len(text) <= _LONG and _is_line(text)


def _is_amount(text: str) -> bool:
    return DECIMAL.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def moment_of(text: str) -> tuple[datetime, str] | None:
    """Return the time on the clock, to the minute, and its offset from UTC as written; None where it has no such form.

    As RFC 3339 writes it, so never without an offset.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    day, time, offset = found.groups()
    try:
        return datetime.fromisoformat(f"{day}T{time}"), offset
    except ValueError:
        return None


def offset_of(made: Field) -> str:
    """Return the offset from UTC that a time in the field has; UTC itself, where none was proposed."""
    found = moment_of(made.value) if isinstance(made.value, str) else None
    return found[1] if found else "Z"


_FORMATS: dict[str, tuple[Kind, Callable[[str], bool]]] = {
    "date": (Kind.DATE, _is_date),
    "date-time": (Kind.MOMENT, lambda text: moment_of(text) is not None),
    "email": (Kind.EMAIL, _is_line),
    "idn-email": (Kind.EMAIL, _is_line),
    "uri": (Kind.ADDRESS, _is_line),
    "iri": (Kind.ADDRESS, _is_line),
}


def _integer(made: Field) -> Field:
    is_exact = not isinstance(made.value, int) or abs(made.value) <= _SAFE
    return replace(made, kind=Kind.INTEGER) if is_exact else made


def _of_kind(kind: Kind) -> Callable[[Field], Field]:
    return lambda made: replace(made, kind=kind)


def _object(made: Field) -> Field:
    value = made.value if isinstance(made.value, dict) else {}
    schema = made.shape.schema
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set()
    members = tuple(
        field_of(
            made.shape.at(known.get(name, schema.get("additionalProperties"))),
            value.get(name, MISSING),
            place=(*made.place, name),
            is_required=name in needed,
        )
        for name in dict.fromkeys([*known, *value])
    )
    return replace(made, kind=Kind.OBJECT, members=members)


def _list(made: Field) -> Field:
    value = made.value if isinstance(made.value, list) else []
    schema = made.shape.schema
    firsts = schema.get("prefixItems")
    heads = firsts if isinstance(firsts, list) else []
    shapes = [
        made.shape.at(heads[number] if number < len(heads) else schema.get("items")) for number in range(len(value))
    ]
    members = tuple(
        field_of(shape, element, place=(*made.place, number))
        for number, (shape, element) in enumerate(zip(shapes, value, strict=True))
    )
    return replace(made, kind=Kind.LIST, members=members, element=made.shape.at(schema.get("items")))


_MAKERS: dict[str, Callable[[Field], Field]] = {
    "string": _string,
    "integer": _integer,
    "number": _of_kind(Kind.NUMBER),
    "boolean": _of_kind(Kind.BOOLEAN),
    "object": _object,
    "array": _list,
}


def edited(schema: Schema | None, args: Mapping[str, JsonValue], state: State, key: str) -> Edited:
    """Return the arguments as the widgets hold them; one that was never drawn holds what was proposed."""
    if state.get(f"{key}.view") == "JSON":
        return _edited_json(schema, args, state, key)
    errors: dict[Place, str] = {}
    base = base_args(args, state, key)
    value = _held(form_of(schema, base), state, form_key(state, key), errors)
    return _judged(schema, value if isinstance(value, dict) else None, errors)


def _edited_json(schema: Schema | None, args: Mapping[str, JsonValue], state: State, key: str) -> Edited:
    base = base_args(args, state, key)
    text = state.get(f"{form_key(state, key)}.json")
    if text is None or _is_same_text(text, json_text(base)):
        return _judged(schema, base, {})
    try:
        value = _parsed(text)
    except UnreadableError as error:
        return Edited(None, {(): str(error)})
    return _judged(schema, value, {}) if isinstance(value, dict) else Edited(None, {(): "Arguments are a JSON object."})


def _judged(schema: Schema | None, args: Args | None, unreadable: Mapping[Place, str]) -> Edited:
    """Return what the form holds; what cannot be read at one place hides nothing that is wrong at another."""
    if args is None:
        return Edited(None, unreadable)
    try:
        canonical(args)
    except NotCanonicalError as error:
        return Edited(None, {(): str(error), **unreadable})
    told = _schema_errors(dict(schema), args, unreadable) if schema else {}
    return Edited(None if unreadable else args, {**told, **unreadable})


def _schema_errors(schema: dict[str, Any], args: Args, unreadable: Mapping[Place, str]) -> dict[Place, str]:
    places = {path_text(list(place)): place for place in (*_places(args), *unreadable)}
    found: dict[Place, list[str]] = {}
    for path, message in args_errors(schema, args):
        found.setdefault(places.get(path, ()), []).append(message)
    return {place: " ".join(messages) for place, messages in found.items()}


def base_args(args: Mapping[str, JsonValue], state: State, key: str) -> Args:
    """Return what the form starts from: the proposed arguments, or those carried over from its other view."""
    return dict(state.get(f"{key}.base", args))


def form_key(state: State, key: str) -> str:
    """Return what the keys of the form's widgets begin with; another beginning makes other widgets."""
    return f"{key}.{state.get(f'{key}.generation', 0)}"


def _held(made: Field, state: State, root: str, errors: dict[Place, str], *, at: str | None = None) -> Value:
    """Return the field's value as its widgets hold it, noting what cannot be read."""
    own = f"{root}{key_path(made.place)}" if at is None else at
    standing = state.get(f"{own}.standing") or made.standing
    if standing == Standing.ABSENT:
        return MISSING
    if standing == Standing.NULL:
        return None
    shown = opened(made)
    if shown.kind is Kind.OBJECT:
        held = (
            (member, _held(member, state, root, errors, at=f"{own}{key_path(member.place[-1:])}"))
            for member in shown.members
        )
        return {str(member.place[-1]): value for member, value in held if not isinstance(value, Missing)}
    if shown.kind is Kind.LIST:
        rows = ((member, f"{own}/{row}") for row, member in list_rows(shown, state, own))
        values = (_held(member, state, root, errors, at=where) for member, where in rows)
        return [value for value in values if not isinstance(value, Missing)]
    try:
        return leaf_value(shown, state.get(own, initial(shown)))
    except UnreadableError as error:
        errors[made.place] = str(error)
        return MISSING


def opened(made: Field) -> Field:
    """Return the field as it is edited once it has a value, where it started without one."""
    if made.value is not MISSING and made.value is not None:
        return made
    default = made.shape.schema.get("default", MISSING)
    start: Value = default if default is not None else MISSING
    if start is MISSING and made.kind in (Kind.OBJECT, Kind.LIST):
        start = {} if made.kind is Kind.OBJECT else []
    fresh = field_of(made.shape, start, place=made.place, is_required=made.is_required)
    return replace(fresh, is_nullable=made.is_nullable)


def list_rows(made: Field, state: State, own: str) -> Iterator[tuple[int, Field]]:
    """Yield the list's rows as they stand, each under the number that it keeps for as long as it is there."""
    rows: Sequence[int] = state.get(f"{own}.rows", range(len(made.members)))
    for number, row in enumerate(rows):
        place = (*made.place, number)
        if row < len(made.members):
            member = made.members[row]
            moved = field_of(member.shape, member.value, place=place)
            yield row, member if row == number else replace(moved, is_nullable=member.is_nullable)
        elif made.element is not None:
            yield row, field_of(made.element, MISSING, place=place)


_TYPED = (Kind.TEXT, Kind.WORDS, Kind.NUMBER, Kind.EMAIL, Kind.ADDRESS, Kind.MONEY)


def initial(made: Field) -> Any:  # noqa: ANN401 -- whatever the kind's widget holds
    """Return what the field's widget holds before anybody touches it."""
    value = made.value
    if made.kind is Kind.CHOICE:
        return next((number for number, choice in enumerate(offered(made)) if is_same(choice, value)), None)
    if made.kind is Kind.JSON:
        return "" if value is MISSING else json_text(value)
    if value is MISSING or value is None:
        return "" if made.kind in _TYPED else None
    if made.kind is Kind.DATE:
        return date.fromisoformat(str(value))
    if made.kind is Kind.MOMENT:
        found = moment_of(str(value))
        return found[0] if found else None
    return json.dumps(value) if made.kind is Kind.NUMBER else value


def offered(made: Field) -> tuple[JsonValue, ...]:
    """Return what can be chosen; what was proposed is among it, even where the schema does not know it."""
    value = made.value
    if isinstance(value, Missing) or value is None or any(is_same(choice, value) for choice in made.choices):
        return made.choices
    return (value, *made.choices)


def leaf_value(made: Field, held: Any) -> JsonValue:  # noqa: ANN401 -- whatever the kind's widget holds
    """Return the value that the field's widget holds; the proposed one itself where nothing was changed.

    Raises UnreadableError.
    """
    started = made.value
    if started is not MISSING and _is_untouched(held, initial(made)):
        return started
    if held is None:
        raise UnreadableError("It needs a value.")  # noqa: TRY003, EM101 -- a reader's sentence
    return _READERS.get(made.kind, _as_held)(made, held)


def _is_untouched(held: object, start: object) -> bool:
    if isinstance(held, str) and isinstance(start, str):
        return _is_same_text(held, start)
    return type(held) is type(start) and held == start


def _is_same_text(one: str, other: str) -> bool:
    # A browser's text area knows one kind of line break only.
    return one.replace("\r\n", "\n").replace("\r", "\n") == other.replace("\r\n", "\n").replace("\r", "\n")


def _as_held(_: Field, held: Any) -> JsonValue:  # noqa: ANN401 -- whatever the kind's widget holds
    value: JsonValue = held
    return value


def _number(_: Field, held: str) -> JsonValue:
    try:
        value = _parsed(held.strip())
    except UnreadableError as error:
        cause = error.__cause__
        is_told = isinstance(cause, NotCanonicalError) and cause.code in ("integer_too_large", "not_a_number")
        raise error if is_told else UnreadableError(_NUMBER_WANTED) from error
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnreadableError(_NUMBER_WANTED)
    return value


def _amount(_: Field, held: str) -> JsonValue:
    if not _is_amount(held.strip()):
        raise UnreadableError(_AMOUNT_WANTED)
    return held.strip()


def _moment(made: Field, held: datetime) -> JsonValue:
    return f"{held.isoformat(timespec='minutes')}:00{offset_of(made)}"


def _parsed(text: str) -> JsonValue:
    try:
        value: JsonValue = parse(text.encode())
    except (NotCanonicalError, UnicodeEncodeError) as error:
        raise UnreadableError(str(error)) from error
    return value


_READERS: dict[Kind, Callable[[Field, Any], JsonValue]] = {
    Kind.NUMBER: _number,
    Kind.CHOICE: lambda made, held: offered(made)[held],
    Kind.DATE: lambda _, held: held.isoformat(),
    Kind.MOMENT: _moment,
    Kind.MONEY: _amount,
    Kind.JSON: lambda _, held: _parsed(held),
}


def json_text(value: JsonValue) -> str:
    """Return the value as JSON, laid out to be edited."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def key_path(place: Place) -> str:
    """Return the end of the key of the widget at the place, which no other has, nor another thing that it keeps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1').replace('.', '~2')}" for step in place)


def _places(value: JsonValue, *, at: Place = ()) -> Iterator[Place]:
    yield at
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in members:
        yield from _places(member, at=(*at, step))
