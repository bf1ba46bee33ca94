"""Files whose parts are uploads of their own, on both databases: what a worker asks and makes."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from jobs import bulk_upload, datasets, parts, review, uploads
from jobs.database import Database
from jobs.datasets import Mode
from jobs.errors import DatasetChangedError, InvalidImportOptionError
from jobs.import_options import ImportOptions
from jobs.parts import Part, wanted_of
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import HoldCode, Review, Status, Upload
from tests.support import workbooks
from tests.support.binary_workbooks import xlsb
from tests.support.files import store

BOOK = workbooks.of_sheets("June", "July", "August")
CSV = {"june.csv": "part,amount\nx,1\n", "2026/july.csv": "part,amount\ny,2\nz,3\n"}

Send = Callable[..., Upload]


def zipped(members: dict[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in members.items():
            archive.writestr(name, each)
    return content.getvalue()


@pytest.fixture
def send(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Sends a file and runs its job."""
    for name, value in settings.model_copy(update={"lease": 20}).environment().items():
        monkeypatch.setenv(name, value)

    def run(content: bytes, filename: str = "book.xlsx", *, review: Review = Review.NEVER, **more: Any) -> Upload:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, content, filename), review=review, **more)
        return again(database, upload)

    return run


def again(database: Database, upload: Upload) -> Upload:
    """The upload after its turn: a job imports the next one of its lane, and others as long as it has time."""
    for _ in range(10):
        bulk_upload.run(upload.id)
        with database.reading() as connection:
            found = uploads.get(connection, upload.id)
        if not found.is_active:
            return found
    raise AssertionError("its turn did not come")


def made(database: Database, divided: Upload) -> list[Upload]:
    """The uploads of the parts, after their jobs."""
    with database.reading() as connection:
        found = uploads.get_many(connection, [each["upload"] for each in divided.parts])
    return [again(database, each) if each.is_active else each for each in found]


def seen(database: Database, upload: Upload) -> list[dict[str, Any]]:
    with database.reading() as connection:
        found: list[dict[str, Any]] = review.as_json(connection, upload)["parts"]
    return found


def rows(database: Database, name: str) -> int:
    with database.reading() as connection:
        return datasets.row_count(connection, datasets.get(connection, name))


def test_every_worksheet_is_an_upload_of_its_own(database: Database, send: Send) -> None:
    divided = send(BOOK, parts_wanted="all")
    found = made(database, divided)

    assert (divided.status, divided.rows_processed, divided.dataset, divided.warnings) == (
        Status.COMPLETED,
        0,
        None,
        [],
    )
    assert [each["name"] for each in divided.parts] == ["June", "July", "August"]
    assert [(each.status, each.part, each.part_of, each.dataset, each.rows_success) for each in found] == [
        (Status.COMPLETED, "June", divided.id, "june", 10),
        (Status.COMPLETED, "July", divided.id, "july", 10),
        (Status.COMPLETED, "August", divided.id, "august", 10),
    ]
    assert [(each.duplicate_of, each.warnings, each.sha256) for each in found] == [(None, [], divided.sha256)] * 3
    assert len({each.stored_as for each in (divided, *found)}) == 4


def test_parts_of_one_new_dataset_go_into_the_one_that_the_first_makes(database: Database, send: Send) -> None:
    found = made(database, send(zipped(dict(CSV)), "sales.zip", parts_wanted="all", dataset_wanted="sales"))

    assert [(each.dataset, each.rows_success, each.error) for each in found] == [("sales", 1, None), ("sales", 2, None)]
    assert rows(database, "sales") == 3


def test_two_parts_that_would_make_the_same_dataset_at_once_do_not(database: Database, send: Send) -> None:
    first, second = made(database, send(zipped(dict(CSV)), "sales.zip", parts_wanted="all", dataset_wanted="sales"))

    with database.transaction() as connection:
        schema = TableSchema.parse({"fields": [{"name": "part"}]})
        with pytest.raises(DatasetChangedError):
            datasets.create(connection, "sales", schema, second.id, siblings=parts.siblings(connection, second))
        assert datasets.create(connection, "sales", schema, second.id).name == "sales_2"
        assert parts.siblings(connection, second) == [first.id]


def test_the_chosen_parts_alone_are_made(database: Database, send: Send) -> None:
    divided = send(BOOK, parts_wanted=["July"])

    assert [(each.part, each.rows_success) for each in made(database, divided)] == [("July", 10)]


def test_a_name_that_is_no_part_fails_the_upload(send: Send) -> None:
    failed = send(BOOK, parts_wanted=["July", "Juli"])

    assert (failed.status, failed.parts) == (Status.FAILED, [])
    assert failed.error == "The file has no part “Juli”. It has “June”, “July”, “August”."


def test_a_file_without_several_parts_is_imported_as_it_is(send: Send) -> None:
    upload = send(b"a,b\n1,2\n", "june.csv", parts_wanted="all")

    assert (upload.status, upload.rows_success, upload.parts) == (Status.COMPLETED, 1, [])


def test_a_hidden_worksheet_is_imported_only_by_its_name(database: Database, send: Send) -> None:
    table: list[list[Any]] = [["a", "b"], ["x", 1]]
    content = xlsb({"June": table, "July": table, "Codes": table}, hidden=["Codes"])
    divided = send(content, "book.xlsb", parts_wanted="all")

    assert [each["name"] for each in divided.parts] == ["June", "July"]
    assert [each["sheets"] for each in divided.warnings] == [[{"name": "Codes", "rows": 1}]]
    assert [each.part for each in made(database, send(content, "book.xlsb", parts_wanted=["Codes"]))] == ["Codes"]


