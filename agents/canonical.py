"""Strict JSON in, RFC 8785 canonical JSON out, and the digest that binds a decision to its arguments."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn

import rfc8785
from pydantic import BaseModel

from .protocol import MAX_DEPTH, MAX_INTEGER

_SMALLEST_FRACTION = 1e-4


class Flaw(StrEnum):
    """What keeps a text or a value from having one canonical form."""

    INVALID_JSON = "invalid_json"
    DUPLICATE_KEY = "duplicate_key"
    NOT_A_NUMBER = "not_a_number"
    INTEGER_TOO_LARGE = "integer_too_large"
    TOO_DEEP = "too_deep"
    LONE_SURROGATE = "lone_surrogate"
    NOT_CANONICAL = "not_canonical"


_SAID = {
    Flaw.INVALID_JSON: "The text is not valid JSON",
    Flaw.DUPLICATE_KEY: "A key stands twice in one object",
    Flaw.NOT_A_NUMBER: "A number is not one that JSON can hold; send null or a string instead",
    Flaw.INTEGER_TOO_LARGE: "An integer is above 2**53 - 1; send it as a string",
    Flaw.TOO_DEEP: f"The JSON is nested deeper than {MAX_DEPTH} levels",
    Flaw.LONE_SURROGATE: "A \\u escape is half of a surrogate pair",
    Flaw.NOT_CANONICAL: "The value has no canonical form",
}


class NotCanonicalError(ValueError):
    """The text is no JSON that two parties read alike: ``code`` says what stands in the way."""

    def __init__(self, flaw: Flaw, detail: object = None) -> None:
        super().__init__(f"{_SAID[flaw]}: {detail}" if detail is not None else f"{_SAID[flaw]}.")
        self.code = flaw.value


def _refuse_constant(name: str) -> NoReturn:
    raise NotCanonicalError(Flaw.NOT_A_NUMBER, name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise NotCanonicalError(Flaw.NOT_A_NUMBER, text[:80])
    return number


def _bounded(text: str) -> int:
    # Longer than any safe integer: refused by its length, before Python spends time on it.
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise NotCanonicalError(Flaw.INTEGER_TOO_LARGE)
    return int(text)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise NotCanonicalError(Flaw.DUPLICATE_KEY, repr(twice[:80]))
    return members


def _depth_within(value: Any, levels: int) -> bool:  # noqa: ANN401 -- any JSON value
    if isinstance(value, dict):
        return levels > 0 and all(_depth_within(member, levels - 1) for member in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_depth_within(member, levels - 1) for member in value)
    return True


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_bounded,
)


def parse(body: bytes) -> Any:  # noqa: ANN401 -- any JSON value
    """Read JSON (RFC 8259) so that every reader of it would read the same.

    Raises NotCanonicalError with code ``invalid_json``, ``duplicate_key``, ``not_a_number``, ``integer_too_large``,
    ``too_deep`` (over 32 levels) or ``lone_surrogate``.
    """
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except RecursionError:
        raise NotCanonicalError(Flaw.TOO_DEEP) from None
    except NotCanonicalError:
        raise
    except ValueError as error:
        raise NotCanonicalError(Flaw.INVALID_JSON, error) from None
    # What opens fewer brackets than levels are allowed cannot be too deep; most requests need no second look.
    if text.count("{") + text.count("[") > MAX_DEPTH and not _depth_within(value, MAX_DEPTH):
        raise NotCanonicalError(Flaw.TOO_DEEP)
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise NotCanonicalError(Flaw.LONE_SURROGATE) from None
    return value


def canonical(value: Any) -> bytes:  # noqa: ANN401 -- any JSON value
    """Return the one RFC 8785 form of a JSON value. Raises NotCanonicalError where it has none."""
    if _is_plain(value):
        return _PLAIN.encode(value).encode("utf-8")
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError as error:
        raise NotCanonicalError(Flaw.INTEGER_TOO_LARGE) from error
    except rfc8785.FloatDomainError as error:
        raise NotCanonicalError(Flaw.NOT_A_NUMBER) from error
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonicalError(Flaw.NOT_CANONICAL, error) from error


# On values with ASCII keys, whose floats have a fraction and a common magnitude, the standard library's encoder gives
# the RFC 8785 form, much faster: both write the shortest digits that read back, without an exponent in this range.
_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
_PLAIN_LEAVES = frozenset({bool, type(None)})


def _is_plain(value: Any) -> bool:  # noqa: ANN401 -- any JSON value
    kind = type(value)
    if kind is str:
        return value.isascii() or _is_encodable(value)
    if kind is dict:
        return all(map(_is_plain_key, value)) and all(map(_is_plain, value.values()))
    if kind is list:
        return all(map(_is_plain, value))
    if kind is int:
        return isinstance(value, int) and -MAX_INTEGER <= value <= MAX_INTEGER
    if kind is float:
        return _SMALLEST_FRACTION <= abs(value) < MAX_INTEGER and not value.is_integer()
    return kind in _PLAIN_LEAVES


def _is_plain_key(key: object) -> bool:
    return type(key) is str and key.isascii()


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_NUMBERS = (int, float)


def is_same(one: object, other: object) -> bool:
    """Tell whether two JSON values, or two models of them, are the same: those that have one canonical form.

    So true is not 1, as it is to Python, wherever in the values it stands, and 1.0 is.
    """
    kind = type(one)
    if kind is not type(other):
        return kind in _NUMBERS and type(other) in _NUMBERS and one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):
        return is_same(one.model_dump(mode="json"), other.model_dump(mode="json"))
    return one == other


def action_digest(name: str, args: Mapping[str, Any]) -> str:
    """Return ``sha256:<hex>`` over the canonical form of ``{"args", "name"}``: exactly what would run."""
    return "sha256:" + hashlib.sha256(canonical({"name": name, "args": dict(args)})).hexdigest()
