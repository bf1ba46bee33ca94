"""Makes a small database of the newest schema, on which every later migration is tested.

Run `python -m tests.support.recorded_databases` for each release that has new migrations. It writes a SQLite file and
a PostgreSQL dump named after the revision; tests/jobs/migrations/test_recorded_databases.py holds what they contain.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from jobs import bulk_upload, datasets, idempotency, migrations, tables, uploads
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.failed_rows import FailedRow, Reason
from jobs.files import StoredFile
from jobs.idempotency import Answer
from jobs.import_options import ImportOptions
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, Processor, Status, Upload
from tests import ROOT
from tests.support.databases import Databases
from tests.support.files import store
from tests.support.services import RedisServer

FOLDER = ROOT / "tests" / "jobs" / "migrations" / "databases"

#: Seconds of a lease.
LEASE = 60.0
#: The first moment in the databases; each upload is a minute younger than the one before it.
START = datetime(2026, 1, 31, 9, tzinfo=UTC)

#: A field of each type, with constraints, a format and missing values.
PEOPLE = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "name", "type": "string", "constraints": {"required": True, "maxLength": 20}},
        {"name": "email", "type": "string", "constraints": {"unique": True}},
        {"name": "height", "type": "number"},
        {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
        {"name": "born", "type": "date", "format": "%d.%m.%Y"},
        {"name": "seen", "type": "datetime"},
        {"name": "wakes", "type": "time"},
    ],
    "primaryKey": "id",
    "missingValues": ["", "n/a"],
}
PEOPLE_CSV = (
    "id,name,email,height,paid,born,seen,wakes\n"
    "1,Zoë,zoe@example.org,1.75,yes,31.12.1999,2026-01-30T23:59:59.25Z,06:30:00\n"
    '2,"Ann ""A"" Lee",n/a,-0.5,no,29.02.2000,n/a,n/a\n'
    "5,名前,,1e300,n/a,01.01.0001,0001-01-01T00:00:00Z,23:59:59\n"
)
#: Of people.csv, behind its other rows. Their reasons are written here, as the job may word them otherwise one day.
FAILED_ROWS = [
    FailedRow(
        4,
        ["3", "", "cid@example.org", "tall", "", "", "", ""],
        [Reason("name", "is required", None), Reason("height", "is not a number", "tall")],
    ),
    FailedRow(
        5,
        ["4", "Dan", "zoe@example.org", "", "", "", "", ""],
        [Reason("email", "is in an earlier row", "zoe@example.org")],
    ),
]
SALES_CSV = "day;amount;note\n2026-01-01;12,50;=SUM(A1)\n2026-01-02;-3,00;\n"


def fill(settings: Settings, database: Database) -> None:
    """Record uploads of every status, two datasets with rows, and an idempotency key."""
    with database.transaction() as connection:
        datasets.declare(connection, "people", TableSchema.parse(PEOPLE), Mode.UPSERT)
    _imported(settings, database, PEOPLE_CSV, "people.csv", dataset="people")
    _imported(settings, database, SALES_CSV, "Sales Ä.csv", options=ImportOptions(delimiter=";", header_row=1))
    with database.transaction() as connection:
        _failed_rows(connection)
        _corrections(connection)
        _held(connection, settings)
        _failed(connection)
        _abandoned(connection)
        _pending(connection)
        _external(connection)
        idempotency.once(connection, "key-1", {"a": [1, "ü"]}, lambda: Answer(201, {"id": 7, "name": "Zoë"}))
        _settle(connection)


def _imported(settings: Settings, database: Database, content: str, filename: str, **more: Any) -> None:
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, content, filename), **more)
    bulk_upload.run(upload.id)


def _file(number: int, filename: str, size: int = 8) -> StoredFile:
    return StoredFile(filename, f"{number:032x}", size, f"{number:064x}")


def _begun(connection: sa.Connection, upload: Upload, **known: Any) -> Claim:
    claimed = uploads.claim(connection, upload.id, worker="old:1", lease=LEASE)
    assert claimed is not None
    claim = Claim(upload.id, claimed.attempt)
    values: dict[str, Any] = {
        "rows_total": 2,
        "next_byte": 3,
        "bytes_total": 20,
        "header": ["a"],
        "parent": None,
        "notes": [],
    } | known
    uploads.begin(connection, claim, lease=LEASE, **values)
    return claim


def _failed_rows(connection: sa.Connection) -> None:
    failed_rows_writer.record(connection, 1, PackedFailedRows.pack(FAILED_ROWS), room=9)
    counts = {"rows_total": 5, "rows_processed": 5, "rows_failed": 2}
    connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == 1).values(**counts))


def _corrections(connection: sa.Connection) -> None:
    upload = uploads.create(connection, _file(3, "failed-rows.csv"), dataset="people")
    claim = _begun(connection, upload, dataset="people", parent=1, header=["id", "name"], notes=["Corrects #1."])
    bad = PackedFailedRows.pack([FailedRow(1, ["3", ""], [Reason("name", "is required", None)])])
    failed_rows_writer.record(connection, upload.id, bad, room=9)
    uploads.advance(connection, claim, lease=LEASE, good=1, bad=1, next_byte=20)
    uploads.complete(connection, claim)


def _held(connection: sa.Connection, settings: Settings) -> None:
    upload = uploads.create(connection, store(settings, PEOPLE_CSV, "people again.csv"), dataset="people")
    uploads.hold_as_duplicate(connection, upload)


def _failed(connection: sa.Connection) -> None:
    upload = uploads.create(connection, _file(5, "picture.png"), dataset_wanted="pictures")
    for _ in range(2):
        uploads.claim(connection, upload.id, worker="old:1", lease=LEASE)
        uploads.fail(connection, Claim(upload.id, uploads.get(connection, upload.id).attempt), "This is a picture.")
        uploads.retry(connection, upload.id)
    claimed = uploads.claim(connection, upload.id, worker="old:1", lease=LEASE)
    assert claimed is not None
    uploads.fail(connection, Claim(upload.id, claimed.attempt), "This is a picture.")


def _abandoned(connection: sa.Connection) -> None:
    """An upload whose worker has died between two chunks."""
    upload = uploads.create(connection, _file(6, "half.csv", 20), dataset_wanted="half")
    claim = _begun(connection, upload, dataset="people", rows_total=None)
    uploads.advance(connection, claim, lease=LEASE, good=1, bad=0, next_byte=12)


def _pending(connection: sa.Connection) -> None:
    options = ImportOptions(encoding="cp1252", delimiter=";", header_row=2)
    uploads.create(connection, _file(7, "july.csv", 64), dataset="people", options=options)


def _external(connection: sa.Connection) -> None:
    """Two uploads that scripts import: one is silent, one has failed."""
    none = StoredFile("remote.csv", "", 0, "")
    silent, failed = (uploads.create(connection, none, processor=Processor.EXTERNAL, rows_total=100) for _ in range(2))
    counts: dict[str, Any] = {"rows_total": 100, "rows_success": 30, "rows_failed": 10, "progress": 40}
    uploads.report(connection, silent, Status.PROCESSING, **counts, error=None)
    uploads.report(connection, failed, Status.FAILED, **counts, error="The disk is full.")


def _settle(connection: sa.Connection) -> None:
    """Times, texts and names of files that are the same in each run."""
    table = tables.uploads
    for upload in uploads.get_many(connection, range(1, 10)):
        moment = START + timedelta(minutes=upload.id, microseconds=upload.id * 1000)
        later = {"started_at": 1, "counting_since": 2, "lease_until": 3, "finished_at": 4, "silent_since": 5}
        known: dict[str, Any] = {
            name: moment + timedelta(seconds=n) for name, n in later.items() if getattr(upload, name) is not None
        }
        error = "This is a duplicate of #1." if upload.duplicate_of else upload.error
        known |= {"notes": ["Read as UTF-8."]} if upload.notes else {}
        known |= {"created_at": moment, "updated_at": moment + timedelta(seconds=6), "error": error}
        known |= {"silent_since": moment + timedelta(seconds=5)} if upload.id == 8 else {}
        known |= {"worker": "old:1"} if upload.worker else {}
        known |= {"stored_as": f"{upload.id:032x}"} if upload.stored_as else {}
        connection.execute(sa.update(table).where(table.c.id == upload.id).values(**known))
    connection.execute(sa.update(tables.datasets).values(created_at=START))
    connection.execute(sa.update(tables.idempotency_keys).values(created_at=START))


def make(url: str, redis_url: str, folder: Path) -> None:
    """Migrate an empty database and fill it."""
    settings = Settings(data=folder, database_url=url, redis_url=redis_url)
    migrate(settings)
    os.environ |= settings.environment()
    database = Database(url, bulk=True)
    fill(settings, database)
    database.close()


def dump(url: str) -> str:
    """A PostgreSQL database as plain SQL that runs on any server, through psycopg too: without psql's own commands,
    settings, owners and comments."""
    words = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", "--no-comments", "--dbname", url]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    lines = [
        line for line in text.splitlines() if not line.startswith(("--", "SET ", "\\", "SELECT pg_catalog.set_config"))
    ]
    return "\n".join(line for line, before in zip(lines, ["", *lines], strict=False) if line or before).strip() + "\n"


def main() -> None:
    revision = ScriptDirectory(str(Path(str(migrations.__file__)).parent)).get_current_head()
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bulk-"))
    databases, redis = Databases(folder), RedisServer()
    try:
        sqlite_file = folder / "sqlite.db"
        make(f"sqlite:///{sqlite_file}", redis.url, folder / "sqlite")
        with closing(sqlite3.connect(sqlite_file)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA page_size = 1024")  # half of the file's pages are nearly empty
            connection.execute("VACUUM")
        shutil.copy(sqlite_file, FOLDER / f"{revision}.db")
        postgres = databases.empty()
        make(postgres, redis.url, folder / "postgresql")
        (FOLDER / f"{revision}.sql").write_text(dump(postgres), "utf-8")
    finally:
        redis.remove()
        databases.remove()
        shutil.rmtree(folder)
    print(json.dumps(sorted(str(path.relative_to(ROOT)) for path in FOLDER.glob(f"{revision}.*"))))


if __name__ == "__main__":
    main()
