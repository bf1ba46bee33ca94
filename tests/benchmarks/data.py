"""Files of any length that are the same on every machine, and the declared shape of their rows.

Eight columns: a text key, a name with quoted commas and letters beyond ASCII, an integer, a decimal, a date, a boolean,
a category and a note. One row in each hundred is bad, in one of five ways, unless the file is a clean one.
"""

import random
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

SEED = 20260131
#: Raised with every change to the rows, so that files made before are made again.
VERSION = 1
#: Rows of which one is bad.
ONE_BAD_IN = 100
#: Rows that are joined and written at once.
BATCH = 10_000

CATEGORIES = ["tools", "toys", "books", "garden", "kitchen", "music", "office"]

#: A Table Schema (https://specs.frictionlessdata.io/table-schema/).
SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "key", "type": "string", "constraints": {"required": True, "pattern": "K[0-9]{9}"}},
        {"name": "name", "type": "string", "constraints": {"required": True, "maxLength": 60}},
        {"name": "quantity", "type": "integer", "constraints": {"minimum": 0}},
        {"name": "price", "type": "number", "constraints": {"minimum": 0}},
        {"name": "sold", "type": "date"},
        {"name": "paid", "type": "boolean"},
        {"name": "category", "type": "string", "constraints": {"enum": CATEGORIES}},
        {"name": "note", "type": "string", "constraints": {"maxLength": 200}},
    ],
    "primaryKey": "key",
}
NAMES: list[str] = [field["name"] for field in SCHEMA["fields"]]

_SAID = {"true": "ja", "false": "nein"}
_FIRST = ["Anna", "Zoë", "Łukasz", "Søren", "José", "Chloé", "Иван", "美咲", "Bob", "Eve"]
_LAST = ["Müller", "O'Neil", "Smith", "García", "Nowak", "Ångström", "Иванова", "佐藤", "Brown", "Dvořák"]
_WORDS = ["packed by hand", "left at the door", "sent by post", "gift wrapped", "paid on delivery"]


def csv_file(rows: int, *, clean: bool = False, folder: Path | None = None) -> Path:
    """The CSV file of so many rows: made when it is first asked for, then kept. folder: default, a temporary one."""
    return _kept(folder, f"{rows}-{'clean' if clean else 'bad'}.csv", lambda path: _write_csv(path, rows, clean))


def changed_file(rows: int, *, folder: Path | None = None) -> Path:
    """`csv_file`, but another note in each row."""
    return _kept(folder, f"{rows}-changed.csv", lambda path: _write_changed(path, csv_file(rows)))


def messy_file(rows: int, share: float, *, folder: Path | None = None) -> Path:
    """A clean file in which a share of the rows spells five values so that only rules can read them."""
    return _kept(folder, f"{rows}-messy-{share}.csv", lambda path: _write_messy(path, rows, share))


def xlsx_file(rows: int, *, folder: Path | None = None) -> Path:
    """The same rows as a workbook, numbers, dates and booleans as Excel keeps them."""
    return _kept(folder, f"{rows}-bad.xlsx", lambda path: _write_xlsx(path, rows))


def bad_numbers(rows: int) -> list[int]:
    """The numbers of the bad rows, the first row below the header being 1: anywhere, but one in each whole hundred."""
    places = _places(rows // ONE_BAD_IN)
    return [hundred * ONE_BAD_IN + place + 1 for hundred, place in enumerate(places)]


def key_of(number: int) -> str:
    """The key of the row with this number."""
    return f"K{number:09}"


@lru_cache(maxsize=4)
def _places(hundreds: int) -> list[int]:
    numbers = random.Random(SEED)
    return [numbers.randrange(ONE_BAD_IN) for _ in range(hundreds)]


def _kept(folder: Path | None, name: str, write: Any) -> Path:
    folder = folder or Path(tempfile.gettempdir()) / "bulk-upload-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"v{VERSION}-{name}"
    if not path.exists():
        part = path.with_name(f"part-{path.name}")
        write(part)
        part.rename(path)
    return path


def _write_csv(path: Path, rows: int, clean: bool) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(NAMES) + "\n")
        batch: list[str] = []
        for cells in _rows(rows, clean):
            batch.append(",".join(cells))
            if len(batch) == BATCH:
                file.write("\n".join(batch) + "\n")
                batch.clear()
        file.writelines(f"{line}\n" for line in batch)


