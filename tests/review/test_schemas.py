"""Arguments against a tool's JSON Schema: what is told, and that hostile schemas are refused, soon."""

from typing import Any

import pytest

from review.errors import InvalidSchemaError
from review.schemas import MAX_ERRORS, args_errors, check_schema, path_text

REFUND: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^A-[0-9]+$"},
        "amount": {"type": "string", "minLength": 1, "maxLength": 4},
        "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
        "reason": {"enum": ["broken", "late"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Line"}},
        "mail": {"type": "string", "format": "email"},
    },
    "required": ["order_id"],
    "additionalProperties": False,
    "$defs": {"Line": {"type": "object", "properties": {"unit price": {"type": "number", "multipleOf": 5}}}},
}


@pytest.mark.parametrize(
    ("args", "errors"),
    [
        ({"order_id": "A-1"}, []),
        ({"order_id": "A-1", "amount": "9.50", "count": 9, "reason": "late", "note": None}, []),
        ({}, [("order_id", "is missing")]),
        ({"order_id": 7}, [("order_id", "must be text")]),
        ({"order_id": "B-1"}, [("order_id", "must look like ^A-[0-9]+$")]),
        ({"order_id": "A-1", "amount": ""}, [("amount", "must have at least 1 characters")]),
        ({"order_id": "A-1", "amount": "12345"}, [("amount", "must have at most 4 characters")]),
        ({"order_id": "A-1", "count": 0}, [("count", "must be at least 1")]),
        ({"order_id": "A-1", "count": 10}, [("count", "must be less than 10")]),
        ({"order_id": "A-1", "count": 1.5}, [("count", "must be a whole number")]),
        ({"order_id": "A-1", "reason": "bored"}, [("reason", 'must be one of "broken", "late"')]),
        ({"order_id": "A-1", "note": 3}, [("note", "must be text or empty")]),
        ({"order_id": "A-1", "lines": []}, [("lines", "must have at least 1 entries")]),
        (
            {"order_id": "A-1", "lines": [{}, {"unit price": 7}]},
            [("lines[1]['unit price']", "must be a multiple of 5")],
        ),
        ({"order_id": "A-1", "mail": "nobody"}, [("mail", "must be an e-mail address, such as ada@example.com")]),
        ({"order_id": "A-1", "colour": "red"}, [("", "may not hold colour: the schema does not know it")]),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(args: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    assert args_errors(REFUND, args) == errors


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"const": 4}, "must be 4"),
        ({"maximum": 0}, "must be at most 0"),
        ({"exclusiveMinimum": 1}, "must be more than 1"),
        ({"type": ["string", "null"]}, "must be text or empty"),
        ({"not": {}}, "does not fit what the schema says by not"),
        ({"enum": list(range(2, 99))}, "must be one of 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 … (97 in all)"),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, "fits none of the forms that the schema allows"),
        (
            {"oneOf": [{"minimum": 0}, {"maximum": 9}]},
            "must fit exactly one of the forms that the schema allows",
        ),
        (False, "may not be given"),
    ],
)
def test_each_keyword_has_its_sentence(schema: object, sentence: str) -> None:
    whole = {"properties": {"a": schema}}

    assert args_errors(whole, {"a": 1}) == [("a", sentence)]


def test_a_type_is_named_once_however_often_the_schema_repeats_it() -> None:
    schema = {"properties": {"a": {"anyOf": [{"type": "string"}] * 30}}}

    assert args_errors(schema, {"a": 1}) == [("a", "must be text")]


def test_no_more_errors_are_told_than_a_reviewer_can_read() -> None:
    schema = {"additionalProperties": {"type": "string"}}

    assert len(args_errors(schema, {f"a{number}": 1 for number in range(500)})) == MAX_ERRORS


@pytest.mark.parametrize(
    ("path", "text"),
    [([], ""), (["a"], "a"), (["a", 0, "b"], "a[0].b"), (["$ref"], "['$ref']"), (["a", "b c"], "a['b c']")],
)
def test_a_path_reads_like_code(path: list[str | int], text: str) -> None:
    assert path_text(path) == text


