"""What was measured: figures with their goals, printed as the lines of one table."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should reach: at least, or at most, this much."""

    limit: float
    is_ceiling: bool

    def is_met_by(self, value: float) -> bool:
        """Tell whether the value is good enough."""
        return value <= self.limit if self.is_ceiling else value >= self.limit


def at_least(limit: float) -> Goal:
    """Return the goal of a figure that should be large."""
    return Goal(limit, is_ceiling=False)


def at_most(limit: float) -> Goal:
    """Return the goal of a figure that should be small."""
    return Goal(limit, is_ceiling=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``ratio`` is to what ``against`` names; the goal is for the ratio where there is one."""

    database: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    against: str = ""
    goal: Goal | None = None


class Table:
    """Prints each figure as soon as it is known, and keeps them all."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def begin(self) -> None:
        """Print the head."""
        print(_line("database", "what", "figure", "ratio", "goal"))
        print(_line("-" * 8, "-" * 46, "-" * 16, "-" * 28, "-" * 16), flush=True)

    def add(self, figure: Figure) -> None:
        """Print one line and keep it."""
        self.figures.append(figure)
        print(_line(*_cells(figure)), flush=True)

    def value(self, database: str, name: str) -> float | None:
        """Return a figure that was measured before in this run; None where it was not."""
        found = (figure for figure in self.figures if (figure.database, figure.name) == (database, name))
        return next((figure.value for figure in found), None)

    def ratio(self, database: str, value: float, name: str) -> float | None:
        """Return how the value stands to a figure that was measured before; None where it was not."""
        before = self.value(database, name)
        return value / before if before else None


class Stopwatch:
    """Keeps how many seconds each kind of thing took, while it is counting."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.is_counting = True

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        """Measure what the context does."""
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        if self.is_counting:
            self.spent.setdefault(name, []).append(took)


def median_ms(seconds: Sequence[float]) -> float:
    """Return the median of durations in seconds, in milliseconds."""
    return statistics.median(seconds) * 1000


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} × {figure.against}"
    goal = ""
    if figure.goal is not None:
        judged = figure.value if figure.ratio is None else figure.ratio
        sign = "≤" if figure.goal.is_ceiling else "≥"
        goal = f"{sign} {figure.goal.limit:g} {'met' if figure.goal.is_met_by(judged) else 'MISSED'}"
    return figure.database, figure.name, f"{_rounded(figure.value)} {figure.unit}", ratio, goal


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(database: str, name: str, figure: str, ratio: str, goal: str) -> str:
    return f"{database:8}  {name:46}  {figure:>16}  {ratio:28}  {goal}".rstrip()
