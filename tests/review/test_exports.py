"""Exports: files that any CSV reader reads alike, and of which no spreadsheet runs a cell."""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.protocol import (
    Approve,
    ContextEntry,
    ContextKind,
    Edit,
    Execution,
    Outcome,
    OutcomeStatus,
    Reject,
    Status,
)
from review.audit import Actor, AuditEvent, EventFilter, EventKind, openings_of, written
from review.exports import (
    CHUNK_BYTES,
    DECISION_COLUMNS,
    LABEL_COLUMNS,
    audit_csv,
    decisions_csv,
    is_final,
    labels_csv,
    labels_jsonl,
)
from review.items import ReasonCode
from review.labels import label_of, plain_row, pseudonym
from review.manifests import RowExport
from review.verify import COLUMNS, MAX_CELL, cell, event_line
from tests.builders import WORKSPACE, a_decision, a_request, ada, an_action, an_event, an_item, keeping
from tests.clock import START
from tests.console import Console

T = TypeVar("T")

FORMULA_SIGNS = "=+-@＝＋－＠"  # noqa: RUF001 -- the full-width forms are what is tested
ITEM = UUID("019a0000-0000-7000-8000-000000000001")


def read(content: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))


def exported(house: Console, *events: AuditEvent) -> bytes:
    """The audit log of a house in which just this happened."""
    house.store.write(keeping(*events))
    return whole(audit_csv(house.sealer.export(WORKSPACE, EventFilter())))


def of_rows(house: Console, *rows: T, shows_names: bool = False) -> RowExport[T]:
    """An export of these rows, attested by the house."""
    return RowExport(
        iter(rows),
        count=lambda: len(rows),
        attest=lambda told: house.sealer.attest(WORKSPACE, "decisions", told),
        shows_names=shows_names,
    )


def whole(chunks: Iterator[bytes]) -> bytes:
    return b"".join(chunks)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain, with \"quotes\" and 'these'", "plain, with \"quotes\" and 'these'"),
        ("Größe · 尺寸 · 👗", "Größe · 尺寸 · 👗"),
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-5", "'-5"),
        ("@sum", "'@sum"),
        ("＝1", "'＝1"),  # noqa: RUF001 -- the full-width form is what is tested
        ("  =1", "'  =1"),
        ('"=1"', '\'"=1"'),
        ("a=1", "a=1"),
        ("a;=1", "a;'=1"),
        ("a; =1;b;+1", "a;' =1;b;'+1"),
        ('a;"=1"', 'a;\'"=1"'),
        ("a;;=1", "a;;'=1"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("one\r\ntwo\n=1", r"one\r\ntwo\n=1"),
        ("a;\t=1", r"a;\t=1"),
        ("nul\0bell\a\x7f\x85", r"nul\u0000bell\u0007\u007f\u0085"),
        ("ev\u202etxt.exe", r"ev\u202etxt.exe"),
        ("zero\u200bwidth\ufeff\u00ad\u2060", r"zero\u200bwidth\ufeff\u00ad\u2060"),
        ("line\u2028para\u2029", r"line\u2028para\u2029"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("blank\u3164\u2800\u115f", r"blank\u3164\u2800\u115f"),
        ("half\ud800", r"half\ud800"),
        ("variant\ufe0f", r"variant\ufe0f"),
    ],
)
def test_a_cell_hides_nothing_and_runs_nothing(text: str, shown: str) -> None:
    assert cell(text) == shown


@pytest.mark.parametrize(("length", "is_cut"), [(MAX_CELL - 1, False), (MAX_CELL, False), (MAX_CELL + 1, True)])
def test_a_cell_that_is_too_long_is_cut_and_says_so(length: int, *, is_cut: bool) -> None:
    shown = cell("x" * length)

    assert shown == (f"{'x' * MAX_CELL}… [cut: {length} characters in all]" if is_cut else "x" * length)


def test_escapes_count_towards_the_length_of_a_cell() -> None:
    shown = cell("\0" * MAX_CELL)

    assert len(shown) < 32_767
    assert shown.endswith(f"… [cut: {MAX_CELL} characters in all]")


def is_formula(text: str) -> bool:
    return text.lstrip(' \t\r\n"').startswith(tuple(FORMULA_SIGNS))


