"""Mutants of ordinary files and forms, the same ones for the same seed."""

import gzip
import io
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.benchmarks.hostile.normal import normal_file
from tests.benchmarks.hostile.packing import parts, strings, styles, zipped

#: Bytes of the longest mutant, and how often a range may be repeated.
LONGEST, MOST_REPEATS = 3_000_000, 20_000
#: Changes of one mutant, at most.
CHANGES = 6

#: What means something to a reader of each kind, separated by "~".
TOKENS: dict[str, list[bytes]] = {
    kind: tokens.split(b"~")
    for kind, tokens in {
        "csv": b'"~""~,~;~\t~|~\n~\r~\r\n~\0~","~"\n"~\xef\xbb\xbf~\xff\xfe~\'~\\~=~1e400~0000-00-00~%(x)s~\xc3~ ~-'
        b"~\xed\xa0\x80~\xe2\x80\xa8~" + b"9" * 400,
        "xml": b'<~>~/>~</c>~<c>~<c r="A1">~<row>~</row>~<v>~</v>~<f>~</f>~<is>~<t>~&~&amp;~&#0;~&x;~<!--~-->~]]>~<?x?>'
        b'~<![CDATA[~<!DOCTYPE x>~ t="e"~ t="s"~ r="XFD1048576"~\0~\xff\xfe~"~\'~-1~1e400~ xmlns="x"~'
        b' r="A' + b"9" * 40 + b'"~' + b" " * 1_000,
        "zip": b"PK\x03\x04~PK\x01\x02~PK\x05\x06~PK\x06\x06~PK\x06\x07~\xff\xff\xff\xff~\0\0\0\0~\x0c\0~\x0e\0",
        "gzip": b"\x1f\x8b\x08\0~\x1f\x8b\x08\x1f~\x03\x00~\xff\xff~\0~" + gzip.compress(b"", mtime=0),
        "form": b"\r\n~--~--x~--x--~\r\n--x\r\n~\r\n--x--\r\n~: ~\"~;~filename=~name=~\0~\\~\n~\xff~filename*=utf-8''x"
        b"~Content-Disposition: form-data; ~Content-Type: multipart/mixed; boundary=y~" + b"=" * 99,
    }.items()
}

#: Values of attributes, texts, and elements without others of their kind inside. The end of an element is searched
#: nearby only: thousands of elements without an end took two minutes.
_VALUE, _TEXT = re.compile(rb'="([^"<]*)"'), re.compile(rb">([^<>]+)<")
_ELEMENT = re.compile(rb"<(row|c|is|si|xf|sheet|v|f|t)\b[^<>]*(?:/>|>.{0,500}?</\1>)", re.DOTALL)
#: What a value or a text may become.
_WILD_VALUES = [
    b"",
    b"0",
    b"-1",
    b"9" * 30,
    b"1e400",
    b"NaN",
    b"XFD1048576",
    b"A0",
    b"s",
    b"e",
    b"str",
    b" " * 5_000,
    b"&#x9;",
]
_WILD_VALUES += [b"../x.xml", b"http://127.0.0.1:9/", b"x" * 5_000, b"true", b"#REF!", b"2026-01-01", b"_x0000_"]

#: The boundary of forms, and a header with it.
BOUNDARY, FORM = b"x", "multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Mutant:
    """kind: of the file that was changed. content_type: of a form; empty: the content is a file."""

    name: str
    kind: str
    content: bytes
    filename: str
    content_type: str = ""


