"""Sealing: the order in which audit events arrived, their leaves in the tree, its nodes, and its checkpoints."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SEALED = ("audit_leaves", "audit_nodes", "checkpoints")
KEYS = {
    "audit_leaves": ("workspace = NEW.workspace AND leaf_index = NEW.leaf_index", "seq = NEW.seq"),
    "audit_nodes": ("workspace = NEW.workspace AND level = NEW.level AND number = NEW.number", "rowid = NEW.rowid"),
    "checkpoints": ("workspace = NEW.workspace AND number = NEW.number", "rowid = NEW.rowid"),
}

# As the first schema made them: SQLite drops a table's triggers with the table.
EVENT_GUARDS = (
    """
    CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END
    """,
    """
    CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'audit events are never deleted'); END
    """,
    """
    CREATE TRIGGER audit_events_no_replace BEFORE INSERT ON audit_events
    WHEN EXISTS (SELECT 1 FROM audit_events WHERE workspace = NEW.workspace AND id = NEW.id)
        OR EXISTS (SELECT 1 FROM audit_events WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'audit events are never replaced'); END
    """,
)


def upgrade() -> None:
    is_postgres = op.get_bind().dialect.name == "postgresql"
    if is_postgres:
        _number_events_of_postgres()
    else:
        _number_events_of_sqlite()
    _create_sealed()
    for table in SEALED:
        for guard in _postgres_guards(table) if is_postgres else _sqlite_guards(table):
            op.execute(guard)


def _number_events_of_postgres() -> None:
    op.execute("ALTER TABLE audit_events ADD COLUMN seq BIGSERIAL")
    op.drop_constraint("pk_audit_events", "audit_events")
    op.create_primary_key("pk_audit_events", "audit_events", ["seq"])
    op.create_unique_constraint("uq_audit_events_workspace_id", "audit_events", ["workspace", "id"])


def _number_events_of_sqlite() -> None:
    op.create_table(
        "numbered_events",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_events"),
        sa.UniqueConstraint("workspace", "id", name="uq_audit_events_workspace_id"),
    )
    columns = "workspace, id, at, kind, actor_id, actor_name, item_id, leaf"
    op.execute(
        f"INSERT INTO numbered_events (seq, {columns}) SELECT rowid, {columns} FROM audit_events ORDER BY rowid"  # noqa: S608 -- constants
    )
    op.drop_table("audit_events")
    op.rename_table("numbered_events", "audit_events")
    op.create_index(
        "ix_audit_events_item",
        "audit_events",
        ["workspace", "item_id", "id"],
        sqlite_where=sa.text("item_id IS NOT NULL"),
    )
    for guard in EVENT_GUARDS:
        op.execute(guard)


def _create_sealed() -> None:
    count = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit_leaves",
        sa.Column("seq", count, autoincrement=False, nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_leaves")),
        sa.UniqueConstraint("workspace", "leaf_index", name=op.f("uq_audit_leaves_workspace_leaf_index")),
    )
    op.create_table(
        "audit_nodes",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "level", "number", name=op.f("pk_audit_nodes")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "number", name=op.f("pk_checkpoints")),
    )


def _sqlite_guards(table: str) -> tuple[str, ...]:
    known = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in KEYS[table])  # noqa: S608 -- constants
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {known} "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END",
    )


def _postgres_guards(table: str) -> tuple[str, ...]:
    refuse = """
        CREATE OR REPLACE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is never changed: % refused', TG_OP USING ERRCODE = 'restrict_violation';
        END $$
    """
    return (
        refuse,
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_log_change()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_change",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate",
    )
