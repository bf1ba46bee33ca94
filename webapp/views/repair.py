"""The repair of an upload as its page shows it: reasons with values and suggestions, and a grid of rows to edit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from jobs import failed_rows
from jobs.errors import NotRepairableError
from jobs.excerpt import EXCERPT_LENGTH, excerpt
from jobs.failed_rows import ANY_REASON, Failure, Reason, WithReason
from jobs.people.policy import Policy
from jobs.repair import open_rows
from jobs.repair import orders as repair_orders
from jobs.repair.open_rows import LastEdit, OpenRow, Progress
from jobs.repair.orders import Repairable
from jobs.repair.repairs import Suggestion
from jobs.uploads import Upload
from webapp.cells import Cell
from webapp.failed_rows_query import FailedRowsQuery
from webapp.views.upload import UploadView

#: Reasons on a page, and values of each.
GROUPS, VALUES = 12, 20
#: Suggestions of a reason.
SUGGESTIONS = 4
#: Rows of the grid, columns, and others with wrong cells that join them.
ROWS, COLUMNS, OTHERS = 25, 12, 12
#: Bytes of HTML for the rows of the grid. One row always has room.
ROWS_BYTES = 300_000
#: Bytes of the elements of a row and of a cell, which has an input.
_ROW_BYTES, _CELL_BYTES = 400, 300
#: Characters of a reason below its cell.
_REASON_LENGTH = 120


NO_PROGRESS = Progress(0, 0, 0)


@dataclass(frozen=True)
class RepairRecords:
    """What the repair of an upload is made of. of: None if nothing can be repaired. found: rows of the grid, one more
    than ROWS if others follow. may_remember: whether the reader may make rules."""

    upload: Upload
    of: Repairable | None = None
    progress: Progress = NO_PROGRESS
    failures: Sequence[Failure] = ()
    suggestions: Sequence[Suggestion] = ()
    is_measured: bool = True
    under_way: Sequence[tuple[Upload, str]] = ()
    rows: Sequence[OpenRow] = ()
    last: LastEdit | None = None
    stored: int | None = None
    query: FailedRowsQuery = field(default_factory=FailedRowsQuery)

    @classmethod
    def read(cls, connection: sa.Connection, upload_id: int, policy: Policy, query: FailedRowsQuery) -> "RepairRecords":
        """Raises UploadNotFoundError."""
        upload = policy.upload(connection, upload_id)
        try:
            of = Repairable.of(connection, upload)
        except NotRepairableError:
            return cls(upload)
        found = repair_orders.found(connection, upload_id)
        state = repair_orders.state_of(connection, of)
        rows = open_rows.page(
            connection,
            upload_id,
            after=query.after,
            limit=ROWS + 1,
            enough=ROWS_BYTES,
            chosen=query.chosen,
            only_wrong=True,
        )
        return cls(
            upload,
            of,
            open_rows.progress(connection, upload),
            failed_rows.failures(connection, upload_id, limit=GROUPS + 1),
            found.suggestions if found else [],
            found is not None and (upload.is_active or found.state == state),
            [(each, wanted.title) for each, wanted in repair_orders.under_way(connection, upload_id)],
            rows,
            open_rows.last_edit(connection, upload_id),
            None if upload.is_active else failed_rows.stored(connection, upload_id),
            query,
        )


@dataclass(frozen=True)
class ValueView:
    """A value that breaks a rule. id: of its input."""

    id: str
    value: str
    text: str
    rows: int


@dataclass(frozen=True)
class GroupView:
    """A reason. url: of the grid with its rows. is_exact: whether all of its values are known."""

    id: str
    column: str | None
    rule: str
    rows: int
    url: str
    values: Sequence[ValueView]
    more_values: int
    is_exact: bool
    suggestions: Sequence[Suggestion]


@dataclass(frozen=True)
class GridCell:
    """place: of its column in the file. field: that the column fills. text: None if it is too long to be edited here.
    cell: as it is shown then. original: what the file has, if it was edited."""

    place: int
    column: str
    field: str
    text: str | None
    cell: Cell
    original: str | None
    reasons: Sequence[str]


@dataclass(frozen=True)
class GridRow:
    number: int
    line: int
    version: int
    is_right: bool
    is_edited: bool
    edited_by: str | None
    about: Sequence[str]
    cells: Sequence[GridCell]
    surplus: Sequence[str]
    html_bytes: int


class RepairView:
    """See RepairRecords."""

    def __init__(self, records: RepairRecords, *, refusal: str | None, may_remember: bool) -> None:
        """refusal: why whoever reads it may not repair the rows."""
        upload, of = records.upload, records.of
        self.upload = upload
        self.refusal, self.may_repair, self.may_remember = refusal, refusal is None, may_remember
        self.is_active = upload.is_active
        self.action = f"/uploads/{upload.id}/repair"
        self.fixed = upload.rows_corrected + records.progress.right
        self.open = max(0, upload.rows_open - records.progress.right)
        self.right = records.progress.right
        self.elsewhere = upload.rows_failed_again
        self.is_measured = records.is_measured
        self.under_way = records.under_way
        self.last = records.last
        self.only_counted = upload.rows_failed - records.stored if records.stored is not None else 0
        self.fields = sorted(of.sources) if of else []
        self._header = list(of.header) if of else []
        self._sources = of.sources if of else {}
        self._query = records.query
        self.groups = [self._group(place, each, records.suggestions) for place, each in enumerate(records.failures)]
        self.more_groups = len(self.groups) > GROUPS
        self.groups = self.groups[:GROUPS]
        page = records.rows[:ROWS]
        self.places = self._shown_places(page)
        self.columns = [self._header[place] for place in self.places]
        self.column_count = len(self._header)
        self.rows = _fitting(map(self._row, page))
        self.has_more = len(self.rows) < len(records.rows)
        self.first_column = records.query.first_column
        self.last_column = min(self.column_count, self.first_column - 1 + COLUMNS)

    @property
    def has_failed(self) -> bool:
        return self.upload.rows_failed > 0

    @property
    def chain(self) -> str:
        """1,000 rows: 982 + 18 after repair, 0 open"""
        return UploadView.sum_of(self.upload)

    @property
    def chosen(self) -> str | None:
        """The reason that the rows of the grid have."""
        column, rule = self._query.chosen
        if (column, rule) == ANY_REASON:
            return None
        return f"{f'{excerpt(column)}: ' if column else ''}{excerpt(rule or '')}"

    @property
    def is_chosen(self) -> bool:
        """Whether somebody chose which rows the grid shows."""
        return self._query != FailedRowsQuery()

    @property
    def all_url(self) -> str:
        return self._url(ANY_REASON, 0)

    @property
    def first_url(self) -> str | None:
        return self._url(self._query.chosen, 0) if self._query.after else None

    @property
    def next_url(self) -> str | None:
        return self._url(self._query.chosen, self.rows[-1].number) if self.rows and self.has_more else None

    @property
    def previous_columns_url(self) -> str | None:
        first = self.first_column
        return self._url(self._query.chosen, self._query.after, max(1, first - COLUMNS)) if first > 1 else None

    @property
    def next_columns_url(self) -> str | None:
        following = self.first_column + COLUMNS
        is_there = following <= self.column_count
        return self._url(self._query.chosen, self._query.after, following) if is_there else None

    @property
    def url(self) -> str:
        """Of what is shown."""
        return self._url(self._query.chosen, self._query.after)

    def _url(self, chosen: WithReason, after: int, columns: int | None = None) -> str:
        query = [(name, value) for name, value in chosen._asdict().items() if value is not None]
        query += [("after", str(after))] if after else []
        first = columns or self._query.first_column
        query += [("columns", str(first))] if first != 1 else []
        return f"{self.action}{f'?{urlencode(query)}' if query else ''}#repair-rows"

    def _group(self, place: int, failure: Failure, suggestions: Sequence[Suggestion]) -> GroupView:
        column = failure.column
        one_line = [each for each in failure.values if not {"\n", "\r"} & set(each.value)]  # as forms send them
        shown = one_line[:VALUES] if column in self._sources else []
        own = [each for each in suggestions if each.repair.column == column and each.rule == failure.rule]
        return GroupView(
            f"group-{place}",
            column,
            failure.rule,
            failure.rows,
            self._url(WithReason(column or "", failure.rule), 0),
            [
                ValueView(f"value-{place}-{number}", each.value, excerpt(each.value, 80), each.rows)
                for number, each in enumerate(shown)
            ],
            len(failure.values) - len(shown),
            not failure.more_values,
            own[:SUGGESTIONS],
        )

    def _shown_places(self, rows: Iterable[OpenRow]) -> list[int]:
        """The columns of the page, and others in which a cell of these rows is wrong."""
        first = self._query.first_column
        page = range(first - 1, min(len(self._header), first - 1 + COLUMNS))
        wrong = (self._place(reason) for row in rows for reason in row.still_wrong)
        others = dict.fromkeys(place for place in wrong if place is not None and place not in page)
        return sorted([*page, *list(others)[:OTHERS]])

    def _place(self, reason: Reason) -> int | None:
        name = self._sources.get(reason.column or "", reason.column)
        return self._header.index(name) if name in self._header else None

    def _row(self, row: OpenRow) -> GridRow:
        wrong: dict[int, list[str]] = {}
        about: list[str] = []
        for reason in row.still_wrong:
            place = self._place(reason)
            if place in self.places:
                detail = f" ({reason.detail})" if reason.detail else ""
                wrong.setdefault(place, []).append(excerpt(f"{reason.rule}{detail}", _REASON_LENGTH))
            else:
                about.append(excerpt(reason.sentence, _REASON_LENGTH))
        texts = row.texts(self._header)
        original = dict(zip(self._header, row.cells, strict=False))
        fields = {name: field_name for field_name, name in self._sources.items()}
        url = f"/uploads/{self.upload.id}/failed-rows/{row.row_number}"
        cells = [
            GridCell(
                place,
                name := self._header[place],
                fields.get(name, ""),
                texts[place] if len(texts[place]) <= EXCERPT_LENGTH and "\n" not in texts[place] else None,
                Cell.of(texts[place], name, url),
                original.get(name, "")[:EXCERPT_LENGTH] if name in row.edits else None,
                wrong.get(place, ()),
            )
            for place in self.places
        ]
        size = _ROW_BYTES + sum(_CELL_BYTES + 2 * each.cell.html_bytes for each in cells)
        line = row.row_number if row.line is None else row.line
        surplus = [excerpt(cell, 40) for cell in row.cells[len(self._header) : len(self._header) + 5]]
        return GridRow(
            row.row_number,
            line,
            row.version,
            row.is_right,
            row.is_edited,
            row.edited_by,
            about,
            cells,
            surplus,
            size + 6 * sum(map(len, about)),
        )


def _fitting(rows: Iterable[GridRow]) -> list[GridRow]:
    """As many rows as a page has room for."""
    shown: list[GridRow] = []
    total = 0
    for row in rows:
        total += row.html_bytes
        if shown and total > ROWS_BYTES:
            break
        shown.append(row)
    return shown


@dataclass(frozen=True)
class Entered:
    """What a form had that is shown again. preview: what a find-and-replace would do."""

    find: Mapping[str, str] = field(default_factory=dict)
    preview: Mapping[str, Any] | None = None
    problem: str = ""
    said: str = ""
