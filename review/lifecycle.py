"""How an item moves: each step a pure function from the item as it was to the item as it is."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from agents.canonical import action_digest
from agents.protocol import (
    Action,
    ActionRequest,
    Approve,
    Decision,
    Edit,
    Execution,
    Impact,
    Outcome,
    Reason,
    Reject,
    Respond,
    Status,
    Usage,
)
from review.errors import AlreadySettledError, ThreadFullError
from review.items import (
    ERASED_DIGEST,
    ERASED_TEXT,
    MAX_NOTES,
    Assignment,
    Claim,
    DecisionRecord,
    PendingDecision,
    Purpose,
    Reconciliation,
    ReviewItem,
)
from review.policy import RoutingReason

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
    done = replace(_closed(item, Status.SETTLED, by, now), decision=decision)
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
    return replace(_closed(item, Status.EXPIRED, "policy", now), decision=decision)


def cancelled(item: ReviewItem, now: datetime, *, by: str | None = None) -> ReviewItem:
    """Close the item because its agent withdrew it, or somebody else, whom ``by`` names.

    A decision that did not count yet never will.
    """
    return _closed(item, Status.CANCELLED, by or item.agent, now)


def noted(item: ReviewItem) -> ReviewItem:
    """Count a note of either side. Raises AlreadySettledError, ThreadFullError."""
    if item.status.is_final:
        raise AlreadySettledError(item.id, item.status)
    if item.notes >= MAX_NOTES:
        raise ThreadFullError(item.id, item.notes)
    return replace(item, notes=item.notes + 1)


def claimed(item: ReviewItem, claim: Claim) -> ReviewItem:
    """Give the item to a reviewer under a new epoch; who gave it to them, and with which words, stays to be read."""
    return replace(item, status=Status.CLAIMED, claim=claim, epoch=item.epoch + 1, snoozed_until=None)


def extended(item: ReviewItem, until: datetime) -> ReviewItem:
    """Prolong the hold that the item is under."""
    return replace(item, claim=replace(item.claim, until=until) if item.claim else None)


def released(item: ReviewItem) -> ReviewItem:
    """Put the item back into the queue, there for everybody."""
    return replace(item, status=Status.WAITING, claim=None, pending=None, assignment=None, snoozed_until=None)


def decided(item: ReviewItem, decision: PendingDecision) -> ReviewItem:
    """Keep a decision that its maker may take back until it counts."""
    return replace(item, pending=decision)


def taken_back(item: ReviewItem, until: datetime) -> ReviewItem:
    """Give the item back to whoever decided it, under a new epoch: the same decision, heard late, is not made again."""
    return replace(extended(item, until), epoch=item.epoch + 1, pending=None)


def assigned(item: ReviewItem, assignment: Assignment) -> ReviewItem:
    """Let the item wait for one person, whoever held it or had it before."""
    return replace(released(item), assignment=assignment)


def snoozed(item: ReviewItem, until: datetime) -> ReviewItem:
    """Let the item sleep until then, whoever held it or had it before."""
    return replace(released(item), snoozed_until=until)


def breached(item: ReviewItem, now: datetime, *, queue: str, priority: int) -> ReviewItem:
    """Mark a waiting item as not decided in its time; in another queue it is there for everybody again."""
    here = item if queue == item.queue else released(item)
    return replace(here, breached_at=now, queue=queue, priority=priority)


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
    """Keep what a person established of an unknown outcome; what the agent reported stays beside it.

    Of an item whose content was erased, no more than whether it ran, and who says so.
    """
    kept = _erased_finding(found) if item.erased_at else found
    return replace(item, execution=Execution(found.status.value), reconciliation=kept)


def finished(item: ReviewItem, outcome: Outcome) -> ReviewItem:
    """Keep what happened when the action ran; of an item whose content was erased, no more than whether it ran."""
    kept = _erased_outcome(outcome) if item.erased_at else outcome
    return replace(item, execution=Execution(outcome.status.value), outcome=kept)


def erased(item: ReviewItem, now: datetime) -> ReviewItem:
    """Return the closed item without its content; one that has none any more is returned as it is.

    What is left is named here, so that whatever a request is given later is erased unless it is named as well: the
    tool, who proposed and who settled it, when, on what grounds, how far it came, what it cost, and random ids. Every
    digest goes, because what was digested could be found by trying.
    """
    request = item.request
    bare = replace(
        item,
        request=ActionRequest(
            action=_erased_action(request.action),
            confidence=request.confidence,
            allowed_decisions=request.allowed_decisions,
            impact=Impact(reversible=request.impact.reversible),
            usage=_erased_usage(request.usage),
            on_expiry=request.on_expiry,
            observed=request.observed,
        ),
        digest=ERASED_DIGEST,
        request_hash=None,
        reasons=tuple(_erased_reason(reason) for reason in item.reasons),
        draft=None,
        decision=_erased_decision(item.decision) if item.decision else None,
        permitted_digest=ERASED_DIGEST if item.permitted_digest else None,
        receipt=None,
        outcome=_erased_outcome(item.outcome) if item.outcome else None,
        reconciliation=_erased_finding(item.reconciliation) if item.reconciliation else None,
        principal=None,
    )
    return item if bare == item else replace(bare, erased_at=item.erased_at or now)


def erased_record(record: DecisionRecord) -> DecisionRecord:
    """Return the decision without words and arguments: who decided what, when, and after how long a look."""
    return replace(record, decision=_erased_decision(record.decision), digest_seen=ERASED_DIGEST)


def _closed(item: ReviewItem, status: Status, by: str, now: datetime) -> ReviewItem:
    done = replace(item, status=status, settled_by=by, settled_at=now, claim=None, pending=None)
    return replace(done, assignment=None, snoozed_until=None)


def _erased_action(action: Action) -> Action:
    return Action(name=action.name, args={})


def _erased_decision(decision: Decision) -> Decision:
    match decision:
        case Approve():
            return decision
        case Edit():
            return Edit(edited_action=_erased_action(decision.edited_action))
        case Reject():
            return Reject()
        case Respond():
            return Respond(message=ERASED_TEXT)


def _erased_outcome(outcome: Outcome) -> Outcome:
    return Outcome(status=outcome.status, usage=_erased_usage(outcome.usage), attempts=outcome.attempts)


def _erased_finding(found: Reconciliation) -> Reconciliation:
    return found.model_copy(update={"note": ERASED_TEXT})


def _erased_usage(usage: Usage) -> Usage:
    return usage.model_copy(update={"model": None})


def _erased_reason(reason: Reason) -> Reason:
    # The one reason that quotes the agent; the others are the policy's own words.
    is_quoting = reason.code == RoutingReason.UNKNOWN_AGENT_VERSION
    return Reason(code=reason.code, text=ERASED_TEXT) if is_quoting else reason
