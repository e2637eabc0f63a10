"""Deciding together: items that differ in their arguments alone, side by side; any can be left out, or opened."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import streamlit as st

from agents.protocol import Approve, DecisionType, Reject
from pages.item_view import guidelines_card
from pages.keyboard import Key, show_keys
from pages.moves import open_item
from pages.outbox import SETTLING_MS
from pages.presence import act_as
from pages.rendering import (
    as_text,
    chip,
    chips,
    draw,
    element,
    fold,
    humanised,
    money,
    place_name,
    places_view,
    said,
    show_refusal,
    times_heard,
)
from pages.services import services
from pages.tables import Cell, CellTone, Column, Line, show_list
from review.alike import Place, differing, leaves, value_at
from review.bulk import Alike, Kind, Look, Made
from review.clock import utc_now
from review.items import ReasonCode, ReviewItem
from review.masking import masked_subject
from review.people import Person

KEY = "together"
MOST_COLUMNS = 6
LOOK_EVERY = timedelta(seconds=1)

_OPENED = "together.opened"  # The items that are shown, as they were when the person turned to them.
_MADE = "together.made"  # What became of those that were decided.
_PAINTED = "together.painted"  # Which of them are painted, and since when.


@dataclass(frozen=True, slots=True)
class Opened:
    """Items alike as they are on the screen: which of them are left out, and whether they are being rejected."""

    alike: Alike
    left_out: frozenset[UUID] = frozenset()
    asks: DecisionType | None = None

    @property
    def chosen(self) -> tuple[ReviewItem, ...]:
        """Return the items that a decision is about."""
        return tuple(item for item in self.alike.items if item.id not in self.left_out)

    @property
    def key(self) -> str:
        """Return what the names of the buttons end with: a press is for these items, as they were painted."""
        stamps = ".".join(f"{item.id}-{item.version}-{item.epoch}" for item in self.chosen)
        return f"{self.asks}.{hash(stamps)}"


def open_alike(person: Person, kind: Kind) -> None:
    """Turn to the items of this kind that can be decided together."""
    st.session_state[_OPENED] = Opened(services().bulk.alike(person, kind))
    for name in (_MADE, _PAINTED):
        st.session_state.pop(name, None)


def is_open() -> bool:
    """Tell whether the person looks at items together."""
    return _OPENED in st.session_state


def leave() -> None:
    """Turn away from the items."""
    for name in (_OPENED, _MADE, _PAINTED):
        st.session_state.pop(name, None)


def leave_results() -> None:
    """Turn away once there is nothing left but what became of the items; what is still being chosen stays."""
    if _MADE in st.session_state:
        leave()


def show_together(person: Person) -> None:
    """Show the items that were turned to, and take one decision for each of them; or what became of them."""
    opened: Opened = st.session_state[_OPENED]
    made: tuple[Made, ...] | None = st.session_state.get(_MADE)
    st.button("Queue", icon=":material/arrow_back:", key=f"{KEY}.back", type="tertiary", on_click=leave)
    show_refusal()
    if made is None:
        _show_items(person, opened)
    else:
        _show_made(person, opened.alike, made)


def _show_items(person: Person, opened: Opened) -> None:
    alike = opened.alike
    first = alike.items[0]
    reasons = dict.fromkeys(reason.text for reason in first.reasons)
    draw(
        element(
            "div",
            element(
                "h1",
                f"{len(alike.items)} calls alike: ",
                element("span", humanised(first.agent), class_="so-who so-plain"),
                " wants to ",
                element("span", humanised(first.request.action.name).lower(), class_="so-plain"),
                class_="so-sentence",
            ),
            chips(element("span", first.request.action.name, class_="so-chip so-mono"), chip(first.queue)),
            class_="so-headline",
        )
    )
    places = differing(alike.items)
    left, right = st.columns([7, 5], gap="medium")
    with left:
        draw(element("section", *_common(alike.items, places), class_="so-card"))
    with right:
        why = element("ul", *(element("li", text, class_="so-plain") for text in reasons), class_="so-reasons")
        heading = element("h2", "Why a person must look at the first of them", class_="so-label")
        draw(*guidelines_card(alike.queue), element("section", heading, why, class_="so-card"))
    show_list(
        f"{KEY}.list",
        columns_of(places),
        [line_of(item, places, is_in=item.id not in opened.left_out) for item in alike.items],
        caption="The calls, and where they differ",
        on_press=_turn,
        on_more=_look_whole,
    )
    _show_apart(alike)
    with st.container(key="decision-bar"):
        _BARS[opened.asks](person, opened)
    if st.session_state.get(_PAINTED, ("", 0.0))[0] != opened.key:
        st.session_state[_PAINTED] = (opened.key, time.monotonic())


def _common(items: Sequence[ReviewItem], places: Sequence[Place]) -> list[str]:
    args = items[0].request.action.args
    same = [(place, value_at(args, place)) for place in leaves(args) if place not in places]
    heading = element("h2", "The same in all of them", class_="so-label")
    if not same:
        return [heading, element("p", "Nothing: they differ in each argument.", class_="so-quiet")]
    return [heading, places_view(same)]


def columns_of(places: Sequence[Place]) -> tuple[Column, ...]:
    """Return the columns of the list: one for each place that differs, as long as they stand side by side."""
    if len(places) <= MOST_COLUMNS:
        differ = [Column(f"at.{number}", place_name(place)) for number, place in enumerate(places)]
    else:
        differ = [Column("at", "Differs")]
    return (
        Column("is_in", "Decided", "chip"),
        *differ,
        Column("subject", "Concerns"),
        Column("amount", "Amount", "number"),
        Column("confidence", "Confidence", "number"),
        Column("submitted", "Submitted", "ago"),
    )


def line_of(item: ReviewItem, places: Sequence[Place], *, is_in: bool) -> Line:
    """Return the item's row: everything in which it differs from the others, nothing of it cut."""
    args, request = item.request.action.args, item.request
    told = [as_text(value_at(args, place)) for place in places]
    # What is left out steps back, also under the pointer that has just left it out.
    tone: CellTone = "" if is_in else "quiet"
    differ = {f"at.{number}": Cell(text, tone=tone or "strong") for number, text in enumerate(told)}
    if len(places) > MOST_COLUMNS:
        # As JSON, so that no value of several lines reads like another place.
        pairs = ((place_name(place), json.dumps(value_at(args, place), ensure_ascii=False)) for place in places)
        differ = {"at": Cell("\n".join(f"{name}: {text}" for name, text in pairs), tone=tone)}
    return Line(
        id=str(item.id),
        name=request.impact.subject or str(item.id),
        act="Leave out" if is_in else "Take in",
        more="Open",
        is_current=is_in,
        cells={
            "is_in": Cell("with the others", tone="accent") if is_in else Cell("left out"),
            "subject": Cell(request.impact.subject or "", tone=tone),
            "amount": Cell(
                money(request.impact.amount, request.impact.currency) if request.impact.amount else "", tone=tone
            ),
            "confidence": Cell("not told" if request.confidence is None else f"{request.confidence:.0%}", tone=tone),
            "submitted": Cell(at=item.submitted_at),
            **differ,
        },
    )


