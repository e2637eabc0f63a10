"""What a piece of work can ask and tell inside a transaction: the Protocols of `review.store` in SQL.

Statements are built once, so that SQLAlchemy compiles them once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    ScalarSelect,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from agents.protocol import DecisionType, Note, Status
from db import cursors, documents, lists, rows, sealing, searching, tables
from db.appending import Rows, Unwritten, append
from db.deciding import Deciding
from db.figures import reckoned
from db.filings import ADD_ITEM, Filings
from db.tables import (
    ASSIGNED,
    CLAIMED,
    IN_LINE,
    JUDGED,
    PENDING,
    REJECTED,
    SNOOZED,
    STARTED,
    UNBREACHED,
    UNDECIDED,
    WAITING,
)
from db.types import FreeText, Instant
from review.audit import AuditEvent, Backlog, EventFilter, LogHead, Seal, SealedEvent
from review.figures import Figures
from review.items import (
    EVERY_DECISION,
    DecisionFilter,
    DecisionRecord,
    ItemFilter,
    ItemSummary,
    KnownReviewer,
    NoteRecord,
    Order,
    Page,
    Rejection,
    ReviewItem,
    SettledCall,
    Tool,
    View,
)
from review.labels import LabelCount
from review.people import Agent, AgentKey, Emergency, Member, Pause, Person, Session, SignInLink
from review.policy import Policy
from review.store import (
    COUNT_LIMIT,
    REJECTIONS_SEEN,
    ClosedItem,
    DuplicateKeyError,
    FilingKey,
    ItemWords,
    StaleItemError,
)

Now = Callable[[Connection], datetime]

_EVENT_ORDER = "events"

_items = tables.items
_decisions = tables.decisions
_events = tables.audit_events
_openings = tables.openings

_WHOLE_ITEM = select(*rows.ITEM_COLUMNS)
_ITEM = _WHOLE_ITEM.where(_items.c.workspace == bindparam("workspace"), _items.c.id == bindparam("id"))
_ITEMS = _WHOLE_ITEM.where(
    _items.c.workspace == bindparam("workspace"), _items.c.id.in_(bindparam("ids", expanding=True))
)
_ITEM_LOCKED = _ITEM.with_for_update()
# A range of one, in order: see `db.filings` for what PostgreSQL does otherwise before it has statistics.
_ITEM_BY_KEY = (
    _WHOLE_ITEM.where(
        _items.c.workspace == bindparam("workspace"),
        _items.c.agent == bindparam("agent"),
        _items.c.idempotency_key.between(bindparam("idempotency_key"), bindparam("idempotency_key")),
    )
    .order_by(_items.c.idempotency_key)
    .limit(1)
)
_HELD_BY = _WHOLE_ITEM.where(
    text(CLAIMED),
    _items.c.workspace == bindparam("workspace"),
    _items.c.claim_iss == bindparam("iss"),
    _items.c.claim_sub == bindparam("sub"),
    _items.c.claim_until > bindparam("now"),
    _items.c.settles_at.is_(None),
)
_UNDOABLE = _WHOLE_ITEM.where(
    text(CLAIMED),
    text(PENDING),
    _items.c.workspace == bindparam("workspace"),
    _items.c.claim_iss == bindparam("iss"),
    _items.c.claim_sub == bindparam("sub"),
    _items.c.settles_at > bindparam("now"),
)
_DUE_DECISIONS = (
    select(_items.c.workspace, _items.c.id)
    .where(text(PENDING), _items.c.settles_at <= bindparam("now"))
    .order_by(_items.c.settles_at)
    .limit(bindparam("limit"))
)
# What is overdue is closed as it was held when its time was up.
_IS_LAPSED = and_(
    text(CLAIMED),
    _items.c.claim_until <= bindparam("now"),
    _items.c.expires_at > bindparam("now"),
    _items.c.settles_at.is_(None),
)
_LAPSED = (
    _WHOLE_ITEM.where(_IS_LAPSED)
    .order_by(_items.c.claim_until)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_FIRST_LAPSED = _WHOLE_ITEM.where(_IS_LAPSED).order_by(_items.c.claim_until).limit(1)
_HELD_OR_LAPSED = union_all(select(_HELD_BY.subquery()), select(_FIRST_LAPSED.subquery()))
_OVERDUE = (
    _WHOLE_ITEM.where(text(UNDECIDED), _items.c.expires_at <= bindparam("now"), _items.c.settles_at.is_(None))
    .order_by(_items.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
# Whatever its workspace: SQLite, which has no statistics here, would else go through all that waits in it.
_DUE_BY = (
    select(_items.c.queue)
    .where(
        text(UNBREACHED),
        _items.c.status == Status.WAITING.value,
        _items.c.workspace.concat("") == bindparam("workspace"),
        _items.c.due_at > bindparam("now"),
        _items.c.due_at <= bindparam("before"),
    )
    .order_by(_items.c.due_at)
    .limit(COUNT_LIMIT + 1)
)
_ASSIGNED_QUEUES = select(_items.c.queue).where(
    text(ASSIGNED),
    _items.c.workspace == bindparam("workspace"),
    _items.c.assigned_iss == bindparam("iss"),
    _items.c.assigned_sub == bindparam("sub"),
)
_UNDECIDED_IN_TIME = (
    _WHOLE_ITEM.where(text(UNBREACHED), _items.c.due_at <= bindparam("now"), _items.c.status != Status.CLAIMED.value)
    .order_by(_items.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_ENDED_ASSIGNMENTS = (
    _WHOLE_ITEM.where(text(ASSIGNED), _items.c.assigned_until <= bindparam("now"))
    .order_by(_items.c.assigned_until)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_RESTED = (
    _WHOLE_ITEM.where(text(SNOOZED), _items.c.snoozed_until <= bindparam("now"))
    .order_by(_items.c.snoozed_until)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_OVERDUE_OUTCOMES = (
    _WHOLE_ITEM.where(text(STARTED), _items.c.outcome_due_at <= bindparam("now"))
    .order_by(_items.c.outcome_due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_REJECTIONS = (
    select(_items.c.id, _items.c.request)
    .where(
        text(REJECTED),
        _items.c.workspace == bindparam("workspace"),
        _items.c.agent == bindparam("agent"),
        _items.c.digest == bindparam("digest"),
    )
    .order_by(_items.c.settled_at.desc())
    .limit(REJECTIONS_SEEN)
)
_SETTLED_ALIKE = (
    select(_items.c.id, _items.c.digest, _items.c.subject, _items.c.settled_by, _items.c.request)
    .where(
        text(JUDGED),
        _items.c.workspace == bindparam("workspace"),
        _items.c.agent == bindparam("agent"),
        _items.c.tool == bindparam("tool"),
    )
    .order_by(_items.c.settled_at.desc())
    .limit(bindparam("limit"))
)
_IN_LINE = (
    select(_items.c.agent)
    .where(text(IN_LINE), _items.c.workspace == bindparam("workspace"), _items.c.agent == bindparam("agent"))
    .limit(bindparam("limit"))
    .subquery()
)
_COUNT_IN_LINE = select(func.count()).select_from(_IN_LINE)
_COPIES = select(_items.c.id).where(
    _items.c.workspace == bindparam("workspace"), _items.c.parent_id == bindparam("parent_id")
)
_SUBJECTS = (
    select(_items.c.id, _items.c.subject)
    .where(_items.c.workspace == bindparam("workspace"))
    .order_by(_items.c.id)
    .limit(bindparam("limit"))
)
_NEXT_QUEUE = select(func.min(_items.c.queue)).where(
    text(WAITING), _items.c.workspace == bindparam("workspace"), _items.c.queue > bindparam("after")
)
_NEXT_WORKSPACE = select(func.min(_items.c.workspace)).where(_items.c.workspace > bindparam("after"))
_CLOSED = (
    select(_items.c.id, _items.c.settled_at, _items.c.erased_at)
    .where(_items.c.workspace == bindparam("workspace"), _items.c.settled_at < bindparam("before"))
    .order_by(_items.c.settled_at, _items.c.id)
    .limit(bindparam("limit"))
)
_DECISIONS_OF = (
    select(*rows.DECISION_COLUMNS)
    .where(_decisions.c.workspace == bindparam("workspace"), _decisions.c.item_id == bindparam("item_id"))
    .order_by(_decisions.c.id)
)
_REVIEWERS = (
    select(_decisions.c.iss, _decisions.c.sub, _decisions.c.name)
    .where(_decisions.c.workspace == bindparam("workspace"))
    .distinct()
)
_SETTLED_SINCE = select(_items.c.id).where(
    _items.c.workspace == bindparam("workspace"), _items.c.settled_at >= bindparam("since")
)
_DECIDED_BY = select(
    *(func.count(case((_decisions.c.decision.startswith(documents.opening_of(kind)), 1))) for kind in DecisionType)
).where(
    _decisions.c.workspace == bindparam("workspace"),
    _decisions.c.item_id.in_(_SETTLED_SINCE),
    _decisions.c.iss == bindparam("iss"),
    _decisions.c.sub == bindparam("sub"),
    _decisions.c.decided_at >= bindparam("since"),
)
_NOTES_OF = (
    select(tables.notes.c.note)
    .where(tables.notes.c.workspace == bindparam("workspace"), tables.notes.c.item_id == bindparam("item_id"))
    .order_by(tables.notes.c.id)
)
_THREAD_OF = (
    select(*tables.notes.c)
    .where(tables.notes.c.workspace == bindparam("workspace"), tables.notes.c.item_id == bindparam("item_id"))
    .order_by(tables.notes.c.id)
)
_OF_DRAFTS = and_(
    tables.drafts.c.workspace == bindparam("of_workspace"), tables.drafts.c.item_id == bindparam("of_item")
)
_OF_PERSON = and_(tables.drafts.c.iss == bindparam("of_iss"), tables.drafts.c.sub == bindparam("of_sub"))
_DRAFT = select(tables.drafts.c.written).where(
    _OF_DRAFTS, _OF_PERSON, tables.drafts.c.version == bindparam("of_version")
)
_REMOVE_DRAFTS = delete(tables.drafts).where(_OF_DRAFTS)
_REMOVE_DRAFTS_OF = _REMOVE_DRAFTS.where(_OF_PERSON)
_CLOSED_DRAFTS = (
    select(tables.drafts.c.workspace, tables.drafts.c.item_id)
    .join(_items, and_(_items.c.workspace == tables.drafts.c.workspace, _items.c.id == tables.drafts.c.item_id))
    .where(_items.c.settled_at.is_not(None))
    .distinct()
    .limit(bindparam("limit"))
)
_POLICIES = (
    select(*tables.policies.c)
    .where(tables.policies.c.workspace == bindparam("workspace"))
    .order_by(tables.policies.c.number.desc())
    .limit(bindparam("limit"))
)
_TOOLS = (
    select(*tables.tools.c)
    .where(tables.tools.c.workspace == bindparam("workspace"))
    .order_by(tables.tools.c.agent, tables.tools.c.name)
)
_TOOL = _TOOLS.where(tables.tools.c.agent == bindparam("agent"), tables.tools.c.name == bindparam("name"))
_AGENTS = (
    select(*tables.agents.c).where(tables.agents.c.workspace == bindparam("workspace")).order_by(tables.agents.c.name)
)
_KEYS = (
    select(*tables.agent_keys.c)
    .where(tables.agent_keys.c.workspace == bindparam("workspace"))
    .order_by(tables.agent_keys.c.id.desc())
)
_KEY = select(*tables.agent_keys.c).where(tables.agent_keys.c.prefix == bindparam("prefix"))
_KEY_LOCKED = _KEY.with_for_update()
_SESSION = select(*tables.sessions.c).where(tables.sessions.c.id == bindparam("id"))
_SESSION_LOCKED = _SESSION.with_for_update()
_SESSIONS_OF = (
    select(*tables.sessions.c)
    .where(text("ended_at IS NULL"), tables.sessions.c.iss == bindparam("iss"))
    .order_by(tables.sessions.c.created_at, tables.sessions.c.id)
)
_LIVE_SESSIONS = (
    select(*tables.sessions.c)
    .where(
        text("ended_at IS NULL"),
        tables.sessions.c.workspace == bindparam("workspace"),
        tables.sessions.c.seen_at > bindparam("seen_after"),
    )
    .order_by(tables.sessions.c.created_at, tables.sessions.c.id)
)
_MEMBERS = (
    select(*tables.members.c)
    .where(tables.members.c.workspace == bindparam("workspace"))
    .order_by(tables.members.c.name, tables.members.c.iss, tables.members.c.sub)
)
_MEMBERS_LOCKED = _MEMBERS.with_for_update()
_MEMBER = _MEMBERS.where(tables.members.c.iss == bindparam("iss"), tables.members.c.sub == bindparam("sub"))
_MEMBER_LOCKED = _MEMBER.with_for_update()
_EMERGENCIES = (
    select(*tables.emergencies.c)
    .where(tables.emergencies.c.workspace == bindparam("workspace"))
    .order_by(tables.emergencies.c.id.desc())
    .limit(bindparam("limit"))
)
_EMERGENCY = select(*tables.emergencies.c).where(
    tables.emergencies.c.workspace == bindparam("workspace"), tables.emergencies.c.id == bindparam("id")
)
_EMERGENCY_LOCKED = _EMERGENCY.with_for_update()
_VIEWS = (
    select(*tables.views.c)
    .where(
        tables.views.c.workspace == bindparam("workspace"),
        tables.views.c.iss == bindparam("iss"),
        tables.views.c.sub == bindparam("sub"),
        tables.views.c.screen == bindparam("screen"),
    )
    .order_by(tables.views.c.name)
)
_OF_VIEW = and_(tables.views.c.workspace == bindparam("of_workspace"), tables.views.c.id == bindparam("of_id"))
_VIEW = select(*tables.views.c).where(_OF_VIEW)
_REMOVE_VIEW = delete(tables.views).where(_OF_VIEW)
_PAUSES = (
    select(*tables.pauses.c)
    .where(tables.pauses.c.workspace == bindparam("workspace"))
    .order_by(tables.pauses.c.paused_at, tables.pauses.c.agent, tables.pauses.c.tool)
)

_ADD_NOTE = insert(tables.notes)
_ADD_KEY = insert(tables.agent_keys)
_ADD_SESSION = insert(tables.sessions)
_ADD_LINK = insert(tables.links)

# Parameters named was_… are what the row must still be; the columns to set come with the execution.
_SAVE_ITEM = update(_items).where(
    _items.c.workspace == bindparam("was_workspace"),
    _items.c.id == bindparam("was_id"),
    _items.c.version == bindparam("was_version"),
    _items.c.epoch == bindparam("was_epoch"),
    _items.c.status == bindparam("was_status"),
    _items.c.execution == bindparam("was_execution"),
    _items.c.settles_at.is_not_distinct_from(bindparam("was_settles_at", type_=Instant())),
)
_SAVE_DECISION = update(_decisions).where(
    _decisions.c.workspace == bindparam("was_workspace"), _decisions.c.id == bindparam("was_id")
)
_REMOVE_NOTES = delete(tables.notes).where(
    tables.notes.c.workspace == bindparam("of_workspace"), tables.notes.c.item_id == bindparam("of_item")
)
REMOVE_OPENINGS = (
    update(_openings)
    .where(
        _openings.c.workspace == bindparam("of_workspace"),
        _openings.c.id.in_(
            select(_events.c.id).where(
                _events.c.workspace == bindparam("of_workspace"), _events.c.item_id == bindparam("of_item")
            )
        ),
        _openings.c.content.is_not(None),
    )
    .values(content=None)
)
_SAVE_KEY = update(tables.agent_keys).where(
    tables.agent_keys.c.workspace == bindparam("was_workspace"), tables.agent_keys.c.id == bindparam("was_id")
)
_FORGET_ASSERTIONS = delete(tables.assertions).where(tables.assertions.c.expires_at < bindparam("until"))
_SAVE_SESSION = update(tables.sessions).where(tables.sessions.c.id == bindparam("was_id"))
_REMOVE_PAUSE = delete(tables.pauses).where(
    tables.pauses.c.workspace == bindparam("of_workspace"),
    tables.pauses.c.agent == bindparam("of_agent"),
    tables.pauses.c.tool == bindparam("of_tool"),
)
_USE_LINK = (
    update(tables.links)
    .where(
        tables.links.c.id == bindparam("link_id"),
        tables.links.c.used_at.is_(None),
        tables.links.c.expires_at > bindparam("now", type_=Instant()),
    )
    .values(used_at=bindparam("now", type_=Instant()))
    .returning(*tables.links.c)
)


# Who approved or edited this version of an item that needs several people is not handed it again. A scalar look-up,
# because PostgreSQL turns a NOT EXISTS into a join with the whole table, and so loses the index of the order.
_OWN_DECISION = (
    select(_decisions.c.id)
    .where(
        _decisions.c.workspace == _items.c.workspace,
        _decisions.c.item_id == _items.c.id,
        _decisions.c.item_version == _items.c.version,
        _decisions.c.iss == bindparam("iss", type_=FreeText()),
        _decisions.c.sub == bindparam("sub", type_=FreeText()),
    )
    .limit(1)
    .correlate(_items)
    .scalar_subquery()
)


# Nobody decides what an agent proposes in their name.
_NOT_FROM_THEM = or_(
    _items.c.principal.is_(None),
    _items.c.principal != bindparam("iss", type_=FreeText()) + "#" + bindparam("sub", type_=FreeText()),
)


def _most_urgent(*, of_queue: bool) -> Select[Any]:
    top = (
        select(_items.c.priority, _items.c.id)
        .where(
            text(WAITING),
            _items.c.workspace == bindparam("in_workspace", type_=String()),
            or_(_items.c.quorum == 1, _OWN_DECISION.is_(None)),
            _NOT_FROM_THEM,
        )
        .order_by(_items.c.priority, _items.c.id)
        .limit(1)
    )
    return top.where(_items.c.queue == bindparam("in_queue", type_=FreeText())) if of_queue else top


def _most_urgent_assigned(*, of_queues: bool) -> Select[Any]:
    top = (
        select(_items.c.id)
        .where(
            text(ASSIGNED),
            _items.c.workspace == bindparam("in_workspace", type_=String()),
            _items.c.assigned_iss == bindparam("iss", type_=FreeText()),
            _items.c.assigned_sub == bindparam("sub", type_=FreeText()),
            or_(_items.c.quorum == 1, _OWN_DECISION.is_(None)),
        )
        .order_by(_items.c.priority, _items.c.id)
        .limit(1)
    )
    return top.where(_items.c.queue.in_(bindparam("in_queues", expanding=True))) if of_queues else top


def _passing(top: Select[Any]) -> Select[Any]:
    return top.where(_items.c.id.not_in(bindparam("passed", expanding=True)))


def _claim(*tops: Select[Any], where: str) -> Update:
    """Return the statement that takes what is found by the first of the tops that finds something."""
    # The rows are looked for in the whole table, not in the row being updated.
    found = [
        top.with_only_columns(_items.c.id).with_for_update(skip_locked=True).correlate(None).scalar_subquery()
        for top in tops
    ]
    return (
        update(_items)
        .where(
            _items.c.workspace == bindparam("in_workspace", type_=String()),
            _items.c.id == (func.coalesce(*found) if len(found) > 1 else found[0]),
            text(where),
        )
        .values(
            status=Status.CLAIMED.value,
            epoch=_items.c.epoch + 1,
            claim_iss=bindparam("iss", type_=FreeText()),
            claim_sub=bindparam("sub", type_=FreeText()),
            claim_name=bindparam("name", type_=FreeText()),
            claim_until=bindparam("until", type_=Instant()),
        )
        .returning(*rows.ITEM_COLUMNS)
    )


_TOP_OF_QUEUE = _most_urgent(of_queue=True)
_TOP_OF_QUEUE_PASSING = _passing(_most_urgent(of_queue=True))


def _claims(*tops: Select[Any], where: str) -> dict[bool, Update]:
    """Return the statement by whether some items are passed over."""
    return {False: _claim(*tops, where=where), True: _claim(*map(_passing, tops), where=where)}


_CLAIM_ANY = _claims(
    _most_urgent_assigned(of_queues=False), _most_urgent(of_queue=False), where=f"({ASSIGNED} OR {WAITING})"
)
_CLAIM_ASSIGNED = _claims(_most_urgent_assigned(of_queues=True), where=ASSIGNED)
_CLAIM_OF_QUEUE = _claims(_most_urgent(of_queue=True), where=WAITING)


def _first_of_queue(priority: int) -> ScalarSelect[Any]:
    return (
        select(_items.c.submitted_at)
        .where(
            text(WAITING),
            _items.c.workspace == bindparam("in_workspace", type_=String()),
            _items.c.queue == bindparam("in_queue", type_=FreeText()),
            _items.c.priority == priority,
        )
        .order_by(_items.c.id)
        .limit(1)
        .scalar_subquery()
    )


# The oldest of a queue is the oldest of its ten priorities' oldest: the index has no other order.
_OLDEST_OF_QUEUE = select(*map(_first_of_queue, range(10)))


class _Inserts:
    """The insertions that let a known row stand, and count; each database has its own words for them."""

    def __init__(self, insert_into: Callable[..., Any]) -> None:
        def unless_known(table: Table, *key: str) -> Insert:
            statement: Insert = insert_into(table).on_conflict_do_nothing(index_elements=key)
            return statement.execution_options(preserve_rowcount=True)

        self.policy = unless_known(tables.policies, "workspace", "number")
        self.agent = unless_known(tables.agents, "workspace", "name")
        self.pause = unless_known(tables.pauses, "workspace", "agent", "tool")
        self.assertion = unless_known(tables.assertions, "workspace", "prefix", "id")
        member = insert_into(tables.members)
        key = ("workspace", "iss", "sub")
        self.member: Insert = member.on_conflict_do_update(
            index_elements=key,
            set_={column.name: member.excluded[column.name] for column in tables.members.c if column.name not in key},
        )
        emergency = insert_into(tables.emergencies)
        changing = ("ended_at", "reviewed_by", "reviewed_at", "finding")
        self.emergency: Insert = emergency.on_conflict_do_update(
            index_elements=["workspace", "id"], set_={name: emergency.excluded[name] for name in changing}
        )
        view = insert_into(tables.views)
        self.view: Insert = view.on_conflict_do_update(
            index_elements=["workspace", "id"],
            set_={name: view.excluded[name] for name in ("name", "chosen", "saved_at")},
        )
        draft = insert_into(tables.drafts)
        self.draft: Insert = draft.on_conflict_do_update(
            index_elements=["workspace", "item_id", "iss", "sub", "version"],
            set_={"written": draft.excluded.written, "saved_at": draft.excluded.saved_at},
        ).execution_options(preserve_rowcount=True)
        tool = insert_into(tables.tools)
        self.tool: Insert = tool.on_conflict_do_update(
            index_elements=["workspace", "agent", "name"],
            set_={"args_schema": tool.excluded.args_schema},
            where=and_(
                tool.excluded.args_schema.is_not(None),
                tables.tools.c.args_schema.is_distinct_from(tool.excluded.args_schema),
            ),
        ).execution_options(preserve_rowcount=True)


_INSERTS = {"sqlite": _Inserts(sqlite.insert), "postgresql": _Inserts(postgresql.insert)}


class ReadTransaction:
    """Answers from one consistent view of the database."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._opened = connection
        self._now = now

    @property
    def _connection(self) -> Connection:
        return self._opened

    @property
    def now(self) -> datetime:
        """Return the time of this transaction."""
        return self._now()

    def item(self, workspace: str, item_id: UUID) -> ReviewItem | None:
        """Return the item."""
        return self._item(_ITEM, workspace=workspace, id=item_id)

    def items_named(self, names: Sequence[tuple[str, UUID]]) -> Sequence[ReviewItem]:
        """Return those of the items (workspace and id) that are there, in no order; none of them is locked."""
        of_each: dict[str, list[UUID]] = {}
        for workspace, item_id in names:
            of_each.setdefault(workspace, []).append(item_id)
        return [
            rows.item_from(row)
            for workspace, ids in of_each.items()
            for row in self._connection.execute(_ITEMS, {"workspace": workspace, "ids": ids})
        ]

    def item_by_key(self, workspace: str, agent: str, idempotency_key: str) -> ReviewItem | None:
        """Return the item that this agent submitted under the key."""
        return self._item(_ITEM_BY_KEY, workspace=workspace, agent=agent, idempotency_key=idempotency_key)

    def items(
        self, workspace: str, where: ItemFilter, *, order: Order, limit: int, cursor: str | None = None
    ) -> Page[ItemSummary]:
        """Return a page of summaries.

        In order of urgency only what is undecided, in order of settling only what is settled; ``since`` and ``until``
        (exclusive) are about ``submitted_at``. Raises InvalidCursorError.
        """
        return lists.summaries(self._connection, workspace, where, order=order, limit=limit, cursor=cursor)

    def whole_items(
        self, workspace: str, where: ItemFilter, *, limit: int, cursor: str | None = None
    ) -> Page[ReviewItem]:
        """Return a page of whole items, newest first."""
        return lists.whole(self._connection, workspace, where, limit=limit, cursor=cursor)

    def figures(self, workspace: str, *, since: datetime, limit: int) -> Figures:
        """Return the figures of the items submitted since then, the latest ``limit`` of them."""
        return reckoned(self._connection, workspace, since=since, now=self.now, limit=limit)

    def count_items(self, workspace: str, where: ItemFilter, *, limit: int = COUNT_LIMIT + 1) -> int:
        """Return how many items match, counting no further than ``limit``."""
        return lists.counted(self._connection, workspace, where, limit=limit)

    def count_in_line(self, workspace: str, agent: str, *, limit: int) -> int:
        """Return how many of the agent's items wait for people to let them run, counting no further than ``limit``."""
        asked = {"workspace": workspace, "agent": agent, "limit": limit}
        found: int = self._connection.execute(_COUNT_IN_LINE, asked).scalar_one()
        return found

    def waiting_queues(self, workspace: str) -> Sequence[str]:
        """Return the queues in which something waits for everybody, by name."""
        found: list[str] = []
        while name := self._connection.execute(
            _NEXT_QUEUE, {"workspace": workspace, "after": found[-1] if found else ""}
        ).scalar_one():
            found.append(name)
        return found

    def oldest_waiting(self, workspace: str, queue: str) -> datetime | None:
        """Return when the oldest item that waits in the queue for everybody was submitted."""
        found = self._connection.execute(_OLDEST_OF_QUEUE, {"in_workspace": workspace, "in_queue": queue}).one()
        return min((at for at in found if at is not None), default=None)

    def due_by(self, workspace: str, before: datetime) -> Mapping[str, int]:
        """Return how much of each queue waits for everybody, is not overdue, and is due before then."""
        asked = {"workspace": workspace, "now": self.now, "before": before}
        return Counter(self._connection.execute(_DUE_BY, asked).scalars())

    def assigned_queues(self, workspace: str, iss: str, sub: str) -> Sequence[str]:
        """Return the queue of each item that waits for this person alone."""
        asked = {"workspace": workspace, "iss": iss, "sub": sub}
        return self._connection.execute(_ASSIGNED_QUEUES, asked).scalars().all()

    def held_by(self, workspace: str, iss: str, sub: str) -> Sequence[ReviewItem]:
        """Return the items that this person holds undecided, by holds that have not lapsed, the most urgent first."""
        asked = {"workspace": workspace, "iss": iss, "sub": sub, "now": self.now}
        held = [rows.item_from(row) for row in self._connection.execute(_HELD_BY, asked)]
        # They are two at most; sorting them in the database would let it look for another index.
        return sorted(held, key=lambda item: (item.priority, item.id))

    def undoable(self, workspace: str, iss: str, sub: str) -> Sequence[ReviewItem]:
        """Return the items on which this person's decision does not count yet, the latest decision first."""
        asked = {"workspace": workspace, "iss": iss, "sub": sub, "now": self.now}
        waiting = [rows.item_from(row) for row in self._connection.execute(_UNDOABLE, asked)]
        # They are few, as those that a person holds are; see there.
        return sorted(waiting, key=lambda item: (item.pending and item.pending.settles_at, item.id), reverse=True)

    def due_decisions(self, *, limit: int) -> Sequence[tuple[str, UUID]]:
        """Return workspace and id of items whose decision is to count by now, of every workspace, oldest first."""
        found = self._connection.execute(_DUE_DECISIONS, {"now": self.now, "limit": limit})
        return [(row.workspace, row.id) for row in found]

    def decisions_of(self, workspace: str, item_id: UUID) -> Sequence[DecisionRecord]:
        """Return people's decisions on the item, oldest first."""
        found = self._connection.execute(_DECISIONS_OF, {"workspace": workspace, "item_id": item_id})
        return [rows.decision_from(row) for row in found]

    def rejections(self, workspace: str, agent: str, digest: str) -> Sequence[Rejection]:
        """Return the latest rejections by people of this very call of the agent, newest first."""
        asked = {"workspace": workspace, "agent": agent, "digest": digest}
        return [rows.rejection_from(row) for row in self._connection.execute(_REJECTIONS, asked)]

    def settled_alike(self, workspace: str, agent: str, tool: str, *, limit: int) -> Sequence[SettledCall]:
        """Return what people settled last of this agent's calls of this tool, latest first; nothing erased."""
        asked = {"workspace": workspace, "agent": agent, "tool": tool, "limit": limit}
        return [rows.settled_call_from(row) for row in self._connection.execute(_SETTLED_ALIKE, asked)]

    def decided(
        self,
        workspace: str,
        where: DecisionFilter,
        *,
        reviewers: Sequence[KnownReviewer] | None = None,
        limit: int,
        after: UUID | None = None,
    ) -> Sequence[tuple[ReviewItem, DecisionRecord]]:
        """Return up to ``limit`` decisions with their items, in order of decision id, those behind ``after``."""
        asked = Deciding(self._connection, workspace, where, reviewers)
        return asked.page(limit=limit, after=after)

    def count_labels(self, workspace: str, *, limit: int) -> Sequence[LabelCount]:
        """Return how often each decision was made on each tool, as labels say it, of the first ``limit`` decisions."""
        return Deciding(self._connection, workspace, EVERY_DECISION, None).count_labels(limit)

    def count_decided(
        self,
        workspace: str,
        where: DecisionFilter,
        *,
        reviewers: Sequence[KnownReviewer] | None = None,
        limit: int | None,
    ) -> int:
        """Return how many decisions match, counting no further than ``limit``."""
        return Deciding(self._connection, workspace, where, reviewers).count(limit)

    def reviewers(self, workspace: str) -> Sequence[KnownReviewer]:
        """Return everybody who has decided, under every name that they had."""
        return [KnownReviewer(*row) for row in self._connection.execute(_REVIEWERS, {"workspace": workspace})]

    def decided_by(self, workspace: str, iss: str, sub: str, *, since: datetime) -> Mapping[DecisionType, int]:
        """Return how often the person decided each way since then, of what was settled since then, too."""
        asked = {"workspace": workspace, "iss": iss, "sub": sub, "since": since}
        return dict(zip(DecisionType, self._connection.execute(_DECIDED_BY, asked).one(), strict=True))

    def copies_of(self, workspace: str, item_id: UUID) -> Sequence[UUID]:
        """Return the items that were drawn from this one for a look afterwards."""
        return self._connection.execute(_COPIES, {"workspace": workspace, "parent_id": item_id}).scalars().all()

    def subjects(self, workspace: str, *, limit: int, after: UUID | None) -> Sequence[tuple[UUID, str | None]]:
        """Return up to ``limit`` items behind ``after``, in order of id, each with whom or what it concerns."""
        statement = _SUBJECTS if after is None else _SUBJECTS.where(_items.c.id > after)
        found = self._connection.execute(statement, {"workspace": workspace, "limit": limit})
        return [(id_, subject) for id_, subject in found]

    def workspaces(self) -> Sequence[str]:
        """Return the workspaces that have items."""
        found: list[str] = []
        while name := self._connection.execute(_NEXT_WORKSPACE, {"after": found[-1] if found else ""}).scalar_one():
            found.append(name)
        return found

    def closed(
        self, workspace: str, *, before: datetime, after: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[ClosedItem]:
        """Return up to ``limit`` items that closed before that time, behind ``after``, in order of closing."""
        statement = _CLOSED
        if after is not None:
            statement = statement.where(tuple_(_items.c.settled_at, _items.c.id) > after)
        found = self._connection.execute(statement, {"workspace": workspace, "before": before, "limit": limit})
        return [ClosedItem(id_, at, erased_at is not None) for id_, at, erased_at in found]

    def draft(self, person: Person, item_id: UUID, version: int) -> Mapping[str, JsonValue] | None:
        """Return what the person has begun to write on this version of the item."""
        asked = {"of_workspace": person.workspace, "of_item": item_id, "of_version": version}
        kept = self._connection.execute(
            _DRAFT, {**asked, "of_iss": person.iss, "of_sub": person.sub}
        ).scalar_one_or_none()
        if kept is None:
            return None
        written: dict[str, JsonValue] = documents.read_under("written", kept)
        return written

    def notes_of(self, workspace: str, item_id: UUID) -> Sequence[Note]:
        """Return the item's thread, oldest first."""
        found = self._connection.execute(_NOTES_OF, {"workspace": workspace, "item_id": item_id})
        return [rows.note_from(note) for note in found.scalars()]

    def thread_of(self, workspace: str, item_id: UUID) -> Sequence[NoteRecord]:
        """Return the item's thread with who wrote each note, oldest first."""
        found = self._connection.execute(_THREAD_OF, {"workspace": workspace, "item_id": item_id})
        return [rows.note_record_from(row) for row in found]

    def events(self, workspace: str, where: EventFilter, *, limit: int, cursor: str | None = None) -> Page[AuditEvent]:
        """Return a page of events, newest first; ``actor`` matches an actor's id or name."""
        statement = _event_list(workspace, where).order_by(_events.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            statement = statement.where(_events.c.id < cursors.id_after(cursor, order=_EVENT_ORDER))
        found = [rows.event_from(row) for row in self._connection.execute(statement)]
        if len(found) <= limit:
            return Page(tuple(found), None)
        return Page(tuple(found[:limit]), cursors.cursor_at(_EVENT_ORDER, found[limit - 1].id))

    def events_after(
        self, workspace: str, where: EventFilter, *, limit: int, after: UUID | None
    ) -> Sequence[AuditEvent]:
        """Return up to ``limit`` events in order of id, those behind ``after``."""
        statement = _event_list(workspace, where).order_by(_events.c.id).limit(limit)
        if after is not None:
            statement = statement.where(_events.c.id > after)
        return [rows.event_from(row) for row in self._connection.execute(statement)]

    def count_events(self, workspace: str, where: EventFilter, *, limit: int) -> int:
        """Return how many events match, counting no further than ``limit``."""
        matching = select(_events.c.seq).where(*_event_conditions(workspace, where)).limit(limit).subquery()
        found: int = self._connection.execute(select(func.count()).select_from(matching)).scalar_one()
        return found

    def indexed_to(self) -> int:
        """Return the ``seq`` of the event up to which items can be found by what they say."""
        return searching.indexed_to(self._connection)

    def changed_items(self, *, after: int, limit: int) -> tuple[int, Sequence[tuple[str, UUID]]]:
        """Return what may say something new since the event ``after``, of every workspace, and up to which event."""
        return searching.changed_items(self._connection, after=after, limit=limit)

    def log_head(self, workspace: str) -> LogHead | None:
        """Return the workspace's log as its latest checkpoint signed it."""
        return sealing.head(self._connection, workspace)

    def log_heads(self) -> Sequence[LogHead]:
        """Return the head of every workspace's log."""
        return sealing.heads(self._connection)

    def last_recorded(self) -> int:
        """Return the ``seq`` of the last event; 0 where there is none."""
        return sealing.last_recorded(self._connection)

    def last_sealed(self) -> int:
        """Return the ``seq`` of the last event that has its leaf; 0 where none has."""
        return sealing.last_sealed(self._connection)

    def backlog(self, *, limit: int) -> Backlog:
        """Return what waits to be sealed, of every workspace, counting no further than ``limit``."""
        return sealing.backlog(self._connection, limit=limit)

    def sealed_events(
        self, workspace: str, where: EventFilter, *, begin: int, size: int, limit: int
    ) -> Sequence[SealedEvent]:
        """Return up to ``limit`` events whose leaves stand at ``begin`` or behind it, before ``size``, by index."""
        conditions = _event_conditions(workspace, where)
        return sealing.events(self._connection, conditions, workspace, begin=begin, size=size, limit=limit)

    def log_hashes(self, workspace: str, level: int, begin: int, end: int) -> Sequence[bytes]:
        """Return the kept hashes of one level of the tree, those of leaves (0) or of a multiple of eight."""
        return sealing.hashes(self._connection, workspace, level, begin=begin, end=end)

    def policy(self, workspace: str) -> Policy | None:
        """Return the policy in force."""
        return next(iter(self.policies(workspace, limit=1)), None)

    def policies(self, workspace: str, *, limit: int) -> Sequence[Policy]:
        """Return the latest versions, newest first."""
        found = self._connection.execute(_POLICIES, {"workspace": workspace, "limit": limit})
        return [rows.policy_from(row) for row in found]

    def agents(self, workspace: str) -> Sequence[Agent]:
        """Return the workspace's agents by name."""
        return [rows.agent_from(row) for row in self._connection.execute(_AGENTS, {"workspace": workspace})]

    def tools(self, workspace: str) -> Sequence[Tool]:
        """Return the workspace's tools by agent and name."""
        return [rows.tool_from(row) for row in self._connection.execute(_TOOLS, {"workspace": workspace})]

    def tool(self, workspace: str, agent: str, name: str) -> Tool | None:
        """Return the tool as the agent declared it."""
        asked = {"workspace": workspace, "agent": agent, "name": name}
        row = self._connection.execute(_TOOL, asked).one_or_none()
        return None if row is None else rows.tool_from(row)

    def keys(self, workspace: str) -> Sequence[AgentKey]:
        """Return the workspace's keys, newest first."""
        return [rows.key_from(row) for row in self._connection.execute(_KEYS, {"workspace": workspace})]

    def key(self, prefix: str) -> AgentKey | None:
        """Return the key with this prefix, whatever its workspace."""
        return self._key(_KEY, prefix)

    def session(self, session_id: str) -> Session | None:
        """Return the session, ended ones included."""
        return self._session(_SESSION, session_id)

    def sessions_of(self, iss: str, *, sub: str | None, sid: str | None) -> Sequence[Session]:
        """Return the sessions that have not ended, of every workspace, of the person or of the provider's session."""
        return self._sessions_of(_SESSIONS_OF, iss, sub, sid)

    def live_sessions(self, workspace: str, *, seen_after: datetime) -> Sequence[Session]:
        """Return the workspace's sessions that have not ended and were seen after that time."""
        asked = {"workspace": workspace, "seen_after": seen_after}
        return [rows.session_from(row) for row in self._connection.execute(_LIVE_SESSIONS, asked)]

    def member(self, workspace: str, iss: str, sub: str) -> Member | None:
        """Return the person as the workspace knows them."""
        return self._member(_MEMBER, workspace, iss, sub)

    def members(self, workspace: str) -> Sequence[Member]:
        """Return everybody who has signed in to the workspace, by name."""
        return [rows.member_from(row) for row in self._connection.execute(_MEMBERS, {"workspace": workspace})]

    def emergency(self, workspace: str, emergency_id: UUID) -> Emergency | None:
        """Return the emergency."""
        return self._emergency(_EMERGENCY, workspace, emergency_id)

    def emergencies(self, workspace: str, *, limit: int, until_after: datetime | None = None) -> Sequence[Emergency]:
        """Return the latest emergencies, newest first; with ``until_after`` those that last beyond that time."""
        statement = _EMERGENCIES
        if until_after is not None:
            statement = statement.where(tables.emergencies.c.until > until_after)
        found = self._connection.execute(statement, {"workspace": workspace, "limit": limit})
        return [rows.emergency_from(row) for row in found]

    def view(self, workspace: str, view_id: UUID) -> View | None:
        """Return a view of anybody in the workspace."""
        row = self._connection.execute(_VIEW, {"of_workspace": workspace, "of_id": view_id}).one_or_none()
        return None if row is None else rows.view_from(row)

    def views(self, person: Person, screen: str) -> Sequence[View]:
        """Return the person's views of the screen, by name."""
        asked = {"workspace": person.workspace, "iss": person.iss, "sub": person.sub, "screen": screen}
        return [rows.view_from(row) for row in self._connection.execute(_VIEWS, asked)]

    def pauses(self, workspace: str) -> Sequence[Pause]:
        """Return what is paused in the workspace, the oldest pause first."""
        return [rows.pause_from(row) for row in self._connection.execute(_PAUSES, {"workspace": workspace})]

    def _sessions_of(self, statement: Select[Any], iss: str, sub: str | None, sid: str | None) -> Sequence[Session]:
        if sub is not None:
            statement = statement.where(tables.sessions.c.sub == sub)
        if sid is not None:
            statement = statement.where(tables.sessions.c.sid == sid)
        return [rows.session_from(row) for row in self._connection.execute(statement, {"iss": iss})]

    def _emergency(self, statement: Select[Any], workspace: str, emergency_id: UUID) -> Emergency | None:
        row = self._connection.execute(statement, {"workspace": workspace, "id": emergency_id}).one_or_none()
        return None if row is None else rows.emergency_from(row)

    def _member(self, statement: Select[Any], workspace: str, iss: str, sub: str) -> Member | None:
        row = self._connection.execute(statement, {"workspace": workspace, "iss": iss, "sub": sub}).one_or_none()
        return None if row is None else rows.member_from(row)

    def _key(self, statement: Select[Any], prefix: str) -> AgentKey | None:
        row = self._connection.execute(statement, {"prefix": prefix}).one_or_none()
        return None if row is None else rows.key_from(row)

    def _session(self, statement: Select[Any], session_id: str) -> Session | None:
        row = self._connection.execute(statement, {"id": session_id}).one_or_none()
        return None if row is None else rows.session_from(row)

    def _item(self, statement: Select[Any] | Update, **asked: object) -> ReviewItem | None:
        row = self._connection.execute(statement, asked).one_or_none()
        return None if row is None else rows.item_from(row)


class WriteTransaction(ReadTransaction):
    """One piece of work among those that share a commit.

    ``wrote`` tells whether the database has taken anything of it yet. Events, their openings, the removal of openings,
    wake-ups, decisions and new items under keys that were announced are only collected here: whoever commits writes all
    of a batch at once.
    """

    def __init__(
        self, connection: Connection, now: Callable[[], datetime], filings: Filings, unwritten: Unwritten
    ) -> None:
        super().__init__(connection, now)
        self._inserts = _INSERTS[connection.dialect.name]
        self._filings = filings
        self._unwritten = unwritten
        self.wrote = False
        self.added: Rows = {}
        self.recorded: list[rows.Values] = []
        self.openings: list[rows.Values] = []
        self.closed_up: list[rows.Values] = []
        self.woken: list[UUID] = []

    @property
    def _connection(self) -> Connection:
        # Whatever is asked or told next may concern what was added and is not written yet.
        if self._unwritten.has(self.added):
            # What cannot be written spoils the transaction, whoever added it; what can be is not of this work alone.
            has_written = self.wrote or bool(self.added)
            self.wrote = True
            self._unwritten.write(self.added)
            self.added, self.wrote = {}, has_written
        return self._opened

    def item_by_key(self, workspace: str, agent: str, idempotency_key: str) -> ReviewItem | None:
        """Return the item that this agent submitted under the key; nothing is asked where it is known to be free."""
        if self._filings.is_free(FilingKey(workspace, agent, idempotency_key)):
            return None
        return super().item_by_key(workspace, agent, idempotency_key)

    def rejections(self, workspace: str, agent: str, digest: str) -> Sequence[Rejection]:
        """Return the latest rejections of this call; nothing is asked where it is known that there are none."""
        if self._filings.is_unrejected(workspace, agent, digest):
            return ()
        return super().rejections(workspace, agent, digest)

    def item(self, workspace: str, item_id: UUID) -> ReviewItem | None:
        """Return the item, its row locked until the end of the transaction."""
        return self._item(_ITEM_LOCKED, workspace=workspace, id=item_id)

    def key(self, prefix: str) -> AgentKey | None:
        """Return the key, its row locked until the end of the transaction: what is saved is not older than it."""
        return self._key(_KEY_LOCKED, prefix)

    def session(self, session_id: str) -> Session | None:
        """Return the session, its row locked until the end of the transaction."""
        return self._session(_SESSION_LOCKED, session_id)

    def sessions_of(self, iss: str, *, sub: str | None, sid: str | None) -> Sequence[Session]:
        """Return the sessions that have not ended, their rows locked until the end of the transaction."""
        return self._sessions_of(_SESSIONS_OF.with_for_update(), iss, sub, sid)

    def member(self, workspace: str, iss: str, sub: str) -> Member | None:
        """Return the person, their row locked until the end of the transaction."""
        return self._member(_MEMBER_LOCKED, workspace, iss, sub)

    def emergency(self, workspace: str, emergency_id: UUID) -> Emergency | None:
        """Return the emergency, its row locked until the end of the transaction."""
        return self._emergency(_EMERGENCY_LOCKED, workspace, emergency_id)

    def members(self, workspace: str) -> Sequence[Member]:
        """Return everybody of the workspace, their rows locked until the end of the transaction."""
        return [rows.member_from(row) for row in self._connection.execute(_MEMBERS_LOCKED, {"workspace": workspace})]

    def events(self, workspace: str, where: EventFilter, *, limit: int, cursor: str | None = None) -> Page[AuditEvent]:
        """Return a page of events, this work's own among them."""
        self._write_recorded()
        return super().events(workspace, where, limit=limit, cursor=cursor)

    def events_after(
        self, workspace: str, where: EventFilter, *, limit: int, after: UUID | None
    ) -> Sequence[AuditEvent]:
        """Return events in order of id, this work's own among them."""
        self._write_recorded()
        return super().events_after(workspace, where, limit=limit, after=after)

    def add_item(self, item: ReviewItem) -> None:
        """Keep a new item. Raises DuplicateKeyError where the agent used the idempotency key before."""
        row = rows.item_values(item)
        if item.idempotency_key and self._filings.takes(FilingKey(item.workspace, item.agent, item.idempotency_key)):
            self.added.setdefault(_items, []).append(row)
        elif not self._write(ADD_ITEM[self._opened.dialect.name], row):
            raise DuplicateKeyError(item.idempotency_key)

    def save_item(self, item: ReviewItem, *, was: ReviewItem) -> None:
        """Replace what can change of an item. Raises StaleItemError where it is no longer as it ``was``."""
        changed = rows.changed_values(item, was)
        guard = {
            "was_workspace": was.workspace,
            "was_id": was.id,
            "was_version": was.version,
            "was_epoch": was.epoch,
            "was_status": rows.status_kept(was),
            "was_execution": was.execution.value,
            "was_settles_at": was.pending.settles_at if was.pending else None,
        }
        if not self._write(_SAVE_ITEM, {"epoch": item.epoch, **changed, **guard}):
            raise StaleItemError(was.id)

    def claim_next(  # noqa: PLR0913 -- who takes what, until when
        self,
        workspace: str,
        *,
        queues: Sequence[str] | None,
        iss: str,
        sub: str,
        name: str,
        until: datetime,
        passing_over: Collection[UUID] = (),
    ) -> ReviewItem | None:
        """Take, in one statement, the most urgent item that the person may decide; its epoch grows.

        What waits for this person alone comes first; what waits for everybody, of these queues, after it.
        """
        claim: rows.Values = {"in_workspace": workspace, "iss": iss, "sub": sub, "name": name, "until": until}
        is_passing = bool(passing_over)
        if is_passing:
            claim["passed"] = list(passing_over)
        if queues is None:
            return self._claimed(_CLAIM_ANY[is_passing], claim)
        assigned = self._claimed(_CLAIM_ASSIGNED[is_passing], {**claim, "in_queues": list(queues)})
        if assigned is not None:
            return assigned
        for queue in self._by_urgency(queues, claim):
            taken = self._claimed(_CLAIM_OF_QUEUE[is_passing], {**claim, "in_queue": queue})
            if taken is not None:
                return taken
        return None

    def held_and_lapsed(self, workspace: str, iss: str, sub: str) -> tuple[ReviewItem | None, bool]:
        """Return, from one statement, what ``held_by`` does, and whether there are `lapsed_claims`."""
        asked = {"workspace": workspace, "iss": iss, "sub": sub, "now": self.now}
        found = [rows.item_from(row) for row in self._connection.execute(_HELD_OR_LAPSED, asked)]
        in_force = [item for item in found if item.claim and self.now < item.claim.until]
        first = min(in_force, key=lambda item: (item.priority, item.id), default=None)
        return first, len(found) > len(in_force)

    def lapsed_claims(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return claimed items whose hold is over, of every workspace, locked; rows others lock are skipped."""
        found = self._connection.execute(_LAPSED, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def overdue_items(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return undecided items past ``expires_at``, of every workspace, locked; rows others lock are skipped."""
        found = self._connection.execute(_OVERDUE, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def undecided_in_time(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items past ``due_at`` that nobody holds, not found so before, of every workspace, locked."""
        found = self._connection.execute(_UNDECIDED_IN_TIME, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def ended_assignments(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items that waited for one person long enough, of every workspace, locked."""
        found = self._connection.execute(_ENDED_ASSIGNMENTS, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def rested_items(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items that slept until their time, of every workspace, locked."""
        found = self._connection.execute(_RESTED, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def overdue_outcomes(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return started items past ``outcome_due_at``, of every workspace, locked; rows others lock are skipped."""
        found = self._connection.execute(_OVERDUE_OUTCOMES, {"now": self.now, "limit": limit})
        return [rows.item_from(row) for row in found]

    def add_decision(self, record: DecisionRecord) -> None:
        """Keep a person's decision."""
        self.added.setdefault(_decisions, []).append(rows.decision_values(record))

    def add_note(self, note: NoteRecord) -> None:
        """Keep a note."""
        self._write(_ADD_NOTE, rows.note_values(note))

    def save_decision(self, record: DecisionRecord) -> None:
        """Replace what was decided and the digest that was seen."""
        values = rows.decision_values(record)
        changed = {name: values[name] for name in ("decision", "digest_seen")}
        self._write(_SAVE_DECISION, {"was_workspace": record.workspace, "was_id": record.id, **changed})

    def remove_notes(self, workspace: str, item_id: UUID) -> int:
        """Remove the item's thread; return how many notes it had."""
        count: int = self._connection.execute(_REMOVE_NOTES, {"of_workspace": workspace, "of_item": item_id}).rowcount
        self.wrote = self.wrote or bool(count)
        return count

    def keep_draft(self, person: Person, item_id: UUID, version: int, written: Mapping[str, JsonValue]) -> None:
        """Keep what the person has begun to write, in place of what was kept."""
        values = {
            "workspace": person.workspace,
            "item_id": item_id,
            "iss": person.iss,
            "sub": person.sub,
            "version": version,
            "written": documents.written_under("written", dict(written)),
            "saved_at": self.now,
        }
        self._write(self._inserts.draft, values)

    def remove_drafts(self, workspace: str, item_id: UUID, *, of: Person | None = None) -> None:
        """Remove what was begun to be written on the item, by everybody or by one person."""
        asked: rows.Values = {"of_workspace": workspace, "of_item": item_id}
        statement = _REMOVE_DRAFTS
        if of is not None:
            statement, asked = _REMOVE_DRAFTS_OF, {**asked, "of_iss": of.iss, "of_sub": of.sub}
        self.wrote = bool(self._connection.execute(statement, asked).rowcount) or self.wrote

    def remove_closed_drafts(self, *, limit: int) -> int:
        """Remove the drafts on up to ``limit`` items that are closed, of every workspace; return how many items."""
        closed = self._connection.execute(_CLOSED_DRAFTS, {"limit": limit}).all()
        for row in closed:
            self.remove_drafts(row.workspace, row.item_id)
        return len(closed)

    def remove_openings(self, workspace: str, item_id: UUID) -> None:
        """Remove what opens the commitments to the item's content, in all of its events up to this transaction."""
        # Events of the works before this one may not be written yet.
        self.closed_up.append({"of_workspace": workspace, "of_item": item_id})

    def mark_indexed(self, seq: int, *, was: int) -> bool:
        """Note up to which event items can be found; False where it is no longer what it ``was``."""
        is_moved = searching.mark_indexed(self._connection, seq, was=was)
        self.wrote = self.wrote or is_moved
        return is_moved

    def keep_words(self, found: Sequence[ItemWords]) -> None:
        """Keep the words of items, in place of those they had; of items that were erased meanwhile none."""
        self.wrote = True
        searching.keep(self._connection, found)

    def forget_words(self, workspace: str, item_id: UUID) -> None:
        """Let the item not be found by anything that it said."""
        self.wrote = True
        searching.forget(self._connection, workspace, item_id)

    def record(self, event: AuditEvent) -> None:
        """Append the event to the audit log."""
        row, opening = rows.event_values(event)
        self.recorded.append(row)
        if opening is not None:
            self.openings.append(opening)

    def leads_sealing(self) -> bool:
        """Tell whether this transaction alone may seal until it ends; False where another process is at it."""
        return sealing.leads(self._connection)

    def add_seal(self, seal: Seal) -> None:
        """Keep the leaves, the nodes and the checkpoint. The database refuses a leaf, node or number that is there."""
        self.wrote = True
        sealing.add(self._connection, seal)

    def add_policy(self, policy: Policy) -> None:
        """Put a new version of the policy in force. Raises StaleItemError where the version exists already."""
        if not self._write(self._inserts.policy, rows.policy_values(policy)):
            raise StaleItemError(policy.number)

    def keep_agent(self, agent: Agent) -> None:
        """Keep the agent unless it is known."""
        self._write(self._inserts.agent, rows.agent_values(agent))

    def keep_tool(self, tool: Tool) -> None:
        """Keep the tool, or the new schema of a known one; a tool declared without one keeps what it had."""
        self._write(self._inserts.tool, rows.tool_values(tool))

    def add_key(self, key: AgentKey) -> None:
        """Keep a new key."""
        self._write(_ADD_KEY, rows.key_values(key))

    def save_key(self, key: AgentKey) -> None:
        """Replace the key's expiry, revocation, last use and limits."""
        self._write(
            _SAVE_KEY,
            {
                "was_workspace": key.workspace,
                "was_id": key.id,
                "expires_at": key.expires_at,
                "revoked_at": key.revoked_at,
                "last_used_at": key.last_used_at,
                **rows.limit_values(key.limits),
            },
        )

    def use_assertion(self, key: AgentKey, assertion_id: str, *, until: datetime) -> bool:
        """Keep that the key's agent used the assertion, and forget what has expired; False where it was used before."""
        self._connection.execute(_FORGET_ASSERTIONS, {"until": self.now})
        values = {"workspace": key.workspace, "prefix": key.prefix, "id": assertion_id, "expires_at": until}
        return self._write(self._inserts.assertion, values)

    def add_session(self, session: Session) -> None:
        """Keep a new session."""
        self._write(_ADD_SESSION, rows.session_values(session))

    def save_session(self, session: Session) -> None:
        """Replace when the session was seen, signed in and ended, and its ID token."""
        changed = {
            "seen_at": session.seen_at,
            "authenticated_at": session.person.authenticated_at,
            "ended_at": session.ended_at,
            "id_token": session.id_token,
        }
        self._write(_SAVE_SESSION, {"was_id": session.id, **changed})

    def keep_member(self, member: Member) -> None:
        """Keep the person as they are now."""
        self._write(self._inserts.member, rows.member_values(member))

    def keep_emergency(self, emergency: Emergency) -> None:
        """Keep an emergency as it is now."""
        self._write(self._inserts.emergency, rows.emergency_values(emergency))

    def keep_view(self, view: View) -> None:
        """Keep the view as it is now."""
        self._write(self._inserts.view, rows.view_values(view))

    def remove_view(self, view: View) -> None:
        """Remove the view."""
        asked = {"of_workspace": view.workspace, "of_id": view.id}
        self.wrote = bool(self._connection.execute(_REMOVE_VIEW, asked).rowcount) or self.wrote

    def add_pause(self, pause: Pause) -> None:
        """Keep a pause; one of the same agent and tool stands."""
        self._write(self._inserts.pause, rows.pause_values(pause))

    def remove_pause(self, pause: Pause) -> None:
        """Remove the pause of this agent and tool."""
        asked = {"of_workspace": pause.workspace, "of_agent": pause.agent or "", "of_tool": pause.tool or ""}
        self.wrote = bool(self._connection.execute(_REMOVE_PAUSE, asked).rowcount) or self.wrote

    def add_link(self, link: SignInLink) -> None:
        """Keep a new sign-in link."""
        self._write(_ADD_LINK, rows.link_values(link))

    def use_link(self, link_id: str) -> SignInLink | None:
        """Mark the link used and return it; None where it is unknown, used already or too old."""
        row = self._connection.execute(_USE_LINK, {"link_id": link_id, "now": self.now}).one_or_none()
        if row is None:
            return None
        self.wrote = True
        return rows.link_from(row)

    def wake(self, item_id: UUID) -> None:
        """Wake whoever waits for the item, once the transaction has committed."""
        self.woken.append(item_id)

    def _write(self, statement: Insert | Update, values: rows.Values) -> bool:
        # Minus one stands for "all of it": SQLAlchemy forgets the count of a plain insertion.
        changed = self._connection.execute(statement, values).rowcount != 0
        self.wrote = self.wrote or changed
        return changed

    def _write_recorded(self) -> None:
        self.wrote = self.wrote or bool(self.recorded)
        append(self._connection, {tables.audit_events: self.recorded, tables.openings: self.openings})
        self.recorded, self.openings = [], []

    def _claimed(self, statement: Update, claim: rows.Values) -> ReviewItem | None:
        taken = self._item(statement, **claim)
        self.wrote = self.wrote or taken is not None
        return taken

    def _by_urgency(self, queues: Sequence[str], claim: rows.Values) -> list[str]:
        if len(queues) == 1:
            return list(queues)
        tops: list[tuple[int, UUID, str]] = []
        for queue in set(queues):
            asked = {**claim, "in_queue": queue}
            statement = _TOP_OF_QUEUE_PASSING if "passed" in claim else _TOP_OF_QUEUE
            top = self._connection.execute(statement, asked).one_or_none()
            if top is not None:
                tops.append((top.priority, top.id, queue))
        return [queue for _, _, queue in sorted(tops)]


def _event_list(workspace: str, where: EventFilter) -> Select[Any]:
    return (
        select(_events.c.at, _events.c.leaf, _openings.c.people, _openings.c.content)
        .join_from(_events, _openings, sealing.OPENS, isouter=True)
        .where(*_event_conditions(workspace, where))
    )


def _event_conditions(workspace: str, where: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_events.c.workspace == workspace]
    if where.kind is not None:
        conditions.append(_events.c.kind == where.kind.value)
    if where.actor is not None:
        named = (_events.c.actor_id, _events.c.actor_name, _openings.c.actor_id, _openings.c.actor_name)
        conditions.append(or_(*(column == where.actor for column in named)))
    if where.item_id is not None:
        conditions.append(_events.c.item_id == where.item_id)
    if where.since is not None:
        conditions.append(_events.c.at >= where.since)
    if where.until is not None:
        conditions.append(_events.c.at < where.until)
    return conditions
