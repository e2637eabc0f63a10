"""What must hold of every item, whatever happened: its events tell its state, and what ran was permitted."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.canonical import action_digest
from agents.protocol import Action, Approve, Edit, Execution, Route, Status
from review.audit import AuditEvent, EventKind
from review.items import Aside, DecisionRecord, Purpose, ReviewItem


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item stands, as far as its events tell."""

    status: Status
    execution: Execution
    epoch: int = 0
    version: int = 1
    notes: int = 0
    decisions: int = 0
    is_pending: bool = False
    aside: Aside | None = None


class ImpossibleEventError(AssertionError):
    """An event cannot follow the ones before it."""

    def __init__(self, before: Standing | None, event: AuditEvent) -> None:
        super().__init__(f"{event.kind} cannot follow {before}: {event}")


def told(events: Iterable[AuditEvent]) -> Standing:
    """Return how an item stands by its events, oldest first. Raises ImpossibleEventError."""
    standing: Standing | None = None
    for event in events:
        standing = _after(standing, event)
    assert standing is not None, "an item has no event"
    return standing


def check_standing(item: ReviewItem, events: Sequence[AuditEvent], decisions: Sequence[DecisionRecord]) -> None:
    """Assert that the item is as its events say: every one of its transitions has its event, and no other has one."""
    is_standing = Standing(
        *(item.status, item.execution, item.epoch, item.version, item.notes, len(decisions)),
        is_pending=item.pending is not None,
        aside=item.aside,
    )
    assert is_standing == told(events), f"{item} is not what its events tell: {[event.kind for event in events]}"
    at = {event.kind: event.at for event in events}
    assert item.settled_at == (_settled_at(events) if item.status.is_final else None)
    assert item.consumed_at == at.get(EventKind.RECEIPT_CONSUMED)
    assert item.submitted_at == events[0].at


def check_permission(item: ReviewItem, decisions: Sequence[DecisionRecord]) -> None:
    """Assert that what the item permits, or permitted, is what people or the policy decided, and nothing else."""
    permits = item.execution is not Execution.NONE
    carried = (item.jti, item.receipt, item.permitted_digest, item.permitted_until)
    assert all(part is not None for part in carried) == permits, f"{item.execution} with {carried}"
    assert any(part is not None for part in carried) == permits, f"{item.execution} with {carried}"
    if not permits:
        return
    assert item.purpose is Purpose.GATE
    assert item.status is Status.SETTLED
    allowed = policy_permits(item) if item.settled_by == "policy" else people_permit(item, decisions)
    assert allowed is not None, f"nobody permitted {item}"
    assert item.permitted_digest == action_digest(allowed.name, allowed.args)


def policy_permits(item: ReviewItem) -> Action | None:
    """Return what the policy let run: the proposal, where it routed so or approved it when nobody decided in time."""
    is_expired = item.route is Route.REVIEW and item.settled_at is not None and item.settled_at >= item.expires_at
    is_policys = item.route is Route.EXECUTE or is_expired
    return item.request.action if is_policys and isinstance(item.decision, Approve) else None


def people_permit(item: ReviewItem, decisions: Sequence[DecisionRecord]) -> Action | None:
    """Return what people let run: one person's edit, or what a quorum of others approved as shown."""
    last = decisions[-1]
    if isinstance(last.decision, Edit):
        return last.decision.edited_action if item.quorum == 1 else None
    shown, editor = item.request.action, None
    for made in decisions:
        if isinstance(made.decision, Edit):
            shown, editor = made.decision.edited_action, (made.iss, made.sub)
    seen = action_digest(shown.name, shown.args)
    approvers = {
        (made.iss, made.sub)
        for made in decisions
        if isinstance(made.decision, Approve) and (made.item_version, made.digest_seen) == (item.version, seen)
    } - {editor}
    return shown if isinstance(last.decision, Approve) and len(approvers) >= item.quorum else None


def _settled_at(events: Sequence[AuditEvent]) -> Any:  # noqa: ANN401 -- a time, or None where nothing settles
    closing = {EventKind.ITEM_DECIDED, EventKind.ITEM_EXPIRED, EventKind.ITEM_CANCELLED}
    closed = [event.at for event in events if event.kind in closing]
    return closed[0] if closed else events[0].at


def _after(before: Standing | None, event: AuditEvent) -> Standing:
    if before is None:
        if event.kind not in _BEGINNINGS:
            raise ImpossibleEventError(before, event)
        return _BEGINNINGS[event.kind](event.data)
    if event.kind not in _STEPS:
        raise ImpossibleEventError(before, event)
    is_possible, step = _STEPS[event.kind]
    if not is_possible(before, event.data):
        raise ImpossibleEventError(before, event)
    return step(before, event.data)


Data = dict[str, Any]


def _submitted(data: Data) -> Standing:
    if data["route"] == Route.REVIEW or data.get("observed"):
        return Standing(Status.WAITING, Execution.NONE)
    permits = data["route"] == Route.EXECUTE
    return Standing(Status.SETTLED, Execution.PERMITTED if permits else Execution.NONE)


def _is_undecided(was: Standing, _: Data) -> bool:
    return not was.status.is_final


def _is_claimed(was: Standing, data: Data) -> bool:
    return was.status is Status.CLAIMED and data["epoch"] == was.epoch


def _is_held_undecided(was: Standing, data: Data) -> bool:
    return _is_claimed(was, data) and not was.is_pending


