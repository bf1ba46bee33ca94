"""Failed rows with their original values and reasons, and the number of rows per reason."""

from typing import NamedTuple

import sqlalchemy as sa

from jobs.tables import failed_rows, failure_counts

#: Characters of a cell that a reason quotes.
QUOTED = 60


class Reason(NamedTuple):
    """Why a row was not imported.

    column: None for the row as a whole. rule: the end of a sentence, the same for all rows that break this rule. value:
    the cell, if it helps. detail: what is specific to this row.
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


class FailedRow(NamedTuple):
    """A row that was not imported, from the validator to the page.

    row_number: the first row below the header is 1. cells: the original values. reasons: each rule that the row breaks.
    """

    row_number: int
    cells: list[str]
    reasons: list[Reason]

    @property
    def sentence(self) -> str:
        return "; ".join(reason.sentence for reason in self.reasons)


class FailureCount(NamedTuple):
    """rows: how many of an upload failed for this reason, possibly among others."""

    column: str | None
    rule: str
    rows: int


def delete_all(connection: sa.Connection, upload_id: int) -> None:
    """Delete the failed rows and the counts of an upload that starts again."""
    for table in (failed_rows, failure_counts):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))


def rows(connection: sa.Connection, upload_id: int, *, after: int = 0, limit: int) -> list[FailedRow]:
    """Stored failed rows after a row number, in order."""
    statement = sa.select(failed_rows).where(failed_rows.c.upload_id == upload_id, failed_rows.c.row_number > after)
    found = connection.execute(statement.order_by(failed_rows.c.row_number).limit(limit))
    return [FailedRow(row.row_number, row.cells, [Reason(*reason) for reason in row.reasons]) for row in found]


def counts(connection: sa.Connection, upload_id: int, *, limit: int = 100) -> list[FailureCount]:
    """The number of rows per reason, the most frequent first."""
    statement = sa.select(failure_counts).where(failure_counts.c.upload_id == upload_id)
    order = (failure_counts.c.rows.desc(), failure_counts.c.rule, failure_counts.c.column)
    found = connection.execute(statement.order_by(*order).limit(limit))
    return [FailureCount(row.column or None, row.rule, row.rows) for row in found]
