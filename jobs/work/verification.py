"""`python -m jobs.work.verification ID`: recomputes the digest of an upload's rows from their table, and compares it
with that of its receipt. The last line on stdout is the verdict as JSON. The settings come from the environment.

Of rows that later uploads replaced, or that were undone, the kept images are compared (before_images.py). Without
these, nobody can tell whether such rows were changed before.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from jobs import datasets, deleted_names, receipts, tables, uploads
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.errors import BulkUploadError
from jobs.modes import Mode
from jobs.pipeline import read_back
from jobs.pipeline.tally import Tally
from jobs.receipts import EQUAL, UNKNOWN, Receipt, Verdict, verdict
from jobs.schema import SchemaField
from jobs.settings import Settings
from jobs.traces import before_images
from jobs.uploads import Upload


def verify(connection: sa.Connection, upload_id: int, tick: Callable[[], None] = lambda: None) -> Verdict:
    """Raises UploadNotFoundError, NoReceiptError."""
    upload = uploads.get(connection, upload_id)
    receipt = receipts.get(connection, upload)
    if receipt["digest"] is None:
        return verdict(upload_id, UNKNOWN, "Its receipt has no digest: an earlier release began the import.")
    name = upload.dataset or ""
    if deleted_names.former(name) is not None or not datasets.exists(connection, name):
        if not receipt["rows"]["written"]:
            return verdict(upload_id, EQUAL, "It wrote no row.", receipt, found=Tally().digest, rows=0)
        return verdict(upload_id, UNKNOWN, "Its dataset was deleted, with its rows.", receipt)
    dataset = datasets.get(connection, name)
    fields = {each.name: each for each in dataset.schema.fields}
    missing = [each for each in receipt["fields"] if each not in fields]
    if missing:
        return verdict(upload_id, UNKNOWN, _changed_columns(connection, receipt), receipt)
    wanted = [fields[each] for each in receipt["fields"]]
    return _judged(connection, upload, dataset, receipt, _found(connection, upload, dataset, wanted, tick))


@dataclass(frozen=True)
class _Found:
    """The rows of an upload: those of the table, and all that are known. replacers: because of whom some are only kept
    as images."""

    present: Tally
    known: Tally
    replacers: list[int]


def _found(
    connection: sa.Connection,
    upload: Upload,
    dataset: Dataset,
    fields: list[SchemaField],
    tick: Callable[[], None],
) -> _Found:
    seen = _Seen()
    present, _ = read_back.tally(connection, dataset, fields, upload.id, chosen=seen.first, tick=tick)
    known, replacers = present, before_images.replacers(connection, dataset, upload.id)
    for images in before_images.tables(connection, dataset) if replacers else ():
        kept, _ = read_back.tally(connection, dataset, fields, upload.id, table=images, chosen=seen.first, tick=tick)
        known += kept
    return _Found(present, known, replacers if known.rows > present.rows else [])


class _Seen:
    """Rows of one upload, by their numbers: an image stays when its row is restored, and may be made again."""

    def __init__(self) -> None:
        self._rows = np.zeros(1024, dtype=bool)

    def first(self, numbers: list[int], rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those that were not seen before. numbers: of the rows."""
        places, own = np.unique(np.array(numbers, dtype=np.int64), return_index=True)
        if len(places) and places[-1] >= len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(max(places[-1], len(self._rows)), dtype=bool)])
        new = np.zeros(len(numbers), dtype=bool)
        new[own[~self._rows[places]]] = True
        self._rows[places] = True
        return rows.filter(pa.array(new))


def _judged(
    connection: sa.Connection,
    upload: Upload,
    dataset: Dataset,
    receipt: Receipt,
    rows_found: _Found,
) -> Verdict:
    found = rows_found.known

    def told(result: str, detail: str) -> Verdict:
        return verdict(upload.id, result, detail, receipt, found=found.digest, rows=found.rows)

    written = receipt["rows"]["written"]
    replaced = found.rows - rows_found.present.rows
    if found.digest == receipt["digest"] and found.rows == written:
        if not written:
            return told(EQUAL, "It wrote no row.")
        rows = "1 row is" if written == 1 else f"All {written:,} rows are"
        end = "it was imported" if written == 1 else "they were imported"
        since = f"; {replaced:,} replaced or undone since, by {_named(rows_found.replacers)}" if replaced else ""
        return told(EQUAL, f"{rows} as {end}{since}.")
    if datasets.schema_version(connection, dataset.name) != receipt["schema_version"]:
        return told(UNKNOWN, _changed_columns(connection, receipt))
    gone = written - found.rows
    if gone > 0 and (later := _later(connection, upload)):
        rows = "1 row is" if gone == 1 else f"{gone:,} rows are"
        return told(UNKNOWN, f"{rows} no longer there. Later uploads may have replaced them: {_named(later)}.")
    if gone:
        more = f"{gone:,} fewer" if gone > 0 else f"{-gone:,} more"
        return told(receipts.CHANGED, f"The table has {more} of its rows than were imported ({written:,}).")
    return told(receipts.CHANGED, "Its rows are not as they were imported.")


def _named(upload_ids: list[int]) -> str:
    return ", ".join(f"#{each}" for each in upload_ids[:5]) + (", …" if len(upload_ids) > 5 else "")


def _later(connection: sa.Connection, upload: Upload) -> list[int]:
    """Uploads that may have replaced rows of an upload."""
    columns = tables.uploads.c
    statement = (
        sa.select(columns.id)
        .where(columns.dataset == upload.dataset, columns.id != upload.id, columns.rows_success > 0)
        .where((columns.mode.is_(None)) | columns.mode.in_([Mode.UPSERT, Mode.REPLACE]) | (columns.kind == "undo"))
        .where(columns.finished_at.is_(None) | (columns.finished_at >= upload.started_at))
    )
    return list(connection.scalars(statement.order_by(columns.id)))


def _changed_columns(connection: sa.Connection, receipt: Receipt) -> str:
    now = datasets.schema_version(connection, receipt["dataset"])
    return (
        f"The columns of “{receipt['dataset']}” were changed since: its schema was number {receipt['schema_version']},"
        f" and is number {now}."
    )


def told(connection: sa.Connection, upload_id: int, tick: Callable[[], None] = lambda: None) -> Verdict:
    """The verdict on an upload, also if there is none, or it has no receipt."""
    try:
        return verify(connection, upload_id, tick)
    except BulkUploadError as error:
        return verdict(upload_id, UNKNOWN, str(error))


def main() -> None:
    database = Database(Settings.load().database)
    with database.reading() as connection:
        print(json.dumps(told(connection, int(sys.argv[1]))))
    database.close()


if __name__ == "__main__":
    main()
