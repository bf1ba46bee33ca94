"""The format of failed-rows.csv: how it is written for a person to correct, and recognised when it is uploaded again.

It has the columns of the uploaded file, then three tracking columns that identify the format: the upload in which the
row failed, the row's number there, and the reasons. An apostrophe escapes each place of a cell that a spreadsheet would
run as a formula (CWE-1236); reading removes it.

People and spreadsheets change such a file: they move columns, write numbers as 12.0 or 1,234, save with another
delimiter and encoding. It is recognised as long as all three tracking columns are somewhere in the header.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from jobs import deleted_names
from jobs.failed_rows import FailedRow
from jobs.formats.dialect import DELIMITERS, first_records

#: The columns that follow those of the uploaded file.
TRACKING_COLUMNS = ("_upload_id", "_row_number", "_error")
#: What the first of them is spelled with, however a program changed what is around it.
_WORD = "upload"
#: The most digits of an upload's id that always fit into the database.
_MAX_ID_DIGITS = 18

#: What begins a formula, also in full width, and the quotes that a program may drop before it.
_SIGN, _QUOTES = "[=+\\-@\uff1d\uff0b\uff0d\uff20]", r"""['"]*"""
#: Where a formula can begin: at the start of a cell, and behind each character at which some program begins a new one.
#: One whose separator is the semicolon takes no notice of quotes that enclose a cell between commas.
_FORMULA = re.compile(rf"(^|[;\t\r\n])({_QUOTES}{_SIGN})")
#: A cell whose white space a program may drop.
_SPACED = re.compile(rf"^({_QUOTES}[\t\r\n])")
#: A cell that neither begins with one of the first characters nor has one of the others needs no escape.
_FIRST, _SEPARATORS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20'\""), ";\t\r\n"
#: A place where a cell begins with one of the first characters, among cells that are joined by NUL, or has a separator.
_RISKY = re.compile(f"(?:^|\0)[{re.escape(''.join(sorted(_FIRST)))}]|[{_SEPARATORS}]")
#: Characters from which a row is not searched with that pattern: to look at each cell is then a hundred times as fast.
_LONG_ROW = 10_000
#: A number, or several of them with semicolons, only resembles a formula.
_NUMBERS = re.compile(r"[+-]?[0-9.,]+(;[+-]?[0-9.,]+)*")
#: The same for PostgreSQL, whose ^ and $ are the ends of a text too.
FORMULA_IN_SQL, SPACED_IN_SQL, NUMBERS_IN_SQL = _FORMULA.pattern, _SPACED.pattern, f"^(?:{_NUMBERS.pattern})$"
#: Patterns of an escaped place with their replacements, to apply in this order. The syntax is valid in Arrow too.
UNESCAPES = (
    (rf"^'({_QUOTES}[\t\r\n])", r"\1"),
    (rf"(^|[;\t\r\n])'({_QUOTES}{_SIGN})", r"\1\2"),
)
_UNESCAPES = [(re.compile(pattern), replacement) for pattern, replacement in UNESCAPES]


def header(names: Sequence[str], *, raw: bool = False) -> list[str]:
    """The header of failed-rows.csv. names: the columns of the uploaded file. raw: without escapes."""
    return [*(names if raw else map(escape_formula, names)), *TRACKING_COLUMNS]


def record(row: FailedRow, upload_id: int, width: int, *, raw: bool = False) -> list[str]:
    """A failed row as a record of failed-rows.csv. width: number of columns in the uploaded file. raw: without escapes.

    Surplus cells would shift the tracking columns, so `_error` quotes them instead.
    """
    surplus = row.cells[width:]
    error = row.sentence + (f"; surplus cells: {', '.join(surplus)}" if surplus else "")
    cells = [*row.cells[:width], *[""] * (width - len(row.cells)), str(upload_id), str(row.row_number), error]
    return cells if raw else escape_formulas(cells)


@dataclass(frozen=True)
class Marks:
    """The places of the tracking columns in a header, from 0. unnamed: empty columns at its end, which a spreadsheet
    adds."""

    upload_id: int
    row_number: int
    error: int
    unnamed: tuple[int, ...] = ()

    @classmethod
    def find(cls, header: Sequence[str], records: Iterable[Sequence[str]] = ()) -> Self | None:
        """None: the header is not that of a file of corrections. records: the first ones below the header."""
        if _WORD not in "\0".join(header).casefold():  # nearly always, and to look at each name takes ten times as long
            return None
        last = {_normalized(name): place for place, name in enumerate(header)}
        if not all(name in last for name in TRACKING_COLUMNS) or len(header) <= len(TRACKING_COLUMNS):
            return None
        named = max(place for place, name in enumerate(header) if name.strip())
        filled = {place for record in records for place, cell in enumerate(record) if cell.strip()}
        unnamed = tuple(place for place in range(named + 1, len(header)) if place not in filled)
        upload_id, row_number, error = (last[name] for name in TRACKING_COLUMNS)
        return cls(upload_id, row_number, error, unnamed)

    @property
    def places(self) -> frozenset[int]:
        """The columns that hold no data."""
        return frozenset({self.upload_id, self.row_number, self.error, *self.unnamed})

    def data_places(self, width: int) -> list[int]:
        """The columns that hold data. width: of the header."""
        return [place for place in range(width) if place not in self.places]

    def parent(self, records: Iterable[Sequence[str]]) -> int | None:
        """The upload that the first record names whose mark is readable."""
        found = (number_of(record[self.upload_id]) for record in records if len(record) > self.upload_id)
        return next((number for number in found if number is not None), None)


def _normalized(name: str) -> str:
    """A column name as the tracking columns are spelled."""
    return re.sub(r"\s+", "_", name.strip(" \t\r\n'\"\ufeff").casefold())


def without_tracking_columns(header: Sequence[str]) -> list[str]:
    """The columns of the uploaded file; those of any other file as they are."""
    marks = Marks.find(header)
    return list(header) if marks is None else [unescape_formula(header[n]) for n in marks.data_places(len(header))]


@dataclass(frozen=True)
class CorrectionsHead:
    """What the beginning of a file of corrections tells. names: of the columns that hold data. parent: the upload whose
    failed rows it corrects, as the file says."""

    delimiter: str
    names: list[str]
    parent: int | None

    @classmethod
    def find(cls, sample: str) -> Self | None:
        """None: the text is not a file of corrections. sample: its beginning."""
        # Bytes are made lower case in a fraction of the time, and the name is ASCII.
        if TRACKING_COLUMNS[0].encode() not in sample.encode(errors="replace").lower():
            return None
        for delimiter in DELIMITERS:
            records = first_records(sample, delimiter)
            for place, record in enumerate(records):
                if marks := Marks.find(record):
                    parent = marks.parent(records[place + 1 :])
                    return cls(delimiter, without_tracking_columns(record), parent)
        return None

    @classmethod
    def read(cls, head: bytes) -> Self | None:
        """As `find`, from the first bytes of a file. The names of the tracking columns are ASCII."""
        wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        return cls.find(head.decode("utf-16" if wide else "utf-8-sig", "replace"))


#: A whole number with groups of three digits, or with decimals that are zero.
_GROUPED = re.compile(r"\d{1,3}([.,' \xa0\u202f\u2019]\d{3})+")
_ZERO_DECIMALS = re.compile(r"[.,]0{1,2}$")


def number_of(cell: str) -> int | None:
    """The id or the row number in a tracking column, as a spreadsheet may have written it: 12, 12.0, 1,234, '12."""
    text = _ZERO_DECIMALS.sub("", cell.strip().lstrip("'#").strip())
    if _GROUPED.fullmatch(text):
        text = re.sub(r"\D", "", text)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_ID_DIGITS else None


def wrong_dataset(parent: int, dataset: str, wanted: str) -> str:
    """The sentence for a file of corrections that was sent into another dataset than its parent's."""
    return (
        f"This file has corrected rows of upload #{parent}, which belong in the dataset “{dataset}”, not in “{wanted}”."
        f" Choose “{dataset}” or no dataset. To import the file elsewhere, delete the columns"
        f" {', '.join(TRACKING_COLUMNS[:-1])} and {TRACKING_COLUMNS[-1]}."
    )


#: Why a file of corrections is refused that is to replace all rows.
REPLACES_NOTHING = "Corrected rows are added to those of the dataset; they cannot replace all rows."


def deleted_dataset(parent: int, dataset: str) -> str:
    """The sentence for a file of corrections of an upload whose dataset was deleted. dataset: its name then or now."""
    name = deleted_names.former(dataset) or dataset
    return (
        f"This file has corrected rows of upload #{parent}, whose dataset “{name}” was deleted. To import the file"
        f" elsewhere, delete the columns {', '.join(TRACKING_COLUMNS[:-1])} and {TRACKING_COLUMNS[-1]}."
    )


def escape_formula(cell: str) -> str:
    """The cell, escaped at each place that a spreadsheet would run as a formula. Signed numbers stay as they are."""
    if not cell or not (cell[0] in _FIRST or any(separator in cell for separator in _SEPARATORS)):
        return cell  # nearly all cells; searching a long one with a pattern would take a thousand times as long
    if _NUMBERS.fullmatch(cell):
        return cell
    return _SPACED.sub(r"'\1", _FORMULA.sub(r"\1'\2", cell))


def escape_formulas(cells: list[str]) -> list[str]:
    """Each cell as `escape_formula` returns it. One search tells of nearly all short rows that none needs it."""
    if sum(map(len, cells)) < _LONG_ROW and _RISKY.search("\0".join(cells)) is None:
        return cells
    return [escape_formula(cell) for cell in cells]


def unescape_formula(cell: str) -> str:
    """The opposite of `escape_formula`."""
    for pattern, replacement in _UNESCAPES:
        cell = pattern.sub(replacement, cell)
    return cell
