"""Extent: where the cells of a worksheet in a binary format are, and which of them are errors.

calamine allocates memory for the rectangle around all cells, and returns "" for an error.
"""

from dataclasses import dataclass, field

from jobs.pipeline.xlsx.problem import (
    MAX_COLUMNS,
    MAX_PROBLEMS,
    MAX_ROWS,
    Problem,
    column_letters,
    damaged,
    error_cell,
    too_many_problems,
)

#: What Excel shows for the number of an error ([MS-XLS] 2.5.10).
_ERRORS = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}  # fmt: skip


@dataclass
class Extent:
    """first and last rows and columns, from 0, of all cells. problems: row, from 1 → column, from 0 → problem. texts:
    bytes of the shared strings of all cells."""

    problems: dict[int, dict[int, Problem]] = field(default_factory=dict)
    texts: int = 0
    _rows: tuple[int, int] = (MAX_ROWS, -1)
    _columns: tuple[int, int] = (MAX_COLUMNS, -1)
    _errors: int = 0

    @property
    def area(self) -> int:
        """Cells in the rectangle around all cells."""
        return max(0, self._rows[1] - self._rows[0] + 1) * max(0, self._columns[1] - self._columns[0] + 1)

    def see(self, row: int, first: int, last: int) -> None:
        """Cells of a row, which are side by side. Raises UnreadableFileError."""
        if row >= MAX_ROWS or last >= MAX_COLUMNS:
            raise damaged(ValueError(f"a cell beyond row {MAX_ROWS:,} or column {MAX_COLUMNS:,}"))
        self._rows = min(self._rows[0], row), max(self._rows[1], row)
        self._columns = min(self._columns[0], first), max(self._columns[1], last)

    def error(self, row: int, column: int, number: int) -> None:
        self._errors += 1
        if self._errors > MAX_PROBLEMS:
            raise too_many_problems()
        place = f"{column_letters(column)}{row + 1}"
        self.problems.setdefault(row + 1, {})[column] = error_cell(_ERRORS.get(number, ""), place)
