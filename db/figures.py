"""The figures of a desk, counted in the database: the latest items are read once for all counts, and once for waits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    null,
    select,
    text,
    type_coerce,
    union_all,
)

from agents.protocol import DecisionType, Route
from db.tables import UNDECIDED, items
from db.types import MICROSECOND, FreeText, instant
from review.figures import POLICY, QUARTER, Figures, Made, QuarterCount, Wait
from review.items import Purpose

# Of the clocks of several hosts; ids are UUIDv7, so that the primary key finds a time give or take this much.
_CLOCKS_DIFFER = timedelta(hours=1)
_NO_WORDS = cast(null(), Text)
_NO_NAME = cast(null(), FreeText)
_NO_TIME = cast(null(), BigInteger)


def reckoned(connection: Connection, workspace: str, *, since: datetime, now: datetime, limit: int) -> Figures:
    """Return the figures of the items submitted since then, the latest ``limit`` of them."""
    latest = _latest(connection, workspace, since=since, now=now, limit=limit)
    decided = select(latest).where(latest.c.standing == "decided").cte("decided")
    counts = connection.execute(
        union_all(
            _counted("items", latest),
            _counted("standing", latest, kind=latest.c.standing),
            _counted("proposed", latest, kind=latest.c.route, at=latest.c.proposed_in),
            _counted("decided", decided, kind=decided.c.decision_type, at=decided.c.settled_in),
            _counted(
                "made",
                decided,
                agent=decided.c.agent,
                tool=decided.c.tool,
                name=decided.c.settled_by,
                kind=decided.c.decision_type,
            ),
        )
    ).all()
    standing = {row.kind: row.times for row in counts if row.part == "standing"}
    late = standing.get("late", 0)
    waits = [
        (
            row.queue,
            Wait(row.decided, row.median * MICROSECOND, row.p90 * MICROSECOND, row.allowed * MICROSECOND, row.late),
        )
        for row in connection.execute(union_all(_waited(decided, decided.c.queue), _waited(decided, _NO_NAME)))
    ]
    return Figures(
        at=now,
        items=sum(row.times for row in counts if row.part == "items"),
        waiting=late + standing.get("waiting", 0),
        late=late,
        proposed=_quarters(counts, "proposed"),
        decided=_quarters(counts, "decided"),
        made=[
            Made(row.agent, row.tool, DecisionType(row.kind), row.name, row.times)
            for row in counts
            if row.part == "made"
        ],
        waits=sorted((queue, wait) for queue, wait in waits if queue is not None),
        wait=next((wait for queue, wait in waits if queue is None), None),
    )


def _latest(connection: Connection, workspace: str, *, since: datetime, now: datetime, limit: int) -> CTE:
    is_postgres = connection.dialect.name == "postgresql"

    def microseconds(at: Column[datetime]) -> ColumnElement[int]:
        if is_postgres:
            return cast(extract("epoch", at) * 1_000_000, BigInteger)
        return type_coerce(at, BigInteger)

    submitted, due, settled = map(microseconds, (items.c.submitted_at, items.c.due_at, items.c.settled_at))
    quarter = QUARTER // MICROSECOND
    is_decided = and_(
        items.c.decision_type.is_not(None),
        items.c.settled_at.is_not(None),
        items.c.route == Route.REVIEW.value,
        items.c.settled_by.is_distinct_from(POLICY),
    )
    first = UUID(int=max(int((since - _CLOCKS_DIFFER).timestamp() * 1000), 0) << 80)
    return (
        select(
            items.c.agent,
            items.c.tool,
            items.c.queue,
            items.c.route,
            items.c.decision_type,
            items.c.settled_by,
            case(
                (and_(text(UNDECIDED), items.c.due_at < now), "late"),
                (text(UNDECIDED), "waiting"),
                (is_decided, "decided"),
            ).label("standing"),
            case((items.c.purpose != Purpose.AUDIT.value, submitted // quarter)).label("proposed_in"),
            (settled // quarter).label("settled_in"),
            (settled - submitted).label("wait"),
            (due - submitted).label("allowed"),
            case((due < settled, 1), else_=0).label("is_late"),
        )
        .where(items.c.workspace == workspace, items.c.id >= first, items.c.submitted_at >= since)
        .order_by(items.c.id.desc())
        .limit(limit)
        .cte("latest")
    )


def _counted(part: str, of: CTE, **keys: ColumnElement[Any]) -> Select[Any]:
    """Return how many there are of each combination of the keys; the columns are the same for every part."""
    none: dict[str, ColumnElement[Any]] = {
        "agent": _NO_WORDS,
        "tool": _NO_WORDS,
        "name": _NO_NAME,
        "kind": _NO_WORDS,
        "at": _NO_TIME,
    }
    columns = (column.label(name) for name, column in (none | keys).items())
    counted = select(literal(part, Text).label("part"), *columns, func.count().label("times")).select_from(of)
    return counted.group_by(*keys.values())


def _quarters(counts: Sequence[Any], part: str) -> list[QuarterCount]:
    quarter = QUARTER // MICROSECOND
    found = (row for row in counts if row.part == part and row.at is not None)
    return [QuarterCount(instant(row.at * quarter), row.kind, row.times) for row in found]


def _waited(decided: CTE, queue: ColumnElement[Any]) -> Select[Any]:
    """Return how long they waited by queue, or all of them together where none is named."""
    ranked = select(
        queue.label("queue"),
        decided.c.wait,
        decided.c.allowed,
        decided.c.is_late,
        func.row_number().over(partition_by=queue, order_by=decided.c.wait).label("by_wait"),
        func.row_number().over(partition_by=queue, order_by=decided.c.allowed).label("by_allowed"),
        func.count().over(partition_by=queue).label("number"),
    ).subquery()
    half, nine_tenths = (ranked.c.number + 1) // 2, (ranked.c.number * 9 + 9) // 10
    return select(
        ranked.c.queue,
        func.count().label("decided"),
        func.max(case((ranked.c.by_wait == half, ranked.c.wait))).label("median"),
        func.max(case((ranked.c.by_wait == nine_tenths, ranked.c.wait))).label("p90"),
        func.max(case((ranked.c.by_allowed == half, ranked.c.allowed))).label("allowed"),
        cast(func.sum(ranked.c.is_late), BigInteger).label("late"),
    ).group_by(ranked.c.queue)
