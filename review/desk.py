"""The reviewers' use cases: claim an item, look at it whole, decide it, and find it again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.canonical import NotCanonicalError, canonical, is_same
from agents.protocol import (
    Action,
    Approve,
    Decision,
    DecisionType,
    Execution,
    Note,
    OutcomeStatus,
    Reject,
    Status,
)
from review import lifecycle
from review.audit import AuditEvent, EventKind, person_actor
from review.drafts import Drafts
from review.emergencies import of_person
from review.errors import (
    AlreadyDecidedError,
    AlreadySettledError,
    ClaimLostError,
    DecisionNotAllowedError,
    InvalidArgsError,
    ItemAssignedError,
    ItemChangedError,
    ItemHeldError,
    ItemNotFoundError,
    NoteRequiredError,
    NotTrainedError,
    OtherToolError,
    OutcomeNotUnknownError,
    OwnWorkError,
    ReasonNeededError,
    ReasonRequiredError,
    SignInAgainError,
    UndoTooLateError,
    UnfitOutcomeError,
)
from review.escalation import end_assignment
from review.governance import PolicyBook
from review.intake import lapse
from review.items import (
    CLAIM_DURATION,
    Claim,
    DecisionRecord,
    ItemFilter,
    ItemSummary,
    NoteRecord,
    Order,
    Page,
    PendingDecision,
    ReasonCode,
    Reconciliation,
    ReviewItem,
    awaits_answer,
)
from review.lifecycle import shown_digest
from review.masking import Mask, Pattern, Veil
from review.people import Permission, Person
from review.policy import Queue
from review.precedents import LOOKED_THROUGH, Likeness, Precedent, most_alike
from review.queues import choices, is_reasoned, may_work_in, narrowed, reasons_asked, reasons_offered, workable
from review.schemas import args_errors
from review.settling import Settling, decision_data
from review.signing import Receipts
from review.store import Reading, Store, Writing
from review.veils import schema_of


@dataclass(frozen=True, slots=True)
class Seen:
    """What the reviewer had before their eyes when they decided, and for how long.

    Its digest, which version of the item it was, and the epoch of the claim that they looked under.
    """

    digest: str
    version: int
    epoch: int
    dwell_ms: int = 0

    @classmethod
    def of(cls, item: ReviewItem, *, dwell_ms: int = 0) -> "Seen":
        """Return the look that showed the item as it stands."""
        return cls(shown_digest(item), item.version, item.epoch, dwell_ms)


class Decided(NamedTuple):
    """An item as a decision leaves it, and the decision's record where it counts already."""

    item: ReviewItem
    counted: DecisionRecord | None


GENERAL = Queue(name="general")


