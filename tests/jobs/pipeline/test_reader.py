"""Inspecting a text file and reading its chunks."""

import gc
import gzip
import io
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import Buffer

from jobs import warnings
from jobs.errors import UnreadableFileError
from jobs.formats.dialect import DELIMITERS
from jobs.formats.file_kinds import EXPECTED
from jobs.pipeline import line_numbers, reader, records
from jobs.pipeline.prepared_table import PreparedTable
from jobs.pipeline.source import TextFile
from jobs.schema import MAX_NAME_BYTES
from jobs.warnings import UploadWarning, merged
from tests.support.csv_texts import TEXTS
from tests.support.files import written, zipped

#: Bytes of a chunk: the smallest possible, odd ones that cut anywhere, and one larger than a test file.
CHUNK_SIZES = (256, 257, 1000, 4096, 1 << 20)


@dataclass
class Read:
    """rows: number → cells. failed: number → (cells, reason). checkpoints: (next byte, next row). lines: by number."""

    rows: dict[int, list[str]] = field(default_factory=dict)
    failed: dict[int, tuple[list[str], str]] = field(default_factory=dict)
    count: int = 0
    blank: int = 0
    warnings: list[UploadWarning] = field(default_factory=list)
    lines: dict[int, int] = field(default_factory=dict)
    checkpoints: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def from_table(cls, table: PreparedTable, chunk_bytes: int = 1 << 20, start: int = 0, row: int = 1) -> Self:
        """Read from the first row on, or from an offset, where the record with this number begins."""
        read = cls()
        for chunk in reader.chunks(table, start=start or table.first_byte, row=row, chunk_bytes=chunk_bytes):
            assert table.names == list(chunk.rows.columns)
            assert chunk.count == len(chunk.rows) + len(chunk.failed)
            read.rows.update(zip(chunk.rows.index.tolist(), chunk.rows.to_numpy().tolist(), strict=True))
            read.failed.update({row.row_number: (row.cells, row.sentence) for row in chunk.failed})
            numbers = range(row + read.count, row + read.count + chunk.count)
            lines = chunk.lines.of(numbers)
            run = chunk.line_run()
            assert lines == ([run.line_of(number) for number in numbers] if run else [])
            read.lines.update(zip(numbers, lines, strict=True))
            read.blank += chunk.blank
            read.warnings = merged(read.warnings, chunk.warnings)
            read.count += chunk.count
            read.checkpoints.append((chunk.next_byte, row + read.count))
        assert list(range(row, row + read.count)) == sorted([*read.rows, *read.failed])
        return read

    @property
    def outcome(self) -> tuple[dict[int, list[str]], dict[int, tuple[list[str], str]], int]:
        """Everything except the checkpoints, which depend on the chunk size."""
        return self.rows, self.failed, self.count

    @property
    def everything(self) -> tuple[object, ...]:
        """The outcome, with lines, blank lines and warnings."""
        return *self.outcome, self.lines, self.blank, self.warnings


@pytest.fixture(params=CHUNK_SIZES)
def chunk_bytes(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Read]:
    def read(content: str | bytes, chunk_bytes: int = 1 << 20) -> Read:
        path = written(tmp_path, content)
        return Read.from_table(reader.inspect(TextFile(path)), chunk_bytes)

    return read


@pytest.fixture
def inspected(tmp_path: Path) -> Callable[[str | bytes], PreparedTable]:
    return lambda content: reader.inspect(TextFile(written(tmp_path, content)))


Reader = Callable[..., Read]
Inspecting = Callable[[str | bytes], PreparedTable]


@pytest.mark.parametrize(
    ("delimiter", "called"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "pipes")]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_usual_delimiters_and_line_ends_are_read(tmp_path: Path, delimiter: str, called: str, newline: str) -> None:
    lines = [["id", "name"], ["1", "Zoë"], ["2", "a b"], ["", "x"]]
    path = written(tmp_path, newline.join(delimiter.join(cells) for cells in lines) + newline)
    table = reader.inspect(TextFile(path))

    assert delimiter == table.delimiter
    assert [f"2 columns, separated by {called}."] == table.notes
    assert dict(enumerate(lines[1:], start=1)) == Read.from_table(table).rows


def test_the_columns_of_a_workbook_are_separated_by_nothing(tmp_path: Path) -> None:
    table = reader.inspect(TextFile(written(tmp_path, "id,name\n1,Zoë\n"), separated_by=""))

    assert table.notes == ["2 columns."]


def test_a_comma_inside_numbers_does_not_make_commas_the_delimiter(inspected: Inspecting) -> None:
    assert inspected("id;net;gross\n1;1,50;1,79\n2;2,50;2,98\n").delimiter == ";"


def test_a_delimiter_inside_a_quoted_header_is_part_of_the_name(inspected: Inspecting) -> None:
    assert inspected('"name, first";born\nZoë;1999\n').names == ["name, first", "born"]


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffid,name\n1,Zoë\n".encode())
    table = reader.inspect(TextFile(path))

    assert table.names == ["id", "name"]
    assert table.notes == ["2 columns, separated by commas."]
    assert Read.from_table(table).rows == {1: ["1", "Zoë"]}


def test_a_byte_order_mark_before_a_quoted_header_does_not_hide_the_quote(inspected: Inspecting) -> None:
    assert inspected('\ufeff"a,b",c\n'.encode()).names == ["a,b", "c"]


