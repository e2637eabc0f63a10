"""Public keys that agents prove themselves by, and the assertions that they used."""

import sqlalchemy as sa
from alembic import op

from db.types import Instant

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agent_keys", sa.Column("public_keys", sa.Text(), nullable=True))
    op.create_table(
        "assertions",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("workspace", "prefix", "id")),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "prefix", "id", name=op.f("pk_assertions")),
    )
    op.create_index("ix_assertions_expires_at", "assertions", ["expires_at"])
