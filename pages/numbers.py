"""Numbers that a page asks for: typed as text and read here, so that what counts is what stands in the field.

A browser's own field for numbers keeps to itself what does not fit, and the number that stood there before would count.
"""

import re
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.rendering import draw, element

NUMBER_WANTED = "Write a number, such as 12.5."
WHOLE_WANTED = "Write a whole number, such as 12."
UNFIT = "What does not fit stands at its field."

# More digits than any bound has, and fewer than a number of the machine can hold.
_WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which numbers fit, and whether the field may be left empty."""

    least: float = 0
    most: float | None = None
    is_whole: bool = True
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a field holds: its number, None where it holds none, and in words why it does not fit."""

    value: float | None
    problem: str = ""


def ask_number(label: str, value: float | None, wanted: Wanted, **field: Any) -> Answer:  # noqa: ANN401 -- as text_input
    """Ask for a number that begins as ``value``, and say at the field why what stands in it does not fit.

    What was not touched is the very ``value``; the rest is for ``st.text_input``, its width for the words, too.
    """
    with st.container(gap="xsmall", width=field.pop("width", "stretch")):
        began = number_text(value)
        text = st.text_input(label, value=began, autocomplete="off", **field) or ""
        answer = Answer(value) if text == began and value is not None else read(text, wanted)
        # A place of its own, empty or not, so that what follows keeps its number and its state.
        with st.container():
            if answer.problem:
                draw(element("p", answer.problem, class_="so-error", role="alert"))
    return answer


def number_text(value: float | None) -> str:
    """Return the number as it is typed."""
    return "" if value is None else f"{value:.12g}"


def read(text: str, wanted: Wanted) -> Answer:
    """Return the number that the text is, or why it is none that fits."""
    typed = text.strip()
    if not typed and wanted.may_be_empty:
        return Answer(None)
    if not (_WHOLE if wanted.is_whole else _NUMBER).fullmatch(typed):
        return Answer(None, WHOLE_WANTED if wanted.is_whole else NUMBER_WANTED)
    value = int(typed) if wanted.is_whole else float(typed)
    if value < wanted.least:
        return Answer(None, f"must be at least {wanted.least:,}")
    if wanted.most is not None and value > wanted.most:
        return Answer(None, f"must be at most {wanted.most:,}")
    return Answer(value)
