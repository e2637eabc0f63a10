"""The sign-in routes: OpenID Connect providers, single-use links, and the opaque cookie that either ends in.

Authorization code with PKCE (RFC 7636, S256), state and nonce; the ID token is verified against the provider's keys;
logout at the provider where it offers it, and by it (OpenID Connect Back-Channel Logout 1.0).
"""

import asyncio
import base64
import hmac
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from pages.doorstep import door_page
from pages.rendering import Markup, element
from pages.requests import body_of, secret_of, session_cookie
from pages.services import services
from review.errors import LinkRefusedError
from review.outbound import MAX_ANSWER_BYTES, AddressRefusedError, DeliveryError, Outbound
from review.people import Person, Role, SignInProof
from review.sessions import ABSOLUTE_LIMIT
from review.settings import Provider, is_safe_address

TIMEOUT_S = 10.0
METADATA_LIFE_S = 3600.0
KEYS_PAUSE_S = 30.0
FLOW_LIFE = timedelta(minutes=10)
LEEWAY_S = 60
LOGOUT_TOKEN_LIFE_S = 600
AGAIN_WITHIN = timedelta(minutes=5)
# Signatures of the provider alone: what is symmetric, or no signature, is never taken.
_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_NO_STORE = {"Cache-Control": "no-store"}
_log = logging.getLogger("signoff.sign_in")


class Trouble(StrEnum):
    """Why nobody was signed in, in the words of whoever reads it."""

    AWAY = "The identity provider cannot be reached. Try again in a moment; if it lasts, tell whoever runs this desk."
    STRANGE = "The identity provider gave an answer that cannot be trusted. Tell whoever runs this desk."
    DECLINED = "The sign-in was cancelled, or the identity provider does not let you in here."
    STALE = "This sign-in was started too long ago, or in another browser. Start again."
    NOT_AGAIN = "The identity provider did not say that you signed in again just now, so nothing is confirmed by it."


