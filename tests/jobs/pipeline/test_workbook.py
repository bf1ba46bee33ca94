"""Reading the worksheets of workbooks."""

import threading
import zipfile
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import python_calamine
from openpyxl.chart import BarChart
from openpyxl.styles import Font

from jobs.errors import UnreadableFileError
from jobs.pipeline import archive, long_call, workbook
from jobs.pipeline.workbook import Problem, Row, Shape, Workbook
from jobs.pipeline.xlsx import survey
from jobs.pipeline.xlsx.row_stream import RowStream
from tests.support.files import nothing
from tests.support.workbooks import handmade


def saved(folder: Path, **sheets: Iterable[Iterable[Any]]) -> Path:
    """A workbook with these worksheets, written by openpyxl."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    path = folder / "book.xlsx"
    book.save(path)
    return path


def rows_of(path: Path, sheet: str | None = None) -> list[Row]:
    with Workbook(path, sheet=sheet, tick=nothing) as book:
        return list(book.rows(timed=book.shape(above=0).timed))


def cells_of(path: Path, sheet: str | None = None) -> list[list[str]]:
    return [row.cells for row in rows_of(path, sheet)]


@pytest.fixture(params=["calamine", "row by row"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways must return the same."""
    if request.param == "row by row":
        monkeypatch.setattr(workbook, "LARGE_PACKED", 0)
    name: str = request.param
    return name


@pytest.mark.usefixtures("library")
def test_values_become_exact_text(tmp_path: Path) -> None:
    values = {
        "text": "text",
        " spaced ": " spaced ",
        "two\nlines": "two\nlines",
        "007": "007",
        1: "1",
        -5: "-5",
        0.1: "0.1",
        2.50: "2.5",
        0.00001: "0.00001",
        4111111111111111: "4111111111111111",
        1.5e18: "1500000000000000000",
        1e300: "1e+300",
        date(2026, 1, 31): "2026-01-31",
        datetime(2026, 1, 31): "2026-01-31",
        datetime(2026, 1, 31, 9): "2026-01-31T09:00:00",
        datetime(2026, 1, 31, 9, 0, 0, 250_000): "2026-01-31T09:00:00.250",
        time(9, 30): "09:30:00",
        timedelta(hours=30, minutes=5): "30:05:00",
        timedelta(hours=-12): "-12:00:00",
    }
    path = saved(tmp_path, June=[[value] for value in [*values, True, False]])

    with Workbook(path, sheet=None, tick=nothing) as book:
        cells = [row.cells[0] for row in book.rows()]

    assert [*values.values(), "TRUE", "FALSE"] == cells


@pytest.mark.usefixtures("library")
def test_a_column_with_times_of_day_has_a_time_in_every_date(tmp_path: Path) -> None:
    days = [datetime(2026, 1, 30), datetime(2026, 1, 31, 9, 15), None]
    path = saved(tmp_path, June=[["day", "moment"], *([date(2026, 1, 1), day] for day in days)])

    expected = [
        ["day", "moment"],
        ["2026-01-01", "2026-01-30T00:00:00"],
        ["2026-01-01", "2026-01-31T09:15:00"],
        ["2026-01-01"],
    ]
    assert expected == cells_of(path)


@pytest.mark.usefixtures("library")
def test_a_time_above_the_table_does_not_affect_its_dates(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[[datetime(2026, 1, 31, 9)], ["day"], [date(2026, 1, 31)]])

    with Workbook(path, sheet=None, tick=nothing) as book:
        shape = book.shape(above=1)

        assert shape == Shape(0, 1, frozenset())
        assert [row.cells for row in book.rows(above=1, timed=shape.timed)] == [["day"], ["2026-01-31"]]


@pytest.mark.usefixtures("library")
def test_error_cells_are_problems_but_similar_text_is_not(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], ["#N/A", 1], [2, "#DIV/0!"], ["x", "y"]])
    book = openpyxl.load_workbook(path)
    book["June"]["A4"] = "#REF!"
    book["June"]["A4"].data_type = "s"
    book.save(path)

    expected = [
        Row(1, ["a", "b"], {}),
        Row(2, ["#N/A", "1"], {0: Problem("#N/A", "is an error in the workbook (#N/A, cell A2)")}),
        Row(3, ["2", "#DIV/0!"], {1: Problem("#DIV/0!", "is an error in the workbook (#DIV/0!, cell B3)")}),
        Row(4, ["#REF!", "y"], {}),
    ]
    assert expected == rows_of(path)


