"""Rows of a dataset as pages show them: some of the columns, and of a long cell only its beginning.

The address of a row finds it again: its position, or, if its key is long, the row of the file that it came from.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from jobs import datasets
from jobs.datasets import Dataset, Position, Row
from jobs.errors import InvalidPositionError
from jobs.excerpt import EXCERPT_LENGTH
from jobs.schema import SchemaField

#: Characters of the longest address: it is part of URLs, whose length servers and browsers limit.
LONGEST_ADDRESS = 1_000
#: The address of a row with a long key: its upload and its number there. A position contains no such characters.
_ORIGIN = re.compile(r"~([0-9]{1,18})\.([0-9]{1,18})")


def read(
    connection: sa.Connection,
    dataset: Dataset,
    fields: Sequence[SchemaField],
    position: Position | None,
    *,
    limit: int,
    backwards: bool = False,
) -> Iterator[Row]:
    """Rows after a position, or before it, beginning with the nearest, with one cell for each of these fields.

    A cell has at most one character more than EXCERPT_LENGTH, which tells that it is longer. If a key is so long that
    it is cut, only the row's address is valid, not its position. Raises InvalidPositionError.
    """
    table = dataset.table
    upload_id, row_number, *values = table.columns
    by_name = dict(zip(dataset.schema.names, values, strict=True))
    key = list(table.primary_key.columns)
    statement = sa.select(
        upload_id,
        row_number,
        *(_beginning(column, LONGEST_ADDRESS) for column in key),
        *(_beginning(by_name[field.name], EXCERPT_LENGTH) for field in fields),
    )
    ordered = datasets.in_order(connection, table, statement, position, backwards=backwards).limit(limit)
    for row in connection.execute(ordered):
        found = tuple(row)
        cells = zip(fields, found[2 + len(key) :], strict=True)
        yield Row(
            Position(found[2 : 2 + len(key)]),
            found[0],
            found[1],
            [datasets.format_value(dataset.schema, field, value) for field, value in cells],
        )


def _beginning(column: sa.ColumnElement[Any], length: int) -> sa.ColumnElement[Any]:
    """The column without what follows these characters of a text and one more."""
    if not isinstance(column.type, sa.Text):
        return column.label(None)
    return sa.func.substr(column, 1, length + 1, type_=sa.Text()).label(None)


def address(row: Row) -> str:
    """A text of at most LONGEST_ADDRESS characters from which `locate` finds the row."""
    if sum(len(value) for value in row.position if isinstance(value, str)) <= LONGEST_ADDRESS:
        position = str(row.position)
        if len(position) <= LONGEST_ADDRESS:
            return position
    return f"~{row.upload_id}.{row.row_number}"


def locate(connection: sa.Connection, dataset: Dataset, address: str) -> Position:
    """The position of the row with this address. Raises InvalidPositionError."""
    found = _ORIGIN.fullmatch(address)
    if found is None:
        return Position.parse(address)
    table = dataset.table
    upload_id, row_number, *_ = table.columns
    statement = sa.select(*table.primary_key.columns).where(upload_id == int(found[1]), row_number == int(found[2]))
    key = connection.execute(statement).one_or_none()
    if key is None:
        raise InvalidPositionError
    return Position(key)