class SignInError(Exception):
    """Nobody was signed in; ``why`` is for the reader, the message for the log, and neither holds a secret."""

    def __init__(self, why: Trouble, *, detail: str) -> None:
        super().__init__(detail)
        self.why = why


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in under way, kept in a cookie of the browser that began it.

    The cookie binds the answer to this browser (state), the ID token to this request (nonce), the code to whoever holds
    the verifier.
    """

    provider: str
    state: str
    nonce: str
    verifier: str
    to: str
    began_at: int
    is_again: bool

    @classmethod
    def begun(cls, provider: str, to: str, *, is_again: bool) -> "Flow":
        """Return a new one, its secrets drawn at random."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(provider, state, nonce, verifier, local_path(to), int(time.time()), is_again)

    def text(self) -> str:
        """Return it as a cookie's value."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def read(cls, text: str) -> "Flow | None":
        """Return what a cookie holds; None where it is none of ours."""
        try:
            flow = cls(**json.loads(base64.urlsafe_b64decode(text.encode())))
        except (ValueError, TypeError, RecursionError):
            return None
        kinds = (flow.provider, flow.state, flow.nonce, flow.verifier, flow.to)
        return flow if all(isinstance(kind, str) for kind in kinds) and isinstance(flow.began_at, int) else None

    @property
    def is_current(self) -> bool:
        """Tell whether it may still be answered."""
        return 0 <= time.time() - self.began_at < FLOW_LIFE.total_seconds()


def local_path(to: str) -> str:
    """Return where to go after the sign-in: a place in this console, whatever the address asked for."""
    parts = urlsplit(to)
    is_here = to.startswith("/") and not to.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return to if is_here and to.isprintable() and "\\" not in to else "/"


class ProviderClient:
    """One provider: what it publishes about itself, kept for a while, and what is asked of it."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._changing = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """Return the provider's discovery document (OpenID Connect Discovery 1.0). Raises SignInError."""
        async with self._changing:
            if self._metadata and time.monotonic() - self._metadata[0] < METADATA_LIFE_S:
                return self._metadata[1]
            url = f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await _fetched(url)
            self._require_sound(found)
            self._metadata = (time.monotonic(), found)
            return found

    def _require_sound(self, found: Mapping[str, Any]) -> None:
        if found.get("issuer") != self.provider.issuer:
            raise SignInError(Trouble.STRANGE, detail="its discovery document names another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe_address(str(found.get(name)), beside=self.provider.issuer):
                raise SignInError(Trouble.STRANGE, detail=f"its {name} is missing or not https")

    async def logout_address(self, id_token: str) -> str | None:
        """Return where the person can sign out of the provider as well; None where it offers no such thing."""
        address = str((await self.metadata()).get("end_session_endpoint") or "")
        if not is_safe_address(address, beside=self.provider.issuer):
            return None
        asked = {
            "id_token_hint": id_token,
            "client_id": self.provider.client_id,
            "post_logout_redirect_uri": f"{services().settings.issuer}/",
        }
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    async def authorization_address(self, flow: Flow) -> str:
        """Return where the browser is sent to sign in. Raises SignInError."""
        metadata = await self.metadata()
        extra: dict[str, str] = {"prompt": "login", "max_age": "0"} if flow.is_again else {}
        async with self._oauth() as client:
            address, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=flow.state,
                nonce=flow.nonce,
                code_verifier=flow.verifier,
                **extra,
            )
        return str(address)

    async def claims(self, flow: Flow, code: str) -> tuple[CodeIDToken, str]:
        """Exchange the code and return what the ID token says, verified, with the token itself. Raises SignInError."""
        metadata = await self.metadata()
        try:
            async with _reaching(metadata["token_endpoint"]), self._oauth() as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=flow.verifier, grant_type="authorization_code"
                )
        except (AuthlibBaseError, ValueError) as error:
            known = getattr(error, "error", None) or type(error).__name__
            raise SignInError(Trouble.STRANGE, detail=f"it refused the code ({known})") from error
        text = str(token.get("id_token") or "")
        verified = await self._verified(text)
        claims = CodeIDToken(
            verified.claims,
            verified.header,
            options={
                "iss": {"essential": True, "value": self.provider.issuer},
                "aud": {"essential": True, "value": self.provider.client_id},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": flow.nonce},
            },
            params={
                "nonce": flow.nonce,
                "client_id": self.provider.client_id,
                "access_token": token.get("access_token"),
            },
        )
        try:
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            detail = f"its ID token does not hold ({_named(error)})"
            raise SignInError(Trouble.STRANGE, detail=detail) from error
        return claims, text

    async def logged_out(self, logout_token: str) -> tuple[str | None, str | None]:
        """Return whose sessions are over, as (sub, sid), by a logout token. Raises SignInError."""
        verified = await self._verified(logout_token)
        claims = verified.claims
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.provider.issuer},
            aud={"essential": True, "value": self.provider.client_id},
            iat={"essential": True},
        )
        try:
            registry.validate(claims)
            if time.time() - float(claims["iat"]) > LOGOUT_TOKEN_LIFE_S:
                raise ValueError  # noqa: TRY301 -- one way out for every fault of the token
            if not isinstance(claims["events"], Mapping) or _LOGOUT_EVENT not in claims["events"] or "nonce" in claims:
                raise ValueError  # noqa: TRY301 -- as above
            sub, sid = claims.get("sub"), claims.get("sid")
            if not all(part is None or isinstance(part, str) for part in (sub, sid)) or not (sub or sid):
                raise ValueError  # noqa: TRY301 -- as above
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignInError(Trouble.STRANGE, detail=f"its logout token does not hold ({_named(error)})") from error
        return sub, sid

    async def _verified(self, text: str) -> jwt.Token:
        metadata = await self.metadata()
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = sorted(_ALGORITHMS.intersection(str(name) for name in offered))
        if not algorithms:  # To the library, none would be its own choice of them.
            raise SignInError(Trouble.STRANGE, detail="it signs by no algorithm that is taken here")
        for is_anew in (False, True):  # A key that is not known yet may have been published since.
            keys = await self._key_set(metadata["jwks_uri"], is_anew=is_anew)
            try:
                return jwt.decode(text, keys, algorithms=algorithms)
            except (JoseError, ValueError) as error:
                fault: Exception = error
        raise SignInError(Trouble.STRANGE, detail=f"its token does not verify ({_named(fault)})") from fault

    async def _key_set(self, url: str, *, is_anew: bool) -> KeySet:
        async with self._changing:
            age = time.monotonic() - self._keys[0] if self._keys else METADATA_LIFE_S
            if self._keys and age < (KEYS_PAUSE_S if is_anew else METADATA_LIFE_S):
                return self._keys[1]
            try:
                keys = KeySet.import_key_set(await _fetched(url))  # type: ignore[arg-type]  # what is no key set is refused by it
            except (JoseError, ValueError, TypeError, KeyError) as error:
                raise SignInError(Trouble.STRANGE, detail="its keys cannot be read") from error
            self._keys = (time.monotonic(), keys)
            return keys

    def _oauth(self) -> AsyncOAuth2Client:
        secret = self.provider.client_secret
        return AsyncOAuth2Client(
            client_id=self.provider.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=self.provider.scopes,
            redirect_uri=f"{services().settings.issuer}/sign-in/with/{self.provider.name}/callback",
            code_challenge_method="S256",
            transport=_outbound().transport(),
            follow_redirects=False,
            trust_env=False,
            timeout=TIMEOUT_S,
        )


