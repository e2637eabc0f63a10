"""Column types that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return the whole microseconds since 1970 in UTC. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        msg = f"{at!r} has no time zone"
        raise ValueError(msg)
    return (at - EPOCH) // MICROSECOND


def instant(value: int) -> datetime:
    """Return the time that is this many microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond: ``timestamptz`` on PostgreSQL, an integer on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database knows."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ANN401 -- SQLAlchemy's signature
        """Return what is kept."""
        if value is None or dialect.name == "postgresql":
            return value
        return microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401 -- SQLAlchemy's signature
        """Return the time that was kept."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            kept: datetime = value
            return kept.astimezone(UTC)
        return instant(value)


class FreeText(TypeDecorator[str]):
    r"""Text of people and agents. PostgreSQL keeps no NUL, so it is kept as ``\0`` and a backslash as ``\\``."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- SQLAlchemy's signature
        """Return what is kept."""
        return None if value is None else self.kept(value)

    @staticmethod
    def kept(value: str) -> str:
        """Return the text as it is kept."""
        if "\\" not in value and "\0" not in value:
            return value
        return value.replace("\\", "\\\\").replace("\0", "\\0")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ANN401, ARG002 -- SQLAlchemy's signature
        """Return the text that was kept."""
        if value is None or "\\" not in value:
            return value
        return "\\".join(part.replace("\\0", "\0") for part in value.split("\\\\"))
