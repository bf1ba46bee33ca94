"""Cells of CSV as `csv.writer` writes them, and rows of them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

#: What must stand between quotes.
_QUOTED = re.compile('[,"\r\n]')
#: Characters of a row for which csv.writer would stop all other threads for milliseconds.
LONG_ROW = 100_000


def cell(text: str) -> str:
    """A cell, quoted if it must be."""
    if _QUOTED.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


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
