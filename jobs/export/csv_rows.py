"""Rows as CSV in UTF-8, as csv.writer writes it, with values spelled as in the file that they came from."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import sqlalchemy as sa

from jobs.corrections import escape_formula, escape_formulas
from jobs.datasets import Dataset
from jobs.export import copying, csv_text
from jobs.export.blocks import BlockTooLargeError, RowFormat
from jobs.export.postgresql_cells import NotInSqlError, PostgresqlCells
from jobs.export.sqlite_cells import SqliteCells
from jobs.export.sqlite_lines import MOST_ARGUMENTS, Columns, Lines
from jobs.rows import reader as row_reader
from jobs.rows.selection import Selection
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import SqlTable, Statement
from jobs.schema import OWN_COLUMNS

#: Rows that are kept as cells until they become text: a million cells of one digit take 150 MB.
LINES_AT_ONCE = 1_000


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
    quotes if it has another number of commas and ends of lines than it would have without such cells. Likewise formulas
    are escaped at the beginnings of cells only, unless the block may have one after a separator."""

    def __init__(self, table: SqlTable, dataset: Dataset, is_raw: bool, provenance: bool) -> None:
        fields = dataset.schema.fields
        columns = Columns(table, [*dataset.schema.names, *(OWN_COLUMNS if provenance else ())])
        cells = SqliteCells(table, dataset.schema, is_raw)

        def lines(*, is_plain: bool) -> Lines:
            found = [
                cells.expression(field, value, is_plain=is_plain)
                for field, value in zip(fields, columns.values, strict=False)
            ]
            found += columns.values[len(fields) :]
            line = _line([cells.alone(found[0])] if len(found) == 1 else found)
            return Lines(columns, line, cells.functions)

        self._head = _head(dataset, is_raw, provenance)
        self._is_raw = is_raw
        self._commas = len(columns.values) - 1
        self._plain, self._quoted = lines(is_plain=True), lines(is_plain=False)
        self._is_plain = self._may_be_plain = self._plain != self._quoted

    def head(self) -> bytes:
        return self._head

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        if self._is_plain:
            block, count = self._plain.block(connection, selection, place, rows, largest=largest)
            if self._is_as_it_should_be(block, count):
                return block, count
        block, count = self._quoted.block(connection, selection, place, rows, largest=largest)
        self._is_plain = self._may_be_plain and self._is_as_it_should_be(block, count)
        return block, count

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        return self._quoted.each(connection, selection)

    def _is_as_it_should_be(self, block: bytes, rows: int) -> bool:
        """Whether no cell has a character that must be quoted, nor a formula that must be escaped after another one."""
        return (
            b'"' not in block
            and block.count(b"\n") == block.count(b"\r") == rows
            and block.count(b",") == rows * self._commas
            and (self._is_raw or not csv_text.may_separate_formulas(block))
        )


def _line(cells: list[str]) -> str:
    """An expression of SQLite: cells with commas between them, and the end of the line."""
    parts = []
    for start in range(0, len(cells), MOST_ARGUMENTS):
        some = cells[start : start + MOST_ARGUMENTS]
        parts.append(f"printf('{','.join(['%s'] * len(some))}', {', '.join(some)})")
    return " || ',' || ".join(parts) + " || '\r\n'"


class _PostgresqlCsv:
    """PostgreSQL writes CSV; what differs is the end of a line, and that an empty text is quoted unless it is null. To
    make empty texts null takes time, so a block is made again for it only if it has two quotes side by side; likewise
    if formulas may be somewhere else than at the beginning of a cell."""

    def __init__(self, table: SqlTable, dataset: Dataset, is_raw: bool, provenance: bool) -> None:
        """Raises NotInSqlError."""

        def copied(*, is_exact: bool) -> tuple[str, str]:
            cells = PostgresqlCells(table, dataset.schema, is_raw=is_raw, is_exact=is_exact)
            expressions = [cells.expression(field) for field in dataset.schema.fields]
            expressions += [table.identifier(name) for name in OWN_COLUMNS] if provenance else []
            if len(expressions) == 1:  # a line that is one empty cell has rules of its own
                raise NotInSqlError
            return ", ".join(expressions), cells.null

        self._head = _head(dataset, is_raw, provenance)
        self._is_raw = is_raw
        self._table = table
        self._usual, self._exact = copied(is_exact=False), copied(is_exact=True)
        self._is_usual = self._usual != self._exact

    def head(self) -> bytes:
        return self._head

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        def made(columns: tuple[str, str]) -> tuple[bytes, int]:
            statement, values = self._copy(columns, selection, place, rows)
            return copying.text(connection, statement, values, largest=largest, finish=_with_returns)

        if self._is_usual:
            block, count = made(self._usual)
            if self._is_as_it_should_be(block, count):
                return block, count
        block, count = made(self._exact)
        self._is_usual = self._usual != self._exact and self._is_as_it_should_be(block, count)
        return block, count

    def _is_as_it_should_be(self, block: bytes, rows: int) -> bool:
        if _has_two_quotes(block):
            return False
        if self._is_raw:
            return True
        return block.count(b"\n") == block.count(b"\r") == rows and not csv_text.may_separate_formulas(block)

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        for piece, rows in copying.pieces(connection, *self._copy(self._exact, selection, [], None)):
            yield _with_returns(piece, rows)

    def _copy(self, columns: tuple[str, str], selection: Selection, place: list[Any], rows: int | None) -> Statement:
        expressions, null = columns
        select, values = self._table.page(expressions, selection, place, limit=rows)
        return f"COPY ({select}) TO STDOUT (FORMAT csv, NULL {null}, ENCODING 'UTF8')", values


def _has_two_quotes(block: bytes) -> bool:
    """Side by side. To look for one first takes a tenth of the time."""
    return b'"' in block and b'""' in block


def _with_returns(block: bytearray, rows: int) -> bytes:
    """CSV whose lines end with a carriage return and a line feed instead of a line feed."""
    found = bytes(block)
    if found.count(b"\n") == rows:
        return found.replace(b"\n", b"\r\n")
    parts = found.split(b'"')
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
        text, waiting, count, size = bytearray(), list[list[str]](), 0, 0
        for row in row_reader.one_by_one(connection, statement, *values):
            waiting.append(self._cells(tuple(row)))
            count += 1
            size += sum(map(len, waiting[-1]))
            if largest is not None and size > largest:
                raise BlockTooLargeError
            if len(waiting) == LINES_AT_ONCE:
                text += csv_text.lines(waiting)
                waiting.clear()
        return bytes(text + csv_text.lines(waiting)), count

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        statement, values = self._dataset.table(connection.dialect).rows(selection, (), None)
        for row in row_reader.one_by_one(connection, statement, *values):
            yield csv_text.lines([self._cells(tuple(row))])

    def _cells(self, row: tuple[Any, ...]) -> list[str]:
        own, values = row[: len(OWN_COLUMNS)], row[len(OWN_COLUMNS) :]
        cells = [spell(value) for spell, value in zip(self._spell, values, strict=True)]
        if not self._is_raw:
            cells = escape_formulas(cells)
        return [*cells, *map(str, own)] if self._provenance else cells
