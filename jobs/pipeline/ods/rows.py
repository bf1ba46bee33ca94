"""Reads the rows of an OpenDocument spreadsheet from its XML, as a stream.

OpenDocument 1.3, part 3 (https://docs.oasis-open.org/office/OpenDocument/v1.3/): a table has rows, and these have
cells; equal neighbours are written once, with how often they are repeated.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx.problem import (
    MAX_COLUMNS,
    MAX_ROWS,
    Problem,
    column_letters,
    damaged,
    error_cell,
    unresolved_cell,
)
from jobs.pipeline.xlsx.row_stream import MAX_ROW_CHARACTERS, SheetRow, Value
from jobs.pipeline.xlsx.xml_part import Handler, local, parse

#: Cells that only repetitions stand for, in all rows together: some seconds of work.
MAX_REPEATED_CELLS = 100_000_000
#: Characters of a number, a date or a duration.
MAX_LITERAL = 100

_ERROR = re.compile(r"#(?:DIV/0!|N/A|NAME\?|NULL!|NUM!|REF!|VALUE!)|Err:[0-9]{3}")
_DURATION = re.compile(r"(-?)PT(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:[.,]([0-9]{1,9}))?S)?")
#: Elements between a table and its rows.
_GROUPS = frozenset({"table-rows", "table-header-rows", "table-row-group"})
_CELLS = frozenset({"table-cell", "covered-table-cell"})


@dataclass(frozen=True)
class Run:
    """Equal rows that follow each other. table: the place of their table. number: of the first. runs: column, how many
    cells are equal, and their value."""

    table: int
    number: int
    times: int
    runs: list[tuple[int, int, Value]]
    problems: dict[int, Problem]

    def values(self) -> list[Value]:
        found: list[Value] = []
        for column, times, value in self.runs:
            found += [None] * (column - len(found))
            found += [value] * times
        return found


def rows_of(pieces: Iterable[bytes], table: int) -> Iterator[SheetRow]:
    """The rows with values of one table. pieces: of content.xml. table: its place. Raises UnreadableFileError."""
    for run in runs_of(pieces, table):
        values = run.values()
        for number in range(run.number, run.number + run.times):
            yield number, values, run.problems


def runs_of(pieces: Iterable[bytes], table: int | None = None) -> Iterator[Run]:
    """The rows with values of one table, or of all. Raises UnreadableFileError."""
    handler = _Rows(table)
    for _ in parse(pieces, handler):
        found, handler.rows = handler.rows, []
        for run in found:
            if run.number + run.times - 1 > MAX_ROWS:
                raise damaged(ValueError(f"more than {MAX_ROWS:,} rows"))
            yield run
        if handler.is_over:
            return


class TableHandler(Handler):
    """Knows in which table an element is. table: the place of the current or last one; -1: before the first."""

    def __init__(self) -> None:
        self.table = -1
        self._inside: list[str] = []
        self._tables = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = local(name)
        self._inside.append(name)
        self.depth += 1
        if name == "table":
            self._tables += 1
            if self._tables == 1 and self._inside[-2:-1] == ["spreadsheet"]:
                self.table += 1
                self.table_begins(attributes)
        self.element(name, attributes)

    def end(self, name: str) -> None:
        self.element_ends(local(name))
        self._inside.pop()
        self.depth -= 1
        self._tables -= local(name) == "table"

    def table_begins(self, attributes: dict[str, str]) -> None:
        """A table of the spreadsheet, not one within a cell."""

    def element(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def element_ends(self, name: str) -> None:
        """An element ends."""


class _Rows(TableHandler):
    """Collects rows with values, of one table or of all."""

    def __init__(self, table: int | None) -> None:
        super().__init__()
        self.rows: list[Run] = []
        self.is_over = False
        self._wanted = table
        self._row_depth = self._cell_depth = self._text_depth = 0
        self._next_row, self._row_times = 1, 1
        self._runs: list[tuple[int, int, Value]] = []
        self._column = self._width = 0
        self._problems: dict[int, Problem] = {}
        self._cell: dict[str, str] = {}
        self._texts: list[str] = []
        self._characters = 0
        self._repeated = 0

    def table_begins(self, attributes: dict[str, str]) -> None:
        self.is_over = self._wanted is not None and self.table > self._wanted
        self._next_row, self._repeated = 1, 0

    def element(self, name: str, attributes: dict[str, str]) -> None:
        if self._tables != 1 or self._wanted not in (None, self.table):
            return
        if name == "table-row" and not self._row_depth and set(self._inside[self._table_place() + 1 : -1]) <= _GROUPS:
            self._row_depth = self.depth
            self._row_times = _times(attributes, "number-rows-repeated")
            self._runs, self._column, self._width, self._problems, self._characters = [], 0, 0, {}, 0
        elif name in _CELLS and self.depth == self._row_depth + 1 and self._row_depth:
            self._cell_depth, self._cell, self._texts = self.depth, _named(attributes), []
        elif self._cell_depth and name == "p" and self.depth == self._cell_depth + 1:
            self._text_depth = self.depth
            self._texts += ["\n"] if self._texts else []
            self._texts.append("")
        elif self._text_depth and name in ("s", "tab", "line-break"):
            count = min(int(_times(_named(attributes), "c")), MAX_COLUMNS) if name == "s" else 1
            self._add({"s": " ", "tab": "\t", "line-break": "\n"}[name] * count)

    def text(self, text: str) -> None:
        # Within a paragraph of a cell, but not in a note or a shape of it.
        if self._text_depth and not {"annotation", "note", "frame"} & set(self._inside[self._text_depth :]):
            self._add(text)

    def _add(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_ROW_CHARACTERS:
            raise UnreadableFileError(
                f"Row {self._next_row:,} of the worksheet has more than {MAX_ROW_CHARACTERS:,} characters."
            )
        self._texts.append(text)

    def element_ends(self, name: str) -> None:
        if not self._row_depth:
            return
        if self.depth == self._text_depth:
            self._text_depth = 0
        elif self.depth == self._cell_depth:
            self._end_cell(is_covered=name == "covered-table-cell")
            self._cell_depth = 0
        elif self.depth == self._row_depth:
            self._end_row()
            self._row_depth = 0

    def _end_cell(self, *, is_covered: bool) -> None:
        times = _times(self._cell, "number-columns-repeated")
        column, self._column = self._column, self._column + times
        value, problem = (None, None) if is_covered else self._value(column)
        if value is None and problem is None:
            return
        if self._column > MAX_COLUMNS:
            raise damaged(ValueError(f"more than {MAX_COLUMNS:,} columns"))
        self._count_repeated(times - 1 + column - self._width)
        self._runs.append((column, times, value if problem is None else problem.text))
        self._width = self._column
        if problem is not None:
            self._problems |= dict.fromkeys(range(column, self._column), problem)

    def _end_row(self) -> None:
        number, self._next_row = self._next_row, self._next_row + self._row_times
        if self._runs:
            self._count_repeated((self._row_times - 1) * self._width)
            self.rows.append(Run(self.table, number, self._row_times, self._runs, self._problems))

    def _count_repeated(self, cells: int) -> None:
        self._repeated += cells
        if self._repeated > MAX_REPEATED_CELLS:
            raise UnreadableFileError(
                f"The worksheet repeats cells more than {MAX_REPEATED_CELLS:,} times. Delete what is outside of the"
                " table, then upload it again."
            )

    def _value(self, column: int) -> tuple[Value, Problem | None]:
        """The value of the current cell, and what is wrong with it."""
        cell, text = self._cell, "".join(self._texts)
        kind, formula = cell.get("value-type"), cell.get("formula")
        place = f"{column_letters(column)}{self._next_row}"
        if cell.get("error") or (formula is not None and _ERROR.fullmatch(text)):
            return None, error_cell(text, place)
        if formula is not None and kind is None and not text:
            return None, unresolved_cell(formula.partition(":=")[2] or formula.lstrip("="), place)
        if kind in ("float", "percentage", "currency"):
            return _number(cell.get("value", "")), None
        if kind == "date":
            return _moment(cell.get("date-value", "")), None
        if kind == "time":
            return _duration(cell.get("time-value", "")), None
        if kind == "boolean":
            return cell.get("boolean-value") == "true", None
        return cell.get("string-value", text) or None, None

    def _table_place(self) -> int:
        return self._inside.index("table")


def _named(attributes: dict[str, str]) -> dict[str, str]:
    """Attributes without prefixes. error: whether LibreOffice says that the value is one."""
    found = {local(name): value for name, value in attributes.items() if not name.startswith("calcext:")}
    if attributes.get("calcext:value-type") == "error":
        found["error"] = "yes"
    return found


def _times(attributes: dict[str, str], name: str) -> int:
    for key, value in attributes.items():
        if local(key) == name:
            if not value.isdecimal() or len(value) > 9 or int(value) < 1:
                raise damaged(ValueError(f"{name} is {value[:20]}"))
            return int(value)
    return 1


def _number(text: str) -> float:
    try:
        if len(text) > MAX_LITERAL:
            raise ValueError
        return float(text)
    except ValueError as error:
        raise damaged(ValueError(f"“{text[:20]}” is no number")) from error


def _moment(text: str) -> Value:
    """A date, or one with a time. Others, such as those before the year 1, stay text."""
    try:
        return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        return text or None


def _duration(text: str) -> Value:
    """A time of day, if it is one, else a duration."""
    found = _DURATION.fullmatch(text)
    if found is None or len(text) > MAX_LITERAL:
        return text or None
    sign, hours, minutes, seconds, fraction = found.groups()
    micro = int(((fraction or "") + "000000")[:6])
    try:
        value = timedelta(
            hours=int(hours or 0), minutes=int(minutes or 0), seconds=int(seconds or 0), microseconds=micro
        )
    except OverflowError:
        return text
    if not sign and value < timedelta(days=1):
        whole = value.seconds
        return time(whole // 3600, whole // 60 % 60, whole % 60, value.microseconds)
    return -value if sign else value