def test_a_byte_order_mark_below_the_header_is_part_of_its_cell(read: Reader, chunk_bytes: int) -> None:
    found = read("a\n\ufeffx\n" + "\ufeff\n" * 200, chunk_bytes)

    assert {1: ["\ufeffx"], **{n: ["\ufeff"] for n in range(2, 202)}} == found.rows


def test_the_last_line_needs_no_line_end(read: Reader, chunk_bytes: int) -> None:
    assert read("a,b\n1,2\n3,4", chunk_bytes).rows == {1: ["1", "2"], 2: ["3", "4"]}


def test_a_quoted_cell_keeps_its_delimiters_quotes_and_lines(read: Reader) -> None:
    found = read('a,b\n"1,5","say ""hi"""\n"two\nlines","two\r\nmore"\n"",x\n')

    assert found.rows == {1: ["1,5", 'say "hi"'], 2: ["two\nlines", "two\r\nmore"], 3: ["", "x"]}


def test_a_quoted_cell_may_cross_any_number_of_chunks(read: Reader, chunk_bytes: int) -> None:
    long = '""\n'.join(["line"] * 500)
    found = read(f'a,b\n1,"{long}"\n2,"x"\n', chunk_bytes)

    assert found.rows == {1: ["1", long.replace('""', '"')], 2: ["2", "x"]}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_blank_lines_are_not_rows(read: Reader, chunk_bytes: int, newline: str) -> None:
    found = read(newline.join(["", "a,b", "", "", "1,2", *[""] * 300, "3,4", ""]), chunk_bytes)

    assert found.outcome == ({1: ["1", "2"], 2: ["3", "4"]}, {}, 2)


def test_in_a_single_column_only_a_quoted_empty_cell_is_a_row(read: Reader, chunk_bytes: int) -> None:
    assert read('a\n1\n\n""\n\n\n2\n', chunk_bytes).rows == {1: ["1"], 2: [""], 3: ["2"]}


@pytest.mark.parametrize("content", ["a,b", "a,b\n", "a,b\r\n", "\ufeffa,b\n", "a,b\n\n\n"])
def test_a_header_alone_is_a_table_without_rows(read: Reader, content: str) -> None:
    assert read(content).outcome == ({}, {}, 0)


def test_a_row_with_too_few_or_too_many_cells_fails(read: Reader, chunk_bytes: int) -> None:
    found = read('a,b\n1,2\n3\n\n4,5,6\n"7\n8","9, ""10"""\n11,"12\n",x,\n13,14\n', chunk_bytes)

    assert found.rows == {1: ["1", "2"], 4: ["7\n8", '9, "10"'], 6: ["13", "14"]}
    assert found.failed == {
        2: (["3"], "has 1 cell, expected 2"),
        3: (["4", "5", "6"], "has 3 cells, expected 2"),
        5: (["11", "12\n", "x", ""], "has 4 cells, expected 2"),
    }


def test_the_reason_has_the_number_of_cells(read: Reader) -> None:
    found = read("a,b,c,d,e,f,g,h\n1,2,3,4,5,6,7\n")

    assert found.failed == {1: (["1", "2", "3", "4", "5", "6", "7"], "has 7 cells, expected 8")}


def surplus(rows: int) -> UploadWarning:
    return warnings.surplus_cells(rows)


def test_a_surplus_empty_cell_that_every_row_has_is_ignored_with_a_warning(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "1,2,\n3,,\n" * 50, chunk_bytes)

    assert found.failed == {}
    assert {n: ["1", "2"] if n % 2 else ["3", ""] for n in range(1, 101)} == found.rows
    assert found.warnings == [surplus(100)]


def test_a_surplus_empty_cell_of_one_row_is_a_sign_that_it_is_shifted(read: Reader, chunk_bytes: int) -> None:
    found = read("id,price,code\n" + "1,9.5,CC-1\n" * 30 + "2,,9.5,\n" + "3,9.5,CC-3\n", chunk_bytes)

    assert found.failed == {31: (["2", "", "9.5", ""], "has 4 cells, expected 3")}
    assert (found.count, found.warnings) == (32, [])


def test_nearly_every_row_is_enough_for_a_surplus_cell_to_be_ignored(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "1,2,\n" * 99 + "3,4\n", chunk_bytes)

    assert (found.failed, found.count, found.warnings) == ({}, 100, [surplus(99)])


def test_too_few_rows_with_a_surplus_cell_fail(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "1,2,\n" * 8 + "3,4\n" * 2, chunk_bytes)

    assert set(found.failed) == set(range(1, 9))
    assert found.warnings == []


def test_where_every_row_has_a_surplus_cell_a_row_that_is_shifted_fails(read: Reader, chunk_bytes: int) -> None:
    odd = {21: ["12", ""], 22: ["1", "", "2", ""], 23: ["1", "", "2"], 24: ["1", "2", "", ""], 25: ["1"]}
    found = read("a,b\n" + "1,2,\n" * 100 + "".join(f"{','.join(cells)}\n" for cells in odd.values()), chunk_bytes)

    assert [cells for cells, _ in found.failed.values()] == list(odd.values())
    assert {reason for _, reason in found.failed.values()} == {
        f"has {n} cell{'s' if n > 1 else ''}, expected 3" for n in (1, 2, 3, 4)
    }
    assert found.warnings == [surplus(100)]


