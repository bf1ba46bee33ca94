"""Preparing uploaded files of any kind as UTF-8 text."""

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import os
import random
import sys
import tarfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import openpyxl
import pytest

from jobs import warnings
from jobs.errors import UnreadableFileError
from jobs.import_options import ImportOptions
from jobs.pipeline import encoding, reader, source
from jobs.pipeline.source import Limits, TextFile, check_is_text, prepare
from tests.support.files import nothing, zipped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TABLE = b"name,city\nM\xc3\xbcller,K\xc3\xb6ln\n"
WESTERN = TABLE.decode().encode("cp1252")


def prepared(
    folder: Path,
    content: bytes,
    options: ImportOptions | None = None,
    *,
    limits: Limits | None = None,
    name: str = "june.csv",
) -> TextFile:
    path = folder / "upload"
    path.write_bytes(content)
    return prepare(path, name, options or ImportOptions(), limits=limits or Limits(), tick=nothing)


def refusal(folder: Path, content: bytes, options: ImportOptions | None = None, **more: Any) -> str:
    """The refusal of a file, which must leave no other files."""
    with pytest.raises(UnreadableFileError) as caught:
        prepared(folder, content, options, **more)
    assert os.listdir(folder) == ["upload"]
    return str(caught.value)


def workbook(rows: list[list[Any]], **more: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.worksheets[0].title = "June"
    for sheet, content in [(book.worksheets[0], rows), *((book.create_sheet(name), more[name]) for name in more)]:
        for row in content:
            sheet.append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def table(result: TextFile) -> list[list[str]]:
    with result.path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# Text


def test_utf8_is_read_in_place(tmp_path: Path) -> None:
    notes, found = ["Read as UTF-8."], {"encoding": "utf-8"}
    expected = TextFile(tmp_path / "upload", notes, detected=found, is_valid=True, likely_delimiter=",")
    assert prepared(tmp_path, TABLE) == expected
    assert os.listdir(tmp_path) == ["upload"]


def test_the_reader_gets_a_utf8_byte_order_mark(tmp_path: Path) -> None:
    result = prepared(tmp_path, b"\xef\xbb\xbf" + TABLE)

    assert result.path == tmp_path / "upload"
    assert result.notes == ["Read as UTF-8, according to its byte order mark."]


@pytest.mark.parametrize("codec", ["cp1252", "utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_transcoded_into_a_spool(tmp_path: Path, codec: str) -> None:
    result = prepared(tmp_path, TABLE.decode().encode(codec))

    assert result.path == tmp_path / "upload.table"
    assert result.path.read_bytes() == TABLE
    assert sorted(os.listdir(tmp_path)) == ["upload", "upload.table", "upload.table.json"]


def test_chosen_import_options_are_used_and_passed_on(tmp_path: Path) -> None:
    options = ImportOptions(encoding="windows-1250", delimiter=";", header_row=3)

    result = prepared(tmp_path, "a;b\nŁódź;1\n".encode("cp1250"), options)

    assert result.path.read_text(encoding="utf-8") == "a;b\nŁódź;1\n"
    assert (result.delimiter, result.header_row) == (";", 3)
    assert result.notes == ["Read as Windows-1250, as chosen."]


def test_chosen_utf8_is_read_in_place(tmp_path: Path) -> None:
    result = prepared(tmp_path, WESTERN, ImportOptions(encoding="utf8"))

    notes, found = ["Read as UTF-8, as chosen."], {"encoding": "utf-8"}
    assert result == TextFile(tmp_path / "upload", notes, detected=found, likely_delimiter=",")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "The file is empty"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><html>", "a web page or an XML document"),
        (b"<table><tr><td>1</td></tr></table>", "a web page or an XML document"),
        (random.Random(1).randbytes(4096), "a binary file"),
    ],
)
def test_the_refusal_names_the_kind_of_file(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in refusal(tmp_path, content)


@pytest.mark.parametrize("content", [b"PK,name\n1,x\n", b"PAR1,a\n", b"BZh,b\n1,2\n", b"Rar!,c\n"])
def test_a_header_may_begin_like_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    assert prepared(tmp_path, content).path == tmp_path / "upload"
    check_is_text(content)


# Archives


def test_a_gzip_with_any_name_is_unpacked(tmp_path: Path) -> None:
    result = prepared(tmp_path, gzip.compress(TABLE), name="june.csv")

    assert result.path.read_bytes() == TABLE
    assert result.notes == ["Unpacked from gzip.", "Read as UTF-8."]


@pytest.mark.parametrize(
    ("packing", "content"),
    [("bzip2", bz2.compress(WESTERN)), ("xz", lzma.compress(WESTERN)), ("Zstandard", zstd.compress(WESTERN))],
)
def test_a_file_that_is_compressed_otherwise_is_unpacked_and_transcoded(
    tmp_path: Path, packing: str, content: bytes
) -> None:
    result = prepared(tmp_path, content, name="june.csv")

    assert result.path.read_bytes() == TABLE
    assert result.notes[0] == f"Unpacked from {packing}."


def test_all_members_of_a_gzip_are_unpacked(tmp_path: Path) -> None:
    assert prepared(tmp_path, gzip.compress(TABLE) + gzip.compress(b"a,b\n")).path.read_bytes() == TABLE + b"a,b\n"


@pytest.mark.parametrize("codec", ["utf-8", "cp1252", "utf-16"])
def test_the_single_file_in_a_zip_is_unpacked_and_transcoded(tmp_path: Path, codec: str) -> None:
    members = {
        "in/": b"",
        "in/june.csv": TABLE.decode().encode(codec),
        "__MACOSX/in/._june.csv": b"x",
        ".DS_Store": b"x",
    }

    result = prepared(tmp_path, zipped(**members))

    assert result.path.read_bytes() == TABLE
    assert result.notes[0] == "Unpacked “in/june.csv” from a ZIP archive."
    assert sorted(os.listdir(tmp_path)) == ["upload", "upload.table", "upload.table.json"]


def test_the_refusal_names_several_files_in_a_zip(tmp_path: Path) -> None:
    expected = "The archive contains 2 files: “june.csv”, “july.csv”. Upload each file separately."

    assert expected == refusal(tmp_path, zipped(**{"june.csv": TABLE, "july.csv": TABLE}))


def test_an_empty_zip_and_an_empty_file_in_one_are_refused(tmp_path: Path) -> None:
    assert "The archive is empty." in refusal(tmp_path, zipped())
    assert "The file is empty." in refusal(tmp_path, zipped(**{"june.csv": b""}))
    assert "The file is empty." in refusal(tmp_path, gzip.compress(b""))


@pytest.mark.parametrize("inside", ["gzip", "zip", "tar", "workbook"])
def test_an_archive_in_an_archive_is_refused(tmp_path: Path, inside: str) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("june.csv"))
    inner = {
        "gzip": gzip.compress(TABLE),
        "zip": zipped(a=TABLE),
        "tar": tar.getvalue(),
        "workbook": workbook([["a"], [1]]),
    }[inside]

    for content in (
        gzip.compress(inner),
        zstd.compress(inner),
        *([] if inside == "workbook" else [zipped(inner=inner)]),
    ):
        assert "The archive contains another archive or a workbook." in refusal(tmp_path, content)


def test_a_workbook_in_a_zip_archive_is_read(tmp_path: Path) -> None:
    result = prepared(tmp_path, zipped(**{"june.xlsx": workbook([["a", "b"], [1, 2]])}))

    assert table(result) == [["a", "b"], ["1", "2"]]
    assert result.notes[:2] == ["Unpacked “june.xlsx” from a ZIP archive.", "Read the worksheet “June”."]


def encrypted() -> bytes:
    """A ZIP whose member is marked as encrypted."""
    content = bytearray(zipped(a=TABLE))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def packed_oddly() -> bytes:
    """A ZIP whose member is compressed with Deflate64, as Windows does for large files."""
    content = bytearray(zipped(a=TABLE))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9
    return bytes(content)


def damaged(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(TABLE * 100)[:-20], "The file is incomplete: its end is missing."),
        (gzip.compress(TABLE)[:-1], "The file is incomplete: its end is missing."),
        (zstd.compress(TABLE)[:-5], "The file is incomplete: its end is missing."),
        (bz2.compress(TABLE) + b"rubbish", "The archive is damaged (Not a bzip2 file (b'ru'))."),
        (damaged(lzma.compress(TABLE), -30), "The archive is damaged ("),
        (
            lzma.compress(TABLE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}]),
            "The archive is compressed in an unsupported way (it needs too much memory).",
        ),
        (gzip.compress(TABLE) + b"rubbish", "The archive is damaged (Not a gzipped file (b'ru'))."),
        (damaged(gzip.compress(TABLE), -5), "The archive is damaged (CRC check failed"),
        (damaged(gzip.compress(os.urandom(5_000)), 14), "The archive is damaged (Error -3"),
        (zipped(a=TABLE)[:-30], "The file is incomplete: its end is missing."),
        (damaged(zipped(a=TABLE), 33), "The archive is damaged ("),
        (damaged(zipped(a=TABLE), 30), "The archive is damaged (“a” has another name in its header"),
        (encrypted(), "The archive is protected with a password."),
        (packed_oddly(), "The archive is compressed in an unsupported way"),
    ],
)
def test_the_refusal_of_an_archive_says_what_is_wrong(tmp_path: Path, content: bytes, sentence: str) -> None:
    assert sentence in refusal(tmp_path, content)


