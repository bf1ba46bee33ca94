"""A file made ready to read: the path of its text, its dialect and its column names."""

from dataclasses import dataclass, field
from pathlib import Path

from jobs.warnings import UploadWarning

#: Row number (1 is the first below the header, blank rows not counted) → position of a cell (from 0) and the rule it
#: breaks.
KnownProblems = dict[int, list[tuple[int, str]]]


@dataclass(frozen=True)
class PreparedTable:
    """A table of UTF-8 text on disk, with everything that the reader needs to know about it.

    path: the upload itself, or a spool beside it. names: the column names. first_byte: offset of the first record below
    the header. notes: sentences for people about what was detected. warnings: what they may not expect
    (warnings.py). tracking_columns: how many columns at the end
    identify a file of corrected rows and hold no data. parent: the upload that the corrected rows come from.
    problems: cells that are known to be wrong; their rows must fail. header: the cells of the header; empty: no record
    repeats it. surplus: how many empty cells more than the header nearly every record has; empty: they have none.
    sheet_rows: the worksheet's rows (see line_numbers.SheetRows); empty: the table is a text.
    blank: its empty rows, which the text does not have.
    """

    path: Path
    delimiter: str
    names: list[str]
    first_byte: int
    notes: list[str] = field(default_factory=list)
    warnings: list[UploadWarning] = field(default_factory=list)
    tracking_columns: int = 0
    parent: int | None = None
    problems: KnownProblems = field(default_factory=dict)
    header: list[str] = field(default_factory=list)
    surplus: range = range(0)
    sheet_rows: list[tuple[int, int]] = field(default_factory=list)
    blank: int = 0

    @property
    def width(self) -> int:
        """Cells of the header."""
        return len(self.names) + self.tracking_columns

    @property
    def usual_width(self) -> int:
        """Cells that a record is expected to have."""
        return self.width + self.surplus.start

    @property
    def bytes_total(self) -> int:
        """Size of the text in bytes."""
        return self.path.stat().st_size
