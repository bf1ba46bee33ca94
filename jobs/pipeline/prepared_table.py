"""A file made ready to read: where its text is, how it is laid out, and what its columns are called."""

from dataclasses import dataclass, field
from pathlib import Path

#: Row number (1 is the first below the header, blank rows not counted) → position of a cell, from 0, and what is wrong
#: with it.
KnownProblems = dict[int, list[tuple[int, str]]]


@dataclass(frozen=True)
class PreparedTable:
    """A table of UTF-8 text on disk, and all that the reader needs to know about it.

    path: the upload itself, or a spool beside it. names: of the columns. first_byte: where the first record below the
    header begins. notes: sentences for people about what was detected. marks: columns behind the others by which a file
    of failed rows is recognised; they are no data. parent: the upload whose failed rows these are. problems: of rows
    that are in the text and must fail.
    """

    path: Path
    delimiter: str
    names: list[str]
    first_byte: int
    notes: list[str] = field(default_factory=list)
    marks: int = 0
    parent: int | None = None
    problems: KnownProblems = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Cells that a record has."""
        return len(self.names) + self.marks

    @property
    def bytes_total(self) -> int:
        """Size of the text."""
        return self.path.stat().st_size
