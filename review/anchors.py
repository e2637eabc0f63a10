"""Anchors: places outside at which checkpoints are kept, so that a log that was rolled back or rewritten shows.

Each place has a thread of its own, and none holds up the sealing or another place. What is posted is always the latest
checkpoint: after an outage the missed ones are not made up for, because the latest covers them. Nothing of this is kept
in the database, which is what the anchors are to vouch for: after a start the place itself is asked what it holds.
Several replicas post the same; those that find the checkpoint there leave it.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from review.audit import LogHead
from review.checkpoints import Checkpoint, NoteError, parse_note
from review.errors import ReviewError
from review.merkle import TiledNodes, consistency_proof, is_consistent
from review.places import ContradictionError, Place
from review.sealer import ALARM_AFTER, CHECKPOINT_EVERY
from review.store import Reading, Store

RETRY_FIRST = timedelta(seconds=2)
RETRY_LAST = timedelta(minutes=5)

_LOOK_EVERY_S = 1.0
_PATIENCE_S = 2.0
_log = logging.getLogger("signoff")


@dataclass(frozen=True, slots=True)
class Anchor:
    """How the posting of a log to one place goes, as far as this process knows.

    ``size`` and ``at`` are of the last checkpoint that was posted; ``due_since`` is when one became due that has not
    been posted; ``trouble`` is why, in words.
    """

    place: str
    size: int | None = None
    at: datetime | None = None
    due_since: datetime | None = None
    trouble: str | None = None
    is_contradicted: bool = False
    is_alarming: bool = False


@dataclass(frozen=True, slots=True)
class _Posted:
    number: int
    size: int
    at: datetime


@dataclass(frozen=True, slots=True)
class _Trouble:
    why: str | None = None
    due_since: datetime | None = None
    failures: int = 0
    retry_at: datetime | None = None
    is_contradicted: bool = False

    def failed(self, error: Exception, now: datetime) -> "_Trouble":
        wait = min(RETRY_FIRST * 2 ** min(self.failures, 16), RETRY_LAST)
        return replace(
            self,
            why=_words(error),
            failures=self.failures + 1,
            retry_at=now + wait,
            is_contradicted=isinstance(error, ContradictionError),
        )

    def is_alarming(self, now: datetime) -> bool:
        is_late = self.due_since is not None and now - self.due_since >= ALARM_AFTER * CHECKPOINT_EVERY
        return is_late or self.is_contradicted


class Poster:
    """Posts every log's latest checkpoint to one place, at most once a minute."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place
        self._posted: dict[str, _Posted] = {}
        self._trouble = _Trouble()

    def tick(self) -> None:
        """Post what is due; what fails is tried again after a while, which grows from 2 seconds to 5 minutes."""
        now, heads = self._store.read(_now_and_heads)
        due = [head for head in heads if self._is_due(head, now)]
        if not due:
            return
        if self._trouble.due_since is None:
            self._trouble = replace(self._trouble, due_since=now)
        if self._trouble.retry_at is not None and now < self._trouble.retry_at:
            return
        faults = [fault for head in due if (fault := self._fault(head.workspace, now)) is not None]
        if not faults:
            self._trouble = _Trouble()
            return
        before, self._trouble = self._trouble, self._trouble.failed(faults[0], now)
        if self._trouble.why != before.why:
            _log.warning("checkpoints cannot be posted to %s: %s", self._place.name, self._trouble.why)

    def close(self) -> None:
        """Leave nothing of the place behind on this machine."""
        self._place.close()

    def anchor(self, workspace: str, now: datetime) -> Anchor:
        """Return how the posting of the workspace's log goes."""
        posted, trouble = self._posted.get(workspace), self._trouble
        return Anchor(
            place=self._place.name,
            size=posted.size if posted else None,
            at=posted.at if posted else None,
            due_since=trouble.due_since,
            trouble=trouble.why,
            is_contradicted=trouble.is_contradicted,
            is_alarming=trouble.is_alarming(now),
        )

    def _is_due(self, head: LogHead, now: datetime) -> bool:
        last = self._posted.get(head.workspace)
        return last is None or (head.number != last.number and now - last.at >= CHECKPOINT_EVERY)

    def _fault(self, workspace: str, now: datetime) -> Exception | None:
        """Post the log's checkpoint; return why it could not be."""
        try:
            self._post(workspace, now)
        except Exception as error:  # noqa: BLE001 -- places fail in the ways of their libraries, and posting must go on
            return error
        return None

    def _post(self, workspace: str, now: datetime) -> None:
        known = self._store.read(partial(_head, workspace=workspace))
        kept = self._place.kept(known.origin)
        # Looked up again after the place was asked: another replica may have posted a later one meanwhile.
        head = self._store.read(partial(_head, workspace=workspace))
        if kept is not None:
            self._require_continued(kept, head)
        if kept != head.note:
            self._place.keep(head.origin, head.frontier.size, head.note)
        self._posted[workspace] = _Posted(head.number, head.frontier.size, now)

    def _require_continued(self, kept: str, head: LogHead) -> None:
        """Refuse to go on where the log is not the continuation of what the place holds."""
        try:
            old = Checkpoint.parse(parse_note(kept).text)
        except NoteError:
            return  # A file that was written half is written again.
        size, fault = head.frontier.size, None
        if old.origin != head.origin:
            fault = f"is of another log, {old.origin}."
        elif old.size > size:
            fault = f"is over {old.size:,} events, and the log has {size:,} now: the log was rolled back."
        elif old.size and not self._is_continued(old, head):
            fault = f"is over {old.size:,} events that are not the first of the log any more: the log was rewritten."
        if fault:
            message = f"The checkpoint that is kept there {fault}"
            raise ContradictionError(message)

    def _is_continued(self, old: Checkpoint, head: LogHead) -> bool:
        def hashes(level: int, begin: int, end: int) -> Sequence[bytes]:
            return self._store.read(lambda tx: tx.log_hashes(head.workspace, level, begin, end))

        size = head.frontier.size
        proof = consistency_proof(old.size, head.frontier, TiledNodes(hashes, size))
        return is_consistent(old.size, size, old_root=old.root, new_root=head.frontier.root(), proof=proof)


