"""The whole job on both databases."""

import errno
import logging
import random
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

import jobs.changes
from jobs import bulk_upload, datasets, failed_rows, files, receipts, uploads, warnings
from jobs.changes import Changes
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.datasets import Dataset, Mode
from jobs.errors import TransitionError, UnreadableFileError
from jobs.events import Ticker
from jobs.failed_rows import FailedRow, FailureCount, Reason
from jobs.formats.file_kinds import EXPECTED
from jobs.pipeline import reader, writer
from jobs.pipeline.checker import CheckedChunk, Checker
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.writer import PackedRows, Written
from jobs.process import shutdown
from jobs.queue import UploadQueue
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.traces import row_lines
from jobs.uploads import Claim, Status, Upload
from jobs.work import attempt, verification
from tests.support.files import store, zipped
from tests.support.queueing import rung_for


@pytest.fixture
def database(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The job reads the settings of the test. A chunk holds a few dozen short rows."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)
    return database


def recorded(
    settings: Settings, database: Database, content: bytes | str, filename: str = "june.csv", **more: Any
) -> Upload:
    """The upload of a file that waits for its job."""
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content, filename), **more)


def run(database: Database, upload: Upload) -> Upload:
    """The upload after its job has run."""
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def imported(settings: Settings, database: Database, content: bytes | str, filename: str = "june.csv") -> Upload:
    """The upload of a file after its job has run."""
    return run(database, recorded(settings, database, content, filename))


@pytest.fixture(autouse=True)
def _exact_counts(database: Database) -> Iterator[None]:
    """However imports end and go on, the number of rows that is kept of each dataset is that of its table."""
    yield
    with database.reading() as connection:
        for each in catalogue.entries(connection):
            rows = connection.execute(sa.text(f"SELECT count(*) FROM data_{each.name}")).scalar_one()
            assert (each.name, each.rows) == (each.name, rows)


def rows_of(database: Database, name: str) -> list[list[str]]:
    with database.reading() as connection:
        found = list(datasets.each_after(connection, datasets.get(connection, name), None, limit=999))
        return [row.cells for row in found]


def numbers_of(database: Database, name: str) -> list[int]:
    """The row numbers in a dataset, including duplicates."""
    with database.reading() as connection:
        found = connection.execute(sa.text(f'SELECT "_row_number" FROM data_{name} ORDER BY 1'))
        return [int(number) for number in found.scalars()]


#: 200 rows in some ten chunks; rows 51 and 151 have a cell too few.
ROWS = [[str(n), f"name {n}"] for n in range(1, 201)]
CONTENT = "id,name\n" + "".join(f"{n}\n" if n in ("51", "151") else f"{n},{name}\n" for n, name in ROWS)
GOOD = [row for row in ROWS if row[0] not in ("51", "151")]


def check_whole(database: Database, upload: Upload) -> None:
    """Assert that every row of CONTENT was imported or failed, once."""
    assert (upload.status, upload.error) == (Status.COMPLETED, None)
    assert (upload.rows_total, upload.rows_processed, upload.rows_success, upload.rows_failed) == (200, 200, 198, 2)
    assert upload.progress == 100
    assert rows_of(database, str(upload.dataset)) == GOOD
    assert numbers_of(database, str(upload.dataset)) == [int(number) for number, _ in GOOD]
    with database.reading() as connection:
        bad = failed_rows.rows(connection, upload.id, limit=99)
    assert [row.row_number for row in bad] == [51, 151]


def test_a_file_becomes_a_dataset_with_every_row(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "id,name,born,paid\n1,Zoë,1999-12-31,true\n2,,2000-01-01,false\n")

    assert upload.status is Status.COMPLETED
    assert (upload.rows_total, upload.rows_processed, upload.rows_success, upload.rows_failed) == (2, 2, 2, 0)
    assert upload.progress == 100
    assert upload.dataset == "june"
    assert rows_of(database, "june") == [["1", "Zoë", "1999-12-31", "true"], ["2", "", "2000-01-01", "false"]]


def test_a_row_with_too_few_cells_fails_and_the_rest_is_imported(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, CONTENT)

    check_whole(database, upload)
    with database.reading() as connection:
        first, _ = failed_rows.rows(connection, upload.id, limit=9)
    assert (first.cells, first.reasons) == (["51"], [Reason(None, "has 1 cell, expected 2")])


def test_the_detected_options_and_notes_are_stored(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "id;a;a\n1;;2\n", "Sales June.csv")
    with database.reading() as connection:
        dataset = datasets.get(connection, "sales_june")

    assert upload.notes == [
        "Read as UTF-8.",
        "3 columns, separated by semicolons.",
        "Column 3 was renamed from “a” to “a_2”.",
    ]
    assert [(each.name, each.type) for each in dataset.schema.fields] == [
        ("id", "integer"),
        ("a", "string"),
        ("a_2", "integer"),
    ]
    assert upload.id == dataset.upload_id


def test_a_second_file_of_the_same_name_becomes_a_dataset_of_its_own(settings: Settings, database: Database) -> None:
    first, second = (imported(settings, database, f"a\n{n}\n") for n in range(2))

    assert (first.dataset, second.dataset) == ("june", "june_2")
    assert (rows_of(database, "june"), rows_of(database, "june_2")) == ([["0"]], [["1"]])


