"""Failed rows, their reasons, and the number of rows per reason."""

import pytest

from jobs import failed_rows, uploads
from jobs.database import Database
from jobs.failed_rows import FailedRow, FailureCount, Reason
from jobs.files import StoredFile
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.failed_rows_writer import PackedFailedRows


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (Reason("price", "is not a number", "12,5x"), "price: “12,5x” is not a number"),
        (Reason("price", "is required"), "price: is required"),
        (Reason("note", "is longer than 3 characters", ""), "note: “” is longer than 3 characters"),
        (Reason(None, "has 1 cell, expected 2"), "has 1 cell, expected 2"),
        (
            Reason("id", "is already in the dataset", detail="upload #7, row 3"),
            "id: is already in the dataset (upload #7, row 3)",
        ),
        (Reason("a", "is wrong", "x" * 60), f"a: “{'x' * 60}” is wrong"),
        (Reason("a", "is wrong", "x" * 61), f"a: “{'x' * 60}…” is wrong"),
    ],
)
def test_a_reason_is_a_sentence(reason: Reason, sentence: str) -> None:
    assert sentence == reason.sentence


def test_all_reasons_of_a_row_are_one_sentence() -> None:
    row = FailedRow(1, ["", "x"], [Reason("a", "is required"), Reason("b", "is not a number", "x")])

    assert row.sentence == "a: is required; b: “x” is not a number"


def upload_of(database: Database) -> int:
    with database.transaction() as connection:
        return uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef")).id


def bad(*numbers: int, rule: str = "is required", column: str | None = "a") -> list[FailedRow]:
    return [FailedRow(number, [f"cell {number}", ""], [Reason(column, rule)]) for number in numbers]


def record(database: Database, upload_id: int, rows: list[FailedRow], room: int = 99) -> None:
    with database.transaction() as connection:
        failed_rows_writer.record(connection, upload_id, PackedFailedRows.pack(rows), room=room)


def kept(database: Database, upload_id: int, after: int = 0, limit: int = 99) -> list[FailedRow]:
    with database.reading() as connection:
        return failed_rows.rows(connection, upload_id, after=after, limit=limit)


def counts(database: Database, upload_id: int, limit: int = 99) -> list[FailureCount]:
    with database.reading() as connection:
        return failed_rows.counts(connection, upload_id, limit=limit)


def test_a_row_is_stored_with_its_original_values_and_every_reason(database: Database) -> None:
    upload_id = upload_of(database)
    row = FailedRow(
        7,
        ["Zoë", "", "\ufffd", '"', "😀\n"],
        [Reason("price", "is not a number", "12,5x"), Reason(None, "is odd", None, "at the end"), Reason("id", "is -")],
    )
    record(database, upload_id, [row])

    assert [row] == kept(database, upload_id)


def test_rows_are_read_in_pages_in_the_order_of_the_file(database: Database) -> None:
    upload_id, other = upload_of(database), upload_of(database)
    record(database, upload_id, bad(7, 3))
    record(database, upload_id, bad(12, 9))
    record(database, other, bad(5))
    first = kept(database, upload_id, limit=3)
    rest = kept(database, upload_id, after=first[-1].row_number)

    assert [[row.row_number for row in page] for page in (first, rest)] == [[3, 7, 9], [12]]
    assert [row.row_number for row in kept(database, other)] == [5]


@pytest.mark.parametrize(("room", "numbers"), [(-5, []), (0, []), (1, [3]), (2, [3, 7]), (99, [3, 7, 9])])
def test_rows_beyond_the_limit_are_counted(database: Database, room: int, numbers: list[int]) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, bad(3, 7, 9), room=room)

    assert numbers == [row.row_number for row in kept(database, upload_id)]
    assert counts(database, upload_id) == [FailureCount("a", "is required", 3)]


def test_reasons_are_counted_over_all_chunks_the_most_frequent_first(database: Database) -> None:
    upload_id, other = upload_of(database), upload_of(database)
    record(database, upload_id, [*bad(1, 2), *bad(3, rule="has 1 cell, expected 2", column=None)])
    record(database, upload_id, [*bad(4, column="b"), *bad(5, 6, rule="has 1 cell, expected 2", column=None)])
    record(database, upload_id, [*bad(7, 8), *bad(9, column="B")])
    record(database, other, bad(1))
    expected = [
        FailureCount("a", "is required", 4),
        FailureCount(None, "has 1 cell, expected 2", 3),
        FailureCount("B", "is required", 1),
        FailureCount("b", "is required", 1),
    ]

    assert expected == counts(database, upload_id)
    assert expected[:2] == counts(database, upload_id, limit=2)
    assert counts(database, other) == [FailureCount("a", "is required", 1)]


def test_a_row_counts_once_for_each_of_its_reasons(database: Database) -> None:
    upload_id = upload_of(database)
    twice = [Reason("a", "is taken", detail="row 1"), Reason("a", "is taken", detail="row 2"), Reason("b", "is taken")]
    record(database, upload_id, [FailedRow(1, ["x"], twice)])

    assert counts(database, upload_id) == [FailureCount("a", "is taken", 1), FailureCount("b", "is taken", 1)]


def test_recording_no_failed_rows_does_nothing(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, [])

    assert (kept(database, upload_id), counts(database, upload_id)) == ([], [])


def test_failed_rows_are_deleted_for_one_upload_only(database: Database) -> None:
    upload_id, other = upload_of(database), upload_of(database)
    record(database, upload_id, bad(1, 2))
    record(database, other, bad(1))
    with database.transaction() as connection:
        failed_rows.delete_all(connection, upload_id)
    record(database, upload_id, bad(1))

    assert counts(database, upload_id) == counts(database, other) == [FailureCount("a", "is required", 1)]
    assert [row.row_number for row in kept(database, upload_id)] == [1]
