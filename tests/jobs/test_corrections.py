"""Writing and recognising failed-rows.csv."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import corrections
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
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("''=1", "'''=1"),
        ("-5", "-5"),
        ("+5", "+5"),
        ("-1.234,56", "-1.234,56"),
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


@given(st.text(alphabet="'=+-@\t\r1.a ", max_size=6))
def test_python_and_arrow_unescape_every_escaped_cell(cell: str) -> None:
    escaped = corrections.escape_formula(cell)
    by_arrow = pc.replace_substring_regex(pa.array([escaped]), corrections.ESCAPED, corrections.UNESCAPED)

    assert corrections.unescape_formula(escaped) == cell
    assert by_arrow.to_pylist() == [cell]


def test_a_header_has_the_columns_of_the_file_and_the_tracking_columns() -> None:
    header = corrections.header(["id", "name"])

    assert header == ["id", "name", "_upload_id", "_row_number", "_error"]
    assert (corrections.count_tracking_columns(header), corrections.without_tracking_columns(header)) == (
        3,
        ["id", "name"],
    )


@pytest.mark.parametrize(
    "header",
    [
        ["_upload_id", "_row_number", "_error"],
        ["id", "_upload_id", "_row_number"],
        ["id", "_upload_id", "_row_number", "_error", "more"],
    ],
)
def test_a_header_must_end_with_all_tracking_columns_to_be_recognised(header: list[str]) -> None:
    assert (corrections.count_tracking_columns(header), corrections.without_tracking_columns(header)) == (0, header)


def test_a_record_has_the_original_values_and_the_tracking_columns() -> None:
    row = FailedRow(12, ["x", "=1"], [Reason("a", "is wrong", "x")])

    assert corrections.record(row, 7, width=3) == ["x", "'=1", "", "7", "12", "a: “x” is wrong"]


def test_surplus_cells_are_quoted_in_the_reason() -> None:
    row = FailedRow(3, ["1", "2", "3", "4"], [Reason(None, "has 4 cells, expected 2")])

    assert corrections.record(row, 7, width=2) == ["1", "2", "7", "3", "has 4 cells, expected 2; surplus cells: 3, 4"]


@pytest.mark.parametrize(
    ("record", "parent"),
    [
        (["x", "7", "1", "why"], 7),
        (["x", "", "1", "why"], None),
        (["x", "seven", "1", "why"], None),
        (["7", "1"], None),
        (["x", "9" * 19, "1", "why"], None),
    ],
)
def test_the_parent_is_the_upload_that_a_record_names(record: list[str], parent: int | None) -> None:
    assert corrections.parent_of(record) == parent
