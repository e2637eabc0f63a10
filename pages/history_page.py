"""The History screen: what was decided, by whom, and what came of it; each item can be opened whole."""

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from agents.protocol import DecisionType, Edit, Execution, Outcome, OutcomeStatus, Reject, Respond, Status
from pages.downloads import decisions_address
from pages.item_view import readable, revealed_here, show_head, show_item
from pages.presence import act_as
from pages.rendering import (
    Markup,
    diff_view,
    draw,
    element,
    facts,
    fold,
    humanised,
    json_view,
    moment,
    money,
    notice,
    plain,
    said,
    show_refusal,
    value_view,
)
from pages.services import services
from pages.stories import EVENT_COLUMNS, story_lines
from pages.tables import (
    PAGE_SIZE,
    Cell,
    CellTone,
    Column,
    Line,
    ask_choice,
    ask_days,
    ask_one,
    count_words,
    page_of,
    rows_words,
    show_empty,
    show_list,
    show_pager,
)
from pages.views import Chosen, days, follow_view, offer_views
from review.audit import AuditEvent, EventFilter
from review.desk import WholeItem
from review.items import (
    ERASED_TEXT,
    DecisionFilter,
    DecisionRecord,
    ItemFilter,
    ItemSummary,
    Order,
    Purpose,
    ReviewItem,
)
from review.masking import masked_subject
from review.people import Permission, Person
from review.search import Snippet

TITLE = "History"
ICON = ":material/history:"
PATH = "history"
PERMISSION = Permission.SEE_ITEMS

KEY = "history"
DECIDED = (Status.SETTLED, Status.EXPIRED, Status.CANCELLED)
EVENTS_SHOWN = 200

_DECISIONS = {
    DecisionType.APPROVE: "Approved",
    DecisionType.EDIT: "Edited",
    DecisionType.REJECT: "Rejected",
    DecisionType.RESPOND: "Answered",
}
_DECISION_TONES: dict[DecisionType, CellTone] = {
    DecisionType.APPROVE: "good",
    DecisionType.EDIT: "accent",
    DecisionType.REJECT: "bad",
    DecisionType.RESPOND: "accent",
}
_LOOKS = {Purpose.AUDIT: "a look afterwards", Purpose.SHADOW: "only observed"}
_STATUSES = {Status.SETTLED: "Settled", Status.EXPIRED: "Expired", Status.CANCELLED: "Withdrawn"}
_EXECUTIONS: dict[Execution, tuple[str, CellTone]] = {
    Execution.NONE: ("", ""),
    Execution.PERMITTED: ("permitted", "quiet"),
    Execution.STARTED: ("started", "warn"),
    Execution.SUCCEEDED: ("ran", ""),
    Execution.FAILED: ("failed", "bad"),
    Execution.UNKNOWN: ("unknown", "warn"),
}
_RAN = {
    Execution.SUCCEEDED: "Ran",
    Execution.FAILED: "Failed",
    Execution.UNKNOWN: "Nobody knows",
    Execution.STARTED: "Running",
    Execution.PERMITTED: "Not begun yet",
}
_UNKNOWN = ItemFilter(execution=Execution.UNKNOWN)
_WIDGETS = {
    "text": Chosen(""),
    "status": Chosen(None, Status),
    "decision": Chosen(None, DecisionType),
    "agent": Chosen(None),
    "tool": Chosen(None),
    "execution": Chosen(None, Execution),
    "by": Chosen(None),
    "days": Chosen([], days),
}
_COLUMNS = (
    Column("action", "Action"),
    Column("subject", "Concerns"),
    Column("amount", "Amount", "number"),
    Column("confidence", "Confidence", "number"),
    Column("decision", "Decision", "chip"),
    Column("by", "Decided by"),
    Column("execution", "Execution"),
    Column("settled", "Decided", "ago"),
)
_FOUND_COLUMNS = (_COLUMNS[0], Column("found", "Found in"), *_COLUMNS[4:])
_DECISION_COLUMNS = (
    Column("decision", "Decision", "chip"),
    Column("by", "Reviewer"),
    Column("why", "Reasons"),
    Column("dwell", "Looked for", "number"),
    Column("version", "Version", "number"),
    Column("at", "When", "ago"),
)


