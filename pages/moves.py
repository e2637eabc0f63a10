"""One item of the queue before it is decided: how it stands, and giving it to somebody, or letting it sleep."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID

import streamlit as st

from agents.protocol import Status
from pages import history_page
from pages.item_view import headline, readable, revealed_here
from pages.presence import act_as
from pages.rendering import draw, element, moment, notice, said, show_refusal, visible
from pages.services import services
from pages.tables import here_zone, switch_to
from review.board import LONGEST_SLEEP, MAX_NOTE_CHARS
from review.clock import utc_now
from review.errors import ItemNotFoundError
from review.items import Aside, ReviewItem
from review.people import Permission, Person

_OPENED = "queue.opened"  # The id of the item whose dialog is open.
_DONE = "queue.moved"  # Something was done in the dialog, so that it closes.
_MORNING = time(9, 0)
_NAPS = (
    ("30 min", timedelta(minutes=30)),
    ("1 h", timedelta(hours=1)),
    ("3 h", timedelta(hours=3)),
)


def open_item(item_id: str) -> None:
    """Open the item from the next drawing of the page on, until it is dismissed."""
    st.session_state[_OPENED] = item_id


def show_opened(person: Person, take: Callable[[Person, UUID], None]) -> None:
    """Open what can be done with the item that was asked for, by a press or by the address; ``take`` takes it."""
    named = st.query_params.pop("item", None)
    if named is not None:
        open_item(named)
    asked = st.session_state.get(_OPENED)
    if asked is None:
        return
    try:
        item_id = UUID(asked)
    except ValueError:
        _close()
        draw(notice("The address names no item.", "bad"))
        return
    try:
        services().desk.whole(person, item_id)
    except ItemNotFoundError as error:
        _close()
        draw(notice(str(error), "bad"))
        return
    _dialog(person, item_id, take)


def state_words(item: ReviewItem, person: Person, now: datetime) -> str:
    """Return how an item stands, in a sentence: who has it, for whom it waits, until when it sleeps, how it ended."""
    if item.status.is_final:
        endings = {
            Status.SETTLED: f"It was settled by {item.settled_by}, {moment(item.settled_at)}.",
            Status.EXPIRED: f"It expired before anybody decided it, {moment(item.settled_at)}.",
            Status.CANCELLED: f"It was withdrawn by {item.settled_by}, {moment(item.settled_at)}.",
        }
        return endings[item.status]
    if item.pending is not None:
        return f"{item.pending.name} has decided it; it counts in a moment, unless they take that back."
    if item.claim is not None and now < item.claim.until:
        is_own = item.claim.is_held_by(person.iss, person.sub, now)
        return f"You hold it, until {moment(item.claim.until)}." if is_own else f"{item.claim.name} is looking at it."
    if item.aside is Aside.SNOOZED:
        return f"It is aside until {moment(item.snoozed_until)}."
    if item.aside is Aside.ASSIGNED and item.assignment is not None:
        given = item.assignment
        whom = "you" if given.is_for(person.iss, person.sub) else given.name
        return f"It waits for {whom} until {moment(given.until)}, assigned by {given.by}."
    return f"It waits for everybody in the queue {item.queue}."


def may_take(item: ReviewItem, person: Person, now: datetime) -> bool:
    """Tell whether taking the item is worth a press; whether it succeeds, the desk says."""
    if not person.may(Permission.DECIDE) or item.status.is_final or item.pending is not None:
        return False
    if item.claim is not None and now < item.claim.until:
        return item.claim.is_held_by(person.iss, person.sub, now)
    return item.aside is not Aside.ASSIGNED or item.assignment is None or item.assignment.is_for(person.iss, person.sub)


def naps(now: datetime, zone: tzinfo, expires_at: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield the moments until which an item can be put aside by one press, each with its name in the reader's time."""
    tomorrow = datetime.combine(now.astimezone(zone).date() + timedelta(days=1), _MORNING, zone)
    for name, until in [*((name, now + length) for name, length in _NAPS), ("Tomorrow", tomorrow)]:
        if until < min(expires_at, now + LONGEST_SLEEP):
            yield f"{name} ({until.astimezone(zone):%H:%M})", until.astimezone(UTC)


def _close() -> None:
    st.session_state.pop(_OPENED, None)


# It is open until it is dismissed or its press is done: a run of the whole page meanwhile draws it again.
@st.dialog("This item", width="large", on_dismiss=_close)
def _dialog(person: Person, item_id: UUID, take: Callable[[Person, UUID], None]) -> None:
    if st.session_state.pop(_DONE, False):
        _close()
        st.rerun()
    show_refusal()
    whole = services().desk.whole(person, item_id)
    item, now = whole.item, utc_now()
    shown = readable(whole, revealed_here()).item
    draw(headline(shown, person))
    draw(notice(state_words(item, person, now)))
    if shown.assignment is not None and shown.assignment.note:
        by = element("p", f"{shown.assignment.by} says to whoever has it:", class_="so-said-by")
        draw(by, element("p", shown.assignment.note, class_="so-plain"))
    _offer_look(person, item, take, now)
    if not item.status.is_final and item.pending is None:
        _offer_somebody(person, item, now)
        _offer_sleep(person, item, now)
    draw(element("p", "Link to this item", class_="so-label"))
    st.code(_link(item.id), language=None)


