"""Writes valid rows into their dataset's table, in the caller's transaction, as columns (see columns.py).

Unique indexes of the database enforce keys and unique values. Rows end as if they were written one after another in the
file's order, whatever the size of the chunks (conflicts.py). The writer returns the rows that cannot be written because
of another row, with their reasons, and writes the others.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from jobs import uploads
from jobs.datasets import Dataset, Mode
from jobs.errors import DatabaseBusyError, UnreadableFileError
from jobs.pipeline import columns, conflicts
from jobs.pipeline.columns import Packed
from jobs.pipeline.conflicts import Collisions, Competition, StoredRow, Upserted
from jobs.pipeline.found_unchanged import NO_NUMBERS, FoundUnchanged, Numbers
from jobs.pipeline.parsing import Mask
from jobs.pipeline.upsert_sql import UpsertSql
from jobs.pipeline.upserting import Compared, Outcome, PutBack, Upserting, planned_for_few
from jobs.rows.sql_table import IGNORING, SqlTable, run
from jobs.schema import OWN_COLUMNS
from jobs.traces import before_images
from jobs.traces.unchanged_rows import Block

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
    changed: how many of its rows are others now, the added ones among them. unchanged: by how many more rows of the
    upload the table has what it had. blocks: which these are. replaced: how many rows of other uploads were replaced.
    images: the lowest and the highest number of what is kept of them; None: nothing. left_out: the numbers of packed
    rows that were not written although nothing is wrong with them. superseded: rows of the same upload that are no
    longer there, with the fields that the file fills, in the order of the dataset.
    """

    collisions: Collisions
    added: int
    changed: int
    unchanged: int = 0
    blocks: Sequence[Block] = ()
    replaced: int = 0
    images: tuple[int, int] | None = None
    left_out: Numbers = field(default_factory=lambda: NO_NUMBERS)
    superseded: Sequence[Sequence[Any]] = ()

    @classmethod
    def inserted(
        cls,
        collisions: Collisions,
        added: int,
        *,
        unchanged: int = 0,
        left_out: Numbers = NO_NUMBERS,
        superseded: Sequence[Sequence[Any]] = (),
    ) -> "Written":
        return cls(collisions, added, added, unchanged, left_out=left_out, superseded=superseded)

    @classmethod
    def upserted(
        cls,
        collisions: Collisions,
        added: int,
        outcome: Outcome,
        *,
        left_out: Numbers = NO_NUMBERS,
        superseded: Sequence[Sequence[Any]] = (),
    ) -> "Written":
        return cls(collisions, added, **vars(outcome), left_out=left_out, superseded=superseded)


class BeginAgainError(Exception):
    """A key exists, which ended the transaction. The writer looks at keys from now on."""


class Writer(Protocol):
    """Writes one upload into one dataset."""

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        """Convert rows for the driver, in any thread. rows: one typed column for each field, index = row number."""
        ...

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        """Write the rows, except those whose key or unique value another row has."""
        ...

    def together(self, connection: sa.Connection) -> AbstractContextManager[Callable[[PackedRows], Written]]:
        """What writes the rows of several chunks in one transaction, and the connection does nothing else meanwhile.

        It raises BeginAgainError, at most once, if the caller is to begin the transaction again, with the same rows: to
        guard each chunk against keys that exist would take longer.
        """
        ...


def writer_for(
    dialect: sa.Dialect,
    dataset: Dataset,
    upload_id: int,
    filled: Collection[str] | None = None,
    *,
    table: SqlTable | None = None,
    keeps_images: bool = False,
    found: FoundUnchanged | None = None,
) -> Writer:
    """filled: the fields that a column of the file fills; a row that is replaced keeps its values in all others. None:
    all fields. table: a table of the upload's own, into which the rows go, rather than into the dataset's.
    keeps_images: of rows that are replaced, in the dataset's table of images, which exists. found: the rows that
    earlier attempts found unchanged."""
    writer = SqliteWriter if dialect.name == "sqlite" else PostgresWriter
    names = dataset.schema.names if filled is None else filled
    made = writer(dialect, dataset, upload_id, names, dataset.table(dialect) if table is None else table)
    if dataset.replaces and table is None:
        made.compare(before_images.table(dialect, dataset) if keeps_images else None, found or FoundUnchanged())
    return made


