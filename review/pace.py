"""How much one agent may ask for: a steady pace for each key, and a share of what waits for people.

What was too much is told to the audit log in one event for each minute.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from review.audit import AuditEvent, EventKind, agent_actor
from review.errors import TooManyRequestsError, TooManyWaitingError
from review.people import AgentKey
from review.store import Reading, Store, Writing

MINUTE = 60.0
# What one person decides within the default deadline of four hours, at half a minute each.
MOST_WAITING = 500
COUNTED_EVERY = 1.0
_SHARE_RETRY_S = 30


class _Minutes:
    """Tells the audit log of what a key did too much of, once in each minute."""

    def __init__(self, store: Store, kind: EventKind, clock: Callable[[], float]) -> None:
        self._store = store
        self._kind = kind
        self._clock = clock
        self._told: dict[str, int] = {}
        self._changing = threading.Lock()

    def tell(self, caller: AgentKey, **data: int) -> None:
        """Record the event, unless it was in this minute."""
        minute = int(self._clock() // MINUTE)
        with self._changing:
            if self._told.get(caller.prefix) == minute:
                return
            self._told[caller.prefix] = minute

        def work(tx: Writing) -> None:
            actor, told = agent_actor(caller.agent), {"prefix": caller.prefix, **data}
            tx.record(AuditEvent.at_large(tx.now, self._kind, actor, workspace=caller.workspace, **told))

        self._store.write(work)


class Pace:
    """Counts each key's submissions in this process; a replica counts its own.

    The generic cell rate algorithm: each submission takes its share of a minute, and what was taken may run ahead of
    the clock by a minute at most. One number is kept of each key.
    """

    def __init__(self, store: Store, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._taken_until: dict[str, float] = {}
        self._minutes = _Minutes(store, EventKind.PACE_EXCEEDED, clock)
        self._changing = threading.Lock()

    def require(self, caller: AgentKey) -> None:
        """Count one submission. Raises TooManyRequestsError where the key is ahead of its pace."""
        if not self.counts(caller):
            self.refuse(caller)

    def counts(self, caller: AgentKey) -> bool:
        """Count one submission, if the key's minute has room for it; ``refuse`` has to follow where it has none."""
        now, share = self._clock(), MINUTE / self._allowed(caller)
        with self._changing:
            taken = max(now, self._taken_until.get(caller.prefix, now)) + share
            has_room = taken <= now + MINUTE + share / 2  # Half a share: sums of fractions are not exact.
            if has_room:
                self._taken_until[caller.prefix] = taken
        return has_room

    def refuse(self, caller: AgentKey) -> NoReturn:
        """Tell the audit log, once a minute, and raise TooManyRequestsError."""
        allowed = self._allowed(caller)
        self._minutes.tell(caller, per_minute=allowed)
        ahead = self._taken_until.get(caller.prefix, 0.0) + MINUTE / allowed - MINUTE - self._clock()
        raise TooManyRequestsError(max(1, math.ceil(ahead)))

    def _allowed(self, caller: AgentKey) -> int:
        return caller.limits.per_minute or self._per_minute


class Shares:
    """Bounds how many items of one agent wait for people at once, so that no agent keeps another's from them.

    Why a bound and not another order of claiming: docs/decisions/shares.md. The items are counted in the database, once
    a second for each agent that submits, no further than the bound; in between, what this process lets in is added. So
    several replicas together let in no more than the bound and what they submit within a second.
    """

    def __init__(
        self, store: Store, *, most_waiting: int = MOST_WAITING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._most_waiting = most_waiting
        self._clock = clock
        self._let_in: dict[tuple[str, str], int] = {}
        self._to_be_counted_at: dict[tuple[str, str], float] = {}
        self._minutes = _Minutes(store, EventKind.SHARE_EXCEEDED, clock)
        self._changing = threading.Lock()

    def is_at_hand(self, caller: AgentKey) -> bool:
        """Tell whether nothing is to be looked up: there is room, or the agent never had anything wait for people."""
        return (caller.workspace, caller.agent) not in self._to_be_counted_at or self._has_room(caller)

    def let_in(self, workspace: str, agent: str) -> None:
        """Count one more of the agent's items that waits for people."""
        with self._changing:
            self._let_in[workspace, agent] = self._let_in.get((workspace, agent), 0) + 1

    def require(self, caller: AgentKey, idempotency_key: str) -> None:
        """Return where the agent has room for one more, or has filed this one before. Raises TooManyWaitingError."""
        if self._has_room(caller):
            return
        agent, most = (caller.workspace, caller.agent), self._allowed(caller)
        limit = max(most, self._most_waiting)  # Another key of the agent may have another share.
        is_due = self._is_to_be_counted(agent)
        began = self._clock()

        def look(tx: Reading) -> tuple[int, bool]:
            in_line = tx.count_in_line(*agent, limit=limit) if is_due else self._let_in.get(agent, 0)
            return in_line, in_line >= most and tx.item_by_key(*agent, idempotency_key) is None

        in_line, is_refused = self._store.read(look)
        if is_due:
            ended = self._clock()
            with self._changing:
                self._let_in[agent] = in_line
                # A bound far beyond the usual one takes long to count up to: a hundredth of the time at the most.
                self._to_be_counted_at[agent] = ended + max(COUNTED_EVERY, 100 * (ended - began))
        if is_refused:
            self._minutes.tell(caller, most_waiting=most)
            raise TooManyWaitingError(caller.agent, most=most, retry_after=_SHARE_RETRY_S)

    def _has_room(self, caller: AgentKey) -> bool:
        """Tell whether the agent has room for one more as far as is known without a look into the store."""
        agent = (caller.workspace, caller.agent)
        return not self._is_to_be_counted(agent) and self._let_in.get(agent, 0) < self._allowed(caller)

    def _is_to_be_counted(self, agent: tuple[str, str]) -> bool:
        return self._clock() >= self._to_be_counted_at.get(agent, -math.inf)

    def _allowed(self, caller: AgentKey) -> int:
        return caller.limits.most_waiting or self._most_waiting
