"""Undo: a decision that does not count yet, until when it can be taken back, and since when a decision counts."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("settles_at", Instant(), nullable=True))
    op.add_column("items", sa.Column("pending", sa.Text(), nullable=True))
    # Nothing stands here of the decisions before: each of them counted when it was made.
    op.add_column("decisions", sa.Column("counted_at", Instant(), nullable=True))
    is_pending = sa.text("settles_at IS NOT NULL")
    op.create_index(
        "ix_items_settles_at", "items", ["settles_at"], sqlite_where=is_pending, postgresql_where=is_pending
    )
