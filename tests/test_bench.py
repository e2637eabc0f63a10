"""The measurements run, and say what they measured."""

import pytest

from bench.__main__ import main


def test_the_smallest_part_of_the_bench_prints_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    table = main(["--quick", "--database", "sqlite", "--part", "raw", "--part", "in-process"])

    printed = capsys.readouterr().out
    names = [figure.name for figure in table.figures]
    assert names == [
        "raw insert and commit, 1 client",
        "raw insert and commit, 8 clients",
        "raw insert and commit, the better",
        "submit in process, 8 threads",
    ]
    assert all(figure.value > 0 for figure in table.figures)
    assert all(name in printed for name in names)
