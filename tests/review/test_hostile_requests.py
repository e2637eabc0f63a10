"""Hostile requests over the real server: each is refused with its own code, none is a 500, and none leaves a trace."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from agents.protocol import MAX_BODY_BYTES, ActionStatus, Approve
from db.store import SqlStore, open_store
from review.audit import EventKind
from review.governance import KEY_LIFE
from review.signing import RECEIPT_LIFE
from tests.builders import a_request
from tests.clock import MovableClock
from tests.console import Console, served
from tests.review.steps import all_rows, decide, events, items, submit
from tests.waiting import PATIENCE_SECONDS

ARGS = a_request().action.args
ACTIONS = "/api/v1/actions"
BODY: dict[str, Any] = {"action": {"name": "refund_order", "args": dict(ARGS)}, "confidence": 0.5}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        told = json.loads(self.body)
        assert isinstance(told, dict), told
        return told


class Agent:
    """An agent with an item in every state, and another agent's item."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bearer = console.agent_key("support")
        self.caller = console.keys.recognise(self.bearer)
        self.permitted, self.permitted_too = self._permitted(), self._permitted()
        self.started, self.finished = self._permitted(), self._permitted()
        for item in (self.started, self.finished):
            console.intake.consume(self.caller, item.id, item.receipt or "", ARGS)
        self.send("POST", self.at(self.finished, "outcome"), {"status": "succeeded"})
        self.withdrawn = submit(console, self.caller)
        self.send("POST", self.at(self.withdrawn, "cancel"))
        self.waiting = submit(console, self.caller, key="used")
        self.of_another = submit(console, console.keys.recognise(console.agent_key("another")))

    def _permitted(self) -> ActionStatus:
        status = submit(self.console, self.caller)
        decide(self.console, Approve(), self.console.person)
        return self.console.intake.status(self.caller, status.id)

    @staticmethod
    def at(item: ActionStatus, what: str = "") -> str:
        return f"{ACTIONS}/{item.id}/{what}".rstrip("/").replace("/?", "?")

    def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> Answer:  # noqa: ANN401 -- bytes go as they are, anything else as JSON
        """Send it with the agent's key; a header of None is left out, an underscore in its name is a dash."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        usual = {"authorization": f"Bearer {self.bearer}", "content-type": "application/json"}
        if (method, path) == ("POST", ACTIONS):
            usual["idempotency-key"] = str(uuid7())
        named = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        address = urlsplit(self.console.url)
        with closing(http.client.HTTPConnection(address.netloc, timeout=PATIENCE_SECONDS)) as connection:
            sent = {name: value for name, value in named.items() if value is not None}
            connection.request(method, path, content, sent)
            response = connection.getresponse()
            return Answer(response.status, response.getheader("content-type", ""), response.read())

    def forged(
        self,
        *,
        key: OKPKey | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,  # noqa: ANN401 -- claims of any kind
    ) -> str:
        """Return the permitted item's receipt with other claims, under another header, or signed by another key."""
        signed = jws.deserialize_compact(self.permitted.receipt or "", self.console.signing_key, algorithms=["Ed25519"])
        told = json.dumps({**json.loads(signed.payload or b""), **claims})
        key = key or self.console.signing_key
        return jws.serialize_compact({**signed.headers(), **(header or {})}, told, key, algorithms=["Ed25519"])


Ask = Callable[[Agent], Answer]


def sending(method: str, path: str, body: Any = None, **headers: str | None) -> Ask:  # noqa: ANN401 -- bytes or any JSON value
    return lambda agent: agent.send(method, path, body, **headers)


def submitting(body: Any, **headers: str | None) -> Ask:  # noqa: ANN401 -- bytes or any JSON value
    return sending("POST", ACTIONS, body, **headers)


def on(item: str, what: str, body: Any = None, method: str = "POST", **headers: str | None) -> Ask:  # noqa: ANN401 -- bytes or any JSON value
    return lambda agent: agent.send(method, agent.at(getattr(agent, item), what), body, **headers)


