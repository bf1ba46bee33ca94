"""Prepares an uploaded file of any kind as a table of UTF-8 text on disk, which reader.py reads in chunks.

A file of UTF-8 text is read in place. The content of an archive, text in another encoding and a worksheet are written
to a spool beside the file. The spool is complete before the import begins, so a damaged archive imports nothing, and a
byte offset into the spool is a checkpoint like one into a file.
"""

import codecs
import csv
import errno
import hashlib
import io
import itertools
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self
from uuid import uuid4

from jobs.errors import MisreadFileError, SeveralFilesError, UnreadableFileError
from jobs.formats.dialect import detect_dialect, is_usual
from jobs.formats.file_kinds import ARCHIVES, EXPECTED, OLE, ZIPS, is_json, is_parquet, other_kind, packing_of
from jobs.formats.header import SAMPLE_RECORDS, detect_header, shortened, skipped_note, without_header
from jobs.formats.tokenizer import Dialect
from jobs.import_options import UTF_8, ImportOptions
from jobs.parts import MAX_PARTS, Part
from jobs.pipeline import encoding, rewriting, workbook
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive, unpacked
from jobs.pipeline.archive_members import members_of
from jobs.pipeline.biff.workbook import XlsbWorkbook, XlsWorkbook, holds_workbook
from jobs.pipeline.biff.xlsb import MAIN_PART as XLSB_MAIN_PART
from jobs.pipeline.chunk import is_blank, repeats
from jobs.pipeline.json_objects import Fields, Number, Objects, cells_of
from jobs.pipeline.long_call import run_with_ticks
from jobs.pipeline.ods import workbook as ods
from jobs.pipeline.parquet import ParquetFile
from jobs.pipeline.prepared_table import Hint, KnownProblems
from jobs.pipeline.typed_table import TypedTable
from jobs.pipeline.workbook import Row, Shape, Workbook
from jobs.pipeline.xlsx.problem import MAX_PROBLEMS, too_many_problems
from jobs.pipeline.xlsx.sheet_choice import Fits
from jobs.warnings import UploadWarning, lines_skipped

#: Bytes that any archive may expand to, however small it is: very regular tables compress to a hundredth.
SMALL_BYTES = 10_000_000
#: Members of an archive that an error names.
NAMED_MEMBERS = 5
#: Objects of JSON whose fields are looked at before the table is written.
FIRST_OBJECTS = 1_000
#: Bytes at the beginning of a text that its dialect is detected from.
DIALECT_BYTES = 1 << 20
#: To be incremented with every change to the content of spools, so that older ones are replaced.
SPOOL_VERSION = 9

#: Bytes at the beginning of a member that tell whether it is an archive itself: a tar has its mark at 257.
_NESTED_HEAD_BYTES = 262
#: Members that archivers add.
_IGNORED_MEMBERS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)|/$")
#: Members that identify archives that are documents, and what to tell people.
_DOCUMENTS = {
    "word/document.xml": f"a Word document, not a table. {EXPECTED}",
    "ppt/presentation.xml": f"a PowerPoint presentation, not a table. {EXPECTED}",
    "meta-inf/manifest.xml": f"an OpenDocument file, but no spreadsheet. {EXPECTED}",
}

#: A progress callback, called at least every second during long work. It may raise an exception to stop the work.
Tick = Callable[[], None]


@dataclass(frozen=True)
class Limits:
    """How far an archive may expand. ratio: times its own size. total: bytes."""

    ratio: int = 200
    total: int = 20 * 1024**3