@pytest.mark.usefixtures("library")
def test_an_error_of_a_formula_is_found_in_any_cell(tmp_path: Path) -> None:
    rows = (
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="3"><c t="e" r="C3" s="1"><f>A1&amp;"x"</f><v>#VALUE!</v></c></row>'
        "<row r='9'><c r='AB9' t='e'><v>#SPILL!</v></c></row>"
    )

    expected = {1: {}, 3: {2: "#VALUE!"}, 9: {27: "#SPILL!"}}
    found = rows_of(handmade(tmp_path, rows))
    assert expected == {row.number: {place: each.text for place, each in row.problems.items()} for row in found}
    assert all(row.cells[place] == each.text for row in found for place, each in row.problems.items())


@pytest.mark.usefixtures("library")
def test_a_formula_without_a_stored_result_is_a_problem(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], [1, "=A2*2"], [2, None]])

    assert rows_of(path)[1] == Row(
        2,
        ["1", "=A2*2"],
        {
            1: Problem(
                "=A2*2",
                "is a formula without a stored result in the workbook: open it in Excel and save it again (cell B2)",
            )
        },
    )


@pytest.mark.usefixtures("library")
def test_empty_results_of_formulas_are_values(tmp_path: Path) -> None:
    rows = (
        '<row r="1"><c r="A1" t="str"><f>"x"</f><v>x</v></c><c r="B1" t="str"><f>""</f><v></v></c>'
        '<c r="C1"><f t="shared" si="0"/><v>5</v></c></row>'
    )

    assert [Row(1, ["x", "", "5"], {})] == rows_of(handmade(tmp_path, rows))


@pytest.mark.usefixtures("library")
def test_phantom_rows_and_columns_are_omitted_and_row_numbers_stay(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], [None, None], [1, 2], ["", None], [3, 4]])
    book = openpyxl.load_workbook(path)
    book["June"]["H900"].font = Font(bold=True)
    book["June"]["C2"].font = Font(bold=True)
    book.save(path)

    assert [(row.number, row.cells) for row in rows_of(path)] == [(1, ["a", "b"]), (3, ["1", "2"]), (5, ["3", "4"])]


@pytest.mark.usefixtures("library")
def test_a_table_may_begin_anywhere_in_a_worksheet(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[[], [], [None, None, "a", "b"], [None, None, 1, 2]])

    with Workbook(path, sheet=None, tick=nothing) as book:
        assert book.shape(above=0) == Shape(2, 4, frozenset())
        assert [(row.number, row.cells) for row in book.rows()] == [(3, ["", "", "a", "b"]), (4, ["", "", "1", "2"])]


@pytest.mark.usefixtures("library")
def test_merged_cells_have_their_value_once(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["title", None, None], ["a", "b", "c"], [1, 2, 3]])
    book = openpyxl.load_workbook(path)
    book["June"].merge_cells("A1:C1")
    book["June"].merge_cells("A3:A4")
    book.save(path)

    assert cells_of(path) == [["title"], ["a", "b", "c"], ["1", "2", "3"]]


@pytest.mark.usefixtures("library")
def test_the_first_worksheet_is_read_and_the_note_names_the_others(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a"]], July=[["b"]], Notes=[["c"]])
    book = openpyxl.load_workbook(path)
    book["Notes"].sheet_state = "hidden"
    book.create_chartsheet("Chart").add_chart(BarChart())
    book.save(path)

    with Workbook(path, sheet=None, tick=nothing) as opened:
        assert opened.notes[0] == "Read the worksheet “June”, and not “July”, “Notes” (hidden)."
        assert [row.cells for row in opened.rows()] == [["a"]]


@pytest.mark.parametrize("wanted", ["Notes & more", "notes & MORE "])
@pytest.mark.usefixtures("library")
def test_a_hidden_worksheet_may_be_chosen(tmp_path: Path, wanted: str) -> None:
    path = saved(tmp_path, **{"June": [["a"]], "Notes & more": [["c"]]})
    book = openpyxl.load_workbook(path)
    book["Notes & more"].sheet_state = "veryHidden"
    book.save(path)

    with Workbook(path, sheet=wanted, tick=nothing) as opened:
        assert opened.notes[0] == "Read the hidden worksheet “Notes & more”, and not “June”."
        assert [row.cells for row in opened.rows()] == [["c"]]


def test_the_error_for_an_unknown_worksheet_lists_the_others(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        Workbook(saved(tmp_path, June=[["a"]], July=[["b"]]), sheet="May", tick=nothing)

    assert str(caught.value) == "The workbook has no worksheet “May”. Choose one of “June”, “July”."


def test_a_stray_cell_far_to_the_right_adds_no_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], *([1, 2] for _ in range(150)), [1, 2, None, None, "stray"]])

    with Workbook(path, sheet=None, tick=nothing) as book:
        assert book.shape(above=0) == Shape(0, 2, frozenset())


