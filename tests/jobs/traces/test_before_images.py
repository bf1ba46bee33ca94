"""What an upload replaces is kept, and what it would not change is not written, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.dataset_admin import changes as dataset_changes
from jobs.modes import Mode
from jobs.people.audit import Actor, Via
from jobs.pipeline import upserting
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.traces import before_images, unchanged_rows, write_order
from jobs.traces.before_images import Kept, Lost
from jobs.uploads import Upload
from tests.support.files import store

STOCK = {
    "fields": [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}, {"name": "note"}],
    "primaryKey": "sku",
}
#: An administrator at the command line.
SOMEBODY = Actor(None, Via.CLI)

Send = Callable[..., Upload]


@pytest.fixture(params=[256, 1 << 20, 1 << 19], ids=["small chunks", "one chunk", "one chunk, guessed"])
def chunk_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    if request.param == 1 << 19:  # whether all rows change is guessed of one row, if there are others
        monkeypatch.setattr(upserting, "FEW", 2)
        monkeypatch.setattr(upserting, "SAMPLE", 1)
    return int(request.param)


@pytest.fixture
def send(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> Send:
    """Imports rows into the dataset `stock`, which replaces rows: (sku, price, note), or lines of a file."""
    for name, value in settings.model_copy(update={"chunk_bytes": chunk_bytes}).environment().items():
        monkeypatch.setenv(name, value)

    def imported(*rows: tuple[Any, ...], header: str = "sku,price,note", **more: Any) -> Upload:
        content = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
        with database.transaction() as connection:
            sent = uploads.create(connection, store(settings, content, "stock.csv"), **{"dataset": "stock", **more})
        bulk_upload.run(sent.id)
        with database.reading() as connection:
            return uploads.get(connection, sent.id)

    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse(STOCK), Mode.UPSERT)
    return imported


def many(count: int, price: float = 1.5, note: str = "a note") -> list[tuple[Any, ...]]:
    return [(n, price, note) for n in range(1, count + 1)]


def stored(database: Database) -> dict[int, tuple[Any, ...]]:
    """sku → upload, row number, price, note."""
    with database.reading() as connection:
        found = run(connection, "SELECT sku, _upload_id, _row_number, price, note FROM data_stock").all()
        assert catalogue.entry(connection, "stock").rows == len(found)
    return {row[0]: tuple(row)[1:] for row in found}


def images(database: Database) -> list[tuple[Any, ...]]:
    """By, upload, row number, sku, price, note, in the order of the images' keys."""
    with database.reading() as connection:
        if not before_images.exist(connection, "stock"):
            return []
        names = '" by", _upload_id, _row_number, sku, price, note'
        return sorted(map(tuple, run(connection, f"SELECT {names} FROM before_stock")))


def kept(database: Database, upload: Upload) -> Kept | None:
    with database.reading() as connection:
        return before_images.of(connection, upload.id)


def found_unchanged(database: Database, upload: Upload) -> list[tuple[int, int, int]]:
    """Row number, owner, its row number."""
    with database.reading() as connection:
        blocks = list(unchanged_rows.of_upload(connection, upload.id))
    return sorted((number, each.owner_id, other) for each in blocks for number, other in each.pairs())


def test_rows_that_an_upsert_replaces_are_kept_and_the_others_stay_whose_they_are(
    database: Database, send: Send
) -> None:
    first = send(*many(40))
    changed = [(n, 2.5 if n % 4 == 0 else 1.5, "a note") for n in range(1, 51)]
    second = send(*changed)

    assert (second.rows_success, second.rows_unchanged, second.rows_added) == (50, 30, 10)
    assert (first.rows_unchanged, kept(database, first)) == (0, None)
    assert images(database) == [(second.id, first.id, n, n, 1.5, "a note") for n in range(4, 41, 4)]
    assert stored(database) == {
        n: (first.id, n, 1.5, "a note") if n % 4 and n <= 40 else (second.id, n, 2.5 if n % 4 == 0 else 1.5, "a note")
        for n in range(1, 51)
    }
    assert found_unchanged(database, second) == [(n, first.id, n) for n in range(1, 41) if n % 4]
    record = kept(database, second)
    assert record is not None
    assert (record.replaced, record.lost, record.is_table) == (10, None, False)


