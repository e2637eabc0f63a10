"""Audit events: one thing that happened each, written in the transaction that made it happen."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.canonical import canonical
from review.items import ReviewItem
from review.merkle import Frontier, Node
from review.people import Person


class EventKind(StrEnum):
    """What happened, in the past tense."""

    ACTION_SUBMITTED = "action_submitted"
    AUDIT_QUEUED = "audit_queued"
    ITEM_CLAIMED = "item_claimed"
    CLAIM_EXTENDED = "claim_extended"
    CLAIM_RELEASED = "claim_released"
    CLAIM_LAPSED = "claim_lapsed"
    ITEM_DECIDED = "item_decided"
    APPROVAL_GIVEN = "approval_given"
    EDIT_PROPOSED = "edit_proposed"
    ITEM_EXPIRED = "item_expired"
    ITEM_CANCELLED = "item_cancelled"
    NOTE_ADDED = "note_added"
    RECEIPT_CONSUMED = "receipt_consumed"
    OUTCOME_REPORTED = "outcome_reported"
    OUTCOME_MISSED = "outcome_missed"
    OUTCOME_RECONCILED = "outcome_reconciled"
    POLICY_SAVED = "policy_saved"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    LINK_CREATED = "link_created"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    EXPORT_MADE = "export_made"
    PACE_EXCEEDED = "pace_exceeded"
    KEY_ROTATED = "key_rotated"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a ``person`` (id is ``iss#sub``), an ``agent``, the ``policy``, or the ``system``."""

    kind: str
    id: str
    name: str


def person_actor(person: Person) -> Actor:
    """Return the person as an actor; (iss, sub) is who they are."""
    return Actor("person", person.id, person.name)


def agent_actor(agent: str) -> Actor:
    """Return the agent as an actor."""
    return Actor("agent", agent, agent)


SYSTEM = Actor("system", "signoff", "Signoff")
POLICY = Actor("policy", "policy", "Policy")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened; ``data`` holds digests and codes, never arguments or free text of people."""

    id: UUID
    workspace: str
    at: datetime
    kind: EventKind
    actor: Actor
    item_id: UUID | None
    data: dict[str, Any]

    @classmethod
    def at_large(cls, at: datetime, kind: EventKind, actor: Actor, *, workspace: str, **data: Any) -> "AuditEvent":  # noqa: ANN401 -- any JSON value
        """Make the event of something that concerns no single item."""
        return cls(uuid7(), workspace, at, kind, actor, None, data)

    @classmethod
    def of(cls, item: ReviewItem, at: datetime, kind: EventKind, actor: Actor, **data: Any) -> "AuditEvent":  # noqa: ANN401 -- any JSON value
        """Make the event of something that happened to the item."""
        return cls(uuid7(), item.workspace, at, kind, actor, item.id, data)

    def leaf(self) -> bytes:
        """Return the exact bytes that are kept and exported: RFC 8785 canonical JSON."""
        return canonical(
            {
                "version": 1,
                "id": str(self.id),
                "workspace": self.workspace,
                "at": self.at.isoformat(timespec="microseconds"),
                "kind": self.kind.value,
                "actor": {"kind": self.actor.kind, "id": self.actor.id, "name": self.actor.name},
                "item": str(self.item_id) if self.item_id else None,
                "data": self.data,
            }
        )


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a list shows; an empty field leaves nothing out."""

    kind: EventKind | None = None
    actor: str | None = None
    item_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A committed event that stands in no tree yet; ``seq`` counts the events of all workspaces."""

    seq: int
    workspace: str
    leaf: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """The log of a workspace at its latest checkpoint: the ``number``-th, its signed ``note``, and the tree's edge."""

    workspace: str
    number: int
    frontier: Frontier
    origin: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Seal:
    """What a checkpoint adds to a log: leaves as (seq, index, hash), nodes of every eighth level, and the new head."""

    head: LogHead
    leaves: tuple[tuple[int, int, bytes], ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event in its place in the tree, as the exact bytes that are kept."""

    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be sealed: how many events, counted no further than one checkpoint takes, and since when."""

    count: int
    oldest: datetime | None
