"""The server's log and its metrics hold nothing of what agents sent: not of refusals, nor of failures."""

import logging
from itertools import product
from traceback import format_exception
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from agents.protocol import Approve
from db.store import SqlStore
from review.desk import Seen
from tests.builders import a_request, ada, an_action
from tests.console import Console, served
from tests.review.steps import an_edit, claim, decide
from tests.waiting import PATIENCE_SECONDS

CANARY = "canary7742"
ARGS = {"note": CANARY}
BODY = a_request(action=an_action(**ARGS), rationale=CANARY, metadata={"kept": CANARY}).model_dump(mode="json")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 -- a function of the house
    """Returns all that stands in the log, with what the server itself writes, and in the metrics."""
    caplog.set_level(logging.INFO)

    def everything(house: Console) -> str:
        out, err = capfd.readouterr()
        return caplog.text + out + err + httpx2.get(f"{house.url}/metrics", timeout=PATIENCE_SECONDS).text

    return everything


def test_a_refusal_writes_no_argument_into_the_log(store: SqlStore, told: Any) -> None:  # noqa: ANN401 -- a function
    with served(Console(store)) as house, _agent(house) as http:
        item_id = http.post("/actions", json=BODY, headers=_keyed()).json()["id"]
        receipt = decide(house, Approve(), ada).receipt
        item = f"/actions/{item_id}"
        answers = [
            http.post("/actions", json={**BODY, "confidence": CANARY}, headers=_keyed()),
            http.post("/actions", content=f'{{"{CANARY}": 1, "{CANARY}": 2}}', headers=_keyed() | _JSON),
            http.post("/actions", content="[" * 40 + CANARY, headers=_keyed() | _JSON),
            http.post("/actions", json={**BODY, "args_schema": {"$ref": f"https://{CANARY}/"}}, headers=_keyed()),
            http.post("/actions", json=BODY, headers={"Authorization": f"Bearer {CANARY}", **_keyed()}),
            http.post(f"{item}/consume", json={"receipt": receipt, "args": {"note": f"{CANARY} altered"}}),
            http.post(f"{item}/consume", json={"receipt": CANARY, "args": ARGS}),
            http.post(f"{item}/notes", json={"text": CANARY}),
            http.post(f"{item}/outcome", json={"status": "succeeded", "result": {"said": CANARY}}),
        ]
        log = told(house)

    assert [answer.status_code // 100 for answer in answers] == [4] * len(answers)
    assert "was refused" in log
    assert CANARY not in log


def test_a_failure_of_the_database_writes_no_argument_into_the_log(store: SqlStore, told: Any) -> None:  # noqa: ANN401 -- a function
    with served(Console(store)) as house, _agent(house) as http:
        started, waiting = (http.post("/actions", json=BODY, headers=_keyed()).json()["id"] for _ in range(2))
        receipt = decide(house, Approve(), ada).receipt
        http.post(f"/actions/{started}/consume", json={"receipt": receipt, "args": ARGS}).raise_for_status()
        item = claim(house, ada)
        _take_nothing_more(store, "items", "notes", "decisions", "drafts", "openings")

        answers = [
            http.post("/actions", json=BODY, headers=_keyed()),
            http.post(f"/actions/{waiting}/notes", json={"text": CANARY}),
            http.post(f"/actions/{started}/outcome", json={"status": "succeeded", "result": {"said": CANARY}}),
        ]
        with pytest.raises(DBAPIError) as edited:
            house.desk.decide(item.id, an_edit(**ARGS), ada, seen=Seen.of(item))
        with pytest.raises(DBAPIError) as typed:
            house.desk.drafts.keep(ada, item.id, item.version, {"message": CANARY})
        log = told(house) + "".join(map(str, (*format_exception(edited.value), *format_exception(typed.value))))

    assert [answer.status_code for answer in answers] == [500] * len(answers)
    assert log.count("not taken") >= len(answers) + 2
    assert CANARY not in log


def _take_nothing_more(store: SqlStore, *tables: str) -> None:
    """Let the database refuse what is written from now on, as on a full disk; all that is there can still be read."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'not taken'); END"
    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- nothing of ours breaks a database
        if connection.dialect.name == "postgresql":
            body = "$$BEGIN RAISE EXCEPTION 'not taken'; END$$"
            connection.execute(text(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS {body}"))
            refusal = "FOR EACH ROW EXECUTE FUNCTION refuse()"
        for table, verb in product(tables, ("INSERT", "UPDATE")):
            connection.execute(text(f"CREATE TRIGGER no_{verb}_{table} BEFORE {verb} ON {table} {refusal}"))


_JSON = {"Content-Type": "application/json"}


def _keyed() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid7())}


def _agent(house: Console) -> httpx2.Client:
    # After a failure the server ends the connection, perhaps before the next question comes by it.
    headers = {"Authorization": f"Bearer {house.agent_key('support')}", "Connection": "close"}
    return httpx2.Client(base_url=f"{house.url}/api/v1", headers=headers, timeout=PATIENCE_SECONDS)
