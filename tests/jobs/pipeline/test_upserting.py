"""An upsert that keeps what it replaces, on both databases, whose work horse is killed."""

from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, receipts, uploads
from jobs.database import Database
from jobs.modes import Mode
from jobs.pipeline import stored_range, upserting
from jobs.pipeline.upsert_sql import UpsertSql
from jobs.pipeline.upserting import Upserting
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.traces import before_images, unchanged_rows
from jobs.undo import orders as undo_orders
from jobs.uploads import Status, Upload
from jobs.work import verification
from tests.support.dying import Death, killed
from tests.support.files import store

STOCK: dict[str, Any] = {
    "fields": [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}],
    "primaryKey": "sku",
}
#: When the work horses are killed, one after the other.
DEATHS = [
    Death("from jobs.pipeline.upserting import Upserting as Doomed", "outcome", 1),  # the rows are written
    Death("from jobs.traces import before_images as Doomed", "record", 2),
    Death("from jobs.work.attempt import Attempt as Doomed", "_commit", 3),  # between two chunks
    Death("from jobs.traces import unchanged_rows as Doomed", "record", 2),
    Death("from jobs import datasets as Doomed", "count_rows", 2),  # the last statement before the commit
    Death("from jobs import uploads as Doomed", "complete", 1),
]
FIRST = "".join(f"{sku},1.5\n" for sku in range(200))
#: A chunk in which every row changes, others, new keys, and keys that come again in another chunk: a row that goes back
#: to what it was, one that changes after all, one that changes twice, and a new one that comes again.
SECOND = "".join(
    [
        *(f"{sku},2.5\n" for sku in range(60)),
        *(f"{sku},{sku % 3}.5\n" for sku in range(60, 150)),
        *(f"{sku},2.5\n" for sku in range(300, 350)),
        *(f"{sku},1.5\n" for sku in range(20)),
        *(f"{sku},4.5\n" for sku in range(61, 120, 3)),
        *(f"{sku},3.5\n" for sku in range(30, 40)),
        *(f"{sku},6.5\n" for sku in range(320, 330)),
    ]
)  # fmt: skip


@pytest.fixture(autouse=True)
def _small_chunks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = settings.model_copy(update={"chunk_bytes": 256, "lease": 60})
    for name, value in changed.environment().items():
        monkeypatch.setenv(name, value)