def test_an_archive_that_expands_too_far_for_its_size_is_refused(tmp_path: Path) -> None:
    bomb = b"a,b\n" * 3_000_000

    for content in (gzip.compress(bomb), bz2.compress(bomb), lzma.compress(bomb), zstd.compress(bomb), zipped(a=bomb)):
        sentence = refusal(tmp_path, content)

        assert "expands to more than 200 times its size" in sentence
        assert "BULK_UPLOAD_MAX_EXPANSION_RATIO" in sentence
        assert prepared(tmp_path, content, limits=Limits(ratio=100_000)).path.stat().st_size == len(bomb)
        for name in ("upload.table", "upload.table.json"):
            (tmp_path / name).unlink()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_method_of_compression_writes_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    file, written = io.BytesIO(), 0
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("june.csv", b"a,b\n" + b"x" * 20_000_000)

    class Counting(source._Part):
        def __exit__(self, *_: object) -> None:
            nonlocal written
            written = self.file.tell()
            super().__exit__()

    monkeypatch.setattr(source, "_Part", Counting)

    assert "expands to more than 200 times its size" in refusal(tmp_path, file.getvalue())
    assert written <= source.SMALL_BYTES


def test_an_archive_that_expands_to_nothing_ticks(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(gzip.compress(b"") * 20_000)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    with pytest.raises(UnreadableFileError, match="The file is empty"):
        prepare(tmp_path / "upload", "june.csv", ImportOptions(), limits=Limits(), tick=tick)
    assert ticks > 20


def test_a_small_archive_may_expand_to_any_ratio(tmp_path: Path) -> None:
    content = b"a,b\n" * 200_000

    assert prepared(tmp_path, gzip.compress(content)).path.read_bytes() == content


def test_an_archive_that_expands_beyond_the_total_limit_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, gzip.compress(TABLE * 10), limits=Limits(total=100))

    assert "expands to more than 100 bytes" in sentence
    assert "BULK_UPLOAD_MAX_EXPANDED_BYTES" in sentence


