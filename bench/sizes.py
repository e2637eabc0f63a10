"""Whether claiming, deciding, listing and the agents' calls stay as fast when many items wait."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from agents.protocol import Approve, Status
from bench import house, server
from bench.databases import Database
from bench.figures import Figure, Stopwatch, Table, at_most, median_ms
from bench.load import Agent, LoadFailedError
from bench.workload import AGENT, LOOK_UP, request_document
from review.desk import Seen
from review.items import ItemFilter, Order
from review.sessions import LOCAL_OPERATOR

FLAT = 1.3
CLAIM_MS = 3.0
WARM_RUNS = 5
ROUNDS = 5

_WAITING = ItemFilter(statuses=(Status.WAITING,))

Watches = dict[int, Stopwatch]


def measure(database: Database, table: Table, folder: Path, *, sizes: tuple[int, ...], runs: int) -> None:
    """Let more and more items wait, each size in a database of its own, and compare the last size with the first.

    The sizes take turns, so that a machine that grows slower or faster meanwhile does so for all of them.
    """
    urls = {size: database.fresh() for size in sizes}
    watches: Watches = {size: Stopwatch() for size in sizes}
    bearers = {size: _fill(url, size) for size, url in urls.items()}
    _measure_at_the_desk(urls, watches, runs)
    _measure_over_http(urls, bearers, watches, folder, runs)
    medians = {size: {name: median_ms(spent) for name, spent in watch.spent.items()} for size, watch in watches.items()}
    for size, of_size in medians.items():
        for name, median in of_size.items():
            goal = at_most(CLAIM_MS) if name.startswith(("claim", "decide")) else None
            table.add(Figure(database.name, f"{name}, {size:,} waiting", median, "ms", goal=goal))
    if len(sizes) > 1:
        _compare(database, table, sizes, medians)


def _fill(url: str, size: int) -> str:
    """Let so many items wait; return the key of their agent."""
    with house.open_house(url) as opened:
        opened.fill(size)
        return opened.key(AGENT)[1]


def _measure_at_the_desk(urls: Mapping[int, str], watches: Watches, runs: int) -> None:
    with ExitStack() as stack:
        houses = {size: stack.enter_context(house.open_house(url)) for size, url in urls.items()}
        for size, count in _turns(houses, watches, runs):
            _at_the_desk(houses[size], watches[size], count)


def _measure_over_http(
    urls: Mapping[int, str], bearers: Mapping[int, str], watches: Watches, folder: Path, runs: int
) -> None:
    with ExitStack() as stack:
        agents = {}
        for size, url in urls.items():
            served = stack.enter_context(server.serving(url, folder / f"{size}"))
            agents[size] = Agent(served.port, bearers[size])
        for size, count in _turns(agents, watches, runs):
            _over_http(agents[size], watches[size], count)
        for agent in agents.values():
            agent.close()


def _turns(sizes: Iterable[int], watches: Watches, runs: int) -> Iterator[tuple[int, int]]:
    """Yield whose turn it is and for how many runs; the first turn of each does not count."""
    for turn in range(ROUNDS + 1):
        for size in sizes:
            watches[size].is_counting = turn > 0
            yield size, WARM_RUNS if turn == 0 else max(runs // ROUNDS, 1)


def _compare(
    database: Database, table: Table, sizes: tuple[int, ...], medians: Mapping[int, Mapping[str, float]]
) -> None:
    for name, first in medians[sizes[0]].items():
        last = medians[sizes[-1]][name]
        named = f"{name}, {sizes[-1]:,} to {sizes[0]:,}"
        table.add(Figure(database.name, named, last, "ms", last / first, f"{sizes[0]:,} waiting", at_most(FLAT)))


def _at_the_desk(opened: house.House, watch: Stopwatch, runs: int) -> None:
    desk, person = opened.desk, LOCAL_OPERATOR
    for _ in range(runs):
        with watch.measuring("claim in process"):
            item = desk.claim(person)
        if item is None:
            break
        seen = Seen.of(item, dwell_ms=1_000)
        with watch.measuring("decide in process"):
            desk.decide(item.id, Approve(), person, seen=seen)
        with watch.measuring("list 50 waiting"):
            desk.items(person, _WAITING, order=Order.URGENT, limit=50)


def _over_http(agent: Agent, watch: Stopwatch, runs: int) -> None:
    told = json.dumps({"status": "succeeded", "result": "delivered"})
    for run in range(runs):
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


def _answer(answer: tuple[int, bytes], wanted: int) -> dict[str, Any]:
    status, body = answer
    if status != wanted:
        message = f"answered {status}: {body[:500]!r}"
        raise LoadFailedError(message)
    value: dict[str, Any] = json.loads(body)
    return value
