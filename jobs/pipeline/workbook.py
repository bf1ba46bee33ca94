"""A sheet of an Excel workbook → rows of text.

python-calamine reads it: ten times as fast as openpyxl, but whole. What it cannot tell or bear is found in the sheet's
XML before: cells that are errors and formulas whose result was never stored (it gives "" for both), and how far apart
the cells are, for it takes memory for the whole rectangle around them and two cells can be 17 billion apart. A sheet
that would take too much, or that it refuses, is read by openpyxl, row by row.
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

#: The member of the archive that names the sheets: what makes an archive a workbook.
MAIN_PART = "xl/workbook.xml"
#: Bytes of a sheet, packed, and of its XML, unpacked, beyond which it is read row by row. Just below, a million rows of
#: eight columns took 750 MB.
LARGE_PACKED, LARGE_SHEET = 60 << 20, 400 << 20
#: Cells in the rectangle around a sheet's cells beyond which it is read row by row: each takes 32 bytes.
LARGE_AREA = 20_000_000
#: Bytes that any other part may have: both libraries hold them whole.
MAX_PART_BYTES = 1 << 30
#: Rows and columns a sheet may have.
MAX_ROWS, MAX_COLUMNS = 1 << 20, 1 << 14
#: Bytes of XML that are looked at at once: some 50 ms of work.
PIECE_BYTES = 4 << 20
#: Bytes of XML one row may have; 16,384 ordinary cells take about 1 MB.
MAX_ROW_BYTES = 64 << 20
#: Rows that are taken from a library at once, and the seconds after which fewer will do.
BATCH_ROWS, BATCH_SECONDS = 1_000, 0.2
#: Seconds between two ticks while a library loads.
TICK_SECONDS = 0.5
#: A column without a name is one if at least every so-manieth row has a cell in it.
ROWS_A_COLUMN = 100
#: Columns beyond which one without a name never is one.
MAX_UNNAMED = 1_500
#: Sheets that are named in a sentence.
NAMED_SHEETS = 10
#: What Excel shows where a formula failed.
ERRORS = frozenset(("#REF!", "#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#VALUE!", "#SPILL!", "#CALC!"))

#: Parts that are not sheets and are read all the same: strings, styles, relations.
_OTHER_PART = re.compile(r"(_rels/|docProps/|xl/(_rels/|theme/)?)?[^/]+\.(xml|rels)", re.IGNORECASE)
_PLACE = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")
#: As nearly every writer writes it, and found twice as fast.
_USUAL_PLACE = re.compile(rb' r="([A-Z]+)(\d+)"')
_KIND = re.compile(rb"""\st=["'](\w+)["']""")
_ERROR = re.compile(rb"""<(?:\w+:)?c(\s[^<>]*?\bt=["']e["'][^<>]*)>""")
_VALUE = re.compile(rb"""\s*(?:<(?:\w+:)?f\b[^<>]*?(?:/>|>[^<]*</(?:\w+:)?f>)\s*)?<(?:\w+:)?v>([^<]*)<""")
_UNRESOLVED = re.compile(
    rb"""<(?:\w+:)?c(\s[^<>]*)>\s*<(?:\w+:)?f\b[^<>]*?(?:/>|>([^<]*)</(?:\w+:)?f>)"""
    rb"""\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"""
)
#: What zipfile raises for an archive that is cut off, damaged, encrypted or packed in a way it does not know.
ARCHIVE_ERRORS = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)

Tick = Callable[[], None]
Value = str | float | int | bool | date | time | timedelta | None
T = TypeVar("T")


@dataclass(frozen=True)
class Sheet:
    """A sheet that has cells. part: its member of the archive."""

    name: str
    part: str
    hidden: bool


@dataclass(frozen=True)
class Problem:
    """A cell without a value. text: what stands for it. reason: for people, to be read behind the column's name."""

    text: str
    reason: str


@dataclass(frozen=True)
class Row:
    """number: as Excel shows it. cells: from column A on, the last is not empty. problems: place in cells → problem."""

    number: int
    cells: list[str]
    problems: dict[int, Problem]


@dataclass(frozen=True)
class Shape:
    """What a table in a sheet is like. first: its first column, from 0. width: the first column behind it.
    timed: columns with times of day, in which dates are written with one too."""

    first: int
    width: int
    timed: frozenset[int]