def test_a_workbook_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    assert "The workbook expands to more than 1,000 bytes" in refusal(
        tmp_path, workbook([["a"]]), limits=Limits(total=1_000)
    )


# JSON


OBJECTS = b'{"id": 1, "price": 1.10, "name": "007"}\n{"id": null}\n{"id": 2, "sold": true, "day": "2026-01-31"}\n'


@pytest.mark.parametrize(
    "content",
    [OBJECTS, gzip.compress(OBJECTS), zipped(**{"june.jsonl": OBJECTS}), b"[" + OBJECTS.replace(b"\n{", b",{") + b"]"],
)
def test_json_becomes_a_table_that_knows_its_types(tmp_path: Path, content: bytes) -> None:
    result = prepared(tmp_path, content)

    assert table(result) == [
        ["id", "price", "name", "sold", "day"], ["1", "1.10", "007", "", ""], ["2", "", "", "true", "2026-01-31"],
    ]  # fmt: skip
    assert result.hints == [
        {"among": ["integer", "number"]}, {"among": ["integer", "number"]}, {"among": ["iso"]}, {"among": ["boolean"]},
        {"among": ["iso"]},
    ]  # fmt: skip
    assert (result.sheet_rows, result.blank, result.header_row) == ([(0, 0), (2, 3)], 1, 1)
    assert "Read as JSON" in result.notes[-1]
    assert prepared(tmp_path, content) == result  # from its spool


