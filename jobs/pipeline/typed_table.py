"""TypedTable: rows of a format that knows the types of its columns, written as CSV for the reader."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import BinaryIO

from jobs.errors import UnreadableFileError

#: Runs of rows without a value: the number of the rows behind each must be remembered.
MAX_GAPS = 100_000
#: Bytes after which the size is checked again.
CHECK_BYTES = 1 << 16


class TypedTable:
    """Writes rows, but those without a value.

    sheet_rows: see line_numbers.SheetRows; the first row is row 1. blank: how many rows without a value were left out.
    """

    def __init__(self, file: BinaryIO, header: Sequence[str], check: Callable[[int], None]) -> None:
        """check: called now and then with the bytes written so far."""
        self.sheet_rows: list[tuple[int, int]] = [(0, 0)]
        self.blank = 0
        self._check = check
        self._file = file
        self._checked = 0
        self._width = len(header)
        self._count = self._number = 0
        # A lone surrogate is written as bytes that are no UTF-8, so that the reader refuses its row.
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogatepass", newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(header)

    def write(self, cells: Sequence[str | None]) -> None:
        self._number += 1
        if not any(cells) and self._width > 1:
            self.blank += 1
            return
        self._count += 1
        count, number = self.sheet_rows[-1]
        if self._number - number != self._count - count:
            self.sheet_rows.append((self._count, self._number))
            if len(self.sheet_rows) > MAX_GAPS:
                raise UnreadableFileError(f"More than {MAX_GAPS:,} rows have no value. Remove them, then upload again.")
        self._writer.writerow(cells)  # a missing value is empty
        if (size := self._file.tell()) >= self._checked + CHECK_BYTES:
            self._checked = size
            self._check(size)

    def finish(self) -> None:
        self._text.detach()
