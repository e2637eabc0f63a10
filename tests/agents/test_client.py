"""The client: how it asks, how long it insists, and what it takes for an answer, step by step without I/O."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import JsonValue

from agents.client import MAX_PAUSE_SECONDS, Client, Exchange, Pause, Reply, Run
from agents.errors import AnswerUnreadableError, RequestInvalidError, ServerAwayError, ServerRefusedError
from agents.protocol import MAX_BODY_BYTES, Action, ActionRequest, Args, ContextEntry, ContextKind
from tests.agents.answers import ARGS, ITEM_ID, TOOL, key_set, problem, reply, status, taken

REQUEST = ActionRequest(action=Action(name=TOOL, args=ARGS), confidence=0.5)


@pytest.fixture
def client() -> Client:
    return Client("http://127.0.0.1:9", "sgn_test_key", attempts=3)


def nested(levels: int) -> JsonValue:
    value: JsonValue = "deep"
    for _ in range(levels):
        value = [value]
    return value


def test_a_submission_carries_its_key_and_only_what_was_said(client: Client) -> None:
    steps, item = taken(client.submit(REQUEST, idempotency_key="call-1"), reply(status(), 201))

    assert steps == [
        Exchange(
            "POST",
            "/actions",
            b'{"action":{"args":{"amount":"49.00","order_id":"R-1042"},"name":"refund"},"confidence":0.5}',
            headers={"Idempotency-Key": "call-1"},
        )
    ]
    assert item.id == ITEM_ID


@pytest.mark.parametrize(
    "trouble",
    [
        ServerAwayError(why="connection refused"),
        reply({}, 500),
        reply({}, 503),
        problem(429, "too_many_requests"),
        problem(409, "in_flight"),
    ],
)
def test_a_passing_trouble_is_waited_out(client: Client, trouble: object) -> None:
    steps, item = taken(client.submit(REQUEST, idempotency_key="call-1"), trouble, None, reply(status()))

    assert [type(step) for step in steps] == [Exchange, Pause, Exchange]
    assert steps[0] == steps[2]
    assert item.id == ITEM_ID


def test_a_trouble_that_stays_is_raised_after_the_last_attempt(client: Client) -> None:
    away = ServerAwayError(why="connection refused")

    with pytest.raises(ServerAwayError):
        taken(client.submit(REQUEST, idempotency_key="call-1"), away, None, away, None, away)


@pytest.mark.parametrize(
    ("code", "name"),
    [(400, "invalid_json"), (401, "key_refused"), (409, "already_consumed"), (422, "invalid_args")],
)
def test_a_refusal_is_raised_at_once_with_its_code(client: Client, code: int, name: str) -> None:
    with pytest.raises(ServerRefusedError) as refused:
        taken(client.submit(REQUEST, idempotency_key="call-1"), problem(code, name))

    assert (refused.value.code, refused.value.status) == (name, code)
    assert refused.value.detail == f"Refused: {name}."


def test_a_refusal_without_a_problem_document_is_named_after_its_status(client: Client) -> None:
    with pytest.raises(ServerRefusedError) as refused:
        taken(client.status(ITEM_ID), Reply(404, b"<html>"))

    assert refused.value.code == "http_404"


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("3", 3.0, 3.0),
        ("0", 0.0, 0.0),
        ("86400", MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS),
        pytest.param(
            format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True),
            MAX_PAUSE_SECONDS,
            MAX_PAUSE_SECONDS,
            id="tomorrow",
        ),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0.0, 0.0, id="yesterday"),
        ("soon", 0.1, 0.2),
        ("-5", 0.1, 0.2),
        ("²", 0.1, 0.2),
        (None, 0.1, 0.2),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_respected_within_bounds(
    client: Client, code: int, retry_after: str | None, least: float, most: float
) -> None:
    busy = reply(
        {"type": "t", "title": "t", "status": code, "code": "busy", "detail": "Busy."},
        code,
        retry_after=retry_after,
    )

    steps, _ = taken(client.status(ITEM_ID), busy, None, reply(status()))

    pause = steps[1]
    assert isinstance(pause, Pause)
    assert least <= pause.seconds <= most


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b""),
        Reply(200, b"[]"),
        Reply(200, b'{"id": 1, "id": 2}'),
        Reply(200, b'{"confidence": NaN}'),
        reply({}),
        reply(status(surprise=True)),
        reply(status(status="perhaps")),
        reply(status(decision={"type": "approve", "also": "this"})),
        reply(status(id="01932b5e-7000-7000-8000-00000000ffff")),
    ],
)
def test_an_answer_that_does_not_follow_the_protocol_is_no_answer(client: Client, answer: Reply) -> None:
    with pytest.raises(AnswerUnreadableError):
        taken(client.status(ITEM_ID), answer)


@pytest.mark.parametrize(
    "args",
    [
        {"id": 2**53},
        {"id": -(2**53)},
        {"ratio": float("nan")},
        {"ratio": float("inf")},
        {"note": "x" * MAX_BODY_BYTES},
        {"tree": nested(40)},
    ],
)
def test_what_breaks_a_limit_is_refused_before_it_is_sent(client: Client, args: Args) -> None:
    request = ActionRequest(action=Action(name=TOOL, args=args))

    with pytest.raises(RequestInvalidError):
        taken(client.submit(request, idempotency_key="call-1"))


def test_a_body_may_be_as_large_as_the_limit(client: Client) -> None:
    entry = ContextEntry(kind=ContextKind.MESSAGE, content="x" * (MAX_BODY_BYTES - 1024))
    request = REQUEST.model_copy(update={"context": (entry,)})

    _, item = taken(client.submit(request, idempotency_key="call-1"), reply(status()))

    assert item.id == ITEM_ID


def test_waiting_is_asked_for_and_given_time(client: Client) -> None:
    steps, _ = taken(client.status(ITEM_ID, wait=30), reply(status()))

    exchange = steps[0]
    assert isinstance(exchange, Exchange)
    assert exchange.query == {"wait": "30.000"}
    assert exchange.seconds > 30


@pytest.mark.parametrize("call", ["key_set", "policy"])
def test_documents_come_as_they_are(client: Client, call: str) -> None:
    document: dict[str, Any] = key_set()

    _, found = taken(getattr(client, call)(), reply(document))

    assert found == document


@pytest.mark.parametrize("url", ["", "console.test", "ftp://console.test", "http://", "file:///etc/passwd"])
def test_only_the_address_of_a_console_is_taken(url: str) -> None:
    with pytest.raises(ValueError, match="address of a console"):
        Client(url, "sgn_test_key")


@pytest.mark.parametrize("key", ["", "sgn_key\n", "sgn key", "sgn_ключ"])
def test_a_key_that_no_header_can_carry_is_not_taken(key: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        Client("http://127.0.0.1:9", key)


@pytest.mark.parametrize("key", ["", "two words", "two\r\nlines", "ключ", "x" * 256])
def test_an_idempotency_key_that_no_header_can_carry_is_not_sent(client: Client, key: str) -> None:
    with pytest.raises(RequestInvalidError):
        taken(client.submit(REQUEST, idempotency_key=key))


def test_a_console_that_is_not_there_is_away() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

    with Client(url, "sgn_test_key", attempts=1) as client, pytest.raises(ServerAwayError, match=url):
        client.send(client.key_set())


def test_steps_that_run_something_need_a_runner(client: Client) -> None:
    def steps() -> Any:  # noqa: ANN401 -- a generator of one step
        return (yield Run(ARGS))

    with pytest.raises(TypeError):
        client.send(steps())
