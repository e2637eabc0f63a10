"""Labels: what the agent proposed, what the person decided, and the rows that models learn from."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from agents.canonical import action_digest, is_same
from agents.cards import KEYWORD
from agents.protocol import Action, ContextEntry, ContextKind, DecisionType, Edit, Reject, Respond
from review.items import DecisionRecord, Purpose, ReasonCode, ReviewItem
from review.masking import Veil, masked_text

SHARD_BYTES = 4 * 1024 * 1024

_ROLES = {
    **dict.fromkeys(("user", "customer", "human", "client"), "user"),
    **dict.fromkeys(("assistant", "agent", "ai", "model"), "assistant"),
    **dict.fromkeys(("tool", "function"), "tool"),
    "system": "system",
}

Row = dict[str, Any]


class Verdict(StrEnum):
    """What a decision says of the proposal."""

    CORRECT = "correct"  # Approved as it was.
    WRONG_ARGS = "wrong_args"  # The right tool; a person put the arguments right.
    WRONG_ACTION = "wrong_action"  # A person chose another tool.
    WRONG = "wrong"  # Not to be done.
    ANSWERED = "answered"  # A person gave the answer instead.


@dataclass(frozen=True, slots=True)
class Label:
    """One decision as an example to learn from; ``final`` is what was let run, None where nothing was.

    ``reviewer`` is a pseudonym: the same for all decisions of a person in a workspace, without their name. It
    hides a person from a reader of the labels, not from somebody who can guess who they are and compute it.
    """

    id: UUID
    item_id: UUID
    agent: str
    agent_version: str | None
    prompt_version: str | None
    proposed: Action
    decision: DecisionType
    verdict: Verdict
    final: Action | None
    reason_codes: tuple[ReasonCode, ...]
    message: str | None
    confidence: float | None
    confidence_source: str | None
    description: str | None
    context: tuple[ContextEntry, ...]
    args_schema: dict[str, Any] | None
    purpose: Purpose
    policy_version: int
    reviewer: str
    dwell_ms: int
    decided_at: datetime


def pseudonym(workspace: str, iss: str, sub: str) -> str:
    """Return what a person is called in the labels of a workspace."""
    told = "\0".join((workspace, iss, sub)).encode()
    return "reviewer-" + hashlib.sha256(told).hexdigest()[:12]


class LabelCount(NamedTuple):
    """How many labels say this of an agent's calls of a tool."""

    agent: str
    tool: str
    decision: DecisionType
    labels: int


def label_of(item: ReviewItem, record: DecisionRecord) -> Label:
    """Return the label that a person's decision on the item gives.

    An approval of another reviewer's edit is a label of that edit: it says that the agent's proposal was not
    right.
    """
    request = item.request
    decision, final = _decided(item, record)
    return Label(
        id=record.id,
        item_id=item.id,
        agent=item.agent,
        agent_version=request.agent_version,
        prompt_version=request.prompt_version,
        proposed=request.action,
        decision=decision,
        verdict=_verdict(decision, request.action, final),
        final=final,
        reason_codes=record.reason_codes,
        message=record.decision.message if isinstance(record.decision, Reject | Respond) else None,
        confidence=request.confidence,
        confidence_source=request.confidence_source,
        description=request.description,
        context=request.context,
        args_schema=request.args_schema,
        purpose=item.purpose,
        policy_version=record.policy_version,
        reviewer=pseudonym(record.workspace, record.iss, record.sub),
        dwell_ms=record.dwell_ms,
        decided_at=record.decided_at,
    )


def masked_label(label: Label, veil: Veil) -> Label:
    """Return the label as whoever has not revealed the item's values may have it; what the decision says stands."""
    return replace(
        label,
        proposed=veil.action(label.proposed),
        final=veil.action(label.final) if label.final else None,
        message=masked_text(label.message, veil.known) if label.message else label.message,
        description=masked_text(label.description, veil.known) if label.description else label.description,
        context=tuple(map(veil.entry, label.context)),
    )


def _decided(item: ReviewItem, record: DecisionRecord) -> tuple[DecisionType, Action | None]:
    decision = DecisionType(record.decision.type)
    if isinstance(record.decision, Edit):
        return decision, record.decision.edited_action
    if decision is not DecisionType.APPROVE:
        return decision, None
    if record.digest_seen == item.digest:
        return decision, item.request.action
    draft = item.draft
    is_draft = draft is not None and action_digest(draft.name, draft.args) == record.digest_seen
    return DecisionType.EDIT, draft if is_draft else None


def _verdict(decision: DecisionType, proposed: Action, final: Action | None) -> Verdict:
    if decision is DecisionType.RESPOND:
        return Verdict.ANSWERED
    if final is None:
        return Verdict.WRONG
    if decision is DecisionType.APPROVE or is_same(final, proposed):
        return Verdict.CORRECT
    return Verdict.WRONG_ARGS if final.name == proposed.name else Verdict.WRONG_ACTION


PLAIN_COLUMNS = (
    *("id", "item_id", "decided_at", "agent", "agent_version", "prompt_version", "tool", "args"),
    *(
        "confidence",
        "confidence_source",
        "decision",
        "verdict",
        "final_tool",
        "final_args",
        "reason_codes",
        "message",
    ),
    *("purpose", "policy_version", "reviewer", "dwell_ms", "description", "context"),
)


