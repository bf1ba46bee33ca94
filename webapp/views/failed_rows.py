"""A page of the failed rows of an upload: a table with the file's columns, in which the wrong cells are marked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.excerpt import excerpt
from jobs.failed_rows import ANY_REASON, FailedRowExcerpt, Reason, WithReason
from jobs.uploads import Upload
from webapp.cells import Cell

#: Rows on a page.
ROWS_SHOWN = 50
#: Columns on a page, and how many others with wrong cells join them.
COLUMNS_SHOWN, OTHERS_SHOWN = 12, 12
#: Bytes of HTML for the rows, so that the page stays below 1 MB. One row always has room.
ROWS_BYTES = 300_000
#: Bytes of HTML above which a page is rendered in a thread.
LARGE_BYTES = 50_000
#: Bytes of the elements of a row, and of a reason.
_ROW_BYTES, _REASON_BYTES = 200, 120
#: Characters of a reason below its cell.
_REASON_LENGTH = 120


@dataclass(frozen=True)
class FailedCell:
    """cell: None if the row has no such cell. reasons: what is wrong with it."""

    cell: Cell | None
    reasons: Sequence[str]


@dataclass(frozen=True)
class FailedRowView:
    """about: the reasons that are not about one of the cells shown. surplus: cells behind the last column."""

    number: int
    line: int
    url: str
    about: Sequence[str]
    cells: Sequence[FailedCell]
    surplus: int
    html_bytes: int


class FailedRowsView:
    """rows: on this page. columns: the file's columns that are shown. places: where in the file they are. stored: how
    many failed rows there are, if some were only counted."""

    def __init__(
        self,
        upload: Upload,
        found: Sequence[FailedRowExcerpt],
        *,
        sources: Mapping[str, str],
        chosen: WithReason = ANY_REASON,
        after: int = 0,
        before: int | None = None,
        first_column: int = 1,
        matching: int | None = None,
        stored: int | None = None,
    ) -> None:
        """found: one more than ROWS_SHOWN if others follow. sources: field of the dataset → column of the file.
        matching: how many rows have the chosen reason. before: the number of the row behind the page, which then ends
        there. stored: how many failed rows are stored."""
        self._upload, self._chosen, self._first = upload, chosen, first_column
        self._after, self._before = after, before
        page = found[:ROWS_SHOWN] if before is None else found[-ROWS_SHOWN:]
        header = upload.header or []
        self._places = {name: place for place, name in enumerate(header)}
        self._places |= {field: self._places[name] for field, name in sources.items() if name in self._places}
        self.column_count = len(header)
        self.places = self._shown_places(page)
        self.columns = [header[place] for place in self.places]
        self.rows = _fitting(map(self._row, page)) if before is None else _fitting(map(self._row, page[::-1]))[::-1]
        self._others = len(self.rows) < len(found)
        self.stored = stored if stored is not None and 0 < stored < upload.rows_failed else None
        self.total = upload.rows_failed if matching is None else matching
        self.first_column = first_column
        self.last_column = min(self.column_count, first_column - 1 + COLUMNS_SHOWN)

    @property
    def is_first_page(self) -> bool:
        """Whether it shows the first rows, as a page does that nobody has paged or filtered."""
        return self._chosen == ANY_REASON and not self._after and self._before is None and self._first == 1

    @property
    def is_full(self) -> bool:
        """Whether more failed rows would not change it."""
        return self.has_more

    @property
    def has_more(self) -> bool:
        """Whether rows follow."""
        return self._others if self._before is None else True

    @property
    def _has_earlier(self) -> bool:
        return bool(self._after) if self._before is None else self._others

    @property
    def is_large(self) -> bool:
        return sum(row.html_bytes for row in self.rows) > LARGE_BYTES

    @property
    def reason(self) -> str | None:
        """The chosen reason in words."""
        if self._chosen == ANY_REASON:
            return None
        column = {None: "", "": "Whole row: "}.get(self._chosen.column, f"{excerpt(self._chosen.column or '')}: ")
        return f"{column}{excerpt(self._chosen.rule)}" if self._chosen.rule else column.removesuffix(": ")

    @property
    def all_url(self) -> str:
        return self._url(chosen=ANY_REASON, after=0)

    @property
    def first_url(self) -> str | None:
        return self._url(after=0) if self._has_earlier or (not self.rows and self._before) else None

    @property
    def previous_url(self) -> str | None:
        return self._url(before=self.rows[0].number) if self.rows and self._has_earlier else None

    @property
    def next_url(self) -> str | None:
        return self._url(after=self.rows[-1].number) if self.rows and self.has_more else None

    @property
    def previous_columns_url(self) -> str | None:
        return self._url(columns=max(1, self._first - COLUMNS_SHOWN)) if self._first > 1 else None

    @property
    def next_columns_url(self) -> str | None:
        following = self._first + COLUMNS_SHOWN
        return self._url(columns=following) if following <= self.column_count else None

    def _url(
        self,
        *,
        chosen: WithReason | None = None,
        after: int | None = None,
        before: int | None = None,
        columns: int | None = None,
    ) -> str:
        """Of the same page, or of one that begins after a row, or ends before one."""
        chosen = self._chosen if chosen is None else chosen
        if after is None and before is None:
            after, before = self._after, self._before
        position = {"after": after or 0, "before": before or 0, "columns": columns or self._first}
        defaults = {"after": 0, "before": 0, "columns": 1}
        query = [(name, value) for name, value in chosen._asdict().items() if value is not None]
        query += [(name, str(value)) for name, value in position.items() if value != defaults[name]]
        return f"/uploads/{self._upload.id}{f'?{urlencode(query)}' if query else ''}#failed-rows"

    def _shown_places(self, rows: Iterable[FailedRowExcerpt]) -> list[int]:
        """The columns of the page, and others in which a cell of these rows is wrong."""
        page = range(self._first - 1, min(self.column_count, self._first - 1 + COLUMNS_SHOWN))
        wrong = (self._places.get(reason.column or "") for row in rows for reason in row.reasons)
        others = dict.fromkeys(place for place in wrong if place is not None and place not in page)
        return sorted([*page, *list(others)[:OTHERS_SHOWN]])

    def _row(self, row: FailedRowExcerpt) -> FailedRowView:
        url = f"/uploads/{self._upload.id}/failed-rows/{row.row_number}"
        wrong: dict[int, list[str]] = {}
        about: list[str] = []
        for reason in row.reasons:
            place = self._places.get(reason.column or "", -1)
            if place in self.places and place < len(row.cells):
                wrong.setdefault(place, []).append(_in_cell(reason))
            else:
                about.append(excerpt(reason.sentence, _REASON_LENGTH))
        header = self._upload.header or []
        cells = [
            FailedCell(
                Cell.of(row.cells[place], header[place], url) if place < len(row.cells) else None, wrong.get(place, ())
            )
            for place in self.places
        ]
        if row.more_reasons != 0:
            about.append("and more" if row.more_reasons is None else f"and {row.more_reasons:,} more")
        size = _ROW_BYTES + sum(each.cell.html_bytes for each in cells if each.cell)
        size += sum(_REASON_BYTES + 6 * len(text) for text in [*about, *(t for each in cells for t in each.reasons)])
        surplus = max(0, len(row.cells) - len(header))
        line = row.row_number if row.line is None else row.line
        return FailedRowView(row.row_number, line, url, about, cells, surplus, size)


def _in_cell(reason: Reason) -> str:
    """What is wrong with a cell: below it, neither its column nor its value needs to be named."""
    detail = f" ({reason.detail})" if reason.detail else ""
    return excerpt(f"{reason.rule}{detail}", _REASON_LENGTH)


def _fitting(rows: Iterable[FailedRowView]) -> list[FailedRowView]:
    """As many rows as a page has room for."""
    shown: list[FailedRowView] = []
    total = 0
    for row in rows:
        total += row.html_bytes
        if shown and total > ROWS_BYTES:
            break
        shown.append(row)
    return shown
