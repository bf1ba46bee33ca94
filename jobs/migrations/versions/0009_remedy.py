"""Keep what helps after a failure: the same again, other import options, or another file."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("remedy", sa.Text))
