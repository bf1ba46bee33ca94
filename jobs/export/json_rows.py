"""Rows as JSON lines: an object a row. Numbers and booleans are such, dates and times ISO 8601, no value is null."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.export import copying, sqlite_blocks
from jobs.export.blocks import RowFormat, columns_of
from jobs.export.postgresql_cells import iso_moment
from jobs.row_selection import Selection
from jobs.schema import OWN_COLUMNS, SchemaField
from jobs.sql_table import SqlTable, Statement

#: Fields of an object that one call of `json_object` makes.
_FIELDS = sqlite_blocks.MOST_ARGUMENTS // 2
#: JSON has no such characters, so that COPY writes it as it is.
_COPY_OPTIONS = "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"


def json_format(dialect: sa.Dialect, dataset: Dataset, *, provenance: bool) -> RowFormat:
    """provenance: with the fields that tell the upload and the row of the file."""
    table = dataset.table(dialect)
    return (_SqliteJson if table.is_sqlite else _PostgresqlJson)(table, dataset, provenance)


class _SqliteJson:
    def __init__(self, table: SqlTable, dataset: Dataset, provenance: bool) -> None:
        fields = dataset.schema.fields
        names = [*dataset.schema.names, *(OWN_COLUMNS if provenance else ())]
        self._table = table
        self._columns, aliases = columns_of(table, names)
        values = [_value(field, alias) for field, alias in zip(fields, aliases, strict=False)]
        pairs = [
            f"{table.literal(name)}, {value}"
            for name, value in zip(names, [*values, *aliases[len(fields) :]], strict=True)
        ]
        objects = [f"json_object({', '.join(pairs[n : n + _FIELDS])})" for n in range(0, len(pairs), _FIELDS)]
        self._line = " || ',' || ".join(f"rtrim(ltrim({each}, '{{'), '}}')" for each in objects)
        self._line = f"'{{' || {self._line} || '}}\n'"

    def head(self) -> bytes:
        return b""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement = self._table.page(self._columns, selection, place, limit=rows)
        return sqlite_blocks.joined(connection, self._line, statement, functions={}, largest=largest)

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        statement = self._table.page(self._columns, selection, (), limit=None)
        return sqlite_blocks.each(connection, self._line, statement, functions={})


def _value(field: SchemaField, alias: str) -> str:
    if field.type == "boolean":
        return f"json(CASE {alias} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return alias


class _PostgresqlJson:
    def __init__(self, table: SqlTable, dataset: Dataset, provenance: bool) -> None:
        self._table = table
        columns = [
            f"{iso_moment(field, table.identifier(field.name))} AS {table.identifier(field.name)}"
            for field in dataset.schema.fields
        ]
        self._columns = ", ".join([*columns, *(map(table.identifier, OWN_COLUMNS) if provenance else ())])

    def head(self) -> bytes:
        return b""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement, values = self._copy(selection, place, rows)
        block, count = copying.text(connection, statement, values, largest=largest)
        return bytes(block), count

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        return (bytes(piece) for piece, _ in copying.pieces(connection, *self._copy(selection, [], None)))

    def _copy(self, selection: Selection, place: list[Any], rows: int | None) -> Statement:
        select, values = self._table.page(self._columns, selection, place, limit=rows)
        # No column can have the name of the subquery: none begins with a space.
        return f'COPY (SELECT row_to_json(" row") FROM ({select}) AS " row") TO STDOUT {_COPY_OPTIONS}', values