def page(person: Person) -> None:
    """Show what was decided, or one item of it whole where the address names one."""
    show_refusal()
    opened = _opened_item()
    if opened is not None:
        _show_one(person, opened)
    else:
        _show_all(person)


def _opened_item() -> UUID | None:
    try:
        return UUID(st.query_params.get("item", ""))
    except ValueError:
        return None


def _open(item_id: str) -> None:
    st.query_params["item"] = item_id


def _close() -> None:
    st.query_params.pop("item", None)


def _show_all(person: Person) -> None:
    st.title(TITLE, anchor=False)
    with st.container():  # Empty or not, so that what stands below keeps its number and its state.
        if "item" in st.query_params:
            draw(notice("The address names no item; these are all of them.", "bad"))
    _show_unknown(person)
    where = _ask_filter(person)
    found = page_of(
        KEY,
        where,
        lambda cursor: services().desk.items(person, where, order=Order.SETTLED, limit=PAGE_SIZE, cursor=cursor),
    )
    if found.rows:
        places = _places(person, where, found.rows)
        lines = [line_of(item, places.get(item.id)) for item in found.rows]
        columns = _FOUND_COLUMNS if where.words else _COLUMNS
        show_list(f"{KEY}.list", columns, lines, caption="Items that are decided", on_press=_open)
        show_pager(KEY, found)
        _show_download(person, where)
    elif where == ItemFilter(statuses=DECIDED):
        show_empty("Nothing is decided yet", "Every decision stays here, with what came of it.")
    else:
        show_empty("Nothing matches", "Take a filter away, or look for other words.")


def _places(person: Person, where: ItemFilter, rows: Sequence[ItemSummary]) -> dict[UUID, Snippet]:
    return services().search.snippets(person, [item.id for item in rows], where.words) if where.words else {}


def _show_download(person: Person, where: ItemFilter) -> None:
    asked = DecisionFilter(items=where)
    if person.may(Permission.EXPORT_LABELS):
        count = services().records.count_decisions(person, asked)
        whose = "their"
        told = f"What people decided on the items that match: {rows_words(count, 'decision')}, and what came of them."
    elif person.may(Permission.EXPORT_OWN):
        whose, told = "your", "What you decided yourself on the items that match, and what came of them."
    else:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        address = decisions_address("decisions.csv", asked)
        st.link_button(f"Download {whose} decisions (CSV)", address, icon=":material/download:")
        draw(element("p", told, class_="so-quiet so-small"))


