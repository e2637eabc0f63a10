"""``python -m db.check``: whether the migrations make what the models say, on SQLite or the database of a URL."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from db import schema
from db.engine import open_engines


def check_migrations(url: str) -> Sequence[Any]:
    """Upgrade the database and return what its schema lacks of the models; nothing, if all is well."""
    engines = open_engines(url)
    try:
        schema.upgrade(engines.writing)
        with engines.reading.connect() as connection:
            return schema.differences(connection)
    finally:
        engines.dispose()


def main(urls: Sequence[str]) -> int:
    """Check each database, or a new SQLite file if none is named; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        checked = urls or [f"sqlite:///{Path(folder) / 'check.db'}"]
        missing = [difference for url in checked for difference in check_migrations(url)]
    for difference in missing:
        sys.stderr.write(f"The migrations do not make what the models say: {difference}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
