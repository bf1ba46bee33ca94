"""Reading a worksheet row by row."""

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.xlsx import row_stream
from jobs.pipeline.xlsx.package import Package
from jobs.pipeline.xlsx.problem import Problem
from jobs.pipeline.xlsx.row_stream import RowStream, Value
from tests.support.files import nothing
from tests.support.workbooks import handmade

_PART = "xl/worksheets/sheet1.xml"


def rows_of(path: Path) -> list[tuple[int, list[Value], dict[int, Problem]]]:
    with ZipArchive(path) as archive:
        stream = RowStream(Package(archive, nothing), _PART)
        return [(number, list(values), problems) for number, values, problems in stream.rows()]


def values_of(folder: Path, rows: str, strings: Iterable[str] = ()) -> list[list[Value]]:
    return [values for _, values, _ in rows_of(handmade(folder, rows, strings))]


def test_values_of_each_kind_are_read(tmp_path: Path) -> None:
    row = (
        '<row><c><v>1.5</v></c><c t="s"><v>1</v></c><c t="b"><v>1</v></c><c t="str"><f>1</f><v> x_x0041_ </v></c>'
        '<c t="inlineStr"><is><t>a</t><rPh><t>z</t></rPh><r><rPr/><t>b</t></r></is></c><c t="d"><v>2026-01-31</v></c>'
        "<c><v>text</v></c><c/></row>"
    )

    (values,) = values_of(tmp_path, row, ["", "two"])

    assert values[:5] == [1.5, "two", True, " xA ", "ab"]
    assert [str(value) for value in values[5:]] == ["2026-01-31", "text"]


def test_rows_and_cells_without_references_follow_one_another(tmp_path: Path) -> None:
    rows = (
        '<row><c><v>1</v></c></row><row/><row r="5"><c r="B5"><v>2</v></c><c><v>3</v></c></row>'
        "<row><c><v>4</v></c></row>"
    )

    assert [(number, values) for number, values, _ in rows_of(handmade(tmp_path, rows))] == [
        (1, [1.0]),
        (5, [None, 2.0, 3.0]),
        (6, [4.0]),
    ]


def test_a_row_without_a_number_has_that_of_its_cells(tmp_path: Path) -> None:
    rows = '<row><c r="A3"><v>1</v></c></row><row><c r="B7"><v>2</v></c></row>'

    assert [number for number, _, _ in rows_of(handmade(tmp_path, rows))] == [3, 7]


def test_rows_that_reach_far_to_the_right_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "MAX_EMPTY_CELLS", 1_000_000)
    rows = "".join(f'<row r="{row}"><c r="XFD{row}"><v>1</v></c></row>' for row in range(1, 101))

    with pytest.raises(UnreadableFileError, match="reach too far to the right"):
        values_of(tmp_path, rows)


def test_the_characters_of_a_row_are_bounded_even_if_they_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_stream, "MAX_ROW_CHARACTERS", 10_000)
    cells = '<c t="s"><v>0</v></c>' * 11

    with pytest.raises(UnreadableFileError, match="Row 2 of the worksheet has more than 10,000 characters"):
        values_of(tmp_path, f"<row>{'<c/>' * 50}</row><row>{cells}</row>", ["x" * 1_000])
    with pytest.raises(UnreadableFileError, match="Row 1 of the worksheet"):
        values_of(tmp_path, f'<row><c t="str"><v>{"x" * 10_001}</v></c></row>')


def test_a_row_may_have_as_many_cells_as_a_worksheet_has_columns(tmp_path: Path) -> None:
    assert len(values_of(tmp_path, f"<row>{'<c><v>1</v></c>' * 16_384}</row>")[0]) == 16_384
    with pytest.raises(UnreadableFileError, match="a cell beyond column 16,384"):
        values_of(tmp_path, f"<row>{'<c><v>1</v></c>' * 16_385}</row>")


@pytest.mark.parametrize(
    "rows",
    [
        "<row>" + "<x/>" * 500_000 + "</row>",
        "<x/>" * 500_000,
        '<row r="1">' + '<c r="A1"/>' * 200_000 + "</row>",
        "<row/>" * 300_000,
        '<row><c t="s"><v>0</v></c></row>' * 200,
    ],
)
def test_memory_does_not_grow_with_the_worksheet(tmp_path: Path, rows: str) -> None:
    path = handmade(tmp_path, rows, ["x" * 100_000])
    with ZipArchive(path) as archive:
        stream = RowStream(Package(archive, nothing), _PART)
        tracemalloc.start()
        for _ in stream.rows():
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 5_000_000
