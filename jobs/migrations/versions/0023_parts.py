"""Let a file be imported in parts: worksheets of a workbook, files in an archive, each as an upload of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("part", sa.Text))
    op.add_column("uploads", sa.Column("part_of", sa.BigInteger))
    op.add_column("uploads", sa.Column("parts_wanted", sa.JSON))
    op.add_column("uploads", sa.Column("parts", sa.JSON))
    op.create_index("uploads_part_of", "uploads", ["part_of"])
