"""Workbooks for tests: of several sheets, and written as XML, which no program writes so."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

import xlsxwriter

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def of_sheets(*names: str) -> bytes:
    """A workbook each of whose worksheets could be the one that is meant."""
    written = io.BytesIO()
    with xlsxwriter.Workbook(written) as book:
        for number, name in enumerate(names, 1):
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, ["part", "amount"])
            for row in range(1, 11):
                sheet.write_row(row, 0, [f"{number}-{row}", row])
    return written.getvalue()


def handmade(folder: Path, rows: str, strings: Iterable[str] = (), properties: str = "", **parts: str | bytes) -> Path:
    """A workbook with one worksheet.

    rows: the XML within <sheetData>. strings: the shared ones. properties: XML before the list of worksheets. parts:
    the content of parts instead, by their name without folder and ending.
    """
    content_of: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}">{properties}<sheets>'
        '<sheet name="June" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="/xl/worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {_MAIN}><sheetData>{rows}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {_MAIN}>{''.join(f'<si><t>{escape(each)}</t></si>' for each in strings)}</sst>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml"'
        ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/sharedStrings.xml"'
        ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>',
    }
    if "styles" in parts:
        content_of["xl/styles.xml"] = ""
    path = folder / "book.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in content_of.items():
            archive.writestr(name, parts.get(Path(name).stem, content))
    return path
