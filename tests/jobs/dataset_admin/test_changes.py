"""Changes of datasets, and uploads that come meanwhile."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, review, tables, uploads
from jobs.database import Database
from jobs.dataset_admin import changes as dataset_changes
from jobs.datasets import Dataset, Mode
from jobs.errors import DatasetInUseError
from jobs.people.audit import Actor, Via
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Review, Status
from jobs.work.attempt import Attempt
from tests.support.files import store

ACTOR = Actor("root", Via.API)
SCHEMA = TableSchema.parse({"fields": [{"name": "id", "type": "integer"}, {"name": "price"}]})


@pytest.fixture
def database(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """With the dataset `sales`. The job reads the settings of the test."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    with database.transaction() as connection:
        dataset_changes.declare(connection, ACTOR, "sales", SCHEMA, Mode.INSERT)
    return database


def test_a_deletion_waits_for_an_upload_that_is_being_made_and_is_refused(
    settings: Settings, database: Database
) -> None:
    file, refused = store(settings, "id\n1\n", "june.csv"), threading.Event()

    def delete() -> None:
        with pytest.raises(DatasetInUseError), database.transaction() as other:
            dataset_changes.delete(other, ACTOR, "sales", "sales")
        refused.set()

    with database.transaction() as connection:
        assert datasets.exists_to_upload(connection, "sales")
        deletion = threading.Thread(target=delete)
        deletion.start()
        uploads.create(connection, file, dataset="sales")
        assert not refused.is_set()
    deletion.join(60)
    assert refused.is_set()


def test_no_row_is_written_as_a_schema_says_that_was_changed(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, "id,price\n1,2.5\n", "june.csv"), dataset="sales")
    existing = Attempt._existing

    def existing_before_a_change(attempt: Attempt, *words: Any) -> Dataset | None:
        found = existing(attempt, *words)
        renamed = {"fields": [{"name": "id", "type": "integer"}, {"name": "cost", "aliases": ["price"]}]}
        with database.transaction() as other:
            other.execute(sa.text("ALTER TABLE data_sales RENAME COLUMN price TO cost"))
            datasets.replace(other, "sales", TableSchema.parse(renamed), Mode.INSERT)
        return found

    monkeypatch.setattr(Attempt, "_existing", existing_before_a_change)
    bulk_upload.run(upload.id)
    monkeypatch.undo()
    with database.reading() as connection:
        waiting = uploads.get(connection, upload.id)
    assert (waiting.status, waiting.rows_processed, waiting.attempts_without_progress) == (Status.PENDING, 0, 0)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    bulk_upload.run(upload.id)

    with database.reading() as connection:
        assert uploads.get(connection, upload.id).status is Status.COMPLETED
        [row] = datasets.each_after(connection, datasets.get(connection, "sales"), None, limit=9)
    assert row.cells == ["1", "2.5"]


def test_an_upload_that_is_held_keeps_its_dataset_as_it_is(settings: Settings, database: Database) -> None:
    """What somebody chose for its columns would mean something else."""
    with database.transaction() as connection:
        file = store(settings, "id,prise\n1,2.5\n", "june.csv")
        upload = uploads.create(connection, file, dataset="sales", review=Review.AUTO)
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        assert uploads.get(connection, upload.id).status is Status.HELD
    with pytest.raises(DatasetInUseError, match=f"are held: #{upload.id}"), database.transaction() as connection:
        dataset_changes.drop_field(connection, ACTOR, "sales", "price")
    with pytest.raises(DatasetInUseError), database.transaction() as connection:
        dataset_changes.delete(connection, ACTOR, "sales", "sales")


def test_what_is_remembered_of_columns_follows_the_fields(database: Database) -> None:
    def remembered() -> dict[str, str | None]:
        with database.reading() as connection:
            return review.remembered(connection, "sales", ["Number", "Amount", "Note"])

    columns = {"Number": "id", "Amount": "price", "Note": None}
    with database.transaction() as connection:
        review.remember_columns(connection, "sales", columns)
        review.remember_columns(connection, "stock", {"Amount": "price"})
    with database.transaction() as connection:
        dataset_changes.change_field(connection, ACTOR, "sales", "price", {"name": "cost"})
    assert remembered() == columns | {"Amount": "cost"}
    with database.transaction() as connection:
        dataset_changes.drop_field(connection, ACTOR, "sales", "cost")
    assert remembered() == {"Number": "id", "Note": None}
    with database.transaction() as connection:
        dataset_changes.delete(connection, ACTOR, "sales", "sales")
    assert remembered() == {}
    with database.reading() as connection:
        assert review.remembered(connection, "stock", ["Amount"]) == {"Amount": "price"}


def test_each_change_is_in_the_audit_log_with_what_it_was(database: Database) -> None:
    def change(what: Any) -> None:
        with database.transaction() as connection:
            what(connection)

    change(lambda c: dataset_changes.configure(c, ACTOR, "sales", dataset_changes.Settings(title="Sales")))
    change(lambda c: dataset_changes.configure(c, ACTOR, "sales", dataset_changes.Settings(title="Sales")))
    change(lambda c: dataset_changes.add_field(c, ACTOR, "sales", {"name": "sold", "type": "date"}))
    change(lambda c: dataset_changes.change_field(c, ACTOR, "sales", "sold", {"name": "when", "title": "Sold on"}))
    change(lambda c: dataset_changes.drop_field(c, ACTOR, "sales", "when"))
    change(lambda c: dataset_changes.delete(c, ACTOR, "sales", "sales"))
    columns = tables.audit.c
    with database.reading() as connection:
        found = connection.execute(sa.select(columns.action, columns.detail).order_by(columns.id)).all()

    assert [tuple(each) for each in found] == [
        ("dataset.add", "2 columns, insert"),
        ("dataset.change", "title “Sales”"),
        ("dataset.field_add", "sold: date"),
        ("dataset.field_change", "sold is when now: name, title"),
        ("dataset.field_drop", "when: date"),
        ("dataset.delete", "0 rows; its uploads are those of sales (deleted)"),
    ]
