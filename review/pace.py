"""How fast one agent may submit: a steady pace per key, and one audit event for each minute that was over it."""

import math
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from review.audit import AuditEvent, EventKind, agent_actor
from review.errors import TooManyRequestsError
from review.people import AgentKey
from review.store import Store, Writing

MINUTE = 60.0


class Pace:
    """Counts each key's submissions in this process; a replica counts its own.

    The generic cell rate algorithm: each submission takes its share of a minute, and what was taken may run ahead of
    the clock by a minute at most. One number is kept of each key.
    """

    def __init__(self, store: Store, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._per_minute = per_minute
        self._share = MINUTE / per_minute
        self._clock = clock
        self._taken_until: dict[str, float] = {}
        self._told: dict[str, int] = {}
        self._changing = threading.Lock()

    def require(self, caller: AgentKey) -> None:
        """Count one submission. Raises TooManyRequestsError where the key is ahead of its pace."""
        if not self.counts(caller):
            self.refuse(caller)

    def counts(self, caller: AgentKey) -> bool:
        """Count one submission, if the key's minute has room for it; ``refuse`` has to follow where it has none."""
        now = self._clock()
        with self._changing:
            taken = max(now, self._taken_until.get(caller.prefix, now)) + self._share
            has_room = taken <= now + MINUTE + self._share / 2  # Half a share: sums of fractions are not exact.
            if has_room:
                self._taken_until[caller.prefix] = taken
        return has_room

    def refuse(self, caller: AgentKey) -> NoReturn:
        """Tell the audit log, once a minute, and raise TooManyRequestsError."""
        self._tell_once_a_minute(caller)
        ahead = self._taken_until.get(caller.prefix, 0.0) + self._share - MINUTE - self._clock()
        raise TooManyRequestsError(max(1, math.ceil(ahead)))

    def _tell_once_a_minute(self, caller: AgentKey) -> None:
        minute = int(self._clock() // MINUTE)
        with self._changing:
            if self._told.get(caller.prefix) == minute:
                return
            self._told[caller.prefix] = minute

        def work(tx: Writing) -> None:
            data = {"prefix": caller.prefix, "per_minute": self._per_minute}
            actor = agent_actor(caller.agent)
            tx.record(AuditEvent.at_large(tx.now, EventKind.PACE_EXCEEDED, actor, workspace=caller.workspace, **data))

        self._store.write(work)
