"""What stands above every screen: what is alarming, who broke the glass, what is paused; and that it is so still."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import streamlit as st

from pages import audit_page
from pages.emergencies import show_emergencies
from pages.pausing import show_pauses
from pages.presence import is_still_here, was_just_drawn
from pages.rendering import draw, notice
from pages.services import services
from review.people import Emergency, Pause, Person

GLANCE_EVERY = timedelta(seconds=15)


class Above(NamedTuple):
    """What there is to say to a person, whatever screen they look at."""

    is_alarming: bool
    emergencies: Sequence[Emergency]
    pauses: Sequence[Pause]


def above(person: Person) -> Above:
    """Return what there is to say now."""
    return Above(
        is_alarming=person.may(audit_page.PERMISSION) and services().records.is_alarming(person),
        emergencies=services().emergencies.standing(person),
        pauses=services().switch.pauses(person),
    )


def show_above(person: Person, said: Above, *, tells_alarm: bool = True) -> None:
    """Draw what there is to say; the Audit screen tells of an alarm itself."""
    if said.is_alarming and tells_alarm:
        draw(notice("The audit log raises an alarm. The Audit screen says why.", "warn"))
    show_emergencies(person, said.emergencies)
    show_pauses(person, said.pauses)


@st.fragment(run_every=GLANCE_EVERY)
def watch(person: Person, said: Above, drawn_at: float) -> None:
    """Draw the page anew once it stands open for somebody who is not there any more, or in other roles.

    Or once there is something else to say than what was ``said`` when it was drawn, at this time.
    """
    if not was_just_drawn(drawn_at) and (not is_still_here(person) or above(person) != said):
        st.rerun()