def consuming(receipt: Callable[[Agent], Any], args: Any = ARGS, *, item: str = "permitted") -> Ask:  # noqa: ANN401 -- any JSON value
    return lambda agent: agent.send(
        "POST", agent.at(getattr(agent, item), "consume"), {"receipt": receipt(agent), "args": args}
    )


def _of(item: str) -> Callable[[Agent], Any]:
    return lambda agent: getattr(agent, item).receipt


def request(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON values
    return {**BODY, **fields}


def action(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON values
    return {"action": {**BODY["action"], **fields}}


def raw(args: str) -> bytes:
    return b'{"action":{"name":"refund_order","args":' + args.encode("utf-8", "surrogatepass") + b"}}"


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


# What is no JSON, or not the same JSON to every reader.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "invalid_json"),
    "half a document": (b'{"action":', "invalid_json"),
    "a trailing comma": (b'{"action":{},}', "invalid_json"),
    "two documents": (b"{}{}", "invalid_json"),
    "XML": (b"<action/>", "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "UTF-16": ('{"action":1}'.encode("utf-16"), "invalid_json"),
    "bad UTF-8": (b'{"action":{"name":"a","args":{"a":"\xff\xfe"}}}', "invalid_json"),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', "invalid_json"),
    "a bare NUL in a string": (raw('{"a":"\0"}'), "invalid_json"),
    "a bare line feed in a string": (raw('{"a":"\n"}'), "invalid_json"),
    "single quotes": (b"{'action':1}", "invalid_json"),
    "a comment": (b'{/* */"action":1}', "invalid_json"),
    "NaN": (raw('{"a":NaN}'), "not_a_number"),
    "Infinity": (raw('{"a":Infinity}'), "not_a_number"),
    "minus Infinity": (raw('{"a":-Infinity}'), "not_a_number"),
    "1e999": (raw('{"a":1e999}'), "not_a_number"),
    "an integer above 2**53 - 1": (raw('{"a":9007199254740992}'), "integer_too_large"),
    "an integer of 5,000 digits": (raw('{"a":' + "9" * 5000 + "}"), "integer_too_large"),
    "a duplicate key": (b'{"action":{"name":"a","args":{}},"confidence":1,"confidence":0.1}', "duplicate_key"),
    "a duplicate argument": (raw('{"amount":"1","amount":"1000"}'), "duplicate_key"),
    "a duplicate key, escaped": (raw('{"a":1,"\\u0061":2}'), "duplicate_key"),
    "33 levels": (raw(nested(31)), "too_deep"),
    "100,000 levels": (raw("[" * 100_000 + "]" * 100_000), "too_deep"),
    "half a surrogate pair": (raw('{"a":"\\ud800"}'), "lone_surrogate"),
    "half a surrogate pair as a name": (raw('{"\\udc00":1}'), "lone_surrogate"),
    "half a surrogate pair, encoded": (raw('{"a":"\ud800"}'), "invalid_json"),
}

# What is JSON, but no action request.
UNFIT: dict[str, Any] = {
    "a list": [BODY],
    "a string": "refund",
    "null": b"null",
    "no action": {"confidence": 0.5},
    "an action that is text": {"action": "refund_order"},
    "arguments that are a list": action(args=["A-1"]),
    "arguments that are text": action(args='{"order_id": "A-1"}'),
    "no arguments": {"action": {"name": "refund_order"}},
    "a name that is a number": action(name=7),
    "no name": action(name=""),
    "a name of 129 characters": action(name="x" * 129),
    "a name with a space": action(name="refund order"),
    "a name with a line feed at its end": action(name="refund_order\n"),
    "a name with a control character": action(name="refund\x00order"),
    "a name with a bidirectional override": action(name="refund\u202eorder"),
    "a name in another script": action(name="r\u0435fund_order"),
    "an unknown field": request(approved=True),
    "an unknown field of the action": action(approved=True),
    "a decision of its own": request(decision={"type": "approve"}),
    "a confidence that is true": request(confidence=True),
    "a confidence that is text": request(confidence="0.5"),
    "a confidence of 2": request(confidence=2),
    "a confidence below 0": request(confidence=-0.1),
    "a confidence that is a list": request(confidence=[1]),
    "an amount that is a number": request(impact={"amount": 49.9}),
    "an amount with an exponent": request(impact={"amount": "1e9"}),
    "an amount with a line feed": request(impact={"amount": "49\n"}),
    "an amount in other digits": request(impact={"amount": "\u0664\u0669"}),
    "a currency that is none": request(impact={"currency": "eur"}),
    "reversible as text": request(impact={"reversible": "true"}),
    "a subject of 257 characters": request(impact={"subject": "x" * 257}),
    "tokens below 0": request(usage={"input_tokens": -1}),
    "tokens in halves": request(usage={"input_tokens": 1.5}),
    "decisions without reject": request(allowed_decisions=["approve"]),
    "no decisions": request(allowed_decisions=[]),
    "an unknown decision": request(allowed_decisions=["reject", "ignore"]),
    "five decisions": request(allowed_decisions=["reject"] * 5),
    "context of an unknown kind": request(context=[{"kind": "html", "content": "<b>"}]),
    "context without content": request(context=[{"kind": "message"}]),
    "201 entries of context": request(context=[{"kind": "message", "content": ""}] * 201),
    "an expiry of no time": request(expires_in=0),
    "an expiry in a hundred years": request(expires_in=100 * 366 * 24 * 3600),
    "an expiry in text": request(expires_in="60"),
    "an unknown wish for silence": request(on_expiry="execute"),
    "51 members of metadata": request(metadata={f"k{n}": n for n in range(51)}),
    "metadata under a name of 257 characters": request(metadata={"x" * 257: 1}),
    "metadata that is a list": request(metadata=[["a", 1]]),
    "a rationale of 20,001 characters": request(rationale="x" * 20_001),
    "a schema that is a list": request(args_schema=[]),
    "a schema that is true": request(args_schema=True),
}

# Schemas that would fetch, run for long, or mean nothing.
_TWICE = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(18)}
SCHEMAS: dict[str, dict[str, Any]] = {
    "a reference elsewhere": {"$ref": "https://evil.example/schema.json"},
    "a reference to a file": {"$ref": "file:///etc/passwd"},
    "a reference to this machine": {"properties": {"a": {"$ref": "http://127.0.0.1:8501/"}}},
    "a reference to itself": {"$ref": "#"},
    "a reference to nowhere": {"$ref": "#/$defs/none"},
    "parts that multiply": {"$defs": {**_TWICE, "d18": {}}, "$ref": "#/$defs/d0"},
    "a type that is none": {"type": "thing"},
    "a minimum that is text": {"properties": {"a": {"minimum": "0"}}},
    "a broken pattern": {"properties": {"a": {"pattern": "("}}},
    "a pattern that needs gigabytes": {"properties": {"a": {"pattern": "(((a{1,999}){1,999}){1,999})"}}},
    "65 patterns": {"properties": {f"p{n}": {"pattern": "a"} for n in range(65)}},
    "64 KiB and more": {"description": "x" * 65 * 1024},
    "a dynamic reference": {"$dynamicRef": "#meta"},
}

IDEMPOTENCY_KEYS: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "of 256 characters": "k" * 256,
    "with a space": "a key",
    "with a tab": "a\tkey",
    "in other letters": "schl\xfcssel",
}

