"""Agents over HTTP, in a program of their own so that they take no time from the server: `python -m bench.load`.

It reads what to do as one JSON object from standard input and prints what it saw as one JSON object: how many
submissions were answered 201 a second, and how long each took.
"""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from uuid_utils.compat import uuid7

from bench.workload import request_document

_ROOT = Path(__file__).resolve().parent.parent
_END_OF_HEAD = b"\r\n\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) .*?\r\ncontent-length: ([0-9]+)\r\n", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: submit for so many seconds, one keep-alive connection to each key."""

    port: int
    keys: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """How it went: durations of single submissions in seconds, and how many were not answered 201."""

    rate: float
    durations: list[float] = field(repr=False)
    refused: int


class LoadFailedError(Exception):
    """The load could not be put on the server as ordered."""


def run_apart(order: Order) -> Seen:
    """Run the order in a process of its own and return what it saw. Raises LoadFailedError."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=_ROOT,
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=order.seconds + 60,
        check=False,
    )
    if done.returncode != 0:
        raise LoadFailedError(done.stderr[-2000:])
    seen = Seen(**json.loads(done.stdout))
    if seen.refused:
        message = f"{seen.refused} of {len(seen.durations)} submissions were not answered 201"
        raise LoadFailedError(message)
    return seen


class Agent:
    """One agent on one connection.

    It speaks just as much HTTP as the protocol's answers need, in one piece each way: the standard library's client
    takes more time for a call than the server should, from the same few cores.
    """

    def __init__(self, port: int, key: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._always = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    def call(
        self, method: str, path: str, body: str | None = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Call the protocol; return the status and the body of the answer."""
        sent = (body or "").encode()
        told = {**(headers or {}), "Content-Length": str(len(sent))}
        head = f"{method} /api/v1{path} HTTP/1.1\r\n{self._always}"
        head += "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._socket.sendall(f"{head}\r\n".encode() + sent)
        return self._answer()

    def submit(self, body: str) -> tuple[int, bytes]:
        """Submit the body under a fresh key."""
        return self.call("POST", "/actions", body, headers={"Idempotency-Key": uuid7().hex})

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _answer(self) -> tuple[int, bytes]:
        received = b""
        while (end := received.find(_END_OF_HEAD)) < 0:
            received += self._more()
        found = _HEAD.match(received)
        if found is None:
            raise LoadFailedError(received[:500].decode(errors="replace"))
        whole = end + len(_END_OF_HEAD) + int(found[2])
        while len(received) < whole:
            received += self._more()
        return int(found[1]), received[end + len(_END_OF_HEAD) : whole]

    def _more(self) -> bytes:
        more = self._socket.recv(65_536)
        if not more:
            message = "the server hung up"
            raise LoadFailedError(message)
        return more


def _put(order: Order) -> Seen:
    durations: list[list[float]] = [[] for _ in order.keys]
    refused = [0] * len(order.keys)
    barrier = threading.Barrier(len(order.keys) + 1)

    def run(place: int) -> None:
        agent = Agent(order.port, order.keys[place])
        body = json.dumps(request_document(place))
        barrier.wait()
        until = time.monotonic() + order.seconds
        while (began := time.monotonic()) < until:
            status, _ = agent.submit(body)
            durations[place].append(time.monotonic() - began)
            refused[place] += status != 201
        agent.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(order.keys))]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    every = [duration for of_one in durations for duration in of_one]
    return Seen(len(every) / took, every, sum(refused))


if __name__ == "__main__":
    print(json.dumps(asdict(_put(Order(**json.load(sys.stdin))))))
