"""Tables to text, as different programs write them. Nothing here comes from the product."""

from collections.abc import Sequence

from tests.corpus.case import Table


def line(
    cells: Sequence[str], delimiter: str = ",", quote: str = '"', *, always: bool = False, escape: str = ""
) -> str:
    """A record without its line end. escape: the character before a quote inside a cell; "": the quote is doubled."""
    return delimiter.join(_cell(cell, delimiter, quote, always, escape) for cell in cells)


def _cell(cell: str, delimiter: str, quote: str, always: bool, escape: str) -> str:
    special = {delimiter[0], quote, "\n", "\r"}
    if not always and special.isdisjoint(cell):
        return cell
    return quote + cell.replace(quote, (escape or quote) + quote) + quote


def body(table: Table, delimiter: str = ",", quote: str = '"', *, always: bool = False, escape: str = "") -> list[str]:
    """The records of the rows."""
    return [line(row, delimiter, quote, always=always, escape=escape) for row in table.rows]


def lines(table: Table, delimiter: str = ",", quote: str = '"', *, always: bool = False, escape: str = "") -> list[str]:
    """The records of the header and of the rows."""
    header = line(table.columns, delimiter, quote, always=always, escape=escape)
    return [header, *body(table, delimiter, quote, always=always, escape=escape)]


def joined(records: Sequence[str], end: str = "\n") -> str:
    """A text in which each record has a line end."""
    return "".join(record + end for record in records)


def csv(table: Table, delimiter: str = ",", quote: str = '"', *, end: str = "\n", always: bool = False) -> str:
    """A plain file."""
    return joined(lines(table, delimiter, quote, always=always), end)
