"""Receipts, digests and verification, on both databases."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import bulk_upload, datasets, receipts, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.errors import NoReceiptError, TransitionError, UndoRefusedError
from jobs.export import parquet
from jobs.modes import Mode
from jobs.rows.selection import Condition, Operator, Selection
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.undo import orders as undo_orders
from jobs.uploads import Status, Task, Upload
from jobs.work import verification
from tests import ROOT
from tests.support.files import store

SCHEMA = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "name", "type": "string"},
        {"name": "amount", "type": "number"},
        {"name": "paid", "type": "boolean"},
        {"name": "day", "type": "date"},
        {"name": "at", "type": "datetime"},
        {"name": "hour", "type": "time"},
        {"name": "note", "type": "string"},
    ],
    "primaryKey": "id",
}
HEADER = "id,name,amount,paid,day,at,hour\n"


def line(number: int, name: str = "") -> str:
    named = name or f"Zoë {'x' * (number % 40)}"
    amount = "" if number % 7 == 0 else f"{number / 10 + 0.1:.2f}"
    day, second = f"2024-02-{number % 28 + 1:02}", f"{number % 60:02}"
    paid = "true" if number % 2 else ""
    return f"{number},{named},{amount},{paid},{day},2024-05-06T07:08:{second}Z,09:{second}:00\n"


Send = Callable[..., Upload]


@pytest.fixture
def send(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Imports text into the dataset `sales`, in chunks of a few rows."""
    for name, value in settings.model_copy(update={"chunk_bytes": 2048, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)

    def record(content: str, **more: Any) -> Upload:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, content, "june.csv"), **{"dataset": "sales", **more})
        bulk_upload.run(upload.id)
        with database.reading() as connection:
            return uploads.get(connection, upload.id)

    with database.transaction() as connection:
        datasets.declare(connection, "sales", TableSchema.parse(SCHEMA), Mode.INSERT)
    return record


def receipt_of(database: Database, upload: Upload) -> receipts.Receipt:
    with database.reading() as connection:
        return receipts.get(connection, upload)


def verdict_on(database: Database, upload: Upload) -> receipts.Verdict:
    with database.reading() as connection:
        return verification.verify(connection, upload.id)


def change(database: Database, statement: str) -> None:
    with database.transaction() as connection:
        run(connection, statement)


def by_the_script(database: Database, receipt: receipts.Receipt, folder: Path) -> str:
    """The digest as the script of the documentation computes it, from an export."""
    (folder / "receipt.json").write_text(json.dumps(receipt))
    with database.reading() as connection, (folder / "rows.parquet").open("wb") as file:
        dataset = datasets.get(connection, receipt["dataset"])
        mine = Selection((Condition("_upload_id", Operator.EQUAL, receipt["upload"]),))
        parquet.write(connection, dataset, mine, file, provenance=False)
    arguments = [sys.executable, str(ROOT / "docs/digest.py"), "receipt.json", "rows.parquet"]
    return subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_receipt_says_what_was_imported_and_fails_to_verify_after_one_cell_was_changed(
    send: Send, database: Database, tmp_path: Path
) -> None:
    content = HEADER + "".join(map(line, range(1, 201))) + "201,,many,,,,\n"
    upload = send(content)
    receipt = receipt_of(database, upload)
    assert receipt["rows"] == {
        "processed": 201, "success": 200, "failed": 1, "written": 200, "added": 200, "removed": 0, "unchanged": 0
    }  # fmt: skip
    assert receipt["mapping"]["amount"] == "amount"
    assert "note" not in receipt["fields"]
    assert receipt["sums"] == {
        "id": sum(range(1, 201)), "amount": math.fsum(float(f"{n / 10 + 0.1:.2f}") for n in range(1, 201) if n % 7)
    }  # fmt: skip
    assert (receipt["sha256"], receipt["size"], receipt["schema_version"]) == (upload.sha256, upload.size, 1)
    assert by_the_script(database, receipt, tmp_path) == receipt["digest"]
    assert verdict_on(database, upload)["result"] == receipts.EQUAL
    change(database, "UPDATE data_sales SET amount = amount + 0.01 WHERE id = 78")
    found = verdict_on(database, upload)
    assert found["result"] == receipts.CHANGED
    assert found["digest"]["expected"] == receipt["digest"] != found["digest"]["found"]
    change(database, "UPDATE data_sales SET amount = 7.9 WHERE id = 78")
    assert verdict_on(database, upload)["result"] == receipts.EQUAL
    change(database, "UPDATE data_sales SET name = NULL WHERE id = 40")
    assert verdict_on(database, upload)["result"] == receipts.CHANGED


