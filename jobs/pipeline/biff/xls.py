"""The worksheets of an Excel 97 to 2003 workbook (.xls), scanned before calamine reads them all ([MS-XLS])."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from jobs.errors import UnreadableFileError
from jobs.pipeline.biff.compound_file import CompoundFile, packed
from jobs.pipeline.biff.extent import Extent
from jobs.pipeline.xlsx.problem import damaged

#: Streams that hold a workbook: since Excel 97, and before.
STREAMS = ("Workbook", "Book")
#: Worksheets that a workbook may have.
MAX_SHEETS = 1_000
#: Records between two progress callbacks.
_TICK_RECORDS = 100_000

_RECORD = struct.Struct("<HH")
_CELL = struct.Struct("<HH")
_BOUND_SHEET, _FILE_PASS, _EOF, _SHARED_STRINGS, _DIMENSIONS = 0x0085, 0x002F, 0x000A, 0x00FC, 0x0200
_BEGINNINGS = (0x0809, 0x0409, 0x0209, 0x0009)
_FORMULA, _BOOL_OR_ERROR, _MUL_RK, _MUL_BLANK = 0x0006, 0x0205, 0x00BD, 0x00BE
#: Cells with one value or none: LABELSST, NUMBER, RK, LABEL, RSTRING, BLANK and the formulas of older versions.
_CELLS = frozenset({0x00FD, 0x0203, 0x027E, 0x0204, 0x00D6, 0x0201, 0x0206, 0x0406, 0x007E})

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


class XlsContent:
    """A copy of a workbook that asks for no more memory than its cells need, as a context manager, which removes it.

    path: of the copy. extents: of each sheet, in the workbook's order; of those without cells too.
    """

    def __init__(self, workbook: Path, tick: Tick) -> None:
        """Raises UnreadableFileError."""
        file = CompoundFile(workbook)
        name = next(name for name in STREAMS if name in file)
        self._data = bytearray(file.stream(name))
        self._tick = tick
        self.extents = self._scanned()
        self.path = workbook.with_name(f"{workbook.name}.table-copy.{uuid4().hex}.part")
        with self.path.open("xb") as copy:
            copy.writelines(packed(name, bytes(self._data)))
        self._data = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def _scanned(self) -> list[Extent]:
        places = []
        for kind, start, length in self._records(0):
            if kind == _FILE_PASS:
                raise UnreadableFileError(
                    "The workbook is protected with a password. Save it without a password, then upload it again."
                )
            if kind == _SHARED_STRINGS and length >= 8:
                count = struct.unpack_from("<I", self._data, start + 4)[0]
                if count > len(self._data):
                    raise damaged(ValueError(f"{count:,} texts"))
            if kind == _BOUND_SHEET and length >= 6:
                places.append(struct.unpack_from("<I", self._data, start)[0])
        if len(places) > MAX_SHEETS:
            raise UnreadableFileError(
                f"The workbook has more than {MAX_SHEETS:,} worksheets."
                " Save the one with the table as CSV, then upload that file."
            )
        return [self._extent(place) for place in places]

    def _records(self, start: int) -> Iterator[tuple[int, int, int]]:
        """The kind of each record of a part of the stream, where its content begins, and how long it is."""
        data, end = self._data, len(self._data)
        depth = count = 0
        while start + 4 <= end:
            kind, length = _RECORD.unpack_from(data, start)
            start += 4
            if start + length > end:
                break
            if kind in _BEGINNINGS:  # a chart inside of a worksheet is a part of its own
                depth += 1
            elif kind == _EOF:
                depth -= 1
                if depth <= 0:
                    return
            elif depth == 0:
                break
            elif depth == 1:
                yield kind, start, length
            start += length
            count += 1
            if count % _TICK_RECORDS == 0:
                self._tick()
        raise damaged(EOFError("a worksheet has no end"))

    def _extent(self, place: int) -> Extent:
        found, data = Extent(), self._data
        see = found.see
        for kind, start, length in self._records(place):
            if kind == _DIMENSIONS:  # calamine allocates memory for as many cells as it says
                data[start : start + length] = bytes(length)
            if length < 6:
                continue
            if kind in _CELLS:
                row, column = _CELL.unpack_from(data, start)
                see(row, column, column)
            elif kind in (_MUL_RK, _MUL_BLANK):
                row, column = _CELL.unpack_from(data, start)
                see(row, column, struct.unpack_from("<H", data, start + length - 2)[0])
            elif kind == _FORMULA and length >= 14:
                row, column = _CELL.unpack_from(data, start)
                see(row, column, column)
                if data[start + 12 : start + 14] == b"\xff\xff" and data[start + 6] == 2:
                    found.error(row, column, data[start + 8])
            elif kind == _BOOL_OR_ERROR and length >= 8:
                row, column = _CELL.unpack_from(data, start)
                see(row, column, column)
                if data[start + 7]:
                    found.error(row, column, data[start + 6])
        return found
