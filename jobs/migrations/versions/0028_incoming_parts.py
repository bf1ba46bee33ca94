"""Let the parts of a file that arrives in several requests be objects of an S3-compatible store."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "incoming_parts",
        sa.Column("incoming_id", sa.Text, sa.ForeignKey("incoming_files.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("begin", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
    )
