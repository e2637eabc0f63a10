"""The writer: works that share a commit share nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from db.batch import Batch, WritingConnection
from db.store import SqlStore
from db.writer import TRIES, CommitUnknownError, StoreClosedError, Writer
from review.items import ReviewItem
from review.store import StaleItemError
from tests.builders import WORKSPACE, an_event, an_item
from tests.waiting import PATIENCE_SECONDS


class Bench:
    """A writer of one's own over a store's database, that can be held up, and counts what it does."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.batches = 0
        self.woken: list[UUID] = []
        self.before_commit: Callable[[], None] = lambda: None
        self.connection = WritingConnection(store._engines, None, origin="bench")  # noqa: SLF001 -- the same database
        self.writer = Writer(self._open, self._wake)

    @contextmanager
    def _open(self) -> Iterator[Batch]:
        self.batches += 1
        with self.connection.open_batch() as batch:
            commit = batch.commit

            def commit_late() -> None:
                self.before_commit()
                commit()

            batch.commit = commit_late  # type: ignore[method-assign]  # this is where a test cuts the connection
            yield batch

    def close(self) -> None:
        self.writer.close()
        self.connection.close()

    def _wake(self, item_ids: Any) -> None:  # noqa: ANN401 -- whatever was woken
        self.woken += item_ids

    def together(self, *works: Callable[[Any], object]) -> list[object]:
        """Have the works run in one batch; return what each returned or raised."""
        begun, go_on = Event(), Event()
        results: list[object] = [None] * len(works)

        def hold(_: object) -> None:
            begun.set()
            go_on.wait(PATIENCE_SECONDS)

        def run(number: int) -> None:
            try:
                results[number] = self.writer.write(works[number])
            except Exception as error:  # noqa: BLE001 -- the test looks at whatever it was
                results[number] = error

        holder = Thread(target=self.writer.write, args=(hold,))
        holder.start()
        begun.wait(PATIENCE_SECONDS)
        threads = []
        for number in range(len(works)):
            threads.append(Thread(target=run, args=(number,)))
            threads[-1].start()
            while len(self.writer._waiting) <= number:  # noqa: SLF001 -- so that the works stand in their order
                pass
        self.batches = 0
        go_on.set()
        for thread in (holder, *threads):
            thread.join()
        return results

    def has(self, item: ReviewItem) -> bool:
        return self.store.read(lambda tx: tx.item(item.workspace, item.id)) is not None


@pytest.fixture
def bench(store: SqlStore) -> Iterator[Bench]:
    bench = Bench(store)
    yield bench
    bench.close()


