"""Rows that an upload brought and the dataset had already.

An upsert does not write such a row: the stored one keeps the upload and the row number that it came from. Which rows
these were is kept, because the upload vouches for them: if the upload that wrote a row is undone, the row stays as long
as another one found it unchanged. A row is known by its origin: the upload and the row number that wrote it, its
*owner* here.

The numbers stand in blocks, as runs of rows that follow one another in both files. If the same file comes again, a
block of one run tells of a whole chunk; of a file in another order, a block has many runs, packed.
"""

import bisect
import zlib
from array import array
from base64 import b85decode, b85encode
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Self

import sqlalchemy as sa

from jobs.tables import unchanged_rows

#: Level of compression of the runs.
LEVEL = 1
#: Numbers of a run: how far its first row is behind that of the run before, in both files, and how many rows it has.
_RUN = 3
#: Owners' numbers that one query looks for.
_AT_ONCE = 500


class Block(NamedTuple):
    """Rows of one upload that another upload, the owner, had written: first and last number of the rows of the upload,
    and the lowest and highest number of those of the owner. runs: packed; None: both count on by one."""

    first: int
    last: int
    owner_id: int
    owner_first: int
    owner_last: int
    rows: int
    runs: str | None = None

    @classmethod
    def even(cls, first: int, owner_id: int, owner_first: int, rows: int) -> Self:
        """Rows that follow one another in both files."""
        return cls(first, first + rows - 1, owner_id, owner_first, owner_first + rows - 1, rows)

    @classmethod
    def of(cls, owner_id: int, extent: tuple[int, int, int, int], rows: int, steps: bytes) -> Self:
        """Several runs. extent: the first four numbers of a block. steps: 64 bit numbers, three for each run: how far
        the first row is behind that of the run before (from 0), in the file of the upload and in that of the owner, and
        how many rows it has."""
        first, last, owner_first, owner_last = extent
        packed = b85encode(zlib.compress(steps, LEVEL)).decode()
        return cls(first, last, owner_id, owner_first, owner_last, rows, packed)

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """The runs: number of the first row in the file of the upload, in that of the owner, and how many rows."""
        if self.runs is None:
            yield self.first, self.owner_first, self.rows
            return
        steps = array("q")
        steps.frombytes(zlib.decompress(b85decode(self.runs)))
        number = owner_number = 0
        for place in range(0, len(steps), _RUN):
            number += steps[place]
            owner_number += steps[place + 1]
            yield number, owner_number, steps[place + 2]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """The number of each row in the file of the upload, and in that of the owner."""
        for number, owner_number, rows in self.stretches():
            for place in range(rows):
                yield number + place, owner_number + place


def record(connection: sa.Connection, upload_id: int, blocks: Iterable[Block]) -> None:
    values = [{"upload_id": upload_id, **block._asdict()} for block in blocks]
    if values:
        connection.execute(sa.insert(unchanged_rows), values)


def delete_all(connection: sa.Connection, upload_id: int) -> None:
    """Delete what is known of an upload that starts again."""
    connection.execute(sa.delete(unchanged_rows).where(unchanged_rows.c.upload_id == upload_id))


def of_upload(connection: sa.Connection, upload_id: int) -> Iterator[Block]:
    """What an upload found unchanged, in the order of its file."""
    columns = [unchanged_rows.c[name] for name in Block._fields]
    order = (unchanged_rows.c.first, unchanged_rows.c.owner_id)
    for row in connection.execute(sa.select(*columns).where(unchanged_rows.c.upload_id == upload_id).order_by(*order)):
        yield Block(*row)


def finders(connection: sa.Connection, owner_id: int, numbers: Collection[int]) -> dict[int, list[tuple[int, int]]]:
    """Who found rows of an owner unchanged: number of the owner's row → upload and row number of each, by upload. Rows
    that nobody found are not in it."""
    found: dict[int, list[tuple[int, int]]] = {}
    ordered = sorted(set(numbers))
    for start in range(0, len(ordered), _AT_ONCE):
        wanted = ordered[start : start + _AT_ONCE]
        for upload_id, block in _blocks_about(connection, owner_id, wanted[0], wanted[-1]):
            for first, owner_first, rows in block.stretches():
                place = bisect.bisect_left(wanted, owner_first)
                while place < len(wanted) and wanted[place] < owner_first + rows:
                    found.setdefault(wanted[place], []).append((upload_id, first + wanted[place] - owner_first))
                    place += 1
    return {number: sorted(who) for number, who in found.items()}


def blocks_about(connection: sa.Connection, owner_id: int, first: int, last: int) -> Iterator[tuple[int, Block]]:
    """The blocks, each with its upload, that tell of rows of an owner with numbers in an interval, among others."""
    yield from _blocks_about(connection, owner_id, first, last)


def _blocks_about(connection: sa.Connection, owner_id: int, first: int, last: int) -> Iterator[tuple[int, Block]]:
    columns = unchanged_rows.c
    statement = sa.select(columns.upload_id, *(columns[name] for name in Block._fields)).where(
        columns.owner_id == owner_id, columns.owner_first <= last, columns.owner_last >= first
    )
    for upload_id, *block in map(tuple, connection.execute(statement.order_by(columns.upload_id, columns.first))):
        yield upload_id, Block(*block)
