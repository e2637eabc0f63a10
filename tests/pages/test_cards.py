"""A tool's card as it is drawn: in its author's order and form, with nothing of the arguments hidden."""

import base64
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from pydantic import JsonValue

from agents.cards import KEYWORD, Card, CardField, Format
from agents.protocol import ContextEntry, ContextKind, Impact
from pages.cards import Sheet, card_view, sentence_of, written
from pages.item_view import args_card, headline, hidden_characters
from pages.rendering import CUT_AT, Markup, Place, element
from review.desk import WholeItem
from tests.builders import a_request, ada, an_action, an_item

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.mark.parametrize(
    ("look", "value", "shown"),
    [
        ({"format": "money", "currency": "EUR"}, "1234.50", "1,234.50 EUR"),
        ({"format": "money", "currency": "EUR", "minor_units": True}, 123450, "1,234.50 EUR"),
        ({"format": "money", "currency": "EUR", "minor_units": True}, "5", "0.05 EUR"),
        ({"format": "money", "currency": "JPY", "minor_units": True}, 1200, "1,200 JPY"),
        ({"format": "money", "currency": "KWD", "minor_units": True}, -1200, "-1.200 KWD"),
        ({"format": "money", "minor_units": True}, 1200, None),
        ({"format": "money", "currency": "EUR", "minor_units": True}, "12.5", None),
        ({"format": "money", "currency_at": "currency"}, "7", "7 CHF"),
        ({"format": "money", "currency_at": "/nowhere"}, "7", "7"),
        ({"format": "money"}, "49.00", "49.00 GBP"),
        ({"format": "money"}, "a lot", None),
        ({"format": "money"}, True, None),
        ({"format": "percent"}, 15, "15 %"),
        ({"format": "percent"}, "7.5", "7.5 %"),
        ({"format": "change"}, 3, "+3"),
        ({"format": "change"}, -1200, "-1,200"),
        ({"format": "change"}, 0, "0"),
        ({"format": "number"}, 1234567, "1,234,567"),
        ({"format": "number"}, "many", None),
        ({"format": "date"}, "2026-11-28", "Saturday, 28 November 2026"),
        ({"format": "date"}, "28.11.2026", None),
        ({"format": "date-time"}, "2026-11-28T14:30:00+01:00", "Saturday, 28 November 2026, 13:30 UTC"),
        ({"format": "date-time"}, "2026-11-28T14:30:00", None),
        ({"format": "code"}, "R-1042", None),
        ({"format": "money"}, "9" * (CUT_AT + 1), None),
        ({"format": "money"}, ["1"], None),
        ({}, "1", None),
    ],
)
def test_a_value_is_written_in_its_format_or_as_it_is(
    look: dict[str, Any], value: JsonValue, shown: str | None
) -> None:
    sheet = Sheet({"a": value, "currency": "CHF"}, Impact(amount="49.00", currency="GBP"))

    assert written(value, CardField(at="a", **look), sheet) == shown


def test_what_the_card_does_not_name_follows_below() -> None:
    card = Card(fields=(CardField(at="amount", label="Paid back"), CardField(at="gone", label="Not there")))

    shown = card_view(card, Sheet({"memo": "quietly", "amount": "49.00"})).markup

    assert shown.index("Paid back") < shown.index(">amount<") < shown.index("Other arguments") < shown.index("quietly")
    assert "Not there" not in shown


def test_a_value_that_reads_otherwise_stands_as_it_was_sent_beside() -> None:
    minor = CardField(at="a", format=Format.MONEY, currency="EUR", minor_units=True)
    whole = CardField(at="a", format=Format.MONEY, currency="EUR")

    assert ">49.00 EUR</span> <span" in card_view(Card(fields=(minor,)), Sheet({"a": 4900})).markup
    assert ">4900</span>" in card_view(Card(fields=(minor,)), Sheet({"a": 4900})).markup
    assert ">1,234.00 EUR</span></span>" in card_view(Card(fields=(whole,)), Sheet({"a": "1234.00"})).markup


def test_a_cut_value_counts_as_hidden_wherever_it_stands() -> None:
    card = Card(fields=(CardField(at="text", format=Format.TEXT),))
    sheet = Sheet({"text": "x" * (CUT_AT + 7), "other": "y" * (CUT_AT + 11)})

    assert card_view(card, sheet, is_whole=False).hidden == 18
    assert card_view(card, sheet).hidden == 0


