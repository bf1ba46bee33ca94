"""The file of failed rows, made in a process that has the database open for imports."""

from jobs import corrections, failed_rows
from jobs.database import Database
from jobs.export import csv_text
from jobs.export.failed_rows import BOM
from jobs.uploads import Upload


def corrections_file(database: Database, upload: Upload) -> bytes:
    """What a download of the failed rows has, which reads with the other driver."""
    header = upload.header or []
    with database.reading() as connection:
        rows = failed_rows.rows(connection, upload.id, limit=9_999)
    records = [corrections.record(row, upload.id, len(header)) for row in rows]
    return BOM + csv_text.lines([corrections.header(header), *records])
