"""The focus view: a component that paints items held ahead, and hands over what is decided through an outbox.

The browser paints the next item at once and says later what was decided. An entry of its outbox names the item, its
version, the claim's epoch and the digest that was painted, and is sent until it is acknowledged; one that comes twice
changes nothing more. Authority stays in the use cases: what the browser says is only ever a request.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal, TypedDict
from uuid import UUID, uuid4

import streamlit as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.protocol import Approve, DecisionType, Reject, Respond
from pages.components import component
from pages.item_view import (
    args_card,
    context_view,
    draft_card,
    facts_view,
    guidelines_card,
    headline,
    hidden_characters,
    is_revealed,
    masked_words,
    notes_card,
    own_words_card,
    precedents_card,
    readable,
    reasons_card,
    repeated_card,
    revealed_key,
    shown_action,
    waiting_for_answer,
)
from pages.rendering import Markup, Tone, Tree, humanised, money, notice, tree, visible
from pages.services import services
from pages.sign_in import way_to_sign_in_again
from pages.typed import LONGEST_TEXT, Typed
from review.clock import utc_now
from review.desk import WholeItem
from review.drafts import Written
from review.errors import SignInAgainError
from review.items import Purpose, ReasonCode, ReviewItem
from review.lifecycle import shown_digest
from review.people import Permission, Person

SETTLING_MS = 300

_KEY = "review.focus"
_ACKNOWLEDGED = "review.focus.acknowledged"  # What became of each entry of the outbox as it came last.
_PAINTED = "review.focus.painted"  # The looks at the items that are held, as they were made.
_SENT = "review.focus.sent"  # Since when each look is with the browser.
_SESSION = "review.focus.session"
_MOST_ENTRIES = 50


class Act(StrEnum):
    """What a reviewer asks for in the focus view."""

    DECIDE = "decide"
    ASK = "ask"
    EXTEND = "extend"
    SKIP = "skip"
    EDIT = "edit"
    EARLIER = "earlier"
    PAUSE = "pause"
    RESUME = "resume"
    PLAIN = "plain"
    REVEAL = "reveal"


class Entry(BaseModel):
    """An entry of the outbox: what was asked for, and of which look at which item.

    ``dwell_ms`` is for how long it was painted, in which ``session``; ``is_opened`` whether none of its arguments was
    hidden any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=8, max_length=64)
    act: Act
    item: UUID | None = None
    version: int = 0
    epoch: int = 0
    digest: str = ""
    decision: Approve | Reject | Respond | None = Field(default=None, discriminator="type")
    codes: tuple[ReasonCode, ...] = ()
    text: str = Field(default="", max_length=LONGEST_TEXT)
    dwell_ms: int = Field(default=0, ge=0)
    session: str = Field(default="", max_length=64)
    is_opened: bool = False
    tries: int = Field(default=1, ge=0)


class Acknowledgement(TypedDict):
    """What became of an entry, in a sentence for the reviewer; one that was refused changed nothing."""

    ok: bool
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Surface:
    """What the focus view shows: the item to look at first and the one that follows, or why there is none."""

    person: Person
    items: Sequence[ReviewItem]
    state: Literal["open", "empty", "paused"] = "open"
    calm: Markup | None = None
    gone: Mapping[str, str] = field(default_factory=dict)


def done(text: str, tone: Tone = "good") -> Acknowledgement:
    """Return that an entry was done."""
    return {"ok": True, "tone": tone, "text": text}


def forget(entry: Entry) -> None:
    """Expect the entry's item to be gone from what is held, and say nothing of it."""
    st.session_state.get(_SENT, {}).pop(f"{entry.item}.{entry.version}.{entry.epoch}", None)


def forget_all() -> None:
    """Expect whatever is held to be gone, and say nothing of it."""
    st.session_state.pop(_SENT, None)


def missing(items: Sequence[ReviewItem]) -> list[UUID]:
    """Return the items that the browser was given and that are held no more, though nothing was done with them."""
    held = {look_key(item) for item in items}
    return [UUID(key.split(".")[0]) for key in st.session_state.get(_SENT, {}) if key not in held]


def refusal(text: str, tone: Tone = "bad") -> Acknowledgement:
    """Return that an entry was refused, and why."""
    return {"ok": False, "tone": tone, "text": text}


def look_key(item: ReviewItem) -> str:
    """Return the name of a look at an item: of this version, under this claim."""
    return f"{item.id}.{item.version}.{item.epoch}"


def _typed(person: Person, item: ReviewItem) -> Written:
    written = services().desk.drafts.read(person, item.id, item.version)
    return {name: value for name, value in written.items() if name in Typed.model_fields}


