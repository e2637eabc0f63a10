"""The verifier: it accepts what was exported, and names every row that is not as it was sealed."""

import base64
import csv
import io
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from db.store import open_store
from review import verify
from review.audit import Actor, AuditEvent, EventFilter, EventKind, person_actor
from review.checkpoints import Checkpoint, signed, verifier_key
from review.exports import audit_csv
from review.sealer import Sealer
from review.signing import Receipts
from review.verify import COLUMNS, ERASED, event_line, line
from tests.builders import WORKSPACE, ada, an_event, keeping
from tests.clock import MovableClock

ROWS = 1_000
POSITIONS = 200
KEY = OKPKey.generate_key("Ed25519")
STRANGER = OKPKey.generate_key("Ed25519")
DIGEST = "sha256:" + "5" * 64
KINDS = (EventKind.ACTION_SUBMITTED, EventKind.ITEM_CLAIMED, EventKind.ITEM_DECIDED)

Lines = list[bytes]


@dataclass(frozen=True)
class Export:
    """A sealed log of a thousand events, its exports as lines, and the public key's file."""

    folder: Path
    key: Path
    whole: Lines
    filtered: Lines
    note: str

    def verified(self, lines: Lines | bytes, *more: str, key: Path | None = None) -> tuple[int, list[str]]:
        """Return the verifier's exit status and what it says."""
        path = self.folder / "tampered.csv"
        path.write_bytes(lines if isinstance(lines, bytes) else b"".join(lines))
        said: list[str] = []
        return verify.main([str(path), "--key", str(key or self.key), *more], said.append), said


def what_happened(at: int) -> AuditEvent:
    """An event of a kind in its turn; every other one is a person's, and commits to a digest."""
    if at % 2:
        return an_event(kind=KINDS[at % 3], actor=person_actor(ada), data={"number": at, "digest": DIGEST})
    return an_event(kind=KINDS[at % 3], data={"number": at})


def export_of(sealer: Sealer, where: EventFilter) -> Lines:
    return b"".join(audit_csv(sealer.export(WORKSPACE, where))).splitlines(keepends=True)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    folder = tmp_path_factory.mktemp("export")
    receipts = Receipts(KEY, issuer="https://desk.example")
    store = open_store(f"sqlite:///{folder / 'signoff.db'}", clock=MovableClock())
    try:
        store.write(keeping(*map(what_happened, range(ROWS))))
        sealer = Sealer(store, receipts)
        whole = export_of(sealer, EventFilter())
        filtered = export_of(sealer, EventFilter(kind=EventKind.ITEM_CLAIMED))
        log = store.read(lambda tx: tx.log_head(WORKSPACE))
    finally:
        store.close()
    assert log is not None
    key = folder / "signoff.pub"
    key.write_bytes(receipts.public_pem())
    return Export(folder, key, whole, filtered, log.note)


def parsed(raw: bytes) -> dict[str, str]:
    return dict(zip(COLUMNS, next(csv.reader([raw.decode()])), strict=True))


def written(row: dict[str, str]) -> bytes:
    return line(row.values())


def leaf_of(row: dict[str, str]) -> bytes:
    return base64.urlsafe_b64decode(row["leaf"] + "=" * (-len(row["leaf"]) % 4))


def forged(raw: bytes, **told: Any) -> bytes:  # noqa: ANN401 -- any JSON value
    """The row of another event, as careful a forger would write it: leaf and columns agree."""
    row = parsed(raw)
    leaf = json.dumps(json.loads(leaf_of(row)) | told, sort_keys=True, separators=(",", ":")).encode()
    proof = base64.urlsafe_b64decode(row["proof"].removeprefix("sha256:") + "==")
    openings = base64.urlsafe_b64decode(row["openings"] + "==").decode()
    return event_line(int(row["index"]), int(row["left_out"]), leaf, proof=proof, openings=openings)


