"""Failed rows that are edited or repaired, and imported by an upload of kind `repair`, each row once."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import answers, bulk_upload, datasets, failed_rows, files, uploads
from jobs.database import Database
from jobs.datasets import Mode
from jobs.errors import NothingToImportError, NothingToUndoError, NotRepairableError, RowChangedError, RowNotOpenError
from jobs.failed_rows import Reason, WithReason
from jobs.repair import open_rows
from jobs.repair import orders as repair_orders
from jobs.repair.open_rows import Edited, OpenRow
from jobs.repair.orders import Repairable, Wanted
from jobs.repair.repairs import Repair
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.tables import row_edits
from jobs.tables import uploads as records
from jobs.uploads import REPAIR, Claim, Status, Upload
from jobs.work.attempt import Attempt
from tests.support.files import store

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer"},
    {"name": "name", "type": "string"},
    {"name": "amount", "type": "number"},
]
#: Rows 2, 3 and 5 fail by a word for a number, row 4 by two values, row 6 by a missing cell.
CONTENT = "id,Name,amount\n1,Ann,1\n2,Bob,twelve\n3,Cid,twelve\nx,Dan,twelve\n5,Eve,many\n6,Fay\n"


class Shop:
    """Where files are imported and repaired."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database, bulk=True)
        with self.database.transaction() as connection:
            schema = TableSchema.parse({"fields": FIELDS, "primaryKey": "id"})
            datasets.declare(connection, "sales", schema, Mode.INSERT)

    def send(self, content: str = CONTENT) -> Upload:
        with self.database.transaction() as connection:
            file = store(self.settings, content, "june.csv")
            upload = uploads.create(connection, file, dataset="sales")
        bulk_upload.run(upload.id)
        return self.now(upload)

    def now(self, upload: Upload) -> Upload:
        with self.database.reading() as connection:
            return uploads.get(connection, upload.id)

    def order(self, parent: Upload, *repairs: Repair, edited: bool = False) -> Upload:
        with self.database.transaction() as connection:
            of = Repairable.of(connection, uploads.get(connection, parent.id))
            return repair_orders.order(connection, of, Wanted(repairs, edited))

    def repair(self, parent: Upload, *repairs: Repair, edited: bool = False) -> Upload:
        child = self.order(parent, *repairs, edited=edited)
        bulk_upload.run(child.id)
        return self.now(child)

    def open(self, upload: Upload) -> dict[int, OpenRow]:
        with self.database.reading() as connection:
            return {row.row_number: row for row in open_rows.page(connection, upload.id, limit=999)}

    def judge(self, upload: Upload, row: OpenRow, edits: Mapping[str, str]) -> list[Reason]:
        with self.database.reading() as connection:
            of = Repairable.of(connection, uploads.get(connection, upload.id))
        asked = {"cells": row.cells, "reasons": row.reasons, "edits": edits}
        schema = of.dataset.schema.as_json()
        asked_of: dict[str, Any] = {"schema": schema, "sources": of.sources, "header": list(of.header)}
        [found] = answers.check(self.settings, **asked_of, rules=[], rows=[asked])
        return [Reason(*each) for each in found]

    def edit(self, upload: Upload, number: int, **cells: str) -> OpenRow:
        row = self.open(upload)[number]
        edits = row.edits_with(upload.header or [], cells)
        edited = Edited(number, row.version, edits, self.judge(upload, row, edits))
        with self.database.transaction() as connection:
            return open_rows.edit(connection, upload.id, edited, title="A cell", by="ann")

    def apply(self, upload: Upload, *repairs: Repair) -> dict[str, int]:
        asked = [each.to_json() for each in repairs]
        return answers.edit(self.settings, upload_id=upload.id, repairs=asked, title="Twelve", by="ann")

    def rows(self) -> list[list[str]]:
        with self.database.reading() as connection:
            dataset = datasets.get(connection, "sales")
            return sorted(row.cells for row in datasets.each_after(connection, dataset, None, limit=999))

    def failures(self, upload: Upload) -> dict[tuple[str | None, str], dict[str, int]]:
        with self.database.reading() as connection:
            found = failed_rows.failures(connection, upload.id, limit=99)
        return {(each.column, each.rule): {"": each.rows, **dict(each.values)} for each in found}


