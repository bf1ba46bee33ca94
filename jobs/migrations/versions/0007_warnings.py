"""Keep the warnings of an upload, how many of its lines are blank, and the lines of failed rows."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("warnings", sa.JSON))
    op.add_column("uploads", sa.Column("lines_blank", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("failed_rows", sa.Column("line", sa.BigInteger))
