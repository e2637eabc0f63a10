"""The Review screen: one item, whole, and the decision on it; the next one follows by itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from uuid import UUID

import streamlit as st
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agents.protocol import Action, Approve, Decision, DecisionType, Edit, Reject, Respond
from pages import history_page
from pages.components import component
from pages.focus import approvals, asks_to_sign_in, purpose_words, show_focus
from pages.form_widgets import forget_form, show_form
from pages.forms import Edited, edited
from pages.item_view import (
    args_card,
    context_view,
    draft_card,
    facts_view,
    guidelines_card,
    headline,
    hidden_characters,
    is_editable,
    notes_card,
    own_words_card,
    readable,
    reasons_card,
    repeated_card,
    show_masks,
    shown_action,
    waiting_for_answer,
)
from pages.keyboard import Key, show_keys
from pages.moves import state_words
from pages.outbox import SETTLING_MS, hear, what_was_done
from pages.presence import act_as, is_still_here, person_here, was_just_drawn
from pages.rendering import (
    Markup,
    changes,
    diff_view,
    draw,
    element,
    humanised,
    notice,
    place_name,
    refused,
    said,
    show_refusal,
    times_heard,
)
from pages.services import services
from pages.sign_in import way_to_sign_in_again
from pages.sitting import (
    NOTHING,
    PAUSING,
    Sitting,
    View,
    begun_edit,
    calm,
    edited_last,
    left_ms,
    sitting_here,
    waiting_ids,
    why_gone,
)
from pages.tables import switch_to
from pages.typed import forget_here, keep, restore
from pages.undo import show_undo
from review.clock import utc_now
from review.desk import Seen, WholeItem
from review.errors import ItemNotFoundError, ReviewError, SignInAgainError
from review.items import Purpose, ReasonCode, ReviewItem
from review.masking import masked_subject
from review.people import Permission, Person

TITLE = "Review"
ICON = ":material/task_alt:"
PATH = "review"
PERMISSION = Permission.DECIDE

SETTLING = timedelta(milliseconds=SETTLING_MS)
LOOK_EVERY = timedelta(seconds=2)

_PAINTED = "review.painted"  # Which look was painted, and when.
_PLAIN = "review.plain"
_EDITING = "review.editing"
_GOING_ON = "Review goes on with the next that waits, which is another item."


class Mode(StrEnum):
    """What the bar at the bottom asks for."""

    CHOOSE = "choose"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"
    ASK = "ask"


_DECIDES = {
    Mode.EDIT: DecisionType.EDIT,
    Mode.REJECT: DecisionType.REJECT,
    Mode.RESPOND: DecisionType.RESPOND,
}
_DOES = {  # What the first button of each bar does.
    Mode.EDIT: "Approve with these changes",
    Mode.REJECT: "Reject",
    Mode.RESPOND: "Send the answer",
    Mode.ASK: "Ask",
}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one item: what the person sees, and under which names its widgets keep what they hold."""

    whole: WholeItem
    sitting: Sitting
    undo: Key | None = None

    @property
    def person(self) -> Person:
        """Return who looks."""
        return self.sitting.person

    @property
    def item(self) -> ReviewItem:
        """Return the item that is looked at."""
        return self.whole.item

    @property
    def shown(self) -> WholeItem:
        """Return the item as it may be read here: masked, until it is revealed."""
        return readable(self.whole, self.sitting.revealed)

    @property
    def draft_key(self) -> str:
        """Return what the names of typed text begin with: a new claim of the same version finds it again."""
        return draft_key(self.item.id, self.item.version)

    @property
    def key(self) -> str:
        """Return what the names of the buttons begin with: a press is for this version under this claim."""
        return f"{self.draft_key}.{self.item.epoch}"

    @property
    def mode(self) -> Mode:
        """Return what the bar asks for."""
        return Mode(st.session_state.get(f"{self.draft_key}.mode", Mode.CHOOSE))

    @property
    def is_opened(self) -> bool:
        """Tell whether no part of the arguments is hidden from the person any more."""
        return bool(st.session_state.get(f"{self.draft_key}.opened")) or not hidden_characters(self.shown)

    def takes(self, decision: DecisionType) -> bool:
        """Tell whether the item can be answered with this."""
        return decision in self.whole.choices

    def typed(self, name: str) -> str:
        """Return what was typed into the text of this name."""
        return str(st.session_state.get(f"{self.draft_key}.{name}") or "").strip()


