"""The gate: an action is put before the policy and, in doubt, before a person; only what they permit is run.

The way of one action is written once, free of I/O (`Gate.steps`), and taken by a blocking or an async sender.
The gate fails closed: on any doubt it raises a GateError, and the action is not run.
"""

import json
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypedDict, TypeVar, Unpack
from uuid import UUID

from joserfc.jwk import OKPKey
from pydantic import JsonValue, ValidationError

from .answering import Answer, Answering
from .canonical import NotCanonicalError, action_digest, canonical
from .cards import Card
from .client import ATTEMPTS, Client, Pause, Run, Steps, body_of, may_be_taken_later
from .courier import Courier, outcome_report
from .credentials import PrivateKeyJwt
from .errors import (
    AlreadyConsumedError,
    EditRefusedError,
    GateError,
    KeySetError,
    NotPermittedError,
    PermissionOverError,
    ReceiptClaimError,
    ReceiptDigestError,
    RequestInvalidError,
    ServerRefusedError,
    UndecidedError,
)
from .execution import OvertimeError, Ran, RunPlan, Traffic, Way, arun_way, run_way, tried
from .protocol import (
    MAX_LONG_TEXT,
    MAX_WAIT_SECONDS,
    ActionRequest,
    ActionStatus,
    Args,
    ContextEntry,
    DecisionType,
    Edit,
    Execution,
    Impact,
    OnExpiry,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
    Route,
    Status,
    Usage,
    sendable,
)
from .receipts import receipt_key_id, receipt_keys, verify_receipt
from .spool import Spool

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.messages import ToolCall
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool

EDIT_NOTICE = (
    "A person changed this call before it ran, which was intended. "
    "Do not make your own call again and do not undo the change."
)

MAX_REMEMBERED = 1_000

# On these, nothing will ever come of the call any more, however often it is tried again. A thread that kept failing on
# them could never go on; so the model is told.
CLOSED = (AlreadyConsumedError, EditRefusedError, PermissionOverError)

_GRACE_SECONDS = 60.0
_SHORTEST_POLL_SECONDS = 1.0
_LAST_WORD_SECONDS = 2.0
_MAX_RESULT_BYTES = 64 * 1024

_logger = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K")
Said: TypeAlias = T | Callable[[Args], T]


class About(TypedDict, total=False):
    """What the agent tells about a call: each a value, or a function of the call's arguments that returns it.

    ``confidence`` is 0 to 1; None, or a function that fails, leaves the call to a person. A caller that may
    come back for the same call (after a crash, say) gives it an ``idempotency_key`` of its own: 1 to 255
    visible ASCII characters. A ``card`` says how the tool's calls look to a reviewer (`signoff.Card`), in place of what
    the schema of its arguments says under ``x-signoff-card``.
    """

    confidence: Said[float | None]
    confidence_source: Said[str | None]
    context: Said[Sequence[ContextEntry | Mapping[str, Any]]]
    impact: Said[Impact | Mapping[str, Any] | None]
    rationale: Said[str | None]
    description: Said[str | None]
    usage: Said[Usage | Mapping[str, Any] | None]
    metadata: Said[Mapping[str, JsonValue]]
    allowed_decisions: Said[Sequence[DecisionType | str]]
    expires_in: Said[int | None]
    on_expiry: Said[OnExpiry | str]
    agent_version: Said[str | None]
    prompt_version: Said[str | None]
    idempotency_key: Said[str]
    card: Card | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a guarded call is taken through the gate: how long it waits, how it is run, and who answers questions."""

    timeout: float | None = None
    plan: RunPlan = field(default_factory=RunPlan)
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An action on its way through the gate.

    ``check_edit`` raises EditRefusedError for arguments that the tool cannot run; ``outcome_of`` tells what
    the console shall hear of a result; ``ways`` are the names of the tool and of its fallbacks. ``is_models`` says
    that a model made the call and is told what became of it, also where a program would be by an error.
    """

    request: ActionRequest
    idempotency_key: str
    timeout: float | None
    check_edit: Callable[[Args], None]
    outcome_of: Callable[[Any], Outcome]
    plan: RunPlan = field(default_factory=RunPlan)
    ways: tuple[str, ...] = ()
    answering: Answering | None = None
    is_models: bool = False


