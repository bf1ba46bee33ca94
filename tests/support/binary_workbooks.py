"""Binary Excel workbooks for tests: .xls by xlwt, .xlsb record by record, because no package writes it."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import xlwt

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_EPOCH = datetime(1899, 12, 30)
#: The styles of dates, moments, times of day and durations: numbers of formats that every workbook has.
_FORMATS = {date: 14, datetime: 22, time: 21, timedelta: 46}
_FORMAT_CODES = {date: "yyyy-mm-dd", datetime: "yyyy-mm-dd hh:mm", time: "hh:mm:ss", timedelta: "[h]:mm:ss"}


class Error(str):
    """A cell whose formula failed, as Excel shows it."""


_ERRORS = {"#DIV/0!": 0x07, "#REF!": 0x17, "#N/A": 0x2A}
#: Rows of values by the name of their worksheet. None is an empty cell.
Sheets = Mapping[str, Sequence[Sequence[Any]]]


def xls(
    sheets: Sheets, hidden: Sequence[str] = (), merged: Mapping[str, tuple[int, int, int, int]] | None = None
) -> bytes:
    """merged: of a worksheet, the first and last row and column, from 0."""
    book = xlwt.Workbook()
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        sheet.visibility = int(name in hidden)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, Error):
                    sheet.row(number).set_cell_error(column, _ERRORS[value])
                elif isinstance(value, timedelta):
                    sheet.write(number, column, value / timedelta(days=1), _xls_style(value))
                elif value is not None:
                    sheet.write(number, column, value, _xls_style(value))
        if merged and name in merged:
            sheet.merge(*merged[name])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _xls_style(value: Any) -> Any:
    code = _FORMAT_CODES.get(type(value))
    return xlwt.easyxf(num_format_str=code) if code else xlwt.Style.default_style


def xlsb(sheets: Sheets, hidden: Sequence[str] = (), **parts: bytes) -> bytes:
    """parts: the content of parts instead, by their name without folder and ending."""
    strings: dict[str, int] = {}
    names = list(sheets)
    contents = {f"xl/worksheets/sheet{n}.bin": _sheet(sheets[name], strings) for n, name in enumerate(names, 1)}
    bundle = [
        _record(156, struct.pack("<II", int(name in hidden), n) + _wide(f"rId{n}") + _wide(name))
        for n, name in enumerate(names, 1)
    ]
    main = _record(131) + _record(143) + b"".join(bundle) + _record(144) + _record(132)
    kinds = [("worksheet", f"worksheets/sheet{n}.bin") for n in range(1, len(names) + 1)]
    kinds += [("sharedStrings", "sharedStrings.bin"), ("styles", "styles.bin")]
    contents |= {
        "xl/workbook.bin": main,
        "xl/_rels/workbook.bin.rels": _relations(kinds),
        "xl/sharedStrings.bin": _record(159, struct.pack("<II", len(strings), len(strings)))
        + b"".join(_record(19, b"\0" + _wide(text)) for text in strings)
        + _record(160),
        "xl/styles.bin": _styles(),
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.bin")]),
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>'.encode(),
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, parts.get(name.rsplit("/", 1)[-1].partition(".")[0], content))
    return written.getvalue()


def _relations(kinds: Sequence[tuple[str, str]]) -> bytes:
    listed = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(kinds, 1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'.encode()


def _styles() -> bytes:
    formats = [0, *_FORMATS.values()]
    used = b"".join(_record(47, struct.pack("<HHHHHBBHH", 0, number, 0, 0, 0, 0, 0, 0, 0)) for number in formats)
    return _record(278) + _record(617, struct.pack("<I", len(formats))) + used + _record(618) + _record(279)


def _sheet(rows: Sequence[Sequence[Any]], strings: dict[str, int]) -> bytes:
    width = max(map(len, rows), default=1)
    content = [_record(129), _record(148, struct.pack("<IIII", 0, max(0, len(rows) - 1), 0, max(0, width - 1)))]
    content.append(_record(145))
    for number, row in enumerate(rows):
        content.append(_record(0, struct.pack("<I", number) + bytes(13)))
        content += [_cell(column, value, strings) for column, value in enumerate(row) if value is not None]
    return b"".join([*content, _record(146), _record(130)])


def _cell(column: int, value: Any, strings: dict[str, int]) -> bytes:
    style = 1 + list(_FORMATS).index(type(value)) if type(value) in _FORMATS else 0
    place = struct.pack("<II", column, style)
    if isinstance(value, Error):
        return _record(3, place + bytes([_ERRORS[value]]))
    if isinstance(value, bool):
        return _record(4, place + bytes([value]))
    if isinstance(value, str):
        return _record(7, place + struct.pack("<I", strings.setdefault(value, len(strings))))
    return _record(5, place + struct.pack("<d", _number(value)))


def _number(value: Any) -> float:
    if isinstance(value, datetime):
        return (value - _EPOCH) / timedelta(days=1)
    if isinstance(value, date):
        return float((datetime.combine(value, time()) - _EPOCH).days)
    if isinstance(value, time):
        return (datetime.combine(_EPOCH, value) - _EPOCH) / timedelta(days=1)
    return value / timedelta(days=1) if isinstance(value, timedelta) else float(value)


def _wide(text: str) -> bytes:
    encoded = text.encode("utf-16-le")
    return struct.pack("<I", len(encoded) // 2) + encoded


def _record(kind: int, content: bytes = b"") -> bytes:
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    length, size = b"", len(content)
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return head + length + content