def _show_unknown(person: Person) -> None:
    count = services().desk.count(person, _UNKNOWN)
    if not count:
        return
    one = count == 1
    words = (
        f"Of {count_words(count)} {'action' if one else 'actions'} nobody knows whether {'it' if one else 'they'} ran."
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        draw(notice(words, "warn"))
        st.button("Show only these", key=f"{KEY}.unknown", icon=":material/help_center:", on_click=_filter_unknown)


def _filter_unknown() -> None:
    st.session_state[f"{KEY}.execution"] = Execution.UNKNOWN


def _ask_filter(person: Person) -> ItemFilter:
    policy = services().policies.in_force(person.workspace).document
    follow_view(person, KEY, _WIDGETS)
    top = st.container(horizontal=True, vertical_alignment="bottom")
    text = top.text_input(
        "Search",
        placeholder="Search in what agents proposed, what they saw, and what was decided",
        icon=":material/search:",
        key=f"{KEY}.text",
        persist_state="session",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        status = ask_one("Ended as", _STATUSES, key=f"{KEY}.status")
        decision = ask_one("Decision", _DECISIONS, key=f"{KEY}.decision")
        agent = ask_choice("Agent", (tool.agent for tool in policy.tools), key=f"{KEY}.agent")
        tool = ask_choice("Tool", (tool.tool for tool in policy.tools), key=f"{KEY}.tool")
        execution = ask_one("Execution", _RAN, key=f"{KEY}.execution")
        by = ask_choice("Decided by", [person.name, "policy"], key=f"{KEY}.by", every="Anybody")
        since, until = ask_days("Submitted between", key=f"{KEY}.days")
    with top:
        offer_views(person, KEY, _WIDGETS)
    return ItemFilter(
        statuses=(status,) if status else DECIDED,
        agent=agent,
        tool=tool,
        decision=decision,
        execution=execution,
        settled_by=by,
        words=text.strip() or None,
        since=since,
        until=until,
    )


def line_of(item: ItemSummary, found: Snippet | None = None) -> Line:
    """Return the decided item's row, with the place where a search found it."""
    execution, tone = _ran(item)
    return Line(
        id=str(item.id),
        name=f"{item.tool} of {item.agent}",
        act="Open",
        cells={
            "action": Cell(item.tool, under=item.agent, tone="strong"),
            "subject": Cell(ERASED_TEXT, tone="quiet") if item.erased_at else Cell(masked_subject(item.subject)),
            "amount": Cell(money(item.amount, item.currency) if item.amount else ""),
            "confidence": Cell("" if item.confidence is None else f"{item.confidence:.0%}"),
            "decision": _ending(item),
            "by": Cell(item.settled_by or "", under=_LOOKS.get(item.purpose, "")),
            "execution": Cell(execution, tone=tone),
            "settled": Cell(at=item.settled_at),
            "found": Cell(snippet=found),
        },
    )


def _ran(item: ItemSummary | ReviewItem) -> tuple[str, CellTone]:
    if item.erased_at and item.execution is Execution.PERMITTED:
        return "permission void", "quiet"
    return _EXECUTIONS[item.execution]


def _ending(item: ItemSummary | ReviewItem) -> Cell:
    if item.status is not Status.SETTLED:
        return Cell(_STATUSES.get(item.status, humanised(item.status)), tone="warn")
    decision = item.decision if isinstance(item.decision, DecisionType) or item.decision is None else item.decision.type
    if decision is None:
        return Cell(humanised(item.status))
    kind = DecisionType(decision)
    return Cell(_DECISIONS[kind], tone=_DECISION_TONES[kind])


def _show_one(person: Person, item_id: UUID) -> None:
    st.button("History", icon=":material/arrow_back:", key=f"{KEY}.back", type="tertiary", on_click=_close)
    whole = services().desk.whole(person, item_id)
    shown = readable(whole, revealed_here())
    show_head(whole, person)
    if whole.item.execution is Execution.UNKNOWN:
        _show_reconciling(shown.item, person)
    _show_ending(shown)
    st.subheader("What was proposed", anchor=False)
    show_item(whole, person)
    if whole.item.repeats_id is not None:
        earlier = str(whole.item.repeats_id)
        st.button(
            "Open the earlier decision",
            key=f"{KEY}.earlier",
            type="tertiary",
            icon=":material/history:",
            on_click=_open,
            args=(earlier,),
        )
    _show_decisions(shown.decisions)
    if person.may(Permission.SEE_AUDIT):
        found = services().records.events(person, EventFilter(item_id=item_id), limit=EVENTS_SHOWN)
        _show_events(found.rows)


def _show_reconciling(item: ReviewItem, person: Person) -> None:
    with st.container(border=True, key="reconcile", gap="small"):
        st.subheader("Nobody knows whether this ran", anchor=False)
        plain(
            "The permission was used up, so it may have run; no outcome is known. It is never run again by itself. "
            "Look it up where it would have had its effect, and say what you found."
        )
        draw(
            facts(
                [
                    ("Permission used up", moment(item.consumed_at)),
                    ("Outcome due by", moment(item.outcome_due_at)),
                    ("Look for the idempotency key (jti)", element("span", str(item.jti), class_="so-plain so-mono")),
                    ("The agent's report", item.outcome.error or "unknown" if item.outcome else "none"),
                ]
            ),
        )
        if not person.may(Permission.RECONCILE):
            draw(notice("A reviewer or a lead can say what happened."))
            return
        st.text_area("How do you know?", key=_note_key(item), height=80, persist_state="session")
        with st.container(horizontal=True, gap="small"):
            for status, label, icon in (
                (OutcomeStatus.SUCCEEDED, "It ran", ":material/check:"),
                (OutcomeStatus.FAILED, "It did not run, or failed", ":material/close:"),
            ):
                st.button(
                    label,
                    key=f"{KEY}.{item.id}.{status}",
                    icon=icon,
                    on_click=_reconcile,
                    args=(person, item.id, status, _note_key(item)),
                )


def _note_key(item: ReviewItem) -> str:
    return f"{KEY}.{item.id}.found"


def _reconcile(person: Person, item_id: UUID, status: OutcomeStatus, note_key: str) -> None:
    def reconcile(here: Person) -> None:
        services().desk.reconcile(here, item_id, status, str(st.session_state.get(note_key) or ""))
        said("Noted. What you found stands from now on.")

    act_as(person, reconcile)


def _show_ending(whole: WholeItem) -> None:
    item = whole.item
    if not item.status.is_final:
        draw(notice("This item is not decided yet. What happens to it next stands in the queue."))
        return
    st.subheader("How it ended", anchor=False)
    execution, _ = _ran(item)
    draw(
        facts(
            [
                ("Ended as", _ending(item).text),
                ("Decided by", item.settled_by or "–"),
                ("Decided at", moment(item.settled_at)),
                ("Policy", f"version {item.policy_version}"),
                ("Execution", execution or "nothing runs"),
            ]
        )
    )
    if isinstance(item.decision, Edit) and not item.erased_at:
        draw(
            _label("What the reviewer changed"),
            diff_view(item.request.action.args, item.decision.edited_action.args),
        )
    if isinstance(item.decision, Reject | Respond) and item.decision.message:
        draw(_label("What the agent was told"), element("p", item.decision.message, class_="so-plain"))
    _show_outcome(item)
    _show_reconciliation(item)
    _show_receipt(item)


def _label(text: str) -> Markup:
    return element("p", text, class_="so-label")


def _show_outcome(item: ReviewItem) -> None:
    parts = outcome_parts(item.outcome) if item.outcome else []
    if parts:
        draw(_label("What the agent reported of the run"), *parts)


def outcome_parts(outcome: Outcome) -> list[Markup]:
    """Return what an agent told of a run beside how it ended; nothing where it told no more, or that was erased."""
    parts: list[Markup] = []
    if outcome.attempts is not None:
        parts.append(element("p", f"It was run {outcome.attempts} times within its one permission."))
    if outcome.fallback is not None:
        parts.append(element("p", "In the tool's place ran ", element("span", outcome.fallback, class_="so-mono"), "."))
    if outcome.error:
        parts.append(element("p", outcome.error, class_="so-plain so-mono"))
    if isinstance(outcome.result, str):
        parts.append(json_view(outcome.result))
    elif outcome.result is not None:
        parts.append(value_view(outcome.result))
    return parts


def _show_reconciliation(item: ReviewItem) -> None:
    found = item.reconciliation
    if found is None:
        return
    draw(
        _label(f"What {found.name} found on {moment(found.at)}: {_EXECUTIONS[item.execution][0]}"),
        element("p", found.note, class_="so-plain"),
    )


def _show_receipt(item: ReviewItem) -> None:
    if item.jti is None:
        return
    told = [
        ("Id (jti)", str(item.jti)),
        ("Permitted until", moment(item.permitted_until)),
        ("Consumed", moment(item.consumed_at) if item.consumed_at else "not yet"),
        ("Digest of what may run", ERASED_TEXT if item.erased_at else item.permitted_digest or "–"),
        ("Digest of what was proposed", ERASED_TEXT if item.erased_at else item.digest),
    ]
    draw(fold("Receipt", facts(told)))


def _show_decisions(decisions: Sequence[DecisionRecord]) -> None:
    if not decisions:
        return
    st.subheader("Decisions", anchor=False)
    lines = [decision_line(made) for made in decisions]
    show_list(f"{KEY}.decisions", _DECISION_COLUMNS, lines, caption="People's decisions on this item")


def decision_line(made: DecisionRecord) -> Line:
    """Return the row of a person's decision."""
    kind = DecisionType(made.decision.type)
    return Line(
        id=str(made.id),
        name=_DECISIONS[kind],
        cells={
            "decision": Cell(_DECISIONS[kind], tone=_DECISION_TONES[kind]),
            "by": Cell(made.name, under=made.iss),
            "why": Cell(", ".join(humanised(code) for code in made.reason_codes)),
            "dwell": Cell(f"{made.dwell_ms / 1000:.1f} s"),
            "version": Cell(str(made.item_version)),
            "at": Cell(at=made.decided_at),
        },
    )


def _show_events(events: Sequence[AuditEvent]) -> None:
    st.subheader("Events", anchor=False)
    show_list(
        f"{KEY}.events",
        EVENT_COLUMNS,
        story_lines(events),
        caption="What happened to this item, oldest first",
    )
