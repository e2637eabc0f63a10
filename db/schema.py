"""The schema in force: brought up to this release under a lock, and compared with the models."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db import privileges
from db.engine import UnfitDatabaseError
from db.searching import SEARCH
from db.tables import Base

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number, as long as every release takes the same.
_UPGRADE_LOCK = 7_446_563_101


class UnknownSchemaError(UnfitDatabaseError):
    """The database was upgraded by a later release."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has the schema {revision}, which this release does not know. Start the release that made it."
        )


class OldSchemaError(UnfitDatabaseError):
    """The database has not the schema of this release, and the server's role is not the one to bring it there."""

    def __init__(self) -> None:
        super().__init__(
            "The database has not the schema of this release, or the role of SIGNOFF_DATABASE_URL does not see it. Run "
            "`python app.py migrate` with SIGNOFF_DATABASE_OWNER_URL set (docs/audit-log.md)."
        )


def upgrade(engine: Engine, *, server: str | None = None) -> None:
    """Bring the database to the schema of this release, in one transaction; others that try it meanwhile wait.

    ``server`` is the role that is to use it, where that is another than the one that migrates (PostgreSQL alone).
    Raises UnknownSchemaError.
    """
    with engine.begin() as connection:
        # On SQLite the transaction itself is the lock: the engine begins it immediately.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        _upgrade(connection)
        if server is not None:
            privileges.grant(connection, server)


def _upgrade(connection: Connection) -> None:
    revision = _revision(connection)
    if revision == head():
        return
    if revision is not None and revision not in _known_revisions():
        raise UnknownSchemaError(revision)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_current(connection: Connection) -> bool:
    """Tell whether the database has the schema of this release."""
    return _revision(connection) == head()


def differences(connection: Connection) -> Sequence[Any]:
    """Return what Alembic would still have to change for the database to be as the models say."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": _is_modelled})
    return list(compare_metadata(context, Base.metadata))


def _is_modelled(_object: object, name: str | None, _kind: str, is_reflected: bool, _other: object) -> bool:  # noqa: FBT001 -- as Alembic calls it
    # The full-text index has tables of its own on SQLite, and is one of an expression on PostgreSQL.
    return not (is_reflected and name is not None and name.startswith(SEARCH))


@cache
def head() -> str:
    """Return the revision of this release."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        msg = f"There are no migrations in {MIGRATIONS}"
        raise RuntimeError(msg)
    return revision


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    # Percent signs in a path would be read as placeholders.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
