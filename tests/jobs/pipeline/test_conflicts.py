"""Rows that want the same keys or unique values, and what becomes of them, whatever the size of the chunks."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.failed_rows import Reason
from jobs.pipeline import conflicts, writer
from jobs.pipeline.conflicts import Collisions, Competition, StoredRow
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from tests.conftest import UndoneError

TEXT, WHOLE = pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.int64())


def chunk(first: int = 1, **columns: Sequence[Any]) -> pd.DataFrame:
    """Valid rows, numbered from `first` on."""
    frame = pd.DataFrame({name: pd.Series(list(cells), dtype=TEXT) for name, cells in columns.items()})
    return frame.set_axis(pd.RangeIndex(first, first + len(frame)))


def sentences(found: Collisions) -> dict[int, list[str]]:
    return {number: [reason.sentence for reason in reasons] for number, reasons in sorted(found.items())}


# Inserts


def test_the_first_of_repeated_values_is_written() -> None:
    rows = chunk(a=["x", "y", "x", None, None, "x"])

    assert sentences(conflicts.inserted(rows, [["a"]], {})) == {
        3: ["a: is in an earlier row"],
        6: ["a: is in an earlier row"],
    }


def test_a_key_of_several_columns_is_compared_as_a_whole() -> None:
    rows = chunk(a="xxyxy", b="12111")

    assert sentences(conflicts.inserted(rows, [["a", "b"]], {})) == {
        4: ["has the same a, b as an earlier row"],
        5: ["has the same a, b as an earlier row"],
    }


def test_large_whole_numbers_differ_despite_missing_ones() -> None:
    # As doubles, which pandas uses for whole numbers with missing values, these are equal.
    rows = pd.DataFrame({"a": pd.Series([9007199254740992, 9007199254740993, None, 1, 1], dtype=WHOLE)})

    assert list(conflicts.inserted(rows, [["a"]], {})) == [4]


def test_a_row_that_fails_uses_up_none_of_its_values() -> None:
    rows = chunk(a=["k", "k", "l", "l", "m"], b=["1", "2", "1", "2", "2"])

    assert sentences(conflicts.inserted(rows, [["a"], ["b"]], {})) == {
        2: ["a: is in an earlier row"],
        3: ["b: is in an earlier row"],
        5: ["b: is in an earlier row"],
    }


def test_a_row_whose_key_is_stored_uses_up_no_unique_value() -> None:
    rows = chunk(a=["k", "l"], b=["1", "1"])
    stored = {1: [Reason("a", "is already in the dataset")]}

    assert conflicts.inserted(rows, [["a"], ["b"]], stored) == stored


# Upserts


def test_the_last_row_of_each_key_is_written() -> None:
    found = conflicts.upserted(chunk(a="1211", b="wxyz"), ["a"], ["b"], [])

    assert (found.collisions, found.written.tolist(), found.releasing) == ({}, [False, True, False, True], [])


def test_a_row_collides_with_nothing_that_it_replaces() -> None:
    found = conflicts.upserted(chunk(a="kkl", b=["1", "1", None]), ["a"], ["b"], [])

    assert (found.collisions, found.written.tolist()) == ({}, [False, True, True])


def test_a_unique_value_can_be_taken_once_its_row_was_replaced() -> None:
    found = conflicts.upserted(chunk(a="ABAB", b="xxyx"), ["a"], ["b"], [])

    assert sentences(found.collisions) == {2: ["b: is in an earlier row"]}
    assert found.written.tolist() == [False, False, True, True]


def test_a_row_that_fails_replaces_no_earlier_one() -> None:
    found = conflicts.upserted(chunk(a="ABA", b="xyy"), ["a"], ["b"], [])

    assert sentences(found.collisions) == {3: ["b: is in an earlier row"]}
    assert found.written.tolist() == [True, True, False]


def test_a_value_of_a_stored_row_is_free_once_the_row_was_replaced() -> None:
    stored = StoredRow(7, 41)
    wanted = [Competition(0, number, stored, 2) for number in (1, 3)]
    found = conflicts.upserted(chunk(a="BAB", b="xyx"), ["a"], ["b"], wanted)

    assert sentences(found.collisions) == {1: ["b: is already in the dataset (upload #7, row 41)"]}
    assert (found.written.tolist(), found.releasing) == ([False, True, True], [2])


@pytest.mark.parametrize(
    ("rule", "is_about_others"),
    [
        ("is in an earlier row", True),
        ("is already in the dataset", True),
        ("has the same a, b as an earlier row", True),
        ("has the same a, b as a row in the dataset", True),
        ("has 4 cells, expected 3", False),
        ("is required", False),
    ],
)
def test_some_reasons_are_about_other_rows(rule: str, is_about_others: bool) -> None:
    assert conflicts.is_about_other_rows(Reason(None, rule)) is is_about_others


# Whole files, compared with rows written one after another

Row = tuple[str | None, ...]
NAMES = ["k", "l", "u", "v", "w"]


class OneAfterAnother:
    """The rows that a table has, and those that failed, when each is written before the next is looked at."""

    def __init__(self, *, key: Sequence[int], unique: Sequence[int], filled: Sequence[int], mode: Mode) -> None:
        """All: places of columns."""
        self._key, self._unique, self._filled = key, unique, filled
        self._upsert, self._only_new = mode is Mode.UPSERT, mode is Mode.ONLY_NEW
        self.rows: dict[Row, list[str | None]] = {}
        self.failed: list[int] = []

    def write(self, rows: Mapping[int, Row]) -> None:
        for number, row in rows.items():
            key = tuple(row[place] for place in self._key)
            if self._only_new and key in self.rows:
                continue
            taken = any(
                row[place] is not None and row[place] == other[place]
                for stored, other in self.rows.items()
                for place in self._unique
                if place in self._filled and not (self._upsert and stored == key)
            )
            if taken or (key in self.rows and not self._upsert):
                self.failed.append(number)
                continue
            stored_row = self.rows.setdefault(key, [None] * len(row))
            for place in self._filled:
                stored_row[place] = row[place]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[Row], list[Row]]:
    """Places of the key, of the unique fields and of those that the second file fills; the rows of two files."""
    key = draw(st.sampled_from([[0], [0, 1]]))
    unique = draw(st.sampled_from([[], [2], [2, 3], [0], [1, 2]]))
    filled = draw(st.sampled_from([[0, 1, 2, 3, 4], [0, 1, 3], [0, 1, 2, 4]]))
    few = st.sampled_from("abc")
    row = st.tuples(few, st.sampled_from("ab"), few | st.none(), few | st.none(), few | st.none())
    return key, unique, filled, draw(st.lists(row, max_size=4)), draw(st.lists(row, max_size=9))


def import_rows(
    connection: sa.Connection, dataset: Dataset, upload_id: int, rows: list[Row], size: int, filled: Sequence[int]
) -> list[int]:
    """Write rows in chunks of a size. Returns the numbers of those that failed."""
    each = writer.writer_for(connection.dialect, dataset, upload_id, filled=[NAMES[place] for place in filled])
    failed: list[int] = []
    for start in range(0, len(rows), size):
        columns = list(zip(*rows[start : start + size], strict=True))
        cells = {name: columns[place] if place in filled else [] for place, name in enumerate(NAMES)}
        height = len(rows[start : start + size])
        frame = chunk(start + 1, **{name: column or [None] * height for name, column in cells.items()})
        before = count(connection)
        written = each.write(connection, each.pack(frame))
        assert written.added == count(connection) - before
        failed += written.collisions
    return sorted(failed)


def count(connection: sa.Connection) -> int:
    return int(run(connection, "SELECT count(*) FROM data_june").scalar_one())


@pytest.mark.parametrize("mode", [Mode.INSERT, Mode.UPSERT, Mode.ONLY_NEW])
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases())
def test_in_chunks_of_any_size_rows_end_as_if_written_one_after_another(
    migrated: Database, mode: Mode, case: tuple[list[int], list[int], list[int], list[Row], list[Row]]
) -> None:
    key, unique, filled, first, second = case
    everything = range(len(NAMES))
    before = OneAfterAnother(key=key, unique=unique, filled=everything, mode=mode)
    before.write(dict(enumerate(first, 1)))
    expected = OneAfterAnother(key=key, unique=unique, filled=filled, mode=mode)
    expected.rows = before.rows
    expected.write(dict(enumerate(second, 1)))
    fields = [{"name": name, "constraints": {"unique": place in unique}} for place, name in enumerate(NAMES)]
    schema = TableSchema.parse({"fields": fields, "primaryKey": [NAMES[place] for place in key]})

    def check(connection: sa.Connection, size: int) -> None:
        dataset = datasets.declare(connection, "june", schema, mode)
        assert import_rows(connection, dataset, 1, first, size, everything) == before.failed
        assert import_rows(connection, dataset, 2, second, size, filled) == expected.failed
        stored = list(datasets.each_after(connection, dataset, None, limit=99))
        found = sorted(row.cells for row in stored)
        assert found == sorted([cell or "" for cell in row] for row in expected.rows.values())
        raise UndoneError

    for size in (1, 2, 3, 9):
        with pytest.raises(UndoneError), migrated.transaction() as connection:
            check(connection, size)
