"""Let an upload wait for a person: why it waits, what a worker saw of its file, and which columns fill which fields."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for column in (
        sa.Column("hold", sa.JSON),
        sa.Column("mapping", sa.JSON),
        sa.Column("review", sa.Text, nullable=False, server_default="never"),
        sa.Column("task", sa.Text, nullable=False, server_default="import"),
        sa.Column("kind", sa.Text, nullable=False, server_default="import"),
        sa.Column("is_approved", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("uploads", column)
    op.add_column("datasets", sa.Column("review", sa.Text))
    op.create_table(
        "reviews",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("reading", sa.JSON, nullable=False),
        sa.Column("check", sa.JSON),
    )
    op.create_table(
        "mappings",
        sa.Column("dataset", sa.Text, primary_key=True),
        sa.Column("column", sa.Text, primary_key=True),
        sa.Column("field", sa.Text),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
