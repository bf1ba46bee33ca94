"""Rows as a Parquet file, in row groups of bounded size."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.export import typed_rows
from jobs.rows.selection import Selection

#: Rows of a group, and characters of its texts: a group is in memory until it is written.
GROUP_ROWS, GROUP_CHARACTERS = 20_000, 1 << 22
_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("us"),
}


def write(
    connection: sa.Connection, dataset: Dataset, selection: Selection, file: BinaryIO, *, provenance: bool
) -> None:
    schema = _schema(dataset, provenance)
    rows = typed_rows.rows(connection, dataset, selection, provenance=provenance)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = zip(*group, strict=True)
            arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _schema(dataset: Dataset, provenance: bool) -> pa.Schema:
    return pa.schema(
        [
            (name, pa.timestamp("us", tz="UTC" if typed_rows.is_in_utc(dataset, name) else None))
            if type_ == "datetime"
            else (name, _TYPES[type_])
            for name, type_ in typed_rows.columns(dataset, provenance=provenance)
        ]
    )


def _groups(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    group: list[list[Any]] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += sum(len(value) for value in row if type(value) is str)
        if len(group) == GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
