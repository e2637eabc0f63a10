"""`python -m bench`: measure the house on both databases and print one table, goals beside figures."""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import auditing, console, raw, reviewers, sizes, submitting, waking
from bench.databases import POSTGRES, SQLITE, Database, opened
from bench.figures import Table


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how much."""

    seconds: float
    sizes: tuple[int, ...]
    runs: int
    presses: int
    events: int
    reviewed_s: float


WHOLE = Scale(seconds=8, sizes=(1_000, 10_000, 100_000), runs=60, presses=15, events=50_000, reviewed_s=30)
QUICK = Scale(seconds=1.5, sizes=(200, 1_000), runs=10, presses=5, events=3_000, reviewed_s=8)

Part = Callable[[Database, Table, Path, Scale], None]

PARTS: dict[str, Part] = {
    "raw": lambda database, table, _, scale: raw.measure(database, table, seconds=scale.seconds),
    "in-process": lambda database, table, _, scale: submitting.measure_in_process(
        database, table, seconds=scale.seconds
    ),
    "http": lambda database, table, folder, scale: submitting.measure_over_http(
        database, table, folder, seconds=scale.seconds
    ),
    "sizes": lambda database, table, folder, scale: sizes.measure(
        database, table, folder, sizes=scale.sizes, runs=scale.runs
    ),
    "audit": lambda database, table, folder, scale: auditing.measure(database, table, folder, events=scale.events),
    "waking": lambda database, table, _, scale: waking.measure(database, table, runs=scale.runs),
    "reviewers": lambda database, table, folder, scale: reviewers.measure(
        database, table, folder, seconds=scale.reviewed_s
    ),
    "console": lambda database, table, folder, scale: console.measure(
        database, table, folder, waiting=scale.sizes[-1], presses=scale.presses
    ),
}


def main(arguments: Sequence[str] | None = None) -> Table:
    """Measure what was asked for and return the table that was printed."""
    asked = _options().parse_args(arguments)
    scale = QUICK if asked.quick else WHOLE
    if asked.waiting:
        scale = replace(scale, sizes=tuple(sorted(asked.waiting)))
    if asked.events:
        scale = replace(scale, events=asked.events)
    table = Table()
    table.begin()
    with tempfile.TemporaryDirectory(prefix="signoff-bench-") as scratch:
        # PostgreSQL runs as a person of its own, who must reach its folder.
        Path(scratch).chmod(0o755)
        with opened(Path(scratch), asked.database or (SQLITE, POSTGRES)) as databases:
            for database in databases:
                for part in asked.part or PARTS:
                    PARTS[part](database, table, Path(scratch) / f"{database.name}-{part}", scale)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{os.cpu_count()} cores; load averages at the end: {load}")
    return table


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--quick", action="store_true", help="a small run, to see that everything still works")
    options.add_argument("--database", action="append", choices=(SQLITE, POSTGRES), help="only this one; repeatable")
    options.add_argument(
        "--waiting",
        action="append",
        type=int,
        help="let so many items wait in the part sizes; repeatable, and the most of them in the part console",
    )
    options.add_argument(
        "--events", type=int, help="let the log of the part audit have so many events (1000000 for all)"
    )
    options.add_argument("--part", action="append", choices=list(PARTS), help="only this part; repeatable")
    return options


if __name__ == "__main__":
    main()
