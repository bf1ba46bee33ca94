"""Decompressing archives and compressed files piece by piece."""

import bz2
import gzip
import io
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline import archive
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive, unpacked
from tests.support.files import written

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TABLE = b"name,city\nAnn,Rome\n" * 1_000
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def packed(content: bytes, method: int, name: str = "june.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        target.writestr(name, content)
    return file.getvalue()


def pieces_of(path: Path) -> list[bytes]:
    with ZipArchive(path) as opened:
        return [piece for member in opened.members for piece in opened.pieces(member)]


def declared(content: bytes, **changed: int) -> bytes:
    """An archive whose directory has other numbers at these places of its only entry."""
    places = {"method": ("<H", 10), "checksum": ("<L", 16), "packed_size": ("<L", 20), "size": ("<L", 24)}
    result, start = bytearray(content), content.rindex(b"PK\x01\x02")
    for name, number in changed.items():
        kind, place = places[name]
        struct.pack_into(kind, result, start + place, number)
    return bytes(result)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_of_compression_is_read(tmp_path: Path, method: int) -> None:
    assert b"".join(pieces_of(written(tmp_path, packed(TABLE, method)))) == TABLE


@pytest.mark.parametrize("method", METHODS)
def test_no_piece_is_large_however_far_a_member_expands(tmp_path: Path, method: int) -> None:
    pieces = pieces_of(written(tmp_path, packed(bytes(20_000_000), method)))

    assert max(map(len, pieces)) <= archive.PIECE_BYTES
    assert sum(map(len, pieces)) == 20_000_000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [len(TABLE) - 1, len(TABLE) + 1])
def test_a_member_must_have_the_size_that_its_directory_declares(tmp_path: Path, method: int, size: int) -> None:
    checksum = zlib.crc32(TABLE[:size])
    content = declared(packed(TABLE, method), size=size, checksum=checksum)

    with pytest.raises(ARCHIVE_ERRORS, match="than declared"):
        pieces_of(written(tmp_path, content))


@pytest.mark.parametrize("method", METHODS)
def test_an_incomplete_member_is_not_read_as_a_whole_one(tmp_path: Path, method: int) -> None:
    content = packed(TABLE, method)
    size = content.rindex(b"PK\x01\x02") - 38

    with pytest.raises(ARCHIVE_ERRORS):
        pieces_of(written(tmp_path, declared(content, packed_size=size - 10)))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_may_not_go_on_behind_its_end(tmp_path: Path, method: int) -> None:
    content = packed(TABLE, method)
    size = content.rindex(b"PK\x01\x02") - 38

    with pytest.raises(ARCHIVE_ERRORS, match="has bytes behind its end"):
        pieces_of(written(tmp_path, declared(content, packed_size=size + 10)))


@pytest.mark.parametrize(
    ("method", "name"), [(9, "deflate64"), (93, "zstd|method 93"), (1, "shrink"), (99, "method 99")]
)
def test_another_method_of_compression_is_refused_by_name(tmp_path: Path, method: int, name: str) -> None:
    with pytest.raises(NotImplementedError, match=name):
        pieces_of(written(tmp_path, declared(packed(TABLE, zipfile.ZIP_DEFLATED), method=method)))


def test_a_directory_of_very_many_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    content = packed(b"", zipfile.ZIP_STORED, "a")
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    count = archive.MAX_DIRECTORY_BYTES // (end - start) + 1
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFF0, 0xFFF0, count * (end - start), start, 0)

    with pytest.raises(UnreadableFileError, match="lists too many files"):
        ZipArchive(written(tmp_path, content[:start] + content[start:end] * count + tail))


@pytest.mark.parametrize("place", ["start of a member", "start of the directory", "size of the directory"])
def test_a_damaged_directory_is_an_error_of_the_archive(tmp_path: Path, place: str) -> None:
    content = bytearray(packed(TABLE, zipfile.ZIP_DEFLATED))
    entry, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    start = {"start of a member": entry + 42, "start of the directory": end + 16, "size of the directory": end + 12}
    content[start[place] : start[place] + 2] = b"\xff\xff"

    with pytest.raises(ARCHIVE_ERRORS):
        pieces_of(written(tmp_path, bytes(content)))


def test_a_name_that_is_no_utf8_is_an_error_of_the_archive(tmp_path: Path) -> None:
    content = packed(TABLE, zipfile.ZIP_DEFLATED, "jüne.csv").replace("jüne".encode(), b"j\xff\xffne")

    with pytest.raises(ARCHIVE_ERRORS):
        pieces_of(written(tmp_path, content))


def test_a_gzip_file_may_have_several_members_and_padding(tmp_path: Path) -> None:
    content = gzip.compress(TABLE) + bytes(100_000) + gzip.compress(b"") + gzip.compress(TABLE) + bytes(100)

    assert b"".join(unpacked(written(tmp_path, content), "gzip")) == TABLE * 2


def test_a_piece_of_a_gzip_file_is_never_large(tmp_path: Path) -> None:
    pieces = list(unpacked(written(tmp_path, gzip.compress(bytes(20_000_000))), "gzip"))

    assert max(map(len, pieces)) <= archive.PIECE_BYTES
    assert sum(map(len, pieces)) == 20_000_000


