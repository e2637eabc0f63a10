"""Audit events: one thing that happened each, written in the transaction that made it happen.

What is personal, or computed from arguments, stands in the leaf as a salted commitment. Salt and value are its opening,
which is kept apart and can be erased; the leaf, and so the log, stays as it was sealed.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.canonical import canonical
from review.items import ReviewItem
from review.merkle import Frontier, Node
from review.people import AT_COMMAND_LINE, Person
from review.verify import ERASED, SALT_BYTES, commitment, openings_text

LEAF_VERSION = 2

# What is committed to: of a person, whoever they are; of an item's content, what could be found out by trying values.
_OF_PEOPLE = frozenset({"actor_id", "actor_name", "holder", "whom", "assignee"})
_OF_CONTENT = frozenset({"digest", "digest_seen", "permitted_digest", "places"})


class EventKind(StrEnum):
    """What happened, in the past tense."""

    ACTION_SUBMITTED = "action_submitted"
    AUDIT_QUEUED = "audit_queued"
    ITEM_CLAIMED = "item_claimed"
    CLAIM_EXTENDED = "claim_extended"
    CLAIM_RELEASED = "claim_released"
    CLAIM_LAPSED = "claim_lapsed"
    DECISION_MADE = "decision_made"
    DECISION_TAKEN_BACK = "decision_taken_back"
    DECISION_VOIDED = "decision_voided"
    ITEM_ASSIGNED = "item_assigned"
    ITEM_HANDED_OVER = "item_handed_over"
    ASSIGNMENT_ENDED = "assignment_ended"
    ITEM_SNOOZED = "item_snoozed"
    ITEM_WOKEN = "item_woken"
    DEADLINE_BREACHED = "deadline_breached"
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
    KEY_RENEWED = "key_renewed"
    KEY_REVOKED = "key_revoked"
    KEY_LIMITED = "key_limited"
    TOKEN_ISSUED = "token_issued"  # noqa: S105 -- a word, and no secret
    LINK_CREATED = "link_created"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SESSIONS_ENDED = "sessions_ended"
    ROLES_CHANGED = "roles_changed"
    TRAINING_CHANGED = "training_changed"
    GLASS_BROKEN = "glass_broken"
    EMERGENCY_ENDED = "emergency_ended"
    EMERGENCY_REVIEWED = "emergency_reviewed"
    PAUSED = "paused"
    RESUMED = "resumed"
    EXPORT_MADE = "export_made"
    PACE_EXCEEDED = "pace_exceeded"
    SHARE_EXCEEDED = "share_exceeded"
    KEY_ROTATED = "key_rotated"
    CONTENT_ERASED = "content_erased"
    CONTENT_EXPIRED = "content_expired"
    VALUES_REVEALED = "values_revealed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a ``person`` (id is ``iss#sub``), an ``agent``, the ``policy``, the ``system``, or an ``operator``.

    An operator is whoever gave a command on the server's own machine, where nobody is signed in.
    """

    kind: str
    id: str
    name: str


def person_actor(person: Person) -> Actor:
    """Return the person as an actor; (iss, sub) is who they are. At the command line it is the operator."""
    return Actor("operator" if person.id == AT_COMMAND_LINE.id else "person", person.id, person.name)


def agent_actor(agent: str) -> Actor:
    """Return the agent as an actor."""
    return Actor("agent", agent, agent)


