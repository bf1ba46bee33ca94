"""One damaged record costs that record and no other, wherever the damage is, and it never lands shifted."""

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.import_options import ImportOptions
from jobs.pipeline import reader, source
from jobs.pipeline.source import Limits
from tests.support.files import nothing

NAMES = ["date", "time", "quantity", "product", "price", "kind", "description", "address", "comments"]
KINDS = ["hardware", "software, licences", "services", "books"]
TEXTS = ["A solid one", "Two words, and a comma", 'With a "quoted" word', "plain", "Several\r\nlines of text"]
DAMAGES = ["a delimiter less", "a delimiter more", "another delimiter", "an open quote"]


def rows() -> list[list[str]]:
    numbers = random.Random(1)
    return [
        [
            f"{numbers.randrange(1, 13)}/{numbers.randrange(1, 29)}/2021",
            f"{numbers.randrange(24):02}:{numbers.randrange(60):02}",
            str(numbers.randrange(1, 40)),
            f"CC-{numbers.randrange(1000, 9999)}",
            f"{numbers.randrange(1, 900)}.{numbers.randrange(10, 99)}",
            numbers.choice(KINDS),
            numbers.choice(TEXTS),
            f"https://example.org/{number}",
            numbers.choice(["", "", "late", "to be checked, twice"]),
        ]
        for number in range(40)
    ]


def record(cells: list[str], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return text.getvalue()


def damaged(cells: list[str], damage: str) -> Iterator[str]:
    """A record with one damage, at each of its cells."""
    parts = [record([cell]).removesuffix("\r\n") if cell else "" for cell in cells]
    for place in range(1, len(parts)):
        if damage == "a delimiter less":
            yield ",".join([*parts[: place - 1], parts[place - 1] + parts[place], *parts[place + 1 :]])
        elif damage == "a delimiter more":
            yield ",".join([*parts[:place], "", *parts[place:]])
        elif damage == "an open quote" and not cells[place].count(","):
            yield ",".join([*parts[:place], f'"{cells[place]}', *parts[place + 1 :]])
    if damage == "another delimiter":
        yield from (record(cells, delimiter).removesuffix("\r\n") for delimiter in ";\t| ")


def read(path: Path) -> list[list[str]]:
    text = source.prepare(path, path.name, ImportOptions(), limits=Limits(), tick=nothing)
    table = reader.inspect(text)
    assert table.names == NAMES
    chunks = reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=1 << 20)
    return [list(cells) for chunk in chunks for cells in chunk.rows.itertuples(index=False)]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", [0, 7, 20, 39])
def test_a_damaged_record_costs_no_other_row_and_lands_in_no_other_columns(
    tmp_path: Path, damage: str, place: int
) -> None:
    table = rows()
    clean = [record(cells) for cells in [NAMES, *table]]
    others = [*table[:place], *table[place + 1 :]]
    for number, line in enumerate(damaged(table[place], damage)):
        path = tmp_path / f"{number}.csv"
        path.write_bytes("".join([*clean[: place + 1], f"{line}\r\n", *clean[place + 2 :]]).encode())

        assert read(path) == others, line


@pytest.mark.parametrize("damage", ["a delimiter more", "another delimiter"])
def test_a_damaged_header_still_names_the_columns(tmp_path: Path, damage: str) -> None:
    table = rows()
    for number, line in enumerate(damaged(NAMES, damage)):
        path = tmp_path / f"{number}.csv"
        path.write_bytes("".join([f"{line}\r\n", *map(record, table)]).encode())

        assert read(path) == table, line
