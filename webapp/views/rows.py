"""RowsView: the rows on a dataset's page, where they are among all, and links to the adjacent pages."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlencode

import sqlalchemy as sa

from jobs import datasets, row_excerpts, uploads
from jobs.datasets import Dataset, Position, Row
from jobs.errors import TookTooLongError
from jobs.excerpt import excerpt
from jobs.rows.filters import RowFilters
from jobs.rows.time_limit import limited
from jobs.schema import SchemaField
from jobs.traces import row_lines
from webapp.cells import Cell
from webapp.errors import InvalidQueryError

#: Rows on a page of a dataset, at most.
ROWS_SHOWN = 50
#: Columns on a page of a dataset. With the longest names they take 200 kB.
COLUMNS_SHOWN = 100
#: Bytes of HTML for the rows, so that the page stays below 1 MB. One row always has room.
ROWS_BYTES = 300_000
#: Seconds that the database may look for the rows of a page, and count those that match.
PAGE_LIMIT = 5.0
#: Seconds that it may count at least, after it has looked for the rows.
LEAST_COUNTING = 0.5
#: Rows that are counted for a filter.
ROWS_COUNTED = 100_000
#: Parameters of the page that choose no rows.
OWN_PARAMETERS = ("after", "before", "columns", "from_row")
#: Digits of the largest number of a row.
_DIGITS = 15


@dataclass(frozen=True)
class ShownRow:
    """number: its place among what is shown, from 1; None if it is unknown. origin: where it came from, for people."""

    number: int | None
    url: str
    address: str
    origin: str
    cells: list[Cell]


@dataclass(frozen=True)
class Place:
    """The place of a page of rows, as its address has it.

    position: of the row before the first one, or of that after the last one if it goes backwards. address: the same as
    the page's address has it. from_row: the number of the first row, or of that after the last one; None if it is
    unknown, 1 without a position.
    """

    position: Position | None
    address: str
    backwards: bool
    from_row: int | None

    @classmethod
    def from_query(cls, query: Mapping[str, str], position: Position | None) -> Self:
        """Raises InvalidQueryError."""
        backwards = "before" in query
        address = query.get("before" if backwards else "after", "")
        text = query.get("from_row", "").strip().replace(",", "")
        if not text:
            return cls(position, address, backwards, None if position else 1)
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text)):
            raise InvalidQueryError("from_row", "must be the number of a row, from 1.")
        return cls(position, address, backwards, int(text))

    @property
    def skipped(self) -> int:
        """Rows before the page, if only their number is known."""
        return self.from_row - 1 if self.from_row and self.position is None else 0


@dataclass(frozen=True)
class RowsView:
    """rows: in the order of the page. total: all rows of the dataset. matching: rows that the filters choose, at most
    ROWS_COUNTED; None if nobody counted them in time. problem: why there are no rows, a sentence; "" if there is no
    problem.
    """

    rows: Sequence[ShownRow]
    total: int
    matching: int | None
    problem: str = ""
    links: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        connection: sa.Connection,
        dataset: Dataset,
        filters: RowFilters,
        place: Place,
        first_column: int,
        total: int,
    ) -> Self:
        """Raises InvalidPositionError."""
        fields = dataset.schema.fields[first_column - 1 : first_column - 1 + COLUMNS_SHOWN]
        began = time.monotonic()
        if place.skipped >= total and place.skipped and not filters.filters:
            return cls([], total, total, _too_far(place, total, filters))
        try:
            with limited(connection, PAGE_LIMIT):
                found = row_excerpts.read(
                    connection,
                    dataset,
                    fields,
                    place.position,
                    limit=ROWS_SHOWN + 1,
                    backwards=place.backwards,
                    selection=filters.selection,
                    skipped=place.skipped,
                )
                rows, has_more = _fitting(dataset, fields, list(found))
        except TookTooLongError as error:
            return cls([], total, None, _took_too_long(error, filters, place, total))
        first = _first_number(place, len(rows), has_more)
        names = _filenames(connection, rows)
        lines = row_lines.lines_of(connection, [(row.upload_id, row.row_number) for row, *_ in rows])
        shown = [
            ShownRow(
                None if first is None else first + offset,
                f"/datasets/{dataset.name}/rows/{address}",
                address,
                _origin(row, lines, names),
                cells,
            )
            for offset, (row, address, cells) in enumerate(rows[::-1] if place.backwards else rows)
        ]
        is_whole = place.position is None and not place.skipped and not has_more
        matching = (
            len(rows) if is_whole else _matching(connection, dataset, filters, PAGE_LIMIT - (time.monotonic() - began))
        )
        if not rows and place.skipped:
            return cls([], total, matching, _too_far(place, total, filters))
        links = _links(shown, has_more, place, first_column, len(dataset.schema.fields), filters)
        return cls(shown, total, matching if filters.filters else total, "", links)

    @property
    def range(self) -> str:
        """Which rows of how many, in words; "" if it is unknown."""
        if not self.rows or self.rows[0].number is None:
            return ""
        first, last = self.rows[0].number, self.rows[-1].number
        return f"{first:,}" if first == last else f"{first:,} to {last:,}"


_Fitting = list[tuple[Row, str, list[Cell]]]


def _fitting(dataset: Dataset, fields: Sequence[SchemaField], rows: Iterable[Row]) -> tuple[_Fitting, bool]:
    """As many rows as a page has room for, with their addresses and cells, and whether there are more."""
    shown: _Fitting = []
    total = 0
    for row in rows:
        address = row_excerpts.address(row)
        url = f"/datasets/{dataset.name}/rows/{address}"
        cells = [Cell.of(cell, each.name, f"{url}.txt") for cell, each in zip(row.cells, fields, strict=True)]
        total += sum(cell.html_bytes for cell in cells)
        if shown and (len(shown) == ROWS_SHOWN or total > ROWS_BYTES):
            return shown, True
        shown.append((row, address, cells))
    return shown, False


def _filenames(connection: sa.Connection, rows: _Fitting) -> dict[int, str]:
    found = uploads.filenames(connection, {row.upload_id for row, _, _ in rows})
    return {upload_id: excerpt(name, 80) for upload_id, name in found.items()}


def _origin(row: Row, lines: Mapping[tuple[int, int], int], names: Mapping[int, str]) -> str:
    line = lines.get((row.upload_id, row.row_number))
    where = f"Row {row.row_number:,}" if line is None else f"Line {line:,}"
    return f"{where} of {names.get(row.upload_id, f'upload #{row.upload_id}')}"


def _first_number(place: Place, count: int, has_more: bool) -> int | None:
    if not place.backwards:
        return place.from_row
    if not has_more:
        return 1
    return place.from_row - count if place.from_row and place.from_row > count else None


def _matching(connection: sa.Connection, dataset: Dataset, filters: RowFilters, seconds: float) -> int | None:
    if not filters.filters:
        return None
    try:
        with limited(connection, max(seconds, LEAST_COUNTING)):
            return datasets.matching_count(connection, dataset, filters.selection, limit=ROWS_COUNTED)
    except TookTooLongError:
        return None


def _took_too_long(error: TookTooLongError, filters: RowFilters, place: Place, total: int) -> str:
    limit, sort = f"took longer than {error.seconds:g} s", filters.selection.sort
    if sort is not None:
        advice = "Add a filter that leaves fewer rows, or sort by the key."
        return f"Sorting {total:,} rows by {excerpt(sort.column)} {limit}. {advice}"
    if filters.filters:
        return f"Looking for matches in {total:,} rows {limit}. Change a filter, or remove one."
    return f"Going to row {place.skipped + 1:,} of {total:,} {limit}. Add a filter, and go to a row of what it leaves."


def _too_far(place: Place, total: int, filters: RowFilters) -> str:
    number = f"There is no row {place.skipped + 1:,}"
    if filters.filters:
        return f"{number}: fewer rows match."
    return f"{number}: the dataset has {total:,} {'row' if total == 1 else 'rows'}."


def _links(
    rows: Sequence[ShownRow],
    has_more: bool,
    place: Place,
    first_column: int,
    columns: int,
    filters: RowFilters,
) -> dict[str, str | None]:
    """The addresses of the adjacent pages. rows: in the order of the page."""

    def url(position: Mapping[str, str | int | None], column: int) -> str:
        shown = {"columns": column} if column > 1 else {}
        known = {name: value for name, value in position.items() if value is not None}
        return f"?{urlencode([*known.items(), *shown.items(), *filters.query])}"

    is_first = place.position is None and not place.skipped
    before = has_more if place.backwards else not is_first
    after = has_more or place.backwards
    here: dict[str, str | int | None] = {} if is_first else {"from_row": place.from_row}
    if place.address:
        here["before" if place.backwards else "after"] = place.address
    following = first_column + COLUMNS_SHOWN
    first, last = (rows[0], rows[-1]) if rows else (None, None)
    return {
        "first_url": url({}, first_column) if before else None,
        "previous_url": url({"before": first.address, "from_row": first.number}, first_column)
        if first and before
        else None,
        "next_url": url(
            {"after": last.address, "from_row": None if last.number is None else last.number + 1}, first_column
        )
        if last and after
        else None,
        "previous_columns_url": url(here, max(1, first_column - COLUMNS_SHOWN)) if first_column > 1 else None,
        "next_columns_url": url(here, following) if following <= columns else None,
    }
