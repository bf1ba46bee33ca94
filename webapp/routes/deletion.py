"""Deletes an upload: in the API, and with a page that says what is lost before."""

from http import HTTPStatus

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from jobs import lineage, receipts, uploads
from jobs.errors import TransitionError
from jobs.queue import QueueStatus
from jobs.undo import orders as undo_orders
from jobs.upkeep import deletion
from jobs.uploads import TERMINAL, Upload
from webapp import parameters, threads
from webapp.access.needs import UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidQueryError
from webapp.operation import DONE, Operation
from webapp.page import page
from webapp.state import AppRequest
from webapp.views.upload import UploadView

CONFIRM = parameters.found_by("confirm", "The id of the upload once more.", str, "", "")


async def delete(request: AppRequest) -> Response:
    """Delete an upload whose id `confirm` repeats."""
    await _delete(request)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def ask(request: AppRequest) -> Response:
    """What is lost, and what stays."""
    upload_id, policy = request.path_params["upload_id"], request.state["policy"]

    def find(connection: sa.Connection) -> tuple[Upload, bool]:
        upload = policy.upload(connection, upload_id)
        policy.require_change_of(upload)
        if upload.status not in TERMINAL:
            raise TransitionError(upload_id, upload.status, "deleted. Cancel it first")
        return upload, receipts.exists(connection, upload_id)

    upload, has_receipt = await read(request.state["database"], find)
    return await page(request, "delete_upload.html", {"upload": upload, "has_receipt": has_receipt})


async def delete_by_form(request: AppRequest) -> Response:
    await _delete(request)
    return RedirectResponse("/uploads", HTTPStatus.SEE_OTHER)


async def _delete(request: AppRequest) -> None:
    """Raises UploadNotFoundError, NotAllowedError, UploadDeletedError, TransitionError, InvalidQueryError."""
    state, upload_id = request.state, request.path_params["upload_id"]
    confirmed = CONFIRM.read(request.query_params)

    def change(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
        policy = state["policy"]
        upload = policy.upload(connection, upload_id)
        policy.require_change_of(upload)
        if confirmed.strip() != str(upload_id):
            raise InvalidQueryError(CONFIRM.name, f"must be the id of the upload, {upload_id}.")
        uploads.lock(connection, {upload_id, lineage.eldest(connection, upload)})
        deleted = deletion.delete(connection, upload_id, state["actor"])
        return deleted, lineage.reopen(connection, deleted)

    upload = await threads.writes.run(lambda: state["changes"].make_several(change))
    await threads.files.run(lambda: deletion.remove_file(state["database"], state["settings"], upload))


async def deleted_page(request: AppRequest, upload: Upload) -> Response:
    """What is left of an upload that was deleted."""

    def find(connection: sa.Connection) -> tuple[UploadView, bool]:
        view = UploadView(upload, QueueStatus(), open_undo=undo_orders.open_undo(connection, upload))
        return view, receipts.exists(connection, upload.id)

    view, has_receipt = await read(request.state["database"], find)
    return await page(request, "deleted_upload.html", {"upload": view, "has_receipt": has_receipt})


routes = [
    GuardedRoute("/uploads/{upload_id:id}/delete", ask, UPLOAD),
    GuardedRoute("/uploads/{upload_id:id}/delete", delete_by_form, UPLOAD, methods=["POST"]),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}",
        delete,
        UPLOAD,
        methods=["DELETE"],
        operation=Operation("Delete an upload; its rows stay.", DONE, query=(CONFIRM,), problems=(409,)),
    ),
]
