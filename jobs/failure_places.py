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
        connection.execute(_INSERT, values)


_INSERT = sa.insert(failure_places)


def find(
    connection: sa.Connection,
    upload_id: int,
    *,
    column: str | None,
    rule: str | None,
    after: int = 0,
    before: int | None = None,
    limit: int,
) -> list[int]:
    """The numbers of stored failed rows that have a reason, in order: the first ones after a row, or the last ones
    before a row.

    column: of the reason, "" for one about the row as a whole; rule: see failed_rows.Reason. None: any.
    """
    if not _has_blocks(connection, upload_id):
        return _searched(connection, upload_id, column, rule, after, before, limit)
    columns = failure_places.c
    conditions = [columns.upload_id == upload_id]
    conditions += [columns.last_row > after] if before is None else [columns.first_row < before]
    conditions += [columns.column == column] if column is not None else []
    conditions += [columns.rule == rule] if rule is not None else []
    statement = sa.select(columns.first_row, columns.last_row, columns.runs).where(*conditions)
    order = columns.first_row if before is None else columns.last_row.desc()
    ordered = statement.order_by(order, columns.column, columns.rule)
    # Backwards, the numbers are negative: what follows is the same.
    sign, start = (1, after) if before is None else (-1, -before)
    found: list[int] = []
    for number in _merged(_blocks(connection, ordered, sign)):
        if number > start and number not in found[-1:]:
            found.append(number)
            if len(found) == limit:
                break
    return sorted(sign * number for number in found)


def _blocks(connection: sa.Connection, ordered: sa.Select[Any], sign: int) -> Iterator[tuple[int, list[int]]]:
    """The blocks of a statement: the first row and all rows of each, in order. sign: 1, or -1 for backwards."""
    read = 0
    while blocks := connection.execute(ordered.offset(read).limit(BLOCKS_READ)).all():
        for block in blocks:
            numbers = list(_numbers(block.runs))
            yield (block.first_row, numbers) if sign == 1 else (-block.last_row, [-each for each in reversed(numbers)])
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
    connection: sa.Connection,
    upload_id: int,
    column: str | None,
    rule: str | None,
    after: int,
    before: int | None,
    limit: int,
) -> list[int]:
    """As `find`, by a search of the stored reasons."""
    stored = sa.cast(failed_rows.c.reasons, sa.Text)
    contains = sa.func.instr if connection.dialect.name == "sqlite" else sa.func.strpos
    parts = [] if rule is None else [f", {json.dumps(rule)}"]
    if column is not None:
        parts.append(f"[{json.dumps(column or None)}, {'' if rule is None else json.dumps(rule)}")
    statement = sa.select(failed_rows.c.row_number).where(failed_rows.c.upload_id == upload_id)
    number = failed_rows.c.row_number
    statement = statement.where(number > after if before is None else number < before)
    statement = statement.where(*(contains(stored, part) > 0 for part in parts))
    ordered = statement.order_by(number if before is None else number.desc())
    return sorted(connection.execute(ordered.limit(limit)).scalars())
