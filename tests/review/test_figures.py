"""The figures of a desk, by table; and that they are read by the primary key, from both databases."""

from dataclasses import replace
from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import Approve, DecisionType, Reject, Route, Status
from db.store import SqlStore
from review.figures import (
    DayCount,
    Passage,
    Share,
    Wait,
    decided_by_day,
    load,
    proposed_by_day,
    rank,
    shares,
    waits,
)
from review.items import Purpose
from tests.builders import WORKSPACE, an_item, keeping
from tests.clock import START

MINUTE = timedelta(minutes=1)
WAITS = Passage(
    agent="shop",
    tool="refund",
    queue="general",
    purpose=Purpose.GATE,
    route=Route.REVIEW,
    status=Status.WAITING,
    decision=None,
    settled_by=None,
    submitted_at=START,
    due_at=START + 10 * MINUTE,
    settled_at=None,
)


def decided(minutes: int = 5, decision: DecisionType = DecisionType.APPROVE, by: str = "Ada") -> Passage:
    at = START + minutes * MINUTE
    return replace(WAITS, status=Status.SETTLED, decision=decision, settled_by=by, settled_at=at)


ALONE = replace(decided(0, by="policy"), route=Route.EXECUTE)
DENIED = replace(decided(0, DecisionType.REJECT, by="policy"), route=Route.DENY)
EXPIRED = replace(decided(30, DecisionType.REJECT, by="policy"), status=Status.EXPIRED)
COPY = replace(decided(5), purpose=Purpose.AUDIT)


def test_days_are_the_readers_and_count_what_was_proposed_by_its_route() -> None:
    late = replace(WAITS, submitted_at=START.replace(hour=23))

    counts = proposed_by_day([WAITS, late, late, ALONE, DENIED, COPY], ZoneInfo("Asia/Tokyo"))

    today = START.astimezone(ZoneInfo("Asia/Tokyo")).date()
    tomorrow = START.replace(hour=23).astimezone(ZoneInfo("Asia/Tokyo")).date()
    assert counts == [
        DayCount(today, "deny", 1),
        DayCount(today, "execute", 1),
        DayCount(today, "review", 1),
        DayCount(tomorrow, "review", 2),
    ]


def test_only_peoples_decisions_count_as_theirs() -> None:
    passages = [decided(), decided(6, DecisionType.REJECT, "Grace"), COPY, ALONE, DENIED, EXPIRED, WAITS]

    assert decided_by_day(passages, UTC) == [
        DayCount(date(START.year, START.month, START.day), "approve", 2),
        DayCount(date(START.year, START.month, START.day), "reject", 1),
    ]
    assert load(passages) == [("Ada", 2), ("Grace", 1)]
    assert shares(passages) == [
        Share("shop", "refund", DecisionType.APPROVE, 2, 3),
        Share("shop", "refund", DecisionType.REJECT, 1, 3),
    ]


def test_a_wait_is_told_by_its_half_and_its_nine_tenths_and_is_late_past_its_time() -> None:
    passages = [decided(minutes) for minutes in (1, 2, 3, 10, 11)] + [replace(decided(7), queue="urgent"), EXPIRED]

    assert waits(passages, START) == [
        Wait("general", 5, 3 * MINUTE, 11 * MINUTE, 10 * MINUTE, 1),
        Wait("urgent", 1, 7 * MINUTE, 7 * MINUTE, 10 * MINUTE, 0),
    ]


@pytest.mark.parametrize(("passage", "minutes", "is_late"), [(WAITS, 10, False), (WAITS, 11, True), (ALONE, 99, False)])
def test_what_still_waits_is_late_past_its_time(passage: Passage, minutes: int, *, is_late: bool) -> None:
    assert passage.is_late(START + minutes * MINUTE) is is_late


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0), ([4], 0.9, 4), ([1, 2], 0.5, 1), ([1, 2, 3], 0.5, 2), ([*range(1, 11)], 0.9, 9), ([1, 2], 1.0, 2)],
)
def test_a_rank_is_the_nearest(values: list[int], share: float, expected: int) -> None:
    assert rank([value * MINUTE for value in values], share) == expected * MINUTE


def test_passages_are_the_latest_of_the_workspace_since_then(store: SqlStore) -> None:
    made = [an_item(id=uuid7(), submitted_at=START + timedelta(hours=n)) for n in range(4)]
    made[3] = replace(
        made[3], status=Status.SETTLED, decision=Reject(message="No."), settled_by="Ada", settled_at=START, queue="q"
    )
    made[2] = replace(made[2], status=Status.SETTLED, decision=Approve(), settled_by="Ada", settled_at=START)
    store.write(keeping(*made, an_item(workspace="other", submitted_at=START + timedelta(hours=9))))

    def asked(since: int, limit: int) -> list[tuple[object, ...]]:
        since_then = START + timedelta(hours=since)
        found = store.read(lambda tx: tx.passages(WORKSPACE, since=since_then, limit=limit))
        return [(passage.submitted_at, passage.decision, passage.queue) for passage in found]

    latest = [
        (made[3].submitted_at, DecisionType.REJECT, "q"),
        (made[2].submitted_at, DecisionType.APPROVE, made[2].queue),
        (made[1].submitted_at, None, made[1].queue),
    ]
    assert asked(1, 9) == latest
    assert asked(1, 2) == latest[:2]
