"""Keep rules on datasets: repairs that every import into them applies; and what they changed, with each upload."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("id", ID, primary_key=True),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("column", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("source", sa.JSON),
        sa.Column("target", sa.JSON),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("rules_dataset", "rules", ["dataset", "position"])
    op.add_column("datasets", sa.Column("rules_version", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("uploads", sa.Column("rules", sa.JSON))
