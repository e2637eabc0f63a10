"""The lists of items: which index serves which order, and where a page goes on.

Undecided items are found through partial indexes, which a planner takes only when it reads their predicate word for
word. A list of several such statuses is read one status at a time, each in its order, and merged.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    TextClause,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
    tuple_,
)

from agents.protocol import Execution, Status
from db import cursors, searching
from db.rows import ITEM_COLUMNS, SUMMARY_COLUMNS, item_from, summary_from
from db.tables import AFTERWARDS, ASIDE, ASSIGNED, CLAIMED, SNOOZED, UNKNOWN, WAITING, items
from db.types import instant, microseconds
from review.errors import InvalidCursorError
from review.items import Aside, ItemFilter, ItemSummary, Order, Page, Purpose, ReviewItem
from review.store import COUNT_LIMIT

Listed = TypeVar("Listed", ItemSummary, ReviewItem)
Condition = ColumnElement[bool] | TextClause

# Building a statement takes longer than most take to be answered: those of the last lists are kept.
_KEPT_STATEMENTS = 256

_WORDED: dict[Status | Aside, Condition] = {
    Status.WAITING: text(WAITING),
    Status.CLAIMED: text(CLAIMED),
    Aside.ASSIGNED: and_(text(ASIDE), text(ASSIGNED)),
    Aside.SNOOZED: and_(text(ASIDE), text(SNOOZED)),
}


@dataclass(frozen=True, slots=True)
class _Sorting:
    """An order as SQL and as Python see it, and its keys as cursors hold them."""

    columns: tuple[Column[Any], ...]
    key: Callable[[ItemSummary | ReviewItem], tuple[Any, ...]]
    is_descending: bool = False


_SORTINGS = {
    Order.URGENT: _Sorting((items.c.priority, items.c.id), lambda item: (item.priority, item.id)),
    Order.NEWEST: _Sorting((items.c.id,), lambda item: (item.id,), is_descending=True),
    Order.OLDEST: _Sorting((items.c.id,), lambda item: (item.id,)),
    Order.SETTLED: _Sorting(
        (items.c.settled_at, items.c.id), lambda item: (item.settled_at, item.id), is_descending=True
    ),
}


def summaries(
    connection: Connection, workspace: str, where: ItemFilter, *, order: Order, limit: int, cursor: str | None
) -> Page[ItemSummary]:
    """Return a page of the list without the items' bodies. Raises InvalidCursorError."""
    listing = _Listing(connection, workspace, where, order)
    return _page(listing.rows(SUMMARY_COLUMNS, limit=limit, cursor=cursor), summary_from, order=order, limit=limit)


def whole(
    connection: Connection, workspace: str, where: ItemFilter, *, limit: int, cursor: str | None
) -> Page[ReviewItem]:
    """Return a page of whole items, newest first. Raises InvalidCursorError."""
    listing = _Listing(connection, workspace, where, Order.NEWEST)
    rows = listing.rows(ITEM_COLUMNS, limit=limit, cursor=cursor)
    return _page(rows, item_from, order=Order.NEWEST, limit=limit)


def counted(connection: Connection, workspace: str, where: ItemFilter, *, limit: int) -> int:
    """Return how many items match, counting no further than ``limit``."""
    if where.words is not None:
        return min(len(_Listing(connection, workspace, where, Order.NEWEST).found((items.c.id,))), limit)
    total = 0
    for statement in _counting(connection.dialect.name, workspace, where):
        total += connection.execute(statement, {"most": limit - total}).scalar_one()
    return total


@lru_cache(maxsize=_KEPT_STATEMENTS)
def _counting(dialect: str, workspace: str, where: ItemFilter) -> Sequence[Select[int]]:
    # Word for word, for what waits: a desk may have little that stands in line among much that was observed.
    in_line = [text("purpose = 'gate'")] if where.purpose is Purpose.GATE else []
    return [
        select(func.count()).select_from(statement.where(*in_line).limit(bindparam("most", type_=Integer)).subquery())
        for statement in _statements(dialect, workspace, where, Order.NEWEST, (items.c.id,))
    ]


