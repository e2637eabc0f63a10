"""Exports of rows that stand in no tree, decisions and labels, and what is signed of them: the manifest."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from agents.canonical import canonical
from review.items import DecisionFilter
from review.verify import commitment, url64

T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """What was written so far: the ids of the first and the last row, how many rows, and the SHA-256 of every byte."""

    first: str | None = None
    last: str | None = None
    count: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def head(self, line: bytes) -> bytes:
        """Take the line of the column names, and return it."""
        self._digest.update(line)
        return line

    def row(self, row_id: str, line: bytes) -> bytes:
        """Take the line of a row, and return it."""
        self.first = self.first or row_id
        self.last = row_id
        self.count += 1
        return self.head(line)

    def told(self) -> dict[str, str | int | None]:
        """Return it as the manifest tells it."""
        return {"first": self.first, "last": self.last, "count": self.count, "sha256": self._digest.hexdigest()}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A signed manifest: the note that is the evidence, and the parts of it that people read."""

    note: str
    workspace: str
    made_at: str

    @classmethod
    def of(cls, note: str) -> "Manifest":
        """Read what people are shown from the note."""
        told = json.loads(note.split("\n", 2)[1])
        return cls(note, told["workspace"], told["made_at"])

    @property
    def text(self) -> str:
        """Return what is signed, without the name of the log: one line of canonical JSON."""
        return self.note.split("\n", 2)[1]

    @property
    def evidence(self) -> str:
        """Return the note as it stands in a cell: base64url without padding."""
        return url64(self.note.encode())


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The filter of an export: its audit event commits to it, and only its manifest says it and its salt.

    It may hold people's names and words, which no erasure takes out of a leaf; so nothing is left in the house by which
    it could be found, and whoever has the manifest can still show which event is the export's.
    """

    where: DecisionFilter
    salt: bytes

    @property
    def told(self) -> dict[str, Any]:
        """Return the filter as the manifest tells it: what leaves something out and nothing else, then its salt."""
        salted = {} if self._is_told_by_the_event else {"filter_salt": url64(self.salt)}
        return {"filter": self._filter, **salted}

    @property
    def committed(self) -> dict[str, str]:
        """Return what the audit event holds of the filter besides the times: a commitment, as those of `review.audit`.

        Nothing where the times are all that it holds.
        """
        if self._is_told_by_the_event:
            return {}
        return {"filter": commitment(self.salt, canonical(self._filter).decode())}

    @property
    def _filter(self) -> dict[str, Any]:
        return {name: value for name, value in _told(asdict(self.where)).items() if value}

    @property
    def _is_told_by_the_event(self) -> bool:
        return self.where == DecisionFilter(since=self.where.since, until=self.where.until)


class RowExport(Generic[T]):
    """The rows of an export in the order of their ids, read in batches, and in the end their signed manifest.

    ``shows_names`` tells whether reviewers may be named in it; their pseudonym is always there. ``shows_values`` tells
    whether what is masked on the screens stands in it as it is.
    """

    def __init__(
        self,
        rows: Iterator[T],
        *,
        count: Callable[[], int],
        attest: Callable[[dict[str, Any]], str],
        shows_names: bool = False,
        shows_values: bool = False,
    ) -> None:
        self._rows = rows
        self._count = count
        self._attest = attest
        self._passed = 0
        self.shows_names = shows_names
        self.shows_values = shows_values

    def __iter__(self) -> Iterator[T]:
        """Yield the rows, once."""
        for row in self._rows:
            self._passed += 1
            yield row

    @property
    def size(self) -> int:
        """Return how many rows there are now; they are counted anew each time."""
        return self._count()

    @property
    def passed(self) -> int:
        """Return how many rows have been read."""
        return self._passed

    def manifest(self, tally: Tally) -> Manifest:
        """Return what was exported, signed; meant for when all rows have been written."""
        shows = {"shows_names": self.shows_names, "shows_values": self.shows_values}
        return Manifest.of(self._attest({**tally.told(), **shows}))


def _told(value: Any) -> Any:  # noqa: ANN401 -- a filter's fields, of several kinds
    if isinstance(value, dict):
        return {name: _told(each) for name, each in value.items() if each}
    if isinstance(value, tuple):
        return [_told(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value
