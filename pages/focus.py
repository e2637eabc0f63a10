"""What the focus view paints of an item: trees of elements that a component of ours builds ahead in the browser.

What is held and told meanwhile is the sitting's, `pages.sitting`; what is decided comes by the `pages.outbox`.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import streamlit as st

from agents.protocol import Approve, DecisionType
from pages.components import component
from pages.item_view import (
    Version,
    args_card,
    context_view,
    draft_card,
    facts_view,
    guidelines_card,
    headline,
    hidden_characters,
    is_editable,
    masked_words,
    notes_card,
    own_words_card,
    precedents_card,
    readable,
    reasons_card,
    repeated_card,
    shown_action,
    waiting_for_answer,
)
from pages.rendering import Markup, Tree, humanised, money, notice, tree, visible
from pages.services import services
from pages.sign_in import way_to_sign_in_again
from review.clock import utc_now
from review.desk import WholeItem
from review.errors import SignInAgainError
from review.items import Purpose, ReviewItem
from review.lifecycle import shown_digest
from review.people import Permission, Person
from review.precedents import Precedent

_KEY = "review.focus"


def show_focus(data: Mapping[str, Any], hear: Callable[[object], None]) -> None:
    """Mount the component with what its tab shows; it asks for a run of the page where another view is to be drawn.

    ``hear`` gets its outbox where it cannot be handed over by the route.
    """

    def heard() -> None:
        hear(st.session_state[_KEY].get("outbox"))

    # Not isolated: what the server draws looks as it does on every other page.
    surface = component("focus", '<div class="focus"></div>', is_isolated=False)
    surface(key=_KEY, data=data, on_redraw_change=_redrawn, on_outbox_change=heard)


def _redrawn() -> None:
    """Let the page run: whatever is to be drawn otherwise is known by now."""


def look_at(person: Person, whole: WholeItem, revealed: Collection[Version]) -> str:
    """Return the look at an item, with similar decisions of the past, as the browser keeps it."""
    desk = services().desk
    # What was revealed is this item; others of the same tool stay masked.
    alone = replace(whole, notes=(), decisions=(), repeated=())
    past = [
        replace(found, item=replace(alone, item=_without_context(found.item)).masked().item)
        for found in desk.precedents(person, whole.item)
    ]
    return json.dumps(look_of(whole, person, revealed=revealed, past=past))


def _without_context(item: ReviewItem) -> ReviewItem:
    """Return the item without what is not shown of a precedent, and would only have to be masked."""
    return replace(item, request=item.request.model_copy(update={"context": ()}))


def look_of(
    whole: WholeItem,
    person: Person,
    *,
    revealed: Collection[Version] = (),
    past: Sequence[Precedent] = (),
) -> dict[str, Any]:
    """Return all that the component paints of an item, as trees of elements and facts about it."""
    shown, now = readable(whole, revealed), utc_now()
    item = shown.item
    hidden = hidden_characters(shown)
    return {
        "item": str(item.id),
        "version": item.version,
        "epoch": item.epoch,
        "digest": shown_digest(whole.item),
        "name": _name(item),
        "allows": [decision.value for decision in DecisionType if decision in whole.choices],
        "asks": item.purpose is Purpose.GATE,
        "reasons": {
            decision.value: [[code.value, humanised(code)] for code in whole.reasons_offered(decision)]
            for decision in whole.choices
        },
        "needs": [decision.value for decision in whole.choices if whole.reasons_asked(decision)],
        "repeats": item.repeats_id is not None,
        "hidden": hidden,
        "masked": None if shown is whole else masked_words(whole),
        "editable": is_editable(whole, revealed),
        "reveals": person.may(Permission.REVEAL),
        "head": _trees(
            headline(item, person, schema=whole.args_schema), *_purpose(item), *_sign_in_again(item, person)
        ),
        "facts": _trees(facts_view(item, now, approvals=approvals(whole))),
        "cut": tree(args_card(whole, shown, is_whole=not hidden)),
        "whole": tree(args_card(whole, shown)) if hidden else None,
        "left": _trees(*draft_card(item), *repeated_card(shown, now)),
        "why": _trees(reasons_card(item), *guidelines_card(whole.queue), *precedents_card(item, past, now)),
        "right": _trees(
            *own_words_card(item),
            *notes_card(shown.notes, now),
            *([waiting_for_answer()] if whole.is_asking else []),
            context_view(item),
        ),
    }


def approvals(whole: WholeItem) -> int:
    """Return how many people approved the item as it stands."""
    return len(
        {
            (made.iss, made.sub)
            for made in whole.decisions
            if made.item_version == whole.item.version and isinstance(made.decision, Approve)
        }
    )


def _trees(*parts: Markup) -> list[Tree]:
    return [tree(part) for part in parts]


def _purpose(item: ReviewItem) -> list[Markup]:
    words = purpose_words(item)
    return [notice(words)] if words else []


def asks_to_sign_in(item: ReviewItem, person: Person, now: datetime) -> bool:
    """Tell whether the person must sign in again before they can decide the item."""
    return item.is_high_impact and not person.has_just_signed_in(now)


def _sign_in_again(item: ReviewItem, person: Person) -> list[Markup]:
    if not asks_to_sign_in(item, person, utc_now()):
        return []
    words = notice(str(SignInAgainError(item.id)), "warn")
    return [words, way_to_sign_in_again(person, f"/?item={item.id}")]


def purpose_words(item: ReviewItem) -> str:
    """Return what a decision on the item does, where it lets nothing run; else nothing."""
    match item.purpose:
        case Purpose.AUDIT:
            return "This ran already. Your look makes a label; it neither lets anything run nor stops it."
        case Purpose.SHADOW:
            return "Observed: nothing waits for this. Decide as if it did; your decision makes a label and no more."
    return ""


def _name(item: ReviewItem) -> str:
    impact = item.request.impact
    parts = [humanised(shown_action(item).name)]
    if impact.amount is not None:
        parts.append(money(impact.amount, impact.currency))
    if impact.subject is not None:
        parts.append(impact.subject)
    return visible(", ".join(parts))
