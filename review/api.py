"""The door that machines come in by: the protocol of `agents.protocol` over HTTP, under ``/api/v1``."""

import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import parse_qsl
from uuid import UUID

import fastapi_offline
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from prometheus_client import REGISTRY, generate_latest
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from agents.canonical import NotCanonicalError, parse
from agents.credentials import ASSERTION_TYPE, GRANT_TYPE
from agents.protocol import (
    MAX_BODY_BYTES,
    MAX_WAIT_SECONDS,
    ActionPage,
    ActionRequest,
    ActionStatus,
    ConsumeRequest,
    DecisionType,
    NoteRequest,
    Outcome,
    Problem,
    Status,
)
from review.anchors import Anchors
from review.assertions import client_of
from review.errors import (
    ComeBackLaterError,
    IdempotencyKeyMissingError,
    KeyFault,
    KeyRefusedError,
    NoCheckpointError,
    RequestRefusedError,
    ReviewError,
    TokenFault,
    TokenRefusedError,
)
from review.governance import KeyRing
from review.intake import Intake, Submission, request_hash
from review.pace import Pace
from review.people import DEFAULT_WORKSPACE, AgentKey
from review.sealer import heartbeat
from review.signing import Receipts
from review.store import Store
from review.tokens import SCOPE, AccessToken