class Workbook:
    """One sheet of a workbook, a context that closes it. notes: sentences for people about which it is and how it is
    read. others: the names of the other sheets, for a sentence."""

    def __init__(self, path: Path, *, sheet: str | None, tick: Tick) -> None:
        """path: a whole archive. sheet: its name; None: the first. Raises UnreadableFileError."""
        with zipfile.ZipFile(path) as archive:
            found = _sheets(archive)
            self.sheet = _choose(found, sheet)
            survey = _Survey.of(archive, self.sheet.part, tick)
            _check_other_parts(archive, tick)
            packed = archive.getinfo(self.sheet.part).compress_size
        self.notes = [_which(found, self.sheet)]
        self.others = _named([each for each in found if each is not self.sheet])
        self._tick = tick
        self._problems = survey.problems
        self._errors_are_texts = not survey.placed
        large = packed > LARGE_PACKED or survey.size > LARGE_SHEET
        if large:
            self.notes.append("The sheet is large, so it was read row by row: slower, but with little memory.")
        by_row = large or not survey.placed or survey.area > LARGE_AREA
        self._source = _opened(path, self.sheet.name, by_row, tick)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._source.close()

    def rows(self, *, above: int = 0, timed: Collection[int] = ()) -> Iterator[Row]:
        """The rows that are not empty. above: the number of the row below which to begin. timed: see Shape."""
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
        """Of the table that begins below a row: it has to be known before its first row is written.

        A stray cell far to the right makes no columns of all that lies between: it is its row that is too long.
        """
        first, widths, timed = MAX_COLUMNS, Counter[int](), set[int]()
        for _, values in self._values(above):
            behind = len(values)
            while behind and (values[behind - 1] is None or values[behind - 1] == ""):
                behind -= 1
            if not behind:
                continue
            widths[behind] += 1
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
        f"The workbook is damaged or incomplete ({what}). Open it in Excel, save it again, and upload that."
    )


def _sheets(archive: zipfile.ZipFile) -> list[Sheet]:
    """The sheets that have cells (charts are sheets without), hidden ones too, in the workbook's order."""
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
        raise UnreadableFileError("The workbook has no sheet with cells.")
    if wanted is None:
        return found[0]
    folded = {sheet.name.strip().casefold(): sheet for sheet in reversed(found)}
    folded |= {sheet.name: sheet for sheet in found}
    sheet = folded.get(wanted) or folded.get(wanted.strip().casefold())
    if sheet is None:
        raise UnreadableFileError(f"The workbook has no sheet “{wanted}”. It has {_named(found)}.")
    return sheet


def _which(found: list[Sheet], chosen: Sheet) -> str:
    others = [sheet for sheet in found if sheet is not chosen]
    hidden = "hidden " if chosen.hidden else ""
    return f"Read the {hidden}sheet “{chosen.name}”" + (f", and not {_named(others)}." if others else ".")


def _named(found: list[Sheet]) -> str:
    names = [f"“{sheet.name}”" + (" (hidden)" if sheet.hidden else "") for sheet in found[:NAMED_SHEETS]]
    return ", ".join(names) + (f" and {len(found) - NAMED_SHEETS:,} more" if len(found) > NAMED_SHEETS else "")


