"""Who sits at this browser, looked up anew each time that it matters."""

import time
from collections.abc import Callable

import streamlit as st

from pages.rendering import draw, notice, refused, said
from pages.requests import session_cookie
from pages.services import services
from review.errors import ReviewError
from review.people import Person, Session, hash_of

# Longer than a page takes to be drawn, and soon enough over that nothing is missed for long.
_JUST_S = 1.0


def person_here() -> Person | None:
    """Return who is signed in behind this browser's cookie; None where nobody is any more.

    Looked up anew at each call, so that a logout or a lost role is felt at once.
    """
    return services().sessions.person(_secret())


def is_still_here(person: Person) -> bool:
    """Tell whether the person is signed in still, in the same roles, without counting as their activity."""
    return services().sessions.glance(_secret()) == person


def is_this_browser(session: Session) -> bool:
    """Tell whether the session is the one of this browser."""
    return session.id == hash_of(_secret() or "")


def was_just_drawn(drawn_at: float) -> bool:
    """Tell whether a page that was drawn at this time (``time.monotonic()``) has looked a moment ago itself.

    A fragment also runs with its page; what it looks for again by itself, the page has found out then.
    """
    return time.monotonic() - drawn_at < _JUST_S


def _secret() -> str | None:
    return st.context.cookies.get(session_cookie())


def act_as(person: Person, act: Callable[[Person], None]) -> None:
    """Do what a press asks for as whoever is here now, if that is still the person the page was drawn for.

    A callback runs before the gate, so it asks for itself: a press after signing out does nothing. What the review
    refuses is shown at the top of the next run.
    """
    here = _still(person)
    if here is None:
        return
    try:
        act(here)
    except ReviewError as error:
        refused(error)


def act_in_dialog(person: Person, act: Callable[[Person], None], *, otherwise: str) -> None:
    """Do what a press in a dialog asks for, as `act_as` does, and close the dialog once it is done.

    What the review refuses is said in the dialog, which stays open with what was typed; ``otherwise`` says how things
    stand then.
    """
    here = _still(person)
    if here is not None:
        try:
            act(here)
        except ReviewError as error:
            draw(notice(f"{error} {otherwise}", "bad"))
            return
    st.rerun()  # A press in a dialog redraws the dialog alone.


def _still(person: Person) -> Person | None:
    here = person_here()
    if here is not None and here.id == person.id:
        return here
    said("You are signed out; nothing was done.", "bad")
    return None
