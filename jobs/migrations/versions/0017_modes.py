"""Let an upload say what its rows do with those that the dataset has, and add fields to it."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    for column in (
        sa.Column("mode", sa.Text),
        sa.Column("mode_wanted", sa.Text),
        sa.Column("rows_added", sa.BigInteger),
        sa.Column("rows_removed", sa.BigInteger),
        sa.Column("fields_wanted", sa.JSON),
    ):
        op.add_column("uploads", column)
    op.add_column("datasets", sa.Column("modes", sa.JSON))
    waiting = sa.text("status = 'pending' AND mode = 'replace'")
    op.create_index("uploads_replacing", "uploads", ["dataset", "id"], sqlite_where=waiting, postgresql_where=waiting)
