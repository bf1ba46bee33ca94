"""Totals: counted by the database, for good."""

import sqlalchemy as sa

from jobs import tables, totals, uploads
from jobs.failed_rows import FailedRow, Reason
from jobs.files import StoredFile
from jobs.totals import Totals
from tests.support.serving import Records

FAILED = [FailedRow(11, ["x", ""], [Reason("a", "is not a number", "x")])]


def read(records: Records) -> Totals:
    with records.database.reading() as connection:
        return totals.read(connection)


def test_what_happens_to_uploads_is_counted_once_and_for_good(records: Records) -> None:
    completed = records.complete(records.advance(records.processing(), 10, FAILED))
    failed = records.fail(records.advance(records.processing(), 5))
    records.retry(failed)
    records.cancel(failed)
    script = records.report(records.external(), "complete", progress=100)
    before = read(records)
    totals.add_up(records.database)
    totals.add_up(records.database)

    assert before.uploads == {
        ("completed", "quick"): 1, ("failed", "quick"): 1, ("cancelled", "quick"): 1, ("completed", "external"): 1
    }  # fmt: skip
    assert before.rows == {"success": 15, "failed": 1}
    assert before.bytes == completed.size + failed.size
    assert read(records) == before

    with records.database.transaction() as connection:
        for table in (tables.failed_rows, tables.failure_counts, tables.upload_log, tables.uploads):
            connection.execute(sa.delete(table))
    assert read(records) == before
    assert script.is_external


def test_rows_of_an_import_that_runs_count_with_each_chunk(records: Records) -> None:
    upload = records.advance(records.processing(), 10)
    assert read(records).rows == {"success": 10}
    records.advance(upload, 7)
    assert read(records).rows == {"success": 17}


def test_what_was_counted_before_the_rest_is_added_up_is_not_lost(records: Records) -> None:
    for _ in range(3):
        records.completed()
        totals.add_up(records.database)
    with records.database.reading() as connection:
        left = connection.execute(sa.select(sa.func.count()).select_from(tables.totals_added)).scalar()

    assert left == 0
    assert read(records).uploads == {("completed", "quick"): 3}


def test_a_part_of_a_file_and_a_repair_are_not_received(records: Records) -> None:
    whole = records.pending()
    with records.database.transaction() as connection:
        file = StoredFile("part.csv", "00ff", 8, "beef")
        uploads.create(connection, file, part_of=whole.id)
        uploads.create(connection, file, parent=whole.id, kind=uploads.REPAIR)

    assert read(records).bytes == whole.size
