"""The courier: tells the console in the background what must not make the agent wait.

Observations, and outcomes that could not be reported at once, go through a bounded spool and are delivered in their
order, outcomes first. Delivering twice does no harm: an observation is known by its idempotency key, an outcome by its
item.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from .client import Client, Steps, body_of, may_be_taken_later
from .errors import ServerAwayError, ServerRefusedError
from .protocol import ActionRequest, Outcome
from .spool import TROUBLE, Spool, Spooled

MAX_QUEUED = 1_000
CLOSING_SECONDS = 2.0
MAX_AT_ONCE = 50

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A request that is ready to be sent."""

    path: str
    body: bytes
    idempotency_key: str | None = None


def observation(request: ActionRequest, idempotency_key: str) -> Parcel:
    """Return the parcel that files an observed action. Raises RequestInvalidError."""
    return Parcel("/actions", body_of(request), idempotency_key)


def outcome_report(item_id: UUID, outcome: Outcome) -> Parcel:
    """Return the parcel that tells what happened when an action ran. Raises RequestInvalidError."""
    return Parcel(f"/actions/{item_id}/outcome", body_of(outcome))


class Courier:
    """Delivers parcels from a thread of its own, which begins with the first of them.

    What it is handed waits in memory until the thread has put it into the spool, and there until the console has it.
    """

    def __init__(self, client: Client, spool: Spool) -> None:
        self._client = client
        self._spool = spool
        self._outcomes: deque[Callable[[], Parcel]] = deque()
        self._observations: deque[Callable[[], Parcel]] = deque()
        self._awake = threading.Condition()
        self._close_by: float | None = None
        self._is_away = False
        self._thread: threading.Thread | None = None
        if len(spool):
            self._start()

    def post(self, pack: Callable[[], Parcel], *, is_outcome: bool = False) -> None:
        """Take something to be packed and delivered; it neither waits nor raises, and ``pack`` is called later.

        Outcomes go before observations, which give way where there is too much of both.
        """
        with self._awake:
            if self._close_by is not None:
                _logger.warning("The gate is closed; the console will not hear of one more action.")
                return
            if self._waiting() >= MAX_QUEUED:
                _logger.warning("More is to be told than can be packed; the console will not hear of the oldest.")
                (self._observations or self._outcomes).popleft()
            (self._outcomes if is_outcome else self._observations).append(pack)
            self._start()
            self._awake.notify_all()

    def close(self, seconds: float | None = None) -> None:
        """Put what is left into the spool, try once more to deliver it, and end; at most so many seconds, else 2."""
        seconds = CLOSING_SECONDS if seconds is None else seconds
        with self._awake:
            self._close_by = time.monotonic() + seconds
            self._awake.notify_all()
            thread = self._thread
        if thread is threading.current_thread():
            return  # Garbage was collected here, of all threads; it ends by itself.
        if thread is not None:
            thread.join(seconds)
            if thread.is_alive():
                self._tell_left()
                return
        if unpacked := self._waiting():
            _logger.warning("%d requests could not be put into the spool and are lost.", unpacked)
        if left := self._spool.close():
            _logger.warning("%d requests that were kept in memory are lost; give the gate a spool to keep them.", left)

    def _tell_left(self) -> None:
        if self._spool.is_in_memory:
            _logger.warning(
                "The console does not answer in time; what it has not heard of by the program's end is lost."
            )
            return
        _logger.warning(
            "The console does not answer in time; what it has not heard of yet stays in the spool, but for %d requests "
            "that could not be packed in time.",
            self._waiting(),
        )

    def _waiting(self) -> int:
        return len(self._outcomes) + len(self._observations)

    def _start(self) -> None:
        # A thread does not survive a fork of its process, so it is looked for each time.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="signoff-courier", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        pause, due, is_empty = _FIRST_PAUSE_SECONDS, 0.0, False
        while True:
            is_last = self._close_by is not None
            is_kept = self._packed_some(all_of_it=is_last)
            if is_last or time.monotonic() >= due:
                is_empty = self._delivered_all()
                due = 0.0 if is_empty else time.monotonic() + pause
                pause = _FIRST_PAUSE_SECONDS if is_empty else min(_LONGEST_PAUSE_SECONDS, pause * 2)
            if is_last:
                return
            with self._awake:
                if not is_kept:
                    self._awake.wait_for(lambda: self._close_by is not None, _FIRST_PAUSE_SECONDS)
                    continue
                patience = None if is_empty else max(0.0, due - time.monotonic())
                self._awake.wait_for(lambda: self._waiting() or self._close_by is not None, patience)

    def _packed_some(self, *, all_of_it: bool) -> bool:
        """Return whether the spool took what was packed."""
        for _ in range(MAX_QUEUED if all_of_it else MAX_AT_ONCE):
            with self._awake:
                queue = self._outcomes or self._observations
                if not queue or self._is_late():
                    return True
                pack = queue.popleft()
            try:
                parcel = pack()
            except Exception:
                # What the agent tells about a call may be any function; none of them may end this thread.
                _logger.exception("Something could not be packed; the console will not hear of it.")
                continue
            if not self._is_kept(parcel):
                with self._awake:
                    queue.appendleft(lambda: parcel)  # noqa: B023 -- the loop ends here
                return False
        return True

    def _is_kept(self, parcel: Parcel) -> bool:
        try:
            self._spool.keep(parcel.path, parcel.body, idempotency_key=parcel.idempotency_key)
        except TROUBLE:
            _logger.exception("The spool cannot be written now; it is tried again.")
            return False
        return True

    def _delivered_all(self) -> bool:
        delivered = 0
        try:
            while (spooled := self._spool.oldest()) is not None:
                if delivered >= MAX_AT_ONCE and self._waiting():
                    return True  # It goes on at once, after what has come meanwhile was packed.
                delivered += 1
                if self._is_late() or not self._delivered(spooled):
                    return False
                self._spool.remove(spooled)
        except Exception:
            _logger.exception("The spool cannot be emptied now; it is tried again.")
            return False
        return True

    def _is_late(self) -> bool:
        return self._close_by is not None and time.monotonic() >= self._close_by

    def _delivered(self, spooled: Spooled) -> bool:
        """Return whether the spool may forget the request: the console has it, or will never take it."""
        try:
            self._client.send(self._steps(spooled))
        except (ServerAwayError, ServerRefusedError) as error:
            if may_be_taken_later(error):
                if not self._is_away:
                    _logger.warning("%s %d requests wait in the spool until then.", error, len(self._spool))
                self._is_away = True
                return False
            _logger.warning("The console does not take what the spool held for %s: %s", spooled.path, error)
        self._is_away = False
        return True

    def _steps(self, spooled: Spooled) -> Steps[None]:
        path, body, key = spooled.path, spooled.body, spooled.idempotency_key
        if self._close_by is None:
            return self._client.deliver(path, body, idempotency_key=key)
        return self._client.deliver(path, body, idempotency_key=key, seconds=CLOSING_SECONDS)