CONTENT_TYPES: dict[str, str | None] = {
    "missing": None,
    "text": "text/plain",
    "a form": "application/x-www-form-urlencoded",
    "JSON's neighbour": "application/jsonp",
    "two": "text/plain, application/json",
}

_OF_ANOTHER_HOUSE = jws.serialize_compact(
    {"alg": "Ed25519", "typ": "at+jwt"}, "{}", OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"]
)

BEARERS: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "without its scheme": "sgn_0123456789ab_" + "x" * 43,
    "in another scheme": "Basic c3VwcG9ydDpzZWNyZXQ=",
    "of another form": "Bearer nonsense",
    "unknown": "Bearer sgn_0123456789ab_" + "x" * 43,
    "with a quote in it": "Bearer sgn_0123456789ab_' OR 1=1 --",
    "in other letters": "Bearer sgn_0123456789ab_" + "\xfc" * 43,
    "of 8,000 characters": "Bearer " + "x" * 8_000,
    "an access token of nobody": "Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJpc3MiOiJ4In0.",
    "an access token of another house": f"Bearer {_OF_ANOTHER_HOUSE}",
}

OF_AN_ITEM: dict[str, tuple[str, Any]] = {
    "": ("GET", None),
    "cancel": ("POST", None),
    "notes": ("POST", {"text": "hello"}),
    "consume": ("POST", {"receipt": "any", "args": {}}),
    "outcome": ("POST", {"status": "succeeded"}),
}