def draft_key(item_id: UUID | None, version: int) -> str:
    """Return what the names of the texts begin with that are typed on this version of the item."""
    return f"review.{item_id}.{version}"


def page(person: Person) -> None:
    """Show the person the next item, or the one that the address names, and take their decision on it."""
    sitting = sitting_here(person)
    sitting.is_away = False
    _turn(sitting)
    if st.session_state.get(_PLAIN) or st.session_state.get(_EDITING):
        _plain_view(sitting)
    else:
        _focus_view(sitting)


async def _to_start(request: Request) -> Response:
    # Streamlit does not know the default screen by its name: it would say so in a dialog, and open it all the same.
    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/", status_code=307)


def routes() -> list[Route]:
    """Return the route to mount beside the console: the screen's own address leads to where it stands."""
    return [Route(f"/{PATH}", _to_start, methods=["GET"])]


def leave(person: Person) -> None:
    """Give back the item that is held ahead, when the person goes to another screen; the one in view stays theirs."""
    sitting_here(person).leave(person)


def _turn(sitting: Sitting) -> None:
    """Go on with the view that was asked for in the focus view."""
    turned, sitting.turned = sitting.turned, None
    if turned is None:
        return
    if turned.view is View.EARLIER:
        switch_to(history_page, item=str(turned.item))
    key = draft_key(turned.item, turned.version)
    forget_here(key)
    if turned.view is View.EDIT:
        st.session_state[_EDITING] = True
        st.session_state[f"{key}.mode"] = Mode.EDIT
    else:
        st.session_state[_PLAIN] = True


def _focus_view(sitting: Sitting) -> None:
    with sitting.turn_taking:
        _take_what_is_asked_for(sitting)
        is_new = not sitting.has_told
        if is_new and sitting.current is None:
            sitting.current = edited_last(sitting.person)
        told = sitting.told(sitting.person)
        if is_new:
            _go_on_editing(sitting)
    if sitting.turned is not None:
        st.rerun()
    show_refusal()
    show_focus(told, partial(_hear, sitting))


def _go_on_editing(sitting: Sitting) -> None:
    """Open the form that was open when the page was loaded anew; where it would show what is masked, say so."""
    begun = begun_edit(sitting.person, sitting.current) if sitting.current is not None else None
    if begun is None:
        return
    if is_editable(begun, sitting.revealed):
        sitting.edit(begun.item)
    else:
        said("You have begun to edit this item. Reveal what is masked, and Edit goes on with it.", "info")


def _hear(sitting: Sitting, outbox: object) -> None:
    """Answer what the page itself brings of the outbox: its route leads to another server than the page."""
    person = person_here()
    if person is not None and person.id == sitting.person.id and isinstance(outbox, list):
        with sitting.turn_taking:
            hear(sitting, person, outbox)


def _take_what_is_asked_for(sitting: Sitting) -> None:
    """Show the item that the address names, once."""
    asked = st.query_params.pop("item", None)
    if asked is None:
        return
    sitting.is_pausing = False
    try:
        sitting.current = services().desk.claim_item(sitting.person, UUID(asked)).id
    except ReviewError as error:
        said(why_not_shown(sitting.person, UUID(asked), error), "warn")
    except ValueError:
        said(element("span", "Your link names no item. ", _GOING_ON), "warn")