@dataclass(frozen=True)
class TextFile:
    """A table of UTF-8 text, with or without a byte order mark, for the reader to inspect.

    path: the upload itself, or a spool. notes: sentences for people about what was detected. warnings: what they may
    not expect (warnings.py). delimiter, header_row: known or chosen; None: the reader detects them; header row 0: the
    first row is data. problems: cells that are known to be wrong; their rows must fail. begins_with_table: whether
    nothing is above the header, or above the first row if there is none. separated_by: what separates the columns of
    the upload, for a note, if it is not the delimiter of this text; "" for a workbook. sheet_rows: the
    worksheet's rows (line_numbers.SheetRows), where the header is row 0. blank: its empty rows between the others.
    detected: the encoding, delimiter, worksheet and worksheets of the upload, as far as it has them.
    hints: of the columns, in order, if the format knows their types (see prepared_table.Hint). is_valid: whether all
    of it is known to be valid UTF-8. likely_delimiter: the one that the reader would detect, if that is known.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    warnings: list[UploadWarning] = field(default_factory=list)
    delimiter: str | None = None
    header_row: int | None = None
    problems: KnownProblems = field(default_factory=dict)
    sheet_rows: list[tuple[int, int]] = field(default_factory=list)
    blank: int = 0
    begins_with_table: bool = False
    separated_by: str | None = None
    detected: dict[str, Any] = field(default_factory=dict)
    hints: list[Hint] = field(default_factory=list)
    is_valid: bool = False
    likely_delimiter: str | None = None


def prepare(
    path: Path,
    filename: str,
    options: ImportOptions,
    *,
    limits: Limits,
    tick: Tick,
    fits: Fits = lambda _: 0,
) -> TextFile:
    """Prepare an uploaded file, or use the spool that an earlier attempt made with the same import options.

    filename: the name on the sender's computer. tick: see Tick; if it raises, no incomplete spool remains. fits: how
    many fields of the wanted dataset some names fill. Raises UnreadableFileError, whose text says what is wrong and
    what to do.
    """
    spool = _Spool(path, options)
    try:
        return spool.load() or _Preparation(path, filename, options, limits, tick, spool, fits).table()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UnreadableFileError(
            "The server's disk is full, so the file was not prepared. Ask the administrator to free space, then retry."
        ) from error


def check_is_text(head: bytes) -> None:
    """Raises UnreadableFileError if a file is certainly not a table of text. head: its beginning."""
    if not head:
        raise UnreadableFileError(f"The file is empty. {EXPECTED}")
    if sentence := other_kind(head):
        raise UnreadableFileError(sentence)


#: What the description of a spool has of its text as it is.
_DESCRIBED = (
    "notes", "warnings", "delimiter", "header_row", "begins_with_table", "separated_by", "blank", "detected", "hints"
)  # fmt: skip


class _Spool:
    """The table prepared from an upload with certain import options, and its description in JSON, beside the upload."""

    def __init__(self, upload: Path, options: ImportOptions) -> None:
        chosen = {name: value for name, value in options.as_json().items() if name != "types"}  # irrelevant to the text
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
        suffix = f"-{digest[:12]}" if chosen else ""
        self.path = upload.with_name(f"{upload.name}.table{suffix}")
        self._description = self.path.with_name(f"{self.path.name}.json")

    def load(self) -> TextFile | None:
        """The table of an earlier attempt. The description is written last, so it exists only for complete tables."""
        try:
            found = json.loads(self._description.read_bytes())
            if found["version"] != SPOOL_VERSION or found["bytes"] != self.path.stat().st_size:
                return None
        except (FileNotFoundError, ValueError):
            return None
        problems = {int(row): [(place, reason) for place, reason in cells] for row, cells in found["problems"].items()}
        named = {name: found[name] for name in _DESCRIBED}
        sheet_rows = [(number, row) for number, row in found["sheet_rows"]]
        return TextFile(self.path, problems=problems, sheet_rows=sheet_rows, **named)

    def save(self, text: TextFile) -> TextFile:
        """Write the description of the complete table."""
        description = {"version": SPOOL_VERSION, "bytes": self.path.stat().st_size, "problems": text.problems}
        description |= {"sheet_rows": text.sheet_rows}
        description |= {name: getattr(text, name) for name in _DESCRIBED}
        with _Part(self._description) as part:
            part.file.write(json.dumps(description).encode())
            part.commit()
        return text


class _Part:
    """A file that gets its name only when it is complete and on disk. An incomplete one is removed on exit.

    Its temporary name ends with .part, like an incomplete upload: leftovers.py removes those of killed processes.
    """

    def __init__(self, path: Path, tick: Tick = lambda: None) -> None:
        self._final = path
        self._tick = tick
        self.path = path.with_name(f"{path.name}.{uuid4().hex}.part")

    def __enter__(self) -> Self:
        self.file: BinaryIO = self.path.open("xb")
        return self

    def commit(self) -> None:
        self.file.flush()
        run_with_ticks(lambda: os.fsync(self.file.fileno()), self._tick)  # takes a minute for 10 GB
        self.path.rename(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        self.file.close()


@dataclass(frozen=True)
class _Preparation:
    """Prepares one upload."""

    path: Path
    filename: str
    options: ImportOptions
    limits: Limits
    tick: Tick
    spool: _Spool
    fits: Fits

    def table(self) -> TextFile:
        """The kind of file is detected from its first bytes. Its name decides only what an array without objects is."""
        head = _head(self.path)
        if head.startswith(OLE):
            return self._from_ole()
        if head.startswith(ZIPS):
            return self._from_zip()
        if (packing := packing_of(head)) is not None:
            return self._from_archive(unpacked(self.path, packing), f"Unpacked from {packing}.")
        if is_json(head, self.filename):
            return self._from_json(self.path)
        if is_parquet(head):
            return self._from_parquet(self.path)
        return self._from_text()

    def _from_text(self) -> TextFile:
        found = self._encoding(self.path)
        if found.codec == UTF_8:
            dialect = self._dialect(self.path)
            if not is_usual(dialect):
                return self._rewritten(self.path, dialect, [found.note], found.codec)
            return TextFile(
                self.path,
                [found.note],
                delimiter=self.options.delimiter,
                likely_delimiter=dialect.delimiter,
                header_row=self.options.header_row,
                detected={"encoding": found.codec},
                is_valid=found.is_proven,
            )
        with _Part(self.spool.path, self.tick) as part:
            return self._from_other_encoding(self.path, part, found)

    def _from_ole(self) -> TextFile:
        """An Excel 97 to 2003 workbook. Raises UnreadableFileError for any other OLE file."""
        if not holds_workbook(self.path, self.filename):
            raise UnreadableFileError(f"“{self.filename}” is an old Office document, not a table. {EXPECTED}")
        return self._from_workbook(XlsWorkbook)

    def _from_zip(self) -> TextFile:
        """A workbook, or the single text file in an archive."""
        with _opened(self.path) as archive:
            members = [info for info in archive.members if not _IGNORED_MEMBERS.search(info.filename)]
            names = {info.filename.lower() for info in members}
            if workbook.MAIN_PART in names:
                self._check_expansion(sum(info.file_size for info in members), "workbook")
                return self._from_workbook(Workbook)
            if XLSB_MAIN_PART in names:
                self._check_expansion(sum(info.file_size for info in members), "workbook")
                return self._from_workbook(XlsbWorkbook)
            if ods.MAIN_PART in names and _is_spreadsheet(archive):
                self._check_expansion(sum(info.file_size for info in members), "workbook")
                return self._from_workbook(ods.OdsWorkbook)
            only = self._member(archive, members, names)
            note = f"Unpacked “{shortened(only.filename)}” from a ZIP archive."
            return self._from_archive(archive.pieces(only), note, may_be_workbook=True)

    def _member(self, archive: ZipArchive, members: list[zipfile.ZipInfo], names: set[str]) -> zipfile.ZipInfo:
        """The file in an archive that was chosen, or the only one. Raises UnreadableFileError."""
        wanted = self.options.member
        if wanted is None:
            if members and 1 < len(members) <= MAX_PARTS and names.isdisjoint(_DOCUMENTS):
                raise SeveralFilesError(_several(members), members_of(archive, members, self.tick))
            return _only(members, names)
        by_name = {info.filename.casefold(): info for info in reversed(members)}
        by_name |= {info.filename: info for info in members}
        if (found := by_name.get(wanted) or by_name.get(wanted.casefold())) is None:
            listed = ", ".join(f"“{shortened(info.filename)}”" for info in members[:NAMED_MEMBERS])
            raise MisreadFileError(f"The archive contains no file “{shortened(wanted)}”. Choose one of {listed}.")
        return found

    def _from_archive(self, pieces: Iterator[bytes], note: str, *, may_be_workbook: bool = False) -> TextFile:
        """The table in an archive."""
        with _Part(self.spool.path, self.tick) as expanded:
            self._expand(pieces, expanded.file, may_be_workbook=may_be_workbook)
            expanded.file.flush()
            if (kind := _kind_of_workbook(expanded.path, self.filename)) is not None:
                return self._from_workbook(kind, expanded.path, note)
            if is_json(_head(expanded.path), self.filename):
                return self._from_json(expanded.path, note)
            if is_parquet(_head(expanded.path)):
                return self._from_parquet(expanded.path, note)
            found = self._encoding(expanded.path)
            if found.codec == UTF_8:
                return self._spooled(expanded, [note, found.note], found.codec)
            with _Part(self.spool.path, self.tick) as part:
                return self._from_other_encoding(expanded.path, part, found, note)

    def _from_workbook(self, kind: type[Workbook], path: Path | None = None, *unpacked: str) -> TextFile:
        """One worksheet of a workbook, from its header row on. path: of the workbook; None: the upload itself."""
        sheet, header_row = self.options.sheet, self.options.header_row
        with kind(path or self.path, sheet=sheet, tick=self.tick, header_row=header_row, fits=self.fits) as book:
            above, notes, has_header = _above_header(book, self.options.header_row)
            shape = book.shape(above=above)
            with _Part(self.spool.path, self.tick) as part:
                rows = book.rows(above=above, timed=shape.timed)
                table = _SheetTable(shape, has_header)
                table.write(part.file, rows, lambda size: self._check_expansion(size, "workbook"))
                part.commit()
        found = TextFile(
            self.spool.path,
            [*unpacked, *book.notes, *notes],
            [*book.warnings, *table.warnings],
            ",",
            self.options.header_row and 1,  # the row above which nothing was written, or 0
            table.problems,
            table.sheet_rows,
            table.blank,
            begins_with_table=True,
            separated_by="",
            detected={"sheet": book.sheet.name, "sheets": book.names} | _sheets(book),
        )
        return self.spool.save(found)

    def _from_json(self, path: Path, *notes: str) -> TextFile:
        """Objects of JSON; twice if a field first appears after many of them, as the header is written first."""
        fields = Fields()
        with path.open("rb") as file, _Part(self.spool.path, self.tick) as part:
            objects = Objects(file, self.tick)
            for found in itertools.islice(objects, FIRST_OBJECTS):
                fields.see(found)
            table = None
            while table is None:
                file.seek(0)
                part.file.seek(0)
                part.file.truncate()
                table = self._json_table(Objects(file, self.tick), fields, part.file)
            part.commit()
        kind = "an array of objects" if objects.is_array else "one object below the other"
        notes = (*notes, f"Read as JSON, {kind}: numbers, booleans and texts are as in the file.")
        return self._typed(table, list(notes), [_json_hint(kinds) for kinds in fields.kinds.values()])

    def _json_table(self, objects: Objects, fields: Fields, file: BinaryIO) -> TypedTable | None:
        """The table of these fields. None if an object has another one; then all are known."""
        names = list(fields.kinds)
        if not names and not any(fields.see(found) is False for found in objects):
            raise UnreadableFileError(f"The file has no JSON object with a field. {EXPECTED}")
        table = TypedTable(file, names, lambda size: self._check_expansion(size, "file"))
        is_complete = bool(names)
        for found in objects:
            is_complete &= fields.see(found)
            if is_complete:
                table.write(cells_of(found, names))
        table.finish()
        return table if is_complete else None

    def _from_parquet(self, path: Path, *notes: str) -> TextFile:
        with ParquetFile(path, self.tick) as file, _Part(self.spool.path, self.tick) as part:
            self._check_expansion(file.expanded, "Parquet file")
            table = TypedTable(part.file, file.names, lambda size: self._check_expansion(size, "Parquet file"))
            for row in file.rows():
                table.write(row)
            table.finish()
            part.commit()
        read = [*notes, "Read as Parquet: the types are those of the file."]
        return self._typed(table, read, file.hints, file.warnings)

    def _typed(
        self, table: TypedTable, notes: list[str], hints: list[Hint], warnings: Sequence[UploadWarning] = ()
    ) -> TextFile:
        found = TextFile(
            self.spool.path,
            notes,
            [*warnings],
            delimiter=",",
            header_row=1,
            sheet_rows=table.sheet_rows,
            blank=table.blank,
            begins_with_table=True,
            separated_by="",
            hints=hints,
        )
        return self.spool.save(found)

    def _from_other_encoding(self, path: Path, part: _Part, found: encoding.Encoding, *notes: str) -> TextFile:
        with path.open("rb") as source:
            encoding.transcode(source, part.file, found.codec, self.tick)
        part.file.flush()
        return self._spooled(part, [*notes, found.note], found.codec)

    def _spooled(self, part: _Part, notes: list[str], codec: str) -> TextFile:
        """A part with all of the text as the spool, whose delimiter and header the reader detects."""
        if not is_usual(dialect := self._dialect(part.path)):
            return self._rewritten(part.path, dialect, notes, codec)
        part.commit()
        chosen = self.options.delimiter, self.options.header_row
        return self.spool.save(TextFile(self.spool.path, notes, [], *chosen, detected={"encoding": codec}))

    def _dialect(self, path: Path) -> Dialect:
        """The dialect of a text of UTF-8. The reader knows only usual ones."""
        with path.open("rb") as file:
            head = file.read(DIALECT_BYTES)
        sample = head if len(head) < DIALECT_BYTES else head[: head.rfind(b"\n") + 1] or head
        text = sample.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
        return detect_dialect(text, self.options.delimiter)

    def _rewritten(self, path: Path, dialect: Dialect, notes: list[str], codec: str) -> TextFile:
        with path.open("rb") as source, _Part(self.spool.path, self.tick) as part:
            if source.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                source.seek(0)
            comments = rewriting.rewrite(source, part.file, dialect, self.tick)
            part.commit()
        notes = [*notes, *rewriting.notes_about(dialect, comments)]
        chosen = rewriting.delimiter_of(dialect), self.options.header_row
        called = rewriting.DISPLAY_NAMES.get(dialect.delimiter)
        detected = {"encoding": codec, "delimiter": dialect.delimiter}
        found = TextFile(self.spool.path, notes, [], *chosen, separated_by=called, detected=detected)
        return self.spool.save(found)

    def _encoding(self, path: Path) -> encoding.Encoding:
        head = _head(path)
        check_is_text(head)
        if self.options.encoding is not None:
            return encoding.chosen(self.options.encoding, head)
        return encoding.detect(path, self.tick)

    def _expand(self, pieces: Iterator[bytes], target: BinaryIO, *, may_be_workbook: bool) -> None:
        """pieces: may be empty, as an archive may be long and expand to nothing."""
        expanded, head = 0, b""
        for piece in _without_archive_errors(pieces):
            if len(head) < _NESTED_HEAD_BYTES:
                head += piece[:_NESTED_HEAD_BYTES]
                if not (may_be_workbook and head.startswith((*ZIPS, OLE))):
                    _check_not_nested(head)
            expanded += len(piece)
            self._check_expansion(expanded, "archive")
            target.write(piece)
            self.tick()

    def _check_expansion(self, expanded: int, what: str) -> None:
        """Raises UnreadableFileError if the upload expands to more bytes than the limits allow."""
        if expanded > self.limits.total:
            raise UnreadableFileError(
                f"The {what} expands to more than {self.limits.total:,} bytes, the limit of this server."
                " Split the table, or ask the administrator to raise BULK_UPLOAD_MAX_EXPANDED_BYTES."
            )
        if expanded > max(self.limits.ratio * self.path.stat().st_size, SMALL_BYTES):
            raise UnreadableFileError(
                f"The {what} expands to more than {self.limits.ratio:,} times its size, the limit of this server."
                " Upload the table as an uncompressed CSV file, or ask the administrator to raise"
                " BULK_UPLOAD_MAX_EXPANSION_RATIO."
            )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(encoding.HEAD_BYTES)


def _json_hint(kinds: set[type]) -> Hint:
    """kinds: the classes of a field's values. Texts may be dates; values of several kinds are text."""
    if kinds <= {str}:
        return {"among": ["iso"]}
    if kinds == {bool}:
        return {"among": ["boolean"]}
    return {"among": ["integer", "number"] if kinds == {Number} else []}


