"""Reads a worksheet of an Excel workbook as rows of text.

python-calamine is ten times as fast as openpyxl, but loads the whole worksheet. The XML of the worksheet is scanned
first, for two things. Cells with errors and formulas without a stored result: calamine returns "" for both. And the
rectangle around all cells: calamine allocates memory for all of it, and two cells can be 17 billion cells apart.
openpyxl, row by row, reads worksheets that are too large for calamine or that calamine rejects.
"""

import logging
import posixpath
import re
import threading
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar
from xml.etree import ElementTree

import python_calamine

from jobs.errors import UnreadableFileError

log = logging.getLogger(__name__)

#: The member of the archive that lists the worksheets. It identifies a workbook.
MAIN_PART = "xl/workbook.xml"
#: Bytes of a worksheet, compressed and uncompressed, beyond which it is read row by row. Just below, a million rows of
#: eight columns took 750 MB of memory.
LARGE_PACKED, LARGE_SHEET = 60 << 20, 400 << 20
#: Cells in the rectangle around all cells beyond which a worksheet is read row by row: each takes 32 bytes.
LARGE_AREA = 20_000_000
#: Bytes that any other part may have: both libraries load it into memory.
MAX_PART_BYTES = 1 << 30
#: Rows and columns that a worksheet may have.
MAX_ROWS, MAX_COLUMNS = 1 << 20, 1 << 14
#: Bytes of XML that are scanned at once: about 50 ms of work.
PIECE_BYTES = 4 << 20
#: Bytes of XML that a row may have; 16,384 ordinary cells take about 1 MB.
MAX_ROW_BYTES = 64 << 20
#: Rows that are taken from a library at once, and the seconds after which a batch ends early.
BATCH_ROWS, BATCH_SECONDS = 1_000, 0.2
#: Seconds between two progress callbacks while a library loads.
TICK_SECONDS = 0.5
#: A column without a name counts if at least one of this many rows has a cell in it.
ROWS_A_COLUMN = 100
#: Position beyond which a column without a name never counts.
MAX_UNNAMED = 1_500
#: Worksheets that a note or an error names.
NAMED_SHEETS = 10
#: What Excel shows for a formula that failed.
ERRORS = frozenset(("#REF!", "#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#VALUE!", "#SPILL!", "#CALC!"))

#: Parts other than worksheets that the libraries read: strings, styles, relations.
_OTHER_PART = re.compile(r"(_rels/|docProps/|xl/(_rels/|theme/)?)?[^/]+\.(xml|rels)", re.IGNORECASE)
_PLACE = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")
#: The usual spelling, which matches twice as fast.
_USUAL_PLACE = re.compile(rb' r="([A-Z]+)(\d+)"')
_KIND = re.compile(rb"""\st=["'](\w+)["']""")
_ERROR = re.compile(rb"""<(?:\w+:)?c(\s[^<>]*?\bt=["']e["'][^<>]*)>""")
_VALUE = re.compile(rb"""\s*(?:<(?:\w+:)?f\b[^<>]*?(?:/>|>[^<]*</(?:\w+:)?f>)\s*)?<(?:\w+:)?v>([^<]*)<""")
_UNRESOLVED = re.compile(
    rb"""<(?:\w+:)?c(\s[^<>]*)>\s*<(?:\w+:)?f\b[^<>]*?(?:/>|>([^<]*)</(?:\w+:)?f>)"""
    rb"""\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"""
)
#: Exceptions of zipfile for an archive that is incomplete, damaged, encrypted or compressed in an unsupported way.
ARCHIVE_ERRORS = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]
Value = str | float | int | bool | date | time | timedelta | None
T = TypeVar("T")


@dataclass(frozen=True)
class Sheet:
    """A worksheet. part: its member of the archive."""

    name: str
    part: str
    hidden: bool


@dataclass(frozen=True)
class Problem:
    """A cell without a value. text: shown instead of the value. reason: the end of a sentence for people."""

    text: str
    reason: str


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


