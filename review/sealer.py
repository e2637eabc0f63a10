"""The sealer: gives committed audit events their places in the tree and signs checkpoints of it."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.canonical import canonical
from review.audit import Actor, Arrival, AuditEvent, Backlog, EventFilter, EventKind, LogHead, Seal, SealedEvent
from review.checkpoints import Checkpoint, manifest_text, origin_of, rows_text, successor_text
from review.errors import NoCheckpointError, SealingBusyError
from review.merkle import TILE_LEVELS, Frontier, Node, TiledNodes, inclusion_path, leaf_hash
from review.people import DEFAULT_WORKSPACE
from review.signing import Receipts
from review.store import Reading, Store, Writing
from review.verify import erased_values

LEAVES_PER_CHECKPOINT = 1_000
CHECKPOINT_EVERY = timedelta(seconds=60)
IDLE_CHECKPOINT_EVERY = timedelta(hours=1)
# An alarm is raised when a checkpoint is missing for twice as long as it may take.
ALARM_AFTER = 2

EXPORT_BATCH = 500
MOST_ROTATIONS = 1_000

_PATIENCE_S = 3.0
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How the sealing goes: what waits, the heads of the logs, and the time at which it was asked."""

    now: datetime
    backlog: Backlog
    heads: tuple[LogHead, ...]

    @property
    def is_missing(self) -> bool:
        """Tell whether a checkpoint is missing for two intervals: an alarm."""
        return self.overdue >= timedelta(0)

    @property
    def overdue(self) -> timedelta:
        """Return for how long the alarm has been due; negative while all is well."""
        waits = [self.now - head.at - ALARM_AFTER * IDLE_CHECKPOINT_EVERY for head in self.heads]
        if self.backlog.oldest is not None:
            waits.append(self.now - self.backlog.oldest - ALARM_AFTER * CHECKPOINT_EVERY)
        return max(waits, default=-CHECKPOINT_EVERY)

    @property
    def is_due(self) -> bool:
        """Tell whether a checkpoint of new leaves is due."""
        if not self.backlog.count:
            return False
        last = max((head.at for head in self.heads), default=None)
        is_full = self.backlog.count >= LEAVES_PER_CHECKPOINT
        return is_full or last is None or self.now - last >= CHECKPOINT_EVERY


def heartbeat(store: Store, *, limit: int = LEAVES_PER_CHECKPOINT) -> Heartbeat:
    """Return how the sealing goes; what waits is counted no further than the limit."""

    def ask(tx: Reading) -> Heartbeat:
        return Heartbeat(tx.now, tx.backlog(limit=limit), tuple(tx.log_heads()))

    return store.read(ask)


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """A sealed event with its audit path, 32 bytes a hash, in the tree of the export's checkpoint, and its openings."""

    index: int
    leaf: bytes
    proof: bytes
    openings: str


class AuditExport:
    """The events of a log that meet a filter, each with its proof, and when they have been read the signed manifest.

    Every row carries its whole path, though neighbours share most of it: so each row stands by itself, an excerpt is
    proven as the whole is, and a row that was tampered with takes no other's proof along.
    """

    def __init__(self, store: Store, receipts: Receipts, head: LogHead, *, where: EventFilter) -> None:
        self._store = store
        self._receipts = receipts
        self._head = head
        self._where = where
        self._digest = hashlib.sha256()
        self._first: int | None = None
        self._last: int | None = None
        self._count = 0
        self._erased = 0

    def __iter__(self) -> Iterator[ProvenEvent]:
        """Yield the events by index, read in batches of constant size."""
        frontier = self._head.frontier
        node = TiledNodes(self._hashes, frontier.size)
        begin = 0
        while batch := self._batch(begin):
            for event in batch:
                self._note(event)
                path = b"".join(inclusion_path(event.index, frontier, node))
                yield ProvenEvent(event.index, event.leaf, path, event.openings)
            begin = batch[-1].index + 1

    @property
    def size(self) -> int:
        """Return how many leaves there are to go through."""
        return self._head.frontier.size

    @property
    def passed(self) -> int:
        """Return how many leaves the reading has gone through, those among them that the filter leaves out."""
        return 0 if self._last is None else self._last + 1

    def manifest(self) -> str:
        """Return the signed note that says what was exported; meant for when all rows have been read."""
        made_at, successors = self._store.read(lambda tx: (tx.now, self._successors(tx)))
        told = {
            "version": 1,
            "origin": self._head.origin,
            "workspace": self._head.workspace,
            "made_at": made_at.isoformat(timespec="microseconds"),
            "filter": _told_filter(self._where),
            "first": self._first,
            "last": self._last,
            "count": self._count,
            "erased": self._erased,
            "rows_sha256": self._digest.hexdigest(),
            "tree_size": self._head.frontier.size,
            "root": base64.b64encode(self._head.frontier.root()).decode(),
            "checkpoint": self._head.note,
            "successors": successors,
        }
        return self._receipts.sign_note(manifest_text(self._head.origin, canonical(told).decode()), self._head.origin)

    def _batch(self, begin: int) -> Sequence[SealedEvent]:
        asked = {"begin": begin, "size": self._head.frontier.size, "limit": EXPORT_BATCH}
        return self._store.read(lambda tx: tx.sealed_events(self._head.workspace, self._where, **asked))

    def _hashes(self, level: int, begin: int, end: int) -> Sequence[bytes]:
        return self._store.read(lambda tx: tx.log_hashes(self._head.workspace, level, begin, end))

    def _note(self, event: SealedEvent) -> None:
        self._first = event.index if self._first is None else self._first
        self._last = event.index
        self._count += 1
        self._erased += erased_values(event.leaf, event.openings)
        self._digest.update(leaf_hash(event.leaf))

    def _successors(self, tx: Reading) -> list[str]:
        """Return every key's signed word on the key that followed it, oldest first."""
        where = EventFilter(kind=EventKind.KEY_ROTATED)
        asked = {"begin": 0, "size": self._head.frontier.size, "limit": MOST_ROTATIONS}
        return [
            json.loads(event.leaf)["data"]["note"] for event in tx.sealed_events(self._head.workspace, where, **asked)
        ]


