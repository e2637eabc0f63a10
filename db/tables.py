"""The tables, as SQLAlchemy models; what they hold is said by the nouns of `review`.

Every table carries its workspace, and where it is part of the key it comes first: one index then serves both the
look-up and the list in order of id (ids are UUIDv7). No index stands without a query: each costs every submit.
"""

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.types import FreeText, Instant

WAITING = "status = 'waiting'"
CLAIMED = "status = 'claimed'"
PENDING = "settles_at IS NOT NULL"
# What waits, and is not there for everybody, has a status of its own here: no claim has to look past it.
ASSIGNED = "status = 'assigned'"
SNOOZED = "status = 'snoozed'"
ASIDE = "status IN ('assigned', 'snoozed')"
UNDECIDED = "status IN ('waiting', 'claimed', 'assigned', 'snoozed')"
BREACHED = "status = 'waiting' AND breached_at IS NOT NULL"
# What can be found overdue, once: claimed items as well, so that a claim does not have to change the index.
UNBREACHED = f"{UNDECIDED} AND breached_at IS NULL AND purpose = 'gate'"
# What stands in line before others: not what people look at afterwards, which comes after everything else.
IN_LINE = f"{WAITING} AND purpose = 'gate'"
AFTERWARDS = f"{WAITING} AND purpose <> 'gate'"
STARTED = "execution = 'started'"
UNKNOWN = "execution = 'unknown'"
# By a person, while the agent waited: what the policy denies has another route, and what expires another status.
REJECTED = "decision_type = 'reject' AND route = 'review' AND status = 'settled' AND purpose = 'gate'"

# Settled by a person, whatever they decided and however the item came before them. What was erased is left out, so that
# no question about rejections is answered from here.
JUDGED = "status = 'settled' AND route = 'review' AND erased_at IS NULL"

