"""Writes columns into a table, in the caller's transaction, without creating a Python object for each cell.

`pack` does the CPU-bound part. It may run before the transaction begins, and in another thread.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import sqlalchemy as sa

from jobs.rows.sql_table import SqlTable

try:
    import pgpq
except ImportError:  # there are no wheels for some platforms
    pgpq = None  # type: ignore[assignment]  # checked before it is used


#: The end of PostgreSQL's binary format (https://www.postgresql.org/docs/current/sql-copy.html).
_TRAILER = b"\xff\xff"


@dataclass(frozen=True)
class Packed:
    """Rows in the form that a database driver takes.

    batch: the columns of a table, in its order. copied: the same rows as PostgreSQL's COPY reads them; None for SQLite.
    """

    batch: pa.RecordBatch
    copied: "Copied | None" = None

    def __len__(self) -> int:
        return int(self.batch.num_rows)


class Copied(NamedTuple):
    """What COPY reads. format: "csv" or "binary". head, end: what is before the first rows and behind the last ones.
    rows: in pieces."""

    format: str
    head: bytes
    rows: Sequence[bytes | memoryview]
    end: bytes


def pack(table: SqlTable, batch: pa.RecordBatch) -> Packed:
    """Convert rows to the form that the driver takes. batch: the table's columns, in order; dates as ISO text."""
    if table.is_sqlite:
        return Packed(_without_booleans(batch))
    return Packed(batch, _csv(batch) if pgpq is None else _binary(table, batch))


def _csv(batch: pa.RecordBatch) -> Copied:
    """CSV as COPY expects it: missing values are empty and unquoted, text is quoted."""
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(batch, sink, pa_csv.WriteOptions(include_header=False))
    return Copied("csv", b"", [memoryview(sink.getvalue())], b"")


def _binary(table: SqlTable, batch: pa.RecordBatch) -> Copied:
    """PostgreSQL's binary format: COPY takes 0.7 of the time it takes with CSV, and encoding takes half."""
    arrays = [_typed(kind, array) for kind, array in zip(table.columns.values(), batch.columns, strict=True)]
    typed = pa.RecordBatch.from_arrays(arrays, [str(number) for number in range(len(arrays))])
    encoder = pgpq.ArrowToPostgresBinaryEncoder(typed.schema)
    head, most, rest = encoder.write_header(), encoder.write_batch(typed), encoder.finish()
    return Copied("binary", head, [most, rest.removesuffix(_TRAILER)], _TRAILER)


def _typed(kind: sa.types.TypeEngine[Any], array: pa.Array) -> pa.Array:
    if isinstance(kind, sa.DateTime):
        return pc.cast(array, pa.timestamp("us", tz="UTC" if kind.timezone else None))
    if isinstance(kind, sa.Date):
        return pc.cast(array, pa.date32())
    if isinstance(kind, sa.Time):  # Arrow casts a time only as part of a timestamp
        moment = pc.binary_join_element_wise("1970-01-01T", array, "")
        return pc.cast(pc.cast(moment, pa.timestamp("us")), pa.time64("us"))
    return array


def add(connection: sa.Connection, table: SqlTable, packed: Packed) -> None:
    """Insert rows. A row that violates a constraint of the table raises the driver's error."""
    if packed.copied is None:
        insert(connection, table.insertion(), packed.batch)
        return
    with Copy(connection, table) as copy:
        copy.add(packed.copied)


class Copy:
    """One COPY of PostgreSQL's into a table, for the rows of several batches. The connection does nothing else until it
    ends, at the end of the block at the latest. If that raises an error, the rows of the present COPY are dropped."""

    def __init__(self, connection: sa.Connection, table: SqlTable) -> None:
        self._driver: Any = connection.connection.driver_connection
        self._table = table
        self._blocks = ExitStack()
        self._copy: Any = None
        self._end = b""

    def add(self, copied: Copied) -> None:
        """copied: in the format of those before it."""
        if self._copy is None:
            cursor = self._blocks.enter_context(self._driver.cursor())
            self._copy = self._blocks.enter_context(cursor.copy(self._table.copying(copied.format)))
            self._copy.write(copied.head)
        for piece in copied.rows:
            self._copy.write(piece)
        self._end = copied.end

    def end(self) -> None:
        """Wait until all rows are inserted. Raises the driver's error if one violates a constraint of the table."""
        copy, self._copy = self._copy, None
        with self._blocks:
            if copy is not None:
                copy.write(self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self._blocks.__exit__(kind, error, trace)


def insert(connection: sa.Connection, statement: str, batch: pa.RecordBatch) -> int:
    """On SQLite, execute a statement for each row. Its parameters are the columns, in order. Returns how many rows of
    the table it inserted or changed."""
    driver: Any = connection.connection.driver_connection
    if not batch.num_rows:
        return 0
    if connection.dialect.driver == "adbc":
        return int(driver.insert(statement, batch))
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return int(driver.executemany(statement, rows).rowcount)


def whole_numbers(connection: sa.Connection, statement: str, names: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """The result of a SELECT whose columns have these names, are whole numbers and never null, as columns."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.driver == "adbc":
        return [each.to_numpy().astype(np.int64, copy=False) for each in driver.query(statement).columns]
    if connection.dialect.name == "sqlite":
        found = np.array(driver.execute(statement).fetchall(), dtype=np.int64).reshape(-1, len(names))
        return list(found.T)
    return whole_numbers_counted(connection, statement, names)[1]


def whole_numbers_counted(
    connection: sa.Connection, statement: str, names: Sequence[str]
) -> tuple[int, list[npt.NDArray[np.int64]]]:
    """On PostgreSQL, how many rows a SELECT has, and of those that have no null the same as `whole_numbers`."""
    driver: Any = connection.connection.driver_connection
    # One value has all rows, so that no Python object is made of each.
    packed = " || ".join(f"int8send({name})" for name in names)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(f"SELECT count(*), string_agg({packed}, ''::bytea) FROM ({statement}) AS found", ())
        count, data = cursor.fetchone()
    numbers = np.frombuffer(data or b"", ">i8").astype(np.int64).reshape(-1, len(names))
    return int(count), list(numbers.T)


def whole_numbers_of_each(
    connection: sa.Connection, statement: str, batch: pa.RecordBatch, names: Sequence[str]
) -> list[npt.NDArray[np.int64]]:
    """On SQLite, what `whole_numbers` returns for all rows together, whose columns are the parameters, in order."""
    driver: Any = connection.connection.driver_connection
    if not batch.num_rows:  # the ADBC driver ends the process if a SELECT has parameters for no row
        return [np.zeros(0, np.int64) for _ in names]
    if connection.dialect.driver == "adbc":
        found = driver.query(statement, batch)
        return [each.to_numpy().astype(np.int64, copy=False) for each in found.columns]
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    numbers = [each for row in rows for each in driver.execute(statement, row).fetchall()]
    return list(np.array(numbers, dtype=np.int64).reshape(-1, len(names)).T)


def _without_booleans(batch: pa.RecordBatch) -> pa.RecordBatch:
    """SQLite has no booleans: store 1 and 0."""
    columns = [pc.cast(column, pa.int64()) if pa.types.is_boolean(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
