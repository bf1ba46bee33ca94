"""The streams of an OLE compound file, in which Excel 97 to 2003 stores a workbook ([MS-CFB]).

Chains of sectors come from the file: each is bounded, so one that leads in a circle ends.
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import UnreadableFileError
from jobs.pipeline.xlsx.problem import damaged

#: Bytes of the largest file: it is kept in memory, here and by calamine. 65,536 rows of 100 numbers take 92 MB.
MAX_BYTES = 256 << 20
#: Streams and folders that are listed.
MAX_ENTRIES = 10_000

_HEADER = struct.Struct("<30xHH10xII4xIIIII")
_LISTED, _LIST_AT = 109, 76
_ENTRY = struct.Struct("<64sHB49xIQ")
_ENTRY_BYTES, _HEADER_BYTES = 128, 512
_STREAM, _ROOT = 2, 5
#: Of a file that is written: bytes of a sector, of the smallest stream that is not put together with others, and the
#: numbers of sectors that mean the end of a chain, none, and a part of the table of chains.
_LARGE_SECTOR, _CUTOFF = 4096, 4096
_END_OF_CHAIN, _FREE, _IS_TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
#: Numbers of sectors from here on have another meaning: the end of a chain, a free sector.
_NO_SECTOR = 0xFFFFFFFA


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: int
    start: int
    size: int


class CompoundFile:
    """A compound file, read whole. Raises UnreadableFileError."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFileError(
                f"The workbook has more than {MAX_BYTES:,} bytes, too many for the old format (.xls). Save it as .xlsx"
                " or CSV, then upload that file."
            )
        self._data = path.read_bytes()
        if len(self._data) < _HEADER_BYTES:
            raise damaged(EOFError("its end is missing"))
        shift, mini_shift, _, directory, cutoff, mini_list, _, more, more_count = _HEADER.unpack_from(self._data)
        if shift not in (9, 12) or not 2 <= mini_shift < shift:
            raise damaged(ValueError("sectors of an unknown size"))
        self._sector, self._mini_sector, self._cutoff = 1 << shift, 1 << mini_shift, cutoff
        self._most = len(self._data) // self._sector + 1
        self._next = self._allocation(more, more_count)
        entries = list(self._entries(self._chain(directory)))
        self._by_name = {each.name.casefold(): each for each in reversed(entries) if each.kind == _STREAM}
        root = next((each for each in entries if each.kind == _ROOT), None)
        self._mini = self._chain(root.start)[: root.size] if root and root.start < _NO_SECTOR else b""
        mini_next = self._chain(mini_list) if mini_list < _NO_SECTOR else b""
        self._mini_next = _numbers(mini_next)

    def __contains__(self, name: object) -> bool:
        return str(name).casefold() in self._by_name

    def stream(self, name: str) -> bytes:
        """The content of a stream that there is."""
        entry = self._by_name[name.casefold()]
        found = self._chain(entry.start) if entry.size >= self._cutoff else b"".join(self._mini_pieces(entry.start))
        if len(found) < entry.size:
            raise damaged(EOFError(f"the stream {name} is incomplete"))
        return found[: entry.size]

    def _allocation(self, more: int, more_count: int) -> "array[int]":
        """For each sector the next one of its chain."""
        listed = list(_numbers(self._data[_LIST_AT : _LIST_AT + 4 * _LISTED]))
        for _ in range(min(more_count, self._most)):
            if more >= _NO_SECTOR:
                break
            *numbers, more = _numbers(self._at(more))
            listed += numbers
        pieces = [self._at(number) for number in listed[: self._most] if number < _NO_SECTOR]
        return _numbers(b"".join(pieces))

    def _at(self, number: int) -> bytes:
        start = (number + 1) * self._sector
        if start >= len(self._data):
            raise damaged(EOFError("its end is missing"))
        return self._data[start : start + self._sector].ljust(self._sector, b"\0")

    def _chain(self, number: int) -> bytes:
        pieces = []
        while number < _NO_SECTOR:
            pieces.append(self._at(number))
            if len(pieces) > self._most or number >= len(self._next):
                raise damaged(ValueError("a chain of sectors has no end"))
            number = self._next[number]
        return b"".join(pieces)

    def _mini_pieces(self, number: int) -> Iterator[bytes]:
        for _ in range(len(self._mini_next) + 1):
            if number >= _NO_SECTOR:
                return
            if number >= len(self._mini_next):
                break
            yield self._mini[number * self._mini_sector : (number + 1) * self._mini_sector]
            number = self._mini_next[number]
        raise damaged(ValueError("a chain of sectors has no end"))

    def _entries(self, directory: bytes) -> Iterator[_Entry]:
        mask = 0xFFFFFFFF if self._sector == _HEADER_BYTES else -1  # of version 3, the other half may be anything
        for start in range(0, min(len(directory), MAX_ENTRIES * _ENTRY_BYTES), _ENTRY_BYTES):
            name, length, kind, first, size = _ENTRY.unpack_from(directory, start)
            if kind in (_STREAM, _ROOT):
                yield _Entry(
                    name[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace"), kind, first, size & mask
                )


def packed(name: str, content: bytes) -> Iterator[bytes]:
    """A compound file with one stream, in pieces: for calamine, which allocates whatever memory a header asks for."""
    sectors = -(-max(len(content), _CUTOFF) // _LARGE_SECTOR)
    tables = -(-(sectors + 3) // (_LARGE_SECTOR // 4 - 1))
    header = struct.pack(
        "<8s16xHHHHH6xIII4xIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 4, 0xFFFE, 12, 6,
        1, tables, tables, _CUTOFF, _END_OF_CHAIN, 0, _END_OF_CHAIN, 0,
    )  # fmt: skip
    listed = [*range(tables), *[_FREE] * (_LISTED - tables)]
    yield (header + struct.pack(f"<{_LISTED}I", *listed)).ljust(_LARGE_SECTOR, b"\0")
    small, first = tables + 1, tables + 2  # the sector for small streams, which there must be
    chain = [*[_IS_TABLE] * tables, _END_OF_CHAIN, _END_OF_CHAIN, *range(first + 1, first + sectors), _END_OF_CHAIN]
    chain += [_FREE] * (tables * _LARGE_SECTOR // 4 - len(chain))
    yield struct.pack(f"<{len(chain)}I", *chain)
    directory = _directory_entry("Root Entry", _ROOT, 1, small, _LARGE_SECTOR)
    directory += _directory_entry(name, _STREAM, _FREE, first, max(len(content), _CUTOFF))
    yield directory.ljust(2 * _LARGE_SECTOR, b"\0")
    yield content
    yield bytes(sectors * _LARGE_SECTOR - len(content))


def _directory_entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    encoded = name.encode("utf-16-le")
    links = struct.pack("<HBBIII", len(encoded) + 2, kind, 1, _FREE, _FREE, child)
    return encoded.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)


def _numbers(data: bytes) -> "array[int]":
    found = array("I", data[: len(data) // 4 * 4])
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        found.byteswap()
    return found
