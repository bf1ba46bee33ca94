"""Writes valid rows into their dataset's table, in the caller's transaction, as columns (see columns.py).

Unique indexes of the database enforce keys and unique values. Rows end as if they were written one after another in the
file's order, whatever the size of the chunks (conflicts.py). The writer returns the rows that cannot be written because
of another row, with their reasons, and writes the others.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from jobs.datasets import Dataset, Mode
from jobs.errors import DatabaseBusyError, UnreadableFileError
from jobs.pipeline import columns, conflicts
from jobs.pipeline.columns import Packed
from jobs.pipeline.conflicts import Collisions, Competition, StoredRow, Upserted
from jobs.pipeline.parsing import Mask
from jobs.schema import OWN_COLUMNS
from jobs.sql_table import IGNORING, SqlTable, run

_, ROW_NUMBER = OWN_COLUMNS

#: PostgreSQL's error codes (https://www.postgresql.org/docs/current/errcodes-appendix.html): a key exists, two imports
#: wait for each other, a row is too large. Not psycopg's exceptions, because psycopg is not always installed.
UNIQUE_VIOLATION, DEADLOCK_DETECTED, PROGRAM_LIMIT_EXCEEDED = "23505", "40P01", "54000"

#: Attempts to write a chunk while other imports write the same keys between the check and the write.
ATTEMPTS = 10


@dataclass(frozen=True)
class PackedRows:
    """A chunk's valid rows, ready to be written.

    rows: one typed column for each field, index = row number. packed: the same rows for the driver; without those that
    a later row certainly replaces. repeats: whether some of them have the same key or unique value.
    """

    rows: pd.DataFrame
    packed: Packed
    repeats: bool


@dataclass(frozen=True)
class Written:
    """What became of a chunk's rows.

    collisions: rows that were not written, by row number, with the reasons. added: how many rows the table has more.
    """

    collisions: Collisions
    added: int


class Writer(Protocol):
    """Writes one upload into one dataset."""

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        """Convert rows for the driver, in any thread. rows: one typed column for each field, index = row number."""
        ...

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        """Write the rows, except those whose key or unique value another row has."""
        ...


def writer_for(
    dialect: sa.Dialect,
    dataset: Dataset,
    upload_id: int,
    filled: Collection[str] | None = None,
    *,
    table: SqlTable | None = None,
) -> Writer:
    """filled: the fields that a column of the file fills; a row that is replaced keeps its values in all others. None:
    all fields. table: into which the rows go; by default the dataset's own."""
    writer = SqliteWriter if dialect.name == "sqlite" else PostgresWriter
    names = dataset.schema.names if filled is None else filled
    return writer(dialect, dataset, upload_id, names, dataset.table(dialect) if table is None else table)


def competing(dataset: Dataset, filled: Collection[str]) -> list[list[str]]:
    """The columns by whose values together a row competes with stored ones: for each of them, some columns."""
    keys = _Keys(dataset, filled)
    return [*keys.guarded, *([keys.upserted] if keys.upserted else [])]


class _Keys:
    """The key of a dataset and its unique fields.

    upserted: the key, if rows replace others with the same key. guarded: keys and unique fields whose repetition fails
    a row. released: the guarded fields that change when a row is replaced.
    """

    def __init__(self, dataset: Dataset, filled: Collection[str]) -> None:
        schema = dataset.schema
        unique = [[each.name] for each in schema.fields if each.constraints.unique and each.name in filled]
        self._filled, self._names = {*filled, *OWN_COLUMNS}, schema.names
        self.upserted = schema.primary_key if dataset.mode is Mode.UPSERT else []
        self.guarded = unique if self.upserted or not schema.primary_key else [schema.primary_key, *unique]
        self.released = [name for (name,) in unique if name not in schema.primary_key] if self.upserted else []
        self.identify = bool(self.guarded or self.upserted)

    @property
    def compete(self) -> bool:
        """Whether a row that would replace another can fail because of a third one."""
        return bool(self.upserted and self.guarded)

    def pack(self, table: SqlTable, upload_id: int, rows: pd.DataFrame) -> PackedRows:
        written, repeats = rows, any(conflicts.repeated(rows, names).any() for names in self.guarded)
        if self.upserted and not self.guarded:
            superseded = conflicts.repeated(rows, self.upserted, keep="last")
            written = rows[~superseded] if superseded.any() else rows
        return PackedRows(rows, columns.pack(table, _batch(upload_id, written)), repeats)

    def collisions(self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int) -> Collisions:
        """Staged rows whose key or unique value another row of the table has, by row number."""
        found: Collisions = {}
        for names in self.guarded:
            for number, *other in map(tuple, run(connection, table.collisions(staged, names, upload_id=upload_id))):
                found.setdefault(number, []).append(conflicts.already_stored(names, StoredRow(*other)))
        return found

    def upsert(self, connection: sa.Connection, table: SqlTable, staged: SqlTable, rows: pd.DataFrame) -> Upserted:
        """What becomes of staged rows that replace others."""
        unique = [name for (name,) in self.guarded]
        found = [
            (place, number, StoredRow(*holder))
            for place, name in enumerate(unique)
            for number, *holder in map(tuple, run(connection, table.competitions(staged, name, key=self.upserted)))
        ]
        replaced = run(connection, table.replaced(staged, key=self.upserted)) if found else ()
        number_of = {StoredRow(*stored): number for *stored, number in map(tuple, replaced)}
        competitions = [Competition(*each, number_of.get(each[-1])) for each in found]
        return conflicts.upserted(rows, self.upserted, unique, competitions)

    @property
    def replace_whole_rows(self) -> bool:
        """Whether a row that replaces another keeps none of its values, and the key has one column."""
        return len(self.upserted) == 1 and self._filled.issuperset(self._names)

    def on_conflict(self, table: SqlTable) -> str:
        """What an INSERT does with a row whose key exists."""
        if self.upserted:
            return table.replacing(self.upserted, self._filled)
        return IGNORING if self.guarded else ""


