"""Precedents: what people settled last of an agent's calls of a tool."""

import sqlalchemy as sa
from alembic import op

<<<<<<<< HEAD:db/migrations/versions/0007_precedents.py
revision = "0007"
down_revision = "0006"
========
revision = "0006"
down_revision = "0005"
>>>>>>>> 261b5de (Number the precedents' migration after the people's):db/migrations/versions/0006_precedents.py
branch_labels = None
depends_on = None


def upgrade() -> None:
    judged = sa.text("status = 'settled' AND route = 'review'")
    op.create_index(
        "ix_items_judged",
        "items",
        ["workspace", "agent", "tool", "settled_at"],
        sqlite_where=judged,
        postgresql_where=judged,
    )
