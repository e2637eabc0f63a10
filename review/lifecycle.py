"""How an item moves: each step a pure function from the item as it was to the item as it is."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from agents.canonical import action_digest
from agents.protocol import Action, Approve, Decision, Edit, Execution, Outcome, Reject, Status
from review.errors import AlreadySettledError, ThreadFullError
from review.items import MAX_NOTES, Claim, Purpose, Reconciliation, ReviewItem

EXPIRED_MESSAGE = "Nobody decided in time, so the action was not run."


def permitted_action(item: ReviewItem, decision: Decision) -> Action | None:
    """Return what the decision lets run on this item, or None."""
    match decision:
        case Approve():
            return item.request.action
        case Edit():
            return decision.edited_action
    return None


def settled(
    item: ReviewItem, decision: Decision, *, by: str, now: datetime, jti: UUID, permit_for: timedelta
) -> ReviewItem:
    """Settle the item; what the decision lets run is permitted under ``jti`` for that long (zero: not at all)."""
    done = replace(item, status=Status.SETTLED, decision=decision, settled_by=by, settled_at=now, claim=None)
    action = permitted_action(item, decision)
    if action is None or item.purpose is not Purpose.GATE or not permit_for:
        return done
    return replace(
        done,
        execution=Execution.PERMITTED,
        permitted_digest=action_digest(action.name, action.args),
        permitted_until=now + permit_for,
        jti=jti,
    )


def expired(item: ReviewItem, now: datetime) -> ReviewItem:
    """Close the item because nobody decided in time; nothing may run.

    Of what was only observed, or is only looked at afterwards, nothing is said: it may well have run.
    """
    decision = Reject(message=EXPIRED_MESSAGE) if item.purpose is Purpose.GATE else None
    return replace(item, status=Status.EXPIRED, decision=decision, settled_by="policy", settled_at=now, claim=None)


def cancelled(item: ReviewItem, now: datetime) -> ReviewItem:
    """Close the item because its agent withdrew it."""
    return replace(item, status=Status.CANCELLED, settled_by=item.agent, settled_at=now, claim=None)


def noted(item: ReviewItem) -> ReviewItem:
    """Count a note of either side. Raises AlreadySettledError, ThreadFullError."""
    if item.status.is_final:
        raise AlreadySettledError(item.id, item.status)
    if item.notes >= MAX_NOTES:
        raise ThreadFullError(item.id, item.notes)
    return replace(item, notes=item.notes + 1)


def claimed(item: ReviewItem, claim: Claim) -> ReviewItem:
    """Give the item to a reviewer under a new epoch."""
    return replace(item, status=Status.CLAIMED, claim=claim, epoch=item.epoch + 1)


def extended(item: ReviewItem, until: datetime) -> ReviewItem:
    """Prolong the hold that the item is under."""
    return replace(item, claim=replace(item.claim, until=until) if item.claim else None)


def released(item: ReviewItem) -> ReviewItem:
    """Put the item back into the queue."""
    return replace(item, status=Status.WAITING, claim=None)


def redrafted(item: ReviewItem, action: Action) -> ReviewItem:
    """Put a reviewer's edit before the others: a new version, so that earlier approvals no longer count."""
    return replace(released(item), draft=action, version=item.version + 1)


def shown_digest(item: ReviewItem) -> str:
    """Return the digest of what a reviewer decides on: the agent's proposal, or the edit that awaits approvals."""
    if item.draft is None:
        return item.digest
    return action_digest(item.draft.name, item.draft.args)


def started(item: ReviewItem, now: datetime, *, outcome_within: timedelta) -> ReviewItem:
    """Consume the permission: from here on the action counts as begun, and owes its outcome within that long."""
    return replace(item, execution=Execution.STARTED, consumed_at=now, outcome_due_at=now + outcome_within)


def unaccounted(item: ReviewItem) -> ReviewItem:
    """Give up waiting for the outcome: nobody knows whether the action ran. A late report still counts."""
    return replace(item, execution=Execution.UNKNOWN)


def reconciled(item: ReviewItem, found: Reconciliation) -> ReviewItem:
    """Keep what a person established of an unknown outcome; what the agent reported stays beside it."""
    return replace(item, execution=Execution(found.status.value), reconciliation=found)


def finished(item: ReviewItem, outcome: Outcome) -> ReviewItem:
    """Keep what happened when the action ran."""
    return replace(item, execution=Execution(outcome.status.value), outcome=outcome)