def _show_apart(alike: Alike) -> None:
    if not alike.apart:
        return
    told = (
        element(
            "li",
            element("span", masked_subject(apart.item.request.impact.subject) or str(apart.item.id)),
            f": {apart.why}",
            class_="so-plain",
        )
        for apart in alike.apart
    )
    title = f"{len(alike.apart)} more of this tool, each to be decided by itself"
    draw(fold(title, element("ul", *told, class_="so-list")))


def _bar_choose(person: Person, opened: Opened) -> None:
    count = len(opened.chosen)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if DecisionType.APPROVE in opened.alike.choices:
            asks = opened.alike.reasons_asked(DecisionType.APPROVE)
            st.button(
                f"Approve {_all(count)}",
                key=f"{KEY}.approve.{opened.key}",
                type="primary",
                icon=":material/done_all:",
                disabled=not count,
                on_click=_turn_to if asks else _decide,
                args=(opened, DecisionType.APPROVE) if asks else (person, opened, DecisionType.APPROVE),
            )
        st.button(
            f"Reject {_all(count)}",
            key=f"{KEY}.reject.{opened.key}",
            icon=":material/block:",
            disabled=not count,
            on_click=_turn_to,
            args=(opened, DecisionType.REJECT),
        )
        words = "Each is a decision of its own." if count else "Take at least one in."
        draw(element("span", words, class_="so-quiet so-small"))
        _show_keys(opened)


