"""Rows of a dataset as pages show them: some of the columns, and of a long cell only its beginning.

The address of a row finds it again: its position, or, if its key is long, the row of the file that it came from.
"""

import re
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from jobs import datasets
from jobs.datasets import Dataset, Position, Row
from jobs.errors import InvalidPositionError
from jobs.excerpt import EXCERPT_LENGTH
from jobs.rows.selection import ALL, Selection
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import run
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
    selection: Selection = ALL,
    skipped: int = 0,
) -> Iterator[Row]:
    """Rows of a selection after a position, or before it, beginning with the nearest, with one cell for each of these
    fields. skipped: rows that are left out at the beginning, if there is no position.

    A cell has at most one character more than EXCERPT_LENGTH, which tells that it is longer. If a key is so long that
    it is cut, only the row's address is valid, not its position. Raises InvalidPositionError.
    """
    table = dataset.table(connection.dialect)
    place = datasets.place_of_skipped(connection, table, selection, skipped) if skipped else None
    if skipped and place is None:
        return
    if place is None:
        place = datasets.place_of(connection, table, position, selection)
    statement, values = table.excerpts(
        [field.name for field in fields],
        selection,
        place,
        limit,
        key_length=LONGEST_ADDRESS + 1,
        length=EXCERPT_LENGTH + 1,
        backwards=backwards,
    )
    for row in run(connection, statement, *values):
        upload_id, row_number, *found = tuple(row)
        key, cells = found[: len(table.key)], zip(fields, found[len(table.key) :], strict=True)
        yield Row(
            Position(key),
            upload_id,
            row_number,
            [format_value(dataset.schema, field, value) for field, value in cells],
        )


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
    table = dataset.table(connection.dialect)
    key = run(connection, table.key_of_origin(), int(found[1]), int(found[2])).one_or_none()
    if key is None:
        raise InvalidPositionError
    return Position(key)
