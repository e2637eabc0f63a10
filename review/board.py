"""The use cases around the queues: how full they are, who is to decide what, and what sleeps until later."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from agents.protocol import Execution, Status
from review import lifecycle
from review.audit import AuditEvent, EventKind, person_actor
from review.desk import ReviewDesk, require_undecided
from review.errors import (
    AlreadySettledError,
    ClaimLostError,
    ItemAssignedError,
    ItemHeldError,
    ItemNotFoundError,
    NobodyThereError,
    NotAllowedError,
    NotAsideError,
    NoteTooLongError,
    OwnWorkError,
    UnfitTimeError,
)
from review.governance import PolicyBook
from review.intake import lapse
from review.items import ASSIGNMENT_DURATION, Aside, Assignment, ItemFilter, Purpose, ReviewItem
from review.people import Permission, Person
from review.policy import Queue
from review.queues import may_work_in, queue_names
from review.store import Reading, Store, Writing

PRESENT_FOR = timedelta(days=90)
DUE_SOON = timedelta(minutes=30)
LONGEST_SLEEP = timedelta(days=14)
MAX_NOTE_CHARS = 1_000


_OF_ALL = {
    "waiting": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.GATE),
    "ran": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.AUDIT),
    "observed": ItemFilter(statuses=(Status.WAITING,), purpose=Purpose.SHADOW),
    "held": ItemFilter(statuses=(Status.CLAIMED,)),
    "assigned": ItemFilter(statuses=(Aside.ASSIGNED,)),
    "snoozed": ItemFilter(statuses=(Aside.SNOOZED,)),
    "unknown": ItemFilter(execution=Execution.UNKNOWN),
}


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """How a queue stands: what waits in it for everybody, how much of that is overdue, and since when the oldest waits.

    ``due_soon`` is what will be overdue within DUE_SOON; ``own`` is what the reader holds or is given of it. Counts go
    no further than one past COUNT_LIMIT. ``is_open`` tells whether the reader may work in it.
    """

    queue: Queue
    waiting: int
    breached: int
    oldest: datetime | None
    is_open: bool
    due_soon: int = 0
    own: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How all queues stand, in the policy's order, and how much there is of them all, none counted past COUNT_LIMIT.

    ``waiting`` has agents that wait for it; ``ran`` and ``observed`` are there to be looked at afterwards. ``held``,
    ``assigned`` and ``snoozed`` are not there for everybody. ``unknown`` was let run, and nobody knows whether it did.
    """

    queues: tuple[QueueStanding, ...]
    waiting: int
    ran: int
    observed: int
    held: int
    assigned: int
    snoozed: int
    unknown: int

    @property
    def breached(self) -> int:
        """Return how much is overdue in all queues together."""
        return sum(each.breached for each in self.queues)