def _write_changed(path: Path, before: Path) -> None:
    with before.open(encoding="utf-8") as source, path.open("w", encoding="utf-8", newline="") as file:
        file.write(next(source))
        for line in source:
            has_note = line.rstrip().endswith(tuple(_WORDS))
            file.write(f"{line.rstrip()} again\n" if has_note else line)


def _write_messy(path: Path, rows: int, share: float) -> None:
    numbers = random.Random(SEED)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(NAMES) + "\n")
        for cells in _rows(rows, clean=True):
            if numbers.random() < share:
                year, month, day = cells[4].split("-")
                price = f"{float(cells[3]):,.2f}".translate(str.maketrans(",.", ".,"))
                cells[2:7] = f"{cells[2]} pcs", f'"{price}"', f"{day}/{month}/{year}", _SAID[cells[5]], cells[6].upper()
            file.write(",".join(cells) + "\n")


def _write_xlsx(path: Path, rows: int) -> None:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("sales")
    sheet.append(NAMES)
    for cells in _rows(rows, clean=False):
        if len(cells) < len(NAMES):
            cells[1] = ""  # a sheet has no row with too few cells: this one lacks what is required
        sheet.append([_cell(name, text) for name, text in zip(NAMES, cells, strict=False)])
    book.save(path)


def _cell(name: str, text: str) -> str | int | float | bool | date:
    """What a spreadsheet makes of a cell that was typed in."""
    try:
        if name == "quantity":
            return int(text)
        if name == "price":
            return float(text)
        if name == "sold":
            return date.fromisoformat(text)
    except ValueError:
        return text
    return text == "true" if name == "paid" else text.strip('"')


def _rows(rows: int, clean: bool) -> Iterator[list[str]]:
    """Cells as they are written, row after row. Pools of different lengths go round, so that no two rows are alike."""
    numbers = random.Random(SEED)
    names = [f'"{numbers.choice(_LAST)}, {numbers.choice(_FIRST)}"' for _ in range(997)]
    quantities = [str(numbers.randrange(10_000)) for _ in range(1_009)]
    prices = [f"{numbers.randrange(100_000) / 100:.2f}" for _ in range(1_013)]
    days = [str(date(2020, 1, 1) + timedelta(numbers.randrange(2_000))) for _ in range(1_019)]
    paid = [numbers.choice(["true", "false"]) for _ in range(1_021)]
    categories = [numbers.choice(CATEGORIES) for _ in range(1_031)]
    notes = [f"order {numbers.randrange(1_000_000)} {numbers.choice(_WORDS)}" for _ in range(1_033)]
    bad = iter([] if clean else bad_numbers(rows))
    next_bad, spoilt = next(bad, 0), 0
    for n in range(1, rows + 1):
        row = [
            f"K{n:09}", names[n % 997], quantities[n % 1_009], prices[n % 1_013], days[n % 1_019], paid[n % 1_021],
            categories[n % 1_031], notes[n % 1_033],
        ]  # fmt: skip
        if n == next_bad:
            _spoil(row, spoilt)
            next_bad, spoilt = next(bad, 0), spoilt + 1
        yield row


def _spoil(row: list[str], turn: int) -> None:
    """Break one rule: a type, a day of the calendar, an enum, the key's pattern, or the number of cells, in turn."""
    match turn % 5:
        case 0:
            row[2] = "12 pieces"
        case 1:
            row[4] = "2023-02-30"
        case 2:
            row[6] = "gadgets"
        case 3:
            row[0] = f"X{row[0]}"
        case _:
            del row[6:]
