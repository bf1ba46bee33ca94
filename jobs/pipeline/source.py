"""Whatever file arrives → one table of UTF-8 text on disk, which reader.py then reads in blocks.

A file that is such a text already is read where it lies. What is inside an archive, in another encoding or in a
workbook goes into a spool beside it, whole before its first row is imported: a damaged archive imports nothing, and a
byte offset into the spool is as good a checkpoint as one into a file.
"""

import csv
import errno
import gzip
import hashlib
import io
import itertools
import json
import mmap
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol, Self, TypeVar
from uuid import uuid4

from jobs.dialect import SAMPLE_RECORDS, find_header, shortened, skipped
from jobs.errors import UnreadableFileError
from jobs.import_options import UTF_8, ImportOptions
from jobs.pipeline import encoding, workbook
from jobs.pipeline.prepared_table import KnownProblems
from jobs.pipeline.workbook import ARCHIVE_ERRORS, Row, Shape, Workbook

#: Bytes that are expanded at once.
PIECE_BYTES = 1 << 20
#: Bytes that an archive may always expand to, however small it is: very regular tables shrink to a hundredth.
SMALL_BYTES = 10_000_000
#: Members of an archive that are named in a sentence.
NAMED_MEMBERS = 5
#: Raised with every change to what a spool holds, so that an older one is made again.
SPOOL_VERSION = 2

EXPECTED = "Expected is a table: CSV, also as .gz or .zip, or an Excel workbook (.xlsx)."

_ZIPS, _GZIP, _OLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b\x08", b"\xd0\xcf\x11\xe0"
#: How files that are no tables begin, and what to call them.
_SIGNATURES = (
    (b"%PDF", "a PDF document"),
    (_OLE, "an old Excel or Word document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ARROW1\0", "an Arrow file"),
    (b"{\\rtf", "a text document (RTF)"),
)
_ARCHIVES = (
    *((signature, "a ZIP archive or a workbook") for signature in _ZIPS),
    (_GZIP, "a gzip archive"),
    *((b"BZh%d1AY" % level, "a bzip2 archive") for level in range(1, 10)),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
)
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<table", b"<meta")
#: What archivers add on their own.
_NO_MEMBERS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)|/$")
#: Members by which archives that are documents are known.
_DOCUMENTS = {
    "xl/workbook.bin": "a binary Excel workbook (.xlsb): save it as .xlsx, and upload that",
    "word/document.xml": "a Word document, not a table",
    "ppt/presentation.xml": "a PowerPoint presentation, not a table",
    "meta-inf/manifest.xml": "an OpenDocument file: save it as .xlsx or CSV, and upload that",
}

Tick = Callable[[], None]
A = TypeVar("A")
T = TypeVar("T")


class _Readable(Protocol):
    """A member of an archive."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Limits:
    """How far an archive may expand. ratio: bytes for each of its own. total: bytes in all."""

    ratio: int = 200
    total: int = 20 * 1024**3


@dataclass(frozen=True)
class TextFile:
    """A table of UTF-8 text, with or without a byte order mark, for the reader to inspect.

    path: the upload itself, or a spool. notes: sentences for people about what was detected. delimiter, header_row:
    known or asked for; None: for the reader to detect. problems: of rows that are in the text and must fail.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    delimiter: str | None = None
    header_row: int | None = None
    problems: KnownProblems = field(default_factory=dict)


def prepare(path: Path, filename: str, options: ImportOptions, *, limits: Limits, tick: Tick) -> TextFile:
    """Make a table of an uploaded file, or take the one that an earlier attempt made in the same reading.

    filename: as people call it. tick: called at least every second; what it raises is passed on, and no half spool is
    left. Raises UnreadableFileError, saying what is wrong and what to do.
    """
    spool = _Spool(path, options)
    try:
        return spool.kept() or _Preparation(path, filename, options, limits, tick, spool).table()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UnreadableFileError(
            "The server's disk is full, so the table could not be written out. Free some space, then retry."
        ) from error


def discard(path: Path) -> None:
    """Remove what `prepare` has made of an upload, which stays. To be called once it is imported, or removed itself."""
    for made in path.parent.glob(f"{path.name}.table*"):
        made.unlink(missing_ok=True)