def conditions(dialect: str, where: ItemFilter) -> Iterator[Condition]:
    """Yield what the filter asks of the items themselves, all but their statuses and what they say."""
    equal = {
        items.c.purpose: where.purpose and where.purpose.value,
        items.c.agent: where.agent,
        items.c.tool: where.tool,
        items.c.queue: where.queue,
        items.c.decision_type: where.decision and where.decision.value,
        items.c.execution: where.execution and where.execution.value,
        items.c.settled_by: where.settled_by,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if where.execution is Execution.UNKNOWN:
        yield text(UNKNOWN)
    if where.is_breached:
        yield items.c.breached_at.is_not(None)
    if where.since is not None:
        yield items.c.submitted_at >= where.since
    if where.until is not None:
        yield items.c.submitted_at < where.until
    if where.text:
        yield _mentions(dialect, where.text)


def _mentions(dialect: str, wanted: str) -> ColumnElement[bool]:
    # In the request the text stands as JSON writes it.
    in_json = json.dumps(wanted, ensure_ascii=False)[1:-1]
    if dialect == "sqlite" and not wanted.isascii():
        # SQLite's own LIKE knows only the case of ASCII; names are ASCII by their pattern.
        return func.instr(func.casefold(items.c.request), in_json.casefold()) > 0
    in_request = items.c.request.icontains(in_json, autoescape=True)
    # No name holds a NUL, and PostgreSQL does not even take one as a question.
    return in_request if "\0" in wanted else or_(in_request, items.c.agent.icontains(wanted, autoescape=True))


@dataclass(frozen=True, slots=True)
class _Listing:
    """A list that was asked for, and the connection that will answer."""

    connection: Connection
    workspace: str
    where: ItemFilter
    order: Order

    def rows(self, columns: Sequence[Column[Any]], *, limit: int, cursor: str | None) -> Iterator[Sequence[Any]]:
        """Return the rows behind the cursor, up to ``limit`` and one more of each status, not yet merged."""
        sorting = _SORTINGS[self.order]
        if self.where.words is not None:
            return iter(self._found(columns, sorting, limit=limit, cursor=cursor))
        behind = None if cursor is None else self._behind(cursor, sorting)
        return chain.from_iterable(
            self.connection.execute(page if behind is None else page.where(behind), {"most": limit + 1}).all()
            for page in _paging(self.connection.dialect.name, self.workspace, self.where, self.order, tuple(columns))
        )

    def found(self, columns: Sequence[Column[Any]]) -> Sequence[Sequence[Any]]:
        """Return the columns of the latest items that say what is searched for, COUNT_LIMIT + 1 at the most."""
        dialect = self.connection.dialect.name
        asked: list[Condition] = [items.c.workspace == self.workspace, *conditions(dialect, self.where)]
        undecided = tuple(_WORDED) if self.order is Order.URGENT else ()
        if statuses := self.where.statuses or undecided:
            asked.append(items.c.status.in_([status.value for status in statuses]))
        if self.order is Order.SETTLED:
            asked.append(items.c.settled_at.is_not(None))
        return searching.newest(self.connection, self.where.words or "", columns, asked, limit=COUNT_LIMIT + 1)

    def _found(
        self, columns: Sequence[Column[Any]], sorting: _Sorting, *, limit: int, cursor: str | None
    ) -> Sequence[Sequence[Any]]:
        # Sorted here: a database that is asked for both may well walk through the order, looking for the words.
        keys = sorted((tuple(row) for row in self.found(sorting.columns)), reverse=sorting.is_descending)
        if cursor is not None:
            place = self._place(cursor)
            keys = [key for key in keys if (key < place if sorting.is_descending else key > place)]
        ids = [key[-1] for key in keys[: limit + 1]]
        return self.connection.execute(
            select(*columns).where(items.c.workspace == self.workspace, items.c.id.in_(ids))
        ).all()

    def _behind(self, cursor: str, sorting: _Sorting) -> ColumnElement[bool]:
        place = tuple_(*sorting.columns)
        key = self._place(cursor)
        return place < key if sorting.is_descending else place > key

    def _place(self, cursor: str) -> tuple[Any, ...]:
        if self.order is Order.URGENT:
            return cursors.number_and_id_after(cursor, order=self.order)
        if self.order is Order.SETTLED:
            number, id_ = cursors.number_and_id_after(cursor, order=self.order)
            return (_time(number), id_)
        return (cursors.id_after(cursor, order=self.order),)


@lru_cache(maxsize=_KEPT_STATEMENTS)
def _paging(
    dialect: str, workspace: str, where: ItemFilter, order: Order, columns: tuple[Column[Any], ...]
) -> Sequence[Select[Any]]:
    sorting = _SORTINGS[order]
    directed = [column.desc() if sorting.is_descending else column.asc() for column in sorting.columns]
    return [
        statement.order_by(*directed).limit(bindparam("most", type_=Integer))
        for statement in _statements(dialect, workspace, where, order, columns)
    ]


def _statements(
    dialect: str, workspace: str, where: ItemFilter, order: Order, columns: Sequence[Column[Any]]
) -> list[Select[Any]]:
    """Return the statements that together find what was asked for, unsorted."""
    asked = select(*columns).where(items.c.workspace == workspace, *conditions(dialect, where))
    if order is Order.SETTLED:
        asked = asked.where(items.c.settled_at.is_not(None))
    if _is_of_undecided(where, order):
        wanted = where.statuses or tuple(_WORDED)
        worded = _WORDED | ({Status.WAITING: text(AFTERWARDS)} if _is_of_afterwards(where) else {})
        return [asked.where(words) for status, words in worded.items() if status in wanted]
    if where.statuses:
        asked = asked.where(items.c.status.in_([status.value for status in where.statuses]))
    return [asked]


def _is_of_undecided(where: ItemFilter, order: Order) -> bool:
    if order is Order.URGENT:
        return True  # Nothing else is urgent.
    if order is Order.SETTLED or where.agent is not None:
        return False  # These have an index of their own.
    return bool(where.statuses) and set(where.statuses) <= set(_WORDED)


def _is_of_afterwards(where: ItemFilter) -> bool:
    return where.purpose not in (None, Purpose.GATE)


def _page(
    rows: Iterator[Sequence[Any]], build: Callable[[Sequence[Any]], Listed], *, order: Order, limit: int
) -> Page[Listed]:
    sorting = _SORTINGS[order]
    listed = sorted((build(row) for row in rows), key=sorting.key, reverse=sorting.is_descending)
    if len(listed) <= limit:
        return Page(tuple(listed), None)
    key = (microseconds(part) if isinstance(part, datetime) else part for part in sorting.key(listed[limit - 1]))
    return Page(tuple(listed[:limit]), cursors.cursor_at(order, *key))


def _time(number: int) -> datetime:
    try:
        return instant(number)
    except OverflowError as error:
        raise InvalidCursorError from error