def why_not_shown(person: Person, item_id: UUID, error: ReviewError) -> Markup:
    """Return which item a link led to, why it cannot be decided here, and where to look at it.

    It stands above another item, and must not read as being about that one.
    """
    try:
        item = services().desk.whole(person, item_id).item
    except ReviewError:
        return element("span", f"Your link led to an item that nobody knows here: {item_id}. ", _GOING_ON)
    subject = masked_subject(item.request.impact.subject)
    about = f", concerning {subject}" if subject else ""
    path, where = (history_page.PATH, "History") if item.status.is_final else ("queue", "the Queue")
    is_told = item.status.is_final or item.pending is not None
    return element(
        "span",
        f"Your link led to {item.request.action.name} of {item.agent}{about}. ",
        state_words(item, person, utc_now()) if is_told else str(error),
        " ",
        element("a", f"Look at it in {where}", href=f"/{path}?item={item_id}", target="_self"),
        ". ",
        _GOING_ON,
    )


def _plain_view(sitting: Sitting) -> None:
    person = sitting.person
    _take_what_is_asked_for(sitting)
    whole = None if sitting.is_pausing else _whole_item(sitting)
    is_plain = bool(st.session_state.get(_PLAIN))
    if not is_plain and (whole is None or Look(whole, sitting).mode is not Mode.EDIT):
        st.session_state.pop(_EDITING, None)
        st.rerun()
    show_refusal()
    undo = show_undo(person, sitting.go_back_to)
    if is_plain:
        st.button(
            "Focus view",
            key="review.focus-view",
            type="tertiary",
            icon=":material/center_focus_strong:",
            on_click=_turn_to_focus,
        )
    if whole is not None:
        _show(Look(whole, sitting, undo))
        return
    if undo is not None:
        show_keys("review.keys", [undo], painted=undo.widget)
    if sitting.is_pausing:
        _show_pause(sitting)
    else:
        _show_nothing(sitting)


def _turn_to_focus() -> None:
    st.session_state.pop(_PLAIN, None)


def _whole_item(sitting: Sitting) -> WholeItem | None:
    """Return the item that the person holds from now on, with all that belongs to it."""
    kept = _kept(sitting)
    if kept is not None:
        return kept
    taken = sitting.next(sitting.person)
    if taken is None:
        return None
    sitting.current = taken.id
    return services().desk.whole(sitting.person, taken.id)


def _kept(sitting: Sitting) -> WholeItem | None:
    """Return the item on the screen as long as it is held; when it is not any more, say so."""
    person = sitting.person
    if sitting.current is None:
        return None
    try:
        whole = services().desk.whole(person, sitting.current)
    except ItemNotFoundError as error:
        refused(error)
    else:
        claim = whole.item.claim if whole.item.pending is None else None
        if claim is not None and claim.is_held_by(person.iss, person.sub, utc_now()):
            return whole
        said(why_gone(whole.item), "warn")
    sitting.current = None
    return None


def _show(look: Look) -> None:
    now, shown = utc_now(), look.shown
    item = shown.item
    restore(look.person, item.id, item.version, key=look.draft_key)
    head, hold = st.columns([9, 3], gap="small", vertical_alignment="top")
    with head:
        draw(headline(item, look.person, schema=look.whole.args_schema))
    with hold:
        _show_hold(look)
    if words := purpose_words(item):
        draw(notice(words))
    if asks_to_sign_in(item, look.person, now):
        draw(notice(str(SignInAgainError(item.id)), "warn"), way_to_sign_in_again(look.person, f"/?item={item.id}"))
    draw(facts_view(item, now, approvals=approvals(look.whole)))
    left, right = st.columns([7, 5], gap="medium")
    with left:
        edit = _show_edit(look) if look.mode is Mode.EDIT else None
        if edit is None:
            _show_args(look)
        show_masks(look.whole, look.person)
        draw(*draft_card(item), *repeated_card(shown, now))
        _show_earlier(look)
        draw(reasons_card(item), *guidelines_card(look.whole.queue))
    with right:
        draw(*own_words_card(item))
        if look.whole.is_asking:
            _show_open_thread(look)
        else:
            draw(*notes_card(shown.notes, now))
        draw(context_view(item))
    with st.container(key="decision-bar"):
        BARS[look.mode](look)
    _keep_typed(look)
    if st.session_state.get(_PAINTED, ("", 0.0))[0] != look.key:
        st.session_state[_PAINTED] = (look.key, time.monotonic())


