"""Rename the columns for import options and for attempts without progress."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE uploads RENAME COLUMN reading TO options")
    op.execute("ALTER TABLE uploads RENAME COLUMN barren_attempts TO attempts_without_progress")