def competing(dataset: Dataset, filled: Collection[str]) -> list[list[str]]:
    """The columns by whose values together a row competes with stored ones: for each of them, some columns."""
    keys = _Keys(dataset, filled)
    return [*keys.guarded, *(each for each in (keys.upserted, keys.kept) if each)]


class _Keys:
    """The key of a dataset and its unique fields.

    upserted: the key, if rows replace others with the same key. kept: the key, if a row whose key exists is left out.
    guarded: keys and unique fields whose repetition fails a row. released: the guarded fields that change when
    a row is replaced.
    """

    def __init__(self, dataset: Dataset, filled: Collection[str]) -> None:
        schema = dataset.schema
        unique = [[each.name] for each in schema.fields if each.constraints.unique and each.name in filled]
        self._filled, self._names = {*filled, *OWN_COLUMNS}, schema.names
        self.upserted = schema.primary_key if dataset.mode is Mode.UPSERT else []
        self.kept = schema.primary_key if dataset.mode is Mode.ONLY_NEW else []
        has_other_key = self.upserted or self.kept or not schema.primary_key
        self.guarded = unique if has_other_key else [schema.primary_key, *unique]
        self.released = [name for (name,) in unique if name not in schema.primary_key] if self.upserted else []
        self.identify = bool(self.guarded or self.upserted or self.kept)
        self.fields = [name for name in schema.names if name in filled]

    def upserting(
        self, table: SqlTable, staged: SqlTable, images: SqlTable | None, upload_id: int, found: FoundUnchanged
    ) -> Upserting:
        filled = [name for name in self._names if name in self._filled]
        sql = UpsertSql(table, staged, images, self.upserted, filled, upload_id)
        return Upserting(sql, upload_id, keeps_images=images is not None, found=found)

    @property
    def compete(self) -> bool:
        """Whether a row that would replace another can fail because of a third one."""
        return bool(self.upserted and self.guarded)

    def pack(self, table: SqlTable, upload_id: int, rows: pd.DataFrame) -> PackedRows:
        written, repeats = rows, any(conflicts.repeated(rows, names).any() for names in self.guarded)
        if self.upserted and not self.guarded:
            superseded = conflicts.repeated(rows, self.upserted, keep="last")
            written = rows[~superseded] if superseded.any() else rows
        if self.kept:
            again = conflicts.repeated(rows, self.kept)
            if not self.guarded:
                written = rows[~again] if again.any() else rows
            repeats = repeats or bool(self.guarded and again.any())
        packed = batch(upload_id, written)
        if table.is_sqlite and self.upserted and not self.guarded:
            packed = _in_order(packed, self.upserted)
        return PackedRows(rows, columns.pack(table, packed), repeats)

    def collisions(self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int) -> Collisions:
        """Staged rows whose key or unique value another row of the table has, by row number."""
        found: Collisions = {}
        for names in self.guarded:
            for number, *other in map(tuple, run(connection, table.collisions(staged, names, upload_id=upload_id))):
                found.setdefault(number, []).append(conflicts.already_stored(names, StoredRow(*other)))
        return found

    def stored_keys(self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int) -> set[int]:
        """The staged rows, by number, whose key another row of the table has."""
        found = run(connection, table.collisions(staged, self.kept, upload_id=upload_id))
        return {int(number) for number, *_ in map(tuple, found)}

    def superseded(
        self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int
    ) -> list[sa.Row[Any]]:
        """The rows of the upload whose key staged ones have."""
        return list(run(connection, table.own_among(staged, self.fields, self.upserted, upload_id=upload_id)))

    def left_out(
        self, connection: sa.Connection, table: SqlTable, staged: SqlTable, upload_id: int, rows: pd.DataFrame
    ) -> Numbers:
        """The numbers of the rows whose key exists, so that they were not inserted. staged: all others at least."""
        there = run(connection, table.landed(staged, self.kept, upload_id=upload_id)).scalars()
        return np.setdiff1d(rows.index.to_numpy(), np.fromiter(there, np.int64))

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
        return IGNORING if self.guarded or self.kept else ""


