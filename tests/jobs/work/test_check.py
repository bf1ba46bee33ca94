"""What a check promises is what the import does, on both databases."""

import random
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, failed_rows, review, uploads
from jobs.database import Database
from jobs.modes import OF_DATASETS, Mode, possible
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Phase, Review, Status, Upload
from tests.support.corrections import corrections_file
from tests.support.files import store

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "shelf", "type": "integer", "constraints": {"minimum": 0}},
        {"name": "price", "type": "number"},
        {"name": "code", "type": "string", "constraints": {"unique": True}},
        {"name": "since", "type": "date"},
    ],
    "primaryKey": ["sku", "shelf"],
}
KEYS = {
    "one key": ["sku"],
    "two columns": ["sku", "shelf"],
    "none": [],
}


def schema_with(key: list[str], *, unique: bool) -> TableSchema:
    fields = [dict(each) for each in SCHEMA["fields"]]
    if not unique:
        del fields[3]["constraints"]
    return TableSchema.parse({**SCHEMA, "fields": fields, "primaryKey": key})


class World:
    """Random rows with few different keys and values, so that many of them collide."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def content(self, rows: int, columns: list[str]) -> str:
        lines = [",".join(columns)]
        for _ in range(rows):
            row = {
                "sku": f"S{self._random.randrange(25)}",
                "shelf": str(self._random.choice([1, 2, 3, 3, -1])),
                "price": self._random.choice(["1.5", "2", "2.25", "", "dear"]),
                "code": self._random.choice(["", *(f"C{n}" for n in range(30))]),
                "since": self._random.choice(["2026-01-31", "2026-02-01", "2026-02-31", ""]),
            }
            lines.append(",".join(row[name] for name in columns))
        return "\n".join(lines) + "\n"

    def chunk_bytes(self) -> int:
        return self._random.choice([256, 400, 1_000, 1 << 20])

    def columns(self) -> list[str]:
        names = ["sku", "shelf", "price", "code", "since"]
        return names if self._random.random() < 0.6 else names[:4]


def use(monkeypatch: pytest.MonkeyPatch, settings: Settings, chunk_bytes: int) -> None:
    for name, value in settings.model_copy(update={"chunk_bytes": chunk_bytes, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)


def sent(settings: Settings, database: Database, content: str, **more: Any) -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content, "stock.csv"), **more)


def after_job(database: Database, upload_id: int) -> Upload:
    bulk_upload.run(upload_id)
    with database.reading() as connection:
        return uploads.get(connection, upload_id)


def stored(database: Database, name: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Key → fields of each row."""
    with database.reading() as connection:
        dataset = datasets.get(connection, name)
        names = dataset.schema.names
        key = dataset.schema.primary_key or ["_upload_id", "_row_number"]
        rows = connection.execute(sa.text(f"SELECT * FROM data_{name}")).mappings().all()
    return {tuple(row[each] for each in key): tuple(row[each] for each in names) for row in rows}


#: A row without a key replaces none. What is usual for the dataset, the key, and what the second upload asks for.
KINDS = [
    (usual, key, wanted)
    for key in KEYS
    for usual in OF_DATASETS
    if usual in possible(KEYS[key])
    for wanted in (None, *possible(KEYS[key]))
    if wanted is not usual and (usual is Mode.INSERT or wanted in (None, Mode.REPLACE))
]


