"""The format of failed-rows.csv: how it is written for a person to correct, and recognised when it is uploaded again.

It has the columns of the uploaded file, then three tracking columns that identify the format: the upload in which the
row failed, the row's number there, and the reasons. An apostrophe escapes each place of a cell that a spreadsheet would
run as a formula (CWE-1236); reading removes it.
"""

import re
from collections.abc import Sequence

from jobs.failed_rows import FailedRow

#: The columns that follow those of the uploaded file.
TRACKING_COLUMNS = ("_upload_id", "_row_number", "_error")
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
#: A number, or several of them with semicolons, only resembles a formula.
_NUMBERS = re.compile(r"[+-]?[0-9.,]+(;[+-]?[0-9.,]+)*")
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
    return cells if raw else [escape_formula(cell) for cell in cells]


def count_tracking_columns(header: Sequence[str]) -> int:
    """How many tracking columns a header ends with: all of them, or 0 if the file is not a failed-rows.csv."""
    count = len(TRACKING_COLUMNS)
    return count if len(header) > count and tuple(header[-count:]) == TRACKING_COLUMNS else 0


def without_tracking_columns(header: Sequence[str]) -> list[str]:
    """The columns of the uploaded file; those of any other file as they are."""
    count = count_tracking_columns(header)
    return [unescape_formula(name) for name in header[: len(header) - count]] if count else list(header)


def parent_of(record: Sequence[str]) -> int | None:
    """The upload that a record of failed-rows.csv names, or None if a person changed that cell."""
    upload_id = record[-len(TRACKING_COLUMNS)] if len(record) >= len(TRACKING_COLUMNS) else ""
    return int(upload_id) if upload_id.isdecimal() and len(upload_id) <= _MAX_ID_DIGITS else None


def escape_formula(cell: str) -> str:
    """The cell, escaped at each place that a spreadsheet would run as a formula. Signed numbers stay as they are."""
    if not cell or not (cell[0] in _FIRST or any(separator in cell for separator in _SEPARATORS)):
        return cell  # nearly all cells; searching a long one with a pattern would take a thousand times as long
    if _NUMBERS.fullmatch(cell):
        return cell
    return _SPACED.sub(r"'\1", _FORMULA.sub(r"\1'\2", cell))


def unescape_formula(cell: str) -> str:
    """The opposite of `escape_formula`."""
    for pattern, replacement in _UNESCAPES:
        cell = pattern.sub(replacement, cell)
    return cell
