"""The job, whole, on both databases."""

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, files, uploads, writer
from jobs.bulk_upload import ahead
from jobs.database import Database
from jobs.events import Ticker
from jobs.queue import UploadQueue, stop_requested
from jobs.settings import Settings
from jobs.uploads import Claim, Status, Upload
from tests.conftest import store


@pytest.fixture
def database(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A job that is run reads the settings of the test. A chunk holds a few dozen short rows."""
    for name, value in settings.model_copy(update={"block_bytes": 256}).environment().items():
        monkeypatch.setenv(name, value)
    return database


def recorded(
    settings: Settings, database: Database, content: bytes | str, filename: str = "june.csv", dataset: str = ""
) -> Upload:
    """The upload of a file that waits for its job."""
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content, filename), dataset=dataset)


def run(database: Database, upload: Upload) -> Upload:
    """The upload after its job has run."""
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def imported(settings: Settings, database: Database, content: bytes | str, filename: str = "june.csv") -> Upload:
    """The upload of a file after its job has run."""
    return run(database, recorded(settings, database, content, filename))


def rows_of(database: Database, name: str) -> list[list[str]]:
    with database.reading() as connection:
        return [cells for _, cells in datasets.rows_after(connection, datasets.get(connection, name), None, limit=999)]


def numbers_of(database: Database, name: str) -> list[int]:
    """The row numbers of a dataset, as they are: one that is there twice would be here twice."""
    with database.reading() as connection:
        found = connection.execute(sa.text(f'SELECT "_row_number" FROM data_{name} ORDER BY 1'))
        return [int(number) for number in found.scalars()]


#: 200 rows in some ten chunks; rows 51 and 151 have a cell too few.
ROWS = [[str(n), f"name {n}"] for n in range(1, 201)]
CONTENT = "id,name\n" + "".join(f"{n}\n" if n in ("51", "151") else f"{n},{name}\n" for n, name in ROWS)
GOOD = [row for row in ROWS if row[0] not in ("51", "151")]


def check_whole(database: Database, upload: Upload) -> None:
    """That every row of CONTENT is accounted for, once."""
    assert (upload.status, upload.error) == (Status.COMPLETED, None)
    assert (upload.rows_total, upload.rows_processed, upload.rows_success, upload.rows_failed) == (200, 200, 198, 2)
    assert upload.progress == 100
    assert rows_of(database, str(upload.dataset)) == GOOD
    assert numbers_of(database, str(upload.dataset)) == [int(number) for number, _ in GOOD]
    with database.reading() as connection:
        bad = uploads.bad_rows(connection, upload.id, limit=99)
    assert [row.number for row in bad] == [51, 151]


def test_a_file_becomes_a_dataset_with_every_row(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "id,name,born,paid\n1,Zoë,1999-12-31,true\n2,,2000-01-01,false\n")

    assert upload.status is Status.COMPLETED
    assert (upload.rows_total, upload.rows_processed, upload.rows_success, upload.rows_failed) == (2, 2, 2, 0)
    assert upload.progress == 100
    assert upload.dataset == "june"
    assert rows_of(database, "june") == [["1", "Zoë", "1999-12-31", "true"], ["2", "", "2000-01-01", "false"]]


def test_a_row_with_too_few_cells_fails_and_the_rest_goes_in(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, CONTENT)

    check_whole(database, upload)
    with database.reading() as connection:
        first, _ = uploads.bad_rows(connection, upload.id, limit=9)
    assert (first.cells, first.reasons) == (["51"], [(None, "has 1 cell, expected 2")])


def test_what_was_decided_about_the_file_is_kept(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "id;a;a\n1;;2\n", "Sales June.csv")
    with database.reading() as connection:
        dataset = datasets.get(connection, "sales_june")

    assert upload.notes == [
        "Read as UTF-8: 3 columns, separated by semicolons.",
        "Column 3 is called “a_2” instead of “a”.",
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


def test_a_dataset_has_the_name_that_was_asked_for(settings: Settings, database: Database) -> None:
    upload = run(database, recorded(settings, database, "a\n1\n", dataset="sales"))

    assert upload.dataset == "sales"


def test_a_header_alone_becomes_an_empty_dataset(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "a,b\n")

    assert (upload.status, upload.progress, upload.rows_total) == (Status.COMPLETED, 100, 0)
    assert rows_of(database, "june") == []


def test_a_file_of_which_every_row_failed_has_failed(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, "a,b\n1\n2\n3\n")

    assert (upload.status, upload.rows_processed, upload.rows_failed) == (Status.FAILED, 3, 3)
    assert upload.error is not None
    assert upload.progress == 99


def test_a_file_that_is_no_table_ends_with_a_sentence_for_people(settings: Settings, database: Database) -> None:
    upload = imported(settings, database, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")

    assert (upload.status, upload.dataset, upload.progress) == (Status.FAILED, None, 0)
    assert upload.error == (
        "This seems to be a PDF document, not a table of text."
        " Expected is a CSV file in UTF-8: a header line, then one line a row."
    )


def test_a_stored_file_that_is_gone_ends_with_a_sentence_for_people(settings: Settings, database: Database) -> None:
    upload = recorded(settings, database, CONTENT)
    files.path_of(settings.files, upload.stored_as).unlink()
    failed = run(database, upload)

    assert (failed.status, failed.error) == (Status.FAILED, "The stored file is gone from the server.")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_file_too_wide_for_its_database_ends_with_a_sentence_for_people(
    settings: Settings, database: Database
) -> None:
    wide = ",".join(f"c{n}" for n in range(1200)) + "\n" + ",".join("1" * 1200) + "\n"
    upload = imported(settings, database, wide)

    assert upload.status is Status.FAILED
    assert str(upload.error).startswith("The file is too wide for PostgreSQL")


def test_a_retry_imports_what_could_not_be_before(settings: Settings, database: Database) -> None:
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
    """Has something happen once, at the first chance behind row 60, between two transactions of the job."""

    def arrange(happen: Callable[[Upload], object]) -> None:
        happened: list[Upload] = []

        class Interrupting(Ticker[Upload]):
            def tick(self, value: Upload) -> None:
                super().tick(value)
                if value.rows_processed > 60 and not happened:
                    happened.append(value)
                    happen(value)

        monkeypatch.setattr(bulk_upload, "Ticker", Interrupting)

    return arrange


def test_a_cancelled_import_stops_between_two_chunks_and_what_is_in_stays_in(
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


def test_a_retry_after_a_cancel_goes_on_where_it_stopped(
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


def test_a_retry_starts_below_the_header_when_every_row_had_failed(
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


def test_an_upload_cancelled_while_its_file_is_looked_through_leaves_no_dataset(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelling(Ticker[Upload]):
        def tick(self, value: Upload) -> None:
            with database.transaction() as connection:
                uploads.cancel(connection, value.id)
            super().tick(value)

    monkeypatch.setattr(bulk_upload, "Ticker", Cancelling)
    upload = imported(settings, database, CONTENT)
    with database.reading() as connection:
        left = datasets.everything(connection)

    assert (upload.status, upload.dataset, left) == (Status.CANCELLED, None, [])


def test_a_claimant_whose_upload_was_taken_away_writes_nothing_more(
    settings: Settings, database: Database, between_chunks: Between, caplog: pytest.LogCaptureFixture
) -> None:
    def take_away(upload: Upload) -> Upload | None:
        with database.transaction() as connection:
            uploads.hand_back(connection, Claim(upload.id, upload.attempt), because="it was frozen")
            return uploads.claim(connection, upload.id, worker="another", lease=60)

    between_chunks(take_away)
    with caplog.at_level(logging.INFO, "jobs.bulk_upload"):
        upload = imported(settings, database, CONTENT)

    assert (upload.status, upload.attempt, upload.worker) == (Status.PROCESSING, 2, "another")
    assert len(rows_of(database, "june")) == upload.rows_success < 150
    assert f"Upload #{upload.id} is no longer with attempt 1. It stops here." in caplog.messages


def test_what_the_next_claimant_finds_is_imported_once(
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
    """Has the writing of rows fail, after some of the chunk's are in, from a chunk on; 0 mends it."""
    write = writer.write

    def arrange(chunk: int) -> None:
        calls: list[None] = []

        def failing(*words: Any) -> None:
            write(*words)
            calls.append(None)
            if len(calls) >= chunk:
                raise OSError("the disk is full")

        monkeypatch.setattr(writer, "write", failing if chunk else write)

    return arrange


def test_an_import_that_breaks_goes_on_behind_its_last_chunk(
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

    assert (broken.status, broken.attempt, broken.barren_attempts) == (Status.PENDING, 1, 0)
    assert 50 < broken.rows_processed < 150
    assert broken.rows_processed == whole.counting_from
    assert whole.attempt == 2
    check_whole(database, whole)


def test_an_import_may_break_in_every_other_chunk(settings: Settings, database: Database, breaking: Breaking) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(2)
    attempts = 1
    while (upload := broken_or_whole(database, upload)).is_active and attempts < 50:
        attempts += 1
        breaking(2)

    assert 4 < upload.attempt == attempts
    check_whole(database, upload)


def broken_or_whole(database: Database, upload: Upload) -> Upload:
    try:
        return run(database, upload)
    except OSError:
        with database.reading() as connection:
            return uploads.get(connection, upload.id)


def test_an_upload_whose_import_always_breaks_is_given_up(
    settings: Settings, database: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(1)
    states = [broken_or_whole(database, upload) for _ in range(5)]

    assert [state.status for state in states] == [*[Status.PENDING] * 4, Status.FAILED]
    assert states[-1].error == (
        "Given up after 5 attempts in a row that imported nothing."
        " The last time, an unexpected error came up (OSError)."
    )
    assert rows_of(database, "june") == []


def test_what_broke_is_enqueued_for_the_next_attempt(
    settings: Settings, database: Database, breaking: Breaking
) -> None:
    upload = recorded(settings, database, CONTENT)
    breaking(2)
    broken_or_whole(database, upload)
    queue = UploadQueue(settings.redis)
    line = queue.line()
    queue.close()

    assert line.ahead == {upload.id: 0}


@pytest.fixture
def _stop_is_taken_back() -> Iterator[None]:
    yield
    stop_requested.clear()


@pytest.mark.usefixtures("_stop_is_taken_back")
def test_a_worker_that_shuts_down_hands_back_after_the_running_chunk(
    settings: Settings, database: Database, between_chunks: Between
) -> None:
    between_chunks(lambda _: stop_requested.set())
    handed_back = imported(settings, database, CONTENT)
    stop_requested.clear()
    whole = run(database, handed_back)

    assert (handed_back.status, handed_back.worker, handed_back.barren_attempts) == (Status.PENDING, None, 0)
    assert 60 < handed_back.rows_processed < 150
    assert whole.counting_from == handed_back.rows_processed
    check_whole(database, whole)


@pytest.mark.usefixtures("_stop_is_taken_back")
def test_a_worker_that_shuts_down_while_it_looks_through_a_file_hands_it_back_uncounted(
    settings: Settings, database: Database
) -> None:
    stop_requested.set()
    handed_back = imported(settings, database, CONTENT)
    stop_requested.clear()

    assert (handed_back.status, handed_back.barren_attempts) == (Status.PENDING, 0)
    assert (handed_back.dataset, handed_back.rows_processed) == (None, 0)
    check_whole(database, run(database, handed_back))


def close(items: Iterator[int]) -> None:
    """What leaving a loop over the items does."""
    assert isinstance(items, Generator)
    items.close()


def test_items_made_ahead_come_in_order() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []


def test_an_error_while_making_items_comes_behind_those_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("the second")

    items = ahead(source())

    assert next(items) == 1
    with pytest.raises(LookupError, match="the second"):
        next(items)


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = threading.Semaphore(0)

    def source() -> Iterator[int]:
        for number in range(9):
            yield number
            made.release()

    items = ahead(source())
    next(items)

    assert made.acquire(timeout=10)
    close(items)


def test_no_thread_is_left_when_the_rest_is_not_wanted() -> None:
    before = threading.active_count()
    items = ahead(iter(range(1000)))
    next(items)
    close(items)

    assert threading.active_count() == before
