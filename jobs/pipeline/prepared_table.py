"""A file made ready to read: the path of its text, its dialect and its column names."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from jobs import datasets
from jobs.corrections import Marks
from jobs.errors import MissingColumnsError
from jobs.schema import TableSchema
from jobs.warnings import UploadWarning

#: Row number (1 is the first below the header, blank rows not counted) → position of a cell (from 0) and the rule it
#: breaks.
KnownProblems = dict[int, list[tuple[int, str]]]
#: What a format knows of a column's type. `field`: its properties in a Table Schema. `among`: the types to infer from
#: its values, "iso" for dates and datetimes in ISO 8601; none of them: text.
Hint = dict[str, Any]


@dataclass(frozen=True)
class PreparedTable:
    """A table of UTF-8 text on disk, with everything that the reader needs to know about it.

    path: the upload itself, or a spool beside it. names: the column names. first_byte: offset of the first record below
    the header. notes: sentences for people about what was detected. warnings: what they may not expect
    (warnings.py). marks: the columns that identify a file of corrected rows and hold no data. parent: the upload that
    the corrected rows come from, as the file says. problems: cells that are known to be wrong; their rows must fail.
    header: the cells of the header; empty: no record repeats it. surplus: how many empty cells more than the header
    nearly every record has; empty: they have none. sheet_rows: the worksheet's rows (see line_numbers.SheetRows);
    empty: the table is a text. blank: its empty rows, which the text does not have. has_header: whether `names` are
    from the file. end: offset of the byte after the table; None: the end of the file. other: the same file as it would
    be read if the header had been judged otherwise, where that was a judgement. options: how the upload is read:
    encoding, delimiter, header_row, sheet, and the sheets that there are; null for what it does not have. hints: of the
    columns, if the file's format knows their types (see Hint). is_valid: whether all of the text is known to be valid
    UTF-8.
    """

    path: Path
    delimiter: str
    names: list[str]
    first_byte: int
    notes: list[str] = field(default_factory=list)
    warnings: list[UploadWarning] = field(default_factory=list)
    marks: Marks | None = None
    parent: int | None = None
    problems: KnownProblems = field(default_factory=dict)
    header: list[str] = field(default_factory=list)
    surplus: range = range(0)
    sheet_rows: list[tuple[int, int]] = field(default_factory=list)
    blank: int = 0
    has_header: bool = True
    end: int | None = None
    other: "PreparedTable | None" = None
    options: dict[str, Any] = field(default_factory=dict)
    hints: list[Hint] = field(default_factory=list)
    is_valid: bool = False

    @property
    def tracking_columns(self) -> int:
        """How many columns hold no data."""
        return len(self.marks.places) if self.marks else 0

    @property
    def width(self) -> int:
        """Cells of the header."""
        return len(self.names) + self.tracking_columns

    def for_dataset(self, schema: TableSchema) -> "PreparedTable":
        """The table as it goes into an existing dataset, whose names tell better than the cells what is a header."""
        other = self.other
        if other is None or other.has_header == self.has_header:
            better = other is not None and _matches(schema, other) > _matches(schema, self)
            return (other if other and better else self)._with_names_of(schema.names)
        named, unnamed = (self, other) if self.has_header else (other, self)
        matches = _matches(schema, named)
        if matches and 2 * matches >= min(len(named.names), len(schema.names)):
            return named.without_warning("header_guessed")
        if not self.has_header or (not matches and len(unnamed.names) == len(schema.names)):
            return unnamed._with_names_of(schema.names)
        return named

    def ended(self, end: int, warning: UploadWarning) -> Self:
        """The table up to an offset, with a warning about what follows."""
        other = self.other and self.other.ended(end, warning)
        return replace(self, end=end, warnings=[*self.warnings, warning], other=other)

    def without_warning(self, code: str) -> Self:
        return replace(self, warnings=[each for each in self.warnings if each["code"] != code])

    def _with_names_of(self, fields: Sequence[str]) -> Self:
        """The table with the names of a dataset's fields for its columns, by position, if it has no header."""
        if self.has_header:
            return self
        names = [*fields[: len(self.names)]]
        taken = {name.casefold() for name in fields}
        for name in self.names[len(names) :]:
            number = 2
            free = name
            while free.casefold() in taken:
                free, number = f"{name}_{number}", number + 1
            names.append(free)
            taken.add(free.casefold())
        return replace(self, names=names)

    @property
    def usual_width(self) -> int:
        """Cells that a record is expected to have."""
        return self.width + self.surplus.start

    @property
    def bytes_total(self) -> int:
        """Bytes of the text up to the end of the table."""
        return self.path.stat().st_size if self.end is None else self.end


def _matches(schema: TableSchema, table: PreparedTable) -> int:
    """How many fields a column names."""
    try:
        return len(datasets.match(schema, table.names).sources)
    except MissingColumnsError:
        return 0
