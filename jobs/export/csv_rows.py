"""Rows as CSV in UTF-8, as csv.writer writes it, with values spelled as in the file that they came from."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import sqlalchemy as sa

from jobs import row_reader
from jobs.corrections import escape_formula
from jobs.datasets import Dataset
from jobs.export import copying, csv_text, sqlite_blocks
from jobs.export.blocks import BlockTooLargeError, RowFormat, columns_of
from jobs.export.postgresql_cells import NotInSqlError, PostgresqlCells
from jobs.export.sqlite_cells import SqliteCells
from jobs.row_selection import Selection
from jobs.schema import OWN_COLUMNS
from jobs.spelling import format_value
from jobs.sql_table import SqlTable, Statement

#: What COPY writes for null where every cell has a value: no cell is like it.
_NEVER = "\x02no cell is null\x02"


def csv_format(dialect: sa.Dialect, dataset: Dataset, *, is_raw: bool, provenance: bool) -> RowFormat:
    """The fastest way to write the dataset's rows. is_raw: formulas are not escaped. provenance: with the columns that
    tell the upload and the row of the file."""
    table = dataset.table(dialect)
    if table.is_sqlite:
        return _SqliteCsv(table, dataset, is_raw, provenance)
    try:
        return _PostgresqlCsv(table, dataset, is_raw, provenance)
    except NotInSqlError:
        return _PythonCsv(dataset, is_raw, provenance)


def _head(dataset: Dataset, is_raw: bool, provenance: bool) -> bytes:
    names = dataset.schema.names if is_raw else [escape_formula(name) for name in dataset.schema.names]
    return csv_text.lines([[*names, *OWN_COLUMNS] if provenance else names])


class _SqliteCsv:
    """SQLite joins the cells of a block of rows. Most blocks have no text that must be quoted, and to look for such
    cells one by one takes SQLite as long as all the rest: it joins them as they are, and the block is made again with
    quotes if it has another number of commas and ends of lines than it would have without such cells."""

    def __init__(self, table: SqlTable, dataset: Dataset, is_raw: bool, provenance: bool) -> None:
        fields = dataset.schema.fields
        self._table = table
        self._head = _head(dataset, is_raw, provenance)
        own = list(OWN_COLUMNS) if provenance else []
        self._columns, aliases = columns_of(table, [*dataset.schema.names, *own])
        cells = SqliteCells(table, dataset.schema, is_raw)
        plain, quoted = (
            [
                *(
                    cells.expression(field, alias, is_plain=is_plain)
                    for field, alias in zip(fields, aliases, strict=False)
                ),
                *aliases[len(fields) :],
            ]
            for is_plain in (True, False)
        )
        if len(aliases) == 1:
            plain, quoted = [cells.alone(plain[0])], [cells.alone(quoted[0])]
        self._plain, self._quoted = _line(plain), _line(quoted)
        self._commas = len(aliases) - 1
        self._functions = cells.functions
        self._is_plain = self._plain != self._quoted

    def head(self) -> bytes:
        return self._head

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement = self._table.page(self._columns, selection, place, limit=rows)

        def made(line: str) -> tuple[bytes, int]:
            return sqlite_blocks.joined(connection, line, statement, functions=self._functions, largest=largest)

        if self._is_plain:
            block, count = made(self._plain)
            self._is_plain = self._has_no_quotes(block, count)
            if self._is_plain:
                return block, count
        block, count = made(self._quoted)
        self._is_plain = self._plain != self._quoted and b'"' not in block
        return block, count

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        statement = self._table.page(self._columns, selection, (), limit=None)
        return sqlite_blocks.each(connection, self._quoted, statement, functions=self._functions)

    def _has_no_quotes(self, block: bytes, rows: int) -> bool:
        """Whether no cell has a character that must be quoted."""
        return (
            b'"' not in block
            and block.count(b",") == rows * self._commas
            and block.count(b"\r\n") == block.count(b"\n") == block.count(b"\r") == rows
        )


def _line(cells: list[str]) -> str:
    """An expression of SQLite: cells with commas between them, and the end of the line."""
    parts = []
    for start in range(0, len(cells), sqlite_blocks.MOST_ARGUMENTS):
        some = cells[start : start + sqlite_blocks.MOST_ARGUMENTS]
        parts.append(f"printf('{','.join(['%s'] * len(some))}', {', '.join(some)})")
    return " || ',' || ".join(parts) + " || '\r\n'"


class _PostgresqlCsv:
    """PostgreSQL writes CSV; what differs is the end of a line, and that an empty text is quoted unless it is null."""

    def __init__(self, table: SqlTable, dataset: Dataset, is_raw: bool, provenance: bool) -> None:
        """Raises NotInSqlError."""
        cells = PostgresqlCells(table, dataset.schema, is_raw=is_raw)
        expressions = [cells.expression(field) for field in dataset.schema.fields]
        expressions += [table.identifier(name) for name in OWN_COLUMNS] if provenance else []
        if len(expressions) == 1:  # a line that is one empty cell has rules of its own
            raise NotInSqlError
        self._head = _head(dataset, is_raw, provenance)
        self._table = table
        self._columns = ", ".join(expressions)
        self._null = table.literal("" if cells.blank else _NEVER)

    def head(self) -> bytes:
        return self._head

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement, values = self._copy(selection, place, rows)
        block, count = copying.text(connection, statement, values, largest=largest)
        return _with_returns(block, count), count

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        for piece, rows in copying.pieces(connection, *self._copy(selection, [], None)):
            yield _with_returns(piece, rows)

    def _copy(self, selection: Selection, place: list[Any], rows: int | None) -> Statement:
        select, values = self._table.page(self._columns, selection, place, limit=rows)
        return f"COPY ({select}) TO STDOUT (FORMAT csv, NULL {self._null}, ENCODING 'UTF8')", values


def _with_returns(block: bytearray, rows: int) -> bytes:
    """CSV whose lines end with a carriage return and a line feed instead of a line feed."""
    if block.count(b"\n") == rows:
        return bytes(block.replace(b"\n", b"\r\n"))
    parts = block.split(b'"')
    parts[::2] = [part.replace(b"\n", b"\r\n") for part in parts[::2]]  # outside of quotes
    return b'"'.join(parts)


class _PythonCsv:
    """Spells each cell here, where PostgreSQL cannot."""

    def __init__(self, dataset: Dataset, is_raw: bool, provenance: bool) -> None:
        self._dataset = dataset
        self._is_raw = is_raw
        self._provenance = provenance
        self._spell = [partial(format_value, dataset.schema, field) for field in dataset.schema.fields]

    def head(self) -> bytes:
        return _head(self._dataset, self._is_raw, self._provenance)

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement, values = self._dataset.table(connection.dialect).rows(selection, place, rows)
        found: list[list[str]] = []
        size = 0
        for row in row_reader.one_by_one(connection, statement, *values):
            found.append(self._cells(tuple(row)))
            size += sum(map(len, found[-1]))
            if largest is not None and size > largest:
                raise BlockTooLargeError
        return csv_text.lines(found), len(found)

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        statement, values = self._dataset.table(connection.dialect).rows(selection, (), None)
        for row in row_reader.one_by_one(connection, statement, *values):
            yield csv_text.lines([self._cells(tuple(row))])

    def _cells(self, row: tuple[Any, ...]) -> list[str]:
        own, values = row[: len(OWN_COLUMNS)], row[len(OWN_COLUMNS) :]
        cells = [spell(value) for spell, value in zip(self._spell, values, strict=True)]
        if not self._is_raw:
            cells = [escape_formula(cell) for cell in cells]
        return [*cells, *map(str, own)] if self._provenance else cells
