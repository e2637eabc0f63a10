"""Whether arguments fit a tool's JSON Schema (2020-12), said in words that a reviewer can act on.

Schemas come from agents, so they are hostile until checked: nothing is fetched, and what a validation may cost is
bounded before it begins, but for patterns. What matching costs an honest pattern is a thousandth of what it can cost,
so it is measured as it goes, and given up; only what a single match can cost is bounded before.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from agents.canonical import NotCanonicalError, canonical, parse
from review.errors import InvalidSchemaError

MAX_SCHEMA_BYTES = 64 * 1024
MAX_PATTERNS = 64
MAX_PATTERN_STEPS = 1_000
MAX_ERRORS = 20

# How many matches a validation may need, for how many seconds of the processor all of them may go on, and what any one
# could take at the worst.
MAX_MATCHES = 30_000
MAX_MATCHING_S = 0.05
MAX_MATCH_S = 0.1
# What each byte of a text can cost a pattern that compiles to so many bytes at most; measured with
# `[ab]*a[ab]{n}c`. A step of one that looks around or back can cost that for the whole text.
_RATES_S = {4 * 1024: 1.5e-6, 16 * 1024: 2.5e-6, 64 * 1024: 10e-6, 256 * 1024: 25e-6}
_STEP_S = 1e-7

# How often the validator may look at one value. `$ref`, `anyOf` and their like multiply: eighteen small
# definitions that each refer twice to the next make 262,144 looks, and 13 seconds.
MAX_LOOKS = 2_000
MAX_CHAIN = 200

# Looks times the arguments' weight. The validator answers yes or no at once, but copies the value into each
# error, all errors before the first is read: beyond LISTED_WORK only the first is asked for.
MAX_WORK = 4_000_000
LISTED_WORK = 20_000
OPTIONS_PER_LOOK = 16
BYTES_PER_WEIGHT = 64

_IN_PLACE = ("$ref", "not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_OF_MEMBERS = (
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("items", "contains", "unevaluatedItems"),
)
_REFUSED = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

Schema = Mapping[str, Any]


def path_text(path: list[str | int]) -> str:
    """Return where a value stands, as ``order.lines[0].price``; the arguments themselves are ``""``."""
    text = ""
    for step in path:
        if isinstance(step, str) and _IDENTIFIER.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def _resolved(reference: object, root: Schema) -> object:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        message = f"$ref {str(reference)[:80]!r} must stay within the schema and begin with #/"
        raise InvalidSchemaError(message)
    target: object = root
    for raw in reference.split("/")[1:]:
        step = unquote(raw).replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list) and step.isdecimal() and len(step) < 6 and int(step) < len(target):
            target = target[int(step)]
        else:
            message = f"$ref {reference[:80]!r} leads nowhere"
            raise InvalidSchemaError(message)
    return target


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _named(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []


def _looks_by_itself(schema: Schema) -> int:
    return 1 + len(_listed(schema.get("enum"))) // OPTIONS_PER_LOOK


def _matches_by_itself(schema: Schema) -> int:
    return 1 if isinstance(schema.get("pattern"), str) else 0


class _Looks:
    """How many looks at one value, and at what lies in it, a schema asks for at most; or how many of some kind."""

    def __init__(self, root: Schema, by_itself: Callable[[Schema], int] = _looks_by_itself) -> None:
        self._root = root
        self._by_itself = by_itself
        self._known: dict[tuple[int, int], int] = {}
        self._chain: set[tuple[int, int]] = set()

    def in_place(self, schema: Schema) -> Iterator[object]:
        """Yield the schemas that look at the same value."""
        for keyword in _IN_PLACE:
            if keyword in schema:
                yield _resolved(schema[keyword], self._root) if keyword == "$ref" else schema[keyword]
        for keyword in _IN_PLACE_LISTS:
            yield from _listed(schema.get(keyword))
        yield from _named(schema.get("dependentSchemas"))

    def of_members(self, schema: Schema) -> Iterator[object]:
        """Yield the schemas that look at every value inside the value."""
        for keyword in _OF_MEMBERS:
            yield schema.get(keyword)
        yield from _named(schema.get("patternProperties"))

    def of_one_member(self, schema: Schema) -> Iterator[object]:
        """Yield the schemas of which each looks at another value inside the value."""
        yield from _named(schema.get("properties"))
        yield from _listed(schema.get("prefixItems"))

    def at(self, schema: object, depth: int) -> int:
        """Return the looks at a value with ``depth`` levels inside. Raises InvalidSchemaError on a circle."""
        if not isinstance(schema, dict):
            return 0
        key = (id(schema), depth)
        if key in self._known:
            return self._known[key]
        if key in self._chain or len(self._chain) > MAX_CHAIN:
            message = "a $ref leads back to itself, or through too many others"
            raise InvalidSchemaError(message)
        self._chain.add(key)
        looks = self._by_itself(schema)
        looks += sum(self.at(part, depth) for part in self.in_place(schema))
        if depth:
            looks += sum(self.at(part, depth - 1) for part in self.of_members(schema))
            looks += max((self.at(part, depth - 1) for part in self.of_one_member(schema)), default=0)
        self._chain.discard(key)
        self._known[key] = min(looks, MAX_LOOKS + 1)
        return self._known[key]

    def check(self) -> None:
        """Follow every schema that can be reached, and refuse circles and multiplications."""
        waiting: list[object] = [self._root]
        seen: set[int] = set()
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            _check_keywords(schema, is_root=schema is self._root)
            if self.at(schema, 0) > MAX_LOOKS:
                message = f"its parts refer to each other so often that one value needs {MAX_LOOKS} looks and more"
                raise InvalidSchemaError(message)
            for parts in (self.in_place, self.of_members, self.of_one_member):
                waiting.extend(parts(schema))


def _check_keywords(schema: Schema, *, is_root: bool) -> None:
    refused = [keyword for keyword in _REFUSED if keyword in schema]
    if "$id" in schema and not is_root:
        refused.append("$id")
    if refused:
        message = f"{refused[0]} is not supported; refer to other parts by $ref and #/"
        raise InvalidSchemaError(message)


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else _listed(value):
        yield from _objects(part)


def _patterns(schema: Schema) -> int:
    return sum(
        isinstance(each.get("pattern"), str) + len(_named(each.get("patternProperties"))) for each in _objects(schema)
    )


def _of_names(schema: Schema) -> set[str]:
    """Return the patterns that names of members are matched with."""
    found = (each.get("patternProperties") for each in _objects(schema))
    return {pattern for patterns in found if isinstance(patterns, dict) for pattern in patterns}


def _looking_around(size: int) -> jsonschema_rs.FancyRegexOptions:
    # Pydantic writes patterns that look ahead (Decimal), so a linear engine would refuse honest tools.
    # A match that takes more steps than these counts as none.
    return jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_PATTERN_STEPS, size_limit=size, dfa_size_limit=size)


def _engine(
    pattern: str, options: jsonschema_rs.FancyRegexOptions | jsonschema_rs.RegexOptions
) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, offline=True, pattern_options=options)


class _Pattern:
    """A pattern that was compiled, and what one match with it can cost. Raises ValueError where it takes too much."""

    def __init__(self, pattern: str) -> None:
        for size, rate in _RATES_S.items():
            self._rate_s = rate
            try:
                self.engine = _engine(pattern, _looking_around(size))
                break
            except ValueError:
                if size == max(_RATES_S):
                    raise
        try:
            _engine(pattern, jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=size))
            self._looks_around = False
        except ValueError:
            self._looks_around = True

    def cost_s(self, text: str) -> float:
        """Return for how many seconds of the processor a match with the text can take at most, nearly."""
        count = len(text) if text.isascii() else 4 * len(text)
        once = count * self._rate_s
        return (MAX_PATTERN_STEPS + count) * (_STEP_S + once) if self._looks_around else once


class _Effort(threading.local):
    """For how many seconds of the processor this thread's validation may still match."""

    left_s = 0.0


