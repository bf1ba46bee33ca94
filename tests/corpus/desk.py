"""Imports files of the corpus through the job, in this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import sqlalchemy as sa

from jobs import bulk_upload, datasets, failed_rows, uploads
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.errors import InvalidImportOptionError, RefusedError
from jobs.failed_rows import FailedRow
from jobs.import_options import ImportOptions
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.corpus.case import Case, Found
from tests.support.files import store

#: Rows of a dataset, and failed rows of an upload, that are read: more than any file of the corpus has.
ROWS = 100_000


class Desk:
    """Where files are handed in. Each goes into a dataset of its own."""

    def __init__(self, settings: Settings) -> None:
        """settings: of an empty, migrated database. They must be in the environment too, where the job finds them."""
        self._settings = settings
        self._database = Database(settings.database, bulk=True)
        self._numbers = count(1)

    def send(self, case: Case) -> Found:
        """What the import of a file made of it."""
        try:
            upload_id = self._create(case, f"corpus_{next(self._numbers)}").id
        except (InvalidImportOptionError, RefusedError) as error:  # as the form answers, before there is an upload
            return Found(error=str(error))
        try:
            bulk_upload.run(upload_id)
        except Exception as error:
            return Found(crash=f"{type(error).__name__}: {error}"[:500])
        with self._database.reading() as connection:
            return self._found(connection, uploads.get(connection, upload_id))

    def _create(self, case: Case, dataset: str) -> Upload:
        options, file = ImportOptions(**case.options), store(self._settings, case.content, case.filename)
        with self._database.transaction() as connection:
            if case.schema is None:
                return uploads.create(connection, file, dataset_wanted=dataset, options=options)
            datasets.declare(connection, dataset, TableSchema.parse(case.schema), Mode.INSERT)
            return uploads.create(connection, file, dataset=dataset, options=options)

    def _found(self, connection: sa.Connection, upload: Upload) -> Found:
        codes = frozenset(each["code"] for each in upload.warnings)
        failed = [_failed(row) for row in failed_rows.rows(connection, upload.id, limit=ROWS)]
        if upload.status is not Status.COMPLETED:
            return Found(failed=failed, warnings=codes, error=upload.error or f"The upload is {upload.status}.")
        dataset = datasets.get(connection, str(upload.dataset))
        rows = [row.cells for row in list(datasets.each_after(connection, dataset, None, limit=ROWS))]
        kinds: list[str] = [field.type for field in dataset.schema.fields]
        return Found(dataset.schema.names, rows, kinds, failed, codes)

    def close(self) -> None:
        self._database.close()


def _failed(row: FailedRow) -> tuple[int | None, list[str]]:
    return row.line, row.cells


@contextmanager
def opened(settings: Settings) -> Iterator[Desk]:
    """A desk with a migrated database. Inside the block, the settings are in the environment."""
    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings)
    before, level = dict(os.environ), logging.root.manager.disable
    os.environ.update(settings.environment())
    logging.disable(logging.CRITICAL)
    desk = Desk(settings)
    try:
        yield desk
    finally:
        desk.close()
        logging.disable(level)
        os.environ.clear()
        os.environ.update(before)
