"""Choosing the worksheet that holds a workbook's table."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from time import process_time
from typing import Any

import openpyxl
import pytest
from openpyxl.chart import BarChart

from jobs.pipeline.archive import ZipArchive
from jobs.pipeline.xlsx import sheet_choice
from jobs.pipeline.xlsx.package import Package
from jobs.pipeline.xlsx.sheet_choice import Choice, choose
from tests.support.files import nothing
from tests.support.workbooks import handmade

Rows = Iterable[Iterable[Any]]

TABLE: list[list[Any]] = [["id", "name", "since"], *([n, f"name {n}", date(2026, 1, 1)] for n in range(300))]
COVER: list[list[Any]] = [["Report"], [], ["Created by", "Ann"]]


def choice(
    folder: Path,
    sheets: dict[str, Rows],
    *,
    hidden: Iterable[str] = (),
    charts: Iterable[str] = (),
    fields: Iterable[str] = (),
    header_row: int | None = None,
) -> Choice:
    """hidden, charts: the names of such sheets. fields: of the wanted dataset."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name in charts:
        book.create_chartsheet(name).add_chart(BarChart())
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
        if name in hidden:
            sheet.sheet_state = "hidden" if len(name) % 2 else "veryHidden"
    path = folder / "book.xlsx"
    book.save(path)
    with ZipArchive(path) as archive:
        wanted = set(fields)
        package = Package(archive, nothing)
        return choose(package, header_row=header_row, fits=lambda names: len(wanted & set(names)))


def test_a_cover_sheet_is_passed_over(tmp_path: Path) -> None:
    found = choice(tmp_path, {"Cover": [["Report", "Year"], ["Sales", 2026]], "Sales": TABLE})

    assert (found.sheet.name, found.ignored) == ("Sales", {"Cover": 1})


def test_a_title_alone_and_empty_worksheets_are_not_named(tmp_path: Path) -> None:
    found = choice(
        tmp_path, {"Cover": [["Report"]], "Empty": [], "Spaces": [[" "]], "Sales": TABLE, "Header": [["a", "b"]]}
    )

    assert (found.sheet.name, found.ignored) == ("Sales", {})


def test_the_larger_table_is_chosen_and_the_first_of_equal_ones(tmp_path: Path) -> None:
    small: list[list[Any]] = [["id", "name"], [1, "x"]]

    found = choice(tmp_path, {"A": small, "B": TABLE, "C": TABLE})

    assert (found.sheet.name, found.ignored) == ("B", {"A": 1, "C": 300})
    assert [(part.sheet.name, part.rows, list(part.columns)) for part in found.parts] == [
        ("A", 1, ["id", "name"]),
        ("B", 300, TABLE[0]),
        ("C", 300, TABLE[0]),
    ]
    assert choice(tmp_path, {"June": small, "July": small}).sheet.name == "June"


def test_a_table_is_preferred_to_a_long_list_of_notes(tmp_path: Path) -> None:
    notes: list[list[Any]] = [["Notes"], *([f"Note {n}"] for n in range(500))]

    assert choice(tmp_path, {"Notes": notes, "Sales": TABLE[:20]}).sheet.name == "Sales"


def test_a_hidden_worksheet_is_chosen_only_if_all_visible_ones_are_empty(tmp_path: Path) -> None:
    sheets: dict[str, Rows] = {"Lists": TABLE, "Sales": TABLE[:3], "Codes": TABLE[:5]}

    found = choice(tmp_path, sheets, hidden=["Lists", "Codes"])
    assert (found.sheet.name, found.ignored) == ("Sales", {"Lists": 300, "Codes": 4})
    assert choice(tmp_path, {**sheets, "Sales": []}, hidden=["Lists", "Codes"]).sheet.name == "Lists"
    assert choice(tmp_path, {**sheets, "Sales": TABLE[:1]}, hidden=["Lists", "Codes"]).sheet.name == "Sales"


def test_the_worksheet_whose_header_fits_the_dataset_is_chosen(tmp_path: Path) -> None:
    sheets: dict[str, Rows] = {"Sales": TABLE, "People": [["People of 2026"], [], ["name", "e-mail"], ["x", "y"]]}

    assert choice(tmp_path, sheets, fields=["name", "e-mail"]).sheet.name == "People"
    assert choice(tmp_path, sheets, fields=["id", "name"]).sheet.name == "Sales"
    assert choice(tmp_path, sheets, fields=["else"]).sheet.name == "Sales"


def test_a_chosen_header_row_counts_for_every_worksheet(tmp_path: Path) -> None:
    sheets: dict[str, Rows] = {"Sales": TABLE, "People": [["x"], ["name", "e-mail"], ["x", "y"]]}

    assert choice(tmp_path, sheets, header_row=2, fields=["e-mail"]).sheet.name == "People"


def test_chart_sheets_are_no_worksheets(tmp_path: Path) -> None:
    found = choice(tmp_path, {"Cover": COVER, "Sales": TABLE}, charts=["Chart"])

    assert found.sheet.name == "Sales"
    assert "Chart" not in found.ignored


def test_rows_are_counted_without_empty_ones(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["id", "note"], *([n, None] if n % 3 else [None, " " * (n % 2)] for n in range(900))]
    sales: list[list[Any]] = [["id", "name", "x"], *([n, n, n] for n in range(900))]
    found = choice(tmp_path, {"Sales": sales, "Other": rows})

    assert found.sheet.name == "Sales"
    assert 600 <= found.ignored["Other"] <= 900


def test_beyond_the_limit_the_number_of_rows_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_choice, "COUNTED_BYTES", 1)
    large: list[list[Any]] = [["id", "name"], *([n, n] for n in range(8_000))]
    found = choice(tmp_path, {"Sales": [[*row, 1, 2, 3] for row in large], "Other": large})

    assert found.sheet.name == "Sales"
    assert found.ignored["Other"] == pytest.approx(8_000, rel=0.2)


def test_a_worksheet_is_sampled_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_choice, "SAMPLE_BYTES", 1)
    monkeypatch.setattr(sheet_choice, "STRINGS_BYTES", 1)
    monkeypatch.setattr(sheet_choice, "SLICE_BYTES", 700)

    assert choice(tmp_path, {"Cover": COVER, "Sales": TABLE}).sheet.name == "Sales"


def test_hundreds_of_worksheets_are_looked_at_in_a_few_seconds(tmp_path: Path) -> None:
    started = process_time()
    found = choice(tmp_path, {f"Sheet {n}": [["id", "name"], [n, "x"]] for n in range(200)})

    assert (found.sheet.name, len(found.ignored)) == ("Sheet 0", 199)
    assert process_time() - started < 20


def test_a_long_string_to_which_many_cells_refer_takes_little_memory(tmp_path: Path) -> None:
    row = "".join('<c t="s"><v>0</v></c>' for _ in range(1_000))
    path = handmade(tmp_path, f"<row>{row}</row>" * 100, ["x" * 2_000_000])
    tracemalloc.start()
    with ZipArchive(path) as archive:
        choose(Package(archive, nothing), header_row=None, fits=len)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 100 << 20


def test_a_damaged_worksheet_is_named_with_the_others(tmp_path: Path) -> None:
    path = handmade(tmp_path, '<row r="1"><c r="1A"><v>1</v></c></row>')
    with ZipArchive(path) as archive:
        package = Package(archive, nothing)
        (damaged,) = package.sheets
        empty = replace(damaged, name="Empty", part="xl/worksheets/none.xml")
        package.sheets.append(empty)
        found = choose(package, header_row=None, fits=len)

    assert (found.sheet, found.ignored, found.parts) == (damaged, {"Empty": 0}, [])
