"""Cards as they come from agents: what can be used is used, what cannot is told by a code, and nothing is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cards import KEYWORD, MAX_FIELDS, Card, CardField, Format
from review.cards import MAX_CARD_BYTES, CardFault, CardRead, card_of, pieces_of, place_of, uncovered, value_at

AMOUNT = {"at": "amount", "label": "Paid back", "format": "money", "currency": "EUR"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)


def read(card: object) -> CardRead:
    return card_of({"type": "object", KEYWORD: card})


def faults(card: object) -> list[CardFault]:
    return [problem.code for problem in read(card).problems]


def test_what_an_author_writes_is_what_is_read() -> None:
    card = Card(
        headline="refund {amount} on order {order_id}",
        fields=(
            CardField(at="amount", label="Paid back", format=Format.MONEY, currency="EUR", minor_units=True),
            CardField(at="/lines/0/note"),
        ),
    )

    assert card_of({"type": "object", **card.keyword()}) == CardRead(card)


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {KEYWORD: {}}, {KEYWORD: None}])
def test_without_a_card_there_is_none_and_no_complaint(schema: dict[str, Any] | None) -> None:
    assert card_of(schema) == CardRead()


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        ("look", CardFault.NOT_AN_OBJECT),
        ([AMOUNT], CardFault.NOT_AN_OBJECT),
        ({"headline": "x" * (MAX_CARD_BYTES + 1)}, CardFault.TOO_LARGE),
        ({"script": "alert(1)"}, CardFault.UNKNOWN_MEMBER),
        ({"headline": 7}, CardFault.HEADLINE_MALFORMED),
        ({"headline": ""}, CardFault.HEADLINE_MALFORMED),
        ({"headline": "two\nlines"}, CardFault.HEADLINE_MALFORMED),
        ({"headline": "x" * 201}, CardFault.HEADLINE_MALFORMED),
        ({"headline": "refund {amount"}, CardFault.HEADLINE_MALFORMED),
        ({"headline": "refund {}"}, CardFault.HEADLINE_MALFORMED),
        ({"headline": "refund {{amount}"}, CardFault.HEADLINE_MALFORMED),
        ({"fields": {"amount": AMOUNT}}, CardFault.FIELDS_MALFORMED),
        ({"fields": ["amount"]}, CardFault.FIELD_MALFORMED),
        ({"fields": [{"label": "nowhere"}]}, CardFault.FIELD_MALFORMED),
        ({"fields": [{**AMOUNT, "format": "html"}]}, CardFault.FIELD_MALFORMED),
        ({"fields": [{**AMOUNT, "currency": "euro"}]}, CardFault.FIELD_MALFORMED),
        ({"fields": [{**AMOUNT, "minor_units": 1}]}, CardFault.FIELD_MALFORMED),
        ({"fields": [{**AMOUNT, "onclick": "x"}]}, CardFault.FIELD_MALFORMED),
    ],
)
def test_what_is_malformed_is_told_by_its_code_and_not_used(card: object, fault: CardFault) -> None:
    assert read(card).card is None
    assert faults(card) == [fault]


def test_what_is_well_formed_beside_it_is_used() -> None:
    card = {"headline": "refund {amount", "fields": [7, AMOUNT, AMOUNT], "look": "fine"}

    assert read(card).card == Card(fields=(CardField.model_validate(AMOUNT),))
    assert sorted(faults(card)) == sorted(
        [
            *(CardFault.UNKNOWN_MEMBER, CardFault.HEADLINE_MALFORMED),
            *(CardFault.FIELD_MALFORMED, CardFault.FIELD_REPEATED),
        ]
    )


def test_of_too_many_fields_the_first_are_used() -> None:
    card = {"fields": [{"at": f"a{number}"} for number in range(MAX_FIELDS + 1)]}

    found = read(card).card

    assert found is not None
    assert len(found.fields) == MAX_FIELDS
    assert faults(card) == [CardFault.TOO_MANY_FIELDS]


@given(JSON)
def test_no_card_ever_raises(card: object) -> None:
    found = read(card)

    assert found.card is None or found.card.headline or found.card.fields
    assert list(pieces_of(found.card.headline or "" if found.card else "")) is not None


@pytest.mark.parametrize(
    ("headline", "pieces"),
    [
        ("refund {amount}", [("refund ", None), ("amount", ("amount",))]),
        ("{/lines/0/sku} {{as is}}", [("/lines/0/sku", ("lines", 0, "sku")), (" ", None), ("{", None)]),
        ("plain", [("plain", None)]),
    ],
)
def test_a_headline_falls_into_words_and_places(headline: str, pieces: list[tuple[str, object]]) -> None:
    assert list(pieces_of(headline))[: len(pieces)] == pieces


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("amount", ("49.00",)),
        ("/amount", ("49.00",)),
        ("/lines/1/sku", ("B",)),
        ("/lines/2/sku", ()),
        ("/lines/01/sku", ()),
        ("/amount/0", ()),
        ("/a~1b/~0", ("deep",)),
        ("/nothing", (None,)),
        ("lines.0.sku", ()),
        ("/map/7", ("seven",)),
    ],
)
def test_a_place_leads_to_its_value_or_to_none(at: str, value: tuple[object, ...]) -> None:
    args = {
        **{"amount": "49.00", "lines": [{"sku": "A"}, {"sku": "B"}]},
        **{"a/b": {"~": "deep"}, "nothing": None, "map": {"7": "seven"}},
    }

    assert value_at(args, place_of(at)) == value  # type: ignore[arg-type]  # JSON, all of it


def test_only_an_argument_that_is_shown_whole_is_covered() -> None:
    fields = (CardField(at="amount"), CardField(at="/address/city"), CardField(at="gone"))

    left = uncovered({"amount": "1.00", "address": {"city": "Paris", "door": "7"}, "memo": ""}, fields)

    assert left == {"address": {"city": "Paris", "door": "7"}, "memo": ""}
