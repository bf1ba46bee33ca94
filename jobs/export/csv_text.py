"""Cells of CSV as `csv.writer` writes them, and rows of them."""

import csv
import io
from collections.abc import Iterable, Sequence

#: What begins a formula, in UTF-8: signs, those in full width by their first bytes, and quotes before them.
_BEGINNINGS = (b"=", b"+", b"-", b"@", b"\xef\xbc", b"'", b'"')
#: Characters of a row for which csv.writer would stop all other threads for milliseconds.
LONG_ROW = 100_000


def cell(text: str) -> str:
    """A cell, quoted if it must be."""
    if "," in text or '"' in text or "\r" in text or "\n" in text:  # much faster than a pattern
        return '"' + text.replace('"', '""') + '"'
    return text


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as CSV in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        if sum(map(len, row)) < LONG_ROW:
            writer.writerow(row)
        else:
            text.write(",".join(map(cell, row)) + "\r\n")
    return text.getvalue().encode()


def may_separate_formulas(block: bytes) -> bool:
    """Whether a formula may follow a semicolon or a tab, in CSV whose cells have no ends of lines."""
    return any(mark in block and any(mark + each in block for each in _BEGINNINGS) for mark in (b";", b"\t"))