class Sealer:
    """Seals the logs of all workspaces; any number of processes may run one, and one at a time gets to seal.

    A seal is one transaction: leaves, nodes and checkpoint are kept together or not at all. Whoever fails in the middle
    leaves the events as they were, to be sealed by the next.
    """

    def __init__(self, store: Store, receipts: Receipts) -> None:
        self._store = store
        self._receipts = receipts

    @property
    def verifying_key(self) -> Ed25519PublicKey:
        """Return the public half of the key in force."""
        return self._receipts.verifying_key

    def tick(self) -> int:
        """Sign what checkpoints are due, and let receipts carry the latest; return how many events were sealed."""
        beat = heartbeat(self._store)
        sealed = 0
        while beat.is_due:
            count = self._seal_some()
            sealed += count
            if not count:
                break
            beat = heartbeat(self._store)
        for head in beat.heads:
            if beat.now - head.at >= IDLE_CHECKPOINT_EVERY:
                self._repeat(head)
        self._carry(beat.heads)
        return sealed

    def seal(self) -> None:
        """Seal everything that is committed now, whether due or not; what is committed meanwhile is left.

        Raises SealingBusyError where the sealing gets no further for a while: another process keeps at it, or a
        transaction that is still open may have recorded something earlier.
        """
        aim, reached = self._store.read(lambda tx: (tx.last_recorded(), tx.last_sealed()))
        stuck_since = time.monotonic()
        while reached < aim:
            if not self._seal_some():
                if time.monotonic() - stuck_since > _PATIENCE_S:
                    raise SealingBusyError
                time.sleep(_PAUSE_S)
            before, reached = reached, self._store.read(lambda tx: tx.last_sealed())
            if reached > before:
                stuck_since = time.monotonic()
        self._carry(self._store.read(lambda tx: tx.log_heads()))

    def export(self, workspace: str, where: EventFilter) -> AuditExport:
        """Return the events of the log that meet the filter, everything that is committed now sealed among them."""
        self.seal()
        head = self._store.read(lambda tx: tx.log_head(workspace))
        if head is None:
            raise NoCheckpointError
        return AuditExport(self._store, self._receipts, head, where=where)

    def attest(self, workspace: str, what: str, told: Mapping[str, Any]) -> str:
        """Return what is told of an export of rows, with the time and the log's latest checkpoint, as a signed note."""
        where = EventFilter(kind=EventKind.KEY_ROTATED)

        def ask(tx: Reading) -> tuple[datetime, LogHead | None, list[str]]:
            rotations = tx.events(workspace, where, limit=MOST_ROTATIONS).rows
            return tx.now, tx.log_head(workspace), [event.data["note"] for event in reversed(rotations)]

        made_at, head, successors = self._store.read(ask)
        origin = head.origin if head else origin_of(self._receipts.issuer, workspace)
        whole = {
            "version": 1,
            "what": what,
            "origin": origin,
            "workspace": workspace,
            "made_at": made_at.isoformat(timespec="microseconds"),
            **told,
            "checkpoint": head.note if head else None,
            "successors": successors,
        }
        return self._receipts.sign_note(rows_text(origin, what, canonical(whole).decode()), origin)

    def announce(self, successor: Ed25519PublicKey, actor: Actor) -> None:
        """Let the key in force sign its word on the key that follows it, as an event of every log.

        Said again, it changes nothing. What is sealed here is sealed under the key in force, the announcement included.
        """
        self.seal()
        origins = {head.workspace: head.origin for head in self._store.read(lambda tx: tx.log_heads())}
        first = {DEFAULT_WORKSPACE: origin_of(self._receipts.issuer, DEFAULT_WORKSPACE)}
        for workspace, origin in (origins or first).items():
            note = self._receipts.sign_note(successor_text(origin, successor.public_bytes_raw()), origin)
            self._store.write(partial(_announce, workspace=workspace, note=note, actor=actor))
        self.seal()

    def _seal_some(self) -> int:
        """Seal up to a checkpoint's worth of events, in one transaction; 0 where another was faster."""
        arrivals = self._store.unsealed(limit=LEAVES_PER_CHECKPOINT)
        if not arrivals:
            return 0
        after, known = self._store.read(
            lambda tx: (tx.last_sealed(), {head.workspace: head for head in tx.log_heads()})
        )
        if arrivals[0].seq <= after:
            return 0
        drafts = [self._grown(known.get(workspace), workspace, group) for workspace, group in _by_workspace(arrivals)]

        def work(tx: Writing) -> int:
            # Sealed by another since the look above: what was worked out is of no use.
            if not tx.leads_sealing() or tx.last_sealed() != after:
                return 0
            # The head of an idle log, signed again meanwhile, took the number of the checkpoint.
            heads = [tx.log_head(draft.workspace) for draft in drafts]
            if any((head.number if head else 0) + 1 != draft.number for head, draft in zip(heads, drafts, strict=True)):
                return 0
            for draft in drafts:
                tx.add_seal(self._signed(draft, tx.now))
            return len(arrivals)

        return self._store.write(work)

    def _grown(self, head: LogHead | None, workspace: str, arrivals: Sequence[Arrival]) -> "_Draft":
        begun = head.frontier if head else Frontier()
        hashes = [leaf_hash(arrival.leaf) for arrival in arrivals]
        nodes: list[Node] = []

        def keep(node: Node) -> None:
            if node.level and not node.level % TILE_LEVELS:
                nodes.append(node)

        frontier = begun.extended(hashes, completed=keep)
        places = zip(arrivals, hashes, strict=True)
        leaves = tuple((each.seq, begun.size + at, hash_) for at, (each, hash_) in enumerate(places))
        origin = head.origin if head else origin_of(self._receipts.issuer, workspace)
        return _Draft(workspace, origin, head.number + 1 if head else 1, frontier, leaves, tuple(nodes))

    def _signed(self, draft: "_Draft", now: datetime) -> Seal:
        checkpoint = Checkpoint(draft.origin, draft.frontier.size, draft.frontier.root())
        note = self._receipts.sign_note(checkpoint.text, draft.origin)
        head = LogHead(draft.workspace, draft.number, draft.frontier, draft.origin, note, now)
        return Seal(head, draft.leaves, draft.nodes)

    def _repeat(self, head: LogHead) -> None:
        """Sign the head of an idle log again: the heartbeat."""
        draft = _Draft(head.workspace, head.origin, head.number + 1, head.frontier, (), ())

        def work(tx: Writing) -> None:
            current = tx.log_head(head.workspace) if tx.leads_sealing() else None
            if current is not None and current.number == head.number:
                tx.add_seal(self._signed(draft, tx.now))

        self._store.write(work)

    def _carry(self, heads: Sequence[LogHead]) -> None:
        for head in heads:
            self._receipts.carry(head.workspace, head.note)


@dataclass(frozen=True, slots=True)
class _Draft:
    workspace: str
    origin: str
    number: int
    frontier: Frontier
    leaves: tuple[tuple[int, int, bytes], ...]
    nodes: tuple[Node, ...]


def _announce(tx: Writing, *, workspace: str, note: str, actor: Actor) -> None:
    latest = tx.events(workspace, EventFilter(kind=EventKind.KEY_ROTATED), limit=1).rows
    if latest and latest[0].data["note"] == note:
        return
    tx.record(AuditEvent.at_large(tx.now, EventKind.KEY_ROTATED, actor, workspace=workspace, note=note))


def _by_workspace(arrivals: Sequence[Arrival]) -> list[tuple[str, list[Arrival]]]:
    in_order = sorted(arrivals, key=attrgetter("workspace", "seq"))
    return [(workspace, list(group)) for workspace, group in groupby(in_order, key=attrgetter("workspace"))]


def _told_filter(where: EventFilter) -> dict[str, str | None]:
    return {
        "kind": where.kind.value if where.kind else None,
        "actor": where.actor,
        "item": str(where.item_id) if where.item_id else None,
        "since": where.since.isoformat() if where.since else None,
        "until": where.until.isoformat() if where.until else None,
    }