def _link(item_id: UUID) -> str:
    here = urlsplit(st.context.url or services().settings.issuer)
    return f"{here.scheme}://{here.netloc}/queue?item={item_id}"


def _offer_look(person: Person, item: ReviewItem, take: Callable[[Person, UUID], None], now: datetime) -> None:
    with st.container(horizontal=True, gap="small"):
        if may_take(item, person, now):
            st.button(
                "Continue" if item.claim and now < item.claim.until else "Take it",
                key=f"queue.move.take.{item.id}.{item.epoch}",
                type="primary",
                icon=":material/task_alt:",
                on_click=_moving(person, lambda here: take(here, item.id)),
            )
        if item.aside is not None and _may_put_back(item, person):
            st.button(
                "Wake it" if item.aside is Aside.SNOOZED else "Take back for everybody",
                key=f"queue.move.back.{item.id}.{item.epoch}",
                icon=":material/undo:",
                on_click=_moving(person, lambda here: _put_back(here, item)),
            )
        if item.status.is_final and st.button("Open it in History", icon=":material/history:"):
            _close()
            switch_to(history_page, item=str(item.id))


def _may_put_back(item: ReviewItem, person: Person) -> bool:
    if item.aside is Aside.SNOOZED:
        return person.may(Permission.DECIDE) or person.may(Permission.ASSIGN)
    is_theirs = item.assignment is None or item.assignment.is_for(person.iss, person.sub)
    return person.may(Permission.ASSIGN) or (is_theirs and person.may(Permission.DECIDE))


def _offer_somebody(person: Person, item: ReviewItem, now: datetime) -> None:
    is_held = item.claim is not None and now < item.claim.until
    is_own = item.claim is not None and item.claim.is_held_by(person.iss, person.sub, now)
    if not (is_own and person.may(Permission.DECIDE)) and not (not is_held and person.may(Permission.ASSIGN)):
        return
    colleagues = [each for each in services().board.colleagues(person) if not (is_own and each.id == person.id)]
    key = f"queue.move.{item.id}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        to = st.selectbox(
            "Hand over to" if is_own else "Assign to",
            colleagues,
            index=None,
            placeholder="Choose a colleague",
            format_func=lambda each: _name_among(each, colleagues),
            key=f"{key}.to",
            width=240,
        )
        note = st.text_input(
            "What they should know",
            key=f"{key}.note",
            max_chars=MAX_NOTE_CHARS,
            placeholder="Read by reviewers alone",
            width=300,
        )
        st.button(
            "Hand over" if is_own else "Assign",
            key=f"{key}.give.{item.epoch}",
            icon=":material/person_add:",
            disabled=to is None,
            on_click=_moving(person, lambda here: _give(here, item, to=to, note=note, is_own=is_own)),
        )


def _name_among(person: Person, everybody: Sequence[Person]) -> str:
    is_alone = sum(each.name == person.name for each in everybody) == 1
    return visible(person.name if is_alone else f"{person.name} ({person.sub})")


def _give(person: Person, item: ReviewItem, *, to: Person | None, note: str, is_own: bool) -> None:
    if to is None:
        return
    if is_own:
        services().board.hand_over(person, item.id, epoch=item.epoch, to=to, note=note)
    else:
        services().board.assign(person, item.id, to=to, note=note)
    said(f"It waits for {to.name} now.")


def _offer_sleep(person: Person, item: ReviewItem, now: datetime) -> None:
    is_others = (
        item.claim is not None and now < item.claim.until and not item.claim.is_held_by(person.iss, person.sub, now)
    )
    is_kept = item.aside is Aside.ASSIGNED and not _may_put_back(item, person)
    if is_others or is_kept or not (person.may(Permission.DECIDE) or person.may(Permission.ASSIGN)):
        return
    zone = here_zone()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        draw(element("span", "Put aside for", class_="so-quiet so-small"), width="content")
        for number, (name, until) in enumerate(naps(now, zone, item.expires_at)):
            st.button(
                name,
                key=f"queue.move.nap.{number}.{item.id}.{item.epoch}",
                on_click=_moving(person, partial(_snooze, item=item, until=until)),
            )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.datetime_input(
            "Put aside until", value=None, key=f"queue.move.{item.id}.until", format="YYYY-MM-DD", width=240
        )
        at = chosen.replace(tzinfo=zone).astimezone(UTC) if chosen else now
        st.button(
            "Put aside",
            key=f"queue.move.aside.{item.id}.{item.epoch}",
            icon=":material/snooze:",
            disabled=chosen is None,
            on_click=_moving(person, partial(_snooze, item=item, until=at)),
        )
        draw(element("span", f"It expires {moment(item.expires_at)} all the same.", class_="so-quiet so-small"))


def _snooze(person: Person, *, item: ReviewItem, until: datetime) -> None:
    services().board.snooze(person, item.id, until=until)
    said(f"It is aside until {moment(until)}.")


def _put_back(person: Person, item: ReviewItem) -> None:
    services().board.put_back(person, item.id)
    said("It is there for everybody again.")


def _moving(person: Person, act: Callable[[Person], None]) -> Callable[[], None]:
    """Return what a press does; the dialog closes only where it was done, and else says why it was not."""

    def do(here: Person) -> None:
        act(here)
        st.session_state[_DONE] = True

    return lambda: act_as(person, do)
