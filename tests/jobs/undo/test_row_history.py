"""The versions of a row, after imports, undos and undos of undos, on both databases."""

from typing import Any

import pytest

from jobs import bulk_upload, datasets, uploads
from jobs.database import Database
from jobs.datasets import Position
from jobs.modes import Mode
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.undo import key_failures
from jobs.undo import orders as undo_orders
from jobs.undo.row_history import History, Version
from jobs.uploads import Upload
from tests.support.files import store

FIELDS: list[dict[str, Any]] = [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}]

Told = tuple[int, str | None, str | None]


class Shop:
    """Imports into the dataset `stock`, in which a row has a price."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self.database = settings, database
        with database.transaction() as connection:
            schema = TableSchema.parse({"fields": FIELDS, "primaryKey": "sku"})
            datasets.declare(connection, "stock", schema, Mode.UPSERT)

    def send(self, *rows: str, mode: Mode = Mode.UPSERT) -> Upload:
        with self.database.transaction() as connection:
            content = "\n".join(["sku,price", *rows, ""])
            stored = store(self._settings, content, "stock.csv")
            found = uploads.create(connection, stored, dataset="stock", mode=mode)
        return self._run(found)

    def undo(self, upload: Upload) -> Upload:
        with self.database.transaction() as connection:
            ordered = undo_orders.order(connection, uploads.get(connection, upload.id))
        return self._run(ordered)

    def _run(self, upload: Upload) -> Upload:
        bulk_upload.run(upload.id)
        with self.database.reading() as connection:
            found = uploads.get(connection, upload.id)
        assert found.status == "completed", found.error
        return found

    def versions(self, sku: int) -> list[Version]:
        with self.database.reading() as connection:
            history = History(connection, datasets.get(connection, "stock"), Position([sku]))
            return list(history.versions(history.changes))

    def told(self, sku: int) -> list[Told]:
        """Who changed the price of a row, from what, and to what."""
        return [
            (each.upload.id, each.before[1] if each.before else None, each.after[1] if each.after else None)
            for each in self.versions(sku)
        ]


@pytest.fixture
def shop(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, value in settings.model_copy(update={"lease": 20}).environment().items():
        monkeypatch.setenv(name, value)
    return Shop(settings, database)


def test_what_uploads_and_undos_did_to_a_row_is_told_newest_first(shop: Shop) -> None:
    first = shop.send("1,1", "2,1")
    second = shop.send("3,2", "1,2")
    third = shop.send("2,1", "1,2")
    undone = shop.undo(second)  # the first row stays: the third upload found it so
    assert shop.told(1) == [(second.id, "1", "2"), (first.id, None, "1")]
    assert shop.told(3) == [(undone.id, "2", None), (second.id, None, "2")]
    found = shop.versions(1)
    assert found[0].found_by == [(third.id, 3)]
    assert (found[0].line, found[0].row_number, found[0].is_present, found[0].replaced_by) == (3, 2, True, None)
    assert (found[1].line, found[1].is_present, found[1].replaced_by) == (2, False, second.id)

    undone_too = shop.undo(third)
    assert shop.told(1)[0] == (undone_too.id, "2", "1")
    redone = shop.undo(undone)
    assert shop.told(3) == [(redone.id, None, "2"), (undone.id, "2", None), (second.id, None, "2")]
    assert shop.told(1) == [
        (redone.id, "1", "2"), (undone_too.id, "2", "1"), (second.id, "1", "2"), (first.id, None, "1")
    ]  # fmt: skip
    assert [each.line for each in shop.versions(1)] == [None, None, 3, 2]
    assert shop.versions(9) == []


def test_a_row_that_was_removed_and_written_anew_is_not_taken_for_one_that_came_back(shop: Shop) -> None:
    first = shop.send("1,1")
    undone = shop.undo(first)
    second = shop.send("1,2")
    redone = shop.undo(undone)  # changes nothing: the second upload is newer

    assert redone.rows_success == 0
    assert shop.told(1) == [(second.id, None, "2"), (undone.id, "1", None), (first.id, None, "1")]


def test_rows_that_a_replacement_removed_come_back_by_its_undo(shop: Shop) -> None:
    first = shop.send("1,1", "2,1")
    replacing = shop.send("2,2", "3,2", mode=Mode.REPLACE)
    undone = shop.undo(replacing)
    redone = shop.undo(undone)
    last = shop.send("2,5")

    assert shop.told(1) == [
        (redone.id, "1", None), (undone.id, None, "1"), (replacing.id, "1", None), (first.id, None, "1")
    ]  # fmt: skip
    assert shop.told(2) == [
        (last.id, "2", "5"), (redone.id, "1", "2"), (undone.id, "2", "1"), (replacing.id, "1", "2"),
        (first.id, None, "1"),
    ]  # fmt: skip
    assert shop.told(3) == [(redone.id, None, "2"), (undone.id, "2", None), (replacing.id, None, "2")]


def test_versions_that_are_not_kept_are_told_to_be_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.send("1,1")
    second = shop.send("1,2")
    monkeypatch.setenv("BULK_UPLOAD_UNDO_DAYS", "0")
    third = shop.send("1,3")
    [newest, _, oldest] = shop.versions(1)

    assert (newest.upload.id, newest.before, newest.before_lost) == (third.id, None, True)
    assert shop.told(1) == [(third.id, None, "3"), (second.id, "1", None), (first.id, None, "1")]
    assert not oldest.before_lost


def test_a_long_history_is_paged_by_the_upload_that_a_page_begins_with(shop: Shop) -> None:
    sent = [shop.send(f"1,{price}").id for price in range(5)]
    with shop.database.reading() as connection:
        history = History(connection, datasets.get(connection, "stock"), Position([1]))
        pages = [history.page(first, 2) for first in (None, sent[2], sent[0], 999)]

    assert [[each.upload_id for each in page] for page in pages] == [
        [sent[4], sent[3], sent[2]], [sent[2], sent[1], sent[0]], [sent[0]], []
    ]  # fmt: skip


def test_failed_rows_with_the_key_of_a_row_are_found(shop: Shop) -> None:
    sent = shop.send("1,1", "2,x", "12,y", "2,3")
    with shop.database.reading() as connection:
        dataset = datasets.get(connection, "stock")
        found = key_failures.find(connection, dataset, {"sku": "2"}, limit=5)
        others = key_failures.find(connection, dataset, {"sku": "1"}, limit=5)

    assert [(each.upload_id, each.line, each.corrected_by) for each in found] == [(sent.id, 3, None)]
    assert "“x” is not a number" in found[0].sentence
    assert others == []
