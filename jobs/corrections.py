"""The format of failed-rows.csv: how it is written for a person to correct, and recognised when it is uploaded again.

It has the columns of the uploaded file, then three tracking columns that identify the format: the upload in which the
row failed, the row's number there, and the reasons. An apostrophe escapes each cell that a spreadsheet would run as a
formula (CWE-1236); reading removes it.
"""

import re
from collections.abc import Sequence

from jobs.failed_rows import FailedRow

#: The columns that follow those of the uploaded file.
TRACKING_COLUMNS = ("_upload_id", "_row_number", "_error")
#: The most digits of an upload's id that always fit into the database.
_MAX_ID_DIGITS = 18

#: A cell that a spreadsheet would run, or that looks like an escaped cell; and a number, which only resembles one.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-][0-9.,]+")
#: Pattern of an escaped cell, and its replacement. The syntax is valid in both Arrow and Python.
ESCAPED, UNESCAPED = r"^'('*[=+\-@\t\r])", r"\1"
_ESCAPED = re.compile(ESCAPED)


def header(names: Sequence[str]) -> list[str]:
    """The header of failed-rows.csv. names: the columns of the uploaded file."""
    return [*names, *TRACKING_COLUMNS]


def record(row: FailedRow, upload_id: int, width: int) -> list[str]:
    """A failed row as a record of failed-rows.csv. width: number of columns in the uploaded file.

    Surplus cells would shift the tracking columns, so `_error` quotes them instead.
    """
    surplus = row.cells[width:]
    error = row.sentence + (f"; surplus cells: {', '.join(surplus)}" if surplus else "")
    cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
    return [*map(escape_formula, cells), str(upload_id), str(row.row_number), escape_formula(error)]


def count_tracking_columns(header: Sequence[str]) -> int:
    """How many tracking columns a header ends with: all of them, or 0 if the file is not a failed-rows.csv."""
    count = len(TRACKING_COLUMNS)
    return count if len(header) > count and tuple(header[-count:]) == TRACKING_COLUMNS else 0


def without_tracking_columns(header: Sequence[str]) -> list[str]:
    return list(header[: len(header) - count_tracking_columns(header)])


def parent_of(record: Sequence[str]) -> int | None:
    """The upload that a record of failed-rows.csv names, or None if a person changed that cell."""
    upload_id = record[-len(TRACKING_COLUMNS)] if len(record) >= len(TRACKING_COLUMNS) else ""
    return int(upload_id) if upload_id.isdecimal() and len(upload_id) <= _MAX_ID_DIGITS else None


def escape_formula(cell: str) -> str:
    """The cell, escaped if a spreadsheet would run it as a formula. A signed number stays as it is."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unescape_formula(cell: str) -> str:
    """The opposite of `escape_formula`."""
    return _ESCAPED.sub(UNESCAPED, cell)