def _outbound() -> Outbound:
    return Outbound.allowed_by(services().settings)


@asynccontextmanager
async def _reaching(url: str) -> AsyncIterator[None]:
    """Bound the time of an exchange with the provider, and tell what became of it in one error, SignInError."""
    host = urlsplit(url).hostname
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except (httpx2.HTTPError, TimeoutError) as error:
        raise SignInError(Trouble.AWAY, detail=f"{host} failed ({type(error).__name__})") from error
    except AddressRefusedError as error:
        raise SignInError(Trouble.STRANGE, detail=str(error)) from error
    except DeliveryError as error:
        raise SignInError(Trouble.AWAY, detail=str(error)) from error


async def _fetched(url: str) -> dict[str, Any]:
    """Return the JSON object at an address of the provider; redirects are not followed. Raises SignInError."""
    host = urlsplit(url).hostname
    async with (
        _reaching(url),
        httpx2.AsyncClient(transport=_outbound().transport(), trust_env=False, timeout=TIMEOUT_S) as client,
    ):
        answer = await client.get(url, headers={"Accept": "application/json"}, follow_redirects=False)
    if answer.status_code != httpx2.codes.OK:
        raise SignInError(Trouble.AWAY, detail=f"{host} answered with status {answer.status_code}")
    try:
        found = json.loads(answer.content)
    except ValueError as error:
        raise SignInError(Trouble.STRANGE, detail=f"{host} did not answer with JSON") from error
    if not isinstance(found, dict):
        raise SignInError(Trouble.STRANGE, detail=f"{host} did not answer with a JSON object")
    return found


def _named(error: Exception) -> str:
    return str(getattr(error, "error", None) or type(error).__name__)


def person_of(provider: Provider, claims: Mapping[str, Any]) -> Person:
    """Return who signed in: known by (iss, sub), called by a name, in the roles that the provider's groups bring."""
    sub = str(claims["sub"])
    called = (claims.get(name) for name in ("name", "preferred_username"))
    name = next((value for value in called if isinstance(value, str) and value.strip()), sub)
    roles = frozenset(Role(role) for group in _groups(provider, claims) for role in provider.roles.get(group, ()))
    return Person(provider.issuer, sub, name.strip()[:120], roles, provider.workspace)


def _groups(provider: Provider, claims: Mapping[str, Any]) -> Sequence[str]:
    if provider.role_claim is None:
        return ()
    value: Any = claims.get(provider.role_claim)
    if value is None:
        value = claims
        for part in provider.role_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    return [group for group in value if isinstance(group, str)] if isinstance(value, list) else ()


def proof_of(claims: Mapping[str, Any], id_token: str) -> SignInProof:
    """Return what the provider said of the sign-in; of one that does not say when it was, nothing is assumed."""
    at, sid = claims.get("auth_time"), claims.get("sid")
    is_told = isinstance(at, int | float) and not isinstance(at, bool)
    return SignInProof(
        datetime.fromtimestamp(float(at), UTC) if is_told and at is not None else None,
        sid if isinstance(sid, str) else None,
        id_token,
    )


def sign_in_path(provider: Provider, to: str, *, is_again: bool = False) -> str:
    """Return the address that begins a sign-in and leads back ``to`` a place in the console."""
    asked = {"to": to} | ({"again": "1"} if is_again else {})
    return f"/sign-in/with/{provider.name}?{urlencode(asked)}"


_clients: dict[str, ProviderClient] = {}


def _client(request: Request) -> ProviderClient | None:
    name = request.path_params["provider"]
    return next((_client_of(one) for one in services().settings.oidc_providers if one.name == name), None)


def _client_of(provider: Provider) -> ProviderClient:
    known = _clients.get(provider.name)
    if known is None or known.provider != provider:
        known = _clients[provider.name] = ProviderClient(provider)
    return known