def _check_other_parts(archive: zipfile.ZipFile, tick: Tick) -> None:
    """Read what the libraries will read, for zipfile stops where a part should end and checks its sum; they do not."""
    for info in archive.infolist():
        if not _OTHER_PART.fullmatch(info.filename):
            continue
        if info.file_size > MAX_PART_BYTES:
            raise UnreadableFileError(
                f"The workbook's part {info.filename} has {info.file_size:,} bytes, more than fit into memory."
                " Save the sheet as CSV, and upload that."
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
    """What a sheet's XML says before it is read. size: bytes. placed: every cell says where it stands.
    problems: row → column, from 0 → problem."""

    size: int = 0
    placed: bool = True
    columns: set[bytes] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    problems: dict[int, dict[int, Problem]] = field(default_factory=dict)

    @classmethod
    def of(cls, archive: zipfile.ZipFile, part: str, tick: Tick) -> Self:
        survey, rest = cls(), b""
        for piece in _pieces(archive, part):
            rest += piece
            end = max(rest.rfind(b"row>") + 4, rest.rfind(b"<row"))
            if end > 3:
                survey._see(rest[:end])
                rest = rest[end:]
            elif len(rest) > MAX_ROW_BYTES:
                raise UnreadableFileError(f"The workbook has a row of more than {MAX_ROW_BYTES:,} bytes.")
            tick()
        survey._see(rest)
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

    def _see(self, block: bytes) -> None:
        """block: whole rows."""
        if block.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.placed = False  # UTF-16, which the patterns do not read
        self.size += len(block)
        cells = sum(block.count(beginning) for beginning in (b"<c ", b"<c>", b"<c/>")) or block.count(b":c ")
        places = _USUAL_PLACE.findall(block)
        if len(places) < cells:
            places = _PLACE.findall(block)
        self.placed &= len(places) >= cells
        self.columns.update({letters for letters, _ in places})
        numbers = {int(number) for number in {digits for _, digits in places}}
        self.rows.update([min(numbers), max(numbers)] if numbers else [])
        if b't="e"' in block or b"t='e'" in block:
            self._see_errors(block)
        if b"<f" in block or b":f" in block:
            self._see_unresolved(block)

    def _see_errors(self, block: bytes) -> None:
        for cell in _ERROR.finditer(block):
            value = _VALUE.match(block, cell.end())
            if place := _Place.of(cell[1]):
                text = unescape(value[1].decode("utf-8", "replace")) if value else ""
                self._note(place, _error(text or "#ERROR", f"cell {place.name}"))

    def _see_unresolved(self, block: bytes) -> None:
        for cell in _UNRESOLVED.finditer(block):
            kind = _KIND.search(cell[1])
            if kind and kind[1] in (b"str", b"e"):  # an empty text is a result, and errors are seen already
                continue
            if place := _Place.of(cell[1]):
                self._note(place, _unresolved((cell[2] or b"").decode("utf-8", "replace"), place.name))

    def _note(self, place: "_Place", problem: Problem) -> None:
        self.problems.setdefault(place.row, {})[place.column] = problem


@dataclass(frozen=True)
class _Place:
    """Of a cell. row: from 1. column: from 0. name: as Excel writes it."""

    row: int
    column: int
    name: str

    @classmethod
    def of(cls, attributes: bytes) -> Self | None:
        if not (found := _PLACE.search(attributes)):
            return None
        return cls(int(found[2]), _column(found[1]), (found[1] + found[2]).decode())


def _error(text: str, place: str) -> Problem:
    return Problem(text, f"is the error {text} in the workbook ({place})")


def _unresolved(formula: str, place: str) -> Problem:
    return Problem(
        f"={unescape(formula)}",
        f"is a formula whose result is not stored in the workbook (cell {place}): open it in Excel and save it again",
    )


def _column(letters: bytes) -> int:
    """A: 0, Z: 25, AA: 26."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _usual_width(widths: Counter[int]) -> int:
    """The columns that at least every so-manieth row reaches."""
    rows, reaching = widths.total(), 0
    for width in sorted(widths, reverse=True):
        reaching += widths[width]
        if reaching * ROWS_A_COLUMN >= rows and width <= MAX_UNNAMED:
            return width
    return 0


class _Source:
    """A library that has a sheet open."""

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """Every row from the first on, with its number."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def _opened(path: Path, name: str, by_row: bool, tick: Tick) -> _Source:
    """What calamine refuses (it does so at an error of newer kinds, like #SPILL!), openpyxl may read all the same."""
    if not by_row:
        try:
            return _Calamine(path, name, tick)
        except UnreadableFileError:
            log.info("The sheet in %s is read row by row, since calamine refuses it.", path.name)
    return _Openpyxl(path, name, tick)


class _Calamine(_Source):
    def __init__(self, path: Path, name: str, tick: Tick) -> None:
        def load() -> tuple[python_calamine.CalamineWorkbook, python_calamine.CalamineSheet]:
            book = python_calamine.load_workbook(path)
            return book, book.get_sheet_by_name(name)

        self._book, self._sheet = _loaded(load, tick)

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """It leaves out the empty columns at the left, not the empty rows at the top."""
        left: list[Value] = [None] * (self._sheet.start[1] if self._sheet.start else 0)
        for number, values in enumerate(self._sheet.iter_rows(), start=1):
            yield number, [*left, *values] if left else values

    def close(self) -> None:
        self._book.close()


class _Openpyxl(_Source):
    def __init__(self, path: Path, name: str, tick: Tick) -> None:
        import openpyxl  # 0.2 s, for the few workbooks that need it

        def load() -> openpyxl.Workbook:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return openpyxl.load_workbook(self._file, read_only=True, data_only=True, keep_links=False)

        self._file = path.open("rb")  # ours, so that it is closed when loading fails
        try:
            self._sheet = _loaded(load, tick)[name]
        except BaseException:
            self._file.close()
            raise
        self._sheet.reset_dimensions()  # what a sheet says about its size may be wrong, and would cut it off

    def rows(self) -> Iterator[tuple[int, Sequence[Value]]]:
        """It makes up the empty rows between two, however far the second says it is."""
        for number, values in enumerate(self._sheet.iter_rows(values_only=True), start=1):
            if number > MAX_ROWS:
                raise ValueError(f"a row beyond {MAX_ROWS:,}")
            yield number, values

    def close(self) -> None:
        self._file.close()


def ticking(work: Callable[[], T], tick: Tick) -> T:
    """What `work` returns or raises, done in a thread, for it may take many seconds in one call."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # a panic in Rust is none of Exception's
            errors.append(error)

    thread = threading.Thread(target=run, name="ticking", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(TICK_SECONDS)
        tick()
    if errors:
        raise errors[0]
    return results[0]


def _loaded(load: Callable[[], T], tick: Tick) -> T:
    """What a library loads. Whatever it trips over means that the workbook is damaged."""
    failed: list[BaseException] = []

    def attempt() -> T | None:
        try:
            return load()
        except BaseException as error:
            failed.append(error)
            return None

    loaded = ticking(attempt, tick)
    if loaded is None:
        raise damaged(failed[0]) from failed[0]
    return loaded


def _in_batches(rows: Iterable[T], tick: Tick) -> Iterator[T]:
    """The same rows. Whatever a library trips over means that the workbook is damaged; its warnings are its own."""
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
    """A value as it stands in a CSV file: numbers as short as they are exact, dates and times in ISO 8601."""
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
    """Hours, minutes and seconds, as Excel shows it: 30:05:00."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds, fraction = divmod(value, timedelta(seconds=1))
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction // timedelta(milliseconds=1):03}" if fraction else text
