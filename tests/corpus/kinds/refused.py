"""Files that are no table, whatever their name says. The refusal names what they are."""

import io
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

from tests.corpus.case import Case, case, refused
from tests.corpus.kinds.archives import _zip

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
_ODT = {"mimetype": b"application/vnd.oasis.opendocument.text", "META-INF/manifest.xml": b"<m/>"}
_XLSB = {"[Content_Types].xml": b"<t/>", "xl/workbook.bin": b"\x83\x01"}
_DOCX = {"[Content_Types].xml": b"<t/>", "word/document.xml": b"<w/>"}


def cases() -> Iterator[Case]:
    for name, ending, content, phrase in [
        ("PDF", "pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n" * 20, "PDF"),
        ("PDF called CSV", "csv", b"%PDF-1.4\n1 0 obj\n" * 30, "PDF"),
        ("picture called CSV", "csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "PNG"),
        ("web page", "html", b"<!DOCTYPE html>\n<html><body><table><tr><td>1</td></tr></table></body></html>\n", "web"),
        ("web page called XLS", "xls", b"<html xmlns:x='urn:schemas-microsoft-com:excel'><table></table>", "web"),
        ("web page of an error called CSV", "csv", b"\n\n  <html><head><title>Expired</title></head></html>\n", "web"),
        ("XML", "xml", b'<?xml version="1.0" encoding="UTF-8"?>\n<rows><row a="1"/></rows>\n', "XML"),
        ("nested JSON", "json", b'[{"id": 1, "tags": ["a", "b"]}]\n', "“tags” has a list"),
        ("JSON in JSON", "json", b'{"data": {"id": 1}}\n', "“data” has an object"),
        ("JSON that is cut", "jsonl", b'{"id": 1, "name": "Ann"}\n{"id": 2, "na', "incomplete"),
        ("malformed JSON", "json", b"[{\"id\": 1, 'name': 2}]", "malformed"),
        ("JSON of lists", "json", b"[[1, 2], [3, 4]]", "no list of JSON objects"),
        ("XLS that is damaged", "xls", _OLE + "Workbook".encode("utf-16-le") + bytes(2000), "damaged"),
        ("damaged XLS called XLSX", "xlsx", _OLE + "Workbook".encode("utf-16-le") + bytes(2000), "damaged"),
        ("workbook with a password", "xlsx", _OLE + "EncryptedPackage".encode("utf-16-le") + bytes(900), "password"),
        ("old Word document", "doc", _OLE + "WordDocument".encode("utf-16-le") + bytes(900), "Office document"),
        ("ODT", "odt", _zip(_ODT), "OpenDocument"),
        ("XLSB that is damaged", "xlsb", _zip(_XLSB), "damaged"),
        ("Word document", "docx", _zip(_DOCX), "Word"),
        ("Word document called CSV", "csv", _zip(_DOCX), "Word"),
        ("presentation", "pptx", _zip({"[Content_Types].xml": b"<t/>", "ppt/presentation.xml": b"<p/>"}), "PowerPoint"),
        ("Parquet with lists", "parquet", _parquet([[1], [2], [3]]), "“name” has lists"),
        ("Parquet that is cut", "parquet", _parquet(["a", "b", "c"])[:-20], "incomplete"),
        ("Arrow", "arrow", _arrow(), "Arrow"),
        ("SQLite", "db", _sqlite(), "SQLite"),
        ("7-Zip", "7z", b"7z\xbc\xaf'\x1c\0\4" + bytes(200), "7-Zip"),
        ("RAR", "rar", b"Rar!\x1a\x07\x01\0" + bytes(200), "RAR"),
        ("random bytes called CSV", "csv", random.Random(99).randbytes(4000), "binary"),
        ("blank lines", "csv", b"\n\r\n\n\n", ""),
        ("spaces and blank lines", "csv", b"   \n\n \n", ""),
        ("delimiters only", "csv", b",,,\n,,,\n,,,\n", ""),
    ]:  # fmt: skip
        yield case(f"refused/{name}", content, refused(phrase), ending=ending)


def _parquet(names: list[Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"id": [1, 2, 3], "name": names}), file)
    return file.getvalue()


def _arrow() -> bytes:
    file = io.BytesIO()
    feather.write_feather(pa.table({"id": [1, 2, 3]}), file, compression="uncompressed")
    return file.getvalue()


def _sqlite() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    return bytes(connection.serialize())
