"""OdsWorkbook: one worksheet of an OpenDocument spreadsheet, read as one of Excel is."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from jobs.errors import UnreadableFileError
from jobs.formats.header import SAMPLE_RECORDS
from jobs.pipeline.archive import ARCHIVE_ERRORS, ZipArchive
from jobs.pipeline.ods.rows import TableHandler, rows_of, runs_of
from jobs.pipeline.workbook import Tick, Workbook, listed, named, opened, sheet_note
from jobs.pipeline.xlsx.package import MAX_NAME, MAX_SHEETS, Sheet
from jobs.pipeline.xlsx.problem import damaged
from jobs.pipeline.xlsx.row_stream import SheetRow
from jobs.pipeline.xlsx.sheet_choice import SAMPLED_SHEETS, Fits, Sample, chosen_of, has_value, measured
from jobs.pipeline.xlsx.xml_part import local, parse
from jobs.warnings import sheets_ignored

#: The member with the tables, and how its document says that it is a spreadsheet.
MAIN_PART = "content.xml"
MIME_TYPE = b"application/vnd.oasis.opendocument.spreadsheet"
#: Bytes of the list of members, which says whether they are encrypted.
_MAX_MANIFEST_BYTES = 4 << 20


class OdsWorkbook(Workbook):
    """As Workbook."""

    def __init__(
        self, path: Path, *, sheet: str | None, tick: Tick, header_row: int | None = None, fits: Fits = lambda _: 0
    ) -> None:
        self._tick = tick
        with ExitStack() as stack:
            archive = _Archive(stack.enter_context(opened(path)), tick)
            archive.check_is_open()
            tables = _Tables.of(archive)
            self.warnings = []
            if sheet is None and len(tables.sheets) > 1:
                choice = chosen_of(tables.samples(archive, header_row, fits)[:SAMPLED_SHEETS])
                self.sheet = choice.sheet
                self.warnings += [sheets_ignored(choice.ignored, self.sheet.name)] if choice.ignored else []
                self.parts = choice.parts
            else:
                self.sheet = named(tables.sheets, sheet)
            #: The names of all worksheets that can be chosen.
            self.names = [each.name for each in tables.sheets]
            self.notes = [sheet_note(tables.sheets, self.sheet)]
            self.others = listed([each for each in tables.sheets if each is not self.sheet])
            self._source = _Table(archive, tables.sheets.index(self.sheet))
            self._open = stack.pop_all()


class _Archive:
    """The members of a document."""

    def __init__(self, archive: ZipArchive, tick: Tick) -> None:
        self._archive = archive
        self._tick = tick
        self._members = {member.filename: member for member in archive.members}

    def check_is_open(self) -> None:
        """Raises UnreadableFileError if the document is encrypted."""
        manifest = b"".join(self.pieces("META-INF/manifest.xml", _MAX_MANIFEST_BYTES))
        if b"encryption-data" in manifest or "encrypted-package" in self._members:
            raise UnreadableFileError(
                "The spreadsheet is protected with a password. Save it without a password, then upload it again."
            )

    def pieces(self, part: str, limit: int | None = None) -> Iterator[bytes]:
        """The content of a member; nothing if it is not there. limit: bytes of it that are read."""
        if part not in self._members:
            return
        pieces, size = self._archive.pieces(self._members[part]), 0
        while limit is None or size < limit:
            try:
                piece = next(pieces, None)
            except ARCHIVE_ERRORS as error:
                raise damaged(error) from error
            if piece is None:
                return
            size += len(piece)
            self._tick()
            yield piece


class _Table:
    """One table of a document."""

    def __init__(self, archive: _Archive, place: int) -> None:
        self._archive = archive
        self._place = place

    def rows(self) -> Iterator[SheetRow]:
        return rows_of(self._archive.pieces(MAIN_PART), self._place)


class _Tables(TableHandler):
    """The tables of a document: their names, whether they are hidden, and how many rows with cells they have."""

    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[Sheet] = []
        self._hidden_styles: set[str] = set()
        self._style = ""

    @classmethod
    def of(cls, archive: _Archive) -> "_Tables":
        found = cls()
        for _ in parse(archive.pieces(MAIN_PART), found):
            pass
        return found

    def element(self, name: str, attributes: dict[str, str]) -> None:
        if name == "style":
            self._style = next((value for key, value in attributes.items() if local(key) == "name"), "")
        elif name == "table-properties" and attributes.get("table:display") == "false":
            self._hidden_styles.add(self._style)

    def table_begins(self, attributes: dict[str, str]) -> None:
        found = {local(name): value for name, value in attributes.items()}
        if len(self.sheets) == MAX_SHEETS:
            raise damaged(ValueError(f"more than {MAX_SHEETS:,} worksheets"))
        name = found.get("name", f"Sheet{self.table + 1}")[:MAX_NAME]
        self.sheets.append(Sheet(name, str(self.table), found.get("style-name") in self._hidden_styles))

    def samples(self, archive: _Archive, header_row: int | None, fits: Fits) -> list[Sample]:
        """The tables by their first rows. All rows are counted."""
        first: list[list[SheetRow]] = [[] for _ in self.sheets]
        counts = [0] * len(self.sheets)
        for run in runs_of(archive.pieces(MAIN_PART)):
            if not any(has_value(value) for _, _, value in run.runs):
                continue
            counts[run.table] += run.times
            rows = first[run.table]
            if (missing := min(run.times, SAMPLE_RECORDS - len(rows))) > 0:
                values = run.values()
                rows += [(run.number + more, values, run.problems) for more in range(missing)]
        return [
            measured(sheet, rows, count, header_row, fits) if rows else Sample(sheet)
            for sheet, rows, count in zip(self.sheets, first, counts, strict=True)
        ]