NOWHERE = UUID(int=0)
ASTRAY: dict[str, tuple[str, str, int, str]] = {
    "an id that is none": ("GET", f"{ACTIONS}/42", 422, "invalid_request"),
    "an id with a path in it": ("GET", f"{ACTIONS}/..%2f..%2fetc", 404, "no_such_route"),
    "an id with NUL": ("GET", f"{ACTIONS}/%00", 422, "invalid_request"),
    "an unknown route": ("GET", "/api/v1/items", 404, "no_such_route"),
    "an unknown version": ("GET", "/api/v2/actions", 404, "no_such_route"),
    "asking for a token by GET": ("GET", "/api/v1/oauth/token", 405, "method_not_allowed"),
    "a route of the desk": ("POST", f"{ACTIONS}/{NOWHERE}/decide", 404, "no_such_route"),
    "a slash at the end": ("GET", f"{ACTIONS}/", 404, "no_such_route"),
    "deleting": ("DELETE", ACTIONS, 405, "method_not_allowed"),
    "replacing": ("PUT", f"{ACTIONS}/{NOWHERE}", 405, "method_not_allowed"),
    "changing": ("PATCH", f"{ACTIONS}/{NOWHERE}", 405, "method_not_allowed"),
    "withdrawing by GET": ("GET", f"{ACTIONS}/{NOWHERE}/cancel", 405, "method_not_allowed"),
    "changing the policy": ("POST", "/api/v1/policy", 405, "method_not_allowed"),
    "a limit of 0": ("GET", f"{ACTIONS}?limit=0", 422, "invalid_request"),
    "a limit of 1000": ("GET", f"{ACTIONS}?limit=1000", 422, "invalid_request"),
    "a limit of abc": ("GET", f"{ACTIONS}?limit=abc", 422, "invalid_request"),
    "a limit of 1e2": ("GET", f"{ACTIONS}?limit=1e2", 422, "invalid_request"),
    "a limit of 5,000 digits": ("GET", f"{ACTIONS}?limit={'9' * 5_000}", 422, "invalid_request"),
    "a cursor that is none": ("GET", f"{ACTIONS}?cursor=nonsense", 422, "invalid_cursor"),
    "a cursor of nothing": ("GET", f"{ACTIONS}?cursor=", 422, "invalid_cursor"),
    "a cursor of another list": ("GET", f"{ACTIONS}?cursor=WyJldmVudHMiLDFd", 422, "invalid_cursor"),
    "a cursor of deep lists": ("GET", f"{ACTIONS}?cursor={'W1tb' * 60}", 422, "invalid_cursor"),
    "a cursor with NUL": ("GET", f"{ACTIONS}?cursor=%00", 422, "invalid_cursor"),
    "a cursor in bad UTF-8": ("GET", f"{ACTIONS}?cursor=%ff%fe", 422, "invalid_cursor"),
    "a cursor of 513 characters": ("GET", f"{ACTIONS}?cursor={'x' * 513}", 422, "invalid_request"),
    "a status that is none": ("GET", f"{ACTIONS}?status=approved", 422, "invalid_request"),
}

WAITS = ("-1", "61", "NaN", "inf", "1e999", "soon")

_NO_ALGORITHM = "eyJhbGciOiJub25lIiwidHlwIjoic2lnbm9mZi1yZWNlaXB0K2p3dCJ9"
_OWN_KEY = OKPKey.generate_key("Ed25519")