@given(
    texts=st.lists(st.text(st.sampled_from([*FORMULA_SIGNS, *"a1;,'\"\t\r\n \\"]), max_size=12), min_size=1, max_size=5)
)
@example(texts=["a;", "=1"])
@example(texts=['a";"=1', "b"])
def test_no_cell_becomes_a_formula_in_comma_or_semicolon_locales(texts: list[str]) -> None:
    event = an_event(actor=Actor("agent", *(texts * 2)[:2]), data={"told": texts})

    kept = written(event)
    content = event_line(0, 0, kept.leaf.encode(), proof=b"", openings=openings_of(kept))

    rows = [row for delimiter in ",;" for row in read(content, delimiter)]
    pieces = [piece for row in content.decode().split("\r\n") for piece in row.split(";")]
    assert not [text for row in rows for text in row if is_formula(text)]
    assert not [piece for piece in pieces if is_formula(piece)]


@given(text=st.text(max_size=50))
def test_a_cell_is_one_line_without_a_hidden_sign(text: str) -> None:
    shown = cell(text)

    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", shown)


@given(
    name=st.text(max_size=30),
    data=st.dictionaries(
        st.text(st.characters(codec="ascii"), max_size=8),
        st.one_of(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False), st.none()),
        max_size=4,
    ),
)
@example(name="Ada", data={"data": ',"id":"x"', "id": '"data":{}'})
@example(name=';"=1"', data={"\\": "\\u0000", "confidence": 1e-7})
def test_the_columns_of_an_event_are_the_cells_of_what_its_leaf_says(name: str, data: dict[str, Any]) -> None:
    event = an_event(actor=Actor("person", f"#{name}", name), data=data)
    kept = written(event)
    leaf = kept.leaf.encode()

    (row,) = read(event_line(7, 2, leaf, proof=bytes(64), openings=openings_of(kept)))

    told = json.loads(leaf)
    shown = (told["id"], told["at"], "default", "action_submitted", "person", f"#{name}", name, "")
    assert row[1:9] == [cell(each) for each in shown]
    assert row[9] == cell(leaf.decode()[leaf.decode().index('"data":') + 7 :].rpartition(',"id":"' + told["id"])[0])
    assert row[0] == "7"
    assert base64.urlsafe_b64decode(row[10] + "==").decode() == openings_of(kept)
    assert row[11] == "2"
    assert (base64.urlsafe_b64decode(row[12] + "=="), row[13]) == (leaf, "sha256:" + "A" * 86)


def test_the_audit_export_is_rfc_4180_with_every_field_quoted(house: Console) -> None:
    content = exported(house, an_event())

    lines = content.decode().split("\r\n")
    assert len(lines) == 4
    assert lines[-1] == ""
    assert lines[0] == ",".join(f'"{name}"' for name in COLUMNS)
    assert "\n" not in "".join(lines)
    assert all(len(row) == len(COLUMNS) for row in read(content))


def test_an_audit_row_is_the_rendering_of_its_leaf(house: Console) -> None:
    event = an_event(
        kind=EventKind.ITEM_DECIDED,
        actor=Actor("person", "https://id.example.com#ada", '=HYPERLINK("http://evil.example")'),
        item_id=ITEM,
        data={"decision": "approve", "dwell_ms": 5250},
    )

    header, first, _ = read(exported(house, event))

    row = dict(zip(header, first, strict=True))
    leaf, openings = (json.loads(base64.urlsafe_b64decode(row[name] + "==")) for name in ("leaf", "openings"))
    assert list(leaf["committed"]) == list(openings) == ["actor_id", "actor_name"]
    assert "ada" not in json.dumps(leaf)
    assert row | {"leaf": "", "openings": ""} == {
        "index": "0",
        "id": str(event.id),
        "at": "2026-11-02T09:30:15.123456+00:00",
        "workspace": "default",
        "kind": "item_decided",
        "actor_kind": "person",
        "actor_id": "https://id.example.com#ada",
        "actor_name": '\'=HYPERLINK("http://evil.example")',
        "item": str(ITEM),
        "data": '{"decision":"approve","dwell_ms":5250}',
        "openings": "",
        "left_out": "0",
        "leaf": "",
        "proof": "sha256:",
    }


def test_an_export_streams_in_chunks(house: Console) -> None:
    house.store.write(keeping(*(an_event() for _ in range(2_000))))

    chunks = audit_csv(house.sealer.export(WORKSPACE, EventFilter()))
    first = next(chunks)

    assert CHUNK_BYTES <= len(first) < CHUNK_BYTES * 2
    assert len(read(first + whole(chunks))) == 2_002


