"""How long a waiting agent waits after the decision: from the call that decides to the answer that the agent reads."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from agents.protocol import Approve
from bench import house
from bench.databases import Database
from bench.figures import Figure, Table, at_most, median_ms
from bench.load import Agent, LoadFailedError
from bench.workload import AGENT, request_document
from review.api import make_api
from review.desk import Seen
from review.sessions import LOCAL_OPERATOR

AWAKE_MS = 50.0
SETTLE_S = 0.05
START_S = 20


def measure(database: Database, table: Table, *, runs: int) -> None:
    """Let an agent wait over HTTP, decide in the server's process, and see when the agent knows."""
    with house.open_house(database.fresh()) as opened, _served(opened) as port:
        _, bearer = opened.key(AGENT)
        spent = [_answered_after(opened, port, bearer, run) for run in range(runs)]
    goal = at_most(AWAKE_MS)
    table.add(Figure(database.name, "decision given to agent answered", median_ms(spent), "ms", goal=goal))
    table.add(Figure(database.name, "decision given to agent answered, slowest", max(spent) * 1000, "ms"))


def _answered_after(opened: house.House, port: int, bearer: str, run: int) -> float:
    agent = Agent(port, bearer)
    filed = json.loads(agent.submit(json.dumps(request_document(run)))[1])
    item = opened.desk.claim(LOCAL_OPERATOR)
    if item is None or str(item.id) != filed["id"]:
        message = "the item that was submitted is not the next one"
        raise LoadFailedError(message)
    answered_at: list[float] = []

    def wait() -> None:
        agent.call("GET", f"/actions/{item.id}?wait=30")
        answered_at.append(time.perf_counter())

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(SETTLE_S)
    decided_at = time.perf_counter()
    opened.desk.decide(item.id, Approve(), LOCAL_OPERATOR, seen=Seen.of(item))
    waiting.join()
    agent.close()
    return answered_at[0] - decided_at


@contextmanager
def _served(opened: house.House) -> Iterator[int]:
    app = Starlette(routes=[Mount("/api", app=make_api(opened.doors()))])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(START_S * 100):
        if server.started:
            break
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
