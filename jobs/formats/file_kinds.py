"""What a file that is not a table is, judged by its first bytes. No I/O."""

import re

#: Bytes at the beginning of a file that tell its kind.
HEAD_BYTES = 1024

EXPECTED = (
    "Upload a table: a CSV file or a list of JSON objects (either also as .gz, .bz2, .xz, .zst or .zip), a Parquet"
    " file, an Excel workbook (.xlsx, .xlsb, .xls) or an OpenDocument spreadsheet (.ods)."
)
_EXPORT = "Export it as CSV, then upload that file."

ZIPS, OLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\xd0\xcf\x11\xe0"
#: How a file begins that is compressed by itself; pipeline/archive.py unpacks it. A stream of bzip2 may be empty, and
#: frames of Zstandard may be there to be skipped.
_PACKINGS = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "Zstandard": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}
#: First bytes of files that are not tables, what these are, and what to do.
_SIGNATURES = (
    (b"%PDF", "a PDF document", EXPECTED),
    (OLE, "an old Excel or Word document", EXPECTED),
    (b"\x89PNG", "a PNG image", EXPECTED),
    (b"\xff\xd8\xff", "a JPEG image", EXPECTED),
    (b"GIF8", "a GIF image", EXPECTED),
    (b"SQLite format 3\0", "an SQLite database", EXPECTED),
    (b"ARROW1\0", "an Arrow or Feather file", EXPECTED),
    (b"FEA1", "a Feather file", EXPECTED),
    (b"ORC\x0a", "an ORC file", EXPECTED),
    (b"Obj\x01", "an Avro file", EXPECTED),
    (b"$FL2@(#)", "an SPSS file (.sav)", _EXPORT),
    (b"$FL3@(#)", "an SPSS file (.zsav)", _EXPORT),
    (b"<stata_dta>", "a Stata file (.dta)", _EXPORT),
    (b"HEADER RECORD*******LIBRARY", "a SAS transport file (.xpt)", _EXPORT),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", "a SAS file (.sas7bdat)", _EXPORT),
    (b"\x89HDF\r\n", "an HDF5 file", _EXPORT),
    (b"RDX2\n", "an R workspace", _EXPORT),
    (b"RDX3\n", "an R workspace", _EXPORT),
    (b"X\n\0\0\0", "an R data file (.rds)", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"\0\1\0\0Standard ", "an Access database", _EXPORT),
    (b"{\\rtf", "a text document (RTF)", EXPECTED),
    (b"-- MySQL dump", "an SQL script", _EXPORT),
    (b"--\n-- PostgreSQL database dump", "an SQL script", _EXPORT),
)
ARCHIVES = (
    *((signature, "a ZIP archive or a workbook") for signature in ZIPS),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a", "a RAR archive"),
)
#: Versions 5 to 12 of Stata: the version, the byte order, the kind of file and a zero.
_STATA = re.compile(rb"[\x69\x6c-\x73][\x01\x02]\x01\x00")
_MARKUP = re.compile(
    rb"<!--|<(?:!doctype|\?xml|html|head|body|table|meta|svg|script|style|div|rss|feed|kml|gpx)\b", re.IGNORECASE
)
#: What spreadsheet programs and web applications call .xls although it is not: the XML of Excel 2003, a saved web page.
_SPREADSHEET_XML = re.compile(rb"""<\?xml\b.*?(?:progid\s*=\s*["']Excel\.Sheet|<(?:\w+:)?Workbook[\s>])""", re.DOTALL)
_WEB_ARCHIVE = re.compile(rb"MIME-Version:[^\n]*\n(?:[^\n]*\n){0,8}?Content-Type:\s*multipart/related", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"<(?:!doctype html|html|head|body|table|meta|style)\b", re.IGNORECASE)
_SAVE = "Open it in Excel or LibreOffice, save it as .xlsx or CSV, then upload that file."
#: An object, or an array of objects or of arrays.
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*(?:"|\})|\[\s*[\[{])')
#: Any array. A header of CSV may begin like one, so the name of the file decides.
_ARRAY, _NAMED_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*\["), re.compile(r"\.json(?:\.\w+)?$", re.IGNORECASE)
#: Behind the signature is the length of an encrypted page, in four bytes.
_ENCRYPTED_PARQUET = re.compile(rb"PAR[1E][\s\S]{0,3}\0")
_OPEN_DOCUMENT = re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis\.opendocument\.(?!spreadsheet)", re.DOTALL)


def other_kind(head: bytes) -> str | None:
    """A sentence that says what a file is, if it is certainly not a table. None: it may be one. head: its beginning."""
    if _OPEN_DOCUMENT.match(head):
        return f"This is an OpenDocument file, but no spreadsheet. {EXPECTED}"
    for signature, what, advice in _SIGNATURES:
        if head.startswith(signature):
            return f"This looks like {what}, not a table. {advice}"
    for signature, what in ARCHIVES:
        if head.startswith(signature):
            return f"This looks like {what}, not a table. {EXPECTED}"
    if (packing := packing_of(head)) is not None:
        return f"This looks like {'an' if packing == 'xz' else 'a'} {packing} archive, not a table. {EXPECTED}"
    if _STATA.match(head):
        return f"This looks like a Stata file (.dta), not a table. {_EXPORT}"
    beginning = head[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    if _SPREADSHEET_XML.match(beginning):
        return f"This is a workbook in the XML format of Excel 2003. {_SAVE}"
    if _WEB_ARCHIVE.match(beginning) or (_MARKUP.match(beginning) and _WEB_PAGE.search(beginning)):
        what = "This looks like a web page or an XML document, not a table."
        return f"{what} If a program exported it as .xls: {_SAVE}"
    if _MARKUP.match(beginning):
        return f"This looks like a web page or an XML document, not a table. {EXPECTED}"
    return None


def packing_of(head: bytes) -> str | None:
    """How a file is compressed by itself: "gzip", "bzip2", "xz" or "Zstandard"; None if it is not."""
    return next((name for name, beginning in _PACKINGS.items() if beginning.match(head)), None)


def is_parquet(head: bytes) -> bool:
    """head: the beginning of a file. Behind the signature is a page, or the description of a file without one."""
    return head.startswith(b"PAR1\x15") or _ENCRYPTED_PARQUET.match(head) is not None


def is_json(head: bytes, name: str = "") -> bool:
    """Whether a file is JSON with objects, or an array of something else that is called so; it may yet be malformed.
    head: its beginning."""
    return _JSON.match(head) is not None or (_ARRAY.match(head) is not None and _NAMED_JSON.search(name) is not None)


def is_container(head: bytes) -> bool:
    """Whether a file is binary and its content tells what it is: an archive, a workbook, a Parquet file."""
    is_packed = head.startswith((*ZIPS, OLE)) or packing_of(head) is not None or is_parquet(head)
    return is_packed and not _OPEN_DOCUMENT.match(head)


def is_text(head: bytes) -> bool:
    """Whether a file seems to be text: it has no control characters, or is UTF-16."""
    controls = len(head) - len(head.translate(None, bytes({*range(32)} - {*b"\t\n\v\f\r"})))
    return controls * 50 <= len(head) or head[0::2].count(0) * 4 > len(head) or head[1::2].count(0) * 4 > len(head)
