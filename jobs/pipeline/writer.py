"""Writes valid rows into their dataset's table, in the caller's transaction, as columns (see columns.py).

Unique indexes of the database enforce keys and unique values. If an earlier or a concurrent import has written a row's
key, the writer returns this row with its reason and writes the others.
"""

from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from jobs.datasets import Dataset, Mode
from jobs.errors import DatabaseBusyError, UnreadableFileError
from jobs.failed_rows import Reason
from jobs.pipeline import columns
from jobs.pipeline.columns import Packed
from jobs.schema import OWN_COLUMNS
from jobs.sql_table import IGNORING, SqlTable, run

_, ROW_NUMBER = OWN_COLUMNS
#: Row number → the reasons why the row was not written.
Collisions = dict[int, list[Reason]]

#: PostgreSQL's error codes (https://www.postgresql.org/docs/current/errcodes-appendix.html): a key exists, two imports
#: wait for each other, a row is too large. Not psycopg's exceptions, because psycopg is not always installed.
UNIQUE_VIOLATION, DEADLOCK_DETECTED, PROGRAM_LIMIT_EXCEEDED = "23505", "40P01", "54000"

#: Attempts to write a chunk while other imports write the same keys between the check and the write.
ATTEMPTS = 10


class Writer(Protocol):
    """Writes one upload into one dataset."""

    def pack(self, rows: pd.DataFrame) -> Packed:
        """Convert rows for the driver, in any thread. rows: one typed column for each field, index = row number."""
        ...

    def write(self, connection: sa.Connection, rows: Packed) -> Collisions:
        """Write the rows, except those whose key or unique value exists, which are returned."""
        ...


