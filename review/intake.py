"""The agents' use cases: submit an action, learn its decision, consume the receipt, report the outcome."""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.canonical import action_digest, is_same
from agents.protocol import (
    ActionPage,
    ActionRequest,
    ActionStatus,
    Approve,
    Args,
    ContextEntry,
    ContextKind,
    Decision,
    Execution,
    Note,
    Outcome,
    Reason,
    Reject,
    Route,
    Status,
)
from review import lifecycle, metrics
from review.audit import POLICY, SYSTEM, AuditEvent, EventKind, agent_actor
from review.clock import Clock, utc_now
from review.errors import (
    AlreadyConsumedError,
    AlreadySettledError,
    DigestMismatchError,
    IdempotencyMismatchError,
    InFlightError,
    ItemErasedError,
    ItemNotFoundError,
    NotPermittedError,
    NotStartedError,
    OutcomeStandsError,
    ReceiptFault,
    ReceiptRefusedError,
)
from review.escalation import SWEEP_LIMIT, end_assignments, escalate, wake_sleepers
from review.governance import CACHE_SECONDS, PolicyBook, PolicyInForce
from review.grounding import has_untrusted, provenance
from review.images import UNINSPECTABLE, UninspectableError, re_encoded
from review.items import Aside, ItemFilter, NoteRecord, Purpose, Rejection, ReviewItem, Tool
from review.pace import Shares
from review.pauses import pause_of, paused_reason, require_unpaused
from review.people import AgentKey, Pause
from review.policy import Routing, Signals
from review.queues import principal_of
from review.schemas import args_errors
from review.signing import Receipts, new_permission_id
from review.store import FilingKey, Reading, Store, Writing

AUDIT_PRIORITY = 8
OBSERVED_PRIORITY = 9
AUDIT_LIFE = timedelta(days=30)
_TOOLS_REMEMBERED = 10_000
# Characters of context that can be searched for the arguments' values without holding the others up.
_QUICK_CONTEXT = 4_096
_DRAWN_ANEW = frozenset({"confidence", "confidence_source"})
# What was parsed from JSON holds no circle.
_SORTED = json.JSONEncoder(sort_keys=True, check_circular=False)


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated request on its way in, under the agent's idempotency key and the hash of what it says."""

    request: ActionRequest
    idempotency_key: str
    request_hash: str


