"""Audit events: one thing that happened each, written in the transaction that made it happen."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.canonical import canonical
from review.items import ReviewItem
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