def plain_row(label: Label) -> Row:
    """Return the label as a flat JSON object under PLAIN_COLUMNS; arguments and context stay structured."""
    values = (
        *(str(label.id), str(label.item_id), label.decided_at.isoformat(), label.agent, label.agent_version),
        *(
            label.prompt_version,
            label.proposed.name,
            label.proposed.args,
            label.confidence,
            label.confidence_source,
        ),
        *(label.decision.value, label.verdict.value, label.final.name if label.final else None),
        *(
            label.final.args if label.final else None,
            [code.value for code in label.reason_codes],
            label.message,
        ),
        *(label.purpose.value, label.policy_version, label.reviewer, label.dwell_ms, label.description),
        [entry.model_dump(mode="json", exclude_none=True) for entry in label.context],
    )
    return dict(zip(PLAIN_COLUMNS, values, strict=True))


class TrainingFormat(StrEnum):
    """A shape of conversational rows that TRL reads (huggingface.co/docs/trl/dataset_formats)."""

    SFT = "sft"  # messages
    PREFERENCE = "preference"  # prompt, chosen, rejected
    UNPAIRED = "unpaired"  # prompt, completion, label


def training_row(label: Label) -> tuple[TrainingFormat, Row]:
    """Return the label as a TRL row: an edit is a preference pair, an answer a completion, else unpaired."""
    prompt = _prompt(label)
    tools = {"tools": [_tool(label)]} if label.args_schema is not None else {}
    if label.verdict is Verdict.ANSWERED:
        return TrainingFormat.SFT, {
            "messages": [*prompt, _message("assistant", label.message or "")],
            **tools,
        }
    proposed = [_call(label.proposed)]
    if label.final is not None and not is_same(label.final, label.proposed):
        row = {"prompt": prompt, "chosen": [_call(label.final)], "rejected": proposed, **tools}
        return TrainingFormat.PREFERENCE, row
    is_right = label.verdict is Verdict.CORRECT
    return TrainingFormat.UNPAIRED, {"prompt": prompt, "completion": proposed, "label": is_right, **tools}


def _message(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def _prompt(label: Label) -> list[Row]:
    about = f"You are the agent {label.agent}."
    opening = _message("system", f"{about}\n{label.description}" if label.description else about)
    return [opening, *(_seen(entry) for entry in label.context)]


def _seen(entry: ContextEntry) -> Row:
    if entry.kind is ContextKind.MESSAGE:
        return _message(_ROLES.get((entry.role or "user").casefold(), "user"), entry.content)
    if entry.kind is ContextKind.TOOL_RESULT:
        return _message("tool", entry.content) | ({"name": entry.title} if entry.title else {})
    content = "(a picture)" if entry.kind is ContextKind.IMAGE else entry.content
    return _message("user", f"{entry.title}:\n{content}" if entry.title else content)


def _call(action: Action) -> Row:
    function = {"name": action.name, "arguments": action.args}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}


def _tool(label: Label) -> Row:
    # How a call looks to a reviewer is nothing that a model learns from.
    parameters = {name: part for name, part in (label.args_schema or {}).items() if name != KEYWORD}
    return {"type": "function", "function": {"name": label.proposed.name, "parameters": parameters}}


def json_line(row: Row) -> bytes:
    """Return the row as one line of JSON Lines, in UTF-8."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Outlet(io.RawIOBase):
    """A stream that cannot be rewound: what was written waits until it is taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 -- whatever holds bytes, as io promises
        self._waiting += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


def training_archive(labels: Iterable[Label], *, shard_bytes: int = SHARD_BYTES) -> Iterator[bytes]:
    """Yield a zip in the layout of a Hugging Face dataset: ``README.md`` and ``<form>/train-<number>.jsonl``.

    The labels are read once, and a shard of each form is all that is held. The same labels give the same
    bytes.
    """
    outlet = _Outlet()
    waiting = {form: bytearray() for form in TrainingFormat}
    shards = dict.fromkeys(TrainingFormat, 0)
    with zipfile.ZipFile(outlet, "w") as archive:

        def keep(form: TrainingFormat) -> bytes:
            _add(archive, f"{form}/train-{shards[form]:05}.jsonl", bytes(waiting[form]))
            shards[form] += 1
            waiting[form].clear()
            return outlet.taken()

        for label in labels:
            form, row = training_row(label)
            waiting[form] += json_line(row)
            if len(waiting[form]) >= shard_bytes:
                yield keep(form)
        for form in [form for form in TrainingFormat if waiting[form]]:
            yield keep(form)
        _add(archive, "README.md", _card([form for form in TrainingFormat if shards[form]]).encode())
    yield outlet.taken()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name)  # Dated 1980: a zip's own time would make every archive another.
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, content)


def _card(forms: Iterable[TrainingFormat]) -> str:
    configs = "".join(
        f"\n- config_name: {form}\n  data_files:\n  - split: train\n    path: {form}/train-*.jsonl" for form in forms
    )
    return (
        f"---\nconfigs:{configs or ' []'}\n---\n\n# Labels of reviewed agent actions\n\n"
        "Exported by Signoff. Each row is one decision of a person on an action that an agent proposed, in\n"
        "TRL's conversational formats.\n\n"
        "- `preference`: the action as a person edited it (`chosen`), as the agent proposed it (`rejected`)\n"
        "- `unpaired`: the action as proposed; `label` is true where approved, false where rejected\n"
        "- `sft`: the answer that a person gave instead of the action\n"
    )