# SQLite numbers rows by itself only where the type is called INTEGER, which there is as large as a BIGINT.
_Count = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """What all tables share: the way their columns are typed and their constraints named."""

    type_annotation_map = {str: Text(), datetime: Instant()}  # noqa: RUF012 -- read by SQLAlchemy, never changed
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class ItemRow(Base):
    """A review item. What lists show comes first and the documents last: SQLite reads a row from its beginning."""

    __tablename__ = "items"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent: Mapped[str]
    tool: Mapped[str]
    purpose: Mapped[str]
    queue: Mapped[str] = mapped_column(FreeText)
    priority: Mapped[int]
    status: Mapped[str]
    route: Mapped[str]
    execution: Mapped[str]
    confidence: Mapped[float | None]
    subject: Mapped[str | None] = mapped_column(FreeText)
    amount: Mapped[str | None]
    currency: Mapped[str | None]
    submitted_at: Mapped[datetime]
    due_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    claim_name: Mapped[str | None] = mapped_column(FreeText)
    claim_until: Mapped[datetime | None]
    decision_type: Mapped[str | None]
    settled_by: Mapped[str | None] = mapped_column(FreeText)
    settled_at: Mapped[datetime | None]
    version: Mapped[int]
    epoch: Mapped[int]
    digest: Mapped[str]
    policy_version: Mapped[int]
    parent_id: Mapped[UUID | None]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]
    claim_iss: Mapped[str | None] = mapped_column(FreeText)
    claim_sub: Mapped[str | None] = mapped_column(FreeText)
    permitted_digest: Mapped[str | None]
    permitted_until: Mapped[datetime | None]
    jti: Mapped[UUID | None]
    consumed_at: Mapped[datetime | None]
    notes: Mapped[int]
    quorum: Mapped[int]
    reasons: Mapped[str]
    draft: Mapped[str | None]
    decision: Mapped[str | None]
    outcome: Mapped[str | None]
    receipt: Mapped[str | None]
    request: Mapped[str]
    outcome_due_at: Mapped[datetime | None]
    reconciliation: Mapped[str | None]
    repeats_id: Mapped[UUID | None]
    rejections: Mapped[int] = mapped_column(server_default="0")
    erased_at: Mapped[datetime | None]
    settles_at: Mapped[datetime | None]
    pending: Mapped[str | None]
    assigned_iss: Mapped[str | None] = mapped_column(FreeText)
    assigned_sub: Mapped[str | None] = mapped_column(FreeText)
    assigned_name: Mapped[str | None] = mapped_column(FreeText)
    assigned_until: Mapped[datetime | None]
    assigned_by: Mapped[str | None] = mapped_column(FreeText)
    assigned_note: Mapped[str | None] = mapped_column(FreeText)
    snoozed_until: Mapped[datetime | None]
    breached_at: Mapped[datetime | None]
    blind: Mapped[bool] = mapped_column(server_default=false())
    principal: Mapped[str | None] = mapped_column(FreeText)

    __table_args__ = (
        UniqueConstraint("workspace", "agent", "idempotency_key"),
        Index("ix_items_agent", "workspace", "agent", "id"),
        # Claim next, and the urgent list; then the same of one queue.
        _partial("ix_items_urgent", "workspace", "priority", "id", where=WAITING),
        _partial("ix_items_queue", "workspace", "queue", "priority", "id", where=WAITING),
        # The newest and the oldest that wait, however many are settled.
        _partial("ix_items_waiting", "workspace", "id", where=WAITING),
        # How many of an agent's stand in line.
        _partial("ix_items_in_line", "workspace", "agent", where=IN_LINE),
        # What ran already or was observed, and waits for a look: most desks have little of it, or nothing else.
        _partial("ix_items_afterwards", "workspace", "purpose", "priority", "id", where=AFTERWARDS),
        _partial("ix_items_expires_at", "expires_at", where=UNDECIDED),
        _partial("ix_items_due_at", "due_at", where=UNBREACHED),
        # What is overdue, what is assigned and what sleeps; a submit touches none.
        _partial("ix_items_breached", "workspace", "priority", "id", where=BREACHED),
        _partial("ix_items_breached_queue", "workspace", "queue", "priority", "id", where=BREACHED),
        _partial("ix_items_aside", "workspace", "priority", "id", where=ASIDE),
        _partial("ix_items_assigned", "workspace", "assigned_iss", "assigned_sub", "priority", "id", where=ASSIGNED),
        _partial("ix_items_assigned_until", "assigned_until", where=ASSIGNED),
        _partial("ix_items_snoozed_until", "snoozed_until", where=SNOOZED),
        # Claimed items are as many as there are people, so this finds them for the lists as well.
        _partial("ix_items_holder", "workspace", "claim_iss", "claim_sub", where=CLAIMED),
        _partial("ix_items_claim_until", "claim_until", where=CLAIMED),
        # As many as were decided in the last few seconds.
        _partial("ix_items_settles_at", "settles_at", where=PENDING),
        # Written when an execution starts or is lost sight of, and when a person rejects; a submit touches none.
        _partial("ix_items_outcome_due_at", "outcome_due_at", where=STARTED),
        _partial("ix_items_unknown", "workspace", "settled_at", "id", where=UNKNOWN),
        _partial("ix_items_rejected", "workspace", "agent", "digest", "settled_at", where=REJECTED),
        # What people settled last of an agent's calls of a tool: beside the next one of them.
        _partial("ix_items_judged", "workspace", "agent", "tool", "settled_at", where=JUDGED),
        _partial("ix_items_settled", "workspace", "settled_at", "id", where="settled_at IS NOT NULL"),
        # The copies of an item that were drawn for a look afterwards; few submits have one.
        _partial("ix_items_parent", "workspace", "parent_id", where="parent_id IS NOT NULL"),
    )


class DecisionRow(Base):
    """A person's decision on an item."""

    __tablename__ = "decisions"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    item_id: Mapped[UUID]
    item_version: Mapped[int]
    epoch: Mapped[int]
    decision: Mapped[str]
    reason_codes: Mapped[str]
    iss: Mapped[str] = mapped_column(FreeText)
    sub: Mapped[str] = mapped_column(FreeText)
    name: Mapped[str] = mapped_column(FreeText)
    digest_seen: Mapped[str]
    dwell_ms: Mapped[int] = mapped_column(BigInteger)
    policy_version: Mapped[int]
    decided_at: Mapped[datetime]
    counted_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["workspace", "item_id"], ["items.workspace", "items.id"]),
        Index("ix_decisions_item", "workspace", "item_id", "id"),
    )


