"""Deletes an upload: its file, its failed rows, what is known of how it was read, and its log.

What stays is its number with its counts, its receipt, and its rows in the dataset: rows, uploads that correct it and
histories go on pointing at it. A file is removed after the commit that says so.
"""

from contextlib import suppress

import sqlalchemy as sa

from jobs import failed_rows, tables, uploads
from jobs.database import Database
from jobs.errors import StoreUnavailableError, TransitionError, UploadDeletedError
from jobs.people import audit
from jobs.people.audit import Actor
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.traces import row_lines
from jobs.uploads import ACTIVE, TERMINAL, UNDO, Status, Upload


def delete(connection: sa.Connection, upload_id: int, actor: Actor, *, why: str = "") -> Upload:
    """Delete an upload that has ended. The caller removes its file after the commit (`remove_file`). why: for the audit
    log. Returns the upload as it was. Raises UploadNotFoundError, UploadDeletedError, TransitionError."""
    upload = uploads.get(connection, upload_id)
    found = uploads.lock(connection, [upload_id])
    upload = found.get(upload_id, upload)
    if upload.is_deleted:
        raise UploadDeletedError(upload_id)
    if upload.status not in TERMINAL:
        raise TransitionError(upload_id, upload.status, "deleted. Cancel it first")
    _require_no_running_child(connection, upload_id)
    failed_rows.delete_all(connection, upload_id)
    row_lines.delete_all(connection, upload_id)
    for table in (tables.upload_log, tables.reviews, tables.repairs):
        connection.execute(sa.delete(table).where(table.c.upload_id == upload_id))
    uploads.bury(connection, upload_id, by=actor.name)
    into = f"{upload.filename} into {upload.dataset or 'no dataset'}"
    audit.write(connection, actor, "upload.delete", f"upload {upload_id}", detail=f"{into}{f'; {why}' if why else ''}")
    return upload


def _require_no_running_child(connection: sa.Connection, upload_id: int) -> None:
    """Raises TransitionError while an upload corrects the failed rows, or undoes it."""
    columns = tables.uploads.c
    running = sa.select(columns.id, columns.kind).where(
        columns.parent == upload_id, columns.status.in_([*ACTIVE, Status.HELD])
    )
    child = connection.execute(running.limit(1)).one_or_none()
    if child is not None:
        participle = "undone" if child.kind == UNDO else "corrected"
        raise TransitionError(upload_id, f"being {participle} by #{child.id}", "deleted")


def remove_file(database: Database, settings: Settings, upload: Upload) -> None:
    """Remove the file of an upload that was deleted from where files are kept, unless another upload has the same.
    Whatever remains because of an error, the sweep removes."""
    if not upload.has_file:
        return
    with database.reading() as connection:
        if uploads.statuses_of_files(connection, [upload.stored_as]):
            return
    with suppress(OSError, StoreUnavailableError):
        store_of(settings).remove(upload.stored_as)