class Board:
    """What is done with items before they are decided; each move is one transaction with its event."""

    def __init__(self, store: Store, policies: PolicyBook, desk: ReviewDesk) -> None:
        self._store = store
        self._policies = policies
        self._desk = desk

    def standing(self, person: Person) -> Standing:
        """Return how every queue stands that the policy names, or that something waits in or is the person's."""
        person.require(Permission.SEE_ITEMS)

        def work(tx: Reading) -> Standing:
            policy = self._policies.in_force(person.workspace, within=tx)
            names = dict.fromkeys([*queue_names(policy.document), *tx.waiting_queues(person.workspace)])
            soon = tx.due_by(person.workspace, tx.now + DUE_SOON)
            own = Counter(
                [
                    *tx.assigned_queues(person.workspace, person.iss, person.sub),
                    *(item.queue for item in tx.held_by(person.workspace, person.iss, person.sub)),
                ]
            )
            names |= dict.fromkeys(own)
            queues = tuple(
                replace(_standing(tx, person, policy.compiled.queue(name)), due_soon=soon.get(name, 0), own=own[name])
                for name in names
            )
            counts = {name: tx.count_items(person.workspace, where) for name, where in _OF_ALL.items()}
            return Standing(queues, **counts)

        return self._store.read(work)

    def colleagues(self, person: Person) -> Sequence[Person]:
        """Return who can be given items: everybody who may decide and signed in within 90 days, by name."""
        _require_either(person, Permission.DECIDE, Permission.ASSIGN)

        def work(tx: Reading) -> Sequence[Person]:
            since = tx.now - PRESENT_FOR
            members = (each for each in tx.members(person.workspace) if each.last_seen_at >= since)
            return [each for each in (member.as_of(tx.now) for member in members) if each.may(Permission.DECIDE)]

        return self._store.read(work)

    def assign(self, person: Person, item_id: UUID, *, to: Person, note: str = "") -> ReviewItem:
        """Let the item wait for one person until they take it, it is put back, or eight hours are over.

        The same again changes nothing. Raises ItemHeldError, AlreadySettledError, NobodyThereError, NoteTooLongError,
        and what keeps that person from the item: OwnWorkError, NotTrainedError.
        """
        person.require(Permission.ASSIGN)
        said = _said(note)

        def work(tx: Writing) -> ReviewItem:
            item = _undecided(tx, person, item_id)
            if item.claim and tx.now < item.claim.until:
                raise ItemHeldError(item.id, item.claim.name)
            assignment = self._assignment(tx, item, person, to=to, note=said)
            if item.aside and _is_same(item.assignment, assignment):
                return item
            if item.claim:
                item = lapse(tx, item)
            return _moved(tx, item, lifecycle.assigned(item, assignment), EventKind.ITEM_ASSIGNED, person)

        return self._store.write(work)

    def hand_over(self, person: Person, item_id: UUID, *, epoch: int, to: Person, note: str = "") -> ReviewItem:
        """Give an item that the person holds to another, with words that only reviewers read.

        Raises ClaimLostError, AlreadySettledError, NobodyThereError, NoteTooLongError, OwnWorkError, NotTrainedError.
        """
        person.require(Permission.DECIDE)
        said = _said(note)

        def work(tx: Writing) -> ReviewItem:
            item = _undecided(tx, person, item_id)
            if item.epoch != epoch or item.claim is None or not item.claim.is_held_by(person.iss, person.sub, tx.now):
                raise ClaimLostError(item.id, person.name)
            if to.id == person.id:
                raise NobodyThereError
            assignment = self._assignment(tx, item, person, to=to, note=said)
            done = lifecycle.assigned(item, assignment)
            return _moved(tx, item, done, EventKind.ITEM_HANDED_OVER, person, epoch=epoch)

        return self._store.write(work)

    def snooze(self, person: Person, item_id: UUID, *, until: datetime) -> ReviewItem:
        """Let the item sleep until then; for its agent it waits on, and its deadlines stay as they are.

        Who may neither decide it nor give it to people does not. Raises UnfitTimeError, ItemHeldError,
        ItemAssignedError, AlreadySettledError, OwnWorkError, NotTrainedError.
        """
        _require_either(person, Permission.DECIDE, Permission.ASSIGN)

        def work(tx: Writing) -> ReviewItem:
            item = _undecided(tx, person, item_id)
            self._require_concerned(tx, item, person)
            if not tx.now < until < min(item.expires_at, tx.now + LONGEST_SLEEP):
                raise UnfitTimeError(item.expires_at)
            if item.snoozed_until == until and item.aside:
                return item
            if item.claim and tx.now < item.claim.until and not item.claim.is_held_by(person.iss, person.sub, tx.now):
                raise ItemHeldError(item.id, item.claim.name)
            if item.aside is Aside.ASSIGNED:
                _require_say(item, person)
            if item.claim and item.claim.until <= tx.now:
                item = lapse(tx, item)
            done = lifecycle.snoozed(item, until)
            return _moved(tx, item, done, EventKind.ITEM_SNOOZED, person, until=until.isoformat())

        return self._store.write(work)

    def put_back(self, person: Person, item_id: UUID) -> ReviewItem:
        """Make an item that was assigned or sleeps there for everybody again.

        An assignment is ended by its assignee, or by who may assign; a sleeper is woken by who may put it to sleep.
        Raises NotAsideError, ItemAssignedError, AlreadySettledError, OwnWorkError, NotTrainedError.
        """
        _require_either(person, Permission.DECIDE, Permission.ASSIGN)

        def work(tx: Writing) -> ReviewItem:
            item = _undecided(tx, person, item_id)
            if item.aside is None:
                raise NotAsideError(item.id)
            if item.aside is Aside.SNOOZED:
                self._require_concerned(tx, item, person)
                return _moved(tx, item, lifecycle.released(item), EventKind.ITEM_WOKEN, person)
            _require_say(item, person)
            assignee = item.assignment.name if item.assignment else None
            free = lifecycle.released(item)
            return _moved(tx, item, free, EventKind.ASSIGNMENT_ENDED, person, assignee=assignee)

        return self._store.write(work)

    def _require_concerned(self, tx: Reading, item: ReviewItem, person: Person) -> None:
        """Return only where the person may decide the item, or may give it to people and it is not in their name.

        Raises OwnWorkError, NotTrainedError.
        """
        if item.principal == person.id:
            raise OwnWorkError(item.id)
        if not person.may(Permission.ASSIGN):
            self._desk.require_fit(tx, item, person)

    def _assignment(self, tx: Reading, item: ReviewItem, by: Person, *, to: Person, note: str) -> Assignment:
        member = tx.member(item.workspace, to.iss, to.sub)
        if member is None or member.last_seen_at < tx.now - PRESENT_FOR or not member.person.may(Permission.DECIDE):
            raise NobodyThereError
        meant = member.as_of(tx.now)
        self._desk.require_fit(tx, item, meant)
        until = min(tx.now + ASSIGNMENT_DURATION, item.expires_at)
        return Assignment(meant.iss, meant.sub, meant.name, until, by.name, note)