@pytest.mark.parametrize("cut", range(1, 28))
def test_an_incomplete_gzip_file_is_an_error(tmp_path: Path, cut: int) -> None:
    with pytest.raises(EOFError):
        list(unpacked(written(tmp_path, gzip.compress(b"a,b\n1,2\n")[:-cut]), "gzip"))


def test_a_long_name_in_a_gzip_file_yields_pieces_while_it_is_read(tmp_path: Path) -> None:
    plain = gzip.compress(TABLE)
    named = plain[:3] + b"\x08" + plain[4:10] + b"x" * 1_000_000 + b"\0" + plain[10:]

    pieces = list(unpacked(written(tmp_path, named), "gzip"))

    assert b"".join(pieces) == TABLE
    assert len(pieces) > 1_000_000 // archive.STREAM_SLICE_BYTES


def test_empty_gzip_members_yield_pieces_and_take_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_taken(count: int) -> int:
        """Bytes that zlib was given, which each stream copies."""
        path = written(tmp_path, gzip.compress(b"") * count + gzip.compress(TABLE))
        taken.clear()
        pieces = list(unpacked(path, "gzip"))
        assert b"".join(pieces) == TABLE
        assert len(pieces) > 20 * count // archive.STREAM_SLICE_BYTES
        return sum(taken)

    def decompress(inflater: archive._Inflater, data: bytes, max_length: int) -> bytes:
        taken.append(len(data))
        return inflate(inflater, data, max_length)

    taken: list[int] = []
    inflate = archive._Inflater.decompress
    monkeypatch.setattr(archive._Inflater, "decompress", decompress)

    assert len(gzip.compress(b"")) == 20
    assert bytes_taken(8_192) < 2.1 * bytes_taken(4_096)  # ten and five slices


# Files that are compressed by themselves

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": zstd.compress,
}
PACKINGS = list(PACK)


@pytest.mark.parametrize("packing", PACKINGS)
def test_all_streams_of_a_file_are_unpacked(tmp_path: Path, packing: str) -> None:
    pack = PACK[packing]
    path = written(tmp_path, pack(TABLE) + pack(b"") + pack(TABLE))

    assert b"".join(unpacked(path, packing)) == TABLE * 2


@pytest.mark.parametrize("packing", PACKINGS)
def test_streams_may_begin_anywhere_in_a_slice(tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "STREAM_SLICE_BYTES", 7)
    pack = PACK[packing]

    assert b"".join(unpacked(written(tmp_path, pack(b"a") + pack(b"b") + pack(b"c")), packing)) == b"abc"


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_piece_of_a_file_is_large_however_far_it_expands(tmp_path: Path, packing: str) -> None:
    pieces = list(unpacked(written(tmp_path, PACK[packing](bytes(20_000_000))), packing))

    assert max(map(len, pieces)) <= archive.PIECE_BYTES
    assert sum(map(len, pieces)) == 20_000_000


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("cut", range(1, 13))
def test_an_incomplete_file_is_an_error(tmp_path: Path, packing: str, cut: int) -> None:
    with pytest.raises(EOFError):
        list(unpacked(written(tmp_path, PACK[packing](TABLE)[:-cut]), packing))


@pytest.mark.parametrize("packing", PACKINGS)
def test_bytes_behind_the_last_stream_are_an_error(tmp_path: Path, packing: str) -> None:
    with pytest.raises(zipfile.BadZipFile, match=r"^Not an? "):
        list(unpacked(written(tmp_path, PACK[packing](TABLE) + b"rubbish"), packing))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_damaged_file_is_an_error(tmp_path: Path, packing: str) -> None:
    checked = zstd.compress(TABLE, options={zstd.CompressionParameter.checksum_flag: 1})
    content = bytearray(checked if packing == "Zstandard" else PACK[packing](TABLE))
    content[len(content) // 2] ^= 0xFF

    with pytest.raises(ARCHIVE_ERRORS):
        list(unpacked(written(tmp_path, bytes(content)), packing))


@pytest.mark.parametrize("packing", PACKINGS)
def test_empty_streams_yield_pieces(tmp_path: Path, packing: str) -> None:
    empty = PACK[packing](b"")

    pieces = list(unpacked(written(tmp_path, empty * 20_000), packing))

    assert not any(pieces)
    assert len(pieces) >= 20_000 * len(empty) // archive.STREAM_SLICE_BYTES


def test_frames_to_skip_are_skipped(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<L", 100_000) + bytes(100_000)

    assert b"".join(unpacked(written(tmp_path, skipped + zstd.compress(TABLE) + skipped), "Zstandard")) == TABLE


def test_streams_that_need_too_much_memory_are_refused(tmp_path: Path) -> None:
    greedy = lzma.compress(TABLE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}])
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    window = compressor.compress(TABLE) + compressor.flush()

    for packing, content in [("xz", greedy), ("Zstandard", window)]:
        with pytest.raises(NotImplementedError, match="too much memory"):
            list(unpacked(written(tmp_path, content), packing))