def test_where_every_row_has_a_surplus_cell_a_row_without_it_may_end_with_a_value(read: Reader) -> None:
    found = read("a,b\n" + "1,2,\n" * 100 + "3,4\n")

    assert (found.failed, found.rows[101], found.warnings) == ({}, ["3", "4"], [surplus(100)])


@pytest.mark.parametrize("cell", [" ", '"\n"', '" \r\n"', "\t"])
def test_a_surplus_cell_of_white_space_counts_as_empty(read: Reader, chunk_bytes: int, cell: str) -> None:
    found = read("a,b\n" + f"1,2,{cell}\n" * 100, chunk_bytes)

    assert (found.failed, found.count, found.warnings) == ({}, 100, [surplus(100)])
    assert found.lines[100] == 2 + 99 * (1 + cell.count("\n"))


def test_rows_may_have_several_surplus_cells(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "1,2,,,\n" * 100, chunk_bytes)

    assert (found.failed, found.rows[100], found.warnings) == ({}, ["1", "2"], [surplus(100)])


def test_every_row_may_have_another_number_of_surplus_cells(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "1,2,\n1,2,,\n1,,,,\n" * 30, chunk_bytes)

    assert (found.failed, found.count, found.warnings) == ({}, 90, [surplus(90)])


@pytest.mark.parametrize("line", [",,,", ",", '"","",""', " , , ", '"",,', "  ", ",,,,,,", "\t,\t,"])
def test_a_line_of_delimiters_is_blank(read: Reader, chunk_bytes: int, line: str) -> None:
    found = read("a,b,c\n" + f"1,2,3\n{line}\n" * 50 + f"{line}\n" * 43 + "4,,6\n", chunk_bytes)

    assert found.outcome == ({**{n: ["1", "2", "3"] for n in range(1, 51)}, 51: ["4", "", "6"]}, {}, 51)
    assert (found.blank, found.warnings) == (93, [])


def test_lines_of_delimiters_at_the_end_of_a_file_are_blank(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b,c\n" + "1,2,3\n" * 5 + ",,\n" * 93, chunk_bytes)

    assert (found.count, found.blank) == (5, 93)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_blank_lines_below_the_last_row_are_nothing_to_tell(read: Reader, chunk_bytes: int, newline: str) -> None:
    assert read(newline.join(["a,b", "", "1,2", "", "", "3,4", *[""] * 500]), chunk_bytes).blank == 3


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_blank_lines_are_counted_across_resumptions(tmp_path: Path, newline: str) -> None:
    path = written(tmp_path, newline.join(["a,b", *[""] * 300, "1,2", *[""] * 300, '3,"4\n\n5"', "", "6,7", ""]))
    table = reader.inspect(TextFile(path))
    for chunk_bytes in CHUNK_SIZES:
        read = Read.from_table(table, chunk_bytes)
        rests = [Read.from_table(table, start=start, row=row) for start, row in read.checkpoints]

        assert read.blank == 601
        assert all(rest.blank <= 601 for rest in rests)
        assert rests[-1].blank == 0
        for start, row in read.checkpoints:
            begun = Read()
            for chunk in reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=chunk_bytes):
                begun.blank += chunk.blank
                if chunk.next_byte == start:
                    break
            assert begun.blank + Read.from_table(table, start=start, row=row).blank == 601


def test_a_header_that_is_repeated_is_no_row(read: Reader, chunk_bytes: int) -> None:
    found = read("id,Full name\n" + ("1,Zoë\n" * 20 + "id, Full name \n") * 3 + '2,"x"\n', chunk_bytes)

    assert (found.count, found.failed, found.blank) == (61, {}, 0)
    assert found.warnings == [warnings.lines_skipped(3, 22)]
    assert found.lines[61] == 65


def test_a_repeated_header_is_found_among_rows_with_a_surplus_cell(read: Reader, chunk_bytes: int) -> None:
    found = read("id,name\n" + ("1,x,\n" * 50 + "id,name\n") * 2, chunk_bytes)

    assert (found.count, found.failed) == (100, {})
    assert sorted(each["code"] for each in found.warnings) == ["lines_skipped", "surplus_cells"]


@pytest.mark.parametrize("content", ["name\nx\nname\n", "1,2\n1,2\n", "id,name\nid,Name\nid,\n", "a,b\na,b,c\n"])
def test_a_row_that_only_resembles_the_header_is_a_row(read: Reader, content: str) -> None:
    found = read(content)

    assert found.count == content.count("\n") - 1
    assert found.warnings == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_rows_know_the_line_at_which_they_begin(read: Reader, chunk_bytes: int, newline: str, start: str) -> None:
    lines = [
        "a title",
        "",
        "a,b",
        "1,2",
        "",
        '"x',
        '",3',
        "4",
        ",",
        '5,"u',
        "",
        'v"',
        'stray"6,7',
        *["8,9"] * 100,
        "10,",
    ]
    found = read(start + newline.join(lines) + newline, chunk_bytes)

    assert list(found.lines.values()) == [4, 6, 8, 10, 13, *range(14, 114), 114]


