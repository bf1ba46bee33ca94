"""Where in its file the rows of an upload fail: how many of each stretch of rows, for a picture of any number of cells.

The counts of all failed rows are kept, also of those that are not stored. A map is as exact as single rows up to
MAX_COUNTS rows; beyond, each count is of twice as many rows, and so on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs.tables import failure_maps

#: Counts that are kept of an upload: they take a few kilobytes.
MAX_COUNTS = 1_000


class Stretch(NamedTuple):
    """Rows first to last of a file, and how many of them failed."""

    first: int
    last: int
    failed: int


@dataclass(frozen=True)
class FailureMap:
    """counts: of the first `width` rows, of the next ones, and so on; what is missing at the end is 0."""

    width: int = 1
    counts: Sequence[int] = ()

    def adding(self, row_numbers: Iterable[int]) -> Self:
        """The map with more failed rows."""
        numbers = list(row_numbers)
        if not numbers:
            return self
        width, counts = self.width, list(self.counts)
        last = max(numbers)
        while (last - 1) // width >= MAX_COUNTS:
            counts = [sum(counts[place : place + 2]) for place in range(0, len(counts), 2)]
            width *= 2
        counts += [0] * ((last - 1) // width + 1 - len(counts))
        for number in numbers:
            counts[(number - 1) // width] += 1
        return type(self)(width, counts)

    def stretches(self, rows: int, count: int) -> list[Stretch]:
        """The file in `count` stretches of about the same length, or in one for each row if it has fewer. rows: of the
        file. All failed rows are in them: a stretch that begins inside of what was counted together gets its share."""
        rows = max(rows, self.rows)
        count = min(count, rows)
        bounds = [rows * place // count for place in range(count + 1)] if count else []
        failed = [self._up_to(bound) for bound in bounds] if self.counts else [0.0] * len(bounds)
        return [
            Stretch(start + 1, end, round(after) - round(before))
            for start, end, before, after in zip(bounds, bounds[1:], failed, failed[1:], strict=False)
        ]

    @property
    def rows(self) -> int:
        """At least so many rows the file has."""
        return (len(self.counts) - 1) * self.width + 1 if self.counts else 0

    def _up_to(self, row: int) -> float:
        """About how many of the first rows failed."""
        whole, rest = divmod(row, self.width)
        begun = self.counts[whole] if rest and whole < len(self.counts) else 0
        is_last = whole == len(self.counts) - 1
        return sum(self.counts[:whole]) + (begun if is_last and row >= self.rows else begun * rest / self.width)


def read(connection: sa.Connection, upload_id: int) -> FailureMap:
    """The map of an upload; an empty one if none of its rows failed, or an earlier release counted them."""
    row = connection.execute(sa.select(failure_maps).where(failure_maps.c.upload_id == upload_id)).one_or_none()
    return FailureMap() if row is None else FailureMap(row.width, row.counts)


def write(connection: sa.Connection, upload_id: int, places: FailureMap) -> None:
    """Store the map of an upload that the caller has locked."""
    values = {"upload_id": upload_id, "width": places.width, "counts": list(places.counts)}
    connection.execute(_writing(connection.dialect.name), values)


@cache  # to build it anew takes longer than to run it
def _writing(dialect_name: str) -> sa.Executable:
    dialect: Any = sqlite if dialect_name == "sqlite" else postgresql
    insert = dialect.insert(failure_maps)
    changed = {"width": insert.excluded.width, "counts": insert.excluded.counts}
    statement: sa.Executable = insert.on_conflict_do_update(index_elements=["upload_id"], set_=changed)
    return statement