class SqliteWriter:
    """SQLite has one writer at a time, so no key can appear between the check and the write."""

    def __init__(
        self, dialect: sa.Dialect, dataset: Dataset, upload_id: int, filled: Collection[str], table: SqlTable
    ) -> None:
        self._table = table
        self._keys = _Keys(dataset, filled)
        self._upload_id = upload_id
        names = dict.fromkeys(name for each in [*self._keys.guarded, self._keys.upserted] for name in each)
        staged = {name: self._table.columns[name] for name in (ROW_NUMBER, *names)}
        self._staged = SqlTable(dialect, _staged_name(upload_id), staged)
        self._insertion = self._table.insertion(on_conflict=self._keys.on_conflict(self._table))

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        return self._keys.pack(self._table, self._upload_id, rows)

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        batch = rows.packed.batch
        if self._keys.compete:
            self._stage(connection, batch)
            end = self._keys.upsert(connection, self._table, self._staged, rows.rows)
            self._release(connection, _only(batch, end.releasing))
            return Written(end.collisions, self._upsert(connection, batch.filter(pa.array(end.written))))
        if self._keys.upserted:
            return Written({}, self._upsert(connection, batch))
        if rows.repeats:
            collisions = conflicts.inserted(rows.rows, self._keys.guarded, self._find_collisions(connection, batch))
            return Written(collisions, self._execute(connection, _without(batch, collisions)))
        inserted = self._execute(connection, batch)
        return Written(self._find_collisions(connection, batch) if inserted < batch.num_rows else {}, inserted)

    def _upsert(self, connection: sa.Connection, batch: pa.RecordBatch) -> int:
        """Insert or replace rows with different keys. Returns how many were inserted, which only their keys tell:
        SQLite counts both alike."""
        self._stage(connection, batch)
        replaced = int(run(connection, self._table.matches(self._staged, self._keys.upserted)).scalar_one())
        self._execute(connection, batch)
        return int(batch.num_rows) - replaced

    def _execute(self, connection: sa.Connection, batch: pa.RecordBatch) -> int:
        """Insert rows. Returns how many were inserted or updated."""
        before = connection.scalar(sa.select(sa.func.total_changes()))
        columns.insert(connection, self._insertion, batch)
        after = connection.scalar(sa.select(sa.func.total_changes()))
        return int(after or 0) - int(before or 0)

    def _release(self, connection: sa.Connection, batch: pa.RecordBatch) -> None:
        """Empty the unique fields of rows that are about to be replaced: other rows take their values first."""
        if batch.num_rows and self._keys.released:
            statement = self._table.releasing(self._keys.released, self._keys.upserted)
            columns.insert(connection, statement, batch.select(self._keys.upserted))

    def _stage(self, connection: sa.Connection, batch: pa.RecordBatch) -> None:
        run(connection, self._staged.creation(temporary=True))
        run(connection, self._staged.emptying())
        columns.insert(connection, self._staged.insertion(), batch.select(list(self._staged.columns)))

    def _find_collisions(self, connection: sa.Connection, batch: pa.RecordBatch) -> Collisions:
        self._stage(connection, batch)
        return self._keys.collisions(connection, self._table, self._staged, self._upload_id)


