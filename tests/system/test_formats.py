"""Files of every format through the whole import: each row once, also after a stop, and corrections of what failed."""

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import sqlalchemy as sa

import jobs.changes
from jobs import bulk_upload, datasets, failed_rows, uploads
from jobs.database import Database
from jobs.datasets import Mode
from jobs.events import Ticker
from jobs.process import shutdown
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, Status, Upload
from tests import ROOT
from tests.support.binary_workbooks import xls, xlsb
from tests.support.corrections import corrections_file
from tests.support.files import store
from tests.support.spreadsheets import ods, table

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Table = list[list[str]]

#: 200 rows, in some ten chunks. Row 150 has a date that does not exist, as text.
HEADER = ["id", "name", "price", "born"]
ROWS = [[str(n), f"name {n}", f"{n}.25", f"2026-01-{n % 28 + 1:02}"] for n in range(1, 201)]
BAD = [*ROWS[:149], [*ROWS[149][:3], "31.02.2026"], *ROWS[150:]]
FIELDS = [
    {"name": "id", "type": "integer"},
    {"name": "name"},
    {"name": "price", "type": "number", "decimals": 2},
    {"name": "born", "type": "date"},
]
TYPES = ["integer", "string", "number", "date"]


def as_csv(rows: Table) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HEADER, *rows])
    return text.getvalue().encode()


def as_objects(rows: Table) -> list[dict[str, Any]]:
    """Numbers with two digits behind the point, as they are written."""
    return [{"id": int(row[0]), "name": row[1], "price": float(row[2]), "born": row[3]} for row in rows]


def as_parquet(rows: Table) -> bytes:
    """With dates, or texts if one does not exist."""
    born = [row[3] for row in rows]
    kinds = {"id": pa.int32(), "name": pa.string(), "price": pa.decimal128(10, 2)}
    columns = {
        "id": [int(row[0]) for row in rows],
        "name": [row[1] for row in rows],
        "price": [Decimal(row[2]) for row in rows],
        "born": born if "31.02.2026" in born else [date.fromisoformat(each) for each in born],
    }
    file = io.BytesIO()
    table = pa.table([pa.array(each, kinds.get(name)) for name, each in columns.items()], list(columns))
    parquet.write_table(table, file, row_group_size=70)
    return file.getvalue()


def as_cells(rows: Table) -> list[list[Any]]:
    """With numbers and dates, as a spreadsheet keeps them, below a title."""
    found: list[list[Any]] = [
        [int(row[0]), row[1], float(row[2]), row[3] if row[3].endswith("2026") else date.fromisoformat(row[3])]
        for row in rows
    ]
    return [["People of 2026"], [], HEADER, *found]


def as_ods(rows: Table) -> bytes:
    """Beside an empty worksheet."""
    return ods(table(name="Empty"), table(*as_cells(rows), name="People"))


#: The ending of the name of a file, and what makes one of rows of text.
FORMATS: dict[str, Callable[[Table], bytes]] = {
    "parquet": lambda rows: as_parquet(rows),
    "parquet.zst": lambda rows: zstd.compress(as_parquet(rows)),
    "ods": lambda rows: as_ods(rows),
    "xls": lambda rows: xls({"Empty": [], "People": as_cells(rows)}),
    "xlsb": lambda rows: xlsb({"Empty": [], "People": as_cells(rows)}),
    "csv.bz2": lambda rows: bz2.compress(as_csv(rows)),
    "csv.xz": lambda rows: lzma.compress(as_csv(rows)),
    "csv.zst": lambda rows: zstd.compress(as_csv(rows)),
    "jsonl": lambda rows: b"".join(json.dumps(each).encode() + b"\n" for each in as_objects(rows)),
    "json": lambda rows: json.dumps(as_objects(rows), indent=2).encode(),
    "ndjson.gz": lambda rows: gzip.compress(b"\n".join(json.dumps(each).encode() for each in as_objects(rows))),
}
EACH = pytest.mark.parametrize("ending", list(FORMATS))


