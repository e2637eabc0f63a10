"""`python -m tests.torture`: the races and the kills in their full numbers, on both databases, and one table."""

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.databases import POSTGRES, SQLITE, Database, opened
from tests.torture.kills import Report, torture
from tests.torture.races import claimers, consumers, consumers_over_http, stopped_deciders

KILLS = 1_000
ONE_WINNER = Counter({1: 1_000})

RACES: dict[str, Callable[[str], bool]] = {
    "50 consumers × 1,000 receipts, one winner each": lambda url: consumers(url, receipts=1_000, each=50) == ONE_WINNER,
    "50 consumers × 20 receipts over HTTP": lambda url: (
        consumers_over_http(url, receipts=20, each=50) == Counter({1: 20})
    ),
    "20 claimers × 1,000 items, each claimed once": lambda url: claimers(url, items=1_000, each=20) == ONE_WINNER,
    "100 late decisions of a stopped process refused": lambda url: (
        stopped_deciders(url, times=100) == Counter(claim_lost=67, already_settled=33)
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and return how many promises were broken."""
    asked = _options().parse_args(arguments)
    print(f"seed {asked.seed}\n\n{_line('database', 'what', 'seconds', 'result')}", flush=True)
    broken = 0
    with tempfile.TemporaryDirectory(prefix="signoff-torture-") as scratch:
        # PostgreSQL runs as a person of its own, who must reach its folder.
        Path(scratch).chmod(0o755)
        names = asked.database or (SQLITE, POSTGRES)
        with opened(Path(scratch), names) as databases:
            for number, database in enumerate(databases):
                if not asked.no_races:
                    broken += sum(not _raced(database, name) for name in RACES)
                folder = Path(scratch) / f"{database.name}-kills"
                folder.mkdir()
                kills = asked.kills // len(databases) + (number < asked.kills % len(databases))
                report = torture(database.fresh(), folder, kills=kills, seed=asked.seed + number)
                _print(database, report)
                broken += len(report.broken)
    print(f"\n{broken} promises broken" if broken else "\nEvery promise held.")
    return broken


def _raced(database: Database, name: str) -> bool:
    began = time.monotonic()
    held = RACES[name](database.fresh())
    print(_line(database.name, name, f"{time.monotonic() - began:.0f}", "held" if held else "BROKEN"), flush=True)
    return held


def _print(database: Database, report: Report) -> None:
    for victim, times in report.kills.items():
        print(_line(database.name, f"kill -9 of {victim}", "", f"{times:,}"))
    for name, count in report.counts.items():
        print(_line(database.name, name, "", f"{count:,}"))
    result = f"{len(report.broken)} BROKEN" if report.broken else "held"
    print(_line(database.name, "every promise, after all kills", f"{report.seconds:.0f}", result), flush=True)
    for broken in report.broken:
        print(f"  {broken}", flush=True)


def _line(database: str, what: str, seconds: str, result: str) -> str:
    return f"{database:10}{what:52}{seconds:>8}  {result}"


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    options.add_argument("--kills", type=int, default=KILLS, help="how many processes to kill, over all databases")
    options.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="what chooses whom, and when")
    options.add_argument("--database", action="append", choices=(SQLITE, POSTGRES), help="only this one; repeatable")
    options.add_argument("--no-races", action="store_true", help="only the kills")
    return options


if __name__ == "__main__":
    sys.exit(min(main(), 1))