def test_a_decision_is_exported_with_who_when_what_was_shown_and_why(house: Console) -> None:
    item = an_item(
        request=a_request(action=an_action(order_id="A-1", amount="49.90")),
        status=Status.SETTLED,
        settled_at=START,
        execution=Execution.FAILED,
        outcome=Outcome(status=OutcomeStatus.FAILED, error="=out of stock"),
    )
    record = a_decision(
        item,
        decision=Edit(edited_action=an_action(order_id="A-1", amount="39.90")),
        reason_codes=(ReasonCode.WRONG_ARGUMENTS, ReasonCode.TONE),
    )

    header, row_of_it, _ = read(whole(decisions_csv(of_rows(house, (item, record), shows_names=True))))

    row = dict(zip(header, row_of_it, strict=True))
    assert tuple(row) == DECISION_COLUMNS
    assert row == {
        "id": str(record.id),
        "item_id": str(item.id),
        "workspace": "default",
        "decided_at": "2026-11-02T09:30:15.123456+00:00",
        "submitted_at": "2026-11-02T09:30:15.123456+00:00",
        "agent": "support",
        "tool": "refund_order",
        "purpose": "gate",
        "decision": "edit",
        "is_final": "true",
        "reason_codes": "wrong_arguments tone",
        "message": "",
        "reviewer": pseudonym("default", ada.iss, ada.sub),
        "reviewer_name": "Ada Lovelace",
        "reviewer_id": "https://id.example.com#ada",
        "dwell_ms": "5250",
        "item_version": "1",
        "epoch": "0",
        "route": "review",
        "reasons": "The agent is less sure than the policy asks for.",
        "policy_version": "1",
        "confidence": "0.62",
        "subject": "order A-1001",
        "amount": "49.90",
        "currency": "EUR",
        "digest_proposed": item.digest,
        "digest_seen": item.digest,
        "args": '{"order_id": "A-1", "amount": "49.90"}',
        "edited_tool": "refund_order",
        "edited_args": '{"order_id": "A-1", "amount": "39.90"}',
        "item_status": "settled",
        "execution": "failed",
        "outcome": "failed",
        "manifest": "",
    }


def test_who_may_not_see_names_gets_pseudonyms_alone(house: Console) -> None:
    item = an_item()

    content = whole(decisions_csv(of_rows(house, (item, a_decision(item)))))

    header, row, _ = read(content)
    shown = dict(zip(header, row, strict=True))
    assert (shown["reviewer_name"], shown["reviewer_id"]) == ("", "")
    assert shown["reviewer"] == pseudonym("default", ada.iss, ada.sub)
    assert ada.name.encode() not in content


@pytest.mark.parametrize(
    ("fields", "is_the_last_word"),
    [
        ({"status": Status.SETTLED, "settled_at": START}, True),
        ({"status": Status.SETTLED, "settled_at": START + timedelta(minutes=1)}, False),
        ({"status": Status.SETTLED, "settled_at": START, "version": 2}, False),
        ({"status": Status.EXPIRED, "settled_at": START}, False),
        ({"status": Status.CLAIMED}, False),
    ],
)
def test_final_is_the_decision_that_settled_the_item(fields: dict[str, Any], is_the_last_word: bool) -> None:  # noqa: FBT001 -- a column of the table
    item = an_item()
    record = a_decision(item, decided_at=START)

    assert is_final(replace(item, **fields), record) is is_the_last_word


def some_labels() -> list[Any]:
    hostile = ContextEntry(kind=ContextKind.MESSAGE, role="user", content="=cmd|' /C calc'!A0\u202e;=1")
    items = [an_item(), an_item(request=a_request(context=(hostile,)))]
    records = [
        a_decision(items[0], decision=Approve()),
        a_decision(items[1], decision=Reject(message="@here: no;+1")),
    ]
    return [label_of(item, record) for item, record in zip(items, records, strict=True)]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_labels_are_read_back_from_csv_with_nothing_to_run(house: Console, delimiter: str) -> None:
    rows = read(whole(labels_csv(of_rows(house, *some_labels()))), delimiter)

    assert not [text for row in rows for text in row if is_formula(text)]
    if delimiter == ",":
        assert [len(row) for row in rows] == [len(LABEL_COLUMNS)] * 4
        assert dict(zip(rows[0], rows[2], strict=True))["message"] == "'@here: no;'+1"


def test_labels_as_json_lines_are_exact() -> None:
    labels = some_labels()

    lines = whole(labels_jsonl(labels)).decode().removesuffix("\n").split("\n")

    assert [json.loads(line) for line in lines] == [plain_row(label) for label in labels]
    assert "\u202e;=1" in lines[1]
