"""A number that is asked for is the number that stands in its field, or none at all."""

import pytest
from streamlit.testing.v1 import AppTest

from pages.numbers import NUMBER_WANTED, WHOLE_WANTED, Answer, Wanted, number_text, read
from tests.waiting import PATIENCE_SECONDS

WHOLE = Wanted(least=1, most=60)
ANY = Wanted(least=0.02, most=43_200, is_whole=False)
OPTIONAL = Wanted(most=9, may_be_empty=True)


@pytest.mark.parametrize(
    ("typed", "wanted", "answer"),
    [
        ("15", WHOLE, Answer(15)),
        (" +15 ", WHOLE, Answer(15)),
        ("1", WHOLE, Answer(1)),
        ("60", WHOLE, Answer(60)),
        ("0", WHOLE, Answer(None, "must be at least 1")),
        ("-5", WHOLE, Answer(None, "must be at least 1")),
        ("61", WHOLE, Answer(None, "must be at most 60")),
        ("9" * 300, WHOLE, Answer(None, "must be at most 60")),
        ("9" * 301, WHOLE, Answer(None, WHOLE_WANTED)),
        ("", WHOLE, Answer(None, WHOLE_WANTED)),
        ("3.5", WHOLE, Answer(None, WHOLE_WANTED)),
        ("1e1", WHOLE, Answer(None, WHOLE_WANTED)),
        ("two", WHOLE, Answer(None, WHOLE_WANTED)),
        ("٣", WHOLE, Answer(None, WHOLE_WANTED)),
        ("", OPTIONAL, Answer(None)),
        ("0", OPTIONAL, Answer(0)),
        ("10", OPTIONAL, Answer(None, "must be at most 9")),
        ("90", ANY, Answer(90.0)),
        ("0.5", ANY, Answer(0.5)),
        (".5", ANY, Answer(0.5)),
        ("0", ANY, Answer(None, "must be at least 0.02")),
        ("50000", ANY, Answer(None, "must be at most 43,200")),
        ("1,5", ANY, Answer(None, NUMBER_WANTED)),
        (".", ANY, Answer(None, NUMBER_WANTED)),
        ("nan", ANY, Answer(None, NUMBER_WANTED)),
        ("inf", ANY, Answer(None, NUMBER_WANTED)),
    ],
)
def test_what_is_typed_is_the_number_or_is_told_in_words(typed: str, wanted: Wanted, answer: Answer) -> None:
    assert read(typed, wanted) == answer


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (15, "15"), (0.07 * 100, "7"), (240.0, "240"), (0.5, "0.5"), (10_000_000, "10000000")],
)
def test_a_number_stands_in_its_field_as_it_would_be_typed(value: float | None, text: str) -> None:
    assert number_text(value) == text


def _asks() -> None:
    import streamlit as st

    from pages.numbers import Wanted, ask_number

    wanted = Wanted(most=43_200, is_whole=False)
    st.session_state.answer = ask_number("Due in (min)", 100 / 60, wanted, key="due", width=180)


def test_a_number_that_is_not_touched_is_not_rounded() -> None:
    app = AppTest.from_function(_asks, default_timeout=PATIENCE_SECONDS).run()

    assert app.session_state.answer == Answer(100 / 60)
    assert app.get("html") == []


def test_what_does_not_fit_is_said_at_the_field_and_is_no_number() -> None:
    app = AppTest.from_function(_asks, default_timeout=PATIENCE_SECONDS).run()

    app.text_input("due").set_value("90000").run()

    assert app.text_input("due").value == "90000"
    assert app.session_state.answer == Answer(None, "must be at most 43,200")
    assert "must be at most 43,200" in str(app.get("html")[0].proto.body)
