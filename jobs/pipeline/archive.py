"""The members of ZIP archives, and gzip, bzip2, xz and Zstandard files, decompressed in pieces of bounded size.

zipfile decompresses bzip2 and LZMA without a limit, and it ignores what a member contains beyond its declared size,
which other libraries read. gzip does not return before it has found a byte, however many empty members precede it.
Here every step is small, and a step that produces nothing yields an empty piece, so that the caller can tick.
"""

import bz2
import io
import itertools
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from jobs.errors import UnreadableFileError
from jobs.formats.header import shortened

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that a piece may have.
PIECE_BYTES = 1 << 20
#: Compressed bytes of a ZIP member that are read at once.
SLICE_BYTES = 1 << 16
#: Bytes of a compressed file that are read at once. Each stream copies the rest of its slice, and 20 bytes of gzip make
#: a stream, 14 of bzip2, 9 of Zstandard.
STREAM_SLICE_BYTES = 1 << 14
#: Bytes that the directory of a ZIP archive may have: about 40,000 members, which take 60 MB of memory.
MAX_DIRECTORY_BYTES = 4 << 20
#: Bytes of memory that an LZMA member may ask for. 7-Zip's strongest level asks for 64 MiB.
MAX_DICTIONARY_BYTES = 64 << 20
#: Bytes of memory that an xz stream may ask for: a dictionary, and what the decoder needs beside it.
MAX_XZ_BYTES = MAX_DICTIONARY_BYTES + (16 << 20)
#: The window of a Zstandard frame, as a power of 2: 128 MiB, the limit of the zstd command.
MAX_WINDOW_LOG = 27

#: What reading an archive raises if it is incomplete, damaged, encrypted or compressed in an unsupported way.
ARCHIVE_ERRORS = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError)

#: A member's own header: signature, flags, lengths of its name and of its extra fields.
_LOCAL_HEADER = struct.Struct("<4s2xH18xHH")
_LOCAL_SIGNATURE = b"PK\x03\x04"
#: Of an LZMA member, behind a version: their length, three packed numbers, bytes of the dictionary.
_LZMA_PROPERTIES = struct.Struct("<2xHBL")
#: Methods of compression that are not supported.
_METHOD_NAMES = {1: "shrink", 6: "implode", 9: "deflate64", 93: "zstd", 95: "xz", 98: "ppmd"}
_ENCRYPTED, _UTF_8_NAME = 0x1, 0x800
#: What xz and Zstandard say of a dictionary or a window beyond the limit.
_TOO_MUCH_MEMORY = ("Memory usage limit", "too much memory")
#: What zlib says, and what it means.
_ZLIB_MESSAGES = {"incorrect data check": "CRC check failed", "incorrect length check": "its length is wrong"}


class _Decompressor(Protocol):
    """What bz2 and lzma offer."""

    def decompress(self, data: bytes, max_length: int) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