def problems(said: list[str]) -> list[tuple[int | None, int | None, str]]:
    """Line, index and kind of each problem."""
    found = []
    for told in said[:-1]:
        match = re.fullmatch(r"(?:line (\d+))?(?:, )?(?:index (\d+))?(?:the file)?: ([a-z ]+): .*", told)
        assert match, told
        where, index, kind = match.groups()
        found.append((int(where) if where else None, int(index) if index else None, kind))
    return found


def test_an_export_that_nobody_touched_is_right(export: Export) -> None:
    status, said = export.verified(export.whole)

    assert (status, said[0].splitlines()[0]) == (0, f"OK: {ROWS} events of {ROWS}, the whole log.")


def test_a_filtered_export_is_right_and_says_what_was_filtered(export: Export) -> None:
    status, said = export.verified(export.filtered)

    assert (status, said[0].splitlines()[0]) == (0, f"OK: 333 events of {ROWS}, filtered by kind item_claimed.")


# Each takes the whole export and the position of a row (1 is the first below the header), changes it, and returns what
# has to be named: (line, index, kind), of which the verifier must tell one.
Tampering = Callable[[Lines, int, random.Random], list[tuple[int | None, int | None, str]]]


def edit(lines: Lines, at: int, _: random.Random) -> list[tuple[int | None, int | None, str]]:
    lines[at] = forged(lines[at], at="2020-01-01T00:00:00.000000+00:00")
    return [(at + 1, at - 1, "edited")]


def delete(lines: Lines, at: int, _: random.Random) -> list[tuple[int | None, int | None, str]]:
    del lines[at]
    return [(at + 1, at - 1, "deleted"), (None, at - 1, "truncated")]


def insert(lines: Lines, at: int, chance: random.Random) -> list[tuple[int | None, int | None, str]]:
    lines.insert(at, forged(lines[chance.randrange(1, ROWS + 1)], id="00000000-0000-0000-0000-000000000000"))
    return [(at + 1, None, "inserted")]


def swap(lines: Lines, at: int, chance: random.Random) -> list[tuple[int | None, int | None, str]]:
    other = chance.choice([each for each in range(1, ROWS + 1) if each != at])
    lines[at], lines[other] = lines[other], lines[at]
    return [(at + 1, other - 1, "out of order"), (other + 1, at - 1, "out of order")]


def duplicate(lines: Lines, at: int, chance: random.Random) -> list[tuple[int | None, int | None, str]]:
    to = chance.randrange(1, ROWS + 2)
    lines.insert(to, lines[at])
    # Which of two equal neighbours is the copy, nobody can say.
    return [(to + 1, at - 1, "duplicated"), *([(to + 2, at - 1, "duplicated")] if to == at else [])]


def truncate(lines: Lines, at: int, chance: random.Random) -> list[tuple[int | None, int | None, str]]:
    manifest = lines[-1]
    del lines[at:]
    if chance.random() < 0.5:
        lines.append(manifest)
        return [(None, at - 1, "truncated")]
    return [(None, None, "truncated")]


def alter_column(lines: Lines, at: int, chance: random.Random) -> list[tuple[int | None, int | None, str]]:
    row = parsed(lines[at])
    name = chance.choice([name for name in COLUMNS[1:-3] if row[name]])
    lines[at] = written(row | {name: row[name] + "x"})
    return [(at + 1, at - 1, "column altered")]


TAMPERING: dict[str, Tampering] = {
    "edited": edit,
    "deleted": delete,
    "inserted": insert,
    "swapped": swap,
    "duplicated": duplicate,
    "truncated": truncate,
    "column altered": alter_column,
}


@pytest.mark.parametrize("kind", list(TAMPERING))
def test_seven_kinds_of_tampering_at_200_places_are_named_at_the_right_row(export: Export, kind: str) -> None:
    chance = random.Random(f"signoff {kind}")  # noqa: S311 -- the same places every time
    edges = [1, 2, ROWS - 1, ROWS]
    missed = []

    for at in [*edges, *(chance.randrange(1, ROWS + 1) for _ in range(POSITIONS - len(edges)))]:
        lines = list(export.whole)
        expected = TAMPERING[kind](lines, at, chance)
        status, said = export.verified(lines)
        found = problems(said)
        # Two rows change places: each is named, or, of neighbours, one.
        if status != 1 or not found or not set(found) <= set(expected):
            missed.append((at, expected, found))

    assert missed == []