def test_what_nobody_asks_about_is_as_before(send: Send) -> None:
    book, archive = send(BOOK), send(zipped(dict(CSV)), "sales.zip")

    assert (book.status, book.part, book.rows_success) == (Status.COMPLETED, "June", 10)
    assert [each["code"] for each in book.warnings] == ["sheets_ignored"]
    assert (archive.status, archive.error) == (
        Status.FAILED,
        "The archive contains 2 files: “june.csv”, “2026/july.csv”. Upload each file separately.",
    )


def test_an_archive_of_several_files_is_held_until_some_are_chosen(database: Database, send: Send) -> None:
    with database.transaction() as connection:
        schema = TableSchema.parse({"fields": [{"name": "part"}, {"name": "amount", "type": "integer"}]})
        datasets.declare(connection, "sales", schema, Mode.INSERT)
    members: dict[str, str | bytes] = {**CSV, "notes.pdf": b"%PDF-1.7\n", "empty.csv": "", "book.xlsx": BOOK}
    held = send(zipped(members), "sales.zip", review=Review.AUTO)
    found = {each["name"]: each for each in seen(database, held)}

    assert (held.status, [each["code"] for each in held.hold]) == (Status.HELD, [HoldCode.SHEET])
    assert [(each["kind"], each["problem"]) for each in found.values()] == [
        ("member", None),
        ("member", None),
        ("member", "It is not a table."),
        ("member", "It is empty."),
        ("member", None),
    ]
    assert found["june.csv"]["columns"] == ["part", "amount"]
    assert (found["june.csv"]["dataset"], found["june.csv"]["datasets"]) == ("sales", ["sales"])
    assert (found["book.xlsx"]["dataset"], found["book.xlsx"]["datasets"]) == ("book", [])


def test_a_workbook_is_held_with_its_parts_which_stay_known_when_one_is_named(database: Database, send: Send) -> None:
    held = send(BOOK, review=Review.AUTO)
    before = seen(database, held)
    with database.transaction() as connection:
        uploads.order(connection, held.id, uploads.Task.LOOK, options=ImportOptions(sheet="July"))
    named = again(database, held)

    assert [each["code"] for each in held.hold] == [HoldCode.SHEET]
    assert [(each["name"], each["rows"], each["dataset"]) for each in before] == [
        ("June", 10, "june"),
        ("July", 10, "july"),
        ("August", 10, "august"),
    ]
    assert (named.options.sheet, seen(database, named)) == ("July", before)


def test_a_workbook_in_an_archive_is_read_and_its_sheets_are_parts_again(database: Database, send: Send) -> None:
    divided = send(zipped({"book.xlsx": BOOK, "june.csv": "a\n1\n"}), "all.zip", review=Review.AUTO, parts_wanted="all")
    held, plain = made(database, divided)
    with database.transaction() as connection:
        found = review.parts_of(connection, held.id)
    inner = made(database, send(zipped({"book.xlsx": BOOK}), "one.zip", parts_wanted=["August"]))

    assert (held.status, held.part, [part.name for part in found]) == (
        Status.HELD,
        "book.xlsx",
        ["June", "July", "August"],
    )
    assert (plain.status, plain.rows_success) == (Status.COMPLETED, 1)
    assert [(each.part, each.rows_success) for each in inner] == [("August", 10)]


def test_only_the_same_part_is_a_duplicate(database: Database, send: Send) -> None:
    first = made(database, send(BOOK, parts_wanted="all"))
    july = send(BOOK, options=ImportOptions(sheet="July"), part="July")
    whole = send(BOOK)
    other = send(xlsb({"June": [["a"], [1]], "July": [["a"], [2]]}), "book.xlsb", parts_wanted="all")

    assert july.duplicate_of == first[1].id
    assert whole.duplicate_of == july.id
    assert [each.duplicate_of for each in made(database, other)] == [None, None]


def test_parts_that_were_imported_before_wait_for_a_person_if_the_file_was_to_be_reviewed(
    database: Database, send: Send
) -> None:
    first = made(database, send(BOOK, parts_wanted=["June"]))
    found = made(database, send(BOOK, review=Review.AUTO, parts_wanted=["June", "July"]))

    assert [(each.status, each.duplicate_of) for each in found] == [
        (Status.HELD, first[0].id),
        (Status.COMPLETED, None),
    ]


def test_a_part_that_fails_is_retried_and_reads_the_same_part(database: Database, send: Send) -> None:
    (failed,) = made(
        database, send(zipped({"a.csv": "id\n1\n", "b.png": b"\x89PNG\r\n\x1a\n"}), "all.zip", parts_wanted=["b.png"])
    )
    with database.transaction() as connection:
        retried = uploads.retry(connection, failed.id)

    assert (failed.status, failed.error) == (Status.FAILED, again(database, retried).error)
    assert retried.options.member == "b.png"


@pytest.mark.parametrize("text", ["some", "[]", "{}", "[1]", '"June"', "[" * 5000])
def test_parts_that_no_request_may_want(text: str) -> None:
    with pytest.raises(InvalidImportOptionError, match="parts must be all"):
        wanted_of({"parts": text})


def test_wanted_parts_are_all_or_names() -> None:
    assert [wanted_of({"parts": text}) for text in ("", "all", '["June", "July", "June"]')] == [
        None,
        "all",
        ["June", "July"],
    ]


def test_a_part_keeps_no_columns_if_there_are_very_many() -> None:
    part = Part("June", "sheet", columns=[str(number) for number in range(500)])

    assert Part.from_json(part.as_json()).columns == []