class PostgresWriter:
    """COPY directly into the table until the first key that exists, from then on through a staging table.

    Two imports may write the same keys concurrently. Each waits until the other's transaction ends. Rows are sorted by
    key, so that waits go in one direction; the victim of a deadlock writes the rows of its chunk again.
    """

    def __init__(
        self, dialect: sa.Dialect, dataset: Dataset, upload_id: int, filled: Collection[str], table: SqlTable
    ) -> None:
        self._table = table
        self._keys = _Keys(dataset, filled)
        self._upload_id = upload_id
        self._staged = SqlTable(dialect, _staged_name(upload_id), self._table.columns)
        self._insertion = self._table.insertion_from(self._staged, on_conflict=self._keys.on_conflict(self._table))
        self._through_staging = False
        #: Whether rows to be replaced are deleted first, which takes less time than to update them.
        self._clears = self._keys.replace_whole_rows

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        return self._keys.pack(self._table, self._upload_id, rows)

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        if not self._through_staging and not rows.repeats:
            try:
                with connection.begin_nested():
                    columns.add(connection, self._table, rows.packed)
                return Written({}, len(rows.packed))
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
                self._clears = False  # the rows are still there, or another import inserts the same keys meanwhile
        raise DatabaseBusyError("Other imports into the same dataset kept writing the same keys.")

    def _stage(self, connection: sa.Connection, rows: PackedRows) -> Written:
        run(connection, self._staged.emptying())  # usually empty already: a commit deletes its rows
        columns.add(connection, self._staged, rows.packed)
        if self._keys.compete:
            end = self._keys.upsert(connection, self._table, self._staged, rows.rows)
            self._keep(connection, rows.rows, end.written)
            if end.releasing and self._keys.released:
                releasing = self._table.releasing_from(self._staged, self._keys.released, self._keys.upserted)
                run(connection, releasing, end.releasing)
            return Written(end.collisions, self._upsert(connection))
        if self._keys.upserted:
            return Written({}, self._replace(connection, rows) if self._clears else self._upsert(connection))
        collisions: Collisions = {}
        if rows.repeats:
            collisions = conflicts.inserted(rows.rows, self._keys.guarded, self._collisions(connection))
            self._delete(connection, list(collisions))
        inserted = run(connection, self._insertion).rowcount
        if inserted < len(rows.packed) - len(collisions):
            collisions |= self._collisions(connection)
        return Written(collisions, inserted)

    def _replace(self, connection: sa.Connection, rows: PackedRows) -> int:
        """Insert the staged rows in place of those with the same keys. Returns by how many there are more."""
        replaced = self._clear(connection)
        is_sorted = conflicts.are_ascending(rows.rows, self._keys.upserted[0])
        return run(connection, self._table.insertion_from(self._staged, is_sorted=is_sorted)).rowcount - replaced

    def _upsert(self, connection: sa.Connection) -> int:
        """Insert or replace the staged rows. Returns how many were inserted."""
        return int(run(connection, self._table.counting_new(self._insertion)).scalar_one())

    def _collisions(self, connection: sa.Connection) -> Collisions:
        return self._keys.collisions(connection, self._table, self._staged, self._upload_id)

    def _clear(self, connection: sa.Connection) -> int:
        """Delete the rows that staged ones replace. Returns how many there were."""
        # The planner does not know how many keys are staged, and would compare all of them with each row of the table.
        run(connection, "SET LOCAL enable_seqscan = off")
        cleared = run(connection, self._table.clearing(self._staged)).rowcount
        run(connection, "SET LOCAL enable_seqscan = on")
        return cleared

    def _keep(self, connection: sa.Connection, rows: pd.DataFrame, written: Mask) -> None:
        """Keep only some of the staged rows."""
        self._delete(connection, rows.index.to_numpy()[~written].tolist())

    def _delete(self, connection: sa.Connection, numbers: list[int]) -> None:
        if numbers:
            run(connection, self._staged.deletion(), numbers)


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


def _only(batch: pa.RecordBatch, numbers: Collection[int]) -> pa.RecordBatch:
    return batch.filter(_among(batch, numbers)) if numbers else batch.slice(0, 0)


def _without(batch: pa.RecordBatch, numbers: Collection[int]) -> pa.RecordBatch:
    return batch.filter(pc.invert(_among(batch, numbers))) if numbers else batch


def _among(batch: pa.RecordBatch, numbers: Collection[int]) -> pa.Array:
    return pc.is_in(batch.column(ROW_NUMBER), value_set=pa.array(list(numbers), pa.int64()))
