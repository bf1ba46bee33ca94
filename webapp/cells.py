"""Cells of rows as pages show them: their beginning, a link to the whole, and how many bytes of a page they take."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import escape

from jobs.excerpt import EXCERPT_LENGTH, excerpt

#: Bytes of the elements around a cell.
_MARKUP_BYTES = 100


@dataclass(frozen=True)
class Cell:
    """A cell. text: at most EXCERPT_LENGTH characters, and … if it has more. url: of the whole cell, "" if this is it.
    column: its name, "" for a surplus cell."""

    text: str
    column: str
    url: str

    @classmethod
    def of(cls, text: str, column: str, row_url: str) -> "Cell":
        """text: the cell, or more of its beginning than is shown. row_url: of the row."""
        if len(text) <= EXCERPT_LENGTH:
            return cls(text, column, "")
        return cls(excerpt(text), column, f"{row_url}?column={quote(column, safe='')}" if column else row_url)

    @property
    def html_bytes(self) -> int:
        """What it adds to a page at most: the text also as a tooltip, and the link, which names its column."""
        total = _MARKUP_BYTES + 2 * len(str(escape(self.text)).encode())
        return total + len(self.url) + 5 * len(self.column.encode()) + _MARKUP_BYTES if self.url else total


def fitting(cells: Iterable[Cell], html_bytes: int) -> list[Cell]:
    """The first cells that take at most so many bytes of a page."""
    found: list[Cell] = []
    total = 0
    for cell in cells:
        total += cell.html_bytes
        if total > html_bytes:
            break
        found.append(cell)
    return found
