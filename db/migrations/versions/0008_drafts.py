"""Drafts: what reviewers have begun to write on items that are not closed."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drafts",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("iss", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("saved_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "item_id"], ["items.workspace", "items.id"], name=op.f("fk_drafts_items")
        ),
        sa.PrimaryKeyConstraint("workspace", "item_id", "iss", "sub", "version", name=op.f("pk_drafts")),
    )
