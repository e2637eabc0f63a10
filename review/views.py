"""Views: the filters, order and search words of a screen, which a person keeps under a name and finds again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from pydantic import JsonValue
from uuid_utils.compat import uuid7

from review.errors import ViewFault, ViewNotFoundError, ViewRefusedError
from review.items import View
from review.people import Permission, Person
from review.store import Reading, Store, Writing

MAX_NAME_CHARS = 80
MAX_CHOSEN_BYTES = 16 * 1024
MOST_VIEWS = 100


class Views:
    """Keeps the views of each person; by its id, one can be opened by every colleague of the workspace.

    No event tells of it: nothing of the review changes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def mine(self, person: Person, screen: str) -> Sequence[View]:
        """Return the person's views of a screen, by name."""
        person.require(Permission.SEE_ITEMS)
        return self._store.read(lambda tx: tx.views(person, screen))

    def view(self, person: Person, view_id: UUID) -> View:
        """Return a view of anybody in the person's workspace. Raises ViewNotFoundError."""
        person.require(Permission.SEE_ITEMS)
        return self._store.read(lambda tx: _found(tx, person, view_id))

    def keep(self, person: Person, screen: str, name: str, chosen: Mapping[str, JsonValue]) -> View:
        """Keep what was chosen on a screen, in place of the person's view of this name. Raises ViewRefusedError."""
        person.require(Permission.SEE_ITEMS)
        name = _named(name)
        if len(json.dumps(dict(chosen)).encode()) > MAX_CHOSEN_BYTES:
            raise ViewRefusedError(ViewFault.LARGE)

        def work(tx: Writing) -> View:
            known = {view.name: view for view in tx.views(person, screen)}
            if name not in known and len(known) >= MOST_VIEWS:
                raise ViewRefusedError(ViewFault.MANY)
            id_ = known[name].id if name in known else uuid7()
            view = View(person.workspace, id_, person.iss, person.sub, screen, name, chosen, tx.now)
            tx.keep_view(view)
            return view

        return self._store.write(work)

    def rename(self, person: Person, view_id: UUID, name: str) -> View:
        """Give one of the person's views another name. Raises ViewNotFoundError, ViewRefusedError."""
        person.require(Permission.SEE_ITEMS)
        name = _named(name)

        def work(tx: Writing) -> View:
            view = _own(tx, person, view_id)
            if any(other.name == name and other.id != view.id for other in tx.views(person, view.screen)):
                raise ViewRefusedError(ViewFault.TAKEN)
            renamed = replace(view, name=name, saved_at=tx.now)
            tx.keep_view(renamed)
            return renamed

        return self._store.write(work)

    def remove(self, person: Person, view_id: UUID) -> None:
        """Remove one of the person's views; links to it lead nowhere then. Raises ViewNotFoundError."""
        person.require(Permission.SEE_ITEMS)
        self._store.write(lambda tx: tx.remove_view(_own(tx, person, view_id)))


def _named(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise ViewRefusedError(ViewFault.NAMELESS)
    return name


def _found(tx: Reading, person: Person, view_id: UUID) -> View:
    view = tx.view(person.workspace, view_id)
    if view is None:
        raise ViewNotFoundError
    return view


def _own(tx: Reading, person: Person, view_id: UUID) -> View:
    view = _found(tx, person, view_id)
    if (view.iss, view.sub) != (person.iss, person.sub):
        raise ViewNotFoundError
    return view