def test_the_same_file_again_writes_nothing(database: Database, send: Send) -> None:
    first = send(*many(60))
    before = stored(database)
    with database.reading() as connection:
        changed_at = catalogue.entry(connection, "stock").changed_at
    second, third = send(*many(60)), send(*reversed(many(60)))

    assert stored(database) == before
    assert [(each.rows_success, each.rows_unchanged, each.rows_added) for each in (second, third)] == [(60, 60, 0)] * 2
    assert images(database) == []
    assert found_unchanged(database, second) == [(n, first.id, n) for n in range(1, 61)]
    assert found_unchanged(database, third) == [(n, first.id, 61 - n) for n in range(1, 61)]
    with database.reading() as connection:
        assert catalogue.entry(connection, "stock").changed_at == changed_at
        assert unchanged_rows.finders(connection, first.id, [7, 60, 61]) == {
            7: [(second.id, 7), (third.id, 54)],
            60: [(second.id, 60), (third.id, 1)],
        }


def test_keys_that_come_again_in_a_file_count_once_whatever_the_size_of_the_chunks(
    database: Database, send: Send
) -> None:
    first = send(*many(4))
    filling = [(n, 9, "filling so that the next rows are in another chunk") for n in range(100, 110)]
    new = [(50, 1, "new")]
    second = send(
        (1, 1.5, "a note"), (2, 7, "other"), (3, 1.5, "a note"), (4, 7, "other"), *new, *filling,
        (1, 8, "changed after all"), (2, 1.5, "a note"), (3, 1.5, "a note"), (4, 8, "once more"), *new, *filling,
        (1, 1.5, "a note"), (4, 9, "and again"),
    )  # fmt: skip

    assert (second.rows_success, second.rows_unchanged, second.rows_added) == (32, 3, 11)
    assert {sku: row for sku, row in stored(database).items() if sku <= 4} == {
        **{sku: (first.id, sku, 1.5, "a note") for sku in (1, 2, 3)},
        4: (second.id, 32, 9.0, "and again"),
    }
    assert stored(database)[50] == (second.id, 20, 1.0, "new")
    assert images(database) == [(second.id, first.id, 4, 4, 1.5, "a note")]
    record = kept(database, second)
    assert record is not None
    assert record.replaced == 1


def test_a_field_that_the_file_does_not_fill_is_not_compared(database: Database, send: Send) -> None:
    first = send(*many(3))
    second = send((1, 1.5), (2, 2.5), header="sku,price")

    assert second.rows_unchanged == 1
    assert stored(database)[2] == (second.id, 2, 2.5, "a note")
    assert images(database) == [(second.id, first.id, 2, 2, 1.5, "a note")]


def test_a_replacement_keeps_the_former_table(database: Database, send: Send) -> None:
    first = send(*many(20))
    second = send(*many(5, price=3.5), mode=Mode.REPLACE)

    record = kept(database, second)
    assert record is not None
    assert (record.replaced, record.is_table, second.rows_removed) == (20, True, 20)
    assert set(stored(database)) == {1, 2, 3, 4, 5}
    with database.reading() as connection:
        dataset = datasets.get(connection, "stock")
        versions = before_images.versions(connection, dataset, [4])
        stamps = write_order.stamps_of(connection, [(first.id, 4), (second.id, 4)])
    assert [(each.upload_id, each.row_number, each.by, each.values) for each in versions] == [
        (first.id, 4, second.id, [4, 1.5, "a note"])
    ]
    assert stamps[first.id, 4] < stamps[second.id, 4]