def show_focus(surface: Surface, answer: Callable[[Entry], Acknowledgement]) -> None:
    """Mount the component; ``answer`` gets each entry of the outbox that was not answered before."""

    def heard() -> None:
        hear(st.session_state[_KEY].get("outbox"), answer)

    looks: dict[str, str] = st.session_state.get(_PAINTED, {})
    looks = {stamp: looks.get(stamp) or _look(surface.person, item) for stamp, item in _stamped(surface.items)}
    st.session_state[_PAINTED] = looks
    sent: dict[str, float] = st.session_state.get(_SENT, {})
    now = time.monotonic()
    st.session_state[_SENT] = {key: sent.get(key, now) for key in map(look_key, surface.items)}
    data: dict[str, Any] = {
        "person": sha256(surface.person.id.encode()).hexdigest()[:16],
        "session": st.session_state.setdefault(_SESSION, uuid4().hex),
        "now": utc_now().isoformat(),
        "state": surface.state,
        "calm": tree(surface.calm) if surface.calm else None,
        "gone": dict(surface.gone),
        "items": [
            {"key": look_key(item), "stamp": stamp, "left_ms": _left_ms(item), "look": looks[stamp]}
            for stamp, item in _stamped(surface.items)
        ],
        "drafts": {f"{item.id}.{item.version}": dict(_typed(surface.person, item)) for item in surface.items},
        "acknowledged": st.session_state.get(_ACKNOWLEDGED, {}),
    }
    # Not isolated: what the server draws looks as it does on every other page.
    surface_here = component("focus", '<div class="focus"></div>', is_isolated=False)
    surface_here(key=_KEY, data=data, on_outbox_change=heard)


def hear(outbox: object, answer: Callable[[Entry], Acknowledgement]) -> None:
    """Answer what is new in the outbox.

    Only what the outbox still holds is remembered: the browser takes out of it what was acknowledged.
    """
    known: dict[str, Acknowledgement] = st.session_state.get(_ACKNOWLEDGED, {})
    entries = list(_readable(outbox))
    kept = {id_: known[id_] for id_, _ in entries if id_ in known}
    fresh = [(id_, entry) for id_, entry in entries if id_ not in known]
    for id_, entry in fresh:
        kept[id_] = answer(entry) if isinstance(entry, Entry) else refusal(entry)
        st.session_state[_ACKNOWLEDGED] = dict(kept)


def _readable(outbox: object) -> Iterator[tuple[str, Entry | str]]:
    for given in outbox[:_MOST_ENTRIES] if isinstance(outbox, list) else ():
        if not isinstance(given, dict) or not isinstance(given.get("id"), str):
            continue  # No browser of ours sends it, and nobody waits for an answer to it.
        try:
            yield given["id"], Entry.model_validate_json(json.dumps(given))
        except ValidationError as error:
            yield given["id"], "Nothing was done: " + "; ".join(found["msg"] for found in error.errors())


def looked_for_ms(entry: Entry) -> int:
    """Return for how long the entry's item was looked at: what the browser says, but not since before it had it.

    What was painted before the session began anew, the server cannot say; the browser does.
    """
    if entry.session != st.session_state.get(_SESSION):
        return entry.dwell_ms
    since = st.session_state.get(_SENT, {}).get(f"{entry.item}.{entry.version}.{entry.epoch}")
    most = entry.dwell_ms if since is None else int((time.monotonic() - since) * 1000)
    return min(entry.dwell_ms, most)


def _stamped(items: Sequence[ReviewItem]) -> list[tuple[str, ReviewItem]]:
    return [(f"{look_key(item)}.{item.notes}.{bool(st.session_state.get(revealed_key(item)))}", item) for item in items]


def _left_ms(item: ReviewItem) -> int:
    return max(int((item.claim.until - utc_now()).total_seconds() * 1000), 0) if item.claim else 0


def _look(person: Person, item: ReviewItem) -> str:
    desk = services().desk
    whole = desk.whole(person, item.id)
    # What was revealed is this item; others of the same tool stay masked.
    alone = replace(whole, notes=(), decisions=(), repeated=())
    past = [
        replace(found, item=replace(alone, item=_without_context(found.item)).masked().item)
        for found in desk.precedents(person, item)
    ]
    return json.dumps(look_of(whole, person, precedents=precedents_card(readable(whole).item, past, utc_now())))


def _without_context(item: ReviewItem) -> ReviewItem:
    """Return the item without what is not shown of a precedent, and would only have to be masked."""
    return replace(item, request=item.request.model_copy(update={"context": ()}))


def look_of(whole: WholeItem, person: Person, *, precedents: Any = ()) -> dict[str, Any]:  # noqa: ANN401 -- elements
    """Return all that the component paints of an item, as trees of elements and facts about it."""
    shown, now = readable(whole), utc_now()
    item = shown.item
    hidden = hidden_characters(whole)
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
        "masked": None if is_revealed(whole) else masked_words(whole),
        "reveals": person.may(Permission.REVEAL),
        "head": _trees(
            headline(item, person, schema=whole.args_schema), *_purpose(item), *_sign_in_again(item, person)
        ),
        "facts": _trees(facts_view(item, now, approvals=approvals(whole))),
        "cut": tree(args_card(whole, is_whole=not hidden)),
        "whole": tree(args_card(whole)) if hidden else None,
        "left": _trees(*draft_card(item), *repeated_card(shown, now)),
        "why": _trees(reasons_card(item), *guidelines_card(whole), *precedents),
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


def _sign_in_again(item: ReviewItem, person: Person) -> list[Markup]:
    if not item.is_high_impact or person.has_just_signed_in(utc_now()):
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