def _keep_typed(look: Look) -> None:
    item = look.item
    keep(look.person, item.id, item.version, key=look.draft_key, edit=lambda: _edited_args(look))


def _show_earlier(look: Look) -> None:
    earlier = look.item.repeats_id
    if earlier is not None and st.button(
        "Open the earlier decision", key=f"{look.key}.earlier", type="tertiary", icon=":material/history:"
    ):
        switch_to(history_page, item=str(earlier))


@st.fragment(run_every=LOOK_EVERY)
def _show_open_thread(look: Look) -> None:
    """Show the thread and look for the answer, for as long as the question is open."""
    if not is_still_here(look.person):
        st.rerun()
    whole = services().desk.whole(look.person, look.item.id)
    if not whole.is_asking:
        st.rerun()
    draw(*notes_card(readable(whole, look.sitting.revealed).notes, utc_now()))
    draw(waiting_for_answer())


def _show_hold(look: Look) -> None:
    claim = look.item.claim
    if claim is None:
        return
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        # What was refused, or held longer, may be pressed again.
        show_keys("review.keys", _keys(look), painted=f"{look.key}.{look.mode}.{claim.until}.{times_heard()}")
        hold = component("hold", '<span class="hold" role="timer"></span>')
        hold(key=f"{look.key}.hold", data={"left_ms": left_ms(claim.until)}, width="content")
        st.button("Hold longer", key=f"{look.key}.extend", type="tertiary", on_click=_extend, args=(look,))


def _show_args(look: Look) -> None:
    draw(args_card(look.whole, shown := look.shown, is_whole=look.is_opened))
    if not look.is_opened:
        st.button(
            f"Show the {hidden_characters(shown):,} hidden characters",
            key=f"{look.key}.open",
            icon=":material/unfold_more:",
            on_click=_open,
            args=(look,),
        )


def _show_edit(look: Look) -> Edited:
    with st.container(key="edit-form", border=True, gap="small"):
        draw(element("h2", "Edit the arguments", class_="so-label"))
        action = shown_action(look.item)
        held = show_form(look.whole.args_schema, action.args, key=f"{look.draft_key}.form")
        if held.args is not None:
            draw(element("h2", "What you change", class_="so-label"), diff_view(action.args, held.args))
    return held


def _bar_choose(look: Look) -> None:
    if look.takes(DecisionType.APPROVE):
        _ask_codes(look, DecisionType.APPROVE)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if look.takes(DecisionType.APPROVE):
            st.button(
                "Approve",
                key=f"{look.key}.approve",
                type="primary",
                icon=":material/check:",
                disabled=not look.is_opened,
                on_click=_approve,
                args=(look,),
            )
        for decision, label, icon, mode in (
            (DecisionType.EDIT, "Edit", ":material/edit:", Mode.EDIT),
            (DecisionType.REJECT, "Reject", ":material/block:", Mode.REJECT),
            (DecisionType.RESPOND, "Respond", ":material/reply:", Mode.RESPOND),
        ):
            if look.takes(decision):
                # A form shows what it changes, so that nobody edits what is masked from them.
                is_veiled = mode is Mode.EDIT and not is_editable(look.whole, look.sitting.revealed)
                _mode_button(look, label, mode, icon=icon, is_disabled=is_veiled)
        if look.takes(DecisionType.APPROVE) and not look.is_opened:
            draw(element("span", "Open the hidden characters to approve.", class_="so-hidden"))
        st.space("stretch")
        if look.item.purpose is Purpose.GATE:
            _mode_button(look, "Ask the agent", Mode.ASK, icon=":material/help:", is_quiet=True)
        st.button("Skip", key=f"{look.key}.skip", type="tertiary", on_click=_skip, args=(look,))
        st.button("Pause", key=f"{look.key}.pause", type="tertiary", on_click=_pause_now, args=(look,))


