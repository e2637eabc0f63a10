"""The views of a list: what was chosen above it, kept under a name, found again, and shared as an address."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

import streamlit as st
from pydantic import JsonValue

from pages.presence import act_as
from pages.rendering import draw, element, said, show_refusal, visible
from pages.services import services
from review.errors import ViewNotFoundError, ViewRefusedError
from review.items import View
from review.people import Person

_ADDRESS = "view"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A widget above a list: what it holds where nothing is chosen, and how its value is read from a view."""

    default: Any
    read: Callable[[Any], Any] = str


Widgets = Mapping[str, Chosen]


def days(value: Any) -> list[date]:  # noqa: ANN401 -- JSON of a view
    """Read days as a view keeps them."""
    return [date.fromisoformat(day) for day in value]


def follow_view(person: Person, screen: str, widgets: Widgets) -> None:
    """Choose what the view in the address says, once; to be called before the widgets are drawn.

    Where there is no such view, say so here and now: the list that follows is not what the address asked for.
    """
    place = st.container()  # Empty or not, so that what stands below keeps its number and its state.
    named = st.query_params.get(_ADDRESS)
    if named is None or named == st.session_state.get(f"{screen}.view.told"):
        return
    st.session_state[f"{screen}.view.told"] = named

    def follow(here: Person) -> None:
        try:
            view = services().views.view(here, UUID(named))
        except ValueError as error:
            raise ViewNotFoundError from error
        _apply(screen, widgets, view)

    act_as(person, follow)
    with place:
        show_refusal()


def offer_views(person: Person, screen: str, widgets: Widgets) -> None:
    """Offer the person's views of a screen, and to keep what is chosen now as one; the widgets are drawn by now."""
    now = _written(screen, widgets)
    current: View | None = st.session_state.get(f"{screen}.view")
    if current is not None and current.chosen != now:
        current = None
    _tell_address(screen, current)
    with st.popover("Views", icon=":material/bookmarks:", key=f"{screen}.views"):
        mine = services().views.mine(person, screen)
        if current is not None:
            draw(element("p", f"This is “{current.name}”. Whoever has this page's address opens the same."))
        elif not mine:
            draw(element("p", "Keep what is chosen here under a name, and find it again.", class_="so-quiet so-small"))
        if mine:
            # No button bears the name of a view: labels are Markdown.
            st.selectbox(
                "Open a view",
                mine,
                index=None,
                placeholder="Choose one of yours",
                format_func=lambda view: visible(view.name),
                key=f"{screen}.view.opened",
                on_change=_open_chosen,
                args=(screen, widgets),
            )
        own = current if current in mine else None
        _ask_name(person, screen, now, own)
        if own is not None:
            st.button(
                "Remove this view",
                key=f"{screen}.view.remove",
                icon=":material/delete:",
                on_click=lambda: act_as(person, partial(_remove, view=own)),
            )


def _open_chosen(screen: str, widgets: Widgets) -> None:
    view: View | None = st.session_state[f"{screen}.view.opened"]
    if view is not None:
        _apply(screen, widgets, view)
        st.session_state[f"{screen}.view.opened"] = None


def _ask_name(person: Person, screen: str, now: Mapping[str, JsonValue], current: View | None) -> None:
    key = f"{screen}.view.name"
    with st.form(f"{screen}.view.keep", border=False):
        # No limit of the widget's own: what is longer would vanish from it, and nobody would know why.
        st.text_input("Name", key=key)
        trouble = st.session_state.pop(f"{key}.trouble", None)
        if trouble is not None:
            draw(element("p", trouble, class_="so-error", role="alert"))
        with st.container(horizontal=True):
            st.form_submit_button(
                "Keep this view", on_click=lambda: _name(person, screen, partial(_keep, screen=screen, now=now))
            )
            if current is not None:
                st.form_submit_button(
                    "Rename it", on_click=lambda: _name(person, screen, partial(_rename, screen=screen, view=current))
                )


def _name(person: Person, screen: str, act: Callable[[Person], None]) -> None:
    """Do what needs the name; one that is refused stays where it was typed, with the reason below it."""
    key = f"{screen}.view.name"

    def name(here: Person) -> None:
        try:
            act(here)
        except ViewRefusedError as error:
            st.session_state[f"{key}.trouble"] = str(error)
        else:
            st.session_state[key] = ""

    act_as(person, name)


def _keep(person: Person, *, screen: str, now: Mapping[str, JsonValue]) -> None:
    view = services().views.keep(person, screen, st.session_state[f"{screen}.view.name"], now)
    st.session_state[f"{screen}.view"] = view
    said(f"Kept as “{view.name}”.")


def _rename(person: Person, *, screen: str, view: View) -> None:
    renamed = services().views.rename(person, view.id, st.session_state[f"{screen}.view.name"])
    st.session_state[f"{screen}.view"] = renamed
    said(f"It is “{renamed.name}” now.")


def _remove(person: Person, *, view: View) -> None:
    services().views.remove(person, view.id)
    said(f"“{view.name}” is removed.")


def _apply(screen: str, widgets: Widgets, view: View) -> None:
    """Choose what the view says; of what a later release no longer knows, the default."""
    for name, widget in widgets.items():
        value = widget.default
        if name in view.chosen:
            try:
                value = widget.read(view.chosen[name])
            except (ValueError, TypeError):
                value = widget.default
        st.session_state[f"{screen}.{name}"] = value
    st.session_state[f"{screen}.view"] = view


def _written(screen: str, widgets: Widgets) -> dict[str, JsonValue]:
    chosen: dict[str, JsonValue] = {}
    for name, widget in widgets.items():
        value = st.session_state.get(f"{screen}.{name}", widget.default)
        if value == widget.default or not value:
            continue
        if isinstance(value, list | tuple):
            chosen[name] = [each.isoformat() for each in value]
        else:
            chosen[name] = value.value if isinstance(value, StrEnum) else str(value)
    return chosen


def _tell_address(screen: str, current: View | None) -> None:
    if current is None:
        st.query_params.pop(_ADDRESS, None)
    else:
        st.query_params[_ADDRESS] = str(current.id)
        st.session_state[f"{screen}.view.told"] = str(current.id)