def test_marks_stand_beside_the_values_of_a_card_too() -> None:
    card = Card(fields=(CardField(at="/to/city"), CardField(at="amount", format=Format.MONEY)))
    marks: dict[Place, Markup] = {("to", "city"): element("i", "one"), ("amount",): element("i", "two")}

    shown = card_view(card, Sheet({"amount": "1.00", "to": {"city": "Paris"}}), marks=marks).markup

    assert shown.count("<i>one</i>") == 2  # On the card, and in the whole argument below.
    assert shown.count("<i>two</i>") == 1


def test_labels_and_headlines_are_text_and_nothing_else() -> None:
    card = Card(headline="pay {a} " + HOSTILE, fields=(CardField(at="a", label=HOSTILE),))

    shown = card_view(card, Sheet({"a": HOSTILE})).markup + "".join(sentence_of(card, Sheet({"a": HOSTILE})) or [])

    assert "<img" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("text", "args", "said"),
    [
        ("refund {amount} on {order}", {"amount": "49.00", "order": "R-1"}, "refund 49.00 EUR on R-1"),
        ("refund {amount} on {order}", {"amount": "49.00"}, None),
        ("refund {amount}", {"amount": None}, None),
        ("show {order}", {"order": ["A", "B"]}, "show A, B"),
        ("say {order}", {"order": "two\nlines " + "x" * 200}, f"say two lines {'x' * 70}…"),
        ("all {{of}} it", {}, "all {of} it"),
    ],
)
def test_the_headline_is_said_with_the_values_or_not_at_all(
    text: str, args: dict[str, JsonValue], said: str | None
) -> None:
    card = Card(headline=text, fields=(CardField(at="amount", format=Format.MONEY, currency="EUR"),))

    parts = sentence_of(card, Sheet(args))

    assert (parts and "".join(part.made_of[2][0] for part in parts)) == said


def whole(args: dict[str, Any], card: object, *context: ContextEntry) -> WholeItem:
    item = an_item(request=a_request(action=an_action(**args), context=context))
    return WholeItem(item, (), (), {"type": "object", KEYWORD: card})


def a_picture(title: str) -> ContextEntry:
    out = BytesIO()
    Image.new("RGB", (2, 2)).save(out, "PNG")
    content = base64.b64encode(out.getvalue()).decode()
    return ContextEntry(kind=ContextKind.IMAGE, title=title, content=content, media_type="image/png")


def test_an_items_card_shows_the_pictures_that_its_values_name() -> None:
    card = {"fields": [{"at": "skus", "format": "picture"}]}
    seen = whole({"skus": ["BAG-1", "BAG-2"]}, card, a_picture("BAG-9"), a_picture("BAG-1"))

    shown = args_card(seen, seen)

    assert f"/pictures/{seen.item.id}/1" in shown
    assert f"/pictures/{seen.item.id}/0" not in shown
    assert "BAG-2" in shown


def test_an_item_says_what_of_its_card_cannot_be_used_and_shows_all_the_same() -> None:
    seen = whole({"amount": "49.00"}, {"fields": "all of them"})

    shown = args_card(seen, seen)

    assert "The card&#x27;s fields are no list. (card_fields_malformed)" in shown
    assert "49.00" in shown


def test_what_is_masked_stays_masked_on_a_card() -> None:
    card = {"headline": "write to {to}", "fields": [{"at": "to", "label": "To", "format": "text"}]}
    seen = whole({"to": "ada@example.com"}, card)

    shown = args_card(seen, seen.masked()) + headline(seen.masked().item, ada, schema=seen.args_schema)

    assert "ada@example.com" not in shown
    assert shown.count("⟨masked e-mail: a…@example.com⟩") == 2


def test_an_edit_that_awaits_approvals_is_what_the_card_shows() -> None:
    seen = whole({"amount": "49.00"}, {"headline": "refund {amount}", "fields": [{"at": "amount", "format": "money"}]})
    edited = replace(seen, item=replace(seen.item, draft=an_action(amount="5.00")))

    shown = args_card(edited, edited) + headline(edited.item, ada, schema=edited.args_schema)

    assert shown.count(">5.00</span>") == 2
    assert hidden_characters(edited) == 0