class Anchors:
    """Every place that the installation posts its checkpoints to, in the order of the settings."""

    def __init__(self, store: Store, places: Sequence[Place] = ()) -> None:
        self._store = store
        self._posters = tuple(Poster(store, place) for place in places)

    @property
    def posters(self) -> tuple[Poster, ...]:
        """Return what posts to each place."""
        return self._posters

    @contextmanager
    def running(self) -> Iterator[None]:
        """Post beside whatever is done inside the context; a place that hangs does not hold its end up."""
        ended = threading.Event()
        threads = [
            threading.Thread(target=_run, args=(poster, ended), name="anchor", daemon=True) for poster in self._posters
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(_PATIENCE_S)
            # A server that a signal ends does not come to what Python does at its exit.
            for poster in self._posters:
                poster.close()

    def of(self, workspace: str) -> tuple[Anchor, ...]:
        """Return how the posting of a workspace's log goes, place by place."""
        if not self._posters:
            return ()
        now = self._store.read(lambda tx: tx.now)
        return tuple(poster.anchor(workspace, now) for poster in self._posters)


def _run(poster: Poster, ended: threading.Event) -> None:
    while True:
        try:
            poster.tick()
        except Exception:  # noqa: BLE001 -- the posting must go on; what failed is in the log
            _log.exception("the checkpoints to be posted could not be read; trying again")
        if ended.wait(_LOOK_EVERY_S):
            return


def _now_and_heads(tx: Reading) -> tuple[datetime, Sequence[LogHead]]:
    return tx.now, tx.log_heads()


def _head(tx: Reading, *, workspace: str) -> LogHead:
    found = tx.log_head(workspace)
    if found is None:
        message = "The log has no checkpoint any more: it was rolled back."
        raise ContradictionError(message)
    return found


def _words(error: Exception) -> str:
    if isinstance(error, ReviewError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    # The message of a library may quote the address with its password.
    return f"It failed with {type(error).__name__}."