SYSTEM = Actor("system", "signoff", "Signoff")
POLICY = Actor("policy", "policy", "Policy")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened; ``data`` holds digests and codes, never arguments or free text of people.

    ``leaf`` are the exact bytes that are kept, of an event that was read; what was erased reads ``[erased]`` in it.
    """

    id: UUID
    workspace: str
    at: datetime
    kind: EventKind
    actor: Actor
    item_id: UUID | None
    data: dict[str, Any]
    leaf: bytes = field(default=b"", compare=False, repr=False)

    @classmethod
    def at_large(cls, at: datetime, kind: EventKind, actor: Actor, *, workspace: str, **data: Any) -> "AuditEvent":  # noqa: ANN401 -- any JSON value
        """Make the event of something that concerns no single item."""
        return cls(uuid7(), workspace, at, kind, actor, None, data)

    @classmethod
    def of(cls, item: ReviewItem, at: datetime, kind: EventKind, actor: Actor, **data: Any) -> "AuditEvent":  # noqa: ANN401 -- any JSON value
        """Make the event of something that happened to the item."""
        return cls(uuid7(), item.workspace, at, kind, actor, item.id, data)

    @property
    def is_by_person(self) -> bool:
        """Tell whether a person did it, whose name then stands behind a commitment."""
        return self.actor.kind == "person"


@dataclass(frozen=True, slots=True)
class Written:
    """An event as it is kept: its leaf, RFC 8785 canonical JSON, and the openings of what the leaf commits to.

    The openings of people and of the item's content are apart, as `review.verify.openings_text` writes them: content is
    erased, and who decided stays known. None where nothing of the kind was committed to.
    """

    leaf: str
    people: str | None
    content: str | None


def written(event: AuditEvent) -> Written:
    """Return the event as it is to be kept, under fresh salts."""
    actor: dict[str, str] = {"kind": event.actor.kind}
    hidden = {
        name: value for name, value in event.data.items() if name in _OF_CONTENT | _OF_PEOPLE and value is not None
    }
    data = {name: value for name, value in event.data.items() if name not in hidden}
    if event.is_by_person:
        hidden |= {"actor_id": event.actor.id, "actor_name": event.actor.name}
    else:
        actor |= {"id": event.actor.id, "name": event.actor.name}
    openings = {name: (secrets.token_bytes(SALT_BYTES), value) for name, value in hidden.items()}
    leaf = {
        "version": LEAF_VERSION,
        "id": str(event.id),
        "workspace": event.workspace,
        "at": event.at.isoformat(timespec="microseconds"),
        "kind": event.kind.value,
        "actor": actor,
        "committed": {name: commitment(salt, value) for name, (salt, value) in openings.items()},
        "item": str(event.item_id) if event.item_id else None,
        "data": data,
    }
    people = {name: opening for name, opening in openings.items() if name in _OF_PEOPLE}
    content = {name: opening for name, opening in openings.items() if name in _OF_CONTENT}
    return Written(canonical(leaf).decode(), openings_text(people) or None, openings_text(content) or None)


def event_read(kept: Written, at: datetime) -> AuditEvent:
    """Return the event that was kept, ``[erased]`` where an opening is gone."""
    told = json.loads(kept.leaf)
    values = _opened(told.get("committed", {}), kept)
    actor = told["actor"]
    name, known_as = values.pop("actor_name", None), values.pop("actor_id", None)
    return AuditEvent(
        id=UUID(told["id"]),
        workspace=told["workspace"],
        at=at,
        kind=EventKind(told["kind"]),
        actor=Actor(actor["kind"], known_as or actor["id"], name or actor["name"]),
        item_id=UUID(told["item"]) if told["item"] else None,
        data=dict(sorted({**told["data"], **values}.items())),
        leaf=kept.leaf.encode(),
    )


def openings_of(kept: Written) -> str:
    """Return the openings that are left of the event, people's and content's together, as one text."""
    if kept.people is None or kept.content is None:
        return kept.people or kept.content or ""
    return canonical({**json.loads(kept.people), **json.loads(kept.content)}).decode()


def _opened(committed: Mapping[str, str], kept: Written) -> dict[str, str]:
    # The database is taken at its word here; that values and commitments agree is the verifier's to find out.
    found = {**json.loads(kept.people or "{}"), **json.loads(kept.content or "{}")}
    return {name: found[name][1] if name in found else ERASED for name in committed}


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
    """An event in its place in the tree, as the exact bytes that are kept, and what is left of its openings."""

    index: int
    leaf: bytes
    openings: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be sealed: how many events, counted no further than one checkpoint takes, and since when."""

    count: int
    oldest: datetime | None
