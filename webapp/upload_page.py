"""Everything that the page of an upload is made of, read in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from jobs import datasets, failed_rows, failure_map, lineage, receipts, review, siblings, uploads
from jobs.attempts import UploadLog
from jobs.errors import DatasetNotFoundError, MissingColumnsError
from jobs.failed_rows import FailedRowExcerpt
from jobs.repair import rules
from jobs.undo import orders as undo_orders
from jobs.uploads import TERMINAL, Phase, Status, Upload
from jobs.view import EVERYTHING, View
from webapp.failed_rows_query import FailedRowsQuery
from webapp.views.failed_rows import ROWS_SHOWN
from webapp.views.run import Records
from webapp.views.upload import LISTED_UPLOADS, Corrections

#: Reasons that it lists.
FAILURE_REASONS = 20
#: Uploads of the same dataset with which it compares this one.
LAST_UPLOADS = 10

FIRST_ROWS = FailedRowsQuery()


@dataclass(frozen=True)
class FailedPage:
    """A page of the failed rows. sources: field of the dataset → column of the file, where they differ. matching: how
    many rows have the chosen reason, if it is known. stored: how many failed rows there are to be paged through, once
    the upload has ended."""

    query: FailedRowsQuery
    rows: Sequence[FailedRowExcerpt] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    matching: int | None = None
    stored: int | None = None


@dataclass(frozen=True)
class UploadRecords:
    """review: of an upload that waits for a person, if a worker has looked at its file; and of one that was divided.
    parts: the uploads that were made of its parts. open_undo: as in undo_orders.py, of an upload that has ended.
    is_overtaken: of an undo that was stopped; as in undo_orders.py."""

    upload: Upload
    records: Records
    corrections: Corrections
    failed: FailedPage
    review: Mapping[str, Any] | None = None
    parts: Mapping[int, siblings.Sibling] = field(default_factory=dict)
    open_undo: Upload | None = None
    is_overtaken: bool = False


#: Datasets that the page of a held upload offers to choose from.
DATASETS_OFFERED = 200


def read(
    connection: sa.Connection, upload_id: int, seen: View = EVERYTHING, query: FailedRowsQuery = FIRST_ROWS
) -> UploadRecords:
    """seen: what exists for whoever asks. Raises UploadNotFoundError."""
    upload = uploads.get(connection, upload_id, seen)
    children: list[int] = []
    elsewhere: Mapping[int, int] = {}
    if upload.rows_failed:
        children = lineage.children(connection, [upload_id])[upload_id]
        elsewhere = lineage.open_elsewhere(connection, upload_id) if upload.rows_failed_again else {}
    family = _family(connection, upload, children[-LISTED_UPLOADS:])
    listed = [family[child] for child in children[-LISTED_UPLOADS:] if child in family]
    corrections = Corrections([each.id for each in listed if not each.is_undone], elsewhere)
    records = Records(
        UploadLog.read(connection, upload),
        failed_rows.counts(connection, upload_id, limit=FAILURE_REASONS) if upload.rows_failed else (),
        failure_map.read(connection, upload_id),
        siblings.last_of(connection, upload.dataset, limit=LAST_UPLOADS) if upload.dataset else (),
        family.get(upload.parent or 0),
        listed,
        rules.of_dataset(connection, upload.dataset) if upload.rules and upload.dataset else (),
        receipts.exists(connection, upload_id),
    )
    is_reviewed = upload.is_divided or (upload.phase is Phase.CHECK and (upload.is_held or upload.is_active))
    found = review.as_json(connection, upload, seen) if is_reviewed else None
    seen_by_worker = found if found and (found["columns"] or found["problem"] or found["parts"]) else None
    if seen_by_worker is not None and upload.parent is None:
        names = [name for name in datasets.names(connection) if seen.shows(name)]
        seen_by_worker |= {"datasets": names[:DATASETS_OFFERED]}
    made = {each.id: each for each in siblings.some(connection, [part["upload"] for part in upload.parts])}
    failed = _failed_page(connection, upload, query)
    open_undo = undo_orders.open_undo(connection, upload) if upload.status in TERMINAL and upload.dataset else None
    is_stopped = upload.is_undo and upload.status in (Status.FAILED, Status.CANCELLED)
    is_overtaken = is_stopped and undo_orders.is_overtaken(connection, upload)
    return UploadRecords(upload, records, corrections, failed, seen_by_worker, made, open_undo, is_overtaken)


def _family(connection: sa.Connection, upload: Upload, children: Sequence[int]) -> dict[int, siblings.Sibling]:
    wanted = [*children, *([upload.parent] if upload.parent else [])]
    return {each.id: each for each in siblings.some(connection, wanted)} if wanted else {}


def _failed_page(connection: sa.Connection, upload: Upload, query: FailedRowsQuery) -> FailedPage:
    if not upload.rows_failed:
        return FailedPage(query)
    limit = ROWS_SHOWN + 1
    found = failed_rows.excerpts(
        connection, upload.id, limit=limit, after=query.after, before=query.before, chosen=query.chosen
    )
    named = {reason.column for row in found for reason in row.reasons if reason.column}
    sources = _sources(connection, upload) if named - set(upload.header or []) else {}
    stored = None if upload.is_active else failed_rows.stored(connection, upload.id)
    return FailedPage(query, found, sources, failed_rows.count(connection, upload.id, query.chosen), stored)


def _sources(connection: sa.Connection, upload: Upload) -> Mapping[str, str]:
    """The columns of the file that fill the fields of the dataset."""
    try:
        schema = datasets.get(connection, upload.dataset or "").schema
        return datasets.match(schema, upload.header or []).sources
    except (DatasetNotFoundError, MissingColumnsError):
        return {}
