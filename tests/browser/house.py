"""The application as whoever installs it runs it: a program of its own, its data in a folder of its own."""

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import Decision
from db.store import SqlStore, open_store
from review.audit import SYSTEM
from review.desk import ReviewDesk, Seen
from review.governance import KeyRing, PolicyBook
from review.items import ReasonCode
from review.people import Person, Role
from review.policy import Policy, Queue, Rule, ToolRule
from review.sessions import Sessions
from review.signing import Receipts, load_signing_key
from tests.outside import a_port

ROOT = Path(__file__).resolve().parents[2]
LOG_CHARS = 8_000
START_SECONDS = 120
END_SECONDS = 20
_LINK = re.compile(r"http://\S+/sign-in/\S+")


@dataclass(frozen=True, slots=True)
class House:
    """A console that is served, and its store, opened here a second time as the commands open it."""

    url: str
    printed_link: str
    store: SqlStore
    desk: ReviewDesk
    log: Path
    known_hosts: tuple[str, ...] = ()

    def link(self, person: Person) -> str:
        """Return the address of a fresh sign-in link."""
        return f"{self.url}/sign-in/{Sessions(self.store).create_link(person)}"

    def agent_key(self, agent: str) -> str:
        """Return a fresh bearer key of the agent."""
        return KeyRing(self.store).create(agent, "default", SYSTEM)[1]

    def adds_to_policy(self, *queues: Queue, rules: Sequence[Rule] = (), tools: Sequence[ToolRule] = ()) -> Policy:
        """Put rules first, and queues and tools in force beside what there is."""
        lead = Person("https://id.example.com", "lead", "Mary Shelley", frozenset(Role))
        book = PolicyBook(self.store)
        current = book.in_force(lead.workspace)
        document = current.document
        changes = {
            "rules": (*rules, *document.rules),
            "queues": (*document.queues, *queues),
            "tools": (*document.tools, *tools),
        }
        return book.save(document.model_copy(update=changes), lead, based_on=current.number)

    def decide(self, item_id: UUID, decision: Decision, reason_codes: tuple[ReasonCode, ...] = ()) -> None:
        """Decide an item as somebody else who happens to be at the desk."""
        grace = Person(
            "https://id.example.com", uuid7().hex, "Grace Hopper", frozenset(Role), authenticated_at=datetime.now(UTC)
        )
        seen = Seen.of(self.desk.claim_item(grace, item_id))
        self.desk.decide(item_id, decision, grace, seen=seen, reason_codes=reason_codes)


@contextmanager
def running(
    folder: Path, *, has_demo: bool = False, settings: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[House]:
    """Serve a console until the context ends; no error may have reached its log by then.

    With the folder and the ``port`` of one that ended, it is the same console, started anew.
    """
    with ExitStack() as kept:
        yield from _served(folder, port or kept.enter_context(a_port()), has_demo=has_demo, settings=settings)


def _served(folder: Path, port: int, *, has_demo: bool, settings: Mapping[str, str] | None) -> Iterator[House]:
    url = f"http://127.0.0.1:{port}"
    database = f"sqlite:///{folder / 'signoff.sqlite3'}"
    log = folder / "server.log"
    own = {
        "SIGNOFF_DATA_DIR": str(folder),
        "SIGNOFF_DATABASE_URL": database,
        "SIGNOFF_DEMO": str(int(has_demo)),
        "SIGNOFF_HOST": "127.0.0.1",
        "SIGNOFF_PORT": str(port),
        "SIGNOFF_PUBLIC_URL": url,
        "SIGNOFF_UNDO_SECONDS": "0",
        **(settings or {}),
    }
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "app.py", "serve"],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        link = _link_once_ready(server, log, url, needs_link=settings is None)
        store = open_store(database)
        try:
            receipts = Receipts(load_signing_key(folder / "signing-key.pem"), issuer=url)
            yield House(url, link, store, ReviewDesk(store, receipts, PolicyBook(store)), log)
        except BaseException as error:
            error.add_note(f"The console's log:\n{log.read_text()[-LOG_CHARS:]}")
            raise
        finally:
            store.close()
    finally:
        _end(server)
    assert "Traceback" not in log.read_text(), log.read_text()


def _link_once_ready(server: "subprocess.Popen[bytes]", log: Path, url: str, *, needs_link: bool) -> str:
    pause = threading.Event()
    for _ in range(START_SECONDS * 10):
        if server.poll() is not None:
            break
        if _is_ready(url):
            found = _LINK.search(log.read_text())
            if found or not needs_link:
                return found.group() if found else ""
        pause.wait(0.1)
    pytest.fail(f"the console did not start:\n{log.read_text()}")


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 -- our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
