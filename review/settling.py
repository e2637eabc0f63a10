"""Letting decisions count: at once, or when the grace in which they can be taken back is over."""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.protocol import Approve, Edit
from review import lifecycle, metrics
from review.audit import SYSTEM, Actor, AuditEvent, EventKind
from review.emergencies import of_person
from review.errors import PausedError
from review.governance import PolicyBook
from review.items import DecisionRecord, PendingDecision, ReviewItem
from review.pauses import require_unpaused
from review.people import Emergency
from review.signing import Receipts, new_permission_id
from review.store import Reading, Store, Writing

_AT_ONCE = 200

_log = logging.getLogger(__name__)


def decision_data(made: PendingDecision, item: ReviewItem) -> dict[str, object]:
    """Return what an audit event tells of a decision and of the item as it leaves it."""
    return {
        "decision": made.decision.type,
        "reason_codes": [code.value for code in made.reason_codes],
        "digest_seen": made.digest_seen,
        "permitted_digest": item.permitted_digest,
        "item_version": item.version,
        "epoch": item.epoch,
        "dwell_ms": made.dwell_ms,
        "policy_version": item.policy_version,
        "status": item.status.value,
    }


class Settling:
    """Lets decisions count, once each, whichever process comes first; on any trouble they wait, and nothing may run."""

    def __init__(self, store: Store, receipts: Receipts, policies: PolicyBook) -> None:
        self._store = store
        self._receipts = receipts
        self._policies = policies
        self._alarm: _Alarm | None = None

    def count(self, tx: Writing, item: ReviewItem, made: PendingDecision) -> tuple[ReviewItem, DecisionRecord]:
        """Let the decision count; return the item as it leaves it, settled or for others to approve, and its record.

        Raises PausedError where it would permit what is paused.
        """
        done, kind, approvers, emergency = self._after(tx, item, made)
        if done.jti is not None:
            done = replace(done, receipt=self._receipts.issue(done, reviewers=approvers, now=tx.now))
        record = DecisionRecord(
            id=uuid7(),
            workspace=item.workspace,
            item_id=item.id,
            item_version=done.version,
            epoch=item.epoch,
            decision=made.decision,
            reason_codes=made.reason_codes,
            iss=made.iss,
            sub=made.sub,
            name=made.name,
            digest_seen=made.digest_seen,
            dwell_ms=made.dwell_ms,
            policy_version=item.policy_version,
            decided_at=made.decided_at,
            counted_at=tx.now,
        )
        tx.save_item(done, was=item)
        tx.add_decision(record)
        actor = Actor("person", _known_as(made.iss, made.sub), made.name)
        told = decision_data(made, done)
        if emergency is not None:
            told["emergency"] = str(emergency.id)
        tx.record(AuditEvent.of(done, tx.now, kind, actor, **told))
        if done.status.is_final:
            tx.wake(done.id)
        return done, record

    def require_countable(self, tx: Reading, item: ReviewItem, made: PendingDecision) -> None:
        """Return only when the decision could count now. Raises PausedError."""
        self._after(tx, item, made)

    def tell(self, record: DecisionRecord) -> None:
        """Show the committed decision in the metrics."""
        metrics.DECISIONS.labels(record.decision.type).inc()
        metrics.DWELL.observe(record.dwell_ms / 1000)

    def tick(self) -> int:
        """Let every decision count whose time has come, of every workspace; return how many there were.

        Each in a transaction of its own: one that cannot be settled keeps no other waiting.
        """
        due = self._store.read(lambda tx: tx.due_decisions(limit=_AT_ONCE))
        begun = [
            self._store.begin(partial(self._count_due, workspace=place, item_id=item_id)) for place, item_id in due
        ]
        wait(begun)
        counted = [record for done in begun if not done.exception() and (record := done.result())]
        for record in counted:
            self.tell(record)
        for failed in begun:
            failed.result()
        return len(counted)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let decisions of this process count as soon as their time has come; without it, ``tick`` finds them."""
        self._alarm = alarm = _Alarm(self.tick)
        alarm.start()
        try:
            yield
        finally:
            self._alarm = None
            alarm.close()

    def expect(self, within: timedelta) -> None:
        """Be told that the time of a decision comes within this long."""
        alarm = self._alarm
        if alarm is not None:
            alarm.set(within.total_seconds())

    def _count_due(self, tx: Writing, *, workspace: str, item_id: UUID) -> DecisionRecord | None:
        item = tx.item(workspace, item_id)
        if item is None or item.pending is None or tx.now < item.pending.settles_at:
            return None  # Taken back, withdrawn, or settled by another process.
        try:
            return self.count(tx, item, item.pending)[1]
        except PausedError:
            _void(tx, item, item.pending)
            return None

    def _after(
        self, tx: Reading, item: ReviewItem, made: PendingDecision
    ) -> tuple[ReviewItem, EventKind, tuple[str, ...], Emergency | None]:
        """Return the item as the decision leaves it, still without a receipt, what that is, and who stands for it.

        Last, the emergency in which one person's approval was enough.
        """
        decision, emergency = made.decision, None
        approvers = _approvers(tx, item, made)
        if isinstance(decision, Edit) and item.quorum > 1:
            return lifecycle.redrafted(item, decision.edited_action), EventKind.EDIT_PROPOSED, approvers, None
        if isinstance(decision, Approve) and len(approvers) < item.quorum:
            emergency = _emergency(tx, item, made)
            if emergency is None:
                return lifecycle.released(item), EventKind.APPROVAL_GIVEN, approvers, None
        final = Edit(edited_action=item.draft) if item.draft and isinstance(decision, Approve) else decision
        tool = item.request.action.name
        permit_for = self._policies.in_force(item.workspace, within=tx).compiled.permit_for(item.agent, tool)
        done = lifecycle.settled(item, final, by=made.name, now=tx.now, jti=new_permission_id(), permit_for=permit_for)
        if done.jti is not None:
            require_unpaused(tx, item.workspace, item.agent, tool)
        return done, EventKind.ITEM_DECIDED, approvers, emergency


def _emergency(tx: Reading, item: ReviewItem, made: PendingDecision) -> Emergency | None:
    """Return the emergency by which the approval is enough alone: one in force when it was made, and still.

    Only of what was proposed: somebody's edit is approved by others, whatever the hour.
    """
    if item.draft is not None:
        return None
    found = of_person(tx, item.workspace, made.iss, made.sub)
    return found if found is not None and found.opened_at <= made.decided_at else None


def _void(tx: Writing, item: ReviewItem, made: PendingDecision) -> None:
    """Put the item before people again, because what was decided may not be permitted now."""
    tx.save_item(lifecycle.released(item), was=item)
    data = {"decision": made.decision.type, "epoch": item.epoch, "holder": made.name}
    tx.record(AuditEvent.of(item, tx.now, EventKind.DECISION_VOIDED, SYSTEM, **data))


class _Alarm:
    """Takes the step soon after each moment that was set, on a thread of its own."""

    # The database's clock and this one need not agree to the millisecond; what is missed so, the next tick finds.
    MARGIN_S = 0.005

    def __init__(self, step: Callable[[], int]) -> None:
        self._step = step
        self._moments: list[float] = []
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, name="signoff-settling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def set(self, seconds: float) -> None:
        with self._changed:
            heapq.heappush(self._moments, time.monotonic() + seconds + self.MARGIN_S)
            self._changed.notify()

    def _serve(self) -> None:
        while self._has_rung():
            try:
                self._step()
            except Exception:  # noqa: BLE001 -- it must go on: what could not be settled waits, and permits nothing
                _log.exception("decisions could not be settled; the next sweep tries again")

    def _has_rung(self) -> bool:
        """Wait for the next moment; False where there will be none."""
        with self._changed:
            while not self._is_closing:
                now = time.monotonic()
                if self._moments and self._moments[0] <= now:
                    while self._moments and self._moments[0] <= now:
                        heapq.heappop(self._moments)
                    return True
                self._changed.wait(self._moments[0] - now if self._moments else None)
            return False


def _approvers(tx: Reading, item: ReviewItem, made: PendingDecision) -> tuple[str, ...]:
    """Return who stands for what runs: all who approved this version, or whoever was enough alone."""
    if not isinstance(made.decision, Approve) or item.quorum == 1:
        return (_known_as(made.iss, made.sub),)
    earlier = [
        _known_as(each.iss, each.sub)
        for each in tx.decisions_of(item.workspace, item.id)
        if each.item_version == item.version and isinstance(each.decision, Approve)
    ]
    return tuple(dict.fromkeys([*earlier, _known_as(made.iss, made.sub)]))


def _known_as(iss: str, sub: str) -> str:
    return f"{iss}#{sub}"
