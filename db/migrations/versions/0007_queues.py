"""Queues: whom an item waits for, until when it sleeps, when its deadline was breached, and from whom it is kept."""

import sqlalchemy as sa
from alembic import op

from db.types import FreeText, Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ASSIGNED = "status = 'assigned'"
SNOOZED = "status = 'snoozed'"
ASIDE = "status IN ('assigned', 'snoozed')"
UNDECIDED = "status IN ('waiting', 'claimed', 'assigned', 'snoozed')"
BREACHED = "status = 'waiting' AND breached_at IS NOT NULL"
UNBREACHED = f"{UNDECIDED} AND breached_at IS NULL AND purpose = 'gate'"


def upgrade() -> None:
    for name in ("assigned_iss", "assigned_sub", "assigned_name", "assigned_by", "assigned_note", "principal"):
        op.add_column("items", sa.Column(name, FreeText(), nullable=True))
    for name in ("assigned_until", "snoozed_until", "breached_at"):
        op.add_column("items", sa.Column(name, Instant(), nullable=True))
    op.add_column("items", sa.Column("blind", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("ix_items_expires_at", "items")
    _create_partial_index("ix_items_expires_at", ["expires_at"], where=UNDECIDED)
    _create_partial_index("ix_items_due_at", ["due_at"], where=UNBREACHED)
    _create_partial_index("ix_items_breached", ["workspace", "priority", "id"], where=BREACHED)
    _create_partial_index("ix_items_breached_queue", ["workspace", "queue", "priority", "id"], where=BREACHED)
    _create_partial_index("ix_items_aside", ["workspace", "priority", "id"], where=ASIDE)
    assignee = ["workspace", "assigned_iss", "assigned_sub", "priority", "id"]
    _create_partial_index("ix_items_assigned", assignee, where=ASSIGNED)
    _create_partial_index("ix_items_assigned_until", ["assigned_until"], where=ASSIGNED)
    _create_partial_index("ix_items_snoozed_until", ["snoozed_until"], where=SNOOZED)


def _create_partial_index(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "items", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
