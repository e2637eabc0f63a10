"""Agents and a server at work, killed at random points and restarted at once; then every promise is counted up."""

import multiprocessing
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import make_url

from agents.canonical import action_digest
from agents.protocol import Execution
from db.store import SqlStore, open_store
from review.audit import AuditEvent, EventFilter
from review.items import DecisionRecord, ItemFilter, Purpose, ReviewItem
from review.store import Reading
from tests.builders import WORKSPACE
from tests.history import check_permission, check_standing
from tests.torture.agent import Post, action_of, work
from tests.torture.decider import Decider, Made, furnish
from tests.torture.ledger import Effect, Ledger, journals
from tests.torture.server import Server

LONGEST_LIFE_SECONDS = 0.8
CALM_SECONDS = 1.5
END_SECONDS = 120.0
# A server takes seconds to start and an agent none, so most kills are of agents.
SERVER_SHARE = 0.1
WHILE_STARTING_SHARE = 0.3
LONGEST_START_SECONDS = 3.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.torture.agent"])


@dataclass(slots=True)
class Report:
    """What was done to the house, what it did meanwhile, and which promises it broke."""

    seed: int
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def torture(url: str, folder: Path, *, kills: int, seed: int, agents: int = 3, threads: int = 8) -> Report:
    """Run the house on the database, kill its processes so many times, and return what came of it."""
    began = time.monotonic()
    report = Report(seed)
    names = [f"agent{number}" for number in range(agents)]
    server = Server(url, folder)
    store = open_store(url)
    try:
        keys = furnish(store, names)
        server.start()
        server.await_ready()
        posts = [Post(server.url, keys[name], name, threads, folder) for name in names]
        Ledger(posts[0].ledger)
        decider = Decider(store, folder, issuer=server.url, seed=seed)
        decider.start()
        crew = _Crew(posts)
        try:
            _kill(server, crew, Random(seed), kills, report)  # noqa: S311 -- chooses whom to kill, keeps no secret
            time.sleep(CALM_SECONDS)
            posts[0].closing_time.touch()
            report.broken += crew.ended()
        finally:
            crew.end()
            decider.end()
            server.end()
        if decider.trouble is not None:
            report.broken.append(f"the decider failed: {decider.trouble!r}")
        _count_up(store, decider.made, Ledger(posts[0].ledger).effects(), list(journals(folder)), report)
    finally:
        server.end()
        store.close()
    report.broken += _broken_files(url)
    report.seconds = time.monotonic() - began
    return report


class _Crew:
    """The agents' processes: forked from one that has everything imported, so that a restart takes no time."""

    def __init__(self, posts: list[Post]) -> None:
        self._posts = posts
        self._processes = [self._started(post) for post in posts]

    def kill(self, number: int) -> None:
        process = self._processes[number]
        assert process.is_alive(), self._end_of(number)
        process.kill()
        process.join()
        self._processes[number] = self._started(self._posts[number])

    def ended(self) -> list[str]:
        """Wait until the agents have finished what they have in hand; return what kept them from it."""
        over = time.monotonic() + END_SECONDS
        for process in self._processes:
            process.join(max(0.0, over - time.monotonic()))
        return [self._end_of(number) for number, process in enumerate(self._processes) if process.exitcode != 0]

    def end(self) -> None:
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()

    def _end_of(self, number: int) -> str:
        post, process = self._posts[number], self._processes[number]
        return f"{post.name} ended with {process.exitcode}: {post.log.read_text()[-2000:]}"

    @staticmethod
    def _started(post: Post) -> ForkServerProcess:
        process = _forks.Process(target=work, args=(post,), daemon=True)
        process.start()
        return process


def _kill(server: Server, crew: _Crew, random: Random, kills: int, report: Report) -> None:
    while report.kills.total() < kills:
        time.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
        if random.random() >= SERVER_SHARE:
            crew.kill(random.randrange(len(crew._posts)))  # noqa: SLF001 -- its own module
            report.kills["agents"] += 1
            continue
        server.kill()
        report.kills["servers"] += 1
        server.start()
        if report.kills.total() < kills and random.random() < WHILE_STARTING_SHARE:
            time.sleep(random.uniform(0, LONGEST_START_SECONDS))
            server.kill()
            report.kills["servers while starting"] += 1
            server.start()
        server.await_ready()


def _count_up(
    store: SqlStore, made: list[Made], effects: list[Effect], told: list[dict[str, Any]], report: Report
) -> None:
    items = {item.id: item for item in _all_items(store)}
    records = {item: _record_of(store, item) for item in items}
    report.broken += list(_broken_histories(items, records))
    report.broken += list(_broken_effects(items, effects))
    report.broken += list(_broken_words(items, told))
    report.broken += list(_broken_decisions(records, made))
    report.broken += list(_broken_ends(items, effects))
    executions = Counter(item.execution for item in items.values())
    report.counts = {
        "items": len(items),
        "decisions acknowledged": len(made),
        "answers to agents": len(told),
        "calls taken up again": sum(word["told"] == "filed" for word in told) - _different_calls(told),
        "runs": len(effects),
        "runs after an edit": sum(_was_edited(effect) for effect in effects),
        "outcomes known": executions[Execution.SUCCEEDED],
        "permissions of killed agents, unknown": executions[Execution.UNKNOWN] + executions[Execution.STARTED],
    }


