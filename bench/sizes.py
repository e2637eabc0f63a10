"""Whether claiming, deciding, listing and the agents' calls stay as fast when many items wait."""

import json
from pathlib import Path
from typing import Any

from agents.protocol import Approve, Status
from bench import house, server
from bench.databases import Database
from bench.figures import Figure, Stopwatch, Table, at_most, median_ms
from bench.load import Agent, LoadFailedError
from bench.workload import AGENT, LOOK_UP, request_document, seed
from review.desk import Seen
from review.items import ItemFilter, Order
from review.sealer import Sealer
from review.sessions import LOCAL_OPERATOR

FLAT = 1.3
CLAIM_MS = 3.0
WARM_RUNS = 5

_WAITING = ItemFilter(statuses=(Status.WAITING,))


def measure(database: Database, table: Table, folder: Path, *, sizes: tuple[int, ...], runs: int) -> None:
    """Let ever more items wait, and measure each call at each size; then compare the last size with the first."""
    url = database.fresh()
    with house.open_house(url) as opened:
        _, bearer = opened.key(AGENT)
    medians: dict[str, list[float]] = {}
    waiting = 0
    for size in sizes:
        with house.open_house(url) as opened:
            seed(opened.store, size - waiting, first=waiting)
            # So many at once never come; sealing them meanwhile is not what is measured.
            Sealer(opened.store, opened.receipts).seal()
            waiting = size
            durations = _at_the_desk(opened, runs)
        with server.serving(url, folder) as served:
            durations |= _over_http(served.port, bearer, runs)
        for name, spent in durations.items():
            median = median_ms(spent)
            medians.setdefault(name, []).append(median)
            goal = at_most(CLAIM_MS) if name.startswith(("claim", "decide")) else None
            table.add(Figure(database.name, f"{name}, {size:,} waiting", median, "ms", goal=goal))
    if len(sizes) > 1:
        _compare(database, table, sizes, medians)


def _compare(database: Database, table: Table, sizes: tuple[int, ...], medians: dict[str, list[float]]) -> None:
    for name, of_sizes in medians.items():
        first, last = of_sizes[0], of_sizes[-1]
        named = f"{name}, {sizes[-1]:,} to {sizes[0]:,}"
        table.add(Figure(database.name, named, last, "ms", last / first, f"{sizes[0]:,} waiting", at_most(FLAT)))


def _at_the_desk(opened: house.House, runs: int) -> dict[str, list[float]]:
    desk, person, watch = opened.desk, LOCAL_OPERATOR, Stopwatch()
    for run in range(WARM_RUNS + runs):
        watch.is_counting = run >= WARM_RUNS
        with watch.measuring("claim in process"):
            item = desk.claim(person)
        if item is None:
            break
        seen = Seen.of(item, dwell_ms=1_000)
        with watch.measuring("decide in process"):
            desk.decide(item.id, Approve(), person, seen=seen)
        with watch.measuring("list 50 waiting"):
            desk.items(person, _WAITING, order=Order.URGENT, limit=50)
    return watch.spent


def _over_http(port: int, bearer: str, runs: int) -> dict[str, list[float]]:
    agent, watch = Agent(port, bearer), Stopwatch()
    told = json.dumps({"status": "succeeded", "result": "delivered"})
    for run in range(WARM_RUNS + runs):
        watch.is_counting = run >= WARM_RUNS
        document = request_document(run, tool=LOOK_UP)
        with watch.measuring("submit over HTTP, alone"):
            filed = _answer(agent.submit(json.dumps(document)), 201)
        path = f"/actions/{filed['id']}"
        use = json.dumps({"receipt": filed["receipt"], "args": document["action"]["args"]})
        with watch.measuring("consume over HTTP"):
            _answer(agent.call("POST", f"{path}/consume", use), 200)
        with watch.measuring("outcome over HTTP"):
            _answer(agent.call("POST", f"{path}/outcome", told), 200)
        with watch.measuring("read over HTTP"):
            _answer(agent.call("GET", path), 200)
    agent.close()
    return watch.spent


def _answer(answer: tuple[int, bytes], wanted: int) -> dict[str, Any]:
    status, body = answer
    if status != wanted:
        message = f"answered {status}: {body[:500]!r}"
        raise LoadFailedError(message)
    value: dict[str, Any] = json.loads(body)
    return value
