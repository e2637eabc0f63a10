"""The records: the audit log, the decisions and the labels, as pages to look at and as streams to export."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from review.anchors import Anchor, Anchors
from review.audit import AuditEvent, EventFilter, EventKind, LogHead, person_actor
from review.items import DecisionRecord, Page, ReviewItem
from review.labels import Label, label_of
from review.people import Permission, Person
from review.sealer import AuditExport, Heartbeat, Sealer, heartbeat
from review.store import Store, Writing
from review.verification import Verification, verified

EXPORT_BATCH = 500


class Records:
    """Reads what is kept, in batches of constant size; every export is itself an audit event."""

    def __init__(self, store: Store, sealer: Sealer, anchors: Anchors) -> None:
        self._store = store
        self._sealer = sealer
        self._anchors = anchors

    def events(
        self, person: Person, where: EventFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[AuditEvent]:
        """Return a page of the audit log, newest first."""
        person.require(Permission.SEE_AUDIT)
        return self._store.read(lambda tx: tx.events(person.workspace, where, limit=limit, cursor=cursor))

    def log(self, person: Person) -> tuple[LogHead | None, Heartbeat]:
        """Return the audit log at its latest checkpoint, None where none was signed yet, and how the sealing goes."""
        person.require(Permission.SEE_AUDIT)
        head = self._store.read(lambda tx: tx.log_head(person.workspace))
        return head, heartbeat(self._store)

    def anchors(self, person: Person) -> tuple[Anchor, ...]:
        """Return the places that the log's checkpoints are posted to, and how that goes."""
        person.require(Permission.SEE_AUDIT)
        return self._anchors.of(person.workspace)

    def is_alarming(self, person: Person) -> bool:
        """Tell whether the audit log is not being sealed, or one of its anchors raises an alarm."""
        # Asked on every drawing of every screen: whether anything waits is enough.
        beat = heartbeat(self._store, limit=1)
        return beat.is_missing or any(anchor.is_alarming for anchor in self.anchors(person))

    def labels(
        self, person: Person, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Label]:
        """Yield every label in order of decision, read in batches; the export is itself an event."""
        person.require(Permission.EXPORT_LABELS)
        self._record_export(person, "labels", since, until)
        return self._labels(person.workspace, since, until)

    def label_preview(self, person: Person, *, limit: int = 20) -> Sequence[Label]:
        """Return the first labels, to look at before a download."""
        person.require(Permission.SEE_ITEMS)
        rows = self._store.read(lambda tx: tx.decided(person.workspace, since=None, until=None, limit=limit))
        return [label_of(item, record) for item, record in rows]

    def audit_events(self, person: Person, where: EventFilter) -> AuditExport:
        """Seal the log and return every event that matches, with its proof; the export is itself an event."""
        person.require(Permission.EXPORT_AUDIT)
        self._record_export(person, "audit", where.since, where.until)
        return self._sealer.export(person.workspace, where)

    def verified(self, person: Person, *, told: Callable[[float], None]) -> Verification:
        """Export the whole log as the person, and put it before the verifier, in constant memory.

        ``told`` is given how much is done, 0…1; what it raises ends it. The export is itself an event.
        """
        return verified(self.audit_events(person, EventFilter()), self._sealer.verifying_key, told=told)

    def decisions(
        self, person: Person, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[tuple[ReviewItem, DecisionRecord]]:
        """Yield every decision with its item, oldest first, read in batches; the export is itself an event."""
        person.require(Permission.EXPORT_AUDIT)
        self._record_export(person, "decisions", since, until)
        return self._decisions(person.workspace, since, until)

    def _labels(self, workspace: str, since: datetime | None, until: datetime | None) -> Iterator[Label]:
        for item, record in self._decisions(workspace, since, until):
            yield label_of(item, record)

    def _decisions(
        self, workspace: str, since: datetime | None, until: datetime | None
    ) -> Iterator[tuple[ReviewItem, DecisionRecord]]:
        after: UUID | None = None
        while True:
            batch = self._decided_after(workspace, since, until, after)
            yield from batch
            if len(batch) < EXPORT_BATCH:
                return
            after = batch[-1][1].id

    def _decided_after(
        self, workspace: str, since: datetime | None, until: datetime | None, after: UUID | None
    ) -> Sequence[tuple[ReviewItem, DecisionRecord]]:
        return self._store.read(
            lambda tx: tx.decided(workspace, since=since, until=until, limit=EXPORT_BATCH, after=after)
        )

    def _record_export(self, person: Person, what: str, since: datetime | None, until: datetime | None) -> None:
        data = {
            "what": what,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
        }

        def work(tx: Writing) -> None:
            actor = person_actor(person)
            tx.record(AuditEvent.at_large(tx.now, EventKind.EXPORT_MADE, actor, workspace=person.workspace, **data))

        self._store.write(work)
