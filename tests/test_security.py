"""What docs/security.md and docs/requirements.md say is known by tests has those tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
ROWS = [line for line in LINES if re.match(r"\| \(?V\d", line)]
TABLE = [line for line in ROWS if line.count(" | ") == 2]
NUMBERS = re.compile(r"V\d+\.\d+\.\d+")
# How many requirements of levels 1 and 2 each section of OWASP ASVS 5.0.0 has; in each they come before those
# of level 3. Sections of level 3 alone are left out.
SECTIONS = {
    **{"V1.1": 2, "V1.2": 9, "V1.3": 11, "V1.4": 3, "V1.5": 2, "V2.1": 3, "V2.2": 3, "V2.3": 4, "V2.4": 1},
    **{"V3.2": 2, "V3.3": 4, "V3.4": 6, "V3.5": 5, "V3.7": 2, "V4.1": 3, "V4.2": 1, "V4.3": 2, "V4.4": 4},
    **{"V5.1": 1, "V5.2": 3, "V5.3": 2, "V5.4": 3, "V6.1": 3, "V6.2": 12, "V6.3": 4, "V6.4": 4, "V6.5": 5, "V6.6": 3},
    **{"V6.8": 4, "V7.1": 3, "V7.2": 4, "V7.3": 2, "V7.4": 5, "V7.5": 2, "V7.6": 2, "V8.1": 2, "V8.2": 3, "V8.3": 1},
    **{"V8.4": 1, "V9.1": 3, "V9.2": 4, "V10.1": 2, "V10.2": 2, "V10.3": 4, "V10.4": 11, "V10.5": 5, "V10.6": 2},
    **{"V10.7": 3, "V11.1": 2, "V11.2": 3, "V11.3": 3, "V11.4": 4, "V11.5": 1, "V11.6": 1, "V12.1": 3, "V12.2": 2},
    **{"V12.3": 4, "V13.1": 1, "V13.2": 5, "V13.3": 2, "V13.4": 5, "V14.1": 2, "V14.2": 4, "V14.3": 3, "V15.1": 3},
    **{"V15.2": 3, "V15.3": 7, "V16.1": 1, "V16.2": 5, "V16.3": 4, "V16.4": 3, "V16.5": 3, "V17.1": 1, "V17.2": 4},
    "V17.3": 2,
}
NAMED = re.compile(r"tests/[a-z_/]+\.py")
REQUIREMENTS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d", line)
]
FUNCTION = re.compile(r"`(tests/[a-z_/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.split("|")[1].strip())
def test_each_row_names_tests_that_exist_or_a_reason(row: str) -> None:
    known_by = row.split("|")[3]
    named = NAMED.findall(known_by)

    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert named or any(word in known_by for word in ("a reason:", "`make ", "every browser test"))


def test_each_requirement_of_levels_1_and_2_stands_there_once() -> None:
    asked = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]
    cells = [re.sub(r"\(.*?\)", "", row.split("|")[1]) for row in ROWS]

    told = [number for cell in cells for number in NUMBERS.findall(cell)]

    assert sorted(told) == sorted(asked)


@cache
def functions_of(path: str) -> frozenset[str]:
    file = ROOT / path
    parsed = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    return frozenset(each.name for each in parsed.body if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize(("number", "_", "known_by"), REQUIREMENTS, ids=[row[0] for row in REQUIREMENTS])
def test_each_requirement_names_functions_that_exist(number: str, _: str, known_by: str) -> None:
    named = FUNCTION.findall(known_by)

    assert [(path, name) for path, name in named if name not in functions_of(path)] == []
    assert len(named) == known_by.count(".py"), f"{number} names a test in another form"
    assert named or "not met" in known_by


def test_the_requirements_are_numbered_without_a_gap() -> None:
    assert [row[0] for row in REQUIREMENTS] == [str(number) for number in range(1, len(REQUIREMENTS) + 1)]
