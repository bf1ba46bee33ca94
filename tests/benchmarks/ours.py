"""Our side of a comparison: a whole import, from its claim to `completed`, in a fresh process."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from jobs import datasets, files, review, uploads
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.people.audit import Actor, Via
from jobs.process import allocator
from jobs.repair import rules
from jobs.repair.repairs import Repair
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Review, Status
from tests import ROOT
from tests.benchmarks import data

#: Bytes copied at a time when a file is stored.
PIECE_BYTES = 1 << 20
DATASET = "sales"


@dataclass(frozen=True)
class Run:
    """seconds: from claim to completed. whole: of the process with its start-up. peak_memory: bytes. processor: seconds
    that it had a processor, from claim to completed."""

    seconds: float
    whole: float
    peak_memory: int
    processor: float


class Place:
    """A migrated database and a data folder in which imports run."""

    def __init__(self, folder: Path, redis_url: str, database_url: str | None = None, *, undo_days: float = 30) -> None:
        """database_url: of an empty PostgreSQL database; default: SQLite in the folder. undo_days: for which replaced
        rows are kept."""
        self._settings = Settings(
            data=folder / "data", redis_url=redis_url, database_url=database_url, undo_days=undo_days
        )
        self._settings.data.mkdir(parents=True)
        migrate(self._settings)

    def declare(self, mode: Mode = Mode.INSERT) -> None:
        """The dataset of the benchmark's files."""
        database = Database(self._settings.database)
        with database.transaction() as connection:
            datasets.declare(connection, DATASET, TableSchema.parse(data.SCHEMA), mode)
        database.close()

    def add_rules(self, repairs: Sequence[Repair]) -> None:
        database = Database(self._settings.database)
        with database.transaction() as connection:
            for repair in repairs:
                rules.add(connection, Actor(None, Via.CLI), DATASET, repair)
        database.close()

    def run(self, file: Path, *, bad: int | None = None) -> Run:
        """Import a file into the dataset. What it leaves is checked: nothing is faster than doing nothing.

        bad: the rows that fail; None: those of `data.csv_file`.
        """
        upload_id = self._record(file)
        found = self._run(upload_id)
        self._check(upload_id, bad)
        return found

    def check(self, file: Path) -> Run:
        """Check a file: its import without the writes."""
        upload_id = self._record(file, Review.ALWAYS)
        found = self._run(upload_id)
        database = Database(self._settings.database)
        with database.transaction() as connection:
            upload = uploads.get(connection, upload_id)
            made = review.as_json(connection, upload)["check"]
            uploads.cancel(connection, upload_id)
        database.close()
        if upload.status is not Status.HELD or made["would_fail"] != len(data.bad_numbers(made["rows"])):
            sys.exit(f"The check went wrong: {upload} {made}")
        return found

    def _run(self, upload_id: int) -> Run:
        started = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.job", str(upload_id)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **allocator.SMALL_PAGES, **self._settings.environment()},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        whole = time.perf_counter() - started
        return Run(whole=whole, **json.loads(ended.stdout.splitlines()[-1]))

    def _record(self, file: Path, how: Review = Review.NEVER) -> int:
        database = Database(self._settings.database)
        with files.Arrival(self._settings.files, file.name, limit=1 << 40) as arrival, file.open("rb") as source:
            while piece := source.read(PIECE_BYTES):
                arrival.write(piece)
            stored = arrival.keep()
        with database.transaction() as connection:
            upload_id = uploads.create(connection, stored, dataset=DATASET, review=how).id
        database.close()
        return upload_id

    def _check(self, upload_id: int, bad: int | None) -> None:
        database = Database(self._settings.database)
        with database.reading() as connection:
            upload = uploads.get(connection, upload_id)
            stored = connection.scalar(sa.text(f"SELECT count(*) FROM data_{DATASET}"))
        database.close()
        bad = len(data.bad_numbers(upload.rows_processed)) if bad is None else bad
        if upload.status is not Status.COMPLETED or (upload.rows_failed, stored) != (bad, upload.rows_success):
            sys.exit(f"The import went wrong: {upload}")

    def remove(self) -> None:
        shutil.rmtree(self._settings.data.parent)
