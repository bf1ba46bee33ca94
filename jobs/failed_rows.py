"""Rows that were not imported: each as it came, with every reason; and how many there are of each reason."""

from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

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
class FailedRow:
    """A row that was not imported, from the validator to the page.

    row_number: 1 is the first below the header. cells: the original values. reasons: each rule that the row breaks.
    """

    row_number: int
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


def forget(connection: sa.Connection, upload_id: int) -> None:
    """The upload begins anew: none of its rows has failed yet."""
    for table in (failed_rows, failure_counts):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))


def rows(connection: sa.Connection, upload_id: int, *, after: int = 0, limit: int) -> list[FailedRow]:
    """Failed rows that were kept, behind a row number, in order."""
    statement = sa.select(failed_rows).where(failed_rows.c.upload_id == upload_id, failed_rows.c.row_number > after)
    found = connection.execute(statement.order_by(failed_rows.c.row_number).limit(limit))
    return [FailedRow(row.row_number, row.cells, [Reason(*reason) for reason in row.reasons]) for row in found]


def counts(connection: sa.Connection, upload_id: int, *, limit: int = 100) -> list[FailureCount]:
    """Reasons with their rows, the most frequent first."""
    statement = sa.select(failure_counts).where(failure_counts.c.upload_id == upload_id)
    order = (failure_counts.c.rows.desc(), failure_counts.c.rule, failure_counts.c.column)
    found = connection.execute(statement.order_by(*order).limit(limit))
    return [FailureCount(row.column or None, row.rule, row.rows) for row in found]