def _decided(was: Standing, data: Data) -> Standing:
    permits = data["permitted_digest"] is not None
    execution = Execution.PERMITTED if permits else Execution.NONE
    return replace(
        was, status=Status.SETTLED, execution=execution, decisions=was.decisions + 1, is_pending=False, aside=None
    )


def _expired(was: Standing, data: Data) -> Standing:
    execution = Execution.PERMITTED if data["decision"] == "approve" else Execution.NONE
    return replace(was, status=Status(data["status"]), execution=execution, aside=None)


def _back(was: Standing, data: Data) -> Standing:
    decided = 1 if "decision" in data else 0
    return replace(was, status=Status.WAITING, decisions=was.decisions + decided, is_pending=False, aside=None)


def _is_waiting(was: Standing, _: Data) -> bool:
    return was.status is Status.WAITING


def _is_put_aside(why: Aside) -> Callable[[Standing, Data], bool]:
    return lambda was, _: was.status is Status.WAITING and was.aside is why


def _put_aside(why: Aside) -> Callable[[Standing, Data], Standing]:
    return lambda was, _: replace(was, status=Status.WAITING, aside=why)


def _breached(was: Standing, data: Data) -> Standing:
    return was if data["queue"] == data["was_queue"] else replace(was, aside=None)


_BEGINNINGS: dict[EventKind, Callable[[Data], Standing]] = {
    EventKind.ACTION_SUBMITTED: _submitted,
    EventKind.AUDIT_QUEUED: lambda _: Standing(Status.WAITING, Execution.NONE),
}

# Of each kind of event: what an item must be like for it to happen, and what it is like then.
_STEPS: dict[EventKind, tuple[Callable[[Standing, Data], bool], Callable[[Standing, Data], Standing]]] = {
    EventKind.ITEM_CLAIMED: (
        lambda was, data: was.status is Status.WAITING and data["epoch"] == was.epoch + 1,
        lambda was, data: replace(was, status=Status.CLAIMED, epoch=data["epoch"], aside=None),
    ),
    EventKind.ITEM_ASSIGNED: (_is_waiting, _put_aside(Aside.ASSIGNED)),
    EventKind.ITEM_HANDED_OVER: (_is_held_undecided, _put_aside(Aside.ASSIGNED)),
    EventKind.ASSIGNMENT_ENDED: (_is_put_aside(Aside.ASSIGNED), _back),
    EventKind.ITEM_SNOOZED: (_is_undecided, _put_aside(Aside.SNOOZED)),
    EventKind.ITEM_WOKEN: (_is_put_aside(Aside.SNOOZED), _back),
    EventKind.DEADLINE_BREACHED: (_is_waiting, _breached),
    EventKind.CLAIM_EXTENDED: (_is_held_undecided, lambda was, _: was),
    EventKind.CLAIM_RELEASED: (_is_held_undecided, _back),
    EventKind.CLAIM_LAPSED: (_is_held_undecided, _back),
    EventKind.DECISION_MADE: (_is_held_undecided, lambda was, _: replace(was, is_pending=True)),
    EventKind.DECISION_TAKEN_BACK: (
        lambda was, data: was.is_pending and data["epoch"] == was.epoch + 1,
        lambda was, data: replace(was, epoch=data["epoch"], is_pending=False),
    ),
    EventKind.APPROVAL_GIVEN: (_is_claimed, _back),
    EventKind.EDIT_PROPOSED: (_is_claimed, lambda was, data: replace(_back(was, data), version=was.version + 1)),
    # Not as `_back`: what was voided is no decision.
    EventKind.DECISION_VOIDED: (
        lambda was, data: was.is_pending and data["epoch"] == was.epoch,
        lambda was, _: replace(was, status=Status.WAITING, is_pending=False),
    ),
    EventKind.ITEM_DECIDED: (_is_claimed, _decided),
    EventKind.ITEM_EXPIRED: (lambda was, _: not was.status.is_final and not was.is_pending, _expired),
    EventKind.ITEM_CANCELLED: (
        _is_undecided,
        lambda was, _: replace(was, status=Status.CANCELLED, is_pending=False, aside=None),
    ),
    EventKind.NOTE_ADDED: (_is_undecided, lambda was, _: replace(was, notes=was.notes + 1)),
    EventKind.RECEIPT_CONSUMED: (
        lambda was, _: was.execution is Execution.PERMITTED,
        lambda was, _: replace(was, execution=Execution.STARTED),
    ),
    EventKind.OUTCOME_REPORTED: (
        lambda was, _: was.execution in (Execution.STARTED, Execution.UNKNOWN),
        lambda was, data: replace(was, execution=Execution(data["execution"])),
    ),
    EventKind.OUTCOME_MISSED: (
        lambda was, _: was.execution is Execution.STARTED,
        lambda was, _: replace(was, execution=Execution.UNKNOWN),
    ),
    EventKind.VALUES_REVEALED: (lambda _, __: True, lambda was, _: was),
    EventKind.CONTENT_ERASED: (lambda was, _: was.status.is_final, lambda was, _: was),
    EventKind.CONTENT_EXPIRED: (lambda was, _: was.status.is_final, lambda was, _: was),
    EventKind.OUTCOME_RECONCILED: (
        lambda was, _: was.execution is Execution.UNKNOWN,
        lambda was, data: replace(was, execution=Execution(data["execution"])),
    ),
}