def test_a_column_without_a_name_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], *([1, 2, 3] for _ in range(20)), [1]])

    with Workbook(path, sheet=None, tick=nothing) as book:
        assert book.shape(above=0) == Shape(0, 3, frozenset())


def test_two_cells_far_apart_need_little_memory(tmp_path: Path) -> None:
    far = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'

    first, last = rows_of(handmade(tmp_path, far))

    assert first == Row(1, ["1"], {})
    assert (last.number, len(last.cells), last.cells[-1]) == (1_048_576, 16_384, "2")


def test_cells_without_references_follow_one_another(tmp_path: Path) -> None:
    rows = "<row><c><v>1</v></c><c><v>2</v></c></row><row><c t='e'><v>#N/A</v></c><c><v>4</v></c></row>"

    expected = [
        Row(1, ["1", "2"], {}),
        Row(2, ["#N/A", "4"], {0: Problem("#N/A", "is an error in the workbook (#N/A, cell A2)")}),
    ]
    assert expected == rows_of(handmade(tmp_path, rows))


@pytest.mark.usefixtures("library")
def test_workbooks_with_the_1904_date_system_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[[date(2026, 1, 31)]])
    book = openpyxl.load_workbook(path)
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.save(path)

    assert cells_of(path) == [["2026-01-31"]]


def test_shared_strings_keep_their_line_ends(tmp_path: Path) -> None:
    path = handmade(tmp_path, '<row r="1"><c r="A1" t="s"><v>0</v></c></row>', ["x_x000D_\ny & z"])

    assert cells_of(path) == [["x\r\ny & z"]]


def test_a_large_worksheet_is_read_row_by_row_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "LARGE_SHEET", 100)

    with Workbook(saved(tmp_path, June=[["a"]]), sheet=None, tick=nothing) as book:
        assert (
            book.notes[1]
            == "The worksheet is large, so it was read row by row, which is slower but needs little memory."
        )
        assert [row.cells for row in book.rows()] == [["a"]]


def test_the_xml_may_be_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, June=[["a", "b"], *([number, "#N/A"] for number in range(50)), ["=1+1"]])
    expected = rows_of(path)

    for size in (1, 7, 100, 1_000):
        monkeypatch.setattr(archive, "PIECE_BYTES", size)
        monkeypatch.setattr(survey, "PIECE_BYTES", size)

        assert expected == rows_of(path)


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="1"><c r="A1" t="s"><v>99</v></c></row>',
        '<row r="1"><c r="A1" t="n"><v>abc</v></c></row>',
        '<row r="1"><c r="A1"><v>1</v>',
        '<row r="1"><c r="1A"><v>1</v></c></row>',
        '<row r="9999999"><c r="A9999999"><v>1</v></c></row><row r="99999999999"><c r="B1"><v>2</v></c></row>',
    ],
)
@pytest.mark.usefixtures("library")
def test_an_inconsistent_workbook_is_reported_as_damaged(tmp_path: Path, rows: str) -> None:
    with pytest.raises(UnreadableFileError, match="The workbook is damaged or incomplete"):
        rows_of(handmade(tmp_path, rows))


def test_a_wrong_checksum_is_found_before_a_row_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, June=[["a", "b"], *([number, "x" * 100] for number in range(100))])
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("xl/worksheets/sheet1.xml")
    content[info.header_offset + 100] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(UnreadableFileError, match="The workbook is damaged or incomplete"):
        Workbook(path, sheet=None, tick=nothing)


def test_a_workbook_without_a_listed_worksheet_is_reported_as_damaged(tmp_path: Path) -> None:
    path = handmade(tmp_path, "")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "part.xlsx", "w") as part:
        for name in whole.namelist():
            if "worksheets" not in name:
                part.writestr(name, whole.read(name))

    with pytest.raises(UnreadableFileError, match="sheet1"):
        Workbook(tmp_path / "part.xlsx", sheet=None, tick=nothing)