PROBLEM_JSON = "application/problem+json"
QUICK_BYTES = 32 * 1024
_IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
_JSON = re.compile(r"^application/(?:[a-z0-9.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 16
_NO_STORE = {"Cache-Control": "no-store"}
_log = logging.getLogger("signoff.api")

# What the protocol foresees; everything else is a bug.
_REFUSALS = (
    ReviewError,
    NotCanonicalError,
    ValidationError,
    RequestValidationError,
    HTTPException,
    ClientDisconnect,
)

M = TypeVar("M", bound=BaseModel)


class PolicyAnswer(BaseModel):
    """The policy in force, so that a hook can explain itself."""

    number: int
    document: dict[str, JsonValue]


class OAuthRefusal(BaseModel):
    """Why no access token is given (RFC 6749, section 5.2), with the stable code that refusals have here."""

    error: str
    error_description: str
    code: str


class KeySet(BaseModel):
    """Public keys as a JWK set (RFC 7517)."""

    keys: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Doors:
    """What the routes call."""

    store: Store
    intake: Intake
    keys: KeyRing
    receipts: Receipts
    pace: Pace


class _DirectRoute(APIRoute):
    """A route whose endpoint takes the request as it is: FastAPI describes it, and adds nothing to each call."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


class _Api(FastAPI):
    """The application, which hands what comes in greatest numbers to its endpoint directly.

    Between the mount and an endpoint stand Starlette's two middlewares, FastAPI's exit stacks and the routing: a
    quarter of what a submission costs at the door, for an endpoint that uses none of it.
    """

    direct: tuple[str, str, Callable[[Request], Awaitable[Response]]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if self.direct is None or scope["type"] != "http" or scope["method"] != self.direct[0]:
            await super().__call__(scope, receive, send)
            return
        _, path, endpoint = self.direct
        if scope["path"] != scope.get("root_path", "") + path:
            await super().__call__(scope, receive, send)
            return
        request = Request({**scope, "app": self}, receive)
        try:
            answer = await endpoint(request)
        except _REFUSALS as error:
            answer = await self._answer_to(error, request)
        except Exception as error:
            # Answered, and raised, so that the server hears of it too: as Starlette does.
            answer = await self._answer_to(error, request)
            await answer(scope, receive, send)
            raise
        await answer(scope, receive, send)

    async def _answer_to(self, error: Exception, request: Request) -> Response:
        handlers = self.exception_handlers
        handler = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
        return await cast("Awaitable[Response]", handler(request, error))


def make_api(doors: Doors) -> FastAPI:
    """Return the application to mount at ``/api``; its paths begin with ``/v1``."""
    api = _Api(
        title="Signoff",
        version="1",
        description="The desk where the uncertain actions of AI agents wait for a person.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
        # Requests carry agents' arguments; what leaves this process about them is for the house to say.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    _add_problem_handlers(api)
    _add_submission_routes(api, doors)
    _add_item_routes(api, doors)
    _add_execution_routes(api, doors)
    _add_public_routes(api, doors)
    _add_token_route(api, doors)
    _add_docs(api)
    return api


def _add_submission_routes(api: _Api, doors: Doors) -> None:
    async def submit_action(request: Request) -> Response:
        """Submit an action; the ``Idempotency-Key`` header is required, a repeat is answered 200."""
        bearer = _bearer(request)
        idempotency_key = request.headers.get("idempotency-key", "")
        if not _IDEMPOTENCY_KEY.match(idempotency_key):
            raise IdempotencyKeyMissingError
        body = await _json_body(request)

        def read() -> Submission:
            value = parse(body)
            return Submission(ActionRequest.model_validate(value), idempotency_key, request_hash(value))

        caller = doors.keys.at_hand(bearer)
        if caller is None:
            caller = await run_in_threadpool(doors.keys.recognise, bearer)
        if not doors.pace.counts(caller):
            await run_in_threadpool(doors.pace.refuse, caller)
        # A thread for each request would cost more than all of its work, so only what may take long gets one.
        submission = read() if len(body) <= QUICK_BYTES else await run_in_threadpool(read)
        status, is_repeat = await doors.intake.submit_soon(caller, submission)
        headers = {"Location": f"/api/v1/actions/{status.id}"}
        if is_repeat:
            headers["Idempotent-Replayed"] = "true"
        return _answer(status, status_code=200 if is_repeat else 201, headers=headers)

    api.router.add_api_route(
        "/v1/actions",
        submit_action,
        methods=["POST"],
        status_code=201,
        route_class_override=_DirectRoute,
        **_described(ActionStatus, takes=ActionRequest, also=(200,)),
    )
    api.direct = ("POST", "/v1/actions", submit_action)

    @api.get("/v1/actions", **_described(ActionPage))
    async def list_actions(
        request: Request,
        status: Annotated[Status | None, Query(description="only items that stand so")] = None,
        cursor: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
    ) -> Response:
        """List this agent's items, newest first."""
        return await _called(
            doors,
            request,
            lambda caller: doors.intake.statuses(caller, status=status, limit=limit, cursor=cursor),
        )


def _add_item_routes(api: FastAPI, doors: Doors) -> None:
    @api.get("/v1/actions/{item_id}", **_described(ActionStatus))
    async def read_action(
        request: Request,
        item_id: UUID,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds")] = 0,
        notes: Annotated[
            int | None, Query(ge=0, description="how many notes are known; with more of them nothing is waited for")
        ] = None,
    ) -> Response:
        """Read an item; with ``wait`` the answer comes as soon as the item changes, at the latest after that long."""
        bearer = _bearer(request)

        def status() -> ActionStatus:
            return doors.intake.status(doors.keys.recognise(bearer), item_id)

        def is_news(answer: ActionStatus) -> bool:
            return answer.status.is_final or (notes is not None and len(answer.notes) > notes)

        answer = await run_in_threadpool(status)
        if wait > 0 and not is_news(answer):
            async with doors.store.wakeups.expecting(item_id) as woken:
                answer = await run_in_threadpool(status)
                if not is_news(answer) and await woken(wait):
                    answer = await run_in_threadpool(status)
        return _answer(answer)

    @api.post("/v1/actions/{item_id}/cancel", **_described(ActionStatus))
    async def cancel_action(request: Request, item_id: UUID) -> Response:
        """Withdraw an item that nobody decided yet."""
        return await _called(doors, request, lambda caller: doors.intake.cancel(caller, item_id))

    @api.post("/v1/actions/{item_id}/notes", status_code=201, **_described(ActionStatus, takes=NoteRequest))
    async def add_note(request: Request, item_id: UUID) -> Response:
        """Answer a reviewer's question."""
        return await _told(
            doors,
            request,
            NoteRequest,
            lambda caller, note: doors.intake.add_note(caller, item_id, note.text),
            code=201,
        )


def _add_execution_routes(api: FastAPI, doors: Doors) -> None:
    @api.post("/v1/actions/{item_id}/consume", **_described(ActionStatus, takes=ConsumeRequest))
    async def consume_receipt(request: Request, item_id: UUID) -> Response:
        """Use up the permission for exactly these arguments: 200 once, then 409."""
        return await _told(
            doors,
            request,
            ConsumeRequest,
            lambda caller, body: doors.intake.consume(caller, item_id, body.receipt, body.args),
        )

    @api.post("/v1/actions/{item_id}/outcome", **_described(ActionStatus, takes=Outcome))
    async def report_outcome(request: Request, item_id: UUID) -> Response:
        """Report what happened when the action ran."""
        return await _told(
            doors,
            request,
            Outcome,
            lambda caller, outcome: doors.intake.report_outcome(caller, item_id, outcome),
        )


def _add_public_routes(api: FastAPI, doors: Doors) -> None:
    @api.get("/v1/policy", **_described(PolicyAnswer))
    async def read_policy(request: Request) -> Response:
        """Read the policy in force."""

        def answer(caller: AgentKey) -> PolicyAnswer:
            policy = doors.intake.policy(caller)
            return PolicyAnswer(number=policy.number, document=policy.document.model_dump(mode="json"))

        return await _called(doors, request, answer)

    @api.get("/v1/.well-known/jwks.json", responses={200: {"model": KeySet}})
    async def read_keys() -> Response:
        """Read the public keys that receipts verify with."""
        return JSONResponse(doors.receipts.jwks())

    @api.get(
        "/v1/checkpoint",
        response_class=PlainTextResponse,
        responses={
            200: {"description": "A signed note (c2sp.org/tlog-checkpoint).", "content": {"text/plain": {}}},
            **{code: {"model": Problem, "content": {PROBLEM_JSON: {}}} for code in (404, 422)},
        },
    )
    async def read_checkpoint(
        workspace: Annotated[str, Query(max_length=128, description="whose log")] = DEFAULT_WORKSPACE,
    ) -> Response:
        """Read the latest checkpoint of the audit log, to keep it where the house cannot reach it."""
        head = await run_in_threadpool(doors.store.read, lambda tx: tx.log_head(workspace))
        if head is None:
            raise NoCheckpointError
        headers = {"Last-Modified": format_datetime(head.at, usegmt=True), "Cache-Control": "no-cache"}
        return PlainTextResponse(head.note, headers=headers)


_TOKEN_BODY = {
    "type": "object",
    "required": ["grant_type", "client_assertion_type", "client_assertion"],
    "maxProperties": MOST_FIELDS,
    "properties": {
        "grant_type": {"const": GRANT_TYPE},
        "client_assertion_type": {"const": ASSERTION_TYPE},
        "client_assertion": {"type": "string", "description": "a JWT that the agent's private key signed"},
        "client_id": {"type": "string", "description": "the key's prefix; where given, the assertion's iss"},
        "scope": {"const": SCOPE},
    },
    "additionalProperties": {"type": "string"},
}


def _add_token_route(api: FastAPI, doors: Doors) -> None:
    refusals = {code: {"model": OAuthRefusal} for code in (400, 401, 413, 415, 429)}
    takes = {"required": True, "content": {_FORM: {"schema": _TOKEN_BODY}}}

    @api.post(
        "/v1/oauth/token",
        response_model=AccessToken,
        responses=refusals,  # type: ignore[arg-type]  # codes are whole numbers to FastAPI as well
        openapi_extra={"requestBody": takes},
    )
    async def issue_token(request: Request) -> Response:
        """Give an agent with a key pair of its own an access token (RFC 7523), each assertion once."""
        try:
            assertion = _asserted(await _form(request))
            token = await run_in_threadpool(lambda: doors.keys.exchange(assertion, admit=doors.pace.require))
        except ReviewError as error:
            return _oauth_refusal(error)
        return _answer(token, headers=_NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RequestRefusedError(415, "not_a_form", f"Send the body as Content-Type: {_FORM}.")
    try:
        fields = parse_qsl(
            (await _body(request)).decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise TokenRefusedError(TokenFault.REQUEST) from error
    if len(dict(fields)) < len(fields):
        raise TokenRefusedError(TokenFault.REQUEST)
    return dict(fields)


def _asserted(form: dict[str, str]) -> str:
    if (form.get("grant_type"), form.get("client_assertion_type")) != (GRANT_TYPE, ASSERTION_TYPE):
        raise TokenRefusedError(TokenFault.GRANT)
    if form.get("scope", SCOPE) != SCOPE:
        raise TokenRefusedError(TokenFault.SCOPE)
    assertion = form.get("client_assertion", "")
    if "client_id" in form and form["client_id"] != client_of(assertion):
        raise TokenRefusedError(TokenFault.UNVERIFIED)
    return assertion


def _oauth_refusal(error: ReviewError) -> Response:
    word = error.error if isinstance(error, TokenRefusedError) else "invalid_request"
    headers = dict(_NO_STORE)
    if isinstance(error, ComeBackLaterError):
        word, headers["Retry-After"] = "temporarily_unavailable", str(error.retry_after)
    refusal = OAuthRefusal(error=word, error_description=str(error), code=error.code)
    return _answer(refusal, status_code=error.status, headers=headers)


async def _called(doors: Doors, request: Request, use_case: Callable[[AgentKey], BaseModel]) -> Response:
    bearer = _bearer(request)
    return _answer(await run_in_threadpool(lambda: use_case(doors.keys.recognise(bearer))))


async def _told(
    doors: Doors,
    request: Request,
    model: type[M],
    use_case: Callable[[AgentKey, M], BaseModel],
    *,
    code: int = 200,
) -> Response:
    bearer = _bearer(request)
    value = await _strict_json(request)
    answer = await run_in_threadpool(lambda: use_case(doors.keys.recognise(bearer), model.model_validate(value)))
    return _answer(answer, status_code=code)


def _answer(model: BaseModel, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status_code=status_code, headers=headers, media_type="application/json")


def _bearer(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials:
        raise KeyRefusedError(KeyFault.MISSING)
    return credentials.strip()


async def _strict_json(request: Request) -> Any:  # noqa: ANN401 -- any JSON value
    return parse(await _json_body(request))


async def _json_body(request: Request) -> bytes:
    if not _JSON.match(request.headers.get("content-type", "")):
        raise RequestRefusedError(415, "not_json", "Send the body as Content-Type: application/json.")
    return await _body(request)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestRefusedError(413, "body_too_large", f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.")
    return bytes(body)


def _described(
    answers: type[BaseModel], *, takes: type[BaseModel] | None = None, also: tuple[int, ...] = ()
) -> dict[str, Any]:
    refusals = {
        code: {"model": Problem, "content": {PROBLEM_JSON: {}}}
        for code in (400, 401, 403, 404, 409, 410, 413, 415, 422, 429)
    }
    extra: dict[str, Any] = {"security": [{"agentKey": []}]}
    if takes is not None:
        schema = {"$ref": f"#/components/schemas/{takes.__name__}"}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if takes is ActionRequest:
        extra["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }
        ]
    responses = {**refusals, **{code: {"model": answers} for code in also}}
    return {"response_model": answers, "responses": responses, "openapi_extra": extra}


def _add_problem_handlers(api: FastAPI) -> None:
    async def review_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ReviewError)  # noqa: S101 -- registered for this error
        _note_refusal(request, error)
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, ComeBackLaterError) else {}
        if isinstance(error, KeyRefusedError):
            headers["WWW-Authenticate"] = 'Bearer realm="signoff"'
        return _problem(error.status, error.code, str(error), headers=headers)

    async def not_canonical(_: Request, error: Exception) -> Response:
        assert isinstance(error, NotCanonicalError)  # noqa: S101 -- registered for this error
        return _problem(400, error.code, str(error))

    async def not_valid(_: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationError | RequestValidationError)  # noqa: S101 -- registered for this error
        errors = [
            {
                "path": "/".join(str(part) for part in found["loc"]),
                "message": found["msg"],
                "type": found["type"],
            }
            for found in error.errors()[:20]
        ]
        listed = "; ".join(f"{found['path'] or 'the body'}: {found['message']}" for found in errors[:3])
        return _problem(422, "invalid_request", f"The request does not fit the protocol. {listed}", errors=errors)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this error
        codes = {404: "no_such_route", 405: "method_not_allowed"}
        code = codes.get(error.status_code, "refused")
        return _problem(error.status_code, code, str(error.detail), headers=_headers(api, request, error))

    async def disconnected(_: Request, __: Exception) -> Response:
        return _problem(400, "disconnected", "The request ended before its body did.")

    async def bug(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _problem(500, "internal_error", "Something went wrong on our side; nothing was permitted.")

    api.add_exception_handler(ReviewError, review_error)
    api.add_exception_handler(NotCanonicalError, not_canonical)
    api.add_exception_handler(ValidationError, not_valid)
    api.add_exception_handler(RequestValidationError, not_valid)
    api.add_exception_handler(HTTPException, http_error)
    api.add_exception_handler(ClientDisconnect, disconnected)
    api.add_exception_handler(Exception, bug)


def _note_refusal(request: Request, error: ReviewError) -> None:
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        _log.warning("%s %r was refused: %s", request.method, request.url.path, error.code)


def _headers(api: FastAPI, request: Request, error: HTTPException) -> dict[str, str]:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Each method of a path is a route of its own, and the first of them named only its own.
        matching = [route for route in api.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers["Allow"] = ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))
    return headers


def _problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> Response:
    problem = Problem(
        type=f"urn:signoff:problem:{code}",
        title=code.replace("_", " "),
        status=status,
        code=code,
        detail=detail,
        errors=errors,
    )
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=status, headers=headers, media_type=PROBLEM_JSON)


_DOCS_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Signoff API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""
_DOCS_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'


def _add_docs(api: FastAPI) -> None:
    @api.get("/v1/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_DOCS_PAGE)

    @api.get("/v1/docs/start.js", include_in_schema=False)
    async def docs_start() -> Response:
        return Response(_DOCS_START, media_type="text/javascript")

    assets = Path(fastapi_offline.__file__).parent / "static"
    api.mount("/v1/docs/assets", StaticFiles(directory=assets), name="docs-assets")

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = get_openapi(
                title=api.title,
                version=api.version,
                description=api.description,
                routes=api.routes,
                servers=[{"url": "/api"}],
            )
            bodies = [(model, "validation") for model in (ActionRequest, NoteRequest, ConsumeRequest, Outcome)]
            _, schemas = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]  # the mode is a literal
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas["$defs"])
            request = components["schemas"][ActionRequest.__name__]["properties"]
            request["allowed_decisions"]["contains"] = {"const": DecisionType.REJECT.value}
            components["securitySchemes"] = {
                "agentKey": {"type": "http", "scheme": "bearer", "description": "an agent key, or an access token"}
            }
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def health_routes(store: Store, anchors: Anchors) -> list[tuple[str, Callable[[Request], Awaitable[Response]]]]:
    """Return the paths and handlers outside ``/api``: ``/healthz``, ``/readyz`` and ``/metrics``."""

    async def healthz(_: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def readyz(_: Request) -> Response:
        if not await run_in_threadpool(store.is_ready):
            return Response("not ready\n", status_code=503, media_type="text/plain")
        # An alarm, and no reason to send the agents away: what they submit is kept, and sealed later.
        beat = await run_in_threadpool(heartbeat, store)
        alarm = "alarm: the audit log is not being sealed\n" if beat.is_missing else ""
        late = sum(anchor.is_alarming for anchor in await run_in_threadpool(anchors.of, DEFAULT_WORKSPACE))
        if late:
            # Anybody may ask, so no place is named.
            alarm += f"alarm: {late} of the audit log's anchors could not be given its checkpoint\n"
        return Response(f"ready\n{alarm}", media_type="text/plain")

    async def metrics(_: Request) -> Response:
        text = await run_in_threadpool(generate_latest, REGISTRY)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)]
