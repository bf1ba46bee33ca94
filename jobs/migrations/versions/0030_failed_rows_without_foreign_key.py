"""Let PostgreSQL store failed rows without looking up their upload for each of them."""

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE failed_rows DROP CONSTRAINT IF EXISTS failed_rows_upload_id_fkey")
