"""Races: real threads and real processes, let go at once."""

import multiprocessing
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest

from agents.protocol import Status
from db.store import SqlStore, open_store
from review.audit import EventFilter
from review.items import ItemFilter, Order, ReviewItem
from review.store import DuplicateKeyError, StaleItemError
from tests.builders import ISSUER, WORKSPACE, a_link, a_policy, an_event, an_item, keeping
from tests.clock import START
from tests.waiting import PATIENCE_SECONDS

CLAIMERS = 20
ITEMS = 200


def all_at_once(count: int, run: Callable[[int], object]) -> list[object]:
    """Run the same on so many threads, let go together; return what each returned or raised."""
    barrier = Barrier(count)
    results: list[object] = [None] * count

    def go(number: int) -> None:
        barrier.wait()
        try:
            results[number] = run(number)
        except Exception as error:  # noqa: BLE001 -- the test looks at whatever it was
            results[number] = error

    threads = [Thread(target=go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def claim_all(store: SqlStore, number: int) -> list[Any]:
    """Claim until nothing waits; return the ids."""
    taken = []
    for _ in range(ITEMS + 1):
        item = store.write(
            lambda tx: tx.claim_next(
                WORKSPACE,
                queues=None,
                iss=ISSUER,
                sub=f"p{number}",
                name="P",
                until=START + timedelta(hours=1),
            )
        )
        if item is None:
            break
        taken.append(item.id)
    return taken


def test_twenty_claimers_get_each_of_two_hundred_items_once(store: SqlStore) -> None:
    items = [an_item(priority=n % 3) for n in range(ITEMS)]
    store.write(keeping(*items))

    results = all_at_once(CLAIMERS, lambda number: claim_all(store, number))

    taken = [id_ for result in results for id_ in result]  # type: ignore[attr-defined]  # a list, unless it raised
    assert Counter(taken) == Counter(item.id for item in items)
    claimed = store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(), limit=ITEMS)).rows
    assert {(item.status, item.epoch) for item in claimed} == {(Status.CLAIMED, 1)}


@pytest.mark.postgres
def test_claimers_of_two_replicas_get_each_item_once(postgres_url: str, opened: Callable[[str], SqlStore]) -> None:
    replicas = [opened(postgres_url), opened(postgres_url)]
    items = [an_item() for _ in range(ITEMS)]
    replicas[0].write(keeping(*items))

    results = all_at_once(CLAIMERS, lambda number: claim_all(replicas[number % 2], number))

    taken = [id_ for result in results for id_ in result]  # type: ignore[attr-defined]  # a list, unless it raised
    assert Counter(taken) == Counter(item.id for item in items)


def test_of_many_that_save_the_same_item_one_wins(store: SqlStore) -> None:
    item = an_item()
    store.write(keeping(item))

    results = all_at_once(
        16, lambda n: store.write(lambda tx: tx.save_item(replace(item, version=2, queue=f"q{n}"), was=item))
    )

    assert Counter(type(result) for result in results) == {type(None): 1, StaleItemError: 15}


def test_of_many_that_use_the_same_link_one_wins(store: SqlStore) -> None:
    link = a_link()
    store.write(keeping(link))

    results = all_at_once(16, lambda _: store.write(lambda tx: tx.use_link(link.id)))

    assert len([result for result in results if result is not None]) == 1


def test_of_many_that_save_the_same_policy_number_one_wins(store: SqlStore) -> None:
    results = all_at_once(16, lambda _: store.write(keeping(a_policy(1))))

    assert Counter(type(result) for result in results) == {type(None): 1, StaleItemError: 15}


@pytest.mark.postgres
def test_a_key_used_at_two_replicas_at_once_files_one_item(
    postgres_url: str, opened: Callable[[str], SqlStore]
) -> None:
    replicas = [opened(postgres_url), opened(postgres_url)]

    results = all_at_once(16, lambda n: replicas[n % 2].write(keeping(an_item(idempotency_key="same"))))

    assert Counter(type(result) for result in results) == {type(None): 1, DuplicateKeyError: 15}


@pytest.mark.postgres
def test_works_that_lock_each_others_items_both_succeed(postgres_url: str, opened: Callable[[str], SqlStore]) -> None:
    replicas = [opened(postgres_url), opened(postgres_url)]
    pair = [an_item(), an_item()]
    replicas[0].write(keeping(*pair))
    both_hold_one = Barrier(2)

    def crossed(number: int) -> None:
        runs = 0

        def work(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
            nonlocal runs
            runs += 1
            for step, item in enumerate(pair if number == 0 else reversed(pair)):
                now = tx.item(WORKSPACE, item.id)
                tx.save_item(replace(now, notes=now.notes + 1), was=now)
                if step == 0 and runs == 1:
                    both_hold_one.wait(PATIENCE_SECONDS)

        replicas[number].write(work)

    results = all_at_once(2, crossed)

    assert results == [None, None]
    kept: list[ReviewItem | None] = replicas[0].read(lambda tx: [tx.item(WORKSPACE, item.id) for item in pair])
    assert [item and item.notes for item in kept] == [2, 2]


def test_readers_and_writers_do_not_lose_each_other(sqlite_store: SqlStore) -> None:
    def run(number: int) -> object:
        if number % 2:
            for _ in range(30):
                sqlite_store.write(keeping(an_item(), an_event()))
            return None
        return [
            sqlite_store.read(
                lambda tx: (
                    len(tx.items(WORKSPACE, ItemFilter(), order=Order.NEWEST, limit=500).rows),
                    len(tx.events(WORKSPACE, EventFilter(), limit=500).rows),
                )
            )
            for _ in range(30)
        ]

    results = all_at_once(8, run)

    for seen in results[::2]:
        assert isinstance(seen, list), seen
        assert all(items == events for items, events in seen)
    assert sqlite_store.read(lambda tx: tx.count_items(WORKSPACE, ItemFilter())) == 4 * 30


def submit_fifty(url: str) -> None:
    """Submit from a process of its own."""
    store = open_store(url)
    for _ in range(50):
        store.write(keeping(an_item(), an_event()))
    store.close()


def test_two_processes_share_one_sqlite_file(sqlite_url: str, opened: Callable[[str], SqlStore]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=submit_fifty, args=(sqlite_url,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)

    assert [process.exitcode for process in processes] == [0, 0]
    store = opened(sqlite_url)
    assert store.read(lambda tx: tx.count_items(WORKSPACE, ItemFilter())) == 100
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
