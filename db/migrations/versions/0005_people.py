"""People as their workspaces know them, what a sign-in's provider said, and what is paused."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("iss", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("claimed", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("taken", sa.Text(), nullable=False),
        sa.Column("trained_until", sa.Text(), nullable=False),
        sa.Column("first_seen_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "iss", "sub", name=op.f("pk_members")),
    )
    op.create_table(
        "pauses",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("paused_at", Instant(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "agent", "tool", name=op.f("pk_pauses")),
    )
    op.add_column("sessions", sa.Column("authenticated_at", Instant(), nullable=True))
    op.add_column("sessions", sa.Column("sid", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("id_token", sa.Text(), nullable=True))
    is_live = sa.text("ended_at IS NULL")
    op.create_index("ix_sessions_person", "sessions", ["iss", "sub"], sqlite_where=is_live, postgresql_where=is_live)
