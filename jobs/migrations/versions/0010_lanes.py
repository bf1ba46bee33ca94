"""Keep the lane in which an upload waits, and who sent it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

#: BULK_UPLOAD_QUICK_BYTES by default; what waits already goes by it.
QUICK_BYTES = 1 << 20


def upgrade() -> None:
    # The defaults let processes of the previous release create uploads until they are replaced.
    op.add_column("uploads", sa.Column("lane", sa.Text, server_default=sa.text("'bulk'")))
    op.add_column("uploads", sa.Column("sender", sa.Text, nullable=False, server_default=sa.text("''")))
    uploads = sa.table("uploads", sa.column("lane"), sa.column("size"), sa.column("processor"))
    op.execute(sa.update(uploads).values(lane=None).where(uploads.c.processor == "external"))
    op.execute(
        sa.update(uploads).values(lane="quick").where(uploads.c.processor == "worker", uploads.c.size <= QUICK_BYTES)
    )
    op.create_index("uploads_sender", "uploads", ["sender", "counting_since"])
