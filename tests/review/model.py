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
    ItemAssignedError,
    ItemChangedError,
    ItemHeldError,
    ItemNotFoundError,
    NobodyThereError,
    NotAsideError,
    NotPermittedError,
    NotStartedError,
    OtherToolError,
    OutcomeNotUnknownError,
    OutcomeStandsError,
    OwnWorkError,
    ReceiptRefusedError,
    ReviewError,
    UndoTooLateError,
    UnfitTimeError,
)
from review.intake import AUDIT_LIFE, AUDIT_PRIORITY, OBSERVED_PRIORITY
from review.items import ASSIGNMENT_DURATION, CLAIM_DURATION, DEFAULT_PRIORITY, Aside, Purpose
from review.lifecycle import EXPIRED_MESSAGE

PERMIT_FOR = timedelta(hours=1)
OUTCOME_WITHIN = timedelta(minutes=15)
USUAL_LIFE = timedelta(hours=24)
DUE_IN = timedelta(hours=4)
LATE, LATE_PRIORITY = "late", 3
ROUTES: Mapping[str, Route] = {
    "reply": Route.EXECUTE,
    "refund": Route.REVIEW,
    "pay": Route.REVIEW,
    "stock": Route.REVIEW,
    "wipe": Route.DENY,
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
    asked_by: str | None = None
    holder: str | None = None
    until: datetime | None = None
    due_at: datetime | None = None
    queue: str = "general"
    priority: int = DEFAULT_PRIORITY
    assignee: str | None = None
    assigned_until: datetime | None = None
    snoozed_until: datetime | None = None
    is_breached: bool = False
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
        return (self.priority, self.id)

    @property
    def aside(self) -> Aside | None:
        """Why it is not there for everybody."""
        if self.status is not Status.WAITING:
            return None
        if self.snoozed_until is not None:
            return Aside.SNOOZED
        return Aside.ASSIGNED if self.assignee is not None else None

    @property
    def free(self) -> "Expected":
        """The item as it is when it waits for everybody."""
        return replace(
            self,
            status=Status.WAITING,
            holder=None,
            until=None,
            assignee=None,
            assigned_until=None,
            snoozed_until=None,
            pending=None,
            settles_at=None,
        )

    def is_kept_for(self, person: str, now: datetime) -> bool:
        """Tell whether it waits for this person."""
        is_kept = self.aside is Aside.ASSIGNED and self.assignee == person
        return is_kept and self.assigned_until is not None and now < self.assigned_until

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
        freed = {item.id: item.free for item in self._lapsed()}
        events = [(EventKind.CLAIM_LAPSED, item) for item in freed]
        after = [item for item in {**self.items, **freed}.values() if _is_for(person, item)]
        waiting = [item for item in after if item.aside is Aside.ASSIGNED and item.assignee == person]
        waiting = waiting or [item for item in after if item.status is Status.WAITING and item.aside is None]
        if waiting:
            taken = self._taken(min(waiting, key=lambda item: item.urgency), person)
            freed[taken.id] = taken
            events.append((EventKind.ITEM_CLAIMED, taken.id))
        return Step(changed=tuple(freed.values()), events=tuple(events))

    def claim_ahead(self, person: str) -> Step:
        """One more for whoever holds one, unless it is the last that waits."""
        waiting = [item for item in self.items.values() if item.status is Status.WAITING and item.aside is None]
        mine = [item for item in self.items.values() if item.aside is Aside.ASSIGNED and item.assignee == person]
        free = [item for item in mine if _is_for(person, item)] or [item for item in waiting if _is_for(person, item)]
        if len(self.held(person)) != 1 or len(waiting) < 2 or not free:
            return NOTHING
        taken = self._taken(min(free, key=lambda item: item.urgency), person)
        return Step(changed=(taken,), events=((EventKind.ITEM_CLAIMED, taken.id),))

    def claim_item(self, person: str, item: Expected) -> Step:
        """This very item; what the person held before goes back."""
        if item.pending is None and item.is_held_by(person, self.now):
            return NOTHING
        refusal = self._claim_refusal(person, item)
        if refusal is not None:
            return Step(refusal)
        changed: list[Expected] = []
        events: list[Happened] = []
        for held in self.held(person):
            changed.append(held.free)
            events.append((EventKind.CLAIM_RELEASED, held.id))
        if item.holder is not None:
            events.append((EventKind.CLAIM_LAPSED, item.id))
            item = item.free
        if item.aside is Aside.ASSIGNED and item.assignee != person:
            events.append((EventKind.ASSIGNMENT_ENDED, item.id))
            item = item.free
        changed.append(self._taken(item, person))
        events.append((EventKind.ITEM_CLAIMED, item.id))
        return Step(changed=tuple(changed), events=tuple(events))

    def _claim_refusal(self, person: str, item: Expected) -> type[ReviewError] | None:
        if item.status.is_final:
            return AlreadySettledError
        if item.pending is not None:
            return AlreadyDecidedError if item.pending.person == person else ItemHeldError
        if item.until is not None and self.now < item.until:
            return ItemHeldError
        if _has_had_a_hand_in(person, item):
            return OwnWorkError
        is_kept = item.assignee not in (None, person) and item.is_kept_for(item.assignee or "", self.now)
        return ItemAssignedError if is_kept else None

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
        return Step(changed=(item.free,), events=((EventKind.CLAIM_RELEASED, item.id),))

    def assign(self, person: str, item: Expected, to: str) -> Step:
        """Only the one named can take it from now on; a hold that lapsed is over first."""
        refusal = self._closed_refusal(person, item)
        if refusal is not None:
            return Step(refusal)
        if item.until is not None and self.now < item.until:
            return Step(ItemHeldError)
        if _has_had_a_hand_in(to, item):
            return Step(OwnWorkError)
        if item.aside is Aside.ASSIGNED and item.assignee == to:
            return NOTHING
        lapsed = [(EventKind.CLAIM_LAPSED, item.id)] if item.holder else []
        return Step(changed=(self._assigned(item, to),), events=(*lapsed, (EventKind.ITEM_ASSIGNED, item.id)))

    def hand_over(self, person: str, item: Expected, epoch: int, to: str) -> Step:
        """Whoever holds it gives it to another."""
        refusal = self._closed_refusal(person, item) or self._hold_refusal(person, item, epoch)
        if refusal is not None:
            return Step(refusal)
        if to == person:
            return Step(NobodyThereError)
        if _has_had_a_hand_in(to, item):
            return Step(OwnWorkError)
        return Step(changed=(self._assigned(item, to),), events=((EventKind.ITEM_HANDED_OVER, item.id),))

    def snooze(self, person: str, item: Expected, until: datetime) -> Step:
        """It sleeps until then, never past its end, and never out of somebody else's hands."""
        refusal = self._closed_refusal(person, item)
        if refusal is not None:
            return Step(refusal)
        if not self.now < until < min(item.expires_at, self.now + timedelta(days=14)):
            return Step(UnfitTimeError)
        if item.aside is Aside.SNOOZED and item.snoozed_until == until:
            return NOTHING
        if item.until is not None and self.now < item.until and item.holder != person:
            return Step(ItemHeldError)
        is_lapsed = item.until is not None and item.until <= self.now
        lapsed = [(EventKind.CLAIM_LAPSED, item.id)] if is_lapsed else []
        asleep = replace(item.free, snoozed_until=until)
        return Step(changed=(asleep,), events=(*lapsed, (EventKind.ITEM_SNOOZED, item.id)))

    def put_back(self, person: str, item: Expected) -> Step:
        """It is there for everybody again."""
        refusal = self._closed_refusal(person, item)
        if refusal is not None:
            return Step(refusal)
        if item.aside is None:
            return Step(NotAsideError)
        kind = EventKind.ITEM_WOKEN if item.aside is Aside.SNOOZED else EventKind.ASSIGNMENT_ENDED
        return Step(changed=(item.free,), events=((kind, item.id),))

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
        free = [held.free for held in self.held(person)]
        released = [(EventKind.CLAIM_RELEASED, held.id) for held in free]
        return Step(changed=(*free, again), events=(*released, (EventKind.DECISION_TAKEN_BACK, item.id)))

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

    def ask(self, item: Expected, by: str | None = None) -> Step:
        """A note of either side, as long as the item is undecided; the same question again while it is open is none."""
        if item.status.is_final:
            return Step(AlreadySettledError)
        if by is not None and item.asked_by == by:
            return NOTHING
        noted = replace(item, notes=item.notes + 1, asked_by=by)
        return Step(changed=(noted,), events=((EventKind.NOTE_ADDED, item.id),))

    def cancel(self, agent: str, item: Expected) -> Step:
        """Withdrawing again changes nothing."""
        if _is_foreign(agent, item):
            return Step(ItemNotFoundError)
        if item.status is Status.CANCELLED:
            return NOTHING
        if item.status.is_final:
            return Step(AlreadySettledError)
        gone = replace(item.free, status=Status.CANCELLED)
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
        """Do what is due: free what lapsed, close or escalate what is overdue, give up on outcomes that are missing."""
        changed: dict[UUID, Expected] = {}
        events: list[Happened] = []
        for before in self.items.values():
            item = before
            for kind, after in (
                (EventKind.CLAIM_LAPSED, self._after_its_hold),
                (EventKind.ITEM_WOKEN, self._after_its_sleep),
                (EventKind.ASSIGNMENT_ENDED, self._after_its_assignment),
                (EventKind.ITEM_EXPIRED, self._after_its_life),
                (EventKind.DEADLINE_BREACHED, self._after_its_deadline),
                (EventKind.OUTCOME_MISSED, self._after_its_outcome_was_due),
            ):
                moved = after(item)
                if moved is not None:
                    item = changed[item.id] = moved
                    events.append((kind, item.id))
        return Step(changed=tuple(changed.values()), events=tuple(events))

    def _after_its_hold(self, item: Expected) -> Expected | None:
        is_over = item.until is not None and item.until <= self.now and item.pending is None
        return item.free if is_over else None

    def _after_its_sleep(self, item: Expected) -> Expected | None:
        is_asleep = item.aside is Aside.SNOOZED and item.snoozed_until is not None
        return item.free if is_asleep and item.snoozed_until and item.snoozed_until <= self.now else None

    def _after_its_assignment(self, item: Expected) -> Expected | None:
        is_over = item.aside is Aside.ASSIGNED and not item.is_kept_for(item.assignee or "", self.now)
        return item.free if is_over else None

    def _after_its_life(self, item: Expected) -> Expected | None:
        is_over = not item.status.is_final and item.pending is None and item.expires_at <= self.now
        return self._expired(item) if is_over else None

    def _after_its_deadline(self, item: Expected) -> Expected | None:
        is_late = item.due_at is not None and item.due_at <= self.now and not item.is_breached
        if not is_late or item.status is not Status.WAITING or item.purpose is not Purpose.GATE:
            return None
        return replace(item.free, is_breached=True, queue=LATE, priority=LATE_PRIORITY)

    def _after_its_outcome_was_due(self, item: Expected) -> Expected | None:
        due = item.outcome_due_at if item.execution is Execution.STARTED else None
        return replace(item, execution=Execution.UNKNOWN) if due is not None and due <= self.now else None

    def submitted(self, item_id: UUID, agent: str, request: ActionRequest, life: timedelta) -> Expected:
        """A new item: what the policy answers at once, or what waits for a person."""
        tool = request.action.name
        item = Expected(
            id=item_id,
            agent=agent,
            action=request.action,
            route=ROUTES[tool],
            expires_at=self.now + life,
            due_at=self.now + min(DUE_IN, life),
            allowed=request.allowed_decisions,
        )
        if request.observed:
            return replace(item, purpose=Purpose.SHADOW, priority=OBSERVED_PRIORITY)
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
            priority=AUDIT_PRIORITY,
        )

    def held_by(self, person: str) -> Expected | None:
        """The most urgent of what the person holds."""
        return next(iter(self.held(person)), None)

    def held(self, person: str) -> list[Expected]:
        """What the person holds, the most urgent first."""
        held = [item for item in self.items.values() if item.is_held_by(person, self.now)]
        return sorted(held, key=lambda item: item.urgency)

    def _lapsed(self) -> Iterator[Expected]:
        for item in self.items.values():
            is_over = item.pending is None and item.until is not None and item.until <= self.now
            if is_over and self.now < item.expires_at:
                yield item

    def _taken(self, item: Expected, person: str) -> Expected:
        until = self.now + CLAIM_DURATION
        return replace(
            item, status=Status.CLAIMED, epoch=item.epoch + 1, holder=person, until=until, snoozed_until=None
        )

    def _assigned(self, item: Expected, to: str) -> Expected:
        return replace(item.free, assignee=to, assigned_until=min(self.now + ASSIGNMENT_DURATION, item.expires_at))

    def _closed_refusal(self, person: str, item: Expected) -> type[ReviewError] | None:
        if item.pending is not None:
            return AlreadyDecidedError if item.pending.person == person else ItemHeldError
        return AlreadySettledError if item.status.is_final or item.expires_at <= self.now else None

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
        free = replace(item.free, given=given, version=version)
        if is_draft and isinstance(decision, Edit):
            return replace(free, draft=decision.edited_action), EventKind.EDIT_PROPOSED
        if isinstance(decision, Approve) and len(_approvers(free)) < item.quorum:
            return free, EventKind.APPROVAL_GIVEN
        final = Edit(edited_action=item.draft) if item.draft and isinstance(decision, Approve) else decision
        return self._settled(free, final), EventKind.ITEM_DECIDED

    def _settled(self, item: Expected, decision: Decision) -> Expected:
        done = replace(item.free, status=Status.SETTLED, decision=decision)
        is_yes = isinstance(decision, Approve | Edit)
        if not is_yes or item.purpose is not Purpose.GATE or self._is_in_shadow(item.action.name):
            return done
        action = decision.edited_action if isinstance(decision, Edit) else item.action
        return replace(done, execution=Execution.PERMITTED, permitted=action, permitted_until=self.now + PERMIT_FOR)

    def _is_in_shadow(self, tool: str) -> bool:
        return tool == "stock" or (tool == "refund" and self.in_shadow)

    def _expired(self, item: Expected) -> Expected:
        until = self.items[item.id].until  # Of the hold that it was under, which the same sweep may have ended.
        is_silent = item.asked_by is None and (until is None or until <= item.expires_at)
        if item.may_expire_approved and is_silent and not self._is_in_shadow(item.action.name):
            return self._settled(item, Approve())
        decision = Reject(message=EXPIRED_MESSAGE) if item.purpose is Purpose.GATE else None
        return replace(item.free, status=Status.EXPIRED, decision=decision)


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
