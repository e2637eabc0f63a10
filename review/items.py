"""The review item, from proposal to outcome, and what may be asked about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from agents.protocol import (
    Action,
    ActionRequest,
    Decision,
    DecisionType,
    Execution,
    Note,
    Outcome,
    OutcomeStatus,
    Reason,
    Route,
    Status,
)

T = TypeVar("T")

CLAIM_DURATION = timedelta(minutes=10)
ASSIGNMENT_DURATION = timedelta(hours=8)
MAX_NOTES = 100
DEFAULT_PRIORITY = 5

# What stands where words or a digest were erased and something must stand.
ERASED_TEXT = "[erased]"
ERASED_DIGEST = "sha256:" + "0" * 64


class Purpose(StrEnum):
    """Why an item is in the queue."""

    GATE = "gate"  # An agent waits for the decision.
    AUDIT = "audit"  # The action was let run; a person looks afterwards, and no receipt ever comes of it.
    SHADOW = "observed"  # The agent asked nobody; a person judges what it did or would have done. No receipt either.


class Aside(StrEnum):
    """Why an item that waits, as its agent sees it, is not there for everybody to take."""

    ASSIGNED = "assigned"  # It waits for one person.
    SNOOZED = "snoozed"  # It sleeps until a time.


class ReasonCode(StrEnum):
    """Why a reviewer did not approve as proposed; kept with the decision and its label."""

    WRONG_ACTION = "wrong_action"
    WRONG_ARGUMENTS = "wrong_arguments"
    NOT_ALLOWED = "not_allowed"
    NOT_NEEDED = "not_needed"
    MISSING_INFORMATION = "missing_information"
    UNSAFE = "unsafe"
    TONE = "tone"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Claim:
    """A reviewer's timed hold on an item; the epoch grows with each claim, so a late decision can be told."""

    iss: str
    sub: str
    name: str
    until: datetime

    def is_held_by(self, iss: str, sub: str, now: datetime) -> bool:
        """Tell whether the hold is this person's and has not lapsed."""
        return (self.iss, self.sub) == (iss, sub) and now < self.until


@dataclass(frozen=True, slots=True)
class Assignment:
    """Whom an item waits for, until when, who gave it to them, and what they said to it; agents never see it."""

    iss: str
    sub: str
    name: str
    until: datetime
    by: str
    note: str = ""

    def is_for(self, iss: str, sub: str) -> bool:
        """Tell whether this is the person that the item waits for."""
        return (self.iss, self.sub) == (iss, sub)


class Reconciliation(BaseModel):
    """What a person established of an action of which nobody knew whether it ran, and how they know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: OutcomeStatus
    note: str
    iss: str
    sub: str
    name: str
    at: datetime


class PendingDecision(BaseModel):
    """A person's decision that does not count yet: until ``settles_at`` they may take it back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Decision
    reason_codes: tuple[ReasonCode, ...] = ()
    iss: str
    sub: str
    name: str
    digest_seen: str
    dwell_ms: int
    decided_at: datetime
    settles_at: datetime

    def is_by(self, iss: str, sub: str) -> bool:
        """Tell whether this person made it."""
        return (self.iss, self.sub) == (iss, sub)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A person's rejection of a call: the item that it settled, and the thread that the call came from."""

    item_id: UUID
    thread_id: str | None


