"""Columns → rows of a table, in the caller's transaction, as each driver takes them: no Python object a cell is made.

What costs the processor, `pack`, may be done before the transaction begins, and in another thread.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import sqlalchemy as sa


@dataclass(frozen=True)
class Packed:
    """batch: columns of a table, by name and in order. csv: the same as PostgreSQL's COPY reads it, where that is."""

    batch: pa.RecordBatch
    csv: pa.Buffer | None

    def __len__(self) -> int:
        return int(self.batch.num_rows)


def pack(dialect: sa.Dialect, batch: pa.RecordBatch) -> Packed:
    if dialect.name == "sqlite":
        return Packed(_without_booleans(batch), None)
    sink = pa.BufferOutputStream()
    # Missing values are unquoted and empty, text is quoted: as COPY wants it.
    pa_csv.write_csv(batch, sink, pa_csv.WriteOptions(include_header=False))
    return Packed(batch, sink.getvalue())


def add(connection: sa.Connection, table: sa.Table, packed: Packed) -> None:
    """Plainly: a row that breaks a rule of the table is an error."""
    if packed.csv is None:
        insert(connection, sa.insert(table), packed.batch)
    else:
        _copy(connection, table, packed.csv)


def insert(connection: sa.Connection, statement: sa.Insert, batch: pa.RecordBatch) -> None:
    """On SQLite, run a statement for each row. Its parameters are the table's columns in order."""
    sql = str(statement.compile(dialect=connection.dialect, column_keys=batch.schema.names))
    driver: Any = connection.connection.driver_connection
    if connection.dialect.driver == "adbc":
        driver.insert(sql, batch)
    else:
        driver.executemany(sql, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _copy(connection: sa.Connection, table: sa.Table, csv: pa.Buffer) -> None:
    driver: Any = connection.connection.driver_connection
    name = connection.dialect.identifier_preparer.format_table(table)
    with driver.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(memoryview(csv))


def _without_booleans(batch: pa.RecordBatch) -> pa.RecordBatch:
    """SQLite has none: 1 and 0 stand for them."""
    columns = [pc.cast(column, pa.int64()) if pa.types.is_boolean(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
