"""Rows of any size are read with bounded memory, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.rows import reader as row_reader
from jobs.rows.reader import FETCH_BYTES, portions


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([], []),
        ([10] * 5, [5]),
        ([FETCH_BYTES // 2] * 5, [2, 2, 1]),
        ([FETCH_BYTES - 1, 2, 2], [1, 2]),
        ([10 * FETCH_BYTES] * 3, [1, 1, 1]),
        ([1, 10 * FETCH_BYTES, 1], [1, 1, 1]),
    ],
)
def test_rows_are_fetched_in_portions_of_bounded_size(sizes: list[int], counts: list[int]) -> None:
    assert list(portions(sizes)) == counts


def test_no_more_sizes_are_asked_for_than_needed() -> None:
    asked: list[int] = []

    def sizes() -> Iterator[int]:
        for number in range(9):
            asked.append(number)
            yield FETCH_BYTES

    assert next(portions(sizes())) == 1
    assert asked == [0]


@pytest.mark.parametrize(("enough", "count"), [(None, 9), (0, 1), (1, 1), (30, 3), (31, 4), (999, 9)])
def test_rows_end_with_the_one_that_is_enough(enough: int | None, count: int) -> None:
    assert row_reader.until(["x" * 10] * 9, len, enough) == ["x" * 10] * count


def read(connection: sa.Connection, statement: "sa.Select[Any]") -> Iterator[tuple[Any, ...]]:
    return (tuple(row) for row in row_reader.one_by_one(connection, statement))


def table_of(connection: sa.Connection, lengths: list[int]) -> sa.Table:
    table = sa.Table(
        "data_%(long)s", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("%(x)s", sa.Text)
    )
    table.create(connection)
    for number, length in enumerate(lengths):
        connection.execute(sa.insert(table), [{"id": number, "%(x)s": "x" * length}])
    return table


def test_all_rows_are_read_in_order(connection: sa.Connection) -> None:
    lengths = [3, 600_000, 0, 5, 300_000, 300_000, *range(40)]
    table = table_of(connection, lengths)
    statement = sa.select(table).order_by(table.c.id).limit(99)

    assert [(number, len(text)) for number, text in read(connection, statement)] == [*enumerate(lengths)]
    assert list(row_reader.one_by_one(connection, statement.where(table.c.id > 99))) == []


def test_rows_that_are_not_needed_are_not_fetched(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(connection, [1_000_000] * 9)
    fetched: list[int] = []
    fetchmany = sa.CursorResult.fetchmany

    def counting(result: "sa.CursorResult[tuple[int, str]]", size: int) -> object:
        fetched.append(size)
        return fetchmany(result, size)

    monkeypatch.setattr(sa.CursorResult, "fetchmany", counting)
    rows = row_reader.one_by_one(connection, sa.select(table).order_by(table.c.id).limit(9))
    first, second = next(rows), next(rows)
    rows.close()  # type: ignore[attr-defined]  # of a generator

    assert (first[0], second[0]) == (0, 1)
    assert fetched == ([1, 1] if connection.dialect.name == "postgresql" else [])
