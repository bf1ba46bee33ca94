"""Which worksheet of a workbook holds its table, if nobody named one, and how many rows the others have.

It looks at the first rows of each worksheet, and counts the others without parsing them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from jobs.errors import UnreadableFileError
from jobs.formats.header import SAMPLE_RECORDS, find_header
from jobs.pipeline.xlsx.date_formats import DateFormats
from jobs.pipeline.xlsx.package import MAX_STRINGS_BYTES, Package, Sheet
from jobs.pipeline.xlsx.row_stream import RowStream, SheetRow, Value
from jobs.pipeline.xlsx.shared_strings import SharedStrings

#: Worksheets that are looked at. Excel itself becomes slow with hundreds.
SAMPLED_SHEETS = 1_000
#: Bytes of a worksheet that are looked at for its first rows, and how many are parsed at once.
SAMPLE_BYTES, SLICE_BYTES = 2 << 20, 1 << 15
#: Bytes of all worksheets together in which rows are counted: some seconds of work. Beyond, their number is estimated.
COUNTED_BYTES = 1 << 30
#: Bytes of the shared strings that are looked at: those of the first rows are nearly always among the first.
STRINGS_BYTES = 32 << 20
#: Bytes of a shared string that are looked at: thousands of cells may refer to a long one.
STRING_BYTES = 250
#: Bytes that are kept of a row whose end is in the next piece: enough to see whether it has a value.
OPEN_ROW_BYTES = 1 << 16

_ROW = re.compile(rb"<(?:[^\s<>/:]{1,20}:)?row(?=[\s/>])")
#: What a row with a value contains: the end of a value, or the beginning of a text.
_VALUES = (b"v>", b"<is", b":is>")

#: How many fields of the wanted dataset the names of a header fill.
Fits = Callable[[list[str]], int]


@dataclass(frozen=True)
class Sample:
    """A worksheet by its first rows.

    fields: how many fields of the wanted dataset its header fills. rows: below the header. filled: cells with a value
    of such a row, on average. has_names: whether several columns have distinct names. names: of the columns.
    is_readable: if it is not, the rest says nothing.
    """

    sheet: Sheet
    is_empty: bool = True
    fields: int = 0
    rows: int = 0
    filled: float = 0.0
    has_names: bool = False
    names: Sequence[str] = ()
    is_readable: bool = True

    @property
    def rank(self) -> tuple[bool, bool, int, bool, bool, float]:
        """The greatest one is read."""
        is_visible = not self.sheet.hidden and not self.is_empty
        return is_visible, not self.is_empty, self.fields, self.rows > 0, self.has_names, self.rows * self.filled


@dataclass(frozen=True)
class SheetPart:
    """A worksheet with data. rows: below its header. columns: their names."""

    sheet: Sheet
    rows: int
    columns: Sequence[str]


@dataclass(frozen=True)
class Choice:
    """ignored: the names of the other worksheets with data → rows below their headers. parts: all worksheets with
    data, in the workbook's order."""

    sheet: Sheet
    ignored: dict[str, int]
    parts: Sequence[SheetPart]


def choose(package: Package, *, header_row: int | None, fits: Fits) -> Choice:
    """Choose the worksheet that fits the wanted dataset best, else the one that is most a table, else the first.

    Hidden ones are read only if all visible ones are empty. header_row: the row with the header, if it was chosen.
    """
    sampler = _Sampler(package, header_row, fits)
    return chosen_of([sampler.sample(sheet) for sheet in package.sheets[:SAMPLED_SHEETS]])


def chosen_of(samples: Sequence[Sample]) -> Choice:
    """The best of the worksheets."""
    best = max(samples, key=lambda sample: sample.rank)
    ignored = {
        sample.sheet.name: sample.rows
        for sample in samples
        if sample is not best and (sample.rows or not sample.is_readable)
    }
    parts = [SheetPart(each.sheet, each.rows, each.names) for each in samples if each.rows and each.is_readable]
    return Choice(best.sheet, ignored, parts)


