"""Failed rows, their reasons, and the number of rows per reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import failed_rows, uploads
from jobs.database import Database
from jobs.excerpt import EXCERPT_LENGTH
from jobs.failed_rows import (
    EXCERPT_CELLS,
    EXCERPT_REASONS,
    EXCERPT_STORED,
    QUOTED,
    FailedRow,
    FailedRowExcerpt,
    FailureCount,
    Reason,
)
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


def test_rows_end_with_the_one_whose_characters_are_enough(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, [FailedRow(n, ["x" * 100_000], [Reason("a", "is wrong")]) for n in range(1, 6)])
    with database.reading() as connection:
        first = failed_rows.rows(connection, upload_id, limit=9, enough=250_000)
        second = failed_rows.rows(connection, upload_id, after=first[-1].row_number, limit=9, enough=250_000)

    assert [row.row_number for row in first] == [1, 2, 3]
    assert [row.row_number for row in second] == [4, 5]


def test_one_row_is_found_by_its_number(database: Database) -> None:
    upload_id = upload_of(database)
    row = FailedRow(7, ["x" * 1_000_000], [Reason("a", "is wrong", "x" * 1_000_000)])
    record(database, upload_id, [row])
    with database.reading() as connection:
        assert failed_rows.find(connection, upload_id, 7) == row
        assert failed_rows.find(connection, upload_id, 8) is None
        assert failed_rows.find(connection, upload_id + 1, 7) is None


def excerpts(database: Database, upload_id: int) -> list[FailedRowExcerpt]:
    with database.reading() as connection:
        return failed_rows.excerpts(connection, upload_id, limit=20)


def test_an_excerpt_of_a_small_row_is_the_row(database: Database) -> None:
    upload_id = upload_of(database)
    cells = ["Zoë", "", "\ufffd", '"', "😀\n", "\\", "]"]
    reasons = [Reason("price", "is not a number", "12,5x"), Reason(None, "is odd", None, "at the end")]
    record(database, upload_id, [FailedRow(7, cells, reasons), FailedRow(9, [], [])])

    assert excerpts(database, upload_id) == [
        FailedRowExcerpt(7, cells, 0, reasons, 0),
        FailedRowExcerpt(9, [], 0, [], 0),
    ]


def test_an_excerpt_of_many_cells_counts_the_others(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, [FailedRow(1, ["x"] * 1500, [Reason("a", f"rule {n}") for n in range(99)])])
    [row] = excerpts(database, upload_id)

    assert (len(row.cells), row.more_cells) == (EXCERPT_CELLS, 1500 - EXCERPT_CELLS)
    assert (len(row.reasons), row.more_reasons) == (EXCERPT_REASONS, 99 - EXCERPT_REASONS)


@pytest.mark.parametrize("text", ["x", "é", "😀", "\\", '"', "\x01"])
def test_an_excerpt_of_a_row_of_a_megabyte_is_short(database: Database, text: str) -> None:
    upload_id = upload_of(database)
    long = text * (1_000_000 // len(text.encode()))
    rule = f"matches {'x' * 1000}"
    record(database, upload_id, [FailedRow(1, ["a", long, "b"], [Reason("n", rule, long, "d"), Reason("m", "r")])])
    [row] = excerpts(database, upload_id)

    assert row.cells == ["a", text * (EXCERPT_LENGTH + 1)]
    assert row.reasons[0][:2] == ("n", rule[: EXCERPT_LENGTH + 1])
    assert (row.more_cells, row.more_reasons) == (None, None)
    assert f"“{text * QUOTED}…”" in row.sentence


@given(st.lists(st.text(max_size=300), max_size=9), st.integers(1, EXCERPT_STORED - 1))
def test_the_beginning_of_stored_cells_has_the_complete_ones(cells: list[str], length: int) -> None:
    stored = json.dumps(cells)
    row = FailedRowExcerpt.from_stored(1, stored[: max(1, length % (len(stored) + 1))], "[]")

    for cell, shown in zip(cells, row.cells, strict=False):
        assert shown == cell[: EXCERPT_LENGTH + 1]
    assert FailedRowExcerpt.from_stored(1, stored, "[]").cells == [cell[: EXCERPT_LENGTH + 1] for cell in cells]


def test_a_long_rule_is_counted_with_its_beginning(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, bad(1, 2, rule=f"matches {'x' * 1000}"))
    [count] = counts(database, upload_id)

    assert (count.rows, len(count.rule)) == (2, EXCERPT_LENGTH + 1)


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