def check_is_text(head: bytes) -> None:
    """head: a file's beginning. Raises UnreadableFileError if it is known not to be a table of text."""
    if not head:
        raise UnreadableFileError(f"The file is empty. {EXPECTED}")
    for signature, what in (*_SIGNATURES, *_ARCHIVES):
        if head.startswith(signature):
            raise UnreadableFileError(f"This seems to be {what}, not a table of text. {EXPECTED}")
    beginning = head[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if beginning.startswith(_MARKUP):
        raise UnreadableFileError(f"This seems to be a web page or an XML document, not a table of text. {EXPECTED}")
    if beginning.startswith((b'{"', b"[{")):
        raise UnreadableFileError(f"This seems to be JSON, not a table of text. {EXPECTED}")


class _Spool:
    """The table made of an upload in one reading: beside it, whole, with a word about it in a file of its own."""

    def __init__(self, upload: Path, options: ImportOptions) -> None:
        asked = {name: value for name, value in options.as_json().items() if name != "types"}  # not of the text's
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        suffix = f"-{digest[:12]}" if asked else ""
        self.path = upload.with_name(f"{upload.name}.table{suffix}")
        self._about = self.path.with_name(f"{self.path.name}.json")

    def kept(self) -> TextFile | None:
        """What an earlier attempt made. Written last, the word about a table says that it is whole."""
        try:
            about = json.loads(self._about.read_bytes())
            if about["version"] != SPOOL_VERSION or about["bytes"] != self.path.stat().st_size:
                return None
        except (FileNotFoundError, ValueError):
            return None
        problems = {int(row): [(place, reason) for place, reason in cells] for row, cells in about["problems"].items()}
        return TextFile(self.path, about["notes"], about["delimiter"], about["header_row"], problems)

    def keep(self, text: TextFile) -> TextFile:
        """Say that the table is whole, and what there is to know about it."""
        about = {"version": SPOOL_VERSION, "bytes": self.path.stat().st_size, "notes": text.notes}
        about |= {"delimiter": text.delimiter, "header_row": text.header_row, "problems": text.problems}
        with _Part(self._about) as part:
            part.file.write(json.dumps(about).encode())
            part.keep()
        return text


class _Part:
    """A file that has its name only once it is whole and on disk; left before, it is gone.

    Its first name ends as that of a file that never finished arriving: files.py removes those that a kill left behind.
    """

    def __init__(self, path: Path, tick: Tick = lambda: None) -> None:
        self._wanted = path
        self._tick = tick
        self.path = path.with_name(f"{path.name}.{uuid4().hex}.part")

    def __enter__(self) -> Self:
        self.file: BinaryIO = self.path.open("xb")
        return self

    def keep(self) -> None:
        self.file.flush()
        workbook.ticking(lambda: os.fsync(self.file.fileno()), self._tick)  # a minute for 10 GB
        self.path.rename(self._wanted)
        folder = os.open(self._wanted.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        self.file.close()


@dataclass(frozen=True)
class _Preparation:
    """One upload on its way to a table."""

    path: Path
    filename: str
    options: ImportOptions
    limits: Limits
    tick: Tick
    spool: _Spool

    def table(self) -> TextFile:
        """What the file is, is told by how it begins, whatever it is called."""
        with self.path.open("rb") as file:
            head = file.read(encoding.HEAD_BYTES)
        if head.startswith(_OLE):
            raise UnreadableFileError(_about_ole(self.path, self.filename))
        if head.startswith(_ZIPS):
            return self._from_zip()
        if head.startswith(_GZIP):
            with gzip.open(self.path) as member:
                return self._from_archive(member, "Unpacked from gzip.")
        return self._from_text()

    def _from_text(self) -> TextFile:
        found = self._encoding(self.path)
        if found.codec == UTF_8:
            return TextFile(self.path, [found.note], self.options.delimiter, self.options.header_row)
        self._transcode(self.path, found.codec)
        return self._kept([found.note])

    def _from_zip(self) -> TextFile:
        """A workbook, or the one text in an archive."""
        with _opened(zipfile.ZipFile, self.path) as archive:
            members = [info for info in archive.infolist() if not _NO_MEMBERS.search(info.filename)]
            names = {info.filename.lower() for info in members}
            if workbook.MAIN_PART in names:
                self._check_expansion(sum(info.file_size for info in members), "workbook")
                return self._from_workbook()
            only = _only(members, names)
            with _opened(archive.open, only) as member:
                return self._from_archive(member, f"Unpacked “{shortened(only.filename)}” from a ZIP archive.")

    def _from_archive(self, member: _Readable, note: str) -> TextFile:
        """The text inside an archive. member: expands as it is read."""
        with _Part(self.spool.path, self.tick) as expanded:
            self._expand(member, expanded.file)
            expanded.file.flush()
            found = self._encoding(expanded.path)
            if found.codec == UTF_8:
                expanded.keep()
            else:
                self._transcode(expanded.path, found.codec)
        return self._kept([note, found.note])

    def _from_workbook(self) -> TextFile:
        """One sheet of a workbook, from its header on."""
        with Workbook(self.path, sheet=self.options.sheet, tick=self.tick) as book:
            above, notes = _above_header(book, self.options.header_row)
            shape = book.shape(above=above)
            with _Part(self.spool.path, self.tick) as part:
                problems = _write(part.file, book.rows(above=above, timed=shape.timed), shape)
                part.keep()
        return self.spool.keep(TextFile(self.spool.path, [*book.notes, *notes], ",", 1, problems))

    def _kept(self, notes: list[str]) -> TextFile:
        """The spool of a text, of which the reader finds out the rest."""
        return self.spool.keep(TextFile(self.spool.path, notes, self.options.delimiter, self.options.header_row))

    def _encoding(self, path: Path) -> encoding.Encoding:
        with path.open("rb") as file:
            check_is_text(file.read(encoding.HEAD_BYTES))
        if self.options.encoding is not None:
            return encoding.as_asked(self.options.encoding)
        return encoding.detect(path, self.tick)

    def _transcode(self, path: Path, codec: str) -> None:
        with path.open("rb") as source, _Part(self.spool.path, self.tick) as part:
            encoding.transcode(source, part.file, codec, self.tick)
            part.keep()

    def _expand(self, member: _Readable, target: BinaryIO) -> None:
        expanded = 0
        for piece in _pieces(member):
            if not expanded:
                _check_not_nested(piece)
            expanded += len(piece)
            self._check_expansion(expanded, "archive")
            target.write(piece)
            self.tick()

    def _check_expansion(self, expanded: int, what: str) -> None:
        """Raises UnreadableFileError if this many bytes are more than may come out of the upload."""
        if expanded > self.limits.total:
            raise UnreadableFileError(
                f"The {what} expands to more than {self.limits.total:,} bytes, the most that is unpacked here."
                " Split it, or ask for a higher BULK_UPLOAD_MAX_EXPANDED_BYTES."
            )
        if expanded > max(self.limits.ratio * self.path.stat().st_size, SMALL_BYTES):
            raise UnreadableFileError(
                f"The {what} expands to more than {self.limits.ratio:,} times its size, the most that is unpacked here."
                " Upload the table inside as CSV, or ask for a higher BULK_UPLOAD_MAX_EXPANSION_RATIO."
            )


def _opened(function: Callable[[A], T], argument: A) -> T:
    """What a function of the standard library opens in an archive."""
    try:
        return function(argument)
    except ARCHIVE_ERRORS as error:
        raise _packed(error) from error


def _pieces(member: _Readable) -> Iterator[bytes]:
    try:
        while piece := member.read(PIECE_BYTES):
            yield piece
    except (*ARCHIVE_ERRORS, gzip.BadGzipFile) as error:
        raise _packed(error) from error


def _check_not_nested(head: bytes) -> None:
    nested = any(head.startswith(signature) for signature, _ in _ARCHIVES) or head[257:262] == b"ustar"
    if nested or head.startswith(_OLE):
        raise UnreadableFileError(
            "The archive holds another archive or a workbook. Unpack it, and upload what is inside on its own."
        )


def _packed(error: Exception) -> UnreadableFileError:
    """What the standard library says about an archive, as a sentence for people."""
    detail = " ".join(str(error).split()).strip("'\"")
    if isinstance(error, NotImplementedError):
        return UnreadableFileError(
            f"The archive is packed in an unusual way ({detail}). Pack it as ordinary ZIP or gzip."
        )
    if isinstance(error, RuntimeError):
        return UnreadableFileError("The archive is protected with a password. Pack the file without one.")
    if isinstance(error, EOFError) or "not a zip file" in detail:
        return UnreadableFileError("The archive is cut off: its end is missing. Upload it again, whole.")
    return UnreadableFileError(f"The archive is damaged ({detail}). Pack the file again, and upload that.")


def _only(members: list[zipfile.ZipInfo], names: set[str]) -> zipfile.ZipInfo:
    """The one member of an archive. Raises UnreadableFileError."""
    for part, what in _DOCUMENTS.items():
        if part in names:
            raise UnreadableFileError(f"This is {what}. {EXPECTED}")
    if not members:
        raise UnreadableFileError(f"The archive has no file in it. {EXPECTED}")
    if len(members) > 1:
        shown = ", ".join(f"“{shortened(info.filename)}”" for info in members[:NAMED_MEMBERS])
        more = f" and {len(members) - NAMED_MEMBERS:,} more" if len(members) > NAMED_MEMBERS else ""
        raise UnreadableFileError(
            f"The archive has {len(members):,} files in it: {shown}{more}. Upload each on its own."
        )
    return members[0]


def _about_ole(path: Path, filename: str) -> str:
    """A sentence about a file in the container of old Office documents, in which protected workbooks are kept as well.
    What it is stands in the names of its streams, which are in UTF-16."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find("EncryptedPackage".encode("utf-16-le")) >= 0:
            return f"“{filename}” is protected with a password. Save it without one, and upload that."
        if any(content.find(name.encode("utf-16-le")) >= 0 for name in ("Workbook", "Book\0")):
            return f"“{filename}” is a workbook of Excel 97 to 2003 (.xls). Save it as .xlsx or CSV, and upload that."
    return f"“{filename}” is an old Office document, not a table. {EXPECTED}"


def _above_header(book: Workbook, wanted: int | None) -> tuple[int, list[str]]:
    """The number of the row above the header, and what there is to say about it. wanted: the header's number."""
    if wanted is not None:
        row = next(book.rows(above=wanted - 1), None)
        if row is None or row.number != wanted:
            raise UnreadableFileError(f"Row {wanted:,} of the sheet “{book.sheet.name}” is empty, so it is no header.")
        return wanted - 1, [f"The header is row {wanted:,}, as asked."]
    sample = list(itertools.islice(book.rows(), SAMPLE_RECORDS))
    if not sample:
        others = f" The workbook also has {book.others}: name the sheet to read." if book.others else ""
        raise UnreadableFileError(f"The sheet “{book.sheet.name}” is empty.{others}")
    rows = list(_with_gaps(sample))
    header = find_header([row.cells if row else [] for row in rows])
    found = rows[header] or sample[0]
    above = [row.cells for row in sample if row.number < found.number]
    return found.number - 1, [skipped(above, found.number - sample[0].number, "row")] if above else []


def _with_gaps(rows: list[Row]) -> Iterator[Row | None]:
    """The rows, each as wide as the widest, and None where there are empty ones between two."""
    width = max(len(row.cells) for row in rows)
    last = rows[0].number - 1
    for row in rows:
        if row.number > last + 1:
            yield None
        yield replace(row, cells=row.cells + [""] * (width - len(row.cells)))
        last = row.number


def _write(file: BinaryIO, rows: Iterable[Row], shape: Shape) -> KnownProblems:
    """Write a table as CSV. rows: the header first. Returns the problems of its rows."""
    problems: KnownProblems = {}
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # with "\n" alone it leaves a CR inside a cell without quotes
    width = 0
    for number, row in enumerate(rows):
        cells = row.cells[shape.first :]
        width = width or max(len(cells), shape.width - shape.first)
        writer.writerow(cells + [""] * (width - len(cells)))
        if number and row.problems:
            problems[number] = [(column - shape.first, each.reason) for column, each in sorted(row.problems.items())]
    text.detach()
    return problems
