"""Archives with one table, and archives that must be refused."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Iterator

from tests.corpus import tables
from tests.corpus.case import Case, case, read, refused
from tests.corpus.writing import csv

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def cases() -> Iterator[Case]:
    orders, accents = tables.orders(), tables.accents()
    text = csv(orders).encode()
    old = csv(accents, ";", end="\r\n").encode("cp1252")
    yield case("archives/gzip", gzip.compress(text, mtime=0), read(orders), ending="csv.gz")
    yield case("archives/gzip without an ending", gzip.compress(text, mtime=0), read(orders), ending="")
    yield case("archives/gzip of cp1252", gzip.compress(old, mtime=0), read(accents), ending="csv.gz")
    yield case("archives/bzip2", bz2.compress(text), read(orders), ending="csv.bz2")
    yield case("archives/xz", lzma.compress(text), read(orders), ending="csv.xz")
    yield case("archives/Zstandard of cp1252", zstd.compress(old), read(accents), ending="csv.zst")
    yield case("archives/Zstandard that is cut", zstd.compress(text * 9)[:-9], refused("incomplete"), ending="csv.zst")
    yield case("archives/ZIP", _zip({"data/orders.csv": text}), read(orders), ending="zip")
    yield case("archives/ZIP of cp1252", _zip({"besuche.csv": old}), read(accents), ending="zip")
    mac = _zip({"orders.csv": text, "__MACOSX/._orders.csv": b"\0\5\x16\7", ".DS_Store": b"\0\0"})
    yield case("archives/ZIP of a Mac", mac, read(orders), ending="zip")
    yield case("archives/ZIP with two files", _zip({"a.csv": text, "b.csv": text}), refused("2 files"), ending="zip")
    yield case(
        "archives/ZIP in a ZIP", _zip({"a.zip": _zip({"a.csv": text})}), refused("another archive"), ending="zip"
    )
    yield case("archives/ZIP that is cut", _zip({"orders.csv": text * 9})[:-60], refused("incomplete"), ending="zip")
    yield case(
        "archives/gzip that is cut", gzip.compress(text * 9, mtime=0)[:-30], refused("incomplete"), ending="csv.gz"
    )
    yield case("archives/empty ZIP", _zip({}), refused("empty"), ending="zip")
    yield case("archives/gzip of nothing", gzip.compress(b"", mtime=0), refused("empty"), ending="csv.gz")


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2025, 1, 2, 3, 4, 6)), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()
