"""The wire protocol, version 1: what an agent sends to Signoff and what it hears back.

Every model is frozen and refuses unknown fields. Money and integers above 2**53 - 1 travel as strings, because the
digest is taken over RFC 8785 canonical JSON, which cannot hold them. Times are UTC, RFC 3339.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_WAIT_SECONDS = 60
MAX_SHORT_TEXT = 256
MAX_LONG_TEXT = 20_000
# The largest integer that every JSON reader takes as it is.
MAX_INTEGER = 2**53 - 1

Args = dict[str, JsonValue]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")]
ShortText = Annotated[str, StringConstraints(max_length=MAX_SHORT_TEXT)]
LongText = Annotated[str, StringConstraints(max_length=MAX_LONG_TEXT)]
DecimalText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,6})?$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER)]
Probability = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]


def sendable(text: str) -> str:
    """Return the text with a question mark for each half of a surrogate pair, which cannot be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Wire(BaseModel):
    """What crosses the wire: a frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Action(Wire):
    """A named thing to do, with its arguments (LangChain's ``Action``)."""

    name: Name
    args: Args


class ContextKind(StrEnum):
    """What an entry of the context is; it decides how the console shows it."""

    MESSAGE = "message"
    TOOL_RESULT = "tool_result"
    RECORD = "record"
    IMAGE = "image"
    DOCUMENT = "document"
    LINK = "link"


class ContextEntry(Wire):
    """One thing the agent saw before it proposed the action.

    ``content`` is plain text; of an ``image`` it is the picture's bytes in base64, of a ``record`` usually JSON text.
    ``trusted`` is false where anybody may have written it: a web page, an incoming e-mail, a file that a customer sent,
    and tool results that carry such text. What an action takes from nowhere else is put before a person. Null says
    that the kind tells: messages of the user, tool results and records are trusted, documents and links are not.
    """

    kind: ContextKind
    role: ShortText | None = None
    title: ShortText | None = None
    content: Annotated[str, StringConstraints(max_length=MAX_BODY_BYTES)]
    media_type: ShortText | None = None
    trusted: Annotated[bool, Field(strict=True)] | None = None


class DecisionType(StrEnum):
    """The four answers a reviewer can give, in LangChain's words."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"


class Approve(Wire):
    """Run the action exactly as it was proposed."""

    type: Literal["approve"] = "approve"


class Edit(Wire):
    """Run this action instead of the one that was proposed."""

    type: Literal["edit"] = "edit"
    edited_action: Action


class Reject(Wire):
    """Do not run the action; the message tells the agent why."""

    type: Literal["reject"] = "reject"
    message: LongText | None = None


class Respond(Wire):
    """Do not run the action; the message stands in for its result."""

    type: Literal["respond"] = "respond"
    message: Annotated[LongText, StringConstraints(min_length=1)]


Decision = Annotated[Approve | Edit | Reject | Respond, Field(discriminator="type")]


class Impact(Wire):
    """What is at stake, as the agent tells it; ``amount`` is a decimal string in ``currency`` (ISO 4217)."""

    amount: DecimalText | None = None
    currency: Currency | None = None
    reversible: Annotated[bool, Field(strict=True)] | None = None
    subject: ShortText | None = None


class Usage(Wire):
    """What proposing the action cost: tokens, and money as a decimal string."""

    model: ShortText | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cost: DecimalText | None = None
    currency: Currency | None = None


class Run(Wire):
    """Where the action came from in the agent's own framework."""

    framework: ShortText | None = None
    thread_id: ShortText | None = None
    run_id: ShortText | None = None
    interrupt_id: ShortText | None = None
    tool_call_id: ShortText | None = None
    traceparent: ShortText | None = None


class OnExpiry(StrEnum):
    """What happens to an item that nobody decided in time."""

    REJECT = "reject"
    APPROVE = "approve"


ALL_DECISIONS = (DecisionType.APPROVE, DecisionType.EDIT, DecisionType.REJECT, DecisionType.RESPOND)


_REJECT_MISSING = ("reject_missing", "allowed_decisions must contain reject: a reviewer can always say no")


class ActionRequest(Wire):
    """An action, how sure the agent is of it, why, and in what context.

    ``confidence`` is 0 to 1 or null; it can only lower what the agent may do alone. ``args_schema`` is JSON Schema
    2020-12. ``expires_in`` is in seconds. An ``observed`` action was done or left undone by the agent already: people
    judge it, nothing waits for them, and no permission ever comes of it.
    """

    action: Action
    confidence: Probability | None = None
    confidence_source: ShortText | None = None
    description: LongText | None = None
    rationale: LongText | None = None
    args_schema: dict[str, JsonValue] | None = None
    context: Annotated[tuple[ContextEntry, ...], Field(max_length=200)] = ()
    allowed_decisions: Annotated[tuple[DecisionType, ...], Field(min_length=1, max_length=4)] = ALL_DECISIONS
    impact: Impact = Impact()
    usage: Usage = Usage()
    run: Run = Run()
    expires_in: Annotated[int, Field(strict=True, ge=1, le=30 * 24 * 3600)] | None = None
    on_expiry: OnExpiry = OnExpiry.REJECT
    agent_version: ShortText | None = None
    prompt_version: ShortText | None = None
    metadata: Annotated[dict[ShortText, JsonValue], Field(max_length=50)] = {}
    observed: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _someone_can_say_no(self) -> "ActionRequest":
        if DecisionType.REJECT not in self.allowed_decisions:
            raise PydanticCustomError(*_REJECT_MISSING)
        return self


class Route(StrEnum):
    """What the policy answered."""

    EXECUTE = "execute"
    REVIEW = "review"
    DENY = "deny"


class Status(StrEnum):
    """Where a review item stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    SETTLED = "settled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Nothing can change the item's decision any more."""
        return self not in (Status.WAITING, Status.CLAIMED)


class Execution(StrEnum):
    """How far the permitted action has come."""

    NONE = "none"
    PERMITTED = "permitted"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Reason(Wire):
    """Why the policy answered as it did: a stable code and a sentence."""

    code: str
    text: str


class Note(Wire):
    """One entry of the thread between reviewer and agent."""

    author: Literal["reviewer", "agent"]
    text: LongText
    at: datetime


class NoteRequest(Wire):
    """The agent's answer to a reviewer's question."""

    text: Annotated[LongText, StringConstraints(min_length=1)]


class ActionStatus(Wire):
    """What the agent may know of its item; ``receipt`` is there while the action is permitted and not yet begun."""

    id: UUID
    status: Status
    route: Route
    reasons: tuple[Reason, ...]
    digest: Digest
    version: int
    decision: Decision | None = None
    receipt: str | None = None
    notes: tuple[Note, ...] = ()
    execution: Execution
    submitted_at: datetime
    expires_at: datetime
    policy_version: int


class ActionPage(Wire):
    """One page of an agent's items, newest first; ``next_cursor`` is null on the last."""

    items: tuple[ActionStatus, ...]
    next_cursor: str | None = None


class ConsumeRequest(Wire):
    """The receipt and the very arguments that the executor is about to run."""

    receipt: Annotated[str, StringConstraints(min_length=1, max_length=8192)]
    args: Args


class OutcomeStatus(StrEnum):
    """What happened when the action ran."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Outcome(Wire):
    """What happened when the action ran: its result or its error, and what running it cost.

    ``attempts`` is how often it was run within its one permission, where that was more than once; ``fallback`` names
    what ran in the tool's place.
    """

    status: OutcomeStatus
    result: JsonValue = None
    error: LongText | None = None
    usage: Usage = Usage()
    attempts: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = None
    fallback: ShortText | None = None


class Problem(BaseModel):
    """An RFC 9457 problem: ``code`` is stable for machines, ``detail`` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, Any]] | None = None
