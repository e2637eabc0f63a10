"""The client of the protocol: each call is written once, free of I/O, and sent blocking or asynchronously.

A call is a generator that yields what it needs next (an HTTP exchange, a pause, a local run) and returns its
parsed answer. `Client.send` and `Client.asend` do what is asked, so that retries and parsing exist once.
"""

import asyncio
import contextvars
import inspect
import random
import re
import time
import weakref
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from pydantic import BaseModel, ValidationError

from .canonical import NotCanonicalError, canonical, parse
from .credentials import PrivateKeyJwt, TokenAuth
from .errors import AnswerUnreadableError, GateError, RequestInvalidError, ServerAwayError, ServerRefusedError
from .protocol import (
    MAX_BODY_BYTES,
    ActionPage,
    ActionRequest,
    ActionStatus,
    Args,
    ConsumeRequest,
    NoteRequest,
    Outcome,
    Problem,
    Status,
)

ATTEMPTS = 6
MAX_PAUSE_SECONDS = 30.0

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 15.0

_UNSAID = "http_"

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request to make, with a path below ``/api/v1``; its `Reply` is sent into the generator."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = _ANSWER_SECONDS


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP."""

    status: int
    body: bytes
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """Run the permitted action, here and now, with these arguments; what the runner returns is sent back.

    ``key`` is what the call is known by downstream, ``way`` which of the runner's ways is taken (0 is the tool
    itself), ``seconds`` how long it may take; ``late`` hears of it where it comes back after that.
    """

    args: Args
    key: str | None = None
    way: int = 0
    seconds: float | None = None
    late: Callable[[Any], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Local:
    """Call this here, off the event loop where there is one; an awaitable that it returns is awaited."""

    call: Callable[[], Any]


Step = Exchange | Pause | Run | Local
Steps = Generator[Step, Any, T]


class Client:
    """A console's address and an agent's key, or its `PrivateKeyJwt`; calls are tried ``attempts`` times.

    Repeating is safe because a submission is known by its idempotency key and a receipt is consumed once.
    """

    def __init__(self, url: str, key: str | PrivateKeyJwt, *, attempts: int = ATTEMPTS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = f"{url!r} is not the http or https address of a console"
            raise ValueError(message)
        if isinstance(key, str) and not _VISIBLE_ASCII.fullmatch(key):
            message = "an agent's key is visible ASCII characters, without spaces or line ends"
            raise ValueError(message)
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._headers = {"Accept": "application/json"}
        self._auth: TokenAuth | None = None
        if isinstance(key, str):
            self._headers["Authorization"] = f"Bearer {key}"
        else:
            self._auth = TokenAuth(self.url, key)
        # Making the TLS context costs some 20 ms: once, and only where it is needed.
        self._verify = httpx2.create_ssl_context() if parts.scheme == "https" else False
        self._http = httpx2.Client(headers=self._headers, auth=self._auth, verify=self._verify)
        self._closer = weakref.finalize(self, self._http.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._closer()

    def submit(self, request: ActionRequest, *, idempotency_key: str) -> Steps[ActionStatus]:
        """File an action; again under the same key, it is answered with the same item."""
        if not _VISIBLE_ASCII.fullmatch(idempotency_key):
            raise RequestInvalidError(why="an idempotency key is 1 to 255 visible ASCII characters.")
        headers = {"Idempotency-Key": idempotency_key}
        exchange = Exchange("POST", "/actions", body_of(request), headers=headers)
        return _parsed(ActionStatus, (yield from self._answered(exchange)))

    def status(self, item_id: UUID, *, wait: float = 0.0, notes: int | None = None) -> Steps[ActionStatus]:
        """Read the item; with ``wait`` the answer comes once it is settled or noted, or after so many seconds.

        ``notes`` is how many notes are known; where there are more by now, the answer comes at once.
        """
        query = {"wait": f"{wait:.3f}"} if wait else {}
        if notes is not None:
            query["notes"] = str(notes)
        exchange = Exchange("GET", f"/actions/{item_id}", query=query, seconds=wait + _ANSWER_SECONDS)
        return _of_item(item_id, (yield from self._answered(exchange)))

    def items(self, *, status: Status | None = None, cursor: str | None = None, limit: int = 50) -> Steps[ActionPage]:
        """List this agent's items, newest first."""
        query = {"status": status, "cursor": cursor, "limit": str(limit)}
        exchange = Exchange("GET", "/actions", query={name: value for name, value in query.items() if value})
        return _parsed(ActionPage, (yield from self._answered(exchange)))

    def cancel(self, item_id: UUID) -> Steps[ActionStatus]:
        """Withdraw an item that nobody decided yet."""
        return _of_item(item_id, (yield from self._answered(Exchange("POST", f"/actions/{item_id}/cancel"))))

    def note(self, item_id: UUID, text: str, *, attempts: int | None = None) -> Steps[ActionStatus]:
        """Answer a reviewer's question; each time that it reaches the console, it is another note."""
        exchange = Exchange("POST", f"/actions/{item_id}/notes", body_of(NoteRequest(text=text)))
        return _of_item(item_id, (yield from self._answered(exchange, attempts)))

    def consume(self, item_id: UUID, *, receipt: str, args: Args) -> Steps[ActionStatus]:
        """Use up the receipt for these arguments; one caller, ever, gets an answer that is no refusal."""
        body = body_of(ConsumeRequest(receipt=receipt, args=args))
        return _of_item(item_id, (yield from self._answered(Exchange("POST", f"/actions/{item_id}/consume", body))))

    def report(
        self,
        item_id: UUID,
        outcome: Outcome,
        *,
        seconds: float = _ANSWER_SECONDS,
        attempts: int | None = None,
    ) -> Steps[ActionStatus]:
        """Tell what happened when the action ran; the same report again changes nothing."""
        exchange = Exchange("POST", f"/actions/{item_id}/outcome", body_of(outcome), seconds=seconds)
        return _of_item(item_id, (yield from self._answered(exchange, attempts)))

    def deliver(
        self, path: str, body: bytes, *, idempotency_key: str | None = None, seconds: float = _ANSWER_SECONDS
    ) -> Steps[None]:
        """Send what was made ready earlier, once; any answer but a refusal will do."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        yield from self._answered(Exchange("POST", path, body, headers=headers, seconds=seconds), attempts=1)

    def policy(self) -> Steps[dict[str, Any]]:
        """Read the policy in force."""
        return _object((yield from self._answered(Exchange("GET", "/policy"))))

    def key_set(self) -> Steps[dict[str, Any]]:
        """Read the public keys of receipts, a JWK set (RFC 7517)."""
        return _object((yield from self._answered(Exchange("GET", "/.well-known/jwks.json"))))

    def send(self, steps: Steps[T], run: Callable[[Run], Any] | None = None) -> T:
        """Take the steps one after the other, blocking; ``run`` takes those that run the action."""
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's value is typed by Steps[T] alone
            answer, error = None, None
            try:
                answer = self._taken(step, run)
            except BaseException as trouble:  # noqa: BLE001 -- the generator decides about it, and raises it
                error = trouble

    async def asend(self, steps: Steps[T], run: Callable[[Run], Awaitable[Any]] | None = None) -> T:
        """Take the steps one after the other without blocking the event loop.

        The connection lives as long as the call: an async client belongs to one event loop, a gate to none.
        """
        async with httpx2.AsyncClient(headers=self._headers, auth=self._auth, verify=self._verify) as http:
            answer: Any = None
            error: BaseException | None = None
            while True:
                try:
                    step = steps.send(answer) if error is None else steps.throw(error)
                except StopIteration as done:
                    return done.value  # type: ignore[no-any-return]  # a generator's value is typed by Steps[T] alone
                answer, error = None, None
                try:
                    answer = await self._ataken(step, http, run)
                except BaseException as trouble:  # noqa: BLE001 -- as in send
                    error = trouble

    def _taken(self, step: Step, run: Callable[[Run], Any] | None) -> Any:  # noqa: ANN401 -- it depends on the step
        match step:
            case Exchange():
                return self._exchanged(step)
            case Pause():
                time.sleep(step.seconds)
                return None
            case Run():
                return _runner(run)(step)
            case Local():
                return _called(step.call)

    async def _ataken(self, step: Step, http: httpx2.AsyncClient, run: Callable[[Run], Awaitable[Any]] | None) -> Any:  # noqa: ANN401 -- what a step is answered with depends on the step
        match step:
            case Exchange():
                return await self._aexchanged(http, step)
            case Pause():
                return await asyncio.sleep(step.seconds)
            case Run():
                return await _runner(run)(step)
            case Local():
                return await _acalled(step.call)

    def _answered(self, exchange: Exchange, attempts: int | None = None) -> Steps[Reply]:
        attempts = attempts or self._attempts
        for attempt in range(1, attempts + 1):
            try:
                reply: Reply = yield exchange
                trouble = _trouble(reply)
                if trouble is None:
                    return reply
                pause = _pause(reply, attempt)
            except ServerAwayError as error:
                trouble, pause = error, _backoff(attempt)
            if attempt == attempts or not is_passing(trouble):
                raise trouble
            yield Pause(pause)
        raise ServerAwayError(why="it was not even asked")

    def _exchanged(self, exchange: Exchange) -> Reply:
        try:
            response = self._http.request(**self._arguments(exchange))
        except httpx2.RequestError as error:
            raise self._away(error) from error
        return _reply(response)

    async def _aexchanged(self, http: httpx2.AsyncClient, exchange: Exchange) -> Reply:
        try:
            response = await http.request(**self._arguments(exchange))
        except httpx2.RequestError as error:
            raise self._away(error) from error
        return _reply(response)

    def _arguments(self, exchange: Exchange) -> dict[str, Any]:
        content = {"Content-Type": "application/json"} if exchange.body is not None else {}
        return {
            "method": exchange.method,
            "url": f"{self.url}/api/v1{exchange.path}",
            "params": exchange.query or None,
            "headers": {**exchange.headers, **content},
            "content": exchange.body,
            "timeout": httpx2.Timeout(exchange.seconds, connect=min(_CONNECT_SECONDS, exchange.seconds)),
        }

    def _away(self, error: httpx2.RequestError) -> ServerAwayError:
        return ServerAwayError(why=f"{self.url} cannot be reached ({type(error).__name__}: {error})")


def _runner(run: Callable[[Run], T] | None) -> Callable[[Run], T]:
    if run is None:
        message = "these steps run an action, but there is nothing to run it with"
        raise TypeError(message)
    return run


def _called(call: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever it returns
    answer = call()
    if not inspect.isawaitable(answer):
        return answer
    context = contextvars.copy_context()
    # In a thread of its own, because the one that blocks here may be running an event loop.
    with ThreadPoolExecutor(max_workers=1) as beside:
        return beside.submit(context.run, asyncio.run, _awaited(answer)).result()


async def _acalled(call: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever it returns
    answer = await asyncio.to_thread(call)
    return await answer if inspect.isawaitable(answer) else answer


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer


def _reply(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, response.content, response.headers.get("Retry-After"))


def body_of(model: BaseModel) -> bytes:
    """Return the bytes that a model is sent as. Raises RequestInvalidError."""
    try:
        body = canonical(model.model_dump(mode="json", exclude_defaults=True))
        parse(body)
    except (NotCanonicalError, ValueError) as error:
        raise RequestInvalidError(why=str(error)) from error
    if len(body) > MAX_BODY_BYTES:
        raise RequestInvalidError(why=f"it is {len(body)} bytes long; the limit is {MAX_BODY_BYTES}.")
    return body


def _object(reply: Reply) -> dict[str, Any]:
    try:
        value = parse(reply.body)
    except NotCanonicalError as error:
        raise AnswerUnreadableError(why=str(error)) from error
    if not isinstance(value, dict):
        raise AnswerUnreadableError(why="it is not a JSON object")
    return value


def _parsed(model: type[M], reply: Reply) -> M:
    value = _object(reply)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise AnswerUnreadableError(why=str(error)) from error


def _of_item(item_id: UUID, reply: Reply) -> ActionStatus:
    status = _parsed(ActionStatus, reply)
    if status.id != item_id:
        raise AnswerUnreadableError(why=f"it is about item {status.id}, not {item_id}")
    return status


def _trouble(reply: Reply) -> ServerAwayError | ServerRefusedError | None:
    if 200 <= reply.status < 300:
        return None
    if reply.status >= 500:
        return ServerAwayError(why=f"it answered {reply.status}")
    try:
        problem = Problem.model_validate(_object(reply))
    except (AnswerUnreadableError, ValidationError):
        return ServerRefusedError(f"{_UNSAID}{reply.status}", "The answer does not say why.", reply.status)
    return ServerRefusedError(problem.code, problem.detail, reply.status)


def is_passing(trouble: ServerAwayError | ServerRefusedError) -> bool:
    """Tell whether the same request may be answered otherwise a little later."""
    if isinstance(trouble, ServerAwayError):
        return True
    return trouble.status == httpx2.codes.TOO_MANY_REQUESTS or trouble.code == "in_flight"


def may_be_taken_later(trouble: GateError) -> bool:
    """Tell whether it is worth keeping what met this: the console is away, or what answered may not be the console."""
    if not isinstance(trouble, ServerRefusedError):
        return isinstance(trouble, ServerAwayError | AnswerUnreadableError)
    if trouble.status == httpx2.codes.CONTENT_TOO_LARGE:
        return False
    # Without a problem document somebody on the way refused; a key that is refused may be the wrong one for now.
    is_unsaid = trouble.code.startswith(_UNSAID)
    return is_passing(trouble) or is_unsaid or trouble.status == httpx2.codes.UNAUTHORIZED


def _backoff(attempt: int) -> float:
    ceiling = min(_LONGEST_BACKOFF_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return ceiling * random.uniform(0.75, 1.0)  # noqa: S311 -- spreads retries out, keeps no secret


def _pause(reply: Reply, attempt: int) -> float:
    asked = _seconds(reply.retry_after)
    return _backoff(attempt) if asked is None else min(max(asked, 0.0), MAX_PAUSE_SECONDS)


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    # An HTTP date is in GMT, also where its zone reads "-0000".
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
