"""What is known beside the request: outcomes that nobody told, what a person made of them, and repeated calls."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STARTED = "execution = 'started'"
UNKNOWN = "execution = 'unknown'"
REJECTED = "decision_type = 'reject' AND route = 'review' AND status = 'settled' AND purpose = 'gate'"

# As long as a tool's rule allows where it does not say otherwise.
OUTCOME_WITHIN_SECONDS = 15 * 60


def upgrade() -> None:
    op.add_column("items", sa.Column("outcome_due_at", Instant(), nullable=True))
    op.add_column("items", sa.Column("reconciliation", sa.Text(), nullable=True))
    op.add_column("items", sa.Column("repeats_id", sa.Uuid(), nullable=True))
    op.add_column("items", sa.Column("rejections", sa.Integer(), server_default="0", nullable=False))
    _create_partial_index("ix_items_outcome_due_at", ["outcome_due_at"], where=STARTED)
    _create_partial_index("ix_items_unknown", ["workspace", "settled_at", "id"], where=UNKNOWN)
    _create_partial_index("ix_items_rejected", ["workspace", "agent", "digest", "settled_at"], where=REJECTED)
    if op.get_bind().dialect.name == "postgresql":
        later = f"consumed_at + INTERVAL '{OUTCOME_WITHIN_SECONDS} seconds'"
    else:
        later = f"consumed_at + {OUTCOME_WITHIN_SECONDS} * 1000000"
    # Nothing but the constants above stands in the statement.
    op.execute(f"UPDATE items SET outcome_due_at = {later} WHERE {STARTED}")  # noqa: S608


def _create_partial_index(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "items", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
