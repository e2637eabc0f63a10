"""The figures of a desk: both databases count what is reckoned item by item; then by day, tool and person, by table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import ceil
from random import Random
from zoneinfo import ZoneInfo

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import Approve, DecisionType, Reject, Respond, Route, Status
from db.store import SqlStore
from review.figures import (
    DayCount,
    Figures,
    Made,
    QuarterCount,
    Share,
    Wait,
    by_day,
    load,
    shares,
)
from review.items import Assignment, Purpose, ReviewItem
from review.records import FIGURES_KEPT, FIGURES_KEPT_FROM
from tests.builders import ISSUER, WORKSPACE, a_claim, a_request, an_action, an_item, grace, keeping
from tests.clock import START, MovableClock
from tests.console import Console

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
TOKYO = ZoneInfo("Asia/Tokyo")


def varied(count: int) -> list[ReviewItem]:
    """Items of every kind, none of them alike, from the same seed each time."""
    random = Random(5)  # noqa: S311 -- no secret
    found: list[ReviewItem] = []
    for number in range(count):
        submitted_at = START - random.random() * 20 * DAY
        item = an_item(
            id=uuid7(int(submitted_at.timestamp()), number),
            agent=random.choice(["support", "stock"]),
            request=a_request(action=an_action(random.choice(["refund", "move"]))),
            queue=random.choice(["general", "urgent", "back\\slash"]),
            purpose=random.choice([Purpose.GATE, Purpose.GATE, Purpose.SHADOW, Purpose.AUDIT]),
            submitted_at=submitted_at,
            due_at=submitted_at + random.choice([10, 30, 60]) * MINUTE,
        )
        found.append(gone(item, random))
    return found


def gone(item: ReviewItem, random: Random) -> ReviewItem:
    settled_at = item.submitted_at + random.randrange(40 * 60) * timedelta(seconds=1)
    settled = {"status": Status.SETTLED, "settled_at": settled_at}
    by_policy = {"decision": Reject(), "settled_by": "policy"}
    ways = [
        {},
        {"due_at": START + MINUTE},
        {"status": Status.CLAIMED, "claim": a_claim()},
        {"assignment": Assignment(ISSUER, "lin", "Lin", START + DAY, "Grace")},
        {"snoozed_until": START + DAY},
        {"status": Status.CANCELLED},
        settled | by_policy | {"status": Status.EXPIRED},
        *(settled | by_policy | {"route": route} for route in (Route.EXECUTE, Route.DENY)),
        *(
            settled | {"decision": decision, "settled_by": name}
            for decision in (Approve(), Reject(message="No."), Respond(message="It is on its way."))
            for name in ("Ada", "Grace \\0")
        ),
    ]
    return replace(item, **random.choice(ways))  # type: ignore[arg-type]  # fields of an item, each of its own type


def reckoned(items: Iterable[ReviewItem], since: datetime, limit: int) -> Figures:
    """The figures as somebody would reckon them who looks at one item after the other."""
    looked_at = sorted((item for item in items if item.submitted_at >= since), key=lambda item: item.id)[-limit:]
    waiting = [item for item in looked_at if not item.status.is_final]
    decided = [
        item for item in looked_at if item.decision and item.route is Route.REVIEW and item.settled_by != "policy"
    ]
    return Figures(
        at=START,
        items=len(looked_at),
        waiting=len(waiting),
        late=sum(item.due_at < START for item in waiting),
        proposed=quarters(
            (item.submitted_at, item.route.value) for item in looked_at if item.purpose is not Purpose.AUDIT
        ),
        decided=quarters((at, kind_of(item).value) for item in decided if (at := item.settled_at)),
        made=sorted(
            Made(*key, times)
            for key, times in Counter(
                (item.agent, item.request.action.name, kind_of(item), item.settled_by) for item in decided
            ).items()
        ),
        waits=[
            (queue, waited([item for item in decided if item.queue == queue]))
            for queue in sorted({item.queue for item in decided})
        ],
        wait=waited(decided) if decided else None,
    )


def kind_of(item: ReviewItem) -> DecisionType:
    assert item.decision is not None
    return DecisionType(item.decision.type)


def quarters(told: Iterable[tuple[datetime, str]]) -> list[QuarterCount]:
    begun = ((at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0), kind) for at, kind in told)
    return sorted(QuarterCount(at, kind, times) for (at, kind), times in Counter(begun).items())


def waited(decided: Sequence[ReviewItem]) -> Wait:
    waits = sorted(item.settled_at - item.submitted_at for item in decided if item.settled_at)
    allowed = sorted(item.due_at - item.submitted_at for item in decided)
    half, nine_tenths = ceil(len(waits) / 2) - 1, ceil(len(waits) * 9 / 10) - 1
    late = sum(item.due_at < item.settled_at for item in decided if item.settled_at)
    return Wait(len(decided), waits[half], waits[nine_tenths], allowed[half], late)


def in_order(figures: Figures) -> Figures:
    return replace(
        figures,
        proposed=sorted(figures.proposed),
        decided=sorted(figures.decided),
        made=sorted(figures.made),
    )


@pytest.mark.parametrize(("days", "limit"), [(30, 1000), (7, 1000), (30, 90), (30, 1), (30, 10), (30, 11)], ids=str)
def test_the_figures_are_what_one_would_reckon_item_by_item(store: SqlStore, days: int, limit: int) -> None:
    items = varied(300)
    store.write(keeping(*items, an_item(workspace="other")))
    since = START - days * DAY

    found = store.read(lambda tx: tx.figures(WORKSPACE, since=since, limit=limit))

    assert in_order(found) == reckoned(items, since, limit)


def test_there_are_no_figures_of_nothing(store: SqlStore) -> None:
    found = store.read(lambda tx: tx.figures(WORKSPACE, since=START, limit=9))

    assert found == reckoned([], START, 9)


def test_a_wait_is_told_by_the_nearest_ranks_and_is_late_past_its_time(store: SqlStore) -> None:
    waits = [("general", minutes) for minutes in (1, 2, 3, 10, 11)] + [("urgent", 7)]
    store.write(
        keeping(
            *(
                an_item(
                    queue=queue,
                    due_at=START + 10 * MINUTE,
                    status=Status.SETTLED,
                    decision=Approve(),
                    settled_by="Ada",
                    settled_at=START + minutes * MINUTE,
                )
                for queue, minutes in waits
            )
        )
    )

    found = store.read(lambda tx: tx.figures(WORKSPACE, since=START, limit=9))

    assert found.waits == [
        ("general", Wait(5, 3 * MINUTE, 11 * MINUTE, 10 * MINUTE, 1)),
        ("urgent", Wait(1, 7 * MINUTE, 7 * MINUTE, 10 * MINUTE, 0)),
    ]
    assert found.wait == Wait(6, 3 * MINUTE, 11 * MINUTE, 10 * MINUTE, 1)


def test_days_are_the_readers() -> None:
    midnight = datetime(2026, 11, 2, 15, tzinfo=UTC)  # In Tokyo.
    before = midnight - 15 * MINUTE

    counts = [
        QuarterCount(midnight, "review", 2),
        QuarterCount(before, "review", 1),
        QuarterCount(before - 15 * MINUTE, "review", 1),
        QuarterCount(before, "deny", 4),
    ]

    assert by_day(counts, TOKYO) == [
        DayCount(date(2026, 11, 2), "deny", 4),
        DayCount(date(2026, 11, 2), "review", 2),
        DayCount(date(2026, 11, 3), "review", 2),
    ]


def test_what_was_made_is_shared_out_by_tool_and_by_person() -> None:
    made = [
        Made("shop", "refund", DecisionType.REJECT, "Grace", 1),
        Made("shop", "refund", DecisionType.APPROVE, "Ada", 2),
        Made("shop", "refund", DecisionType.APPROVE, "Grace", 3),
        Made("shop", "move", DecisionType.APPROVE, None, 9),
    ]

    assert shares(made) == [
        Share("shop", "move", DecisionType.APPROVE, 9, 9),
        Share("shop", "refund", DecisionType.APPROVE, 5, 6),
        Share("shop", "refund", DecisionType.REJECT, 1, 6),
    ]
    assert load(made) == [("Grace", 4), ("Ada", 2)]


@pytest.mark.parametrize("count", [FIGURES_KEPT_FROM - 1, FIGURES_KEPT_FROM])
def test_only_the_figures_of_many_are_kept_for_a_while(sqlite_store: SqlStore, clock: MovableClock, count: int) -> None:
    house, item = Console(sqlite_store), an_item()
    sqlite_store.write(keeping(*(replace(item, id=uuid7()) for _ in range(count))))
    before = house.records.figures(grace, days=7)
    sqlite_store.write(keeping(an_item()))

    soon = house.records.figures(grace, days=7).items
    others = house.records.figures(replace(grace, workspace="other"), days=7).items
    clock.advance(FIGURES_KEPT)
    later = house.records.figures(grace, days=7).items

    assert before.items == count
    assert soon == (count if count == FIGURES_KEPT_FROM else count + 1)
    assert others == 0
    assert later == count + 1
