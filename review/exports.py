"""Exports: decisions, labels and the audit log as CSV that a spreadsheet can open without running any of it.

The files are RFC 4180: every field quoted, CRLF, UTF-8. Cells are a rendering for people's eyes (see
``cell``); the evidence of the audit export is its column ``leaf``, from which the other columns can be made
again.
"""

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from agents.canonical import canonical
from agents.protocol import Edit, Reject, Respond
from review.audit import AuditEvent
from review.items import DecisionRecord, ReviewItem
from review.labels import PLAIN_COLUMNS, Label, json_line, plain_row

MAX_CELL = 32_000
CHUNK_BYTES = 64 * 1024

AUDIT_COLUMNS = (*("leaf", "id", "at", "workspace", "kind", "actor_kind", "actor_id", "actor_name", "item", "data"),)
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

# Where a spreadsheet would begin a formula: at the start of the cell, and behind a `;`. A program set to a
# locale that separates by semicolons reads `"x","a;=1"` as two cells, the second beginning with =. Spaces and
# quotes in front do not stop it. The signs are = + - @, their full-width and small forms, and the minus sign.
_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212])")
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MAY_HIDE = re.compile(r"[^ -~]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _is_hidden(sign: str) -> bool:
    point = ord(sign)
    is_selector = 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    return is_selector or sign in _BLANKS or unicodedata.category(sign) in _HIDDEN_CATEGORIES


def _visible(found: re.Match[str]) -> str:
    sign = found.group()
    if not _is_hidden(sign):
        return sign
    point = ord(sign)
    return _NAMED.get(sign) or (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")


def cell(text: str) -> str:
    r"""Return the text as it may stand in a cell: nothing hidden, nothing that runs, 32,000 characters.

    Control, invisible and bidirectional signs become escapes such as ``\u202e``. A ``'`` stands before = + -
    @ and their full-width forms where a formula could begin: at the start, and behind each ``;``.
    What is longer is cut and says how long it was.
    """
    shown = _MAY_HIDE.sub(_visible, text[: MAX_CELL + 1])
    shown = _FORMULA.sub(r"\1'", shown)
    if len(shown) <= MAX_CELL and len(text) <= MAX_CELL:
        return shown
    return f"{shown[:MAX_CELL]}… [cut: {len(text)} characters in all]"


def _text(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _line(cells: Iterable[str]) -> bytes:
    quoted = ('"' + each.replace('"', '""') + '"' for each in cells)
    return (",".join(quoted) + "\r\n").encode()


def _csv(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[bytes]:
    return _chunks(_lines(columns, rows))


def _lines(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[bytes]:
    yield _line(columns)
    for row in rows:
        yield _line(row)


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for line in lines:
        waiting += line
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def audit_cells(leaf: bytes) -> list[str]:
    """Return the cells of an event's row under AUDIT_COLUMNS, made from the exact bytes of its leaf."""
    told = json.loads(leaf)
    actor = told["actor"]
    evidence = base64.urlsafe_b64encode(leaf).decode().rstrip("=")
    shown = (
        *(told["id"], told["at"], told["workspace"], told["kind"], actor["kind"], actor["id"], actor["name"]),
        *(told["item"], canonical(told["data"]).decode()),
    )
    return [evidence, *(cell(_text(value)) for value in shown)]


def audit_csv(events: Iterable[AuditEvent]) -> Iterator[bytes]:
    """Yield the audit log as CSV, in chunks, in constant memory."""
    return _csv(AUDIT_COLUMNS, (audit_cells(event.leaf()) for event in events))


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
