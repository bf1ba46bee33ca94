"""Failed rows with their original values and reasons, and the number of rows per reason."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from jobs import row_reader
from jobs.excerpt import EXCERPT_LENGTH
from jobs.tables import failed_rows, failure_counts

#: Characters of a cell that a reason quotes.
QUOTED = 60
#: Cells and reasons of a row that an excerpt has.
EXCERPT_CELLS, EXCERPT_REASONS = 50, 10


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


@dataclass(frozen=True)
class FailedRow:
    """A row that was not imported, from the validator to the page.

    row_number: the first row below the header is 1. cells: the original values. reasons: each rule that the row breaks.
    """

    row_number: int
    cells: list[str]
    reasons: list[Reason]

    @property
    def sentence(self) -> str:
        return "; ".join(reason.sentence for reason in self.reasons)

    @property
    def length(self) -> int:
        """Characters of its cells."""
        return sum(map(len, self.cells))


@dataclass(frozen=True)
class FailedRowExcerpt:
    """A failed row as pages show it.

    cells: the first ones; one that is longer than EXCERPT_LENGTH has one character more. cell_count: of all cells.
    reasons: the first ones. reason_count: of all reasons.
    """

    row_number: int
    cells: list[str]
    cell_count: int
    reasons: list[Reason]
    reason_count: int

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


def rows(
    connection: sa.Connection, upload_id: int, *, after: int = 0, limit: int, enough: int | None = None
) -> list[FailedRow]:
    """Stored failed rows after a row number, in order. enough: characters of cells; the list ends with the row that
    reaches them, if not before."""
    statement = _of(upload_id).where(failed_rows.c.row_number > after).order_by(failed_rows.c.row_number).limit(limit)
    found = map(_row, row_reader.one_by_one(connection, statement))
    return row_reader.until(found, lambda row: row.length, enough)


def find(connection: sa.Connection, upload_id: int, row_number: int) -> FailedRow | None:
    """One stored failed row."""
    found = connection.execute(_of(upload_id).where(failed_rows.c.row_number == row_number)).one_or_none()
    return None if found is None else _row(found)


def _of(upload_id: int) -> sa.Select[Any]:
    columns = failed_rows.c
    return sa.select(columns.row_number, columns.cells, columns.reasons).where(columns.upload_id == upload_id)


def _row(row: sa.Row[Any]) -> FailedRow:
    return FailedRow(row.row_number, row.cells, [Reason(*reason) for reason in row.reasons])


def excerpts(connection: sa.Connection, upload_id: int, *, limit: int) -> list[FailedRowExcerpt]:
    """The first stored failed rows. The database cuts long cells before it returns them."""
    beginnings = _SQLITE_EXCERPTS if connection.dialect.name == "sqlite" else _POSTGRESQL_EXCERPTS
    parameters = {"upload": upload_id, "limit": limit, "length": EXCERPT_LENGTH + 1, "quoted": QUOTED + 1}
    parameters |= {"cells": EXCERPT_CELLS, "reasons": EXCERPT_REASONS}
    return [
        FailedRowExcerpt(
            row.row_number,
            json.loads(row.cells),
            row.cell_count,
            [Reason(*reason) for reason in json.loads(row.reasons)],
            row.reason_count,
        )
        for row in connection.execute(beginnings, parameters)
    ]


_SQLITE_EXCERPTS = sa.text("""
SELECT row_number, json_array_length(cells) AS cell_count, json_array_length(reasons) AS reason_count,
    (SELECT json_group_array(substr(value, 1, :length)) FROM json_each(cells) WHERE key < :cells) AS cells,
    (SELECT json_group_array(json_array(
        substr(json_extract(value, '$[0]'), 1, :length), substr(json_extract(value, '$[1]'), 1, :length),
        substr(json_extract(value, '$[2]'), 1, :quoted), substr(json_extract(value, '$[3]'), 1, :length)))
     FROM json_each(failed_rows.reasons) WHERE key < :reasons) AS reasons
FROM failed_rows WHERE upload_id = :upload ORDER BY row_number LIMIT :limit
""")
_POSTGRESQL_EXCERPTS = sa.text("""
SELECT row_number, json_array_length(cells) AS cell_count, json_array_length(reasons) AS reason_count,
    (SELECT coalesce(json_agg(left(value, :length) ORDER BY place), '[]')
     FROM json_array_elements_text(cells) WITH ORDINALITY AS each(value, place) WHERE place <= :cells)::text AS cells,
    (SELECT coalesce(json_agg(json_build_array(
        left(value->>0, :length), left(value->>1, :length), left(value->>2, :quoted), left(value->>3, :length)
     ) ORDER BY place), '[]')
     FROM json_array_elements(reasons) WITH ORDINALITY AS each(value, place) WHERE place <= :reasons)::text AS reasons
FROM failed_rows WHERE upload_id = :upload ORDER BY row_number LIMIT :limit
""")


def counts(connection: sa.Connection, upload_id: int, *, limit: int = 100) -> list[FailureCount]:
    """The number of rows per reason, the most frequent first; of a long rule, its beginning."""
    rule = sa.func.substr(failure_counts.c.rule, 1, EXCERPT_LENGTH + 1, type_=sa.Text()).label("rule")
    statement = sa.select(failure_counts.c.column, rule, failure_counts.c.rows)
    statement = statement.where(failure_counts.c.upload_id == upload_id)
    order = (failure_counts.c.rows.desc(), failure_counts.c.rule, failure_counts.c.column)
    found = connection.execute(statement.order_by(*order).limit(limit))
    return [FailureCount(row.column or None, row.rule, row.rows) for row in found]
