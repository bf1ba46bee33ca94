"""Failed rows with their original values and reasons, and the number of rows per reason."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import failure_places
from jobs.excerpt import EXCERPT_LENGTH
from jobs.rows import reader as row_reader
from jobs.tables import failed_rows, failure_counts, failure_maps, repair_states, row_edits
from jobs.tables import failure_places as places

#: Characters of a cell that a reason quotes.
QUOTED = 60
#: Values that are kept of those that break a rule: of one rule, of all rules of an upload, and characters of each.
VALUES_KEPT, VALUES_KEPT_IN_ALL, VALUE_LENGTH = 1_000, 10_000, 200
#: Reasons of a row that an excerpt has.
EXCERPT_REASONS = 10
#: Characters of the stored cells, and of the stored reasons, that an excerpt is made of. A row of a megabyte can have
#: six times as many.
EXCERPT_STORED = 1 << 16


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
    line: of the file, where the row begins, or the worksheet's row; None if it is not known.
    """

    row_number: int
    cells: list[str]
    reasons: list[Reason]
    line: int | None = None

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

    cells: those in the beginning of what is stored; one that is longer than EXCERPT_LENGTH has one character more.
    reasons: the first ones. more_cells, more_reasons: how many follow; None if that is unknown. line: see FailedRow.
    """

    row_number: int
    cells: list[str]
    more_cells: int | None
    reasons: list[Reason]
    more_reasons: int | None
    line: int | None = None

    @classmethod
    def from_stored(cls, row_number: int, cells: str, reasons: str, line: int | None = None) -> Self:
        """cells, reasons: the beginning of the stored JSON."""
        found, reasons_found = _beginning(cells), _beginning(reasons)
        return cls(
            row_number,
            [cell[: EXCERPT_LENGTH + 1] for cell in found],
            None if len(cells) == EXCERPT_STORED else 0,
            [
                Reason(*(part and part[: EXCERPT_LENGTH + 1] for part in each))
                for each in reasons_found[:EXCERPT_REASONS]
            ],
            None if len(reasons) == EXCERPT_STORED else max(0, len(reasons_found) - EXCERPT_REASONS),
            line,
        )

    @property
    def sentence(self) -> str:
        return "; ".join(reason.sentence for reason in self.reasons)


class FailureCount(NamedTuple):
    """rows: how many of an upload failed for this reason, possibly among others."""

    column: str | None
    rule: str
    rows: int


class FailedValue(NamedTuple):
    """rows: how many have this value."""

    value: str
    rows: int


@dataclass(frozen=True)
class Failure:
    """A reason, with the values that break the rule, the most frequent first. more_values: whether there are others."""

    column: str | None
    rule: str
    rows: int
    values: list[FailedValue]
    more_values: bool


def delete_all(connection: sa.Connection, upload_id: int) -> None:
    """Delete the failed rows, their edits and the counts of an upload that starts again."""
    for table in (failed_rows, failure_counts, failure_maps, places, repair_states, row_edits):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))


def delete_some(connection: sa.Connection, upload_id: int, limit: int) -> bool:
    """Delete some failed rows of an upload that are kept no longer, and at the end everything that has values of them;
    how many rows failed where, and for which reason, remains known. Returns whether none is left."""
    columns = failed_rows.c
    some = sa.select(columns.row_number).where(columns.upload_id == upload_id).order_by(columns.row_number).limit(limit)
    this_one = failed_rows.c.upload_id == upload_id
    deleted = sa.delete(failed_rows).where(this_one, columns.row_number.in_(some)).returning(columns.row_number)
    if len(connection.execute(deleted).all()) == limit:
        return False
    for table in (places, repair_states, row_edits):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))
    counts = sa.update(failure_counts).where(failure_counts.c.upload_id == upload_id)
    connection.execute(counts.values(found_values=None, more_values=True, closed_values=None))
    return True


def rows(
    connection: sa.Connection,
    upload_id: int,
    *,
    after: int = 0,
    limit: int,
    enough: int | None = None,
    chosen: "WithReason | None" = None,
) -> list[FailedRow]:
    """Stored failed rows after a row number, in order. enough: characters of stored cells; the list ends with the row
    that reaches them, if not before."""
    columns = failed_rows.c
    texts = (sa.cast(column, sa.Text) for column in (columns.cells, columns.reasons))
    statement = sa.select(columns.row_number, columns.line, *texts).where(columns.upload_id == upload_id)
    statement = statement.where(_chosen(connection, upload_id, after, limit, chosen or ANY_REASON))
    statement = statement.order_by(columns.row_number).limit(limit)
    stored = map(tuple, row_reader.one_by_one(connection, statement))
    return _decoded(row_reader.until(stored, lambda row: len(row[2]), enough))


def _decoded(stored: list[tuple[Any, ...]]) -> list[FailedRow]:
    """Rows from number, line, and the JSON of cells and reasons. To decode all at once takes a tenth of the time."""
    cells, reasons = (json.loads(f"[{','.join([row[place] for row in stored])}]") for place in (2, 3))
    return [
        FailedRow(number, row, [Reason(*each) for each in why], line)
        for (number, line, *_), row, why in zip(stored, cells, reasons, strict=True)
    ]


def find(connection: sa.Connection, upload_id: int, row_number: int) -> FailedRow | None:
    """One stored failed row."""
    found = connection.execute(_of(upload_id).where(failed_rows.c.row_number == row_number)).one_or_none()
    return None if found is None else _row(found)


def _of(upload_id: int) -> sa.Select[Any]:
    columns = failed_rows.c
    return sa.select(columns.row_number, columns.line, columns.cells, columns.reasons).where(
        columns.upload_id == upload_id
    )


def _row(row: sa.Row[Any]) -> FailedRow:
    return FailedRow(row.row_number, row.cells, [Reason(*reason) for reason in row.reasons], row.line)


class WithReason(NamedTuple):
    """Chooses failed rows. column: of one of their reasons, "" for the row as a whole. rule: its rule. None: any."""

    column: str | None = None
    rule: str | None = None

    def includes(self, reason: Reason) -> bool:
        return self.column in (None, reason.column or "") and self.rule in (None, reason.rule)


ANY_REASON = WithReason()


def excerpts(
    connection: sa.Connection,
    upload_id: int,
    *,
    limit: int,
    after: int = 0,
    before: int | None = None,
    chosen: WithReason = ANY_REASON,
) -> list[FailedRowExcerpt]:
    """Stored failed rows in order, each from the beginning of what is stored: the first ones after a row number, or the
    last ones before one."""
    columns = failed_rows.c
    beginnings = (
        sa.func.substr(sa.cast(column, sa.Text), 1, EXCERPT_STORED, type_=sa.Text())
        for column in (columns.cells, columns.reasons)
    )
    statement = sa.select(columns.row_number, *beginnings, columns.line).where(columns.upload_id == upload_id)
    statement = statement.where(_chosen(connection, upload_id, after, limit, chosen, before))
    order = columns.row_number if before is None else columns.row_number.desc()
    found = connection.execute(statement.order_by(order).limit(limit)).all()
    return [FailedRowExcerpt.from_stored(*row) for row in (found if before is None else reversed(found))]


def stored(connection: sa.Connection, upload_id: int) -> int:
    """How many failed rows of an upload are stored."""
    found = sa.select(sa.func.count()).select_from(failed_rows).where(failed_rows.c.upload_id == upload_id)
    return connection.scalar(found) or 0


def _chosen(
    connection: sa.Connection, upload_id: int, after: int, limit: int, chosen: WithReason, before: int | None = None
) -> sa.ColumnElement[bool]:
    """The condition for the next rows of an upload, or for those before a row. limit: of the rows."""
    if chosen == ANY_REASON:
        number = failed_rows.c.row_number
        return number > after if before is None else number < before
    column, rule = chosen
    numbers = failure_places.find(
        connection, upload_id, column=column, rule=rule, after=after, before=before, limit=limit
    )
    return failed_rows.c.row_number.in_(numbers)


def _beginning(text: str) -> list[Any]:
    """The elements of a JSON array whose end may be missing: the complete ones, and what there is of the next one."""
    found: list[Any] = []
    place = 1
    while place < len(text) and text[place] != "]":
        try:
            element, place = _DECODER.raw_decode(text, place)
        except ValueError:
            if text[place] == "[":
                found.append(_beginning(text[place:]))
            elif text[place] == '"' and len(cut := _beginning_of_string(text[place:])) > EXCERPT_LENGTH:
                found.append(cut)
            break
        found.append(element)
        place += len(", ")
    return found


_DECODER = json.JSONDecoder()


def _beginning_of_string(text: str) -> str:
    """The first characters of a JSON string whose end is missing."""
    text = text[: 12 * (EXCERPT_LENGTH + 2)]  # a character has at most 12: two escapes
    for end in range(len(text), 0, -1):
        with suppress(ValueError):  # the end of the text may cut an escape
            return str(json.loads(f'{text[:end]}"'))
    return ""


def counts(connection: sa.Connection, upload_id: int, *, limit: int = 100) -> list[FailureCount]:
    """The number of rows per reason, the most frequent first; of a long rule, its beginning."""
    rule = sa.func.substr(failure_counts.c.rule, 1, EXCERPT_LENGTH + 1, type_=sa.Text()).label("rule")
    statement = sa.select(failure_counts.c.column, rule, failure_counts.c.rows)
    statement = statement.where(failure_counts.c.upload_id == upload_id)
    order = (failure_counts.c.rows.desc(), failure_counts.c.rule, failure_counts.c.column)
    found = connection.execute(statement.order_by(*order).limit(limit))
    return [FailureCount(row.column or None, row.rule, row.rows) for row in found]


def count(connection: sa.Connection, upload_id: int, chosen: WithReason) -> int | None:
    """How many rows failed for a reason; None if the choice is of several reasons, which a row may have together."""
    if chosen.column is None or chosen.rule is None:
        return None
    columns = failure_counts.c
    of_reason = (columns.upload_id == upload_id, columns.column == chosen.column, columns.rule == chosen.rule)
    return connection.scalar(sa.select(columns.rows).where(*of_reason)) or 0


def failures(connection: sa.Connection, upload_id: int, *, limit: int) -> list[Failure]:
    """The reasons of the open rows of an upload, the most frequent first, with the values that break each rule."""
    found = map(_failure, connection.execute(sa.select(failure_counts).where(failure_counts.c.upload_id == upload_id)))
    is_open = [each for each in found if each.rows > 0]
    return sorted(is_open, key=lambda each: (-each.rows, each.rule, each.column or ""))[:limit]


def _failure(row: Any) -> Failure:
    values = Counter(dict(row.found_values or []))
    values.subtract(dict(row.closed_values or []))
    left = [FailedValue(value, rows) for value, rows in values.items() if rows > 0]
    ordered = sorted(left, key=lambda each: (-each.rows, each.value))
    return Failure(row.column or None, row.rule, row.rows - row.rows_closed, ordered, row.more_values is not False)


class Closed:
    """Reasons of rows that no longer fail for them: how many rows have each, with which values. A number below zero is
    of rows that fail for them again."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str]] = Counter()
        self.values: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, reasons: Iterable[Reason], rows: int = 1) -> None:
        """Reasons of so many rows."""
        for key, value in {(each.column or "", each.rule): each.value for each in reasons}.items():
            self.rows[key] += rows
            if value is not None and len(value) <= VALUE_LENGTH:
                self.values[key][value] += rows


def close(connection: sa.Connection, upload_id: int, closed: Closed) -> None:
    """Count reasons for which rows of an upload no longer fail."""
    columns = failure_counts.c
    inserts: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    for key in sorted(key for key, rows in closed.rows.items() if rows or any(closed.values[key].values())):
        of_reason = {"upload_id": upload_id, "column": key[0], "rule": key[1]}
        is_new = inserts.insert(failure_counts).values(**of_reason, rows=0, more_values=False)
        connection.execute(is_new.on_conflict_do_nothing())
        conditions = (columns.upload_id == upload_id, columns.column == key[0], columns.rule == key[1])
        row = connection.execute(sa.select(failure_counts).where(*conditions).with_for_update()).one()
        values = Counter(dict(row.closed_values or []))
        known = {value for value, _ in row.found_values or []} | values.keys()
        for value, rows in closed.values[key].items():
            if value in known or (rows < 0 and len(known) < VALUES_KEPT):
                known.add(value)
                values[value] += rows
        changed = {
            "rows_closed": columns.rows_closed + closed.rows[key],
            "closed_values": [[value, rows] for value, rows in values.items() if rows],
        }
        connection.execute(sa.update(failure_counts).where(*conditions).values(changed))
