"""Erasure: content is taken out of items and of what opens the audit log's commitments, when asked for or when old.

What was done stays: who decided what and when, and every leaf of the log, which verifies as before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from review import lifecycle
from review.audit import SYSTEM, Actor, AuditEvent, EventKind, person_actor
from review.errors import ItemNotFoundError
from review.items import ReviewItem
from review.people import Permission, Person
from review.store import Reading, Store, Writing

ITEMS_LOOKED_THROUGH = 5_000
ITEMS_EXPIRED_TOGETHER = 50
SCRUB_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """The items whose content is to go, and how many of them nobody has decided yet: these are withdrawn first."""

    items: tuple[UUID, ...]
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure removed, in numbers; all of them are 0 where everything was gone before."""

    items: int = 0
    withdrawn: int = 0
    decisions: int = 0
    notes: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        """Return the sum of both."""
        return Erased(
            self.items + other.items,
            self.withdrawn + other.withdrawn,
            self.decisions + other.decisions,
            self.notes + other.notes,
        )


class Eraser:
    """Erases by item, or by the subject that items concern. Erasing again what is erased changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def plan_item(self, person: Person, item_id: UUID) -> ErasurePlan:
        """Return the item, with the copies that were drawn of it for a look afterwards, or that it is one of.

        Raises ItemNotFoundError.
        """
        person.require(Permission.ERASE)

        def work(tx: Reading) -> ErasurePlan:
            item = tx.item(person.workspace, item_id)
            if item is None:
                raise ItemNotFoundError(item_id)
            first = item.parent_id or item.id
            return _plan(tx, person.workspace, [first, *tx.copies_of(person.workspace, first)])

        return self._store.read(work)

    def plan_subject(self, person: Person, subject: str) -> ErasurePlan:
        """Return every item of the person's workspace whose ``impact.subject`` is, to the letter, this one."""
        person.require(Permission.ERASE)
        found: list[UUID] = []
        after: UUID | None = None
        while True:
            # A look at every item, since an index would cost each submission; in slices, so that nobody waits for it.
            slice_ = self._store.read(partial(_subjects, workspace=person.workspace, after=after))
            found += [item_id for item_id, named in slice_ if named == subject]
            if len(slice_) < ITEMS_LOOKED_THROUGH:
                break
            after = slice_[-1][0]
        return self._store.read(lambda tx: _plan(tx, person.workspace, found))

    def erase(self, person: Person, plan: ErasurePlan) -> Erased:
        """Remove the content of the items for good, each in a transaction with its event, and return what was removed.

        Raises StoreBusyError where all is erased, and remains of it can still stand in the database's file.
        """
        person.require(Permission.ERASE)
        done = Erased()
        for item_id in plan.items:
            erase = partial(
                _erase,
                workspace=person.workspace,
                item_id=item_id,
                kind=EventKind.CONTENT_ERASED,
                actor=person_actor(person),
            )
            done += self._store.write(erase)
        # Even where nothing was left to erase: the time before may have ended here.
        self._store.scrub()
        return done


class Retention:
    """Erases the content of what closed so long ago, oldest first, a little at a time; events are kept."""

    def __init__(self, store: Store, keep_for: timedelta) -> None:
        self._store = store
        self._keep_for = keep_for
        # Up to where everything is expired, by workspace: what closes later stands behind.
        self._reached: dict[str, tuple[datetime, UUID]] = {}
        self._has_remains = False
        self._scrubbed_at: datetime | None = None

    def tick(self) -> int:
        """Expire the content of some items; return how many, 0 where none is old enough."""
        workspaces = self._store.read(lambda tx: tx.workspaces())
        expired = sum(self._expire_some(workspace) for workspace in workspaces)
        self._has_remains = self._has_remains or bool(expired)
        if not expired and self._has_remains:
            self._scrub()
        return expired

    def _expire_some(self, workspace: str) -> int:
        while True:
            looked_at = self._store.read(
                lambda tx: tx.closed(
                    workspace,
                    before=tx.now - self._keep_for,
                    after=self._reached.get(workspace),
                    limit=ITEMS_LOOKED_THROUGH,
                )
            )
            due = [item for item in looked_at if not item.is_erased][:ITEMS_EXPIRED_TOGETHER]
            if not looked_at:
                return 0
            self._expire(workspace, [item.id for item in due])
            is_through = len(due) < ITEMS_EXPIRED_TOGETHER
            last = looked_at[-1] if is_through else due[-1]
            self._reached[workspace] = last.settled_at, last.id
            if due:
                return len(due)

    def _expire(self, workspace: str, item_ids: Sequence[UUID]) -> None:
        def work(tx: Writing) -> None:
            for item_id in item_ids:
                _erase(tx, workspace=workspace, item_id=item_id, kind=EventKind.CONTENT_EXPIRED, actor=SYSTEM)

        if item_ids:
            self._store.write(work)

    def _scrub(self) -> None:
        """Write the files anew, which takes long: once a day is enough for what nobody asked to be erased."""
        now = self._store.read(lambda tx: tx.now)
        if self._scrubbed_at is None or now - self._scrubbed_at >= SCRUB_EVERY:
            self._scrubbed_at = now
            self._store.scrub()
            self._has_remains = False


def _subjects(tx: Reading, *, workspace: str, after: UUID | None) -> Sequence[tuple[UUID, str | None]]:
    return tx.subjects(workspace, limit=ITEMS_LOOKED_THROUGH, after=after)


def _plan(tx: Reading, workspace: str, item_ids: Sequence[UUID]) -> ErasurePlan:
    items = [item for item_id in item_ids if (item := tx.item(workspace, item_id))]
    return ErasurePlan(tuple(item.id for item in items), sum(not item.status.is_final for item in items))


def _erase(tx: Writing, *, workspace: str, item_id: UUID, kind: EventKind, actor: Actor) -> Erased:
    found = tx.item(workspace, item_id)
    if found is None:
        return Erased()
    item = _withdrawn(tx, found, actor)
    bare = lifecycle.erased(item, tx.now)
    if bare is item:
        return Erased()
    decisions = tx.decisions_of(workspace, item_id)
    for record in decisions:
        tx.save_decision(lifecycle.erased_record(record))
    tx.save_item(bare, was=found)
    notes = tx.remove_notes(workspace, item_id)
    tx.remove_drafts(workspace, item_id)
    tx.remove_openings(workspace, item_id)
    tx.forget_words(workspace, item_id)
    tx.record(AuditEvent.of(item, tx.now, kind, actor, decisions=len(decisions), notes=notes))
    tx.wake(item_id)
    return Erased(1, int(found.status is not item.status), len(decisions), notes)


def _withdrawn(tx: Writing, item: ReviewItem, actor: Actor) -> ReviewItem:
    """Return the item closed; one that nobody has decided is withdrawn, so that its agent does not wait in vain."""
    if item.status.is_final:
        return item
    tx.record(AuditEvent.of(item, tx.now, EventKind.ITEM_CANCELLED, actor))
    return lifecycle.cancelled(item, tx.now, by=actor.name)
