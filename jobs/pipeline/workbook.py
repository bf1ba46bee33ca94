"""Reads a worksheet of an Excel workbook as rows of text.

python-calamine reads a worksheet several times as fast as it can be read row by row in Python, but loads it whole. The
XML is scanned first, so that its memory is known (xlsx/survey.py), and calamine gets a copy (xlsx/sheet_copy.py). Every
other worksheet is read row by row (xlsx/row_stream.py): large ones, those that the scan does not understand, and those
that calamine rejects.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

import python_calamine

from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.formats.header import shortened
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive
from jobs.pipeline.long_call import run_with_ticks, seconds_for
from jobs.pipeline.xlsx.package import MAIN_PART, MAX_STYLES_BYTES, Package, Sheet
from jobs.pipeline.xlsx.problem import MAX_COLUMNS, Problem, damaged
from jobs.pipeline.xlsx.row_stream import RowStream, SheetRow, Value
from jobs.pipeline.xlsx.sheet_choice import Fits, SheetPart, choose
from jobs.pipeline.xlsx.sheet_copy import SheetCopy
from jobs.pipeline.xlsx.survey import Survey
from jobs.warnings import UploadWarning, sheets_ignored

__all__ = [
    "MAIN_PART",
    "CalamineRows",
    "Problem",
    "Row",
    "Shape",
    "Tick",
    "Workbook",
    "listed",
    "named",
    "opened",
    "sheet_note",
]

log = logging.getLogger(__name__)

#: Bytes of a worksheet, compressed and uncompressed, beyond which it is read row by row.
LARGE_PACKED, LARGE_SHEET = 60 << 20, 400 << 20
#: Cells, and cells in the rectangle around all of them, beyond which a worksheet is read row by row: calamine takes up
#: to 94 bytes for each, which makes 940 MB.
LARGE_AREA = 10_000_000
#: Bytes of the shared strings beyond which a worksheet is read row by row: calamine takes up to 4.4 for each.
LARGE_STRINGS = 100 << 20
#: Bytes that the shared strings of all cells may take in calamine, which copies each string for each cell. One row may
#: hold all of them, and writing it takes four times as much.
LARGE_COPIES = 128 << 20
#: Seconds between two progress callbacks while rows are taken.
TICK_SECONDS = 0.2
#: A column without a name counts if at least one of this many rows has a cell in it.
ROWS_A_COLUMN = 100
#: Position beyond which a column without a name never counts.
MAX_UNNAMED = 1_500
#: Worksheets that a note or an error names.
NAMED_SHEETS = 10

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """number: as Excel shows it. cells: from column A to the last that is not empty. problems: by index in `cells`."""

    number: int
    cells: list[str]
    problems: dict[int, Problem]


@dataclass(frozen=True)
class Shape:
    """The columns of a table in a worksheet.

    first: the first column, from 0. width: the column after the last. timed: columns with times of day, in which dates
    get a time too.
    """

    first: int
    width: int
    timed: frozenset[int]


class _Source(Protocol):
    """A worksheet, opened."""

    def rows(self) -> Iterator[SheetRow]:
        """The rows in their order. Some or all of the empty ones are missing."""
        ...


class Workbook:
    """One worksheet of a workbook, as a context manager.

    notes: sentences for people about the worksheet and how it was read. warnings: about the other worksheets. others:
    their names, for a sentence. parts: the worksheets with data, if nobody named one of several.
    """

    parts: Sequence[SheetPart] = ()

    sheet: Sheet
    notes: list[str]
    warnings: list[UploadWarning]
    others: str
    _source: "_Source"
    _open: ExitStack

    def __init__(
        self, path: Path, *, sheet: str | None, tick: Tick, header_row: int | None = None, fits: Fits = lambda _: 0
    ) -> None:
        """path: a complete archive. sheet: the name of a worksheet; None: see sheet_choice.choose, also for header_row
        and fits. Raises UnreadableFileError.
        """
        self._tick = tick
        with ExitStack() as stack:
            package = Package(stack.enter_context(opened(path)), tick)
            self.warnings = []
            if sheet is None and len(package.sheets) > 1:
                choice = choose(package, header_row=header_row, fits=fits)
                self.sheet = choice.sheet
                self.warnings += [sheets_ignored(choice.ignored, self.sheet.name)] if choice.ignored else []
                self.parts = choice.parts
            else:
                self.sheet = named(package.sheets, sheet)
            #: The names of all worksheets that can be chosen.
            self.names = [sheet.name for sheet in package.sheets]
            self.notes = [sheet_note(package.sheets, self.sheet)]
            self.others = listed([each for each in package.sheets if each is not self.sheet])
            part = self.sheet.part
            large = package.packed_size(part) > LARGE_PACKED or package.size(part) > LARGE_SHEET
            if large:
                self.notes.append(
                    "The worksheet is large, so it was read row by row, which is slower but needs little memory."
                )
            found = None if large else _loaded(path, package, part, tick)
            self._source = found or RowStream(package, part)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def rows(self, *, above: int = 0, timed: Collection[int] = ()) -> Iterator[Row]:
        """The rows that are not empty. above: the number of the row above the first one. timed: see Shape."""
        for number, values, problems in self._rows(above):
            cells = [
                value if value.__class__ is str else "" if value is None else _text(value, column in timed)
                for column, value in enumerate(values)
            ]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield Row(number, cells, problems)

    def shape(self, *, above: int) -> Shape:
        """The shape of the table below a row, which is needed before the first row is written.

        A stray cell far to the right does not add columns; it makes only its own row too long.
        """
        first, widths, timed = MAX_COLUMNS, Counter[int](), set[int]()
        for _, values, _ in self._rows(above):
            width = len(values)
            while width and (values[width - 1] is None or values[width - 1] == ""):
                width -= 1
            if not width:
                continue
            widths[width] += 1
            first = min(first, next(column for column, value in enumerate(values) if value is not None and value != ""))
            if datetime in map(type, values):
                timed.update(column for column, value in enumerate(values) if _has_time(value))
        return Shape(first, _usual_width(widths), frozenset(timed))

    def _rows(self, above: int) -> Iterator[SheetRow]:
        return (row for row in _with_ticks(self._source.rows(), self._tick) if row[0] > above)


def opened(path: Path) -> ZipArchive:
    try:
        return ZipArchive(path)
    except ARCHIVE_ERRORS as error:
        raise damaged(error) from error


def named(found: list[Sheet], wanted: str | None) -> Sheet:
    """wanted: None if there is only one."""
    if not found:
        raise UnreadableFileError("The workbook has no worksheet.")
    if wanted is None:
        return found[0]
    folded = {sheet.name.strip().casefold(): sheet for sheet in reversed(found)}
    folded |= {sheet.name: sheet for sheet in found}
    sheet = folded.get(wanted) or folded.get(wanted.strip().casefold())
    if sheet is None:
        called = f"“{shortened(wanted)}”"
        raise MisreadFileError(f"The workbook has no worksheet {called}. Choose one of {listed(found)}.")
    return sheet


def sheet_note(found: list[Sheet], chosen: Sheet) -> str:
    others = [sheet for sheet in found if sheet is not chosen]
    hidden = "hidden " if chosen.hidden else ""
    note = f"Read the {hidden}worksheet “{shortened(chosen.name)}”"
    return note + (f", and not {listed(others)}." if others else ".")


def listed(found: list[Sheet]) -> str:
    names = [f"“{shortened(sheet.name)}”" + (" (hidden)" if sheet.hidden else "") for sheet in found[:NAMED_SHEETS]]
    return ", ".join(names) + (f" and {len(found) - NAMED_SHEETS:,} more" if len(found) > NAMED_SHEETS else "")


def _usual_width(widths: Counter[int]) -> int:
    """The number of columns that at least one of ROWS_A_COLUMN rows reaches."""
    rows, reaching = widths.total(), 0
    for width in sorted(widths, reverse=True):
        reaching += widths[width]
        if reaching * ROWS_A_COLUMN >= rows and width <= MAX_UNNAMED:
            return width
    return 0


class CalamineRows:
    """A worksheet that calamine has loaded."""

    def __init__(self, sheet: python_calamine.CalamineSheet, problems: dict[int, dict[int, Problem]]) -> None:
        self._sheet = sheet
        self._problems = problems

    def rows(self) -> Iterator[SheetRow]:
        number = 0
        for number, values in self._values():
            problems = self._problems.get(number)
            yield (number, _patched(values, problems), problems) if problems else (number, values, {})
        for beyond in sorted(each for each in self._problems if each > number):
            yield beyond, _patched([], self._problems[beyond]), self._problems[beyond]

    def _values(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """calamine omits empty columns at the left, but not empty rows at the top."""
        left: list[Value] = [None] * (self._sheet.start[1] if self._sheet.start else 0)
        try:
            for number, values in enumerate(self._sheet.iter_rows(), start=1):
                yield number, [*left, *values] if left else values
        except GeneratorExit:
            raise
        except BaseException as error:  # a panic in Rust does not inherit from Exception
            raise damaged(error) from error


def _patched(values: Sequence[Value], problems: dict[int, Problem]) -> Sequence[Value]:
    """The values with the texts of problems."""
    patched = list(values)
    for column, problem in problems.items():
        patched += [None] * (column + 1 - len(patched))
        patched[column] = problem.text
    return patched


def _loaded(path: Path, package: Package, part: str, tick: Tick) -> CalamineRows | None:
    """Load a worksheet with calamine; None if it would take too much memory, or if calamine rejects it."""
    strings_size = package.size(package.strings) if package.strings else 0
    if strings_size > LARGE_STRINGS:
        return None
    survey = Survey()
    with SheetCopy(path, from_1904=package.from_1904) as copy:
        for piece in package.pieces(part):
            survey.see(piece)
            if not survey.plain:
                return None
            copy.write_sheet(piece)
        survey.finish()
        if not survey.plain or max(survey.cells, survey.area) > LARGE_AREA:
            return None
        if package.strings:
            longest = _Longest()
            copy.write_strings(longest.watch(package.pieces(package.strings)))
            if survey.strings * longest.size > LARGE_COPIES:
                return None
        if package.styles:
            copy.write_styles(package.pieces(package.styles, MAX_STYLES_BYTES))
        copy.finish()
        size = copy.path.stat().st_size
        return _load(copy.path, size, survey.problems, tick)


class _Longest:
    """Measures how many bytes the longest shared string has at most."""

    def __init__(self) -> None:
        self.size = 0
        self._open = 0

    def watch(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces. Where something other than elements and text may hide an end, everything is one string."""
        whole = False
        for piece in pieces:
            first, *others = [len(piece)] if whole or b"<!" in piece else map(len, piece.split(b"</si>"))
            whole |= b"<!" in piece
            self._open += first
            self.size = max(self.size, self._open, *others)
            if others:
                self._open = others[-1]
            yield piece


