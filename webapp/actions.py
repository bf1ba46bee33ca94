"""What pages and API let people do with uploads: record, change, tell, in that order."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.errors import BulkUploadError, RefusedError
from jobs.events import Event, timestamp
from jobs.files import StoredFile
from jobs.reading import Reading
from jobs.uploads import Upload
from webapp.receive import receive
from webapp.state import AppRequest, AppState

#: Fields of the form, or of the query, that say how a file is to be read.
READING = ("encoding", "delimiter", "header_row", "sheet", "types")


async def accept(request: AppRequest, *, raw_allowed: bool) -> Upload:
    """Store the file that the request carries, record it, hand it to the workers. Raises RefusedError.

    `duplicates=hold`: what was imported into the same dataset before waits for a retry instead of being imported again.
    """
    state = request.state
    file, fields = await receive(request, state["settings"], raw_allowed=raw_allowed)

    def record(connection: sa.Connection) -> Upload:
        name = datasets.checked_name(fields.get("dataset", ""))
        chosen = name if name and datasets.exists(connection, name) else None
        upload = uploads.create(connection, file, dataset=chosen, dataset_wanted=name, reading=_reading(fields))
        if upload.duplicate_of is not None and fields.get("duplicates") == "hold":
            return uploads.hold(connection, upload)
        return upload

    try:
        return await _change(state, record)
    except BulkUploadError:
        await anyio.to_thread.run_sync(_forget, state, file)
        raise


def _reading(fields: Mapping[str, str]) -> dict[str, Any]:
    """What the sender said about how the file is to be read, checked. Raises RefusedError."""
    said: dict[str, Any] = {name: value for name in READING if (value := fields.get(name, ""))}
    if (row := said.get("header_row")) is not None:
        if not row.isdecimal() or len(row) > 6:
            raise RefusedError("header_row must be the number of the header's line, from 1.")
        said["header_row"] = int(row)
    if said.get("types", "text") not in ("text", "auto"):
        raise RefusedError("types must be text, to keep every column as it came, or auto.")
    said["delimiter"] = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}.get(
        said.get("delimiter", ""), said.get("delimiter")
    )
    Reading(**{name: value for name, value in said.items() if name != "types"})
    return {name: value for name, value in said.items() if value is not None}


def _forget(state: AppState, file: StoredFile) -> None:
    (state["settings"].files / file.stored_as).unlink(missing_ok=True)


async def cancel(request: AppRequest) -> Upload:
    """Raises UploadNotFoundError, TransitionError."""
    upload_id = request.path_params["upload_id"]
    return await _change(request.state, lambda connection: uploads.cancel(connection, upload_id))


async def retry(request: AppRequest) -> Upload:
    """Raises UploadNotFoundError, TransitionError."""
    upload_id = request.path_params["upload_id"]
    return await _change(request.state, lambda connection: uploads.retry(connection, upload_id))


async def _change(state: AppState, change: Callable[[sa.Connection], Upload]) -> Upload:
    """Commit, then publish, then enqueue what now waits."""

    def run() -> Upload:
        with state["database"].transaction() as connection:
            upload = change(connection)
        state["publisher"].publish(upload)
        if upload.status is uploads.Status.PENDING:
            state["queue"].enqueue(upload)
        return upload

    return await anyio.to_thread.run_sync(run)


def as_json(upload: Upload) -> dict[str, Any]:
    """The upload as the API shows it (DESIGN, section 6)."""

    def moment(name: str) -> str | None:
        value = getattr(upload, name)
        return timestamp(value) if value else None

    links = {
        "self": f"/api/v1/uploads/{upload.id}",
        "events": f"/api/v1/uploads/{upload.id}/events",
        "html": f"/uploads/{upload.id}",
        "original": f"/uploads/{upload.id}/original",
    }
    if upload.rows_failed:
        links["failed_rows"] = f"/uploads/{upload.id}/failed-rows.csv"
    if upload.dataset:
        links["dataset"] = f"/api/v1/datasets/{upload.dataset}"
    return {
        "id": upload.id,
        **vars(Event.of(upload)),
        "size": upload.size,
        "sha256": upload.sha256,
        **{name: moment(name) for name in ("created_at", "started_at", "finished_at")},
        "duplicate_of": upload.duplicate_of,
        "parent": upload.parent,
        "notes": upload.notes,
        "links": links,
    }