@pytest.fixture
def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name, value in settings.model_copy(update={"lease": 20}).environment().items():
        monkeypatch.setenv(name, value)
    shop = Shop(settings)
    yield shop
    shop.database.close()


TWELVE = Repair.single("amount", "replace", "twelve", "12")


def test_a_repair_brings_the_rows_that_are_right_and_keeps_the_others_as_edits(shop: Shop) -> None:
    parent = shop.send()
    child = shop.repair(parent, TWELVE)
    after, left = shop.now(parent), shop.open(parent)

    assert (child.status, child.kind, child.parent, child.dataset) == (Status.COMPLETED, REPAIR, parent.id, "sales")
    assert (child.rows_success, child.rows_failed, child.warnings) == (2, 0, [])
    assert (after.status, after.rows_failed, after.rows_corrected, after.rows_open) == (Status.COMPLETED, 5, 2, 3)
    assert shop.rows() == [["1", "Ann", "1"], ["2", "Bob", "12"], ["3", "Cid", "12"]]
    assert sorted(left) == [4, 5, 6]
    assert (left[4].edits, left[4].version) == ({"amount": "12"}, 2)
    assert [reason.column for reason in left[4].wrong] == ["id"]
    assert (left[5].edits, left[6].edits) == ({}, {})
    number = ("amount", "is not a number")
    assert shop.failures(parent)[number] == {"": 1, "many": 1}


def test_edited_rows_that_are_right_are_imported(shop: Shop) -> None:
    parent = shop.send()
    shop.edit(parent, 5, amount="7")
    wrong = shop.edit(parent, 4, amount="8")
    whole = shop.edit(parent, 6, amount="9")
    child = shop.repair(parent, edited=True)

    assert [reason.column for reason in wrong.wrong] == ["id"]
    assert whole.is_right
    assert (child.rows_success, child.rows_failed) == (2, 0)
    assert shop.rows() == [["1", "Ann", "1"], ["5", "Eve", "7"], ["6", "Fay", "9"]]
    assert sorted(shop.open(parent)) == [2, 3, 4]
    with shop.database.reading() as connection:
        assert open_rows.progress(connection, shop.now(parent)) == (3, 1, 0)


def test_an_edit_of_an_older_version_is_refused(shop: Shop) -> None:
    parent = shop.send()
    seen = shop.open(parent)[5]
    shop.edit(parent, 5, amount="7")
    with shop.database.transaction() as connection, pytest.raises(RowChangedError, match="by ann"):
        open_rows.edit(connection, parent.id, Edited(5, seen.version, {}, ()), title="", by=None)
    with shop.database.transaction() as connection, pytest.raises(RowNotOpenError):
        open_rows.edit(connection, parent.id, Edited(1, 1, {}, ()), title="", by=None)


def test_a_text_that_is_the_original_one_is_no_edit(shop: Shop) -> None:
    parent = shop.send()
    shop.edit(parent, 5, amount="7")
    again = shop.edit(parent, 5, amount="many")

    assert (again.edits, again.version, again.is_right) == ({}, 3, False)
    assert [reason.column for reason in again.still_wrong] == ["amount"]


def test_what_rows_fail_for_follows_their_edits(shop: Shop) -> None:
    parent = shop.send()
    before = shop.failures(parent)
    shop.edit(parent, 5, amount="some")
    other = shop.failures(parent)
    shop.edit(parent, 5, id="none", amount="5")
    third = shop.failures(parent)
    for _ in range(2):
        with shop.database.transaction() as connection:
            open_rows.undo(connection, parent.id, by="ben")

    number, whole = ("amount", "is not a number"), ("id", "is not a whole number")
    assert (before[number], before[whole]) == ({"": 4, "twelve": 3, "many": 1}, {"": 1, "x": 1})
    assert other[number] == {"": 4, "twelve": 3, "some": 1}
    assert (third[number], third[whole]) == ({"": 3, "twelve": 3}, {"": 2, "none": 1, "x": 1})
    assert shop.failures(parent) == before