def test_lines_of_any_length_are_counted_in_bounded_pieces(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(line_numbers, "PIECE_BYTES", size)

        assert list(read('a,b\r\n1,2\r\n\r\n3,"\r\n\r\n"\r4,5\n').lines.values()) == [2, 4, 7]


def test_a_file_may_end_between_chunks_in_cr_and_lf(read: Reader) -> None:
    for size in range(256, 300):
        found = read("a,b\r\n" + "1,2\r\n" * 200, size)

        assert (found.count, found.blank, found.lines[200]) == (200, 0, 201)


def test_a_stray_quote_is_text(read: Reader, chunk_bytes: int) -> None:
    found = read('a,b\n5" pipe,2\nO"Neill"s,"3"\nx,"4"\n', chunk_bytes)

    assert found.rows == {1: ['5" pipe', "2"], 2: ['O"Neill"s', "3"], 3: ["x", "4"]}


UNCLOSED = "has a quote that is never closed"


@pytest.mark.parametrize("end", ["", "\n"])
def test_an_unclosed_quote_fails_only_its_line(read: Reader, chunk_bytes: int, end: str) -> None:
    found = read(f'a,b\n1,2\n3,"open\n5,6\n\n7{end}', chunk_bytes)

    assert found.rows == {1: ["1", "2"], 3: ["5", "6"]}
    assert found.failed == {2: (['3,"open'], UNCLOSED), 4: (["7"], "has 1 cell, expected 2")}


def test_an_unclosed_quote_keeps_the_rows_up_to_the_next_quote(read: Reader, chunk_bytes: int) -> None:
    found = read('id,name\n1,"Smith"\n2,"Miller\n3,"Jones"\n4,"Brown, ""Bob"""\n', chunk_bytes)

    assert found.failed == {2: (['2,"Miller'], UNCLOSED)}
    assert found.rows == {1: ["1", "Smith"], 3: ["3", "Jones"], 4: ["4", 'Brown, "Bob"']}


def test_an_unclosed_quote_after_a_stray_one_fails_its_line(read: Reader) -> None:
    found = read('a,b\n"x"y,"open\n1,2\n')

    assert found.outcome == ({2: ["1", "2"]}, {1: (['"x"y,"open'], UNCLOSED)}, 2)


def test_each_of_many_unclosed_quotes_fails_one_line(read: Reader, chunk_bytes: int) -> None:
    found = read("a,b\n" + "".join(f'{n},"x\n{n},y\n' for n in range(50)), chunk_bytes)

    assert dict.fromkeys(range(1, 100, 2), UNCLOSED) == {number: reason for number, (_, reason) in found.failed.items()}
    assert {2 * n + 2: [str(n), "y"] for n in range(50)} == found.rows


@pytest.mark.parametrize(
    ("line", "cells", "reason"),
    [
        (
            b"caf\xe9,2",
            ["caf\ufffd", "2"],
            "has a byte that is invalid in the file's encoding (0xE9 at character 4 of cell 1)",
        ),
        (
            b'1,"\xff"',
            ["1", "\ufffd"],
            "has a byte that is invalid in the file's encoding (0xFF at character 1 of cell 2)",
        ),
        (
            "Zoë,".encode() + b"\xc3",
            ["Zoë", "\ufffd"],
            "has a byte that is invalid in the file's encoding (0xC3 at character 1 of cell 2)",
        ),
        (
            b"1,\xed\xa0\x80",
            ["1", "\ufffd\ufffd\ufffd"],
            "has a byte that is invalid in the file's encoding (0xED at character 1 of cell 2)",
        ),
        (b"1,a\0b", ["1", "a\ufffdb"], "has a NUL byte (cell 2)"),
        (
            b"1,2,\xe9",
            ["1", "2", "\ufffd"],
            "has a byte that is invalid in the file's encoding (0xE9 at character 1 of cell 3)",
        ),
    ],
)
def test_invalid_bytes_fail_their_row_with_their_position(
    read: Reader, chunk_bytes: int, line: bytes, cells: list[str], reason: str
) -> None:
    found = read(b"name,n\n" + b"x,1\n" * 200 + line + b"\n3,4\n", chunk_bytes)

    assert {201: (cells, reason)} == found.failed
    assert found.rows == {**{n: ["x", "1"] for n in range(1, 201)}, 202: ["3", "4"]}


@pytest.mark.parametrize(
    ("header", "names", "notes"),
    [
        ("a,a,A", ["a", "a_2", "A_3"], [
            "Column 2 was renamed from “a” to “a_2”.", "Column 3 was renamed from “A” to “A_3”.",
        ]),
        ("a,a_2,a", ["a", "a_2", "a_3"], ["Column 3 was renamed from “a” to “a_3”."]),
        ("a,,c,", ["a", "column_2", "c", "column_4"], [
            "Column 2 has no name and is called “column_2”.", "Column 4 has no name and is called “column_4”.",
        ]),
        ("column_2,", ["column_2", "column_2_2"], ["Column 2 has no name and is called “column_2_2”."]),
        ("_upload_id,_Row_Number", ["_upload_id_2", "_Row_Number_2"], [
            "Column 1 was renamed from “_upload_id” to “_upload_id_2”.",
            "Column 2 was renamed from “_Row_Number” to “_Row_Number_2”.",
        ]),
        ("xmin,ymin", ["xmin_2", "ymin"], ["Column 1 was renamed from “xmin” to “xmin_2”."]),
        ('" a\tb ","x\ny"', ["a b", "x y"], [
            "Column 1 was renamed from “ a\tb ” to “a b”.", "Column 2 was renamed from “x\ny” to “x y”.",
        ]),
        ("select,a%b:c [d] (e)", ["select", "a%b:c [d] (e)"], []),
    ],
)  # fmt: skip
def test_invalid_and_repeated_names_are_replaced_and_noted(
    inspected: Inspecting, header: str, names: list[str], notes: list[str]
) -> None:
    table = inspected(f"{header}\n")

    assert names == table.names
    assert notes == table.notes[1:]


def test_too_long_names_are_cut_between_characters_and_unique(inspected: Inspecting) -> None:
    table = inspected(f"{'é' * 40},{'é' * 40},{'x' * 63},{'x' * 64}\n")

    assert ["é" * 31, f"{'é' * 29}_2", "x" * 63, f"{'x' * 58}_2"] == table.names
    assert max(len(name.encode()) for name in table.names) <= MAX_NAME_BYTES


def test_a_file_may_have_at_most_1500_columns(inspected: Inspecting) -> None:
    assert len(inspected(",".join(f"c{n}" for n in range(1500))).names) == 1500

    with pytest.raises(UnreadableFileError, match=r"The file has 1,501 columns; at most 1,500 can be imported\."):
        inspected(",".join(f"c{n}" for n in range(1501)))


@pytest.mark.parametrize(
    ("content", "beginning"),
    [
        (b"", "The file is empty."),
        (b"\n\r\n\n", "The file has no header row."),
        (b"%PDF-1.7\n%\xe2\xe3\n1 0 obj", "This looks like a PDF document, not a table."),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "This looks like a PNG image, not a table."),
        (zipped(**{"june.csv": b"a,b\n1,2\n"}), "This looks like a ZIP archive or a workbook, not a table."),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "This looks like a gzip archive, not a table."),
        (b"\n <!DOCTYPE letter>\n<letter>", "This looks like a web page or an XML document, not a table."),
        (b'<?xml version="1.0"?>', "This looks like a web page or an XML document, not a table."),
        (
            b"na\xefve,b\n1,2\n",
            "The header row is unreadable, it has a byte that is invalid in the file's encoding"
            " (0xEF at character 3 of cell 1).",
        ),
        (b'"a,b\n1,2\n', "The header row is unreadable, it has a quote that is never closed."),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_table_is_refused_with_its_kind(
    inspected: Inspecting, content: bytes, beginning: str
) -> None:
    with pytest.raises(UnreadableFileError) as refused:
        inspected(content)

    assert str(refused.value).startswith(beginning)
    assert str(refused.value).endswith(f" {EXPECTED}")


def test_a_chosen_delimiter_and_header_row_are_used(tmp_path: Path) -> None:
    path = written(tmp_path, "a;b,c;d\n\n1;2,3;4\n5;6,7;8\n")
    table = reader.inspect(TextFile(path, delimiter=";", header_row=3))

    assert (table.delimiter, table.names) == (";", ["1", "2,3", "4"])
    assert table.notes == ["Skipped 2 lines above the header: “a b,c d”.", "3 columns, separated by semicolons."]
    assert Read.from_table(table).rows == {1: ["5", "6,7", "8"]}


@pytest.mark.parametrize("row", [2, 4, 99])
def test_a_chosen_header_row_without_cells_is_refused(tmp_path: Path, row: int) -> None:
    path = written(tmp_path, "a,b\n\n1,2\n")

    with pytest.raises(UnreadableFileError, match=rf"The file has no header row at line {row}\. Upload it again with"):
        reader.inspect(TextFile(path, header_row=row))


def test_lines_above_the_header_are_skipped_and_noted(read: Reader, inspected: Inspecting) -> None:
    content = "Report for June\n\nid,name\n1,x\n2,y\n"

    assert inspected(content).notes[0] == "Skipped 2 lines above the header: “Report for June”."
    assert read(content).rows == {1: ["1", "x"], 2: ["2", "y"]}


CORRECTED = "id,name,_upload_id,_row_number,_error\n"


def test_a_file_of_corrected_rows_is_recognised_by_its_last_columns(tmp_path: Path, chunk_bytes: int) -> None:
    path = written(tmp_path, CORRECTED + "1,'=x,77,5,why\n2,'y,77,6,\"why, then\"\n3,z\n4,'5\" ''+,77,8,why\n")
    table = reader.inspect(TextFile(path))
    found = Read.from_table(table, chunk_bytes)

    assert (table.names, table.tracking_columns, table.width, table.parent) == (["id", "name"], 3, 5, 77)
    assert found.rows == {1: ["1", "=x"], 2: ["2", "'y"], 4: ["4", "'5\" ''+"]}
    assert found.failed == {3: (["3", "z"], "has 2 cells, expected 5")}


@pytest.mark.parametrize(
    ("content", "parent"),
    [
        (CORRECTED, None),
        (CORRECTED + "\n1,x,77,1,why\n", 77),
        (CORRECTED + "1,x,,1,why\n", None),
        (CORRECTED + "1,x,seven,1,why\n", None),
        (CORRECTED + f"1,x,{'9' * 19},1,why\n", None),
        (CORRECTED + "1,x\n", None),
    ],
)
def test_the_first_corrected_row_names_the_upload_it_corrects(
    inspected: Inspecting, content: str, parent: int | None
) -> None:
    table = inspected(content)

    assert (table.tracking_columns, table.parent) == (3, parent)


def test_a_file_of_corrected_rows_has_a_header_whatever_its_names_are(inspected: Inspecting) -> None:
    names = [str(n * n) for n in range(20)]
    table = inspected(",".join([*names, "_upload_id,_row_number,_error"]) + ("\n" + "5," * 20 + "7,1,why") * 3)

    assert (table.names, table.has_header, table.warnings, table.parent) == (names, True, [], 7)


@pytest.mark.parametrize("header", ["_upload_id,_row_number,_error", "id,_row_number,_upload_id", "id,_error"])
def test_similar_columns_are_not_tracking_columns(inspected: Inspecting, header: str) -> None:
    assert (inspected(f"{header}\n").tracking_columns, inspected(f"{header}\n").parent) == (0, None)


def test_rows_with_known_problems_fail_with_these_reasons(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,x\n2,y\n3\n4,z\n")
    table = reader.inspect(TextFile(path))
    (chunk,) = reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=4096)
    without = chunk.without({2: [(1, "is the error #N/A"), (0, "is odd")], 9: [(0, "is not here")]})

    assert without.rows.index.tolist() == [1, 4]
    assert [(row.row_number, row.cells, row.sentence) for row in without.failed] == [
        (2, ["2", "y"], "b: is the error #N/A; a: is odd"),
        (3, ["3"], "has 1 cell, expected 2"),
    ]
    assert chunk is chunk.without({9: [(0, "is not here")]})


@pytest.fixture
def _records_of_1000_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit for records that is low enough for a fast test."""
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)


@pytest.mark.usefixtures("_records_of_1000_bytes")
@pytest.mark.parametrize("length", [996, 997, 998, 1500, 3000, 9000])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("chunk_bytes", [256, 1 << 20])
def test_a_line_that_is_too_long_fails_as_one_row(read: Reader, length: int, newline: str, chunk_bytes: int) -> None:
    found = read(newline.join(["a,b", f"1,{'z' * length}", "2,3", ""]), chunk_bytes)

    if length + 2 + len(newline) <= 1000:
        assert found.outcome == ({1: ["1", "z" * length], 2: ["2", "3"]}, {}, 2)
    else:
        assert {number: reason for number, (_, reason) in found.failed.items()} == {1: "is longer than 1,000 bytes"}
        assert found.rows == {2: ["2", "3"]}


@pytest.mark.usefixtures("_records_of_1000_bytes")
def test_an_unclosed_quote_ends_at_the_longest_record(read: Reader) -> None:
    found = read('a,b\n1,"open\n' + "2,3\n" * 400 + '4,"5"\n', 256)

    assert found.failed == {1: (['1,"open'], UNCLOSED)}
    assert {**{n: ["2", "3"] for n in range(2, 402)}, 402: ["4", "5"]} == found.rows


@pytest.mark.usefixtures("_records_of_1000_bytes")
def test_lines_that_end_in_cr_may_cross_a_read_of_the_file(read: Reader) -> None:
    # A stray quote makes the exact path read the file, MAX_RECORD_BYTES at a time.
    found = read("a,b\r" + "".join(f'{n},5"\r' for n in range(1000)))

    assert found.failed == {}
    assert {n + 1: [str(n), '5"'] for n in range(1000)} == found.rows


#: Rows of a random file: enough for ten chunks of 256 bytes.
ROWS = 300


@dataclass
class Table:
    """A random file, and the expected result of reading it."""

    delimiter: str
    names: list[str]
    first_byte: int
    content: bytes
    rows: dict[int, list[str]]
    failed: dict[int, tuple[list[str], str]]
    lines: dict[int, int] = field(default_factory=dict)
    blank: int = 0
    warnings: list[UploadWarning] = field(default_factory=list)

    @classmethod
    def random(cls, seed: int) -> Self:
        """Any delimiter, line end and quoting; cells that need quotes; blank, short and long lines."""
        choice = random.Random(seed)
        width, delimiter = choice.randint(1, 4), choice.choice(DELIMITERS)
        newline, start = choice.choice(["\n", "\r\n", "\r"]), choice.choice(["", "\ufeff"])
        names = [f"name {n}" for n in range(width)]
        always = choice.random() < 0.3
        header = (start + delimiter.join(names) + newline).encode()
        table = cls(delimiter, names, len(header), header, {}, {})
        headers, blank = [], 0
        while len(table.lines) < ROWS:
            line = len(re.findall(rb"\r\n|\r|\n", table.content)) + 1
            cells = ["".join(choice.choices(PIECES, WEIGHTS, k=choice.randint(0, 6))) for _ in range(width)]
            found = width if choice.random() < 0.9 else choice.randint(1, width + 2)
            cells = [*cells, "", choice.choice(["", "more"])][:found]
            cells = choice.choices([cells, [""] * found, names], [20, 1, 1])[0]
            found, between = len(cells), choice.choice([0, 0, 0, 1])
            record = delimiter.join(quoted(cell, always or found == 1, delimiter) for cell in cells)
            table.content += (record + newline * (1 + between)).encode()
            if max(found, width) > 1 and not "".join(cells).strip():
                blank += 1
            elif cells == names and width > 1:
                headers.append(line)
            else:
                number = len(table.lines) + 1
                table.lines[number] = line
                if found == width:
                    table.rows[number] = cells
                else:
                    table.failed[number] = cells, f"has {found} {'cell' if found == 1 else 'cells'}, expected {width}"
                table.blank, blank = table.blank + blank, 0
            blank += between
        table.warnings = [warnings.lines_skipped(len(headers), headers[0])] if headers else []
        return table

    @property
    def everything(self) -> tuple[object, ...]:
        return self.rows, self.failed, ROWS, self.lines, self.blank, self.warnings

    def prepared(self, folder: Path) -> PreparedTable:
        """Write the file to a folder."""
        path = written(folder, self.content)
        return PreparedTable(path, self.delimiter, self.names, self.first_byte, header=self.names)


#: The content of cells, with weights.
PIECES = ("word", "é", "ひ", " ", "1", '"', ",", ";", "\t", "|", "\n", "\r\n", "\r")
WEIGHTS = (30, 5, 5, 5, 20, 3, 2, 2, 2, 2, 1, 1, 1)


def quoted(cell: str, always: bool, delimiter: str) -> str:
    if always or any(character in cell for character in ('"', "\r", "\n", delimiter)):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@pytest.mark.parametrize("seed", range(12))
def test_rows_and_numbers_do_not_depend_on_the_chunk_size(tmp_path: Path, seed: int, chunk_bytes: int) -> None:
    table = Table.random(seed)
    found = Read.from_table(table.prepared(tmp_path), chunk_bytes)

    assert table.everything == found.everything


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_path_reads_the_same_as_the_fast_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    table = Table.random(seed)
    # Nothing public shows which path was taken, so disable the fast one.
    monkeypatch.setattr(reader, "_fast", lambda *_: None)
    found = Read.from_table(table.prepared(tmp_path), 1000)

    assert table.everything == found.everything


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_fast_path_reads_every_short_text_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """With quotes anywhere, including inside of cells."""
    path = tmp_path / "june.csv"
    texts = ["".join(characters) + end for characters in itertools.product('a",\n', repeat=5)]

    def read(text: str) -> list[tuple[object, ...]]:
        path.write_text(f"h,k\n{text}", "utf-8")
        chunks = reader.chunks(PreparedTable(path, ",", ["h", "k"], 4), start=4, row=1, chunk_bytes=4096)
        return [
            (
                chunk.rows.values.tolist(),
                chunk.located(chunk.failed),
                chunk.count,
                chunk.next_byte,
                chunk.blank,
                chunk.lines.of(range(1, chunk.count + 1)),
            )
            for chunk in chunks
        ]

    fast = {text: read(text) for text in texts}
    monkeypatch.setattr(reader, "_fast", lambda *_: None)

    assert fast == {text: read(text) for text in texts}


@pytest.mark.parametrize("seed", range(4))
def test_a_regular_file_is_read_by_the_fast_path_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the exact path was taken")

    monkeypatch.setattr(reader, "_exact", refuse)
    table = Table.random(seed)

    assert Read.from_table(table.prepared(tmp_path)).count == ROWS


#: The content of a broken file: every byte with a meaning, and some invalid ones.
SOUP = (b"a", b"1", b"\xc3\xa9", b" ", b",", b'"', b'""', b"\n", b"\r", b"\r\n", b"\xff", b"\0")


@pytest.mark.parametrize("seed", range(25))
def test_a_broken_file_is_read_the_same_with_any_chunk_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    choice = random.Random(seed)
    weights = [choice.random() ** 2 for _ in SOUP]
    path = written(tmp_path, b"a,b\n" + b"".join(choice.choices(SOUP, weights, k=1500)))
    table = PreparedTable(path, ",", ["a", "b"], 4)
    found = [Read.from_table(table, chunk_bytes).everything for chunk_bytes in CHUNK_SIZES]
    monkeypatch.setattr(reader, "_fast", lambda *_: None)

    assert [Read.from_table(table).everything] * len(CHUNK_SIZES) == found


@pytest.mark.parametrize("seed", range(5))
def test_reading_can_continue_after_any_chunk(tmp_path: Path, seed: int) -> None:
    table = Table.random(seed)
    prepared = table.prepared(tmp_path)
    checkpoints = Read.from_table(prepared, 256).checkpoints
    rests = [Read.from_table(prepared, start=start, row=row) for start, row in checkpoints]

    assert len(checkpoints) > 8
    assert (len(table.content), ROWS + 1) == checkpoints[-1]
    assert [
        ({n: cells for n, cells in table.rows.items() if n >= row}, {n: b for n, b in table.failed.items() if n >= row})
        for _, row in checkpoints
    ] == [(rest.rows, rest.failed) for rest in rests]


def test_the_note_for_a_single_column(inspected: Inspecting) -> None:
    assert inspected("a\n1\n").notes == ["One column."]


@dataclass
class Reads:
    """A file that counts the bytes that are read of it."""

    file: Path
    count: int = 0

    @property
    def path(self) -> Path:
        reads = self

        class CountedFile(io.FileIO):
            def readinto(self, buffer: Buffer, /) -> int | None:
                found = super().readinto(buffer)
                reads.count += found or 0
                return found

        class CountedPath(type(self.file)):  # type: ignore[misc]  # which class it is depends on the system
            def open(self, *_: object, **__: object) -> io.BufferedReader:
                return io.BufferedReader(CountedFile(str(self)))

        return CountedPath(self.file)


@given(
    text=TEXTS,
    limit=st.sampled_from([20, 100, 1 << 20]),
    lines=st.sampled_from([1, 4, 100_000]),
    ragged=st.sampled_from([0, 2, 10_000]),
    sizes=st.lists(st.integers(1, 400), min_size=2, max_size=2),
    delimiter=st.sampled_from(DELIMITERS),
    surplus=st.sampled_from([range(0), range(1, 2), range(1, 4)]),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_the_same_with_any_limits_of_a_chunk(
    tmp_path: Path, text: bytes, limit: int, lines: int, ragged: int, sizes: list[int], delimiter: str, surplus: range
) -> None:
    text = text.replace(b",", delimiter.encode())
    path = written(tmp_path, text)
    table = PreparedTable(path, delimiter, ["a", "b"], 0, header=["a", "12"], surplus=surplus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", limit)
        whole = Read.from_table(table)
        patch.setattr(reader, "MAX_CHUNK_LINES", lines)
        patch.setattr(reader, "MAX_RAGGED_ROWS", ragged)
        for size in sizes:
            parts = Read.from_table(table, size)

            assert whole.everything == parts.everything
            for start, row in parts.checkpoints[:-1][:3]:
                rest = Read.from_table(table, start=start, row=row)
                assert whole.count == rest.count + row - 1
                assert rest.lines.items() <= whole.lines.items()
                assert rest.rows.items() <= whole.rows.items()
                assert rest.failed.items() <= whole.failed.items()


#: Lines that made each other be read again, up to 1 MB, and lines that Arrow hands back one by one.
HOSTILE = (b'a","', b'tv 55","lcd', b'5","6","7', b'"', b'1,"2', b'""', b"a", b"", b"1,2,3", b'1,"2"', b"1,\0", b",,")


@pytest.mark.parametrize("line", HOSTILE)
@pytest.mark.parametrize("first", [b"1,2", b'"'])
@pytest.mark.parametrize(("line_end", "mixed"), [(b"\n", b""), (b"\r", b"x,y\n"), (b"\r\n", b"")])
def test_a_hostile_file_is_read_a_few_times_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, first: bytes, line_end: bytes, mixed: bytes
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr(reader, "MAX_CHUNK_LINES", 300)
    monkeypatch.setattr(reader, "MAX_RAGGED_ROWS", 100)
    text = first + line_end + ((line + line_end) * 500 + mixed) * 4
    reads = Reads(written(tmp_path, text))
    for _ in reader.chunks(PreparedTable(reads.path, ",", ["a", "b"], 0), start=0, row=1, chunk_bytes=4096):
        pass

    assert reads.count <= 8 * len(text) + 8 * 4096


@pytest.mark.parametrize("line", ['a","', 'tv 55","lcd', '5","6","7'])
def test_a_quote_left_open_in_every_line_fails_every_line(read: Reader, line: str) -> None:
    found = read("h1,h2\n" + f"{line}\n" * (100_000 // (len(line) + 1)), 4 << 20)

    assert (found.count, len(found.failed)) == (100_000 // (len(line) + 1), found.count)
    assert set(map(str, found.failed.values())) == {str(([line], UNCLOSED))}


def test_a_chunk_of_very_short_rows_has_a_limited_number_of_them(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_CHUNK_LINES", 1000)
    for content in ("1,2\n", "1\n", '1"\n', "\n", "1,2\r", "1,2\r\n"):
        found = read("a,b\n" + content * 2500, 1 << 20)

        assert len(found.checkpoints) == 3
        assert found.count in (0, 2500)


@pytest.mark.usefixtures("_records_of_1000_bytes")
@pytest.mark.parametrize("chunk_bytes", [256, 1 << 20])
def test_a_regular_record_of_many_lines_that_is_too_long_is_not_one_row(read: Reader, chunk_bytes: int) -> None:
    cell = "\n".join(["line"] * 300)
    found = read(f'a,b\n1,2\n3,"{cell}"\n4,5\n', chunk_bytes)

    assert found.failed[2] == (['3,"line'], UNCLOSED)
    assert found.rows == {1: ["1", "2"], 302: ["4", "5"]}


def test_ticks_come_while_a_file_is_inspected_and_read(tmp_path: Path) -> None:
    path = written(tmp_path, "h1,h2\n" + 'a","\n' * 100_000)
    ticks: list[None] = []

    def tick() -> None:
        ticks.append(None)

    table = reader.inspect(TextFile(path), tick=tick)
    assert ticks

    ticks.clear()
    (*_,) = reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=4 << 20, tick=tick)
    assert len(ticks) >= 100


def test_a_tick_may_stop_the_reading(tmp_path: Path) -> None:
    path = written(tmp_path, "h1,h2\n" + 'a","\n' * 1000)
    table = reader.inspect(TextFile(path))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        next(reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=4096, tick=stop))
    assert gc.isenabled()


def test_a_note_about_a_long_name_is_short(inspected: Inspecting) -> None:
    (note,) = inspected("x" * 100_000 + ",b\n").notes[1:]

    assert note == f"Column 1 was renamed from “{'x' * 59}…” to “{'x' * 63}”."


def test_every_column_may_have_the_same_name(inspected: Inspecting) -> None:
    assert inspected(",".join("a" * 1500)).names == ["a", *(f"a_{n}" for n in range(2, 1501))]


@pytest.mark.parametrize("chunk_bytes", [1, 20, 1 << 20])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_second_table_ends_the_first_with_a_warning(tmp_path: Path, chunk_bytes: int, newline: str) -> None:
    lines = ["id,born", "1,1999", '"2",2000', "", "Sales", "product,price", "lamp,9.50", "", "desk,99.00"]
    table = reader.inspect(TextFile(written(tmp_path, newline.join(lines))))
    found = Read.from_table(table, chunk_bytes)

    assert (found.rows, found.failed) == ({1: ["1", "1999"], 2: ["2", "2000"]}, {})
    assert [(each["code"], each["lines"], each["first"]) for each in table.warnings] == [("lines_skipped", 4, 5)]
    assert table.bytes_total == len(newline.join(lines[:4])) + len(newline)
