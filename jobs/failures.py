"""Rows that were not imported: each as it came, with every reason; and how many there are of each reason."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import columns
from jobs.tables import failed_rows, failure_counts

#: Characters of a cell that a reason quotes.
QUOTED = 60


class Reason(NamedTuple):
    """Why a row was not imported.

    column: None for the row as a whole. rule: the end of a sentence, the same for all rows that fail alike. value: the
    cell, if it says something. detail: what is particular to this row.
    """

    column: str | None
    rule: str
    value: str | None = None
    detail: str | None = None

    @property
    def sentence(self) -> str:
        """For people: price: “12,5x” is not a number."""
        column = f"{self.column}: " if self.column else ""
        value = "" if self.value is None else f"“{self.value[:QUOTED]}{'…' if len(self.value) > QUOTED else ''}” "
        return f"{column}{value}{self.rule}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True)
class BadRow:
    """A row that was not imported: its cells as they came. number: 1 is the first below the header."""

    number: int
    cells: list[str]
    reasons: list[Reason]

    @property
    def sentence(self) -> str:
        return "; ".join(reason.sentence for reason in self.reasons)


class FailureCount(NamedTuple):
    """rows: of an upload that failed for this reason, perhaps among others."""

    column: str | None
    rule: str
    rows: int


@dataclass(frozen=True)
class Failures:
    """Failed rows of a chunk as they are stored: columns, and how many rows failed for which reason."""

    columns: pa.RecordBatch
    counts: Counter[tuple[str, str]]

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @classmethod
    def of(cls, bad: list[BadRow]) -> Self:
        """What costs the processor, so that it need not be done while the database is held."""
        batch = pa.RecordBatch.from_pydict(
            {
                "row_number": pa.array([row.number for row in bad], pa.int64()),
                "cells": pa.array([json.dumps(row.cells) for row in bad], pa.string()),
                "reasons": pa.array([json.dumps(row.reasons) for row in bad], pa.string()),
            }
        )
        return cls(batch, Counter((column or "", rule) for row in bad for column, rule in _different(row.reasons)))


def _different(reasons: list[Reason]) -> set[tuple[str | None, str]]:
    return {reason[:2] for reason in reasons}


def record(connection: sa.Connection, upload_id: int, bad: Failures, *, room: int) -> None:
    """Count failed rows of an upload, and keep the first ones. room: how many more may be kept."""
    if not bad:
        return
    if room > 0:
        kept = bad.columns.slice(0, room)
        ids = pa.repeat(pa.scalar(upload_id, pa.int64()), kept.num_rows)
        batch = pa.RecordBatch.from_arrays([ids, *kept.columns], ["upload_id", *kept.schema.names])
        columns.add(connection, failed_rows, columns.pack(connection.dialect, failed_rows, batch))
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(failure_counts)
    added = insert.on_conflict_do_update(
        index_elements=list(failure_counts.primary_key), set_={"rows": failure_counts.c.rows + insert.excluded.rows}
    )
    counted = sorted(bad.counts.items())  # in one order, whoever writes
    connection.execute(
        added,
        [{"upload_id": upload_id, "column": column, "rule": rule, "rows": rows} for (column, rule), rows in counted],
    )


def forget(connection: sa.Connection, upload_id: int) -> None:
    """The upload begins anew: none of its rows has failed yet."""
    for table in (failed_rows, failure_counts):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))


def rows(connection: sa.Connection, upload_id: int, *, after: int = 0, limit: int) -> list[BadRow]:
    """Failed rows that were kept, behind a row number, in order."""
    statement = sa.select(failed_rows).where(failed_rows.c.upload_id == upload_id, failed_rows.c.row_number > after)
    found = connection.execute(statement.order_by(failed_rows.c.row_number).limit(limit))
    return [BadRow(row.row_number, row.cells, [Reason(*reason) for reason in row.reasons]) for row in found]


def counts(connection: sa.Connection, upload_id: int, *, limit: int = 100) -> list[FailureCount]:
    """Reasons with their rows, the most frequent first."""
    statement = sa.select(failure_counts).where(failure_counts.c.upload_id == upload_id)
    order = (failure_counts.c.rows.desc(), failure_counts.c.rule, failure_counts.c.column)
    found = connection.execute(statement.order_by(*order).limit(limit))
    return [FailureCount(row.column or None, row.rule, row.rows) for row in found]