def test_repairs_are_applied_as_edits_and_undone(shop: Shop) -> None:
    parent = shop.send()
    shop.edit(parent, 5, amount="7")
    changed = shop.apply(parent, TWELVE)
    applied = {number: dict(row.edits) for number, row in shop.open(parent).items()}
    with shop.database.transaction() as connection:
        undone = open_rows.undo(connection, parent.id, by="ben")
    kept = {number: dict(row.edits) for number, row in shop.open(parent).items()}
    with shop.database.transaction() as connection:
        open_rows.undo(connection, parent.id, by="ben")
    with shop.database.transaction() as connection, pytest.raises(NothingToUndoError):
        open_rows.undo(connection, parent.id, by="ben")

    assert changed == {"rows": 3, "right": 2}
    twelve = {"amount": "12"}
    assert applied == {2: twelve, 3: twelve, 4: twelve, 5: {"amount": "7"}, 6: {}}
    assert undone == ("Twelve", 3, 0)
    assert kept == {2: {}, 3: {}, 4: {}, 5: {"amount": "7"}, 6: {}}
    assert all(not row.is_edited for row in shop.open(parent).values())


def test_what_somebody_edited_since_is_not_undone(shop: Shop) -> None:
    parent = shop.send()
    shop.apply(parent, TWELVE)
    shop.edit(parent, 2, amount="13")
    with shop.database.transaction() as connection:  # of the older edit, as if it were the last
        newest = sa.select(sa.func.max(row_edits.c.id)).scalar_subquery()
        connection.execute(sa.delete(row_edits).where(row_edits.c.id == newest))
        undone = open_rows.undo(connection, parent.id, by="ben")

    assert (undone.title, undone.rows, undone.kept) == ("Twelve", 2, 1)
    assert shop.open(parent)[2].edits == {"amount": "13"}


def test_edits_of_one_row_are_undone_one_after_the_other(shop: Shop) -> None:
    parent = shop.send()
    for text in ("13", "14", "x"):
        shop.edit(parent, 2, amount=text)
    found = []
    for _ in range(3):
        with shop.database.transaction() as connection:
            open_rows.undo(connection, parent.id, by="ben")
        row = shop.open(parent)[2]
        found.append((row.edits.get("amount"), row.is_right, row.version))

    assert found == [("14", True, 5), ("13", True, 6), (None, False, 7)]


def test_the_second_of_two_repairs_sees_what_the_first_took(shop: Shop) -> None:
    parent = shop.send()
    first, second = shop.order(parent, TWELVE), shop.order(parent, TWELVE)
    with shop.database.reading() as connection:
        order = [upload.id for upload, _ in repair_orders.under_way(connection, parent.id)]
    for child in (second, first):  # whichever job comes first
        bulk_upload.run(child.id)

    assert order == [first.id, second.id]
    assert [shop.now(each).rows_success for each in (first, second)] == [2, 0]
    assert shop.now(second).status is Status.COMPLETED
    assert len(shop.rows()) == 3


def test_a_repair_of_an_upload_that_runs_waits_for_its_end(shop: Shop) -> None:
    parent = shop.send()
    with shop.database.transaction() as connection:
        connection.execute(records.update().values(status="processing"))
    child = shop.order(parent, TWELVE)
    bulk_upload.run(child.id)
    waiting = shop.now(child)
    with shop.database.transaction() as connection:
        connection.execute(records.update().where(records.c.id == parent.id).values(status="completed"))
    bulk_upload.run(child.id)

    assert (waiting.status, waiting.attempt) == (Status.PENDING, 0)
    assert (shop.now(child).status, shop.now(child).rows_success) == (Status.COMPLETED, 2)


def test_edited_rows_are_ordered_once_and_those_edited_meanwhile_with_them(shop: Shop) -> None:
    parent = shop.send()
    with pytest.raises(NothingToImportError, match="None of the edited rows"):
        shop.order(parent, edited=True)
    shop.apply(parent, TWELVE)
    first = shop.order(parent, edited=True)
    with pytest.raises(NothingToImportError, match=f"Upload #{first.id} imports the edited rows"):
        shop.order(parent, edited=True)
    bulk_upload.run(first.id)

    assert shop.now(first).rows_success > 0
    with pytest.raises(NothingToImportError, match="None of the edited rows"):
        shop.order(parent, edited=True)


