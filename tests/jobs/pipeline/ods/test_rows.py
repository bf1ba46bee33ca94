"""Reading the rows of OpenDocument spreadsheets."""

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
import python_calamine

from jobs.errors import UnreadableFileError
from jobs.pipeline.ods import rows as limits
from jobs.pipeline.ods.rows import rows_of
from jobs.pipeline.xlsx.problem import Problem
from jobs.pipeline.xlsx.row_stream import SheetRow, Value
from tests.support.files import written
from tests.support.spreadsheets import Value as Simple
from tests.support.spreadsheets import cell, ods, row, table


def read(*rows: str, place: int = 0, more: tuple[str, ...] = (), step: int = 1 << 20) -> list[SheetRow]:
    return list(rows_of(pieces(ods(table(*rows), *more), step), place))


def pieces(content: bytes, step: int) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        whole = archive.read("content.xml")
    for start in range(0, len(whole), step):
        yield whole[start : start + step]


def values(*rows: str) -> list[list[Value]]:
    return [list(found) for _, found, _ in read(*rows)]


def a_row(*cells: str, times: int = 1) -> str:
    repeated = f' table:number-rows-repeated="{times}"' if times > 1 else ""
    return f"<table:table-row{repeated}>{''.join(cells)}</table:table-row>"


EVERY: list[Simple] = [
    "a", 1.5, -7.0, True, False, date(2026, 1, 31), datetime(2026, 1, 31, 9, 0, 5), time(9, 30), None, "two\nlines",
    "<&>",
]  # fmt: skip


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_values_keep_their_types(step: int) -> None:
    assert read(row(*EVERY), step=step) == [(1, EVERY, {})]


def test_another_reader_finds_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, ods(table(["id", "day", "x"], [1, date(2026, 1, 31), "a"], [2.5, None, "b"])))

    found = python_calamine.load_workbook(path).get_sheet_by_index(0).to_python()

    assert found == [["id", "day", "x"], [1.0, date(2026, 1, 31), "a"], [2.5, "", "b"]]


def test_repeated_cells_and_rows_are_there_as_often_as_they_say() -> None:
    twice = cell(7).replace("table-cell ", 'table-cell table:number-columns-repeated="2" ', 1)
    gap = '<table:table-cell table:number-columns-repeated="3"/>'
    rest = '<table:table-cell table:number-columns-repeated="16000"/>'

    found = read(
        a_row(twice, gap, cell("x"), rest, times=2), a_row(rest, times=5), a_row(cell("y")), a_row(times=10**6)
    )

    wide = [7.0, 7.0, None, None, None, "x"]
    assert found == [(1, wide, {}), (2, wide, {}), (8, ["y"], {})]


def test_a_text_has_its_paragraphs_spaces_and_tabs_but_not_its_notes_and_shapes() -> None:
    text = (
        "<text:p>a<text:s text:c='2'/>b<text:tab/><text:span>c<text:line-break/>d</text:span></text:p><text:p/>"
        "<office:annotation><text:p>note</text:p></office:annotation>"
        "<draw:frame><draw:text-box><text:p>shape</text:p></draw:text-box></draw:frame><text:p>e</text:p>"
    )

    assert values(a_row(f'<table:table-cell office:value-type="string">{text}</table:table-cell>')) == [
        ["a  b\tc\nd\n\ne"]
    ]


def test_rows_may_be_in_groups_and_tables_in_cells_are_not_read() -> None:
    inner = f"<table:table>{row('no')}</table:table>"
    head = f"<table:table-header-rows>{row('a')}</table:table-header-rows>"
    group = f"<table:table-row-group><table:table-row-group>{row('b')}</table:table-row-group></table:table-row-group>"

    assert values(head, group, a_row(f"<table:table-cell>{inner}<text:p>c</text:p></table:table-cell>")) == [
        ["a"], ["b"], ["c"],
    ]  # fmt: skip


def test_covered_cells_have_no_value() -> None:
    covered = cell("x").replace("table-cell", "covered-table-cell")

    assert values(a_row(cell("a"), covered, cell("b"))) == [["a", None, "b"]]


def test_one_of_several_tables_is_read() -> None:
    more = (table(["other"], name="July"), table(["third"], name="August"))

    assert read(row("a"), place=1, more=more) == [(1, ["other"], {})]
    assert read(row("a"), place=2, more=more) == [(1, ["third"], {})]


@pytest.mark.parametrize(
    ("attributes", "text", "problem"),
    [
        ('table:formula="of:=1/0" office:value-type="string" calcext:value-type="error"', "#DIV/0!",
         Problem("#DIV/0!", "is an error in the workbook (#DIV/0!, cell B1)")),
        ('table:formula="of:=A1" office:value-type="string"', "Err:522",
         Problem("Err:522", "is an error in the workbook (Err:522, cell B1)")),
        ('table:formula="of:=A1+1"', "",
         Problem("=A1+1", "is a formula without a stored result in the workbook: open it in Excel and save it again"
                 " (cell B1)")),
    ],
)  # fmt: skip
def test_errors_and_formulas_without_a_result_are_problems(attributes: str, text: str, problem: Problem) -> None:
    wrong = f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"

    assert read(a_row(cell("a"), wrong)) == [(1, ["a", problem.text], {1: problem})]


def test_a_text_like_an_error_is_a_text() -> None:
    assert values(row("#N/A")) == [["#N/A"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("PT09H30M00S", time(9, 30)), ("PT00H00M01.5S", time(0, 0, 1, 500_000)), ("P1D", "P1D"),
        ("PT30H05M00S", timedelta(hours=30, minutes=5)), ("-PT01H00M00S", timedelta(hours=-1)),
        ("PT999999999H", timedelta(hours=999_999_999)),
    ],
)  # fmt: skip
def test_times_are_of_a_day_or_durations(text: str, value: Value) -> None:
    assert values(a_row(f'<table:table-cell office:value-type="time" office:time-value="{text}"/>')) == [[value]]


def test_a_day_that_python_does_not_know_stays_text() -> None:
    old = '<table:table-cell office:value-type="date" office:date-value="-0044-03-15"/>'

    assert values(a_row(old)) == [["-0044-03-15"]]


@pytest.mark.parametrize(
    "cells",
    [
        '<table:table-cell office:value-type="float" office:value="x"/>',
        f'<table:table-cell office:value-type="float" office:value="{"7" * 200}"/>',
        '<table:table-cell table:number-columns-repeated="-1"/>',
        '<table:table-cell table:number-columns-repeated="99999999999"/>',
        cell("x").replace("table-cell ", 'table-cell table:number-columns-repeated="20000" ', 1),
    ],
)
def test_a_damaged_cell_is_refused(cells: str) -> None:
    with pytest.raises(UnreadableFileError, match="The workbook is damaged or incomplete"):
        read(a_row(cells))


def test_rows_beyond_the_last_and_very_many_repetitions_are_refused() -> None:
    wide = cell("x").replace("table-cell ", 'table-cell table:number-columns-repeated="16384" ', 1)

    with pytest.raises(UnreadableFileError, match="more than 1,048,576 rows"):
        read(a_row(times=1_048_576), row("x"))
    with pytest.raises(UnreadableFileError, match="repeats cells more than 100,000,000 times"):
        read(a_row(wide, times=1_000_000))


def test_a_row_of_very_many_characters_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROW_CHARACTERS", 1_000)

    with pytest.raises(UnreadableFileError, match="Row 1 of the worksheet has more than 1,000 characters"):
        read(row("x" * 600, "x" * 600))