class SqliteWriter:
    """SQLite has one writer at a time, so no key can appear between the check and the write."""

    def __init__(
        self, dialect: sa.Dialect, dataset: Dataset, upload_id: int, filled: Collection[str], table: SqlTable
    ) -> None:
        self._table = table
        self._keys = _Keys(dataset, filled)
        self._upload_id = upload_id
        self._upserting: Upserting | None = None
        keys = [*self._keys.guarded, self._keys.upserted, self._keys.kept]
        names = dict.fromkeys(name for each in keys for name in each)
        staged = {name: self._table.columns[name] for name in (ROW_NUMBER, *names)}
        self._staged = SqlTable(dialect, _staged_name(upload_id), staged)
        self._keys_alone = SqlTable(dialect, f"{_staged_name(upload_id)}_keys", staged)
        #: Whether the last chunk replaced rows.
        self._replaces = False
        self._insertion = self._table.insertion(on_conflict=self._keys.on_conflict(self._table))

    def compare(self, images: SqlTable | None, found: FoundUnchanged) -> None:
        """Write only rows that change something, and keep what these replace, unless `images` is None."""
        self._staged.columns = self._table.columns
        self._upserting = self._keys.upserting(self._table, self._staged, images, self._upload_id, found)

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        return self._keys.pack(self._table, self._upload_id, rows)

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        batch = rows.packed.batch
        if self._keys.compete:
            self._stage(connection, batch)
            end = self._keys.upsert(connection, self._table, self._staged, rows.rows)
            batch = batch.filter(pa.array(end.written))
            if self._upserting is not None:
                return self._replace_changed(connection, self._upserting, rows, batch, end)
            added, own = self._upsert(connection, batch, only(batch, end.releasing))
            left_out = _numbers(rows.rows, ~end.written)
            return Written.inserted(end.collisions, added, left_out=left_out, superseded=own)
        if self._upserting is not None:
            return self._write_changed(connection, self._upserting, rows)
        if self._keys.upserted:
            added, own = self._upsert(connection, batch)
            return Written.inserted({}, added, superseded=own)
        if self._keys.kept:
            return self._insert_new(connection, rows)
        if rows.repeats:
            collisions = conflicts.inserted(rows.rows, self._keys.guarded, self._find_collisions(connection, batch))
            return Written.inserted(collisions, self._execute(connection, without(batch, collisions)))
        inserted = self._execute(connection, batch)
        collisions = self._find_collisions(connection, batch) if inserted < batch.num_rows else {}
        return Written.inserted(collisions, inserted)

    @contextmanager
    def together(self, connection: sa.Connection) -> Iterator[Callable[[PackedRows], Written]]:
        yield partial(self.write, connection)

    def _write_changed(self, connection: sa.Connection, upserting: Upserting, rows: PackedRows) -> Written:
        """Insert rows, or replace others by them. As long as all of them change something, the database compares each
        as it writes it; from the first one on that does not, all are compared before."""
        batch = rows.packed.batch
        if not upserting.may_change_all or upserting.seem_unchanged(connection, batch):
            return self._replace_changed(connection, upserting, rows, batch, None)
        staged = self._staged if self._replaces and upserting.keeps_images else self._keys_alone
        self._stage(connection, batch, staged)
        matched, own = upserting.matching(connection, staged)
        self._replaces = matched > 0
        if not matched:
            return Written.inserted({}, self._execute(connection, batch, self._table.insertion()))
        if own:
            return self._replace_changed(connection, upserting, rows, batch, None)
        if staged is not self._staged and upserting.keeps_images:
            self._stage(connection, batch)
            staged = self._staged
        images = self._keep_images(connection, upserting, upserting.sql.imaging_changed)
        changing = upserting.sql.changing(self._keys.on_conflict(self._table))
        if staged is self._staged:
            changed = _changed_by(connection, lambda: run(connection, upserting.sql.inserting(changing)))
        else:
            changed = self._execute(connection, batch, self._table.insertion(on_conflict=changing))
        left_out = batch.num_rows - changed
        compared = upserting.others(connection, staged) if left_out else Compared.none()
        outcome = upserting.outcome(changed, compared, PutBack(), matched - left_out, images)
        kept = _left_out(rows, compared, PutBack(), None)
        return Written.upserted({}, batch.num_rows - matched, outcome, left_out=kept)

    def _replace_changed(
        self,
        connection: sa.Connection,
        upserting: Upserting,
        rows: PackedRows,
        batch: pa.RecordBatch,
        end: Upserted | None,
    ) -> Written:
        """Insert rows, or replace others by them: those that change something. rows: those of the chunk. end: if they
        compete for unique values."""
        compared = upserting.compare_unstaged(connection, batch)
        different = without(batch, compared.numbers[compared.same])
        if different.num_rows:
            self._stage(connection, different)
        own = self._superseded(connection) if compared.own.any() else []
        back = upserting.put_back(connection, compared)
        left_out = int(compared.same.sum()) + len(back)
        changed, images = batch.num_rows - left_out, None
        if changed:
            if left_out < len(compared):
                images = self._keep_images(connection, upserting, upserting.sql.imaging)
            if end is not None:
                unchanged = {*compared.numbers[compared.same].tolist(), *back.numbers.tolist()}
                self._release(connection, only(batch, set(end.releasing) - unchanged))
            run(connection, upserting.sql.inserting(self._keys.on_conflict(self._table)))
        replaced = int((~compared.same & ~compared.own).sum())
        outcome = upserting.outcome(changed, compared, back, replaced, images)
        kept = _left_out(rows, compared, back, end)
        collisions = end.collisions if end else {}
        return Written.upserted(collisions, batch.num_rows - len(compared), outcome, left_out=kept, superseded=own)

    def _superseded(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        return self._keys.superseded(connection, self._table, self._staged, self._upload_id)

    def _keep_images(
        self, connection: sa.Connection, upserting: Upserting, imaging: Callable[[], str]
    ) -> tuple[int, int] | None:
        if not upserting.keeps_images:
            return None
        newest = upserting.sql.newest_image()
        before = int(run(connection, newest).scalar_one())
        run(connection, imaging())
        after = int(run(connection, newest).scalar_one())
        return (before + 1, after) if after > before else None

    def _insert_new(self, connection: sa.Connection, rows: PackedRows) -> Written:
        """Insert the rows whose key does not exist."""
        batch = rows.packed.batch
        if not self._keys.guarded:
            inserted = self._execute(connection, batch)
            unchanged = len(rows.rows) - inserted
            if inserted == batch.num_rows:
                return Written.inserted({}, inserted, unchanged=unchanged)
            self._stage(connection, batch)
            kept_out = self._keys.left_out(connection, self._table, self._staged, self._upload_id, rows.rows)
            return Written.inserted({}, inserted, unchanged=unchanged, left_out=kept_out)
        found = self._find_collisions(connection, batch)
        kept = self._keys.stored_keys(connection, self._table, self._staged, self._upload_id)
        collisions, written = conflicts.only_new(rows.rows, self._keys.kept, self._keys.guarded, kept, found)
        inserted = self._execute(connection, batch.filter(pa.array(written)))
        unchanged = len(rows.rows) - len(collisions) - inserted
        return Written.inserted(collisions, inserted, unchanged=unchanged, left_out=_numbers(rows.rows, ~written))

    def _upsert(
        self, connection: sa.Connection, batch: pa.RecordBatch, releasing: pa.RecordBatch | None = None
    ) -> tuple[int, list[sa.Row[Any]]]:
        """Insert or replace rows with different keys. Returns how many were inserted, which only their keys tell:
        SQLite counts both alike; and the rows of the same upload that were replaced. releasing: of `_release`."""
        self._stage(connection, batch)
        replaced = int(run(connection, self._table.matches(self._staged, self._keys.upserted)).scalar_one())
        own = self._superseded(connection) if replaced else []
        if releasing is not None:
            self._release(connection, releasing)
        self._execute(connection, batch)
        return int(batch.num_rows) - replaced, own

    def _execute(self, connection: sa.Connection, batch: pa.RecordBatch, insertion: str | None = None) -> int:
        """Insert rows. Returns how many were inserted or updated."""
        return columns.insert(connection, insertion or self._insertion, batch)

    def _release(self, connection: sa.Connection, batch: pa.RecordBatch) -> None:
        """Empty the unique fields of rows that are about to be replaced: other rows take their values first."""
        if batch.num_rows and self._keys.released:
            statement = self._table.releasing(self._keys.released, self._keys.upserted)
            columns.insert(connection, statement, batch.select(self._keys.upserted))

    def _stage(self, connection: sa.Connection, batch: pa.RecordBatch, staged: SqlTable | None = None) -> None:
        staged = staged or self._staged
        run(connection, staged.creation(temporary=True))
        run(connection, staged.emptying())
        columns.insert(connection, staged.insertion(), batch.select(list(staged.columns)))

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
        self._dataset_name = dataset.name
        self._upload_id = upload_id
        self._upserting: Upserting | None = None
        self._staged = SqlTable(dialect, _staged_name(upload_id), self._table.columns)
        self._insertion = self._table.insertion_from(self._staged, on_conflict=self._keys.on_conflict(self._table))
        self._through_staging = False
        #: Whether rows to be replaced are deleted first, which takes less time than to update them.
        self._clears = self._keys.replace_whole_rows
        #: The transaction in which rows were staged last.
        self._staged_in: sa.Transaction | None = None
        #: Whether rows are replaced without a comparison if those of a sample all change something.
        self._guesses = True

    def compare(self, images: SqlTable | None, found: FoundUnchanged) -> None:
        """Write only rows that change something, and keep what these replace, unless `images` is None."""
        self._upserting = self._keys.upserting(self._table, self._staged, images, self._upload_id, found)

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        return self._keys.pack(self._table, self._upload_id, rows)

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        if not self._through_staging and not rows.repeats:
            try:
                with _savepoint(connection):
                    columns.add(connection, self._table, rows.packed)
                return self._copied(rows)
            except Exception as error:
                _check_is_collision(error, self._keys)
                self._through_staging = True
        if connection.get_transaction() is not self._staged_in:
            run(connection, self._staged.creation(temporary=True))
        for _ in range(ATTEMPTS):
            try:
                with _savepoint(connection):
                    return self._stage(connection, rows)
            except Exception as error:
                if isinstance(error, _MisjudgedError):
                    self._guesses = False
                    continue
                _check_is_collision(error, self._keys)
                self._clears = False  # the rows are still there, or another import inserts the same keys meanwhile
        raise DatabaseBusyError("Other imports into the same dataset kept writing the same keys.")

    @contextmanager
    def together(self, connection: sa.Connection) -> Iterator[Callable[[PackedRows], Written]]:
        """As long as no key exists, by one COPY."""
        with columns.Copy(connection, self._table) as copy:

            def write(rows: PackedRows) -> Written:
                if self._through_staging or rows.repeats or rows.packed.copied is None:
                    with self._beginning_again():
                        copy.end()
                    return self.write(connection, rows)
                with self._beginning_again():
                    copy.add(rows.packed.copied)
                return self._copied(rows)

            yield write
            with self._beginning_again():
                copy.end()

    @contextmanager
    def _beginning_again(self) -> Iterator[None]:
        """Inside the block, the first key that exists raises BeginAgainError."""
        try:
            yield
        except Exception as error:
            _check_is_collision(error, self._keys)
            self._through_staging = True
            raise BeginAgainError from error

    def _copied(self, rows: PackedRows) -> Written:
        kept = len(rows.rows) - len(rows.packed) if self._keys.kept else 0
        return Written.inserted({}, len(rows.packed), unchanged=kept)

    def _stage(self, connection: sa.Connection, rows: PackedRows) -> Written:
        transaction = connection.get_transaction()
        again = transaction is self._staged_in
        run(connection, self._staged.truncating() if again else self._staged.emptying())  # a commit deletes its rows
        self._staged_in = transaction
        columns.add(connection, self._staged, rows.packed)
        if self._keys.compete:
            end = self._keys.upsert(connection, self._table, self._staged, rows.rows)
            self._keep(connection, rows.rows, end.written)
            if self._upserting is not None:
                return self._replace_changed(connection, self._upserting, rows, int(end.written.sum()), end)
            own = self._superseded(connection)
            self._release(connection, end.releasing)
            left_out = _numbers(rows.rows, ~end.written)
            return Written.inserted(end.collisions, self._upsert(connection), left_out=left_out, superseded=own)
        if self._upserting is not None:
            return self._replace_changed(connection, self._upserting, rows, len(rows.packed), None)
        if self._keys.upserted:
            own = self._superseded(connection)
            added = self._replace(connection, rows) if self._clears else self._upsert(connection)
            return Written.inserted({}, added, superseded=own)
        if self._keys.kept:
            return self._insert_new(connection, rows)
        collisions: Collisions = {}
        if rows.repeats:
            collisions = conflicts.inserted(rows.rows, self._keys.guarded, self._collisions(connection))
            self._delete(connection, list(collisions))
        inserted = run(connection, self._insertion).rowcount
        if inserted < len(rows.packed) - len(collisions):
            collisions |= self._collisions(connection)
        return Written.inserted(collisions, inserted)

    def _replace_changed(
        self, connection: sa.Connection, upserting: Upserting, rows: PackedRows, staged: int, end: Upserted | None
    ) -> Written:
        """Insert so many staged rows, or replace others by them. end: if they compete for unique values."""
        if self._guesses and self._clears and end is None and upserting.changes_all(connection, staged):
            return self._replace_all(connection, upserting, rows, staged)
        locks = uploads.imported_meanwhile(connection, self._dataset_name, self._upload_id)
        compared = upserting.compare(connection, staged, locks=locks)
        own = self._superseded(connection) if compared.own.any() else []
        back = upserting.put_back(connection, compared)
        same = compared.numbers[compared.same].tolist()
        changed, added, images = staged - len(same) - len(back), 0, None
        replaced = int((~compared.same & ~compared.own).sum())
        if changed:
            self._delete(connection, same)
            if self._clears and end is None:
                cleared, kept, *images = self._clear_changed(connection, upserting)
                added = self._insert_staged(connection, rows) - cleared
            else:
                kept, *images = self._keep_images(connection, upserting)
                if end is not None:
                    unchanged = {*same, *back.numbers.tolist()}
                    self._release(connection, [number for number in end.releasing if number not in unchanged])
                added = self._upsert(connection)
                if upserting.keeps_images and added < changed - kept - (int(compared.own.sum()) - len(back)):
                    raise _OvertakenError
            replaced = kept if upserting.keeps_images else replaced
        outcome = upserting.outcome(changed, compared, back, replaced, _range(images))
        kept_out, collisions = _left_out(rows, compared, back, end), end.collisions if end else {}
        return Written.upserted(collisions, added, outcome, left_out=kept_out, superseded=own)

    def _superseded(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        with planned_for_few(connection):
            return self._keys.superseded(connection, self._table, self._staged, self._upload_id)

    def _replace_all(self, connection: sa.Connection, upserting: Upserting, rows: PackedRows, staged: int) -> Written:
        """As `_replace_changed`, for rows that all seem to change something: to compare them first takes longer."""
        cleared, precarious, _, *images = upserting.replace(connection, staged)
        if precarious:
            raise _MisjudgedError
        assert cleared is not None
        added = self._insert_staged(connection, rows) - cleared
        return Written({}, added, staged, replaced=cleared, images=_range(images))

    def _clear_changed(self, connection: sa.Connection, upserting: Upserting) -> Sequence[Any]:
        """Delete the rows that staged ones replace. Returns how many there were, how many were kept, and the lowest and
        the highest number of what was."""
        run(connection, "SET LOCAL enable_seqscan = off")
        found = run(connection, upserting.sql.clearing(self._table.clearing(self._staged))).one()
        run(connection, "SET LOCAL enable_seqscan = on")
        return tuple(found)

    def _keep_images(self, connection: sa.Connection, upserting: Upserting) -> Sequence[Any]:
        """Returns how many rows were kept, and the lowest and the highest number of what was."""
        if not upserting.keeps_images:
            return 0, None, None
        with planned_for_few(connection):
            return tuple(run(connection, upserting.sql.imaging()).one())

    def _release(self, connection: sa.Connection, numbers: list[int]) -> None:
        """Empty the unique fields of rows that these staged ones are about to replace."""
        if numbers and self._keys.released:
            run(connection, self._table.releasing_from(self._staged, self._keys.released, self._keys.upserted), numbers)

    def _insert_new(self, connection: sa.Connection, rows: PackedRows) -> Written:
        """Insert the staged rows whose key does not exist."""
        collisions: Collisions = {}
        expected = len(rows.packed)
        if self._keys.guarded:
            kept = self._stored_keys(connection)
            collisions, written = conflicts.only_new(
                rows.rows, self._keys.kept, self._keys.guarded, kept, self._collisions(connection)
            )
            self._keep(connection, rows.rows, written)
            expected = int(written.sum())
        inserted = run(connection, self._insertion).rowcount
        if self._keys.guarded and inserted < expected:  # another import was faster
            kept = self._stored_keys(connection)
            collisions |= {number: why for number, why in self._collisions(connection).items() if number not in kept}
        unchanged = len(rows.rows) - len(collisions) - inserted
        if inserted == len(rows.rows):
            return Written.inserted(collisions, inserted, unchanged=unchanged)
        kept_out = self._keys.left_out(connection, self._table, self._staged, self._upload_id, rows.rows)
        return Written.inserted(collisions, inserted, unchanged=unchanged, left_out=kept_out)

    def _stored_keys(self, connection: sa.Connection) -> set[int]:
        return self._keys.stored_keys(connection, self._table, self._staged, self._upload_id)

    def _replace(self, connection: sa.Connection, rows: PackedRows) -> int:
        """Insert the staged rows in place of those with the same keys. Returns by how many there are more."""
        replaced = self._clear(connection)
        return self._insert_staged(connection, rows) - replaced

    def _insert_staged(self, connection: sa.Connection, rows: PackedRows) -> int:
        is_sorted = conflicts.are_ascending(rows.rows, self._keys.upserted[0])
        return run(connection, self._table.insertion_from(self._staged, is_sorted=is_sorted)).rowcount

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
        self._delete(connection, _numbers(rows, ~written).tolist())

    def _delete(self, connection: sa.Connection, numbers: list[int]) -> None:
        if numbers:
            run(connection, self._staged.deletion(), numbers)


class _MisjudgedError(Exception):
    """Rows were replaced that are as they were."""


class _OvertakenError(Exception):
    """Another import wrote rows between two statements, which were replaced without being kept."""


@contextmanager
def _savepoint(connection: sa.Connection) -> Iterator[None]:
    """What fails in the block is undone, and the transaction goes on, on PostgreSQL.

    The savepoint is not released, which would be one more answer to wait for: it ends with the transaction, which has
    few. The one that was made last is meant by the name.
    """
    run(connection, "SAVEPOINT chunk")
    try:
        yield
    except Exception:
        run(connection, "ROLLBACK TO SAVEPOINT chunk")
        raise


def _check_is_collision(error: Exception, keys: _Keys) -> None:
    """Raises the error, or a sentence for people, unless another import wrote the same keys.

    In a dataset without keys, a unique violation means that a row was written twice. That is a bug, so it is raised.
    """
    if isinstance(error, _OvertakenError):
        return
    code = getattr(getattr(error, "orig", error), "sqlstate", None)
    if code == PROGRAM_LIMIT_EXCEEDED:
        raise UnreadableFileError(
            "The file has too many columns for PostgreSQL: the short cells of a row need more than 8,160 bytes, the"
            " limit of a row. Split the file into several files with fewer columns."
        ) from error
    if code not in (UNIQUE_VIOLATION, DEADLOCK_DETECTED) or (code == UNIQUE_VIOLATION and not keys.identify):
        raise error


def _changed_by(connection: sa.Connection, write: Callable[[], object]) -> int:
    """How many rows are inserted or updated, on SQLite."""
    before = connection.scalar(sa.select(sa.func.total_changes()))
    write()
    after = connection.scalar(sa.select(sa.func.total_changes()))
    return int(after or 0) - int(before or 0)


def _staged_name(upload_id: int) -> str:
    """Each upload has a staging table of its own: a connection may serve several uploads."""
    return f"_incoming_{upload_id}"


def _left_out(rows: PackedRows, compared: Compared, back: PutBack, end: Upserted | None) -> Numbers:
    """The numbers of packed rows that an upsert did not write: those that change nothing, or lost against others."""
    lost = [] if end is None else [_numbers(rows.rows, ~end.written)]
    return np.concatenate([compared.numbers[compared.same], back.numbers, *lost])


def _numbers(rows: pd.DataFrame, which: Mask) -> Numbers:
    """The numbers of some rows."""
    numbers: Numbers = rows.index.to_numpy()[which]
    return numbers


def batch(upload_id: int, rows: pd.DataFrame) -> pa.RecordBatch:
    """The rows as columns of the table, in order and by name."""
    arrays = [rows[name].array.__arrow_array__() for name in rows.columns]
    flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    ids = pa.repeat(pa.scalar(upload_id, pa.int64()), len(rows))
    numbers = pa.array(rows.index.to_numpy(), pa.int64())
    return pa.RecordBatch.from_arrays([ids, numbers, *flat], ["_upload_id", "_row_number", *rows.columns])


def _in_order(batch: pa.RecordBatch, key: Sequence[str]) -> pa.RecordBatch:
    """The rows in the order of the key, so that each page of a table is read once."""
    if len(key) == 1 and conflicts.is_ascending(batch.column(key[0])):
        return batch
    return batch.take(pc.sort_indices(batch, [(name, "ascending") for name in key]))


def _range(numbers: Sequence[int | None] | None) -> tuple[int, int] | None:
    """The lowest and the highest number, if there is one."""
    match numbers:
        case [int(first), int(last)]:
            return first, last
    return None


def only(batch: pa.RecordBatch, numbers: Collection[int] | Numbers) -> pa.RecordBatch:
    """Some rows of an upload, by their numbers."""
    return batch.filter(pa.array(among(batch, numbers))) if len(numbers) else batch.slice(0, 0)


def without(batch: pa.RecordBatch, numbers: Collection[int] | Numbers) -> pa.RecordBatch:
    """All rows but some, by their numbers."""
    return batch.filter(pa.array(~among(batch, numbers))) if len(numbers) else batch


def among(batch: pa.RecordBatch, numbers: Collection[int] | Numbers) -> Mask:
    """Which rows of an upload have these numbers."""
    wanted = numbers if isinstance(numbers, np.ndarray) else np.fromiter(numbers, np.int64, len(numbers))
    own = batch.column(ROW_NUMBER).to_numpy()
    if not len(wanted) or np.array_equal(own, wanted):  # nearly always, and 50 times as fast
        return np.full(len(own), bool(len(wanted)))
    return np.isin(own, wanted)
