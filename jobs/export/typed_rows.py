"""Rows with typed values, for formats that have types."""

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.rows import reader as row_reader
from jobs.rows.selection import Selection
from jobs.rows.spelling import TEMPORAL
from jobs.schema import OWN_COLUMNS, SchemaField, Type

#: A column of an exported file: its name, and the type of its values.
Column = tuple[str, Type]


def columns(dataset: Dataset, *, provenance: bool) -> list[Column]:
    own: list[Column] = [(name, "integer") for name in OWN_COLUMNS] if provenance else []
    return [*((field.name, field.type) for field in dataset.schema.fields), *own]


def rows(connection: sa.Connection, dataset: Dataset, selection: Selection, *, provenance: bool) -> Iterator[list[Any]]:
    """Rows in the order of a selection; no more than a few are in memory."""
    table = dataset.table(connection.dialect)
    read = [_reader(field, is_sqlite=table.is_sqlite) for field in dataset.schema.fields]
    statement, values = table.rows(selection, (), None)
    for row in row_reader.one_by_one(connection, statement, *values):
        own, stored = row[: len(OWN_COLUMNS)], row[len(OWN_COLUMNS) :]
        found = [
            value if value is None or reader is None else reader(value)
            for reader, value in zip(read, stored, strict=True)
        ]
        yield [*found, *own] if provenance else found


def _reader(field: SchemaField, *, is_sqlite: bool) -> Callable[[Any], Any] | None:
    """Makes a value of what the driver returns; None: it is one."""
    if not is_sqlite:
        return None
    if field.type == "boolean":
        return bool
    return TEMPORAL[field.type].fromisoformat if field.type in TEMPORAL else None


def is_in_utc(dataset: Dataset, name: str) -> bool:
    """Whether the moments of a column have a time zone."""
    return any(field.is_in_utc for field in dataset.schema.fields if field.name == name)
