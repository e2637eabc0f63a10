"""Undo: what the person decided a moment ago, and the press that takes it back while that is possible."""

from collections.abc import Callable
from datetime import datetime

import streamlit as st

from agents.protocol import DecisionType
from pages.keyboard import Key
from pages.presence import act_as
from pages.rendering import Markup, draw, element, said
from pages.services import services
from pages.sitting import DECIDED_WORDS
from review.clock import utc_now
from review.items import PendingDecision, ReviewItem
from review.people import Person


def show_undo(person: Person, go_back_to: Callable[[ReviewItem], None]) -> Key | None:
    """Offer to take back the person's latest decision that does not count yet; return the key for it."""
    item = next(iter(services().desk.undoable(person)), None)
    if item is None or item.pending is None:
        return None
    key = Key("u", f"review.undo.{item.id}.{item.epoch}", "Undo")
    with st.container(key="undo", horizontal=True, gap="small", vertical_alignment="center"):
        draw(_told(item, item.pending, utc_now()))
        st.button("Undo", key=key.widget, icon=":material/undo:", on_click=_undo, args=(person, item, go_back_to))
    return key


def _told(item: ReviewItem, made: PendingDecision, now: datetime) -> Markup:
    left = max((made.settles_at - now).total_seconds(), 0.0)
    # It goes by itself when it is over: nothing asks the server for that.
    over = f".st-key-undo{{animation:so-over 0s {left:.1f}s forwards}}"
    return element(
        "p",
        element("style", over),
        element("strong", DECIDED_WORDS[DecisionType(made.decision.type)]),
        ": ",
        element("code", item.request.action.name),
        class_="so-plain",
        role="status",
    )


def _undo(person: Person, item: ReviewItem, go_back_to: Callable[[ReviewItem], None]) -> None:
    def undo(here: Person) -> None:
        go_back_to(services().desk.undo(here, item.id, epoch=item.epoch))
        said("Taken back; the item is yours again.")

    act_as(person, undo)
