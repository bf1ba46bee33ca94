"""Keep a log of each upload, and where in its file rows fail, for which reasons, and with which values."""

import sqlalchemy as sa
from alembic import op

from jobs.tables import Id, UtcDateTime

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "upload_log",
        _of_upload(),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("rows_processed", sa.BigInteger, nullable=False),
        sa.Column("rows_failed", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lane", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("via", sa.Text),
        sa.Column("by_name", sa.Text),
    )
    op.create_table(
        "failure_maps",
        _of_upload(),
        sa.Column("width", sa.BigInteger, nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
    )
    op.create_table(
        "failure_places",
        _of_upload(),
        sa.Column("column", sa.Text, primary_key=True),
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("first_row", sa.BigInteger, primary_key=True),
        sa.Column("last_row", sa.BigInteger, nullable=False),
        sa.Column("runs", sa.JSON, nullable=False),
    )
    op.add_column("failure_counts", sa.Column("found_values", sa.JSON))
    op.add_column("failure_counts", sa.Column("more_values", sa.Boolean))


def _of_upload() -> "sa.Column[int]":
    return sa.Column("upload_id", Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
