"""Reads a worksheet row by row from its XML, with memory for one row and the shared strings.

It reads any worksheet: those that are too large for calamine, those that calamine rejects, and those whose memory
cannot be foreseen.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time, timedelta

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx.date_formats import DateFormats
from jobs.pipeline.xlsx.package import Package
from jobs.pipeline.xlsx.problem import (
    MAX_COLUMNS,
    MAX_ROWS,
    Problem,
    column_letters,
    column_number,
    damaged,
    error_cell,
    unresolved_cell,
)
from jobs.pipeline.xlsx.shared_strings import SharedStrings, StringHandler, unescaped
from jobs.pipeline.xlsx.xml_part import local, parse

#: Characters that the cells of a row may have together: 16,384 cells of 4,096.
MAX_ROW_CHARACTERS = 64 << 20
#: Empty cells at the left of others in all rows together: about 8 s of work that no byte of the file stands for.
MAX_EMPTY_CELLS = 100_000_000
#: Digits of the last row.
_MAX_DIGITS = 7
_DIGITS = "0123456789"
#: Characters of a number. The exact value of a float can have 767 digits.
_MAX_NUMBER = 1_000

#: What a cell of a worksheet holds.
Value = str | float | int | bool | date | time | timedelta | None
#: A row's number from 1, its values from column A on, and the problems among them, by column from 0.
SheetRow = tuple[int, Sequence[Value], dict[int, Problem]]


class _Shared(int):
    """The number of a shared string. It is replaced when its row is taken: many rows may refer to one long string."""


class RowStream:
    """The rows of a worksheet. Raises UnreadableFileError."""

    def __init__(
        self,
        package: Package,
        part: str,
        *,
        strings: SharedStrings | None = None,
        formats: DateFormats | None = None,
    ) -> None:
        """strings, formats: those of the workbook, if they are known."""
        self._package = package
        self._part = part
        self._strings = SharedStrings.from_package(package) if strings is None else strings
        self._formats = formats or DateFormats.from_package(package)

    def rows(self) -> Iterator[SheetRow]:
        """The rows that have cells."""
        return self.rows_of(self._package.pieces(self._part))

    def rows_of(self, pieces: Iterable[bytes]) -> Iterator[SheetRow]:
        """The rows in some of the worksheet's XML. Raises UnreadableFileError at its end, if the rest is missing."""
        handler, empty = _Rows(self._strings, self._formats), 0
        for _ in parse(pieces, handler):
            found, handler.rows = handler.rows, []
            for number, values, problems in found:
                width = max(values) + 1
                empty += width - len(values)
                if empty > MAX_EMPTY_CELLS:
                    raise UnreadableFileError(
                        "The rows of the worksheet reach too far to the right: together they have more than"
                        f" {MAX_EMPTY_CELLS:,} empty cells. Delete what is right of the table, then upload it again."
                    )
                row: list[Value] = [None] * width
                for column, value in values.items():
                    row[column] = self._strings[value] if isinstance(value, _Shared) else value
                yield number, row, problems


