"""Add the folded text that a search of the history compares."""

import sqlalchemy as sa
from alembic import op

from jobs.history_query import search_text

revision = "0003"
down_revision = "0002"

#: Uploads that one statement updates.
BATCH = 5_000


def upgrade() -> None:
    op.add_column("uploads", sa.Column("search_text", sa.Text, nullable=False, server_default=sa.text("''")))
    connection = op.get_bind()
    table = sa.table("uploads", *map(sa.column, ("id", "filename", "dataset", "search_text")))
    update = sa.update(table).where(table.c.id == sa.bindparam("upload_id"))
    update = update.values(search_text=sa.bindparam("folded"))
    names = sa.select(table.c.id, table.c.filename, table.c.dataset).order_by(table.c.id).limit(BATCH)
    last = 0
    while found := connection.execute(names.where(table.c.id > last)).all():
        rows = [{"upload_id": row.id, "folded": search_text(row.filename, row.dataset)} for row in found]
        connection.execute(update, rows)
        last = found[-1].id