def test_the_digest_does_not_depend_on_the_order_and_has_what_the_rows_are_at_the_end(
    send: Send, database: Database, tmp_path: Path
) -> None:
    """Rows that later rows of the same file replace, in another chunk, are not in it."""
    lines = [line(number) for number in range(1, 151)]
    first = send(HEADER + "".join(lines), mode=Mode.UPSERT)
    digest = receipt_of(database, first)["digest"]
    again = send(HEADER + "".join(line(n, "old") for n in range(1, 61)) + "".join(reversed(lines)), mode=Mode.REPLACE)
    assert again.status is Status.FAILED or receipt_of(database, again)["rows"]["failed"]  # a key that exists fails
    change(database, "DELETE FROM data_sales")
    third = send(HEADER + "".join(line(n, "old") for n in range(1, 61)) + "".join(reversed(lines)), mode=Mode.UPSERT)
    receipt = receipt_of(database, third)
    assert receipt["digest"] == digest
    assert receipt["rows"]["written"] == 150
    assert receipt["rows"]["success"] == 210
    assert by_the_script(database, receipt, tmp_path) == digest
    assert verdict_on(database, third)["result"] == receipts.EQUAL


def test_rows_that_were_left_out_are_not_in_the_digest(send: Send, database: Database, tmp_path: Path) -> None:
    send(HEADER + "".join(map(line, range(1, 60))))
    new = send(HEADER + "".join(line(n, "new") for n in range(30, 130)), mode=Mode.ONLY_NEW)
    receipt = receipt_of(database, new)
    assert receipt["rows"]["written"] == 70
    assert receipt["rows"]["success"] == 100
    assert by_the_script(database, receipt, tmp_path) == receipt["digest"]
    assert verdict_on(database, new)["result"] == receipts.EQUAL
    failing = send(HEADER + "".join(line(n, "again") for n in range(100, 160)))  # some keys exist
    assert receipt_of(database, failing)["rows"]["written"] == 30
    assert verdict_on(database, failing)["result"] == receipts.EQUAL


def test_rows_that_a_later_upload_replaced_are_as_they_were_imported(send: Send, database: Database) -> None:
    first = send(HEADER + "".join(map(line, range(1, 60))))
    second = send(HEADER + "".join(line(n, "new") for n in range(50, 70)), mode=Mode.UPSERT)
    third = send(HEADER + "".join(line(n, "newer") for n in range(55, 58)), mode=Mode.REPLACE)

    for upload, others in ((first, (second, third)), (second, (third,)), (third, ())):
        found = verdict_on(database, upload)
        assert found["result"] == receipts.EQUAL
        assert found["digest"]["expected"] == found["digest"]["found"]
        assert all(f"#{each.id}" in found["detail"] for each in others)
    change(database, "UPDATE before_sales SET name = 'x' WHERE id = 52")
    assert verdict_on(database, first)["result"] == receipts.CHANGED


