"""Wake-ups: coroutines that wait for an item are told when a commit concerned it, by this process or another."""

import asyncio
import logging
import selectors
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from threading import Event, Lock, Thread
from uuid import UUID

import psycopg

from db.appending import CHANNEL

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

_log = logging.getLogger(__name__)


class Hub:
    """Knows who waits for which item. Safe from any thread; the waiting may be in several event loops."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: defaultdict[UUID, set[_Waiter]] = defaultdict(set)

    @asynccontextmanager
    async def expecting(self, item_id: UUID) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Open a subscription; inside, ``await wait(seconds)`` returns True when the item changed, False in vain."""
        waiter = _Waiter(asyncio.get_running_loop())
        with self._lock:
            self._waiting[item_id].add(waiter)
        try:
            yield waiter.wait
        finally:
            with self._lock:
                self._waiting[item_id].discard(waiter)
                if not self._waiting[item_id]:
                    del self._waiting[item_id]

    def wake(self, item_ids: Iterable[UUID]) -> None:
        """Wake whoever waits for one of the items."""
        with self._lock:
            woken = [waiter for item_id in item_ids for waiter in self._waiting.get(item_id, ())]
        for waiter in woken:
            waiter.wake()

    def wake_all(self) -> None:
        """Wake everyone: notices may have been lost, or the process is about to end."""
        with self._lock:
            item_ids = list(self._waiting)
        self.wake(item_ids)


class _Waiter:
    """One coroutine that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def wake(self) -> None:
        # The loop may have been closed with the coroutine still in it; then nobody waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._changed.set)


class Listener:
    """Hears the notices of other processes on PostgreSQL and hands them to the hub, on a thread of its own."""

    def __init__(self, conninfo: str, hub: Hub, *, origin: str) -> None:
        self._conninfo = conninfo
        self._hub = hub
        self._origin = origin
        self._closing = Event()
        self._has_told_of_strangers = False
        self._bell, self._bell_button = socket.socketpair()
        self._thread = Thread(target=self._serve, args=(self._connect(),), name="signoff-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; once is enough."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._bell_button.send(b"x")
        self._thread.join()
        self._bell.close()
        self._bell_button.close()

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _serve(self, connection: psycopg.Connection) -> None:
        pause = FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                with connection:
                    self._listen(connection)
            except psycopg.Error as error:
                _log.warning("The connection that listens for other processes is lost: %s", error)
            except Exception:  # noqa: BLE001 -- it must go on: without it nobody hears of other processes any more
                _log.exception("Listening for other processes failed")
            while not self._closing.wait(pause):
                try:
                    connection = self._connect()
                except psycopg.Error as error:
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                    _log.warning("Listening again failed: %s", error)
                else:
                    pause = FIRST_PAUSE_S
                    self._hub.wake_all()
                    break

    def _listen(self, connection: psycopg.Connection) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                self._hub.wake(self._noticed(connection))

    def _noticed(self, connection: psycopg.Connection) -> list[UUID]:
        noticed = []
        for notice in connection.notifies(timeout=0):
            origin, _, item_id = notice.payload.partition(" ")
            # What this process committed itself it has told its hub already.
            if origin != self._origin:
                noticed += self._named(item_id)
        return noticed

    def _named(self, item_id: str) -> list[UUID]:
        try:
            return [UUID(item_id)]
        except ValueError:  # Whoever may connect to the database may say anything there.
            if not self._has_told_of_strangers:
                self._has_told_of_strangers = True
                _log.warning("Notices on the channel %s that name no item are ignored; who sends them?", CHANNEL)
            return []
