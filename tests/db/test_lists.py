"""Keyset pages: complete, in order, without doubles; and the plans that keep them flat."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text

from agents.protocol import Execution, Reject, Status
from db.filings import Asked
from db.store import SqlStore, open_store
from review.audit import EventFilter
from review.items import Aside, Assignment, ItemFilter, ItemSummary, Order, Page, Purpose, ReviewItem
from review.store import FilingKey, Reading
from tests.builders import AGENT, ISSUER, WORKSPACE, a_claim, a_decision, a_note, ada, an_event, an_item, keeping
from tests.clock import START, MovableClock

FINAL = (Status.SETTLED, Status.EXPIRED, Status.CANCELLED)
WAITING = (Status.WAITING,)
UNDECIDED = (Status.WAITING, Status.CLAIMED)
TO_ADA = Assignment(ISSUER, ada.sub, ada.name, START + timedelta(hours=8), "Grace Hopper")

KEYS: dict[Order, tuple[Callable[[ReviewItem], Any], bool]] = {
    Order.URGENT: (lambda item: (item.priority, item.id), False),
    Order.NEWEST: (lambda item: item.id, True),
    Order.OLDEST: (lambda item: item.id, False),
    Order.SETTLED: (lambda item: (item.settled_at, item.id), True),
}


@st.composite
def some_items(draw: st.DrawFn) -> list[ReviewItem]:
    items = []
    for status in draw(st.lists(st.sampled_from(Status), max_size=12)):
        item = an_item(priority=draw(st.integers(1, 3)), status=status, queue=draw(st.sampled_from(["a", "b"])))
        if status is Status.CLAIMED:
            item = replace(item, claim=a_claim())
        if status in FINAL:
            item = replace(item, settled_at=START + timedelta(seconds=draw(st.integers(0, 2))))
        items.append(item)
    return items


@given(
    made=some_items(),
    order=st.sampled_from(Order),
    statuses=st.sets(st.sampled_from(Status), max_size=3),
    queue=st.sampled_from([None, "a"]),
    limit=st.integers(1, 5),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_pages_hold_every_item_once_and_in_order(
    sqlite_store: SqlStore,
    made: list[ReviewItem],
    order: Order,
    statuses: set[Status],
    queue: str | None,
    limit: int,
) -> None:
    workspace = f"w{an_item().id}"
    made = [replace(item, workspace=workspace) for item in made]
    sqlite_store.write(keeping(*made))
    where = ItemFilter(statuses=tuple(statuses), queue=queue)

    listed = all_pages(sqlite_store, workspace, where, order, limit)

    assert [line.id for line in listed] == [item.id for item in expected(made, where, order)]


@pytest.mark.parametrize("order", list(Order))
def test_pages_are_the_same_on_both_databases(store: SqlStore, order: Order) -> None:
    statuses = list(Status)
    made = [
        replace(
            an_item(priority=n % 3, status=statuses[n % 5], settled_at=START if statuses[n % 5].is_final else None),
            claim=a_claim() if statuses[n % 5] is Status.CLAIMED else None,
        )
        for n in range(40)
    ]
    store.write(keeping(*made))

    listed = all_pages(store, WORKSPACE, ItemFilter(), order, 7)

    assert [line.id for line in listed] == [item.id for item in expected(made, ItemFilter(), order)]


def all_pages(store: SqlStore, workspace: str, where: ItemFilter, order: Order, limit: int) -> list[ItemSummary]:
    lines: list[ItemSummary] = []
    cursor: str | None = None

    def next_page(tx: Reading) -> Page[ItemSummary]:
        return tx.items(workspace, where, order=order, limit=limit, cursor=cursor)

    for _ in range(100):
        page = store.read(next_page)
        lines += page.rows
        assert len(page.rows) <= limit
        cursor = page.next_cursor
        if cursor is None:
            return lines
    pytest.fail("The pages have no end.")


def expected(made: list[ReviewItem], where: ItemFilter, order: Order) -> list[ReviewItem]:
    wanted = [
        item
        for item in made
        if (not where.statuses or item.status in where.statuses)
        and where.queue in (None, item.queue)
        and (order is not Order.URGENT or item.status in UNDECIDED)
        and (order is not Order.SETTLED or item.settled_at is not None)
    ]
    key, descending = KEYS[order]
    return sorted(wanted, key=key, reverse=descending)


PLANNED: dict[str, tuple[Callable[[Any], object], set[str]]] = {
    "claim the next of all": (lambda tx: claim(tx, None), {"ix_items_urgent"}),
    "claim the next of a queue": (lambda tx: claim(tx, ["q3"]), {"ix_items_queue"}),
    "claim the next of several queues": (lambda tx: claim(tx, ["q1", "q2"]), {"ix_items_queue"}),
    "claim what is assigned": (lambda tx: claim(tx, None), {"ix_items_assigned", "ix_items_urgent"}),
    "when the oldest of a queue came": (lambda tx: tx.oldest_waiting(WORKSPACE, "q3"), {"ix_items_queue"}),
    "queues that are not empty": (lambda tx: tx.waiting_queues(WORKSPACE), {"ix_items_queue"}),
    "list the overdue": (
        lambda tx: listed(tx, Order.URGENT, statuses=WAITING, is_breached=True),
        {"ix_items_breached"},
    ),
    "list the overdue of a queue": (
        lambda tx: listed(tx, Order.URGENT, statuses=WAITING, is_breached=True, queue="q3"),
        {"ix_items_breached_queue"},
    ),
    "list the assigned": (lambda tx: listed(tx, Order.URGENT, statuses=(Aside.ASSIGNED,)), {"ix_items_aside"}),
    "list the snoozed": (lambda tx: listed(tx, Order.URGENT, statuses=(Aside.SNOOZED,)), {"ix_items_aside"}),
    "what was not decided in time": (lambda tx: tx.undecided_in_time(limit=20), {"ix_items_due_at"}),
    "what is due soon": (lambda tx: tx.due_by(WORKSPACE, tx.now + timedelta(minutes=30)), {"ix_items_due_at"}),
    "the queues of what is assigned": (
        lambda tx: tx.assigned_queues(WORKSPACE, ada.iss, ada.sub),
        {"ix_items_assigned"},
    ),
    "ended assignments": (lambda tx: tx.ended_assignments(limit=20), {"ix_items_assigned_until"}),
    "what slept enough": (lambda tx: tx.rested_items(limit=20), {"ix_items_snoozed_until"}),
    "list the urgent": (lambda tx: listed(tx, Order.URGENT, statuses=WAITING), {"ix_items_urgent"}),
    "list a queue": (lambda tx: listed(tx, Order.URGENT, statuses=WAITING, queue="q3"), {"ix_items_queue"}),
    "list what was observed": (
        lambda tx: listed(tx, Order.URGENT, statuses=WAITING, purpose=Purpose.SHADOW),
        {"ix_items_afterwards"},
    ),
    "how much ran already": (
        lambda tx: tx.count_items(WORKSPACE, ItemFilter(statuses=WAITING, purpose=Purpose.AUDIT)),
        {"ix_items_afterwards"},
    ),
    "how much stands in line": (
        lambda tx: tx.count_items(WORKSPACE, ItemFilter(statuses=WAITING, purpose=Purpose.GATE)),
        {"ix_items_in_line"},
    ),
    "list the newest": (lambda tx: listed(tx, Order.NEWEST), {"pk_items"}),
    "list the oldest": (lambda tx: listed(tx, Order.OLDEST), {"pk_items"}),
    "list the newest that wait": (
        lambda tx: listed(tx, Order.NEWEST, statuses=WAITING),
        {"ix_items_waiting"},
    ),
    "list the oldest that wait": (
        lambda tx: listed(tx, Order.OLDEST, statuses=WAITING),
        {"ix_items_waiting"},
    ),
    "list an agent's": (lambda tx: listed(tx, Order.NEWEST, agent=AGENT), {"ix_items_agent"}),
    "list the latest settled": (lambda tx: listed(tx, Order.SETTLED), {"ix_items_settled"}),
    "list whole items": (lambda tx: tx.whole_items(WORKSPACE, ItemFilter(), limit=20), {"pk_items"}),
    "an item": (lambda tx: tx.item(WORKSPACE, an_item().id), {"pk_items"}),
    "an item by its key": (
        lambda tx: tx.item_by_key(WORKSPACE, AGENT, "k7"),
        {"uq_items_workspace_agent_idempotency_key"},
    ),
    # Among as few claims as there are people, PostgreSQL takes one or the other of their indexes.
    "what a person holds": (lambda tx: tx.held_by(WORKSPACE, ISSUER, ada.sub), set()),
    "what a person holds, and whether a claim lapsed": (
        lambda tx: tx.held_and_lapsed(WORKSPACE, ISSUER, ada.sub),
        {"ix_items_claim_until"},
    ),
    "lapsed claims": (lambda tx: tx.lapsed_claims(limit=20), {"ix_items_claim_until"}),
    "overdue items": (lambda tx: tx.overdue_items(limit=20), {"ix_items_expires_at"}),
    "decisions that are to count": (lambda tx: tx.due_decisions(limit=20), {"ix_items_settles_at"}),
    "what a person can undo": (lambda tx: tx.undoable(WORKSPACE, ada.iss, ada.sub), set()),
    "overdue outcomes": (lambda tx: tx.overdue_outcomes(limit=20), {"ix_items_outcome_due_at"}),
    "list what nobody knows": (
        lambda tx: listed(tx, Order.SETTLED, statuses=FINAL, execution=Execution.UNKNOWN),
        {"ix_items_unknown"},
    ),
    "rejections of a call": (lambda tx: tx.rejections(WORKSPACE, AGENT, an_item().digest), {"ix_items_rejected"}),
    "what people settled alike": (
        lambda tx: tx.settled_alike(WORKSPACE, AGENT, "refund_order", limit=20),
        {"ix_items_judged"},
    ),
    "claim next, passing over some": (
        lambda tx: claim(tx, None, passing_over=[an_item().id]),
        {"ix_items_urgent"},
    ),
    "how many of an agent's stand in line": (
        # Of an agent of whom most are, PostgreSQL finds them as fast in another index.
        lambda tx: tx.count_in_line(WORKSPACE, "one of many", limit=500),
        {"ix_items_in_line"},
    ),
    "decisions of an item": (lambda tx: tx.decisions_of(WORKSPACE, an_item().id), {"ix_decisions_item"}),
    "what a person decided since": (
        lambda tx: tx.decided_by(WORKSPACE, ISSUER, ada.sub, since=START + timedelta(days=1)),
        {"ix_items_settled", "ix_decisions_item"},
    ),
    "notes of an item": (lambda tx: tx.notes_of(WORKSPACE, an_item().id), {"ix_notes_item"}),
    "events": (lambda tx: tx.events(WORKSPACE, EventFilter(), limit=20), {"uq_audit_events_workspace_id"}),
    "events of an item": (
        lambda tx: tx.events(WORKSPACE, EventFilter(item_id=an_item().id), limit=20),
        {"ix_audit_events_item"},
    ),
    "events to export": (
        lambda tx: tx.events_after(WORKSPACE, EventFilter(), limit=20, after=an_event().id),
        {"uq_audit_events_workspace_id"},
    ),
}


# SQLite gives the indexes of its constraints names of its own.
SQLITE_NAMES = {
    "pk_items": "sqlite_autoindex_items_1",
    "uq_items_workspace_agent_idempotency_key": "sqlite_autoindex_items_2",
    "uq_audit_events_workspace_id": "sqlite_autoindex_audit_events_1",
}


def claim(tx: Any, queues: list[str] | None, **more: Any) -> object:  # noqa: ANN401 -- what a work is given
    until = START + timedelta(minutes=10)
    return tx.claim_next(WORKSPACE, queues=queues, iss="i", sub="s", name="n", until=until, **more)


def listed(tx: Any, order: Order, **where: Any) -> object:  # noqa: ANN401 -- what a work is given, and fields of the filter
    first = tx.items(WORKSPACE, ItemFilter(**where), order=order, limit=20)
    return tx.items(WORKSPACE, ItemFilter(**where), order=order, limit=20, cursor=first.next_cursor)


@pytest.mark.parametrize("kept", ["crowded_sqlite", "uncounted_sqlite"])
@pytest.mark.parametrize("question", list(PLANNED))
def test_every_question_is_answered_from_its_index_on_sqlite(
    request: pytest.FixtureRequest, kept: str, question: str
) -> None:
    ask, indexes = PLANNED[question]

    plans = explained(request.getfixturevalue(kept), ask, "EXPLAIN QUERY PLAN ")

    used = [SQLITE_NAMES.get(name, name) for name in indexes]
    assert [name for name in used if not any(name in line for line in plans)] == [], plans
    # What a question within the question has found is itself a table, which is then read through.
    read_through = (line for line in plans if re.match(r"SCAN (?!anon_|CONSTANT ROW$)", line))
    assert not [*read_through, *(line for line in plans if "TEMP B-TREE" in line)], plans


# So few are aside that PostgreSQL takes another of their indexes, and sorts them; and here all that waits is in line.
AS_GOOD_BY_ANOTHER = {"list the assigned", "list the snoozed", "how much stands in line"}


@pytest.mark.postgres
@pytest.mark.parametrize("question", [question for question in PLANNED if question not in AS_GOOD_BY_ANOTHER])
def test_every_question_is_answered_from_its_index_on_postgres(crowded_postgres: SqlStore, question: str) -> None:
    ask, indexes = PLANNED[question]

    plans = explained(crowded_postgres, ask, "EXPLAIN ")

    assert [name for name in indexes if not any(name in line for line in plans)] == [], plans
    assert not [line for line in plans if "Seq Scan on" in line or "Sort" in line], plans


ANNOUNCED = [Asked(FilingKey(WORKSPACE, AGENT, "k7"), an_item().digest)]
KNOWN_BY = {"uq_items_workspace_agent_idempotency_key", "ix_items_rejected"}


def look_up_announced(tx: Any) -> object:  # noqa: ANN401 -- what a work is given
    return tx._filings.expect(ANNOUNCED)  # noqa: SLF001 -- whoever commits asks for it, before any work


def test_what_is_known_of_submissions_is_answered_from_indexes_on_sqlite(crowded_sqlite: SqlStore) -> None:
    plans = explained(crowded_sqlite, look_up_announced, "EXPLAIN QUERY PLAN ")

    used = [SQLITE_NAMES.get(name, name) for name in KNOWN_BY]
    assert [name for name in used if not any(name in line for line in plans)] == [], plans
    # What was asked is itself a table, and the only one that is read through.
    assert not [line for line in plans if line.startswith("SCAN") and "VIRTUAL TABLE" not in line], plans


@pytest.mark.postgres
def test_what_is_known_of_submissions_is_answered_from_indexes_on_postgres(crowded_postgres: SqlStore) -> None:
    plans = explained(crowded_postgres, look_up_announced, "EXPLAIN ")

    assert [name for name in KNOWN_BY if not any(name in line for line in plans)] == [], plans
    assert not [line for line in plans if "Seq Scan on" in line], plans


@pytest.mark.postgres
def test_keys_are_looked_up_in_their_index_before_there_are_statistics(
    postgres_database: Callable[[], AbstractContextManager[str]],
) -> None:
    with postgres_database() as url, closing(open_store(url, clock=MovableClock())) as store:
        for items in ([an_item(idempotency_key=f"{n}-{each}") for each in range(100)] for n in range(3)):
            store.write(keeping(*items))
            plans = [
                *explained(store, look_up_announced, "EXPLAIN "),
                *explained(store, lambda tx: tx.item_by_key(WORKSPACE, AGENT, "k7"), "EXPLAIN "),
            ]

    assert [line for line in plans if "on items" in line and not any(name in line for name in KNOWN_BY)] == [], plans
    assert sum("uq_items_workspace_agent_idempotency_key" in line for line in plans) == 2, plans


def explained(store: SqlStore, ask: Callable[[Any], object], word: str) -> list[str]:
    """The plans of all that the question asks of the database, but for the look at what it wrote itself."""
    plans: list[str] = []

    def explain(_connection: Connection, cursor: Any, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401 -- the driver's
        if statement.lstrip().startswith(("SELECT", "UPDATE")):
            inner = cursor.connection.cursor()
            inner.execute(word + statement, parameters)
            plans.extend(str(row[-1]) for row in inner.fetchall())

    engine = store._engines.writing  # noqa: SLF001 -- the plan can only be seen where the statement is sent
    event.listen(engine, "before_cursor_execute", explain)
    try:
        store.write(ask)
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    return plans


# One in four of the settled each: still running, of nobody knows what became, rejected, run.
SETTLED_AS: tuple[dict[str, Any], ...] = (
    {"execution": Execution.STARTED, "outcome_due_at": START + timedelta(minutes=15)},
    {"execution": Execution.UNKNOWN},
    {"decision": Reject(message="No.")},
    {"execution": Execution.SUCCEEDED},
)


# A few of those that wait: for one person, asleep, or longer than they should.
WAITING_AS: dict[int, dict[str, Any]] = {
    4: {"assignment": TO_ADA},
    8: {"snoozed_until": START + timedelta(hours=1)},
    12: {"breached_at": START},
    36: {"breached_at": START},
}


def crowd(store: SqlStore, *, counts: bool = True) -> SqlStore:
    """Fill the store with enough for a planner to prefer an index: most settled, many waiting, a few held or aside."""

    def work(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
        for n in range(2_000):
            status = FINAL[n % 3] if n % 4 else (UNDECIDED[n % 40 == 0])
            item = replace(
                an_item(priority=n % 5, queue=f"q{n % 7}", status=status, agent=(AGENT, "stock", "copy")[n % 3]),
                idempotency_key=f"k{n}",
                settled_at=START + timedelta(seconds=n) if status in FINAL else None,
                claim=None,
            )
            if status is Status.SETTLED:
                item = replace(item, **SETTLED_AS[n // 3 % len(SETTLED_AS)], digest=f"sha256:{n:064}")
            if status is Status.CLAIMED:
                item = replace(item, claim=a_claim(sub=f"person {n}", until=START + timedelta(minutes=n + 1)))
            if status is Status.WAITING:
                item = replace(item, **WAITING_AS.get(n % 100, {}))
            tx.add_item(item)
            tx.record(an_event(item_id=item.id))
            if status in FINAL:
                tx.add_decision(a_decision(item))
                tx.add_note(a_note(item))

    store.write(work)
    if counts:
        with store._engines.writing.begin() as connection:  # noqa: SLF001 -- no question of ours gathers statistics
            connection.execute(text("ANALYZE"))
    return store


@pytest.fixture(scope="module")
def crowded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    url = f"sqlite:///{tmp_path_factory.mktemp('crowd') / 'signoff.db'}"
    with closing(open_store(url, clock=MovableClock())) as store:
        yield crowd(store)


@pytest.fixture(scope="module")
def uncounted_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    url = f"sqlite:///{tmp_path_factory.mktemp('crowd') / 'uncounted.db'}"
    with closing(open_store(url, clock=MovableClock())) as store:
        yield crowd(store, counts=False)


@pytest.fixture(scope="module")
def crowded_postgres(postgres_database: Callable[[], AbstractContextManager[str]]) -> Iterator[SqlStore]:
    with postgres_database() as url, closing(open_store(url, clock=MovableClock())) as store:
        yield crowd(store)
