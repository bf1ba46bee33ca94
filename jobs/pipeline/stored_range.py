"""Compares rows with the stored ones in the range of their keys, on SQLite: these are read at once, as columns.

Where most rows of a file are stored already, this takes three quarters of the time of looking each one up. It needs no
more memory than the file's rows do: stored rows that are much longer than these are not read.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from jobs.pipeline.found_unchanged import Numbers
from jobs.pipeline.parsing import Mask
from jobs.pipeline.upsert_sql import UpsertSql

#: Rows below which each is looked up, and those whose range is read at once: the driver decides the types of what is
#: stored there together.
FEW, ROWS = 2_000, 47_000
#: How many times as many stored rows as these there may be in their range, and as many bytes as such a row has on
#: average in one of them.
DENSE, LONGER = 1.25, 4
#: Bytes that any stored row may have.
SHORT = 128


@dataclass(frozen=True)
class Near:
    """Rows, by their places, whose key is stored. owners, owner_numbers: where the stored ones come from. alike: which
    of these have the same values."""

    places: Numbers
    owners: Numbers
    owner_numbers: Numbers
    alike: Mask

    @classmethod
    def read(cls, connection: sa.Connection, sql: UpsertSql, rows: pa.RecordBatch) -> Self | None:
        """Not all rows whose key is stored may be among them. None: to look each of them up is better. rows: their
        columns `sql.compared`, at most ROWS, with different keys."""
        key = rows.column(1)
        most, bounds = int(DENSE * rows.num_rows) + 1, pc.min_max(key)
        longest = SHORT + LONGER * rows.nbytes // rows.num_rows
        driver: Any = connection.connection.driver_connection
        found = driver.query(sql.near(most), [bounds["min"].as_py(), bounds["max"].as_py(), longest])
        if found.num_rows == most or 2 * found.num_rows < rows.num_rows:
            return None
        owners, owner_numbers, keys, *values = (each.combine_chunks() for each in found.columns)
        if keys.type != key.type:
            return None
        if keys.equals(key):
            places, stored = np.arange(rows.num_rows), None
        else:
            placed = pc.index_in(keys, value_set=key)
            stored = pc.is_valid(placed)
            places = placed.filter(stored).to_numpy().astype(np.int64)
            owners, owner_numbers, *values = (each.filter(stored) for each in (owners, owner_numbers, *values))
            rows = rows.take(pa.array(places))
        alike = np.ones(len(places), dtype=bool)
        for value, other in zip(values, rows.columns[2:], strict=True):
            if value.type != other.type and value.null_count < len(value):  # the type is unknown if all are null
                return None
            if not value.equals(other):
                alike &= _alike(value, other)
        return cls(places, owners.to_numpy(), owner_numbers.to_numpy(), alike)


def _alike(stored: pa.Array, others: pa.Array) -> Mask:
    """Which values are the same, as IS has it in SQL."""
    both_null = pc.and_(pc.is_null(stored), pc.is_null(others))
    if stored.type != others.type:
        return _mask(both_null)
    return _mask(pc.or_(pc.fill_null(pc.equal(stored, others), False), both_null))


def _mask(values: pa.Array) -> Mask:
    found: Mask = values.to_numpy(zero_copy_only=False)
    return found
