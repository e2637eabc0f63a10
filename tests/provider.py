"""An identity provider of the tests' own: OpenID Connect as it should be, or as a test needs it to be wrong."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.console import serving

CLIENT_ID = "signoff"
CLIENT_SECRET = "a secret of the client, 32 bytes long"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@cache
def a_key(kid: str) -> RSAKey:
    """Return the key of this name; making one takes a while."""
    return RSAKey.generate_key(2048, {"kid": kid})


@dataclass
class Provider:
    """What it says of whoever signs in, and how it says it; a test changes what it is about."""

    key: RSAKey = field(default_factory=lambda: a_key("first"))
    claims: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    signed: Callable[["Provider", dict[str, Any]], str] = field(default=lambda own, claims: own.signs(claims))
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def signs(self, claims: dict[str, Any]) -> str:
        """Return a token of these claims, signed with the provider's key."""
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def logout_token(self, **claims: Any) -> str:  # noqa: ANN401 -- any JSON value; None leaves a claim out
        """Return a logout token, as it should be but for these claims."""
        said = {"iss": self.url, "aud": CLIENT_ID, "iat": int(time.time()), "jti": secrets.token_hex(8)}
        said |= {"events": {LOGOUT_EVENT: {}}, "sub": "ada"}
        return self.signs({name: value for name, value in {**said, **claims}.items() if value is not None})

    def app(self) -> Starlette:
        """Return its endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _discovery(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "end_session_endpoint": f"{self.url}/logout",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                **self.metadata,
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> Response:
        said = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(said.get("code", ""), None)
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if asked is None or asked["redirect_uri"] != said.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        digest = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked.get("code_challenge_method") != "S256" or asked.get("code_challenge") != challenge:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "sub": "ada", "iat": now, "exp": now + 300, "auth_time": now}
        claims |= {"nonce": asked.get("nonce"), "name": "Ada Lovelace", **self.claims}
        token = self.signed(self, {name: value for name, value in claims.items() if value is not None})
        return JSONResponse({"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": token})


def unsigned(_: Provider, claims: dict[str, Any]) -> str:
    """Return the claims under ``alg: none``."""
    return _compact({"alg": "none"}, claims)


def signed_with_the_secret(_: Provider, claims: dict[str, Any]) -> str:
    """Return the claims signed with what the client and the provider share."""
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET))


def signed_by_another(own: Provider, claims: dict[str, Any]) -> str:
    """Return the claims signed with a key that the provider never published, under its key's name."""
    return jwt.encode({"alg": "RS256", "kid": own.key.kid}, claims, a_key("foreign"))


def altered(own: Provider, claims: dict[str, Any]) -> str:
    """Return a signed token whose claims were changed afterwards."""
    head, _, signature = own.signs(claims).split(".")
    return ".".join((head, _compact({}, {**claims, "sub": "grace"}).split(".")[1], signature))


def _compact(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims))
    return f"{'.'.join(parts)}."


@contextmanager
def provider_served() -> Iterator[Provider]:
    """Serve a provider until the context ends."""
    provider = Provider()
    with serving(provider.app()) as provider.url:
        yield provider
