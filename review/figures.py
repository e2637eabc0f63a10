"""The figures of a desk: what was proposed and decided, how long it waited, and who decided it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from agents.protocol import DecisionType

POLICY = "policy"
FIGURES_LIMIT = 20_000
# Every time zone's days begin at the beginning of one.
QUARTER = timedelta(minutes=15)


class QuarterCount(NamedTuple):
    """How many of one kind there were in a quarter of an hour, which began ``at`` that time."""

    at: datetime
    kind: str
    times: int


class DayCount(NamedTuple):
    """How many of one kind there were on a day."""

    day: date
    kind: str
    times: int


class Made(NamedTuple):
    """How often a person decided one way on what an agent wanted to do with a tool; ``name`` is theirs."""

    agent: str
    tool: str
    decision: DecisionType
    name: str | None
    times: int


class Share(NamedTuple):
    """How often people decided one way on what an agent wanted to do with a tool, and of how many decisions."""

    agent: str
    tool: str
    decision: DecisionType
    times: int
    of: int


class Wait(NamedTuple):
    """How long items waited for a person's decision: half of them no longer than ``median``, nine of ten than ``p90``.

    Half of them were given ``allowed`` at the most; ``late`` were decided past their time. Ranks are the nearest.
    """

    decided: int
    median: timedelta
    p90: timedelta
    allowed: timedelta
    late: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures ``at`` a time, of so many ``items``: the latest of those that were submitted in the time looked at.

    ``proposed`` leaves out the copies for a look afterwards, and its kinds are routes; ``decided`` is by people, and
    its kinds are decisions. ``waits`` is by queue, ``wait`` of all queues together; None where people decided nothing.
    ``waiting`` is undecided still, ``late`` of it is past its time.
    """

    at: datetime
    items: int
    waiting: int
    late: int
    proposed: Sequence[QuarterCount]
    decided: Sequence[QuarterCount]
    made: Sequence[Made]
    waits: Sequence[tuple[str, Wait]]
    wait: Wait | None


def by_day(counts: Iterable[QuarterCount], zone: tzinfo) -> list[DayCount]:
    """Return the counts day by day, as the days are in the zone."""
    counted: Counter[tuple[date, str]] = Counter()
    for at, kind, times in counts:
        counted[at.astimezone(zone).date(), kind] += times
    return [DayCount(day, kind, count) for (day, kind), count in sorted(counted.items())]


def shares(made: Iterable[Made]) -> list[Share]:
    """Return how people decide on each agent's tools, those with the most decisions first."""
    counted: Counter[tuple[str, str, DecisionType]] = Counter()
    of: Counter[tuple[str, str]] = Counter()
    for each in made:
        counted[each.agent, each.tool, each.decision] += each.times
        of[each.agent, each.tool] += each.times
    found = [Share(agent, tool, way, count, of[agent, tool]) for (agent, tool, way), count in counted.items()]
    return sorted(
        found, key=lambda share: (-share.of, share.agent, share.tool, list(DecisionType).index(share.decision))
    )


def load(made: Iterable[Made]) -> list[tuple[str, int]]:
    """Return how many items each person settled, the most first."""
    counted: Counter[str] = Counter()
    for each in made:
        if each.name:
            counted[each.name] += each.times
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))