class _Rows(StringHandler):
    """Collects rows: their number, their values and their problems, by column from 0.

    A worksheet is <worksheet>, <sheetData>, <row>, <c>, and in it <v>, <f> and <is>.
    """

    string_depth = 5

    def __init__(self, strings: SharedStrings, formats: DateFormats) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[int, Value], dict[int, Problem]]] = []
        self._strings = strings
        self._formats = formats
        self._columns: dict[str, int] = {}
        self._in_data = self._in_row = self._in_cell = False
        self._number = 0
        self._explicit = False  # whether the row tells its number
        self._column = -1
        self._characters = 0
        self._values: dict[int, Value] = {}
        self._problems: dict[int, Problem] = {}
        self._cell: dict[str, str] = {}
        self._formula: list[str] | None = None
        self._target: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self.depth = self.depth + 1
        if depth == 4:
            if self._in_row and local(name) == "c":
                self._in_cell = True
                self._cell = attributes
                self.texts = []
                self._formula = None
        elif depth > 4:
            if self._in_cell:
                self._start_in_cell(local(name), depth)
        elif depth == 3:
            if self._in_data and local(name) == "row":
                self._start_row(attributes)
        elif depth == 2:
            self._in_data = local(name) == "sheetData"

    def end(self, name: str) -> None:
        depth = self.depth
        self.depth = depth - 1
        if depth > 4:
            self._target = None
        elif depth == 4:
            if self._in_cell:
                self._in_cell = False
                self._end_cell()
        elif depth == 3 and self._in_row:
            self._in_row = False
            if self._values:
                self.rows.append((self._number, self._values, self._problems))

    def text(self, text: str) -> None:
        if self._target is not None:
            self._target.append(text)
            self._count_characters(len(text))

    def _count_characters(self, more: int) -> None:
        self._characters += more
        if self._characters > MAX_ROW_CHARACTERS:
            raise UnreadableFileError(
                f"Row {self._number:,} of the worksheet has more than {MAX_ROW_CHARACTERS:,} characters."
                " Shorten its cells, then upload the workbook again."
            )

    def _start_row(self, attributes: dict[str, str]) -> None:
        number = self._number + 1
        self._explicit = "r" in attributes
        if self._explicit:
            number = _row_number(attributes["r"])
        self._take_number(number)
        self._in_row = True
        self._column = -1
        self._characters = 0
        self._values, self._problems = {}, {}

    def _take_number(self, number: int) -> None:
        if number <= self._number:
            raise damaged(ValueError(f"row {number:,} stands below row {self._number:,}"))
        if number > MAX_ROWS:
            raise damaged(ValueError(f"a row beyond {MAX_ROWS:,}"))
        self._number = number

    def _start_in_cell(self, name: str, depth: int) -> None:
        if depth == 5:
            if name == "v":
                self.texts = self._target = []
            elif name == "f":
                self._formula = self._target = []
        elif self._cell.get("t") == "inlineStr":
            self.start_inside(name, depth)
            self._target = self.texts if self._in_text else None

    def _end_cell(self) -> None:
        column = self._place(self._cell.get("r"))
        kind = self._cell.get("t")
        text = "".join(self.texts)
        if kind == "e":
            self._add_problem(column, error_cell(text, self._name(column)))
        elif self._formula is not None and kind not in ("str", "inlineStr") and not text.strip():
            formula = "".join(self._formula)
            self._add_problem(column, unresolved_cell(formula, self._name(column)))
        elif text:
            try:
                value = self._value(kind, text)
            except (ValueError, OverflowError, IndexError) as error:
                raise damaged(ValueError(f"cell {self._name(column)}: {error}")) from error
            if value is None:
                self._add_problem(column, error_cell("#VALUE!", self._name(column)))
            else:
                self._values[column] = value

    def _place(self, reference: str | None) -> int:
        """The column of a cell. reference: such as B2; None: it follows the cell before."""
        if reference is None:
            column = self._column + 1
        else:
            letters = reference.rstrip(_DIGITS)
            known = self._columns.get(letters)
            column = self._known_column(letters) if known is None else known
            self._check_row(reference[len(letters) :])
        if column >= MAX_COLUMNS:
            raise damaged(ValueError(f"a cell beyond column {MAX_COLUMNS:,}"))
        self._column = column
        return column

    def _known_column(self, letters: str) -> int:
        upper = letters.upper()
        if not (1 <= len(letters) <= 3 and upper.isascii() and upper.isalpha()):
            raise damaged(ValueError(f"a cell with the reference {letters[:20]}"))
        return self._columns.setdefault(letters, column_number(upper))

    def _check_row(self, digits: str) -> None:
        """digits: of a cell's reference."""
        if digits == str(self._number):
            return
        number = _row_number(digits)
        if number != self._number and not self._explicit and not self._values and not self._problems:
            self._number -= 1
            self._take_number(number)
        if number != self._number:
            raise damaged(ValueError(f"a cell of row {number:,} stands in row {self._number:,}"))

    def _add_problem(self, column: int, problem: Problem) -> None:
        self._problems[column] = problem
        self._values[column] = problem.text

    def _name(self, column: int) -> str:
        return f"{column_letters(column)}{self._number}"

    def _value(self, kind: str | None, text: str) -> Value:
        """The value of a cell; None: it is a number, but not that of a date."""
        if kind is None or kind == "n":
            return self._number_or_date(kind, text)
        if kind == "s":
            shared = _Shared(_index(text))
            self._count_characters(self._strings.size(shared))
            return shared
        if kind in ("str", "inlineStr"):
            return unescaped(text)
        if kind == "b" and text in _BOOLEANS:
            return _BOOLEANS[text]
        if kind == "d":
            return self._formats.from_iso(text)
        raise ValueError(f"{text[:50]} of the kind {kind[:50]}")

    def _number_or_date(self, kind: str | None, text: str) -> Value:
        try:
            if len(text) > _MAX_NUMBER or "_" in text:
                raise ValueError(f"{text[:50]} is not a number")
            number = float(text)
        except ValueError:
            if kind is None:
                return text  # as calamine does
            raise
        style = self._cell.get("s")
        if style not in self._formats.dates:
            return number
        try:
            return self._formats.convert(number, style)
        except (ValueError, OverflowError):
            return None


_BOOLEANS = {"1": True, "0": False, "true": True, "false": False}


def _row_number(digits: str) -> int:
    """Raises UnreadableFileError: int itself takes long for many digits, and fails beyond 4,300."""
    if not (1 <= len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdecimal()):
        raise damaged(ValueError(f"the row number {digits[:20]}"))
    return int(digits)


def _index(text: str) -> int:
    text = text.strip()
    if not (1 <= len(text) <= 10 and text.isascii() and text.isdecimal()):
        raise ValueError(f"there is no shared string {text[:20]}")
    return int(text)
