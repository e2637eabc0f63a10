"""A latch between the readers and the committing writer of one SQLite file, within this process.

With a rollback journal a commit needs every reader out, and a reader that meets one sleeps in SQLite's busy handler,
for up to 100 ms at a time. Here they wait for each other awake; other processes still meet in the busy handler.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Latch:
    """Lets many read, or one commit. New readers let a waiting commit go first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._readers = 0
        self._commits = 0
        self._committing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold off commits."""
        with self._changed:
            while self._commits:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Hold off readers and other commits."""
        with self._changed:
            self._commits += 1
            while self._readers or self._committing:
                self._changed.wait()
            self._committing = True
        try:
            yield
        finally:
            with self._changed:
                self._commits -= 1
                self._committing = False
                self._changed.notify_all()


class OpenLatch(Latch):
    """Holds nobody off: for databases whose readers and writers do not meet."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold off nobody."""
        yield

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Hold off nobody."""
        yield
