"""What a reviewer has begun to write on an item, kept so that no tab, connection or server takes it along."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from review.errors import DraftTooLargeError, ItemNotFoundError
from review.people import Permission, Person
from review.store import Reading, Store, Writing

MAX_DRAFT_BYTES = 256 * 1024
_AT_ONCE = 500

Written = Mapping[str, JsonValue]


class Drafts:
    """Keeps, for each person, item and version, what was typed and not sent yet.

    No event tells of it: nothing of the review changes, nobody else ever reads it, and a log of every keystroke would
    keep for good what the person decided not to say. It goes with the item: within a minute of its closing, and at once
    when its content is erased.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, person: Person, item_id: UUID, version: int, written: Written) -> None:
        """Keep each member in place of what was kept under its name; one that is null goes, what is not named stays.

        ``at`` says when it was typed, in milliseconds since 1970: what is older than what is kept changes nothing, so
        that of several browsers the newest wins in whatever order they are heard. Of an item that is closed, or
        by now another version, nothing is kept. Raises ItemNotFoundError, DraftTooLargeError.
        """
        person.require(Permission.DECIDE)
        _require_small(written)

        def work(tx: Writing) -> None:
            item = tx.item(person.workspace, item_id)
            if item is None:
                raise ItemNotFoundError(item_id)
            if item.status.is_final or item.version != version:
                return
            kept = tx.draft(person, item_id, version) or {}
            if _typed_at(written, tx.now) < _typed_at(kept, tx.now):
                return
            whole = {name: value for name, value in {**kept, **written}.items() if value is not None}
            _require_small(whole)
            tx.keep_draft(person, item_id, version, whole)

        self._store.write(work)

    def read(self, person: Person, item_id: UUID, version: int) -> Written:
        """Return what this person wrote on this version of the item; nothing where they wrote nothing."""
        return self.read_all(person, [(item_id, version)])[0]

    def read_all(self, person: Person, versions: Sequence[tuple[UUID, int]]) -> list[Written]:
        """Return what this person wrote on each of these versions of items, as `read` does."""
        person.require(Permission.DECIDE)

        def work(tx: Reading) -> list[Written]:
            return [tx.draft(person, item_id, version) or {} for item_id, version in versions]

        return self._store.read(work) if versions else []

    def forget(self, person: Person, item_id: UUID) -> None:
        """Remove what this person wrote on the item."""
        person.require(Permission.DECIDE)
        self._store.write(lambda tx: tx.remove_drafts(person.workspace, item_id, of=person))

    def tick(self) -> int:
        """Remove what was written on items that are closed, of every workspace; return how many there were."""
        return self._store.write(lambda tx: tx.remove_closed_drafts(limit=_AT_ONCE))


def _require_small(written: Written) -> None:
    text = json.dumps(dict(written), ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_DRAFT_BYTES:
        raise DraftTooLargeError(size, MAX_DRAFT_BYTES)


def _typed_at(written: Written, now: datetime) -> float:
    at = written.get("at")
    # No clock that runs ahead keeps out what is typed after it.
    return min(float(at), now.timestamp() * 1000) if isinstance(at, int | float) else 0.0
