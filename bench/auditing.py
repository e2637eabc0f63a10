"""How fast the audit log is sealed, exported and verified, and how much memory an export takes."""

import csv
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from uuid_utils.compat import uuid7

from bench import house
from bench.databases import Database
from bench.figures import Figure, Table, at_least, at_most
from bench.submitting import IN_PROCESS, OVER_HTTP
from bench.workload import AGENT, WORKSPACE
from review import verify
from review.audit import AuditEvent, EventFilter, EventKind, agent_actor
from review.clock import utc_now
from review.exports import audit_csv
from review.merkle import leaf_hash
from review.sealer import Sealer
from review.store import Reading, Store, Writing

SEALING = "seal"
PLAIN_READ = "read all leaves into a plain CSV"
PLAIN_PARSE = "parse and hash every row of the export"
VERIFY_S_PER_MILLION = 60.0
# SQLite's page cache, 64 MB, may fill up meanwhile.
EXPORT_GROWTH_MB = 100.0
SEED_BATCH = 1_000

_WATCH_EVERY_S = 0.02


def measure(database: Database, table: Table, folder: Path, *, events: int) -> None:
    """Seal so many events, export them and verify the export, each beside what cannot be done without."""
    folder.mkdir(parents=True, exist_ok=True)
    with house.open_house(database.fresh()) as opened:
        _record(opened.store, events)
        sealer = Sealer(opened.store, opened.receipts)
        rate = events / _timed(sealer.seal)
        table.add(Figure(database.name, f"{SEALING}, {events:,} events", rate, "/s"))
        _compare_with_submits(database, table, rate)
        out, key = folder / "audit.csv", folder / "signoff.pub"
        plain_before = _timed(lambda: _write_plainly(opened.store, folder / "plain.csv"))
        with _watched_memory() as grown:
            rate = events / _timed(lambda: _export(sealer, out))
        # Before and after: other work on the machine is then in both.
        plain_after = _timed(lambda: _write_plainly(opened.store, folder / "plain.csv"))
        plain = 2 * events / (plain_before + plain_after)
        table.add(Figure(database.name, PLAIN_READ, plain, "/s"))
        table.add(Figure(database.name, f"export, {events:,} events", rate, "/s", rate / plain, "the plain CSV"))
        table.add(Figure(database.name, "export, growth of memory", grown[0], "MB", goal=at_most(EXPORT_GROWTH_MB)))
        key.write_bytes(opened.receipts.public_pem())
    _verify(database, table, out, key, events=events)


def _compare_with_submits(database: Database, table: Table, rate: float) -> None:
    submits = {each: table.value(database.name, each) or 0.0 for each in (IN_PROCESS, OVER_HTTP)}
    highest = max(submits, key=lambda each: submits[each])
    if submits[highest]:
        # A submit is one event; deciding, consuming and reporting, that follow it, are one each as well.
        ratio = rate / submits[highest]
        table.add(
            Figure(database.name, f"{SEALING}, to the highest submit rate", rate, "/s", ratio, "submit", at_least(1))
        )


def _verify(database: Database, table: Table, out: Path, key: Path, *, events: int) -> None:
    plain = events / _timed(lambda: _parse(out))
    table.add(Figure(database.name, PLAIN_PARSE, plain, "/s"))
    command = [sys.executable, str(verify.__file__), str(out), "--key", str(key)]
    seconds = _timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))  # noqa: S603 -- our own verifier
    rate = events / seconds
    table.add(Figure(database.name, f"verify, {events:,} events", rate, "/s", rate / plain, "parse and hash"))
    per_million = seconds * 1_000_000 / events
    goal = at_most(VERIFY_S_PER_MILLION)
    table.add(Figure(database.name, "verify, for a million events", per_million, "s", goal=goal))


def _record(store: Store, count: int) -> None:
    events = (_event(number) for number in range(count))
    while some := list(itertools.islice(events, SEED_BATCH)):
        store.write(lambda tx, some=some: _add(tx, some))  # type: ignore[misc]  # bound at once, for this very call


def _event(number: int) -> AuditEvent:
    data = {"tool": "refund_order", "digest": f"sha256:{number:064x}", "route": "review"}
    return AuditEvent(uuid7(), WORKSPACE, utc_now(), EventKind.ACTION_SUBMITTED, agent_actor(AGENT), uuid7(), data)


def _add(tx: Writing, events: list[AuditEvent]) -> None:
    for event in events:
        tx.record(event)


def _write_plainly(store: Store, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        begin = 0
        while batch := store.read(lambda tx, begin=begin: _leaves(tx, begin)):  # type: ignore[misc]  # bound at once
            writer.writerows((index, leaf.decode()) for index, leaf in batch)
            begin = batch[-1][0] + 1


def _leaves(tx: Reading, begin: int) -> list[tuple[int, bytes]]:
    found = tx.sealed_events(WORKSPACE, EventFilter(), begin=begin, size=sys.maxsize, limit=SEED_BATCH)
    return [(event.index, event.leaf) for event in found]


def _export(sealer: Sealer, path: Path) -> None:
    with path.open("wb") as file:
        for chunk in audit_csv(sealer.export(WORKSPACE, EventFilter())):
            file.write(chunk)


def _parse(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            leaf_hash(row[-2].encode())


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _watched_memory() -> Iterator[list[float]]:
    """Yield a list whose one entry is by how many megabytes this process was larger than at the start, at most."""
    process, done = psutil.Process(), threading.Event()
    begun, grown = process.memory_info().rss, [0.0]

    def watch() -> None:
        while not done.wait(_WATCH_EVERY_S):
            grown[0] = max(grown[0], (process.memory_info().rss - begun) / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        done.set()
        watcher.join()
