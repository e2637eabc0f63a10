"""The measurements run, and say what they measured."""

import pytest

from bench.__main__ import main


def test_the_smallest_part_of_the_bench_prints_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    table = main(["--quick", "--database", "sqlite", "--part", "raw", "--part", "in-process"])

    printed = capsys.readouterr().out
    names = [figure.name for figure in table.figures]
    assert names == [
        "raw insert and commit, bare table, 1 client",
        "raw insert and commit, bare table",
        "raw insert and commit, same rows, 1 client",
        "raw insert and commit, same rows",
        "submit in process, 8 threads",
        "submit in process, 8 threads, compared",
    ]
    assert all(figure.value > 0 for figure in table.figures)
    assert all(name in printed for name in names)


def test_the_audit_part_seals_exports_and_verifies_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    parts = ["--part", "in-process", "--part", "audit"]

    table = main(["--quick", "--database", "sqlite", *parts, "--events", "1500"])

    printed = capsys.readouterr().out
    names = [figure.name for figure in table.figures]
    assert names == [
        "submit in process, 8 threads",
        "seal, 1,500 events",
        "seal, to the highest submit rate",
        "read all leaves into a plain CSV",
        "export, 1,500 events",
        "export, growth of memory",
        "parse and hash every row of the export",
        "verify, 1,500 events",
        "verify, for a million events",
    ]
    assert all(figure.value > 0 for figure in table.figures if figure.unit != "MB")
    assert table.figures[2].ratio == table.figures[1].value / table.figures[0].value
    assert all(name in printed for name in names)