def _show_keys(opened: Opened) -> None:
    st.space("stretch")
    show_keys(f"{KEY}.keys", _keys(opened), painted=f"{opened.key}.{times_heard()}")


def _bar_reasons(person: Person, opened: Opened) -> None:
    asks = opened.asks or DecisionType.REJECT
    is_rejection = asks is DecisionType.REJECT
    why, told = st.columns(2, gap="medium")
    with why:
        codes = tuple(ReasonCode) if is_rejection else opened.alike.reasons_asked(asks)
        label = "Why are they wrong?" if is_rejection else "Why are they right?"
        st.pills(label, codes, selection_mode="multi", format_func=humanised, key=f"{KEY}.codes", wrap=True)
    with told:
        if is_rejection:
            st.text_area("What the agent should know of each (optional with a reason)", key=f"{KEY}.text", height=90)
    with st.container(horizontal=True, gap="small", key="rejecting" if is_rejection else None):
        st.button(
            f"{humanised(asks)} {_all(len(opened.chosen))}",
            key=f"{KEY}.do.{opened.key}",
            type="primary",
            icon=":material/block:" if is_rejection else ":material/done_all:",
            on_click=_decide,
            args=(person, opened, asks),
        )
        st.button("Back", key=f"{KEY}.choose.{opened.key}", on_click=_turn_to, args=(opened, None))
        _show_keys(opened)


_BARS = {None: _bar_choose, DecisionType.APPROVE: _bar_reasons, DecisionType.REJECT: _bar_reasons}


def _all(count: int) -> str:
    return f"all {count}" if count > 1 else "it"


def _keys(opened: Opened) -> list[Key]:
    if opened.asks is not None:
        codes = ReasonCode if opened.asks is DecisionType.REJECT else opened.alike.reasons_asked(opened.asks)
        return [
            Key("Ctrl+Enter", f"{KEY}.do.{opened.key}", humanised(opened.asks)),
            Key("Escape", f"{KEY}.choose.{opened.key}", "Back"),
            *(Key(str(number + 1), f"{KEY}.codes", humanised(code), number) for number, code in enumerate(codes)),
        ]
    keys = [Key("r", f"{KEY}.reject.{opened.key}", "Reject"), Key("Escape", f"{KEY}.back", "Back to the queue")]
    if DecisionType.APPROVE in opened.alike.choices:
        keys.insert(0, Key("a", f"{KEY}.approve.{opened.key}", "Approve"))
    return keys


def _turn(item_id: str) -> None:
    opened: Opened = st.session_state[_OPENED]
    st.session_state[_OPENED] = replace(opened, left_out=opened.left_out ^ {UUID(item_id)})


def _look_whole(item_id: str) -> None:
    leave()
    open_item(item_id)


def _turn_to(opened: Opened, asks: DecisionType | None) -> None:
    st.session_state[_OPENED] = replace(opened, asks=asks)