async def _begin(request: Request) -> Response:
    client = _client(request)
    if client is None:
        return _no_provider()
    flow = Flow.begun(
        client.provider.name, request.query_params.get("to", "/"), is_again=request.query_params.get("again") == "1"
    )
    try:
        address = await client.authorization_address(flow)
    except SignInError as error:
        return _failed(client, error)
    answer = RedirectResponse(address, status_code=303, headers=_NO_STORE)
    _set_cookie(answer, _flow_cookie(flow.state), flow.text(), FLOW_LIFE)
    return answer


async def _finish(request: Request) -> Response:
    client = _client(request)
    if client is None:
        return _no_provider()
    asked = request.query_params
    name = _flow_cookie(asked.get("state", ""))
    try:
        flow = _answered(client.provider, request.cookies.get(name), asked)
        claims, id_token = await client.claims(flow, asked["code"])
        proof = proof_of(claims, id_token)
        if flow.is_again and not _is_just_now(proof.authenticated_at):
            raise SignInError(Trouble.NOT_AGAIN, detail="it was to sign the person in again, and did not say so")  # noqa: TRY301 -- one way out for every fault
    except SignInError as error:
        refused = _failed(client, error)
        _drop_cookie(refused, name)
        return refused
    secret = await run_in_threadpool(services().sessions.admit, person_of(client.provider, claims), proof)
    await _end_earlier(request)
    answer = RedirectResponse(flow.to, status_code=303, headers=_NO_STORE)
    _set_cookie(answer, session_cookie(), secret, ABSOLUTE_LIMIT)
    _drop_cookie(answer, name)
    return answer


def _answered(provider: Provider, kept: str | None, asked: Mapping[str, str]) -> Flow:
    """Return the flow that the provider's answer belongs to. Raises SignInError."""
    if "error" in asked:  # Not every provider sends the state along with it, and nothing follows from it.
        detail = f"it answered {asked['error'][:64]!r}"
        raise SignInError(Trouble.DECLINED, detail=detail)
    flow = Flow.read(kept) if kept else None
    if flow is None or not flow.is_current or flow.provider != provider.name:
        raise SignInError(Trouble.STALE, detail="the answer belongs to no sign-in of this browser")
    if not hmac.compare_digest(flow.state.encode(), asked.get("state", "").encode()):
        raise SignInError(Trouble.STALE, detail="the answer has another state")
    if asked.get("iss", provider.issuer) != provider.issuer:  # RFC 9207, where the provider sends it.
        raise SignInError(Trouble.STRANGE, detail="the answer is of another issuer")
    if not asked.get("code"):
        raise SignInError(Trouble.STRANGE, detail="the answer has no code")
    return flow


def _is_just_now(moment: datetime | None) -> bool:
    return moment is not None and datetime.now(UTC) - moment < AGAIN_WITHIN


async def _end_earlier(request: Request) -> None:
    """End the session that the browser had: each sign-in has its own, and only the last one's cookie is kept."""
    earlier = secret_of(request)
    if earlier:
        await run_in_threadpool(services().sessions.sign_out, earlier)


async def _back_channel_logout(request: Request) -> Response:
    client = _client(request)
    if client is None:
        return PlainTextResponse("There is no such provider.", status_code=404)
    body = await body_of(request, at_most=MAX_ANSWER_BYTES)
    if body is None:
        return PlainTextResponse("That is too much.", status_code=413)
    try:
        token = parse_qs(body.decode("ascii")).get("logout_token", [""])[0]
        sub, sid = await client.logged_out(token)
    except (SignInError, ValueError) as error:
        _log.warning("a logout by %s was refused: %s", client.provider.name, error)
        return PlainTextResponse("The logout token was refused.", status_code=400, headers=_NO_STORE)
    await run_in_threadpool(lambda: services().sessions.sign_out_everywhere(client.provider.issuer, sub=sub, sid=sid))
    return PlainTextResponse("", headers=_NO_STORE)


def _failed(client: ProviderClient, error: SignInError) -> Response:
    _log.warning("a sign-in with %s failed: %s", client.provider.name, error)
    return door_page(
        "You are not signed in",
        element("p", error.why.value),
        element("p", _way("Try again", sign_in_path(client.provider, "/"))),
        status=403,
    )


