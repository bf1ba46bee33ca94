"""Reads back from its table what an upload wrote, as columns, with bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.pipeline.found_unchanged import FoundUnchanged
from jobs.pipeline.tally import Tallier, Tally
from jobs.rows.selection import Condition, Operator, Selection
from jobs.rows.sql_table import SqlTable
from jobs.schema import OWN_COLUMNS, SchemaField
from jobs.traces import unchanged_rows

#: Rows that are read at once at first, and at most: ADBC derives the types of a result from its first 1,024 rows.
FEW, MANY = 64, 1_000
#: Characters of text that are read at once, about: rows are fewer if they are large.
CHARACTERS = 1 << 22


def arrays(fields: Sequence[SchemaField], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Rows as a driver returns them, as columns. fields: of the values of each row."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    found = [_array(each, values) for each, values in zip(fields, columns, strict=True)]
    return pa.RecordBatch.from_arrays(found, [each.name for each in fields])


def _array(field: SchemaField, values: Sequence[Any]) -> pa.Array:
    match field.type:
        case "string":
            return pa.array(values, pa.string())
        case "integer":
            return pa.array(values, pa.int64())
        case "number":
            return pa.array(values, pa.float64())
        case "boolean":
            return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    if any(isinstance(value, str) for value in values):  # SQLite stores ISO text
        return pa.array(values, pa.string())
    if field.type == "date":
        return pa.array(values, pa.date32())
    if field.type == "time":
        return pa.array(values, pa.time64("us"))
    return pa.array(values, pa.timestamp("us", tz="UTC" if field.is_in_utc else None))


def batches(
    connection: sa.Connection, table: SqlTable, fields: Sequence[SchemaField], upload_id: int
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """The rows of an upload that are in a table: their numbers, and some fields. table: one with a key."""
    names = [OWN_COLUMNS[1], *(each.name for each in fields)]
    for rows in _pages(connection, table, names, upload_id):
        yield [row[0] for row in rows], arrays(fields, [row[1:] for row in rows])


def _pages(
    connection: sa.Connection, table: SqlTable, names: Sequence[str], upload_id: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of an upload with some columns, in pages whose texts are not too long together."""
    selection = Selection((Condition(OWN_COLUMNS[0], Operator.EQUAL, upload_id),))
    what = ", ".join(map(table.identifier, [*names, *table.key]))
    if connection.dialect.driver != "adbc":
        statement, values = table.page(what, selection, (), limit=None)
        options = {} if table.is_sqlite else {"stream_results": True}
        with connection.exec_driver_sql(statement, tuple(values), execution_options=options) as cursor:
            size = FEW
            while rows := [tuple(row)[: len(names)] for row in cursor.fetchmany(size)]:
                yield rows
                size = _next_size(rows)
        return
    place: tuple[Any, ...] = ()
    size = FEW
    while True:
        statement, values = table.page(what, selection, place, limit=size)
        found = [tuple(row) for row in connection.exec_driver_sql(statement, tuple(values))]
        if not found:
            return
        yield [row[: len(names)] for row in found]
        if len(found) < size:
            return
        place, size = found[-1][len(names) :], _next_size(found)


def _next_size(rows: Sequence[Sequence[Any]]) -> int:
    characters = sum(len(value) for row in rows for value in row if isinstance(value, str)) or 1
    return max(1, min(MANY, len(rows) * 4, len(rows) * CHARACTERS // characters))


def tally_of_unchanged(
    connection: sa.Connection,
    dataset: Dataset,
    fields: Sequence[SchemaField],
    upload_id: int,
    *,
    tick: Callable[[], None],
) -> tuple[Tally, dict[str, float]]:
    """As `tally`, of the rows that the upload found unchanged, as they are in the table."""
    blocks = list(unchanged_rows.of_upload(connection, upload_id))
    found = FoundUnchanged(blocks)
    total, sizes = Tally(), dict.fromkeys((each.name for each in fields), 0.0)
    for owner in sorted({block.owner_id for block in blocks}):

        def vouched(numbers: list[int], rows: pa.RecordBatch, owner: int = owner) -> pa.RecordBatch:
            return rows.filter(pa.array(found.has(np.full(len(numbers), owner), np.array(numbers))))

        more, size = tally(connection, dataset, fields, owner, chosen=vouched, tick=tick)
        total += more
        sizes = {name: sizes[name] + size[name] for name in sizes}
    return total, sizes


def tally(
    connection: sa.Connection,
    dataset: Dataset,
    fields: Sequence[SchemaField],
    upload_id: int,
    *,
    table: SqlTable | None = None,
    chosen: Callable[[list[int], pa.RecordBatch], pa.RecordBatch] = lambda _, rows: rows,
    tick: Callable[[], None],
) -> tuple[Tally, dict[str, float]]:
    """A tally of the rows of an upload that are in a table, and the sums of the absolute values of their numbers, which
    bound how much the sums lose because a number is stored as a double. table: by default that of the dataset.
    chosen: of rows, whose numbers it gets, those that count."""
    tallier, total, sizes = Tallier(fields), Tally(), dict.fromkeys((each.name for each in fields), 0.0)
    numbers = [each.name for each in fields if each.type == "number"]
    for row_numbers, found in batches(connection, table or dataset.table(connection.dialect), fields, upload_id):
        rows = chosen(row_numbers, found)
        total += tallier.of(rows)
        for name in numbers:
            sizes[name] += pc.sum(pc.abs(rows.column(name))).as_py() or 0.0
        tick()
    return total, sizes