class ZipArchive:
    """A ZIP archive, as a context manager. Raises ARCHIVE_ERRORS and UnreadableFileError.

    members: its files and folders, from its directory.
    """

    def __init__(self, path: Path) -> None:
        self._file = _BoundedFile(path.open("rb", buffering=0))
        try:
            with zipfile.ZipFile(self._file) as archive:
                self.members = archive.infolist()
        except (ValueError, LookupError, OverflowError, struct.error) as error:  # names and extra fields of a directory
            self._file.close()
            raise zipfile.BadZipFile(f"its directory: {error}") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content of a member, whose size and checksum must be as declared. A piece may be empty."""
        expanded = checksum = 0
        for piece in self._decompressed(member):
            expanded += len(piece)
            if expanded > member.file_size:
                raise zipfile.BadZipFile(f"{_called(member)} is longer than declared")
            checksum = zlib.crc32(piece, checksum)
            yield piece
        if expanded < member.file_size:
            raise zipfile.BadZipFile(f"{_called(member)} is shorter than declared")
        if checksum != member.CRC:
            raise zipfile.BadZipFile(f"{_called(member)} has a wrong checksum")

    def _decompressed(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        slices = self._slices(self._start(member), member.compress_size)
        if member.compress_type == zipfile.ZIP_STORED:
            yield from slices
            return
        if member.compress_type == zipfile.ZIP_LZMA:
            properties = next(slices, b"")
            decompressor = _lzma_decompressor(properties)
            slices = itertools.chain([properties[_LZMA_PROPERTIES.size :]], slices)
        else:
            decompressor = _decompressor(member.compress_type)
        yield from _decompressed(decompressor, slices)
        if not decompressor.eof and member.compress_type != zipfile.ZIP_LZMA:  # which may have no mark of its end
            raise zipfile.BadZipFile(f"{_called(member)} has no end")
        if decompressor.eof and (decompressor.unused_data or any(slices)):
            raise zipfile.BadZipFile(f"{_called(member)} has bytes behind its end")

    def _start(self, member: zipfile.ZipInfo) -> int:
        """The position of a member's data, behind its own header."""
        if member.flag_bits & _ENCRYPTED:
            raise RuntimeError(f"{_called(member)} is encrypted")
        self._file.seek(member.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise EOFError(f"{_called(member)} begins behind the end")
        signature, flags, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        if signature != _LOCAL_SIGNATURE:
            raise zipfile.BadZipFile(f"{_called(member)} is not where it should be")
        name = self._file.read(name_bytes)
        if name.decode("utf-8" if flags & _UTF_8_NAME else "cp437", "replace") != member.orig_filename:
            raise zipfile.BadZipFile(f"{_called(member)} has another name in its header")
        return self._file.tell() + int(extra_bytes)

    def _slices(self, start: int, size: int) -> Iterator[bytes]:
        end = start + size
        while start < end:
            self._file.seek(start)
            data = self._file.read(min(SLICE_BYTES, end - start))
            if not data:
                raise EOFError("a member ends behind the end")
            start += len(data)
            yield data


@dataclass(frozen=True)
class _Packing:
    """A way to compress a single file.

    called: for a sentence about another file. signatures: how each stream begins; all are as long. padding: what may be
    between streams.
    """

    called: str
    signatures: tuple[bytes, ...]
    decompressor: Callable[[], "_Decompressor"]
    padding: bytes = b""


def unpacked(path: Path, packing: str) -> Iterator[bytes]:
    """The content of a compressed file, which may have several streams, in pieces. A piece may be empty.

    packing: as file_kinds names it. Raises ARCHIVE_ERRORS.
    """
    how = _PACKINGS[packing]
    length = len(how.signatures[0])
    with path.open("rb") as file:
        stream: _Decompressor | None = None
        while data := file.read(STREAM_SLICE_BYTES):
            while data:
                if stream is None:
                    data = data.lstrip(how.padding) if how.padding else data
                    data += file.read(length - len(data)) if 0 < len(data) < length else b""
                    if not data:
                        break
                    stream = _begun(how, data)
                yield from _decompressed_slice(stream, data)
                data, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
            yield b""
        if stream is not None:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")


def _begun(how: _Packing, data: bytes) -> "_Decompressor":
    """data: the beginning of a stream."""
    if not any(data.startswith(signature) or signature.startswith(data) for signature in how.signatures):
        raise zipfile.BadZipFile(f"Not {how.called} file ({data[:2]!r})")
    return how.decompressor()


class _BoundedFile(io.BufferedReader):
    """A file for zipfile, which reads a whole directory at once, however large the file says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise UnreadableFileError(
                "The archive lists too many files, or is damaged. Upload the table by itself, as a CSV file."
            )
        return super().read(size)

    def seek(self, target: int, whence: int = 0, /) -> int:
        if whence == 0 and not 0 <= target < 1 << 63:
            raise zipfile.BadZipFile("a position outside of the file")
        return super().seek(target, whence)


class _Inflater:
    """zlib's decompressor as a _Decompressor."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._full = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length
        return piece

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


def _zstd_decompressor() -> "_Decompressor":
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


#: The ways to compress a file, by their names. Zstandard also has frames to be skipped.
_PACKINGS = {
    "gzip": _Packing("a gzipped", (b"\x1f\x8b",), lambda: _Inflater(zlib.MAX_WBITS | 16), padding=b"\0"),
    "bzip2": _Packing("a bzip2", (b"BZh",), bz2.BZ2Decompressor),
    "xz": _Packing(
        "an xz",
        (b"\xfd7zXZ\0",),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_BYTES),
        padding=b"\0",
    ),
    "Zstandard": _Packing(
        "a Zstandard",
        (b"\x28\xb5\x2f\xfd", *(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))),
        _zstd_decompressor,
    ),
}


def _decompressor(method: int) -> _Decompressor:
    if method == zipfile.ZIP_DEFLATED:
        return _Inflater(-zlib.MAX_WBITS)
    if method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor()
    raise NotImplementedError(_METHOD_NAMES.get(method, f"method {method}"))


def _lzma_decompressor(beginning: bytes) -> _Decompressor:
    """beginning: of an LZMA member, with its properties."""
    if len(beginning) < _LZMA_PROPERTIES.size:
        raise EOFError("an LZMA member without properties")
    length, packed, dictionary = _LZMA_PROPERTIES.unpack_from(beginning)
    if length != 5 or packed >= 9 * 5 * 5 or dictionary > MAX_DICTIONARY_BYTES:
        raise NotImplementedError("lzma with unusual properties")
    settings = {"id": lzma.FILTER_LZMA1, "lc": packed % 9, "lp": packed // 9 % 5, "pb": packed // 45}
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[settings | {"dict_size": dictionary}])
    except lzma.LZMAError as error:
        raise NotImplementedError("lzma with unusual properties") from error


def _decompressed(decompressor: _Decompressor, slices: Iterator[bytes]) -> Iterator[bytes]:
    for data in slices:
        yield from _decompressed_slice(decompressor, data)
        if decompressor.eof:
            return
        yield b""


def _decompressed_slice(decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    """What a slice of compressed data expands to."""
    while True:
        try:
            piece = decompressor.decompress(data, PIECE_BYTES)
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError) as error:  # OSError: bz2's, about its data
            if any(words in str(error) for words in _TOO_MUCH_MEMORY):
                raise NotImplementedError("it needs too much memory") from error
            raise zipfile.BadZipFile(_message(error)) from error
        if piece:
            yield piece
        if decompressor.eof or decompressor.needs_input or not piece:
            return
        data = b""


def _called(member: zipfile.ZipInfo) -> str:
    return f"“{shortened(member.filename)}”"


def _message(error: Exception) -> str:
    said = str(error)
    return next((meaning for words, meaning in _ZLIB_MESSAGES.items() if words in said), said)
