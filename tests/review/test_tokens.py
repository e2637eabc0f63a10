"""How an agent with a key pair of its own is let in: what it signs, what it gets for it, and when that ends."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from agents.credentials import ASSERTION_TYPE, GRANT_TYPE
from agents.protocol import Approve
from review.assertions import CLOCK_SKEW, LONGEST_LIFE, public_keys
from review.audit import SYSTEM, EventKind
from review.errors import (
    InvalidNameError,
    KeyNotRenewableError,
    KeyRefusedError,
    NotAllowedError,
    PublicKeyRefusedError,
    TokenRefusedError,
    TooManyRequestsError,
)
from review.governance import KEY_LIFE, KeyRing
from review.pace import Pace
from review.people import AgentKey, Limits
from review.tokens import TOKEN_LIFE, Tokens
from tests.builders import WORKSPACE, ada, root
from tests.clock import MovableClock
from tests.console import Console, served
from tests.review.steps import all_at_once, decide, events, kinds, submit
from tests.waiting import PATIENCE_SECONDS

ISSUER = "http://console.test"
KEY = OKPKey.generate_key("Ed25519")
RSA = RSAKey.generate_key(3072)
OTHER_KEY = OKPKey.generate_key("Ed25519")
SECOND = timedelta(seconds=1)
NOW = timedelta()

Signing = OKPKey | ECKey | RSAKey | OctKey


def pem(key: OKPKey | ECKey | RSAKey) -> str:
    return key.as_pem(private=False).decode()


def registered(house: Console, key: OKPKey | ECKey | RSAKey = KEY) -> AgentKey:
    return house.keys.register("support", WORKSPACE, SYSTEM, public_key=pem(key))


class Writer:
    """Writes assertions of a client as of the console's time, with what a test changes of them."""

    def __init__(self, client: AgentKey, now: Callable[[], float]) -> None:
        self.client = client
        self._now = now

    def __call__(
        self,
        key: Signing = KEY,
        *,
        header: dict[str, Any] | None = None,
        without: str = "",
        **claims: Any,  # noqa: ANN401 -- claims of any kind
    ) -> str:
        now = int(self._now())
        told = {
            **{
                "iss": self.client.prefix,
                "sub": self.client.prefix,
                "aud": ISSUER,
                "jti": f"jti-{time.monotonic_ns()}",
            },
            **{"iat": now, "exp": now + 60},
            **claims,
        }
        told.pop(without, None)
        named = {"alg": "Ed25519", "typ": "JWT", **(header or {})}
        return jws.serialize_compact(named, json.dumps(told), key, algorithms=[named["alg"]])


def writer(house: Console, clock: MovableClock) -> Writer:
    return Writer(registered(house), lambda: clock().timestamp())


def exchanged(house: Console, assertion: str) -> str:
    return house.keys.exchange(assertion, admit=house.pace.require).access_token


def refusal(house: Console, assertion: str) -> tuple[str, str, int]:
    with pytest.raises(TokenRefusedError) as refused:
        exchanged(house, assertion)
    return refused.value.code, refused.value.error, refused.value.status


