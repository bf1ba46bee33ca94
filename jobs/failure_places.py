"""Which stored failed rows have a reason: an index in blocks, so that a page of them is found among a million others.

The job writes blocks of row numbers for each reason of a chunk. A block holds runs: how many rows lie between this run
and the one before, how long it is, and so on. An upload whose rows an earlier release stored has no blocks; its rows
are searched one after the other.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from jobs.tables import failed_rows, failure_places

#: Row numbers in a block.
BLOCK_ROWS = 2_000
#: Blocks that are read at once.
BLOCKS_READ = 16


def write(connection: sa.Connection, upload_id: int, places: Mapping[tuple[str, str], Sequence[int]]) -> None:
    """Add blocks. places: (column or "", rule) → numbers of failed rows, in order, behind all that were added."""
    values: list[dict[str, Any]] = []
    for (column, rule), numbers in sorted(places.items()):
        for start in range(0, len(numbers), BLOCK_ROWS):
            block = numbers[start : start + BLOCK_ROWS]
            ends = {"first_row": block[0], "last_row": block[-1]}
            values.append({"upload_id": upload_id, "column": column, "rule": rule, **ends, "runs": _runs(block)})
    if values:
        connection.execute(sa.insert(failure_places), values)


def find(
    connection: sa.Connection, upload_id: int, *, column: str | None, rule: str | None, after: int, limit: int
) -> list[int]:
    """The numbers of stored failed rows after a row that have a reason, in order.

    column: of the reason, "" for one about the row as a whole; rule: see failed_rows.Reason. None: any.
    """
    if not _has_blocks(connection, upload_id):
        return _searched(connection, upload_id, column, rule, after, limit)
    columns = failure_places.c
    conditions = [columns.upload_id == upload_id, columns.last_row > after]
    conditions += [columns.column == column] if column is not None else []
    conditions += [columns.rule == rule] if rule is not None else []
    statement = sa.select(columns.first_row, columns.runs).where(*conditions)
    ordered = statement.order_by(columns.first_row, columns.column, columns.rule)
    found: list[int] = []
    for number in _merged(_blocks(connection, ordered)):
        if number > after and number not in found[-1:]:
            found.append(number)
            if len(found) == limit:
                break
    return found


def _blocks(connection: sa.Connection, ordered: sa.Select[Any]) -> Iterator[tuple[int, list[int]]]:
    """The blocks of a statement: the first row and all rows of each."""
    read = 0
    while blocks := connection.execute(ordered.offset(read).limit(BLOCKS_READ)).all():
        yield from ((block.first_row, list(_numbers(block.runs))) for block in blocks)
        read += len(blocks)


def _merged(blocks: Iterable[tuple[int, list[int]]]) -> Iterator[int]:
    """The row numbers of overlapping blocks in order. The blocks come in the order of their first rows."""
    waiting: list[int] = []
    for first, numbers in blocks:
        while waiting and waiting[0] < first:
            yield heapq.heappop(waiting)
        if waiting:
            for number in numbers:
                heapq.heappush(waiting, number)
        else:
            waiting = numbers
    yield from sorted(waiting)


def _runs(numbers: Sequence[int]) -> list[int]:
    runs: list[int] = []
    end = 0
    for number in numbers:
        if runs and number == end + 1:
            runs[-1] += 1
        else:
            runs += [number - end, 1]
        end = number
    return runs


def _numbers(runs: Sequence[int]) -> Iterator[int]:
    end = 0
    for gap, length in zip(runs[::2], runs[1::2], strict=True):
        yield from range(end + gap, end + gap + length)
        end += gap + length - 1


def _has_blocks(connection: sa.Connection, upload_id: int) -> bool:
    return bool(connection.scalar(sa.select(sa.exists().where(failure_places.c.upload_id == upload_id))))


def _searched(
    connection: sa.Connection, upload_id: int, column: str | None, rule: str | None, after: int, limit: int
) -> list[int]:
    """As `find`, by a search of the stored reasons."""
    stored = sa.cast(failed_rows.c.reasons, sa.Text)
    contains = sa.func.instr if connection.dialect.name == "sqlite" else sa.func.strpos
    parts = [] if rule is None else [f", {json.dumps(rule)}"]
    if column is not None:
        parts.append(f"[{json.dumps(column or None)}, {'' if rule is None else json.dumps(rule)}")
    statement = sa.select(failed_rows.c.row_number).where(failed_rows.c.upload_id == upload_id)
    statement = statement.where(failed_rows.c.row_number > after, *(contains(stored, part) > 0 for part in parts))
    return list(connection.execute(statement.order_by(failed_rows.c.row_number).limit(limit)).scalars())