class DraftRow(Base):
    """What a reviewer has begun to write on a version of an item."""

    __tablename__ = "drafts"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[UUID] = mapped_column(primary_key=True)
    iss: Mapped[str] = mapped_column(FreeText, primary_key=True)
    sub: Mapped[str] = mapped_column(FreeText, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    written: Mapped[str]
    saved_at: Mapped[datetime]

    __table_args__ = (ForeignKeyConstraint(["workspace", "item_id"], ["items.workspace", "items.id"]),)


class NoteRow(Base):
    """One entry of the thread between reviewer and agent."""

    __tablename__ = "notes"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    item_id: Mapped[UUID]
    author_name: Mapped[str] = mapped_column(FreeText)
    note: Mapped[str]

    __table_args__ = (
        ForeignKeyConstraint(["workspace", "item_id"], ["items.workspace", "items.id"]),
        Index("ix_notes_item", "workspace", "item_id", "id"),
    )


class AuditEventRow(Base):
    """One thing that happened; triggers refuse every change. ``leaf`` is the evidence, the rest finds it.

    ``seq`` counts what was written, of every workspace. On SQLite that is the order of the commits and without gaps; on
    PostgreSQL a lower number can be committed after a higher one (see `db.sealing`).
    """

    __tablename__ = "audit_events"

    seq: Mapped[int] = mapped_column(_Count, primary_key=True)
    workspace: Mapped[str]
    id: Mapped[UUID]
    at: Mapped[datetime]
    kind: Mapped[str]
    actor_id: Mapped[str] = mapped_column(FreeText)
    actor_name: Mapped[str] = mapped_column(FreeText)
    item_id: Mapped[UUID | None]
    leaf: Mapped[str]

    __table_args__ = (
        UniqueConstraint("workspace", "id"),
        _partial("ix_audit_events_item", "workspace", "item_id", "id", where="item_id IS NOT NULL"),
    )


class OpeningRow(Base):
    """What opens the commitments of an event's leaf: of people, and of the item's content; this may be removed.

    ``actor_id`` and ``actor_name`` find what a person did. Not a table WITHOUT ROWID: rows that are only ever appended
    are not moved, and what was moved could stay behind in SQLite's file.
    """

    __tablename__ = "openings"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    actor_id: Mapped[str | None] = mapped_column(FreeText)
    actor_name: Mapped[str | None] = mapped_column(FreeText)
    people: Mapped[str | None]
    content: Mapped[str | None]


class AuditLeafRow(Base):
    """Where an event stands in its workspace's tree, and the RFC 6962 hash that was sealed; never changed.

    The key is the event's ``seq``: no event can have two leaves.
    """

    __tablename__ = "audit_leaves"

    seq: Mapped[int] = mapped_column(_Count, primary_key=True, autoincrement=False)
    workspace: Mapped[str]
    leaf_index: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]

    __table_args__ = (UniqueConstraint("workspace", "leaf_index"),)


class AuditNodeRow(Base):
    """The hash of a complete subtree whose height is a multiple of eight (`review.merkle`); never changed."""

    __tablename__ = "audit_nodes"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    hash: Mapped[bytes]


class CheckpointRow(Base):
    """A signed head of the log, with the tree's right edge, 32 bytes a subtree; never changed."""

    __tablename__ = "checkpoints"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    frontier: Mapped[bytes]
    origin: Mapped[str]
    note: Mapped[str]
    at: Mapped[datetime]


class PolicyRow(Base):
    """A version of the policy; the highest number is in force."""

    __tablename__ = "policies"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[str]
    saved_at: Mapped[datetime]
    saved_by: Mapped[str] = mapped_column(FreeText)
    comment: Mapped[str] = mapped_column(FreeText)


class ItemWordsRow(Base):
    """The words that an item is found by; the full-text index over them is the databases' own (`db.searching`)."""

    __tablename__ = "item_words"

    number: Mapped[int] = mapped_column(_Count, primary_key=True)
    workspace: Mapped[str]
    item_id: Mapped[UUID]
    words: Mapped[str]

    __table_args__ = (UniqueConstraint("workspace", "item_id"),)


class IndexMarkRow(Base):
    """Up to which audit event items were made findable; there is one row."""

    __tablename__ = "index_marks"

    name: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)


class AgentRow(Base):
    """A program that submits actions."""

    __tablename__ = "agents"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class ToolRow(Base):
    """A tool as an agent declared it."""

    __tablename__ = "tools"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    args_schema: Mapped[str | None]
    first_seen_at: Mapped[datetime]


