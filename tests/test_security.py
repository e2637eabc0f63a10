"""What docs/security.md says is known by tests has those tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = [line for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines() if line[:3] == "| V"]
NAMED = re.compile(r"tests/[a-z_/]+\.py")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.split("|")[1].strip())
def test_each_row_names_tests_that_exist_or_a_reason(row: str) -> None:
    known_by = row.split("|")[3]
    named = NAMED.findall(known_by)

    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert named or any(word in known_by for word in ("a reason:", "`make ", "every browser test"))
