"""Excel workbooks: cover sheets, hidden and empty sheets, titles, dates, formulas, errors."""

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any

import openpyxl

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read, refused
from tests.corpus.tables import BOOLEAN, DATE, MOMENT, NUMBER, TEXT, WHOLE, table

Sheet = list[list[Any]]


def cases() -> Iterator[Case]:
    yield from _sheets()
    yield from _layouts()
    yield from _cells()


def _book(
    sheets: dict[str, Sequence[Sequence[Any]]], change: Callable[[openpyxl.Workbook], None] | None = None
) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    if change:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _typed(original: Table) -> Sheet:
    """The header and the rows with cells as Excel has them: numbers are numbers, dates are dates."""
    return [
        list(original.columns),
        *([_value(cell, kind) for cell, kind in zip(row, original.types, strict=True)] for row in original.rows),
    ]


def _value(cell: str, kind: str | None) -> Any:
    if cell == "" or kind in (None, TEXT):
        return cell or None
    convert: dict[str, Callable[[str], Any]] = {
        WHOLE: int,
        NUMBER: float,
        DATE: date.fromisoformat,
        MOMENT: datetime.fromisoformat,
        BOOLEAN: lambda text: text.lower() == "true",
    }
    return convert[kind](cell)


def _xlsx(name: str, content: bytes, *right: Any, **more: Any) -> Case:
    return case(f"workbooks/{name}", content, *right, ending="xlsx", **more)


def _sheets() -> Iterator[Case]:
    beds, plain = tables.beds(), tables.plain()
    sheet = _typed(beds)
    cover = [["Hospital statistics"], [], ["Author", "Finance"], ["Date", "2025-04-01"]]
    yield _xlsx("one sheet", _book({"Beds": sheet}), read(beds))
    yield _xlsx("a cover sheet first", _book({"Cover": cover, "Beds": sheet}), read(beds, warnings="sheets_ignored"))
    line = [["Sales report of 2024"]]
    yield _xlsx(
        "a cover of one line", _book({"Cover": line, "Beds": sheet}), read(beds, warnings="sheets_ignored"), read(beds)
    )
    yield _xlsx("an empty sheet first", _book({"Sheet1": [], "Beds": sheet}), read(beds))
    yield _xlsx("empty sheets behind", _book({"Beds": sheet, "Sheet2": [], "Sheet3": []}), read(beds))
    lists = [["status"], ["open"], ["closed"], ["lost"]]

    def hide(book: openpyxl.Workbook) -> None:
        book["Lists"].sheet_state = "hidden"

    hidden = _book({"Lists": lists, "Beds": sheet}, hide)
    yield _xlsx("a hidden sheet first", hidden, read(beds, warnings="sheets_ignored"))
    small = _typed(tables.rows_of(plain, lambda place: place < 4))
    yield _xlsx("a smaller table first", _book({"Staff": small, "Beds": sheet}), read(beds, warnings="sheets_ignored"))
    yield _xlsx("a smaller table behind", _book({"Beds": sheet, "Staff": small}), read(beds, warnings="sheets_ignored"))
    notes = [
        ["How to read this workbook"],
        *([f"{n}. A sentence that explains a column, at some length."] for n in range(1, 60)),
    ]
    yield _xlsx(
        "a sheet of notes first", _book({"Read me": notes, "Beds": sheet}), read(beds, warnings="sheets_ignored")
    )
    schema = {"fields": [{"name": name} for name in plain.columns]}
    wide = _typed(plain)
    yield _xlsx(
        "the sheet that fits the dataset",
        _book({"Beds": sheet, "Staff": wide}),
        read(plain, warnings="sheets_ignored"),
        schema=schema,
    )
    yield _xlsx("a sheet that is named", _book({"Staff": wide, "Beds": sheet}), read(beds), options={"sheet": "Beds"})
    yield _xlsx("nothing but an empty sheet", _book({"Sheet1": []}), refused("empty"))
    yield _xlsx("a header only", _book({"Beds": sheet[:1]}), read(Table(beds.columns, [])))


