"""Statements that are told to the driver as they are: for the few that the writer runs with every batch.

SQLAlchemy's own work on a statement costs as much as two items' rows do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[DBAPICursor]:
    """Yield a cursor of the driver inside the connection's transaction; its errors are raised as SQLAlchemy's.

    What was bound to the statement is not told with them.
    """
    dialect = connection.dialect
    pooled = connection.connection
    cursor = pooled.cursor()
    try:
        yield cursor
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, pooled.dbapi_connection, cursor)
        told = DBAPIError.instance(
            None, None, error, dialect.loaded_dbapi.Error, connection_invalidated=is_lost, dialect=dialect
        )
        if is_lost:
            connection.invalidate(error)
        raise told from error
    finally:
        cursor.close()
