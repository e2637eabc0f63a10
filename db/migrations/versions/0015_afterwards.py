"""What waits for a look afterwards, found among all that waits."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    afterwards = sa.text("status = 'waiting' AND purpose <> 'gate'")
    op.create_index(
        "ix_items_afterwards",
        "items",
        ["workspace", "purpose", "priority", "id"],
        sqlite_where=afterwards,
        postgresql_where=afterwards,
    )