def test_a_field_may_first_appear_after_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FIRST_OBJECTS", 2)
    text = '{"a": 1}\n' * 5 + '{"b": "x"}\n{"a": 2, "c": true}\n'

    result = prepared(tmp_path, text.encode())

    assert table(result) == [["a", "b", "c"], *[["1", "", ""]] * 5, ["", "x", ""], ["2", "", "true"]]
    assert result.hints == [{"among": ["integer", "number"]}, {"among": ["iso"]}, {"among": ["boolean"]}]


def test_the_first_objects_may_have_no_field(tmp_path: Path) -> None:
    assert table(prepared(tmp_path, b"{}" * 2_000 + b'{"a": 1}')) == [["a"], *[[""]] * 2_000, ["1"]]


def test_json_without_a_field_is_refused(tmp_path: Path) -> None:
    assert "no JSON object with a field" in refusal(tmp_path, b"{}\n{}\n")
    assert "no JSON object with a field" in refusal(tmp_path, b"[{}]")
    assert "no JSON object with a field" in refusal(tmp_path, b"\xef\xbb\xbf[ ]\n", name="june.json")


def test_an_array_of_values_is_refused_if_the_file_is_called_json(tmp_path: Path) -> None:
    for content, name in ((b"[1, 2]", "june.json"), (gzip.compress(b'["a", "b"]'), "JUNE.JSON.gz")):
        assert refusal(tmp_path, content, name=name).startswith("The file is no list of JSON objects")
    assert table(prepared(tmp_path, b"[1],[2]\n3,4\n")) == [["[1]", "[2]"], ["3", "4"]]


def test_json_whose_table_is_far_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    wide = json.dumps({f"f{n}": n for n in range(1_000)}) + '\n{"f1":1}' * 100_000

    assert "The file expands to more than 20 times its size" in refusal(
        tmp_path, wide.encode(), limits=Limits(ratio=20)
    )


# Workbooks


def test_a_workbook_becomes_a_table(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["name", "since", "amount", "note"],
        ["Müller, Ann", date(2026, 1, 31), 1.5, 'said "x"'],
        ["Bob", None, 2],
    ]

    result = prepared(tmp_path, workbook([*rows, [], ["", None]]), name="june.xlsx")

    assert table(result) == [
        ["name", "since", "amount", "note"],
        ["Müller, Ann", "2026-01-31", "1.5", 'said "x"'],
        ["Bob", "", "2", ""],
    ]
    assert result == TextFile(
        tmp_path / "upload.table",
        ["Read the worksheet “June”."],
        delimiter=",",
        sheet_rows=[(0, 1)],
        begins_with_table=True,
        separated_by="",
        detected={"sheet": "June", "sheets": ["June"]},
    )