def _standing(tx: Reading, person: Person, queue: Queue) -> QueueStanding:
    waits = ItemFilter(statuses=(Status.WAITING,), queue=queue.name)
    late = ItemFilter(statuses=(Status.WAITING,), queue=queue.name, purpose=Purpose.GATE, is_breached=True)
    oldest = tx.oldest_waiting(person.workspace, queue.name)
    if oldest is None:
        return QueueStanding(queue, 0, 0, None, is_open=may_work_in(queue, person))
    waiting, breached = (tx.count_items(person.workspace, where) for where in (waits, late))
    return QueueStanding(queue, waiting, breached, oldest, is_open=may_work_in(queue, person))


def _require_either(person: Person, *permissions: Permission) -> None:
    if not any(map(person.may, permissions)):
        raise NotAllowedError(person.name, permissions[0])


def _require_say(item: ReviewItem, person: Person) -> None:
    """Return only where the person may end the item's assignment. Raises ItemAssignedError."""
    is_theirs = item.assignment is None or item.assignment.is_for(person.iss, person.sub)
    if item.assignment and not is_theirs and not person.may(Permission.ASSIGN):
        raise ItemAssignedError(item.id, item.assignment.name)


def _undecided(tx: Reading, person: Person, item_id: UUID) -> ReviewItem:
    item = tx.item(person.workspace, item_id)
    if item is None:
        raise ItemNotFoundError(item_id)
    if item.status.is_final:
        raise AlreadySettledError(item.id, item.status)
    require_undecided(item, person)
    if item.expires_at <= tx.now:  # It is closed for good, whether or not the sweep has come by.
        raise AlreadySettledError(item.id, Status.EXPIRED)
    return item


def _is_same(was: Assignment | None, now: Assignment) -> bool:
    return was is not None and (was.iss, was.sub, was.note) == (now.iss, now.sub, now.note)


def _said(note: str) -> str:
    said = note.strip()
    if len(said) > MAX_NOTE_CHARS:
        raise NoteTooLongError(MAX_NOTE_CHARS)
    return said


def _moved(
    tx: Writing, was: ReviewItem, item: ReviewItem, kind: EventKind, person: Person, **data: object
) -> ReviewItem:
    tx.save_item(item, was=was)
    if item.assignment is not None:
        given = item.assignment
        data |= {"assignee": given.name, "until": given.until.isoformat(), "length": len(given.note)}
    tx.record(AuditEvent.of(item, tx.now, kind, person_actor(person), **data))
    return item