def _no_provider() -> Response:
    return door_page("There is no such provider", element("p", "The address is not one of this console."), status=404)


def _way(words: str, to: str) -> Markup:
    return element("a", words, href=to, class_="so-way-in")


def _flow_cookie(state: str) -> str:
    # One for each sign-in under way, so that two tabs do not get in each other's way.
    prefix = "__Host-signoff-flow" if services().settings.is_https else "signoff-flow"
    return f"{prefix}-{''.join(sign for sign in state[:8] if sign.isalnum() or sign in '-_')}"


def _set_cookie(answer: Response, name: str, value: str, life: timedelta) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=int(life.total_seconds()),
        path="/",
        secure=services().settings.is_https,
        httponly=True,
        samesite="lax",
    )


def _drop_cookie(answer: Response, name: str) -> None:
    answer.delete_cookie(name, path="/", secure=services().settings.is_https, httponly=True, samesite="lax")


async def _offer_sign_in(_: Request) -> Response:
    """Ask for a press before the link is used up, so that a link preview or a prefetch does not spend it."""
    return door_page(
        "Sign in",
        element("p", "Continue to the review desk on this device. The link works once."),
        element("form", element("button", "Sign in"), method="post"),
    )


async def _sign_in(request: Request) -> Response:
    try:
        if not services().settings.takes_links:
            raise LinkRefusedError  # noqa: TRY301 -- refused as any other that does not work
        secret = await run_in_threadpool(services().sessions.sign_in, request.path_params["secret"])
    except LinkRefusedError as error:
        return door_page("This link does not work any more", element("p", str(error)), status=error.status)
    await _end_earlier(request)
    answer = RedirectResponse("/", status_code=303, headers=_NO_STORE)
    _set_cookie(answer, session_cookie(), secret, ABSOLUTE_LIMIT)
    return answer


async def _confirm(request: Request) -> Response:
    secret = secret_of(request)
    if not await run_in_threadpool(services().sessions.confirm, secret):
        return door_page(
            "Sign in again", element("p", "Open a fresh sign-in link, or sign in with your provider."), status=403
        )
    return RedirectResponse(local_path(request.query_params.get("to", "/")), status_code=303, headers=_NO_STORE)


def way_to_sign_in_again(person: Person, to: str) -> Markup:
    """Return what the person presses to prove anew who they are, and come back ``to`` a place in the console."""
    for provider in services().settings.oidc_providers:
        if (provider.issuer, provider.workspace) == (person.iss, person.workspace):
            path = sign_in_path(provider, to, is_again=True)
            return element("a", "Sign in again", href=path, target="_self", class_="so-way-in")
    button = element("button", "It is still me", class_="so-way-in")
    return element("form", button, action=f"/sign-in/again?{urlencode({'to': to})}", method="post")


async def _sign_out(request: Request) -> Response:
    secret = secret_of(request)
    ended = await run_in_threadpool(services().sessions.sign_out, secret) if secret else None
    address = await _provider_logout(ended.person, ended.id_token) if ended and ended.id_token else None
    answer: Response = RedirectResponse("/", status_code=303)
    if address is not None:
        # A page of ours that leads on: the policy of form-action would stop a redirect to the provider itself.
        answer = door_page(
            "You are signed out",
            element("p", "You are signed out here. Sign out of the identity provider as well:"),
            element("p", _way("Go on", address)),
            leads_to=address,
        )
    _drop_cookie(answer, session_cookie())
    return answer


async def _provider_logout(person: Person, id_token: str) -> str | None:
    for provider in services().settings.oidc_providers:
        if (provider.issuer, provider.workspace) == (person.iss, person.workspace):
            try:
                return await _client_of(provider).logout_address(id_token)
            except SignInError as error:
                _log.warning("nobody could be signed out of %s: %s", provider.name, error)
    return None


def routes() -> list[Route]:
    """Return the routes to mount beside the console."""
    return [
        Route("/sign-in/with/{provider}", _begin, methods=["GET"]),
        Route("/sign-in/with/{provider}/callback", _finish, methods=["GET"]),
        Route("/sign-in/with/{provider}/logout", _back_channel_logout, methods=["POST"]),
        Route("/sign-in/again", _confirm, methods=["POST"]),
        Route("/sign-in/{secret}", _offer_sign_in, methods=["GET"]),
        Route("/sign-in/{secret}", _sign_in, methods=["POST"]),
        Route("/sign-out", _sign_out, methods=["POST"]),
    ]