def _chain(length: int, keyword: str, times: int) -> dict[str, Any]:
    links: dict[str, Any] = {
        f"d{place}": {keyword: [{"$ref": f"#/$defs/d{place + 1}"}] * times} for place in range(length)
    }
    return {"$defs": links | {f"d{length}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


HOSTILE: dict[str, dict[str, Any]] = {
    "remote reference": {"$ref": "http://schemas.example/x"},
    "file reference": {"$ref": "file:///etc/passwd"},
    "relative reference": {"$ref": "other.json"},
    "reference to the metaschema": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    "reference that leads nowhere": {"$ref": "#/$defs/nothing"},
    "reference that is no text": {"$ref": 3},
    "reference to itself": {"$ref": "#"},
    "circle": {
        "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}},
        "$ref": "#/$defs/a",
    },
    "circle in an unlikely corner": {"properties": {"a": {"if": {"$ref": "#/properties/a"}}}},
    "dynamic reference": {"$dynamicRef": "#node"},
    "another base": {"properties": {"a": {"$id": "http://schemas.example/", "$ref": "#"}}},
    "exponential anyOf": _chain(24, "anyOf", 2),
    "exponential allOf": _chain(24, "allOf", 2),
    "long chain": _chain(2_000, "allOf", 1),
    "unknown type": {"type": "objct"},
    "keyword of the wrong shape": {"properties": [1]},
    "list of items, as drafts before 2020-12 had it": {"items": [{"type": "string"}]},
    "pattern that is none": {"pattern": "("},
    "pattern that explodes": {"pattern": "((a{1,1000}){1,1000}){1,1000}"},
    "pattern among properties": {"patternProperties": {"((a{1,1000}){1,1000}){1,1000}": {}}},
    "many patterns": {"properties": {f"a{number}": {"pattern": f"a{{{number}}}"} for number in range(65)}},
    "too deep": _nested(40),
    "far too deep": _nested(5_000),
    "too large": {"enum": ["x" * 70_000]},
    "not a number": {"const": float("nan")},
    "large integer": {"const": 2**53},
    "lone surrogate": {"const": "\ud800"},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused(name: str) -> None:
    with pytest.raises(InvalidSchemaError):
        check_schema(HOSTILE[name])


@pytest.mark.parametrize(
    "schema",
    [
        {},
        REFUND,
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
        {
            "$id": "https://shop.example/tool",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
        },
        {"definitions": {"a b": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/a%20b"}}},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    ],
)
def test_ordinary_schemas_are_taken(schema: dict[str, Any]) -> None:
    check_schema(schema)


def _tree(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"leaf": 1}
    for _ in range(levels):
        tree = {"left": tree, "right": {"leaf": 1}}
    return tree


def test_a_recursive_schema_checks_deep_arguments() -> None:
    schema = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "leaf": {"type": "string"}}}

    errors = args_errors(schema, _tree(3))

    assert sorted(errors) == [
        ("left.left.left.leaf", "must be text"),
        ("left.left.right.leaf", "must be text"),
        ("left.right.leaf", "must be text"),
        ("right.leaf", "must be text"),
    ]


HEAVY: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"properties": {"a": {"items": {"anyOf": [{"type": "string"}] * 100}}}}, {"a": [1] * 64_000}),
    ({"properties": {"a": {"items": {"anyOf": [{"type": "string"}] * 100}}}}, {"a": [1] * 20_000}),
    ({"properties": {"a": {"items": {"enum": list(range(5_000))}}}}, {"a": [-1] * 5_000}),
    ({"anyOf": [{"required": ["b"]}] * 200}, {"a": "x" * 200_000}),
    (
        {
            "additionalProperties": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "string"}]},
            "type": "object",
        },
        _tree(30),
    ),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("schema", "args"), HEAVY)
def test_arguments_that_would_take_long_end_in_an_error(schema: dict[str, Any], args: dict[str, Any]) -> None:
    errors = args_errors(schema, args)

    assert len(errors) == 1


TOO_COSTLY = [("", "are too large or too deep to be checked against this schema")]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [40, 1_000, 200_000])
@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?=a)(a|aa)+c$", "^(a+)\\1+c$"])
def test_a_pattern_gives_up_within_its_bound_of_steps(pattern: str, length: int) -> None:
    schema = {"properties": {"a": {"pattern": pattern}}}

    errors = args_errors(schema, {"a": "a" * length + "b"})

    assert errors in (
        [("a", f"must look like {pattern}")],
        [("a", "takes too many steps to match against its pattern")],
        TOO_COSTLY,
    )


# Of a text of n bytes each is looked at by 3,000 states of the pattern at once.
_CROWDED = "[ab]*a[ab]{3000}c"
_AB = "abbabaaa"


def _backtracking(count: int) -> dict[str, Any]:
    anything = [{"pattern": rf"^(?:(a|aa)+)\1[^a{number}]$"} for number in range(count)]
    return {"properties": {"a": {"items": {"anyOf": [*anything, {"type": "string"}]}}}}


COSTLY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "many patterns at many texts": (_backtracking(60), {"a": ["a" * 14] * 1_500}),
    "one pattern at many texts": (_backtracking(1), {"a": ["a" * 20] * 28_000}),
    "a pattern at a long text": ({"additionalProperties": {"not": {"pattern": _CROWDED}}}, {"a": _AB * 30_000}),
    "a pattern that looks ahead at a long text": (
        {"additionalProperties": {"not": {"pattern": f"^(?:[ab](?={_CROWDED}|[ab]))*$"}}},
        {"a": _AB * 100},
    ),
    "a pattern of names": ({"patternProperties": {_CROWDED: {}}}, {f"{_AB * 50}{n}": n for n in range(100)}),
    "a pattern of names below": (
        {"additionalProperties": {"items": {"patternProperties": {_CROWDED: {}}}}},
        {"a": [{f"{_AB * 50}{n}": n} for n in range(100)]},
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", COSTLY)
def test_patterns_that_would_take_long_are_given_up_whatever_they_would_say(name: str) -> None:
    assert args_errors(*COSTLY[name]) == TOO_COSTLY


def test_a_long_order_with_patterns_at_every_line_is_checked() -> None:
    line = {
        "type": "object",
        "properties": {
            "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
            "amount": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": DECIMAL}]},
        },
        "additionalProperties": False,
    }
    schema = {"properties": {"lines": {"items": line}}, "patternProperties": {"^x-[a-z]+$": {"type": "string"}}}
    lines = [{"sku": f"AB-{number}", "amount": f"{number}.90"} for number in range(1_000)]

    assert args_errors(schema, {"lines": lines, "x-note": "whole"}) == []
    assert args_errors(schema, {"lines": [*lines, {"sku": "none", "amount": "1"}]}) == [
        ("lines[1000].sku", "must look like ^[A-Z]{2}-[0-9]+$")
    ]


DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"


@pytest.mark.parametrize(("amount", "count"), [("12.50", 0), ("-3", 0), ("twelve", 1), ("", 1)])
def test_the_pattern_that_pydantic_writes_for_decimals_is_understood(amount: str, count: int) -> None:
    schema = {"properties": {"amount": {"type": "string", "pattern": DECIMAL}}}

    errors = args_errors(schema, {"amount": amount})

    assert len(errors) == count