def _decide(person: Person, opened: Opened, kind: DecisionType) -> None:
    """Decide what was painted, and nothing that was not; what was refused is told of each."""
    key, at = st.session_state.get(_PAINTED, ("", 0.0))
    looked_for_ms = int((time.monotonic() - at) * 1000) if key == opened.key else 0
    if looked_for_ms < SETTLING_MS:
        said("That press came as the list was still appearing, so nothing was decided.", "warn")
        return
    codes = tuple(st.session_state.get(f"{KEY}.codes") or ()) if opened.asks else ()
    text = str(st.session_state.get(f"{KEY}.text") or "").strip()
    decision = Approve() if kind is DecisionType.APPROVE else Reject(message=text or None)
    # The look was at all of them, so each has its share of it.
    looks = [Look.at(item, dwell_ms=looked_for_ms // len(opened.chosen)) for item in opened.chosen]

    def decide(here: Person) -> None:
        st.session_state[_MADE] = services().bulk.decide(
            here, looks, decision, template=opened.alike.template, reason_codes=codes
        )

    act_as(person, decide)


def _show_made(person: Person, alike: Alike, made: tuple[Made, ...]) -> None:
    done = [each for each in made if each.item is not None]
    refused = len(made) - len(done)
    words = f"{len(done)} decided" + (f", {refused} not" if refused else "")
    draw(element("h1", words, class_="so-sentence"))
    if any(map(_can_undo, made)):
        _show_undoable(person, alike)
    else:
        _show_results(person, alike, made)


@st.fragment(run_every=LOOK_EVERY)
def _show_undoable(person: Person, alike: Alike) -> None:
    made: tuple[Made, ...] = st.session_state.get(_MADE, ())
    if not any(map(_can_undo, made)):
        st.rerun()
    _show_results(person, alike, made)
    st.button(
        "Undo all",
        key=f"{KEY}.undo",
        icon=":material/undo:",
        on_click=_undo,
        args=(person, [each.item_id for each in made if _can_undo(each)]),
    )


def _show_results(person: Person, alike: Alike, made: Sequence[Made]) -> None:
    show_list(
        f"{KEY}.results",
        (Column("what", "Concerns"), Column("end", "Decision", "chip"), Column("why", "What became of it")),
        [made_line(each, alike) for each in made],
        caption="What became of each",
        on_press=lambda item_id: _undo(person, [UUID(item_id)]),
    )


def made_line(made: Made, alike: Alike) -> Line:
    """Return the row of an item that was to be decided: what was decided, or why it was not."""
    asked = next(item for item in alike.items if item.id == made.item_id)
    subject = asked.request.impact.subject or str(asked.id)
    what = Cell(subject, under=asked.request.action.name, tone="strong")
    if made.item is None:
        cells = {"what": what, "end": Cell("not decided", tone="bad"), "why": Cell(str(made.refusal))}
        return Line(id=str(asked.id), name=subject, cells=cells)
    decision = made.item.pending.decision if made.item.pending else made.item.decision
    if decision is None:
        told = "It is with you again, or in the queue."
        cells = {"what": what, "end": Cell("taken back", tone="warn"), "why": Cell(told)}
        return Line(id=str(asked.id), name=subject, cells=cells)
    end = Cell("approved", tone="good") if isinstance(decision, Approve) else Cell("rejected", tone="bad")
    cells = {
        "what": what,
        "end": end,
        "why": Cell("It can be undone for a moment." if _can_undo(made) else "It stands."),
    }
    return Line(id=str(asked.id), name=subject, act="Undo" if _can_undo(made) else "", cells=cells)


def _can_undo(made: Made) -> bool:
    pending = made.item.pending if made.item else None
    return pending is not None and utc_now() < pending.settles_at


def _undo(person: Person, item_ids: Sequence[UUID]) -> None:
    made: tuple[Made, ...] = st.session_state.get(_MADE, ())
    for each in made:
        if each.item is not None and each.item_id in item_ids:
            act_as(person, partial(_take_back, item=each.item))


def _take_back(person: Person, *, item: ReviewItem) -> None:
    back = services().desk.undo(person, item.id, epoch=item.epoch)
    made: tuple[Made, ...] = st.session_state.get(_MADE, ())
    st.session_state[_MADE] = tuple(replace(each, item=back) if each.item_id == item.id else each for each in made)
