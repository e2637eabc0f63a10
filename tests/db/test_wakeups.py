"""Wake-ups: whoever waits for an item hears of its commits, in time, and of nothing else."""

import asyncio
import time
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from db.appending import CHANNEL
from db.store import SqlStore
from db.wakeups import Hub, Listener
from tests.builders import an_item
from tests.waiting import PATIENCE_SECONDS, eventually

LONG_S = PATIENCE_SECONDS
SHORT_S = 0.05


def wake(item_id: UUID) -> Callable[[Any], None]:
    return lambda tx: tx.wake(item_id)


def test_a_commit_wakes_who_waits_for_its_item(store: SqlStore) -> None:
    async def scenario() -> tuple[bool, bool]:
        item_id, other = uuid7(), uuid7()
        async with (
            store.wakeups.expecting(item_id) as changed,
            store.wakeups.expecting(other) as other_changed,
        ):
            waiting = asyncio.ensure_future(changed(LONG_S))
            await asyncio.sleep(SHORT_S)
            await asyncio.to_thread(store.write, wake(item_id))
            return await waiting, await other_changed(SHORT_S)

    assert asyncio.run(scenario()) == (True, False)


def test_a_commit_between_opening_and_waiting_is_not_missed(store: SqlStore) -> None:
    async def scenario() -> list[bool]:
        item_id = uuid7()
        async with store.wakeups.expecting(item_id) as changed:
            await asyncio.to_thread(store.write, wake(item_id))
            return [await changed(LONG_S), await changed(SHORT_S), await changed(0)]

    assert asyncio.run(scenario()) == [True, False, False]


def test_a_work_that_failed_wakes_nobody(store: SqlStore) -> None:
    async def scenario() -> bool:
        item_id = uuid7()

        def work(tx: Any) -> None:  # noqa: ANN401 -- what a work is given
            tx.add_item(an_item())
            tx.wake(item_id)
            raise LookupError

        async with store.wakeups.expecting(item_id) as changed:
            with pytest.raises(LookupError):
                await asyncio.to_thread(store.write, work)
            return await changed(SHORT_S)

    assert asyncio.run(scenario()) is False


def test_many_in_several_event_loops_wait_for_one_item(store: SqlStore) -> None:
    item_id, woken, ready = uuid7(), list[bool](), list[int]()

    async def wait() -> bool:
        async with store.wakeups.expecting(item_id) as changed:
            ready.append(1)
            return await changed(LONG_S)

    async def several() -> None:
        woken.extend(await asyncio.gather(*(wait() for _ in range(5))))

    threads = [Thread(target=lambda: asyncio.run(several())) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(ready) < 15:
        time.sleep(0.001)
    store.write(wake(item_id))
    for thread in threads:
        thread.join()

    assert woken == [True] * 15


def test_nothing_is_kept_of_those_who_waited(sqlite_store: SqlStore) -> None:
    async def scenario() -> None:
        async with sqlite_store.wakeups.expecting(uuid7()) as changed:
            await changed(0)

    asyncio.run(scenario())

    assert dict(sqlite_store.wakeups._waiting) == {}  # noqa: SLF001 -- a leak shows nowhere else


def test_a_commit_after_the_loop_is_gone_does_no_harm(sqlite_store: SqlStore) -> None:
    item_id = uuid7()
    loop = asyncio.new_event_loop()
    subscription = sqlite_store.wakeups.expecting(item_id)
    loop.run_until_complete(subscription.__aenter__())
    loop.close()

    sqlite_store.write(wake(item_id))

    assert sqlite_store.write(lambda _: "still here") == "still here"


@pytest.mark.postgres
def test_a_commit_of_another_replica_wakes_as_well(postgres_url: str, opened: Callable[[str], SqlStore]) -> None:
    here, there = opened(postgres_url), opened(postgres_url)

    async def scenario() -> bool:
        item_id = uuid7()
        async with here.wakeups.expecting(item_id) as changed:
            await asyncio.to_thread(there.write, wake(item_id))
            return await changed(LONG_S)

    assert asyncio.run(scenario())


@pytest.mark.postgres
def test_a_listener_that_lost_its_connection_listens_again(
    postgres_url: str, opened: Callable[[str], SqlStore]
) -> None:
    here, there = opened(postgres_url), opened(postgres_url)

    async def scenario() -> tuple[bool, bool]:
        item_id = uuid7()
        async with here.wakeups.expecting(item_id) as changed:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            # What was said meanwhile is lost, so everyone is woken to look.
            after_the_cut = await changed(LONG_S)
            await asyncio.to_thread(there.write, wake(item_id))
            return after_the_cut, await changed(LONG_S)

    assert asyncio.run(scenario()) == (True, True)


@pytest.mark.postgres
def test_a_notice_that_names_no_item_is_ignored_and_told_of_once(
    postgres_url: str, opened: Callable[[str], SqlStore], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = opened(postgres_url), opened(postgres_url)

    async def scenario() -> bool:
        item_id = uuid7()
        async with here.wakeups.expecting(item_id) as changed:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                for said in ("", "nonsense", "someone no-item"):
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, said))
            await asyncio.to_thread(there.write, wake(item_id))
            return await changed(LONG_S)

    def told() -> list[str]:
        return [record.levelname for record in caplog.records if "name no item" in record.message]

    assert asyncio.run(scenario())
    assert eventually(lambda: len(told()) == 2)  # Once by each of the two that listen.
    assert told() == ["WARNING"] * 2


class Stumbling(Hub):
    """Fails the first time that it is told of anything."""

    has_stumbled = False

    def wake(self, item_ids: Iterable[UUID]) -> None:
        if not self.has_stumbled:
            self.has_stumbled = True
            raise LookupError
        super().wake(item_ids)


@pytest.mark.postgres
def test_a_listener_that_stumbles_goes_on_listening(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    hub = Stumbling()
    listener = Listener(postgres_url, hub, origin="here")

    async def scenario() -> tuple[bool, bool]:
        item_id = uuid7()
        async with hub.expecting(item_id) as changed:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                notice = (CHANNEL, f"there {item_id}")
                connection.execute("SELECT pg_notify(%s, %s)", notice)
                after_the_fall = await changed(LONG_S)  # Everyone is woken to look.
                connection.execute("SELECT pg_notify(%s, %s)", notice)
                return after_the_fall, await changed(LONG_S)

    try:
        assert asyncio.run(scenario()) == (True, True)
    finally:
        listener.close()
    assert "Listening for other processes failed" in caplog.text
