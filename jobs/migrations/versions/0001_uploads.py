"""Create the tables for uploads, failed rows and datasets."""

import sqlalchemy as sa
from alembic import op

from jobs.tables import Id, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", Id, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("barren_attempts", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("dataset_wanted", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text),
        sa.Column("reading", sa.JSON, nullable=False),
        sa.Column("parent", Id, sa.ForeignKey("uploads.id")),
        sa.Column("duplicate_of", Id, sa.ForeignKey("uploads.id")),
        sa.Column("header", sa.JSON),
        sa.Column("stored_as", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("next_byte", sa.BigInteger, nullable=False),
        sa.Column("bytes_total", sa.BigInteger),
        sa.Column("rows_total", sa.BigInteger),
        sa.Column("rows_processed", sa.BigInteger, nullable=False),
        sa.Column("rows_success", sa.BigInteger, nullable=False),
        sa.Column("rows_failed", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("counting_since", UtcDateTime),
        sa.Column("counting_from", sa.BigInteger, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("uploads_status", "uploads", ["status"])
    op.create_index("uploads_updated_at", "uploads", ["updated_at"])
    op.create_index("uploads_dataset", "uploads", ["dataset"])
    op.create_index("uploads_sha256", "uploads", ["sha256"])
    op.create_table(
        "datasets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("schema", sa.JSON, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id")),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "failed_rows",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("row_number", sa.BigInteger, primary_key=True),
        sa.Column("cells", sa.JSON, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
    )
    op.create_table(
        "failure_counts",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("column", sa.Text, primary_key=True),
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
