"""Fifty people at their screens at once: how long after a press the server has confirmed it.

Each holds a session of their own over a websocket, as a browser does, and speaks Streamlit's protocol; presses and
questions for news go by the console's own route. Fifty browsers would keep both cores busy with drawing, and measure
that.
"""

import asyncio
import json
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from uuid_utils.compat import uuid7
from websockets.asyncio.client import ClientConnection, connect

from bench import house, server
from bench.databases import Database
from bench.figures import Figure, Table, at_most
from bench.workload import seed
from review.people import Person
from review.sessions import LOCAL_OPERATOR, Sessions

REVIEWERS = 50
P95_MS = 400.0
# How long a person looks at an item, on average.
LOOK_S = 3.0
PATIENCE_S = 60.0
# How often a browser asks for news, as `pages/focus.js` does.
NEWS_S = 5.0
EMPTY_NEWS_S = 2.0

_SEED = 7


class _Reviewer:
    """One session: what its screen shows, and what it sends."""

    def __init__(self, connection: ClientConnection, http: httpx2.AsyncClient) -> None:
        self._connection = connection
        self._http = http
        self._shown: dict[str, Any] = {}
        self._looks: dict[str, dict[str, Any]] = {}
        self._asked_at = 0.0
        self._due: dict[str, tuple[float, float]] = {}  # When each part that draws itself anew is due, and how often.

    async def sit_down(self) -> None:
        """Wait until the screen is drawn and shows an item."""
        await self._send()
        async with asyncio.timeout(PATIENCE_S):
            while not self._shown.get("items"):
                await self._receive()

    async def approve(self) -> float:
        """Approve what is shown, and return the milliseconds until the server has confirmed it."""
        while not self._shown["items"]:
            await self._exchange([])
            await asyncio.sleep(EMPTY_NEWS_S)
        look = self._looks[self._shown["items"][0]["stamp"]]
        entry = {
            "id": uuid7().hex,
            "act": "decide",
            **{name: look[name] for name in ("item", "version", "epoch", "digest")},
            "decision": {"type": "approve"},
            "dwell_ms": int(LOOK_S * 1000),
            "is_opened": True,
            "session": self._shown["session"],
        }
        began = perf_counter()
        await self._exchange([entry])
        took = (perf_counter() - began) * 1000
        if not self._shown["acknowledged"][entry["id"]]["ok"]:
            raise RuntimeError(self._shown["acknowledged"][entry["id"]]["text"])
        return took

    async def look(self, seconds: float) -> None:
        """Look at what is shown for a while, take in what the server sends, and ask for what draws itself anew."""
        until = perf_counter() + seconds
        while (now := perf_counter()) < until:
            for part, (due, every) in self._due.items():
                if due <= now:
                    self._due[part] = now + every, every
                    await self._send(part)
            if (news_due := self._asked_at + NEWS_S) <= now:
                await self._exchange([])
                continue
            next_due = min([until, news_due, *(due for due, _ in self._due.values())])
            with suppress(TimeoutError):
                async with asyncio.timeout(max(next_due - now, 0)):
                    while True:
                        await self._receive()

    async def _send(self, part: str = "") -> None:
        message = BackMsg()
        message.rerun_script.query_string = ""
        message.rerun_script.fragment_id = part
        message.rerun_script.is_auto_rerun = bool(part)
        await self._connection.send(message.SerializeToString())

    async def _exchange(self, outbox: list[dict[str, Any]]) -> None:
        """Hand over the outbox and take in what is told; without an outbox, ask for news."""
        self._asked_at = perf_counter()
        sent = {"outbox": outbox, "knows": list(self._looks)}
        answer = await self._http.post(f"/sittings/{self._shown['session']}", json=sent)
        answer.raise_for_status()
        if answer.content:
            self._hear(answer.json())

    def _hear(self, shown: dict[str, Any]) -> None:
        self._shown = shown
        known = self._looks
        self._looks = {
            item["stamp"]: json.loads(item["look"]) if item["look"] else known[item["stamp"]] for item in shown["items"]
        }

    async def _receive(self) -> None:
        message = ForwardMsg()
        message.ParseFromString(await self._connection.recv(decode=False))
        match message.WhichOneof("type"):
            case "auto_rerun":
                every = message.auto_rerun.interval
                self._due.setdefault(message.auto_rerun.fragment_id, (perf_counter() + every, every))
            case "stop_auto_rerun":
                for part in message.stop_auto_rerun.fragment_ids:
                    self._due.pop(part, None)
        surface: BidiComponent = message.delta.new_element.bidi_component
        data = surface.json or surface.mixed.json
        if data and "acknowledged" in (shown := json.loads(data)):
            self._hear(shown)


