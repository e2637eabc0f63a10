"""The machines' door over real HTTP: one action all the way, and what each answer carries."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

import httpx2
import pytest
from uuid_utils.compat import uuid7

from agents.protocol import ActionPage, ActionStatus, Approve, Reject
from agents.receipts import receipt_keys, verify_receipt
from db.store import SqlStore
from review.audit import EventKind
from review.checkpoints import Checkpoint, parse_note
from review.intake import Intake, Submission
from review.metrics import QueueCollector
from review.outbound import Outbound
from review.pace import Pace
from review.places import place_at
from review.sealer import ALARM_AFTER, CHECKPOINT_EVERY
from tests.builders import WORKSPACE, a_request, ada, an_event, keeping
from tests.clock import START, MovableClock
from tests.console import Console, served
from tests.review.steps import a_document, an_edit, decide, items, kinds
from tests.waiting import PATIENCE_SECONDS

ARGS = a_request().action.args
BODY = a_request().model_dump(mode="json")


class Agent:
    """A client of the door with a key of its own."""

    def __init__(self, console: Console, name: str) -> None:
        headers = {"Authorization": f"Bearer {console.agent_key(name)}"}
        self.http = httpx2.Client(base_url=f"{console.url}/api/v1", headers=headers, timeout=PATIENCE_SECONDS)

    def submit(self, body: Any = BODY, **headers: str) -> httpx2.Response:  # noqa: ANN401 -- any JSON value
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/actions", json=body, headers={"Idempotency-Key": str(uuid7()), **named})

    def post(self, item_id: str, what: str, body: Any = None) -> httpx2.Response:  # noqa: ANN401 -- any JSON value
        return self.http.post(f"/actions/{item_id}/{what}", json=body)


def asked(url: str, **headers: str) -> httpx2.Response:
    """Return what is answered to somebody who is no client of the door yet."""
    return httpx2.get(url, headers=headers, timeout=PATIENCE_SECONDS)


@pytest.fixture
def agent(console: Console) -> Iterator[Agent]:
    with an_agent(console) as agent:
        yield agent


@contextmanager
def an_agent(console: Console, name: str = "support") -> Iterator[Agent]:
    agent = Agent(console, name)
    with agent.http:
        yield agent


def test_an_action_goes_all_the_way(console: Console, agent: Agent, clock: MovableClock) -> None:
    filed = agent.submit()
    item_id = filed.json()["id"]
    assert (filed.status_code, filed.headers["location"]) == (201, f"/api/v1/actions/{item_id}")
    decide(console, an_edit(order_id="B-2"))

    answer = ActionStatus.model_validate(agent.http.get(f"/actions/{item_id}").json())

    keys = receipt_keys(agent.http.get("/.well-known/jwks.json", headers={"Authorization": ""}).json())
    claims = verify_receipt(
        answer.receipt or "",
        keys=keys,
        audience="support",
        item_id=UUID(item_id),
        tool="refund_order",
        args={"order_id": "B-2"},
        now=clock().timestamp(),
        issuer="http://console.test",
    )
    assert claims.reviewers == (ada.id,)
    begun = agent.post(item_id, "consume", {"receipt": answer.receipt, "args": {"order_id": "B-2"}})
    assert (begun.status_code, begun.json()["execution"]) == (200, "started")
    over = agent.post(item_id, "outcome", {"status": "succeeded", "result": {"refund": "R-7"}})
    assert (over.status_code, over.json()["execution"]) == (200, "succeeded")
    assert kinds(console, UUID(item_id)) == [
        EventKind.ACTION_SUBMITTED,
        EventKind.ITEM_CLAIMED,
        EventKind.ITEM_DECIDED,
        EventKind.RECEIPT_CONSUMED,
        EventKind.OUTCOME_REPORTED,
    ]


def test_who_is_refused_stands_in_the_servers_log(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "signoff.api"):
        refused = asked(f"{console.url}/api/v1/policy", Authorization="Bearer sgn_nobodys")

    assert (refused.status_code, refused.json()["code"]) == (401, "key_refused")
    assert "GET '/api/v1/policy' was refused: key_refused" in caplog.text
    assert "sgn_nobodys" not in caplog.text


def test_a_repeat_says_that_it_is_one(agent: Agent, console: Console) -> None:
    first = agent.submit(Idempotency_Key="k")

    again = agent.submit(Idempotency_Key="k")

    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert len(items(console)) == 1


def test_the_same_body_written_otherwise_is_a_repeat(agent: Agent) -> None:
    first = agent.submit(Idempotency_Key="k")
    turned = dict(reversed(BODY.items()))

    again = agent.submit(turned, Idempotency_Key="k")

    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


def test_a_key_in_flight_is_answered_409(sqlite_store: SqlStore) -> None:
    may_go_on, is_held_up = Event(), Event()

    def draw() -> float:
        is_held_up.set()
        assert may_go_on.wait(PATIENCE_SECONDS)
        return 1.0

    house = Console(sqlite_store)
    house.save_policy(a_document())
    house.intake = Intake(sqlite_store, house.receipts, house.policies, draw=draw)
    with served(house) as console, an_agent(console) as agent:
        caller = console.keys.recognise(agent.http.headers["authorization"].removeprefix("Bearer "))
        submission = Submission(a_request(), "k", "body")
        first = Thread(target=house.intake.submit, args=(caller, submission))
        first.start()
        assert is_held_up.wait(PATIENCE_SECONDS)

        answer = agent.submit(Idempotency_Key="k")

        may_go_on.set()
        first.join(PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
    assert len(items(console)) == 1


def test_cancelling_and_noting_answer_with_the_item(agent: Agent) -> None:
    item_id = agent.submit().json()["id"]

    noted = agent.post(item_id, "notes", {"text": "The customer wrote again."})
    cancelled = [agent.post(item_id, "cancel") for _ in range(2)]

    assert (noted.status_code, [note["text"] for note in noted.json()["notes"]]) == (201, ["The customer wrote again."])
    assert [(answer.status_code, answer.json()["status"]) for answer in cancelled] == [(200, "cancelled")] * 2


def test_the_list_is_paged_and_filtered(agent: Agent, console: Console) -> None:
    ids = [agent.submit().json()["id"] for _ in range(5)]
    agent.post(ids[2], "cancel")
    with an_agent(console, "another") as other:
        other.submit()

    first = ActionPage.model_validate(agent.http.get("/actions", params={"status": "waiting", "limit": 3}).json())
    more: dict[str, Any] = {"status": "waiting", "limit": 3, "cursor": first.next_cursor}
    second = ActionPage.model_validate(agent.http.get("/actions", params=more).json())

    assert [str(item.id) for item in (*first.items, *second.items)] == [ids[n] for n in (4, 3, 1, 0)]
    assert second.next_cursor is None


def test_the_policy_in_force_is_told(agent: Agent, console: Console) -> None:
    console.save_policy(a_document())

    told = agent.http.get("/policy").json()

    assert (told["number"], told["document"]) == (1, a_document().model_dump(mode="json"))


def test_waiting_for_what_is_settled_answers_at_once(agent: Agent, console: Console) -> None:
    item_id = agent.submit().json()["id"]
    decide(console, Reject(message="No."))

    answer = agent.http.get(f"/actions/{item_id}", params={"wait": 60}, timeout=30)

    assert answer.json()["status"] == "settled"


def test_a_note_that_is_not_known_yet_is_not_waited_for(agent: Agent, console: Console) -> None:
    item_id = agent.submit().json()["id"]
    console.desk.ask(console.person, UUID(item_id), "Which cup?")

    new = agent.http.get(f"/actions/{item_id}", params={"wait": 60, "notes": 0}, timeout=30)
    known = agent.http.get(f"/actions/{item_id}", params={"wait": 0.2, "notes": 1})

    assert [note["text"] for note in new.json()["notes"]] == ["Which cup?"]
    assert known.json() == new.json()


def test_waiting_in_vain_answers_with_the_item_as_it_is(agent: Agent) -> None:
    item_id = agent.submit().json()["id"]

    answer = agent.http.get(f"/actions/{item_id}", params={"wait": 0.2})

    assert (answer.status_code, answer.json()["status"]) == (200, "waiting")


def test_a_refused_key_is_told_how_to_come(agent: Agent) -> None:
    answer = agent.http.get("/actions", headers={"Authorization": "Bearer nonsense"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="signoff"')


def test_who_submits_too_fast_is_told_when_to_come_back(sqlite_store: SqlStore) -> None:
    house = Console(sqlite_store)
    house.pace = Pace(sqlite_store, per_minute=3, clock=lambda: 0.0)
    with served(house) as console, an_agent(console) as agent:
        answers = [agent.submit() for _ in range(6)]

    assert [answer.status_code for answer in answers] == [201] * 3 + [429] * 3
    assert all(1 <= int(answer.headers["retry-after"]) <= 120 for answer in answers[3:])
    assert [answer.json()["code"] for answer in answers[3:]] == ["too_many_requests"] * 3
    assert len(items(console)) == 3
    assert kinds(console).count(EventKind.PACE_EXCEEDED) == 1


def test_health_says_whether_the_store_answers(console: Console) -> None:
    answers = [asked(f"{console.url}/{path}") for path in ("healthz", "readyz")]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "ok\n"), (200, "ready\n")]


def test_a_missing_heartbeat_is_an_alarm_after_two_intervals(
    agent: Agent, console: Console, clock: MovableClock
) -> None:
    agent.submit()
    clock.advance(ALARM_AFTER * CHECKPOINT_EVERY - timedelta(seconds=1))
    before = asked(f"{console.url}/readyz")
    clock.advance(timedelta(seconds=1))

    alarmed = asked(f"{console.url}/readyz")

    console.sealer.tick()
    after = asked(f"{console.url}/readyz")
    assert [answer.status_code for answer in (before, alarmed, after)] == [200] * 3
    assert alarmed.text == "ready\nalarm: the audit log is not being sealed\n"
    assert (before.text, after.text) == ("ready\n", "ready\n")


def test_an_anchor_that_fails_is_an_alarm_after_two_intervals(
    sqlite_store: SqlStore, clock: MovableClock, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file stands where the folder should be")
    places = [place_at(f"file://{path}", Outbound()) for path in (tmp_path / "anchor", blocked)]
    console = Console(sqlite_store, places=places)
    sqlite_store.write(keeping(an_event()))
    console.sealer.seal()
    answers = []

    with served(console):
        for wait in (timedelta(0), ALARM_AFTER * CHECKPOINT_EVERY - timedelta(seconds=1), timedelta(seconds=1)):
            clock.advance(wait)
            for poster in console.anchors.posters:
                poster.tick()
            answers.append(asked(f"{console.url}/readyz").text)

    assert answers == [
        "ready\n",
        "ready\n",
        "ready\nalarm: 1 of the audit log's anchors could not be given its checkpoint\n",
    ]
    gauges = {
        (sample.name, sample.labels["anchor"]): sample.value
        for family in QueueCollector(sqlite_store, console.anchors, WORKSPACE).collect()
        for sample in family.samples
        if "anchor" in sample.labels
    }
    assert gauges == {
        ("signoff_anchor_alarm", "1"): 0,
        ("signoff_anchor_alarm", "2"): 1,
        ("signoff_anchor_posted_timestamp_seconds", "1"): START.timestamp(),
    }


def test_the_latest_checkpoint_is_public(agent: Agent, console: Console) -> None:
    none_yet = asked(f"{console.url}/api/v1/checkpoint")
    agent.submit()
    console.sealer.seal()

    answer = asked(f"{console.url}/api/v1/checkpoint")

    assert (none_yet.status_code, none_yet.json()["code"]) == (404, "no_checkpoint")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.headers["last-modified"] == "Mon, 02 Nov 2026 09:30:15 GMT"
    checkpoint = Checkpoint.parse(parse_note(answer.text).text)
    assert (checkpoint.origin, checkpoint.size) == ("console.test/default", 2)


def test_metrics_count_without_an_agents_words(agent: Agent, console: Console) -> None:
    agent.submit()
    decide(console, Approve())

    told = asked(f"{console.url}/metrics").text

    assert re.search(r'^signoff_submissions_total\{route="review"\} [1-9]', told, re.MULTILINE)
    assert re.search(r'^signoff_decisions_total\{type="approve"\} [1-9]', told, re.MULTILINE)
    assert [word for word in ("refund_order", "support", *map(str, ARGS.values())) if word in told] == []


def test_the_document_and_its_page_come_from_here_alone(console: Console) -> None:
    document = asked(f"{console.url}/api/v1/openapi.json").json()
    page = asked(f"{console.url}/api/v1/docs")
    parts = [asked(f"{console.url}/api/v1/{path}") for path in re.findall(r'(?:href|src)="([^"]+)"', page.text)]

    assert set(document["paths"]) == {
        "/v1/actions",
        "/v1/actions/{item_id}",
        *(f"/v1/actions/{{item_id}}/{what}" for what in ("cancel", "consume", "notes", "outcome")),
        "/v1/policy",
        "/v1/oauth/token",
        "/v1/checkpoint",
        "/v1/.well-known/jwks.json",
    }
    assert (page.status_code, [part.status_code for part in parts]) == (200, [200, 200, 200])
    assert "://" not in page.text


def test_the_keys_are_public_and_only_the_public_half(console: Console) -> None:
    (key,) = asked(f"{console.url}/api/v1/.well-known/jwks.json").json()["keys"]

    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "Ed25519", "sig")
    assert ("d" in key, key["kid"]) == (False, console.signing_key.thumbprint())


def test_a_key_of_the_agent_is_marked_as_used(agent: Agent, console: Console, clock: MovableClock) -> None:
    before = [key.last_used_at for key in console.keys.keys("default")]

    agent.submit()

    assert before == [None]
    assert [key.last_used_at for key in console.keys.keys("default")] == [clock()]