def _broken_histories(items: dict[UUID, ReviewItem], records: dict[UUID, "_Record"]) -> Iterator[str]:
    for item in items.values():
        record = records[item.id]
        try:
            check_standing(item, record.events, record.decisions)
            check_permission(item, record.decisions)
        except AssertionError as broken:
            yield f"item {item.id}: {broken}"


def _broken_effects(items: dict[UUID, ReviewItem], effects: list[Effect]) -> Iterator[str]:
    """Nothing ran twice, and nothing ran but under its own permission, which was used up for it."""
    twice = Counter(name for effect in effects for name in (f"permission {effect.jti}", f"call {effect.call}"))
    yield from (f"the {name} ran {times} times" for name, times in twice.items() if times > 1)
    permitted = {str(item.jti): item for item in items.values() if item.jti}
    for effect in effects:
        item = permitted.get(effect.jti)
        if item is None:
            yield f"nobody permitted {effect}"
        elif (item.idempotency_key, item.permitted_digest) != (effect.call, action_digest(effect.tool, effect.args)):
            yield f"{effect} is not what item {item.id} permits"
        elif item.consumed_at is None:
            yield f"{effect} ran, and the permission of item {item.id} is not used up"


def _broken_words(items: dict[UUID, ReviewItem], told: list[dict[str, Any]]) -> Iterator[str]:
    """What an agent was told is so, and was not lost."""
    for word in told:
        item = items.get(UUID(word["item"]))
        if item is None or not _still_holds(word, item):
            yield f"an agent was told {word}, which is lost: {item}"


def _still_holds(word: dict[str, Any], item: ReviewItem) -> bool:
    match word["told"]:
        case "filed":
            name, args = action_of(word["call"])
            is_same = (item.idempotency_key, item.digest) == (word["call"], word["digest"])
            return is_same and item.digest == action_digest(name, args)
        case "consumed":
            return str(item.jti) == word["jti"] and item.consumed_at is not None
        case "reported" if word["status"] == "unknown":
            return item.outcome is not None
        case "reported":
            return item.outcome is not None and item.outcome.status.value == word["status"]
    return False


def _broken_decisions(records: dict[UUID, "_Record"], made: list[Made]) -> Iterator[str]:
    """What a person was told is decided stands, once."""
    for one in made:
        kept = [
            Made(record.item_id, record.sub, record.epoch, record.decision) for record in records[one.item_id].decisions
        ]
        if kept.count(one) != 1:
            yield f"{one} was acknowledged and stands {kept.count(one)} times"


def _broken_ends(items: dict[UUID, ReviewItem], effects: list[Effect]) -> Iterator[str]:
    """What is said to have succeeded did run, and the agents left nothing undecided."""
    ran = Counter(effect.jti for effect in effects)
    for item in items.values():
        if item.execution is Execution.SUCCEEDED and not ran[str(item.jti)]:
            yield f"item {item.id} is said to have succeeded, and nothing ran"
        if item.execution is Execution.PERMITTED:
            yield f"item {item.id} was permitted, and its agent did not come back for it"
        if item.purpose is Purpose.GATE and not item.status.is_final:
            yield f"item {item.id} was left {item.status}"


def _broken_files(url: str) -> Iterator[str]:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return
    assert parsed.database is not None
    with closing(sqlite3.connect(parsed.database)) as connection:
        for check in ("integrity_check", "foreign_key_check"):
            found = connection.execute(f"PRAGMA {check}").fetchall()
            if found not in ([], [("ok",)]):
                yield f"{check}: {found}"


@dataclass(frozen=True, slots=True)
class _Record:
    decisions: list[DecisionRecord]
    events: list[AuditEvent]


def _record_of(store: SqlStore, item_id: UUID) -> _Record:
    def work(tx: Reading) -> _Record:
        events = tx.events_after(WORKSPACE, EventFilter(item_id=item_id), limit=10_000, after=None)
        return _Record(list(tx.decisions_of(WORKSPACE, item_id)), list(events))

    return store.read(work)


def _all_items(store: SqlStore) -> Iterator[ReviewItem]:
    cursor: str | None = None
    while True:
        page = store.read(lambda tx, after=cursor: tx.whole_items(WORKSPACE, ItemFilter(), limit=500, cursor=after))  # type: ignore[misc]  # the loop's value is bound early
        yield from page.rows
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _different_calls(told: list[dict[str, Any]]) -> int:
    return len({word["call"] for word in told if word["told"] == "filed"})


def _was_edited(effect: Effect) -> bool:
    return action_of(effect.call)[1] != effect.args
