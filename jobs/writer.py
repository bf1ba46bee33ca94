"""Good rows → their dataset's table, in the caller's transaction, as columns: no Python object a cell is made."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.errors import UnreadableFileError

#: What PostgreSQL calls a row that does not fit: https://www.postgresql.org/docs/current/errcodes-appendix.html. Known
#: by its code, for psycopg is not installed everywhere.
PROGRAM_LIMIT_EXCEEDED = "54000"


def write(connection: sa.Connection, dataset: Dataset, upload_id: int, rows: pd.DataFrame) -> None:
    """rows: one column a field in its type, index = row number."""
    if rows.empty:
        return
    batch = _batch(upload_id, rows)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.insert(str(sa.insert(dataset.table).compile(dialect=connection.dialect)), _without_booleans(batch))
    else:
        _copy(driver, connection.dialect.identifier_preparer.format_table(dataset.table), batch)


def _batch(upload_id: int, rows: pd.DataFrame) -> pa.RecordBatch:
    columns = [rows[name].array.__arrow_array__() for name in rows.columns]
    flat = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    ids = pa.repeat(pa.scalar(upload_id, pa.int64()), len(rows))
    numbers = pa.array(rows.index.to_numpy(), pa.int64())
    return pa.RecordBatch.from_arrays([ids, numbers, *flat], [str(n) for n in range(len(flat) + 2)])


def _without_booleans(batch: pa.RecordBatch) -> pa.RecordBatch:
    """SQLite has none: 1 and 0 stand for them."""
    columns = [pc.cast(column, pa.int64()) if pa.types.is_boolean(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _copy(driver: Any, table: str, batch: pa.RecordBatch) -> None:
    """PostgreSQL's COPY of Arrow's own CSV: missing values are unquoted and empty, and there is no empty text."""
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(batch, sink, pa_csv.WriteOptions(include_header=False))
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
            copy.write(memoryview(sink.getvalue()))
    except Exception as error:
        if getattr(error, "sqlstate", "") == PROGRAM_LIMIT_EXCEEDED:
            raise UnreadableFileError(
                "The file is too wide for PostgreSQL: the many short cells of a row take more than the 8,160 bytes that"
                " it keeps together. Split the file into several with fewer columns each."
            ) from error
        raise
