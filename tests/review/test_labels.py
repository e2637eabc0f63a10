"""Labels: what a decision says of the proposal, and the rows that models learn from."""

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest

from agents.canonical import action_digest
from agents.protocol import (
    Action,
    Approve,
    ContextEntry,
    ContextKind,
    Decision,
    DecisionType,
    Edit,
    Reject,
    Respond,
)
from review.items import Purpose, ReasonCode, ReviewItem
from review.labels import (
    PLAIN_COLUMNS,
    Label,
    TrainingFormat,
    Verdict,
    label_of,
    plain_row,
    pseudonym,
    training_archive,
    training_row,
)
from tests.builders import a_decision, a_request, ada, an_action, an_item, grace
from tests.clock import START

PROPOSED = an_action(order_id="A-1", amount="49.90")
BETTER = an_action(order_id="A-1", amount="39.90")
OTHER = an_action("ask_customer", text="Which order?")


def a_label(decision: Decision, item: ReviewItem | None = None, **fields: Any) -> Label:  # noqa: ANN401 -- whatever the record takes
    item = item or an_item(request=a_request(action=PROPOSED))
    return label_of(item, a_decision(item, decision=decision, **fields))


def test_an_edit_that_python_takes_for_the_proposal_is_an_edit() -> None:
    item = an_item(request=a_request(action=an_action(express=1)))

    label = a_label(Edit(edited_action=an_action(express=True)), item)

    assert label.verdict is Verdict.WRONG_ARGS
    assert training_row(label)[0] is TrainingFormat.PREFERENCE


@pytest.mark.parametrize(
    ("decision", "verdict", "final", "message"),
    [
        (Approve(), Verdict.CORRECT, PROPOSED, None),
        (Edit(edited_action=BETTER), Verdict.WRONG_ARGS, BETTER, None),
        (Edit(edited_action=OTHER), Verdict.WRONG_ACTION, OTHER, None),
        (Edit(edited_action=PROPOSED), Verdict.CORRECT, PROPOSED, None),
        (Reject(message="Not yet."), Verdict.WRONG, None, "Not yet."),
        (Reject(), Verdict.WRONG, None, None),
        (Respond(message="It is A-1."), Verdict.ANSWERED, None, "It is A-1."),
    ],
)
def test_a_decision_says_whether_the_proposal_was_right(
    decision: Decision, verdict: Verdict, final: Action | None, message: str | None
) -> None:
    label = a_label(decision)

    assert (label.decision, label.verdict, label.final, label.message) == (
        DecisionType(decision.type),
        verdict,
        final,
        message,
    )


def test_approving_another_reviewers_edit_says_that_the_proposal_was_wrong() -> None:
    item = an_item(request=a_request(action=PROPOSED), draft=BETTER, version=2, quorum=2)

    label = a_label(Approve(), item, digest_seen=action_digest(BETTER.name, BETTER.args))

    assert (label.decision, label.verdict, label.final) == (DecisionType.EDIT, Verdict.WRONG_ARGS, BETTER)


def test_approving_an_edit_that_was_replaced_tells_only_that_the_proposal_was_wrong() -> None:
    item = an_item(request=a_request(action=PROPOSED), draft=BETTER, version=3, quorum=2)

    label = a_label(Approve(), item, digest_seen=action_digest(OTHER.name, OTHER.args))

    assert (label.verdict, label.final) == (Verdict.WRONG, None)


def test_a_reviewer_keeps_one_pseudonym_in_a_workspace_and_has_another_elsewhere() -> None:
    here = pseudonym("default", ada.iss, ada.sub)

    assert here == a_label(Approve()).reviewer
    assert len({here, pseudonym("other", ada.iss, ada.sub), pseudonym("default", grace.iss, grace.sub)}) == 3
    assert ada.sub not in here


def test_a_plain_row_holds_the_whole_label_without_the_reviewers_name() -> None:
    item = an_item(request=a_request(action=PROPOSED, agent_version="2.1"), purpose=Purpose.AUDIT)
    record = a_decision(
        item,
        decision=Edit(edited_action=BETTER),
        reason_codes=(ReasonCode.WRONG_ARGUMENTS, ReasonCode.TONE),
        decided_at=START + timedelta(minutes=1),
    )

    row = plain_row(label_of(item, record))

    assert tuple(row) == PLAIN_COLUMNS
    assert row == {
        "id": str(record.id),
        "item_id": str(item.id),
        "decided_at": "2026-11-02T09:31:15.123456+00:00",
        "agent": "support",
        "agent_version": "2.1",
        "prompt_version": None,
        "tool": "refund_order",
        "args": {"order_id": "A-1", "amount": "49.90"},
        "confidence": 0.62,
        "confidence_source": "classifier",
        "decision": "edit",
        "verdict": "wrong_args",
        "final_tool": "refund_order",
        "final_args": {"order_id": "A-1", "amount": "39.90"},
        "reason_codes": ["wrong_arguments", "tone"],
        "message": None,
        "purpose": "audit",
        "policy_version": 1,
        "reviewer": pseudonym("default", ada.iss, ada.sub),
        "dwell_ms": 5250,
        "description": None,
        "context": [{"kind": "message", "role": "user", "content": "My cup arrived broken."}],
    }
    assert "Lovelace" not in json.dumps(row)


