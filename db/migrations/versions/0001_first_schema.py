"""The first schema: items, decisions, notes, the audit log, policies, agents, tools, keys, sessions, links."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WAITING = "status = 'waiting'"
CLAIMED = "status = 'claimed'"
UNDECIDED = "status IN ('waiting', 'claimed')"

# SQLite takes a row for another's place without asking the triggers on UPDATE and DELETE, if told to by INSERT OR
# REPLACE; the third trigger refuses that, by key and by rowid. Connections of ours also have recursive_triggers on.
SQLITE_GUARDS = (
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
        OR EXISTS (SELECT 1 FROM audit_events WHERE rowid = NEW.rowid)
    BEGIN SELECT RAISE(ABORT, 'audit events are never replaced'); END
    """,
)
POSTGRES_GUARDS = (
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'audit events are never changed: % refused', TG_OP USING ERRCODE = 'restrict_violation'; END
    $$
    """,
    """
    CREATE TRIGGER audit_events_no_change BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
    # Triggers that are not ALWAYS are off for a session_replication_role of replica.
    "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_no_change",
    "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_no_truncate",
)


def upgrade() -> None:
    _create_items()
    _create_records()
    _create_audit_events()
    _create_governance()
    _create_people()


def _create_items() -> None:
    op.create_table(
        "items",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("amount", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("submitted_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("claim_name", sa.Text(), nullable=True),
        sa.Column("claim_until", Instant(), nullable=True),
        sa.Column("decision_type", sa.Text(), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.Text(), nullable=True),
        sa.Column("claim_iss", sa.Text(), nullable=True),
        sa.Column("claim_sub", sa.Text(), nullable=True),
        sa.Column("permitted_digest", sa.Text(), nullable=True),
        sa.Column("permitted_until", Instant(), nullable=True),
        sa.Column("jti", sa.Uuid(), nullable=True),
        sa.Column("consumed_at", Instant(), nullable=True),
        sa.Column("notes", sa.Integer(), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_items")),
        sa.UniqueConstraint(
            "workspace", "agent", "idempotency_key", name=op.f("uq_items_workspace_agent_idempotency_key")
        ),
    )
    op.create_index("ix_items_agent", "items", ["workspace", "agent", "id"])
    _create_partial_index("ix_items_urgent", ["workspace", "priority", "id"], where=WAITING)
    _create_partial_index("ix_items_queue", ["workspace", "queue", "priority", "id"], where=WAITING)
    _create_partial_index("ix_items_waiting", ["workspace", "id"], where=WAITING)
    _create_partial_index("ix_items_expires_at", ["expires_at"], where=UNDECIDED)
    _create_partial_index("ix_items_holder", ["workspace", "claim_iss", "claim_sub"], where=CLAIMED)
    _create_partial_index("ix_items_claim_until", ["claim_until"], where=CLAIMED)
    _create_partial_index("ix_items_settled", ["workspace", "settled_at", "id"], where="settled_at IS NOT NULL")


def _create_partial_index(name: str, columns: list[str], *, where: str, table: str = "items") -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _create_records() -> None:
    op.create_table(
        "decisions",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("item_version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason_codes", sa.Text(), nullable=False),
        sa.Column("iss", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest_seen", sa.Text(), nullable=False),
        sa.Column("dwell_ms", sa.BigInteger(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "item_id"], ["items.workspace", "items.id"], name=op.f("fk_decisions_items")
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_item", "decisions", ["workspace", "item_id", "id"])
    op.create_table(
        "notes",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace", "item_id"], ["items.workspace", "items.id"], name=op.f("fk_notes_items")),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_notes")),
    )
    op.create_index("ix_notes_item", "notes", ["workspace", "item_id", "id"])


def _create_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_audit_events")),
    )
    _create_partial_index(
        "ix_audit_events_item",
        ["workspace", "item_id", "id"],
        where="item_id IS NOT NULL",
        table="audit_events",
    )
    for guard in POSTGRES_GUARDS if op.get_bind().dialect.name == "postgresql" else SQLITE_GUARDS:
        op.execute(guard)


def _create_governance() -> None:
    op.create_table(
        "policies",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("saved_at", Instant(), nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "number", name=op.f("pk_policies")),
    )
    op.create_table(
        "agents",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name", name=op.f("pk_agents")),
    )
    op.create_table(
        "tools",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("args_schema", sa.Text(), nullable=True),
        sa.Column("first_seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "agent", "name", name=op.f("pk_tools")),
    )
    op.create_table(
        "agent_keys",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_agent_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_agent_keys_prefix")),
    )


def _create_people() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("iss", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "links",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("iss", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
    )
