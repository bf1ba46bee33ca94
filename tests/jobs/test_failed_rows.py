"""Failed rows, their reasons, and the number of rows per reason."""

import json
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import failed_rows, failure_map, tables, uploads
from jobs.database import Database
from jobs.excerpt import EXCERPT_LENGTH
from jobs.failed_rows import (
    EXCERPT_REASONS,
    EXCERPT_STORED,
    QUOTED,
    VALUE_LENGTH,
    VALUES_KEPT,
    VALUES_KEPT_IN_ALL,
    FailedRow,
    FailedRowExcerpt,
    FailedValue,
    Failure,
    FailureCount,
    Reason,
    WithReason,
)
from jobs.failure_map import FailureMap
from jobs.files import StoredFile
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.tables import failure_counts

KEPT = (tables.failed_rows, tables.failure_counts, tables.failure_maps, tables.failure_places)


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


def test_what_was_counted_is_the_same_whether_it_is_remembered_or_read(database: Database) -> None:
    """Also if a transaction between two others is rolled back."""
    remembered, read = upload_of(database), upload_of(database)
    chunks = [
        [
            FailedRow(number, ["x"], [Reason("a", "is wrong", f"value {number % 1_300}"), Reason(None, "is odd")])
            for number in range(first, first + 400)
        ]
        for first in (1, 500, 1_500, 5_000)
    ]
    tally = None
    for rows in chunks:
        packed = PackedFailedRows.pack(rows)
        with suppress(ZeroDivisionError), database.transaction() as connection:
            failed_rows_writer.record(connection, remembered, packed, tally, room=9_999)
            raise ZeroDivisionError
        with database.transaction() as connection:
            tally = failed_rows_writer.record(connection, remembered, packed, tally, room=9_999)
        record(database, read, rows, room=9_999)

    assert counted(database, remembered) == counted(database, read)
    assert kept(database, remembered, limit=9_999) == kept(database, read, limit=9_999)
    assert {(row.rows, row.more_values) for row in counted(database, read)[0]} == {(1_600, True), (1_600, False)}


def counted(database: Database, upload_id: int) -> tuple[list[Any], FailureMap]:
    """The counts of each reason with its values, and the map."""
    columns = [each for each in failure_counts.c if each.name != "upload_id"]
    found = sa.select(*columns).where(failure_counts.c.upload_id == upload_id).order_by(failure_counts.c.rule)
    with database.reading() as connection:
        return list(connection.execute(found)), failure_map.read(connection, upload_id)


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


def test_an_excerpt_of_many_reasons_counts_the_others(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, [FailedRow(1, ["x"] * 1500, [Reason("a", f"rule {n}") for n in range(99)])])
    [row] = excerpts(database, upload_id)

    assert (len(row.cells), row.more_cells) == (1500, 0)
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


def numbers(database: Database, upload_id: int, **chosen: str) -> list[int]:
    with database.reading() as connection:
        found = failed_rows.rows(connection, upload_id, limit=99, chosen=WithReason(**chosen))
        shown = failed_rows.excerpts(connection, upload_id, limit=99, chosen=WithReason(**chosen))
    assert [row.row_number for row in found] == [row.row_number for row in shown]
    return [row.row_number for row in found]


@pytest.mark.parametrize("is_indexed", [True, False], ids=["indexed", "of an earlier release"])
def test_rows_are_chosen_by_a_column_a_rule_or_both(database: Database, is_indexed: bool) -> None:
    upload_id, other = upload_of(database), upload_of(database)
    both = [Reason("a", "is required"), Reason("b", 'is not "é"', "x")]
    record(database, upload_id, [*bad(1), *bad(2, column="b"), FailedRow(3, ["", "x"], both)])
    record(database, upload_id, [*bad(4, column=None, rule="has 1 cell, expected 2"), *bad(5)])
    record(database, other, bad(6))
    if not is_indexed:
        with database.transaction() as connection:
            connection.execute(sa.delete(tables.failure_places))

    assert numbers(database, upload_id) == [1, 2, 3, 4, 5]
    assert numbers(database, upload_id, column="a") == [1, 3, 5]
    assert numbers(database, upload_id, rule="is required") == [1, 2, 3, 5]
    assert numbers(database, upload_id, column="b", rule="is required") == [2]
    assert numbers(database, upload_id, column="b", rule='is not "é"') == [3]
    assert numbers(database, upload_id, column="") == [4]
    assert numbers(database, upload_id, column="c") == []


def test_the_values_that_break_a_rule_are_counted_over_all_chunks(database: Database) -> None:
    upload_id = upload_of(database)
    wrong = [FailedRow(n, [word], [Reason("a", "is wrong", word)]) for n, word in enumerate("xyxzx", start=1)]
    record(database, upload_id, wrong[:2])
    record(database, upload_id, [*wrong[2:], *bad(9)])
    with database.reading() as connection:
        found = failed_rows.failures(connection, upload_id, limit=9)

    values = [FailedValue("x", 3), FailedValue("y", 1), FailedValue("z", 1)]
    assert found == [Failure("a", "is wrong", 5, values, False), Failure("a", "is required", 1, [], False)]


def test_not_more_values_are_kept_than_anybody_reads(database: Database) -> None:
    upload_id = upload_of(database)
    words = ["x" * (VALUE_LENGTH + 1), *(f"word {n}" for n in range(VALUES_KEPT + 1)), "word 0"]
    record(database, upload_id, [FailedRow(n, [], [Reason("a", "is wrong", w)]) for n, w in enumerate(words, start=1)])
    columns = range(VALUES_KEPT_IN_ALL)
    record(database, upload_id, [FailedRow(n + 9_999, [], [Reason(f"c{n}", "is wrong", "x")]) for n in columns])
    with database.reading() as connection:
        found = failed_rows.failures(connection, upload_id, limit=99_999)

    assert (len(found[0].values), found[0].values[0], found[0].more_values) == (
        VALUES_KEPT, FailedValue("word 0", 2), True,
    )  # fmt: skip
    assert sum(len(failure.values) for failure in found) == VALUES_KEPT_IN_ALL
    assert sum(failure.more_values for failure in found) == 1 + VALUES_KEPT


def test_values_of_reasons_that_an_earlier_release_counted_are_not_all_known(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, [FailedRow(1, [], [Reason("a", "is wrong", "x")])])
    with database.transaction() as connection:
        connection.execute(sa.update(tables.failure_counts).values(found_values=None, more_values=None))
    record(database, upload_id, [FailedRow(2, [], [Reason("a", "is wrong", "y")])])
    with database.reading() as connection:
        [found] = failed_rows.failures(connection, upload_id, limit=9)

    assert found == Failure("a", "is wrong", 2, [FailedValue("y", 1)], True)


def test_all_that_is_kept_of_failed_rows_is_deleted_together(database: Database) -> None:
    upload_id = upload_of(database)
    record(database, upload_id, bad(1, 2))
    with database.transaction() as connection:
        failed_rows.delete_all(connection, upload_id)
        left = [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in KEPT]

    assert left == [0, 0, 0, 0]
