"""The whole application as a program of its own, as `make serve` starts it."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).resolve().parent.parent / "app.py"
START_S = 180.0
END_S = 15.0

_LINK = re.compile(r"http://\S+/sign-in/\S+")


class ServerNotReadyError(Exception):
    """The application did not start in time."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"The application did not start. It said:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True, slots=True)
class Server:
    """A running application: where it is served, its process, and how many seconds it took to be ready."""

    port: int
    pid: int
    ready_after: float
    began: float
    log: Path

    @property
    def url(self) -> str:
        """Return where the console is."""
        return f"http://127.0.0.1:{self.port}"

    def sign_in_link(self) -> str:
        """Return the link that was printed at the start."""
        found = _LINK.search(self.log.read_text(errors="replace"))
        if found is None:
            raise ServerNotReadyError(self.log)
        return found.group()


@contextmanager
def serving(url: str, folder: Path) -> Iterator[Server]:
    """Serve the database on a free port until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = _free_port(), folder / "server.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNOFF_", "PYTHONDONT"))}
    environment = kept | {
        # As after any first start: what Python compiled is kept, here apart from the installation.
        "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode"),
        "SIGNOFF_PORT": str(port),
        "SIGNOFF_DATA_DIR": str(folder),
        "SIGNOFF_DATABASE_URL": url,
        "SIGNOFF_SUBMITS_PER_MINUTE": "10000000",
        "SIGNOFF_MOST_WAITING": "10000000",
        # What is measured is the house, not the grace that it gives people.
        "SIGNOFF_UNDO_SECONDS": "0",
    }
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 -- our own program
            [sys.executable, str(APP), "serve"], cwd=APP.parent, env=environment, stdout=out, stderr=out
        )
    try:
        ready_after = _await_ready(process, port, log, began)
        yield Server(port, process.pid, ready_after, began, log)
    finally:
        _end(process)


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path, began: float) -> float:
    while time.monotonic() - began < START_S and process.poll() is None:
        if _is_ready(port):
            return time.monotonic() - began
        time.sleep(0.01)
    raise ServerNotReadyError(log)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
