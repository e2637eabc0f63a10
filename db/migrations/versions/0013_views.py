"""Views: what a person chose on a screen, kept under a name."""

import sqlalchemy as sa
from alembic import op

from db.types import FreeText, Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "views",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("iss", FreeText(), nullable=False),
        sa.Column("sub", FreeText(), nullable=False),
        sa.Column("screen", sa.Text(), nullable=False),
        sa.Column("name", FreeText(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("saved_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_views")),
    )
    op.create_index("ux_views_name", "views", ["workspace", "iss", "sub", "screen", "name"], unique=True)
