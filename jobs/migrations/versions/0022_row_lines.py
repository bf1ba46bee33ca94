"""Keep the line of each row, so that a row of a dataset can be found in its file."""

import sqlalchemy as sa
from alembic import op

from jobs.tables import Id

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "row_lines",
        sa.Column("upload_id", Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.Text),
    )
