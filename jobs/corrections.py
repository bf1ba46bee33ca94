"""The format of failed-rows.csv, both ways: written for a person to correct, and recognised when it is uploaded again.

It has the file's own columns, then three more (MARKS) by which the file is recognised: the upload that the row failed
in, the row's number there, and why it failed. Cells that a spreadsheet would run as a formula are escaped with an
apostrophe (CWE-1236), which is removed again on the way in.
"""

import re
from collections.abc import Sequence

from jobs.failed_rows import FailedRow

#: The columns behind the file's own.
MARKS = ("_upload_id", "_row_number", "_error")
#: Digits that an upload's id may have: more do not fit into the database.
_MAX_ID_DIGITS = 18

#: A cell that a spreadsheet would run, or one that looks like an escaped cell; and what only looks like a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-][0-9.,]+")
#: What `escape_formula` wrote, and what it is replaced with; Arrow and Python read the pattern alike.
ESCAPED, UNESCAPED = r"^'('*[=+\-@\t\r])", r"\1"
_ESCAPED = re.compile(ESCAPED)


def header(names: Sequence[str]) -> list[str]:
    """The header of a file of failed rows. names: of the uploaded file's columns."""
    return [*names, *MARKS]


def record(row: FailedRow, upload_id: int, width: int) -> list[str]:
    """A failed row as a record of the file. width: columns of the uploaded file.

    Surplus cells would move the marks: the reason quotes them instead.
    """
    surplus = row.cells[width:]
    error = row.sentence + (f"; surplus cells: {', '.join(surplus)}" if surplus else "")
    cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
    return [*map(escape_formula, cells), str(upload_id), str(row.row_number), escape_formula(error)]


def marks_of(header: Sequence[str]) -> int:
    """How many columns at a header's end are marks: all of them, or 0 for a file that is no file of failed rows."""
    is_marked = len(header) > len(MARKS) and tuple(header[-len(MARKS) :]) == MARKS
    return len(MARKS) if is_marked else 0


def without_marks(header: Sequence[str]) -> list[str]:
    """A header's own columns."""
    return list(header[: len(header) - marks_of(header)])


def parent_of(record: Sequence[str]) -> int | None:
    """The upload that a record of a file of failed rows comes from, if it still says so."""
    upload_id = record[-len(MARKS)] if len(record) >= len(MARKS) else ""
    return int(upload_id) if upload_id.isdecimal() and len(upload_id) <= _MAX_ID_DIGITS else None


def escape_formula(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula. A number with a sign stays as it is."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unescape_formula(cell: str) -> str:
    """The cell that `escape_formula` was given."""
    return _ESCAPED.sub(UNESCAPED, cell)
