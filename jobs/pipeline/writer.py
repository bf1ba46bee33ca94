"""Writes valid rows into their dataset's table, in the caller's transaction, as columns (see columns.py).

Unique indexes of the database enforce keys and unique values. If an earlier or a concurrent import has written a row's
key, the writer returns this row with its reason and writes the others.
"""

from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs.datasets import Dataset, Mode
from jobs.errors import DatabaseBusyError, UnreadableFileError
from jobs.failed_rows import Reason
from jobs.pipeline import columns
from jobs.pipeline.columns import Packed

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

    def collisions(self, connection: sa.Connection, table: sa.Table, staged: sa.Table, upload_id: int) -> Collisions:
        """Staged rows whose key or unique value another row of the table has, by row number."""
        found: Collisions = {}
        for names in self.guarded:
            same = sa.and_(*(table.c[name] == staged.c[name] for name in names))
            other = sa.or_(table.c["_upload_id"] != upload_id, table.c["_row_number"] != staged.c["_row_number"])
            if self.upserted:
                other = sa.or_(*(table.c[name] != staged.c[name] for name in self.upserted))
            query = sa.select(staged.c["_row_number"], table.c["_upload_id"], table.c["_row_number"])
            for number, by_upload, by_row in connection.execute(query.join_from(staged, table, same & other)):
                detail = f"upload #{by_upload}, row {by_row:,}"
                column = names[0] if len(names) == 1 else None
                rule = (
                    "is already in the dataset"
                    if column
                    else f"has the same {', '.join(names)} as a row in the dataset"
                )
                found.setdefault(number, []).append(Reason(column, rule, detail=detail))
        return found


class SqliteWriter:
    """SQLite has one writer at a time, so no key can appear between the check and the write."""

    def __init__(self, dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> None:
        self._dialect = dialect
        self._table = dataset.table
        self._keys = _Keys(dataset)
        self._upload_id = upload_id
        self._staged = sa.Table(
            "_incoming", sa.MetaData(), *_staged_columns(dataset, self._keys), prefixes=["TEMPORARY"]
        )
        insert = sqlite.insert(self._table)
        if self._keys.upserted:
            replaced = {name: insert.excluded[name] for name in _others(self._table, self._keys.upserted)}
            insert = insert.on_conflict_do_update(index_elements=self._keys.upserted, set_=replaced)
        elif self._keys.guarded:
            insert = insert.on_conflict_do_nothing()
        self._insert = insert

    def pack(self, rows: pd.DataFrame) -> Packed:
        return columns.pack(self._dialect, self._table, _batch(self._upload_id, rows))

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
        columns.insert(connection, self._insert, batch)
        after = connection.scalar(sa.select(sa.func.total_changes()))
        return int(after or 0) - int(before or 0)

    def _find_collisions(self, connection: sa.Connection, batch: pa.RecordBatch) -> Collisions:
        self._staged.create(connection, checkfirst=True)
        connection.execute(sa.delete(self._staged))
        keys = batch.select([column.name for column in self._staged.columns])
        columns.insert(connection, sa.insert(self._staged), keys)
        return self._keys.collisions(connection, self._table, self._staged, self._upload_id)


class PostgresWriter:
    """COPY directly into the table until the first key that exists, from then on through a staging table.

    Two imports may write the same keys concurrently. Each waits until the other's transaction ends. Rows are sorted by
    key, so that waits go in one direction; the victim of a deadlock writes the rows of its chunk again.
    """

    def __init__(self, dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> None:
        self._dialect = dialect
        self._table = dataset.table
        self._keys = _Keys(dataset)
        self._upload_id = upload_id
        self._staged = sa.Table(
            "_incoming",
            sa.MetaData(),
            *(sa.Column(column.name, column.type) for column in self._table.c),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DELETE ROWS",
        )
        ordered = sa.select(self._staged).order_by(*(self._staged.c[column.name] for column in self._table.primary_key))
        insert = postgresql.insert(self._table).from_select([column.name for column in self._table.columns], ordered)
        if self._keys.upserted:
            replaced = {name: insert.excluded[name] for name in _others(self._table, self._keys.upserted)}
            self._insert = insert.on_conflict_do_update(index_elements=self._keys.upserted, set_=replaced)
        else:
            self._insert = insert.on_conflict_do_nothing()
        self._through_staging = False

    def pack(self, rows: pd.DataFrame) -> Packed:
        return columns.pack(self._dialect, self._table, _batch(self._upload_id, rows))

    def write(self, connection: sa.Connection, rows: Packed) -> Collisions:
        if not self._through_staging:
            try:
                with connection.begin_nested():
                    columns.add(connection, self._table, rows)
                return {}
            except Exception as error:
                _check_is_collision(error, self._keys)
                self._through_staging = True
        self._staged.create(connection, checkfirst=True)
        for _ in range(ATTEMPTS):
            try:
                with connection.begin_nested():
                    return self._stage(connection, rows)
            except Exception as error:
                _check_is_collision(error, self._keys)
        raise DatabaseBusyError("Other imports into the same dataset kept writing the same keys.")

    def _stage(self, connection: sa.Connection, rows: Packed) -> Collisions:
        connection.execute(sa.delete(self._staged))  # usually empty already: a commit deletes its rows
        columns.add(connection, self._staged, rows)
        collisions: Collisions = {}
        if self._keys.upserted and self._keys.guarded:
            collisions = self._keys.collisions(connection, self._table, self._staged, self._upload_id)
            collided = self._staged.c["_row_number"].in_(collisions)
            connection.execute(sa.delete(self._staged).where(collided))
        inserted = connection.execute(self._insert).rowcount
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


def _others(table: sa.Table, key: list[str]) -> list[str]:
    return [column.name for column in table.columns if column.name not in key]


def _staged_columns(dataset: Dataset, keys: _Keys) -> list[sa.Column[Any]]:
    """The row number, and the columns of keys and unique fields."""
    table = dataset.table
    names = dict.fromkeys(name for each in [*keys.guarded, keys.upserted] for name in each)
    return [sa.Column(name, table.c[name].type) for name in ["_row_number", *names]]


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
