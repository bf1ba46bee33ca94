"""Hostile archives and compressed files: they expand to far more than they are, or are not what they say."""

import bz2
import gzip
import io
import lzma
import random
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from tests.benchmarks.hostile.case import MB, Bounds, FileCase
from tests.benchmarks.hostile.packing import (
    BZIP2,
    DEFLATED,
    ENCRYPTED,
    LZMA,
    STORED,
    Member,
    Packed,
    archive,
    bomb,
    deflate,
    end,
    gzipped,
    zipped,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SEED = 9
#: A table for archives that lie about something else.
TABLE = b"a,b\n" + b"1,2\n" * 500
#: Bytes that a worker may hold for a bomb: a horse with its libraries has about 250 MB.
SMALL = Bounds(worker=700 * MB)
GIGABYTE = 1 << 30
#: Bytes that a bomb of a slow codec expands to.
BOMB_BYTES = 320 * MB


def cases() -> list[FileCase]:
    return [*_zip_bombs(), *_zip_lies(), *_gzip(), *_bzip2_files(), *_xz(), *_zstandard()]


def _zip(name: str, build: Callable[[], bytes], expanded: int = 0, **more: object) -> FileCase:
    return FileCase(f"zip: {name}", build, "hostile.zip", expanded=expanded, **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _gz(name: str, build: Callable[[], bytes], expanded: int = 0, **more: object) -> FileCase:
    return FileCase(f"gzip: {name}", build, "hostile.csv.gz", expanded=expanded, **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _zip_bombs() -> Iterator[FileCase]:
    def one(method: int, packed: Callable[[], Packed], claims: int | None = None) -> Callable[[], bytes]:
        return lambda: archive([Member(b"a.csv", packed(), method, claims=claims)])

    table = lambda: bomb((b"a,b\n", 1), (b"1,2\n", GIGABYTE // 4))  # noqa: E731  # used twice
    yield _zip("a gigabyte of zeros", one(DEFLATED, lambda: bomb((b"\0", GIGABYTE))), GIGABYTE, bounds=SMALL)
    yield _zip("a gigabyte of rows", one(DEFLATED, table), GIGABYTE, bounds=SMALL)
    yield _zip("a gigabyte that claims 100 bytes", one(DEFLATED, table, 100), GIGABYTE, bounds=SMALL)
    yield _zip("bzip2 of 320 MB", one(BZIP2, lambda: _bzip2(BOMB_BYTES)), BOMB_BYTES, bounds=SMALL)
    yield _zip("bzip2 that claims 100 bytes", one(BZIP2, lambda: _bzip2(BOMB_BYTES), 100), BOMB_BYTES, bounds=SMALL)
    yield _zip("LZMA of 320 MB", one(LZMA, lambda: _lzma(BOMB_BYTES)), BOMB_BYTES, bounds=SMALL)
    yield _zip("LZMA with a dictionary of 4 GB", one(LZMA, lambda: _lzma(MB, dictionary=0xFFFFFFFF)), bounds=SMALL)
    yield _zip("members that overlap", _overlapping, 999 * 100_000, bounds=SMALL)
    yield _zip("100,000 members", lambda: archive(Member(b"%d.csv" % n, deflate(b"a")) for n in range(100_000)))
    yield _zip("a million members", lambda: _empty_members(MB), bounds=SMALL)
    yield _zip("a member in folders 30,000 deep", lambda: zipped({"a/" * 30_000 + "b.csv": TABLE}))
    yield _zip(
        "an archive in an archive in an archive", lambda: zipped({"a.zip": zipped({"a.zip": zipped({"a.csv": TABLE})})})
    )
    yield _zip("a workbook in an archive", lambda: zipped({"a.xlsx": zipped({"xl/workbook.xml": b"x"})}))
    yield _zip("a gzip in an archive", lambda: zipped({"a.csv.gz": gzip.compress(TABLE, mtime=0)}))


def _bzip2(size: int) -> Packed:
    """A stream of so many zeros: compressing them is quick, since runs are counted first."""
    compressor, content, left, crc = bz2.BZ2Compressor(9), [], size, 0
    unit = bytes(8 * MB)
    while left:
        piece = unit[:left]
        content.append(compressor.compress(piece))
        crc, left = zlib.crc32(piece, crc), left - len(piece)
    return Packed(b"".join([*content, compressor.flush()]), size, crc)


def _lzma(size: int, dictionary: int = 1 << 16) -> Packed:
    """As a member of a ZIP archive: a version, the size of the properties, the properties, then the data."""
    chosen = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 273}
    compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[chosen])
    content, left, crc = [], size, 0
    unit = bytes(8 * MB)
    while left:
        piece = unit[:left]
        content.append(compressor.compress(piece))
        crc, left = zlib.crc32(piece, crc), left - len(piece)
    properties = struct.pack("<BL", 93, dictionary)
    head = struct.pack("<BBH", 9, 4, len(properties)) + properties
    return Packed(b"".join([head, *content, compressor.flush()]), size, crc)


def _overlapping() -> bytes:
    """A thousand entries of the directory that lead to the same bytes."""
    member = Member(b"a.csv", bomb((b"a,b\n1,2\n", 12_500)))
    body = member.header(central=False) + member.packed.content
    directory = member.header(central=True) * 999
    return body + directory + end(len(directory), len(body), 999)


def _empty_members(count: int) -> bytes:
    """A directory of so many entries, all for one empty member; its end counts 65,535, the most that it can."""
    member = Member(b"a", deflate(b""))
    directory = member.header(central=True) * count
    body = member.header(central=False) + member.packed.content
    return body + directory + end(len(directory), len(body), count)


def _zip_lies() -> Iterator[FileCase]:
    member = Member(b"a.csv", deflate(TABLE))
    good = archive([member])
    yield _zip("an ordinary one", lambda: good, must_complete=True)
    yield _zip("empty", lambda: archive([]))
    yield _zip("a folder alone", lambda: archive([Member(b"a/", deflate(b""), STORED)]))
    yield _zip("cut off in the middle", lambda: good[: len(good) // 2])
    yield _zip("cut off before its directory", lambda: good[: good.index(b"PK\x01\x02")])
    yield _zip("cut off by a byte", lambda: good[:-1])
    yield _zip("four bytes", lambda: b"PK\x03\x04")
    yield _zip("its end alone, 65,535 members", lambda: end(0, 0, 65_535))
    yield _zip("an end within its comment", lambda: archive([member], comment=end(0, 0, 0) * 2_000))
    yield _zip("bytes before its beginning", lambda: b"PK\x03\x04" + bytes(MB) + good)
    yield _zip("bytes after its end", lambda: good + bytes(MB))
    yield _zip(
        "a megabyte that claims to be nothing", lambda: archive([Member(b"a.csv", bomb((b"1,2\n", MB // 4)), claims=0)])
    )
    yield _zip("nothing that claims to be 4 GB", lambda: archive([Member(b"a.csv", deflate(b""), claims=0xFFFFFFFE)]))
    yield _zip(
        "a checksum that is wrong", lambda: archive([Member(b"a.csv", Packed(deflate(TABLE).content, len(TABLE), 7))])
    )
    yield _zip("encrypted", lambda: archive([Member(b"a.csv", deflate(TABLE), flags=ENCRYPTED)]))
    yield _zip("a method that is none", lambda: archive([Member(b"a.csv", deflate(TABLE), method=99)]))
    yield _zip("stored, though it says deflated", lambda: archive([Member(b"a.csv", Packed(TABLE, len(TABLE), 0))]))
    yield _zip(
        "random bytes, deflated", lambda: archive([Member(b"a.csv", Packed(random.Random(SEED).randbytes(MB), MB, 0))])
    )
    yield _zip("ZIP64 sizes that are not there", lambda: archive([Member(b"a.csv", deflate(TABLE), claims=0xFFFFFFFF)]))
    yield _zip("ZIP64 with an end far away", _zip64)
    yield _zip(
        "a name that leads out of it", lambda: zipped({"../../../../tmp/hostile.csv": TABLE}), must_complete=True
    )
    yield _zip("an absolute name", lambda: zipped({"/etc/cron.d/hostile.csv": TABLE}))
    yield _zip("a name of 60,000 letters", lambda: zipped({"x" * 60_000: TABLE}))
    yield _zip("a name with NULs and line ends", lambda: zipped({"a\0\r\n\x1b[2J\u202e.csv": TABLE}))
    yield _zip("a name that is no UTF-8", lambda: archive([Member(b"\xff\xfe.csv", deflate(TABLE), flags=0x800)]))
    yield _zip("the same member twice", lambda: archive([member, member]))
    yield _zip("a table among other files", lambda: zipped({"a.csv": TABLE, "b.csv": TABLE, "c.txt": b"x"}))


def _zip64() -> bytes:
    """A locator of a ZIP64 end that points beyond the file."""
    body = Member(b"a.csv", deflate(TABLE)).header(central=False)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**63, 1)
    return body + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def _gzip() -> Iterator[FileCase]:
    good = gzip.compress(TABLE, mtime=0)
    empty = gzip.compress(b"", mtime=0)
    name, extra = 8, 4
    yield _gz("a gigabyte of zeros", lambda: gzipped(bomb((b"\0", GIGABYTE))), GIGABYTE, bounds=SMALL)
    yield _gz(
        "a gigabyte of rows", lambda: gzipped(bomb((b"a,b\n", 1), (b"1,2\n", GIGABYTE // 4))), GIGABYTE, bounds=SMALL
    )
    yield _gz("a million empty members", lambda: empty * MB)
    yield _gz("a million empty members before a table", lambda: empty * MB + good)
    yield _gz("a name of 20 MB without an end", lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"x" * (20 * MB))
    yield _gz("a name of 4 MB", lambda: gzipped(deflate(TABLE), flags=name, extra=b"x" * (4 * MB) + b"\0"))
    yield _gz("an extra field that is cut off", lambda: gzipped(deflate(TABLE), flags=extra, extra=b"\xff\xffxx"))
    yield _gz("members of a byte each", lambda: b"".join(gzipped(deflate(b"%c" % each)) for each in TABLE * 50))
    yield _gz("cut off", lambda: good[:-9])
    yield _gz("its first ten bytes", lambda: good[:10])
    yield _gz("a size that is wrong", lambda: gzipped(deflate(TABLE), size=1))
    yield _gz("a checksum that is wrong", lambda: gzipped(Packed(deflate(TABLE).content, len(TABLE), 7)))
    yield _gz("text after its end", lambda: good + b"x,y\n" * 100_000)
    yield _gz("zeros after its end", lambda: good + bytes(4 * MB))
    yield _gz("random bytes", lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + random.Random(SEED).randbytes(MB))
    yield _gz("gzip in gzip in gzip", lambda: gzip.compress(gzip.compress(good, mtime=0), mtime=0))
    yield _gz("a tar in gzip", _tar)
    yield _gz("reserved flags", lambda: gzipped(deflate(TABLE), flags=0xE0))
    yield _gz("empty, with 100 MB that it claims", lambda: gzipped(deflate(b""), size=100 * MB))
    yield FileCase("gzip: an archive of its own inside", lambda: gzip.compress(_readable_zip(), mtime=0), "hostile.gz")


def _compressed(kind: str, ending: str) -> Callable[..., FileCase]:
    def one(name: str, build: Callable[[], bytes], expanded: int = 0, **more: object) -> FileCase:
        return FileCase(f"{kind}: {name}", build, f"hostile.csv.{ending}", expanded=expanded, **more)  # type: ignore[arg-type]  # the fields of a FileCase

    return one


def _bzip2_files() -> Iterator[FileCase]:
    case, good, empty = _compressed("bzip2", "bz2"), bz2.compress(TABLE), bz2.compress(b"")
    yield case("an ordinary one", lambda: good, must_complete=True)
    yield case("320 MB of zeros", lambda: _bzip2(BOMB_BYTES).content, BOMB_BYTES, bounds=SMALL)
    yield case("a million empty streams", lambda: empty * MB, bounds=SMALL)
    yield case("streams of a byte each", lambda: b"".join(bz2.compress(b"%c" % each) for each in TABLE * 5))
    yield case("cut off", lambda: good[:-9])
    yield case("text after its end", lambda: good + b"x,y\n" * 100_000)
    yield case("random bytes", lambda: good[:10] + random.Random(SEED).randbytes(MB))
    yield case("bzip2 in bzip2", lambda: bz2.compress(good))


def _xz() -> Iterator[FileCase]:
    case, good, empty = _compressed("xz", "xz"), lzma.compress(TABLE), lzma.compress(b"")
    greedy = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]
    yield case("an ordinary one", lambda: good, must_complete=True)
    yield case("320 MB of zeros", lambda: _pieces_packed(lzma.LZMACompressor(preset=0)), BOMB_BYTES, bounds=SMALL)
    yield case("300,000 empty streams", lambda: empty * 300_000, bounds=SMALL)
    yield case("a dictionary of 512 MB", lambda: lzma.compress(TABLE, filters=greedy), bounds=SMALL)
    yield case("cut off", lambda: good[:-9])
    yield case("text after its end", lambda: good + b"x,y\n" * 100_000)
    yield case("random bytes", lambda: good[:24] + random.Random(SEED).randbytes(MB))
    yield case("xz in xz", lambda: lzma.compress(good))


def _zstandard() -> Iterator[FileCase]:
    case, good, empty = _compressed("Zstandard", "zst"), zstd.compress(TABLE), zstd.compress(b"")
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<L", 0)
    window: dict[int, int] = {zstd.CompressionParameter.window_log: 30}
    yield case("an ordinary one", lambda: good, must_complete=True)
    yield case("320 MB of zeros", lambda: _pieces_packed(zstd.ZstdCompressor()), BOMB_BYTES, bounds=SMALL)
    yield case("a million empty frames", lambda: empty * MB, bounds=SMALL)
    yield case("a million frames to skip", lambda: skipped * MB + good, must_complete=True, bounds=SMALL)
    yield case("a frame to skip of 4 GB", lambda: skipped[:4] + b"\xff" * 4 + good)
    yield case("a window of a gigabyte", lambda: _pieces_packed(zstd.ZstdCompressor(options=window), MB), bounds=SMALL)
    yield case("cut off", lambda: good[:-9])
    yield case("text after its end", lambda: good + b"x,y\n" * 100_000)
    yield case("random bytes", lambda: good[:6] + random.Random(SEED).randbytes(MB))
    yield case("Zstandard in Zstandard", lambda: zstd.compress(good))


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _pieces_packed(compressor: _Compressor, size: int = BOMB_BYTES) -> bytes:
    """So many zeros, behind a header."""
    pieces = [compressor.compress(b"a,b\n")]
    pieces += [compressor.compress(bytes(MB)) for _ in range(size // MB)]
    return b"".join([*pieces, compressor.flush()])


def _tar() -> bytes:
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as tar:
        entry = tarfile.TarInfo("../../a.csv")
        entry.size = len(TABLE)
        tar.addfile(entry, io.BytesIO(TABLE))
    return gzip.compress(text.getvalue(), mtime=0)


def _readable_zip() -> bytes:
    found = io.BytesIO(zipped({"a.csv": TABLE}))
    assert zipfile.is_zipfile(found)
    return found.getvalue()
