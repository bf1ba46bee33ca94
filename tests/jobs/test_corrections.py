"""Writing and recognising failed-rows.csv."""

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import corrections
from jobs.corrections import CorrectionsHead, Marks, escape_formula, escape_formulas
from jobs.failed_rows import FailedRow, Reason


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("+49 30 1234", "'+49 30 1234"),
        ("-2+3", "'-2+3"),
        ("-", "'-"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("\tx", "'\tx"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1\uff0b1", "'\uff0b1\uff0b1"),
        ("\uff0d1\uff0b1", "'\uff0d1\uff0b1"),
        ("\uff20SUM(1)", "'\uff20SUM(1)"),
        ('"=1', "'\"=1"),
        ("x;=1", "x;'=1"),
        ("x;=1;@a;-b", "x;'=1;'@a;'-b"),
        ('x;"=1;y', "x;'\"=1;y"),
        ("x;'=1", "x;''=1"),
        ("x\n=1", "x\n'=1"),
        ("x\r\n+a", "x\r\n'+a"),
        ("x\t\uff1d1", "x\t'\uff1d1"),
        ("-5;x", "'-5;x"),
        ("-5\n*1", "'-5\n*1"),
        ("'=1", "''=1"),
        ("''=1", "'''=1"),
        ("-5", "-5"),
        ("+5", "+5"),
        ("-1.234,56", "-1.234,56"),
        ("1;-2;+3,5", "1;-2;+3,5"),
        ("x;y", "x;y"),
        ("x, =1", "x, =1"),
        ("", ""),
        ("a=b", "a=b"),
        (" =1", " =1"),
        ("'", "'"),
        ("'tis", "'tis"),
        ("007", "007"),
    ],
)
def test_cells_that_a_spreadsheet_would_run_are_escaped(cell: str, expected: str) -> None:
    assert corrections.escape_formula(cell) == expected


def unescaped_by_arrow(cell: str) -> str:
    column = pa.array([cell])
    for pattern, replacement in corrections.UNESCAPES:
        column = pc.replace_substring_regex(column, pattern, replacement)
    [found] = column.to_pylist()
    return str(found)


#: Texts that consist mainly of what escaping looks at, and any text.
CELLS = st.text(alphabet="'\"=+-@\uff1d\uff20\t\r\n;1.a ", max_size=9) | st.text(max_size=20)


@given(CELLS)
def test_python_and_arrow_unescape_every_escaped_cell(cell: str) -> None:
    escaped = corrections.escape_formula(cell)

    assert corrections.unescape_formula(escaped) == cell
    assert unescaped_by_arrow(escaped) == cell


@given(CELLS)
def test_no_part_of_an_escaped_cell_begins_a_formula(cell: str) -> None:
    parts = re.split(r"[;\t\r\n]", corrections.escape_formula(cell))
    unsafe = [part for part in parts if re.match('"*[\'"]*[=+@\uff1d\uff0b\uff0d\uff20-]', part) and part[0] != "'"]

    assert unsafe == [] or re.fullmatch(r"[+-]?[0-9.,]+(;[+-]?[0-9.,]+)*", cell)


def test_a_header_has_the_columns_of_the_file_and_the_tracking_columns() -> None:
    header = corrections.header(["id", "name"])

    assert header == ["id", "name", "_upload_id", "_row_number", "_error"]
    assert (Marks.find(header), corrections.without_tracking_columns(header)) == (Marks(2, 3, 4), ["id", "name"])


def test_the_columns_of_a_header_are_escaped_and_unescaped() -> None:
    header = corrections.header(["=a", "b;=c", "'d"])

    assert header[:3] == ["'=a", "b;'=c", "'d"]
    assert corrections.without_tracking_columns(header) == ["=a", "b;=c", "'d"]
    assert corrections.without_tracking_columns(header[:3]) == header[:3]
    assert corrections.header(["=a"], raw=True)[0] == "=a"


@pytest.mark.parametrize(
    ("header", "marks"),
    [
        (["_error", "id", "_row_number", "_upload_id", "more"], Marks(3, 2, 0)),
        (["id", "_Upload_ID", " _ROW_NUMBER ", "'_error"], Marks(1, 2, 3)),
        (["id", "_error", "_upload_id", "_row_number", "_error", "", ""], Marks(2, 3, 4, (5, 6))),
        (["", "id", "_upload_id", "_row_number", "_error"], Marks(2, 3, 4)),
        (["_upload_id", "_row_number", "_error"], None),
        (["id", "_upload_id", "_row_number"], None),
        (["id", "upload_id", "row_number", "error"], None),
    ],
)
def test_a_header_with_all_tracking_columns_anywhere_is_recognised(header: list[str], marks: Marks | None) -> None:
    assert Marks.find(header) == marks


def test_columns_without_a_name_are_kept_if_they_have_values() -> None:
    header = ["id", *corrections.TRACKING_COLUMNS, "", ""]

    assert Marks.find(header, [["1", "7", "1", "", " ", "x"]]) == Marks(1, 2, 3, (4,))


def test_a_record_has_the_original_values_and_the_tracking_columns() -> None:
    row = FailedRow(12, ["x", "=1"], [Reason("a", "is wrong", "x")])

    assert corrections.record(row, 7, width=3) == ["x", "'=1", "", "7", "12", "a: “x” is wrong"]


def test_a_raw_record_has_the_values_as_they_are() -> None:
    row = FailedRow(12, ["=1"], [Reason("=a", "is wrong", "x")])

    assert corrections.record(row, 7, width=1, raw=True) == ["=1", "7", "12", "=a: “x” is wrong"]


def test_surplus_cells_are_quoted_in_the_reason() -> None:
    row = FailedRow(3, ["1", "2", "3", "4"], [Reason(None, "has 4 cells, expected 2")])

    assert corrections.record(row, 7, width=2) == ["1", "2", "7", "3", "has 4 cells, expected 2; surplus cells: 3, 4"]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("7", 7),
        (" '12", 12),
        ("12.0", 12),
        ("12,00", 12),
        ("1,234", 1234),
        ("1.234.567", 1234567),
        ("1\u202f234", 1234),
        ("1,234.00", 1234),
        ("#12", 12),
        ("", None),
        ("seven", None),
        ("1.5", None),
        ("1.5E+07", None),
        ("-7", None),
        ("9" * 19, None),
        ("\u0663", None),
    ],
)
def test_numbers_are_read_as_a_spreadsheet_writes_them(cell: str, number: int | None) -> None:
    assert corrections.number_of(cell) == number


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_the_beginning_of_a_file_tells_whose_rows_it_corrects(delimiter: str, encoding: str) -> None:
    lines = [["Naïve", "b", *corrections.TRACKING_COLUMNS], ["x;y,z", "", "", "", ""], ["1", "2", "77", "5", "why"]]
    text = "".join(delimiter.join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)
    head = CorrectionsHead.read(text.encode(encoding))

    assert head is not None
    assert (head.delimiter, head.names[1:], head.parent) == (delimiter, ["b"], 77)


def test_other_files_are_no_corrections() -> None:
    assert CorrectionsHead.read(b"id,_upload_id,_row_number\n1,2,3\n") is None
    assert CorrectionsHead.read(b"PK\x03\x04_upload_id") is None


@given(
    cells=st.lists(st.text(st.sampled_from([*"=+-@'\";\t\r\n0.a \0\uff1d\uff0b\uff0d\uff20é"]), max_size=5), max_size=6)
)
def test_cells_of_a_row_are_escaped_like_each_of_them(cells: list[str]) -> None:
    assert escape_formulas(cells) == [escape_formula(cell) for cell in cells]
