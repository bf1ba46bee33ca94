"""Let uploads be undone: which upload undoes which, and the counts of what it would do."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ALONE = sa.text("status = 'pending' AND (mode = 'replace' OR kind = 'undo')")
UNDONE = sa.text("undone_by IS NOT NULL")


def upgrade() -> None:
    op.add_column("uploads", sa.Column("undoes", sa.JSON))
    op.add_column("uploads", sa.Column("undone_by", sa.BigInteger))
    op.create_index("uploads_undone", "uploads", ["dataset", "id"], sqlite_where=UNDONE, postgresql_where=UNDONE)
    op.drop_index("uploads_replacing", "uploads")
    op.create_index("uploads_alone", "uploads", ["dataset", "id"], sqlite_where=ALONE, postgresql_where=ALONE)
    op.drop_index("uploads_history", "uploads")
    columns = ["id", "status", "outcome", "dataset", "created_at", "kind", "undone_by", "search_text"]
    op.create_index("uploads_history", "uploads", columns)
    op.create_table(
        "undo_previews",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("found", sa.JSON, nullable=False),
    )