class KeyRow(Base):
    """What an agent is let in by: a prefix with the SHA-256 of a secret, or with a document of public keys."""

    __tablename__ = "agent_keys"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(FreeText)
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    per_minute: Mapped[int | None]
    most_waiting: Mapped[int | None]
    public_keys: Mapped[str | None]


class AssertionRow(Base):
    """An assertion that an agent proved itself by, until it could not be used again anyway."""

    __tablename__ = "assertions"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_assertions_expires_at", "expires_at"),)


class SessionRow(Base):
    """A signed-in browser."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    iss: Mapped[str] = mapped_column(FreeText)
    sub: Mapped[str] = mapped_column(FreeText)
    name: Mapped[str] = mapped_column(FreeText)
    roles: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    authenticated_at: Mapped[datetime | None]
    sid: Mapped[str | None] = mapped_column(FreeText)
    id_token: Mapped[str | None]

    __table_args__ = (_partial("ix_sessions_person", "iss", "sub", where="ended_at IS NULL"),)


class MemberRow(Base):
    """A person as their workspace knows them."""

    __tablename__ = "members"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    iss: Mapped[str] = mapped_column(FreeText, primary_key=True)
    sub: Mapped[str] = mapped_column(FreeText, primary_key=True)
    name: Mapped[str] = mapped_column(FreeText)
    claimed: Mapped[str]
    given: Mapped[str]
    taken: Mapped[str]
    trained_until: Mapped[str]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class EmergencyRow(Base):
    """A time in which somebody may approve alone."""

    __tablename__ = "emergencies"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    iss: Mapped[str] = mapped_column(FreeText)
    sub: Mapped[str] = mapped_column(FreeText)
    name: Mapped[str] = mapped_column(FreeText)
    reason: Mapped[str] = mapped_column(FreeText)
    ticket: Mapped[str] = mapped_column(FreeText)
    opened_at: Mapped[datetime]
    until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    reviewed_by: Mapped[str | None] = mapped_column(FreeText)
    reviewed_at: Mapped[datetime | None]
    finding: Mapped[str | None] = mapped_column(FreeText)

    __table_args__ = (Index("ix_emergencies_until", "workspace", "until"),)


class ViewRow(Base):
    """What a person chose on a screen, kept under a name."""

    __tablename__ = "views"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    iss: Mapped[str] = mapped_column(FreeText)
    sub: Mapped[str] = mapped_column(FreeText)
    screen: Mapped[str]
    name: Mapped[str] = mapped_column(FreeText)
    chosen: Mapped[str]
    saved_at: Mapped[datetime]

    __table_args__ = (Index("ux_views_name", "workspace", "iss", "sub", "screen", "name", unique=True),)


class PauseRow(Base):
    """A hold on new permissions; an empty agent or tool stands for every one."""

    __tablename__ = "pauses"

    workspace: Mapped[str] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(primary_key=True)
    tool: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(FreeText)
    paused_at: Mapped[datetime]
    paused_by: Mapped[str] = mapped_column(FreeText)


class LinkRow(Base):
    """A single-use sign-in link."""

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    iss: Mapped[str] = mapped_column(FreeText)
    sub: Mapped[str] = mapped_column(FreeText)
    name: Mapped[str] = mapped_column(FreeText)
    roles: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def table(row: type[Base]) -> Table:
    """Return the model's table, for statements that build no objects."""
    return cast("Table", row.__table__)


items = table(ItemRow)
decisions = table(DecisionRow)
drafts = table(DraftRow)
notes = table(NoteRow)
audit_events = table(AuditEventRow)
openings = table(OpeningRow)
audit_leaves = table(AuditLeafRow)
audit_nodes = table(AuditNodeRow)
checkpoints = table(CheckpointRow)
policies = table(PolicyRow)
agents = table(AgentRow)
tools = table(ToolRow)
agent_keys = table(KeyRow)
assertions = table(AssertionRow)
sessions = table(SessionRow)
links = table(LinkRow)
members = table(MemberRow)
pauses = table(PauseRow)
emergencies = table(EmergencyRow)
views = table(ViewRow)
item_words = table(ItemWordsRow)
index_marks = table(IndexMarkRow)