class Workbook:
    """One worksheet of a workbook, as a context manager.

    notes: sentences for people about the worksheet and how it was read. others: the names of the other worksheets, for
    a sentence.
    """

    def __init__(self, path: Path, *, sheet: str | None, tick: Tick) -> None:
        """path: a complete archive. sheet: the name of a worksheet; None: the first. Raises UnreadableFileError."""
        with zipfile.ZipFile(path) as archive:
            found = _sheets(archive)
            self.sheet = _choose(found, sheet)
            survey = _Survey.from_part(archive, self.sheet.part, tick)
            _check_other_parts(archive, tick)
            packed = archive.getinfo(self.sheet.part).compress_size
        self.notes = [_sheet_note(found, self.sheet)]
        self.others = _listed([each for each in found if each is not self.sheet])
        self._tick = tick
        self._problems = survey.problems
        self._errors_are_texts = not survey.placed
        large = packed > LARGE_PACKED or survey.size > LARGE_SHEET
        if large:
            self.notes.append(
                "The worksheet is large, so it was read row by row, which is slower but needs little memory."
            )
        by_row = large or not survey.placed or survey.area > LARGE_AREA
        self._source = _opened(path, self.sheet.name, by_row, tick)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._source.close()

    def rows(self, *, above: int = 0, timed: Collection[int] = ()) -> Iterator[Row]:
        """The rows that are not empty. above: the number of the row above the first one. timed: see Shape."""
        for number, values in self._values(above):
            cells = [
                value if value.__class__ is str else _text(value, column in timed)
                for column, value in enumerate(values)
            ]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield Row(number, cells, self._problems_of(number, cells))

    def shape(self, *, above: int) -> Shape:
        """The shape of the table below a row, which is needed before the first row is written.

        A stray cell far to the right does not add columns; it makes only its own row too long.
        """
        first, widths, timed = MAX_COLUMNS, Counter[int](), set[int]()
        for _, values in self._values(above):
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

    def _values(self, above: int) -> Iterator[tuple[int, Sequence[Value]]]:
        number = 0
        for number, values in _in_batches(self._source.rows(), self._tick):
            if number > above:
                yield number, self._with_problems(number, values)
        for beyond in sorted(each for each in self._problems if each > max(number, above)):
            yield beyond, self._with_problems(beyond, [])

    def _with_problems(self, number: int, values: Sequence[Value]) -> Sequence[Value]:
        if number not in self._problems:
            return values
        patched = list(values)
        for column, problem in self._problems[number].items():
            patched += [None] * (column + 1 - len(patched))
            patched[column] = problem.text
        return patched

    def _problems_of(self, number: int, cells: list[str]) -> dict[int, Problem]:
        if self._errors_are_texts:
            return {column: _error(cell, f"row {number}") for column, cell in enumerate(cells) if cell in ERRORS}
        return self._problems.get(number, {})


def damaged(error: BaseException) -> UnreadableFileError:
    what = " ".join(str(error).split()).strip("'\"")[:200] or type(error).__name__
    return UnreadableFileError(
        f"The workbook is damaged or incomplete ({what}). Open it in Excel and save it, then upload it again."
    )


def _sheets(archive: zipfile.ZipFile) -> list[Sheet]:
    """The worksheets, including hidden ones, in the workbook's order; not the chart sheets, which have no cells."""
    try:
        related = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
        listed = ElementTree.fromstring(archive.read(MAIN_PART))
    except (*ARCHIVE_ERRORS, ElementTree.ParseError) as error:
        raise damaged(error) from error
    worksheets = [each for each in related if each.get("Type", "").endswith("/worksheet")]
    targets = {each.get("Id"): each.get("Target", "") for each in worksheets}
    names = {name.lower(): name for name in archive.namelist()}
    found = []
    for element in listed.iter():
        identifier = next((value for name, value in element.items() if name.endswith("}id")), None)
        if element.tag.endswith("}sheet") and identifier in targets:
            part = posixpath.normpath(posixpath.join("xl", targets[identifier])).lstrip("/")
            hidden = element.get("state", "visible") != "visible"
            found.append(Sheet(element.get("name", ""), names.get(part.lower(), part), hidden))
    return found


def _choose(found: list[Sheet], wanted: str | None) -> Sheet:
    if not found:
        raise UnreadableFileError("The workbook has no worksheet.")
    if wanted is None:
        return found[0]
    folded = {sheet.name.strip().casefold(): sheet for sheet in reversed(found)}
    folded |= {sheet.name: sheet for sheet in found}
    sheet = folded.get(wanted) or folded.get(wanted.strip().casefold())
    if sheet is None:
        raise UnreadableFileError(f"The workbook has no worksheet “{wanted}”. Choose one of {_listed(found)}.")
    return sheet


def _sheet_note(found: list[Sheet], chosen: Sheet) -> str:
    others = [sheet for sheet in found if sheet is not chosen]
    hidden = "hidden " if chosen.hidden else ""
    return f"Read the {hidden}worksheet “{chosen.name}”" + (f", and not {_listed(others)}." if others else ".")


def _listed(found: list[Sheet]) -> str:
    names = [f"“{sheet.name}”" + (" (hidden)" if sheet.hidden else "") for sheet in found[:NAMED_SHEETS]]
    return ", ".join(names) + (f" and {len(found) - NAMED_SHEETS:,} more" if len(found) > NAMED_SHEETS else "")


