"""What reaches the screen is plain, escaped, and hides nothing."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

from pages.rendering import (
    CUT_AT,
    ROWS_AT,
    Change,
    Markup,
    ago,
    args_view,
    changes,
    chip,
    diff_view,
    element,
    humanised,
    json_view,
    money,
    ordinal,
    place_name,
    span,
    value_view,
    visible,
)
from tests.waiting import PATIENCE_SECONDS

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 12.50 and a\ttab\nand a line", "plain words, 12.50 and a\ttab\nand a line"),
        ("line\r\nline", "line\nline"),
        ("line\rline", "line⟨U+000D⟩line"),
        ("\x00\x1b[31m\x7f", "⟨U+0000⟩⟨U+001B⟩[31m⟨U+007F⟩"),
        ("abc\u202ecba", "abc⟨U+202E⟩cba"),
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("soft\u00adhyphen", "soft⟨U+00AD⟩hyphen"),
        ("\ufefftext", "⟨U+FEFF⟩text"),
        ("tag\U000e0041s", "tag⟨U+E0041⟩s"),
        ("private\ue000use", "private⟨U+E000⟩use"),
        ("hangul\u3164filler", "hangul⟨U+3164⟩filler"),
        ("braille\u2800blank", "braille⟨U+2800⟩blank"),
        ("variation\ufe01", "variation⟨U+FE01⟩"),
        ("line\u2028separator", "line⟨U+2028⟩separator"),
        ("lone\ud800surrogate", "lone⟨U+D800⟩surrogate"),
        ("1\u00a0234,50\u202f€", "1\u00a0234,50\u202f€"),
        ("❤\ufe0f and 👩\u200d👧", "❤\ufe0f and 👩\u200d👧"),
        ("x\u200dy, a\ufe0f", "x⟨U+200D⟩y, a⟨U+FE0F⟩"),
        ("e\u0301", "e\u0301"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + "⟨U+0301⟩" * 2),
    ],
)
def test_what_hides_in_a_text_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("paypal", "paypal"),
        ("p\u0430ypal", "p\u0430ypal⟨mixes Cyrillic and Latin⟩"),
        ("\u0391BC Corp", "\u0391BC⟨mixes Greek and Latin⟩ Corp"),
        ("user_\u0456d", "user_\u0456d⟨mixes Cyrillic and Latin⟩"),
        (
            "\u0430\u0440\u0440\u04cf\u0435.com",
            "\u0430\u0440\u0440\u04cf\u0435.com⟨mixes Cyrillic and Latin⟩",
        ),
        ("привет мир", "привет мир"),
        ("IT-специалист", "IT-специалист"),
        ("naïve Zürich 10µm", "naïve Zürich 10µm"),
        ("東京タワーABC", "東京タワーABC"),
        ("東京\u0430bc", "東京\u0430bc⟨mixes Cyrillic and East Asian⟩"),
    ],
)
def test_a_word_that_mixes_scripts_is_flagged(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    shown = visible(text)

    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\u2060\ufeff\x00\x1b\r"
    )


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    made = element("p", text)

    inner = made.removeprefix("<p>").removesuffix("</p>").replace('<span class="so-mark">', "").replace("</span>", "")
    assert not set(inner) & set("<>\"'")


def test_an_element_keeps_elements_and_escapes_text_and_attributes() -> None:
    made = element("div", element("b", "bold"), "<i>", class_="a", aria_label='"><script>')

    assert made == '<div class="a" aria-label="&quot;&gt;&lt;script&gt;"><b>bold</b>&lt;i&gt;</div>'
    assert isinstance(made, Markup)


def test_markup_that_was_joined_by_hand_is_escaped_again() -> None:
    assert element("p", chip("a") + "b") == "<p>&lt;span class=&quot;so-chip&quot;&gt;a&lt;/span&gt;b</p>"


def test_an_escape_is_marked_apart_from_the_text() -> None:
    assert element("p", "a\u202eb") == '<p>a<span class="so-mark">⟨U+202E⟩</span>b</p>'


def test_values_of_other_types_look_other_than_text() -> None:
    literal, text = value_view(12), value_view("12")

    assert literal == '<span class="so-value so-literal">12</span>'
    assert text == '<span class="so-value">12</span>'


def test_empty_text_and_spaces_at_the_edge_are_told() -> None:
    assert "empty text" in value_view("")
    assert "space at its edge" in value_view(" R-1042")


def test_a_record_shows_every_number_as_it_was_written() -> None:
    shown = json_view('{"price": 1.10, "big": 12345678901234567890, "deep": {"a": {"b": {"c": {"d": 2.50}}}}}')

    assert ">1.10<" in shown
    assert ">12345678901234567890<" in shown
    assert "2.50" in shown


@pytest.mark.parametrize("text", ["no json", '{"a": 1, "a": 2}', "12", '{"a": NaN}', "[" * 5000])
def test_what_is_no_plain_record_is_shown_as_it_is(text: str) -> None:
    assert json_view(text) == element("pre", text, class_="so-plain so-mono")


def test_a_short_argument_is_shown_whole() -> None:
    view = args_view({"text": "a" * CUT_AT}, is_whole=False)

    assert view.hidden == 0
    assert "a" * CUT_AT in view.markup


def test_a_cut_tells_how_much_it_hides() -> None:
    view = args_view({"text": "a" * CUT_AT + "é" * 1234, "amount": "1.00"}, is_whole=False)

    assert view.hidden == 1234
    assert "1,234 more characters (2,468 bytes) are hidden" in view.markup
    assert "é" not in view.markup


def test_an_opened_view_hides_nothing() -> None:
    view = args_view({"text": "a" * 5000, **{f"n{number}": "b" for number in range(ROWS_AT)}})

    assert view.hidden == 0
    assert "a" * 5000 in view.markup


def test_arguments_beyond_the_first_rows_count_as_hidden() -> None:
    view = args_view({f"n{number:03}": "value" for number in range(ROWS_AT + 2)}, is_whole=False)

    assert view.hidden == 2 * len("n000value")
    assert "2 more arguments (18 bytes) are hidden" in view.markup


def test_marks_stand_at_the_very_value() -> None:
    value: dict[str, JsonValue] = {"order": {"id": "R-1", "lines": ["one", "two"]}}
    marks = {("order", "id"): chip("first"), ("order", "lines", 1): chip("second")}

    shown = args_view(value, marks=marks).markup

    assert shown.index("R-1") < shown.index("first") < shown.index("lines")
    assert shown.index("one") < shown.index("two") < shown.index("second")


def test_what_is_drawn_as_one_piece_has_all_its_marks_once() -> None:
    deep: JsonValue = {"a": {"b": {"c": {"d": {"e": ["x", "y"]}}}}}
    places = [("deep", "a", "b", "c", "d", "e", number) for number in range(2)]

    whole = args_view({"deep": deep}, marks=dict.fromkeys(places, chip("same"))).markup
    cut = args_view({"long": ["a" * CUT_AT]}, is_whole=False, marks={("long", 0): chip("same")}).markup

    assert (whole.count("same"), cut.count("same")) == (1, 1)


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (101, "101st")],
)
def test_a_rank_is_read_as_it_is_said(number: int, said: str) -> None:
    assert ordinal(number) == said


def test_marks_stand_beside_the_argument_that_they_are_about() -> None:
    view = args_view({"order": {"id": "R-1"}, "note": "x"}, marks={("order", "id"): chip("not in the context", "warn")})

    before, after = view.markup.split("note", 1)
    assert "not in the context" in before
    assert "not in the context" not in after


def test_the_schema_order_comes_first() -> None:
    view = args_view({"b": "1", "c": "2", "a": "3"}, names=("a", "b"))

    assert view.markup.index(">a<") < view.markup.index(">b<") < view.markup.index(">c<")


def test_changes_are_found_place_by_place() -> None:
    old: JsonValue = {"amount": "1.00", "address": {"city": "Paris", "zip": "1"}, "skus": ["A"], "gone": None}
    new: JsonValue = {
        "amount": "1.00",
        "address": {"city": "Lyon", "zip": "1"},
        "skus": ["A", "B"],
        "come": True,
    }

    found = changes(old, new)

    assert found == [
        Change(("address", "city"), "Paris", "Lyon"),
        Change(("skus",), ["A"], ["A", "B"]),
        Change(("gone",), None, None, is_removed=True),
        Change(("come",), None, new=True, is_added=True),
    ]


def test_a_difference_shows_both_sides_escaped() -> None:
    shown = diff_view({"to": "<b>Paris</b>"}, {"to": "<i>Lyon</i>"})

    assert '<del class="so-value">&lt;b&gt;Paris&lt;/b&gt;</del>' in shown
    assert '<ins class="so-value">&lt;i&gt;Lyon&lt;/i&gt;</ins>' in shown


def test_a_long_text_shows_only_the_words_that_differ() -> None:
    old = "We are sorry for the delay and refund the whole amount of your order today."
    new = "We are sorry for the delay and refund half the amount of your order today."

    shown = diff_view({"message": old}, {"message": new})

    assert '<span class="so-value">We are sorry for the delay and refund </span>' in shown
    assert "whole amount of your order" not in shown
    assert '<ins class="so-value">half' in shown


def test_no_difference_is_told() -> None:
    assert "Nothing is changed." in diff_view({"a": 1}, {"a": 1})


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((), "the arguments"),
        (("a",), "a"),
        (("a", "b"), "a.b"),
        (("a", 0, "b"), "a[1].b"),
        (("a.b",), '["a.b"]'),
        (("a", "b.c"), 'a["b.c"]'),
        (("a[1]",), '["a[1]"]'),
        (("", "a"), '[""].a'),
    ],
)
def test_a_place_is_named_as_a_reader_counts(place: tuple[str | int, ...], name: str) -> None:
    assert place_name(place) == name


@given(
    *[st.lists(st.sampled_from(["a", "b", "", ".", "a.b", "[1]", "a[1]", '["a.b"]', '"', "\n", 0, 1])).map(tuple)] * 2
)
@example(("a", "b"), ("a.b",))
@example(("a",), ("", "a"))
@example(("a", 0), ("a[1]",))
def test_no_two_places_are_named_alike(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert (place_name(one) == place_name(other)) == (one == other)


def test_a_difference_says_in_which_of_two_places_it_is() -> None:
    shown = diff_view(
        {"refund": {"amount": "1"}, "refund.amount": "2"}, {"refund": {"amount": "1"}, "refund.amount": "3"}
    )

    assert "[&quot;refund.amount&quot;]" in shown


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234567.50", "EUR", "1,234,567.50 EUR"),
        ("-0.5", None, "-0.5"),
        ("420.00", "EUR", "420.00 EUR"),
        (None, "EUR", "–"),
    ],
)
def test_money_keeps_every_digit(amount: str | None, currency: str | None, shown: str) -> None:
    assert money(amount, currency) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (36000, "10 h"),
        (172799, "47 h"),
        (172800, "2 days"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds: int, shown: str) -> None:
    assert span(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (NOW, "just now"),
        (NOW - timedelta(minutes=3), "3 min ago"),
        (NOW + timedelta(hours=2), "in 2 h"),
        (None, "–"),
    ],
)
def test_a_moment_is_told_as_seen_from_now(at: datetime | None, shown: str) -> None:
    assert ago(at, NOW) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("refund_order", "Refund order"),
        ("refundOrder", "Refund order"),
        ("a.b:c/d-e", "A b c d e"),
        ("_", "_"),
    ],
)
def test_a_name_is_told_as_words(name: str, shown: str) -> None:
    assert humanised(name) == shown


def _saying() -> None:
    import streamlit as st

    from pages.rendering import refused, said, show_refusal
    from review.errors import ReasonRequiredError

    def act() -> None:
        said("Kept.")
        refused(ReasonRequiredError())

    show_refusal()
    st.button("act", on_click=act)


def test_a_refusal_is_told_in_the_run_that_follows_and_once() -> None:
    app = AppTest.from_function(_saying, default_timeout=PATIENCE_SECONDS).run()

    app.button[0].click().run()
    told = [drawn.proto.body for drawn in app.get("html") if isinstance(drawn, Element)]
    app.run()

    assert len(told) == 1
    assert "Say why you reject it" in told[0]
    assert "Kept." in told[0]
    assert not app.get("html")


PAGES = Path(__file__).parents[2] / "pages"


def test_the_style_sheet_holds_no_sign_that_would_end_it_inside_html() -> None:
    assert "<" not in (PAGES / "theme.css").read_text(encoding="utf-8")


def test_no_rule_asks_for_a_part_of_a_class() -> None:
    """Each would have a browser style everything below an element anew at every run: 30 ms on a full screen."""
    sheets = list(PAGES.rglob("*.css"))

    asking = {sheet.name for sheet in sheets if re.search(r"\[class[*^$|~]=[\"']", sheet.read_text(encoding="utf-8"))}

    assert sheets
    assert not asking
