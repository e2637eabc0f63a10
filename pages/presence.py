"""Who sits at this browser, looked up anew each time that it matters."""

import streamlit as st

from pages.services import services
from pages.sign_in import cookie_name
from review.people import Person


def person_here() -> Person | None:
    """Return who is signed in behind this browser's cookie; None where nobody is any more.

    A callback runs before the gate, so it asks for itself: a press after signing out decides nothing.
    """
    name = cookie_name(is_secure=services().settings.is_https)
    return services().sessions.person(st.context.cookies.get(name))