def test_nobody_can_tell_of_rows_that_were_replaced_and_not_kept(
    send: Send, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_UNDO_DAYS", "0")
    first = send(HEADER + "".join(map(line, range(1, 60))))
    second = send(HEADER + "".join(line(n, "new") for n in range(50, 70)), mode=Mode.UPSERT)
    found = verdict_on(database, first)
    assert found["result"] == receipts.UNKNOWN
    assert f"#{second.id}" in found["detail"]
    assert verdict_on(database, second)["result"] == receipts.EQUAL
    change(database, "DELETE FROM data_sales WHERE id = 69")
    assert verdict_on(database, second)["result"] == receipts.CHANGED


def test_the_schema_has_a_number_that_grows(send: Send, database: Database) -> None:
    upload = send(HEADER + line(1))
    with database.transaction() as connection:
        dataset = datasets.lock(connection, "sales")
        changed = TableSchema.parse({**SCHEMA, "title": "Sales"})
        datasets.replace(connection, "sales", changed, dataset.mode)
        datasets.replace(connection, "sales", changed, Mode.UPSERT)
        assert datasets.schema_version(connection, "sales") == 2
    assert verdict_on(database, upload)["result"] == receipts.EQUAL


def test_an_import_is_compared_with_what_is_expected_of_it(send: Send, database: Database) -> None:
    content = HEADER + "".join(line(number) for number in (1, 2, 3))  # 0.20, 0.30, 0.40
    expected = {"rows": 3, "sums": {"Amount": "0.90", "id": "6"}}
    good = send(content, expected=expected)
    assert good.balance == [
        {"what": "rows", "expected": 3, "found": 3},
        {"what": "sum.Amount", "expected": 0.9, "found": math.fsum([0.2, 0.3, 0.4])},
        {"what": "sum.id", "expected": 6, "found": 6},
    ]
    assert (good.status, codes(good)) == (Status.COMPLETED, ["fields_empty"])
    assert receipt_of(database, good)["balance"] == good.balance
    bad = send(HEADER + line(4), expected={"rows": 2, "sums": {"amount": "1.5"}})
    assert bad.status is Status.COMPLETED
    assert codes(bad) == ["fields_empty", "totals"]
    warning = bad.warnings[-1]
    assert warning["detail"] == (
        "Does not balance: expected 2 rows, 1 was imported; expected 1.5, the table has 0.5 as the sum of “amount”."
    )
    again = send(HEADER + line(3) + line(4, "new"), mode=Mode.UPSERT, expected={"rows": 2, "sums": {"amount": "0.9"}})
    assert (again.rows_unchanged, codes(again)) == (1, ["fields_empty"])
    assert receipt_of(database, again)["rows"]["written"] == 1
    assert verdict_on(database, again)["result"] == receipts.EQUAL
    unknown = send(HEADER + line(5), expected={"sums": {"name": "1"}})
    assert (unknown.status, unknown.rows_processed) == (Status.FAILED, 0)
    assert "the column “name” is text" in (unknown.error or "")


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.REPLACE])
def test_what_does_not_balance_is_held_and_goes_on_when_somebody_accepts_it(
    send: Send, database: Database, changes: Changes, mode: Mode
) -> None:
    send(HEADER + line(1))
    with database.transaction() as connection:
        datasets.set_totals(connection, "sales", datasets.Totals("hold"))
    before = {1} if mode is Mode.REPLACE else {1, 2, 3}
    held = send(HEADER + line(2) + line(3), mode=mode, expected={"sums": {"id": "6"}})
    assert (held.status, [each["code"] for each in held.hold]) == (Status.HELD, ["totals"])
    assert (held.rows_success, held.balance) == (2, [{"what": "sum.id", "expected": 6, "found": 5}])
    assert ids(database) == before
    with pytest.raises(NoReceiptError):
        receipt_of(database, held)
    with database.transaction() as connection, pytest.raises(TransitionError):
        uploads.order(connection, held.id, Task.CHECK)
    with database.reading() as connection, pytest.raises(UndoRefusedError, match=r"does not balance .* Accept it"):
        undo_orders.require_possible(connection, held)
    cancelled = changes.make(lambda connection: uploads.cancel(connection, held.id))
    assert ids(database) == before
    assert cancelled.rows_success == (0 if mode is Mode.REPLACE else 2)
    again = changes.make(lambda connection: uploads.retry(connection, held.id))
    bulk_upload.run(again.id)
    changes.make(lambda connection: uploads.approve(connection, held.id))  # it is held once more
    bulk_upload.run(held.id)
    with database.reading() as connection:
        accepted = uploads.get(connection, held.id)
    assert (accepted.status, codes(accepted)) == (Status.COMPLETED, ["fields_empty", "totals"])
    assert ids(database) == ({2, 3} if mode is Mode.REPLACE else {1, 2, 3})
    assert verdict_on(database, accepted)["result"] == receipts.EQUAL


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.UPSERT, Mode.REPLACE])
def test_what_does_not_balance_is_undone_if_the_dataset_says_so(send: Send, database: Database, mode: Mode) -> None:
    send(HEADER + line(1))
    with database.transaction() as connection:
        datasets.set_totals(connection, "sales", datasets.Totals("undo"))

    sent = send(HEADER + line(1, "other") * (mode is not Mode.INSERT) + line(2), mode=mode, expected={"rows": 7})
    assert codes(sent) == ["fields_empty", "totals"]
    with database.reading() as connection:
        undo = uploads.get(connection, sent.id + 1)
    assert (undo.kind, undo.parent) == ("undo", sent.id)
    bulk_upload.run(undo.id)  # unless the first job went on with it

    with database.reading() as connection:
        assert uploads.get(connection, sent.id).undone_by == undo.id
        rows = [tuple(row) for row in run(connection, "SELECT id, name FROM data_sales")]
    assert rows == [(1, f"Zoë {'x' * 1}")]
    fits = send(HEADER + line(3), mode=mode, expected={"rows": 1})
    with database.reading() as connection:
        assert uploads.get(connection, fits.id).undone_by is None
        assert uploads.page(connection, limit=1).items[0].id == fits.id


def codes(upload: Upload) -> list[str]:
    return [each["code"] for each in upload.warnings]


def ids(database: Database) -> set[int]:
    with database.reading() as connection:
        return {int(row[0]) for row in run(connection, "SELECT id FROM data_sales")}
