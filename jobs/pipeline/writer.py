"""Good rows → their dataset's table, in the caller's transaction, as columns: no Python object a cell is made.

What must be unique is so in the database, by its own indexes. A row whose key is taken, by an earlier import or by one
that runs at the same moment, is no error of the chunk: it is told back, with the reason, and the others are in.
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

#: A row's number → why it is not in the table.
Collisions = dict[int, list[Reason]]

#: PostgreSQL's codes (https://www.postgresql.org/docs/current/errcodes-appendix.html), for psycopg is not installed
#: everywhere: a key is taken, two imports wait for each other, a row does not fit.
UNIQUE_VIOLATION, DEADLOCK_DETECTED, PROGRAM_LIMIT_EXCEEDED = "23505", "40P01", "54000"

#: Times that a chunk is tried anew because another import took a key between look and write.
TRIES = 10


class Writer(Protocol):
    """Writes one upload into one dataset."""

    def pack(self, rows: pd.DataFrame) -> Packed:
        """Rows as the database takes them; in any thread. rows: one column a field in its type, index = row number."""
        ...

    def write(self, connection: sa.Connection, rows: Packed) -> Collisions: ...


def writer_for(dialect: sa.Dialect, dataset: Dataset, upload_id: int) -> Writer:
    writer = SqliteWriter if dialect.name == "sqlite" else PostgresWriter
    return writer(dialect, dataset, upload_id)


class _Keys:
    """What identifies rows of a dataset: its key, and each field that must be unique."""

    def __init__(self, dataset: Dataset) -> None:
        schema = dataset.schema
        unique = [[each.name] for each in schema.fields if each.constraints.unique]
        self.upserted = schema.primary_key if dataset.mode is Mode.UPSERT else []
        self.guarded = unique if self.upserted or not schema.primary_key else [schema.primary_key, *unique]
        self.identify = bool(self.guarded or self.upserted)

    def collisions(self, connection: sa.Connection, table: sa.Table, staged: sa.Table, upload_id: int) -> Collisions:
        """Staged rows that would repeat what other rows of the table have, by number."""
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
                rule = "is in the dataset already" if column else f"{', '.join(names)} are in the dataset already"
                found.setdefault(number, []).append(Reason(column, rule, detail=detail))
        return found


class SqliteWriter:
    """Nobody else writes meanwhile: what is not there at the look is not there at the write."""

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
            collisions = self._look(connection, batch)
            batch = _without(batch, collisions)
            self._run(connection, batch)
            return collisions
        inserted = self._run(connection, batch)
        return {} if inserted == batch.num_rows else self._look(connection, batch)

    def _run(self, connection: sa.Connection, batch: pa.RecordBatch) -> int:
        """Rows that are in now."""
        before = connection.scalar(sa.select(sa.func.total_changes()))
        columns.insert(connection, self._insert, batch)
        after = connection.scalar(sa.select(sa.func.total_changes()))
        return int(after or 0) - int(before or 0)

    def _look(self, connection: sa.Connection, batch: pa.RecordBatch) -> Collisions:
        self._staged.create(connection, checkfirst=True)
        connection.execute(sa.delete(self._staged))
        keys = batch.select([column.name for column in self._staged.columns])
        columns.insert(connection, sa.insert(self._staged), keys)
        return self._keys.collisions(connection, self._table, self._staged, self._upload_id)


class PostgresWriter:
    """COPY straight into the table while no key is taken; through a staging table from the first one that is.

    Two imports may want the same keys at once. Each waits for the other's transaction to end before it knows; sorted by
    key they wait in one direction, and whoever is picked as a deadlock's victim begins its chunk's rows again.
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
        for _ in range(TRIES):
            try:
                with connection.begin_nested():
                    return self._stage(connection, rows)
            except Exception as error:
                _check_is_collision(error, self._keys)
        raise DatabaseBusyError("Other imports into the same dataset kept taking the same keys.")

    def _stage(self, connection: sa.Connection, rows: Packed) -> Collisions:
        connection.execute(sa.delete(self._staged))  # empty as a rule: a commit has done it
        columns.add(connection, self._staged, rows)
        collisions: Collisions = {}
        if self._keys.upserted and self._keys.guarded:
            collisions = self._keys.collisions(connection, self._table, self._staged, self._upload_id)
            taken = self._staged.c["_row_number"].in_(collisions)
            connection.execute(sa.delete(self._staged).where(taken))
        inserted = connection.execute(self._insert).rowcount
        if not self._keys.upserted and inserted < len(rows):
            collisions = self._keys.collisions(connection, self._table, self._staged, self._upload_id)
        return collisions


def _check_is_collision(error: Exception, keys: _Keys) -> None:
    """Raises the error itself, or what it means for people, unless another import just had the same keys.

    Where nothing but its number identifies a row, one that is there twice is a defect of ours, and must be heard of.
    """
    code = getattr(getattr(error, "orig", error), "sqlstate", None)
    if code == PROGRAM_LIMIT_EXCEEDED:
        raise UnreadableFileError(
            "The file is too wide for PostgreSQL: the many short cells of a row take more than the 8,160 bytes that it"
            " keeps together. Split the file into several with fewer columns each."
        ) from error
    if code not in (UNIQUE_VIOLATION, DEADLOCK_DETECTED) or (code == UNIQUE_VIOLATION and not keys.identify):
        raise error


def _others(table: sa.Table, key: list[str]) -> list[str]:
    return [column.name for column in table.columns if column.name not in key]


def _staged_columns(dataset: Dataset, keys: _Keys) -> list[sa.Column[Any]]:
    """The row's number and what is compared."""
    table = dataset.table
    names = dict.fromkeys(name for each in [*keys.guarded, keys.upserted] for name in each)
    return [sa.Column(name, table.c[name].type) for name in ["_row_number", *names]]


def _batch(upload_id: int, rows: pd.DataFrame) -> pa.RecordBatch:
    """The columns of the table, in order and by name."""
    arrays = [rows[name].array.__arrow_array__() for name in rows.columns]
    flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    ids = pa.repeat(pa.scalar(upload_id, pa.int64()), len(rows))
    numbers = pa.array(rows.index.to_numpy(), pa.int64())
    return pa.RecordBatch.from_arrays([ids, numbers, *flat], ["_upload_id", "_row_number", *rows.columns])


def _without(batch: pa.RecordBatch, collisions: Collisions) -> pa.RecordBatch:
    taken = pc.is_in(batch.column("_row_number"), value_set=pa.array(list(collisions), pa.int64()))
    return batch.filter(pc.invert(taken)) if collisions else batch