def _is_spreadsheet(archive: ZipArchive) -> bool:
    """Whether an OpenDocument file has a worksheet. Templates of spreadsheets have, too."""
    kinds = [info for info in archive.members if info.filename == "mimetype"]
    return bool(kinds) and next(_without_archive_errors(archive.pieces(kinds[0])), b"").startswith(ods.MIME_TYPE)


def _opened(path: Path) -> ZipArchive:
    """Open an archive. Raises UnreadableFileError."""
    try:
        return ZipArchive(path)
    except ARCHIVE_ERRORS as error:
        raise _archive_error(error) from error


def _without_archive_errors(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces. Raises UnreadableFileError instead of what reading an archive raises."""
    while True:
        try:
            piece = next(pieces, None)
        except ARCHIVE_ERRORS as error:
            raise _archive_error(error) from error
        if piece is None:
            return
        yield piece


def _check_not_nested(head: bytes) -> None:
    nested = any(head.startswith(signature) for signature, _ in ARCHIVES) or head[257:262] == b"ustar"
    if nested or packing_of(head) is not None or head.startswith(OLE):
        raise UnreadableFileError(
            "The archive contains another archive or a workbook. Unpack it, then upload the file inside."
        )


def _archive_error(error: Exception) -> UnreadableFileError:
    """An error of the standard library about an archive, as a sentence for people."""
    detail = " ".join(str(error).split()).strip("'\"")[:200]
    if isinstance(error, NotImplementedError):
        return UnreadableFileError(
            f"The archive is compressed in an unsupported way ({detail}). Compress the file with standard ZIP or gzip."
        )
    if isinstance(error, RuntimeError):
        return UnreadableFileError("The archive is protected with a password. Compress the file without a password.")
    if isinstance(error, EOFError) or "not a zip file" in detail:
        return UnreadableFileError("The file is incomplete: its end is missing. Upload it again.")
    return UnreadableFileError(f"The archive is damaged ({detail}). Compress the file again, then upload it.")


def _only(members: list[zipfile.ZipInfo], names: set[str]) -> zipfile.ZipInfo:
    """The single member of an archive. Raises UnreadableFileError."""
    for part, what in _DOCUMENTS.items():
        if part in names:
            raise UnreadableFileError(f"This is {what}")
    if not members:
        raise UnreadableFileError(f"The archive is empty. {EXPECTED}")
    if len(members) > 1:
        raise UnreadableFileError(_several(members))
    return members[0]


def _several(members: list[zipfile.ZipInfo]) -> str:
    shown = ", ".join(f"“{shortened(info.filename)}”" for info in members[:NAMED_MEMBERS])
    more = f" and {len(members) - NAMED_MEMBERS:,} more" if len(members) > NAMED_MEMBERS else ""
    return f"The archive contains {len(members):,} files: {shown}{more}. Upload each file separately."


def _kind_of_workbook(path: Path, filename: str) -> type[Workbook] | None:
    """How a file from an archive is read if it is a workbook. Raises UnreadableFileError if it is another archive."""
    head = _head(path)
    if head.startswith(OLE) and holds_workbook(path, filename):
        return XlsWorkbook
    if head.startswith(ZIPS):
        with _opened(path) as archive:
            names = {info.filename.lower() for info in archive.members}
            if workbook.MAIN_PART in names:
                return Workbook
            if XLSB_MAIN_PART in names:
                return XlsbWorkbook
            if ods.MAIN_PART in names and _is_spreadsheet(archive):
                return ods.OdsWorkbook
    _check_not_nested(head)
    return None


def _sheets(book: Workbook) -> dict[str, Any]:
    """The worksheets that a workbook can be divided into, if there are several, as parts.Part has them."""
    if not 1 < len(book.parts) <= MAX_PARTS:
        return {}
    found = [
        Part(each.sheet.name, "sheet", rows=each.rows, hidden=each.sheet.hidden, columns=each.columns)
        for each in book.parts
    ]
    return {"parts": [each.as_json() for each in found]}


def _above_header(book: Workbook, wanted: int | None) -> tuple[int, list[str], bool]:
    """The number of the row above the header row, notes about it, and whether there is one. wanted: the chosen row."""
    if wanted:
        row = next(book.rows(above=wanted - 1), None)
        if row is None or row.number != wanted:
            raise MisreadFileError(
                f"Row {wanted:,} of the worksheet “{shortened(book.sheet.name)}” is empty. Choose another header row."
            )
        return wanted - 1, [f"The header row is row {wanted:,}, as chosen."], True
    sample = list(itertools.islice(book.rows(), SAMPLE_RECORDS))
    if not sample:
        others = f" Choose another worksheet: {book.others}." if book.others else ""
        raise MisreadFileError(f"The worksheet “{shortened(book.sheet.name)}” is empty.{others}")
    rows = list(_with_gaps(sample))
    records = [row.cells if row else [] for row in rows]
    header = without_header(records) if wanted == 0 else detect_header(records)
    found = rows[header.position] or sample[0]
    above = [row.cells for row in sample if row.number < found.number]
    notes = [skipped_note(above, found.number - sample[0].number, "row")] if above else []
    return found.number - 1, notes, header.rows > 0


def _with_gaps(rows: list[Row]) -> Iterator[Row | None]:
    """The rows, all as wide as the widest, and None for a gap of empty rows."""
    width = max(len(row.cells) for row in rows)
    last = rows[0].number - 1
    for row in rows:
        if row.number > last + 1:
            yield None
        yield replace(row, cells=row.cells + [""] * (width - len(row.cells)))
        last = row.number


class _SheetTable:
    """The table of a worksheet, written as CSV without blank rows and repeated headers.

    problems: the known problems of its cells. sheet_rows: see line_numbers.SheetRows. blank: how many rows without a
    value were left out between the others.
    """

    def __init__(self, shape: Shape, has_header: bool) -> None:
        self.problems: KnownProblems = {}
        self.sheet_rows: list[tuple[int, int]] = []
        self.blank = 0
        self._shape = shape
        self._has_header = has_header
        self._header: list[str] = []
        self._width = 0
        self._repeated: list[int] = []
        self._count = self._found = 0

    @property
    def warnings(self) -> list[UploadWarning]:
        return [lines_skipped(len(self._repeated), self._repeated[0])] if self._repeated else []

    def write(self, file: BinaryIO, rows: Iterable[Row], check: Callable[[int], None]) -> None:
        """rows: the header row first, if there is one.

        check: called with the bytes written so far: many cells may refer to one long text.
        """
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\r\n")  # with "\n" alone, it does not quote a cell that contains a CR
        last = 0
        for row in rows:
            cells = row.cells[self._shape.first :]
            width = self._width = self._width or max(len(cells), self._shape.width - self._shape.first)
            cells += [""] * (width - len(cells))
            if last and is_blank(cells, width):
                continue
            self.blank += row.number - last - 1 if last else 0
            if not last:
                self._header = cells if self._has_header else []
                self.sheet_rows.append((0, row.number))
            if not last or self._is_row(row, cells):
                writer.writerow(cells)
            last = row.number
            check(file.tell())
        text.detach()

    def _is_row(self, row: Row, cells: list[str]) -> bool:
        """Whether a row is one of the table. Notes what it is."""
        if repeats(cells, self._header):
            self._repeated.append(row.number)
            return False
        self._count += 1
        number, start = self.sheet_rows[-1]
        if row.number - start != self._count - number:
            self.sheet_rows.append((self._count, row.number))
        if row.problems:
            found = sorted(row.problems.items())
            self.problems[self._count] = [(column - self._shape.first, each.reason) for column, each in found]
            self._found += len(found)
            if self._found > MAX_PROBLEMS:
                raise too_many_problems()
        return True
