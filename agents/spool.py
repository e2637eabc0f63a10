"""The spool: what could not be told to the console yet, in order, bounded in bytes and in age.

It is a small SQLite database, because that is crash-safe and may be shared by the processes of one agent. It holds the
arguments of calls in the clear, so its file is readable by its owner alone.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

MAX_SPOOL_BYTES = 16 * 1024 * 1024
MAX_SPOOL_AGE_SECONDS = 7 * 24 * 3600.0

# What a spool raises where its file, or its disk, does not take what is to be kept.
TROUBLE = (sqlite3.Error, OSError)

_PATIENCE_SECONDS = 5.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS kept (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, "
    "console TEXT NOT NULL, path TEXT NOT NULL, idempotency_key TEXT, body BLOB NOT NULL)"
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A request that waits to be sent to the console's ``path``; the number says in which order."""

    number: int
    path: str
    idempotency_key: str | None
    body: bytes


class Spool:
    """Keeps requests for one console until they are delivered; the oldest give way when there are too many.

    Those without an idempotency key, outcomes of what ran, come out first and give way last.

    ``path`` of None keeps them in memory. ``clock`` tells the seconds since the epoch. Safe to share between threads,
    and a file also between processes. Raises OSError or sqlite3.Error where the file cannot be a spool.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        console: str,
        max_bytes: int = MAX_SPOOL_BYTES,
        max_age_seconds: float = MAX_SPOOL_AGE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.is_in_memory = path is None
        self._console = console
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        name = ":memory:" if path is None else str(Path(path))
        self._database = sqlite3.connect(name, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute(_TABLE)
        except sqlite3.Error:
            self._database.close()
            raise

    def close(self) -> int:
        """Close it, and return how many requests are lost with it: those that it kept in memory alone."""
        left = len(self) if self.is_in_memory else 0
        with self._lock:
            self._database.close()
        return left

    def __len__(self) -> int:
        """Return how many requests wait."""
        with self._lock:
            (count,) = self._database.execute("SELECT count(*) FROM kept WHERE console = ?", [self._console]).fetchone()
            return int(count)

    def keep(self, path: str, body: bytes, *, idempotency_key: str | None = None) -> None:
        """Put a request behind the others, and drop the oldest where they are too many or too old."""
        with self._lock, closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.execute(
                    "INSERT INTO kept (at, console, path, idempotency_key, body) VALUES (?, ?, ?, ?, ?)",
                    [self._clock(), self._console, path, idempotency_key, body],
                )
                dropped = self._dropped(cursor)
                cursor.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # A full disk may have ended it.
                    cursor.execute("ROLLBACK")
                raise
        self._tell(dropped)

    def oldest(self) -> Spooled | None:
        """Return the request that is to be delivered next; None where nothing waits."""
        with self._lock, closing(self._database.cursor()) as cursor:
            too_old = cursor.execute("DELETE FROM kept WHERE at < ?", [self._clock() - self._max_age_seconds]).rowcount
            row = cursor.execute(
                "SELECT number, path, idempotency_key, body FROM kept WHERE console = ? "
                "ORDER BY idempotency_key IS NOT NULL, number LIMIT 1",
                [self._console],
            ).fetchone()
        self._tell(too_old)
        return Spooled(*row) if row else None

    def remove(self, spooled: Spooled) -> None:
        """Forget a request, which was delivered or cannot be."""
        with self._lock:
            self._database.execute("DELETE FROM kept WHERE number = ?", [spooled.number])

    def _dropped(self, cursor: sqlite3.Cursor) -> int:
        # Each row counts a little for itself, so that many small ones cannot grow without end either.
        cursor.execute("DELETE FROM kept WHERE at < ?", [self._clock() - self._max_age_seconds])
        dropped = cursor.rowcount
        cursor.execute(
            "DELETE FROM kept WHERE number IN (SELECT number FROM (SELECT number, "
            "sum(length(body) + 256) OVER (ORDER BY idempotency_key IS NOT NULL, number DESC) AS total "
            "FROM kept) WHERE total > ?)",
            [self._max_bytes],
        )
        return dropped + cursor.rowcount

    def _tell(self, dropped: int) -> None:
        if dropped:
            _logger.warning(
                "The spool dropped %d of its oldest requests, which were too many or too old to keep. "
                "The console will never hear of them.",
                dropped,
            )
