"""SheetCopy: a workbook that holds one worksheet and what calamine needs to read it.

calamine reads whatever an archive holds under the names it knows, without limits: ends of streams, other parts, a list
of a million names. It gets a copy in which every byte was looked at.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_SHEET = "xl/worksheets/sheet1.xml"
#: Where calamine looks for them.
_STRINGS, _STYLES = "xl/sharedStrings.xml", "xl/styles.xml"


def _relations(*parts: tuple[str, str]) -> str:
    """parts: the end of the type, and the target, of each."""
    listed = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(parts, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'


class SheetCopy:
    """The copy of a workbook's worksheet, as a context manager, which removes it.

    Its name is that of a part of a prepared table: files.py removes those that a killed process leaves.
    """

    def __init__(self, workbook: Path, *, from_1904: bool) -> None:
        self.path = workbook.with_name(f"{workbook.name}.table-copy.{uuid4().hex}.part")
        self._file = self.path.open("xb")
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        self._part: IO[bytes] | None = None
        self._archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
        self._archive.writestr("_rels/.rels", _relations(("officeDocument", "xl/workbook.xml")))
        self._archive.writestr("xl/_rels/workbook.xml.rels", _relations(("worksheet", "worksheets/sheet1.xml")))
        self._archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><workbookPr date1904="{int(from_1904)}"/>'
            '<sheets><sheet name="Sheet" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        with self._file:
            self.finish()

    def write_sheet(self, piece: bytes) -> None:
        """Write a piece of the worksheet. Call it for all pieces before the other parts are written."""
        if self._part is None:
            self._part = self._archive.open(_SHEET, "w", force_zip64=True)
        self._part.write(piece)

    def write_strings(self, pieces: Iterable[bytes]) -> None:
        self._write(_STRINGS, pieces)

    def write_styles(self, pieces: Iterable[bytes]) -> None:
        self._write(_STYLES, pieces)

    def finish(self) -> None:
        """Call after the last part."""
        self._end_part()
        self._archive.close()

    def _write(self, part: str, pieces: Iterable[bytes]) -> None:
        self._end_part()
        with self._archive.open(part, "w", force_zip64=True) as target:
            for piece in pieces:
                target.write(piece)

    def _end_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
