"""The downloads, over real HTTP: who gets what, under which filter, and what happens when they go away."""

import csv
import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from starlette.applications import Starlette

from agents.protocol import DecisionType, Reject
from db.store import SqlStore
from pages import downloads, services
from pages.requests import cookie_name
from review.items import DecisionFilter, ItemFilter
from review.people import Person
from review.records import EXPORT_BATCH
from review.sessions import Sessions
from review.store import Reading
from review.verify import MANIFEST
from tests.builders import a_decision, a_request, ada, an_action, an_item, grace, keeping, mary, root
from tests.console import Console, serving
from tests.waiting import PATIENCE_SECONDS

T = TypeVar("T")


@pytest.fixture
def sessions(house: Console) -> Sessions:
    return house.sessions


@pytest.fixture
def house(sqlite_store: SqlStore) -> Console:
    return Console(sqlite_store)


@pytest.fixture
def address(house: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The downloads of the house, served as the application serves them; their address."""
    monkeypatch.setattr(services, "_installed", [])
    services.install(house.services())
    with serving(Starlette(routes=list(downloads.routes()))) as url:
        yield url.removeprefix("http://")


@contextmanager
def asked(address: str, sessions: Sessions, person: Person, path: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to this person's request, not yet read; in the end they hang up."""
    secret = sessions.sign_in(sessions.create_link(person))
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers={"Cookie": f"{cookie_name(is_secure=False)}={secret}"})
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_download_is_masked_unless_the_address_asks_for_the_values(
    address: str, house: Console, sessions: Sessions
) -> None:
    item = an_item(request=a_request(action=an_action(to="ada@hidden.example")))
    house.store.write(keeping(item, a_decision(item)))
    path = downloads.decisions_address("decisions.csv", DecisionFilter(), shows_values=True)
    assert path == "/download/decisions.csv?values=shown"

    found = []
    for asked_for in ("/download/decisions.csv", path):
        with asked(address, sessions, mary, asked_for) as answer:
            found.append("ada@hidden.example" in answer.read().decode())

    assert found == [False, True]


def test_a_download_holds_what_the_address_asks_for(address: str, house: Console, sessions: Sessions) -> None:
    item, other = an_item(), an_item(request=a_request(action=an_action("order_stock")))
    made = [a_decision(item), a_decision(item, decision=Reject(message="No.")), a_decision(other, grace)]
    house.store.write(keeping(item, other, *made))
    where = DecisionFilter(ItemFilter(tool="refund_order"), DecisionType.REJECT)

    with asked(address, sessions, mary, downloads.decisions_address("decisions.csv", where)) as answer:
        *rows, manifest = rows_of(answer.read())

    assert [(row["id"], row["reviewer_name"]) for row in rows] == [(str(made[1].id), ada.name)]
    told = json.loads(manifest["message"])
    assert (told["filter"], told["count"]) == ({"items": {"tool": "refund_order"}, "decision": "reject"}, 1)


def test_a_reviewer_downloads_their_own_decisions_masked(address: str, house: Console, sessions: Sessions) -> None:
    item = an_item(request=a_request(action=an_action(to="ada@hidden.example")))
    made = [a_decision(item), a_decision(item, grace)]
    house.store.write(keeping(item, *made))

    with asked(address, sessions, ada, "/download/decisions.csv") as answer:
        content = answer.read()

    assert [row["id"] for row in rows_of(content)] == [str(made[0].id), MANIFEST]
    assert b"ada@hidden.example" not in content


@pytest.mark.parametrize(
    ("person", "path", "status", "said"),
    [
        (root, "decisions.csv", 403, "Root may not export labels. Ask an admin for the role."),
        (ada, "labels.csv", 403, "Ada Lovelace may not export labels. Ask an admin for the role."),
        (grace, "audit.csv", 403, "Grace Hopper may not export the audit log. Ask an admin for the role."),
        (mary, "decisions.csv?decision=acquitted", 422, "A filter of this export cannot be read."),
        (mary, "labels.csv?item_since=yesterday", 422, "A filter of this export cannot be read."),
        (grace, "labels.csv?reviewer=Ada", 404, "Nobody known as Ada has decided anything here."),
        (mary, "everything.csv", 404, "There is no such export."),
    ],
)
def test_a_download_is_refused_in_words(
    address: str, sessions: Sessions, person: Person, path: str, status: int, said: str
) -> None:
    with asked(address, sessions, person, f"/download/{path}") as answer:
        told = answer.read().decode()

    assert answer.status == status
    assert told.startswith(said)


def test_who_goes_away_stops_the_reading(
    address: str, house: Console, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = 60
    item = an_item(request=a_request(rationale="x" * 8_000, description="y" * 2_000))
    house.store.write(keeping(item, *(a_decision(item) for _ in range(batches * EXPORT_BATCH))))
    reads: list[int] = []
    read = house.store.read

    def counted(work: Callable[[Reading], T]) -> T:
        reads.append(len(reads))
        return read(work)

    monkeypatch.setattr(house.store, "read", counted)

    with asked(address, sessions, mary, "/download/labels.csv") as answer:
        begun = answer.read(1_000)
    seen = _once_still(reads)

    assert begun.startswith(b'"id"')
    assert 0 < seen < batches / 2


def _once_still(growing: list[Any]) -> int:
    """How long the list is when it has stopped growing."""
    pause, before = threading.Event(), -1
    for _ in range(100):
        if len(growing) == before:
            return before
        before = len(growing)
        pause.wait(0.5)
    pytest.fail("it goes on and on")
