"""Add external uploads, which a script imports and reports on, and idempotency keys."""

import sqlalchemy as sa
from alembic import op

from jobs.tables import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("processor", sa.Text, nullable=False, server_default="worker"))
    op.add_column("uploads", sa.Column("progress_reported", sa.Integer))
    op.add_column("uploads", sa.Column("silent_since", UtcDateTime))
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_index("idempotency_keys_created_at", "idempotency_keys", ["created_at"])