@pytest.mark.parametrize(("usual", "key", "wanted"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_figure_of_a_check_is_what_the_import_then_does(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    usual: Mode,
    key: str,
    wanted: Mode | None,
    seed: int,
) -> None:
    mode = wanted or usual
    world, other_chunks = World(seed), seed % 2 == 1
    with database.transaction() as connection:
        datasets.declare(connection, "stock", schema_with(KEYS[key], unique=seed % 3 != 0), usual)
    use(monkeypatch, settings, world.chunk_bytes())
    after_job(database, sent(settings, database, world.content(40, world.columns()), dataset="stock").id)
    before = stored(database, "stock")

    held = after_job(
        database,
        sent(
            settings,
            database,
            world.content(120, world.columns()),
            dataset="stock",
            review=Review.ALWAYS,
            mode=wanted,
        ).id,
    )
    assert (held.status, held.phase, held.rows_processed) == (Status.HELD, Phase.CHECK, 0)
    assert stored(database, "stock") == before
    with database.reading() as connection:
        check = review.as_json(connection, held)["check"]
    if other_chunks:
        use(monkeypatch, settings, world.chunk_bytes())
    with database.transaction() as connection:
        uploads.approve(connection, held.id)
    ended = after_job(database, held.id)
    after = stored(database, "stock")
    with database.reading() as connection:
        failures = failed_rows.failures(connection, held.id, limit=500)

    assert ended.status is Status.COMPLETED, ended.error
    assert check["rows"] == ended.rows_processed
    assert check["would_fail"] == ended.rows_failed
    assert (check["mode"], ended.mode) == (mode, mode)
    assert check["would_remove"] == ended.rows_removed == (len(before) if mode is Mode.REPLACE else 0)
    assert ended.rows_added == check["would_insert"]
    before = {} if mode is Mode.REPLACE else before
    inserted = [each for each in after if each not in before]
    if mode is Mode.ONLY_NEW:
        assert before.items() <= after.items()
        assert (check["would_update"], check["superseded"]) == (0, 0)
    updated = [each for each in after if each in before and after[each] != before[each]]
    assert check["would_insert"] == len(inserted)
    assert check["would_update"] == len(updated)
    assert check["unchanged"] + check["superseded"] == ended.rows_success - len(inserted) - len(updated)
    figures = ("would_insert", "would_update", "unchanged", "superseded", "would_fail")
    assert sum(check[name] for name in figures) == check["rows"]
    told = {(each["column"], each["rule"]): each["rows"] for each in check["reasons"]}
    if not other_chunks:  # whether a colliding row was in the file or in the dataset depends on where a chunk ends
        assert told == {(each.column, each.rule): each.rows for each in failures}
    examples = {tuple(each["key"].values()) for each in check["updates"]}
    assert examples <= {tuple(map(str, each)) for each in updated}
    assert len(examples) == min(20, len(updated))


@pytest.mark.parametrize("chunk_bytes", [256, 1 << 20])
def test_a_check_of_corrections_knows_which_rows_they_correct(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "count", "type": "integer"}, {"name": "note"}]
    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse({"fields": fields, "primaryKey": "id"}), Mode.UPSERT)
    use(monkeypatch, settings, chunk_bytes)
    rows = "".join(f"{number},{'x' if number % 2 else number},some words\n" for number in range(60))
    parent = after_job(database, sent(settings, database, f"id,count,note\n{rows}", dataset="stock").id)
    header, *records = corrections_file(database, parent).decode("utf-8-sig").splitlines()
    good = [record.replace(",x,", ",5,") for record in records]
    first = "\r\n".join([header, *good[:5]])
    after_job(database, sent(settings, database, first, parent=parent.id, dataset="stock").id)
    unfixed, foreign = records[5:8], good[9].replace(f",{parent.id},", ",999,")
    last = "\r\n".join([header, *good[:7], *unfixed, foreign, *good[10:], *good[10:12], "500,1,added,,,"])
    held = after_job(database, sent(settings, database, last, review=Review.ALWAYS).id)
    with database.reading() as connection:
        check = review.as_json(connection, held)["check"]
        told = review.as_json(connection, held)
    with database.transaction() as connection:
        uploads.approve(connection, held.id)
    ended = after_job(database, held.id)
    with database.reading() as connection:
        failed = failed_rows.rows(connection, held.id, limit=500)

    assert (held.status, held.dataset, held.parent, held.mode) == (Status.HELD, "stock", parent.id, Mode.UPSERT)
    assert [each["column"] for each in told["fields"]] == ["id", "count", "note"]
    assert ended.status is Status.COMPLETED, ended.error
    assert (check["rows"], check["would_fail"]) == (ended.rows_processed, ended.rows_failed)
    assert (check["would_insert"], check["would_update"]) == (ended.rows_added, 0)
    reasons = {(each["column"], each["rule"]): each["rows"] for each in check["reasons"]}
    assert reasons == Counter((each.column, each.rule) for row in failed for each in row.reasons)
    assert reasons[None, "was already corrected"] >= 5