def _bar_edit(look: Look) -> None:
    action = shown_action(look.item)
    held = edited(look.whole.args_schema, action.args, st.session_state, f"{look.draft_key}.form")
    _ask_codes(look, DecisionType.EDIT)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        _decide_button(look, _edit, icon=":material/check:")
        _mode_button(look, "Back", Mode.CHOOSE)
        draw(element("span", _edit_summary(action, held), class_="so-quiet so-small"))


def _edit_summary(action: Action, held: Edited) -> str:
    if held.args is None or held.errors:
        return f"{len(held.errors)} to correct: {', '.join(map(place_name, held.errors))}"
    changed = changes(action.args, held.args)
    return (
        "Changed: " + ", ".join(place_name(change.place) for change in changed)
        if changed
        else "Nothing is changed yet."
    )


def _bar_reject(look: Look) -> None:
    why, told = st.columns(2, gap="medium")
    with why:
        _ask_codes(look, DecisionType.REJECT)
    with told:
        _ask_text(look, "rejection", "What the agent should know (optional with a reason)")
    with st.container(horizontal=True, gap="small", key="rejecting"):
        _decide_button(look, _reject, icon=":material/block:")
        _mode_button(look, "Back", Mode.CHOOSE)


def _ask_codes(look: Look, decision: DecisionType) -> None:
    codes = look.whole.reasons_offered(decision)
    if not codes:
        return
    key = f"{look.draft_key}.codes"
    # A choice made for another decision may not be among these.
    if st.session_state.get(key):
        st.session_state[key] = [code for code in st.session_state[key] if code in codes]
    is_wrong = decision in (DecisionType.REJECT, DecisionType.EDIT)
    optional = "Why?" if look.whole.reasons_asked(decision) else "Why? (optional)"
    st.pills(
        "Why is it wrong?" if is_wrong else optional,
        codes,
        selection_mode="multi",
        format_func=humanised,
        key=key,
        persist_state="session",
        wrap=True,
    )


def _bar_respond(look: Look) -> None:
    _ask_codes(look, DecisionType.RESPOND)
    _ask_text(look, "answer", "Your answer, which stands in for the action's result")
    with st.container(horizontal=True, gap="small"):
        _decide_button(look, _respond, icon=":material/reply:")
        _mode_button(look, "Back", Mode.CHOOSE)


def _bar_ask(look: Look) -> None:
    _ask_text(look, "question", "Your question; the item stays yours while the agent answers")
    with st.container(horizontal=True, gap="small"):
        _decide_button(look, _ask, icon=":material/help:")
        _mode_button(look, "Back", Mode.CHOOSE)


BARS: dict[Mode, Callable[[Look], None]] = {
    Mode.CHOOSE: _bar_choose,
    Mode.EDIT: _bar_edit,
    Mode.REJECT: _bar_reject,
    Mode.RESPOND: _bar_respond,
    Mode.ASK: _bar_ask,
}