_effort = _Effort()


class _TooCostlyError(Exception):
    """The match was not made."""


class _Matching:
    """The keyword ``pattern``, held to what a validation may work."""

    def __init__(self, _schema: Schema, pattern: str, _path: object) -> None:
        self._pattern = _Pattern(pattern)

    def validate(self, value: object) -> None:
        """Return where the value matches, or is no text."""
        if not isinstance(value, str):
            return
        if _effort.left_s <= 0 or self._pattern.cost_s(value) > MAX_MATCH_S:
            _effort.left_s = 0
            raise _TooCostlyError
        began = time.thread_time()
        try:
            self._pattern.engine.validate(value)
        except jsonschema_rs.ValidationError as error:
            raise ValueError(_unlike(error.kind.as_dict().get("pattern"))) from None
        finally:
            _effort.left_s -= time.thread_time() - began


class _Checked:
    """A schema that was checked and compiled."""

    def __init__(self, text: bytes) -> None:
        try:
            schema = parse(text)
        except NotCanonicalError as error:
            raise InvalidSchemaError(str(error)) from error
        _Looks(schema).check()
        if _patterns(schema) > MAX_PATTERNS:
            message = f"it has more than {MAX_PATTERNS} patterns"
            raise InvalidSchemaError(message)
        self.text = text
        self.schema: Schema = schema
        try:
            self.of_names = [_Pattern(pattern) for pattern in _of_names(schema)]
            self.validator = jsonschema_rs.Draft202012Validator(
                schema,
                offline=True,
                validate_formats=True,
                pattern_options=_looking_around(max(_RATES_S)),
                keywords={"pattern": _Matching},
            )
        except ValueError as error:
            raise InvalidSchemaError(_complaint(error)) from error


