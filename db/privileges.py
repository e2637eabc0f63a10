"""What the server's role may do on PostgreSQL: use the tables that another role owns, and only ever add to the log."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

from db.engine import UnfitDatabaseError
from db.tables import Base

AUDIT_TABLES = ("audit_events", "audit_leaves", "audit_nodes", "checkpoints")
SCHEMA_TABLE = "alembic_version"

_GRANTS = {
    SCHEMA_TABLE: "SELECT",
    **dict.fromkeys(Base.metadata.tables, "SELECT, INSERT, UPDATE, DELETE"),
    **dict.fromkeys(AUDIT_TABLES, "SELECT, INSERT"),
}
_SEQUENCES = text(
    "SELECT DISTINCT objid::regclass::text FROM pg_depend JOIN pg_class ON pg_class.oid = objid "
    "WHERE relkind = 'S' AND refobjid = ANY(CAST(:tables AS oid[]))"
)

# Each row is one way in which this role could change what is in the log. Whoever owns a table may disable its triggers
# or drop it, the schema's owner may drop it too, and the owner of a trigger's function may replace it. Being a member
# of a role is as good as being it, for whoever is may become it.
_WAYS = text(
    """
    WITH audit AS (SELECT * FROM pg_class WHERE oid = ANY(CAST(:tables AS oid[])))
    SELECT 'it is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
    UNION ALL
    SELECT 'it may create roles' FROM pg_roles WHERE rolname = current_user AND rolcreaterole
    UNION ALL
    SELECT 'it may act as ' || rolname FROM pg_roles
    WHERE rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_write_all_data')
        AND pg_has_role(oid, 'MEMBER')
    UNION ALL
    SELECT 'it owns the table ' || relname FROM audit WHERE pg_has_role(relowner, 'MEMBER')
    UNION ALL
    SELECT DISTINCT 'it owns the function ' || proname FROM pg_proc JOIN pg_trigger ON tgfoid = pg_proc.oid
    WHERE tgrelid IN (SELECT oid FROM audit) AND pg_has_role(proowner, 'MEMBER')
    UNION ALL
    SELECT 'it owns the schema ' || nspname FROM pg_namespace
    WHERE oid IN (SELECT relnamespace FROM audit) AND pg_has_role(nspowner, 'MEMBER')
    UNION ALL
    SELECT 'it owns the database' FROM pg_database
    WHERE datname = current_database() AND pg_has_role(datdba, 'MEMBER')
    UNION ALL
    SELECT 'it has ' || privilege || ' on ' || relname FROM audit, unnest(CAST(:changing AS text[])) AS privilege
    WHERE has_table_privilege(oid, privilege) AND NOT pg_has_role(relowner, 'MEMBER')
    UNION ALL
    SELECT 'it may update columns of ' || relname FROM audit
    WHERE has_any_column_privilege(oid, 'UPDATE') AND NOT has_table_privilege(oid, 'UPDATE')
        AND NOT pg_has_role(relowner, 'MEMBER')
    """
).bindparams(bindparam("changing", value=["UPDATE", "DELETE", "TRUNCATE", "TRIGGER"]))
_TABLES = text("SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) AS name")


class UnguardedError(UnfitDatabaseError):
    """The server's role could change the audit log, and was asked not to be able to."""

    def __init__(self, ways: list[str]) -> None:
        super().__init__(
            f"The role of SIGNOFF_DATABASE_URL could change the audit log: {'; '.join(ways)}. Let another role own the "
            "tables and name it in SIGNOFF_DATABASE_OWNER_URL (docs/audit-log.md)."
        )


def grant(connection: Connection, role: str) -> None:
    """Let the role use every table, but change or delete nothing in the audit log; what it had before is taken back."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = quote(connection.execute(text("SELECT current_schema()")).scalar_one())
    grantee = quote(role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {grantee}"))
    for name, rights in _GRANTS.items():
        connection.execute(text(f"REVOKE ALL ON {schema}.{name} FROM {grantee}"))
        connection.execute(text(f"GRANT {rights} ON {schema}.{name} TO {grantee}"))
    # As PostgreSQL writes their names, quotes included.
    for name in connection.execute(_SEQUENCES, {"tables": _oids(connection, list(_GRANTS))}).scalars().all():
        connection.execute(text(f"GRANT USAGE ON SEQUENCE {name} TO {grantee}"))


def current_role(connection: Connection) -> str:
    """Return the role that the connection acts as."""
    role: str = connection.execute(text("SELECT current_user")).scalar_one()
    return role


def refuse_unless_guarded(connection: Connection) -> None:
    """Return only where this role can add to the audit log and change nothing in it. Raises UnguardedError."""
    tables = _oids(connection, AUDIT_TABLES)
    ways = connection.execute(_WAYS, {"tables": tables}).scalars().all()
    if ways:
        raise UnguardedError(sorted(ways))


def _oids(connection: Connection, names: Sequence[str]) -> list[int]:
    return list(connection.execute(_TABLES, {"names": list(names)}).scalars().all())