def _load(path: Path, size: int, problems: dict[int, dict[int, Problem]], tick: Tick) -> CalamineRows | None:
    """size: bytes that calamine reads."""

    def load() -> CalamineRows | BaseException:
        try:
            return CalamineRows(python_calamine.load_workbook(path).get_sheet_by_index(0), problems)
        except BaseException as error:  # a panic in Rust does not inherit from Exception
            return error

    loaded = run_with_ticks(load, tick, seconds=seconds_for(size))
    if isinstance(loaded, BaseException):  # it does not know newer errors such as #SPILL!
        log.info("calamine rejects a worksheet (%s), so it is read row by row.", str(loaded)[:200])
        return None
    return loaded


def _with_ticks(rows: Iterable[SheetRow], tick: Tick) -> Iterator[SheetRow]:
    """The same rows. Ticks while they are taken, however much is done with each."""
    then = monotonic()
    for row in rows:
        yield row
        if (now := monotonic()) - then > TICK_SECONDS:
            then = now
            tick()


def _has_time(value: Value) -> bool:
    return isinstance(value, datetime) and value.time() != time()


def _text(value: Value, timed: bool) -> str:
    """A value as text for CSV: numbers in their shortest exact form, dates and times in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return _moment(value) if timed or _has_time(value) else value.date().isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00" if timed else value.isoformat()
    if isinstance(value, time):
        return _moment(value)
    if isinstance(value, timedelta):
        return _duration(value)
    return str(value)


def _moment(value: datetime | time) -> str:
    return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text and 1e-15 <= abs(value) < 1e21 else text.removesuffix(".0")


def _duration(value: timedelta) -> str:
    """Hours, minutes and seconds as Excel shows them: 30:05:00."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds, fraction = divmod(value, timedelta(seconds=1))
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction // timedelta(milliseconds=1):03}" if fraction else text
