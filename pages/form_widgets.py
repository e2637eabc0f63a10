"""The widgets of a form, and what was typed into them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import streamlit as st
from pydantic import JsonValue

from agents.protocol import Args
from pages.cards import Sheet, written
from pages.forms import (
    Edited,
    Field,
    Kind,
    Schema,
    Standing,
    UnreadableError,
    base_args,
    edited,
    form_key,
    form_of,
    initial,
    json_text,
    key_path,
    leaf_value,
    list_rows,
    offered,
    offset_of,
    opened,
)
from pages.rendering import Place, as_text, chip, draw, element, visible

_FEW = 4
_MINUTE = timedelta(minutes=1)
_LABEL = re.compile(r"^[A-Za-z][A-Za-z0-9 ]{0,39}$")


@dataclass(frozen=True, slots=True)
class _Page:
    """What a form says beside its fields: what is wrong at which place, and how the card writes what is held by now."""

    errors: Mapping[Place, str]
    sheet: Sheet


def show_form(schema: Schema | None, args: Mapping[str, JsonValue], *, key: str) -> Edited:
    """Draw the form with what is wrong at each field, and return what it holds; drafts outlive drawing."""
    result = edited(schema, args, st.session_state, key)
    view = f"{key}.view"
    st.session_state.setdefault(view, "Form")
    st.segmented_control(
        "Edit as",
        ["Form", "JSON"],
        key=view,
        required=True,
        on_change=_switch,
        args=(schema, args, key),
        label_visibility="collapsed",
        persist_state="session",
    )
    base, root = base_args(args, st.session_state, key), form_key(st.session_state, key)
    if st.session_state[view] == "JSON":
        _show_json(base, f"{root}.json")
    else:
        page = _Page(result.errors, Sheet(base if result.args is None else result.args))
        _show_members(opened(form_of(schema, base)), root, page)
    if () in result.errors:
        _show_error(result.errors[()])
    return result


def forget_form(key: str) -> None:
    """Drop what was typed into the form."""
    for name in [name for name in st.session_state if isinstance(name, str) and name.startswith(f"{key}.")]:
        del st.session_state[name]


def _switch(schema: Schema | None, args: Mapping[str, JsonValue], key: str) -> None:
    """Carry what was edited from the one view into the other; what cannot be read stays where it is."""
    view = st.session_state[f"{key}.view"]
    other = "Form" if view == "JSON" else "JSON"
    held = edited(schema, args, {**st.session_state, f"{key}.view": other}, key)
    if held.args is None:
        st.session_state[f"{key}.view"] = other
        return
    st.session_state[f"{key}.base"] = held.args
    st.session_state[f"{key}.generation"] = st.session_state.get(f"{key}.generation", 0) + 1


def _show_json(base: Args, key: str) -> None:
    text = json_text(base)
    st.text_area(
        "Arguments as JSON",
        value=text,
        key=key,
        height=min(max(120, 26 * (text.count("\n") + 2)), 480),
        label_visibility="collapsed",
        persist_state="session",
    )


def _show_members(made: Field, own: str, page: _Page) -> None:
    # One grid, laid by the theme: columns would be three more elements a field, and a form of a hundred slow.
    with st.container(gap="small"):
        for member in made.members:
            _show_name(member)
            _show_value(member, f"{own}{key_path(member.place[-1:])}", page)


def _show_value(made: Field, own: str, page: _Page) -> None:
    if _ask_standing(made, own) is Standing.VALUE:
        shown = opened(made)
        if shown.kind is Kind.OBJECT:
            _show_object(shown, own, page)
        elif shown.kind is Kind.LIST:
            _show_list(shown, own, page)
        else:
            _WIDGETS[shown.kind](shown, own)
            _show_hidden(shown)
            _show_reading(shown, own, page.sheet)
    if made.place in page.errors:
        _show_error(page.errors[made.place])


def _show_name(made: Field) -> None:
    parts = [element("p", made.name, class_="so-name so-strong")]
    if made.description:
        parts.append(element("p", made.description, class_="so-plain so-quiet so-small"))
    draw(element("div", *parts, class_="so-field"))


def _show_error(message: str) -> None:
    draw(element("p", message, class_="so-error so-below", role="alert"))


def _show_hidden(made: Field) -> None:
    if isinstance(made.value, str) and visible(made.value) != made.value.replace("\r\n", "\n"):
        shown = element("span", made.value, class_="so-plain")
        draw(element("p", chip("hides characters", "bad"), " ", shown, class_="so-small"))


def _show_reading(made: Field, own: str, sheet: Sheet) -> None:
    """Say how what the field holds is read, where that is not what stands in it."""
    told = " · ".join(_readings(made, st.session_state.get(own, initial(made)), sheet))
    if told:
        draw(element("p", told, class_="so-plain so-quiet so-small so-below"))


def _readings(made: Field, held: object, sheet: Sheet) -> Iterator[str]:
    if made.kind is Kind.MOMENT:
        offset = offset_of(made)
        yield "UTC" if offset in ("Z", "z") else f"UTC{offset}"
    try:
        value = leaf_value(made, held)
    except UnreadableError:
        return
    told = written(value, made.on_card, sheet) if made.on_card else None
    if told is not None and told != as_text(value):
        yield told


def _ask_standing(made: Field, own: str) -> Standing:
    if len(made.standings) == 1:
        return Standing.VALUE
    chosen: Standing = st.segmented_control(
        f"Whether {label_of(made)} has a value",
        made.standings,
        default=made.standing,
        format_func=lambda standing: standing.value,
        required=True,
        key=f"{own}.standing",
        label_visibility="collapsed",
        persist_state="session",
    )
    return chosen


def _show_object(made: Field, own: str, page: _Page) -> None:
    with st.container(border=True, gap="small"):
        if made.members:
            _show_members(made, own, page)
        else:
            draw(element("p", "It holds nothing; JSON can add to it.", class_="so-quiet so-small"))


def _show_list(made: Field, own: str, page: _Page) -> None:
    rows = list(list_rows(made, st.session_state, own))
    with st.container(border=True, gap="small"):
        for row, member in rows:
            with st.container(horizontal=True, gap="small", vertical_alignment="top"):
                draw(element("p", member.name, class_="so-name so-strong so-counted"), width="content")
                with st.container(gap="small"):
                    _show_value(member, f"{own}/{row}", page)
                st.button(
                    f"Remove {member.name}",
                    key=f"{own}/{row}.remove",
                    icon=":material/close:",
                    type="tertiary",
                    on_click=_remove_row,
                    args=(made, own, row),
                )
        st.button("Add one", icon=":material/add:", key=f"{own}.add", on_click=_add_row, args=(made, own))


def _add_row(made: Field, own: str) -> None:
    rows = [row for row, _ in list_rows(made, st.session_state, own)]
    # A number is used once: a row that comes later is not a row that went.
    fresh = max(len(made.members) - 1, st.session_state.get(f"{own}.last", -1)) + 1
    st.session_state[f"{own}.last"] = fresh
    st.session_state[f"{own}.rows"] = [*rows, fresh]


def _remove_row(made: Field, own: str, removed: int) -> None:
    rows = [row for row, _ in list_rows(made, st.session_state, own)]
    st.session_state[f"{own}.rows"] = [row for row in rows if row != removed]


def label_of(made: Field) -> str:
    """Return what a screen reader calls the field; labels are Markdown, so a name must be plain words."""
    name = made.name.replace("_", " ")
    return name if _LABEL.match(name) else "This argument"


def _common(made: Field, own: str) -> dict[str, Any]:
    return {"label": label_of(made), "key": own, "label_visibility": "collapsed", "persist_state": "session"}


def _ask_text(made: Field, own: str) -> None:
    st.text_input(value=initial(made), **_common(made, own))


def _ask_words(made: Field, own: str) -> None:
    text = initial(made)
    lines = sum(1 + len(line) // 70 for line in text.split("\n"))
    st.text_area(value=text, height=min(max(3, lines) * 25 + 22, 420), **_common(made, own))


def _ask_boolean(made: Field, own: str) -> None:
    st.segmented_control(
        options=[True, False],
        default=initial(made),
        format_func=lambda is_true: str(is_true).lower(),
        **_common(made, own),
    )


def _ask_choice(made: Field, own: str) -> None:
    choices = offered(made)
    words = [_choice_text(choice) for choice in choices]
    if len(words) <= _FEW and all(map(_LABEL.fullmatch, words)):
        # Seen at a glance and taken by one press; and a browser draws a list far more slowly.
        st.segmented_control(
            options=range(len(words)),
            default=initial(made),
            format_func=lambda number: words[number],
            **_common(made, own),
        )
        return
    st.selectbox(
        options=range(len(choices)),
        index=initial(made),
        format_func=lambda number: words[number],
        placeholder="Choose",
        **_common(made, own),
    )


def _choice_text(choice: JsonValue) -> str:
    return visible(choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False))


def _ask_date(made: Field, own: str) -> None:
    st.date_input(
        value=initial(made), min_value=date.min, max_value=date.max, format="YYYY-MM-DD", **_common(made, own)
    )


def _ask_moment(made: Field, own: str) -> None:
    st.datetime_input(
        value=initial(made),
        min_value=datetime.min,  # noqa: DTZ901 -- a time on the clock, whose offset stands beside it
        max_value=datetime.max,  # noqa: DTZ901 -- as above
        step=_MINUTE,
        format="YYYY-MM-DD",
        **_common(made, own),
    )


def _ask_line(icon: str, like: str) -> Callable[[Field, str], None]:
    # Not by the input types of browsers: those keep what they do not like to themselves, or send it otherwise.
    def ask(made: Field, own: str) -> None:
        st.text_input(value=initial(made), icon=icon, placeholder=like, autocomplete="off", **_common(made, own))

    return ask


def _ask_json(made: Field, own: str) -> None:
    text = initial(made)
    st.text_area(value=text, height=min(max(3, text.count("\n") + 1) * 25 + 22, 420), **_common(made, own))


_WIDGETS: dict[Kind, Callable[[Field, str], None]] = {
    Kind.TEXT: _ask_text,
    Kind.WORDS: _ask_words,
    Kind.INTEGER: _ask_text,
    Kind.NUMBER: _ask_text,
    Kind.BOOLEAN: _ask_boolean,
    Kind.CHOICE: _ask_choice,
    Kind.DATE: _ask_date,
    Kind.MOMENT: _ask_moment,
    Kind.EMAIL: _ask_line(":material/mail:", "ada@example.com"),
    Kind.ADDRESS: _ask_line(":material/link:", "https://example.com"),
    Kind.MONEY: _ask_line(":material/payments:", "420.00"),
    Kind.JSON: _ask_json,
}
