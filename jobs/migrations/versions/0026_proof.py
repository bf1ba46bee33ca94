"""Compare imports with what is expected of them, keep a receipt of each, and let uploads be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("uploads", sa.Column("expected", sa.JSON))
    op.add_column("uploads", sa.Column("balance", sa.JSON))
    op.add_column("uploads", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.add_column("uploads", sa.Column("deleted_by", sa.Text))
    op.drop_index("uploads_history", "uploads")
    columns = ["id", "status", "outcome", "dataset", "created_at", "kind", "undone_by", "search_text", "deleted_at"]
    op.create_index("uploads_history", "uploads", columns)
    op.add_column("datasets", sa.Column("schema_version", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("datasets", sa.Column("totals", sa.Text))
    op.add_column("datasets", sa.Column("totals_required", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "receipts",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("reading", sa.JSON, nullable=False),
        sa.Column("tally", sa.JSON),
        sa.Column("receipt", sa.JSON),
    )
