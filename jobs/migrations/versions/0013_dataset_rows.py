"""Keep the number of rows of each dataset, and when they changed."""

import sqlalchemy as sa
from alembic import op

from jobs.history_query import fold

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # The defaults let processes of the previous release create datasets until they are replaced.
    op.add_column("datasets", sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("changed_at", sa.DateTime(timezone=True)))
    op.add_column("datasets", sa.Column("search_text", sa.Text, nullable=False, server_default=sa.text("''")))
    # The newest upload into a dataset is found by its end.
    op.create_index("uploads_dataset_id", "uploads", ["dataset", "id"])
    op.drop_index("uploads_dataset", "uploads")
    _count()


def _count() -> None:
    connection = op.get_bind()
    datasets = sa.table("datasets", *map(sa.column, ["name", "rows", "search_text"]), sa.column("schema", sa.JSON))
    for name, schema in connection.execute(sa.select(datasets.c.name, datasets.c.schema)).all():
        title = schema.get("title")
        rows = connection.execute(sa.select(sa.func.count()).select_from(sa.table(f"data_{name}"))).scalar_one()
        values = {"rows": rows, "search_text": fold(title.strip()) if isinstance(title, str) else ""}
        connection.execute(sa.update(datasets).where(datasets.c.name == name).values(values))
    op.execute(
        "UPDATE datasets SET changed_at = (SELECT max(updated_at) FROM uploads"
        " WHERE uploads.dataset = datasets.name AND uploads.rows_success > 0)"
    )