RECEIPTS: dict[str, Callable[[Agent], str]] = {
    "that is no receipt": lambda _: "nonsense",
    "of dots": lambda _: "..",
    "of NUL": lambda _: "\0.\0.\0",
    "in other letters": lambda _: "\u00e9.\u4e2d.\U0001f9f5",
    "of numbers": lambda _: "MQ.MQ.MQ",
    "that was tampered with": lambda agent: (agent.permitted.receipt or "").replace(".", ".e30", 1),
    "without a signature": lambda agent: (agent.permitted.receipt or "").rpartition(".")[0] + ".",
    "of no algorithm": lambda agent: f"{_NO_ALGORITHM}.{(agent.permitted.receipt or '').split('.')[1]}.",
    "signed by another key": lambda agent: agent.forged(key=OKPKey.generate_key("Ed25519")),
    "that brings its own key": lambda agent: agent.forged(
        key=_OWN_KEY, header={"jwk": _OWN_KEY.as_dict(private=False)}
    ),
    "under another key's name": lambda agent: agent.forged(header={"kid": "another"}),
    "of another type": lambda agent: agent.forged(header={"typ": "JWT"}),
    "of another agent": lambda agent: agent.forged(aud="another"),
    "of another issuer": lambda agent: agent.forged(iss="https://elsewhere.example"),
    "of another workspace": lambda agent: agent.forged(workspace="elsewhere"),
    "of another permission": lambda agent: agent.forged(jti=str(uuid7())),
    "of another item": lambda agent: agent.permitted_too.receipt or "",
    "that has expired": lambda agent: agent.forged(exp=1),
    "with a claim more": lambda agent: agent.forged(admin=True),
    "with a word for a time": lambda agent: agent.forged(exp="never"),
}

OTHER_ARGS: dict[str, Any] = {
    "other arguments": {**ARGS, "amount": "4990.00"},
    "no arguments": {},
    "an argument more": {**ARGS, "notify": True},
    "an argument of another type": {**ARGS, "amount": 49.9},
    "arguments that are deep": {**ARGS, "amount": [[[[]]]]},
}

OUT_OF_TURN: dict[str, tuple[Ask, int, str]] = {
    "a receipt used before": (consuming(_of("started"), item="started"), 409, "already_consumed"),
    "a receipt for what waits": (consuming(_of("permitted"), item="waiting"), 403, "not_permitted"),
    "a receipt for what was withdrawn": (consuming(_of("permitted"), item="withdrawn"), 403, "not_permitted"),
    "an outcome before the start": (on("permitted", "outcome", {"status": "succeeded"}), 409, "not_started"),
    "an outcome of what waits": (on("waiting", "outcome", {"status": "failed"}), 409, "not_started"),
    "an outcome changed": (on("finished", "outcome", {"status": "failed"}), 409, "outcome_stands"),
    "a result changed": (on("finished", "outcome", {"status": "succeeded", "result": 2}), 409, "outcome_stands"),
    "a note on what is settled": (on("permitted", "notes", {"text": "hello"}), 409, "already_settled"),
    "withdrawing what is settled": (on("finished", "cancel"), 409, "already_settled"),
    "a key used with another body": (submitting(BODY, idempotency_key="used"), 422, "idempotency_mismatch"),
}

UNFIT_OF_AN_ITEM: dict[str, Ask] = {
    "an outcome that is none": on("started", "outcome", {"status": "done"}),
    "an outcome without a status": on("started", "outcome", {"result": 1}),
    "an outcome with an unknown field": on("started", "outcome", {"status": "failed", "retry": True}),
    "an outcome with a long error": on("started", "outcome", {"status": "failed", "error": "x" * 20_001}),
    "an empty note": on("waiting", "notes", {"text": ""}),
    "a note of 20,001 characters": on("waiting", "notes", {"text": "x" * 20_001}),
    "a note in a reviewer's name": on("waiting", "notes", {"text": "hello", "author": "reviewer"}),
    "a note that is a number": on("waiting", "notes", {"text": 1}),
    "a receipt that is empty": consuming(lambda _: ""),
    "a receipt of 8,193 characters": consuming(lambda _: "x" * 8_193),
    "a receipt that is a list": consuming(lambda _: ["x"]),
    "a receipt with arguments in text": consuming(lambda _: "x", "{}"),
}