@dataclass(frozen=True, slots=True)
class SettledCall:
    """A call that was settled, as much of it as tells how like another call it is."""

    item_id: UUID
    digest: str
    subject: str | None
    args: dict[str, JsonValue]
    settled_by: str | None


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A request in the queue, with all that has happened to it.

    ``digest`` is over what the agent proposed; ``version`` grows when the item's content changes; ``epoch`` with each
    claim. ``quorum`` is how many distinct people must approve; ``draft`` is an edit that still needs approvals.
    ``pending`` is a decision that its maker may still take back; until it counts the item stays claimed, and the hold
    does not lapse. ``settled_by`` is a person's name or ``policy``. ``permitted_digest`` is over what may run: the
    proposed action, or the reviewer's edit of it. ``outcome_due_at`` is by when a started action should have told its
    outcome. ``rejections`` is how often people had rejected this very call before, ``repeats_id`` where they did last.
    ``erased_at`` is when its content was erased: what is left says what was done, and nothing of whom or what about.
    While nobody holds it, an ``assignment`` keeps it for one person, and ``snoozed_until`` from everybody.
    ``breached_at`` is when it was found undecided past ``due_at``. Of a ``blind`` item nobody is shown what others
    decided before it is settled. ``principal`` is the person that the agent says it acts for, as ``iss#sub``.
    """

    id: UUID
    workspace: str
    agent: str
    purpose: Purpose
    request: ActionRequest
    digest: str
    version: int
    route: Route
    reasons: tuple[Reason, ...]
    policy_version: int
    queue: str
    priority: int
    status: Status
    execution: Execution
    submitted_at: datetime
    due_at: datetime
    expires_at: datetime
    quorum: int = 1
    draft: Action | None = None
    parent_id: UUID | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    epoch: int = 0
    claim: Claim | None = None
    decision: Decision | None = None
    settled_by: str | None = None
    settled_at: datetime | None = None
    permitted_digest: str | None = None
    permitted_until: datetime | None = None
    jti: UUID | None = None
    receipt: str | None = None
    consumed_at: datetime | None = None
    outcome: Outcome | None = None
    notes: int = 0
    outcome_due_at: datetime | None = None
    reconciliation: Reconciliation | None = None
    repeats_id: UUID | None = None
    rejections: int = 0
    erased_at: datetime | None = None
    pending: PendingDecision | None = None
    assignment: Assignment | None = None
    snoozed_until: datetime | None = None
    breached_at: datetime | None = None
    blind: bool = False
    principal: str | None = None

    @property
    def aside(self) -> Aside | None:
        """Return why the item is not there for everybody to take; None where it is, or is held or closed."""
        if self.status is not Status.WAITING:
            return None
        if self.snoozed_until is not None:
            return Aside.SNOOZED
        return Aside.ASSIGNED if self.assignment is not None else None

    @property
    def is_high_impact(self) -> bool:
        """Tell whether a decision on it weighs so much that whoever makes it must have signed in just before.

        What weighs so much is the policy's to say: it is what several people must approve.
        """
        return self.purpose is Purpose.GATE and self.quorum > 1


def awaits_answer(notes: Sequence[Note]) -> bool:
    """Tell whether the last word in an item's thread is a reviewer's question."""
    return bool(notes) and notes[-1].author == "reviewer"


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A person's decision on an item, as it is kept: who, when, what was shown, how long they looked.

    ``item_version`` is the version that they stand for: of an edit that others must approve, the one that it made.
    ``counted_at`` is since when it counts: since it was made, or since it could not be taken back any more.
    """

    id: UUID
    workspace: str
    item_id: UUID
    item_version: int
    epoch: int
    decision: Decision
    reason_codes: tuple[ReasonCode, ...]
    iss: str
    sub: str
    name: str
    digest_seen: str
    dwell_ms: int
    policy_version: int
    decided_at: datetime
    counted_at: datetime


@dataclass(frozen=True, slots=True)
class ItemSummary:
    """A line of a list: an item without its request's body."""

    id: UUID
    agent: str
    tool: str
    purpose: Purpose
    queue: str
    priority: int
    status: Status
    route: Route
    execution: Execution
    confidence: float | None
    subject: str | None
    amount: str | None
    currency: str | None
    submitted_at: datetime
    due_at: datetime
    expires_at: datetime
    claim: Claim | None
    decision: DecisionType | None
    settled_by: str | None
    settled_at: datetime | None
    erased_at: datetime | None = None
    assignment: Assignment | None = None
    snoozed_until: datetime | None = None
    breached_at: datetime | None = None
    aside: Aside | None = None


class Order(StrEnum):
    """How a list is sorted; every order is served by an index."""

    URGENT = "urgent"  # priority, then age
    NEWEST = "newest"
    OLDEST = "oldest"
    SETTLED = "settled"  # latest settled first


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items a list shows; an empty field leaves nothing out.

    ``text`` stands to the letter in the request, which takes a look at each. ``words`` are searched for: each begins a
    word of what the item says, its decision included; what changed a moment ago may not be found yet.

    ``waiting`` are the items that anybody may take; those that are set aside are asked for by name.
    """

    statuses: tuple[Status | Aside, ...] = ()
    purpose: Purpose | None = None
    agent: str | None = None
    tool: str | None = None
    queue: str | None = None
    decision: DecisionType | None = None
    execution: Execution | None = None
    settled_by: str | None = None
    text: str | None = None
    words: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_breached: bool = False


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions of people an export holds; an empty field leaves nothing out.

    ``items`` is about the items that were decided on. All else is about the decision itself: its type, who made it,
    and when. ``reviewer`` is a pseudonym; for whoever may see names, a name or ``iss#sub`` does as well.
    """

    items: ItemFilter = field(default_factory=ItemFilter)
    decision: DecisionType | None = None
    reviewer: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERY_DECISION = DecisionFilter()


class KnownReviewer(NamedTuple):
    """Somebody who has decided; (iss, sub) is who they are, ``name`` what they were called then."""

    iss: str
    sub: str
    name: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last."""

    rows: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class View:
    """What a person chose on a screen (filters, order, search words), kept under a name; ``chosen`` is the screen's."""

    workspace: str
    id: UUID
    iss: str
    sub: str
    screen: str
    name: str
    chosen: Mapping[str, JsonValue]
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """A note with its place in the store."""

    id: UUID
    workspace: str
    item_id: UUID
    author_name: str
    note: Note


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as an agent declared it: the schema last seen for its name."""

    workspace: str
    agent: str
    name: str
    args_schema: dict[str, Any] | None
    first_seen_at: datetime
