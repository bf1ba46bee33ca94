"""Rows compared with the stored ones in the range of their keys, on SQLite, beside rows that are looked up."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from jobs import bulk_upload, datasets, uploads
from jobs.database import Database
from jobs.modes import Mode
from jobs.pipeline import stored_range
from jobs.pipeline.stored_range import Near
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.files import store

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "sku", "type": "integer"},
        {"name": "note", "type": "string"},
        {"name": "price", "type": "number"},
        {"name": "count", "type": "integer"},
        {"name": "is_new", "type": "boolean"},
        {"name": "day", "type": "date"},
        {"name": "spare", "type": "number"},
    ],
    "primaryKey": "sku",
}
ROWS = 300

Row = list[str]


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


@pytest.fixture(autouse=True)
def _every_chunk_is_large(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_range, "FEW", 1)
    for name, value in settings.model_copy(update={"lease": 60}).environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Near | None]:
    """What was read of the ranges of keys, in order."""
    results: list[Near | None] = []
    read = Near.read.__func__  # type: ignore[attr-defined]  # of a class method

    def noted(cls: type[Near], *words: Any) -> Near | None:
        results.append(read(cls, *words))
        return results[-1]

    monkeypatch.setattr(Near, "read", classmethod(noted))
    return results


def row(sku: int, dice: random.Random) -> Row:
    return [
        str(sku),
        dice.choice(["", "a", "ä", "b" * 40, "x,y"]),
        dice.choice(["", "1.5", "0", "-2"]),
        dice.choice(["", "1", "2"]),
        dice.choice(["", "true", "false"]),
        dice.choice(["", "2026-01-31", "2026-02-01"]),
        "",
    ]


def changed(cells: Row, dice: random.Random) -> Row:
    place = dice.randrange(1, 7)
    other = ["", "other", "9", "7", "true", "2026-03-01", "3"][place]
    return [*cells[:place], "" if cells[place] == other else other, *cells[place + 1 :]]


def stored(database: Database, settings: Settings, name: str, rows: list[Row]) -> None:
    with database.transaction() as connection:
        datasets.declare(connection, name, TableSchema.parse(SCHEMA), Mode.UPSERT)
    ended(database, sent(database, settings, name, rows))


def sent(database: Database, settings: Settings, name: str, rows: list[Row]) -> Upload:
    names = ",".join(each["name"] for each in SCHEMA["fields"])
    lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in cells) for cells in rows]
    content = "\n".join([names, *lines, ""])
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content, "stock.csv"), dataset=name)


def ended(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        now = uploads.get(connection, upload.id)
    assert now.status is Status.COMPLETED, now.error
    return now


def values(database: Database, name: str) -> list[tuple[Any, ...]]:
    """The rows, and whether each is of the second upload into its dataset."""
    with database.reading() as connection:
        mine = f"_upload_id = (SELECT max(_upload_id) FROM data_{name}), _row_number"
        names = ", ".join(each["name"] for each in SCHEMA["fields"])
        return sorted(map(tuple, run(connection, f"SELECT {names}, {mine} FROM data_{name}")))


def files() -> Iterator[tuple[list[Row], list[Row]]]:
    """What is stored, and what comes: some rows as they are, some changed, some new, in any order."""
    for seed in range(20):
        dice = random.Random(seed)
        before = [row(sku, dice) for sku in range(0, 2 * ROWS, 2)]
        after = [changed(each, dice) if dice.random() < seed / 40 else each for each in before if dice.random() < 0.95]
        after += [row(sku, dice) for sku in range(1, 2 * ROWS, 2) if dice.random() < seed / 60]
        if seed % 2:
            dice.shuffle(after)
        yield before, after


@pytest.mark.parametrize("case", range(20))
def test_both_ways_find_the_same(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, found: list[Near | None], case: int
) -> None:
    before, after = list(files())[case]
    ends = []
    for name, few in (("ranged", 1), ("looked_up", 1 << 30)):
        monkeypatch.setattr(stored_range, "FEW", few)
        stored(database, settings, name, before)
        found.clear()
        upload = ended(database, sent(database, settings, name, after))
        assert any(found) == (few == 1)
        ends.append(((upload.rows_success, upload.rows_added, upload.rows_unchanged), values(database, name)))

    assert ends[0] == ends[1]
    counts = ends[0][0]
    assert counts[0] == len(after)
    assert counts[2] == sum(each in before for each in after)


def test_a_stored_row_that_is_much_longer_than_those_that_come_is_not_read(
    settings: Settings, database: Database, found: list[Near | None]
) -> None:
    dice = random.Random(1)
    before = [row(sku, dice) for sku in range(ROWS)]
    after = [list(each) for each in before]
    before[7][1] = before[8][1] = "long" * 1_000
    stored(database, settings, "stock", before)
    found.clear()
    upload = ended(database, sent(database, settings, "stock", after))

    (near,) = found
    assert near is not None
    assert sorted({*range(ROWS)} - {*near.places.tolist()}) == [7, 8]
    assert (upload.rows_added, upload.rows_unchanged) == (0, ROWS - 2)


@pytest.mark.parametrize(("step", "others"), [(3, 1), (1, 3)])
def test_rows_are_looked_up_where_many_others_are_between_them_or_few_of_them_are_stored(
    settings: Settings, database: Database, found: list[Near | None], step: int, others: int
) -> None:
    dice = random.Random(2)
    before = [row(sku, dice) for sku in range(0, ROWS, others)]
    stored(database, settings, "stock", before)
    known = {each[0]: each for each in before}
    after = [known.get(str(sku)) or row(sku, dice) for sku in range(0, ROWS, step)]
    found.clear()
    upload = ended(database, sent(database, settings, "stock", after))

    assert found == [None]
    assert (upload.rows_added, upload.rows_unchanged) == (len(after) - ROWS // 3, ROWS // 3)


def test_a_key_may_come_again_in_another_chunk(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, found: list[Near | None]
) -> None:
    for name, value in settings.model_copy(update={"chunk_bytes": 1_024, "lease": 60}).environment().items():
        monkeypatch.setenv(name, value)
    dice = random.Random(3)
    before = [row(sku, dice) for sku in range(ROWS)]
    stored(database, settings, "stock", before)
    found.clear()
    upload = ended(database, sent(database, settings, "stock", [*before, *(changed(each, dice) for each in before)]))

    assert any(found)
    assert (upload.rows_success, upload.rows_added, upload.rows_unchanged) == (2 * ROWS, 0, 0)
    assert all(is_mine for *_, is_mine, _ in values(database, "stock"))
