"""Fixtures of the use cases: a house in this process, its time moved by the test's clock."""

import pytest

from db.store import SqlStore
from tests.console import Console


@pytest.fixture
def house(sqlite_store: SqlStore) -> Console:
    """The use cases on SQLite."""
    return Console(sqlite_store)


@pytest.fixture
def either_house(store: SqlStore) -> Console:
    """The use cases on each database in turn."""
    return Console(store)
