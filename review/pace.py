"""How fast one agent may submit: a sliding window per key, and one audit event for each minute that was over it."""

import math
import threading
import time
from typing import NoReturn

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from review.audit import AuditEvent, EventKind, agent_actor
from review.errors import TooManyRequestsError
from review.people import AgentKey
from review.store import Store, Writing


class Pace:
    """Counts each key's submissions in this process; a replica counts its own."""

    def __init__(self, store: Store, *, per_minute: int) -> None:
        self._store = store
        self._limit = RateLimitItemPerMinute(per_minute)
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._told: dict[str, int] = {}
        self._telling = threading.Lock()

    def require(self, caller: AgentKey) -> None:
        """Count one submission. Raises TooManyRequestsError where the key's window is full."""
        if not self.counts(caller):
            self.refuse(caller)

    def counts(self, caller: AgentKey) -> bool:
        """Count one submission, if the key's window has room for it; ``refuse`` has to follow where it has none."""
        return self._windows.hit(self._limit, caller.prefix)

    def refuse(self, caller: AgentKey) -> NoReturn:
        """Tell the audit log, once a minute, and raise TooManyRequestsError."""
        stats = self._windows.get_window_stats(self._limit, caller.prefix)
        self._tell_once_a_minute(caller)
        raise TooManyRequestsError(max(1, math.ceil(stats.reset_time - time.time())))

    def _tell_once_a_minute(self, caller: AgentKey) -> None:
        minute = int(time.time() // 60)
        with self._telling:
            if self._told.get(caller.prefix) == minute:
                return
            self._told[caller.prefix] = minute

        def work(tx: Writing) -> None:
            data = {"prefix": caller.prefix, "per_minute": self._limit.amount}
            actor = agent_actor(caller.agent)
            tx.record(AuditEvent.at_large(tx.now, EventKind.PACE_EXCEEDED, actor, workspace=caller.workspace, **data))

        self._store.write(work)