def _complaint(error: ValueError) -> str:
    text = str(error).partition("\n")[0].removeprefix(_NOT_COMPILED)
    pattern, found, _ = text.rpartition(' is not a "regex"')
    return f"{_cut(pattern)} is no pattern that runs in little memory" if found else text[:300]


_NOT_COMPILED = "Failed to instantiate keyword class 'pattern': ValidationError: "


@lru_cache(maxsize=128)
def _checked(text: bytes) -> _Checked:
    return _Checked(text)


@lru_cache(maxsize=2048)
def _counted(text: bytes, depth: int, by_itself: Callable[[Schema], int]) -> int:
    schema = _checked(text).schema
    return _Looks(schema, by_itself).at(schema, depth)


def _canonical(schema: Schema) -> bytes:
    try:
        text = canonical(dict(schema))
    except NotCanonicalError as error:
        raise InvalidSchemaError(str(error)) from error
    except RecursionError as error:
        message = "it is nested too deeply"
        raise InvalidSchemaError(message) from error
    if len(text) > MAX_SCHEMA_BYTES:
        message = f"it is larger than {MAX_SCHEMA_BYTES // 1024} KiB"
        raise InvalidSchemaError(message)
    return text


# An agent sends the schema of its tool with every call, in the same words.
_AS_IT_STANDS = json.JSONEncoder(check_circular=False)


@lru_cache(maxsize=128)
def _checked_as_told(told: str) -> _Checked:
    return _checked(_canonical(json.loads(told)))


def _checked_again(schema: Schema) -> _Checked:
    try:
        told = _AS_IT_STANDS.encode(dict(schema))
    except (TypeError, RecursionError):  # It has no canonical form either, and hears so.
        return _checked(_canonical(schema))
    return _checked_as_told(told) if len(told) <= MAX_SCHEMA_BYTES else _checked(_canonical(schema))


def check_schema(schema: Schema) -> None:
    """Return only when arguments can be validated with the schema. Raises InvalidSchemaError.

    A schema may refer to its own parts by ``#`` and ``#/…`` alone: nothing is fetched or read from a file.
    """
    _checked(_canonical(schema))


