"""Rows as an Excel workbook. Text stays text: no cell is ever a formula or a link."""

from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from jobs.datasets import Dataset
from jobs.errors import NotExportableError
from jobs.export import typed_rows
from jobs.rows.selection import Selection
from jobs.rows.sql_table import run

#: Excel's limits: rows of a sheet, the header included, and characters of a cell, of which some count twice.
MAX_ROWS, MAX_CHARACTERS = 1_048_576, 32_767
#: Excel keeps 15 digits of a number; a longer one becomes text.
_LARGEST_INTEGER = 10**15
#: Excel's calendar begins with 1900, and takes this year for a leap year.
_FIRST_DAY = date(1900, 3, 1)
_FORMATS = {"date": "yyyy-mm-dd", "datetime": "yyyy-mm-dd hh:mm:ss", "time": "hh:mm:ss"}


def write(connection: sa.Connection, dataset: Dataset, selection: Selection, path: Path, *, provenance: bool) -> None:
    """Write a file, with temporary ones beside it. Raises NotExportableError."""
    _check_count(connection, dataset, selection)
    columns = typed_rows.columns(dataset, provenance=provenance)
    with Workbook(path, {"constant_memory": True, "tmpdir": str(path.parent)}) as workbook:
        formats = {type_: workbook.add_format({"num_format": text}) for type_, text in _FORMATS.items()}
        bold = workbook.add_format({"bold": True})
        sheet = workbook.add_worksheet("rows")
        sheet.freeze_panes(1, 0)
        for place, (name, _) in enumerate(columns):
            sheet.write_string(0, place, name, bold)
        writers = [_writer(sheet, type_, formats.get(type_)) for _, type_ in columns]
        rows = typed_rows.rows(connection, dataset, selection, provenance=provenance)
        for number, row in enumerate(rows, start=1):
            for place, value in enumerate(row):
                if value is not None:
                    if type(value) is str and not _fits(value):
                        raise _too_long(columns[place][0], number)
                    writers[place](number, place, value)


def _check_count(connection: sa.Connection, dataset: Dataset, selection: Selection) -> None:
    statement, values = dataset.table(connection.dialect).count(selection, MAX_ROWS)
    if run(connection, statement, *values).scalar_one() >= MAX_ROWS:
        raise NotExportableError(
            f"There are more than {MAX_ROWS - 1:,} rows, which is all that a worksheet of Excel has room for. Choose"
            " fewer rows with a filter, or another format."
        )


def _fits(text: str) -> bool:
    return len(text) <= MAX_CHARACTERS // 2 or len(text.encode("utf-16-le")) // 2 <= MAX_CHARACTERS


def _too_long(column: str, row: int) -> NotExportableError:
    return NotExportableError(
        f"“{column}” has more than {MAX_CHARACTERS:,} characters in row {row:,}, which is all that a cell of Excel has"
        " room for. Choose other rows with a filter, or another format."
    )


def _writer(sheet: Worksheet, type_: str, format_: Any) -> Callable[[int, int, Any], object]:
    def moment(row: int, column: int, value: date | time) -> object:
        if isinstance(value, datetime):
            value = value.replace(tzinfo=None)
            day: date | None = value.date()
        else:
            day = value if isinstance(value, date) else None
        if day is not None and day < _FIRST_DAY:
            return sheet.write_string(row, column, value.isoformat())
        return sheet.write_datetime(row, column, value, format_)

    def integer(row: int, column: int, value: int) -> object:
        if abs(value) < _LARGEST_INTEGER:
            return sheet.write_number(row, column, value)
        return sheet.write_string(row, column, str(value))

    if type_ in _FORMATS:
        return moment
    writers: dict[str, Callable[[int, int, Any], object]] = {
        "string": sheet.write_string,
        "integer": integer,
        "number": sheet.write_number,
        "boolean": sheet.write_boolean,
    }
    return writers[type_]