@pytest.fixture
def database(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The job reads the settings of the test. A chunk holds a few dozen short rows."""
    for name, value in settings.model_copy(update={"chunk_bytes": 512, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)
    yield database
    shutdown.requested.clear()


def sent(settings: Settings, database: Database, ending: str, rows: Table, **more: Any) -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, FORMATS[ending](rows), f"people.{ending}"), **more)


def run(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def stored(database: Database, name: str) -> tuple[list[str], Table, list[int]]:
    """The types of a dataset, its rows, and their numbers."""
    with database.reading() as connection:
        dataset = datasets.get(connection, name)
        rows = [row.cells for row in list(datasets.each_after(connection, dataset, None, limit=999))]
        numbers = connection.execute(sa.text(f'SELECT "_row_number" FROM data_{name} ORDER BY 1')).scalars()
        return [field.type for field in dataset.schema.fields], rows, [int(number) for number in numbers]


#: A process that runs a job, and dies without a word once it has imported rows.
KILLED = """
import os, signal, sys
import jobs.changes
from jobs import bulk_upload
from jobs.events import Ticker

class Killing(Ticker):
    def tick(self, value):
        super().tick(value)
        if value.rows_processed:
            os.kill(os.getpid(), signal.SIGKILL)

jobs.changes.Ticker = Killing
bulk_upload.run(int(sys.argv[1]))
"""


@pytest.mark.parametrize("ending", ["parquet", "ods", "xls", "xlsb"])
def test_a_file_whose_worker_is_killed_goes_on_with_each_row_once(
    settings: Settings, database: Database, ending: str
) -> None:
    sent_ = sent(settings, database, ending, ROWS)
    died = subprocess.run([sys.executable, "-c", KILLED, str(sent_.id)], cwd=ROOT, timeout=120)
    with database.transaction() as connection:
        killed = uploads.get(connection, sent_.id)
        uploads.hand_back(connection, Claim(killed.id, killed.attempt), because="its worker was killed")
    upload = run(database, killed)

    assert (died.returncode, killed.status, 0 < killed.rows_processed < 200) == (-9, Status.PROCESSING, True)
    assert (upload.status, upload.error, upload.rows_success, upload.attempt) == (Status.COMPLETED, None, 200, 2)
    assert stored(database, "people") == (TYPES, ROWS, list(range(1, 201)))


@EACH
def test_a_file_becomes_a_dataset_and_goes_on_after_a_stop_with_each_row_once(
    settings: Settings, database: Database, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(Ticker[Upload]):
        def tick(self, value: Upload) -> None:
            super().tick(value)
            if value.rows_processed:
                shutdown.requested.set()

    with monkeypatch.context() as patched:
        patched.setattr(jobs.changes, "Ticker", Stopping)
        stopped = run(database, sent(settings, database, ending, ROWS))
    shutdown.requested.clear()
    upload = run(database, stopped)

    assert (stopped.status, 0 < stopped.rows_processed < 200) == (Status.PENDING, True)
    assert (upload.status, upload.error, upload.rows_success) == (Status.COMPLETED, None, 200)
    assert (upload.dataset, upload.rows_failed, upload.progress) == ("people", 0, 100)
    types, rows, numbers = stored(database, "people")
    assert (types, rows, numbers) == (TYPES, ROWS, list(range(1, 201)))


@EACH
def test_corrections_of_failed_rows_go_into_the_dataset(settings: Settings, database: Database, ending: str) -> None:
    with database.transaction() as connection:
        datasets.declare(connection, "people", TableSchema.parse({"fields": FIELDS}), Mode.INSERT)
    parent = run(database, sent(settings, database, ending, BAD, dataset="people"))
    with database.reading() as connection:
        (failed,) = failed_rows.rows(connection, parent.id, limit=9)
    corrected = corrections_file(database, parent).replace(b"31.02.2026", b"2026-01-11")
    with database.transaction() as connection:
        child = uploads.create(connection, store(settings, corrected, "failed-rows.csv"))
    child = run(database, child)

    assert (parent.rows_success, parent.rows_failed, failed.row_number) == (199, 1, 150)
    assert failed.cells == ["150", "name 150", "150.25", "31.02.2026"]
    assert "31.02.2026" in failed.sentence
    assert (child.status, child.parent, child.rows_success) == (Status.COMPLETED, parent.id, 1)
    assert sorted(stored(database, "people")[1]) == sorted(ROWS)
