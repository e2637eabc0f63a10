"""The sealer: every committed event gets one place in the tree, whatever breaks, and checkpoints come in time."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from joserfc.jwk import OKPKey
from sqlalchemy import event, text

from db.store import SqlStore, open_store
from review.audit import EventFilter, LogHead, SealedEvent
from review.checkpoints import Checkpoint, opened, trusted, verifier_key
from review.errors import SealingBusyError
from review.merkle import Frontier, leaf_hash
from review.sealer import (
    CHECKPOINT_EVERY,
    IDLE_CHECKPOINT_EVERY,
    LEAVES_PER_CHECKPOINT,
    Sealer,
    heartbeat,
)
from review.signing import MAX_CARRIED, Receipts
from tests.builders import WORKSPACE, an_event, keeping
from tests.clock import MovableClock
from tests.review.steps import all_at_once
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
KEY = OKPKey.generate_key("Ed25519")
SECOND = timedelta(seconds=1)


class _CrashError(Exception):
    pass


def a_sealer(store: SqlStore) -> Sealer:
    return Sealer(store, Receipts(KEY, issuer="https://desk.example"))


@pytest.fixture
def sealer(store: SqlStore) -> Sealer:
    return a_sealer(store)


def happen(store: SqlStore, count: int, workspace: str = WORKSPACE) -> list[bytes]:
    """Let so many things happen; return their leaves in order."""
    made = [an_event(workspace=workspace) for _ in range(count)]
    store.write(keeping(*made))
    kept = store.read(lambda tx: tx.events_after(workspace, EventFilter(), limit=1_000_000, after=None))
    leaves = {each.id: each.leaf for each in kept}
    return [leaves[each.id] for each in made]


def sealed(store: SqlStore, workspace: str = WORKSPACE) -> list[SealedEvent]:
    asked = {"begin": 0, "size": 1_000_000, "limit": 1_000_000}
    return list(store.read(lambda tx: tx.sealed_events(workspace, EventFilter(), **asked)))


def head(store: SqlStore, workspace: str = WORKSPACE) -> LogHead:
    found = store.read(lambda tx: tx.log_head(workspace))
    assert found is not None, "there is no checkpoint"
    return found


def signed_checkpoint(log: LogHead) -> Checkpoint:
    keys = trusted(verifier_key(log.origin, Receipts(KEY, issuer="").verifying_key))
    return Checkpoint.parse(opened(log.note, keys))


def require_whole(store: SqlStore, leaves: list[bytes], workspace: str = WORKSPACE) -> None:
    """Each leaf once, in order, under a signed root that is the root of just these."""
    found = sealed(store, workspace)
    assert [each.leaf for each in found] == leaves
    assert [each.index for each in found] == list(range(len(leaves)))
    frontier = Frontier().extended(leaf_hash(leaf) for leaf in leaves)
    log = head(store, workspace)
    assert log.frontier == frontier
    assert signed_checkpoint(log) == Checkpoint(f"desk.example/{workspace}", len(leaves), frontier.root())
    hashes = store.read(lambda tx: tx.log_hashes(workspace, 0, 0, len(leaves)))
    assert hashes == [leaf_hash(leaf) for leaf in leaves]


def test_events_are_sealed_once_and_in_order_of_arrival(store: SqlStore, sealer: Sealer) -> None:
    leaves = happen(store, 700)
    sealer.seal()
    leaves += happen(store, 1)
    sealer.seal()
    leaves += happen(store, 2_500)

    sealer.seal()
    sealer.seal()

    require_whole(store, leaves)
    # Two, then three whole checkpoints' worth; sealing nothing signs nothing.
    assert head(store).number == 5
    kept = store.read(lambda tx: tx.log_hashes(WORKSPACE, 8, 0, 100))
    assert kept == [
        Frontier().extended(map(leaf_hash, leaves[at : at + 256])).root() for at in range(0, len(leaves) - 255, 256)
    ]


def test_each_workspace_has_a_log_of_its_own(store: SqlStore, sealer: Sealer) -> None:
    ours, theirs = [], []
    for _ in range(5):
        ours += happen(store, 2)
        theirs += happen(store, 3, "paris")
        sealer.seal()

    require_whole(store, ours)
    require_whole(store, theirs, "paris")
    assert [log.workspace for log in store.read(lambda tx: tx.log_heads())] == [WORKSPACE, "paris"]


def test_a_checkpoint_is_signed_every_minute_and_every_thousand_leaves(
    store: SqlStore, sealer: Sealer, clock: MovableClock
) -> None:
    counts = []

    for count, wait in (
        (0, SECOND),  # Nothing happened: no log.
        (1, SECOND),  # The first event.
        (LEAVES_PER_CHECKPOINT - 1, CHECKPOINT_EVERY - SECOND),
        (0, SECOND),  # A minute after the checkpoint.
        (LEAVES_PER_CHECKPOINT, SECOND),  # At once.
        (2 * LEAVES_PER_CHECKPOINT + 1, SECOND),  # The last has to wait.
    ):
        happen(store, count)
        clock.advance(wait)
        counts.append(sealer.tick())

    assert counts == [0, 1, 0, LEAVES_PER_CHECKPOINT - 1, LEAVES_PER_CHECKPOINT, 2 * LEAVES_PER_CHECKPOINT]


def test_an_idle_log_is_signed_again_every_hour(store: SqlStore, sealer: Sealer, clock: MovableClock) -> None:
    happen(store, 1)
    sealer.tick()
    numbers = []

    for wait in (IDLE_CHECKPOINT_EVERY - SECOND, SECOND, SECOND, IDLE_CHECKPOINT_EVERY):
        clock.advance(wait)
        sealer.tick()
        numbers.append(head(store).number)

    assert numbers == [1, 2, 2, 3]
    assert (head(store).at, signed_checkpoint(head(store)).size) == (clock(), 1)


@pytest.mark.parametrize(
    ("events", "ticks", "seconds", "expected"),
    [
        (0, 0, 999_999, "beats"),
        (1, 0, 119, "beats"),
        (1, 0, 120, "missing"),
        (1, 1, 7199, "beats"),
        (1, 1, 7200, "missing"),
    ],
)
def test_a_heartbeat_is_missing_after_two_intervals(
    sqlite_store: SqlStore, clock: MovableClock, events: int, ticks: int, *, seconds: int, expected: str
) -> None:
    happen(sqlite_store, events)
    for _ in range(ticks):
        a_sealer(sqlite_store).tick()

    clock.advance(timedelta(seconds=seconds))

    assert heartbeat(sqlite_store).is_missing is (expected == "missing")


def test_the_name_of_a_log_lasts_though_the_address_changes(store: SqlStore, sealer: Sealer) -> None:
    happen(store, 1)
    sealer.seal()
    happen(store, 1)

    Sealer(store, Receipts(KEY, issuer="https://elsewhere.example")).seal()

    assert (head(store).origin, head(store).frontier.size) == ("desk.example/default", 2)


@contextmanager
def crashing_at(store: SqlStore, at: int) -> Iterator[list[str]]:
    """Raise in place of the ``at``-th statement that the store sends; yield what it sent."""
    sent: list[str] = []

    def before(_: Any, __: Any, statement: str, *___: object) -> None:  # noqa: ANN401 -- SQLAlchemy's signature
        sent.append(statement)
        if len(sent) == at:
            raise _CrashError

    engines = (store._engines.writing, store._engines.reading)  # noqa: SLF001 -- where statements can be seen
    for engine in engines:
        event.listen(engine, "before_cursor_execute", before)
    try:
        yield sent
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", before)


def test_a_crash_at_any_step_loses_and_duplicates_no_leaf(store: SqlStore, sealer: Sealer) -> None:
    leaves = happen(store, 300)
    sealer.seal()
    broken: list[str] = []

    for at in range(1, 100):
        leaves += happen(store, 2)
        with crashing_at(store, at) as sent:
            try:
                sealer.seal()
            except _CrashError:
                broken.append(sent[-1])
            else:
                break

    require_whole(store, leaves)
    assert len(sent) < at
    tables = ("audit_leaves", "checkpoints")
    assert [table for table in tables if not any(f"INSERT INTO {table}" in statement for statement in broken)] == []


WORKER = """
import itertools, sys
from joserfc.jwk import OKPKey
from db.store import open_store
from review.sealer import Sealer
from review.signing import Receipts
from tests.builders import an_event, keeping

