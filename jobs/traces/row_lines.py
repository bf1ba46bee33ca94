"""Where in its file each row of an upload began.

Rows are kept as runs, which are a chunk or longer. In most files each row takes one line, so one run tells of all rows
that a worker imported at a stretch.
"""

import bisect
import itertools
import zlib
from array import array
from base64 import b85decode, b85encode
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Self

import sqlalchemy as sa

from jobs.tables import row_lines

#: Level of compression of steps. Most steps are alike, so that more would save little.
LEVEL = 1


class LineRun(NamedTuple):
    """Consecutive rows. first: the number of the first one. line: its line in the file, or the row in its worksheet.
    steps: how many lines each row takes, as packed by `of`; None: one."""

    first: int
    line: int
    steps: str | None = None

    @classmethod
    def of(cls, first: int, lines: Sequence[int]) -> Self:
        """lines: of all rows of the run."""
        steps = array("I", (after - before for before, after in itertools.pairwise(lines)))
        is_even = not steps or steps.count(1) == len(steps)
        return cls(first, lines[0], None if is_even else b85encode(zlib.compress(steps.tobytes(), LEVEL)).decode())

    def line_of(self, number: int) -> int:
        """The line of a row of the run."""
        rows = number - self.first
        if self.steps is None:
            return self.line + rows
        steps = array("I")
        steps.frombytes(zlib.decompress(b85decode(self.steps)))
        return self.line + sum(steps[:rows])

    def is_continued_by(self, other: Self) -> bool:
        """Whether the other run tells nothing that this one does not tell."""
        return self.steps is None and other.steps is None and self.line_of(other.first) == other.line


def record(connection: sa.Connection, upload_id: int, run: LineRun) -> None:
    connection.execute(_INSERT, {"upload_id": upload_id, **run._asdict()})


_INSERT = sa.insert(row_lines)


def delete_all(connection: sa.Connection, upload_id: int) -> None:
    """Delete the lines of an upload that starts again."""
    connection.execute(sa.delete(row_lines).where(row_lines.c.upload_id == upload_id))


def line_of(connection: sa.Connection, upload_id: int, number: int) -> int | None:
    """The line of a row; None if its worker, of an earlier release, kept none."""
    return lines_of(connection, [(upload_id, number)]).get((upload_id, number))


def lines_of(connection: sa.Connection, rows: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The lines of some rows that are known. rows: upload and number of each."""
    numbers: dict[int, set[int]] = {}
    for upload_id, number in rows:
        numbers.setdefault(upload_id, set()).add(number)
    return {
        (upload_id, number): run.line_of(number)
        for upload_id, wanted in numbers.items()
        for run, number in _found(_runs(connection, upload_id, wanted), wanted)
    }


def _runs(connection: sa.Connection, upload_id: int, numbers: Collection[int]) -> list[LineRun]:
    """Those that the rows are in, and those between them."""
    columns = row_lines.c
    of_upload = columns.upload_id == upload_id
    nearest = sa.select(sa.func.max(columns.first)).where(of_upload, columns.first <= min(numbers)).scalar_subquery()
    first = sa.func.coalesce(nearest, 0)
    statement = sa.select(columns.first, columns.line, columns.steps)
    statement = statement.where(of_upload, columns.first >= first, columns.first <= max(numbers))
    return [LineRun(*row) for row in connection.execute(statement.order_by(columns.first))]


def _found(runs: Sequence[LineRun], numbers: Collection[int]) -> Iterable[tuple[LineRun, int]]:
    """Each row with its run, but rows above all of them."""
    for number in numbers:
        place = bisect.bisect(runs, number, key=lambda run: run.first)
        if place:
            yield runs[place - 1], number
