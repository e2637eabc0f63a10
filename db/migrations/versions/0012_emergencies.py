"""Emergencies: times in which somebody who broke the glass may approve alone."""

import sqlalchemy as sa
from alembic import op

from db.types import FreeText, Instant

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "emergencies",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        *(sa.Column(name, FreeText(), nullable=False) for name in ("iss", "sub", "name", "reason", "ticket")),
        *(sa.Column(name, Instant(), nullable=False) for name in ("opened_at", "until")),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("reviewed_by", FreeText(), nullable=True),
        sa.Column("reviewed_at", Instant(), nullable=True),
        sa.Column("finding", FreeText(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_emergencies")),
    )
    op.create_index("ix_emergencies_until", "emergencies", ["workspace", "until"])