def _keys(look: Look) -> list[Key]:
    """Return the keys of the bar as it stands, each for a button that is there."""
    if look.mode is not Mode.CHOOSE:
        keys = [
            Key("Ctrl+Enter", f"{look.key}.{look.mode}.do", _DOES[look.mode]),
            Key("Escape", f"{look.key}.{look.mode}.to-{Mode.CHOOSE}", "Back"),
        ]
        return keys + _code_keys(look, _DECIDES.get(look.mode))
    keys = [
        Key(key, f"{look.key}.{look.mode}.to-{mode}", does)
        for decision, key, mode, does in (
            (DecisionType.EDIT, "e", Mode.EDIT, "Edit"),
            (DecisionType.REJECT, "r", Mode.REJECT, "Reject"),
            (DecisionType.RESPOND, "w", Mode.RESPOND, "Write the answer yourself"),
        )
        if look.takes(decision)
    ]
    if look.takes(DecisionType.APPROVE) and look.is_opened:
        keys.insert(0, Key("a", f"{look.key}.approve", "Approve"))
    if not look.is_opened:
        keys.append(Key("o", f"{look.key}.open", "Open the hidden characters"))
    if look.item.purpose is Purpose.GATE:
        keys.append(Key("q", f"{look.key}.{look.mode}.to-{Mode.ASK}", "Ask the agent"))
    if look.undo is not None:
        keys.append(look.undo)
    return [
        *keys,
        *_code_keys(look, DecisionType.APPROVE if look.takes(DecisionType.APPROVE) else None),
        Key("s", f"{look.key}.skip", "Skip"),
        Key("h", f"{look.key}.extend", "Hold longer"),
        Key("p", f"{look.key}.pause", "Pause"),
    ]


def _code_keys(look: Look, decision: DecisionType | None) -> list[Key]:
    codes = look.whole.reasons_offered(decision) if decision else ()
    return [
        Key(str(number), f"{look.draft_key}.codes", humanised(code), number - 1)
        for number, code in enumerate(codes, start=1)
    ]


def _ask_text(look: Look, name: str, label: str) -> None:
    st.text_area(label, key=f"{look.draft_key}.{name}", height=90, persist_state="session")


def _mode_button(
    look: Look, label: str, mode: Mode, *, icon: str | None = None, is_quiet: bool = False, is_disabled: bool = False
) -> None:
    st.button(
        label,
        key=f"{look.key}.{look.mode}.to-{mode}",
        icon=icon,
        type="tertiary" if is_quiet else "secondary",
        disabled=is_disabled,
        on_click=_turn_to,
        args=(look, mode),
    )


def _decide_button(look: Look, verb: Callable[[Look], None], *, icon: str) -> None:
    st.button(
        _DOES[look.mode], key=f"{look.key}.{look.mode}.do", type="primary", icon=icon, on_click=verb, args=(look,)
    )


def _turn_to(look: Look, mode: Mode) -> None:
    st.session_state[f"{look.draft_key}.mode"] = mode
    # The run that follows may show the focus view, which keeps nothing of a form that was left.
    _try(look, lambda _: _keep_typed(look))


def _open(look: Look) -> None:
    st.session_state[f"{look.draft_key}.opened"] = True


def _approve(look: Look) -> None:
    if look.is_opened:
        _decide(look, Approve(), reason_codes=_chosen_codes(look, DecisionType.APPROVE))


def _edit(look: Look) -> None:
    action = shown_action(look.item)
    held = edited(look.whole.args_schema, action.args, st.session_state, f"{look.draft_key}.form")
    if held.args is None or not held.is_fitting:
        said("The changes do not fit yet; what is wrong stands at the fields.", "bad")
    elif not changes(action.args, held.args):
        said("Nothing is changed yet. Change something, or go back and approve.", "warn")
    else:
        _decide(
            look,
            Edit(edited_action=Action(name=action.name, args=held.args)),
            reason_codes=_chosen_codes(look, DecisionType.EDIT),
        )


def _edited_args(look: Look) -> dict[str, JsonValue] | None:
    """Return the arguments as the form holds them; None where it was not opened, or holds nothing readable or new."""
    key = f"{look.draft_key}.form"
    if f"{key}.view" not in st.session_state:
        return None
    args = shown_action(look.item).args
    held = edited(look.whole.args_schema, args, st.session_state, key).args
    return held if held is not None and changes(args, held) else None


def _reject(look: Look) -> None:
    codes = _chosen_codes(look, DecisionType.REJECT)
    _decide(look, Reject(message=look.typed("rejection") or None), reason_codes=codes)


