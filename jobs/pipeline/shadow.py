"""A shadow of a dataset's table: what the table would be after an import, as far as the file touches it.

The shadow is a temporary table of the database, or on SQLite of the connection, so it locks nobody out. Before the rows
of a chunk are written into it, it takes over the stored rows that have the same key or unique value. So the writer of
the import finds in it what it would find in the table, and a row ends as it would there, whatever the size of the
chunks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.pipeline import columns, writer
from jobs.pipeline.columns import Packed
from jobs.pipeline.writer import PackedRows, Written
from jobs.rows.sql_table import SqlTable, run
from jobs.schema import OWN_COLUMNS

_, ROW_NUMBER = OWN_COLUMNS


@dataclass(frozen=True)
class Comparison:
    """The rows of a file in the shadow, compared with the table. in_all: the last row of each key. stored: those whose
    key is stored. alike: those of them that change nothing. examples: some that do, as stored and as written, without
    upload and row number."""

    in_all: int
    stored: int
    alike: int
    examples: list[tuple[list[Any], list[Any]]]


class Shadow:
    """A writer into the shadow, and what it then differs by."""

    def __init__(
        self, dialect: sa.Dialect, dataset: Dataset, upload_id: int, filled: Collection[str], *, stored: Dataset | None
    ) -> None:
        """stored: the dataset as it is, perhaps without some fields; None: its rows compete with nothing stored."""
        self._dataset = dataset
        self._upload_id = upload_id
        self._stored = None if stored is None else stored.table(dialect)
        self._competing = writer.competing(dataset, filled)
        whole = dataset.table(dialect)
        unique = [each.name for each in dataset.schema.fields if each.constraints.unique]
        #: Rows that replace others by their key alone cannot fail: the last one of each key is what counts.
        self._only_replaces = dataset.replaces and self._competing == [dataset.schema.primary_key]
        #: Where nothing is stored either, only the number of keys counts.
        self._only_counts = self._only_replaces and stored is None and not whole.is_sqlite
        kept = {name: whole.columns[name] for name in dataset.schema.primary_key}
        key = [] if self._only_replaces and not whole.is_sqlite else whole.key
        name = f"_shadow_{upload_id}"
        if self._only_counts:
            self._table = SqlTable(dialect, name, kept)
        else:
            self._table = SqlTable(dialect, name, whole.columns, key=key, unique=unique)
        self._filled = [name for name in dataset.schema.names if name in filled]
        names = dict.fromkeys(name for each in self._competing for name in each)
        self._looked_up = SqlTable(
            dialect, f"_looked_up_{upload_id}", {name: whole.columns[name] for name in (ROW_NUMBER, *names)}
        )
        self._writer = writer.writer_for(dialect, dataset, upload_id, filled, table=self._table)

    def create(self, connection: sa.Connection) -> None:
        run(connection, self._table.creation(temporary=True, kept=True))
        run(connection, self._looked_up.creation(temporary=True))

    def pack(self, rows: pd.DataFrame) -> PackedRows:
        if self._only_counts:
            batch = writer.batch(self._upload_id, rows[list(self._table.columns)]).select(list(self._table.columns))
            return PackedRows(rows, columns.pack(self._table, batch), repeats=False)
        return self._writer.pack(rows)

    def write(self, connection: sa.Connection, rows: PackedRows) -> Written:
        """Rows without a key or a unique value compete with nothing, so they are not written."""
        if not self._competing:
            return Written.inserted({}, len(rows.packed))
        if self._only_replaces:
            self._append(connection, rows.packed)
            return Written.inserted({}, len(rows.packed))
        if self._stored is not None:
            self._take_over(connection, self._stored, rows.packed.batch)
        return self._writer.write(connection, rows)

    def _append(self, connection: sa.Connection, packed: Packed) -> None:
        """Write rows that replace others, without looking at these."""
        if self._table.is_sqlite:
            replacing = self._table.replacing(self._table.key, self._table.columns)
            columns.insert(connection, self._table.insertion(on_conflict=replacing), packed.batch)
        else:
            columns.add(connection, self._table, packed)

    def _take_over(self, connection: sa.Connection, stored: SqlTable, batch: pa.RecordBatch) -> None:
        table = self._looked_up
        run(connection, table.emptying())
        columns.add(connection, table, columns.pack(table, batch.select(list(table.columns))))
        if not table.is_sqlite:  # the planner does not know how many rows are staged
            for method in ("seqscan", "hashjoin", "mergejoin"):
                run(connection, f"SET LOCAL enable_{method} = off")
        for names in self._competing:
            if not stored.columns.keys() >= set(names):
                continue  # a new field has no value in any row
            run(connection, self._table.taking_over(stored, table, names))
        if not table.is_sqlite:
            for method in ("seqscan", "hashjoin", "mergejoin"):
                run(connection, f"SET LOCAL enable_{method} = on")

    def compare(self, connection: sa.Connection, *, examples: int) -> Comparison | None:
        """None: no row replaces another. examples: of rows that change something."""
        if not self._dataset.replaces:
            return None
        if self._stored is None:
            counted = run(connection, self._table.counting_keys(self._dataset.schema.primary_key)).scalar_one()
            return Comparison(int(counted), 0, 0, [])
        # A field that no column fills keeps its value.
        fields = self._filled
        counts = run(connection, self._table.compared(self._stored, fields, upload_id=self._upload_id)).one()
        in_all, stored, alike = map(int, counts)
        found: list[tuple[list[Any], list[Any]]] = []
        if stored > alike:
            statement = self._table.differing(self._stored, fields, upload_id=self._upload_id, limit=examples)
            own, width = len(OWN_COLUMNS), len(self._table.columns)
            kept = [place for place, name in enumerate(self._dataset.schema.names) if name not in self._filled]
            for row in map(list, run(connection, statement)):
                before, after = row[own:width], row[width + own :]
                for place in kept:
                    after[place] = before[place]
                found.append((before, after))
        return Comparison(in_all, stored, alike, found)
