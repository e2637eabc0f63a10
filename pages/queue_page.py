"""The Queue screen: what waits, how urgent it is, who holds what; any of it can be taken from here."""

from datetime import UTC, datetime
from uuid import UUID

import streamlit as st

from agents.protocol import Execution, Status
from pages import review_page
from pages.presence import act_as
from pages.rendering import draw, facts, money, show_refusal
from pages.services import services
from pages.tables import (
    PAGE_SIZE,
    Cell,
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
from review.board import QueueStanding
from review.items import DEFAULT_PRIORITY, Aside, ItemFilter, ItemSummary, Order, Purpose
from review.people import Permission, Person

TITLE = "Queue"
ICON = ":material/inbox:"
PATH = "queue"
PERMISSION = Permission.SEE_ITEMS

KEY = "queue"
LIKELY = 0.5
UNDECIDED: tuple[Status | Aside, ...] = (Status.WAITING, Status.CLAIMED, *Aside)

_STATUSES: dict[Status | Aside, str] = {
    Status.WAITING: "Waiting",
    Status.CLAIMED: "Claimed",
    Aside.ASSIGNED: "Assigned",
    Aside.SNOOZED: "Asleep",
}
_QUEUE_COLUMNS = (
    Column("queue", "Queue"),
    Column("waiting", "Waiting", "number"),
    Column("breached", "Overdue", "number"),
    Column("oldest", "Oldest", "ago"),
)
_PURPOSES = {Purpose.GATE: "An agent waits", Purpose.AUDIT: "Ran already", Purpose.SHADOW: "Observed"}
_ORDERS = {Order.URGENT: "Most urgent", Order.OLDEST: "Oldest", Order.NEWEST: "Newest"}
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


def page(person: Person) -> None:
    """Show the items that nobody has decided yet, and let one be taken."""
    _go_to_the_taken()
    st.title(TITLE)
    show_refusal()
    _show_counts(person)
    _show_queues(person)
    where, order = _ask_filter(person)
    found = page_of(
        KEY,
        (where, order),
        lambda cursor: services().desk.items(person, where, order=order, limit=PAGE_SIZE, cursor=cursor),
    )
    if not found.rows:
        _show_nothing(where)
        return
    now = datetime.now(UTC)
    show_list(
        f"{KEY}.list",
        _COLUMNS,
        [line_of(item, person, now) for item in found.rows],
        caption="Items that nobody has decided yet",
        on_press=lambda item_id: _take(person, UUID(item_id)),
    )
    show_pager(KEY, found)


def line_of(item: ItemSummary, person: Person, now: datetime) -> Line:
    """Return the item's row; it can be pressed where the person may take the item."""
    is_held = item.claimed_until is not None and now < item.claimed_until
    is_own = is_held and item.claimed_by == person.name
    act = "Continue" if is_own else "Take"
    return Line(
        id=str(item.id),
        name=f"{item.tool} of {item.agent}",
        act=act if person.may(Permission.DECIDE) and (is_own or not is_held) else "",
        is_current=is_own,
        cells={
            "action": Cell(item.tool, under=item.agent, tone="strong"),
            "subject": Cell(item.subject or ""),
            "amount": Cell(money(item.amount, item.currency) if item.amount else ""),
            "confidence": _confidence(item.confidence),
            "queue": Cell(item.queue, under=_standing(item)),
            "submitted": Cell(at=item.submitted_at),
            "due": Cell(at=item.due_at),
            "held": _holder(item),
        },
    )


def _holder(item: ItemSummary) -> Cell:
    """Return who has the item: by a claim, by an assignment, or nobody until it wakes."""
    if item.claimed_by:
        return Cell("", under=item.claimed_by, at=item.claimed_until)
    if item.aside is Aside.SNOOZED:
        return Cell("", under="asleep", at=item.snoozed_until)
    if item.aside is Aside.ASSIGNED:
        return Cell("", under=f"waits for {item.assigned_to}", at=item.assigned_until)
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
            "breached": Cell(count_words(standing.breached), tone="bad" if standing.breached else "quiet"),
            "oldest": Cell(at=standing.oldest) if standing.oldest else Cell("–", tone="quiet"),
        },
    )


def _show_queues(person: Person) -> None:
    lines = [queue_line(standing) for standing in services().board.standing(person).queues]
    if len(lines) > 1:
        show_list(f"{KEY}.queues", _QUEUE_COLUMNS, lines, caption="The queues", on_press=_choose_queue)


def _choose_queue(name: str) -> None:
    st.session_state[f"{KEY}.queue"] = name


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


def _show_counts(person: Person) -> None:
    desk = services().desk
    counts = {
        "Waiting": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.GATE),
        "Held by a reviewer": ItemFilter(statuses=(Status.CLAIMED,)),
        "Ran already, to look at": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.AUDIT),
        "Nobody knows whether it ran": ItemFilter(execution=Execution.UNKNOWN),
        "Observed, to look at": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.SHADOW),
    }
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        draw(facts([(label, count_words(desk.count(person, where))) for label, where in counts.items()]))
        st.button("Refresh", icon=":material/refresh:", key=f"{KEY}.refresh", type="tertiary")


def _ask_filter(person: Person) -> tuple[ItemFilter, Order]:
    policy = services().policies.in_force(person.workspace).document
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = st.selectbox(
            "Sorted by",
            list(_ORDERS),
            format_func=lambda value: _ORDERS[value],
            key=f"{KEY}.order",
            persist_state="session",
            width=165,
        )
        status = ask_one("Status", _STATUSES, key=f"{KEY}.status", every="All")
        agent = ask_choice("Agent", (tool.agent for tool in policy.tools), key=f"{KEY}.agent")
        tool = ask_choice("Tool", (tool.tool for tool in policy.tools), key=f"{KEY}.tool")
        ruled = [rule.queue for rule in policy.rules] + [tool.queue for tool in policy.tools]
        queues = [policy.default_queue, *(queue for queue in ruled if queue)]
        queue = ask_choice("Queue", queues, key=f"{KEY}.queue")
        purpose = ask_one("Purpose", _PURPOSES, key=f"{KEY}.purpose")
    where = ItemFilter(
        statuses=(status,) if status else UNDECIDED, purpose=purpose, agent=agent, tool=tool, queue=queue
    )
    return where, order


def _show_nothing(where: ItemFilter) -> None:
    if where == ItemFilter(statuses=UNDECIDED):
        show_empty("Nothing is waiting", "Actions that need a person appear here as agents submit them.")
    else:
        show_empty("Nothing matches", "Take a filter away to see more.")


def _take(person: Person, item_id: UUID) -> None:
    def take(here: Person) -> None:
        services().desk.claim_item(here, item_id)
        st.session_state[f"{KEY}.taken"] = str(item_id)

    act_as(person, take)


def _go_to_the_taken() -> None:
    # A callback may not switch pages itself; the run that follows it does.
    taken = st.session_state.pop(f"{KEY}.taken", None)
    if taken is not None:
        switch_to(review_page, item=taken)