def writer_for(dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> Writer:
    writer = SqliteWriter if dialect.name == "sqlite" else PostgresWriter
    return writer(dialect, dataset, upload_id)


class _Keys:
    """The key of a dataset and its unique fields.

    upserted: the key, if rows replace others with the same key. guarded: keys and unique fields whose repetition fails
    a row.
    """

    def __init__(self, dataset: Dataset) -> None:
        schema = dataset.schema
        unique = [[each.name] for each in schema.fields if each.constraints.unique]
        self.upserted = schema.primary_key if dataset.mode is Mode.UPSERT else []
        self.guarded = unique if self.upserted or not schema.primary_key else [schema.primary_key, *unique]
        self.identify = bool(self.guarded or self.upserted)

    def collisions(self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int) -> Collisions:
        """Staged rows whose key or unique value another row of the table has, by row number."""
        found: Collisions = {}
        for names in self.guarded:
            query = table.collisions(staged, names, upload_id=upload_id, key=self.upserted)
            column = names[0] if len(names) == 1 else None
            rule = "is already in the dataset" if column else f"has the same {', '.join(names)} as a row in the dataset"
            for number, by_upload, by_row in map(tuple, run(connection, query)):
                reason = Reason(column, rule, detail=f"upload #{by_upload}, row {by_row:,}")
                found.setdefault(number, []).append(reason)
        return found

    def on_conflict(self, table: SqlTable) -> str:
        """What an INSERT does with a row whose key exists."""
        if self.upserted:
            return table.replacing(self.upserted)
        return IGNORING if self.guarded else ""


class SqliteWriter:
    """SQLite has one writer at a time, so no key can appear between the check and the write."""

    def __init__(self, dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> None:
        self._table = dataset.table(dialect)
        self._keys = _Keys(dataset)
        self._upload_id = upload_id
        names = dict.fromkeys(name for each in [*self._keys.guarded, self._keys.upserted] for name in each)
        staged = {name: self._table.columns[name] for name in (ROW_NUMBER, *names)}
        self._staged = SqlTable(dialect, _staged_name(upload_id), staged)
        self._insertion = self._table.insertion(on_conflict=self._keys.on_conflict(self._table))

    def pack(self, rows: pd.DataFrame) -> Packed:
        return columns.pack(self._table, _batch(self._upload_id, rows))

    def write(self, connection: sa.Connection, rows: Packed) -> Collisions:
        batch = rows.batch
        if self._keys.upserted and self._keys.guarded:
            collisions = self._find_collisions(connection, batch)
            batch = _without(batch, collisions)
            self._execute(connection, batch)
            return collisions
        inserted = self._execute(connection, batch)
        return {} if inserted == batch.num_rows else self._find_collisions(connection, batch)

    def _execute(self, connection: sa.Connection, batch: pa.RecordBatch) -> int:
        """Insert rows. Returns how many were inserted or updated."""
        before = connection.scalar(sa.select(sa.func.total_changes()))
        columns.insert(connection, self._insertion, batch)
        after = connection.scalar(sa.select(sa.func.total_changes()))
        return int(after or 0) - int(before or 0)

    def _find_collisions(self, connection: sa.Connection, batch: pa.RecordBatch) -> Collisions:
        run(connection, self._staged.creation(temporary=True))
        run(connection, self._staged.emptying())
        columns.insert(connection, self._staged.insertion(), batch.select(list(self._staged.columns)))
        return self._keys.collisions(connection, self._table, self._staged, self._upload_id)


class PostgresWriter:
    """COPY directly into the table until the first key that exists, from then on through a staging table.

    Two imports may write the same keys concurrently. Each waits until the other's transaction ends. Rows are sorted by
    key, so that waits go in one direction; the victim of a deadlock writes the rows of its chunk again.
    """

    def __init__(self, dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> None:
        self._table = dataset.table(dialect)
        self._keys = _Keys(dataset)
        self._upload_id = upload_id
        self._staged = SqlTable(dialect, _staged_name(upload_id), self._table.columns)
        self._insertion = self._table.insertion_from(self._staged, on_conflict=self._keys.on_conflict(self._table))
        self._through_staging = False

    def pack(self, rows: pd.DataFrame) -> Packed:
        return columns.pack(self._table, _batch(self._upload_id, rows))

    def write(self, connection: sa.Connection, rows: Packed) -> Collisions:
        if not self._through_staging:
            try:
                with connection.begin_nested():
                    columns.add(connection, self._table, rows)
                return {}
            except Exception as error:
                _check_is_collision(error, self._keys)
                self._through_staging = True
        run(connection, self._staged.creation(temporary=True))
        for _ in range(ATTEMPTS):
            try:
                with connection.begin_nested():
                    return self._stage(connection, rows)
            except Exception as error:
                _check_is_collision(error, self._keys)
        raise DatabaseBusyError("Other imports into the same dataset kept writing the same keys.")

    def _stage(self, connection: sa.Connection, rows: Packed) -> Collisions:
        run(connection, self._staged.emptying())  # usually empty already: a commit deletes its rows
        columns.add(connection, self._staged, rows)
        collisions: Collisions = {}
        if self._keys.upserted and self._keys.guarded:
            collisions = self._keys.collisions(connection, self._table, self._staged, self._upload_id)
            run(connection, self._staged.deletion(), list(collisions))
        inserted = run(connection, self._insertion).rowcount
        if not self._keys.upserted and inserted < len(rows):
            collisions = self._keys.collisions(connection, self._table, self._staged, self._upload_id)
        return collisions


def _check_is_collision(error: Exception, keys: _Keys) -> None:
    """Raises the error, or a sentence for people, unless another import wrote the same keys.

    In a dataset without keys, a unique violation means that a row was written twice. That is a bug, so it is raised.
    """
    code = getattr(getattr(error, "orig", error), "sqlstate", None)
    if code == PROGRAM_LIMIT_EXCEEDED:
        raise UnreadableFileError(
            "The file has too many columns for PostgreSQL: the short cells of a row need more than 8,160 bytes, the"
            " limit of a row. Split the file into several files with fewer columns."
        ) from error
    if code not in (UNIQUE_VIOLATION, DEADLOCK_DETECTED) or (code == UNIQUE_VIOLATION and not keys.identify):
        raise error


def _staged_name(upload_id: int) -> str:
    """Each upload has a staging table of its own: a connection may serve several uploads."""
    return f"_incoming_{upload_id}"


def _batch(upload_id: int, rows: pd.DataFrame) -> pa.RecordBatch:
    """The rows as columns of the table, in order and by name."""
    arrays = [rows[name].array.__arrow_array__() for name in rows.columns]
    flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    ids = pa.repeat(pa.scalar(upload_id, pa.int64()), len(rows))
    numbers = pa.array(rows.index.to_numpy(), pa.int64())
    return pa.RecordBatch.from_arrays([ids, numbers, *flat], ["_upload_id", "_row_number", *rows.columns])


def _without(batch: pa.RecordBatch, collisions: Collisions) -> pa.RecordBatch:
    collided = pc.is_in(batch.column("_row_number"), value_set=pa.array(list(collisions), pa.int64()))
    return batch.filter(pc.invert(collided)) if collisions else batch
