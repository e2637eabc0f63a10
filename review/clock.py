"""Time as the review sees it: a clock that a test can move."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the host's time, in UTC."""
    return datetime.now(UTC)