def test_without_days_rows_that_an_upsert_would_not_change_stay_whose_they_are_too(
    database: Database, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_UNDO_DAYS", "0")
    first = send(*many(40))
    second = send(*[(n, 2.5 if n % 20 < 11 else 1.5, "a note") for n in range(11, 51)])

    changed = {n for n in range(11, 51) if n % 20 < 11} | {*range(41, 51)}
    alike = [(n - 10, first.id, n) for n in range(11, 41) if n not in changed]
    assert (second.rows_success, second.rows_unchanged, second.rows_added) == (40, len(alike), 10)
    assert found_unchanged(database, second) == alike
    assert {sku for sku, (upload_id, *_) in stored(database).items() if upload_id == second.id} == changed
    assert {row for sku, row in stored(database).items() if sku not in changed} == {
        (first.id, n, 1.5, "a note") for n in range(1, 41) if n not in changed
    }
    record = kept(database, second)
    assert record is not None
    assert (record.replaced, record.lost) == (len(changed) - 10, Lost.OFF)


@pytest.mark.parametrize("chunk_bytes", [1 << 20], indirect=True)
def test_without_days_nothing_is_kept_but_that_it_is_not(
    settings: Settings, database: Database, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_UNDO_DAYS", "0")
    send(*many(4))
    second = send(*many(4, price=2.5))
    third = send(*many(4, price=2.5))
    fourth = send(*many(2), mode=Mode.REPLACE)

    assert images(database) == []
    records = [kept(database, each) for each in (second, third, fourth)]
    assert [each and (each.replaced, each.lost) for each in records] == [(4, Lost.OFF), None, (4, Lost.OFF)]
    assert third.rows_unchanged == 4


@pytest.mark.parametrize("chunk_bytes", [1 << 20], indirect=True)
def test_images_are_removed_when_the_days_are_over(database: Database, send: Send, changes: Changes) -> None:
    first, second = send(*many(5)), send(*many(5, price=2.5))
    third, fourth = send(*many(3), mode=Mode.REPLACE), send(*many(3, price=7))
    with database.transaction() as connection:
        old = sa.text("UPDATE kept_images SET at = '2020-01-31 00:00:00' WHERE upload_id <= :third")
        connection.execute(old, {"third": third.id})
        one = before_images.of(connection, second.id)
        assert one is not None
        assert before_images.prune(connection, one, limit=2)
    assert len(images(database)) == 6

    Sweeper(changes, external_timeout=60, undo_days=30).sweep()

    assert [each[0] for each in images(database)] == [fourth.id] * 3
    assert [each and each.lost for each in (kept(database, one) for one in (first, second, third, fourth))] == [
        None, Lost.OLD, Lost.OLD, None,
    ]  # fmt: skip
    with database.reading() as connection:
        assert not before_images._has_table(connection, f"replaced_{third.id}")


@pytest.mark.parametrize("chunk_bytes", [1 << 20], indirect=True)
def test_what_was_replaced_a_moment_ago_stays(database: Database, send: Send, changes: Changes) -> None:
    send(*many(5))
    replaced, changed = send(*many(3), mode=Mode.REPLACE), send(*many(3, price=7))

    Sweeper(changes, external_timeout=60, undo_days=30).sweep()

    assert [each and each.lost for each in (kept(database, replaced), kept(database, changed))] == [None, None]
    with database.reading() as connection:
        assert before_images._has_table(connection, f"replaced_{replaced.id}")


@pytest.mark.parametrize("chunk_bytes", [1 << 20], indirect=True)
def test_images_follow_the_columns_of_their_dataset(database: Database, send: Send) -> None:
    send(*many(4))
    replaced = send(*many(4, price=2.5), mode=Mode.REPLACE)
    changed = send(*many(4, price=3.5))
    with database.transaction() as connection:
        dataset_changes.add_field(connection, SOMEBODY, "stock", {"name": "colour"})
        dataset_changes.change_field(connection, SOMEBODY, "stock", "price", {"name": "amount"})
        dataset_changes.drop_field(connection, SOMEBODY, "stock", "note")
        versions = before_images.versions(connection, datasets.get(connection, "stock"), [2])
    assert sorted((each.by, each.values) for each in versions) == [
        (replaced.id, [2, 1.5, None]),
        (changed.id, [2, 2.5, None]),
    ]

    with database.transaction() as connection:
        before_images.give_up(connection, datasets.get(connection, "stock"))
        assert before_images.versions(connection, datasets.get(connection, "stock"), [2]) == []
    assert [each and each.lost for each in (kept(database, replaced), kept(database, changed))] == [Lost.CHANGED] * 2

    later = send((1, 12, "red"), header="sku,amount,colour")
    record = kept(database, later)
    assert record is not None
    assert (record.replaced, record.lost) == (1, None)
    with database.transaction() as connection:
        dataset_changes.delete(connection, SOMEBODY, "stock", "stock")
        assert not before_images.exist(connection, "stock")
        assert before_images.of(connection, later.id) is None
