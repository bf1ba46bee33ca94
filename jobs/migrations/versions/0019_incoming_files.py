"""Let files arrive in several requests."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "incoming_files",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("account_id", sa.BigInteger),
        sa.Column("token_id", sa.BigInteger),
        sa.Column("is_of_form", sa.Boolean, nullable=False),
        sa.Column("unchecked_from", sa.BigInteger),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id")),
    )
    without_upload = sa.text("upload_id IS NULL")
    op.create_index(
        "incoming_files_without_upload",
        "incoming_files",
        ["ended_at", "expires_at"],
        sqlite_where=without_upload,
        postgresql_where=without_upload,
    )