class Mutator:
    """Makes one mutant after the other."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bases: list[tuple[str, str, bytes]] = _bases()

    def mutant(self, number: int) -> Mutant:
        """The mutant of this number."""
        numbers = random.Random(f"{self._seed}-{number}")
        kind, filename, content = numbers.choice(self._bases)
        content_type = FORM if kind == "form" else ""
        if kind == "xlsx":
            content = _with_parts_changed(content, numbers)
        elif kind in ("zip", "gzip") and numbers.random() < 0.5:
            content = _repacked(kind, content, numbers)
        else:
            content = changed(content, TOKENS[kind], numbers)
        if kind == "form" and numbers.random() < 0.2:
            content_type = changed(FORM.encode(), TOKENS["form"], numbers, most=40).decode("latin-1")
            content_type = re.sub(r"[\r\n\0]", "", content_type)
        return Mutant(f"{self._seed}-{number}-{kind}", kind, content, filename, content_type)


def changed(content: bytes, tokens: list[bytes], numbers: random.Random, most: int = LONGEST) -> bytes:
    """The content after some changes, at most so many bytes."""
    changes: list[Callable[[bytes, list[bytes], random.Random], bytes]] = [
        _flip,
        _cut_off,
        _remove,
        _repeat,
        _insert,
        _insert,
        _swap,
    ]
    for _ in range(numbers.randint(1, CHANGES)):
        content = numbers.choice(changes)(content, tokens, numbers)[:most]
    return content


def _range(content: bytes, numbers: random.Random) -> tuple[int, int]:
    """A part of the content, short ones being as likely as long ones."""
    begin = numbers.randint(0, len(content))
    length = int(2 ** numbers.uniform(0, max(1, len(content).bit_length())))
    return begin, min(len(content), begin + length)


def _flip(content: bytes, _tokens: list[bytes], numbers: random.Random) -> bytes:
    if not content:
        return content
    found = bytearray(content)
    for _ in range(numbers.randint(1, 8)):
        found[numbers.randrange(len(found))] ^= 1 << numbers.randrange(8)
    return bytes(found)


def _cut_off(content: bytes, _tokens: list[bytes], numbers: random.Random) -> bytes:
    return content[: numbers.randint(1, max(1, len(content)))]


def _remove(content: bytes, _tokens: list[bytes], numbers: random.Random) -> bytes:
    begin, end = _range(content, numbers)
    return content[:begin] + content[end:]


def _repeat(content: bytes, _tokens: list[bytes], numbers: random.Random) -> bytes:
    begin, end = _range(content, numbers)
    times = int(2 ** numbers.uniform(1, MOST_REPEATS.bit_length()))
    times = min(times, LONGEST // max(1, end - begin))
    return content[:begin] + content[begin:end] * times + content[end:]


def _insert(content: bytes, tokens: list[bytes], numbers: random.Random) -> bytes:
    place, token = numbers.randint(0, len(content)), numbers.choice(tokens)
    times = numbers.choice([1, 1, 1, 2, 3, 50, 1_000])
    return content[:place] + token * times + content[place:]


def _swap(content: bytes, _tokens: list[bytes], numbers: random.Random) -> bytes:
    """Copy a part over another place."""
    begin, end = _range(content, numbers)
    place = numbers.randint(0, len(content))
    return content[:place] + content[begin:end] + content[place + end - begin :]


def _with_parts_changed(content: bytes, numbers: random.Random) -> bytes:
    """A workbook whose XML is changed inside; some lose a part, some are changed as an archive too."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    well_formed = numbers.random() < 0.6
    for name in numbers.choices([sheet, sheet, sheet, *found], k=numbers.randint(1, 2)):
        change = _still_well_formed if well_formed else partial(changed, tokens=TOKENS["xml"])
        found[name] = change(found[name], numbers=numbers)
    if numbers.random() < 0.1:
        del found[numbers.choice(list(found))]
    content = zipped(found)
    return changed(content, TOKENS["zip"], numbers) if numbers.random() < 0.1 else content


def _still_well_formed(content: bytes, numbers: random.Random) -> bytes:
    """XML in which values, texts and elements are others, but which a parser reads to its end."""
    for _ in range(numbers.randint(1, CHANGES)):
        found = list(numbers.choice([_VALUE, _VALUE, _TEXT, _ELEMENT]).finditer(content))
        if not found:
            continue
        match = numbers.choice(found)
        if match.re is _ELEMENT:
            times = min(int(2 ** numbers.uniform(0, MOST_REPEATS.bit_length())), LONGEST // len(match[0]))
            new = match[0] * numbers.choice([0, 2, times])
        else:
            values = [other[1] for other in found] + _WILD_VALUES
            new = match[0].replace(match[1], numbers.choice(values)) if match[1] else match[0]
        content = content[: match.start()] + new + content[match.end() :]
    return content[:LONGEST]


def _repacked(kind: str, content: bytes, numbers: random.Random) -> bytes:
    """An archive with a changed table inside."""
    table = changed(normal_file(20).encode(), TOKENS["csv"], numbers)
    if kind == "zip":
        return zipped({"table.csv": table})
    packed = gzip.compress(table, mtime=0)
    return packed if numbers.random() < 0.5 else packed[:-8] + zlib.crc32(table).to_bytes(4, "little") + b"\xff" * 4


def _bases() -> list[tuple[str, str, bytes]]:
    """Kind, name and content of what is changed."""
    table = normal_file(30)
    wide = "\n".join([",".join(f"c{n}" for n in range(60)), *[",".join(["7"] * 60)] * 5])
    tables = [
        table,
        table.replace(",", ";"),
        table.replace("\n", "\r\n"),
        wide,
        normal_file(2_000),
        'a,b\n5","6\n7,8\n',
    ]
    rows = (
        b'<row r="3"><c r="A3" t="s"><v>0</v></c><c r="B3" s="1"><v>4.5</v></c><c r="C3" t="e"><v>#REF!</v></c></row>'
    )
    rows += (
        b'<row r="4"><c r="A4" t="str"><f>A3</f><v>x</v></c><c r="B4"><f>1+1</f></c><c r="C4" t="b"><v>1</v></c></row>'
    )
    text = strings(b"<si><t>one</t></si><si><r><t>two</t></r></si>")
    dates = styles(b'<cellXfs count="2"><xf/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs>')
    book = zipped(parts(rows, strings=text, styles=dates))
    form = b'--x\r\nContent-Disposition: form-data; name="dataset"\r\n\r\nfuzz\r\n'
    form += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
    form += table.encode() + b"\r\n--x--\r\n"
    return [
        *(("csv", "fuzz.csv", each.encode()) for each in tables),
        ("csv", "fuzz.csv", ("\ufeff" + table).encode("utf-16-le")),
        *[("xlsx", "fuzz.xlsx", book)] * 6,
        *[("zip", "fuzz.zip", zipped({"table.csv": table.encode()}))] * 2,
        *[("gzip", "fuzz.csv.gz", gzip.compress(table.encode(), mtime=0))] * 2,
        *[("form", "fuzz.csv", form)] * 4,
    ]
