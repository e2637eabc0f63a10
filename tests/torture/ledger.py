"""What the torture leaves behind to be counted: the effects of the agents' tools, and what the agents were told."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.protocol import Args

BUSY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Effect:
    """One run of a tool: by whose call, under which permission, with which arguments."""

    call: str
    jti: str
    tool: str
    args: Args


class Ledger:
    """The effects of every tool, one row for each run; nothing in it keeps a run from happening twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._opened()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS effects (call TEXT, jti TEXT, tool TEXT, args TEXT) STRICT")

    def add(self, effect: Effect) -> None:
        """Let the effect have happened; it is there when this returns, whoever is killed afterwards."""
        row = (effect.call, effect.jti, effect.tool, json.dumps(effect.args))
        with closing(self._opened()) as connection:
            connection.execute("INSERT INTO effects VALUES (?, ?, ?, ?)", row)

    def effects(self) -> list[Effect]:
        """Return all that happened."""
        with closing(self._opened()) as connection:
            rows = connection.execute("SELECT call, jti, tool, args FROM effects").fetchall()
        return [Effect(call, jti, tool, json.loads(args)) for call, jti, tool, args in rows]

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)


class Journal:
    """What one agent process was told, a line for each answer, each in the file before the agent goes on."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **told: Any) -> None:  # noqa: ANN401 -- JSON values
        """Add one line; it survives the process, not the machine."""
        os.write(self._file, (json.dumps(told) + "\n").encode())


def journals(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what all agent processes were told; a line that a kill cut off was never gone on from."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
