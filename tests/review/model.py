"""What a desk must do, in plain values: the reference that the state machine holds the real one against.

Every request is answered by a `Step`: what must be refused, or what must have changed and which events tell of it.
It knows neither database nor digest nor signature.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from agents.protocol import (
    Action,
    ActionRequest,
    Approve,
    Args,
    Decision,
    DecisionType,
    Edit,
    Execution,
    OnExpiry,
    Outcome,
    OutcomeStatus,
    Reject,
    Route,
    Status,
)
from review.audit import EventKind
from review.errors import (
    AlreadyConsumedError,
    AlreadyDecidedError,
    AlreadySettledError,
    ClaimLostError,
    DecisionNotAllowedError,
    DigestMismatchError,
    ItemChangedError,
    ItemHeldError,
    ItemNotFoundError,
    NotPermittedError,
    NotStartedError,
    OtherToolError,
    OutcomeNotUnknownError,
    OutcomeStandsError,
    OwnWorkError,
    ReceiptRefusedError,
    ReviewError,
    UndoTooLateError,
)
from review.intake import AUDIT_LIFE, AUDIT_PRIORITY, OBSERVED_PRIORITY
from review.items import CLAIM_DURATION, DEFAULT_PRIORITY, Purpose
from review.lifecycle import EXPIRED_MESSAGE

PERMIT_FOR = timedelta(hours=1)
OUTCOME_WITHIN = timedelta(minutes=15)
USUAL_LIFE = timedelta(hours=24)
ROUTES: Mapping[str, Route] = {
    "reply": Route.EXECUTE,
    "refund": Route.REVIEW,
    "pay": Route.REVIEW,
    "stock": Route.REVIEW,
    "wipe": Route.DENY,
}

_PRIORITIES = {
    Purpose.GATE: DEFAULT_PRIORITY,
    Purpose.AUDIT: AUDIT_PRIORITY,
    Purpose.SHADOW: OBSERVED_PRIORITY,
}

Happened: TypeAlias = tuple[EventKind, UUID]


@dataclass(frozen=True, slots=True)
class Given:
    """A decision that was made: by whom, under which claim, and for which version; an edit stands for what it made."""

    person: str
    epoch: int
    version: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Expected:
    """An item as it must be. ``action`` is the proposal, ``draft`` an edit of it that awaits approvals."""

    id: UUID
    agent: str
    action: Action
    route: Route
    expires_at: datetime
    quorum: int = 1
    may_expire_approved: bool = False
    allowed: tuple[DecisionType, ...] = tuple(DecisionType)
    purpose: Purpose = Purpose.GATE
    status: Status = Status.WAITING
    execution: Execution = Execution.NONE
    epoch: int = 0
    version: int = 1
    notes: int = 0
    holder: str | None = None
    until: datetime | None = None
    draft: Action | None = None
    given: tuple[Given, ...] = ()
    pending: Given | None = None
    settles_at: datetime | None = None
    decision: Decision | None = None
    permitted: Action | None = None
    permitted_until: datetime | None = None
    outcome_due_at: datetime | None = None
    outcome: Outcome | None = None
    found: tuple[str, OutcomeStatus, str] | None = None

    @property
    def urgency(self) -> tuple[int, UUID]:
        """The order in which items are handed out."""
        return (_PRIORITIES[self.purpose], self.id)

    @property
    def shown(self) -> Action:
        """What a reviewer has before them."""
        return self.draft or self.action

    def is_held_by(self, person: str, now: datetime) -> bool:
        """Tell whether the person may decide it now."""
        is_open = self.pending is None and self.until is not None and now < self.until
        return self.holder == person and is_open


@dataclass(frozen=True, slots=True)
class Step:
    """What a request must lead to: a refusal, or the items as they are then and the events that tell of it."""

    refusal: type[ReviewError] | None = None
    changed: tuple[Expected, ...] = ()
    events: tuple[Happened, ...] = ()


NOTHING = Step()


@dataclass(slots=True)
class Model:
    """All items of a workspace, and the time."""

    now: datetime
    items: dict[UUID, Expected] = field(default_factory=dict)
    in_shadow: bool = False
    undo_for: timedelta = timedelta(0)

    def accept(self, step: Step) -> None:
        """Let the step have happened."""
        self.items.update({item.id: item for item in step.changed})

    def claim(self, person: str) -> Step:
        """The most urgent item that waits, unless the person holds one; lapsed claims are freed first."""
        if self.held_by(person) is not None:
            return NOTHING
        freed = {item.id: replace(item, status=Status.WAITING, holder=None, until=None) for item in self._lapsed()}
        events = [(EventKind.CLAIM_LAPSED, item) for item in freed]
        after = {**self.items, **freed}
        waiting = [item for item in after.values() if item.status is Status.WAITING and _is_for(person, item)]
        if waiting:
            taken = self._taken(min(waiting, key=lambda item: item.urgency), person)
            freed[taken.id] = taken
            events.append((EventKind.ITEM_CLAIMED, taken.id))
        return Step(changed=tuple(freed.values()), events=tuple(events))

    def claim_item(self, person: str, item: Expected) -> Step:
        """This very item; what the person held before goes back."""
        if item.status.is_final:
            return Step(AlreadySettledError)
        if item.pending is not None:
            return Step(AlreadyDecidedError if item.pending.person == person else ItemHeldError)
        if item.is_held_by(person, self.now):
            return NOTHING
        if item.until is not None and self.now < item.until:
            return Step(ItemHeldError)
        if _has_had_a_hand_in(person, item):
            return Step(OwnWorkError)
        changed: list[Expected] = []
        events: list[Happened] = []
        held = self.held_by(person)
        if held is not None:
            changed.append(replace(held, status=Status.WAITING, holder=None, until=None))
            events.append((EventKind.CLAIM_RELEASED, held.id))
        if item.holder is not None:
            events.append((EventKind.CLAIM_LAPSED, item.id))
        changed.append(self._taken(item, person))
        events.append((EventKind.ITEM_CLAIMED, item.id))
        return Step(changed=tuple(changed), events=tuple(events))

    def extend(self, person: str, item: Expected, epoch: int) -> Step:
        """Hold it for another full while."""
        refusal = self._hold_refusal(person, item, epoch)
        if refusal is not None:
            return Step(refusal)
        longer = replace(item, until=self.now + CLAIM_DURATION)
        return Step(changed=(longer,), events=((EventKind.CLAIM_EXTENDED, item.id),))

    def release(self, person: str, item: Expected, epoch: int) -> Step:
        """Give it back; whoever does not hold it changes nothing."""
        if item.epoch != epoch or not item.is_held_by(person, self.now):
            return NOTHING
        free = replace(item, status=Status.WAITING, holder=None, until=None)
        return Step(changed=(free,), events=((EventKind.CLAIM_RELEASED, item.id),))

    def decide(self, person: str, item: Expected, decision: Decision, *, epoch: int, shown: Action) -> Step:
        """The same decision of the same person under the same claim again changes nothing."""
        if any((made.person, made.epoch, made.decision) == (person, epoch, decision) for made in item.given):
            return NOTHING
        if item.pending == Given(person, epoch, item.version, decision):
            return NOTHING
        refusal = self._hold_refusal(person, item, epoch) or _decision_refusal(item, decision, shown)
        if refusal is not None:
            return Step(refusal)
        made = Given(person, item.epoch, item.version, decision)
        if self.undo_for:
            settles_at = min(self.now + self.undo_for, item.expires_at)
            kept = replace(item, pending=made, settles_at=settles_at)
            return Step(changed=(kept,), events=((EventKind.DECISION_MADE, item.id),))
        done, kind = self._counted(item, made)
        return Step(changed=(done,), events=((kind, item.id),))

    def undo(self, person: str, item: Expected, epoch: int) -> Step:
        """The item back under a new claim; undoing again changes nothing."""
        if item.status.is_final:
            return Step(AlreadySettledError)
        if item.epoch == epoch + 1 and item.is_held_by(person, self.now):
            return NOTHING
        if item.pending is None or item.settles_at is None or item.epoch != epoch or item.settles_at <= self.now:
            return Step(UndoTooLateError)
        if item.pending.person != person:
            return Step(ClaimLostError)
        again = self._taken(replace(item, pending=None, settles_at=None), person)
        held = self.held_by(person)
        if held is None:
            return Step(changed=(again,), events=((EventKind.DECISION_TAKEN_BACK, item.id),))
        free = replace(held, status=Status.WAITING, holder=None, until=None)
        events = ((EventKind.CLAIM_RELEASED, held.id), (EventKind.DECISION_TAKEN_BACK, item.id))
        return Step(changed=(free, again), events=events)

    def settle(self) -> Step:
        """Every decision counts whose grace is over."""
        changed: list[Expected] = []
        events: list[Happened] = []
        for item in self.items.values():
            if item.pending is not None and item.settles_at is not None and item.settles_at <= self.now:
                done, kind = self._counted(item, item.pending)
                changed.append(done)
                events.append((kind, item.id))
        return Step(changed=tuple(changed), events=tuple(events))

    def ask(self, item: Expected) -> Step:
        """A note of either side, as long as the item is undecided."""
        if item.status.is_final:
            return Step(AlreadySettledError)
        return Step(changed=(replace(item, notes=item.notes + 1),), events=((EventKind.NOTE_ADDED, item.id),))

    def cancel(self, agent: str, item: Expected) -> Step:
        """Withdrawing again changes nothing."""
        if _is_foreign(agent, item):
            return Step(ItemNotFoundError)
        if item.status is Status.CANCELLED:
            return NOTHING
        if item.status.is_final:
            return Step(AlreadySettledError)
        gone = replace(item, status=Status.CANCELLED, holder=None, until=None, pending=None, settles_at=None)
        return Step(changed=(gone,), events=((EventKind.ITEM_CANCELLED, item.id),))

    def add_note(self, agent: str, item: Expected) -> Step:
        """The agent's answer."""
        return Step(ItemNotFoundError) if _is_foreign(agent, item) else self.ask(item)

    def consume(self, agent: str, item: Expected, args: Args, *, receipt_of: UUID | None, is_fresh: bool) -> Step:
        """Once, for exactly what was permitted; ``receipt_of`` is the item of the receipt shown, None for a forgery."""
        if _is_foreign(agent, item):
            return Step(ItemNotFoundError)
        if item.execution is Execution.NONE:
            return Step(NotPermittedError)
        if item.execution is not Execution.PERMITTED:
            return Step(AlreadyConsumedError)
        assert item.permitted is not None
        assert item.permitted_until is not None
        if receipt_of != item.id or not is_fresh or self.now >= item.permitted_until:
            return Step(ReceiptRefusedError)
        if args != item.permitted.args:
            return Step(DigestMismatchError)
        begun = replace(item, execution=Execution.STARTED, outcome_due_at=self.now + OUTCOME_WITHIN)
        return Step(changed=(begun,), events=((EventKind.RECEIPT_CONSUMED, item.id),))

    def report(self, agent: str, item: Expected, outcome: Outcome) -> Step:
        """Only ``unknown`` may be followed by another word."""
        if _is_foreign(agent, item):
            return Step(ItemNotFoundError)
        if item.execution in (Execution.NONE, Execution.PERMITTED):
            return Step(NotStartedError)
        if item.outcome == outcome:
            return NOTHING
        if item.execution in (Execution.SUCCEEDED, Execution.FAILED):
            return Step(OutcomeStandsError)
        ended = replace(item, execution=Execution(outcome.status.value), outcome=outcome)
        return Step(changed=(ended,), events=((EventKind.OUTCOME_REPORTED, item.id),))

    def reconcile(self, person: str, item: Expected, status: OutcomeStatus, note: str) -> Step:
        """What a person finds out of an unknown outcome; the same finding again changes nothing."""
        if item.found == (person, status, note):
            return NOTHING
        if item.execution is not Execution.UNKNOWN:
            return Step(OutcomeNotUnknownError)
        known = replace(item, execution=Execution(status.value), found=(person, status, note))
        return Step(changed=(known,), events=((EventKind.OUTCOME_RECONCILED, item.id),))

    def sweep(self) -> Step:
        """Free what lapsed, close what is overdue, and give up on outcomes that are missing."""
        freed = {item.id: replace(item, status=Status.WAITING, holder=None, until=None) for item in self._lapsed()}
        events = [(EventKind.CLAIM_LAPSED, item) for item in freed]
        for item in {**self.items, **freed}.values():
            if not item.status.is_final and item.pending is None and item.expires_at <= self.now:
                freed[item.id] = self._expired(item)
                events.append((EventKind.ITEM_EXPIRED, item.id))
            due = item.outcome_due_at if item.execution is Execution.STARTED else None
            if due is not None and due <= self.now:
                freed[item.id] = replace(item, execution=Execution.UNKNOWN)
                events.append((EventKind.OUTCOME_MISSED, item.id))
        return Step(changed=tuple(freed.values()), events=tuple(events))

    def submitted(self, item_id: UUID, agent: str, request: ActionRequest, life: timedelta) -> Expected:
        """A new item: what the policy answers at once, or what waits for a person."""
        tool = request.action.name
        item = Expected(
            id=item_id,
            agent=agent,
            action=request.action,
            route=ROUTES[tool],
            expires_at=self.now + life,
            allowed=request.allowed_decisions,
        )
        if request.observed:
            return replace(item, purpose=Purpose.SHADOW)
        match item.route:
            case Route.EXECUTE:
                return self._settled(item, Approve())
            case Route.DENY:
                return replace(item, status=Status.SETTLED)
        is_askable = request.on_expiry is OnExpiry.APPROVE and tool == "refund" and not self.in_shadow
        is_askable = is_askable and life >= USUAL_LIFE
        return replace(item, quorum=2 if tool == "pay" else 1, may_expire_approved=is_askable)

    def looked_at(self, item: Expected, item_id: UUID) -> Expected:
        """The copy of what the policy let run that a person looks at afterwards."""
        return Expected(
            id=item_id,
            agent=item.agent,
            action=item.action,
            route=item.route,
            expires_at=self.now + AUDIT_LIFE,
            allowed=item.allowed,
            purpose=Purpose.AUDIT,
        )

    def held_by(self, person: str) -> Expected | None:
        """What the person holds."""
        return next((item for item in self.items.values() if item.is_held_by(person, self.now)), None)

    def _lapsed(self) -> Iterator[Expected]:
        for item in self.items.values():
            if item.pending is None and item.until is not None and item.until <= self.now:
                yield item

    def _taken(self, item: Expected, person: str) -> Expected:
        until = self.now + CLAIM_DURATION
        return replace(item, status=Status.CLAIMED, epoch=item.epoch + 1, holder=person, until=until)

    def _hold_refusal(self, person: str, item: Expected, epoch: int) -> type[ReviewError] | None:
        if item.status.is_final:
            return AlreadySettledError
        if item.pending is not None:
            return AlreadyDecidedError if item.pending.person == person else ItemHeldError
        if item.expires_at <= self.now:
            return AlreadySettledError
        return None if item.epoch == epoch and item.is_held_by(person, self.now) else ClaimLostError

    def _counted(self, item: Expected, made: Given) -> tuple[Expected, EventKind]:
        decision = made.decision
        is_draft = isinstance(decision, Edit) and item.quorum > 1
        version = item.version + 1 if is_draft else item.version
        given = (*item.given, replace(made, version=version))
        free = replace(item, given=given, version=version, holder=None, until=None, pending=None, settles_at=None)
        if is_draft and isinstance(decision, Edit):
            return replace(free, status=Status.WAITING, draft=decision.edited_action), EventKind.EDIT_PROPOSED
        if isinstance(decision, Approve) and len(_approvers(free)) < item.quorum:
            return replace(free, status=Status.WAITING), EventKind.APPROVAL_GIVEN
        final = Edit(edited_action=item.draft) if item.draft and isinstance(decision, Approve) else decision
        return self._settled(free, final), EventKind.ITEM_DECIDED

    def _settled(self, item: Expected, decision: Decision) -> Expected:
        done = replace(item, status=Status.SETTLED, decision=decision, holder=None, until=None)
        is_yes = isinstance(decision, Approve | Edit)
        if not is_yes or item.purpose is not Purpose.GATE or self._is_in_shadow(item.action.name):
            return done
        action = decision.edited_action if isinstance(decision, Edit) else item.action
        return replace(done, execution=Execution.PERMITTED, permitted=action, permitted_until=self.now + PERMIT_FOR)

    def _is_in_shadow(self, tool: str) -> bool:
        return tool == "stock" or (tool == "refund" and self.in_shadow)

    def _expired(self, item: Expected) -> Expected:
        if item.may_expire_approved and not self._is_in_shadow(item.action.name):
            return self._settled(item, Approve())
        decision = Reject(message=EXPIRED_MESSAGE) if item.purpose is Purpose.GATE else None
        return replace(item, status=Status.EXPIRED, decision=decision, holder=None, until=None)


def _is_foreign(agent: str, item: Expected) -> bool:
    return item.agent != agent or item.purpose is Purpose.AUDIT


def _is_for(person: str, item: Expected) -> bool:
    return item.quorum == 1 or not _has_had_a_hand_in(person, item)


def _has_had_a_hand_in(person: str, item: Expected) -> bool:
    return any((made.person, made.version) == (person, item.version) for made in item.given)


def _approvers(item: Expected) -> set[str]:
    return {made.person for made in item.given if made.version == item.version and isinstance(made.decision, Approve)}


def _decision_refusal(item: Expected, decision: Decision, shown: Action) -> type[ReviewError] | None:
    if shown != item.shown:
        return ItemChangedError
    if decision.type not in item.allowed:
        return DecisionNotAllowedError
    if isinstance(decision, Edit) and decision.edited_action.name != item.action.name:
        return OtherToolError
    return None
