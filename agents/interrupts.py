"""What a stopped LangGraph thread asks of a person, and how each shape of question wants to be answered.

Four shapes are known: the batched and the per-call question of LangChain's ``HumanInTheLoopMiddleware``, an
`ActionRequest` that a node of one's own gave to ``interrupt()``, and the older ``HumanInterrupt``, alone or in a list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import jsonschema_rs
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.types import Interrupt
from pydantic import BaseModel, Field, JsonValue, ValidationError

from .canonical import is_same
from .errors import GateError
from .protocol import ALL_DECISIONS, ActionRequest, Args, Decision, DecisionType, Edit, Reject, Respond

_REJECTED = "A person rejected this call, so it was not run. Do not make it again."


class InterruptUnreadableError(GateError):
    """The thread asks something that is no call to be reviewed."""

    code = "interrupt_unreadable"

    def __init__(self, interrupt_id: str, *, why: str) -> None:
        super().__init__(f"The interrupt {interrupt_id} asks nothing that can be put before a reviewer: {why}")
        self.interrupt_id = interrupt_id


class AnswerRefusedError(GateError):
    """What was decided is no answer that the interrupt takes, so the thread did not hear it."""

    code = "answer_refused"

    def __init__(self, interrupt_id: str, *, why: str) -> None:
        super().__init__(f"The interrupt {interrupt_id} does not take this decision, and was not answered: {why}")
        self.interrupt_id = interrupt_id


class Shape(StrEnum):
    """In which form a question is asked."""

    BATCHED = "batched"
    PER_CALL = "per_call"
    REQUEST = "request"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class AskedCall:
    """One call that an interrupt asks about; ``request`` is what a node of one's own said about it."""

    name: str
    args: Args
    allowed: tuple[DecisionType, ...]
    tool_call_id: str | None = None
    description: str | None = None
    request: ActionRequest | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt that waits for an answer, read."""

    id: str
    shape: Shape
    calls: tuple[AskedCall, ...]
    schema: Mapping[str, Any] | None = None


class _BatchedCall(BaseModel):
    name: str
    args: dict[str, JsonValue]
    description: str | None = None


class _ReviewConfig(BaseModel):
    action_name: str
    allowed_decisions: tuple[DecisionType, ...]


class _Batched(BaseModel):
    action_requests: tuple[_BatchedCall, ...] = Field(min_length=1)
    review_configs: tuple[_ReviewConfig, ...]


class _ToolApproval(BaseModel):
    type: Literal["tool_approval"]
    tool_call_id: str
    name: str
    args: dict[str, JsonValue]
    description: str | None = None


class _LegacyAction(BaseModel):
    action: str
    args: dict[str, JsonValue]


class _LegacyConfig(BaseModel):
    allow_accept: bool = False
    allow_edit: bool = False
    allow_respond: bool = False
    allow_ignore: bool = False


class _Legacy(BaseModel):
    action_request: _LegacyAction
    config: _LegacyConfig
    description: str | None = None


def question(interrupt: Interrupt[Any], messages: Sequence[BaseMessage]) -> Question:
    """Read an interrupt; the conversation tells which tool calls it is about, where it does not say so itself.

    Raises InterruptUnreadableError.
    """
    try:
        shape, calls = _read(interrupt.value, messages, interrupt.response_schema)
    except (ValidationError, KeyError) as error:
        raise InterruptUnreadableError(interrupt.id, why=f"{type(error).__name__}: {error}") from error
    schema = interrupt.response_schema
    return Question(interrupt.id, shape, calls, schema if isinstance(schema, dict) else None)


def answer(asked: Question, decisions: Sequence[Decision]) -> JsonValue:
    """Return what resumes the thread: one decision for each call, in the words and the form that were asked for.

    A rejection that is not allowed is said as a response. Raises AnswerRefusedError where a decision is not
    allowed, or the whole does not fit the interrupt's schema.
    """
    fitted = [_fitted(asked, call, decision) for call, decision in zip(asked.calls, decisions, strict=True)]
    said = _said(asked, fitted)
    if asked.schema is not None:
        flaw = next(jsonschema_rs.validator_for(dict(asked.schema)).iter_errors(said), None)
        if flaw is not None:
            raise AnswerRefusedError(asked.id, why=f"its schema says: {flaw.message}")
    return said


def last_proposal(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """Return the model's latest message that proposes calls."""
    return next((each for each in reversed(messages) if isinstance(each, AIMessage) and each.tool_calls), None)