def _depth_and_weight(value: object) -> tuple[int, int]:
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        inside = [_depth_and_weight(member) for member in members]
        return 1 + max((depth for depth, _ in inside), default=0), 1 + sum(weight for _, weight in inside)
    return 0, 1 + (len(value) // BYTES_PER_WEIGHT if isinstance(value, str) else 0)


def _naming_s(patterns: Iterable[_Pattern], args: Mapping[str, Any]) -> float:
    """Return for how many seconds of the processor matching every name once can take at most."""
    return sum(pattern.cost_s(name) for pattern in patterns for each in _objects(args) for name in each)


_TOO_COSTLY = ("", "are too large or too deep to be checked against this schema")


def args_errors(schema: Schema, args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what does not fit, as (path, sentence without its subject); empty where all fits.

    At most MAX_ERRORS are returned, and only the first where listing all would take long. Arguments too large
    for the schema to be checked do not fit. Raises InvalidSchemaError as ``check_schema`` does.
    """
    checked = _checked_again(schema)
    instance = dict(args)
    depth, weight = _depth_and_weight(instance)
    looks = _counted(checked.text, depth, _looks_by_itself)
    work = looks * weight
    matches = _counted(checked.text, depth, _matches_by_itself) * weight
    if looks > MAX_LOOKS or work > MAX_WORK or matches > MAX_MATCHES:
        return [_TOO_COSTLY]
    if looks * _naming_s(checked.of_names, instance) > MAX_MATCH_S:
        return [_TOO_COSTLY]
    _effort.left_s = MAX_MATCHING_S
    found = _found(checked.validator, instance, lists_all=work <= LISTED_WORK)
    # What was not matched says nothing: a schema may ask for what does not fit.
    return found if _effort.left_s > 0 else [_TOO_COSTLY]


def _found(
    validator: jsonschema_rs.Draft202012Validator, instance: dict[str, Any], *, lists_all: bool
) -> list[tuple[str, str]]:
    if validator.is_valid(instance) or _effort.left_s <= 0:
        return []
    if lists_all:
        return [_said(error) for error in islice(validator.iter_errors(instance), MAX_ERRORS)]
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        return [_said(error)]
    return []


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "a group of fields",
    "string": "text",
}


def _shown(value: object) -> str:
    text = canonical(value).decode()
    return text if len(text) <= 60 else text[:60] + "…"


def _any_type(types: list[str]) -> str:
    named = sorted(types, key=lambda name: name == "null")
    return "must be " + " or ".join(dict.fromkeys(_TYPES.get(name, name) for name in named))


def _one_of(options: list[object]) -> str:
    shown = ", ".join(_shown(option) for option in options[:10])
    return f"must be one of {shown}" + (f" … ({len(options)} in all)" if len(options) > 10 else "")


def _unlike(pattern: str | None) -> str:
    # Without a pattern: the match was given up.
    return f"must look like {_cut(pattern)}" if pattern else "takes too many steps to match against its pattern"


def _unwritten(form: str) -> str:
    return f"must be {_FORMATS.get(form) or f'written as {_cut(form)}'}"


_FORMATS = {  # In the words of whoever fills in a form.
    "date": "a day, such as 2026-11-28",
    "time": "a time with its offset from UTC, such as 10:00:00+01:00",
    "date-time": "a day and a time with its offset from UTC, such as 2026-11-28T10:00:00+01:00",
    "duration": "a duration, such as P3D or PT12H",
    "email": "an e-mail address, such as ada@example.com",
    "idn-email": "an e-mail address, such as ada@example.com",
    "hostname": "the name of a host, such as example.com",
    "ipv4": "an IPv4 address, such as 192.0.2.1",
    "ipv6": "an IPv6 address, such as 2001:db8::1",
    "uri": "a whole address, such as https://example.com/page",
    "iri": "a whole address, such as https://example.com/page",
    "uri-reference": "an address, whole or from here on, such as /page",
    "uuid": "a UUID, such as 0199aa3e-5d1c-7c3e-9f0a-2b1c3d4e5f60",
}

_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "type": lambda told: _any_type(told["types"]),
    "enum": lambda told: _one_of(told["options"]),
    "const": lambda told: f"must be {_shown(told['expected_value'])}",
    "minimum": lambda told: f"must be at least {told['limit']}",
    "maximum": lambda told: f"must be at most {told['limit']}",
    "exclusiveMinimum": lambda told: f"must be more than {told['limit']}",
    "exclusiveMaximum": lambda told: f"must be less than {told['limit']}",
    "multipleOf": lambda told: f"must be a multiple of {told['multiple_of']}",
    "minLength": lambda told: f"must have at least {told['limit']} characters",
    "maxLength": lambda told: f"must have at most {told['limit']} characters",
    "minItems": lambda told: f"must have at least {told['limit']} entries",
    "maxItems": lambda told: f"must have at most {told['limit']} entries",
    "minProperties": lambda told: f"must have at least {told['limit']} fields",
    "maxProperties": lambda told: f"must have at most {told['limit']} fields",
    "uniqueItems": lambda _: "must not hold the same entry twice",
    "contains": lambda _: "must hold an entry of the kind that the schema asks for",
    "pattern": lambda told: told["message"],
    "format": lambda told: _unwritten(told["format"]),
    "falseSchema": lambda _: "may not be given",
    "oneOf": lambda _: "must fit exactly one of the forms that the schema allows",
}


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


def _said(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    path, keyword, told = list(error.instance_path), error.kind.name, error.kind.as_dict()
    if keyword == "required":
        return path_text([*path, told["property"]]), "is missing"
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        names = ", ".join(map(_cut, told["unexpected"][:5]))
        return path_text(path), f"may not hold {names}: the schema does not know it"
    if keyword == "anyOf":
        return path_text(path), _any_form(told["context"])
    sentence = _SENTENCES.get(keyword)
    return path_text(path), sentence(told) if sentence else f"does not fit what the schema says by {keyword}"


def _any_form(branches: list[list[jsonschema_rs.ValidationError]]) -> str:
    # `anyOf` mostly says "this or nothing": when every branch fails by type alone, that is what to say.
    kinds = [branch[0].kind for branch in branches if len(branch) == 1]
    types = [kind.types for kind in kinds if isinstance(kind, jsonschema_rs.ValidationErrorKind.Type)]
    if len(types) == len(branches):
        return _any_type([name for names in types for name in names])
    return "fits none of the forms that the schema allows"
