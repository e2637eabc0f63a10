"""``python -m tests.licences``: writes docs/licences.md, the licence of each package that the console installs."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS = ROOT / "requirements.txt"
PAGE = ROOT / "docs/licences.md"
ELSEWHERE = "not installed on this platform"

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
_ROW = re.compile(r"^\| ([^| ]+) \| (\d[^| ]*) \| ([^|]+) \|$", re.MULTILINE)
# Where a package writes its licence's name in words of its own, or its whole text.
_NAMES = {
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd license": "BSD",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
_LONGEST_NAME = 60
_HEAD = """# Licences

Under which licence each package that the console installs stands, as its own metadata says; written by
`python -m tests.licences` after `make requirements`, and checked by the tests. Signoff itself is under the MIT licence.

| package | version | licence |
|---|---|---|
"""


def pins() -> dict[str, str]:
    """Return the version of each package that is pinned."""
    return dict(_PIN.findall(PINS.read_text(encoding="utf-8")))


def listed() -> dict[str, tuple[str, str]]:
    """Return version and licence of each package, as the page has them."""
    return {name: (version, licence) for name, version, licence in _ROW.findall(PAGE.read_text(encoding="utf-8"))}


def licence_of(name: str) -> str:
    """Return the licence of a package as its metadata says; raises PackageNotFoundError."""
    told = metadata(name)
    if "License-Expression" in told:
        return told["License-Expression"]
    classified = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith("License")]
    written = told["License"] if "License" in told else ""  # noqa: SIM401 -- its type knows no get
    is_name = 0 < len(written) <= _LONGEST_NAME and "\n" not in written
    found = [written] if is_name else classified
    return " AND ".join(dict.fromkeys(_NAMES.get(one.lower(), one) for one in found)) or "not said"


def page() -> str:
    """Return the page as it should be."""
    known = listed() if PAGE.exists() else {}
    rows = []
    for name, version in pins().items():
        try:
            licence = licence_of(name)
        except PackageNotFoundError:
            licence = known.get(name, ("", ELSEWHERE))[1]
        rows.append(f"| {name} | {version} | {licence} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
