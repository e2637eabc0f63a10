"""The records: the audit log, the decisions and the labels, as pages to look at and as streams to export."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from review.anchors import Anchor, Anchors
from review.audit import AuditEvent, EventFilter, EventKind, LogHead, person_actor
from review.errors import UnknownReviewerError
from review.figures import FIGURES_LIMIT, Figures
from review.governance import PolicyBook
from review.items import EVERY_DECISION, DecisionFilter, DecisionRecord, KnownReviewer, Page, ReviewItem
from review.labels import Label, LabelCount, label_of, masked_label, pseudonym
from review.manifests import Narrowing, RowExport
from review.masking import Veil
from review.people import Permission, Person
from review.sealer import AuditExport, Heartbeat, Sealer, heartbeat
from review.store import COUNT_LIMIT, Reading, Store, Writing
from review.veils import Veils
from review.verification import Verification, verified
from review.verify import SALT_BYTES

T = TypeVar("T")
Decided = tuple[ReviewItem, DecisionRecord, Veil]

# Of whole items with their context: what is held at a time is this many times a quarter of a megabyte at the most.
EXPORT_BATCH = 200
LABELS_COUNTED = 10_000
# To count this many takes longer than to draw a page, and whoever looks at so many does not miss the last few.
FIGURES_KEPT_FROM = 2_000
FIGURES_KEPT = timedelta(seconds=30)


class Records:
    """Reads what is kept, in batches of constant size; every export is itself an audit event."""

    def __init__(self, store: Store, policies: PolicyBook, sealer: Sealer, anchors: Anchors) -> None:
        self._store = store
        self._policies = policies
        self._sealer = sealer
        self._anchors = anchors
        self._figures: dict[tuple[str, int], Figures] = {}

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

    def labels(
        self, person: Person, where: DecisionFilter = EVERY_DECISION, *, shows_values: bool = False
    ) -> RowExport[Label]:
        """Return the labels of the decisions that match, in their order; the export is itself an event.

        They are masked, unless somebody who may reveal values asks for them with ``shows_values``. Raises
        UnknownReviewerError, NotAllowedError.
        """
        person.require(Permission.EXPORT_LABELS)
        asked = Narrowing(where, secrets.token_bytes(SALT_BYTES))
        decided = self._exported(person, "labels", asked, shows_values=shows_values)
        labels = (_label(*each, shows_values=shows_values) for each in decided)
        return self._rows(person, "labels", asked, labels, shows_values=shows_values)

    def anchors(self, person: Person) -> tuple[Anchor, ...]:
        """Return the places that the log's checkpoints are posted to, and how that goes."""
        person.require(Permission.SEE_AUDIT)
        return self._anchors.of(person.workspace)

    def is_alarming(self, person: Person) -> bool:
        """Tell whether the audit log is not being sealed, or one of its anchors raises an alarm."""
        # Asked on every drawing of every screen: whether anything waits is enough.
        beat = heartbeat(self._store, limit=1)
        return beat.is_missing or any(anchor.is_alarming for anchor in self.anchors(person))

    def figures(self, person: Person, *, days: int) -> Figures:
        """Return the figures of the last days, of the latest FIGURES_LIMIT items; those of many are half a minute old.

        Of fewer than FIGURES_KEPT_FROM items they are of this moment.
        """
        person.require(Permission.SEE_FIGURES)
        asked = person.workspace, days

        def work(tx: Reading) -> Figures:
            kept = self._figures.get(asked)
            if kept is not None and timedelta(0) <= tx.now - kept.at < FIGURES_KEPT:
                return kept
            return tx.figures(person.workspace, since=tx.now - timedelta(days=days), limit=FIGURES_LIMIT)

        found = self._store.read(work)
        if found.items >= FIGURES_KEPT_FROM:
            self._figures[asked] = found
        return found

    def label_counts(self, person: Person) -> Sequence[LabelCount]:
        """Return how many labels there are of each tool and decision, of the first LABELS_COUNTED."""
        person.require(Permission.SEE_ITEMS)
        return self._store.read(lambda tx: tx.count_labels(person.workspace, limit=LABELS_COUNTED))

    def label_preview(
        self, person: Person, where: DecisionFilter = EVERY_DECISION, *, limit: int = 20
    ) -> Sequence[Label]:
        """Return the first labels, masked, to look at before a download."""
        person.require(Permission.SEE_ITEMS)
        return [_label(*each, shows_values=False) for each in self._decided(person.workspace, where, limit=limit)]

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
        self, person: Person, where: DecisionFilter = EVERY_DECISION, *, shows_values: bool = False
    ) -> RowExport[tuple[ReviewItem, DecisionRecord]]:
        """Return the decisions that match with their items, oldest first; the export is itself an event.

        They are masked, unless somebody who may reveal values asks for them with ``shows_values``. Reviewers
        go by a pseudonym; for who may export the audit log, which names them, they are named here as well.
        Who may export no others' decisions has their own, masked in any case.
        Raises UnknownReviewerError, NotAllowedError.
        """
        asked = Narrowing(_as_far_as_permitted(person, where), secrets.token_bytes(SALT_BYTES))
        decided = self._exported(person, "decisions", asked, shows_values=shows_values)
        rows = ((item, record) if shows_values else _masked(item, record, veil) for item, record, veil in decided)
        return self._rows(
            person,
            "decisions",
            asked,
            rows,
            shows_values=shows_values,
            shows_names=person.may(Permission.EXPORT_AUDIT),
        )

    def count_decisions(self, person: Person, where: DecisionFilter) -> int:
        """Return how many rows an export of decisions or labels would hold, counting no further than COUNT_LIMIT + 1.

        Raises UnknownReviewerError.
        """
        person.require(Permission.EXPORT_LABELS)
        return self._count(person, where, COUNT_LIMIT + 1)

    def count_events(self, person: Person, where: EventFilter) -> int:
        """Return how many events match, counting no further than COUNT_LIMIT + 1."""
        person.require(Permission.SEE_AUDIT)
        return self._store.read(lambda tx: tx.count_events(person.workspace, where, limit=COUNT_LIMIT + 1))

    def _exported(self, person: Person, what: str, asked: Narrowing, *, shows_values: bool) -> Iterator[Decided]:
        """Record the export, before its first row is read, and return its rows."""
        if shows_values:
            person.require(Permission.EXPORT_LABELS)
            person.require(Permission.REVEAL)
        where = asked.where
        reviewers = self._reviewers(person, where)
        told = {"shows_values": True} if shows_values else {}
        self._record_export(person, what, where.since, where.until, **told, **asked.committed)
        return self._decisions(person.workspace, where, reviewers)

    def _rows(
        self,
        person: Person,
        what: str,
        asked: Narrowing,
        rows: Iterator[T],
        *,
        shows_values: bool,
        shows_names: bool = False,
    ) -> RowExport[T]:
        def attest(told: dict[str, Any]) -> str:
            return self._sealer.attest(person.workspace, what, {**asked.told, **told})

        return RowExport(
            rows,
            count=lambda: self._count(person, asked.where, None),
            attest=attest,
            shows_names=shows_names,
            shows_values=shows_values,
        )

    def _count(self, person: Person, where: DecisionFilter, limit: int | None) -> int:
        reviewers = self._reviewers(person, where)
        return self._store.read(lambda tx: tx.count_decided(person.workspace, where, reviewers=reviewers, limit=limit))

    def _reviewers(self, person: Person, where: DecisionFilter) -> Sequence[KnownReviewer] | None:
        """Return whom the filter means, None where it means everybody."""
        asked = where.reviewer
        if asked is None:
            return None
        if asked == _own_pseudonym(person):
            return [KnownReviewer(person.iss, person.sub, person.name)]
        known = self._store.read(lambda tx: tx.reviewers(person.workspace))
        may_name = person.may(Permission.EXPORT_AUDIT)
        meant = [
            each
            for each in known
            if asked == pseudonym(person.workspace, each.iss, each.sub)
            or (may_name and asked in {each.name, f"{each.iss}#{each.sub}"})
        ]
        if not meant:
            raise UnknownReviewerError(asked)
        return meant

    def _decisions(
        self, workspace: str, where: DecisionFilter, reviewers: Sequence[KnownReviewer] | None
    ) -> Iterator[Decided]:
        after: UUID | None = None
        while True:
            batch = self._decided(workspace, where, reviewers=reviewers, limit=EXPORT_BATCH, after=after)
            yield from batch
            if len(batch) < EXPORT_BATCH:
                return
            after = batch[-1][1].id

    def _decided(
        self,
        workspace: str,
        where: DecisionFilter = EVERY_DECISION,
        *,
        limit: int,
        reviewers: Sequence[KnownReviewer] | None = None,
        after: UUID | None = None,
    ) -> Sequence[Decided]:
        def look(tx: Reading) -> Sequence[Decided]:
            veils = Veils(tx, self._policies)
            rows = tx.decided(workspace, where, reviewers=reviewers, limit=limit, after=after)
            return [(item, record, veils.of(item, decisions=[record.decision])) for item, record in rows]

        return self._store.read(look)

    def _record_export(
        self,
        person: Person,
        what: str,
        since: datetime | None,
        until: datetime | None,
        **told: Any,  # noqa: ANN401 -- JSON values
    ) -> None:
        data = {
            "what": what,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
            **told,
        }

        def work(tx: Writing) -> None:
            actor = person_actor(person)
            tx.record(AuditEvent.at_large(tx.now, EventKind.EXPORT_MADE, actor, workspace=person.workspace, **data))

        self._store.write(work)


def _as_far_as_permitted(person: Person, where: DecisionFilter) -> DecisionFilter:
    """Return the filter, narrowed to the person's own decisions where they may export no others'.

    Raises NotAllowedError where it asks for somebody else's then, and for whoever may export none.
    """
    is_own = where.reviewer in (None, _own_pseudonym(person))
    if person.may(Permission.EXPORT_OWN) and is_own and not person.may(Permission.EXPORT_LABELS):
        return replace(where, reviewer=_own_pseudonym(person))
    person.require(Permission.EXPORT_LABELS)
    return where


def _own_pseudonym(person: Person) -> str:
    return pseudonym(person.workspace, person.iss, person.sub)


def _label(item: ReviewItem, record: DecisionRecord, veil: Veil, *, shows_values: bool) -> Label:
    label = label_of(item, record)
    return label if shows_values else masked_label(label, veil)


def _masked(item: ReviewItem, record: DecisionRecord, veil: Veil) -> tuple[ReviewItem, DecisionRecord]:
    return veil.item(item), replace(record, decision=veil.decision(record.decision))