class _Sampler:
    """Samples the worksheets of a workbook. They share its strings, its formats and the limit of bytes."""

    def __init__(self, package: Package, header_row: int | None, fits: Fits) -> None:
        self._package = package
        self._header_row = header_row
        self._fits = fits
        self._strings = _FirstStrings(package)
        self._formats = DateFormats.from_package(package)
        self._left = COUNTED_BYTES

    def sample(self, sheet: Sheet) -> Sample:
        rows: list[SheetRow] = []
        is_whole = False
        try:
            for row in self._first_rows(sheet):
                rows.append(row)
                if len(rows) == SAMPLE_RECORDS:
                    break
            else:
                is_whole = True
            return self._measured(sheet, rows, is_whole) if rows else Sample(sheet)
        except UnreadableFileError:  # perhaps only because it is read in part
            return self._measured(sheet, rows, False) if rows else Sample(sheet, is_readable=False)

    def _first_rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        slices = _slices(self._package.pieces(sheet.part))
        stream = RowStream(self._package, sheet.part, strings=self._strings, formats=self._formats)
        return (row for row in stream.rows_of(slices) if any(map(has_value, row[1])))

    def _measured(self, sheet: Sheet, rows: list[SheetRow], is_whole: bool) -> Sample:
        """rows: the first ones with values. is_whole: they are all."""
        count = len(rows) if is_whole else max(len(rows), self._count(sheet.part))
        return measured(sheet, rows, count, self._header_row, self._fits)

    def _count(self, part: str) -> int:
        """The number of rows with values, as far as the worksheet can be read."""
        found = seen = 0
        rest = b""
        with suppress(UnreadableFileError):
            for piece in self._package.pieces(part):
                *whole, rest = _ROW.split(rest + piece)
                found += sum(map(_has_mark, whole))
                rest = b"<row " + rest[-OPEN_ROW_BYTES:]  # the end of a row tells as well whether it has a value
                seen += len(piece)
                self._left -= len(piece)
                if self._left <= 0:
                    return found * self._package.size(part) // seen
        return found + _has_mark(rest.partition(b"sheetData>")[0])


def measured(sheet: Sheet, rows: list[SheetRow], count: int, header_row: int | None, fits: Fits) -> Sample:
    """A worksheet by its first rows with values. count: of all of its rows with values."""
    header = _header(rows, header_row)
    if header is None:
        return Sample(sheet, is_empty=False)
    names = rows[header][1]
    below = [sum(map(has_value, values)) for _, values, _ in rows[header + 1 :]]
    texts = [" ".join(str(name).split()) for name in names if has_value(name)]
    return Sample(
        sheet,
        is_empty=False,
        fields=fits(texts),
        rows=count - header - 1,
        filled=sum(below) / len(below) if below else 0.0,
        has_names=_are_names(names),
        names=texts,
    )


def _header(rows: list[SheetRow], header_row: int | None) -> int | None:
    """The position of the header row."""
    if header_row == 0:
        return 0
    if header_row is not None:
        return next((place for place, row in enumerate(rows) if row[0] == header_row), None)
    width = max(len(values) for _, values, _ in rows)
    records: list[list[str]] = []
    places: list[int] = []  # of the row in each record
    for place, (number, values, _) in enumerate(rows):
        if place and number > rows[place - 1][0] + 1:
            records.append([])
            places.append(place)
        texts = ["" if value is None else str(value) for value in values]
        records.append(texts + [""] * (width - len(texts)))
        places.append(place)
    return places[find_header(records)]


def _has_mark(row: bytes) -> bool:
    return any(mark in row for mark in _VALUES)


class _FirstStrings(SharedStrings):
    """The first shared strings, loaded when one is needed. A later one is a text that is like no other."""

    def __init__(self, package: Package) -> None:
        super().__init__()
        self._package: Package | None = package

    def size(self, number: int) -> int:
        return 0

    def __getitem__(self, number: int) -> str:
        if self._package is not None:
            package, self._package = self._package, None
            if package.strings is None:
                return f"string {number}"
            with suppress(UnreadableFileError):  # which it is at the limit; the import itself finds what is damaged
                self.load(_beginning(package.pieces(package.strings, MAX_STRINGS_BYTES), STRINGS_BYTES))
        return self.beginning(number, STRING_BYTES) if number < len(self) else f"string {number}"


def _beginning(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        limit -= len(piece)
        if limit <= 0:
            return


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The beginning of a worksheet in small pieces, so that little more than its first rows is parsed."""
    for piece in _beginning(pieces, SAMPLE_BYTES):
        for start in range(0, len(piece), SLICE_BYTES):
            yield piece[start : start + SLICE_BYTES]


def has_value(value: Value) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _are_names(cells: Sequence[Value]) -> bool:
    """Whether cells name several columns: they are distinct and side by side, and begin with a text."""
    names = [cell for cell in cells if has_value(cell)]
    texts = [str(name).strip().casefold() for name in names]
    first = next((place for place, cell in enumerate(cells) if has_value(cell)), 0)
    whole = all(map(has_value, cells[first : first + len(names)]))
    labels = any(text.endswith(":") for text in texts)
    return len(names) > 1 and whole and isinstance(names[0], str) and not labels and len(set(texts)) == len(texts)
