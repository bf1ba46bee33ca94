"""Note which upload of corrections brought a failed row before it was undone."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("failed_rows", sa.Column("formerly_corrected_by", sa.BigInteger))
