"""Replaces stored rows by staged ones with the same key: only what changes, and keeps what it replaces.

A staged row that is like the stored one of another upload is left out: the stored row is *unchanged*, and keeps the
upload and row number that it came from. Any other stored row of another upload has an image kept in the transaction
that replaces it. Rows of the upload itself, from an earlier chunk, are replaced without; and one that goes back to what
it was before the upload is put back, because a file ends the same whatever the size of the chunks.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from jobs.pipeline import columns, stored_range
from jobs.pipeline.found_unchanged import NO_NUMBERS, FoundUnchanged, Numbers, blocks_of
from jobs.pipeline.stored_range import Near
from jobs.pipeline.upsert_sql import COMPARED, RETURNED, UpsertSql
from jobs.rows.sql_table import SqlTable, run
from jobs.traces.unchanged_rows import Block

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from jobs.pipeline.parsing import Mask


#: Staged rows below which each is compared, and the size of a sample of more.
FEW, SAMPLE = 2_000, 200
#: How many times as many stored rows as staged ones may be in the range of their keys, so that to read them all takes
#: less time than to look each up.
DENSE = 2


@dataclass(frozen=True)
class Outcome:
    """What became of staged rows. changed: how many were written. unchanged: by how many more rows of the upload are
    unchanged. blocks: those that are, to be recorded. replaced: how many stored rows of others were replaced. images:
    the lowest and the highest number of what was kept of them; None: nothing."""

    changed: int
    unchanged: int = 0
    blocks: Sequence[Block] = ()
    replaced: int = 0
    images: tuple[int, int] | None = None


@dataclass(frozen=True)
class Compared:
    """Staged rows whose key is stored. numbers: of the staged rows. owners, owner_numbers: where the stored ones come
    from. same: which of them are unchanged. own: which replace a row of the same upload."""

    numbers: Numbers
    owners: Numbers
    owner_numbers: Numbers
    same: "Mask"
    own: "Mask"

    @classmethod
    def none(cls) -> Self:
        no, never = NO_NUMBERS, np.zeros(0, dtype=bool)
        return cls(no, no, no, never, never)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate(each) for each in zip(*(vars(part).values() for part in parts), strict=True)))

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class PutBack:
    """Staged rows that make a stored row what it was before the upload, and where this one comes from."""

    numbers: Numbers = field(default_factory=lambda: NO_NUMBERS)
    owners: Numbers = field(default_factory=lambda: NO_NUMBERS)
    owner_numbers: Numbers = field(default_factory=lambda: NO_NUMBERS)

    def __len__(self) -> int:
        return len(self.numbers)


class Upserting:
    """The upserts of one upload."""

    def __init__(self, sql: UpsertSql, upload_id: int, *, keeps_images: bool, found: FoundUnchanged) -> None:
        self.sql = sql
        self.keeps_images = keeps_images
        self._upload_id = upload_id
        self._found = found
        #: Whether the stored rows in the range of the keys of a chunk may be few enough to read them all.
        self._may_be_dense = sql.has_ranges
        #: Whether each row of the last chunk replaced another one.
        self._changed_all = False

    @property
    def may_change_all(self) -> bool:
        """Whether no row of the upload was found unchanged so far."""
        return not self._found.is_any

    def changes_all(self, connection: sa.Connection, staged: int) -> bool:
        """Whether each of so many staged rows seems to change what is stored. False for few rows."""
        if staged < FEW or self._found.is_any:
            return False
        if self._changed_all:
            return True
        with planned_for_few(connection):
            matched, alike = map(int, run(connection, self.sql.sampling(staged // SAMPLE)).one())
        return matched > 0 and not alike

    def replace(self, connection: sa.Connection, staged: int) -> Sequence[int | None]:
        """Delete the stored rows that staged ones, so many, replace. Returns how many these were, how many of them
        should have been compared first, how many were kept, and the lowest and the highest number of what was."""
        bounds = self._dense_range(connection, staged)
        if bounds:
            with planned_without(connection, "seqscan", "mergejoin", "nestloop"):
                found = tuple(run(connection, self.sql.replacing(ranged=True), *bounds).one())
        else:
            with planned_for_few(connection):
                found = tuple(run(connection, self.sql.replacing()).one())
        cleared, precarious, *_ = found
        self._changed_all = cleared == staged and not precarious
        return found

    def _dense_range(self, connection: sa.Connection, staged: int) -> Sequence[Any]:
        """The range of the keys of so many staged rows, if few enough stored ones are in it to read them all. If they
        are not once, it is not asked again."""
        if not self._may_be_dense:
            return ()
        bounds = tuple(run(connection, self.sql.range()).one())
        with planned_for_few(connection):
            near = run(connection, self.sql.counting_range(DENSE * staged), *bounds).scalar_one()
        self._may_be_dense = near < DENSE * staged
        return bounds if self._may_be_dense else ()

    def matching(self, connection: sa.Connection, staged: SqlTable) -> tuple[int, int]:
        """How many of some staged rows have their key in the table, and how many of these are the upload's own."""
        matched, own = map(int, run(connection, self.sql.matching(staged)).one())
        return matched, own

    def others(self, connection: sa.Connection, staged: SqlTable) -> Compared:
        """The staged rows that were left out when all were written, because they are unchanged."""
        return self._compared(*columns.whole_numbers(connection, self.sql.others(staged), COMPARED))

    def compare(self, connection: sa.Connection, staged: int, *, locks: bool) -> Compared:
        """The staged rows, so many. PostgreSQL only."""
        if self._may_be_dense and staged >= FEW and not locks:
            most = DENSE * staged
            with planned_without(connection, "seqscan", "mergejoin"):
                near, found = columns.whole_numbers_counted(connection, self.sql.comparing_range(most), COMPARED)
            if near < most:
                order = np.argsort(found[0], kind="stable")
                return self._compared(*(each[order] for each in found))
            self._may_be_dense = False
        with planned_for_few(connection):
            return self._compared(*columns.whole_numbers(connection, self.sql.comparing(locks=locks), COMPARED))

    def compare_unstaged(self, connection: sa.Connection, batch: pa.RecordBatch) -> Compared:
        """Rows that are not staged. SQLite only."""
        values, parts = batch.select(self.sql.compared), []
        if batch.num_rows < stored_range.FEW or connection.dialect.driver != "adbc":
            return self._looked_up(connection, values)
        for start in range(0, batch.num_rows, stored_range.ROWS):
            rows = values.slice(start, stored_range.ROWS)
            near = Near.read(connection, self.sql, rows) if self._may_be_dense else None
            self._may_be_dense = near is not None
            if near is not None:
                parts.append(self._near(near, rows))
                is_left = np.ones(rows.num_rows, dtype=bool)
                is_left[near.places] = False
                rows = rows.filter(pa.array(is_left)) if is_left.any() else rows.slice(0, 0)
            if rows.num_rows:
                parts.append(self._looked_up(connection, rows))
        return Compared.joined(parts)

    def seem_unchanged(self, connection: sa.Connection, batch: pa.RecordBatch) -> bool:
        """Whether some of a sample of rows change nothing. SQLite only."""
        some = np.arange(0, batch.num_rows, max(1, batch.num_rows // SAMPLE))
        values = batch.select(self.sql.compared).take(pa.array(some))
        return bool(self._looked_up(connection, values).same.any())

    def _looked_up(self, connection: sa.Connection, values: pa.RecordBatch) -> Compared:
        return self._compared(*columns.whole_numbers_of_each(connection, self.sql.comparing_one(), values, COMPARED))

    def _near(self, near: Near, rows: pa.RecordBatch) -> Compared:
        numbers, own = rows.column(0).to_numpy()[near.places], near.owners == self._upload_id
        return Compared(numbers, near.owners, near.owner_numbers, near.alike & ~own, own)

    def _compared(self, twice: Numbers, owners: Numbers, owner_numbers: Numbers) -> Compared:
        own = owners == self._upload_id
        return Compared(twice >> 1, owners, owner_numbers, (twice & 1).astype(bool) & ~own, own)

    def put_back(self, connection: sa.Connection, compared: Compared) -> PutBack:
        """Put rows back that are staged as they were before this upload changed them, and unstage these."""
        if not self.keeps_images or not compared.own.any():
            return PutBack()
        with planned_for_few(connection):
            numbers, owners, owner_numbers, images = columns.whole_numbers(connection, self.sql.returning(), RETURNED)
            if not len(numbers):
                return PutBack()
            run(connection, self.sql.putting_back())
            run(connection, self.sql.unstaging_back())
        for image in images.tolist():
            run(connection, self.sql.forgetting(), image)
        return PutBack(numbers, owners, owner_numbers)

    def outcome(
        self, changed: int, compared: Compared, back: PutBack, replaced: int, images: tuple[int, int] | None
    ) -> Outcome:
        """Once everything is written."""
        same, gone = compared.same, ~compared.same & ~compared.own
        owners, numbers = compared.owners, compared.owner_numbers
        before = self._found.has(owners, numbers)
        fresh, undone = same & ~before, gone & before
        self._found.mark(owners[fresh], numbers[fresh])
        self._found.mark(owners[undone], numbers[undone], value=False)
        self._found.mark(back.owners, back.owner_numbers)
        blocks = [
            *blocks_of(compared.numbers[fresh], owners[fresh], numbers[fresh]),
            *blocks_of(back.numbers, back.owners, back.owner_numbers),
        ]
        unchanged = int(fresh.sum()) - int(undone.sum()) + len(back)
        return Outcome(changed, unchanged, blocks, replaced - len(back), images)


def planned_for_few(connection: sa.Connection) -> "AbstractContextManager[None]":
    """Inside the block, PostgreSQL looks each staged row up by an index. It does not know how few rows are staged, and
    would compare all of them with each row of the table."""
    return planned_without(connection, "seqscan", "hashjoin", "mergejoin")


@contextmanager
def planned_without(connection: sa.Connection, *methods: str) -> "Iterator[None]":
    """Inside the block, PostgreSQL uses none of these methods where there is another."""
    if connection.dialect.name != "postgresql":
        yield
        return
    run(connection, _settings(methods, "off"))
    yield
    run(connection, _settings(methods, "on"))


def _settings(methods: Sequence[str], value: str) -> str:
    """In one statement."""
    set_ = [f"set_config('enable_{method}', '{value}', true)" for method in methods]
    return f"SELECT {', '.join(set_)}"
