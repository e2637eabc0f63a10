"""Exports: decisions, labels and the audit log as CSV that a spreadsheet can open without running any of it.

The files are RFC 4180: every field quoted, CRLF, UTF-8. Cells are a rendering for people's eyes (see
``cell``); the evidence of the audit export is in its columns ``leaf`` and ``proof``, from which the others can be made
again, and how is said in `review.verify` alone: who exports and who verifies render with the same code.

Decisions and labels stand in no tree. Their last row is a manifest as well: it says, signed, what was asked for, how
many rows there are, and the SHA-256 of everything before it (`review.manifests`; docs/exports.md).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from agents.protocol import Edit, Reject, Respond, Status
from review.items import DecisionRecord, ReviewItem
from review.labels import PLAIN_COLUMNS, Label, json_line, plain_row, pseudonym
from review.manifests import Manifest, RowExport, Tally
from review.sealer import AuditExport
from review.verify import COLUMNS, MANIFEST, cell, event_line, line, manifest_line

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024

DECISION_COLUMNS = (
    *("id", "item_id", "workspace", "decided_at", "submitted_at", "agent", "tool", "purpose", "decision", "is_final"),
    *("reason_codes", "message", "reviewer", "reviewer_name", "reviewer_id", "dwell_ms", "item_version", "epoch"),
    *("route", "reasons", "policy_version", "confidence", "subject", "amount", "currency"),
    *("digest_proposed", "digest_seen", "args", "edited_tool", "edited_args"),
    *("item_status", "execution", "outcome", "manifest"),
)
LABEL_COLUMNS = (*PLAIN_COLUMNS, "manifest")


def _text(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return _JSON.encode(value)


_JSON = json.JSONEncoder(ensure_ascii=False)


def _with_manifest(columns: Sequence[str], export: RowExport[T], cells: Callable[[T], list[str]]) -> Iterator[bytes]:
    tally = Tally()
    yield tally.head(line(columns))
    for row in export:
        shown = cells(row)
        yield tally.row(shown[0], line([*shown, ""]))
    yield _manifest_row(columns, export.manifest(tally))


def _manifest_row(columns: Sequence[str], manifest: Manifest) -> bytes:
    told = {
        "id": MANIFEST,
        "decided_at": manifest.made_at,
        "workspace": manifest.workspace,
        "message": cell(manifest.text),
        "manifest": manifest.evidence,
    }
    return line([told.get(column, "") for column in columns])


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


def is_final(item: ReviewItem, record: DecisionRecord) -> bool:
    """Tell whether this decision settled the item; others were approvals that were not enough, or edits of drafts."""
    is_settled_by_it = (item.settled_at, item.version) == (record.counted_at, record.item_version)
    return item.status is Status.SETTLED and is_settled_by_it


def _decision_cells(item: ReviewItem, record: DecisionRecord, *, shows_names: bool) -> list[str]:
    request, decision = item.request, record.decision
    edited = decision.edited_action if isinstance(decision, Edit) else None
    outcome = item.reconciliation or item.outcome
    values = (
        *(str(record.id), str(item.id), record.workspace),
        *(record.decided_at.isoformat(), item.submitted_at.isoformat()),
        *(item.agent, request.action.name, item.purpose.value, decision.type, is_final(item, record)),
        " ".join(code.value for code in record.reason_codes),
        decision.message if isinstance(decision, Reject | Respond) else None,
        pseudonym(record.workspace, record.iss, record.sub),
        *((record.name, f"{record.iss}#{record.sub}") if shows_names else ("", "")),
        *(record.dwell_ms, record.item_version, record.epoch),
        *(item.route.value, " ".join(reason.text for reason in item.reasons), record.policy_version),
        *(request.confidence, request.impact.subject, request.impact.amount, request.impact.currency),
        *(item.digest, record.digest_seen, request.action.args),
        *(edited.name if edited else None, edited.args if edited else None),
        *(item.status.value, item.execution.value, outcome.status.value if outcome else None),
    )
    return [cell(_text(value)) for value in values]


def decisions_csv(export: RowExport[tuple[ReviewItem, DecisionRecord]]) -> Iterator[bytes]:
    """Yield people's decisions with their items as CSV, in chunks, in constant memory; the last row is the manifest."""

    def cells(row: tuple[ReviewItem, DecisionRecord]) -> list[str]:
        return _decision_cells(*row, shows_names=export.shows_names)

    return _chunks(_with_manifest(DECISION_COLUMNS, export, cells))


def labels_csv(export: RowExport[Label]) -> Iterator[bytes]:
    """Yield the labels as CSV, in chunks, in constant memory; arguments are JSON, and the last row is the manifest."""

    def cells(label: Label) -> list[str]:
        return [cell(_text(value)) for value in plain_row(label).values()]

    return _chunks(_with_manifest(LABEL_COLUMNS, export, cells))


def labels_jsonl(labels: Iterable[Label]) -> Iterator[bytes]:
    """Yield the labels as JSON Lines, in chunks, in constant memory; nothing is cut or escaped."""
    return _chunks(json_line(plain_row(label)) for label in labels)
