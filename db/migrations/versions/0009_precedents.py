"""Precedents: what people settled last of an agent's calls of a tool."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    judged = sa.text("status = 'settled' AND route = 'review' AND erased_at IS NULL")
    op.create_index(
        "ix_items_judged",
        "items",
        ["workspace", "agent", "tool", "settled_at"],
        sqlite_where=judged,
        postgresql_where=judged,
    )