def _read(value: Any, messages: Sequence[BaseMessage], schema: object) -> tuple[Shape, tuple[AskedCall, ...]]:  # noqa: ANN401 -- any value that a node interrupts with
    match value:
        case {"action_requests": _}:
            return Shape.BATCHED, _batched(_Batched.model_validate(value), messages)
        case {"type": "tool_approval"}:
            asked = _ToolApproval.model_validate(value)
            allowed = _types_in(schema)
            return Shape.PER_CALL, (AskedCall(asked.name, asked.args, allowed, asked.tool_call_id, asked.description),)
        case {"action_request": _}:
            return Shape.LEGACY, (_legacy(_Legacy.model_validate(value)),)
        case [_, *_]:
            return Shape.LEGACY, tuple(_legacy(_Legacy.model_validate(each)) for each in value)
    request = ActionRequest.model_validate(value)
    call = AskedCall(
        request.action.name,
        request.action.args,
        request.allowed_decisions,
        request.run.tool_call_id,
        request.description,
        request,
    )
    return Shape.REQUEST, (call,)


def _batched(asked: _Batched, messages: Sequence[BaseMessage]) -> tuple[AskedCall, ...]:
    allowed = {each.action_name: each.allowed_decisions for each in asked.review_configs}
    proposal = last_proposal(messages)
    proposed = list(proposal.tool_calls) if proposal else []
    calls = []
    for each in asked.action_requests:
        # The calls stand in the order in which the model made them; some of them were not asked about.
        while proposed and not is_same([proposed[0]["name"], proposed[0]["args"]], [each.name, each.args]):
            proposed.pop(0)
        tool_call_id = proposed.pop(0)["id"] if proposed else None
        calls.append(AskedCall(each.name, each.args, allowed[each.name], tool_call_id, each.description))
    return tuple(calls)


def _legacy(asked: _Legacy) -> AskedCall:
    permits = {
        DecisionType.APPROVE: asked.config.allow_accept,
        DecisionType.EDIT: asked.config.allow_edit,
        DecisionType.REJECT: asked.config.allow_ignore,
        DecisionType.RESPOND: asked.config.allow_respond,
    }
    allowed = tuple(decision for decision, is_allowed in permits.items() if is_allowed)
    return AskedCall(asked.action_request.action, asked.action_request.args, allowed, None, asked.description)


def _types_in(schema: object) -> tuple[DecisionType, ...]:
    match schema:
        case {"discriminator": {"mapping": dict() as mapping}}:
            named = set(mapping)
        case {"properties": {"type": {"const": str() as only}}}:
            named = {only}
        case _:
            return ALL_DECISIONS
    return tuple(decision for decision in ALL_DECISIONS if decision in named)


def _fitted(asked: Question, call: AskedCall, decision: Decision) -> Decision:
    if decision.type in call.allowed:
        return decision
    if isinstance(decision, Reject) and DecisionType.RESPOND in call.allowed:
        return Respond(message=decision.message or _REJECTED)
    allowed = ", ".join(call.allowed) or "nothing"
    raise AnswerRefusedError(asked.id, why=f"for {call.name} it allows {allowed}, not {decision.type}.")


def _said(asked: Question, decisions: Sequence[Decision]) -> JsonValue:
    if asked.shape is Shape.LEGACY:
        return [_legacy_answer(call, each) for call, each in zip(asked.calls, decisions, strict=True)]
    plain: list[JsonValue] = [each.model_dump(mode="json", exclude_none=True) for each in decisions]
    return {"decisions": plain} if asked.shape is Shape.BATCHED else plain[0]


def _legacy_answer(call: AskedCall, decision: Decision) -> JsonValue:
    match decision:
        case Edit(edited_action=action):
            return {"type": "edit", "args": {"action": action.name, "args": action.args}}
        case Respond(message=message):
            return {"type": "response", "args": message}
        case Reject(message=message):
            # To ignore says nothing; where the model may be told why, it is.
            is_heard = message is not None and DecisionType.RESPOND in call.allowed
            return {"type": "response", "args": message} if is_heard else {"type": "ignore", "args": None}
    return {"type": "accept", "args": None}