@dataclass(frozen=True)
class WholeItem:
    """An item with its thread, the decisions on it, and the schema that its arguments must fit; masked, once asked for.

    ``repeated`` are the decisions on the earlier item whose rejection this call repeats; ``queue`` is what the policy
    says of the queue that it is in, ``sensitive`` which arguments of the tool it declares so. Of a
    blind item that is not settled, ``decisions`` are the reader's own.
    """

    item: ReviewItem
    notes: tuple[NoteRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    args_schema: dict[str, object] | None
    repeated: tuple[DecisionRecord, ...] = ()
    queue: Queue = GENERAL
    sensitive: tuple[Pattern, ...] = ()

    @property
    def choices(self) -> tuple[DecisionType, ...]:
        """Return the decisions that can be made: those that the agent takes and the queue does not hide."""
        return choices(self.queue, self.item.request.allowed_decisions)

    def reasons_asked(self, decision: DecisionType) -> tuple[ReasonCode, ...]:
        """Return the reason codes of which this decision needs one; empty where it needs none."""
        return reasons_asked(self.queue, decision)

    def reasons_offered(self, decision: DecisionType) -> tuple[ReasonCode, ...]:
        """Return the reason codes that this decision can be given; empty where the queue has none for it."""
        return reasons_offered(self.queue, decision)

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Return where something is masked until it is revealed, in the arguments that would run or beside them."""
        return self._read[1]

    @property
    def has_masked_args(self) -> bool:
        """Tell whether something is masked in the arguments that would run."""
        return any(not mask.part for mask in self.masks)

    def masked(self) -> "WholeItem":
        """Return a copy to be read: secrets, personal data and what is declared sensitive are masked throughout."""
        return self._read[0]

    @cached_property
    def _read(self) -> tuple["WholeItem", tuple[Mask, ...]]:
        decisions = [made.decision for made in (*self.decisions, *self.repeated)]
        veil = Veil.over(self.item, self.args_schema, self.sensitive, decisions=decisions)
        shown = replace(
            self,
            item=veil.item(self.item),
            notes=tuple(
                replace(kept, note=veil.model(kept.note, part=f"notes/{number}"))
                for number, kept in enumerate(self.notes)
            ),
            # No view shows what they say: what counts of it is the item's own decision.
            decisions=tuple(replace(made, decision=veil.decision(made.decision)) for made in self.decisions),
            repeated=tuple(
                replace(made, decision=veil.decision(made.decision, part=f"repeated/{number}"))
                for number, made in enumerate(self.repeated)
            ),
        )
        return shown, veil.masks

    @property
    def is_asking(self) -> bool:
        """Tell whether a reviewer's question waits for the agent's answer."""
        return awaits_answer([kept.note for kept in self.notes]) and not self.item.status.is_final


class ReviewDesk:
    """What reviewers do with the queue. A late, stale or double decision changes nothing and says so.

    A decision is kept at once and counts after the grace ``undo_for``; until then its maker may take it back, no
    receipt exists, and the item is theirs. ``settling`` lets it count, and does so on time while it is ``running``.
    """

    def __init__(
        self, store: Store, receipts: Receipts, policies: PolicyBook, *, undo_for: timedelta = timedelta(0)
    ) -> None:
        self._store = store
        self._policies = policies
        self._undo_for = undo_for
        self.settling = Settling(store, receipts, policies)
        self.drafts = Drafts(store)

    def claim(
        self, person: Person, *, queues: Sequence[str] | None = None, passing_over: Collection[UUID] = ()
    ) -> ReviewItem | None:
        """Return the item that the person holds, else the most urgent waiting one; None when nothing waits.

        What waits for them alone comes first, then what waits in these queues, as far as they may work in them.
        Of two that they hold, the more urgent. Those that are passed over are not taken, but kept where they are held.
        """
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> ReviewItem | None:
            held, has_lapsed = tx.held_and_lapsed(person.workspace, person.iss, person.sub)
            if held is not None:
                return held
            for lapsed in tx.lapsed_claims(limit=100) if has_lapsed else ():
                lapse(tx, lapsed)
            return self._claimed_next(tx, person, queues, passing_over)

        return self._store.write(work)

    def claim_ahead(
        self, person: Person, *, queues: Sequence[str] | None = None, passing_over: Collection[UUID] = ()
    ) -> ReviewItem | None:
        """Hold the item that follows the one the person looks at, so that it can be shown at once.

        Returns the one that they hold so already, if any. It is held as every other: nobody else is shown it, and the
        hold lapses. The last item that waits is left for whoever comes; then, and where the person holds nothing to
        follow, None is returned.
        """
        person.require(Permission.DECIDE)
        held = self.held(person)
        if len(held) != 1:
            return held[1] if held else None

        def work(tx: Writing) -> ReviewItem | None:
            # The first one's row stays locked, so that of two tabs one finds what the other has taken.
            tx.item(person.workspace, held[0].id)
            now_held = tx.held_by(person.workspace, person.iss, person.sub)
            if len(now_held) != 1:
                return now_held[1] if now_held else None
            enough = len(passing_over) + 2
            if tx.count_items(person.workspace, ItemFilter(statuses=(Status.WAITING,)), limit=enough) < enough:
                return None
            return self._claimed_next(tx, person, queues, passing_over)

        return self._store.write(work)

    def held(self, person: Person) -> Sequence[ReviewItem]:
        """Return the items that the person holds, the most urgent first: at most the one they look at and the next."""
        person.require(Permission.DECIDE)
        return self._store.read(lambda tx: tx.held_by(person.workspace, person.iss, person.sub))

    def release_all(self, person: Person, *, but: Collection[UUID] = ()) -> None:
        """Put back into the queue whatever the person holds, but for some of it."""
        person.require(Permission.DECIDE)
        if all(item.id in but for item in self.held(person)):
            return

        self._store.write(lambda tx: _give_back(tx, person, but=but))

    def claim_item(self, person: Person, item_id: UUID) -> ReviewItem:
        """Take this very item, giving back what was held before; one that sleeps wakes.

        Raises ItemHeldError, ItemAssignedError, AlreadySettledError, AlreadyDecidedError, OwnWorkError,
        NotTrainedError.
        """
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> ReviewItem:
            item = item_of(tx, person, item_id)
            _require_open(item, person)
            if item.claim and item.claim.is_held_by(person.iss, person.sub, tx.now):
                return item
            self.require_takeable(tx, item, person)
            _give_back(tx, person)
            return self.taken(tx, item, person)

        return self._store.write(work)

    def require_takeable(self, tx: Reading, item: ReviewItem, person: Person) -> None:
        """Return only where the person may take the item, which they do not hold, inside a transaction.

        Raises ItemHeldError, ItemAssignedError, AlreadySettledError, AlreadyDecidedError, OwnWorkError,
        NotTrainedError.
        """
        _require_open(item, person)
        if item.claim and tx.now < item.claim.until:
            raise ItemHeldError(item.id, item.claim.name)
        self.require_fit(tx, item, person)
        _require_unassigned(tx, item, person)

    def taken(self, tx: Writing, item: ReviewItem, person: Person, **data: object) -> ReviewItem:
        """Give the person an item that they may take, inside a transaction; ``data`` is told of it besides."""
        item = _unless_over(tx, item, person)
        taken = lifecycle.claimed(item, Claim(person.iss, person.sub, person.name, tx.now + CLAIM_DURATION))
        tx.save_item(taken, was=item)
        _record(tx, taken, EventKind.ITEM_CLAIMED, person, epoch=taken.epoch, **data)
        return taken

    def extend(self, person: Person, item_id: UUID, *, epoch: int) -> ReviewItem:
        """Hold the item for another full while. Raises ClaimLostError."""
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> ReviewItem:
            item = _held(tx, person, item_id, epoch)
            longer = lifecycle.extended(item, tx.now + CLAIM_DURATION)
            tx.save_item(longer, was=item)
            _record(tx, longer, EventKind.CLAIM_EXTENDED, person, epoch=epoch)
            return longer

        return self._store.write(work)

    def release(self, person: Person, item_id: UUID, *, epoch: int) -> None:
        """Put the item back into the queue; one that is no longer held stays as it is."""
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> None:
            item = item_of(tx, person, item_id)
            is_held = item.claim is not None and item.claim.is_held_by(person.iss, person.sub, tx.now)
            if item.epoch == epoch and is_held and not item.pending:
                _release(tx, item, person)

        self._store.write(work)

    def decide(
        self,
        item_id: UUID,
        decision: Decision,
        person: Person,
        *,
        seen: Seen,
        reason_codes: tuple[ReasonCode, ...] = (),
    ) -> ReviewItem:
        """Decide the item as it was shown; the same person's same decision again changes nothing.

        The decision counts at once, or when it cannot be taken back any more. An item that needs several people then
        stays in the queue until enough of them approved; any denial settles it.
        Raises ClaimLostError, ItemChangedError, AlreadySettledError, AlreadyDecidedError, OwnWorkError,
        DecisionNotAllowedError, InvalidArgsError, ReasonRequiredError, ReasonNeededError, SignInAgainError, and
        PausedError where it would permit what is paused.
        """
        person.require(Permission.DECIDE)
        if isinstance(decision, Reject) and not reason_codes and not decision.message:
            raise ReasonRequiredError

        def work(tx: Writing) -> Decided:
            item = item_of(tx, person, item_id)
            return self.decided(tx, item, decision, person, seen=seen, reason_codes=reason_codes)

        return self.told(self._store.write(work))

    def decided(
        self,
        tx: Writing,
        item: ReviewItem,
        decision: Decision,
        person: Person,
        *,
        seen: Seen,
        reason_codes: tuple[ReasonCode, ...],
    ) -> Decided:
        """Decide the item inside a transaction, as `decide` does; what came of it is `told` after the commit."""
        if is_repeat(tx, item, decision, person, seen):
            return Decided(item, None)
        _require_hold(tx, item, person, seen.epoch)
        _require_others_work(tx, item, person)
        _require_fresh_sign_in(tx, item, person)
        if (seen.digest, seen.version) != (shown_digest(item), item.version):
            raise ItemChangedError(item.id)
        self._require_fitting(tx, item, decision, reason_codes)
        made = PendingDecision(
            decision=decision,
            reason_codes=reason_codes,
            iss=person.iss,
            sub=person.sub,
            name=person.name,
            digest_seen=seen.digest,
            dwell_ms=seen.dwell_ms,
            decided_at=tx.now,
            # It counts when the item's time is up, at the latest: it was made in time.
            settles_at=min(tx.now + self._undo_for, item.expires_at),
        )
        if not self._undo_for:
            return Decided(*self.settling.count(tx, item, made))
        self.settling.require_countable(tx, item, made)
        held = lifecycle.decided(item, made)
        tx.save_item(held, was=item)
        settles_at = made.settles_at.isoformat(timespec="microseconds")
        _record(tx, held, EventKind.DECISION_MADE, person, **decision_data(made, held), settles_at=settles_at)
        return Decided(held, None)

    def told(self, done: Decided) -> ReviewItem:
        """Let a committed decision be counted, now or when its time comes; return the item as it stands."""
        if done.counted is not None:
            self.settling.tell(done.counted)
        elif done.item.pending is not None:
            self.settling.expect(done.item.pending.settles_at - done.item.pending.decided_at)
        return done.item

    def undo(self, person: Person, item_id: UUID, *, epoch: int) -> ReviewItem:
        """Take back the decision that the person made under this claim, and return the item, which is theirs again.

        It comes back under a new claim, and what they held meanwhile goes back into the queue. Doing so again changes
        nothing. Raises ItemNotFoundError, AlreadySettledError, ClaimLostError, UndoTooLateError.
        """
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> ReviewItem:
            item = item_of(tx, person, item_id)
            if item.status.is_final:
                raise AlreadySettledError(item.id, item.status)
            made, claim = item.pending, item.claim
            if made is None and item.epoch == epoch + 1 and claim and claim.is_held_by(person.iss, person.sub, tx.now):
                return item
            if made is None or item.epoch != epoch or tx.now >= made.settles_at:
                raise UndoTooLateError(item.id)
            if not made.is_by(person.iss, person.sub):
                raise ClaimLostError(item.id, person.name)
            _give_back(tx, person)
            again = lifecycle.taken_back(item, tx.now + CLAIM_DURATION)
            tx.save_item(again, was=item)
            _record(tx, again, EventKind.DECISION_TAKEN_BACK, person, decision=made.decision.type, epoch=again.epoch)
            return again

        return self._store.write(work)

    def undoable(self, person: Person) -> Sequence[ReviewItem]:
        """Return the items whose decision the person may still take back, the latest decision first."""
        person.require(Permission.DECIDE)
        return self._store.read(lambda tx: tx.undoable(person.workspace, person.iss, person.sub))

    def ask(self, person: Person, item_id: UUID, text: str) -> None:
        """Put a question to the agent into the item's thread. Raises AlreadySettledError, ThreadFullError.

        The same person's same question again changes nothing as long as it is the last word in the thread.
        """
        person.require(Permission.DECIDE)

        def work(tx: Writing) -> None:
            item = item_of(tx, person, item_id)
            if _is_open_question(tx, item, person, text):
                return
            note = Note(author="reviewer", text=text, at=tx.now)
            tx.add_note(NoteRecord(uuid7(), item.workspace, item.id, person.name, note))
            tx.save_item(lifecycle.noted(item), was=item)
            _record(tx, item, EventKind.NOTE_ADDED, person, author="reviewer", length=len(text))
            tx.wake(item.id)

        self._store.write(work)

    def reveal(self, person: Person, item_id: UUID) -> None:
        """Put on record that the person is shown what is masked of the item; where nothing is, nothing happens.

        Whoever asks shows the values only after this returned. Raises NotAllowedError, ItemNotFoundError.
        """
        person.require(Permission.SEE_ITEMS)
        person.require(Permission.REVEAL)

        def work(tx: Writing) -> None:
            whole = self._whole(tx, person, item_id)
            places = dict.fromkeys(mask.pointer for mask in whole.masks)
            if places and whole.item.erased_at is None:
                told = {"places": "\n".join(places), "count": len(places)}
                _record(tx, whole.item, EventKind.VALUES_REVEALED, person, **told)

        self._store.write(work)

    def reconcile(self, person: Person, item_id: UUID, status: OutcomeStatus, note: str) -> ReviewItem:
        """Establish what became of an action of which nobody knows whether it ran, and say how one knows.

        From then on the agent's report changes nothing; the same person's same finding again changes nothing either. Of
        an item whose content was erased the words are not kept.
        Raises UnfitOutcomeError, NoteRequiredError, ItemNotFoundError, OutcomeNotUnknownError.
        """
        person.require(Permission.RECONCILE)
        if status is OutcomeStatus.UNKNOWN:
            raise UnfitOutcomeError
        said = note.strip()
        if not said:
            raise NoteRequiredError

        def work(tx: Writing) -> ReviewItem:
            item = item_of(tx, person, item_id)
            found = Reconciliation(
                status=status, note=said, iss=person.iss, sub=person.sub, name=person.name, at=tx.now
            )
            if item.reconciliation:
                found = found.model_copy(update={"at": item.reconciliation.at})
            done = lifecycle.reconciled(item, found)
            if done == item:
                return item
            if item.execution is not Execution.UNKNOWN:
                raise OutcomeNotUnknownError(item.id, item.execution)
            tx.save_item(done, was=item)
            _record(tx, done, EventKind.OUTCOME_RECONCILED, person, execution=done.execution.value, length=len(said))
            tx.wake(item.id)
            return done

        return self._store.write(work)

    def whole(self, person: Person, item_id: UUID) -> WholeItem:
        """Return the item with all that belongs to it. Raises ItemNotFoundError."""
        person.require(Permission.SEE_ITEMS)

        return self._store.read(lambda tx: self._whole(tx, person, item_id))

    def precedents(self, person: Person, item: ReviewItem) -> tuple[Precedent, ...]:
        """Return past decisions on the same agent's calls of the same tool, the most alike first."""
        person.require(Permission.SEE_ITEMS)

        def work(tx: Reading) -> tuple[Precedent, ...]:
            tool = item.request.action.name
            alike = most_alike(item, tx.settled_alike(person.workspace, item.agent, tool, limit=LOOKED_THROUGH))
            found = tx.items_named([(person.workspace, likeness.item_id) for likeness in alike])
            past = {item.id: item for item in found}
            return tuple(_precedent(tx, past[likeness.item_id], likeness) for likeness in alike)

        return self._store.read(work)

    def items(
        self, person: Person, where: ItemFilter, *, order: Order, limit: int = 50, cursor: str | None = None
    ) -> Page[ItemSummary]:
        """Return a page of the queue or of the history. Raises InvalidCursorError."""
        person.require(Permission.SEE_ITEMS)
        return self._store.read(lambda tx: tx.items(person.workspace, where, order=order, limit=limit, cursor=cursor))

    def count(self, person: Person, where: ItemFilter) -> int:
        """Return how many items match, counting no further than one past COUNT_LIMIT."""
        person.require(Permission.SEE_ITEMS)
        return self._store.read(lambda tx: tx.count_items(person.workspace, where))

    def decided_since(self, person: Person, since: datetime) -> Mapping[DecisionType, int]:
        """Return how often the person themselves decided each way since then, of what was settled since then, too."""
        person.require(Permission.DECIDE)
        return self._store.read(lambda tx: tx.decided_by(person.workspace, person.iss, person.sub, since=since))

    def _whole(self, tx: Reading, person: Person, item_id: UUID) -> WholeItem:
        item = item_of(tx, person, item_id)
        policy = self._policies.in_force(item.workspace, within=tx).compiled
        return WholeItem(
            _as_seen_by(person, item),
            tuple(tx.thread_of(item.workspace, item.id)) if item.notes else (),
            tuple(made for made in tx.decisions_of(item.workspace, item.id) if _may_see(item, made, person)),
            schema_of(tx, item),
            tuple(tx.decisions_of(item.workspace, item.repeats_id)) if item.repeats_id else (),
            policy.queue(item.queue),
            policy.sensitive(item.request.action.name),
        )

    def _claimed_next(
        self, tx: Writing, person: Person, queues: Sequence[str] | None, passing_over: Collection[UUID]
    ) -> ReviewItem | None:
        policy = self._policies.in_force(person.workspace, within=tx)
        item = tx.claim_next(
            person.workspace,
            queues=narrowed(queues, workable(policy.document, person)),
            iss=person.iss,
            sub=person.sub,
            name=person.name,
            until=tx.now + CLAIM_DURATION,
            passing_over=passing_over,
        )
        if item is not None:
            _record(tx, item, EventKind.ITEM_CLAIMED, person, epoch=item.epoch)
        return item

    def require_fit(self, tx: Reading, item: ReviewItem, person: Person) -> None:
        """Return only where the person may decide the item, whoever holds it. Raises OwnWorkError, NotTrainedError."""
        if item.principal == person.id or _has_had_a_hand_in(tx, item, person):
            raise OwnWorkError(item.id)
        policy = self._policies.in_force(item.workspace, within=tx).compiled
        if not may_work_in(policy.queue(item.queue), person):
            raise NotTrainedError(person.name, item.queue)

    def _require_fitting(
        self, tx: Reading, item: ReviewItem, decision: Decision, reason_codes: tuple[ReasonCode, ...]
    ) -> None:
        queue = self._policies.in_force(item.workspace, within=tx).compiled.queue(item.queue)
        kind = DecisionType(decision.type)
        takes = choices(queue, item.request.allowed_decisions)
        if kind not in takes:
            raise DecisionNotAllowedError(kind, takes)
        if not is_reasoned(queue, kind, reason_codes):
            raise ReasonNeededError(kind, queue.name, reasons_asked(queue, kind))
        _require_fitting_args(tx, item, decision)


def _precedent(tx: Reading, past: ReviewItem, likeness: Likeness) -> Precedent:
    return Precedent(past, likeness, _codes(tx, past) if isinstance(past.decision, Reject) else ())


def _codes(tx: Reading, item: ReviewItem) -> tuple[ReasonCode, ...]:
    made = tx.decisions_of(item.workspace, item.id)
    return made[-1].reason_codes if made else ()


def _is_open_question(tx: Reading, item: ReviewItem, person: Person, text: str) -> bool:
    if not item.notes or item.status.is_final:
        return False
    last = tx.thread_of(item.workspace, item.id)[-1]
    return (last.note.author, last.author_name, last.note.text) == ("reviewer", person.name, text)


def is_repeat(tx: Reading, item: ReviewItem, decision: Decision, person: Person, seen: Seen) -> bool:
    """Tell whether the person has made this very decision under this claim already."""
    if item.epoch == seen.epoch and item.pending is None and item.claim is not None:
        return False  # Whoever decides gives the claim up, and the next one has another epoch.
    made = item.pending
    by = (person.iss, person.sub, seen.epoch)
    if made is not None and (made.iss, made.sub, item.epoch) == by and is_same(made.decision, decision):
        return True
    return any(
        (made.iss, made.sub, made.epoch) == by and is_same(made.decision, decision)
        for made in tx.decisions_of(item.workspace, item.id)
    )


def item_of(tx: Reading, person: Person, item_id: UUID) -> ReviewItem:
    """Return the item of the person's workspace. Raises ItemNotFoundError."""
    item = tx.item(person.workspace, item_id)
    if item is None:
        raise ItemNotFoundError(item_id)
    return item


def _held(tx: Reading, person: Person, item_id: UUID, epoch: int) -> ReviewItem:
    item = item_of(tx, person, item_id)
    _require_hold(tx, item, person, epoch)
    return item


def _require_others_work(tx: Reading, item: ReviewItem, person: Person) -> None:
    # Whoever claims is asked already, but what others decide meanwhile may not be seen by the statement that claims.
    is_for_several = item.quorum > 1 or item.draft is not None
    if item.principal == person.id or (is_for_several and _has_had_a_hand_in(tx, item, person)):
        raise OwnWorkError(item.id)


def _require_fresh_sign_in(tx: Reading, item: ReviewItem, person: Person) -> None:
    if item.is_high_impact and not person.has_just_signed_in(tx.now):
        raise SignInAgainError(item.id)


def _require_open(item: ReviewItem, person: Person) -> None:
    if item.status.is_final:
        raise AlreadySettledError(item.id, item.status)
    require_undecided(item, person)


def _require_hold(tx: Reading, item: ReviewItem, person: Person, epoch: int) -> None:
    _require_open(item, person)
    if item.expires_at <= tx.now:  # It is closed for good, whether or not the sweep has come by.
        raise AlreadySettledError(item.id, Status.EXPIRED)
    if item.epoch != epoch or item.claim is None or not item.claim.is_held_by(person.iss, person.sub, tx.now):
        raise ClaimLostError(item.id, person.name)


def require_undecided(item: ReviewItem, person: Person) -> None:
    """Let nobody touch an item on which a decision waits for its time to count, however old the hold is."""
    if item.pending is None:
        return
    if item.pending.is_by(person.iss, person.sub):
        raise AlreadyDecidedError(item.id)
    raise ItemHeldError(item.id, item.pending.name)


def _require_fitting_args(tx: Reading, item: ReviewItem, decision: Decision) -> None:
    action = _proposed(item) if isinstance(decision, Approve) else lifecycle.permitted_action(item, decision)
    if action is None:
        return
    try:
        canonical(action.args)
    except NotCanonicalError as error:
        raise InvalidArgsError([("", str(error))]) from error
    if action.name != item.request.action.name:
        raise OtherToolError(item.request.action.name)
    schema = schema_of(tx, item)
    if schema is not None and (errors := args_errors(schema, action.args)):
        raise InvalidArgsError(errors)


def _proposed(item: ReviewItem) -> Action:
    return item.draft or item.request.action


def _has_had_a_hand_in(tx: Reading, item: ReviewItem, person: Person) -> bool:
    # What was approved or edited before somebody's edit is another version, which is for everybody but its editor.
    has_decided = any(
        (made.iss, made.sub, made.item_version) == (person.iss, person.sub, item.version)
        for made in tx.decisions_of(item.workspace, item.id)
    )
    # Whoever approved first and broke the glass then may be enough alone for what was proposed.
    return has_decided and (item.draft is not None or of_person(tx, item.workspace, person.iss, person.sub) is None)


def _give_back(tx: Writing, person: Person, *, but: Collection[UUID] = ()) -> None:
    for held in tx.held_by(person.workspace, person.iss, person.sub):
        item = tx.item(person.workspace, held.id)  # Locked, and as it is now.
        is_held = item is not None and item.epoch == held.epoch and item.claim == held.claim and item.pending is None
        if item is not None and is_held and item.id not in but:
            _release(tx, item, person)


def _require_unassigned(tx: Reading, item: ReviewItem, person: Person) -> None:
    kept_for = item.assignment if item.claim is None else None
    if kept_for and not kept_for.is_for(person.iss, person.sub) and tx.now < kept_for.until:
        raise ItemAssignedError(item.id, kept_for.name)


def _unless_over(tx: Writing, item: ReviewItem, person: Person) -> ReviewItem:
    """Return the item after its lapsed claim, or somebody else's ended assignment, was told."""
    if item.claim is not None:
        return lapse(tx, item)
    if item.assignment and not item.assignment.is_for(person.iss, person.sub):
        return end_assignment(tx, item)
    return item


def _as_seen_by(person: Person, item: ReviewItem) -> ReviewItem:
    made = item.pending
    is_hidden = item.blind and made is not None and not made.is_by(person.iss, person.sub)
    return replace(item, pending=None) if is_hidden else item


def _may_see(item: ReviewItem, made: DecisionRecord, person: Person) -> bool:
    is_open = item.blind and not item.status.is_final
    return not is_open or (made.iss, made.sub) == (person.iss, person.sub)


def _release(tx: Writing, item: ReviewItem, person: Person) -> None:
    tx.save_item(lifecycle.released(item), was=item)
    _record(tx, item, EventKind.CLAIM_RELEASED, person, epoch=item.epoch)


def _record(tx: Writing, item: ReviewItem, kind: EventKind, person: Person, **data: object) -> None:
    tx.record(AuditEvent.of(item, tx.now, kind, person_actor(person), **data))
