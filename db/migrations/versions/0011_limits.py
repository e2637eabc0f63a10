"""Limits: how fast a key may submit, and how many of an agent's items may wait at once."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("per_minute", "most_waiting"):
        op.add_column("agent_keys", sa.Column(name, sa.Integer(), nullable=True))
    in_line = sa.text("status = 'waiting' AND purpose = 'gate'")
    op.create_index("ix_items_in_line", "items", ["workspace", "agent"], sqlite_where=in_line, postgresql_where=in_line)