def test_an_upsert_that_is_killed_again_and_again_ends_as_one_that_is_not(
    settings: Settings, database: Database
) -> None:
    undisturbed, disturbed = "calm", "killed"
    for name in (undisturbed, disturbed):
        with database.transaction() as connection:
            datasets.declare(connection, name, TableSchema.parse(STOCK), Mode.UPSERT)
        ended(database, sent(settings, database, name, FIRST))

    calm = ended(database, sent(settings, database, undisturbed, SECOND))
    doomed = sent(settings, database, disturbed, SECOND)
    reached = [killed(database, doomed, death).rows_processed for death in DEATHS]
    survivor = ended(database, doomed)

    assert reached == sorted(reached)
    assert len(set(reached)) == len(DEATHS)
    assert survivor.attempt == len(DEATHS) + 1
    assert outcome(database, survivor) == outcome(database, calm)
    assert (calm.rows_success, calm.rows_added, calm.rows_unchanged) == (260, 50, 30)
    with database.reading() as connection:
        assert verification.verify(connection, survivor.id)["result"] == receipts.EQUAL
    with database.transaction() as connection:
        undo = undo_orders.order(connection, survivor)
    assert ended(database, undo).rows_removed == 50
    with database.reading() as connection:
        prices = run(connection, "SELECT sku, price FROM data_killed")
        assert dict(map(tuple, prices)) == dict.fromkeys(range(200), 1.5)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How rows were compared with all stored ones in the range of their keys, or else one by one on PostgreSQL, in
    order. The smallest chunks are large."""
    monkeypatch.setattr(upserting, "FEW", 1)
    monkeypatch.setattr(stored_range, "FEW", 1)
    monkeypatch.setattr(Upserting, "changes_all", lambda *_: False)
    found: list[str] = []

    def note(name: str) -> None:
        whole = getattr(UpsertSql, name)

        def noted(self: UpsertSql, *words: Any, **more: Any) -> str:
            found.append(name)
            return str(whole(self, *words, **more))

        monkeypatch.setattr(UpsertSql, name, noted)

    note("comparing")
    note("comparing_range")
    note("near")
    return found


def test_stored_rows_are_read_by_ranges_of_keys_while_few_are_between_those_of_a_chunk(
    settings: Settings, database: Database, statements: list[str]
) -> None:
    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse(STOCK), Mode.UPSERT)
    ended(database, sent(settings, database, "stock", FIRST))
    statements.clear()
    dense = [*range(165, 150, -1), *range(190, 165, -1), *range(400, 410)]  # in no order, and not all are there
    upload = ended(database, sent(settings, database, "stock", "".join(f"{sku},{1 + sku % 2}.5\n" for sku in dense)))

    assert (upload.rows_added, upload.rows_unchanged, upload.rows_success) == (10, 20, 50)
    ranged = "near" if database.is_sqlite else "comparing_range"
    assert statements == [ranged] * 2

    statements.clear()
    sparse = "".join(f"{sku},1.5\n" for sku in range(0, 200, 2))
    upload = ended(database, sent(settings, database, "stock", sparse.replace("\n50,1.5\n", "\n999,1.5\n50,1.5\n")))
    assert (upload.rows_added, upload.rows_unchanged, upload.rows_success) == (1, 100, 101)
    assert statements[:1] == [ranged]
    assert statements.count(ranged) == 1


def test_rows_that_all_change_are_replaced_by_ranges_of_keys_while_few_others_are_between_them(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upserting, "FEW", 1)
    monkeypatch.setattr(upserting, "SAMPLE", 1)
    found: list[bool] = []
    replacing = UpsertSql.replacing

    def noted(self: UpsertSql, *, ranged: bool = False) -> str:
        found.append(ranged)
        return replacing(self, ranged=ranged)

    monkeypatch.setattr(UpsertSql, "replacing", noted)
    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse(STOCK), Mode.UPSERT)
    ended(database, sent(settings, database, "stock", FIRST))
    dense = range(199, 100, -1)
    upload = ended(database, sent(settings, database, "stock", "".join(f"{sku},2.5\n" for sku in dense)))

    assert (upload.rows_added, upload.rows_unchanged, upload.rows_success) == (0, 0, 99)
    assert bool(found) != database.is_sqlite
    assert all(found)

    found.clear()
    sparse = "".join(f"{sku},3.5\n" for sku in range(0, 200, 3))
    upload = ended(database, sent(settings, database, "stock", sparse))
    assert (upload.rows_added, upload.rows_unchanged, upload.rows_success) == (0, 0, 67)
    assert found == ([] if database.is_sqlite else [False] * len(found))
    with database.reading() as connection:
        prices = dict(map(tuple, run(connection, "SELECT sku, price FROM data_stock")))
    assert prices == {sku: 3.5 if sku % 3 == 0 else 2.5 if sku > 100 else 1.5 for sku in range(200)}


def test_the_index_of_keys_has_room_for_rows_that_replace_others(database: Database) -> None:
    if database.is_sqlite:
        return
    for mode in (Mode.UPSERT, Mode.INSERT):
        with database.transaction() as connection:
            datasets.declare(connection, f"by_{mode}".replace("-", "_"), TableSchema.parse(STOCK), mode)
    with database.reading() as connection:
        options = dict(
            map(tuple, run(connection, "SELECT relname, reloptions::text FROM pg_class WHERE relkind = 'i'"))
        )
    assert options["data_by_upsert_pkey"] == "{fillfactor=45}"
    assert options["data_by_insert_pkey"] is None


#: Types of a key, with values in the order of none of them.
KEYS = {
    "string": ["b", "B", "ä", "a", "Z", "10", "9", "zz", "é", "_"],
    "date": [f"2026-01-{day:02}" for day in (9, 3, 31, 1, 17, 2, 5, 28, 11, 30)],
    "datetime": [f"2026-01-{day:02}T09:00:00Z" for day in (9, 3, 31, 1, 17, 2, 5, 28, 11, 30)],
    "number": ["1.5", "-2", "1e3", "0", "10", "9", "-0.5", "3", "7", "100"],
    "boolean": ["true", "false"],
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_are_compared_alike_whatever_the_type_of_their_key(
    settings: Settings, database: Database, statements: list[str], kind: str
) -> None:
    fields = [{"name": "sku", "type": kind}, {"name": "price", "type": "number"}]
    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse({"fields": fields, "primaryKey": "sku"}), Mode.UPSERT)
    keys = KEYS[kind]
    ended(database, sent(settings, database, "stock", "".join(f"{key},1.5\n" for key in keys)))
    statements.clear()
    half = len(keys) // 2
    again = [f"{key},{1.5 if place < half else 2.5}\n" for place, key in enumerate(keys)]
    upload = ended(database, sent(settings, database, "stock", "".join(again)))

    assert (upload.rows_added, upload.rows_unchanged, upload.rows_success) == (0, half, len(keys))
    one_by_one = [] if database.is_sqlite else ["comparing"]
    assert statements == (one_by_one if kind == "boolean" else ["near" if database.is_sqlite else "comparing_range"])


def sent(settings: Settings, database: Database, dataset: str, rows: str) -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, f"sku,price\n{rows}", "stock.csv"), dataset=dataset)


def ended(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        found = uploads.get(connection, upload.id)
    assert found.status is Status.COMPLETED, found.error
    return found


def outcome(database: Database, upload: Upload) -> dict[str, Any]:
    """Everything that an upload left. Origins say whether this upload wrote a row, and in which line."""
    counts = ("rows_processed", "rows_success", "rows_failed", "rows_added", "rows_unchanged", "rows_total")
    with database.reading() as connection:
        kept = before_images.of(connection, upload.id)
        assert kept is not None
        own = f"_upload_id = {upload.id}, _row_number, sku, price"
        return {
            "counts": {name: getattr(upload, name) for name in counts},
            "rows": rows_of(connection, f"SELECT {own} FROM data_{upload.dataset}"),
            "rows of the dataset": datasets.row_count(connection, datasets.get(connection, str(upload.dataset))),
            "images": rows_of(connection, f'SELECT {own}, " by" = {upload.id} FROM before_{upload.dataset}'),
            "replaced": (kept.replaced, kept.lost),
            "unchanged": sorted(
                pair for block in unchanged_rows.of_upload(connection, upload.id) for pair in block.pairs()
            ),
            "digest": receipts.get(connection, upload)["digest"],
        }


def rows_of(connection: sa.Connection, statement: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, run(connection, statement)))
