"""What an agent shows of itself in place of a key: a signature of its own, and the access token that it gets for one.

OAuth 2.0 client credentials with ``private_key_jwt`` (RFC 6749, 7521, 7523): the private key never leaves the agent.
"""

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from .errors import AnswerUnreadableError, ServerAwayError, ServerRefusedError

GRANT_TYPE = "client_credentials"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_PATH = "/api/v1/oauth/token"  # noqa: S105 -- an address, and no secret

_ASSERTION_SECONDS = 60
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class PrivateKeyJwt:
    """An agent's client id and its private key (PEM: Ed25519, P-256, P-384, P-521 or RSA), used in place of a key.

    ``key_id`` is the ``kid`` under which the public half was registered; where it is None no assertion names one, which
    will do as long as one public key is registered. ``issuer`` is the console's public address where that is another
    one than the gate reaches it under. Raises ValueError for a key of another kind.
    """

    def __init__(
        self,
        client_id: str,
        private_key: str | bytes,
        *,
        key_id: str | None = None,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client_id = client_id
        self.issuer = issuer and issuer.rstrip("/")
        self._key, self._algorithm = _signing_key(private_key)
        self._key_id = key_id
        self._clock = clock

    def __repr__(self) -> str:
        return f"PrivateKeyJwt({self.client_id!r})"

    def assertion(self, audience: str) -> str:
        """Return a fresh assertion for this audience; it counts once, within a minute."""
        now = int(self._clock())
        header = {"alg": self._algorithm, "typ": "JWT", **({"kid": self._key_id} if self._key_id else {})}
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jws.serialize_compact(header, json.dumps(claims), self._key, algorithms=[self._algorithm])


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float


class TokenAuth(httpx2.Auth):
    """Lets each request to the console carry an access token, and gets the next one before that ends."""

    requires_response_body = True

    def __init__(self, url: str, credentials: PrivateKeyJwt, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._credentials = credentials
        self._clock = clock
        self._token: _Token | None = None

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request with a token that counts; with a fresh one where the console refuses the one at hand."""
        token = self._token
        if token is None or self._clock() >= token.renew_at:
            token = yield from self._fresh(request)
        request.headers["Authorization"] = f"Bearer {token.text}"
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            token = yield from self._fresh(request)
            request.headers["Authorization"] = f"Bearer {token.text}"
            yield request

    def _fresh(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, _Token]:
        form = {
            "grant_type": GRANT_TYPE,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._credentials.assertion(self._credentials.issuer or self._url),
        }
        asked_at = self._clock()
        response = yield httpx2.Request(
            "POST",
            f"{self._url}{TOKEN_PATH}",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(form).encode(),
            extensions=request.extensions,  # The time that the request itself may take.
        )
        text, seconds = _granted(response)
        # With a fifth of its life to go, so that no request meets its end on the way.
        self._token = _Token(text, asked_at + seconds * 0.8)
        return self._token


def _granted(response: httpx2.Response) -> tuple[str, float]:
    is_busy = response.status_code == httpx2.codes.TOO_MANY_REQUESTS
    if is_busy or response.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
        raise ServerAwayError(why=f"it answered {response.status_code} where access tokens are given")
    answer = _object(response)
    if response.status_code != httpx2.codes.OK:
        code, detail = (str(answer.get(name, "")) for name in ("code", "error_description"))
        raise ServerRefusedError(code or f"http_{response.status_code}", detail, response.status_code)
    text, seconds = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(text, str) or not isinstance(seconds, int | float):
        raise AnswerUnreadableError(why="it is no access token")
    return text, float(seconds)


def _object(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _signing_key(private_key: str | bytes) -> tuple[OKPKey | ECKey | RSAKey, str]:
    pem = private_key.encode() if isinstance(private_key, str) else private_key
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = "an agent's private key is a PEM without a password"
        raise ValueError(message) from error
    if isinstance(key, Ed25519PrivateKey):
        return OKPKey.import_key(pem), "Ed25519"
    if isinstance(key, RSAPrivateKey):
        return RSAKey.import_key(pem), "PS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return ECKey.import_key(pem), _CURVES[key.curve.name]
    message = "an agent's private key is of Ed25519, P-256, P-384, P-521 or RSA"
    raise ValueError(message)
