"""The figures of a desk: what was proposed and decided, how long it waited, and who decided it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from math import ceil
from typing import NamedTuple

from agents.protocol import DecisionType, Route, Status
from review.items import Purpose

POLICY = "policy"
PASSAGES_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Passage:
    """How one item has gone, as far as the figures look at it."""

    agent: str
    tool: str
    queue: str
    purpose: Purpose
    route: Route
    status: Status
    decision: DecisionType | None
    settled_by: str | None
    submitted_at: datetime
    due_at: datetime
    settled_at: datetime | None

    @property
    def is_proposed(self) -> bool:
        """Tell whether an agent asked for it; the rest are copies for a look afterwards."""
        return self.purpose is not Purpose.AUDIT

    @property
    def is_decided(self) -> bool:
        """Tell whether a person's decision settled it."""
        return self.decision is not None and self.route is Route.REVIEW and self.settled_by != POLICY

    @property
    def wait(self) -> timedelta | None:
        """Return how long it waited for a person's decision; None where none settled it."""
        return self.settled_at - self.submitted_at if self.is_decided and self.settled_at else None

    def is_late(self, now: datetime) -> bool:
        """Tell whether it was decided past its time, or still waits past it."""
        if self.status in (Status.WAITING, Status.CLAIMED):
            return self.due_at < now
        return self.is_decided and self.settled_at is not None and self.due_at < self.settled_at


class DayCount(NamedTuple):
    """How many of one kind there were on a day."""

    day: date
    kind: str
    times: int


class Share(NamedTuple):
    """How often people decided one way on what an agent wanted to do with a tool, and of how many decisions."""

    agent: str
    tool: str
    decision: DecisionType
    times: int
    of: int


class Wait(NamedTuple):
    """How long the items of a queue waited: half of them no longer than ``median``, nine of ten than ``p90``."""

    queue: str
    decided: int
    median: timedelta
    p90: timedelta
    allowed: timedelta
    late: int


def proposed_by_day(passages: Iterable[Passage], zone: tzinfo) -> list[DayCount]:
    """Return how many actions the policy let run, sent to people and denied, day by day."""
    proposed = (passage for passage in passages if passage.is_proposed)
    return _by_day(proposed, lambda passage: (passage.submitted_at, passage.route.value), zone)


def decided_by_day(passages: Iterable[Passage], zone: tzinfo) -> list[DayCount]:
    """Return how often people decided each way, day by day."""
    decided = (passage for passage in passages if passage.is_decided)
    return _by_day(decided, lambda passage: (passage.settled_at, passage.decision and passage.decision.value), zone)


def shares(passages: Iterable[Passage]) -> list[Share]:
    """Return how people decide on each agent's tools, those with the most decisions first."""
    counted: Counter[tuple[str, str, DecisionType]] = Counter()
    of: Counter[tuple[str, str]] = Counter()
    for passage in passages:
        if passage.is_decided and passage.decision is not None:
            counted[passage.agent, passage.tool, passage.decision] += 1
            of[passage.agent, passage.tool] += 1
    found = [Share(agent, tool, made, count, of[agent, tool]) for (agent, tool, made), count in counted.items()]
    return sorted(
        found, key=lambda share: (-share.of, share.agent, share.tool, list(DecisionType).index(share.decision))
    )


def waits(passages: Sequence[Passage], now: datetime) -> list[Wait]:
    """Return how long the items of each queue waited for a person, beside the time that half of them were given."""
    found: list[Wait] = []
    for queue in sorted({passage.queue for passage in passages if passage.is_decided}):
        decided = [passage for passage in passages if passage.queue == queue and passage.wait is not None]
        waited = [passage.wait for passage in decided if passage.wait is not None]
        allowed = [passage.due_at - passage.submitted_at for passage in decided]
        late = sum(passage.is_late(now) for passage in decided)
        found.append(Wait(queue, len(decided), rank(waited, 0.5), rank(waited, 0.9), rank(allowed, 0.5), late))
    return found


def load(passages: Iterable[Passage]) -> list[tuple[str, int]]:
    """Return how many items each person settled, the most first."""
    counted = Counter(passage.settled_by for passage in passages if passage.is_decided and passage.settled_by)
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


def rank(values: Sequence[timedelta], share: float) -> timedelta:
    """Return the smallest value that at least this share of them does not exceed (the nearest rank); 0 of none."""
    return sorted(values)[max(ceil(share * len(values)), 1) - 1] if values else timedelta(0)


def _by_day(
    passages: Iterable[Passage], told: Callable[[Passage], tuple[datetime | None, str | None]], zone: tzinfo
) -> list[DayCount]:
    counted: Counter[tuple[date, str]] = Counter()
    for passage in passages:
        at, kind = told(passage)
        if at is not None and kind is not None:
            counted[at.astimezone(zone).date(), kind] += 1
    return [DayCount(day, kind, count) for (day, kind), count in sorted(counted.items())]