PROMPT = [
    {"role": "system", "content": "You are the agent support."},
    {"role": "user", "content": "My cup arrived broken."},
]


def a_call(action: Action) -> dict[str, Any]:
    function = {"name": action.name, "arguments": action.args}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}


@pytest.mark.parametrize(
    ("decision", "form", "row"),
    [
        (
            Approve(),
            TrainingFormat.UNPAIRED,
            {"prompt": PROMPT, "completion": [a_call(PROPOSED)], "label": True},
        ),
        (
            Reject(),
            TrainingFormat.UNPAIRED,
            {"prompt": PROMPT, "completion": [a_call(PROPOSED)], "label": False},
        ),
        (
            Edit(edited_action=BETTER),
            TrainingFormat.PREFERENCE,
            {"prompt": PROMPT, "chosen": [a_call(BETTER)], "rejected": [a_call(PROPOSED)]},
        ),
        (
            Respond(message="It is A-1."),
            TrainingFormat.SFT,
            {"messages": [*PROMPT, {"role": "assistant", "content": "It is A-1."}]},
        ),
    ],
)
def test_each_kind_of_decision_makes_its_kind_of_row(
    decision: Decision, form: TrainingFormat, row: dict[str, Any]
) -> None:
    assert training_row(a_label(decision)) == (form, row)


def test_the_prompt_is_the_context_in_conversation_roles() -> None:
    context = (
        ContextEntry(kind=ContextKind.MESSAGE, role="Customer", content="Where is it?"),
        ContextEntry(kind=ContextKind.MESSAGE, role="assistant", content="Let me look."),
        ContextEntry(kind=ContextKind.TOOL_RESULT, title="find_order", content='{"id": "A-1"}'),
        ContextEntry(kind=ContextKind.RECORD, title="Order A-1", content="sent"),
        ContextEntry(kind=ContextKind.IMAGE, title="Photo", content="aGVsbG8=", media_type="image/png"),
        ContextEntry(kind=ContextKind.MESSAGE, content="Thank you."),
    )
    request = a_request(
        action=PROPOSED, context=context, description="Refund an order.", args_schema={"type": "object"}
    )

    _, row = training_row(a_label(Approve(), an_item(request=request)))

    assert row["prompt"] == [
        {"role": "system", "content": "You are the agent support.\nRefund an order."},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "Let me look."},
        {"role": "tool", "content": '{"id": "A-1"}', "name": "find_order"},
        {"role": "user", "content": "Order A-1:\nsent"},
        {"role": "user", "content": "Photo:\n(a picture)"},
        {"role": "user", "content": "Thank you."},
    ]
    assert row["tools"] == [
        {"type": "function", "function": {"name": "refund_order", "parameters": {"type": "object"}}}
    ]


DECISIONS: tuple[Decision, ...] = (
    Approve(),
    Reject(),
    Edit(edited_action=BETTER),
    Respond(message="Größe M"),
)


def test_the_archive_has_the_layout_of_a_hugging_face_dataset() -> None:
    labels = [a_label(decision) for decision in DECISIONS]

    archive = zipfile.ZipFile(io.BytesIO(b"".join(training_archive(labels))))

    assert archive.testzip() is None
    assert archive.namelist() == [
        "sft/train-00000.jsonl",
        "preference/train-00000.jsonl",
        "unpaired/train-00000.jsonl",
        "README.md",
    ]
    assert json.loads(archive.read("sft/train-00000.jsonl"))["messages"][-1]["content"] == "Größe M"
    card = archive.read("README.md").decode()
    assert card.startswith("---\nconfigs:\n- config_name: sft\n  data_files:\n  - split: train\n")
    assert "    path: sft/train-*.jsonl\n- config_name: preference\n" in card


def test_an_archive_of_nothing_says_so() -> None:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(training_archive([]))))

    assert archive.namelist() == ["README.md"]
    assert archive.read("README.md").decode().startswith("---\nconfigs: []\n---\n")


def test_an_archive_streams_in_shards_and_holds_no_more_than_one() -> None:
    taken: list[int] = []

    def labels() -> Any:  # noqa: ANN401 -- a generator that tells how far it was read
        for number in range(50):
            taken.append(number)
            yield a_label(Approve())

    chunks = training_archive(labels(), shard_bytes=1)

    first = next(chunks)
    assert (len(taken), first[:2]) == (1, b"PK")
    archive = zipfile.ZipFile(io.BytesIO(first + b"".join(chunks)))
    assert sum(len(archive.read(name).splitlines()) for name in archive.namelist() if "train" in name) == 50


def test_the_same_labels_make_the_same_archive() -> None:
    labels = [a_label(decision) for decision in DECISIONS]

    assert b"".join(training_archive(labels)) == b"".join(training_archive(labels))