def test_a_row_that_fails_again_is_open_in_the_repair_only(shop: Shop) -> None:
    parent = shop.send(CONTENT + "1,Gus,twelve\n")
    child = shop.repair(parent, TWELVE)
    after = shop.now(parent)

    assert (child.rows_success, child.rows_failed, child.rows_open) == (2, 1, 1)
    assert (after.rows_corrected, after.rows_open) == (2, 3)
    assert 7 not in shop.open(parent)
    assert shop.failures(parent)["amount", "is not a number"] == {"": 1, "many": 1}
    [again] = shop.open(child).values()
    assert again.cells == ["1", "Gus", "12"]
    second = shop.repair(child, Repair.single("id", "replace", "1", "7"))
    assert (second.rows_success, shop.now(child).rows_open, shop.now(parent).rows_corrected) == (1, 0, 3)


def test_open_rows_are_found_by_the_reasons_that_remain(shop: Shop) -> None:
    parent = shop.send()

    def found(column: str, rule: str | None = None, after: int = 0) -> list[int]:
        chosen = WithReason(column, rule)
        with shop.database.reading() as connection:
            rows = open_rows.page(connection, parent.id, after=after, limit=9, chosen=chosen)
        return [row.row_number for row in rows]

    assert found("amount", "is not a number") == [2, 3, 4, 5]
    shop.repair(parent, TWELVE)
    assert found("amount", "is not a number") == [5]
    assert (found("amount", after=4), found("amount", after=5)) == ([5], [])
    assert found("id") == [4]


def test_an_upload_without_open_rows_is_not_repaired(shop: Shop) -> None:
    parent = shop.send("id,name,amount\n1,Ann,1\n")
    with pytest.raises(NotRepairableError, match="no open failed rows"):
        shop.order(parent, TWELVE)


def dying_at(point: str, child: Upload) -> int:
    """Run the job in a process that is killed at a point. Returns the signal that it died of."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            _POINTS[point]()
            bulk_upload.run(child.id)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def killed(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is called so often, and then kills."""
    left = iter([function] * calls)
    return lambda *given, **named: next(left, killed)(*given, **named)


def patch(where: object, name: str, by: Callable[..., Any]) -> Callable[[], None]:
    return lambda: setattr(where, name, by)


def receive_and_die(*given: Any, **named: Any) -> Any:
    receive(*given, **named)
    killed()


receive = uploads.receive
#: Where a worker dies, in the order in which it gets there.
_POINTS: dict[str, Callable[[], None]] = {
    "before the file": patch(files.Arrival, "keep", killed),
    "before the file is recorded": patch(uploads, "receive", killed),
    "before the record is committed": patch(uploads, "receive", receive_and_die),
    "before the import": patch(Attempt, "_import", killed),
    "in the import": patch(Attempt, "_commit_corrections", killed_after(2, Attempt._commit_corrections)),
}


def test_wherever_a_repair_is_killed_each_row_lands_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    small = settings.model_copy(update={"chunk_bytes": 256})
    for name, value in small.environment().items():
        monkeypatch.setenv(name, value)
    shop = Shop(small)
    rows = "".join(f"{number},Ann,{'twelve' if number % 2 else number}\n" for number in range(1, 101))
    parent = shop.send(f"id,Name,amount\n{rows}")
    child = shop.order(parent, TWELVE)
    landed = []
    for point in _POINTS:
        assert dying_at(point, child) == signal.SIGKILL, point
        with shop.database.transaction() as connection:
            claim = Claim(child.id, shop.now(child).attempt)
            assert uploads.hand_back(connection, claim, because="it was killed", at_shutdown=True)
        landed.append((bool(shop.now(child).stored_as), shop.now(child).rows_success))
    bulk_upload.run(child.id)
    after, done, stored = shop.now(parent), shop.now(child), shop.rows()
    shop.database.close()

    assert [each for each, _ in landed] == [False, False, False, True, True]
    assert 0 < landed[-1][1] < 50
    assert (done.status, done.rows_success, done.rows_failed) == (Status.COMPLETED, 50, 0)
    assert (after.rows_corrected, after.rows_open) == (50, 0)
    assert sorted(int(row[0]) for row in stored) == list(range(1, 101))
