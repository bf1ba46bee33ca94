"""Count how often the work horse of an upload had to be ended because of the file."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("cuts", sa.Integer, nullable=False, server_default="0"))