def test_line_ends_within_a_cell_are_quoted(tmp_path: Path) -> None:
    result = prepared(tmp_path, workbook([["a"], ["x\ny"], ["1\t2"]]))

    assert result.path.read_bytes() == b'a\r\n"x\ny"\r\n1\t2\r\n'


def test_error_cells_are_problems_of_their_rows_in_the_table(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["Report"],
        [],
        [None, "name", "amount"],
        [None, "Ann", 1],
        [],
        [None, "#REF!", "=1+1"],
        [None, "Bob", "#N/A"],
    ]

    result = prepared(tmp_path, workbook(rows))

    assert table(result) == [["name", "amount"], ["Ann", "1"], ["#REF!", "=1+1"], ["Bob", "#N/A"]]
    assert result.notes[1] == "Skipped 2 rows above the header: “Report”."
    assert list(result.problems) == [2, 3]
    assert result.problems[3] == [(1, "is an error in the workbook (#N/A, cell C7)")]
    assert [(place, reason[:28]) for place, reason in result.problems[2]] == [
        (0, "is an error in the workbook "),
        (1, "is a formula without a store"),
    ]


def test_a_worksheet_and_its_header_row_may_be_chosen(tmp_path: Path) -> None:
    content = workbook([["a"]], July=[["x", "y"], ["name", "city"], ["Ann", "Rome"]])

    result = prepared(tmp_path, content, ImportOptions(sheet="July", header_row=2))

    assert table(result) == [["name", "city"], ["Ann", "Rome"]]
    assert result.notes == ["Read the worksheet “July”, and not “June”.", "The header row is row 2, as chosen."]


def test_an_empty_row_cannot_be_the_header_row(tmp_path: Path) -> None:
    content = workbook([["a"], [], ["b"]])

    assert (
        refusal(tmp_path, content, ImportOptions(header_row=2))
        == "Row 2 of the worksheet “June” is empty. Choose another header row."
    )
    assert (
        refusal(tmp_path, content, ImportOptions(header_row=4))
        == "Row 4 of the worksheet “June” is empty. Choose another header row."
    )


def test_the_refusal_of_an_empty_worksheet_names_the_others(tmp_path: Path) -> None:
    expected = "The worksheet “June” is empty. Choose another worksheet: “July”."

    assert expected == refusal(tmp_path, workbook([], July=[["a"]]), ImportOptions(sheet="June"))


def test_an_empty_worksheet_is_passed_over(tmp_path: Path) -> None:
    assert table(prepared(tmp_path, workbook([], July=[["a"], [1]]))) == [["a"], ["1"]]


def test_the_warning_names_other_worksheets_with_data_unless_one_was_named(tmp_path: Path) -> None:
    content = workbook([["a", "b"], [1, 2], [3, 4]], July=[["c"], [1]], August=[])

    assert prepared(tmp_path, content).warnings == [warnings.sheets_ignored({"July": 1}, "June")]
    assert prepared(tmp_path, content, ImportOptions(sheet="June")).warnings == []


def test_rows_without_values_and_repeated_headers_are_left_out_of_a_worksheets_table(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["Report"],
        [],
        ["id", "name"],
        [1, "x"],
        [" ", "\n"],
        [],
        [],
        ["id", "name "],
        [2, "#N/A"],
        [3, "y"],
        [],
        [4, "z"],
        [" ", None],
        [],
    ]
    result = prepared(tmp_path, workbook(rows))
    read = reader.inspect(result)
    (chunk,) = reader.chunks(read, start=read.first_byte, row=1, chunk_bytes=4096)

    assert table(result) == [["id", "name"], ["1", "x"], ["2", "#N/A"], ["3", "y"], ["4", "z"]]
    assert (result.blank, result.warnings) == (4, [warnings.lines_skipped(1, 8)])
    assert list(result.problems) == [2]
    assert chunk.lines.of(range(1, 5)) == [4, 9, 10, 12]
    assert [row.row_number for row in chunk.failed] == [2]