@pytest.mark.usefixtures("library")
def test_the_progress_callback_is_called_meanwhile_and_may_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "TICK_SECONDS", 0)
    path = saved(tmp_path, June=[["a"], *([number] for number in range(5_000))])
    ticks: list[None] = []

    with Workbook(path, sheet=None, tick=lambda: ticks.append(None)) as book:
        opened = len(ticks)
        list(book.rows())

    assert opened >= 2
    assert len(ticks) >= opened + 5

    def stop() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        Workbook(path, sheet=None, tick=stop)


@pytest.mark.parametrize("content", ["<f>1</f>{}<is/>", "<f>1</f>{}<v/>{}", "<f>1</f>{}<v>{}</v>{}x"])
def test_two_megabytes_of_spaces_behind_a_formula_are_read_at_once(tmp_path: Path, content: str) -> None:
    rows = (
        f'<row r="1"><c r="A1">{content.replace("{}", " " * 700_000)}</c></row><row r="2"><c r="A2"><v>1</v></c></row>'
    )

    assert rows_of(handmade(tmp_path, rows))[-1] == Row(2, ["1"], {})


@pytest.mark.parametrize(
    "far",
    [
        '<c\tr="XFD1048576"><v>2</v></c>',
        """<c x=' r="A1"' r="XFD1048576"><v>2</v></c>""",
        '<c r = "XFD1048576"><v>2</v></c><x r="A1"/>',
        '<c r="&#88;FD1048576"><v>2</v></c>',
        '<x:c xmlns:x="x" r="XFD1048576"><x:v>2</x:v></x:c>',
    ],
)
def test_a_cell_far_away_needs_little_memory_however_it_is_written(tmp_path: Path, far: str) -> None:
    path = handmade(tmp_path, f'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576">{far}</row>')

    with Workbook(path, sheet=None, tick=nothing) as book:
        assert isinstance(book._source, RowStream)
        assert [len(row.cells) for row in book.rows()] == [1, 16_384]


def test_a_long_shared_string_of_many_cells_is_not_copied_for_each(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{row}"><c r="A{row}" t="s"><v>0</v></c></row>' for row in range(1, 3_001))
    path = handmade(tmp_path, rows, ["x" * 100_000])

    with Workbook(path, sheet=None, tick=nothing) as book:
        assert isinstance(book._source, RowStream)
        assert {len(row.cells[0]) for row in book.rows()} == {100_000}


def test_an_ordinary_worksheet_is_read_by_calamine(tmp_path: Path) -> None:
    with Workbook(saved(tmp_path, June=[["a", 1]]), sheet=None, tick=nothing) as book:
        assert not isinstance(book._source, RowStream)


def test_calamine_reads_a_copy_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []
    load = python_calamine.load_workbook

    def loading(path: Path) -> python_calamine.CalamineWorkbook:
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(python_calamine, "load_workbook", loading)

    with Workbook(saved(tmp_path, June=[["a"]]), sheet=None, tick=nothing):
        assert [path.suffix for path in loaded] == [".part"]
        assert list(tmp_path.iterdir()) == [tmp_path / "book.xlsx"]


def test_a_library_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(python_calamine, "load_workbook", lambda _: released.wait(60))
    monkeypatch.setattr(long_call, "LEAST_SECONDS", 0)

    with pytest.raises(UnreadableFileError, match=r"could not be read within the limits \(time\)"):
        Workbook(saved(tmp_path, June=[["a"]]), sheet=None, tick=nothing)
    released.set()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (f'<row r="1"><c r="A{"1" * 5_000}"><v>1</v></c></row>', "the row number 1111"),
        (f'<row r="{"1" * 5_000}"><c><v>1</v></c></row>', "the row number 1111"),
        (f'<row r="1"><c r="{"A" * 5_000}1"><v>1</v></c></row>', "a cell with the reference AAAA"),
        (f'<row><c t="n"><v>{"1" * 5_000}</v></c></row>', "is not a number"),
        (f'<row><c t="s"><v>{"1" * 5_000}</v></c></row>', "there is no shared string"),
        ('<row><c t="s"><v>-1</v></c></row>', "there is no shared string"),
        ('<row r="2"><c><v>1</v></c></row><row r="1"><c><v>2</v></c></row>', "row 1 stands below row 2"),
        ('<row r="2"><c><v>1</v></c><c r="B3"><v>1</v></c></row>', "a cell of row 3 stands in row 2"),
    ],
)
def test_what_cannot_be_a_cell_ends_in_a_sentence(tmp_path: Path, rows: str, sentence: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"The workbook is damaged or incomplete .*{sentence}"):
        rows_of(handmade(tmp_path, rows))
