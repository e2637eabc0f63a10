"""Canonical JSON: the fast way and RFC 8785 agree to the byte, and hostile text is refused by its code."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agents.canonical import NotCanonicalError, action_digest, canonical, is_same, parse
from agents.protocol import Action, Approve, Decision, Edit

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# What Python takes for one another, and what it does not.
CONFUSABLE = st.recursive(
    st.sampled_from([0, False, 0.0, -0.0, 1, True, 1.0, "1", "", None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT


def json_values(floats: st.SearchStrategy[float]) -> st.SearchStrategy[object]:
    return st.recursive(
        LEAVES | floats,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )


@given(json_values(st.floats(allow_nan=False, allow_infinity=False)))
def test_every_value_has_the_form_that_rfc_8785_gives_it(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON value


@given(json_values(st.floats(-(2.0**53) + 1, 2.0**53 - 1)))
def test_what_was_written_canonically_is_read_back_and_written_alike(value: object) -> None:
    written = canonical(value)

    assert canonical(parse(written)) == written


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{}x", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 1,}', "invalid_json"),
        (b'"\n"', "invalid_json"),
        (b"[NaN]", "not_a_number"),
        (b"[-Infinity]", "not_a_number"),
        (b"1e999", "not_a_number"),
        (b"9007199254740992", "integer_too_large"),
        (b"-9007199254740992", "integer_too_large"),
        (b"9" * 5000, "integer_too_large"),
        (b'{"a": 1, "a": 1}', "duplicate_key"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "duplicate_key"),
        (b"[" * 33 + b"]" * 33, "too_deep"),
        (b"[" * 200_000, "too_deep"),
        (b'"\\ud800"', "lone_surrogate"),
        (b'{"\\udfff": 1}', "lone_surrogate"),
    ],
)
def test_text_that_two_readers_could_read_differently_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(NotCanonicalError) as refusal:
        parse(body)

    assert refusal.value.code == code


@pytest.mark.parametrize(
    "body", [b"9007199254740991", b"-9007199254740991", b"[" * 32 + b"]" * 32, b'"\\ud83d\\ude00"']
)
def test_what_stands_at_the_border_is_accepted(body: bytes) -> None:
    assert canonical(parse(body))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2**53, "integer_too_large"),
        (float("nan"), "not_a_number"),
        ("\ud800", "not_canonical"),
        ({1: 2}, "not_canonical"),
        (object(), "not_canonical"),
    ],
)
def test_a_value_without_canonical_form_is_refused(value: object, code: str) -> None:
    with pytest.raises(NotCanonicalError) as refusal:
        canonical(value)

    assert refusal.value.code == code


def test_the_digest_is_over_name_and_arguments_whatever_their_order() -> None:
    first = action_digest("refund", {"a": 1, "b": "x"})

    assert first == action_digest("refund", {"b": "x", "a": 1})
    assert first != action_digest("refunds", {"a": 1, "b": "x"})
    assert first != action_digest("refund", {"a": "1", "b": "x"})


@given(CONFUSABLE, CONFUSABLE)
def test_values_are_the_same_that_have_the_same_canonical_form(one: object, other: object) -> None:
    assert is_same(one, other) == (canonical(one) == canonical(other))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("1", 1, False),
        (None, False, False),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ([[0]], [[False]], False),
        ({}, [], False),
    ],
)
def test_two_values_are_the_same_only_with_the_same_types(one: object, other: object, *, same: bool) -> None:
    assert is_same(one, other) is same


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Edit(edited_action=Action(name="pay", args={"express": 1})), True),
        (Edit(edited_action=Action(name="pay", args={"express": True})), False),
        (Edit(edited_action=Action(name="refund", args={"express": 1})), False),
        (Approve(), False),
    ],
)
def test_two_decisions_are_the_same_that_say_the_same(other: Decision, *, same: bool) -> None:
    assert is_same(Edit(edited_action=Action(name="pay", args={"express": 1})), other) is same
