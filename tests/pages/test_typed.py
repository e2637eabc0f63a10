"""The way by which the focus view keeps what is typed, over real HTTP: whose it is, and what is refused."""

from collections.abc import Iterator
from http import HTTPStatus

import httpx2
import pytest
import streamlit as st
from pydantic import JsonValue
from starlette.applications import Starlette
from uuid_utils.compat import uuid7

from db.store import SqlStore
from pages import services, typed
from pages.requests import cookie_name
from review.drafts import MAX_DRAFT_BYTES
from review.items import ReviewItem
from review.people import Person
from tests.builders import ada, grace, keeping, mary
from tests.builders import an_item as some_item
from tests.console import Console, serving
from tests.waiting import PATIENCE_SECONDS

TYPED = {"at": 1_000, "mode": "reject", "rejection": "Not hers.", "answer": None, "question": None, "codes": ["unsafe"]}


@pytest.fixture
def house(sqlite_store: SqlStore) -> Console:
    return Console(sqlite_store)


@pytest.fixture
def item(house: Console) -> ReviewItem:
    item = some_item()
    house.store.write(keeping(item))
    return item


@pytest.fixture
def browser(house: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx2.Client]:
    monkeypatch.setattr(services, "_installed", [])
    services.install(house.services())
    with (
        serving(Starlette(routes=typed.routes())) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def signed_in(house: Console, person: Person) -> dict[str, str]:
    secret = house.sessions.sign_in(house.sessions.create_link(person))
    return {"Cookie": f"{cookie_name(is_secure=False)}={secret}"}


def test_what_is_typed_is_kept_for_who_typed_it(house: Console, item: ReviewItem, browser: httpx2.Client) -> None:
    answer = browser.put(f"/drafts/{item.id}/1", json=TYPED, headers=signed_in(house, ada))

    assert answer.status_code == HTTPStatus.NO_CONTENT
    assert house.desk.drafts.read(ada, item.id, 1) == {name: value for name, value in TYPED.items() if value}
    assert house.desk.drafts.read(grace, item.id, 1) == {}


def test_an_edit_that_the_other_view_keeps_stays(house: Console, item: ReviewItem, browser: httpx2.Client) -> None:
    house.desk.drafts.keep(ada, item.id, 1, {"edit": {"amount": "1.00"}, "question": "Why?"})

    browser.put(f"/drafts/{item.id}/1", json=TYPED, headers=signed_in(house, ada))

    kept = house.desk.drafts.read(ada, item.id, 1)
    assert (kept["edit"], kept["rejection"], kept.get("question")) == ({"amount": "1.00"}, "Not hers.", None)


@pytest.mark.parametrize(
    ("person", "sent", "status"),
    [
        (None, ("{id}/1", b"{}"), 401),
        (mary, ("{id}/1", b'{"at": 1}'), 403),
        (ada, ("{id}/1", b"no JSON"), 422),
        (ada, ("{id}/1", b'{"answer": "no time"}'), 422),
        (ada, ("{id}/1", b'{"at": 1, "edit": {}}'), 422),
        (ada, ("{id}/1", b'{"at": 1, "codes": ["because"]}'), 422),
        (ada, ("{id}/1", b" " * (MAX_DRAFT_BYTES + 1)), 413),
        (ada, ("{other}/1", b'{"at": 1}'), 404),
        (ada, ("{id}/99999999999999999999999", b'{"at": 1}'), 404),
        (ada, ("{id}/999999999", b'{"at": 1}'), 204),
    ],
)
def test_what_cannot_be_kept_is_refused_or_passes_without_a_trace(
    house: Console,
    item: ReviewItem,
    browser: httpx2.Client,
    person: Person | None,
    sent: tuple[str, bytes],
    status: int,
) -> None:
    headers = signed_in(house, person) if person else {}
    path, body = sent

    answer = browser.put("/drafts/" + path.format(id=item.id, other=uuid7()), content=body, headers=headers)

    assert answer.status_code == status
    assert house.desk.drafts.read(ada, item.id, 1) == {}


def test_an_edit_that_python_takes_for_the_one_before_is_kept(
    house: Console, item: ReviewItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_installed", [])
    services.install(house.services())
    monkeypatch.setattr(st, "session_state", {})
    edits: Iterator[JsonValue] = iter([{"express": 1}, {"express": True}])

    for _ in range(2):
        typed.keep(ada, item.id, 1, key="edit", edit=edits.__next__)

    assert str(house.desk.drafts.read(ada, item.id, 1)["edit"]) == "{'express': True}"
