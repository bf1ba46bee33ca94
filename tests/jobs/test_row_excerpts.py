"""Rows as pages show them, on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from jobs import datasets, row_excerpts
from jobs.datasets import Dataset, Mode, Row
from jobs.errors import InvalidPositionError
from jobs.excerpt import EXCERPT_LENGTH
from jobs.row_excerpts import LONGEST_ADDRESS
from jobs.schema import TableSchema
from tests.support.databases import insert_rows


def filled(connection: sa.Connection, fields: list[dict[str, Any]], rows: list[tuple[Any, ...]], key: str) -> Dataset:
    """A dataset with these rows, all of upload 7."""
    schema = TableSchema.parse({"fields": fields, "primaryKey": key})
    dataset = datasets.declare(connection, "sales", schema, Mode.UPSERT)
    insert_rows(connection, dataset, *(dict(zip(dataset.schema.names, row, strict=True)) for row in rows), upload_id=7)
    return dataset


FIELDS: list[dict[str, Any]] = [{"name": "id"}, {"name": "n", "type": "integer"}, {"name": "%(x)s"}]


def read(connection: sa.Connection, dataset: Dataset, **more: Any) -> list[Row]:
    fields = more.pop("fields", dataset.schema.fields)
    return list(row_excerpts.read(connection, dataset, fields, more.pop("position", None), limit=9, **more))


def test_the_database_cuts_long_cells_and_only_these(connection: sa.Connection) -> None:
    rows = [("a", 10**18, "é" * 500_000), ("b", None, None), ("c", -1, "é" * EXCERPT_LENGTH)]
    found = read(connection, filled(connection, FIELDS, rows, "id"))

    assert [row.cells for row in found] == [
        ["a", str(10**18), "é" * (EXCERPT_LENGTH + 1)],
        ["b", "", ""],
        ["c", "-1", "é" * EXCERPT_LENGTH],
    ]
    assert [(row.upload_id, row.row_number) for row in found] == [(7, 1), (7, 2), (7, 3)]


def test_only_the_named_columns_are_read(connection: sa.Connection) -> None:
    dataset = filled(connection, FIELDS, [("a", 1, "x")], "id")

    assert [row.cells for row in read(connection, dataset, fields=dataset.schema.fields[2:])] == [["x"]]


def test_rows_before_a_position_begin_with_the_nearest(connection: sa.Connection) -> None:
    dataset = filled(connection, FIELDS, [(key, 1, "") for key in "abcd"], "id")
    first, _, third, _ = read(connection, dataset)
    after = read(connection, dataset, position=first.position)
    before = read(connection, dataset, position=third.position, backwards=True)

    assert [row.cells[0] for row in after] == ["b", "c", "d"]
    assert [row.cells[0] for row in before] == ["b", "a"]


@pytest.mark.parametrize("key", ["a", "é" * 100, "x" * 700])
def test_the_address_of_a_row_with_a_short_key_is_its_position(connection: sa.Connection, key: str) -> None:
    dataset = filled(connection, FIELDS, [(key, 1, "x")], "id")
    [row] = read(connection, dataset)

    assert row_excerpts.address(row) == str(row.position)
    assert row_excerpts.locate(connection, dataset, row_excerpts.address(row)) == row.position


#: PostgreSQL's index holds keys of up to 2,704 bytes; these are as long as it gets.
LONG_KEYS = ["x" * 1_001, "é" * 300, "".join(map(chr, range(0x4E00, 0x4E00 + 850)))]


@pytest.mark.parametrize("key", LONG_KEYS, ids=len)
def test_the_address_of_a_row_with_a_long_key_is_where_it_came_from(connection: sa.Connection, key: str) -> None:
    dataset = filled(connection, FIELDS, [("before", 1, ""), (key, 2, "")], "id")
    row = next(row for row in read(connection, dataset) if row.row_number == 2)
    position = row_excerpts.locate(connection, dataset, row_excerpts.address(row))
    found = datasets.find(connection, dataset, position)

    assert len(row_excerpts.address(row)) <= LONGEST_ADDRESS
    assert row_excerpts.address(row) == "~7.2"
    assert found is not None
    assert found.cells == [key, "2", ""]


@pytest.mark.parametrize("address", ["~7.9", "~8.1", "~", "~7", "~7.x", ""])
def test_an_address_of_no_row_is_invalid(connection: sa.Connection, address: str) -> None:
    dataset = filled(connection, FIELDS, [("a", 1, "")], "id")
    with pytest.raises(InvalidPositionError):
        row_excerpts.locate(connection, dataset, address)