def test_several_tamperings_at_once_are_told_apart(export: Export) -> None:
    lines = list(export.whole)
    lines[100] = forged(lines[100], kind="signed_in")
    lines[201] = written(parsed(lines[201]) | {"actor_name": "Somebody else"})
    lines.insert(301, forged(lines[400], id="00000000-0000-0000-0000-000000000000"))
    del lines[501:504]
    lines[700], lines[800] = lines[800], lines[700]

    _, said = export.verified(lines)

    assert problems(said) == [
        (101, 99, "edited"),
        (202, 200, "column altered"),
        (302, None, "inserted"),
        (502, 499, "deleted"),
        (701, 801, "out of order"),
        (801, 701, "out of order"),
    ]


@pytest.mark.parametrize(
    ("column", "change", "kind"),
    [
        ("index", lambda text: str(int(text) + 5_000), "edited"),
        ("index", lambda text: "0" + text, "edited"),
        ("index", lambda _: "", "edited"),
        ("leaf", lambda text: text[:-1], "edited"),
        ("leaf", lambda text: text + "=", "edited"),
        ("proof", lambda text: text[:-4] + "AAAA", "edited"),
        ("proof", lambda text: text[:-43], "edited"),
        ("proof", lambda text: text + "A" * 43, "edited"),
        ("proof", lambda _: "", "edited"),
        ("proof", lambda text: text.removeprefix("sha256:"), "column altered"),
        ("left_out", lambda _: "1", "column altered"),
    ],
)
def test_evidence_that_was_changed_is_named(
    export: Export, column: str, change: Callable[[str], str], kind: str
) -> None:
    lines = list(export.whole)
    row = parsed(lines[500])
    lines[500] = written(row | {column: change(row[column])})

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(501, 499, kind)])


@pytest.mark.parametrize("at", [1, 2, 100, 332, 333])
def test_a_row_that_is_missing_from_a_filtered_export_is_named(export: Export, at: int) -> None:
    lines = list(export.filtered)
    gone = int(parsed(lines[at])["index"])
    del lines[at]

    status, said = export.verified(lines)

    where = None if at == 333 else at + 1
    assert (status, problems(said)) == (1, [(where, gone, "truncated" if at == 333 else "deleted")])


@pytest.mark.parametrize("at", [1, 2, 100, 332])
def test_a_row_that_is_taken_out_with_care_still_shows(export: Export, at: int) -> None:
    lines = list(export.filtered)
    here, behind = parsed(lines[at]), parsed(lines[at + 1])
    left_out = int(here["left_out"]) + 1 + int(behind["left_out"])
    lines[at : at + 2] = [written(behind | {"left_out": str(left_out)})]

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(None, None, "filtered out")])


def test_a_whole_export_from_which_rows_were_filtered_is_no_filtered_export(export: Export) -> None:
    manifest = export.whole[-1]

    status, said = export.verified([*export.filtered[:-1], manifest])

    assert status == 1
    assert {kind for _, _, kind in problems(said)} == {"column altered", "deleted", "truncated"}
    assert (2, 0, "deleted") in problems(said)


@pytest.mark.parametrize("what", ["filter", "count", "checkpoint", "made_at"])
def test_a_manifest_that_was_changed_is_refused(export: Export, what: str) -> None:
    row = parsed(export.whole[-1])
    note = leaf_of(row).decode()
    told = json.loads(note.split("\n")[1])
    changed = note.replace(note.split("\n")[1], json.dumps(told | {what: None}, sort_keys=True, separators=(",", ":")))
    leaf = base64.urlsafe_b64encode(changed.encode()).decode().rstrip("=")

    status, said = export.verified([*export.whole[:-1], written(row | {"leaf": leaf})])

    assert status == 1
    assert problems(said)[0] == (None, None, "manifest")


