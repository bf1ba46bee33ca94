"""Failed rows that come back corrected: into their dataset, each row once, and nothing green unless it is right."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa

from jobs import bulk_upload, corrections, datasets, failed_rows, lineage, uploads
from jobs.corrections import TRACKING_COLUMNS
from jobs.database import Database
from jobs.datasets import Mode
from jobs.events import Event
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.corrections import corrections_file
from tests.support.databases import Databases
from tests.support.files import store, zipped
from tests.support.services import RedisServer

Table = list[list[str]]
FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer"},
    {"name": "name"},
    {"name": "born", "type": "date"},
]
#: Rows 2 and 3 fail by a value, row 5 by a missing cell, and row 6 by a surplus one.
PEOPLE = "id,name,born\n1,Ann,1999-12-31\n2,Bob,31.12.1999\nx,Cid,\n4,Dan,2000-01-01\n5,Eve\n6,Fay,,,z\n"


class Desk:
    """Where files are handed in. Each test has datasets of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database, bulk=True)

    def send(self, content: bytes | str, dataset: str | None = None, *, filename: str = "people.csv") -> Upload:
        """The upload after its job has run."""
        with self.database.transaction() as connection:
            file = store(self.settings, content, filename)
            known = dataset is not None and datasets.exists(connection, dataset)
            upload = uploads.create(
                connection, file, dataset=dataset if known else None, dataset_wanted="" if known else dataset or ""
            )
        bulk_upload.run(upload.id)
        return self.now(upload)

    def now(self, upload: Upload) -> Upload:
        with self.database.reading() as connection:
            return uploads.get(connection, upload.id)

    def download(self, upload: Upload) -> Table:
        """The file of failed rows, as a spreadsheet reads it."""
        content = corrections_file(self.database, self.now(upload))
        return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))

    def rows(self, upload: Upload) -> Table:
        with self.database.reading() as connection:
            dataset = datasets.get(connection, str(upload.dataset))
            return sorted(row.cells for row in list(datasets.each_after(connection, dataset, None, limit=999)))

    def reasons(self, upload: Upload) -> dict[int, str]:
        with self.database.reading() as connection:
            return {row.row_number: row.sentence for row in failed_rows.rows(connection, upload.id, limit=999)}

    def elsewhere(self, upload: Upload) -> dict[int, int]:
        with self.database.reading() as connection:
            return lineage.open_elsewhere(connection, upload.id)

    def people(self, name: str, mode: Mode = Mode.INSERT, **more: Any) -> str:
        with self.database.transaction() as connection:
            datasets.declare(connection, name, TableSchema.parse({"fields": FIELDS, **more}), mode)
        return name


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(
    request: pytest.FixtureRequest,
    databases: Databases,
    _redis_of_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("data")
    url = databases.migrated(request.param, folder)
    desk = Desk(Settings.load(data=folder, database_url=url, redis_url=_redis_of_session.url, chunk_bytes=256))
    yield desk
    desk.database.close()


@pytest.fixture
def desk(standing: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name, value in standing.settings.environment().items():
        monkeypatch.setenv(name, value)
    return standing


def written(table: Table, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerows(table)
    return text.getvalue().encode(encoding)


def workbook(table: Table) -> bytes:
    """As a spreadsheet saves it: whole numbers are numbers."""
    book = openpyxl.Workbook()
    for row in table:
        book.active.append([int(cell) if cell.isdecimal() else cell or None for cell in row])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def changed(table: Table, changes: dict[str, dict[str, str]]) -> Table:
    """Other values in the rows with these names. changes: name → column → value."""
    header, *rows = table
    return [
        header,
        *([changes.get(row[1], {}).get(name, cell) for name, cell in zip(header, row, strict=True)] for row in rows),
    ]


def counts(upload: Upload) -> tuple[int, int, int]:
    return upload.rows_failed, upload.rows_corrected, upload.rows_open


BOB = {"Bob": {"born": "1999-12-31"}}


def test_corrections_go_into_the_dataset_of_their_rows_and_what_nobody_corrected_fails_again(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("unnamed"))
    child = desk.send(written(changed(desk.download(parent), BOB)), filename="upload-1-failed-rows.csv")
    parent = desk.now(parent)

    assert (child.dataset, child.parent, child.status) == ("unnamed", parent.id, Status.COMPLETED)
    assert (child.rows_success, desk.reasons(child)) == (
        1,
        {
            2: "id: “x” is not a whole number",
            3: "has 2 cells, expected 3",
            4: "has 5 cells, expected 3",
        },
    )
    assert desk.rows(child) == [["1", "Ann", "1999-12-31"], ["2", "Bob", "1999-12-31"], ["4", "Dan", "2000-01-01"]]
    assert (counts(parent), counts(child)) == ((4, 1, 0), (3, 0, 3))
    assert desk.elsewhere(parent) == {child.id: 3}
    assert (Event.from_upload(parent).rows_corrected, Event.from_upload(parent).rows_open) == (1, 0)


def test_rows_of_a_dataset_that_accepts_every_text_fail_again_too(desk: Desk) -> None:
    parent = desk.send("a,b\nx,y\nonly\nz,w,v\n", "any_text")
    child = desk.send(written(desk.download(parent)))

    assert (child.dataset, child.status, desk.rows(child)) == (parent.dataset, Status.FAILED, [["x", "y"]])
    assert list(desk.reasons(child).values()) == ["has 1 cell, expected 2", "has 3 cells, expected 2"]


def test_a_second_round_corrects_the_first_and_counts_for_the_eldest(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("rounds"))
    first = desk.send(written(changed(desk.download(parent), BOB)))
    second = desk.send(written(changed(desk.download(first), {"Cid": {"id": "3"}, "Eve": {"born": "2001-01-01"}})))

    assert (second.parent, second.rows_success) == (first.id, 2)
    assert [counts(desk.now(each)) for each in (parent, first, second)] == [(4, 3, 0), (3, 2, 0), (1, 0, 1)]
    assert (desk.elsewhere(parent), desk.elsewhere(first)) == ({second.id: 1}, {second.id: 1})
    with desk.database.reading() as connection:
        assert lineage.children(connection, [parent.id, first.id]) == {parent.id: [first.id], first.id: [second.id]}


def test_two_corrections_of_the_same_row_bring_it_once(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("twice"))
    whole = desk.download(parent)
    first = desk.send(written(changed(whole, BOB)))
    again = changed(whole, {"Bob": {"born": "1998-01-01"}, "Cid": {"id": "3"}})
    second = desk.send(written(again))

    assert (second.parent, second.rows_success) == (parent.id, 1)
    assert desk.reasons(second)[1] == f"was already corrected (upload #{first.id})"
    assert [counts(desk.now(each)) for each in (parent, first, second)] == [(4, 2, 0), (3, 1, 0), (3, 1, 2)]
    assert desk.elsewhere(parent) == {second.id: 2}


def test_a_row_that_stands_in_the_file_twice_lands_once(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("copied"))
    table = changed(desk.download(parent), BOB)
    child = desk.send(written([table[0], table[1], ["7", *table[1][1:]]]))

    assert (child.rows_success, desk.reasons(child)) == (1, {2: "corrects the same row as an earlier row"})
    assert (counts(desk.now(parent)), counts(child)) == ((4, 1, 3), (1, 1, 0))


def test_another_dataset_is_refused(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("right_one"))
    table = desk.download(parent)
    for content, filename in [
        (written(table), "a.csv"),
        (zipped(a=written(table)), "a.zip"),
        (workbook(table), "a.xlsx"),
    ]:
        for name in (desk.people(f"wrong_{filename[2:]}"), f"new_{filename[2:]}"):
            upload = desk.send(content, name, filename=filename)
            assert (upload.status, upload.error) == (
                Status.FAILED,
                corrections.wrong_dataset(parent.id, "right_one", name),
            )
    assert counts(desk.now(parent)) == (4, 0, 4)


def moved(table: Table) -> Table:
    """The reasons first, then the other columns backwards."""
    return [row[::-1] for row in table]


def marked_otherwise(upload: str, row: str) -> Callable[[Table], Table]:
    def change(table: Table) -> Table:
        return [
            table[0],
            *([*cells[:3], upload.format(int(cells[3])), row.format(int(cells[4])), ""] for cells in table[1:]),
        ]

    return change


def shouted(table: Table) -> Table:
    return [[f" {name.upper()} " for name in table[0]], *table[1:]]


def padded(table: Table) -> Table:
    """With empty columns behind the table."""
    return [[*row, "", ""] for row in table]


SAVED: list[tuple[str, Callable[[Table], bytes]]] = [
    ("a.csv", written),
    ("b.csv", lambda table: written(table, ";", "cp1252")),
    ("c.csv", lambda table: written(table, "\t", "utf-16")),
    ("d.csv", lambda table: written(moved(table))),
    ("e.csv", lambda table: written(marked_otherwise("{}.0", "{}.0")(table))),
    ("f.csv", lambda table: written(marked_otherwise("{},00", " '{}")(table), ";")),
    ("g.csv", lambda table: written(shouted(table))),
    ("h.csv", lambda table: written(padded(table))),
    ("i.xlsx", workbook),
    ("j.xlsx", lambda table: workbook(padded(moved(table)))),
    ("k.zip", lambda table: zipped(k=written(table))),
]


@pytest.mark.parametrize(("filename", "saved"), SAVED, ids=[name for name, _ in SAVED])
def test_what_a_spreadsheet_changes_survives(desk: Desk, filename: str, saved: Callable[[Table], bytes]) -> None:
    parent = desk.send(PEOPLE.replace("Fay", "Zoë"), desk.people(f"saved_{filename[0]}"))
    child = desk.send(saved(changed(desk.download(parent), BOB)), filename=filename)

    assert (child.parent, child.dataset, child.error) == (parent.id, parent.dataset, None)
    assert (child.rows_success, child.rows_failed, child.warnings) == (1, 3, [])
    assert (desk.rows(child)[1], counts(desk.now(parent))) == (["2", "Bob", "1999-12-31"], (4, 1, 0))


def test_rows_that_people_added_are_rows_like_any_other(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("added"))
    header, *_ = desk.download(parent)
    rows = [["7", "Gil", "", "", "", ""], ["8", "Hal", "", str(parent.id), "7", ""], ["y", "Ira", "", "", "", ""]]
    child = desk.send(written([header, *rows, ["2", "Bob", "", str(parent.id), "2", ""]]))

    assert (child.parent, child.rows_success) == (parent.id, 3)
    assert desk.reasons(child) == {3: "id: “y” is not a whole number"}
    assert (counts(desk.now(parent)), counts(child)) == ((4, 1, 3), (1, 0, 1))


def test_rows_with_wrong_marks_fail(desk: Desk) -> None:
    other = desk.send(PEOPLE, desk.people("wrongly_marked_before"))
    parent = desk.send(PEOPLE, desk.people("wrongly_marked"))
    header, bob, *_ = changed(desk.download(parent), BOB)
    marks = [(str(parent.id), "2"), (str(other.id), "2"), ("1.5e7", "2"), (str(parent.id), ""), (str(parent.id), "1")]
    child = desk.send(written([header, *([str(n), *bob[1:3], *pair, ""] for n, pair in enumerate(marks, 20))]))

    assert (child.rows_success, desk.reasons(child)) == (
        1,
        {
            2: f"corrects a row of another upload, which needs a file of its own (#{other.id})",
            3: "has an unreadable _upload_id or _row_number (“1.5e7”, “2”)",
            4: f"has an unreadable _upload_id or _row_number (“{parent.id}”, “”)",
            5: f"names a row that did not fail (upload #{parent.id}, row 1)",
        },
    )


def test_a_row_that_failed_because_of_another_may_land_unchanged_once_the_other_is_gone(desk: Desk) -> None:
    dataset = desk.people("conflicting", primaryKey="id")
    parent = desk.send("id,name,born\n1,Ann,\n1,Bob,\n", dataset)
    still = desk.send(written(desk.download(parent)))
    with desk.database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM data_conflicting"))
    child = desk.send(written(desk.download(parent)))

    assert (still.rows_success, child.rows_success, desk.rows(child)) == (0, 1, [["1", "Bob", ""]])
    assert [counts(desk.now(each)) for each in (parent, still, child)] == [(1, 1, 0), (1, 1, 0), (0, 0, 0)]


def test_a_retry_that_starts_again_opens_the_rows_of_the_parent_until_they_fail_again(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("started_again"))
    child = desk.send(written(desk.download(parent)))
    with desk.database.transaction() as connection:
        retried, [_, *others] = lineage.retry(connection, child.id)
    bulk_upload.run(child.id)

    assert (child.status, retried.rows_failed, [counts(each) for each in others]) == (Status.FAILED, 0, [(4, 0, 4)])
    assert (counts(desk.now(parent)), counts(desk.now(child))) == ((4, 0, 0), (4, 0, 4))


def test_a_retry_that_starts_again_opens_rows_in_the_newest_upload_that_they_failed_in_before(desk: Desk) -> None:
    parent = desk.send(PEOPLE, desk.people("second_round"))
    child = desk.send(written(desk.download(parent)))
    grandchild = desk.send(written(desk.download(child)))
    with desk.database.transaction() as connection:
        lineage.retry(connection, grandchild.id)

    assert [counts(desk.now(each)) for each in (parent, child)] == [(4, 0, 0), (4, 0, 4)]
    assert desk.elsewhere(parent) == {child.id: 4}
    bulk_upload.run(grandchild.id)
    assert [counts(desk.now(each)) for each in (parent, child, grandchild)] == [(4, 0, 0), (4, 0, 0), (4, 0, 4)]


def test_each_row_is_counted_once_although_the_import_breaks_in_the_middle(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{n},name {n},{'1.1.2000' if n % 3 else '2000-01-01'}\n" for n in range(60))
    parent = desk.send(f"id,name,born\n{rows}", desk.people("broken", primaryKey="id"))
    table = desk.download(parent)
    changes = {f"name {n}": {"born": "2000-01-02"} for n in range(60) if n % 2}
    whole, calls = lineage.note, []

    def breaking(*words: Any, **more: Any) -> list[Upload]:
        changed = whole(*words, **more)
        calls.append(changed)
        if len(calls) == 4:
            raise InterruptedError
        return changed

    monkeypatch.setattr(lineage, "note", breaking)
    with pytest.raises(InterruptedError):
        desk.send(written(changed(table, changes)))
    with desk.database.reading() as connection:
        child = uploads.get(connection, lineage.children(connection, [parent.id])[parent.id][0])
    assert 0 < child.rows_processed < 40
    bulk_upload.run(child.id)

    assert (parent.rows_failed, counts(desk.now(parent)), counts(desk.now(child))) == (40, (40, 20, 0), (20, 0, 20))
    assert (len(desk.rows(parent)), desk.elsewhere(parent)) == (40, {child.id: 20})


@pytest.mark.parametrize("parent", ["404404", ""])
def test_corrections_of_an_upload_that_is_not_here_are_a_file_like_any_other(desk: Desk, parent: str) -> None:
    upload = desk.send(f"id,name,{','.join(TRACKING_COLUMNS)}\n1,Ann,{parent},1,why\n", f"orphans_{parent}x")

    assert (upload.parent, upload.rows_success, upload.header) == (None, 1, ["id", "name"])
