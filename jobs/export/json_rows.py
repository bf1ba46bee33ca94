"""Rows as JSON lines: an object a row. Numbers and booleans are such, dates and times ISO 8601, no value is null."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.export import copying
from jobs.export.blocks import RowFormat
from jobs.export.postgresql_cells import iso_moment
from jobs.export.sqlite_lines import MOST_ARGUMENTS, Columns, Lines
from jobs.rows.selection import Selection
from jobs.rows.sql_table import SqlTable, Statement
from jobs.schema import OWN_COLUMNS, SchemaField

#: Fields of an object that one call of `json_object` makes.
_FIELDS = MOST_ARGUMENTS // 2
#: Values of one call of `format`, which may have 100 arguments.
_ARGUMENTS = 99
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
        columns = Columns(table, names)
        values = [_value(field, value) for field, value in zip(fields, columns.values, strict=False)]
        values += columns.values[len(fields) :]
        pairs = [f"{table.literal(name)}, {value}" for name, value in zip(names, values, strict=True)]
        objects = [f"json_object({', '.join(pairs[n : n + _FIELDS])})" for n in range(0, len(pairs), _FIELDS)]
        members = " || ',' || ".join(f"rtrim(ltrim({each}, '{{'), '}}')" for each in objects)
        line = f"{objects[0]} || '\n'" if len(objects) == 1 else f"'{{' || {members} || '}}\n'"
        self._lines = Lines(columns, line)

    def head(self) -> bytes:
        return b""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        return self._lines.block(connection, selection, place, rows, largest=largest)

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        return self._lines.each(connection, selection)


def _value(field: SchemaField, value: str) -> str:
    if field.type == "boolean":
        return f"json(CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return value


class _PostgresqlJson:
    """The same bytes as those of `row_to_json`, which looks up the type of each value anew."""

    def __init__(self, table: SqlTable, dataset: Dataset, provenance: bool) -> None:
        self._table = table
        fields = dataset.schema.fields
        names = [field.name for field in fields] + (list(OWN_COLUMNS) if provenance else [])
        values = [_text(field, table.identifier(field.name)) for field in fields]
        values += map(table.identifier, OWN_COLUMNS) if provenance else []
        members = [
            _formatted(table, names[start : start + _ARGUMENTS], values[start : start + _ARGUMENTS])
            for start in range(0, len(names), _ARGUMENTS)
        ]
        self._line = "'{' || " + " || ',' || ".join(members) + " || '}'"

    def head(self) -> bytes:
        return b""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        statement, values = self._copy(selection, place, rows)
        return copying.text(connection, statement, values, largest=largest)

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        return (bytes(piece) for piece, _ in copying.pieces(connection, *self._copy(selection, [], None)))

    def _copy(self, selection: Selection, place: list[Any], rows: int | None) -> Statement:
        select, values = self._table.page(self._line, selection, place, limit=rows)
        return f"COPY ({select}) TO STDOUT {_COPY_OPTIONS}", values


def _formatted(table: SqlTable, names: list[str], values: list[str]) -> str:
    """The members of an object."""
    template = ",".join(json.dumps(name, ensure_ascii=False).replace("%", "%%") + ":%s" for name in names)
    return f"format({table.literal(template)}, {', '.join(values)})"


def _text(field: SchemaField, value: str) -> str:
    """A value of PostgreSQL as JSON text."""
    if field.type == "string":
        text = f"to_json({value})::text"
    elif field.type in ("integer", "number", "boolean"):
        text = f"{value}::text"
    else:
        text = f"""'"' || ({iso_moment(field, value)}) || '"'"""
    return f"coalesce({text}, 'null')"