def _chosen_codes(look: Look, decision: DecisionType) -> tuple[ReasonCode, ...]:
    chosen = st.session_state.get(f"{look.draft_key}.codes") or ()
    return tuple(code for code in look.whole.reasons_offered(decision) if code in chosen)


def _respond(look: Look) -> None:
    text = look.typed("answer")
    if text:
        _decide(look, Respond(message=text), reason_codes=_chosen_codes(look, DecisionType.RESPOND))
    else:
        said("Write an answer first.", "warn")


def _decide(look: Look, decision: Decision, *, reason_codes: tuple[ReasonCode, ...] = ()) -> None:
    """Settle what was shown, and only that; a refusal is told at the top of the run that follows."""
    looked_for = _looked_for(look)
    if looked_for < SETTLING:
        said("That press came as the item was still appearing, so nothing was decided.", "warn")
        return

    def decide(person: Person) -> None:
        seen = Seen.of(look.item, dwell_ms=int(looked_for.total_seconds() * 1000))
        done = services().desk.decide(look.item.id, decision, person, seen=seen, reason_codes=reason_codes)
        _leave(look)
        if done.pending is not None:
            return  # What was typed is kept for who undoes it; `show_undo` tells of it.
        said(what_was_done(done, DecisionType(decision.type)))
        forget_form(look.draft_key)
        if not done.status.is_final:
            look.sitting.pass_over(done.id)

    _try(look, decide)


def _looked_for(look: Look) -> timedelta:
    key, at = st.session_state.get(_PAINTED, ("", 0.0))
    return timedelta(seconds=time.monotonic() - at) if key == look.key else timedelta(0)


def _try(look: Look, act: Callable[[Person], None]) -> None:
    act_as(look.person, act)


def _leave(look: Look) -> None:
    """Go on to the next item; a late press for an item that has left the screen moves nothing."""
    if look.sitting.current == look.item.id:
        look.sitting.current = None


def _ask(look: Look) -> None:
    text = look.typed("question")
    if not text:
        said("Write a question first.", "warn")
        return

    def ask(person: Person) -> None:
        services().desk.ask(person, look.item.id, text)
        st.session_state.pop(f"{look.draft_key}.question")
        _turn_to(look, Mode.CHOOSE)
        said("Asked. The answer appears with the notes.")

    _try(look, ask)


def _extend(look: Look) -> None:
    _try(look, lambda person: _extended(look, person))


def _extended(look: Look, person: Person) -> None:
    services().desk.extend(person, look.item.id, epoch=look.item.epoch)


def _skip(look: Look) -> None:
    def skip(person: Person) -> None:
        services().desk.release(person, look.item.id, epoch=look.item.epoch)
        look.sitting.pass_over(look.item.id)
        _leave(look)

    _try(look, skip)


def _pause_now(look: Look) -> None:
    _try(look, look.sitting.pause)


def _show_pause(sitting: Sitting) -> None:
    draw(calm(sitting.person, *PAUSING))
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Take the next item", type="primary", key="review.go-on", on_click=sitting.go_on)


def _show_nothing(sitting: Sitting) -> None:
    person = sitting.person
    known = waiting_ids(person)
    if known and services().desk.claim(person) is not None:
        st.rerun()  # It came after the page had asked; now it is held.
    draw(calm(person, *NOTHING))
    _watch(person, known | _held_ids(person), time.monotonic())


@st.fragment(run_every=LOOK_EVERY)
def _watch(person: Person, known: frozenset[UUID], drawn_at: float) -> None:
    if was_just_drawn(drawn_at):
        return
    # What already waits was not for this person; only something new is worth a claim, or what another tab took.
    if not is_still_here(person) or not waiting_ids(person) | _held_ids(person) <= known:
        st.rerun()


def _held_ids(person: Person) -> frozenset[UUID]:
    return frozenset(item.id for item in services().desk.held(person))