def request_hash(body: Any) -> str:  # noqa: ANN401 -- any JSON value
    """Return the SHA-256 of the JSON body of a submission, by which a repeat under the same key is known.

    The confidence and its source are left out: an agent that comes back after a crash asks its model again, and the
    samples drawn then may agree otherwise. The first confidence stands.
    """
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in _DRAWN_ANEW}
    return hashlib.sha256(_SORTED.encode(body).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Filing:
    """A submission on which all is done but the write."""

    key: FilingKey
    digest: str
    place: tuple[str, str, str]
    work: Callable[[Writing], tuple[ActionStatus, bool]]
    is_new_to_tool: bool
    waits: bool


class Intake:
    """What agents ask of the desk. Every answer is given after its commit; on any doubt nothing is permitted."""

    def __init__(
        self,
        store: Store,
        receipts: Receipts,
        policies: PolicyBook,
        *,
        draw: Callable[[], float] | None = None,
        clock: Clock = utc_now,
        shares: Shares | None = None,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._policies = policies
        self._clock = clock
        self._shares = shares or Shares(store)
        self._draw = draw or secrets.SystemRandom().random
        self._tools: dict[tuple[str, str, str], tuple[float, Tool]] = {}
        self._flying: set[tuple[str, str, str]] = set()
        self._flying_lock = threading.Lock()

    def submit(self, caller: AgentKey, submission: Submission) -> tuple[ActionStatus, bool]:
        """File an action and return its status, and whether it had been filed before under this key.

        Raises IdempotencyMismatchError (the key came with another body), InFlightError (the first has no answer yet),
        TooManyWaitingError, ItemErasedError, InvalidSchemaError, NotCanonicalError.
        """
        with self._in_flight(caller, submission.idempotency_key):
            filing = self._filing(caller, submission)
            begun = self._store.begin(filing.work, key=filing.key, digest=filing.digest)
            return self._told(filing, begun.result())

    async def submit_soon(self, caller: AgentKey, submission: Submission) -> tuple[ActionStatus, bool]:
        """Do what ``submit`` does, and hold no thread while the database works."""
        with self._in_flight(caller, submission.idempotency_key):
            if self._is_at_hand(caller, submission.request):
                filing = self._filing(caller, submission)
            else:
                filing = await asyncio.to_thread(self._filing, caller, submission)
            begun = self._store.begin(filing.work, key=filing.key, digest=filing.digest)
            await _ended(begun)
            return self._told(filing, begun.result())

    def status(self, caller: AgentKey, item_id: UUID) -> ActionStatus:
        """Return how the agent's item stands. Raises ItemNotFoundError."""

        def work(tx: Reading) -> ActionStatus:
            item = _own(tx, caller, item_id)
            return self._seen(tx, item)

        return self._store.read(work)

    def statuses(self, caller: AgentKey, *, status: Status | None, limit: int, cursor: str | None = None) -> ActionPage:
        """Return a page of the agent's items, newest first. Raises InvalidCursorError."""
        where = ItemFilter(statuses=_seen_as(status), purpose=Purpose.GATE, agent=caller.agent)

        def work(tx: Reading) -> ActionPage:
            page = tx.whole_items(caller.workspace, where, limit=limit, cursor=cursor)
            items = tuple(self._seen(tx, item) for item in page.rows)
            return ActionPage(items=items, next_cursor=page.next_cursor)

        return self._store.read(work)

    def cancel(self, caller: AgentKey, item_id: UUID) -> ActionStatus:
        """Withdraw an item that nobody decided yet; withdrawing it again changes nothing."""

        def work(tx: Writing) -> ActionStatus:
            item = _own(tx, caller, item_id)
            if item.status is Status.CANCELLED:
                return self._seen(tx, item)
            if item.status.is_final:
                raise AlreadySettledError(item.id, item.status)
            done = lifecycle.cancelled(item, tx.now)
            tx.save_item(done, was=item)
            tx.record(AuditEvent.of(item, tx.now, EventKind.ITEM_CANCELLED, agent_actor(caller.agent)))
            tx.wake(item.id)
            return self._seen(tx, done)

        return self._store.write(work)

    def add_note(self, caller: AgentKey, item_id: UUID, text: str) -> ActionStatus:
        """Add the agent's answer to the item's thread. Raises AlreadySettledError, ThreadFullError."""

        def work(tx: Writing) -> ActionStatus:
            item = _own(tx, caller, item_id)
            noted = lifecycle.noted(item)
            note = Note(author="agent", text=text, at=tx.now)
            tx.add_note(NoteRecord(uuid7(), item.workspace, item.id, caller.agent, note))
            tx.save_item(noted, was=item)
            data = {"author": "agent", "length": len(text)}
            tx.record(AuditEvent.of(item, tx.now, EventKind.NOTE_ADDED, agent_actor(caller.agent), **data))
            return self._seen(tx, noted)

        return self._store.write(work)

    def consume(self, caller: AgentKey, item_id: UUID, receipt: str, args: Args) -> ActionStatus:
        """Use up the permission for exactly these arguments: once, ever.

        Raises NotPermittedError, AlreadyConsumedError, ReceiptRefusedError, PausedError, DigestMismatchError,
        ItemErasedError.
        """

        def work(tx: Writing) -> ActionStatus:
            item = _own(tx, caller, item_id)
            if item.erased_at:
                raise ItemErasedError(item.id)
            if item.execution is Execution.NONE:
                raise NotPermittedError(item.id)
            if item.execution is not Execution.PERMITTED:
                raise AlreadyConsumedError(item.id, item.consumed_at)
            claims = self._receipts.recognise(
                receipt, workspace=item.workspace, agent=caller.agent, item_id=item.id, now=tx.now
            )
            if claims.jti != item.jti or item.permitted_until is None or tx.now >= item.permitted_until:
                raise ReceiptRefusedError(ReceiptFault.OVER)
            require_unpaused(tx, item.workspace, item.agent, item.request.action.name)
            digest = action_digest(claims.tool, args)
            if not digest == claims.args_digest == item.permitted_digest:
                raise DigestMismatchError(item.id)
            policy = self._policies.in_force(item.workspace, within=tx).compiled
            outcome_within = policy.outcome_within(item.agent, item.request.action.name)
            begun = lifecycle.started(item, tx.now, outcome_within=outcome_within)
            tx.save_item(begun, was=item)
            data = {"jti": str(item.jti), "digest": digest}
            tx.record(AuditEvent.of(item, tx.now, EventKind.RECEIPT_CONSUMED, agent_actor(caller.agent), **data))
            tx.wake(item.id)
            return self._seen(tx, begun)

        return self._store.write(work)

    def report_outcome(self, caller: AgentKey, item_id: UUID, outcome: Outcome) -> ActionStatus:
        """Keep what happened when the action ran; the same report again changes nothing.

        ``unknown`` may be followed by what turns out to have happened; ``succeeded`` and ``failed`` stand, whether the
        agent reported them or a person established them.
        Raises NotStartedError, OutcomeStandsError.
        """

        def work(tx: Writing) -> ActionStatus:
            item = _own(tx, caller, item_id)
            if item.execution in (Execution.NONE, Execution.PERMITTED):
                raise NotStartedError(item.id)
            done = lifecycle.finished(item, outcome)
            if is_same(item.outcome, done.outcome):
                return self._seen(tx, item)
            if item.execution in (Execution.SUCCEEDED, Execution.FAILED):
                raise OutcomeStandsError(item.id, item.execution)
            tx.save_item(done, was=item)
            data = {"execution": done.execution.value}
            tx.record(AuditEvent.of(item, tx.now, EventKind.OUTCOME_REPORTED, agent_actor(caller.agent), **data))
            tx.wake(item.id)
            return self._seen(tx, done)

        return self._store.write(work)

    def policy(self, caller: AgentKey) -> PolicyInForce:
        """Return the policy that the agent is under."""
        return self._policies.in_force(caller.workspace)

    def sweep(self) -> int:
        """Do what is due in every workspace, each kind in a transaction of its own; return how many items were moved.

        Lapsed claims and ended assignments are freed, sleepers woken, what was not decided in its time escalated, and
        what nobody decided at all closed; missing outcomes are given up.
        """
        works = (
            _free_lapsed,
            wake_sleepers,
            end_assignments,
            self._close_overdue,
            partial(escalate, policies=self._policies),
            _give_up_on_outcomes,
        )
        return sum(self._store.write(work) for work in works)

    def _close_overdue(self, tx: Writing) -> int:
        overdue = tx.overdue_items(limit=SWEEP_LIMIT)
        return sum(self._expire(tx, item) for item in overdue)

    def _expire(self, tx: Writing, item: ReviewItem) -> int:
        """Close the item, whose time is up; return in how many moves, of which the end of a lapsed hold is one."""
        policy = self._policies.in_force(item.workspace, within=tx)
        is_held = pause_of(tx.pauses(item.workspace), item.agent, item.request.action.name) is not None
        is_approved = not is_held and policy.compiled.approves_on_expiry(item, notes=_notes(tx, item))
        has_lapsed = item.claim is not None and item.claim.until <= tx.now
        if has_lapsed:
            item = lapse(tx, item)
        if is_approved:
            permit_for = policy.compiled.permit_for(item.agent, item.request.action.name)
            done = self._permitted(item, Approve(), permit_for, tx.now)
        else:
            done = lifecycle.expired(item, tx.now)
        tx.save_item(done, was=item)
        if is_approved and self._is_drawn(policy):
            _queue_for_audit(tx, done, due_in=item.due_at - item.submitted_at)
        data = {"status": done.status.value, "decision": done.decision.type if done.decision else None}
        tx.record(AuditEvent.of(item, tx.now, EventKind.ITEM_EXPIRED, POLICY, **data))
        tx.wake(item.id)
        return 2 if has_lapsed else 1

    def _is_at_hand(self, caller: AgentKey, request: ActionRequest) -> bool:
        """Tell whether nothing must be looked up, compiled, decoded or searched long before it can be filed."""
        place = (caller.workspace, caller.agent, request.action.name)
        return (
            self._policies.is_fresh(caller.workspace)
            and self._shares.is_at_hand(caller)
            and (tool := self._remembered(place)) is not None
            and (request.args_schema is None or is_same(request.args_schema, tool.args_schema))
            and not _has_images(request)
            and sum(len(entry.content) for entry in request.context) <= _QUICK_CONTEXT
        )

    def _filing(self, caller: AgentKey, submission: Submission) -> _Filing:
        """Do all that can be done before the write, which is what the writer's thread is spared."""
        request = _with_images_re_encoded(submission.request)
        policy = self._policies.in_force(caller.workspace)
        key = FilingKey(caller.workspace, caller.agent, submission.idempotency_key)
        place = (caller.workspace, caller.agent, request.action.name)
        tool = self._registered(place)
        schema = tool.args_schema if tool else None
        is_new_to_tool = tool is None
        if request.args_schema is not None:
            is_new_to_tool = is_new_to_tool or not is_same(request.args_schema, schema)
            schema = request.args_schema
        routed = self._router(caller, request, policy, schema)
        digest = action_digest(request.action.name, request.action.args)
        usual = routed(0)
        is_gated = not request.observed
        waits = self._takes_room(caller, submission, usual.route)
        is_drawn = is_gated and usual.audited and self._is_drawn(policy)

        def work(tx: Writing) -> tuple[ActionStatus, bool]:
            known = tx.item_by_key(*key)
            if known is not None:
                if known.erased_at:
                    raise ItemErasedError(known.id)
                if known.request_hash != submission.request_hash:
                    raise IdempotencyMismatchError
                return self._seen(tx, known), True
            rejections = _rejections(tx, caller, request, digest)
            routing = routed(len(rejections)) if rejections else usual
            item = _filed(caller, submission, request, routing, digest=digest, policy=policy.number, now=tx.now)
            item = _linked(item, rejections)
            item = self._answered_by_policy(item, routing, tx.now) if is_gated else _observed(item, routing)
            tx.add_item(item)
            tx.record(_submitted_event(item, tx.now))
            if is_drawn and routing.audited:
                _queue_for_audit(tx, item, due_in=timedelta(seconds=routing.due_in))
            if is_new_to_tool:
                tx.keep_tool(Tool(*place, schema, tx.now))
            return self._status(item, [], tx.now), False

        return _Filing(key, digest, place, work, is_new_to_tool=is_new_to_tool, waits=waits)

    def _takes_room(self, caller: AgentKey, submission: Submission, route: Route) -> bool:
        """Tell whether it is going to wait for people. Raises TooManyWaitingError where there is no room for that."""
        if submission.request.observed or route is not Route.REVIEW:
            return False
        self._shares.require(caller, submission.idempotency_key)
        return True

    def _told(self, filing: _Filing, answer: tuple[ActionStatus, bool]) -> tuple[ActionStatus, bool]:
        """Count the committed filing, forget the tool that it changed, and return its answer."""
        status, is_repeat = answer
        if not is_repeat:
            if filing.is_new_to_tool:
                self._tools.pop(filing.place, None)
            if filing.waits:
                self._shares.let_in(filing.key.workspace, filing.key.agent)
            metrics.SUBMISSIONS.labels(status.route).inc()
        return answer

    def _router(
        self, caller: AgentKey, request: ActionRequest, policy: PolicyInForce, schema: dict[str, Any] | None
    ) -> Callable[[int], Routing]:
        """Return the policy's answer to the request as a function of how often it was rejected before."""
        signals = _signals(request, policy)
        has_invalid_args = schema is not None and bool(args_errors(schema, request.action.args))
        now = self._clock()
        pause = pause_of(policy.pauses, caller.agent, request.action.name)

        def routed(rejections: int) -> Routing:
            routing = policy.compiled.route(
                request,
                agent=caller.agent,
                now=now,
                grounding=signals.grounding,
                provenance=signals.provenance,
                rejections=rejections,
                invalid_args=has_invalid_args,
            )
            return routing if pause is None else _held(routing, pause)

        return routed

    def _answered_by_policy(self, item: ReviewItem, routing: Routing, now: datetime) -> ReviewItem:
        if routing.route is Route.EXECUTE:
            return self._permitted(item, Approve(), timedelta(seconds=routing.permit_for), now)
        if routing.route is Route.DENY:
            message = " ".join(reason.text for reason in routing.reasons)
            return lifecycle.settled(
                item,
                Reject(message=message),
                by="policy",
                now=now,
                jti=new_permission_id(),
                permit_for=timedelta(),
            )
        return item

    def _permitted(self, item: ReviewItem, decision: Decision, permit_for: timedelta, now: datetime) -> ReviewItem:
        done = lifecycle.settled(item, decision, by="policy", now=now, jti=new_permission_id(), permit_for=permit_for)
        return replace(done, receipt=self._receipts.issue(done, reviewers=(), now=now))

    def _seen(self, tx: Reading, item: ReviewItem) -> ActionStatus:
        """Return how the item stands for its agent; reasons that the reviewer chose stand in for a missing message."""
        if isinstance(item.decision, Reject) and not item.decision.message and item.erased_at is None:
            item = replace(item, decision=Reject(message=_reasons_given(tx, item)))
        return self._status(item, _notes(tx, item), tx.now)

    def _status(self, item: ReviewItem, notes: Sequence[Note], now: datetime) -> ActionStatus:
        receipt = self._receipts.renewed(item, now) if item.execution is Execution.PERMITTED else None
        return ActionStatus(
            id=item.id,
            status=item.status,
            route=item.route,
            reasons=item.reasons,
            digest=item.digest,
            version=item.version,
            decision=item.decision,
            receipt=receipt,
            notes=tuple(notes),
            execution=item.execution,
            submitted_at=item.submitted_at,
            expires_at=item.expires_at,
            policy_version=item.policy_version,
        )

    def _is_drawn(self, policy: PolicyInForce) -> bool:
        return self._draw() < policy.document.audit_rate

    def _registered(self, place: tuple[str, str, str]) -> Tool | None:
        """Return the tool as it is kept, at most a second old; None where it was never declared."""
        tool = self._remembered(place)
        if tool is None:
            looked_at = time.monotonic()
            tool = self._store.read(lambda tx: tx.tool(*place))
            if tool is not None:
                if len(self._tools) >= _TOOLS_REMEMBERED:
                    self._tools.clear()
                self._tools[place] = (looked_at, tool)
        return tool

    def _remembered(self, place: tuple[str, str, str]) -> Tool | None:
        known = self._tools.get(place)
        return known[1] if known and time.monotonic() - known[0] < CACHE_SECONDS else None

    @contextmanager
    def _in_flight(self, caller: AgentKey, idempotency_key: str) -> Iterator[None]:
        flight = (caller.workspace, caller.agent, idempotency_key)
        with self._flying_lock:
            if flight in self._flying:
                raise InFlightError
            self._flying.add(flight)
        try:
            yield
        finally:
            self._flying.discard(flight)


async def _ended(begun: Future[Any]) -> None:
    """Return once the future has its answer; asyncio's own way copies it into a second one, at thrice the cost."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell() -> None:
        if not ended.done():  # Whoever waited may have gone.
            ended.set_result(None)

    def answered(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # The loop was closed with the coroutine still in it: nobody waits.
            loop.call_soon_threadsafe(tell)

    begun.add_done_callback(answered)
    await ended


def lapse(tx: Writing, item: ReviewItem) -> ReviewItem:
    """Put a claimed item whose hold is over back into the queue."""
    free = lifecycle.released(item)
    tx.save_item(free, was=item)
    data = {"epoch": item.epoch, "holder": item.claim.name if item.claim else None}
    tx.record(AuditEvent.of(item, tx.now, EventKind.CLAIM_LAPSED, SYSTEM, **data))
    return free


def _free_lapsed(tx: Writing) -> int:
    lapsed = tx.lapsed_claims(limit=SWEEP_LIMIT)
    for item in lapsed:
        lapse(tx, item)
    return len(lapsed)


def _give_up_on_outcomes(tx: Writing) -> int:
    missed = tx.overdue_outcomes(limit=SWEEP_LIMIT)
    for item in missed:
        lost = lifecycle.unaccounted(item)
        tx.save_item(lost, was=item)
        data = {"execution": lost.execution.value, "jti": str(item.jti)}
        tx.record(AuditEvent.of(item, tx.now, EventKind.OUTCOME_MISSED, SYSTEM, **data))
        tx.wake(item.id)
    return len(missed)


def _signals(request: ActionRequest, policy: PolicyInForce) -> Signals:
    if not policy.reads_provenance and not has_untrusted(request.context):
        return Signals()
    return signals_of(request)


def signals_of(request: ActionRequest) -> Signals:
    """Return what the request alone tells of where its argument values come from."""
    found = provenance(request)
    return Signals(found.grounding.share, found.counts)


def _held(routing: Routing, pause: Pause) -> Routing:
    """Return the policy's answer while there is a pause: what could have run waits for a person, and says why."""
    if routing.route is Route.DENY:
        return routing
    reasons = (*routing.reasons, paused_reason(pause))
    return replace(routing, route=Route.REVIEW, reasons=reasons, audited=False)


def _rejections(tx: Reading, caller: AgentKey, request: ActionRequest, digest: str) -> Sequence[Rejection]:
    """Return the rejections that this call repeats, newest first: of its own thread, where it names one."""
    thread_id = request.run.thread_id
    known = tx.rejections(caller.workspace, caller.agent, digest)
    return [made for made in known if thread_id is None or made.thread_id == thread_id]


def _seen_as(status: Status | None) -> tuple[Status | Aside, ...]:
    """Return what an agent asks for by this status: whom an item waits for at the desk is none of its concern."""
    if status is None:
        return ()
    return (status, *Aside) if status is Status.WAITING else (status,)


def _own(tx: Reading, caller: AgentKey, item_id: UUID) -> ReviewItem:
    item = tx.item(caller.workspace, item_id)
    if item is None or item.agent != caller.agent or item.purpose is Purpose.AUDIT:
        raise ItemNotFoundError(item_id)
    return item


def _reasons_given(tx: Reading, item: ReviewItem) -> str | None:
    made = [each for each in tx.decisions_of(item.workspace, item.id) if isinstance(each.decision, Reject)]
    codes = made[-1].reason_codes if made else ()
    return ", ".join(code.value.replace("_", " ") for code in codes).capitalize() + "." if codes else None


def _notes(tx: Reading, item: ReviewItem) -> list[Note]:
    return list(tx.notes_of(item.workspace, item.id)) if item.notes else []


def _filed(  # noqa: PLR0913 -- one step, each of its facts by its name
    caller: AgentKey,
    submission: Submission,
    request: ActionRequest,
    routing: Routing,
    *,
    digest: str,
    policy: int,
    now: datetime,
) -> ReviewItem:
    life = timedelta(seconds=request.expires_in or routing.expires_in)
    return ReviewItem(
        id=uuid7(),
        workspace=caller.workspace,
        agent=caller.agent,
        purpose=Purpose.GATE,
        request=request,
        digest=digest,
        version=1,
        route=routing.route,
        reasons=routing.reasons,
        policy_version=policy,
        queue=routing.queue,
        priority=routing.priority,
        quorum=routing.quorum,
        status=Status.WAITING,
        execution=Execution.NONE,
        submitted_at=now,
        due_at=now + min(timedelta(seconds=routing.due_in), life),
        expires_at=now + life,
        idempotency_key=submission.idempotency_key,
        request_hash=submission.request_hash,
        blind=routing.blind and routing.quorum > 1,
        principal=principal_of(request),
    )


def _linked(item: ReviewItem, rejections: Sequence[Rejection]) -> ReviewItem:
    if not rejections:
        return item
    return replace(item, repeats_id=rejections[0].item_id, rejections=len(rejections))


def _observed(item: ReviewItem, routing: Routing) -> ReviewItem:
    """Return the item of an action that nothing waits for: it keeps what the policy would have answered."""
    life = timedelta(seconds=item.request.expires_in) if item.request.expires_in else AUDIT_LIFE
    return replace(
        item,
        purpose=Purpose.SHADOW,
        priority=OBSERVED_PRIORITY,
        quorum=1,  # One person's judgement is a label; there is nothing that a second one would have to stop.
        blind=False,
        due_at=item.submitted_at + min(timedelta(seconds=routing.due_in), life),
        expires_at=item.submitted_at + life,
    )


def _queue_for_audit(tx: Writing, item: ReviewItem, *, due_in: timedelta) -> None:
    """Put a copy of what the policy let run before a person, for a look afterwards."""
    why = Reason(code="audit_slice", text="The policy let this run; it was drawn at random for a look afterwards.")
    look = replace(
        item,
        id=uuid7(),
        purpose=Purpose.AUDIT,
        parent_id=item.id,
        idempotency_key=None,
        request_hash=None,
        status=Status.WAITING,
        execution=Execution.NONE,
        reasons=(*item.reasons, why),
        priority=AUDIT_PRIORITY,
        quorum=1,  # As with what was only observed, one person's judgement is a label.
        blind=False,
        assignment=None,
        snoozed_until=None,
        breached_at=None,
        epoch=0,
        claim=None,
        notes=0,
        due_at=tx.now + due_in,
        expires_at=tx.now + AUDIT_LIFE,
        decision=None,
        settled_by=None,
        settled_at=None,
        permitted_digest=None,
        permitted_until=None,
        jti=None,
        receipt=None,
    )
    tx.add_item(look)
    tx.record(AuditEvent.of(look, tx.now, EventKind.AUDIT_QUEUED, POLICY, of=str(item.id), digest=item.digest))


def _submitted_event(item: ReviewItem, now: datetime) -> AuditEvent:
    data: dict[str, Any] = {
        "tool": item.request.action.name,
        "digest": item.digest,
        "route": item.route.value,
        "reasons": [reason.code for reason in item.reasons],
        "confidence": item.request.confidence,
        "policy_version": item.policy_version,
    }
    if item.repeats_id is not None:
        data |= {"repeats": str(item.repeats_id), "rejections": item.rejections}
    if item.purpose is Purpose.SHADOW:
        data["observed"] = True
    return AuditEvent.of(item, now, EventKind.ACTION_SUBMITTED, agent_actor(item.agent), **data)


def _has_images(request: ActionRequest) -> bool:
    return any(entry.kind is ContextKind.IMAGE for entry in request.context)


def _with_images_re_encoded(request: ActionRequest) -> ActionRequest:
    if not _has_images(request):
        return request
    return request.model_copy(update={"context": tuple(_safe_entry(entry) for entry in request.context)})


def _safe_entry(entry: ContextEntry) -> ContextEntry:
    if entry.kind is not ContextKind.IMAGE:
        return entry
    try:
        picture = re_encoded(entry.content)
    except UninspectableError:
        return entry.model_copy(update={"media_type": UNINSPECTABLE})
    content = base64.b64encode(picture).decode("ascii")
    return entry.model_copy(update={"content": content, "media_type": "image/png"})