def test_a_new_dataset_gets_the_chosen_name(settings: Settings, database: Database) -> None:
    upload = run(database, recorded(settings, database, "a\n1\n", dataset_wanted="sales"))

    assert upload.dataset == "sales"


def test_a_header_alone_becomes_an_empty_dataset(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "a,b\n")

    assert (upload.status, upload.progress, upload.rows_total) == (Status.COMPLETED, 100, 0)
    assert rows_of(database, "june") == []


def test_an_upload_fails_if_all_its_rows_fail(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "a,b\n1\n2\n3\n")

    assert (upload.status, upload.rows_processed, upload.rows_failed) == (Status.FAILED, 3, 3)
    assert upload.error is not None
    assert upload.progress == 99


def test_a_file_that_is_not_a_table_fails_with_a_sentence_for_people(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")

    assert (upload.status, upload.dataset, upload.progress) == (Status.FAILED, None, 0)
    assert upload.error == f"This looks like a PDF document, not a table. {EXPECTED}"


def test_a_missing_stored_file_fails_with_a_sentence_for_people(settings: Settings, database: Database) -> None:
    upload = recorded(settings, database, CONTENT)
    files.path_of(settings.files, upload.stored_as).unlink()
    failed = run(database, upload)

    assert (failed.status, failed.error) == (
        Status.FAILED,
        "The uploaded file is no longer stored on the server. Upload it again.",
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_file_with_too_many_columns_fails_with_a_sentence_for_people(settings: Settings, database: Database) -> None:
    wide = ",".join(f"c{n}" for n in range(1200)) + "\n" + ",".join("1" * 1200) + "\n"
    upload = imported(settings, database, wide)

    assert upload.status is Status.FAILED
    assert str(upload.error).startswith("The file has too many columns for PostgreSQL")


def test_a_retry_imports_a_file_that_failed_before(settings: Settings, database: Database) -> None:
    upload = recorded(settings, database, CONTENT)
    path = files.path_of(settings.files, upload.stored_as)
    path.rename(path.with_suffix(".away"))
    failed = run(database, upload)
    path.with_suffix(".away").rename(path)
    with database.transaction() as connection:
        uploads.retry(connection, failed.id)

    check_whole(database, run(database, failed))


def test_an_upload_that_is_not_waiting_is_left_alone(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, CONTENT)

    assert upload == run(database, upload)
    check_whole(database, upload)


Between = Callable[[Callable[[Upload], object]], None]


@pytest.fixture
def between_chunks(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Run an action once after row 60, between two transactions of the job."""

    def arrange(happen: Callable[[Upload], object]) -> None:
        happened: list[Upload] = []

        class Interrupting(Ticker[Upload]):
            def tick(self, value: Upload) -> None:
                super().tick(value)
                if value.rows_processed > 60 and not happened:
                    happened.append(value)
                    happen(value)

        monkeypatch.setattr(jobs.changes, "Ticker", Interrupting)

    return arrange


def test_a_cancelled_import_stops_after_a_chunk_and_keeps_its_rows(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    def cancel(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.cancel(connection, upload.id)

    between_chunks(cancel)
    upload = imported(settings, database, CONTENT)

    assert upload.status is Status.CANCELLED
    assert 60 < upload.rows_processed < 150
    assert (upload.rows_failed, upload.rows_success) == (1, upload.rows_processed - 1)
    assert rows_of(database, "june") == GOOD[: upload.rows_success]
    assert 30 <= upload.progress < 75


def test_a_retry_after_a_cancel_continues_where_it_stopped(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    def cancel(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.cancel(connection, upload.id)

    between_chunks(cancel)
    cancelled = imported(settings, database, CONTENT)
    with database.transaction() as connection:
        retried = uploads.retry(connection, cancelled.id)
    whole = run(database, retried)

    assert cancelled.rows_processed == retried.rows_processed == whole.counting_from
    check_whole(database, whole)


def test_a_retry_starts_below_the_header_if_all_rows_failed(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    def cancel(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.cancel(connection, upload.id)

    between_chunks(cancel)
    cancelled = imported(settings, database, "id,name\n" + "1\n" * 300 + "301,Zoë\n")
    with database.transaction() as connection:
        retried = uploads.retry(connection, cancelled.id)
    upload = run(database, retried)

    assert (cancelled.status, cancelled.rows_success, retried.rows_processed) == (Status.CANCELLED, 0, 0)
    assert (upload.status, upload.rows_processed, upload.rows_failed) == (Status.COMPLETED, 301, 300)
    assert (numbers_of(database, "june"), rows_of(database, "june")) == ([301], [["301", "Zoë"]])


def test_an_upload_cancelled_while_types_are_inferred_creates_no_dataset(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelling(Ticker[Upload]):
        def tick(self, value: Upload) -> None:
            with suppress(TransitionError), database.transaction() as connection:
                uploads.cancel(connection, value.id)
            super().tick(value)

    monkeypatch.setattr(attempt, "Ticker", Cancelling)
    upload = imported(settings, database, CONTENT)
    with database.reading() as connection:
        left = catalogue.entries(connection)

    assert (upload.status, upload.dataset, left) == (Status.CANCELLED, None, [])


def test_a_claimant_that_lost_its_claim_writes_nothing_more(
    settings: Settings, database: Database, between_chunks: Between, caplog: pytest.LogCaptureFixture
) -> None:
    def take_away(upload: Upload) -> Upload | None:
        with database.transaction() as connection:
            uploads.hand_back(connection, Claim(upload.id, upload.attempt), because="it was frozen")
            return uploads.claim(connection, upload.id, worker="another", lease=60)

    between_chunks(take_away)
    with caplog.at_level(logging.INFO, "jobs"):
        upload = imported(settings, database, CONTENT)

    assert (upload.status, upload.attempt, upload.worker) == (Status.PROCESSING, 2, "another")
    assert len(rows_of(database, "june")) == upload.rows_success < 150
    assert f"Attempt 1 no longer holds the claim on upload #{upload.id}. The attempt stops." in caplog.messages


def test_the_next_claimant_imports_the_remaining_rows_once(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    def import_it_all(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.hand_back(connection, Claim(upload.id, upload.attempt), because="it was frozen")
        run(database, upload)

    between_chunks(import_it_all)
    upload = imported(settings, database, CONTENT)

    assert upload.attempt == 2
    check_whole(database, upload)


Breaking = Callable[[int], None]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Breaking:
    """Make the writing of rows raise in the middle of a chunk, from that chunk on; 0 ends it."""
    whole = writer.writer_for

    def arrange(chunk: int) -> None:
        calls: list[None] = []

        class Failing:
            def __init__(self, *words: Any, **more: Any) -> None:
                self._writer = whole(*words, **more)

            def pack(self, rows: pd.DataFrame) -> PackedRows:
                return self._writer.pack(rows)

            def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
                return self._counted(self._writer.write(connection, rows))

            @contextmanager
            def together(self, connection: sa.Connection) -> Iterator[Callable[[PackedRows], Written]]:
                with self._writer.together(connection) as write:
                    yield lambda rows: self._counted(write(rows))

            def _counted(self, written: Written) -> Written:
                calls.append(None)
                if len(calls) >= chunk:
                    raise OSError("the disk is full")
                return written

        monkeypatch.setattr(writer, "writer_for", Failing if chunk else whole)

    return arrange


def test_an_import_that_raises_continues_after_its_last_chunk(
    settings: Settings, database: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(4)
    with pytest.raises(OSError, match="the disk is full"):
        bulk_upload.run(upload.id)
    with database.reading() as connection:
        broken = uploads.get(connection, upload.id)
    breaking(0)
    whole = run(database, upload)

    assert (broken.status, broken.attempt, broken.attempts_without_progress) == (Status.PENDING, 1, 0)
    assert 50 < broken.rows_processed < 150
    assert broken.rows_processed == whole.counting_from
    assert whole.attempt == 2
    check_whole(database, whole)


def test_an_import_may_raise_in_every_other_chunk(settings: Settings, database: Database, breaking: Breaking) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(2)
    attempts = 1
    while (upload := broken_or_whole(database, upload)).is_active and attempts < 50:
        attempts += 1
        breaking(2)

    assert 4 < upload.attempt == attempts
    check_whole(database, upload)


@pytest.fixture
def sharing(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Up to four chunks share a transaction, but for the first ones of a file, however slow the machine is."""
    monkeypatch.setattr(reader, "CHUNK_BYTES", 64)
    monkeypatch.setattr(attempt, "NEXT_CHUNK_SECONDS", 600)
    monkeypatch.setattr(attempt, "TRANSACTION_SECONDS", 600)
    return database


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each transaction, in order."""
    found: list[int] = []
    advance = uploads.advance

    def noted(*words: Any, **more: Any) -> Upload:
        found.append(more["good"] + more["bad"])
        return advance(*words, **more)

    monkeypatch.setattr(uploads, "advance", noted)
    return found


def test_chunks_of_a_large_file_share_transactions(settings: Settings, sharing: Database, steps: list[int]) -> None:
    upload = imported(settings, sharing, CONTENT)

    check_whole(sharing, upload)
    assert [row.line for row in rows_kept(sharing, upload)] == [52, 152]
    assert max(steps) > 15
    assert steps[0] < 10
    assert steps[1] < (10 if sharing.is_sqlite else 2 * steps[0])


def test_chunks_share_no_transaction_once_it_has_lasted_or_another_writer_waits_for_it(
    settings: Settings, sharing: Database, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "TRANSACTION_SECONDS", 0)
    assert imported(settings, sharing, CONTENT).status is Status.COMPLETED
    assert max(steps) < 10

    steps.clear()
    monkeypatch.setattr(attempt, "TRANSACTION_SECONDS", 600)
    monkeypatch.setattr(Database, "is_awaited", lambda self: self.is_sqlite)
    assert imported(settings, sharing, CONTENT).status is Status.COMPLETED
    assert (max(steps) > 15) != sharing.is_sqlite


def test_chunks_share_transactions_if_rows_are_replaced_but_on_postgresql_not_beside_another_import(
    settings: Settings, sharing: Database, steps: list[int]
) -> None:
    declared(sharing)
    replacing = recorded(settings, sharing, people(range(1, 201)), dataset="people", mode=Mode.UPSERT)
    assert run(sharing, replacing).rows_success == 200
    assert max(steps) > 15

    steps.clear()
    again = recorded(settings, sharing, people(range(1, 201), "other"), dataset="people", mode=Mode.UPSERT)
    changed = run(sharing, again)
    assert (changed.rows_success, changed.rows_added) == (200, 0)
    assert max(steps) > 15
    with sharing.reading() as connection:
        assert verification.verify(connection, changed.id)["result"] == receipts.EQUAL

    steps.clear()
    other = recorded(settings, sharing, people(range(900, 909)), dataset="people")
    with sharing.transaction() as connection:
        uploads.claim(connection, other.id, worker="another", lease=60)
        connection.execute(sa.text("UPDATE uploads SET dataset = 'people' WHERE id = :id"), {"id": other.id})
    beside = recorded(settings, sharing, people(range(301, 501)), dataset="people")
    assert run(sharing, beside).rows_success == 200
    assert (max(steps) > 15) == sharing.is_sqlite


@pytest.mark.parametrize("first", [100, 106, 112])  # in another of the chunks that share a transaction
def test_keys_that_exist_fail_alone_although_their_chunks_share_a_transaction(
    settings: Settings, sharing: Database, steps: list[int], first: int
) -> None:
    declared(sharing)
    numbers = [first, first + 3, 180]
    known = run(sharing, recorded(settings, sharing, people(numbers), dataset="people"))
    steps.clear()
    upload = run(sharing, recorded(settings, sharing, people(range(1, 201), "other"), dataset="people"))

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 197, 3)
    assert [row.row_number for row in rows_kept(sharing, upload)] == numbers
    assert [(count.rule, count.rows) for count in failure_counts(sharing, upload)] == [("is already in the dataset", 3)]
    names = {n: "name" if n in numbers else "other" for n in range(1, 201)}
    assert rows_of(sharing, "people") == [[str(n), f"{name} {n}"] for n, name in names.items()]
    assert max(steps) > 15
    assert sum(steps) == 200
    with sharing.reading() as connection:
        assert [verification.verify(connection, each.id)["result"] for each in (known, upload)] == [receipts.EQUAL] * 2


def test_an_import_that_raises_among_chunks_that_share_a_transaction_imports_each_row_once(
    settings: Settings, sharing: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, sharing, CONTENT)
    breaking(10)
    while (upload := broken_or_whole(sharing, upload)).is_active:
        breaking(10)

    assert upload.attempt > 3
    check_whole(sharing, upload)


def test_rows_before_one_that_cannot_be_read_are_imported_although_their_chunks_share_a_transaction(
    settings: Settings, sharing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Checker.__call__

    def breaks_at_row_100(self: Checker, chunk: Chunk) -> CheckedChunk:
        if 100 in chunk.rows.index:
            raise UnreadableFileError("Row 100 is unreadable.")
        return whole(self, chunk)

    monkeypatch.setattr(Checker, "__call__", breaks_at_row_100)
    upload = imported(settings, sharing, CONTENT)

    assert (upload.status, upload.error) == (Status.FAILED, "Row 100 is unreadable.")
    assert 90 < upload.rows_processed < 100
    assert rows_of(sharing, "june") == GOOD[: upload.rows_success]


#: Rows with a surplus cell, blank lines, repeated headers and rows that fail, in a dozen chunks.
POLLUTED = "id,name\n" + "".join(
    {0: ",,\n", 13: "id,name\n", 37: "\n\n", 41: f"{n}\n", 55: f'{n},"x\ny",\n'}.get(n % 60, f"{n},name {n},\n")
    for n in range(200)
)


def check_tallies(database: Database, upload: Upload) -> None:
    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 186, 3)
    assert (upload.lines_blank, upload.warnings) == (
        10,
        [warnings.lines_skipped(4, 15), warnings.surplus_cells(186)],
    )
    with database.reading() as connection:
        found = failed_rows.rows(connection, upload.id, limit=9)
    lines = POLLUTED.split("\n")
    assert [row.line for row in found] == [1 + lines.index(row.cells[0]) for row in found]


def runs_of(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM row_lines")).scalar_one())


def lines_in(database: Database, upload: Upload) -> dict[int, int]:
    """The line of each row, by its number."""
    with database.reading() as connection:
        rows = [(upload.id, number) for number in range(1, upload.rows_processed + 1)]
        return {number: line for (_, number), line in row_lines.lines_of(connection, rows).items()}


def test_one_record_tells_the_lines_of_all_rows_of_a_plain_file(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, CONTENT)

    assert lines_in(database, upload) == {number: number + 1 for number in range(1, 201)}
    assert runs_of(database) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_of_each_row_is_kept_however_often_an_import_is_resumed(
    settings: Settings, database: Database, breaking: Breaking, end: str
) -> None:
    records = [f'{n},"a{end}b"' if n % 3 == 0 else f"{n},c" for n in range(1, 201)]
    records[49] += end * 3
    upload = recorded(settings, database, "id,name" + end + end.join(records) + end)
    breaking(2)
    while (upload := broken_or_whole(database, upload)).is_active:
        breaking(2)

    expected, line = {}, 2
    for number, record in enumerate(records, start=1):
        expected[number] = line
        line += record.count(end) + 1
    assert lines_in(database, upload) == expected


def test_blank_lines_and_warnings_are_counted_once_however_often_an_import_is_resumed(
    settings: Settings, database: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, database, POLLUTED)
    breaking(2)
    while (upload := broken_or_whole(database, upload)).is_active:
        breaking(2)

    assert upload.attempt > 4
    check_tallies(database, upload)


def test_blank_lines_and_warnings_are_counted_anew_if_a_retry_begins_at_the_beginning(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    def cancel(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.cancel(connection, upload.id)

    between_chunks(cancel)
    upload = imported(settings, database, POLLUTED)
    with database.transaction() as connection:
        upload = uploads.retry(connection, upload.id)

    check_tallies(database, run(database, upload))


def test_every_failed_row_has_the_line_where_it_begins(settings: Settings, database: Database) -> None:
    """A row that is too short, one with a value of the wrong type, and one whose key is taken."""
    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "name"}], "primaryKey": "id"}
    with database.transaction() as connection:
        datasets.declare(connection, "people", TableSchema.parse(schema), Mode.INSERT)
    for content in ("id,name\n5,x\n", 'id,name\n\n1,"a\nb"\n' + "2\n\nx,y\n5,z\n" + "6,y\n" * 100 + "5,again\n"):
        upload = run(database, recorded(settings, database, content, dataset="people"))
    with database.reading() as connection:
        found = failed_rows.rows(connection, upload.id, limit=4)

    assert [row.line for row in found] == [5, 7, 8, 10]


def broken_or_whole(database: Database, upload: Upload) -> Upload:
    try:
        return run(database, upload)
    except OSError:
        with database.reading() as connection:
            return uploads.get(connection, upload.id)


def test_an_upload_whose_import_always_raises_fails(settings: Settings, database: Database, breaking: Breaking) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(1)
    states = [broken_or_whole(database, upload) for _ in range(5)]

    assert [state.status for state in states] == [*[Status.PENDING] * 4, Status.FAILED]
    assert states[-1].error == (
        "Stopped after 5 attempts without progress. The last time, an unexpected error occurred (OSError)."
    )
    assert rows_of(database, "june") == []


def test_an_upload_whose_import_raised_is_enqueued_again(
    settings: Settings, database: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(2)
    broken_or_whole(database, upload)

    assert rung_for(settings) == [upload.id]


@pytest.fixture
def _stop_is_taken_back() -> Iterator[None]:
    yield
    shutdown.requested.clear()


@pytest.mark.usefixtures("_stop_is_taken_back")
def test_a_worker_that_shuts_down_hands_back_after_the_current_chunk(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    between_chunks(lambda _: shutdown.requested.set())
    handed_back = imported(settings, database, CONTENT)
    shutdown.requested.clear()
    whole = run(database, handed_back)

    assert (handed_back.status, handed_back.worker, handed_back.attempts_without_progress) == (Status.PENDING, None, 0)
    assert 60 < handed_back.rows_processed < 150
    assert whole.counting_from == handed_back.rows_processed
    check_whole(database, whole)


@pytest.mark.usefixtures("_stop_is_taken_back")
def test_a_shutdown_during_type_inference_does_not_count_as_an_attempt(settings: Settings, database: Database) -> None:
    shutdown.requested.set()
    handed_back = imported(settings, database, CONTENT)
    shutdown.requested.clear()

    assert (handed_back.status, handed_back.attempts_without_progress) == (Status.PENDING, 0)
    assert (handed_back.dataset, handed_back.rows_processed) == (None, 0)
    check_whole(database, run(database, handed_back))


# A full disk


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "FULL_DISK_PAUSE", 0)


def full(*_: object, **__: object) -> None:
    raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))


@pytest.mark.usefixtures("_no_pauses")
def test_an_import_waits_while_the_disk_is_full_which_is_no_attempt(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = recorded(settings, database, CONTENT)
    for _ in range(2 * uploads.MAX_ATTEMPTS_WITHOUT_PROGRESS):
        with monkeypatch.context() as patch:
            patch.setattr(uploads, "advance", full)
            waiting = run(database, upload)

        assert (waiting.status, waiting.error, waiting.attempts_without_progress) == (Status.PENDING, None, 0)
    check_whole(database, run(database, upload))


@pytest.mark.usefixtures("_no_pauses")
def test_an_import_whose_claim_cannot_be_given_up_is_left_to_the_sweeper(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "advance", full)
        patch.setattr(uploads, "hand_back", full)
        left = imported(settings, database, CONTENT)

    assert left.status is Status.PROCESSING


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("noticed", ["before", "by the claim"])
def test_a_worker_claims_nothing_while_the_disk_is_full(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, noticed: str
) -> None:
    upload = recorded(settings, database, CONTENT)
    with monkeypatch.context() as patch:
        if noticed == "before":
            patch.setattr(UploadQueue, "has_room", lambda _: False)
        else:
            patch.setattr(uploads, "claim", full)

        assert run(database, upload) == upload
    check_whole(database, run(database, upload))


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("has_room", [True, False])
def test_a_table_that_finds_no_room_fails_but_waits_if_the_disk_is_full_without_it(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    upload = recorded(settings, database, zipped(**{"june.csv": CONTENT.encode()}), "june.zip")
    with monkeypatch.context() as patch:
        patch.setattr("jobs.pipeline.source.os.fsync", fsync)
        patch.setattr("jobs.process.disk.has_room", lambda folder: has_room or folder != settings.files)
        stopped = run(database, upload)

    assert stopped.status is (Status.FAILED if has_room else Status.PENDING)
    assert (stopped.error or "").startswith("The server's disk is full" if has_room else "")
    assert list(settings.files.iterdir()) == [settings.files / upload.stored_as]
    if not has_room:
        check_whole(database, run(database, upload))


# What is left on disk


def test_an_import_that_ends_leaves_no_spool(settings: Settings, database: Database, between_chunks: Between) -> None:
    def cancel(upload: Upload) -> None:
        assert list(settings.files.glob(f"{upload.stored_as}.table"))
        with Changes.opened(settings, database) as changes:
            changes.make(lambda connection: uploads.cancel(connection, upload.id))

    between_chunks(cancel)
    cancelled = imported(settings, database, zipped(**{"june.csv": CONTENT.encode()}), "june.zip")
    completed = imported(settings, database, zipped(**{"july.csv": b"a\n1\n"}), "july.zip")
    failed = imported(settings, database, zipped(**{"may.csv": b"a,b\n1\n2\n"}), "may.zip")
    found = [cancelled, completed, failed]

    assert [upload.status for upload in found] == [Status.CANCELLED, Status.COMPLETED, Status.FAILED]
    assert {path.name for path in settings.files.iterdir()} == {upload.stored_as for upload in found}


def test_a_spool_that_vanishes_is_made_again(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: object, **__: object) -> None:
        raise FileNotFoundError("june.table")

    upload = recorded(settings, database, zipped(**{"june.csv": CONTENT.encode()}), "june.zip")
    with monkeypatch.context() as patch:
        patch.setattr("jobs.pipeline.reader.inspect", vanish)
        with pytest.raises(FileNotFoundError):
            run(database, upload)
    check_whole(database, run(database, upload))


# Into an existing dataset


def declared(database: Database, mode: Mode = Mode.INSERT, **name_constraints: Any) -> Dataset:
    """A dataset of ids and names, keyed by the id."""
    fields = [{"name": "id", "type": "integer"}, {"name": "name", "constraints": name_constraints}]
    schema = TableSchema.parse({"fields": fields, "primaryKey": "id"})
    with database.transaction() as connection:
        return datasets.declare(connection, "people", schema, mode)


def rows_kept(database: Database, upload: Upload) -> list[FailedRow]:
    with database.reading() as connection:
        return failed_rows.rows(connection, upload.id, limit=9_999)


def failure_counts(database: Database, upload: Upload) -> list[FailureCount]:
    with database.reading() as connection:
        return failed_rows.counts(connection, upload.id)


def people(numbers: Iterable[int], name: str = "name") -> str:
    return "id,name\n" + "".join(f"{n},{name} {n}\n" for n in numbers)


def test_several_files_are_imported_into_an_existing_dataset(settings: Settings, database: Database) -> None:
    declared(database)
    first = run(database, recorded(settings, database, people(range(1, 101)), dataset="people"))
    second = run(database, recorded(settings, database, people(range(101, 201)), dataset="people"))

    assert (first.status, first.rows_success, first.rows_failed) == (Status.COMPLETED, 100, 0)
    assert (second.status, second.rows_success, second.rows_failed) == (Status.COMPLETED, 100, 0)
    assert rows_of(database, "people") == [[str(n), f"name {n}"] for n in range(1, 201)]


def test_a_row_with_an_existing_key_fails_and_names_the_existing_row(settings: Settings, database: Database) -> None:
    declared(database)
    first = run(database, recorded(settings, database, people(range(1, 101)), dataset="people"))
    second = run(database, recorded(settings, database, people(range(51, 151), "other"), dataset="people"))

    assert (second.status, second.rows_success, second.rows_failed) == (Status.COMPLETED, 50, 50)
    assert rows_of(database, "people") == [[str(n), f"{'name' if n <= 100 else 'other'} {n}"] for n in range(1, 151)]
    assert [row.sentence for row in rows_kept(database, second)] == [
        f"id: is already in the dataset (upload #{first.id}, row {n})" for n in range(51, 101)
    ]
    assert [row.cells for row in rows_kept(database, second)] == [[str(n), f"other {n}"] for n in range(51, 101)]
    assert failure_counts(database, second) == [FailureCount("id", "is already in the dataset", 50)]


def test_the_first_row_of_a_duplicate_key_in_a_file_is_kept(settings: Settings, database: Database) -> None:
    declared(database)
    upload = run(database, recorded(settings, database, people([*range(1, 101), 100, 1, 101]), dataset="people"))

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 101, 2)
    assert rows_of(database, "people") == [[str(n), f"name {n}"] for n in range(1, 102)]
    # One duplicate is in the same chunk, the other in an earlier one, which is already in the dataset.
    assert [row.sentence for row in rows_kept(database, upload)] == [
        "id: “100” is in an earlier row",
        f"id: is already in the dataset (upload #{upload.id}, row 1)",
    ]


def test_an_upsert_replaces_rows_and_keeps_the_last_of_a_file(settings: Settings, database: Database) -> None:
    dataset = declared(database, Mode.UPSERT)
    run(database, recorded(settings, database, people(range(1, 101)), dataset="people"))
    content = people([*range(51, 151), 150, 51], "new").replace("150,new 150\n51,new 51", "150,last\n51,last")
    upload = run(database, recorded(settings, database, content, dataset="people"))
    with database.reading() as connection:
        count = datasets.row_count(connection, dataset)

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 102, 0)
    assert count == 150
    named = {n: f"name {n}" if n < 51 else "last" if n in (51, 150) else f"new {n}" for n in range(1, 151)}
    assert rows_of(database, "people") == [[str(n), name] for n, name in named.items()]


def test_a_field_without_a_column_keeps_its_stored_value_in_an_upsert(settings: Settings, database: Database) -> None:
    declared(database, Mode.UPSERT)
    run(database, recorded(settings, database, people(range(1, 4)), dataset="people"))
    upload = run(database, recorded(settings, database, "id\n2\n9\n", dataset="people"))

    assert (upload.rows_success, [each["code"] for each in upload.warnings]) == (2, ["fields_empty"])
    assert rows_of(database, "people") == [["1", "name 1"], ["2", "name 2"], ["3", "name 3"], ["9", ""]]


@pytest.mark.parametrize("chunk_bytes", [256, 1 << 20])
def test_a_row_that_replaces_itself_collides_with_nothing_in_chunks_of_any_size(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_CHUNK_BYTES", str(chunk_bytes))
    declared(database, Mode.UPSERT, unique=True)
    content = people([*range(1, 32), 1]) + "".join(f"{n},name {n - 100}\n" for n in (101, 102))
    upload = run(database, recorded(settings, database, content, dataset="people"))

    assert (upload.rows_success, upload.rows_failed) == (32, 2)
    assert rows_of(database, "people") == [[str(n), f"name {n}"] for n in range(1, 32)]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("seed", range(3))
def test_files_of_random_keys_have_the_same_result_as_a_dictionary(
    settings: Settings, database: Database, mode: Mode, seed: int
) -> None:
    declared(database, Mode.INSERT)
    choice = random.Random(seed)
    expected: dict[int, str] = {}
    for file in "abc":
        rows = [(choice.randrange(150), f"{file}{number}") for number in range(choice.randrange(50, 150))]
        content = "id,name\n" + "".join(f"{id_},{name}\n" for id_, name in rows)
        upload = run(database, recorded(settings, database, content, dataset="people", mode=mode))
        failed = [row.cells for row in rows_kept(database, upload)]
        if mode is Mode.REPLACE:
            expected = {}
        if mode is Mode.ONLY_NEW:
            fresh = {id_: name for id_, name in reversed(rows) if id_ not in expected}
            assert failed == []
        elif mode is not Mode.UPSERT:
            fresh = {id_: name for id_, name in reversed(rows) if id_ not in expected}
            assert [[str(id_), name] for id_, name in rows if fresh.get(id_) != name] == failed
        else:
            fresh = dict(rows)
            assert failed == []
        expected |= fresh

    assert sorted(expected.items()) == [(int(id_), name) for id_, name in rows_of(database, "people")]


def run_at_once(database: Database, *several: Upload) -> list[Upload]:
    """The uploads after their jobs have run at the same time."""
    barrier = threading.Barrier(len(several))

    def run_one(upload: Upload) -> None:
        barrier.wait(60)
        bulk_upload.run(upload.id)

    with ThreadPoolExecutor() as pool:
        for ended in [pool.submit(run_one, upload) for upload in several]:
            ended.result(120)
    with database.reading() as connection:
        return uploads.get_many(connection, [upload.id for upload in several])


@pytest.mark.parametrize("order", [1, -1], ids=["alike", "face to face"])
def test_two_concurrent_imports_of_the_same_keys_import_or_fail_each_row(
    settings: Settings, database: Database, order: int
) -> None:
    declared(database)
    numbers = list(range(1, 401))
    contents = [people(numbers, "left"), people(numbers[100:][::order], "right")]
    waiting = [recorded(settings, database, content, dataset="people") for content in contents]
    left, right = run_at_once(database, *waiting)
    found = rows_of(database, "people")
    bad = [(row.cells, row.reasons) for upload in (left, right) for row in rows_kept(database, upload)]

    assert (left.rows_processed, right.rows_processed) == (400, 300)
    assert [int(id_) for id_, _ in found] == numbers
    sent = [[str(n), f"left {n}"] for n in numbers] + [[str(n), f"right {n}"] for n in numbers[100:]]
    assert sorted(sent) == sorted([*found, *(cells for cells, _ in bad)])
    assert left.rows_success + right.rows_success == 400
    assert len(bad) == left.rows_failed + right.rows_failed == 300
    assert {(reason.column, reason.rule) for _, (reason,) in bad} == {("id", "is already in the dataset")}


def test_two_concurrent_upserts_of_the_same_keys_fail_no_row(settings: Settings, database: Database) -> None:
    declared(database, Mode.UPSERT)
    numbers = list(range(1, 401))
    waiting = [
        recorded(settings, database, people(ns, name), dataset="people")
        for name, ns in [("left", numbers), ("right", numbers[::-1])]
    ]
    ended = run_at_once(database, *waiting)
    found = rows_of(database, "people")

    assert [(each.status, each.rows_success) for each in ended] == [(Status.COMPLETED, 400)] * 2
    assert [int(id_) for id_, _ in found] == numbers
    assert all(name in (f"left {id_}", f"right {id_}") for id_, name in found)


# Failed rows


def test_failed_rows_beyond_the_limit_are_counted(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_FAILED_ROWS_KEPT", "30")
    declared(database, maxLength=8)
    content = "id,name\n" + "".join(
        f"{n}\n" if n % 4 == 0 else f"{n},{'much too long' if n % 2 else n}\n" for n in range(1, 201)
    )
    upload = run(database, recorded(settings, database, content, dataset="people"))

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 50, 150)
    assert [row.row_number for row in rows_kept(database, upload)] == [n for n in range(1, 201) if n % 4 != 2][:30]
    assert failure_counts(database, upload) == [
        FailureCount("name", "is longer than 8 characters", 100),
        FailureCount(None, "has 1 cell, expected 2", 50),
    ]


@pytest.mark.parametrize("kept", [0, 1])
def test_the_limit_of_stored_failed_rows_may_be_zero_or_one(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_FAILED_ROWS_KEPT", str(kept))
    upload = imported(settings, database, CONTENT)

    assert (upload.status, upload.rows_failed) == (Status.COMPLETED, 2)
    assert [row.row_number for row in rows_kept(database, upload)] == [51][:kept]
    assert failure_counts(database, upload) == [FailureCount(None, "has 1 cell, expected 2", 2)]


def test_a_row_that_fails_for_several_reasons_counts_for_each_once(settings: Settings, database: Database) -> None:
    declared(database, maxLength=3, pattern="[a-z]+")
    content = "id,name\nx,LONG\ny,LONG\n,abc\n3,abc\n"
    upload = run(database, recorded(settings, database, content, dataset="people"))

    assert (upload.rows_success, upload.rows_failed) == (1, 3)
    assert failure_counts(database, upload) == [
        FailureCount("name", "does not match the pattern [a-z]+", 2),
        FailureCount("name", "is longer than 3 characters", 2),
        FailureCount("id", "is not a whole number", 2),
        FailureCount("id", "is required", 1),
    ]


def test_the_error_names_the_most_frequent_reason_if_all_rows_fail(settings: Settings, database: Database) -> None:
    declared(database)
    upload = run(database, recorded(settings, database, "id,name\nx,1\n,2\ny,3\n", dataset="people"))

    assert (upload.status, upload.rows_processed, upload.rows_failed) == (Status.FAILED, 3, 3)
    assert upload.error == (
        "All rows failed, so nothing was imported. The most frequent reason: id: is not a whole number."
    )


def test_an_import_stops_early_if_all_rows_fail(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "MAX_FAILED_ROWS_WITHOUT_SUCCESS", 100)
    declared(database)
    content = "id,name\n" + "x,y\n" * 500 + "1,y\n"
    upload = run(database, recorded(settings, database, content, dataset="people"))

    assert upload.status is Status.FAILED
    assert 100 <= upload.rows_failed == upload.rows_processed < 250
    assert upload.error == (
        f"The first {upload.rows_failed} rows failed, so nothing was imported."
        " The most frequent reason: id: is not a whole number."
    )


def test_an_import_continues_if_an_early_row_succeeded(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "MAX_FAILED_ROWS_WITHOUT_SUCCESS", 100)
    declared(database)
    content = "id,name\n" + "x,y\n" * 20 + "1,y\n" + "x,y\n" * 500
    upload = run(database, recorded(settings, database, content, dataset="people"))

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 1, 520)


def test_a_retry_deletes_the_failed_rows_if_all_rows_failed(settings: Settings, database: Database) -> None:
    declared(database)
    first = run(database, recorded(settings, database, "id,name\n1,Zoë\n", dataset="people"))
    again = run(database, recorded(settings, database, "id,name\n1,Zoë\n", dataset="people"))
    with database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM data_people"))
        datasets.count_rows(connection, "people", -1)
        uploads.retry(connection, again.id)
    retried = run(database, again)

    assert (first.status, again.status, again.rows_failed) == (Status.COMPLETED, Status.FAILED, 1)
    assert (retried.status, retried.rows_success, retried.rows_failed) == (Status.COMPLETED, 1, 0)
    assert (rows_kept(database, retried), failure_counts(database, retried)) == ([], [])


def test_progress_is_computed_from_bytes_if_rows_were_not_counted(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    declared(database)
    seen: list[Upload] = []
    between_chunks(seen.append)
    content = people(range(1, 201))
    upload = run(database, recorded(settings, database, content, dataset="people"))
    (half,) = seen

    assert (half.rows_total, half.bytes_total, upload.rows_total) == (None, len(content), 200)
    assert half.progress == half.next_byte * 100 // len(content)
    assert 30 <= half.progress < 60