def _check_other_parts(archive: zipfile.ZipFile, tick: Tick) -> None:
    """Read the parts that the libraries will read: unlike them, zipfile limits sizes and verifies checksums."""
    for info in archive.infolist():
        if not _OTHER_PART.fullmatch(info.filename):
            continue
        if info.file_size > MAX_PART_BYTES:
            raise UnreadableFileError(
                f"The workbook's part {info.filename} has {info.file_size:,} bytes, which is too large."
                " Save the worksheet as CSV, then upload that file."
            )
        for _ in _pieces(archive, info.filename):
            tick()


def _pieces(archive: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    try:
        with archive.open(part) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except ARCHIVE_ERRORS as error:
        raise damaged(error) from error


@dataclass
class _Survey:
    """The result of scanning a worksheet's XML.

    size: bytes. placed: every cell has a reference such as B2. problems: row → column, from 0 → problem.
    """

    size: int = 0
    placed: bool = True
    columns: set[bytes] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    problems: dict[int, dict[int, Problem]] = field(default_factory=dict)

    @classmethod
    def from_part(cls, archive: zipfile.ZipFile, part: str, tick: Tick) -> Self:
        survey, rest = cls(), b""
        for piece in _pieces(archive, part):
            rest += piece
            end = max(rest.rfind(b"row>") + 4, rest.rfind(b"<row"))
            if end > 3:
                survey._scan(rest[:end])
                rest = rest[end:]
            elif len(rest) > MAX_ROW_BYTES:
                raise UnreadableFileError(f"The workbook has a row of more than {MAX_ROW_BYTES:,} bytes.")
            tick()
        survey._scan(rest)
        if survey.rows and (max(survey.rows) > MAX_ROWS or survey.last_column >= MAX_COLUMNS):
            raise damaged(ValueError(f"a cell beyond row {MAX_ROWS:,} or column {MAX_COLUMNS:,}"))
        return survey

    @property
    def area(self) -> int:
        """Cells in the rectangle around all cells."""
        if not self.rows:
            return 0
        first_column = min(_column(letters) for letters in self.columns)
        return (max(self.rows) - min(self.rows) + 1) * (self.last_column - first_column + 1)

    @property
    def last_column(self) -> int:
        return max(_column(letters) for letters in self.columns)

    def _scan(self, xml: bytes) -> None:
        """xml: complete rows."""
        if xml.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.placed = False  # UTF-16, which the patterns do not match
        self.size += len(xml)
        cells = sum(xml.count(beginning) for beginning in (b"<c ", b"<c>", b"<c/>")) or xml.count(b":c ")
        places = _USUAL_PLACE.findall(xml)
        if len(places) < cells:
            places = _PLACE.findall(xml)
        self.placed &= len(places) >= cells
        self.columns.update({letters for letters, _ in places})
        numbers = {int(number) for number in {digits for _, digits in places}}
        self.rows.update([min(numbers), max(numbers)] if numbers else [])
        if b't="e"' in xml or b"t='e'" in xml:
            self._scan_errors(xml)
        if b"<f" in xml or b":f" in xml:
            self._scan_unresolved(xml)

    def _scan_errors(self, xml: bytes) -> None:
        for cell in _ERROR.finditer(xml):
            value = _VALUE.match(xml, cell.end())
            if place := _Place.from_attributes(cell[1]):
                text = unescape(value[1].decode("utf-8", "replace")) if value else ""
                self._add(place, _error(text or "#ERROR", f"cell {place.name}"))

    def _scan_unresolved(self, xml: bytes) -> None:
        for cell in _UNRESOLVED.finditer(xml):
            kind = _KIND.search(cell[1])
            if kind and kind[1] in (b"str", b"e"):  # an empty text is a result, and _scan_errors finds errors
                continue
            if place := _Place.from_attributes(cell[1]):
                self._add(place, _unresolved((cell[2] or b"").decode("utf-8", "replace"), place.name))

    def _add(self, place: "_Place", problem: Problem) -> None:
        self.problems.setdefault(place.row, {})[place.column] = problem


@dataclass(frozen=True)
class _Place:
    """The place of a cell. row: from 1. column: from 0. name: as Excel shows it, such as B2."""

    row: int
    column: int
    name: str

    @classmethod
    def from_attributes(cls, attributes: bytes) -> Self | None:
        if not (found := _PLACE.search(attributes)):
            return None
        return cls(int(found[2]), _column(found[1]), (found[1] + found[2]).decode())


def _error(text: str, place: str) -> Problem:
    return Problem(text, f"is the error {text} in the workbook ({place})")


def _unresolved(formula: str, place: str) -> Problem:
    return Problem(
        f"={unescape(formula)}",
        f"is a formula without a stored result in the workbook (cell {place}): open it in Excel and save it again",
    )


def _column(letters: bytes) -> int:
    """A: 0, Z: 25, AA: 26."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _usual_width(widths: Counter[int]) -> int:
    """The number of columns that at least one of ROWS_A_COLUMN rows reaches."""
    rows, reaching = widths.total(), 0
    for width in sorted(widths, reverse=True):
        reaching += widths[width]
        if reaching * ROWS_A_COLUMN >= rows and width <= MAX_UNNAMED:
            return width
    return 0


class _Source:
    """A worksheet opened by a library."""

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """Every row from the first on, with its number, from 1."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def _opened(path: Path, name: str, by_row: bool, tick: Tick) -> _Source:
    """Open a worksheet. If calamine rejects it (it does not know newer errors such as #SPILL!), openpyxl reads it."""
    if not by_row:
        try:
            return _Calamine(path, name, tick)
        except UnreadableFileError:
            log.info("calamine rejects the worksheet in %s, so openpyxl reads it row by row.", path.name)
    return _Openpyxl(path, name, tick)


class _Calamine(_Source):
    def __init__(self, path: Path, name: str, tick: Tick) -> None:
        def load() -> tuple[python_calamine.CalamineWorkbook, python_calamine.CalamineSheet]:
            book = python_calamine.load_workbook(path)
            return book, book.get_sheet_by_name(name)

        self._book, self._sheet = _loaded(load, tick)

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """calamine omits empty columns at the left, but not empty rows at the top."""
        left: list[Value] = [None] * (self._sheet.start[1] if self._sheet.start else 0)
        for number, values in enumerate(self._sheet.iter_rows(), start=1):
            yield number, [*left, *values] if left else values

    def close(self) -> None:
        self._book.close()


class _Openpyxl(_Source):
    def __init__(self, path: Path, name: str, tick: Tick) -> None:
        import openpyxl  # takes 0.2 s, and few workbooks need it

        def load() -> openpyxl.Workbook:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return openpyxl.load_workbook(self._file, read_only=True, data_only=True, keep_links=False)

        self._file = path.open("rb")  # opened here, so that it is closed if loading fails
        try:
            self._sheet = _loaded(load, tick)[name]
        except BaseException:
            self._file.close()
            raise
        self._sheet.reset_dimensions()  # the stored size may be wrong, and openpyxl would omit cells beyond it

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """openpyxl generates the empty rows between two rows, however many there are."""
        for number, values in enumerate(self._sheet.iter_rows(values_only=True), start=1):
            if number > MAX_ROWS:
                raise ValueError(f"a row beyond {MAX_ROWS:,}")
            yield number, values

    def close(self) -> None:
        self._file.close()


def run_with_ticks(work: Callable[[], T], tick: Tick) -> T:
    """Run `work` in a thread and call `tick` meanwhile: a single call may take many seconds. Returns its result."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # a panic in Rust does not inherit from Exception
            errors.append(error)

    thread = threading.Thread(target=run, name="run_with_ticks", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(TICK_SECONDS)
        tick()
    if errors:
        raise errors[0]
    return results[0]


def _loaded(load: Callable[[], T], tick: Tick) -> T:
    """Load with a library. Any exception of the library means that the workbook is damaged."""
    failed: list[BaseException] = []

    def attempt() -> T | None:
        try:
            return load()
        except BaseException as error:
            failed.append(error)
            return None

    loaded = run_with_ticks(attempt, tick)
    if loaded is None:
        raise damaged(failed[0]) from failed[0]
    return loaded


def _in_batches(rows: Iterable[T], tick: Tick) -> Iterator[T]:
    """The same rows. Any exception of the library means that the workbook is damaged. Its warnings are ignored."""
    rows = iter(rows)
    while True:
        batch: list[T] = []
        until = monotonic() + BATCH_SECONDS
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for row in rows:
                    batch.append(row)
                    if len(batch) == BATCH_ROWS or monotonic() > until:
                        break
        except Exception as error:
            raise damaged(error) from error
        if not batch:
            return
        tick()
        yield from batch


def _has_time(value: Value) -> bool:
    return isinstance(value, datetime) and value.time() != time()


def _text(value: Value, timed: bool) -> str:
    """A value as text for CSV: numbers in their shortest exact form, dates and times in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _number(value)
    if value is None:
        return ""
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