url, pem = sys.argv[1:]
store = open_store(url)
sealer = Sealer(store, Receipts(OKPKey.import_key(pem), issuer="https://desk.example"))
print("begun", flush=True)
for _ in itertools.count():
    store.write(keeping(*(an_event() for _ in range(7))))
    sealer.seal()
"""


def test_a_sealer_that_is_killed_leaves_a_log_that_goes_on(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # PostgreSQL lets go of what a killed process held once it has noticed.
    monkeypatch.setattr("review.sealer._PATIENCE_S", PATIENCE_SECONDS)
    pem = KEY.as_pem(private=True).decode()
    pause = threading.Event()

    for round_ in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), store_url, pem],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"begun\n"
        pause.wait(0.05 + 0.037 * round_)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()

    store = open_store(store_url)
    try:
        a_sealer(store).seal()
        with store._engines.reading.begin() as connection:  # noqa: SLF001 -- in the order of their arrival
            kept = connection.execute(text("SELECT leaf FROM audit_events ORDER BY seq")).scalars().all()
        require_whole(store, [leaf.encode() for leaf in kept])
        assert kept
    finally:
        store.close()


def test_sealers_of_several_processes_seal_each_event_once(store_url: str, request: pytest.FixtureRequest) -> None:
    open_one: Callable[[str], SqlStore] = request.getfixturevalue("opened")
    stores = [open_one(store_url) for _ in range(3)]

    def run(number: int) -> None:
        for _ in range(15):
            happen(stores[number], 3)
            a_sealer(stores[number]).seal()

    results = all_at_once(3, run)

    # One that is never let through in two seconds says so, and has lost nothing.
    assert [each for each in results if each is not None and not isinstance(each, SealingBusyError)] == []
    a_sealer(stores[0]).seal()
    with stores[0]._engines.reading.begin() as connection:  # noqa: SLF001 -- in the order of their arrival
        kept = connection.execute(text("SELECT leaf FROM audit_events ORDER BY seq")).scalars().all()
    found = sealed(stores[0])
    assert sorted(each.leaf for each in found) == sorted(leaf.encode() for leaf in kept)
    require_whole(stores[0], [each.leaf for each in found])


INSERT = """
INSERT INTO audit_events (workspace, id, at, kind, actor_id, actor_name, leaf)
VALUES ('default', gen_random_uuid(), now(), 'signed_in', 'a', 'a', %s)
"""


@pytest.mark.postgres
def test_nothing_is_sealed_past_an_event_that_may_still_be_committed(
    postgres_store: SqlStore, postgres_url: str
) -> None:
    sealer = a_sealer(postgres_store)
    leaves = happen(postgres_store, 1)
    with psycopg.connect(postgres_url) as late:
        late.execute(INSERT, ["late"])
        later = happen(postgres_store, 2)

        before = postgres_store.unsealed(limit=10)
        sealer.tick()
        meanwhile = postgres_store.unsealed(limit=10)

        late.commit()
    sealer.seal()

    assert [each.leaf for each in before] == leaves
    assert list(meanwhile) == []
    require_whole(postgres_store, [*leaves, b"late", *later])


@pytest.mark.postgres
def test_what_was_rolled_back_does_not_hold_the_log_up(postgres_store: SqlStore, postgres_url: str) -> None:
    leaves = []

    for _ in range(3):
        with psycopg.connect(postgres_url) as connection:
            connection.execute(INSERT, ["never"])
            connection.rollback()
        leaves += happen(postgres_store, 2)
    a_sealer(postgres_store).seal()

    require_whole(postgres_store, leaves)


@pytest.mark.postgres
def test_a_transaction_that_holds_the_log_up_does_not_hold_the_submits_up(
    postgres_store: SqlStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.sealing.SETTLE_SECONDS", PATIENCE_SECONDS)
    sealer = a_sealer(postgres_store)
    with psycopg.connect(postgres_url) as late:
        late.execute(INSERT, ["late"])
        happen(postgres_store, 1)
        waiting = threading.Thread(target=sealer.tick)
        waiting.start()

        happen(postgres_store, 1)
        is_still_waiting = waiting.is_alive()

        late.rollback()
        waiting.join(PATIENCE_SECONDS)
    assert is_still_waiting
    assert not waiting.is_alive()


def test_receipts_carry_the_latest_checkpoint_of_their_workspace(store: SqlStore) -> None:
    receipts = Receipts(KEY, issuer="https://desk.example")
    happen(store, 1)
    happen(store, 1, "paris")

    Sealer(store, receipts).tick()
    # As it is when the house has been started again: the checkpoint comes from the database.
    fresh = Receipts(KEY, issuer="https://desk.example")
    Sealer(store, fresh).tick()

    carried = [each.carried(workspace) for each in (receipts, fresh) for workspace in (WORKSPACE, "paris", "rome")]
    assert carried == [head(store).note, head(store, "paris").note, None] * 2
    receipts.carry(WORKSPACE, "x" * (MAX_CARRIED + 1))
    assert receipts.carried(WORKSPACE) == head(store).note


@pytest.mark.postgres
def test_sealing_says_so_where_a_transaction_holds_it_up(postgres_store: SqlStore, postgres_url: str) -> None:
    sealer = a_sealer(postgres_store)
    with psycopg.connect(postgres_url) as late:
        late.execute(INSERT, ["late"])
        leaves = happen(postgres_store, 2)

        with pytest.raises(SealingBusyError):
            sealer.seal()

        late.rollback()
    sealer.seal()
    require_whole(postgres_store, leaves)


def test_sealing_aims_at_what_was_committed_when_it_was_called(
    store: SqlStore, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(store, 1)
    add_seal, begun = store.write, []

    def write(work: Callable[[Any], Any]) -> object:
        begun.append(work)
        if len(begun) < 20:
            add_seal(keeping(an_event()))
        return add_seal(work)

    monkeypatch.setattr(store, "write", write)

    sealer.seal()

    assert (len(begun), head(store).number) == (1, 1)


def test_a_head_that_is_signed_again_meanwhile_does_not_take_the_number_of_the_next(
    store: SqlStore, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = happen(store, 1)
    sealer.seal()
    leaves += happen(store, 1)
    write = store.write

    def overtaken(work: Callable[[Any], Any]) -> object:
        monkeypatch.setattr(store, "write", write)
        sealer._repeat(head(store))  # noqa: SLF001 -- what the hour does, at the very moment
        return write(work)

    monkeypatch.setattr(store, "write", overtaken)

    sealer.seal()

    assert head(store).number == 3
    require_whole(store, leaves)