def measure(database: Database, table: Table, folder: Path, *, seconds: float) -> None:
    """Let fifty reviewers decide side by side, and look at how long they wait for the confirmation."""
    url = database.fresh()
    with house.open_house(url) as opened:
        seed(opened.store, int(REVIEWERS * (3 + 2 * seconds / LOOK_S)))
        sessions = Sessions(opened.store)
        cookies = [sessions.sign_in(sessions.create_link(person)) for person in _people()]
    with server.serving(url, folder) as served:
        process = psutil.Process(served.pid)
        spent, worked = asyncio.run(_all_decide(served.url, cookies, seconds, lambda: sum(process.cpu_times()[:2])))
    cuts = statistics.quantiles(spent, n=100)
    named = f"{REVIEWERS} reviewers, press to confirmed"
    table.add(Figure(database.name, f"{named}, median", statistics.median(spent), "ms"))
    table.add(Figure(database.name, f"{named}, p95", cuts[94], "ms", goal=at_most(P95_MS)))
    table.add(Figure(database.name, f"{REVIEWERS} reviewers, decisions", len(spent) / seconds, "/s"))
    table.add(Figure(database.name, f"{REVIEWERS} reviewers, processor a decision", worked / len(spent) * 1000, "ms"))


def _people() -> Iterator[Person]:
    for number in range(REVIEWERS):
        yield replace(LOCAL_OPERATOR, sub=f"reviewer-{number}", name=f"Reviewer {number}")


async def _all_decide(
    url: str, cookies: list[str], seconds: float, worked: Callable[[], float]
) -> tuple[list[float], float]:
    """Return how long each press took, in milliseconds, and for how many seconds the server worked meanwhile."""
    ready = asyncio.Barrier(len(cookies) + 1)
    deciding = asyncio.gather(
        *(
            _decides(url, cookie, ready, seconds, random.Random(f"{_SEED}.{place}"))  # noqa: S311 -- when somebody presses
            for place, cookie in enumerate(cookies)
        )
    )
    await ready.wait()
    before = worked()
    of_each = await deciding
    return [took for of_one in of_each for took in of_one], worked() - before


async def _decides(url: str, cookie: str, ready: asyncio.Barrier, seconds: float, chance: random.Random) -> list[float]:
    async with connect(
        f"{url.replace('http', 'ws', 1)}/_stcore/stream",
        origin=url,  # type: ignore[arg-type]  # a text, which the library wraps for its own checks
        subprotocols=["streamlit"],  # type: ignore[list-item]
        additional_headers={"Cookie": f"signoff={cookie}"},
        max_size=None,
    ) as connection:
        headers = {"Cookie": f"signoff={cookie}", "Origin": url}
        async with httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE_S) as http:
            reviewer = _Reviewer(connection, http)
            await reviewer.sit_down()
            await ready.wait()
            until = perf_counter() + seconds
            await reviewer.look(chance.uniform(0.3, 2 * LOOK_S))
            spent = []
            while perf_counter() < until:
                spent.append(await reviewer.approve())
                await reviewer.look(chance.uniform(0.3, 2 * LOOK_S))
            return spent
