"""An agent with a key pair of its own, against a real console: it is let in, and renews by itself."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey
from langchain_core.tools import tool

from agents.client import Client
from agents.credentials import PrivateKeyJwt, TokenAuth
from agents.errors import AnswerUnreadableError, ServerAwayError, ServerRefusedError
from agents.gate import Gate
from review.audit import SYSTEM, EventKind
from review.people import Limits
from review.policy import Autonomy
from review.tokens import TOKEN_LIFE
from tests.builders import AGENT, WORKSPACE, a_request
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import a_document, kinds

Signing = OKPKey | ECKey | RSAKey

ISSUER = "http://console.test"
URL = "http://127.0.0.1:9"
KEY = OKPKey.generate_key("Ed25519")
OF_EACH_KIND: dict[str, Signing] = {
    "Ed25519": KEY,
    "P-256": ECKey.generate_key("P-256"),
    "P-521": ECKey.generate_key("P-521"),
    "RSA": RSAKey.generate_key(3072),
}

MINE = PrivateKeyJwt("0123456789ab", KEY.as_pem(private=True))
SECP256K1_PEM = generate_private_key(SECP256K1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ticking(clock: MovableClock) -> Callable[[], float]:
    return lambda: clock().timestamp()


def credentials(console: Console, clock: MovableClock, key: Signing = KEY) -> PrivateKeyJwt:
    public = key.as_pem(private=False).decode()
    client = console.keys.register(AGENT, WORKSPACE, SYSTEM, public_key=public)
    return PrivateKeyJwt(client.prefix, key.as_pem(private=True), issuer=ISSUER, clock=ticking(clock))


def given(console: Console) -> int:
    return kinds(console).count(EventKind.TOKEN_ISSUED)


@tool
def refund_order(amount: str) -> str:
    """Pay it."""
    return f"paid {amount}"


@pytest.mark.parametrize("kind", OF_EACH_KIND)
def test_a_gate_runs_a_tool_for_an_agent_that_shows_no_key(console: Console, clock: MovableClock, kind: str) -> None:
    console.save_policy(a_document(Autonomy.AUTONOMOUS))
    mine = credentials(console, clock, OF_EACH_KIND[kind])

    with Gate(console.url, mine, clock=ticking(clock), attempts=1, timeout=5) as gate:
        ran = [gate.run(refund_order, {"amount": "1"}, confidence=1.0) for _ in range(2)]

    assert ran == ["paid 1"] * 2
    assert given(console) == 1


def test_it_works_without_blocking_as_well(console: Console, clock: MovableClock) -> None:
    with Client(console.url, credentials(console, clock), attempts=1) as client:
        pages = [asyncio.run(client.asend(client.items())) for _ in range(2)]

    assert [page.items for page in pages] == [(), ()]
    assert given(console) == 1


def test_a_token_that_the_console_refuses_is_replaced_without_a_word(console: Console, clock: MovableClock) -> None:
    mine = credentials(console, clock)
    with Client(console.url, mine, attempts=1) as client:
        client.send(client.submit(a_request(), idempotency_key="first"))
        clock.advance(TOKEN_LIFE + timedelta(seconds=2))
        console.keys.limit(mine.client_id, WORKSPACE, SYSTEM, limits=Limits(per_minute=1_000))  # forgets the key

        client.send(client.submit(a_request(), idempotency_key="second"))

    assert given(console) == 2


def test_a_revoked_agent_is_told_so(console: Console, clock: MovableClock) -> None:
    mine = credentials(console, clock)
    with Client(console.url, mine, attempts=1) as client:
        client.send(client.items())
        console.keys.revoke(mine.client_id, WORKSPACE, SYSTEM)

        with pytest.raises(ServerRefusedError, match="revoked") as refused:
            client.send(client.items())

    assert (refused.value.code, refused.value.status) == ("client_revoked", 401)


def test_with_several_public_keys_the_assertion_names_its_own(console: Console, clock: MovableClock) -> None:
    keys = {"old": OKPKey.generate_key("Ed25519"), "new": KEY}
    members = [{**key.as_dict(private=False), "kid": kid} for kid, key in keys.items()]
    client_id = console.keys.register(AGENT, WORKSPACE, SYSTEM, public_key=json.dumps({"keys": members})).prefix

    for kid, key in keys.items():
        mine = PrivateKeyJwt(client_id, key.as_pem(private=True), key_id=kid, issuer=ISSUER, clock=ticking(clock))
        with Client(console.url, mine, attempts=1) as client:
            client.send(client.items())

    assert given(console) == 2


class Flow:
    """One request on its way through the authentication, answered by the test."""

    def __init__(self, auth: TokenAuth) -> None:
        self._steps = auth.auth_flow(httpx2.Request("GET", f"{URL}/api/v1/policy"))
        self.sent = next(self._steps)

    def answer(self, status: int, body: object = None) -> None:
        self.sent = self._steps.send(httpx2.Response(status, json=body))

    @property
    def shown(self) -> str:
        return self.sent.headers.get("Authorization", "")


def test_a_token_is_used_until_a_fifth_of_its_life_is_left() -> None:
    seconds = [0.0]
    auth = TokenAuth(URL, MINE, clock=lambda: seconds[0])
    first = Flow(auth)
    assert (first.sent.method, first.sent.url.path) == ("POST", "/api/v1/oauth/token")
    first.answer(200, {"access_token": "one", "token_type": "Bearer", "expires_in": 600})
    assert first.shown == "Bearer one"

    seconds[0] = 479.0
    second = Flow(auth)
    seconds[0] = 480.0
    third = Flow(auth)

    assert second.shown == "Bearer one"
    assert third.sent.url.path == "/api/v1/oauth/token"


def test_a_refused_token_is_replaced_once_and_not_for_ever() -> None:
    flow = Flow(TokenAuth(URL, MINE))
    flow.answer(200, {"access_token": "one", "expires_in": 600})
    flow.answer(401)
    flow.answer(200, {"access_token": "two", "expires_in": 600})
    assert flow.shown == "Bearer two"

    with pytest.raises(StopIteration):
        flow.answer(401)


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (503, None, ServerAwayError, "503"),
        (429, {"error": "temporarily_unavailable"}, ServerAwayError, "429"),
        (401, {"error": "invalid_client", "code": "assertion_used"}, ServerRefusedError, "assertion_used"),
        (404, "nothing here", ServerRefusedError, "http_404"),
        (200, {"access_token": 1, "expires_in": 600}, AnswerUnreadableError, "no access token"),
        (200, {"access_token": "one"}, AnswerUnreadableError, "no access token"),
        (200, ["one"], AnswerUnreadableError, "no access token"),
    ],
)
def test_whatever_else_is_answered_keeps_the_gate_shut(
    status: int, body: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Flow(TokenAuth(URL, MINE)).answer(status, body)


def test_no_other_kind_of_key_is_taken_and_none_is_ever_shown() -> None:
    for wrong in ("", "sgn_0123456789ab_secret", KEY.as_pem(private=False), SECP256K1_PEM):
        with pytest.raises(ValueError, match="private key is"):
            PrivateKeyJwt("0123456789ab", wrong)

    assert repr(MINE) == "PrivateKeyJwt('0123456789ab')"
