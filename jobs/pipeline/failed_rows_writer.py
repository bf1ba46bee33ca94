"""Stores the failed rows of a chunk and counts them by reason, in the caller's transaction.

Separate from jobs/failed_rows.py, which the web processes import, because this module loads pyarrow.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs.failed_rows import FailedRow
from jobs.pipeline import columns
from jobs.sql_table import SqlTable
from jobs.tables import failed_rows, failure_counts


@dataclass(frozen=True)
class PackedFailedRows:
    """columns: row numbers, lines, cells and reasons, as stored. counts: number of rows by (column or "", rule)."""

    columns: pa.RecordBatch
    counts: Counter[tuple[str, str]]

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @classmethod
    def pack(cls, failed: list[FailedRow]) -> Self:
        """Do the CPU-bound part, outside of the transaction."""
        batch = pa.RecordBatch.from_pydict(
            {
                "row_number": pa.array([row.row_number for row in failed], pa.int64()),
                "line": pa.array([row.line for row in failed], pa.int64()),
                "cells": pa.array([json.dumps(row.cells) for row in failed], pa.string()),
                "reasons": pa.array([json.dumps(row.reasons) for row in failed], pa.string()),
            }
        )
        counts = Counter((column or "", rule) for row in failed for column, rule in {each[:2] for each in row.reasons})
        return cls(batch, counts)


def record(connection: sa.Connection, upload_id: int, failed: PackedFailedRows, *, room: int) -> None:
    """Count the failed rows of an upload and store the first ones. room: how many more may be stored."""
    if not failed:
        return
    if room > 0:
        first = failed.columns.slice(0, room)
        ids = pa.repeat(pa.scalar(upload_id, pa.int64()), first.num_rows)
        batch = pa.RecordBatch.from_arrays([ids, *first.columns], ["upload_id", *first.schema.names])
        table = SqlTable(
            connection.dialect, failed_rows.name, {name: failed_rows.c[name].type for name in batch.schema.names}
        )
        columns.add(connection, table, columns.pack(table, batch))
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(failure_counts)
    added = insert.on_conflict_do_update(
        index_elements=list(failure_counts.primary_key), set_={"rows": failure_counts.c.rows + insert.excluded.rows}
    )
    counted = sorted(failed.counts.items())  # always in the same order, which avoids deadlocks
    connection.execute(
        added,
        [{"upload_id": upload_id, "column": column, "rule": rule, "rows": rows} for (column, rule), rows in counted],
    )
