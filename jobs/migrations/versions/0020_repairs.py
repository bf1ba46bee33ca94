"""Let failed rows be edited beside their original cells, and repaired; and count those that are open."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

OPEN = sa.text("corrected_by IS NULL AND failed_again_in IS NULL")
EDITED = sa.text("edits IS NOT NULL")


def upgrade() -> None:
    for column in (
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("edits", sa.JSON),
        sa.Column("wrong", sa.JSON),
        sa.Column("is_right", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("edited_by", sa.Text),
        sa.Column("edited_at", sa.DateTime(timezone=True)),
        sa.Column("taken_by", sa.BigInteger),
    ):
        op.add_column("failed_rows", column)
    op.create_index(
        "failed_rows_open", "failed_rows", ["upload_id", "row_number"], sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_index(
        "failed_rows_edited",
        "failed_rows",
        ["upload_id", "is_right", "row_number"],
        sqlite_where=EDITED,
        postgresql_where=EDITED,
    )
    op.add_column("failure_counts", sa.Column("rows_closed", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("failure_counts", sa.Column("closed_values", sa.JSON))
    op.create_table(
        "repairs",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("wanted", sa.JSON, nullable=False),
    )
    op.create_table(
        "repair_states",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("edits", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("found", sa.JSON),
        sa.Column("found_for", sa.Text),
        sa.Column("found_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "row_edits",
        sa.Column("id", ID, primary_key=True),
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_name", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("before", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("row_edits_upload", "row_edits", ["upload_id", "id"])