def test_rows_of_odd_lengths_keep_their_cells(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["a", "b"], *([1, 2] for _ in range(200)), [1], [1, 2, None, 4]]

    result = table(prepared(tmp_path, workbook(rows)))

    assert result[-2:] == [["1", ""], ["1", "2", "", "4"]]


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        ("EncryptedPackage", "“june.xlsx” is protected with a password."),
        ("Workbook", "The workbook is damaged or incomplete"),
        ("WordDocument", "“june.xlsx” is an old Office document"),
    ],
)
def test_kinds_of_ole_files_are_distinguished(tmp_path: Path, stream: str, sentence: str) -> None:
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000) + stream.encode("utf-16-le") + bytes(100)

    assert sentence in refusal(tmp_path, content, name="june.xlsx")


@pytest.mark.parametrize(
    ("part", "what"),
    [("word/document.xml", "a Word document"), ("META-INF/manifest.xml", "OpenDocument")],
)
def test_the_refusal_names_other_kinds_of_documents(tmp_path: Path, part: str, what: str) -> None:
    assert what in refusal(tmp_path, zipped(**{part: b"x", "[Content_Types].xml": b"x"}))


def test_an_incomplete_workbook_is_refused(tmp_path: Path) -> None:
    assert "incomplete" in refusal(tmp_path, workbook([["a"], [1]])[:-100])


# The spool


def test_a_spool_is_made_once_for_each_set_of_import_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = workbook([["a", "b"], ["#N/A", 1]], July=[["c"], [1]])
    first = prepared(tmp_path, content)
    july = prepared(tmp_path, content, ImportOptions(sheet="July"))
    monkeypatch.setattr(source, "_Preparation", None)

    assert first == prepared(tmp_path, content)
    assert july == prepared(tmp_path, content, ImportOptions(sheet="July"))
    assert first.path != july.path
    assert list(first.problems) == [1]


@pytest.mark.parametrize(
    "harm", ["no table", "short table", "no description", "damaged description", "old description"]
)
def test_an_incomplete_spool_is_made_again(tmp_path: Path, harm: str) -> None:
    expected = prepared(tmp_path, WESTERN)
    about = tmp_path / "upload.table.json"
    description = json.loads(about.read_bytes())
    match harm:
        case "no table":
            expected.path.unlink()
        case "short table":
            expected.path.write_bytes(TABLE[:-1])
        case "no description":
            about.unlink()
        case "damaged description":
            about.write_bytes(b'{"version": 1')
        case "old description":
            description["version"] = source.SPOOL_VERSION - 1
            about.write_text(json.dumps(description))

    assert expected == prepared(tmp_path, WESTERN)
    assert expected.path.read_bytes() == TABLE


@pytest.mark.parametrize("kind", ["western", "gzip", "zip", "zip of western", "workbook"])
def test_stopping_at_any_progress_callback_leaves_no_incomplete_spool(tmp_path: Path, kind: str) -> None:
    content = {
        "western": WESTERN,
        "gzip": gzip.compress(TABLE),
        "zip": zipped(a=TABLE),
        "zip of western": zipped(a=WESTERN),
        "workbook": workbook([["a"], [1]]),
    }[kind]
    path = tmp_path / "upload"
    path.write_bytes(content)

    class StopError(Exception):
        """Raised by the progress callback."""

    stops = 0
    while not (tmp_path / "upload.table").exists():
        left = stops

        def tick() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StopError

        try:
            prepare(path, "june.csv", ImportOptions(), limits=Limits(), tick=tick)
        except StopError:
            stops += 1
            assert os.listdir(tmp_path) == ["upload"]

    assert stops >= 1


def test_a_full_disk_is_reported_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def transcode(_source: BinaryIO, _target: BinaryIO, _codec: str, _tick: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encoding, "transcode", transcode)

    assert refusal(tmp_path, WESTERN).startswith("The server's disk is full")


def test_an_incomplete_spool_is_named_like_an_incomplete_upload(tmp_path: Path) -> None:
    with source._Part(tmp_path / "upload.table") as part:
        assert [part.path] == list(tmp_path.glob("*.part"))