@dataclass(frozen=True, slots=True)
class Permit:
    """What a person or the policy permits: these arguments, once, by a receipt that was verified.

    ``key`` is the receipt's ``jti``, under which whatever the tool calls shall act once.
    """

    item_id: UUID
    receipt: str
    args: Args
    key: str


@dataclass(frozen=True, slots=True)
class Told:
    """The action did not run: what the model is told instead. An answer of a person is no error."""

    text: str
    is_error: bool = True


class Gate:
    """One agent's gate: the console's address, the agent's key, and the keys that receipts are signed with.

    In place of a key that it shows, an agent may have a key pair of its own (`PrivateKeyJwt`).

    ``trusted_keys`` are the thumbprints (RFC 7638) of the console's keys, or its JWK set; where it is None
    the set is fetched at first use and trusted for the life of this object. A receipt of any other key keeps
    the gate shut, so after the console's key was changed a gate without pinned thumbprints is made anew.
    ``agent`` is the name that receipts must be made out to; where it is None the first receipt's is kept.

    ``wait`` is how many seconds one question to the console may stay open, ``timeout`` how many seconds a
    call waits for its decision before it is withdrawn; None waits until the item expires. ``clock`` tells the
    seconds since the epoch by which receipts expire.

    ``spool`` is a file, one for each agent, that keeps observations and outcomes while the console is away, at most
    16 MiB of them for 7 days; with None they are kept in memory, no more of them, and are gone with the process.
    """

    def __init__(  # noqa: PLR0913 -- the settings of a gate, all but the first two with a default
        self,
        url: str,
        key: str | PrivateKeyJwt,
        *,
        trusted_keys: Iterable[str] | Mapping[str, Any] | None = None,
        agent: str | None = None,
        wait: int = 30,
        timeout: float | None = None,
        attempts: int = ATTEMPTS,
        spool: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(trusted_keys, str):
            message = "trusted_keys is a list of thumbprints, not one of them"
            raise TypeError(message)
        self.client = Client(url, key, attempts=attempts)
        self._agent = agent
        self._wait = max(1, min(wait, MAX_WAIT_SECONDS))
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._traffic: dict[str, Traffic] = {}
        self.courier = Courier(self.client, Spool(spool, console=self.client.url))
        self._closer = weakref.finalize(self, self.courier.close)
        self._thumbprints: frozenset[str] | None = None
        self._keys: dict[str, OKPKey] | None = None
        if isinstance(trusted_keys, Mapping):
            self._keys = receipt_keys(trusted_keys)
        elif trusted_keys is not None:
            self._thumbprints = frozenset(trusted_keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the console, after a last try to tell it what it has not heard of yet."""
        self._closer()
        self.client.close()

    def guard(
        self,
        tool: "BaseTool",
        *,
        timeout: float | None = None,
        plan: RunPlan | None = None,
        answer: Answer | None = None,
        **about: Unpack[About],
    ) -> "BaseTool":
        """Return a tool of the same name, description and arguments that runs only what is permitted.

        It submits the call, waits for the decision, verifies and consumes the receipt, runs ``tool`` with the
        approved (perhaps edited) arguments and reports the outcome. A call that was rejected, answered,
        denied, expired or withdrawn after ``timeout`` seconds comes back as text for the model; a GateError
        is raised on any doubt, and an error of the tool is raised on. Arguments that the framework injects
        are passed on, never submitted.

        ``plan`` tells how the permitted call is run (for how long, again after which errors, what in its place).
        ``answer`` is asked, with the question and the call's arguments, what a reviewer wants to know before they
        decide; it returns the answer, or None where it has none, and may be a coroutine function.
        """
        from .langchain import GuardedTool

        return GuardedTool(tool, gate=self, about=about, terms=Terms(timeout, plan or RunPlan(), answer))

    def observe(
        self,
        tool: "BaseTool",
        *,
        instead: "str | Callable[..., str] | None" = None,
        **about: Unpack[About],
    ) -> "BaseTool":
        """Return a tool that files what the agent would do, for people to judge, and asks nobody's permission.

        The tool runs at once, exactly once, whatever becomes of the filing. Where ``instead`` is given it does not
        run at all: the model gets this text, or what the function returns for the call's arguments. Filing happens
        in the background and neither delays nor fails the call; while the console is away it waits in the spool.
        """
        from .langchain import ObservedTool

        return ObservedTool(tool, gate=self, about=about, instead=instead)

    def run(
        self,
        tool: "BaseTool",
        args: "dict[str, Any] | ToolCall",
        config: "RunnableConfig | None" = None,
        *,
        timeout: float | None = None,
        plan: RunPlan | None = None,
        answer: Answer | None = None,
        **about: Unpack[About],
    ) -> Any:  # noqa: ANN401 -- whatever the tool returns
        """Make one guarded call, blocking; ``args`` may be a whole tool call."""
        return self.guard(tool, timeout=timeout, plan=plan, answer=answer, **about).invoke(args, config)

    async def arun(
        self,
        tool: "BaseTool",
        args: "dict[str, Any] | ToolCall",
        config: "RunnableConfig | None" = None,
        *,
        timeout: float | None = None,
        plan: RunPlan | None = None,
        answer: Answer | None = None,
        **about: Unpack[About],
    ) -> Any:  # noqa: ANN401 -- whatever the tool returns
        """Make one guarded call without blocking the event loop; ``args`` may be a whole tool call."""
        return await self.guard(tool, timeout=timeout, plan=plan, answer=answer, **about).ainvoke(args, config)

    def middleware(
        self,
        *tools: str,
        timeout: float | None = None,
        plan: RunPlan | None = None,
        answer: Answer | None = None,
        untrusted: Collection[str] = (),
        **about: Unpack[About],
    ) -> "AgentMiddleware[Any, Any, Any]":
        """Return a middleware for LangChain's ``create_agent`` that guards these tools, or all if none is named.

        It does what `guard` does, to tools that the agent has already; it needs the package ``langchain``.
        List it after middlewares that exchange tools or their arguments, so that what it guards is what runs.
        The agent's conversation is told as the context, unless ``context`` is; ``untrusted`` names the tools whose
        results anybody may have written (mail, web pages), so that what a call takes from them alone is reviewed.
        """
        from .middleware import GateMiddleware

        terms = Terms(timeout, plan or RunPlan(), answer)
        return GateMiddleware(self, tools, about=about, terms=terms, untrusted=untrusted)

    def conduct(self, proposal: Proposal, ways: Sequence[Way]) -> Ran | Told:
        """Take a proposal through the gate; the ways are run at most as its plan allows, with what is permitted."""
        return _raised_on(self.client.send(self.steps(proposal), lambda step: run_way(step, ways)))

    async def aconduct(self, proposal: Proposal, ways: Sequence[Way]) -> Ran | Told:
        """Take a proposal through the gate; the ways are run at most as its plan allows, with what is permitted."""
        return _raised_on(await self.client.asend(self.steps(proposal), lambda step: arun_way(step, ways)))

    def steps(self, proposal: Proposal) -> Steps[Ran | Told]:
        """Lead one action from its submission to its outcome; raise GateError where anything is in doubt."""
        try:
            return (yield from self._led(proposal))
        except CLOSED as error:
            if not proposal.is_models:
                raise
            return told_of_closed(error, proposal.request.action.name)

    def _led(self, proposal: Proposal) -> Steps[Ran | Told]:
        plan, name = proposal.plan, proposal.request.action.name
        traffic = self._traffic_of(name)
        rest = traffic.rest(plan.breaker)
        if rest and not plan.fallbacks:
            return _told_out_of_order(name, rest, "It was not put before a person, and nothing was run for it now.")
        item = yield from self.filed(proposal)
        timeout = proposal.timeout if proposal.timeout is not None else self._timeout
        item = yield from self._decided(item, timeout, proposal.answering)
        told = told_instead(item, name)
        if told is not None:
            return told
        permit = yield from self.permitted(item, proposal)
        yield from traffic.paced(plan.rate)
        call = object()
        is_in_order = traffic.enter(plan.breaker, call)
        if not is_in_order and not plan.fallbacks:
            return _told_out_of_order(name, traffic.rest(plan.breaker), "It was permitted, but it was not run.")
        ran = yield from self._executed(permit, proposal, call, is_in_order=is_in_order)
        if isinstance(ran.error, OvertimeError):
            return _told_overtime(name, ran.error)
        return replace(ran, edited=permit.args) if isinstance(item.decision, Edit) else ran

    def filed(self, proposal: Proposal) -> Steps[ActionStatus]:
        """Submit the action; again under the same idempotency key it is the same item."""
        # Keys are pinned before the first submission, not when the receipt that they verify is there.
        if self._keys is None:
            yield from self._fetch_keys()
        return (yield from self.client.submit(proposal.request, idempotency_key=proposal.idempotency_key))

    def awaited(
        self, item: ActionStatus, seconds: float | None = None, answering: Answering | None = None
    ) -> Steps[ActionStatus]:
        """Wait for the decision, at most so many seconds; None waits until the item expires.

        Returns the item as it then stands, which may be undecided. Raises UndecidedError past its expiry.
        """
        began = time.monotonic()
        over = began + (item.expires_at - item.submitted_at).total_seconds() + _GRACE_SECONDS
        given_up = over if seconds is None else min(over, began + seconds)
        while is_undecided(item):
            if answering is not None:
                item = yield from answering.answered(item, self.client)
                if not is_undecided(item):
                    break
            asked = time.monotonic()
            if asked >= over:
                raise UndecidedError(item.id)
            if asked >= given_up:
                break
            patience = min(float(self._wait), given_up - asked)
            known = None if answering is None else len(item.notes)
            was, item = item, (yield from self.client.status(item.id, wait=patience, notes=known))
            unused = patience - (time.monotonic() - asked)
            if item == was and unused > 0:
                # A console that does not hold the question open is not asked in a tight loop.
                yield Pause(min(unused, _SHORTEST_POLL_SECONDS))
        return item

    def permitted(self, item: ActionStatus, proposal: Proposal) -> Steps[Permit]:
        """Return what the decided item permits, its receipt verified for exactly these arguments.

        Raises GateError where that is in doubt, EditRefusedError where the tool cannot run the edit.
        """
        args = _permitted_args(item, proposal)
        receipt, key = yield from self._verified_receipt(item, proposal.request, args)
        return Permit(item.id, receipt, args, key)

    def consumed(self, permit: Permit) -> Steps[None]:
        """Use up the permission, which nobody then can use again. Raises AlreadyConsumedError."""
        try:
            item = yield from self.client.consume(permit.item_id, receipt=permit.receipt, args=permit.args)
        except ServerRefusedError as refusal:
            if refusal.code == "already_consumed":
                raise AlreadyConsumedError(permit.item_id) from refusal
            raise
        if item.execution is not Execution.STARTED:
            raise NotPermittedError(permit.item_id, why="the console did not confirm that its receipt is consumed")

    def reported(self, item_id: UUID, outcome: Outcome, *, hurried: bool = False) -> Steps[None]:
        """Tell the console what happened, or let it be told once it is back. ``hurried`` tries once, briefly.

        Where the console refuses to hear it, the log tells it.
        """
        client = self.client
        try:
            if hurried:
                yield from client.report(item_id, outcome, seconds=_LAST_WORD_SECONDS, attempts=1)
            else:
                yield from client.report(item_id, outcome)
        except GateError as error:
            if may_be_taken_later(error):
                _logger.warning("The outcome of item %s (%s) is reported later: %s", item_id, outcome.status, error)
                self.courier.post(lambda: outcome_report(item_id, outcome), is_outcome=True)
            else:
                _logger.warning("The outcome of item %s (%s) was not reported: %s", item_id, outcome.status, error)

    def withdrawn(self, item_id: UUID) -> Steps[ActionStatus]:
        """Withdraw the item; where somebody decided it meanwhile, return it as it was decided."""
        try:
            return (yield from self.client.cancel(item_id))
        except ServerRefusedError as refusal:
            if refusal.code != "already_settled":
                raise
        return (yield from self.client.status(item_id))

    def _fetch_keys(self) -> Steps[None]:
        keys = receipt_keys((yield from self.client.key_set()))
        if self._thumbprints is not None:
            keys = {kid: key for kid, key in keys.items() if kid in self._thumbprints}
        if not keys:
            raise KeySetError(why="it holds no key" if self._thumbprints is None else "it holds no trusted key")
        with self._lock:
            if self._keys is None or self._thumbprints is not None:
                self._keys = keys

    def _traffic_of(self, tool: str) -> Traffic:
        with self._lock:
            return self._traffic.setdefault(tool, Traffic())

    def _decided(self, item: ActionStatus, timeout: float | None, answering: Answering | None) -> Steps[ActionStatus]:
        item = yield from self.awaited(item, timeout, answering)
        return (yield from self.withdrawn(item.id)) if is_undecided(item) else item

    def _verified_receipt(self, item: ActionStatus, request: ActionRequest, args: Args) -> Steps[tuple[str, str]]:
        if item.execution not in (Execution.NONE, Execution.PERMITTED):
            raise AlreadyConsumedError(item.id, item.execution)
        if item.receipt is None or item.execution is Execution.NONE:
            raise PermissionOverError(item.id)
        kid = receipt_key_id(item.receipt)
        if self._thumbprints and kid in self._thumbprints and kid not in (self._keys or {}):
            yield from self._fetch_keys()  # The console began to sign with another of the pinned keys.
        claims = verify_receipt(
            item.receipt,
            keys=self._keys or {},
            audience=self._agent,
            item_id=item.id,
            tool=request.action.name,
            args=args,
            now=self._clock(),
        )
        decision = item.decision.type if item.decision else "none"
        if claims.decision != decision:
            raise ReceiptClaimError(claim="decision", said=claims.decision, wanted=decision)
        if claims.original_digest != action_digest(request.action.name, request.action.args):
            raise ReceiptDigestError
        self._keep_agent(claims.aud)
        return item.receipt, str(claims.jti)

    def _keep_agent(self, name: str) -> None:
        with self._lock:
            if self._agent is None:
                self._agent = name
            elif self._agent != name:
                raise ReceiptClaimError(claim="audience", said=name, wanted=self._agent)

    def _executed(self, permit: Permit, proposal: Proposal, call: object, *, is_in_order: bool) -> Steps[Ran]:
        plan = proposal.plan
        traffic = self._traffic_of(proposal.request.action.name)

        def late(ran: Ran) -> None:
            outcome = _outcome(ran, proposal)
            if ran.error is None and outcome.status is not OutcomeStatus.SUCCEEDED:
                return  # A late error that the tool handled itself says no more than was said at its time.
            _logger.warning(
                "A run of item %s came back after its time; the console is told how it went.", permit.item_id
            )
            self.courier.post(lambda: outcome_report(permit.item_id, outcome), is_outcome=True)

        run = Run(permit.args, permit.key, seconds=plan.seconds, late=late)
        is_consumed, is_run = False, False
        try:
            yield from self.consumed(permit)
            is_consumed = True
            ran = yield from tried(plan, proposal.ways, traffic, run, is_in_order=is_in_order, call=call)
            is_run = True
        except GeneratorExit:
            raise
        except BaseException as trouble:
            # Stopped between the permission and the end: whether it ran is for a person to find out.
            if is_consumed or not isinstance(trouble, Exception):
                yield from self.reported(permit.item_id, _stopped(trouble), hurried=True)
            raise
        finally:
            if is_in_order and not is_run:
                traffic.left(plan.breaker, call=call)
        yield from self.reported(permit.item_id, _outcome(ran, proposal))
        return ran


def request_for(name: str, args: Args, about: About, **known: object) -> ActionRequest:
    """Return the request for one call; ``known`` are fields that the framework tells.

    Raises RequestInvalidError.
    """
    said: dict[str, Any] = {field: _said(value, args) for field, value in about.items() if field not in _OWN_WORDS}
    known["confidence_source"] = getattr(about.get("confidence"), "source", None)  # A source says what it is.
    given = {field: value for field, value in {**known, **said}.items() if value is not None}
    confidence = _confidence(about.get("confidence"), args)
    try:
        if about.get("card") is not None:
            schema = given.get("args_schema") or {"type": "object"}
            given["args_schema"] = {**schema, **Card.model_validate(about["card"]).keyword()}
        return ActionRequest.model_validate({"action": {"name": name, "args": args}, "confidence": confidence, **given})
    except ValidationError as error:
        # A ValidationError would be taken for bad arguments, and handed to the model.
        raise RequestInvalidError(why=str(error)) from error


def idempotency_key_for(about: About, args: Args) -> str | None:
    """Return the key that the caller gave to this call, if any."""
    key = _said(about.get("idempotency_key"), args)
    return None if key is None else str(key)


def remember(known: dict[K, Proposal], key: K, proposal: Proposal) -> None:
    """Keep a proposal among the latest; the oldest give way, and are filed again under their keys if need be."""
    known.pop(key, None)
    known[key] = proposal
    while len(known) > MAX_REMEMBERED:
        del known[next(iter(known))]


def is_undecided(item: ActionStatus) -> bool:
    """Tell whether the action still waits for a person."""
    return item.route is Route.REVIEW and not item.status.is_final


def told_instead(item: ActionStatus, tool: str) -> Told | None:
    """Return what the model is told where the decided item permits nothing; None where it does."""
    if item.route is Route.DENY:
        reasons = " ".join(reason.text for reason in item.reasons)
        return Told(
            f"The policy does not allow this call to {tool}, so it was not run. {reasons} "
            "Do not make this call again and do not seek the same effect in another way."
        )
    if item.status is Status.EXPIRED:
        return Told(
            f"Nobody decided on this call to {tool} before it expired, so it was not run. "
            "Do not make this call again by yourself; tell the user that it was not done."
        )
    if item.status is Status.CANCELLED:
        return Told(
            f"Nobody decided on this call to {tool} in time, so it was withdrawn and not run. "
            "Do not make this call again by yourself; tell the user that it was not done."
        )
    match item.decision:
        case Reject(message=message):
            why = f"The reviewer says: {message}" if message else "The reviewer gave no reason."
            return Told(
                f"A person reviewed this call to {tool} and rejected it, so it was not run. {why}\n"
                "Do not make this call again and do not seek the same effect in another way, unless the "
                "reviewer's words ask for it."
            )
        case Respond(message=message):
            return Told(
                f"{tool} was not run; a person answered in its place: {message}\n"
                "Go on with this answer as if it were the result, and do not make this call again.",
                is_error=False,
            )
    return None


def told_of_closed(error: GateError, tool: str) -> Told:
    """Return what the model is told where nothing will ever come of its call any more; ``error`` is one of `CLOSED`."""
    match error:
        case AlreadyConsumedError(execution=Execution.SUCCEEDED):
            return Told(
                f"This call to {tool} was run before and succeeded, but the agent was interrupted and its result is "
                "not known here. Do not make this call again."
            )
        case AlreadyConsumedError(execution=Execution.FAILED):
            return Told(f"This call to {tool} was run before and failed. It was not run again.")
        case AlreadyConsumedError():
            return Told(
                f"This call to {tool} was permitted, but the agent was interrupted while it ran, and nobody knows yet "
                "whether it took effect. Do not make it again and do not seek the same effect in another way; tell the "
                "user that a person looks into it."
            )
        case PermissionOverError():
            return Told(
                f"This call to {tool} was permitted, but the permission ran out before the agent used it, so it was "
                "not run. If it is still needed, make it again; it will be reviewed again."
            )
    return Told(f"{error} So the call was not run.")


def told_of_edit(tool: str, edited: Args) -> str:
    """Return what the model is told before the result of a call that a person changed."""
    # The conversation keeps the call that the model made; without a word it would take the edit for an error.
    return f"{EDIT_NOTICE} What ran is {tool} with {json.dumps(edited, ensure_ascii=False)}."


def _told_out_of_order(tool: str, rest: float, what: str) -> Told:
    return Told(
        f"{tool} is out of order: its latest calls failed. {what} "
        f"Do not make this call again within the next {max(1, math.ceil(rest))} seconds; "
        "go on without it, or tell the user that it was not done."
    )


def _told_overtime(tool: str, overtime: OvertimeError) -> Told:
    return Told(
        f"{tool} was run, but did not come back within {overtime.seconds:g} seconds, and nobody knows yet whether it "
        "took effect. Do not make this call again and do not seek the same effect in another way; tell the user that "
        "a person looks into it."
    )


def succeeded(result: Any) -> Outcome:  # noqa: ANN401 -- whatever a tool returns
    """Return the outcome that tells of a result: as it is where it is small JSON, else as cut text."""
    try:
        if len(canonical(result)) <= _MAX_RESULT_BYTES:
            outcome = Outcome(status=OutcomeStatus.SUCCEEDED, result=result)
            body_of(outcome)  # A result that is JSON by itself may be nested too deep for the report.
            return outcome
    except (NotCanonicalError, ValidationError, RequestInvalidError):
        pass
    return Outcome(status=OutcomeStatus.SUCCEEDED, result=_text(result))


def failed(error: object) -> Outcome:
    """Return the outcome that tells of an error."""
    return Outcome(status=OutcomeStatus.FAILED, error=_text(error))


_OWN_WORDS = ("card", "confidence", "idempotency_key")


def _said(value: Any, args: Args) -> Any:  # noqa: ANN401 -- any field of About
    return value(dict(args)) if callable(value) else value


def _confidence(said: Said[float | None] | None, args: Args) -> float | None:
    try:
        value = _said(said, args)
        confidence = None if value is None else float(value)
    except Exception:
        _logger.warning("The confidence could not be computed; a person decides.", exc_info=True)
        return None
    if confidence is not None and not 0.0 <= confidence <= 1.0:
        _logger.warning("The confidence %s is not between 0 and 1; a person decides.", confidence)
        return None
    return confidence


def _permitted_args(item: ActionStatus, proposal: Proposal) -> Args:
    action = proposal.request.action
    if item.decision is None:
        raise NotPermittedError(item.id, why="it carries no decision")
    if not isinstance(item.decision, Edit):
        return action.args
    edited = item.decision.edited_action
    if edited.name != action.name:
        raise EditRefusedError(action.name, why=f"it names another tool, {edited.name}.")
    proposal.check_edit(edited.args)
    return edited.args


def _outcome(ran: Ran, proposal: Proposal) -> Outcome:
    tried_more = {"attempts": ran.attempts} if ran.attempts > 1 else {}
    outcome = _plain_outcome(ran, proposal).model_copy(update={**tried_more, "fallback": ran.fallback})
    return outcome.model_copy(update={"status": OutcomeStatus.UNKNOWN}) if ran.is_doubtful else outcome


def _stopped(trouble: BaseException) -> Outcome:
    why = "The agent was interrupted."
    if isinstance(trouble, Exception):
        why = f"The run could not be followed to its end: {type(trouble).__name__}: {trouble}"
    return Outcome(status=OutcomeStatus.UNKNOWN, error=_text(why))


def _plain_outcome(ran: Ran, proposal: Proposal) -> Outcome:
    if ran.error is not None:
        return failed(f"{type(ran.error).__name__}: {ran.error}")
    try:
        return proposal.outcome_of(ran.result)
    except Exception:
        # The action ran; that its result cannot be described must not make it look as if it had not.
        _logger.warning("The result of %s cannot be described.", proposal.request.action.name, exc_info=True)
        return Outcome(status=OutcomeStatus.SUCCEEDED)


def _raised_on(answer: Ran | Told) -> Ran | Told:
    if isinstance(answer, Ran) and answer.error is not None and not answer.is_handled:
        raise answer.error
    return answer


def _text(value: object) -> str:
    return sendable(str(value)[:MAX_LONG_TEXT])
