"""Databases as earlier releases left them: every record and row reads back after the migrations to the newest schema.

tests/support/recorded_databases.py makes them, one of each kind for each revision.
"""

import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext

from jobs import bulk_upload, datasets, failed_rows, tables, uploads
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.files import StoredFile
from jobs.import_options import ImportOptions
from jobs.lanes import Lane
from jobs.settings import Settings
from jobs.uploads import Processor, Review, Status, Task
from tests.jobs.migrations.test_migrations import HISTORY
from tests.support.databases import Databases

FOLDER = Path(__file__).parent / "databases"
REVISIONS = sorted(path.stem for path in FOLDER.glob("*.sql"))

START = datetime(2026, 1, 31, 9, tzinfo=UTC)
PEOPLE_HEADER = ["id", "name", "email", "height", "paid", "born", "seen", "wakes"]

#: What each upload has that is not EMPTY, but for times, files and the search text.
UPLOADS: dict[int, dict[str, Any]] = {
    1: {
        "seq": 8, "attempt": 1, "status": Status.COMPLETED, "filename": "people.csv", "dataset": "people",
        "header": PEOPLE_HEADER, "size": 228, "next_byte": 228, "bytes_total": 228, "rows_total": 5,
        "rows_processed": 5, "rows_success": 3, "rows_failed": 2, "notes": ["Read as UTF-8."],
        "outcome": "failed_rows",
    },
    2: {
        "seq": 8, "attempt": 1, "status": Status.COMPLETED, "filename": "Sales Ä.csv", "dataset": "sales_a",
        "options": ImportOptions(delimiter=";", header_row=1), "header": ["day", "amount", "note"], "size": 60,
        "next_byte": 60, "bytes_total": 60, "rows_total": 2, "rows_processed": 2, "rows_success": 2,
        "notes": ["Read as UTF-8."], "outcome": "clean",
    },
    3: {
        "seq": 5, "attempt": 1, "status": Status.COMPLETED, "filename": "failed-rows.csv", "dataset": "people",
        "parent": 1, "header": ["id", "name"], "size": 8, "next_byte": 20, "bytes_total": 20, "rows_total": 2,
        "rows_processed": 2, "rows_success": 1, "rows_failed": 1, "notes": ["Read as UTF-8."],
        "outcome": "failed_rows",
    },
    4: {
        "seq": 2, "status": Status.CANCELLED, "filename": "people again.csv", "dataset": "people", "duplicate_of": 1,
        "size": 228, "error": "This is a duplicate of #1.", "outcome": "held",
    },
    5: {
        "seq": 9, "attempt": 3, "attempts_without_progress": 1, "status": Status.FAILED, "filename": "picture.png",
        "dataset_wanted": "pictures", "size": 8, "error": "This is a picture.",
    },
    6: {
        "seq": 4, "attempt": 1, "status": Status.PROCESSING, "filename": "half.csv", "dataset_wanted": "half",
        "dataset": "people", "header": ["a"], "size": 20, "next_byte": 12, "bytes_total": 20, "rows_processed": 1,
        "rows_success": 1, "worker": "old:1",
    },
    7: {
        "seq": 1, "status": Status.PENDING, "filename": "july.csv", "dataset": "people", "size": 64,
        "options": ImportOptions(encoding="cp1252", delimiter=";", header_row=2),
    },
    8: {
        "seq": 2, "attempt": 1, "status": Status.PROCESSING, "processor": Processor.EXTERNAL, "filename": "remote.csv",
        "rows_total": 100, "rows_processed": 40, "rows_success": 30, "rows_failed": 10, "counting_from": 40,
        "progress_reported": 40,
    },
    9: {
        "seq": 2, "attempt": 1, "status": Status.FAILED, "processor": Processor.EXTERNAL, "filename": "remote.csv",
        "rows_total": 100, "rows_processed": 40, "rows_success": 30, "rows_failed": 10, "counting_from": 40,
        "progress_reported": 40, "error": "The disk is full.",
    },
}  # fmt: skip
#: What all other columns have.
EMPTY: tuple[object, ...] = (
    None, 0, "", [], ImportOptions(), Processor.WORKER, Review.NEVER, Task.IMPORT, "import"
)  # fmt: skip
#: Seconds from an upload's creation to each of its moments, and the uploads that have it.
MOMENTS = {
    "created_at": (0, set(range(1, 10))),
    "started_at": (1, {1, 2, 3, 5, 6, 8, 9}),
    "counting_since": (2, {1, 2, 3, 5, 6, 8, 9}),
    "lease_until": (3, {6}),
    "finished_at": (4, {1, 2, 3, 4, 5, 9}),
    "silent_since": (5, {8}),
    "updated_at": (6, set(range(1, 10))),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, revision: str, databases: Databases, tmp_path: Path) -> str:
    """The URL of a database as the release of this revision left it."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        return f"sqlite:///{shutil.copy(FOLDER / f'{revision}.db', tmp_path / 'data' / 'bulk_upload.db')}"
    url = databases.empty()
    with psycopg.connect(url) as connection:
        connection.execute((FOLDER / f"{revision}.sql").read_bytes())
    return url


@pytest.fixture(params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(settings: Settings, revision: str) -> Iterator[Database]:
    """The database after all migrations."""
    database = Database(settings.database)
    with database.reading() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == revision
    database.close()
    migrate(settings)
    database = Database(settings.database, bulk=True)
    yield database
    database.close()


def test_there_is_a_database_of_each_kind_for_each_recorded_revision() -> None:
    revisions = [script.revision for script in HISTORY.walk_revisions()]

    assert sorted(path.stem for path in FOLDER.glob("*.db")) == REVISIONS
    assert "0004" in REVISIONS
    assert set(REVISIONS) <= set(revisions)


@pytest.mark.parametrize("upload_id", UPLOADS)
def test_an_upload_reads_back_as_it_was_recorded(database: Database, upload_id: int) -> None:
    with database.reading() as connection:
        found = vars(uploads.get(connection, upload_id))
    expected = UPLOADS[upload_id]
    created_at = START + timedelta(minutes=upload_id, microseconds=1000 * upload_id)

    assert expected == {name: found[name] for name in expected}
    assert {"id": upload_id, "stored_as": found["stored_as"] and f"{upload_id:032x}"} == {
        name: found[name] for name in ("id", "stored_as")
    }
    assert found["lane"] == (None if found["processor"] is Processor.EXTERNAL else Lane.QUICK)
    others = found.keys() - expected.keys() - MOMENTS.keys() - {"id", "stored_as", "sha256", "search_text", "lane"}
    assert {name: found[name] for name in others if found[name] not in EMPTY} == {}
    for name, (seconds, having) in MOMENTS.items():
        assert found[name] == (created_at + timedelta(seconds=seconds) if upload_id in having else None), name


def rows_of(database: Database, name: str) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        found = list(datasets.each_after(connection, datasets.get(connection, name), None, limit=99))
    return [(row.upload_id, row.row_number, *row.cells) for row in found]


def test_datasets_read_back_with_their_rows(database: Database) -> None:
    with database.reading() as connection:
        people, sales = (datasets.get(connection, name) for name in ("people", "sales_a"))

    assert (people.mode, people.upload_id, people.created_at) == (Mode.UPSERT, None, START)
    assert people.schema.names == PEOPLE_HEADER
    assert people.schema.primary_key == ["id"]
    assert [field.type for field in people.schema.fields] == [
        "integer", "string", "string", "number", "boolean", "date", "datetime", "time"
    ]  # fmt: skip
    assert rows_of(database, "people") == [
        (1, 1, "1", "Zoë", "zoe@example.org", "1.75", "yes", "31.12.1999", "2026-01-30T23:59:59.250000Z", "06:30:00"),
        (1, 2, "2", 'Ann "A" Lee', "", "-0.5", "no", "29.02.2000", "", ""),
        (1, 3, "5", "名前", "", f"1{300 * '0'}", "", "01.01.0001", "0001-01-01T00:00:00Z", "23:59:59"),
    ]
    assert (sales.mode, sales.upload_id, sales.created_at) == (Mode.INSERT, 2, START)
    assert [field.type for field in sales.schema.fields] == ["date", "string", "string"]
    assert rows_of(database, "sales_a") == [
        (2, 1, "2026-01-01", "12,50", "=SUM(A1)"),
        (2, 2, "2026-01-02", "-3,00", ""),
    ]


def test_failed_rows_read_back_with_their_reasons_and_counts(database: Database) -> None:
    with database.reading() as connection:
        kept = {each: failed_rows.rows(connection, each, limit=9) for each in (1, 2, 3)}
        counted = {each: sorted(map(tuple, failed_rows.counts(connection, each))) for each in (1, 3)}

    assert {each: [(row.row_number, row.cells) for row in rows] for each, rows in kept.items()} == {
        1: [
            (4, ["3", "", "cid@example.org", "tall", "", "", "", ""]),
            (5, ["4", "Dan", "zoe@example.org", "", "", "", "", ""]),
        ],
        2: [],
        3: [(1, ["3", ""])],
    }
    assert [[reason[:3] for reason in row.reasons] for row in kept[1]] == [
        [("name", "is required", None), ("height", "is not a number", "tall")],
        [("email", "is in an earlier row", "zoe@example.org")],
    ]
    assert counted == {
        1: [
            ("email", "is in an earlier row", 1),
            ("height", "is not a number", 1),
            ("name", "is required", 1),
        ],
        3: [("name", "is required", 1)],
    }


def test_idempotency_keys_read_back(database: Database) -> None:
    body = hashlib.sha256(b'{"a": [1, "\\u00fc"]}').hexdigest()
    with database.reading() as connection:
        [found] = connection.execute(sa.select(tables.idempotency_keys))

    assert (found.key, found.body, found.status) == ("key-1", body, 201)
    assert (found.answer, found.created_at) == ({"id": 7, "name": "Zoë"}, START)


def test_an_upload_that_waits_goes_on_and_a_new_one_gets_a_new_number(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    settings.files.mkdir(parents=True, exist_ok=True)
    content = "people of july\nid;name\n1;Zoé\n9;Eve\n".encode("cp1252")
    (settings.files / f"{7:032x}").write_bytes(content)
    with database.transaction() as connection:
        connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == 7).values(size=len(content)))
    bulk_upload.run(7)
    with database.transaction() as connection:
        found = uploads.get(connection, 7)
        new = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))

    assert (found.status, found.error, found.rows_success, found.attempt) == (Status.COMPLETED, None, 2, 1)
    assert [row[:4] for row in rows_of(database, "people")] == [
        (7, 1, "1", "Zoé"), (1, 2, "2", 'Ann "A" Lee'), (1, 3, "5", "名前"), (7, 2, "9", "Eve")
    ]  # fmt: skip
    assert new.id == 10


def test_an_upload_whose_worker_died_is_abandoned(database: Database) -> None:
    with database.reading() as connection:
        assert [upload.id for upload in uploads.abandoned(connection)] == [6]
