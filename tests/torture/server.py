"""The server that is killed: ``app.py serve`` as an installation runs it, on the same port again and again."""

import http.client
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.outside import a_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
END_SECONDS = 20.0


class ServerEndedError(Exception):
    """The server ended by itself, or never came to answer."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"The server does not serve. It said:\n{log.read_text(errors='replace')[-4000:]}")


class Server:
    """One installation's server, started, killed and started again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._kept = ExitStack()
        # Kept while the server is down as well: its agents go on asking for it, and nobody else may answer them.
        self.port = self._kept.enter_context(a_port())
        self.log = folder / "server.log"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)} | {
            "SIGNOFF_DATA_DIR": str(folder),
            "SIGNOFF_DATABASE_URL": url,
            "SIGNOFF_PORT": str(self.port),
            "SIGNOFF_SUBMITS_PER_MINUTE": "1000000",
            "SIGNOFF_MOST_WAITING": "1000000",
            "SIGNOFF_UNDO_SECONDS": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where the console is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return at once."""
        with self.log.open("ab") as out:
            command = [sys.executable, "app.py", "serve"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=out, stderr=out)

    def await_ready(self) -> None:
        """Return once it answers."""
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            self._check_alive()
            if self._is_ready():
                return
            time.sleep(0.02)
        raise ServerEndedError(self.log)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._check_alive()
        self._running.kill()
        self._running.wait()

    def end(self) -> None:
        """End it as an operator does."""
        self._kept.close()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the server was never started"
        return self._process

    def _check_alive(self) -> None:
        if self._running.poll() is not None:
            raise ServerEndedError(self.log)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


# Settings of whoever runs this are not the installation's, and what measures coverage writes nothing when killed.
_LEFT_OUT = ("SIGNOFF_", "COVERAGE_", "COV_")
