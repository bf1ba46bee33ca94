"""OpenDocument spreadsheets for tests, written as XML."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time
from xml.sax.saxutils import escape, quoteattr

_SAME = ("office", "table", "text", "style")
_SPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {**dict(zip(_SAME, _SAME, strict=True)), "draw": "drawing"}.items()
)
_CALC = 'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
MIME_TYPE = b"application/vnd.oasis.opendocument.spreadsheet"
MANIFEST = b'<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'

Value = str | float | int | bool | date | datetime | time | None


def cell(value: Value) -> str:
    """The XML of a cell, as LibreOffice writes it."""
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, bool):
        attributes = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, int | float):
        attributes = f'office:value-type="float" office:value="{value!r}"'
    elif isinstance(value, date):
        attributes = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, time):
        attributes = f'office:value-type="time" office:time-value="{value:PT%HH%MM%SS}"'
    else:
        attributes = 'office:value-type="string"'
    lines = "".join(f"<text:p>{escape(line)}</text:p>" for line in str(value).split("\n"))
    return f"<table:table-cell {attributes}>{lines}</table:table-cell>"


def row(*values: Value) -> str:
    return f"<table:table-row>{''.join(map(cell, values))}</table:table-row>"


def ods(*tables: str, manifest: bytes = MANIFEST, mime_type: bytes = MIME_TYPE, content: bytes | None = None) -> bytes:
    """tables: the XML of the worksheets, see `table`. content: all of content.xml instead."""
    hidden = (
        '<style:style style:name="hidden" style:family="table"><style:table-properties table:display="false"/>'
        "</style:style>"
    )
    whole = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_SPACES} {_CALC} office:version="1.3">'
        f"<office:automatic-styles>{hidden}</office:automatic-styles><office:body><office:spreadsheet>"
        f"{''.join(tables)}</office:spreadsheet></office:body></office:document-content>"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", mime_type)
        archive.writestr("META-INF/manifest.xml", manifest, zipfile.ZIP_DEFLATED)
        archive.writestr("content.xml", whole.encode() if content is None else content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def table(*rows: str | Sequence[Value], name: str = "June", hidden: bool = False) -> str:
    """The XML of a worksheet. rows: XML, or values."""
    style = ' table:style-name="hidden"' if hidden else ""
    body = "".join(each if isinstance(each, str) else row(*each) for each in rows)
    return f"<table:table table:name={quoteattr(name)}{style}>{body}</table:table>"
