"""A person's own sessions: where they are signed in, and how they end one from another browser."""

from collections.abc import Callable
from datetime import UTC, datetime

import streamlit as st

from pages.presence import act_as, is_this_browser
from pages.rendering import Markup, chip, draw, element, facts, moment, said, show_refusal
from pages.services import services
from pages.sign_in import way_to_sign_in_again
from review.people import Person, Session

KEY = "sessions"
# What is beyond them is ended together.
_SHOWN = 20


def offer_sessions(person: Person, *, on_press: Callable[[], None]) -> None:
    """Offer a look at where the person is signed in, in a dialog."""
    if st.button("Your sessions…", key=f"{KEY}.offer", icon=":material/devices:", width="content", on_click=on_press):
        _dialog(person)


@st.dialog("Your sessions")
def _dialog(person: Person) -> None:
    show_refusal()
    sessions = services().sessions.own(person)
    here = next((one for one in sessions if is_this_browser(one)), None)
    if here is None:
        st.rerun()
    others = [one for one in sessions if one is not here]
    may_end = person.has_just_signed_in(datetime.now(UTC))
    draw(_session(here, is_here=True))
    for one in others[:_SHOWN]:
        draw(_session(one, is_here=False))
        if may_end:
            st.button("Sign out there", key=f"{KEY}.end.{one.id[:16]}", on_click=_end, args=(person, one.id))
    if not others:
        draw(element("p", "You are signed in nowhere else.", class_="so-quiet"))
    elif not may_end:
        draw(
            element("p", "Whoever ends a session must have signed in within the last 15 minutes."),
            way_to_sign_in_again(person, "/"),
        )
    elif len(others) > 1:
        st.button(
            "Sign out everywhere else",
            key=f"{KEY}.others",
            icon=":material/logout:",
            on_click=_end_others,
            args=(person, here.id),
        )


def _session(one: Session, *, is_here: bool) -> Markup:
    mark = chip("This browser", "good") if is_here else "Another browser"
    known = [("Signed in", moment(one.created_at)), ("Last active", moment(one.seen_at))]
    return element("div", element("p", mark, class_="so-label"), facts(known))


def _end(person: Person, session_id: str) -> None:
    def act(here: Person) -> None:
        services().sessions.end_own(here, session_id)
        said("That browser is signed out.")

    act_as(person, act)


def _end_others(person: Person, kept: str) -> None:
    def act(here: Person) -> None:
        count = services().sessions.end_others(here, kept=kept)
        said("One other browser is signed out." if count == 1 else f"{count} other browsers are signed out.")

    act_as(person, act)
