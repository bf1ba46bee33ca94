"""Reads a worksheet of a binary Excel workbook (.xls, .xlsb) with calamine, as rows of text.

calamine loads worksheets whole, so they are scanned first (xls.py, xlsb.py). One that would take too much memory is
refused: these formats have no other reader.
"""

import mmap
from collections.abc import Callable, Container
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import python_calamine
from python_calamine import SheetTypeEnum, SheetVisibleEnum

from jobs.errors import UnreadableFileError
from jobs.formats.header import SAMPLE_RECORDS, shortened
from jobs.pipeline.biff.compound_file import CompoundFile
from jobs.pipeline.biff.extent import Extent
from jobs.pipeline.biff.xls import STREAMS, XlsContent
from jobs.pipeline.biff.xlsb import XlsbContent
from jobs.pipeline.long_call import run_with_ticks, seconds_for
from jobs.pipeline.workbook import CalamineRows, Tick, Workbook, listed, named, opened, sheet_note
from jobs.pipeline.xlsx.package import Sheet
from jobs.pipeline.xlsx.problem import damaged
from jobs.pipeline.xlsx.row_stream import SheetRow
from jobs.pipeline.xlsx.sheet_choice import SAMPLED_SHEETS, Fits, Sample, chosen_of, has_value, measured
from jobs.warnings import sheets_ignored

T = TypeVar("T")

#: Cells in the rectangle around all cells: calamine takes up to 94 bytes for each, which makes 940 MB. In a .xls, those
#: of all worksheets together, because it loads them all.
MAX_AREA = 10_000_000
#: Bytes that the shared strings of all cells of a worksheet may take: calamine copies a string for each cell.
MAX_TEXTS = 512 << 20
_TOO_LARGE = (
    "The {what} is too large for this format: it spans {area:,} cells, and at most {most:,} can be read. Save it as"
    " .xlsx or CSV, then upload that file."
)


class BinaryWorkbook(Workbook):
    """As Workbook."""

    def __init__(
        self, path: Path, *, sheet: str | None, tick: Tick, header_row: int | None = None, fits: Fits = lambda _: 0
    ) -> None:
        self._tick = tick
        with ExitStack() as stack:
            self._load(path, stack)
            found = self._sheets()
            self.warnings = []
            if sheet is None and len(found) > 1:
                choice = chosen_of([self._sample(each, header_row, fits) for each in found[:SAMPLED_SHEETS]])
                self.sheet = choice.sheet
                self.warnings += [sheets_ignored(choice.ignored, self.sheet.name)] if choice.ignored else []
                self.parts = choice.parts
            else:
                self.sheet = named(found, sheet)
            self.names = [each.name for each in found]
            self.notes = [sheet_note(found, self.sheet)]
            self.others = listed([each for each in found if each is not self.sheet])
            self._source = self._rows_of(self.sheet)
            self._open = stack.pop_all()

    def _load(self, path: Path, stack: ExitStack) -> None:
        """Scan the workbook and open it with calamine."""
        raise NotImplementedError

    def _sheets(self) -> list[Sheet]:
        """The worksheets. Raises UnreadableFileError for a workbook with a macro sheet."""
        metadata = self._book.sheets_metadata
        if len(metadata) != len(self._extents):
            raise damaged(ValueError("worksheets are missing"))
        for each in metadata:
            if each.typ is SheetTypeEnum.MacroSheet:
                raise UnreadableFileError(
                    f"“{shortened(each.name)}” is a macro sheet of Excel 4.0. Delete it, or save the workbook as .xlsx,"
                    " then upload that file."
                )
        return [
            Sheet(each.name, str(place), each.visible is not SheetVisibleEnum.Visible)
            for place, each in enumerate(metadata)
            if each.typ is SheetTypeEnum.WorkSheet
        ]

    def _rows_of(self, sheet: Sheet) -> CalamineRows:
        """Raises UnreadableFileError."""
        extent = self._extents[int(sheet.part)]
        if extent.area > MAX_AREA or extent.texts > MAX_TEXTS:
            what = f"worksheet “{shortened(sheet.name)}”"
            raise UnreadableFileError(_TOO_LARGE.format(what=what, area=extent.area, most=MAX_AREA))
        loaded = self._called(lambda: self._book.get_sheet_by_index(int(sheet.part)))
        return CalamineRows(loaded, extent.problems)

    def _sample(self, sheet: Sheet, header_row: int | None, fits: Fits) -> Sample:
        rows: list[SheetRow] = []
        count = 0
        try:
            for row in self._rows_of(sheet).rows():
                if any(map(has_value, row[1])):
                    count += 1
                    if len(rows) < SAMPLE_RECORDS:
                        rows.append(row)
                if count % 10_000 == 0:
                    self._tick()
        except UnreadableFileError:
            return Sample(sheet, is_readable=False)
        return measured(sheet, rows, count, header_row, fits) if rows else Sample(sheet)

    def _opened(self, path: Path, extents: list[Extent]) -> None:
        self._extents = extents
        self._size = path.stat().st_size
        self._book = self._called(lambda: python_calamine.load_workbook(path))

    def _called(self, work: Callable[[], T]) -> T:
        """The result of a call of calamine. Raises UnreadableFileError."""

        def call() -> T | BaseException:
            try:
                return work()
            except BaseException as error:  # a panic in Rust does not inherit from Exception
                return error

        found = run_with_ticks(call, self._tick, seconds=seconds_for(self._size))
        if isinstance(found, BaseException):
            raise damaged(found) from found
        return found


class XlsWorkbook(BinaryWorkbook):
    """As Workbook."""

    def _load(self, path: Path, stack: ExitStack) -> None:
        content = stack.enter_context(XlsContent(path, self._tick))
        area = sum(extent.area for extent in content.extents)
        if area > MAX_AREA:
            raise UnreadableFileError(_TOO_LARGE.format(what="workbook", area=area, most=MAX_AREA))
        self._opened(content.path, content.extents)


class XlsbWorkbook(BinaryWorkbook):
    """As Workbook."""

    def _load(self, path: Path, stack: ExitStack) -> None:
        content = stack.enter_context(XlsbContent(path, stack.enter_context(opened(path)), self._tick))
        self._opened(content.path, content.extents)


def holds_workbook(path: Path, filename: str) -> bool:
    """Whether an OLE file is a workbook. Raises UnreadableFileError if it is damaged or encrypted."""
    damage: UnreadableFileError | None = None
    try:
        names: Container[str] = CompoundFile(path)
    except UnreadableFileError as error:  # the names of streams, in UTF-16, tell what it was
        damage, names = error, _Named(path)
    if "EncryptedPackage" in names:
        raise UnreadableFileError(
            f"“{filename}” is protected with a password. Save it without a password, then upload it again."
        )
    is_workbook = any(name in names for name in STREAMS)
    if is_workbook and damage is not None:
        raise damage
    return is_workbook


class _Named:
    """The names that a damaged OLE file contains."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, name: object) -> bool:
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(str(name).encode("utf-16-le")) >= 0
