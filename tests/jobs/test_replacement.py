"""All rows of a dataset are replaced at once, or none, on both databases."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, failed_rows, replacement, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.lanes import Lane
from jobs.modes import Mode
from jobs.process import shutdown
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.uploads import Claim, Status, Upload
from jobs.work.attempt import Attempt
from tests.support.dying import Death, killed
from tests.support.files import store
from tests.support.waiting import until

STOCK = {
    "fields": [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}],
    "primaryKey": "sku",
}
OLD = "sku,price\n" + "".join(f"{n},1.5\n" for n in range(1, 51))
#: In several chunks; one row fails.
NEW = "sku,price\n" + "".join(f"{n},{'dear' if n == 90 else '2.5'}\n" for n in range(31, 151))
OLD_ROWS = dict.fromkeys(range(1, 51), 1.5)
NEW_ROWS = {n: 2.5 for n in range(31, 151) if n != 90}

Send = Callable[..., Upload]


@pytest.fixture
def send(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Records an upload into the dataset `stock`, which has fifty rows."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)

    def record(content: str, **more: Any) -> Upload:
        with database.transaction() as connection:
            return uploads.create(connection, store(settings, content, "stock.csv"), **{"dataset": "stock", **more})

    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse(STOCK), Mode.INSERT)
    assert run(database, record(OLD)).rows_added == 50
    return record


def run(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    return now(database, upload)


def now(database: Database, upload: Upload) -> Upload:
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def rows(database: Database) -> dict[int, float]:
    with database.reading() as connection:
        found = connection.execute(sa.text("SELECT sku, price FROM data_stock")).all()
        assert catalogue.entry(connection, "stock").rows == len(found)
    return {row.sku: row.price for row in found}


def staged(database: Database) -> list[int]:
    with database.reading() as connection:
        return replacement.staged(connection)


def test_the_rows_of_a_file_take_the_place_of_all_rows(database: Database, send: Send) -> None:
    ended = run(database, send(NEW, mode=Mode.REPLACE))

    assert (ended.status, ended.mode) == (Status.COMPLETED, Mode.REPLACE)
    assert (ended.rows_success, ended.rows_failed, ended.rows_added, ended.rows_removed) == (119, 1, 119, 50)
    assert rows(database) == NEW_ROWS
    assert staged(database) == []
    with database.reading() as connection:
        [failed] = failed_rows.rows(connection, ended.id, limit=9)
        origin = connection.execute(sa.text('SELECT DISTINCT "_upload_id" FROM data_stock')).scalars().all()
    assert (failed.row_number, origin) == (60, [ended.id])


def test_corrections_of_what_failed_are_added_to_the_new_rows(database: Database, send: Send) -> None:
    parent = run(database, send(NEW, mode=Mode.REPLACE))
    marks = f"sku,price,_upload_id,_row_number,_error\n90,2.5,{parent.id},60,\n"

    child = run(database, send(marks))
    refused = run(database, send(marks, mode=Mode.REPLACE))

    assert (child.status, child.mode, child.rows_success) == (Status.COMPLETED, Mode.INSERT, 1)
    assert now(database, parent).rows_corrected == 1
    assert rows(database) == {**NEW_ROWS, 90: 2.5}
    assert (refused.status, refused.error) == (
        Status.FAILED, "Corrected rows are added to those of the dataset; they cannot replace all rows."
    )  # fmt: skip


#: When a work horse is killed.
DEATHS = {
    "between two chunks": Death("from jobs.work.attempt import Attempt as Doomed", "_stop_if_all_failed", 2),
    "inside a chunk": Death("from jobs.work.attempt import Attempt as Doomed", "_count", 3),
    "before the exchange": Death("from jobs.work.attempt import Attempt as Doomed", "_complete", 1),
    "inside the exchange": Death("from jobs import datasets as Doomed", "count_replaced", 1),
    "before its commit": Death("from jobs.uploads import datasets; from jobs import uploads as Doomed", "complete", 1),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_replacement_that_is_killed_goes_on_where_it_was(database: Database, send: Send, death: str) -> None:
    upload = send(NEW, mode=Mode.REPLACE)
    found = killed(database, upload, DEATHS[death])
    before = rows(database)
    ended = run(database, upload)

    assert before == OLD_ROWS
    assert found.rows_processed > 0
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
    assert (ended.rows_success, ended.rows_failed, ended.rows_added, ended.rows_removed) == (119, 1, 119, 50)
    assert rows(database) == NEW_ROWS
    assert staged(database) == []


#: What ends a replacement after its first chunk.
ENDINGS: dict[str, Callable[[sa.Connection, Upload], Upload]] = {
    "cancelled": lambda connection, upload: uploads.cancel(connection, upload.id),
    "failed": lambda connection, upload: uploads.fail(connection, Claim(upload.id, upload.attempt), "It is no table."),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_replacement_that_ends_early_leaves_the_old_rows_and_begins_anew(
    settings: Settings, database: Database, send: Send, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    upload = send(NEW, mode=Mode.REPLACE)
    going_on = Attempt._stop_if_all_failed

    def end(_attempt: Attempt, **_: int) -> None:
        monkeypatch.setattr(Attempt, "_stop_if_all_failed", going_on)
        assert staged(database) == [upload.id]
        with Changes.opened(settings, database) as changes:
            found = now(database, upload)
            assert found.rows_processed > 0
            changes.make(lambda connection: ENDINGS[ending](connection, found))

    monkeypatch.setattr(Attempt, "_stop_if_all_failed", end)
    ended = run(database, upload)
    left, tables = rows(database), staged(database)
    with database.transaction() as connection:
        again = uploads.retry(connection, upload.id)
    completed = run(database, again)

    assert (ended.status, ended.rows_success, ended.rows_added) == (Status(ending), 0, 0)
    assert ended.rows_processed == ended.rows_failed
    assert (left, tables) == (OLD_ROWS, [])
    assert (completed.status, completed.rows_success, completed.rows_failed) == (Status.COMPLETED, 119, 1)
    assert rows(database) == NEW_ROWS


@pytest.mark.parametrize("content", ["sku,price\n", "sku,price\nx,1\ny,2\n"])
def test_a_file_without_a_row_to_import_replaces_nothing(database: Database, send: Send, content: str) -> None:
    ended = run(database, send(content, mode=Mode.REPLACE))

    assert ended.status is Status.FAILED
    assert rows(database) == OLD_ROWS
    assert staged(database) == []


def test_the_sweeper_removes_what_a_killed_process_left(settings: Settings, database: Database, send: Send) -> None:
    running, over = send(NEW, mode=Mode.REPLACE), send(NEW, mode=Mode.REPLACE)
    with database.transaction() as connection:
        dataset = datasets.get(connection, "stock")
        for each in (running, over):
            replacement.Replacement(dataset, each.id).begin(connection)
        uploads.cancel(connection, over.id)
    with Changes.opened(settings, database) as changes:
        Sweeper(changes, external_timeout=60).sweep()

    assert staged(database) == [running.id]


def test_nothing_else_is_imported_into_the_dataset_meanwhile(database: Database, send: Send) -> None:
    first, replacing, later = send("sku,price\n200,1\n"), send(NEW, mode=Mode.REPLACE), send("sku,price\n201,1\n")

    def claimed() -> int | None:
        with database.transaction() as connection:
            found = uploads.claim_next(connection, Lane.QUICK, worker="", lease=20, dataset_imports=4)
        return None if found is None else found.id

    def ended(upload: Upload) -> None:
        with database.transaction() as connection:
            uploads.complete(connection, Claim(upload.id, now(database, upload).attempt))

    order = [claimed(), claimed()]
    ended(first)
    order += [claimed(), claimed()]
    with database.reading() as connection:
        waiting = uploads.waiting_by_lane(connection, dataset_imports=4)
    ended(replacing)
    order.append(claimed())

    assert order == [first.id, None, replacing.id, None, later.id]
    assert waiting == {}


def test_rows_that_are_found_to_be_for_the_dataset_wait_for_the_end_of_a_replacement(
    database: Database, send: Send
) -> None:
    parent = run(database, send(NEW))
    marks = f"sku,price,_upload_id,_row_number,_error\n90,2.5,{parent.id},60,\n"
    replacing, correcting = send(NEW, mode=Mode.REPLACE), send(marks, dataset=None)
    with database.transaction() as connection:
        claim = uploads.claim(connection, replacing.id, worker="", lease=20)
    handed_back = run(database, correcting)
    still = run(database, correcting)

    assert claim is not None
    assert (handed_back.status, handed_back.dataset, handed_back.attempt) == (Status.PENDING, "stock", 1)
    assert still.attempt == 1
    with database.transaction() as connection:
        uploads.cancel(connection, replacing.id)
    assert run(database, correcting).status is Status.COMPLETED


def test_who_reads_the_old_rows_reads_all_of_them(database: Database, send: Send) -> None:
    upload = send(NEW, mode=Mode.REPLACE)
    with database.reading() as connection:
        reading = iter(connection.execute(sa.text("SELECT sku FROM data_stock ORDER BY sku")).yield_per(1))
        found = [next(reading).sku]
        importing = threading.Thread(target=bulk_upload.run, args=[upload.id])
        importing.start()
        until(lambda: now(database, upload).rows_processed == 120, "the rows to be staged")
        found += [row.sku for row in reading]
    importing.join(60)

    assert found == list(OLD_ROWS)
    assert now(database, upload).status is Status.COMPLETED
    assert rows(database) == NEW_ROWS


def test_a_worker_that_shuts_down_before_the_exchange_hands_the_upload_back(
    database: Database, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = replacement.wait_for_readers

    def stop(*arguments: Any) -> None:
        shutdown.requested.set()
        ending(*arguments)
        raise_if_requested(arguments[1])

    def raise_if_requested(tick: Callable[[], None]) -> None:
        tick()

    upload = send(NEW, mode=Mode.REPLACE)
    with monkeypatch.context() as patched:
        patched.setattr(replacement, "wait_for_readers", stop)
        stopped = run(database, upload)
    shutdown.requested.clear()

    assert (stopped.status, stopped.rows_processed, rows(database)) == (Status.PENDING, 120, OLD_ROWS)
    assert run(database, upload).status is Status.COMPLETED
    assert rows(database) == NEW_ROWS
