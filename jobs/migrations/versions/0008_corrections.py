"""Keep which failed rows were corrected, and which failed again, where they first failed, and how many there are."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name in ("rows_corrected", "rows_failed_again"):
        op.add_column("uploads", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    for name in ("corrected_by", "failed_again_in", "root_upload_id", "root_row_number"):
        op.add_column("failed_rows", sa.Column(name, sa.BigInteger))
    op.create_index("uploads_parent", "uploads", ["parent"])
    columns, known = ["root_upload_id", "root_row_number"], sa.text("root_upload_id IS NOT NULL")
    op.create_index("failed_rows_root", "failed_rows", columns, sqlite_where=known, postgresql_where=known)
