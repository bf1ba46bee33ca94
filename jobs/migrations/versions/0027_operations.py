"""Count what happens to uploads for good, whatever becomes of their records; and note which files retention removed.

Triggers count, so that processes of the previous release count too.
"""

import sqlalchemy as sa
from alembic import op

from jobs.tables import Id

revision = "0027"
down_revision = "0026"

#: lane of an upload, as the totals name it.
_LANE = "COALESCE({}.lane, 'external')"
_STATUSES = ("completed", "failed", "cancelled")
_ENDED = f"({', '.join(map(repr, _STATUSES))})"
#: Whether an upload is a file that somebody sent: no part of another one's, and no repair, which makes its own.
_IS_SENT = "{0}.part_of IS NULL AND {0}.kind = 'import' AND {0}.size > 0"


#: Updates of rows that exist already: SQLite makes the program of each trigger anew for each statement.
SQLITE = [
    f"CREATE TRIGGER uploads_received AFTER INSERT ON uploads WHEN {_IS_SENT.format('NEW')}"
    " BEGIN UPDATE totals SET value = value + NEW.size WHERE name = 'bytes' AND label = ''; END",
    f"CREATE TRIGGER uploads_ended AFTER UPDATE OF status ON uploads"
    f" WHEN NEW.status <> OLD.status AND NEW.status IN {_ENDED}"
    " BEGIN UPDATE totals SET value = value + 1"
    f" WHERE name = 'uploads' AND label = NEW.status || ' ' || {_LANE.format('NEW')}; END",
    "CREATE TRIGGER uploads_rows AFTER UPDATE OF rows_success, rows_failed ON uploads"
    " WHEN NEW.rows_success > OLD.rows_success OR NEW.rows_failed > OLD.rows_failed"
    " BEGIN UPDATE totals SET value = value + CASE label"
    " WHEN 'success' THEN max(0, NEW.rows_success - OLD.rows_success)"
    " ELSE max(0, NEW.rows_failed - OLD.rows_failed) END WHERE name = 'rows'; END",
]

#: One row would be locked until the end of each import's transaction; so each adds a row, and the sweeper adds them up.
POSTGRESQL = [
    f"""
    CREATE FUNCTION count_upload() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF {_IS_SENT.format("NEW")} THEN
                INSERT INTO totals_added (name, label, value) VALUES ('bytes', '', NEW.size);
            END IF;
            RETURN NULL;
        END IF;
        IF NEW.status <> OLD.status AND NEW.status IN {_ENDED} THEN
            INSERT INTO totals_added (name, label, value)
            VALUES ('uploads', NEW.status || ' ' || {_LANE.format("NEW")}, 1);
        END IF;
        IF NEW.rows_success > OLD.rows_success THEN
            INSERT INTO totals_added (name, label, value)
            VALUES ('rows', 'success', NEW.rows_success - OLD.rows_success);
        END IF;
        IF NEW.rows_failed > OLD.rows_failed THEN
            INSERT INTO totals_added (name, label, value) VALUES ('rows', 'failed', NEW.rows_failed - OLD.rows_failed);
        END IF;
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER uploads_received AFTER INSERT ON uploads FOR EACH ROW EXECUTE FUNCTION count_upload()",
    "CREATE TRIGGER uploads_counted AFTER UPDATE OF status, rows_success, rows_failed ON uploads FOR EACH ROW"
    " WHEN (OLD.status <> NEW.status OR OLD.rows_success < NEW.rows_success OR OLD.rows_failed < NEW.rows_failed)"
    " EXECUTE FUNCTION count_upload()",
]


def upgrade() -> None:
    op.create_table(
        "totals",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "totals_added",
        sa.Column("id", Id, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.add_column("uploads", sa.Column("original_removed_at", sa.DateTime(timezone=True)))
    op.add_column("uploads", sa.Column("failed_rows_removed_at", sa.DateTime(timezone=True)))
    op.create_index(
        "uploads_with_original",
        "uploads",
        ["finished_at", "size"],
        sqlite_where=sa.text("original_removed_at IS NULL AND stored_as <> ''"),
        postgresql_where=sa.text("original_removed_at IS NULL AND stored_as <> ''"),
    )
    op.create_index(
        "uploads_with_failed_rows",
        "uploads",
        ["finished_at"],
        sqlite_where=sa.text("rows_failed > 0 AND failed_rows_removed_at IS NULL"),
        postgresql_where=sa.text("rows_failed > 0 AND failed_rows_removed_at IS NULL"),
    )
    connection = op.get_bind()
    lane = _LANE.format("uploads")
    zeros = [("uploads", f"{status} {each}") for status in _STATUSES for each in ("quick", "bulk", "external")]
    zeros += [("rows", "success"), ("rows", "failed"), ("bytes", "")]
    for name, label in zeros:
        connection.execute(sa.text("INSERT INTO totals VALUES (:name, :label, 0)"), {"name": name, "label": label})
    for name, counted in (
        ("uploads", f"SELECT status || ' ' || {lane}, COUNT(*) FROM uploads WHERE status IN {_ENDED} GROUP BY 1"),
        ("rows", "SELECT 'success', SUM(rows_success) FROM uploads"),
        ("rows", "SELECT 'failed', SUM(rows_failed) FROM uploads"),
        ("bytes", f"SELECT '', SUM(size) FROM uploads WHERE {_IS_SENT.format('uploads')}"),
    ):
        for found, value in connection.exec_driver_sql(counted).all():
            changed = sa.text("UPDATE totals SET value = :value WHERE name = :name AND label = :label")
            connection.execute(changed, {"value": int(value or 0), "name": name, "label": found})
    for statement in SQLITE if connection.dialect.name == "sqlite" else POSTGRESQL:
        connection.exec_driver_sql(statement)
