"""Exports: decisions, labels and the audit log as CSV that a spreadsheet can open without running any of it.

The files are RFC 4180: every field quoted, CRLF, UTF-8. Cells are a rendering for people's eyes (see
``cell``); the evidence of the audit export is in its columns ``leaf`` and ``proof``, from which the others can be made
again, and how is said in `review.verify` alone: who exports and who verifies render with the same code.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from agents.protocol import Edit, Reject, Respond
from review.items import DecisionRecord, ReviewItem
from review.labels import PLAIN_COLUMNS, Label, json_line, plain_row
from review.sealer import AuditExport
from review.verify import COLUMNS, cell, event_line, line, manifest_line

CHUNK_BYTES = 64 * 1024

DECISION_COLUMNS = (
    *("id", "item_id", "workspace", "decided_at", "submitted_at", "agent", "tool", "purpose", "decision"),
    *("reason_codes", "message", "reviewer", "reviewer_id", "dwell_ms", "item_version", "epoch", "route"),
    *(
        "reasons",
        "policy_version",
        "confidence",
        "subject",
        "amount",
        "currency",
        "digest_proposed",
        "digest_seen",
    ),
    *("args", "edited_tool", "edited_args"),
)


def _text(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _csv(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[bytes]:
    return _chunks(_lines(columns, rows))


def _lines(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[bytes]:
    yield line(columns)
    for row in rows:
        yield line(row)


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for each in lines:
        waiting += each
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def audit_csv(export: AuditExport) -> Iterator[bytes]:
    """Yield the audit log as CSV, in chunks, in constant memory; its last row is the manifest (see `review.verify`)."""
    return _chunks(_audit_lines(export))


def _audit_lines(export: AuditExport) -> Iterator[bytes]:
    yield line(COLUMNS)
    behind = 0
    for row in export:
        yield event_line(row.index, row.index - behind, row.leaf, proof=row.proof, openings=row.openings)
        behind = row.index + 1
    yield manifest_line(export.manifest())


def _decision_cells(item: ReviewItem, record: DecisionRecord) -> list[str]:
    request, decision = item.request, record.decision
    edited = decision.edited_action if isinstance(decision, Edit) else None
    values = (
        *(
            str(record.id),
            str(item.id),
            record.workspace,
            record.decided_at.isoformat(),
            item.submitted_at.isoformat(),
        ),
        *(item.agent, request.action.name, item.purpose.value, decision.type),
        " ".join(code.value for code in record.reason_codes),
        decision.message if isinstance(decision, Reject | Respond) else None,
        *(record.name, f"{record.iss}#{record.sub}", record.dwell_ms, record.item_version, record.epoch),
        *(item.route.value, " ".join(reason.text for reason in item.reasons), record.policy_version),
        *(request.confidence, request.impact.subject, request.impact.amount, request.impact.currency),
        *(item.digest, record.digest_seen, request.action.args),
        *(edited.name if edited else None, edited.args if edited else None),
    )
    return [cell(_text(value)) for value in values]


def decisions_csv(decisions: Iterable[tuple[ReviewItem, DecisionRecord]]) -> Iterator[bytes]:
    """Yield people's decisions with their items as CSV, in chunks, in constant memory."""
    return _csv(DECISION_COLUMNS, (_decision_cells(item, record) for item, record in decisions))


def labels_csv(labels: Iterable[Label]) -> Iterator[bytes]:
    """Yield the labels as CSV, in chunks, in constant memory; arguments and context are JSON there."""
    rows = ([cell(_text(value)) for value in plain_row(label).values()] for label in labels)
    return _csv(PLAIN_COLUMNS, rows)


def labels_jsonl(labels: Iterable[Label]) -> Iterator[bytes]:
    """Yield the labels as JSON Lines, in chunks, in constant memory; nothing is cut or escaped."""
    return _chunks(json_line(plain_row(label)) for label in labels)
