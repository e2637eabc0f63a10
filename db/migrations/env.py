"""Where Alembic runs a migration: in the transaction that `db.schema` has begun, or in one on the configured URL."""

from alembic import context
from sqlalchemy import Connection

from db.engine import open_engines
from db.tables import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite takes schema changes back with the transaction just as PostgreSQL does.
        transactional_ddl=True,
        render_as_batch=True,
    )
    context.run_migrations()


if (begun := context.config.attributes.get("connection")) is not None:
    _run(begun)
else:
    engines = open_engines(context.config.get_main_option("sqlalchemy.url") or "")
    with engines.writing.begin() as opened:
        _run(opened)
    engines.dispose()
