"""What pages and API let people do with uploads: record, change, tell, in that order."""

from collections.abc import Callable
from typing import Any

import anyio.to_thread
import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.errors import BulkUploadError, RefusedError
from jobs.events import Event, timestamp
from jobs.files import StoredFile
from jobs.uploads import Upload
from webapp.receive import receive
from webapp.state import AppRequest, AppState


async def accept(request: AppRequest, *, raw_allowed: bool) -> Upload:
    """Store the file that the request carries, record it, hand it to the workers. Raises RefusedError."""
    state = request.state
    file, fields = await receive(request, state["settings"], raw_allowed=raw_allowed)

    def record(connection: sa.Connection) -> Upload:
        return uploads.create(connection, file, dataset=_new_dataset(connection, fields.get("dataset", "")))

    try:
        return await _change(state, record)
    except BulkUploadError:
        await anyio.to_thread.run_sync(_forget, state, file)
        raise


def _new_dataset(connection: sa.Connection, wanted: str) -> str:
    name = datasets.checked_name(wanted)
    if name and datasets.exists(connection, name):
        raise RefusedError(
            f"There is a dataset called “{name}” already, and a file makes a new one. Choose another name,"
            " or leave it empty: the dataset is then named after the file."
        )
    return name


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
    if upload.dataset:
        links["dataset"] = f"/api/v1/datasets/{upload.dataset}"
    return {
        "id": upload.id,
        **vars(Event.of(upload)),
        "size": upload.size,
        "sha256": upload.sha256,
        **{name: moment(name) for name in ("created_at", "started_at", "finished_at")},
        "notes": upload.notes,
        "links": links,
    }