def test_a_shuffled_file_is_refused_though_not_every_row_is_named(export: Export) -> None:
    rows = export.whole[1:-1]
    random.Random("signoff").shuffle(rows)  # noqa: S311 -- the same order every time

    status, said = export.verified([export.whole[0], *rows, export.whole[-1]])

    assert status == 1
    assert {kind for _, _, kind in problems(said)} == {"out of order"}


def test_more_than_can_be_told_apart_is_still_refused(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MOST_TRACED", 100)
    rows = export.whole[1:-1]

    shuffled = export.verified([export.whole[0], *reversed(rows), export.whole[-1]])
    edited = export.verified([export.whole[0], *(forged(row, kind="x") for row in rows), export.whole[-1]])

    assert [status for status, _ in (shuffled, edited)] == [1, 1]
    assert [(None, None, "too many") in problems(said) for _, said in (shuffled, edited)] == [True, True]


def test_a_manifest_whose_columns_were_changed_is_named(export: Export) -> None:
    manifest = written(parsed(export.whole[-1]) | {"at": "2020-01-01"})

    status, said = export.verified([*export.whole[:-1], manifest])

    assert (status, problems(said)) == (1, [(ROWS + 2, None, "column altered")])


def openings_in(row: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(base64.urlsafe_b64decode(row["openings"] + "=="))
    return found


def cell_of(openings: object) -> str:
    text = json.dumps(openings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def without(row: dict[str, str], name: str) -> str:
    return cell_of({each: opening for each, opening in openings_in(row).items() if each != name})


AN_OPENED_ROW = 502


@pytest.mark.parametrize(
    "change",
    [
        lambda row: cell_of(openings_in(row) | {"actor_name": [openings_in(row)["actor_name"][0], "Eve"]}),
        lambda row: cell_of(openings_in(row) | {"actor_name": ["A" * 22, "Ada Lovelace"]}),
        lambda row: cell_of(openings_in(row) | {"actor_name": ["AAAA", "Ada Lovelace"]}),
        lambda row: cell_of(openings_in(row) | {"actor_name": "Ada Lovelace"}),
        lambda row: cell_of(openings_in(row) | {"holder": ["A" * 22, "Ada Lovelace"]}),
        lambda row: cell_of([openings_in(row)]),
        lambda row: base64.urlsafe_b64encode(json.dumps(openings_in(row)).encode()).decode().rstrip("="),
        lambda _: cell_of("x"),
        lambda _: base64.urlsafe_b64encode(b"[" * 30_000).decode(),
        lambda _: base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("="),
        lambda row: row["openings"] + "=",
    ],
)
def test_openings_that_do_not_hash_to_what_was_committed_are_named(
    export: Export, change: Callable[[dict[str, str]], str]
) -> None:
    lines = list(export.whole)
    row = parsed(lines[AN_OPENED_ROW])
    lines[AN_OPENED_ROW] = written(row | {"openings": change(row)})

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(AN_OPENED_ROW + 1, AN_OPENED_ROW - 1, "column altered")])
    assert said[0].split(": ")[2].startswith("openings does not say what the leaf says")


@pytest.mark.parametrize(
    ("name", "column"), [("actor_id", "actor_id"), ("actor_name", "actor_name"), ("digest", "data")]
)
def test_a_value_whose_opening_was_taken_out_may_not_be_shown(export: Export, name: str, column: str) -> None:
    lines = list(export.whole)
    row = parsed(lines[AN_OPENED_ROW])
    lines[AN_OPENED_ROW] = written(row | {"openings": without(row, name)})

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(AN_OPENED_ROW + 1, AN_OPENED_ROW - 1, "column altered")])
    assert said[0].split(": ")[2].startswith(f"{column} does not say")


def test_openings_that_are_taken_out_with_care_still_show(export: Export) -> None:
    lines = list(export.whole)
    row = parsed(lines[AN_OPENED_ROW])
    lines[AN_OPENED_ROW] = written(row | {"openings": without(row, "actor_name"), "actor_name": ERASED})

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(None, None, "filtered out")])
    assert "the manifest says 0 values were erased; the file lacks 1" in said[0]


