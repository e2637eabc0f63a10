"""The licences of what is installed are listed, and none of them binds what runs beside it."""

import re
from importlib.metadata import PackageNotFoundError

import pytest

from tests.licences import ELSEWHERE, licence_of, listed, pins

WORD = re.compile(r"[A-Za-z0-9.+-]+")
# Terms that ask nothing of the code that merely uses the package.
TERMS = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
    ),
    *("PSF-2.0", "Unlicense", "Zlib", "MPL-2.0", "MPL-1.1", "LGPL-3.0-only", "LGPL-3.0-or-later", "CC0-1.0"),
}


def test_every_package_that_is_pinned_is_listed_with_its_version() -> None:
    assert {name: version for name, (version, _) in listed().items()} == pins()


@pytest.mark.parametrize("name", list(pins()))
def test_a_package_is_listed_under_the_licence_that_it_names(name: str) -> None:
    licence = listed()[name][1]

    try:
        assert licence == licence_of(name)
    except PackageNotFoundError:
        assert licence == ELSEWHERE
    assert licence == ELSEWHERE or set(WORD.findall(licence)) - {"AND", "OR"} <= TERMS
