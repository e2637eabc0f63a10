"""How many submissions a second the house files: called in this process, and over HTTP by another one."""

import itertools
from collections.abc import Callable
from pathlib import Path

from agents.protocol import ActionRequest
from bench import house, load, server
from bench.databases import Database
from bench.figures import Figure, Table, at_least, median_ms
from bench.raw import BARE, CLIENTS, RAW, rate_of
from bench.workload import request_document
from review.intake import Submission

HTTP_GOALS = {"sqlite": 800, "postgres": 500}
IN_PROCESS = f"submit in process, {CLIENTS} threads"
OVER_HTTP = f"submit over HTTP, {CLIENTS} clients"
WARM_S = 1.0
_SHORT = {RAW: "raw", BARE: "bare table"}


def measure_in_process(database: Database, table: Table, *, seconds: float) -> None:
    """Submit from eight threads of this process."""
    with house.open_house(database.fresh()) as opened:
        works = [_submitting(opened, place) for place in range(CLIENTS)]
        rate_of(works, WARM_S)
        rate = rate_of(works, seconds)
    ratio = table.ratio(database.name, rate, RAW)
    table.add(Figure(database.name, IN_PROCESS, rate, "/s", ratio, "raw", at_least(0.5) if ratio else None))
    _compare(database, table, IN_PROCESS, rate, BARE)


def measure_over_http(database: Database, table: Table, folder: Path, *, seconds: float) -> None:
    """Submit to the whole application, as a program of its own, from another one."""
    url = database.fresh()
    with house.open_house(url) as opened:
        keys = [opened.key(f"bench-{place}")[1] for place in range(CLIENTS)]
    with server.serving(url, folder) as served:
        load.run_apart(load.Order(served.port, keys, WARM_S))
        seen = load.run_apart(load.Order(served.port, keys, seconds))
    goal = at_least(HTTP_GOALS[database.name])
    table.add(Figure(database.name, OVER_HTTP, seen.rate, "/s", goal=goal))
    _compare(database, table, OVER_HTTP, seen.rate, RAW)
    table.add(Figure(database.name, f"{OVER_HTTP}, median", median_ms(seen.durations), "ms"))


def _compare(database: Database, table: Table, name: str, rate: float, against: str) -> None:
    ratio = table.ratio(database.name, rate, against)
    if ratio:
        table.add(Figure(database.name, f"{name}, compared", rate, "/s", ratio, _SHORT[against]))


def _submitting(opened: house.House, place: int) -> Callable[[], None]:
    caller, _ = opened.key(f"bench-{place}")
    request = ActionRequest.model_validate(request_document(place))
    numbers = itertools.count()

    def submit() -> None:
        opened.intake.submit(caller, Submission(request, f"{place}-{next(numbers)}", "0" * 64))

    return submit
