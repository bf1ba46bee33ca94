"""Find the uploads of stored files quickly, for the sweep for files without an upload."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("uploads_stored_as", "uploads", ["stored_as"])