CASES: dict[str, tuple[Ask, int, str]] = {
    **{name: (submitting(body), 400, code) for name, (body, code) in UNREADABLE.items()},
    **{name: (submitting(body), 422, "invalid_request") for name, body in UNFIT.items()},
    **{
        f"a schema with {name}": (submitting(request(args_schema=schema)), 422, "invalid_schema")
        for name, schema in SCHEMAS.items()
    },
    **{
        f"an idempotency key {name}": (submitting(BODY, idempotency_key=key), 400, "idempotency_key_missing")
        for name, key in IDEMPOTENCY_KEYS.items()
    },
    **{
        f"a content type: {name}": (submitting(BODY, content_type=kind), 415, "not_json")
        for name, kind in CONTENT_TYPES.items()
    },
    **{
        f"a key {name}": (sending("GET", ACTIONS, authorization=bearer), 401, "key_refused")
        for name, bearer in BEARERS.items()
    },
    **{
        f"without a key, {what or 'read'}": (on("waiting", what, body, method, authorization=None), 401, "key_refused")
        for what, (method, body) in OF_AN_ITEM.items()
    },
    **{
        f"of another agent, {what or 'read'}": (on("of_another", what, body, method), 404, "item_not_found")
        for what, (method, body) in OF_AN_ITEM.items()
    },
    **{
        f"of nobody, {what or 'read'}": (
            sending(method, f"{ACTIONS}/{NOWHERE}/{what}".rstrip("/"), body),
            404,
            "item_not_found",
        )
        for what, (method, body) in OF_AN_ITEM.items()
    },
    **{name: (sending(method, path), status, code) for name, (method, path, status, code) in ASTRAY.items()},
    **{
        f"waiting for {seconds}": (on("waiting", f"?wait={seconds}", method="GET"), 422, "invalid_request")
        for seconds in WAITS
    },
    **{f"a receipt {name}": (consuming(make), 403, "receipt_refused") for name, make in RECEIPTS.items()},
    **{
        f"a receipt for {name}": (consuming(_of("permitted"), args), 403, "digest_mismatch")
        for name, args in OTHER_ARGS.items()
    },
    **OUT_OF_TURN,
    **{name: (ask, 422, "invalid_request") for name, ask in UNFIT_OF_AN_ITEM.items()},
    "256 KiB and a byte": (submitting(json.dumps(BODY).encode().ljust(MAX_BODY_BYTES + 1)), 413, "body_too_large"),
    "a megabyte": (submitting(b" " * 1024 * 1024), 413, "body_too_large"),
    "an outcome with NaN": (on("started", "outcome", b'{"status":"succeeded","result":NaN}'), 400, "not_a_number"),
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent for all of the table: what is refused changes nothing."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'signoff.db'}"
    with closing(open_store(url, clock=MovableClock())) as store, served(Console(store)) as console:
        yield Agent(console)


@pytest.mark.parametrize("case", list(CASES))
def test_a_hostile_request_is_refused_by_its_code_and_changes_nothing(agent: Agent, case: str) -> None:
    ask, status, code = CASES[case]
    store: Any = agent.console.store
    before = (all_rows(store), events(agent.console))

    answer = ask(agent)

    assert (answer.status, answer.content_type) == (status, "application/problem+json"), answer.body
    assert (answer.told["code"], answer.told["status"]) == (code, status)
    assert set(answer.told) <= {"type", "title", "status", "code", "detail", "errors"}
    assert (all_rows(store), events(agent.console)) == before


def test_amid_all_of_them_what_was_acknowledged_is_there_once(sqlite_store: SqlStore) -> None:
    acknowledged = []
    with served(Console(sqlite_store)) as console:
        agent = Agent(console)
        mine = {item.id for item in items(console)}
        for number, (ask, _, _) in enumerate(CASES.values()):
            ask(agent)
            if number % 10 == 0:
                acknowledged.append(agent.send("POST", ACTIONS, BODY).told["id"])

        filed = [str(item.id) for item in items(console) if item.id not in mine]
        submitted = [event.item_id for event in events(console) if event.kind is EventKind.ACTION_SUBMITTED]

    assert sorted(filed) == sorted(acknowledged)
    assert sorted(submitted, key=str) == sorted((*mine, *map(UUID, acknowledged)), key=str)


BORDERLINE: dict[str, Any] = {
    "32 levels": raw(nested(30)),
    "256 KiB to the byte": json.dumps(BODY).encode().ljust(MAX_BODY_BYTES),
    "2**53 - 1": raw('{"a":9007199254740991,"b":-9007199254740991}'),
    "the largest number": raw('{"a":1.7976931348623157e308}'),
    "a whole surrogate pair": raw('{"a":"\\ud83e\\uddf5"}'),
    "an escaped NUL": raw('{"a":"\\u0000"}'),
    "a name of 128 characters": action(name="x" * 128),
    "a confidence of 1": request(confidence=1),
    "a schema that refers within itself": request(args_schema={"$defs": {"a": {}}, "$ref": "#/$defs/a"}),
    "a pattern that would run for ages": {
        **action(args={"a": "a" * 5_000 + "!"}),
        "args_schema": {"properties": {"a": {"pattern": "^(a+)+\\1$"}}},
    },
    "markup in every text": request(rationale="<script>", description="![](https://evil.example/x.png)"),
}


@pytest.mark.parametrize("case", list(BORDERLINE))
def test_what_is_just_within_the_limits_is_taken(agent: Agent, case: str) -> None:
    answer = agent.send("POST", ACTIONS, BORDERLINE[case])

    assert answer.status == 201, answer.body


def test_a_key_that_expired_or_was_revoked_or_altered_is_refused(console: Console, clock: MovableClock) -> None:
    agent = Agent(console)
    expiring, revoked = agent.console.agent_key("support"), agent.console.agent_key("support")
    altered = agent.bearer[:-1] + ("A" if agent.bearer[-1] != "A" else "B")
    assert agent.send("GET", ACTIONS, authorization=f"Bearer {revoked}").status == 200
    console.keys.revoke_by(console.person, revoked.split("_")[1])

    answers = [agent.send("GET", ACTIONS, authorization=f"Bearer {bearer}") for bearer in (revoked, altered)]
    clock.advance(KEY_LIFE)
    answers.append(agent.send("GET", ACTIONS, authorization=f"Bearer {expiring}"))

    assert [(answer.status, answer.told["code"]) for answer in answers] == [(401, "key_refused")] * 3


def test_a_receipt_past_its_time_is_refused(console: Console, clock: MovableClock) -> None:
    agent = Agent(console)
    clock.advance(RECEIPT_LIFE)

    answer = consuming(_of("permitted"))(agent)

    assert (answer.status, answer.told["code"]) == (403, "receipt_refused")


def test_a_body_that_never_ends_leaves_nothing_and_the_server_answers_on(agent: Agent) -> None:
    store: Any = agent.console.store
    before = all_rows(store)
    address = urlsplit(agent.console.url)
    head = (
        f"POST {ACTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agent.bearer}\r\nIdempotency-Key: half\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + b'{"action":')

    answer = agent.send("GET", ACTIONS)

    assert (answer.status, all_rows(store)) == (200, before)


def test_a_body_in_chunks_is_measured_as_it_comes(agent: Agent) -> None:
    address = urlsplit(agent.console.url)
    headers = {
        "Authorization": f"Bearer {agent.bearer}",
        "Idempotency-Key": "chunks",
        "Content-Type": "application/json",
    }
    with closing(http.client.HTTPConnection(address.netloc, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("POST", ACTIONS, (b" " * 1024 for _ in range(257)), headers, encode_chunked=True)
        response = connection.getresponse()
        told = json.loads(response.read())

    assert (response.status, told["code"]) == (413, "body_too_large")
