"""Lists as the screens share them: rows that may be pressed, keyset pages, filters, and empty states."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from types import ModuleType
from typing import Any, Literal, NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from pages.components import component
from pages.rendering import draw, element, visible
from review.errors import InvalidCursorError
from review.items import Page
from review.search import Snippet
from review.store import COUNT_LIMIT

R = TypeVar("R")

PAGE_SIZE = 50

Kind = Literal["text", "mono", "chip", "number", "ago", "due", "left"]
CellTone = Literal["", "strong", "quiet", "good", "warn", "bad", "info", "accent"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list; ``ago``, ``due`` and ``left`` show a time as a distance that keeps ticking."""

    name: str
    label: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its words, quieter ones under them, in a column of times the moment; or what a search found, marked."""

    text: str = ""
    under: str = ""
    tone: CellTone = ""
    at: datetime | None = None
    snippet: Snippet | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a list; with ``act`` it can be pressed, and ``name`` says aloud which row that is.

    ``more`` is a second, quieter button in it.
    """

    id: str
    name: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    act: str = ""
    is_current: bool = False
    more: str = ""


def show_list(
    key: str,
    columns: Sequence[Column],
    lines: Iterable[Line],
    *,
    caption: str,
    on_press: Callable[[str], None] | None = None,
    on_more: Callable[[str], None] | None = None,
) -> None:
    """Show rows as a table, as cards where it is narrow; ``on_press`` gets the id of the row pressed.

    ``on_more`` gets that of the row whose other button was pressed. The arrows go from row to row.

    Every text may be an agent's: it is made visible here and becomes a text node in the browser. A press that goes
    unanswered, as can happen where runs interrupt each other, is told again, and counts once.
    """
    answered = f"{key}.answered"

    def pressed() -> None:
        told = st.session_state[key].get("pressed")
        if not isinstance(told, dict) or told.get("at") == st.session_state.get(answered):
            return
        st.session_state[answered] = told.get("at")
        act = on_more if told.get("part") == "more" else on_press
        if act is not None and str(told.get("id")) in known:
            act(str(told["id"]))

    shown = [_line_data(line) for line in lines]
    known = {line["id"] for line in shown}
    data = {
        "caption": caption,
        "columns": [{"name": column.name, "label": column.label, "kind": column.kind} for column in columns],
        "rows": shown,
        "now": datetime.now(UTC).isoformat(),
        "answered": st.session_state.get(answered),
    }
    component("tables", '<div class="list"></div>')(key=key, data=data, on_pressed_change=pressed)


def _line_data(line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "name": visible(line.name),
        "act": line.act,
        "more": line.more,
        "current": line.is_current,
        "cells": {name: data for name, cell in line.cells.items() if (data := _cell_data(cell))},
    }


def _cell_data(cell: Cell) -> dict[str, Any]:
    """Return what there is of the cell; most have little, and a list of them is sent at every run."""
    found = cell.snippet
    data = {
        "text": visible(cell.text),
        "under": visible(cell.under),
        "tone": cell.tone,
        "at": cell.at.isoformat() if cell.at else None,
        "snippet": [visible(found.before), visible(found.found), visible(found.after)] if found else None,
    }
    return {name: value for name, value in data.items() if value}


@dataclass(slots=True)
class _Place:
    """Where a list stands: the cursors of the pages behind it and of the one it shows, under one filter."""

    where: object
    cursors: list[str | None]


def page_of(key: str, where: object, read: Callable[[str | None], Page[R]]) -> Page[R]:
    """Read the page at which the list stands; another filter or a failing cursor starts it from the top."""
    place = _place(key)
    if place is None or place.where != where:
        place = st.session_state[_place_key(key)] = _Place(where, [None])
    try:
        return read(place.cursors[-1])
    except InvalidCursorError:
        place.cursors = [None]
        return read(None)


def show_pager(key: str, page: Page[Any]) -> None:
    """Offer the next and the previous page of the list, where there is one."""
    place = _place(key)
    number = len(place.cursors) if place else 1
    if number == 1 and page.next_cursor is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
        st.caption(f"Page {number}", width="content")
        st.button(
            "Previous",
            key=f"{key}.previous.{number}",
            icon=":material/chevron_left:",
            disabled=number == 1,
            on_click=_turn_back,
            args=(key, number),
        )
        st.button(
            "Next",
            key=f"{key}.next.{number}",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=page.next_cursor is None,
            on_click=_turn_on,
            args=(key, number, page.next_cursor),
        )


def _turn_on(key: str, number: int, cursor: str | None) -> None:
    place = _place(key)
    if place and len(place.cursors) == number and cursor is not None:
        place.cursors.append(cursor)


def _turn_back(key: str, number: int) -> None:
    place = _place(key)
    if place and len(place.cursors) == number > 1:
        place.cursors.pop()


def _place(key: str) -> _Place | None:
    place = st.session_state.get(_place_key(key))
    return place if isinstance(place, _Place) else None


def _place_key(key: str) -> str:
    return f"{key}.place"


def ask_choice(label: str, options: Iterable[str], *, key: str, every: str = "All") -> str | None:
    """Ask for one of the options, or any other that is typed; None leaves nothing out."""
    return st.selectbox(
        label,
        sorted(set(options)),
        index=None,
        placeholder=every,
        format_func=visible,
        accept_new_options=True,
        key=key,
        persist_state="session",
        width=150,
    )


E = TypeVar("E", bound=StrEnum)


def ask_one(label: str, words: Mapping[E, str], *, key: str, every: str = "All") -> E | None:
    """Ask for one of our own values, each shown in its words; None leaves nothing out."""
    return st.selectbox(
        label,
        list(words),
        index=None,
        placeholder=every,
        format_func=lambda value: words[value],
        key=key,
        persist_state="session",
        width=150,
    )


def ask_days(label: str, *, key: str) -> tuple[datetime | None, datetime | None]:
    """Ask for a first and a last day in the reader's time zone; return the moments between which they lie."""
    chosen = st.date_input(label, value=[], key=key, persist_state="session", format="YYYY-MM-DD", width=265)
    return days_between(tuple(chosen), here_zone())


def days_between(chosen: tuple[date, ...], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """Return the start of the first day and the end of the last, in UTC; one day alone has no end yet."""
    if not chosen:
        return None, None
    since = datetime.combine(chosen[0], time.min, zone).astimezone(UTC)
    if len(chosen) == 1:
        return since, None
    return since, datetime.combine(chosen[1] + timedelta(days=1), time.min, zone).astimezone(UTC)


def here_zone() -> tzinfo:
    """Return the reader's time zone; UTC where their browser does not tell one."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def switch_to(screen: ModuleType, *, item: str | None = None) -> NoReturn:
    """Leave for another screen, with an item in its address where one is named."""
    # Streamlit knows a page by its path alone; what it draws is what the navigation was given.
    st.switch_page(
        st.Page(_nothing, title=screen.TITLE, url_path=screen.PATH), query_params={"item": item} if item else None
    )


def _nothing() -> None:
    return


def count_words(count: int) -> str:
    """Return a count as it is shown: beyond the limit of counting it has a plus."""
    return f"{COUNT_LIMIT:,}+" if count > COUNT_LIMIT else f"{count:,}"


def rows_words(count: int, noun: str) -> str:
    """Return how many rows of this kind a file will hold, as it is said before a download: 1 label, 1,000+ labels."""
    return f"{count_words(count)} {noun}{'' if count == 1 else 's'}"


def show_empty(title: str, text: str) -> None:
    """Say calmly that there is nothing to show, and what would change that."""
    draw(element("div", element("h2", title), element("p", text), class_="so-empty"))