def add(item: ReviewItem) -> Callable[[Any], None]:
    def work(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
        tx.add_item(item)
        tx.record(an_event(item_id=item.id))
        tx.wake(item.id)

    return work


def test_what_waits_together_shares_a_commit(bench: Bench) -> None:
    items = [an_item() for _ in range(10)]

    results = bench.together(*(add(item) for item in items))

    assert results == [None] * 10
    assert bench.batches == 1
    assert all(bench.has(item) for item in items)
    assert bench.woken == [item.id for item in items]


def test_a_work_that_fails_before_it_wrote_leaves_the_others_alone(bench: Bench) -> None:
    first, last, unkept = an_item(), an_item(), uuid7()

    def refuse(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
        assert tx.item(WORKSPACE, first.id) is not None
        tx.record(an_event())
        tx.wake(unkept)
        raise LookupError

    results = bench.together(add(first), refuse, add(last))

    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert bench.batches == 1
    assert bench.has(first)
    assert bench.has(last)
    assert bench.woken == [first.id, last.id]


def test_a_work_that_fails_after_it_wrote_takes_only_itself_along(bench: Bench) -> None:
    first, failing, last = an_item(), an_item(), an_item()

    def fail(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
        add(failing)(tx)
        raise LookupError

    results = bench.together(add(first), fail, add(last))

    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert bench.batches == 4  # once together, then each alone
    assert [bench.has(item) for item in (first, failing, last)] == [True, False, True]
    assert bench.woken == [first.id, last.id]


def test_a_statement_that_the_database_refuses_takes_only_its_work_along(bench: Bench) -> None:
    first, last = an_item(), an_item()

    def fail(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
        tx._connection.execute(text("SELECT no_such_column FROM items"))  # noqa: SLF001 -- no question of ours is wrong

    results = bench.together(add(first), fail, add(last))

    assert results[0] is None
    assert isinstance(results[1], DBAPIError)
    assert results[2] is None
    assert [bench.has(item) for item in (first, last)] == [True, True]


def test_a_work_that_found_a_stale_row_is_run_again(bench: Bench) -> None:
    item, runs = an_item(), []
    bench.writer.write(add(item))

    def work(tx: Any) -> int:  # noqa: ANN401 -- what a work is given
        runs.append(1)
        if len(runs) < 3:
            raise StaleItemError(item.id)
        tx.save_item(replace(item, queue="moved"), was=item)
        return len(runs)

    assert bench.together(work, add(an_item())) == [3, None]


def test_a_work_that_finds_a_stale_row_every_time_is_given_up(bench: Bench) -> None:
    runs = []

    def work(_: object) -> None:
        runs.append(1)
        raise StaleItemError

    with pytest.raises(StaleItemError):
        bench.writer.write(work)

    assert len(runs) == TRIES


def test_when_the_commit_fails_nobody_is_told_that_it_went_well(bench: Bench) -> None:
    items = [an_item(), an_item()]

    def fail() -> None:
        if bench.batches:  # The batch that holds the others up is not counted.
            raise OSError

    bench.before_commit = fail
    results = bench.together(*(add(item) for item in items))

    assert [type(result) for result in results] == [OSError, OSError]
    assert [bench.has(item) for item in items] == [False, False]
    assert bench.woken == []


@pytest.mark.postgres
def test_a_connection_lost_while_committing_is_told_as_such(postgres_store: SqlStore, postgres_url: str) -> None:
    bench, item = Bench(postgres_store), an_item()
    bench.before_commit = lambda: cut_writers(postgres_url)

    with pytest.raises(CommitUnknownError, match="not known whether the work was kept"):
        bench.writer.write(add(item))

    bench.before_commit = lambda: None
    bench.writer.write(add(item))
    assert bench.has(item)
    bench.close()


@pytest.mark.postgres
def test_a_connection_lost_between_two_works_is_not_noticed(postgres_store: SqlStore, postgres_url: str) -> None:
    postgres_store.write(add(an_item()))
    item = an_item()
    cut_writers(postgres_url)

    postgres_store.write(add(item))
    cut_writers(postgres_url)

    assert postgres_store.read(lambda tx: tx.item(WORKSPACE, item.id)) == item


def cut_writers(url: str) -> None:
    """End every connection to the database but this one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def test_closing_finishes_what_waits_and_refuses_what_comes(bench: Bench) -> None:
    items = [an_item() for _ in range(5)]
    begun, go_on = Event(), Event()

    def hold(_: object) -> None:
        begun.set()
        go_on.wait(PATIENCE_SECONDS)

    threads = [Thread(target=bench.writer.write, args=(hold,))]
    threads[0].start()
    begun.wait(PATIENCE_SECONDS)
    for item in items:
        threads.append(Thread(target=bench.writer.write, args=(add(item),)))
        threads[-1].start()
    while len(bench.writer._waiting) < len(items):  # noqa: SLF001 -- so that all wait when it is closed
        pass
    closing = Thread(target=bench.writer.close)
    closing.start()
    go_on.set()
    for thread in (*threads, closing):
        thread.join()

    assert all(bench.has(item) for item in items)
    with pytest.raises(StoreClosedError, match="closed"):
        bench.writer.write(add(an_item()))


def write_many(bench: Bench) -> None:
    for _ in range(1_000):
        bench.writer.write(add(an_item()))


def test_a_writer_that_ended_answers_at_once(bench: Bench) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    bench.writer._wake = fail  # noqa: SLF001 -- what nothing but a bug of ours can do

    bench.writer.write(add(an_item()))
    with pytest.raises(StoreClosedError, match="ended with MemoryError"):
        write_many(bench)


def test_a_work_that_ends_the_program_is_answered_like_any_other(bench: Bench) -> None:
    def leave(_: object) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        bench.writer.write(leave)

    assert bench.writer.write(lambda _: "still here") == "still here"
