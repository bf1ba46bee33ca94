"""Stores the failed rows of a chunk and counts them by reason, in the caller's transaction.

Separate from jobs/failed_rows.py, which the web processes import, because this module loads pyarrow.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import Any, Self

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import failure_map, failure_places
from jobs.failed_rows import VALUE_LENGTH, VALUES_KEPT, VALUES_KEPT_IN_ALL, FailedRow
from jobs.failure_map import FailureMap
from jobs.pipeline import columns
from jobs.rows.sql_table import SqlTable
from jobs.tables import failed_rows, failure_counts

#: The column, "" for the row as a whole, and the rule of a reason.
Key = tuple[str, str]


@dataclass(frozen=True)
class PackedFailedRows:
    """columns: row numbers, lines, cells and reasons, as stored. places: the numbers of the rows that have a reason.
    values: what the rows have that break a rule."""

    columns: pa.RecordBatch
    places: Mapping[Key, Sequence[int]]
    values: Mapping[Key, Counter[str]]

    @property
    def counts(self) -> dict[Key, int]:
        """The number of rows that have a reason."""
        return {key: len(numbers) for key, numbers in self.places.items()}

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @classmethod
    def pack(cls, failed: list[FailedRow]) -> Self:
        """Do the CPU-bound part, outside of the transaction."""
        batch = pa.RecordBatch.from_pydict(
            {
                "row_number": pa.array([row.row_number for row in failed], pa.int64()),
                "line": pa.array([row.line for row in failed], pa.int64()),
                "cells": pa.array([_as_json(row.cells) for row in failed], pa.string()),
                "reasons": pa.array([f"[{', '.join(map(_as_json, row.reasons))}]" for row in failed], pa.string()),
            }
        )
        places: defaultdict[Key, list[int]] = defaultdict(list)
        values: defaultdict[Key, Counter[str]] = defaultdict(Counter)
        for row in failed:
            for key, value in {(each.column or "", each.rule): each.value for each in row.reasons}.items():
                places[key].append(row.row_number)
                if value is not None:
                    values[key][value] += 1
        return cls(batch, places, values)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of several chunks, in their order."""
        if len(parts) == 1:
            return parts[0]
        batch = pa.Table.from_batches([each.columns for each in parts]).combine_chunks().to_batches()
        places: defaultdict[Key, list[int]] = defaultdict(list)
        values: defaultdict[Key, Counter[str]] = defaultdict(Counter)
        for each in parts:
            for key, numbers in each.places.items():
                places[key] += numbers
            for key, counted in each.values.items():
                values[key].update(counted)
        return cls(batch[0] if batch else parts[0].columns, places, values)


def _as_json(texts: Sequence[str | None]) -> str:
    """What json.dumps makes of them, in a third of the time."""
    return f"[{', '.join('null' if text is None else encode_basestring_ascii(text) for text in texts)}]"


class FailureTally:
    """What is counted of an upload's failed rows: how many have each reason, with which values, and where they are.

    It knows what is stored, so that a chunk only writes it. Only whoever imports the upload changes it.
    """

    def __init__(self, stored: FailureMap, values: "_Values") -> None:
        self._map = stored
        self._values = values

    @classmethod
    def read(cls, connection: sa.Connection, upload_id: int) -> Self:
        return cls(failure_map.read(connection, upload_id), _Values.read(connection, upload_id))

    def adding(self, connection: sa.Connection, upload_id: int, failed: PackedFailedRows) -> Self:
        """The tally with further rows, as it is stored if the transaction is committed."""
        places = self._map.adding(failed.columns.column("row_number").to_pylist())
        failure_map.write(connection, upload_id, places)
        values, counted = self._values.adding(failed)
        connection.execute(_adding(connection.dialect.name), [{"upload_id": upload_id, **each} for each in counted])
        return type(self)(places, values)


def record(
    connection: sa.Connection, upload_id: int, failed: PackedFailedRows, tally: FailureTally | None = None, *, room: int
) -> FailureTally | None:
    """Count the failed rows of an upload and store the first ones.

    tally: what was returned in the last transaction that was committed; None: this process had none yet. room: how many
    more rows may be stored.
    """
    if not failed:
        return tally
    if room > 0:
        first = failed.columns.slice(0, room)
        ids = pa.repeat(pa.scalar(upload_id, pa.int64()), first.num_rows)
        batch = pa.RecordBatch.from_arrays([ids, *first.columns], ["upload_id", *first.schema.names])
        table = SqlTable(
            connection.dialect, failed_rows.name, {name: failed_rows.c[name].type for name in batch.schema.names}
        )
        columns.add(connection, table, columns.pack(table, batch))
        failure_places.write(connection, upload_id, _up_to(failed.places, first.column("row_number")[-1].as_py()))
    tally = tally or FailureTally.read(connection, upload_id)
    return tally.adding(connection, upload_id, failed)


def _up_to(places: Mapping[Key, Sequence[int]], last: int) -> dict[Key, list[int]]:
    """The places of the stored rows. last: the number of the last one."""
    stored = {key: [number for number in numbers if number <= last] for key, numbers in places.items()}
    return {key: numbers for key, numbers in stored.items() if numbers}


@cache  # to build it anew takes as long as to run it
def _adding(dialect_name: str) -> sa.Executable:
    """A statement that adds to the counts of reasons."""
    inserts: Any = sqlite if dialect_name == "sqlite" else postgresql
    insert = inserts.insert(failure_counts)
    changed = {
        "rows": failure_counts.c.rows + insert.excluded.rows,
        "found_values": insert.excluded.found_values,
        "more_values": insert.excluded.more_values,
    }
    added: sa.Executable = insert.on_conflict_do_update(index_elements=list(failure_counts.primary_key), set_=changed)
    return added


class _Values:
    """The values that break each rule, and how often. One that comes when enough are known is only noted."""

    def __init__(self, known: dict[Key, dict[str, int]], more: dict[Key, bool]) -> None:
        self._known = known
        self._more = more
        self._room = VALUES_KEPT_IN_ALL - sum(map(len, known.values()))

    @classmethod
    def read(cls, connection: sa.Connection, upload_id: int) -> Self:
        rows = connection.execute(sa.select(failure_counts).where(failure_counts.c.upload_id == upload_id)).all()
        known = {(row.column, row.rule): dict(row.found_values or []) for row in rows}
        return cls(known, {(row.column, row.rule): row.more_values is not False for row in rows})

    def adding(self, failed: PackedFailedRows) -> tuple[Self, list[dict[str, Any]]]:
        """With those of further rows, and what is to be added to each reason, always in the same order, which avoids
        deadlocks."""
        after = type(self)(dict(self._known), dict(self._more))
        counted = [
            {"column": key[0], "rule": key[1], "rows": rows, **after._add(key, failed.values.get(key, {}))}
            for key, rows in sorted(failed.counts.items())
        ]
        return after, counted

    def _add(self, key: Key, values: Mapping[str, int]) -> dict[str, Any]:
        """The columns of a reason, with further values."""
        known, more = dict(self._known.get(key, {})), self._more.get(key, False)
        for value, rows in values.items():
            is_new = value not in known
            if is_new and (len(known) == VALUES_KEPT or self._room <= 0 or len(value) > VALUE_LENGTH):
                more = True
                continue
            self._room -= is_new
            known[value] = known.get(value, 0) + rows
        self._known[key], self._more[key] = known, more
        return {"found_values": [list(each) for each in known.items()], "more_values": more}
