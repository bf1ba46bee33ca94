"""Makes archives byte by byte, so that they may lie; and workbooks of them."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
ENCRYPTED = 1
#: Bytes that are compressed at once for a bomb; the result is repeated.
UNIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Packed:
    """Compressed bytes, and what they expand to."""

    content: bytes
    size: int
    crc: int


def deflate(content: bytes) -> Packed:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return Packed(compressor.compress(content) + compressor.flush(), len(content), zlib.crc32(content))


def bomb(*parts: tuple[bytes, int]) -> Packed:
    """Units, each as often as it says, without ever holding what they expand to."""
    content, size, crc = [], 0, 0
    for unit, count in parts:
        piece_of = max(1, min(count, UNIT_BYTES // len(unit)))
        whole, rest = divmod(count, piece_of)
        for piece, times in ((unit * piece_of, whole), (unit * rest, 1 if rest else 0)):
            compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
            content.append((compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)) * times)
            crc = _crc_of_repeated(piece, times, crc)
            size += len(piece) * times
    return Packed(b"".join(content) + b"\x03\x00", size, crc)


def _crc_of_repeated(piece: bytes, times: int, crc: int) -> int:
    """The checksum of a content that has this one, followed by the piece so often.

    A checksum is linear in the one before it, so a matrix of bits stands for the piece, and doubling it for twice the
    piece: a gigabyte costs some thirty steps.
    """
    constant = zlib.crc32(piece)
    matrix = [zlib.crc32(piece, 1 << bit) ^ constant for bit in range(32)]
    while times:
        if times & 1:
            crc = _product(matrix, crc) ^ constant
        constant = _product(matrix, constant) ^ constant
        matrix = [_product(matrix, column) for column in matrix]
        times >>= 1
    return crc


def _product(matrix: list[int], vector: int) -> int:
    found = 0
    for bit in range(32):
        if vector >> bit & 1:
            found ^= matrix[bit]
    return found


@dataclass(frozen=True)
class Member:
    """A member of an archive. claims: the size that its headers have instead of the true one."""

    name: bytes
    packed: Packed
    method: int = DEFLATED
    flags: int = 0
    claims: int | None = None

    def header(self, *, central: bool, offset: int = 0) -> bytes:
        size = self.packed.size if self.claims is None else self.claims
        fields = (self.flags, self.method, 0, 0x21, self.packed.crc, len(self.packed.content), size & 0xFFFFFFFF)
        if not central:
            return struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *fields, len(self.name), 0) + self.name
        tail = struct.pack("<5H2L", len(self.name), 0, 0, 0, 0, 0, offset)
        return struct.pack("<4s6H3L", b"PK\x01\x02", 20, 20, *fields) + tail + self.name


def archive(members: Iterable[Member], *, claims: int | None = None, comment: bytes = b"") -> bytes:
    """An archive. claims: the number of members that its end tells of."""
    body, directory, count = bytearray(), bytearray(), 0
    for member in members:
        directory += member.header(central=True, offset=len(body))
        body += member.header(central=False) + member.packed.content
        count += 1
    return bytes(body + directory + end(len(directory), len(body), count if claims is None else claims, comment))


def end(size: int, offset: int, count: int, comment: bytes = b"") -> bytes:
    """The end of an archive whose directory has so many bytes and begins there."""
    count = min(count, 0xFFFF)
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, offset, len(comment)) + comment


def zipped(members: Mapping[str, bytes | Packed]) -> bytes:
    """An ordinary archive."""
    return archive(
        Member(name.encode(), content if isinstance(content, Packed) else deflate(content))
        for name, content in members.items()
    )


def gzipped(packed: Packed, *, flags: int = 0, extra: bytes = b"", size: int | None = None) -> bytes:
    """A member of a gzip file. extra: what its flags announce."""
    tail = struct.pack("<2L", packed.crc, (packed.size if size is None else size) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\x03" + extra + packed.content + tail


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
HEAD = b'<?xml version="1.0" encoding="UTF-8"?>'

#: A sheet with a header and two rows, without its end.
ROWS = (
    b'<row r="1"><c r="A1" t="inlineStr"><is><t>name</t></is></c><c r="B1" t="inlineStr"><is><t>size</t></is></c></row>'
    b'<row r="2"><c r="A2" t="inlineStr"><is><t>tools</t></is></c><c r="B2"><v>1</v></c></row>'
)
SHEET_BEGIN = HEAD + f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode()
SHEET_END = b"</sheetData></worksheet>"


def sheet(rows: bytes = b"", *, first: bytes = ROWS) -> bytes:
    """A worksheet with the two ordinary rows and these."""
    return SHEET_BEGIN + first + rows + SHEET_END


def strings(content: bytes) -> bytes:
    return HEAD + f'<sst xmlns="{_MAIN}">'.encode() + content + b"</sst>"


def styles(content: bytes) -> bytes:
    return HEAD + f'<styleSheet xmlns="{_MAIN}">'.encode() + content + b"</styleSheet>"


def relations(*targets: tuple[str, str, str], mode: str = "") -> bytes:
    """id, kind and target of each."""
    more = f' TargetMode="{mode}"' if mode else ""
    found = "".join(
        f'<Relationship Id="{id_}" Type="{_RELATIONS}/{kind}" Target="{target}"{more}/>'
        for id_, kind, target in targets
    )
    return HEAD + f'<Relationships xmlns="{_PACKAGE}/relationships">{found}</Relationships>'.encode()


def main_part(sheets: str = '<sheet name="one" sheetId="1" r:id="r1"/>', more: str = "") -> bytes:
    opening = f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">'
    return HEAD + f"{opening}{more}<sheets>{sheets}</sheets></workbook>".encode()


def parts(rows: bytes | Packed = b"", **more: bytes) -> dict[str, bytes | Packed]:
    """The parts of a workbook. rows: further ones of its sheet, or the packed sheet. more: `strings`, `styles`."""
    kinds = {"strings": "sharedStrings", "styles": "styles"}
    targets = [("r1", "worksheet", "worksheets/sheet1.xml")]
    targets += [(kinds[name], kinds[name], f"{kinds[name]}.xml") for name in more]
    override = "".join(
        f'<Override PartName="/xl/{path}" ContentType="{_KIND}.{kind}+xml"/>'
        for path, kind in [("workbook.xml", "sheet.main"), ("worksheets/sheet1.xml", "worksheet")]
    )
    return {
        "[Content_Types].xml": HEAD
        + f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="application/'
        f'vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        f"{override}</Types>".encode(),
        "_rels/.rels": relations(("r1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": main_part(),
        "xl/_rels/workbook.xml.rels": relations(*targets),
        "xl/worksheets/sheet1.xml": rows if isinstance(rows, Packed) else sheet(rows),
        **{f"xl/{kinds[name]}.xml": content for name, content in more.items()},
    }