def test_an_agent_that_proves_itself_is_let_in_as_by_a_key(either_house: Console, clock: MovableClock) -> None:
    write = writer(either_house, clock)

    token = exchanged(either_house, write())

    caller = either_house.keys.recognise(token)
    assert (caller.agent, caller.workspace, caller.prefix) == ("support", WORKSPACE, write.client.prefix)
    assert caller.last_used_at == clock()
    item = submit(either_house, caller)
    decide(either_house, Approve(), either_house.person)
    assert either_house.intake.status(caller, item.id).receipt
    assert kinds(either_house)[:2] == [EventKind.KEY_CREATED, EventKind.TOKEN_ISSUED]
    created, issued = (event.data for event in events(either_house)[:2])
    assert created["public_keys"] == [KEY.thumbprint()]
    assert (issued["prefix"], issued["kid"]) == (write.client.prefix, KEY.thumbprint())
    assert token not in repr(events(either_house))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "Ed25519"),
        pytest.param(KEY, "EdDSA", marks=pytest.mark.filterwarnings("ignore:EdDSA is deprecated")),
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (ECKey.generate_key("P-521"), "ES512"),
        (RSA, "RS256"),
        (RSA, "PS512"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_asymmetric_algorithm_is_taken_with_its_kind_of_key(
    house: Console, clock: MovableClock, key: OKPKey | ECKey | RSAKey, algorithm: str
) -> None:
    write = Writer(registered(house, key), lambda: clock().timestamp())

    assert house.keys.recognise(exchanged(house, write(key, header={"alg": algorithm}))).agent == "support"


def _shared_secret(write: Writer) -> str:
    """Sign with the public key as if it were a shared secret, which once opened many a library."""
    secret = OctKey.import_key(pem(KEY).replace("-----", "").encode())
    return write(secret, header={"alg": "HS256"})


def _unsigned(write: Writer) -> str:
    return "eyJhbGciOiJub25lIn0." + write().split(".")[1] + "."


def _twice(write: Writer) -> str:
    claims = '{"iss":"x","iss":"' + write.client.prefix + '"}'
    return jws.serialize_compact({"alg": "Ed25519"}, claims, KEY, algorithms=["Ed25519"])


def _crafted(write: Writer, **header: Any) -> str:  # noqa: ANN401 -- members of any kind
    """Write an assertion under a header that no library would write."""
    told = urlsafe_b64encode(json.dumps({"alg": "Ed25519", **header}).encode()).decode().rstrip("=")
    return f"{told}.{write().partition('.')[2]}"


Fault = Callable[[Writer], str]
MALFORMED = ("assertion_malformed", "invalid_client", 401)
UNVERIFIED = ("assertion_unverified", "invalid_client", 401)
ALGORITHM = ("assertion_algorithm", "invalid_client", 401)
AUDIENCE = ("assertion_audience", "invalid_client", 401)
HOSTILE: dict[str, tuple[Fault, tuple[str, str, int]]] = {
    "nothing": (lambda _: "", MALFORMED),
    "no JWT": (lambda _: "a.b.c", MALFORMED),
    "in other letters": (lambda _: "é.é.é", MALFORMED),
    "a JWT of five parts": (lambda write: write() + ".a.b", MALFORMED),
    "very long": (lambda write: write(filler="x" * 8_192), MALFORMED),
    "claims that are a list": (
        lambda _: jws.serialize_compact({"alg": "Ed25519"}, "[]", KEY, algorithms=["Ed25519"]),
        MALFORMED,
    ),
    "a claim that stands twice": (_twice, MALFORMED),
    "no algorithm": (_unsigned, ALGORITHM),
    "a shared secret": (_shared_secret, ALGORITHM),
    "a key of its own in the header": (
        lambda write: write(OTHER_KEY, header={"jwk": OTHER_KEY.as_dict(private=False)}),
        MALFORMED,
    ),
    "an address of keys in the header": (lambda write: write(header={"jku": "https://evil.example/"}), MALFORMED),
    "a receipt's type": (lambda write: write(header={"typ": "signoff-receipt+jwt"}), MALFORMED),
    "an access token's type": (lambda write: write(header={"typ": "at+jwt"}), MALFORMED),
    "a type that is a list": (lambda write: _crafted(write, typ=["JWT"]), MALFORMED),
    "a type that is an object": (lambda write: _crafted(write, typ={"JWT": 1}), MALFORMED),
    "an algorithm that is a list": (lambda write: _crafted(write, alg=["Ed25519"]), ALGORITHM),
    "a key's id that is a list": (lambda write: _crafted(write, kid=[KEY.thumbprint()]), UNVERIFIED),
    "extensions that must be known": (lambda write: _crafted(write, crit=["exp"]), MALFORMED),
    "another key": (lambda write: write(OTHER_KEY), UNVERIFIED),
    "another kind of key": (lambda write: write(ECKey.generate_key("P-256"), header={"alg": "ES256"}), UNVERIFIED),
    "another key's id": (lambda write: write(header={"kid": "another"}), UNVERIFIED),
    "another client": (lambda write: write(iss="0123456789ab", sub="0123456789ab"), UNVERIFIED),
    "a client with NUL": (lambda write: write(iss="\0", sub="\0"), UNVERIFIED),
    "an issuer that is a list": (lambda write: write(iss=[write.client.prefix]), MALFORMED),
    "an audience that is an object": (lambda write: write(aud={ISSUER: 1}), AUDIENCE),
    "times at the end of the calendar": (
        lambda write: write(iat=253402300700, exp=253402300799),
        ("assertion_early", "invalid_client", 401),
    ),
    "times before all time": (lambda write: write(iat=-(2**53) + 1, exp=-(2**53) + 2), MALFORMED),
    "another subject": (lambda write: write(sub="root"), UNVERIFIED),
    "no issuer": (lambda write: write(without="iss"), MALFORMED),
    "no subject": (lambda write: write(without="sub"), UNVERIFIED),
    "no audience": (lambda write: write(without="aud"), AUDIENCE),
    "another audience": (lambda write: write(aud="https://another.example"), AUDIENCE),
    "two audiences": (lambda write: write(aud=[ISSUER, "https://another.example"]), AUDIENCE),
    "no id": (lambda write: write(without="jti"), MALFORMED),
    "an id that is a number": (lambda write: write(jti=1), MALFORMED),
    "an empty id": (lambda write: write(jti=""), MALFORMED),
    "a very long id": (lambda write: write(jti="x" * 256), MALFORMED),
    "no time": (lambda write: write(without="iat"), MALFORMED),
    "no end": (lambda write: write(without="exp"), MALFORMED),
    "an end that is text": (lambda write: write(exp="tomorrow"), MALFORMED),
    "an end that is true": (lambda write: write(exp=True), MALFORMED),
    "an end beyond all time": (lambda write: write(exp=2**53 - 1), MALFORMED),
    "a start that is text": (lambda write: write(nbf="now"), MALFORMED),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_assertion_is_refused_and_leaves_no_trace(house: Console, clock: MovableClock, name: str) -> None:
    write, (assertion, expected) = writer(house, clock), HOSTILE[name]

    assert refusal(house, assertion(write)) == expected

    assert kinds(house) == [EventKind.KEY_CREATED]


@pytest.mark.parametrize(
    ("iat", "exp", "nbf", "expected"),
    [
        (NOW, LONGEST_LIFE, None, None),
        (NOW, LONGEST_LIFE + SECOND, None, "assertion_too_long"),
        (CLOCK_SKEW, CLOCK_SKEW + SECOND, None, None),
        (CLOCK_SKEW + SECOND, CLOCK_SKEW + 2 * SECOND, None, "assertion_early"),
        (NOW, SECOND, CLOCK_SKEW, None),
        (NOW, SECOND, CLOCK_SKEW + SECOND, "assertion_early"),
        (-LONGEST_LIFE, -CLOCK_SKEW + SECOND, None, None),
        (-LONGEST_LIFE, -CLOCK_SKEW, None, "assertion_expired"),
    ],
)
def test_an_assertion_counts_within_its_time_and_half_a_minute_of_skew(
    house: Console, clock: MovableClock, iat: timedelta, exp: timedelta, nbf: timedelta | None, expected: str | None
) -> None:
    write, now = writer(house, clock), int(clock().timestamp())
    clock.advance(timedelta(microseconds=-clock().microsecond))
    times = {"iat": iat, "exp": exp, **({} if nbf is None else {"nbf": nbf})}
    claims: dict[str, Any] = {name: now + int(offset.total_seconds()) for name, offset in times.items()}
    assertion = write(**claims)

    if expected is None:
        assert exchanged(house, assertion)
    else:
        assert refusal(house, assertion)[0] == expected


def test_an_assertion_counts_once_however_many_ask_at_once(either_house: Console, clock: MovableClock) -> None:
    assertion = writer(either_house, clock)()

    answers = all_at_once(6, lambda _: exchanged(either_house, assertion))

    assert [answer.code for answer in answers if isinstance(answer, TokenRefusedError)] == ["assertion_used"] * 5
    assert kinds(either_house).count(EventKind.TOKEN_ISSUED) == 1


def test_used_assertions_are_forgotten_once_they_would_be_too_old(either_house: Console, clock: MovableClock) -> None:
    write = writer(either_house, clock)
    first = write(jti="the same")
    exchanged(either_house, first)
    assert refusal(either_house, write(jti="the same"))[0] == "assertion_used"
    clock.advance(timedelta(minutes=1) + CLOCK_SKEW + SECOND)

    assert refusal(either_house, first)[0] == "assertion_expired"
    assert exchanged(either_house, write(jti="the same"))


def test_two_clients_may_use_the_same_id(house: Console, clock: MovableClock) -> None:
    first, second = writer(house, clock), writer(house, clock)

    assert exchanged(house, first(jti="1")) != exchanged(house, second(jti="1"))


def test_an_access_token_ends_after_ten_minutes_and_never_outlasts_its_key(house: Console, clock: MovableClock) -> None:
    write = writer(house, clock)
    clock.advance(KEY_LIFE - TOKEN_LIFE / 2)
    token = exchanged(house, write())
    clock.advance(TOKEN_LIFE / 2 - SECOND)
    assert house.keys.recognise(token).agent == "support"
    clock.advance(SECOND)

    with pytest.raises(KeyRefusedError, match="expired"):
        KeyRing(house.store, Tokens(house.receipts)).recognise(token)


def test_a_revoked_key_ends_its_tokens_at_once_and_gets_no_more(either_house: Console, clock: MovableClock) -> None:
    write = writer(either_house, clock)
    token = exchanged(either_house, write())
    either_house.keys.recognise(token)

    either_house.keys.revoke_by(root, write.client.prefix)

    with pytest.raises(KeyRefusedError, match="revoked"):
        either_house.keys.recognise(token)
    assert refusal(either_house, write()) == ("client_revoked", "invalid_client", 401)


def test_an_expired_key_gets_no_tokens(house: Console, clock: MovableClock) -> None:
    write = writer(house, clock)
    clock.advance(KEY_LIFE)

    assert refusal(house, write())[0] == "client_expired"


def test_nothing_else_that_the_house_signed_or_that_looks_like_it_is_an_access_token(
    house: Console, clock: MovableClock
) -> None:
    write = writer(house, clock)
    token = exchanged(house, write())
    caller = house.keys.recognise(token)
    item = submit(house, caller)
    decide(house, Approve(), house.person)
    receipt = house.intake.status(caller, item.id).receipt or ""
    head, _, rest = token.partition(".")
    payload = json.loads(jws.deserialize_compact(token, house.signing_key, algorithms=["Ed25519"]).payload or b"")
    header = {"alg": "Ed25519", "typ": "at+jwt", "kid": house.signing_key.thumbprint()}
    bearer = house.keys.create("support", WORKSPACE, SYSTEM)[0]

    def signed(key: OKPKey = house.signing_key, **changes: str) -> str:
        return jws.serialize_compact(header, json.dumps({**payload, **changes}), key, algorithms=["Ed25519"])

    assert house.keys.recognise(signed()) == caller
    for shown in (
        *(receipt, write(), f"{head}.{rest[:-4]}AAAA", f"sgn_{write.client.prefix}_{'A' * 43}"),
        *(signed(OTHER_KEY), signed(iss="https://another.example"), signed(aud=ISSUER), signed(scope="admin")),
        signed(client_id=bearer.prefix),
    ):
        with pytest.raises(KeyRefusedError):
            house.keys.recognise(shown)


def test_a_successor_is_registered_beside_the_key_that_goes(house: Console, clock: MovableClock) -> None:
    write = writer(house, clock)
    with pytest.raises(KeyNotRenewableError):
        house.keys.renew_by(root, write.client.prefix)

    after = Writer(registered(house, OTHER_KEY), lambda: clock().timestamp())

    assert house.keys.recognise(exchanged(house, write())).agent == "support"
    assert house.keys.recognise(exchanged(house, after(OTHER_KEY))).agent == "support"


def test_a_set_of_public_keys_is_told_apart_by_kid(house: Console, clock: MovableClock) -> None:
    keys = {"old": KEY, "new": OTHER_KEY}
    key_set = json.dumps({"keys": [{**key.as_dict(private=False), "kid": kid} for kid, key in keys.items()]})
    client = house.keys.register_by(root, "support", key_set)
    write = Writer(client, lambda: clock().timestamp())

    for kid, key in keys.items():
        assert exchanged(house, write(key, header={"kid": kid}))

    assert refusal(house, write(KEY, header={"kid": "new"})) == UNVERIFIED
    assert refusal(house, write(KEY)) == UNVERIFIED


REFUSED_KEYS: dict[str, Callable[[], str]] = {
    "nothing": str,
    "text": lambda: "ssh-ed25519 AAAA",
    "a broken PEM": lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "a private PEM": lambda: KEY.as_pem(private=True).decode(),
    "a private JWK": lambda: json.dumps(KEY.as_dict(private=True)),
    "a shared secret": lambda: json.dumps({"kty": "oct", "k": "c2VjcmV0"}),
    "a shared secret in a set": lambda: json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
    "an empty set": lambda: '{"keys": []}',
    "six keys": lambda: json.dumps({"keys": [{**KEY.as_dict(private=False), "kid": str(n)} for n in range(6)]}),
    "the same kid twice": lambda: json.dumps({"keys": [KEY.as_dict(private=False)] * 2}),
    "a key for encryption": lambda: json.dumps({**KEY.as_dict(private=False), "use": "enc"}),
    "a key for HS256": lambda: json.dumps({**KEY.as_dict(private=False), "alg": "HS256"}),
    "a kid that is a number": lambda: json.dumps({**KEY.as_dict(private=False), "kid": 1}),
    "RSA of 2,048 bits": lambda: json.dumps(RSAKey.generate_key(2048).as_dict(private=False)),
    "a curve that is not taken": lambda: (
        generate_private_key(SECP256K1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    ),
    "a key to agree on secrets": lambda: json.dumps(OKPKey.generate_key("X25519").as_dict(private=False)),
    "a curve that is a list": lambda: '{"kty": "EC", "crv": ["P-256"], "x": "AQ", "y": "AQ"}',
    "a kind that is a list": lambda: '{"kty": ["OKP"], "crv": "Ed25519", "x": "AAAA"}',
    "numbers that are numbers": lambda: '{"kty": "RSA", "n": 5, "e": 3}',
    "an exponent that is a list": lambda: json.dumps({**RSA.as_dict(private=False), "e": ["AQAB"]}),
    "numbers that are no key": lambda: '{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}',
    "a point beside its curve": lambda: '{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}',
}


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_what_is_no_public_key_for_signatures_is_not_registered(house: Console, name: str) -> None:
    with pytest.raises(PublicKeyRefusedError):
        house.keys.register_by(root, "support", REFUSED_KEYS[name]())

    assert kinds(house) == []


def test_public_keys_are_kept_without_anything_else_that_came_with_them() -> None:
    jwk = KEY.as_dict(private=False)

    kept = public_keys(json.dumps({**jwk, "kid": "a", "use": "sig", "x5u": "https://evil.example", "alg": "Ed25519"}))

    assert kept == ({**jwk, "kid": "a", "alg": "Ed25519"},)
    assert public_keys(pem(KEY)) == ({**jwk, "kid": KEY.thumbprint()},)


def test_only_who_manages_keys_registers_one(house: Console) -> None:
    with pytest.raises(NotAllowedError):
        house.keys.register_by(ada, "support", pem(KEY))
    with pytest.raises(InvalidNameError):
        house.keys.register_by(root, "a name", pem(KEY))


def test_an_agent_that_asks_for_tokens_all_the_time_is_held_to_its_pace(house: Console, clock: MovableClock) -> None:
    write = writer(house, clock)
    house.keys.limit_by(root, write.client.prefix, Limits(per_minute=2))
    house.pace = Pace(house.store, per_minute=100)
    for _ in range(2):
        exchanged(house, write())

    with pytest.raises(TooManyRequestsError):
        exchanged(house, write())

    assert kinds(house).count(EventKind.TOKEN_ISSUED) == 2


@pytest.fixture
def door(house: Console) -> Iterator[tuple[Console, httpx2.Client]]:
    with served(house), httpx2.Client(base_url=house.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        yield house, http


TOKEN = "/api/v1/oauth/token"


def form(assertion: str, **changes: str | None) -> dict[str, str]:
    fields = {"grant_type": GRANT_TYPE, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def test_the_door_answers_as_oauth_has_it(door: tuple[Console, httpx2.Client], clock: MovableClock) -> None:
    house, http = door
    write = writer(house, clock)

    given = http.post(TOKEN, data=form(write(), client_id=write.client.prefix, scope="actions"))
    refused = http.post(TOKEN, data=form(write(OTHER_KEY)))

    assert (given.status_code, given.headers["cache-control"]) == (200, "no-store")
    answer = given.json()
    token = answer.pop("access_token")
    assert answer == {"token_type": "Bearer", "expires_in": 600, "scope": "actions"}
    assert http.get("/api/v1/actions", headers={"Authorization": f"Bearer {token}"}).json()["items"] == []
    assert (refused.status_code, refused.headers["cache-control"]) == (401, "no-store")
    assert refused.json() == {
        "error": "invalid_client",
        "error_description": "No key that is registered for this client verifies the assertion.",
        "code": "assertion_unverified",
    }


WRONG_FORMS: dict[str, tuple[dict[str, str | None], int, str, str]] = {
    "a password": ({"grant_type": "password"}, 400, "unsupported_grant_type", "grant_unsupported"),
    "no grant": ({"grant_type": None}, 400, "unsupported_grant_type", "grant_unsupported"),
    "SAML": (
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        *(400, "unsupported_grant_type", "grant_unsupported"),
    ),
    "another scope": ({"scope": "actions admin"}, 400, "invalid_scope", "scope_unknown"),
    "no assertion": ({"client_assertion": None}, 401, "invalid_client", "assertion_malformed"),
    "another client's id": ({"client_id": "0123456789ab"}, 401, "invalid_client", "assertion_unverified"),
}


def test_wrong_forms_are_refused_in_the_words_of_oauth(
    door: tuple[Console, httpx2.Client], clock: MovableClock
) -> None:
    house, http = door
    write = writer(house, clock)
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    twice = urlencode([*form(write()).items(), ("scope", "actions"), ("scope", "actions")]).encode()
    sent = {
        "as JSON": ({"json": form(write())}, 415, "invalid_request", "not_a_form"),
        "twice": ({"content": twice, "headers": plain}, 400, "invalid_request", "token_request_malformed"),
        "no form": ({"content": b"\xff\xfe", "headers": plain}, 400, "invalid_request", "token_request_malformed"),
        "much": ({"content": b"a=" + b"x" * 300_000, "headers": plain}, 413, "invalid_request", "body_too_large"),
    }

    told = {name: http.post(TOKEN, **arguments) for name, (arguments, *_) in sent.items()}  # type: ignore[arg-type]  # of each its own
    for name, (changes, *_) in WRONG_FORMS.items():
        told[name] = http.post(TOKEN, data=form(write(), **changes))

    expected = {name: tuple(rest) for name, (_, *rest) in {**sent, **WRONG_FORMS}.items()}
    assert {
        name: (answer.status_code, answer.json()["error"], answer.json()["code"]) for name, answer in told.items()
    } == expected
    assert kinds(house) == [EventKind.KEY_CREATED]


def test_too_many_asked_for_is_told_when_to_come_back(door: tuple[Console, httpx2.Client], clock: MovableClock) -> None:
    house, http = door
    write = writer(house, clock)
    house.keys.limit(write.client.prefix, WORKSPACE, SYSTEM, limits=Limits(per_minute=1))
    http.post(TOKEN, data=form(write()))

    answer = http.post(TOKEN, data=form(write()))

    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
