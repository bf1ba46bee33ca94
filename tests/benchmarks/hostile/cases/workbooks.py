"""Hostile workbooks: XML that makes parsers slow or large, references that lead nowhere, sizes."""

import random
import struct
from collections.abc import Callable, Iterator
from functools import partial

from tests.benchmarks.hostile.case import MB, Bounds, FileCase
from tests.benchmarks.hostile.packing import (
    HEAD,
    ROWS,
    SHEET_BEGIN,
    SHEET_END,
    Member,
    Packed,
    archive,
    bomb,
    deflate,
    main_part,
    parts,
    relations,
    sheet,
    strings,
    styles,
    zipped,
)

SEED = 9
#: Bytes that a worker may hold for a bomb: a horse with its libraries has about 250 MB.
SMALL = Bounds(worker=900 * MB)
#: Random bytes that make the ratio of an archive an ordinary one.
PADDING_BYTES = 6 * MB


def cases() -> list[FileCase]:
    return [*_cells(), *_places(), *_bombs(), *_entities(), *_structure()]


def _xlsx(name: str, build: Callable[[], dict[str, bytes | Packed]], expanded: int = 0, **more: object) -> FileCase:
    return FileCase(f"xlsx: {name}", lambda: zipped(build()), "hostile.xlsx", expanded=expanded, **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _rows(name: str, rows: Callable[[], bytes], **more: object) -> FileCase:
    """A workbook with two ordinary rows and these."""
    return _xlsx(name, lambda: parts(rows()), **more)  # type: ignore[arg-type]  # the fields of a FileCase


def _cells() -> Iterator[FileCase]:
    """Cells over which a regular expression backtracks."""
    spaces = b" " * (2 * MB)
    yield _rows("a formula and 2 MB of spaces", lambda: b'<row r="3"><c r="A3"><f>1</f>' + spaces + b"<is/></c></row>")
    yield _rows("spaces before a formula", lambda: b'<row r="3"><c r="A3">' + spaces + b"<f>1</f><is/></c></row>")
    yield _rows(
        "spaces after an empty value", lambda: b'<row r="3"><c r="A3"><f>1</f><v></v>' + spaces + b"<x/></c></row>"
    )
    yield _rows("a value in 2 MB of spaces", lambda: b'<row r="3"><c r="A3" t="e">' + spaces + b"<v>#N/A</v></c></row>")
    yield _rows("spaces inside of a tag", lambda: b'<row r="3"><c r="A3"' + spaces + b"><v>1</v></c></row>")
    yield _rows(
        "attributes that repeat", lambda: b'<row r="3"><c ' + b't="e" ' * 200_000 + b'r="A3"><v>1</v></c></row>'
    )
    yield _rows(
        "other attributes by the thousand", lambda: b'<row r="3"><c r="A3" ' + _attributes(50_000) + b"/></row>"
    )
    yield _rows("an attribute of 4 MB", lambda: b'<row r="3" x="' + spaces * 2 + b'"><c r="A3"><v>1</v></c></row>')
    yield _rows("a tag that never ends", lambda: b'<row r="3"><c r="A3" ' + b"x" * (4 * MB))
    yield _rows("tags that never end", lambda: b'<row r="3">' + b"<c " * MB + b"</row>")
    yield _rows("formulas that never end", lambda: b'<row r="3">' + b'<c r="A3"><f>' * 200_000 + b"</row>")
    yield _rows("an error in each of 100,000 cells", lambda: _each(100_000, b'<c r="A%d" t="e"><v>#REF!</v></c>'))
    yield _rows("100,000 formulas without results", lambda: _each(100_000, b'<c r="A%d"><f>1/0</f></c>'))
    yield _rows("elements nested 100,000 deep", lambda: b"<row>" * 100_000)
    yield _rows("a comment of 4 MB", lambda: b"<!--" + b"- " * (2 * MB) + b"-->")
    yield _rows("a comment that never ends", lambda: b"<!--" + b"<c>" * MB)
    yield _rows(
        "CDATA sections by the thousand",
        lambda: b'<row r="3"><c r="A3" t="str"><v>' + b"<![CDATA[x]]>" * 200_000 + b"</v></c></row>",
    )
    yield _rows(
        "prefixes by the thousand",
        lambda: b'<row r="3" ' + b" ".join(b'xmlns:p%d="x"' % n for n in range(50_000)) + b"/>",
    )
    yield _rows("a text of 20 MB in a cell", lambda: _text(b"x" * (20 * MB)))
    yield _rows("a text of escapes", lambda: _text(b"_x0000_&#0;&#xD800;&#x10FFFF;&amp;" * 50_000))
    yield _rows(
        "runs of rich text by the thousand",
        lambda: _cell(b"<is>" + b"<r><rPr><b/></rPr><t>x</t></r>" * 100_000 + b"</is>"),
    )


def _text(text: bytes) -> bytes:
    return _cell(b"<is><t>" + text + b"</t></is>")


def _cell(content: bytes) -> bytes:
    return b'<row r="3"><c r="A3" t="inlineStr">' + content + b"</c></row>"


def _attributes(count: int) -> bytes:
    return b" ".join(b'a%d="x"' % number for number in range(count))


def _each(count: int, cell: bytes) -> bytes:
    """So many rows, from the third on, with a cell that has the number of its row."""
    return b"".join(b'<row r="%d">%s</row>' % (n, cell % n) for n in range(3, count + 3))


def _places() -> Iterator[FileCase]:
    """Places of cells and rows, and references to strings and styles."""

    def cell(name: str, content: bytes, **more: object) -> FileCase:
        return _rows(name, lambda: b'<row r="3">' + content + b"</row>", **more)

    yield cell("A1 and XFD1048576", b'<c r="XFD1048576"><v>1</v></c>')
    yield cell("a place of 5,000 digits", b'<c r="A' + b"1" * 5_000 + b'"><v>1</v></c>')
    yield cell("a place of 5,000 letters", b'<c r="' + b"A" * 5_000 + b'1"><v>1</v></c>')
    yield _rows("a row number of 5,000 digits", lambda: b'<row r="' + b"1" * 5_000 + b'"><c><v>1</v></c></row>')
    yield cell("places that are none", b'<c r="1A"><v>1</v></c><c r=""><v>1</v></c><c r="A0"><v>1</v></c><c r="A-1"/>')
    yield cell("the same place 100,000 times", b'<c r="A3"><v>1</v></c>' * 100_000)
    yield _rows(
        "rows in descending order",
        lambda: b"".join(b'<row r="%d"><c r="A%d"><v>1</v></c></row>' % (n, n) for n in range(50_000, 2, -1)),
    )
    yield _rows("the same row 50,000 times", lambda: b'<row r="3"><c r="A3"><v>1</v></c></row>' * 50_000)
    yield _rows(
        "rows 20 apart",
        lambda: b"".join(b'<row r="%d"><c r="A%d"><v>1</v></c></row>' % (n, n) for n in range(20, MB, 20)),
    )
    yield _rows("cells far apart in each row", lambda: _each(20_000, b'<c r="XFD%d"><v>1</v></c>'))
    yield _rows(
        "a million empty cells",
        lambda: b"".join(b'<row r="%d">%s</row>' % (n, b"<c/>" * 1_000) for n in range(3, 1_003)),
    )
    yield _rows("a million empty rows", lambda: b"<row/>" * MB)
    yield cell("kinds of cells that are none", b'<c r="A3" t="x"><v>1</v></c><c r="B3" t=""><v>1</v></c>')
    yield cell("booleans and errors that are none", b'<c r="A3" t="b"><v>7</v></c><c r="B3" t="e"><v>#HUH</v></c>')
    yield cell("numbers that are none", b"<c><v>1e400</v></c><c><v>NaN</v></c><c><v>" + b"9" * 100_000 + b"</v></c>")
    yield _xlsx(
        "strings out of range",
        lambda: parts(_strings_at(7, 99, 2**31, 2**64, 10**99), strings=strings(b"<si><t>x</t></si>")),
    )
    yield _xlsx(
        "negative strings", lambda: parts(_strings_at(-1, -(2**31), -(10**99)), strings=strings(b"<si><t>x</t></si>"))
    )
    yield _xlsx("strings without a table", lambda: parts(_strings_at(0, 1, 2)))
    yield _xlsx(
        "dates out of range", lambda: parts(_styled(b"1e15", b"-1", b"2958466", b"0", b"60", b"1e308"), styles=_DATES)
    )
    yield _xlsx(
        "styles out of range",
        lambda: parts(b'<row r="3"><c r="A3" s="99999999999"><v>1</v></c><c r="B3" s="-1"/></row>', styles=_DATES),
    )
    yield _xlsx("a format of a megabyte", lambda: parts(_styled(b"1"), styles=_format(b"y" * MB)))
    yield _xlsx("a format of brackets and quotes", lambda: parts(_styled(b"1"), styles=_format(b"[&quot;\\" * 300_000)))
    yield _xlsx("100,000 merged cells", lambda: parts() | {"xl/worksheets/sheet1.xml": _merged(100_000)}, 3 * MB)


_XF = b'<cellXfs count="2"><xf/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs>'
_DATES = styles(_XF)


def _format(code: bytes) -> bytes:
    return styles(b'<numFmts><numFmt numFmtId="14" formatCode="' + code + b'"/></numFmts>' + _XF)


def _styled(*values: bytes) -> bytes:
    return b"".join(b'<row r="%d"><c r="B%d" s="1"><v>%s</v></c></row>' % (n, n, v) for n, v in enumerate(values, 3))


def _strings_at(*indexes: int) -> bytes:
    return b"".join(b'<row r="%d"><c r="A%d" t="s"><v>%d</v></c></row>' % (n, n, i) for n, i in enumerate(indexes, 3))


def _merged(count: int) -> bytes:
    cells = b"".join(b'<mergeCell ref="A1:XFD1048576"/>' for _ in range(count))
    return SHEET_BEGIN + ROWS + b"</sheetData><mergeCells>" + cells + b"</mergeCells></worksheet>"


def _bombs() -> Iterator[FileCase]:
    """Parts that expand to far more than they are. Padded ones have an ordinary ratio over the whole archive."""

    def bomb_in(part: str, what: Packed, *, padded: bool, claims: int | None = None) -> bytes:
        members = [
            Member(name.encode(), content if isinstance(content, Packed) else deflate(content))
            for name, content in (parts(strings=b"", styles=b"") | {part: what}).items()
        ]
        members = [
            Member(each.name, each.packed, claims=claims) if each.name == part.encode() else each for each in members
        ]
        padding = Member(b"xl/media/image1.png", _stored(random.Random(SEED).randbytes(PADDING_BYTES)), method=0)
        return archive([*members, padding] if padded else members)

    def case(name: str, part: str, what: Callable[[], Packed], expanded: int, **how: object) -> FileCase:
        build = lambda: bomb_in(part, what(), padded=bool(how.get("padded")), claims=how.get("claims"))  # type: ignore[arg-type]  # noqa: E731  # short
        return FileCase(f"xlsx: {name}", build, "hostile.xlsx", expanded=expanded, bounds=SMALL)

    gigabyte, most = 1 << 30, 1_000 << 20
    zeros = lambda: bomb((b"\0", gigabyte))  # noqa: E731  # used twice
    yield case("workbook.xml of a gigabyte of zeros", "xl/workbook.xml", zeros, gigabyte)
    yield case(
        "workbook.xml of 1 GB of spaces, padded",
        "xl/workbook.xml",
        lambda: bomb((main_part(), 1), (b" ", most)),
        most,
        padded=True,
    )
    yield case(
        "workbook.xml of 1 GB in a comment, padded",
        "xl/workbook.xml",
        lambda: bomb((HEAD + b"<!--", 1), (b"x", most), (b"-->" + main_part()[len(HEAD) :], 1)),
        most,
        padded=True,
    )
    yield case(
        "workbook.xml that claims 300 bytes",
        "xl/workbook.xml",
        lambda: bomb((main_part(), 1), (b" ", most)),
        most,
        claims=300,
    )
    yield case(
        "strings of 1 GB, padded",
        "xl/sharedStrings.xml",
        lambda: _packed_strings(b"<si><t>x</t></si>", most),
        most,
        padded=True,
    )
    yield case(
        "one string of 1 GB, padded",
        "xl/sharedStrings.xml",
        lambda: bomb((strings(b"")[:-6] + b"<si><t>", 1), (b"x", most), (b"</t></si></sst>", 1)),
        most,
        padded=True,
    )
    yield case(
        "strings that claim 300 bytes",
        "xl/sharedStrings.xml",
        lambda: _packed_strings(b"<si><t>x</t></si>", most),
        most,
        claims=300,
    )
    yield case(
        "styles of 1 GB, padded",
        "xl/styles.xml",
        lambda: bomb((styles(b"<cellXfs>")[:-13], 1), (b"<xf/>", most // 5), (b"</cellXfs></styleSheet>", 1)),
        most,
        padded=True,
    )
    yield case(
        "relations of 1 GB, padded",
        "xl/_rels/workbook.xml.rels",
        lambda: bomb(
            (relations()[:-16], 1),
            (b'<Relationship Id="a" Type="b" Target="c"/>', most // 42),
            (b"</Relationships>", 1),
        ),
        most,
        padded=True,
    )
    yield case(
        "content types of 1 GB, padded",
        "[Content_Types].xml",
        lambda: bomb((HEAD + b"<Types>", 1), (b"<Default/>", most // 10), (b"</Types>", 1)),
        most,
        padded=True,
    )
    yield case(
        "a sheet of 1 GB of spaces, padded",
        "xl/worksheets/sheet1.xml",
        lambda: bomb((SHEET_BEGIN + ROWS, 1), (b" ", most), (SHEET_END, 1)),
        most,
        padded=True,
    )
    yield case(
        "a sheet of 1 GB of one value, padded",
        "xl/worksheets/sheet1.xml",
        lambda: bomb(
            (SHEET_BEGIN + ROWS + b'<row r="3"><c r="A3"><v>', 1), (b"1", most), (b"</v></c></row>" + SHEET_END, 1)
        ),
        most,
        padded=True,
    )
    yield case(
        "a sheet of 100 MB of empty rows, padded",
        "xl/worksheets/sheet1.xml",
        lambda: bomb((SHEET_BEGIN + ROWS, 1), (b"<row/>", 17 * MB), (SHEET_END, 1)),
        102 * MB,
        padded=True,
    )
    yield case(
        "a sheet of 5 million cells, padded",
        "xl/worksheets/sheet1.xml",
        lambda: bomb(
            (SHEET_BEGIN + ROWS, 1), (b"<row><c><v>1</v></c><c><v>2</v></c></row>", 2_500_000), (SHEET_END, 1)
        ),
        110 * MB,
        padded=True,
    )
    yield case("an unknown part of 1 GB, padded", "xl/hostile.xml", zeros, gigabyte, padded=True)


def _stored(content: bytes) -> Packed:
    return Packed(content, len(content), deflate(content).crc)


def _packed_strings(unit: bytes, size: int) -> Packed:
    return bomb((strings(b"")[:-6], 1), (unit, size // len(unit)), (b"</sst>", 1))


def _entities() -> Iterator[FileCase]:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    laughs = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lol}]>'.encode()
    quadratic = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 100_000 + b'">]>'
    external = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    remote = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'
    parameter = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'
    loop = b'<!DOCTYPE x [<!ENTITY a "&b;"><!ENTITY b "&a;">]>'
    for where, part in [
        ("the main part", "xl/workbook.xml"),
        ("a sheet", "xl/worksheets/sheet1.xml"),
        ("strings", "xl/sharedStrings.xml"),
    ]:
        for what, kind, use in [
            ("a billion laughs", laughs, b"&l9;"),
            ("quadratic entities", quadratic, b"&a;" * 20_000),
            ("an external entity", external, b"&e;"),
        ]:
            yield _xlsx(f"{what} in {where}", partial(_with_entity, part, kind, use), bounds=SMALL)
    yield _xlsx("an external DTD", lambda: _with_entity("xl/workbook.xml", remote, b""))
    yield _xlsx("an external parameter entity", lambda: _with_entity("xl/workbook.xml", parameter, b""))
    yield _xlsx("entities in a loop", lambda: _with_entity("xl/worksheets/sheet1.xml", loop, b"&a;"))


def _with_entity(part: str, doctype: bytes, use: bytes) -> dict[str, bytes | Packed]:
    """A workbook one part of which declares and uses an entity."""
    found = parts(_text(use) + _strings_at(0), strings=strings(b"<si><t>" + use + b"</t></si>"))
    if part == "xl/workbook.xml":
        found[part] = main_part('<sheet name="' + use.decode() + '" sheetId="1" r:id="r1"/>')
    content = found[part]
    assert isinstance(content, bytes)
    return found | {part: content.replace(HEAD, HEAD + doctype)}


def _structure() -> Iterator[FileCase]:
    """Parts that are missing, that are somewhere else, that are not what they are said to be."""

    def changed(name: str, change: Callable[[], dict[str, bytes | Packed]], *without: str) -> FileCase:
        return _xlsx(name, lambda: {key: value for key, value in (parts() | change()).items() if key not in without})

    yield _xlsx("100,000 sheets", lambda: parts() | {"xl/workbook.xml": main_part(_sheets(100_000))}, 6 * MB)
    yield _xlsx("5,000 sheets with parts of their own", lambda: _many_sheets(5_000), 5 * MB)
    yield _xlsx(
        "100,000 cell styles",
        lambda: parts(_styled(b"1"), styles=styles(b"<cellXfs>" + b'<xf numFmtId="14"/>' * 100_000 + b"</cellXfs>")),
    )
    yield _xlsx(
        "100,000 formats",
        lambda: parts(
            _styled(b"1"),
            styles=styles(
                b"<numFmts>"
                + b"".join(b'<numFmt numFmtId="%d" formatCode="yyyy"/>' % n for n in range(100_000))
                + b"</numFmts>"
                + _XF
            ),
        ),
    )
    yield _xlsx(
        "100,000 defined names",
        lambda: (
            parts()
            | {
                "xl/workbook.xml": main_part(
                    more="<definedNames>" + '<definedName name="x">x!$A$1</definedName>' * 100_000 + "</definedNames>"
                )
            }
        ),
    )
    for part in ("[Content_Types].xml", "_rels/.rels", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml"):
        yield changed(f"without {part}", dict, part)
    yield changed(
        "the main part alone",
        dict,
        "[Content_Types].xml",
        "_rels/.rels",
        "xl/_rels/workbook.xml.rels",
        "xl/worksheets/sheet1.xml",
    )
    yield changed("an empty main part", lambda: {"xl/workbook.xml": b""})
    yield changed("a main part that is text", lambda: {"xl/workbook.xml": b"hello"})
    yield changed("an empty sheet part", lambda: {"xl/worksheets/sheet1.xml": b""})
    yield changed(
        "a sheet of random bytes", lambda: {"xl/worksheets/sheet1.xml": random.Random(SEED).randbytes(100_000)}
    )
    yield changed(
        "a sheet cut off in the middle",
        lambda: {"xl/worksheets/sheet1.xml": sheet(_each(1_000, b'<c r="A%d"/>'))[:20_000]},
    )
    yield changed(
        "parts in UTF-16", lambda: {"xl/worksheets/sheet1.xml": _utf16(sheet()), "xl/workbook.xml": _utf16(main_part())}
    )
    yield changed(
        "a sheet in an encoding that is none",
        lambda: {"xl/worksheets/sheet1.xml": sheet().replace(b"UTF-8", b"x-none")},
    )
    yield changed("a sheet in UTF-7", lambda: {"xl/worksheets/sheet1.xml": sheet().replace(b"UTF-8", b"UTF-7")})
    yield changed(
        "content types that are wrong",
        lambda: {
            "[Content_Types].xml": HEAD
            + b'<Types><Override PartName="/xl/workbook.xml" ContentType="image/png"/></Types>'
        },
    )
    for what, target in [
        ("to the workbook itself", "workbook.xml"),
        ("to its relations", "_rels/workbook.xml.rels"),
        ("out of the archive", "../../../../etc/passwd"),
        ("to an absolute path", "/etc/passwd"),
        ("to a file", "file:///etc/passwd"),
        ("to the web", "http://127.0.0.1:9/sheet.xml"),
        ("to nothing", ""),
        ("of 100 kB", "x/" * 50_000),
    ]:
        yield changed(f"a relation {what}", partial(_related, target))
    yield changed(
        "an external relation",
        lambda: {"xl/_rels/workbook.xml.rels": relations(("r1", "worksheet", "http://127.0.0.1:9/"), mode="External")},
    )
    yield changed(
        "names that lead out of the archive",
        lambda: {
            "../../../../tmp/hostile": b"x",
            "/tmp/hostile": b"x",
            "xl/../xl/workbook.xml": main_part(),
            "C:\\x": b"x",
        },
    )
    yield changed("a macro", lambda: {"xl/vbaProject.bin": random.Random(SEED).randbytes(10_000)})
    yield changed(
        "a sheet name of markup",
        lambda: {"xl/workbook.xml": main_part('<sheet name="&lt;script&gt;=1+1&#x202e;" sheetId="1" r:id="r1"/>')},
    )
    yield changed(
        "a sheet name of 1 MB",
        lambda: {"xl/workbook.xml": main_part(f'<sheet name="{"x" * MB}" sheetId="1" r:id="r1"/>')},
    )
    yield FileCase("xlsx: an encrypted workbook", _encrypted, "hostile.xlsx")
    yield FileCase(
        "xlsx: each part twice",
        lambda: archive([Member(n.encode(), deflate(_bytes(c))) for n, c in parts().items()] * 2),
        "hostile.xlsx",
    )
    yield FileCase(
        "xlsx: a sheet chosen that does not exist",
        lambda: zipped(parts()),
        "hostile.xlsx",
        fields={"sheet": "x" * 5_000},
    )


def _related(target: str) -> dict[str, bytes | Packed]:
    """The relations of a workbook, whose sheet is there."""
    return {"xl/_rels/workbook.xml.rels": relations(("r1", "worksheet", target))}


def _bytes(content: bytes | Packed) -> bytes:
    assert isinstance(content, bytes)
    return content


def _utf16(content: bytes) -> bytes:
    return content.decode().replace("UTF-8", "UTF-16").encode("utf-16")


def _sheets(count: int) -> str:
    return "".join(f'<sheet name="s{n}" sheetId="{n}" r:id="r1"/>' for n in range(1, count + 1))


def _many_sheets(count: int) -> dict[str, bytes | Packed]:
    numbers = range(1, count + 1)
    found = parts() | {f"xl/worksheets/sheet{n}.xml": sheet() for n in numbers}
    found["xl/workbook.xml"] = main_part("".join(f'<sheet name="s{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers))
    targets = [(f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
    return found | {"xl/_rels/workbook.xml.rels": relations(*targets)}


def _encrypted() -> bytes:
    """The beginning of a compound file with the stream of an encrypted package."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 478
    return header + "EncryptedPackage".encode("utf-16-le") + random.Random(SEED).randbytes(50_000)
