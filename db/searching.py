"""The SQL of searching: items found by their words, through FTS5 on SQLite and a GIN index on PostgreSQL.

``item_words`` has a row for each item that can be found; its numbers follow the order in which items were first kept.
What changed is told by the audit events, whose ``seq`` is followed up to where none can come before (`db.sealing`).
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    TextClause,
    and_,
    bindparam,
    column,
    delete,
    false,
    func,
    literal_column,
    select,
    table,
    text,
    update,
)

from db import sealing, tables
from review.audit import EventKind
from review.search import Term, asked_terms
from review.store import ItemWords

_words = tables.item_words
_marks = tables.index_marks
_events = tables.audit_events
_items = tables.items
# The name of the virtual table on SQLite, and of the index on PostgreSQL.
SEARCH = "item_search"
_fts = table(SEARCH, column("rowid"))
_OF_ITEM = and_(_words.c.workspace == _items.c.workspace, _words.c.item_id == _items.c.id)

# After these an item says what it said before.
_WORDLESS = tuple(
    kind.value
    for kind in (
        EventKind.ITEM_CLAIMED,
        EventKind.CLAIM_EXTENDED,
        EventKind.CLAIM_RELEASED,
        EventKind.CLAIM_LAPSED,
        EventKind.RECEIPT_CONSUMED,
        EventKind.OUTCOME_REPORTED,
        EventKind.OUTCOME_MISSED,
    )
)
_MARK = select(_marks.c.seq)
_CHANGED = (
    select(_events.c.seq, _events.c.workspace, _events.c.item_id, _events.c.kind)
    .where(_events.c.seq > bindparam("after"))
    .order_by(_events.c.seq)
    .limit(bindparam("limit"))
)
_MOVE_MARK = update(_marks).where(_marks.c.seq == bindparam("was"))
# Whoever erases the item meanwhile holds its row: this waits for them, and then keeps nothing.
_STILL_THERE = "SELECT 1 FROM items WHERE workspace = :workspace AND id = :item_id AND erased_at IS NULL"
_KEEP = (
    "INSERT INTO item_words (workspace, item_id, words) SELECT :workspace, :item_id, :words "
    "WHERE EXISTS ({still_there}) ON CONFLICT (workspace, item_id) DO UPDATE SET words = excluded.words "
    "WHERE item_words.words <> excluded.words"
)
_TYPES = {"item_id": tables.ItemWordsRow.__table__.c.item_id.type}
_KEEPS = {
    "sqlite": text(_KEEP.format(still_there=_STILL_THERE)),
    "postgresql": text(
        "WITH item AS MATERIALIZED ({locked} FOR UPDATE) {keep}".format(
            locked=_STILL_THERE, keep=_KEEP.format(still_there="SELECT 1 FROM item")
        )
    ),
}
_FORGET = delete(_words).where(
    _words.c.workspace == bindparam("of_workspace"), _words.c.item_id == bindparam("of_item")
)


def indexed_to(connection: Connection) -> int:
    """Return the ``seq`` of the last event whose item's words were kept."""
    seq: int = connection.execute(_MARK).scalar_one()
    return seq


def changed_items(connection: Connection, *, after: int, limit: int) -> tuple[int, Sequence[tuple[str, UUID]]]:
    """Return up to which event it is known, looking at ``limit`` of them, what changed, and the items that did."""
    found = connection.execute(_CHANGED, {"after": after, "limit": limit}).all()
    in_a_row = next((at for at, event in enumerate(found) if event.seq != after + 1 + at), len(found))
    upto = after + in_a_row
    if in_a_row < len(found):
        # A gap: rolled back, or not committed yet. Sealing knows, and never goes past one that can still be filled.
        sealed = sealing.last_sealed(connection)
        upto = max(upto, *(event.seq for event in found if event.seq <= sealed), upto)
    changed = {
        (event.workspace, event.item_id): None
        for event in found
        if event.seq <= upto and event.item_id is not None and event.kind not in _WORDLESS
    }
    return upto, list(changed)


def mark_indexed(connection: Connection, seq: int, *, was: int) -> bool:
    """Note that everything up to this event is kept; False where another was faster."""
    return connection.execute(_MOVE_MARK, {"was": was, "seq": seq}).rowcount == 1


def keep(connection: Connection, found: Sequence[ItemWords]) -> None:
    """Keep the words of the items, of each in place of those it had; of an item that was erased meanwhile none."""
    statement = _KEEPS[connection.dialect.name].bindparams(bindparam("item_id", type_=_TYPES["item_id"]))
    rows = [{"workspace": each.workspace, "item_id": each.item_id, "words": each.words} for each in found]
    if rows:
        connection.execute(statement, rows)


def forget(connection: Connection, workspace: str, item_id: UUID) -> None:
    """Remove the item's words."""
    connection.execute(_FORGET, {"of_workspace": workspace, "of_item": item_id})


def newest(
    connection: Connection,
    words: str,
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool] | TextClause],
    *,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return the columns of the items that say all the words and meet the conditions, the latest ``limit`` of them."""
    if not asked_terms(words):
        return ()
    statement = _saying(connection, words, select(*columns).join_from(_items, _words, _OF_ITEM))
    newest_first = _fts.c.rowid if connection.dialect.name == "sqlite" else _words.c.number
    return connection.execute(statement.where(*conditions).order_by(newest_first.desc()).limit(limit)).all()


def says(connection: Connection, workspace: str, words: str) -> ColumnElement[bool]:
    """Return the condition that an item of the workspace says all the words, however many items do."""
    saying = _saying(connection, words, select(_words.c.item_id).where(_words.c.workspace == workspace))
    return _items.c.id.in_(saying)


def _saying(connection: Connection, words: str, statement: Select[Any]) -> Select[Any]:
    terms = asked_terms(words)
    if not terms:
        return statement.where(false())
    if connection.dialect.name == "sqlite":
        joined = statement.join(_fts, _fts.c.rowid == _words.c.number)
        return joined.where(literal_column(SEARCH).op("MATCH")(" ".join(map(_fts5, terms))))
    asked = func.to_tsquery(literal_column("'simple'"), " & ".join(map(_tsquery, terms)))
    return statement.where(func.to_tsvector(literal_column("'simple'"), _words.c.words).op("@@")(asked))


# Words are letters and digits alone (`review.search`), so nothing in them is an operator of either language.
def _fts5(term: Term) -> str:
    return f'"{" ".join(term)}" *'


def _tsquery(term: Term) -> str:
    return "(" + " <-> ".join(f"'{word}'" for word in term) + ":*)"