def test_an_export_of_which_values_were_erased_is_right_and_says_how_many(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.goes_on(3)
    with closing(sqlite3.connect(log.database)) as connection:
        connection.execute("UPDATE openings SET content = NULL WHERE rowid < 3")
        connection.commit()

    status, said = log.verified()

    assert (status, said[0].splitlines()[0]) == (0, "OK: 3 events of 3, the whole log; 2 values erased.")
    rows = [parsed(raw) for raw in (tmp_path / "audit.csv").read_bytes().splitlines(keepends=True)[1:-1]]
    assert [json.loads(row["data"])["digest"] for row in rows[:2]] == [ERASED] * 2
    assert [row["openings"] == "" for row in rows] == [True, True, False]


def test_an_opening_that_was_rewritten_in_the_database_is_not_exported(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.goes_on(3)
    with closing(sqlite3.connect(log.database)) as connection:
        connection.execute("UPDATE openings SET content = replace(content, 'sha256:0', 'sha256:1') WHERE rowid = 2")
        connection.commit()

    status, said = log.verified()

    assert (status, problems(said)) == (1, [(3, 1, "column altered")])


def resaved(lines: Lines, **how: Any) -> bytes:  # noqa: ANN401 -- options of csv.writer
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(csv.reader(io.StringIO(b"".join(lines).decode(), newline="")))
    return out.getvalue().encode()


@pytest.mark.parametrize(
    "how",
    [
        {"quoting": csv.QUOTE_MINIMAL},
        {"quoting": csv.QUOTE_ALL, "delimiter": ";"},
        {"quoting": csv.QUOTE_MINIMAL, "delimiter": "\t", "lineterminator": "\n"},
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_that_a_spreadsheet_saved_again_is_told_as_that(
    export: Export, how: dict[str, Any], mark: bytes
) -> None:
    status, said = export.verified(mark + resaved(export.whole, **how))

    assert (status, problems(said)) == (1, [(None, None, "resaved")])
    assert said[-1] == f"NOT OK: 1 problem, {ROWS} rows genuine."


def test_what_was_altered_in_a_spreadsheet_is_named_beside(export: Export) -> None:
    lines = list(export.whole)
    row = parsed(lines[500])
    lines[500] = written(row | {"at": "02.11.2026 09:30"})

    status, said = export.verified(resaved(lines, delimiter=";"))

    assert (status, problems(said)) == (1, [(None, None, "resaved"), (501, 499, "column altered")])


@pytest.mark.parametrize("change", [lambda raw: raw.replace(b"\r\n", b"\n"), lambda raw: raw.replace(b'"', b"")])
def test_a_row_in_another_form_is_named(export: Export, change: Callable[[bytes], bytes]) -> None:
    lines = list(export.whole)
    row = parsed(lines[500])
    lines[500] = change(lines[500]) if row["data"] == "{}" else lines[500].replace(b"\r\n", b"\n")

    status, said = export.verified(lines)

    assert (status, problems(said)) == (1, [(501, 499, "resaved")])


def test_a_file_cut_in_the_middle_of_a_row_is_named(export: Export) -> None:
    content = b"".join(export.whole[:501])[:-40]

    status, said = export.verified(content)

    assert status == 1
    assert "truncated" in {kind for _, _, kind in problems(said)}


def test_another_key_is_not_trusted(export: Export, tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_bytes(STRANGER.as_pem(private=False))

    status, said = export.verified(export.whole, key=other)

    assert (status, problems(said)[0]) == (1, (None, None, "manifest"))


def test_a_key_in_the_form_of_notes_pins_the_log_as_well(export: Export, tmp_path: Path) -> None:
    public = Receipts(KEY, issuer="").verifying_key
    files = []
    for name in ("desk.example/default", "desk.example/paris"):
        files.append(tmp_path / name.replace("/", "-"))
        files[-1].write_text(verifier_key(name, public).text + "\n")

    answers = [export.verified(export.whole, key=file)[0] for file in files]

    assert answers == [0, 1]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_cannot_be_used(export: Export, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pub"
    path.write_bytes(content)

    status, said = export.verified(export.whole, key=path)

    assert (status, said[0].partition(":")[0]) == (2, "Cannot verify")


@pytest.mark.parametrize("content", [b"", b"a,b,c\r\n1,2,3\r\n", b"\x00\xff" * 100])
def test_what_is_no_export_cannot_be_verified(export: Export, content: bytes) -> None:
    status, _ = export.verified(content)

    assert status == 2


def test_a_file_that_is_not_there_cannot_be_verified(export: Export) -> None:
    said: list[str] = []

    status = verify.main([str(export.folder / "none.csv"), "--key", str(export.key)], said.append)

    assert status == 2


def test_what_a_hostile_file_says_reaches_the_terminal_as_text(export: Export, tmp_path: Path) -> None:
    note = tmp_path / "note\x1b[31m.txt"
    note.write_text("nothing")

    status, said = export.verified(export.whole, "--checkpoint", str(note))

    assert status == 1
    assert "\x1b" not in "".join(said)
    assert "\\u001b" in said[0]


class History:
    """A log that goes on, with its checkpoints, its database file and its exports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receipts = Receipts(KEY, issuer="https://desk.example")
        self.key = folder / "signoff.pub"
        self.key.write_bytes(self.receipts.public_pem())
        self.database = folder / "signoff.db"

    def goes_on(self, count: int) -> Path:
        """Let so many things happen, and return the file of the checkpoint then."""
        store = open_store(f"sqlite:///{self.database}")
        try:
            store.write(keeping(*(an_event() for _ in range(count))))
            Sealer(store, self.receipts).seal()
            log = store.read(lambda tx: tx.log_head(WORKSPACE))
        finally:
            store.close()
        assert log is not None
        note = self.folder / f"checkpoint-{log.frontier.size}-{log.number}"
        note.write_text(log.note, encoding="utf-8")
        return note

    def verified(self, *notes: Path, where: EventFilter | None = None) -> tuple[int, list[str]]:
        store = open_store(f"sqlite:///{self.database}")
        try:
            lines = export_of(Sealer(store, self.receipts), where or EventFilter())
        finally:
            store.close()
        path = self.folder / "audit.csv"
        path.write_bytes(b"".join(lines))
        said: list[str] = []
        words = [str(path), "--key", str(self.key), "--checkpoint", *map(str, notes)]
        return verify.main(words, said.append), said


def test_checkpoints_that_were_kept_outside_fit_the_log_that_went_on(tmp_path: Path) -> None:
    log = History(tmp_path)
    notes = [log.goes_on(count) for count in (1, 6, 300, 0, 13)]

    assert log.verified(*notes)[0] == 0


def test_a_rollback_of_the_database_is_found_with_one_outside_checkpoint(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.goes_on(20)
    shutil.copy(log.database, tmp_path / "backup.db")
    outside = log.goes_on(10)
    shutil.copy(tmp_path / "backup.db", log.database)

    rolled_back = log.verified(outside)
    log.goes_on(5)
    shorter = log.verified(outside)
    log.goes_on(5)
    as_long = log.verified(outside)
    log.goes_on(40)
    longer = log.verified(outside)

    assert [status for status, _ in (rolled_back, shorter, as_long, longer)] == [1, 1, 1, 1]
    assert [said[0].split(": ")[2] for _, said in (rolled_back, shorter)] == ["rolled back"] * 2
    assert [said[0].split(": ")[2] for _, said in (as_long, longer)] == ["rewritten"] * 2
    assert log.verified()[0] == 0


def test_a_filtered_export_says_that_it_cannot_be_compared_with_an_older_checkpoint(tmp_path: Path) -> None:
    log = History(tmp_path)
    older, latest = log.goes_on(5), log.goes_on(5)
    where = EventFilter(actor="nobody")

    assert [log.verified(note, where=where)[0] for note in (older, latest)] == [3, 0]


def test_a_checkpoint_of_another_log_or_key_is_refused(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.goes_on(3)
    root = Checkpoint("desk.example/paris", 1, bytes(32))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text(signed(root.text, root.origin, log.receipts._private), encoding="utf-8")  # noqa: SLF001 -- as the house would sign
    stranger = replace(root, origin="desk.example/default")
    theirs.write_text(signed(stranger.text, stranger.origin, STRANGER.private_key), encoding="utf-8")  # type: ignore[arg-type]  # an Ed25519 key

    answers = [log.verified(note) for note in (ours, theirs)]

    assert [status for status, _ in answers] == [1, 1]
    assert "of another log" in answers[0][1][0]
    assert "no checkpoint that the key has signed" in answers[1][1][0]


def test_an_event_that_was_rewritten_in_the_database_is_named(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.goes_on(50)
    with closing(sqlite3.connect(log.database)) as connection:
        connection.execute("DROP TRIGGER audit_events_no_update")
        connection.execute(
            "UPDATE audit_events SET leaf = replace(leaf, 'action_submitted', 'item_claimed') WHERE seq = 31"
        )
        connection.commit()

    status, said = log.verified()

    assert (status, problems(said)) == (1, [(32, 30, "edited")])


def test_the_verifier_is_one_file_that_runs_anywhere(export: Export, tmp_path: Path) -> None:
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    (tmp_path / "audit.csv").write_bytes(b"".join(export.whole))

    answer = subprocess.run(
        # Isolated: neither this checkout nor the environment says where modules are.
        [sys.executable, "-I", "-W", "error", "verify.py", "audit.csv", "--key", str(export.key)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"OK: {ROWS} events")


def test_processes_that_share_the_rows_find_what_one_finds_alone(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = export.whole
    tampered = [
        *(rows[0:40], rows[41:300], [rows[301], rows[300]], rows[302:500]),
        *([forged(rows[500], kind="policy_saved")], rows[501:700], [rows[300]], rows[700:-1], rows[-1:]),
    ]
    alone = export.verified(list(chain(*tampered)), "--processes", "1")
    monkeypatch.setattr(verify, "_WORTH_SHARING", 0)
    monkeypatch.setattr(verify, "_AT_ONCE_SHARED", 90)

    assert export.verified(list(chain(*tampered)), "--processes", "2") == alone
    assert (alone[0], {kind for _, _, kind in problems(alone[1])}) == (
        1,
        {"deleted", "edited", "out of order", "duplicated"},
    )
    assert export.verified(rows, "--processes", "2")[0] == 0


def ended(*_: object, **__: object) -> None:
    os._exit(1)


def test_a_process_that_is_ended_meanwhile_proves_nothing(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_WORTH_SHARING", 0)
    monkeypatch.setattr(verify, "_genuine_rows", ended)

    status, said = export.verified(export.whole, "--processes", "2")

    assert (status, said) == (
        2,
        ["Cannot verify: a process that looked at the rows was ended from outside. Try again with --processes 1."],
    )


def test_the_verifier_imports_nothing_but_the_standard_library_and_cryptography() -> None:
    imported = set(
        re.findall(r"^(?:from|import) (\w+)", Path(verify.__file__).read_text(encoding="utf-8"), re.MULTILINE)
    )

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert imported & {"socket", "ssl", "http", "urllib", "asyncio", "subprocess", "os"} == set()


def test_a_persons_name_is_shown_as_it_was_sealed(tmp_path: Path) -> None:
    log = History(tmp_path)
    store = open_store(f"sqlite:///{log.database}")
    names = ["Ada", "=1+1;@x", "Größe\u202e", 'a "quoted" name', "back\\slash", "x" * 40_000]
    try:
        store.write(keeping(*(an_event(actor=Actor("person", ada.id, name)) for name in names)))
    finally:
        store.close()

    assert log.verified()[0] == 0