def _layouts() -> Iterator[Case]:
    beds, people = tables.beds(), tables.people()
    sheet = _typed(beds)

    def merge(book: openpyxl.Workbook) -> None:
        book["Beds"].merge_cells("A1:D1")

    titled = _book({"Beds": [["Hospital statistics, 2024"], [], *sheet]}, merge)
    yield _xlsx("a merged title", titled, read(beds))
    below = _book({"Beds": [[], [], *([None, None, *row] for row in sheet)]})
    yield _xlsx("a table that begins at C3", below, read(beds))
    gaps = [*sheet[:6], [], *sheet[6:15], [], [], *sheet[15:]]
    yield _xlsx("empty rows between", _book({"Beds": gaps}), read(beds))
    again = [*sheet[:11], sheet[0], *sheet[11:]]
    yield _xlsx("the header again", _book({"Beds": again}), read(beds, warnings="lines_skipped"))

    stacked = [*sheet, [], ["Drug", "Stock"], ["Aspirin", 120], ["Ibuprofen", 80], ["Insulin", 33]]
    yield _xlsx("a second table below", _book({"Beds": stacked}), read(beds, warnings="lines_skipped"))
    pages = _book({"Beds": [["Hospital statistics"], ["Created: 2025-04-01"], [], *sheet, [None, None, None, " "]]})
    yield _xlsx("titles, and a space below", pages, read(beds))

    def format_far(book: openpyxl.Workbook) -> None:
        for row in range(30, 300):
            book["Beds"].cell(row, 9).number_format = "0.00"

    yield _xlsx("cells that are only formatted", _book({"Beds": sheet}, format_far), read(beds))
    bare = tables.renamed(people, *(f"column_{n}" for n in range(1, 7)))
    capitals = tables.renamed(_capital(people), *bare.columns)
    headless = [read(each, warnings="no_header", any_spelling=("column_5",)) for each in (bare, capitals)]
    yield _xlsx("no header", _book({"Staff": _typed(people)[1:]}), *headless)
    groups: Sheet = [["Hospital", "Beds", None, "Care"], [None, "all", "occupied", "intensive"], *sheet[1:]]
    joined_names = tables.renamed(beds, "Hospital", "Beds all", "Beds occupied", "Care intensive")
    partly = tables.renamed(beds, "Hospital", "Beds all", "occupied", "Care intensive")
    yield _xlsx(
        "a header of two rows",
        _book({"Beds": groups}),
        read(joined_names, any_names=True),
        read(partly, any_names=True),
    )


def _cells() -> Iterator[Case]:
    people, weather, schools = tables.people(), tables.weather(), tables.schools()
    yield _xlsx(
        "numbers, dates and booleans",
        _book({"Staff": _typed(people)}),
        read(people, any_spelling=("salary",)),
        read(_capital(people), any_spelling=("salary",)),
    )
    loose = ("temperature", "wind")
    iso = tables.with_(weather, time=lambda cell: cell.replace(" ", "T"))
    hourly = _book({"Weather": _typed(weather)})
    yield _xlsx("dates with times", hourly, read(weather, any_spelling=loose), read(iso, any_spelling=loose))
    yield _xlsx("text that looks like numbers", _book({"Schools": _typed(schools)}), read(schools))
    errors = _typed(tables.beds())
    errors[4][2], errors[9][1] = "#DIV/0!", "#N/A"
    kept = tables.rows_of(tables.beds(), lambda place: place not in (3, 8))
    yield _xlsx("cells with errors", _book({"Beds": errors}), read(kept, failed=(5, 10)))
    formulas = _typed(tables.beds())
    for number, row in enumerate(formulas[1:], start=2):
        row.append(f"=B{number}-C{number}")
    yield _xlsx(
        "formulas without results", _book({"Beds": [[*formulas[0], "free"], *formulas[1:]]}), refused("formula")
    )
    texts = table({"key": TEXT, "note": TEXT}, ((f"k{n}", f'first line\nsecond, "line" {n}') for n in range(20)))
    yield _xlsx("cells of several lines", _book({"Notes": _typed(texts)}), read(texts))
    clocks: Sheet = [
        ["shift", "begins", "ends"],
        *([f"S{n}", time(6 + n % 12, 30), time(7 + n % 12, 15)] for n in range(20)),
    ]
    shifts = table(
        {"shift": TEXT, "begins": "time", "ends": "time"},
        ((f"S{n}", f"{6 + n % 12:02}:30:00", f"{7 + n % 12:02}:15:00") for n in range(20)),
    )
    yield _xlsx("times of day", _book({"Shifts": clocks}), read(shifts))
    surplus = [[*row, " "] if place else row for place, row in enumerate(_typed(tables.beds()))]
    yield _xlsx(
        "a space behind each row",
        _book({"Beds": surplus}),
        read(tables.beds(), warnings="surplus_cells"),
        read(tables.beds()),
    )


def _capital(people: Table) -> Table:
    """Booleans as Excel shows them."""
    return tables.with_(people, active=str.upper)
