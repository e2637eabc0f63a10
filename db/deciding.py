"""People's decisions with the items that they were made on, filtered: for exports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, case, false, func, or_, select

from agents.protocol import DecisionType
from db import documents, lists, rows, searching, tables
from review.items import DecisionFilter, DecisionRecord, KnownReviewer, ReviewItem
from review.labels import LabelCount

_items = tables.items
_decisions = tables.decisions

_ON_ITEM = and_(_items.c.workspace == _decisions.c.workspace, _items.c.id == _decisions.c.item_id)
_WIDTH = len(rows.DECISION_COLUMNS)


@dataclass(frozen=True, slots=True)
class Deciding:
    """The decisions that were asked for, and the connection that will answer."""

    connection: Connection
    workspace: str
    where: DecisionFilter
    reviewers: Sequence[KnownReviewer] | None

    def page(self, *, limit: int, after: UUID | None) -> Sequence[tuple[ReviewItem, DecisionRecord]]:
        """Return up to ``limit`` of them with their items, in order of decision id, those behind ``after``."""
        columns = (*rows.DECISION_COLUMNS, *rows.ITEM_COLUMNS)
        statement = self._matching(*columns).order_by(_decisions.c.id).limit(limit)
        if after is not None:
            statement = statement.where(_decisions.c.id > after)
        found = self.connection.execute(statement)
        return [(rows.item_from(row[_WIDTH:]), rows.decision_from(row[:_WIDTH])) for row in found]

    def count_labels(self, limit: int) -> Sequence[LabelCount]:
        """Return how many of the first ``limit`` of them were made on each tool, by what their labels say.

        The approval of somebody's edit says what the edit does, as `review.labels.label_of` has it.
        """
        made = {kind: _decisions.c.decision.startswith(documents.opening_of(kind)) for kind in DecisionType}
        said = case(
            (and_(made[DecisionType.APPROVE], _decisions.c.digest_seen != _items.c.digest), DecisionType.EDIT.value),
            *((condition, kind.value) for kind, condition in made.items()),
        )
        columns = (_items.c.agent, _items.c.tool, said.label("said"))
        first = self._matching(*columns).order_by(_decisions.c.id).limit(limit).subquery()
        counted = select(*first.c, func.count()).group_by(*first.c)
        found = self.connection.execute(counted)
        return [LabelCount(row[0], row[1], DecisionType(row[2]), row[3]) for row in found]

    def count(self, limit: int | None) -> int:
        """Return how many they are, counting no further than ``limit``."""
        counted = select(func.count()).select_from(self._matching(_decisions.c.id).limit(limit).subquery())
        found: int = self.connection.execute(counted).scalar_one()
        return found

    def _matching(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).join_from(_decisions, _items, _ON_ITEM).where(*self._of_decisions(), *self._of_items())

    def _of_decisions(self) -> Iterator[lists.Condition]:
        where = self.where
        yield _decisions.c.workspace == self.workspace
        if where.decision is not None:
            yield _decisions.c.decision.startswith(documents.opening_of(where.decision), autoescape=True)
        if where.since is not None:
            yield _decisions.c.decided_at >= where.since
        if where.until is not None:
            yield _decisions.c.decided_at < where.until
        if self.reviewers is not None:
            made_by = (and_(_decisions.c.iss == each.iss, _decisions.c.sub == each.sub) for each in self.reviewers)
            yield or_(false(), *made_by)

    def _of_items(self) -> Iterator[lists.Condition]:
        where = self.where.items
        yield _items.c.erased_at.is_(None)
        yield from lists.conditions(self.connection.dialect.name, where)
        if where.words is not None:
            yield searching.says(self.connection, self.workspace, where.words)
        if where.statuses:
            yield _items.c.status.in_([status.value for status in where.statuses])
