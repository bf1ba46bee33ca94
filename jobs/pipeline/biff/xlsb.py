"""The parts of a binary Excel workbook (.xlsb), scanned before calamine reads them ([MS-XLSB])."""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.biff.extent import Extent
from jobs.pipeline.xlsx.package import MAX_LIST_BYTES, MAX_SHEETS, MAX_STYLES_BYTES, Parts, Relations
from jobs.pipeline.xlsx.problem import damaged
from jobs.pipeline.xlsx.xml_part import parse

#: The member of the archive that lists the worksheets. It identifies a workbook.
MAIN_PART = "xl/workbook.bin"
_RELATIONS = "xl/_rels/workbook.bin.rels"
#: Bytes of the shared strings: calamine takes several times as much.
MAX_STRINGS_BYTES = 100 << 20
#: Formats and styles: Excel allows 65,490.
MAX_STYLES = 1 << 17
#: Bytes of a record: a text of 32,767 characters takes 65,538, a formula little more.
MAX_RECORD_BYTES = 4 << 20

_BUNDLE_SHEET, _ROW, _SHARED_STRING, _SHARED_STRINGS = 156, 0, 19, 159
#: Which begin lists of formats and of styles.
_STYLE_COUNTS = (615, 617, 626)
_FIRST_CELL, _LAST_CELL = 1, 11
_ERROR, _SHARED, _FORMULA_ERROR = 3, 7, 11

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


class XlsbContent:
    """A copy of a workbook in which every byte was looked at, as a context manager, which removes it.

    path: of the copy. extents: of each sheet, in the workbook's order.
    """

    def __init__(self, workbook: Path, archive: ZipArchive, tick: Tick) -> None:
        """Raises UnreadableFileError."""
        self.path = workbook.with_name(f"{workbook.name}.table-copy.{uuid4().hex}.part")
        self._parts = Parts(archive, tick)
        self._writing: IO[bytes] = io.BytesIO()
        try:
            with zipfile.ZipFile(self.path, "x", zipfile.ZIP_STORED) as copy:
                self._copy = copy
                try:
                    self.extents = self._scanned()
                finally:
                    self._writing.close()  # of a part whose content was not read to its end
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def _scanned(self) -> list[Extent]:
        relations = Relations()
        for _ in parse(self._copied(_RELATIONS, MAX_LIST_BYTES), relations):
            pass
        main = _records(self._copied(MAIN_PART, MAX_LIST_BYTES))
        identifiers = [_identifier(content) for kind, content in main if kind == _BUNDLE_SHEET]
        if len(identifiers) > MAX_SHEETS:
            raise damaged(ValueError(f"more than {MAX_SHEETS:,} worksheets"))
        for part in ("xl/styles.bin", relations.styles):
            if part and part in self._parts and part not in self._copy.namelist():
                for kind, content in _records(self._copied(part, MAX_STYLES_BYTES)):
                    if kind in _STYLE_COUNTS:
                        _check_count(content[:4], MAX_STYLES)
        lengths: list[int] = []
        strings = relations.strings or "xl/sharedStrings.bin"
        if strings in self._parts:
            texts = _records(self._copied(strings, MAX_STRINGS_BYTES))
            for kind, content in texts:
                if kind == _SHARED_STRINGS:
                    _check_count(content[4:8], self._parts.size(strings))
                elif kind == _SHARED_STRING:
                    lengths.append(len(content))
        extents = {}
        for part in dict.fromkeys(relations.worksheets.values()):
            extents[part] = _extent(_records(self._copied(part)), lengths)
        return [extents.get(relations.worksheets.get(each, ""), Extent()) for each in identifiers]

    def _copied(self, part: str, limit: int | None = None) -> Iterator[bytes]:
        """The content of a part, which is copied."""
        with self._copy.open(part, "w", force_zip64=True) as file:
            self._writing = file
            for piece in self._parts.pieces(part, limit):
                file.write(piece)
                yield piece


def _records(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The kind and the content of each record."""
    rest = b""
    for piece in pieces:
        data, start = rest + piece if rest else piece, 0
        while (found := _record(data, start)) is not None:
            kind, begin, end = found
            yield kind, data[begin:end]
            start = end
        rest = data[start:]
    if rest:
        raise damaged(EOFError("its end is missing"))


def _record(data: bytes, start: int) -> tuple[int, int, int] | None:
    """The kind of a record, and where its content begins and ends; None if it is not complete."""
    end = len(data)
    if start >= end:
        return None
    kind = data[start]
    start += 1
    if kind & 0x80:
        if start >= end:
            return None
        kind = kind & 0x7F | (data[start] & 0x7F) << 7
        start += 1
    length = shift = 0
    while True:
        if start >= end:
            return None
        byte = data[start]
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift == 28:
            break
    if length > MAX_RECORD_BYTES:
        raise damaged(ValueError(f"a record of {length:,} bytes"))
    return (kind, start, start + length) if start + length <= end else None


def _extent(records: Iterable[tuple[int, bytes]], lengths: list[int]) -> Extent:
    """lengths: bytes of each shared string."""
    found, row = Extent(), 0
    see = found.see
    for kind, content in records:
        if kind == _ROW and len(content) >= 4:
            row = int.from_bytes(content[:4], "little")
        elif _FIRST_CELL <= kind <= _LAST_CELL and len(content) >= 8:
            column = int.from_bytes(content[:4], "little")
            see(row, column, column)
            if kind in (_ERROR, _FORMULA_ERROR) and len(content) >= 9:
                found.error(row, column, content[8])
            elif kind == _SHARED and len(content) >= 12:
                number = int.from_bytes(content[8:12], "little")
                if number >= len(lengths):
                    raise damaged(ValueError("a cell refers to a text that does not exist"))
                found.texts += lengths[number]
    return found


def _check_count(number: bytes, most: int) -> None:
    """calamine allocates memory for as many as a list says that it has."""
    if (count := int.from_bytes(number, "little")) > most:
        raise damaged(ValueError(f"a list of {count:,}"))


def _identifier(content: bytes) -> str:
    """Which relation names the part of a worksheet."""
    if len(content) < 12:
        raise damaged(EOFError("a worksheet without a name"))
    length = struct.unpack_from("<I", content, 8)[0]
    return content[12 : 12 + 2 * min(length, 1_000)].decode("utf-16-le", "replace")
