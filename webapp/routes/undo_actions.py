"""What people and programs do to undo an upload: ask what it would do, and order it. Shared by pages and API."""

import asyncio
import time
from functools import partial
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, TypeAdapter

from jobs.files import StoredFile
from jobs.undo import orders as undo_orders
from jobs.undo import previews as undo_previews
from jobs.undo.orders import Preview
from jobs.uploads import Upload
from webapp import threads
from webapp.database_access import read
from webapp.routes import actions
from webapp.state import AppRequest

#: Seconds that a request waits for the figures of a worker; between two looks; and after which it asks again.
PATIENCE, PAUSE, ASKED_AGAIN = 2.0, 0.1, 120.0


class Undo(BaseModel):
    """repairs: undo the uploads as well that corrected failed rows."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    repairs: bool = False


UNDO = TypeAdapter(Undo)


async def preview(request: AppRequest, *, repairs: bool) -> tuple[Upload, Preview | None]:
    """The upload, and what undoing it would do; None: a worker is counting. Raises UploadNotFoundError,
    UndoRefusedError, NoAnswerError."""
    upload_id, policy, database = request.path_params["upload_id"], request.state["policy"], request.state["database"]

    def look(connection: sa.Connection) -> tuple[Upload, Preview | None, bool]:
        upload = policy.upload(connection, upload_id)
        undo_orders.require_all(connection, upload, repairs=repairs)
        found = undo_orders.known(connection, upload, repairs=repairs)
        return upload, found, found is None and undo_previews.is_quick(connection, upload, repairs=repairs)

    until = time.monotonic() + PATIENCE
    while True:
        upload, found, is_quick = await read(database, look)
        if is_quick:
            found = await threads.reads.run(partial(undo_previews.count, database, upload, repairs=repairs))
        if found is not None:
            return upload, found
        once = f"undo:{upload_id}:{repairs}"
        await threads.questions.run(
            lambda once=once: request.state["questions"].send(  # type: ignore[misc]  # mypy infers no default
                "undo", once=once, seconds=ASKED_AGAIN, upload_id=upload_id, repairs=repairs
            )
        )
        if time.monotonic() >= until:
            return upload, None
        await asyncio.sleep(PAUSE)


async def order(request: AppRequest, *, repairs: bool) -> Upload:
    """Record the upload that undoes another one. Raises UploadNotFoundError, NotAllowedError, UndoRefusedError,
    QuotaExceededError."""
    upload_id, policy = request.path_params["upload_id"], request.state["policy"]

    def create(connection: sa.Connection) -> Upload:
        upload = policy.upload(connection, upload_id)
        policy.require_own(upload)

        def ordered(connection: sa.Connection, _file: StoredFile, **values: Any) -> Upload:
            return undo_orders.order(connection, upload, repairs=repairs, **values)

        no_file = StoredFile("", stored_as="", size=0, sha256="")
        return actions.create_upload(connection, request, no_file, create=ordered, action="upload.undo")

    return await threads.writes.run(lambda: request.state["changes"].make(create))
