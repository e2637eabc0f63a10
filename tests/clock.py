"""A clock that a test moves by hand."""

from datetime import UTC, datetime, timedelta
from threading import Lock

START = datetime(2026, 11, 2, 9, 30, 15, 123456, tzinfo=UTC)


class MovableClock:
    """Tells the time that it was last set to; safe to ask and to move from any thread."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._lock = Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> None:
        with self._lock:
            self._now += by
