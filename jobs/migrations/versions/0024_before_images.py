"""Keep the rows that an upload replaces, and which rows it found unchanged."""

import sqlalchemy as sa
from alembic import op

from jobs.tables import Id, UtcDateTime

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("rows_unchanged", sa.BigInteger))
    op.add_column("datasets", sa.Column("stamp", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("stamped_by", sa.BigInteger))
    op.create_table(
        "write_order",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True),
        sa.Column("stamp", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "kept_images",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("replaced", sa.BigInteger, nullable=False),
        sa.Column("first", sa.BigInteger),
        sa.Column("last", sa.BigInteger),
        sa.Column("is_table", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("lost", sa.Text),
    )
    op.create_index("kept_images_dataset", "kept_images", ["dataset"])
    kept = sa.text('"first" IS NOT NULL OR is_table')
    op.create_index("kept_images_at", "kept_images", ["at"], sqlite_where=kept, postgresql_where=kept)
    op.create_table(
        "unchanged_rows",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("owner_id", sa.BigInteger, primary_key=True),
        sa.Column("owner_first", sa.BigInteger, nullable=False),
        sa.Column("owner_last", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("runs", sa.Text),
    )
    op.create_index("unchanged_rows_owner", "unchanged_rows", ["owner_id", "owner_first"])
