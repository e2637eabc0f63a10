"""The search's use cases: keep the words of items that changed, a moment after the commit, and show what was found."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from review.governance import PolicyBook
from review.people import Permission, Person
from review.search import Snippet, asked_terms, search_words, snippet, text_of
from review.store import ItemWords, Reading, Store, Writing
from review.veils import Veils

INDEXED_TOGETHER = 200


class _Step(NamedTuple):
    since: int
    upto: int
    found: Sequence[ItemWords]


class Search:
    """Follows the audit events, each of which says that an item changed; what was erased leaves with its erasure.

    Several processes may do it at once: who finds that another has got further keeps nothing.
    """

    def __init__(self, store: Store, policies: PolicyBook) -> None:
        self._store = store
        self._policies = policies

    def tick(self) -> int:
        """Keep the words of what changed since the last time, a little of it; return how many items that were."""
        step = self._store.read(_next_step)
        if step.upto == step.since:
            return 0

        def work(tx: Writing) -> int:
            if not tx.mark_indexed(step.upto, was=step.since):
                return 0
            tx.keep_words(step.found)
            return len(step.found)

        return self._store.write(work)

    def snippets(self, person: Person, item_ids: Sequence[UUID], words: str) -> dict[UUID, Snippet]:
        """Return where each of the items says what was searched for; one that says it no more has none."""
        person.require(Permission.SEE_ITEMS)
        terms = asked_terms(words)

        def look(tx: Reading) -> dict[UUID, Snippet]:
            items = tx.items_named([(person.workspace, item_id) for item_id in item_ids])
            # What is masked is found, and not shown: the place where it stands says nothing of it.
            veils = Veils(tx, self._policies)
            veiled = (veils.of(item).item(item) for item in items)
            places = ((item.id, snippet(text_of(item), terms)) for item in veiled)
            return {item_id: place for item_id, place in places if place is not None}

        return self._store.read(look)


def _next_step(tx: Reading) -> _Step:
    since = tx.indexed_to()
    upto, changed = tx.changed_items(after=since, limit=INDEXED_TOGETHER)
    items = (item for item in tx.items_named(changed) if not item.erased_at)
    return _Step(since, upto, [ItemWords(item.workspace, item.id, search_words(item)) for item in items])
