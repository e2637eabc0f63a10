"""The Queue screen: what waits, how urgent it is, who holds what; any of it can be taken, given away or put aside."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import streamlit as st

from agents.protocol import Status
from pages import moves, review_page, together
from pages.presence import act_as
from pages.rendering import draw, facts, money, notice, show_refusal, span
from pages.services import services
from pages.tables import (
    PAGE_SIZE,
    Cell,
    CellTone,
    Column,
    Line,
    ask_choice,
    ask_one,
    count_words,
    page_of,
    show_empty,
    show_list,
    show_pager,
    switch_to,
)
from pages.views import Chosen, follow_view, offer_views
from review.board import DUE_SOON, QueueStanding, Standing
from review.bulk import Kind
from review.items import DEFAULT_PRIORITY, Aside, ItemFilter, ItemSummary, Order, Purpose
from review.masking import masked_subject
from review.people import Permission, Person
from review.policy import PolicyDocument
from review.queues import queue_names, workable
from review.search import Snippet

TITLE = "Queue"
ICON = ":material/inbox:"
PATH = "queue"
PERMISSION = Permission.SEE_ITEMS

KEY = "queue"
LIKELY = 0.5
LOOK_EVERY = timedelta(seconds=5)
SETS_SHOWN = 5
UNDECIDED: tuple[Status | Aside, ...] = (Status.WAITING, Status.CLAIMED, *Aside)

_STATUSES: dict[Status | Aside, str] = {
    Status.WAITING: "Waiting",
    Status.CLAIMED: "Claimed",
    Aside.ASSIGNED: "Assigned",
    Aside.SNOOZED: "Aside until later",
}
_STATUS_OF = {status.value: status for status in _STATUSES}
_QUEUE_COLUMNS = (
    Column("queue", "Queue"),
    Column("waiting", "Waiting", "number"),
    Column("own", "Yours", "number"),
    Column("soon", "Due soon", "number"),
    Column("breached", "Overdue", "number"),
    Column("oldest", "Oldest", "ago"),
)
_PURPOSES = {Purpose.GATE: "An agent waits", Purpose.AUDIT: "Ran already", Purpose.SHADOW: "Observed"}
_ORDERS = {Order.URGENT: "Most urgent", Order.OLDEST: "Oldest", Order.NEWEST: "Newest"}
_WIDGETS = {
    "text": Chosen(""),
    "order": Chosen(Order.URGENT, Order),
    "status": Chosen(None, lambda value: _STATUS_OF[value]),
    "agent": Chosen(None),
    "tool": Chosen(None),
    "queue": Chosen(None),
    "purpose": Chosen(None, Purpose),
}
_COLUMNS = (
    Column("action", "Action"),
    Column("subject", "Concerns"),
    Column("amount", "Amount", "number"),
    Column("confidence", "Confidence", "number"),
    Column("queue", "Queue"),
    Column("submitted", "Submitted", "ago"),
    Column("due", "Due", "due"),
    Column("held", "Held by", "left"),
)


_FOUND_COLUMNS = (_COLUMNS[0], Column("found", "Found in"), *_COLUMNS[4:])
_ALIKE_COLUMNS = (Column("action", "Alike"), Column("queue", "Queue"), Column("count", "In view", "number"))


def page(person: Person) -> None:
    """Show the items that nobody has decided yet, and let one be taken, given away or put aside, or several decided."""
    _go_to_the_taken()
    if together.is_open():
        together.show_together(person)
        return
    st.title(TITLE, anchor=False)
    show_refusal()
    _show_standing(person)
    policy = services().policies.in_force(person.workspace).document
    where, order = _ask_filter(person, policy)
    found = page_of(
        KEY,
        (where, order),
        lambda cursor: services().desk.items(person, where, order=order, limit=PAGE_SIZE, cursor=cursor),
    )
    mine = workable(policy, person)
    if where.queue is not None and mine is not None and where.queue not in mine:
        draw(
            notice(f"You can look at the queue {where.queue}, and take nothing from it: it asks for training.", "warn")
        )
    moves.show_opened(person, _take)
    if not found.rows:
        _show_nothing(where, policy)
        return
    _show_alike(person, found.rows, mine)
    now = datetime.now(UTC)
    places = services().search.snippets(person, [item.id for item in found.rows], where.words) if where.words else {}
    show_list(
        f"{KEY}.list",
        _FOUND_COLUMNS if where.words else _COLUMNS,
        [line_of(item, person, now, mine=mine, found=places.get(item.id)) for item in found.rows],
        caption="Items that nobody has decided yet",
        on_press=lambda item_id: act_as(person, lambda here: _take(here, UUID(item_id))),
        on_more=moves.open_item,
    )
    show_pager(KEY, found)


def line_of(
    item: ItemSummary,
    person: Person,
    now: datetime,
    *,
    mine: Collection[str] | None = None,
    found: Snippet | None = None,
) -> Line:
    """Return the item's row; it can be pressed where the person may take the item.

    ``mine`` are the queues that they may work in, None where that is all of them; ``found`` is where a search found it.
    """
    is_held = item.claim is not None and now < item.claim.until
    is_own = item.claim is not None and item.claim.is_held_by(person.iss, person.sub, now)
    given = item.assignment if item.aside is Aside.ASSIGNED else None
    is_anothers = given is not None and not given.is_for(person.iss, person.sub)
    is_free = not is_held and not is_anothers and (mine is None or item.queue in mine)
    return Line(
        id=str(item.id),
        name=f"{item.tool} of {item.agent}",
        act=("Continue" if is_own else "Take") if person.may(Permission.DECIDE) and (is_own or is_free) else "",
        more="More",
        is_current=is_own,
        cells={
            "action": Cell(item.tool, under=item.agent, tone="strong"),
            "subject": Cell(masked_subject(item.subject)),
            "amount": Cell(money(item.amount, item.currency) if item.amount else ""),
            "confidence": _confidence(item.confidence),
            "queue": Cell(item.queue, under=_standing(item)),
            "submitted": Cell(at=item.submitted_at),
            "due": Cell(at=item.due_at),
            "held": _holder(item),
            "found": Cell(snippet=found),
        },
    )


def _holder(item: ItemSummary) -> Cell:
    """Return who has the item: by a claim, by an assignment, or nobody until it wakes."""
    if item.claim is not None:
        return Cell("", under=item.claim.name, at=item.claim.until)
    if item.aside is Aside.SNOOZED:
        return Cell("", under="aside until then", at=item.snoozed_until)
    if item.aside is Aside.ASSIGNED and item.assignment is not None:
        return Cell("", under=f"assigned to {item.assignment.name}", at=item.assignment.until)
    return Cell()


def queue_line(standing: QueueStanding) -> Line:
    """Return the row of a queue: how much waits in it, how much of that is overdue, and since when the oldest waits."""
    return Line(
        id=standing.queue.name,
        name=standing.queue.name,
        act="Show",
        cells={
            "queue": Cell(standing.queue.name, under="" if standing.is_open else "asks for training", tone="strong"),
            "waiting": Cell(count_words(standing.waiting)),
            "own": _figure(standing.own, "accent"),
            "soon": _figure(standing.due_soon, "warn"),
            "breached": _figure(standing.breached, "bad"),
            "oldest": Cell(at=standing.oldest) if standing.oldest else Cell("–", tone="quiet"),
        },
    )


def _figure(count: int, tone: CellTone) -> Cell:
    return Cell(count_words(count), tone=tone) if count else Cell()


@st.fragment(run_every=LOOK_EVERY)
def _show_standing(person: Person) -> None:
    """Show how the queues stand, and keep it so."""
    if st.session_state.pop(f"{KEY}.chosen", False):
        st.rerun()
    standing = services().board.standing(person)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        draw(facts(_counts(standing)))
        if st.button("Refresh", icon=":material/refresh:", key=f"{KEY}.refresh", type="tertiary"):
            st.rerun()
    if len(standing.queues) > 1:
        lines = [queue_line(each) for each in standing.queues]
        show_list(f"{KEY}.queues", _QUEUE_COLUMNS, lines, caption="The queues", on_press=_choose_queue)


def _counts(standing: Standing) -> list[tuple[str, str]]:
    rare = {
        "Ran already, to look at": standing.ran,
        "Observed, to look at": standing.observed,
        "Nobody knows whether it ran": standing.unknown,
    }
    return [
        ("Waiting", count_words(standing.waiting)),
        ("Yours", count_words(sum(each.own for each in standing.queues))),
        (f"Due within {span(DUE_SOON)}", count_words(sum(each.due_soon for each in standing.queues))),
        ("Overdue", count_words(standing.breached)),
        ("Held by a reviewer", count_words(standing.held)),
        ("Assigned", count_words(standing.assigned)),
        ("Aside until later", count_words(standing.snoozed)),
        *((label, count_words(count)) for label, count in rare.items() if count),
    ]


def _choose_queue(name: str) -> None:
    st.session_state[f"{KEY}.queue"] = name
    st.session_state[f"{KEY}.chosen"] = True  # All of the page is about it, not the counts alone.


def kinds_in_view(rows: Sequence[ItemSummary], mine: Collection[str] | None) -> list[tuple[Kind, int]]:
    """Return of what several wait in view that may be alike, the most first; only calls themselves tell if they are."""
    waiting = Counter(
        Kind(item.agent, item.tool, item.queue)
        for item in rows
        if item.status is Status.WAITING and item.aside is None and item.purpose is Purpose.GATE
        if mine is None or item.queue in mine
    )
    return [(kind, count) for kind, count in waiting.most_common(SETS_SHOWN) if count > 1]


def _show_alike(person: Person, rows: Sequence[ItemSummary], mine: Collection[str] | None) -> None:
    kinds = kinds_in_view(rows, mine) if person.may(Permission.DECIDE) else []
    if not kinds:
        return
    lines = [
        Line(
            id=str(number),
            name=f"{kind.tool} of {kind.agent}",
            act="Decide together",
            cells={
                "action": Cell(kind.tool, under=kind.agent, tone="strong"),
                "queue": Cell(kind.queue),
                "count": Cell(f"{count}"),
            },
        )
        for number, (kind, count) in enumerate(kinds)
    ]
    with st.expander("Calls that may be alike, to be decided together", icon=":material/stacks:"):
        show_list(
            f"{KEY}.alike",
            _ALIKE_COLUMNS,
            lines,
            caption="Calls that may be alike",
            on_press=lambda number: act_as(person, lambda here: together.open_alike(here, kinds[int(number)][0])),
        )


def _confidence(confidence: float | None) -> Cell:
    if confidence is None:
        return Cell("not told", tone="quiet")
    return Cell(f"{confidence:.0%}", tone="warn" if confidence < LIKELY else "")


def _standing(item: ItemSummary) -> str:
    if item.purpose is Purpose.AUDIT:
        return "ran already"
    if item.purpose is Purpose.SHADOW:
        return "observed"
    urgent = f"priority {item.priority}" if item.priority < DEFAULT_PRIORITY else ""
    return ", ".join(part for part in ("overdue" if item.breached_at else "", urgent) if part)


def _ask_filter(person: Person, policy: PolicyDocument) -> tuple[ItemFilter, Order]:
    follow_view(person, KEY, _WIDGETS)
    _follow_the_address()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search",
            placeholder="Words in it",
            icon=":material/search:",
            key=f"{KEY}.text",
            persist_state="session",
            width=200,
        )
        order = st.selectbox(
            "Sorted by",
            list(_ORDERS),
            format_func=lambda value: _ORDERS[value],
            key=f"{KEY}.order",
            persist_state="session",
            width=150,
        )
        status = ask_one("Status", _STATUSES, key=f"{KEY}.status", every="All")
        agent = ask_choice("Agent", (tool.agent for tool in policy.tools), key=f"{KEY}.agent")
        tool = ask_choice("Tool", (tool.tool for tool in policy.tools), key=f"{KEY}.tool")
        queue = ask_choice("Queue", queue_names(policy), key=f"{KEY}.queue")
        purpose = ask_one("Purpose", _PURPOSES, key=f"{KEY}.purpose")
        offer_views(person, KEY, _WIDGETS)
    _tell_the_address(queue)
    where = ItemFilter(
        statuses=(status,) if status else UNDECIDED,
        purpose=purpose,
        agent=agent,
        tool=tool,
        queue=queue,
        words=text.strip() or None,
    )
    return where, order


def _follow_the_address() -> None:
    """Choose the queue that the address names, once: what is chosen later on the page stands in the address, too."""
    named = st.query_params.get("queue")
    if named and named != st.session_state.get(f"{KEY}.told"):
        st.session_state[f"{KEY}.queue"] = named


def _tell_the_address(queue: str | None) -> None:
    st.session_state[f"{KEY}.told"] = queue
    if queue:
        st.query_params["queue"] = queue
    else:
        st.query_params.pop("queue", None)


def _show_nothing(where: ItemFilter, policy: PolicyDocument) -> None:
    if where.queue is not None and where.queue not in queue_names(policy):
        show_empty("Nothing waits there", f"The policy names no queue “{where.queue}”; the link to it may be old.")
    elif where == ItemFilter(statuses=UNDECIDED):
        show_empty("Nothing is waiting", "Actions that need a person appear here as agents submit them.")
    else:
        show_empty("Nothing matches", "Take a filter away, or look for other words.")


def _take(person: Person, item_id: UUID) -> None:
    services().desk.claim_item(person, item_id)
    st.session_state[f"{KEY}.taken"] = str(item_id)


def _go_to_the_taken() -> None:
    # A callback may not switch pages itself; the run that follows it does.
    taken = st.session_state.pop(f"{KEY}.taken", None)
    if taken is not None:
        switch_to(review_page, item=taken)
