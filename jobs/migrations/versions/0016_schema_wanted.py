"""Let a person choose the fields of a new dataset before its first import."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("schema_wanted", sa.JSON))
