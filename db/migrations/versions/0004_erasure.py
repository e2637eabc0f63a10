"""Erasure: what opens the commitments of audit events, when an item's content was erased, and an item's copies."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "openings",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=True),
        sa.Column("people", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_openings")),
    )
    op.add_column("items", sa.Column("erased_at", Instant(), nullable=True))
    has_parent = sa.text("parent_id IS NOT NULL")
    op.create_index(
        "ix_items_parent", "items", ["workspace", "parent_id"], sqlite_where=has_parent, postgresql_where=has_parent
    )
