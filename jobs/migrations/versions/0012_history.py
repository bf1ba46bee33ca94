"""Keep what an upload ended with, and index all that filters of the history look at."""

import sqlalchemy as sa
from alembic import op

from jobs.history_query import LONGEST_DATASET, LONGEST_FILE, search_text

revision = "0012"
down_revision = "0011"

#: tables.OUTCOME.
OUTCOME = (
    "CASE WHEN status = 'cancelled' AND attempt = 0 AND error IS NOT NULL THEN 'held'"
    " WHEN status <> 'completed' THEN NULL"
    " WHEN rows_failed > 0 AND CAST(warnings AS TEXT) NOT IN ('[]', 'null') THEN 'failed_rows warnings'"
    " WHEN rows_failed > 0 THEN 'failed_rows'"
    " WHEN CAST(warnings AS TEXT) NOT IN ('[]', 'null') THEN 'warnings'"
    " ELSE 'clean' END"
)


def upgrade() -> None:
    connection = op.get_bind()
    table = sa.table("uploads", *map(sa.column, ("id", "filename", "dataset", "search_text")))
    is_long = sa.func.length(table.c.search_text) > LONGEST_FILE + 1 + LONGEST_DATASET
    for row in connection.execute(sa.select(table.c.id, table.c.filename, table.c.dataset).where(is_long)).all():
        cut = {"search_text": search_text(row.filename, row.dataset)}
        connection.execute(sa.update(table).where(table.c.id == row.id).values(cut))
    # SQLite can add only a column that it computes when it is read.
    computed = sa.Computed(OUTCOME, persisted=connection.dialect.name != "sqlite")
    op.add_column("uploads", sa.Column("outcome", sa.Text, computed))
    op.create_index("uploads_history", "uploads", ["id", "status", "outcome", "dataset", "created_at", "search_text"])
