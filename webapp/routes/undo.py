"""Undo of an upload: in the API, and as a page that says what would happen before it does."""

from http import HTTPStatus

from starlette.responses import JSONResponse, RedirectResponse, Response

from jobs import siblings
from jobs.errors import UndoRefusedError
from webapp import parameters
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import JSON, Answer, Operation, answer, made
from webapp.page import page
from webapp.review import form
from webapp.routes import actions, json_body, undo_actions, visible
from webapp.routes.undo_actions import UNDO
from webapp.state import AppRequest
from webapp.views.undo import KEPT_SHOWN, UndoView

REPAIRS = parameters.flag("repairs", "Whether the uploads are undone too that corrected failed rows of this one.")


async def preview(request: AppRequest) -> Response:
    _, found = await undo_actions.preview(request, repairs=REPAIRS.read(request.query_params))
    if found is None:
        return JSONResponse(None, HTTPStatus.ACCEPTED)
    return JSONResponse(found.as_json())


async def undo(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    content = await json_body.read_bytes(request)
    wanted = json_body.parse(UNDO, json_body.decode(content) if content.strip() else {})
    return actions.created(request, await undo_actions.order(request, repairs=wanted.repairs))


async def show(request: AppRequest) -> Response:
    return await _page(request, repairs=REPAIRS.read(request.query_params))


async def confirm(request: AppRequest) -> Response:
    """The target of the page's form."""
    await visible.upload(request, request.path_params["upload_id"])
    repairs = "repairs" in form.parse(await json_body.read_bytes(request))
    try:
        undone = await undo_actions.order(request, repairs=repairs)
    except UndoRefusedError as error:
        return await _page(request, repairs=repairs, problem=str(error))
    return RedirectResponse(f"/uploads/{undone.id}", HTTPStatus.SEE_OTHER)


async def _page(request: AppRequest, *, repairs: bool, problem: str | None = None) -> Response:
    """problem: why it was refused."""
    policy = request.state["policy"]
    upload, found = await visible.upload(request, request.path_params["upload_id"]), None
    if problem is None:
        try:
            upload, found = await undo_actions.preview(request, repairs=repairs)
        except UndoRefusedError as error:
            problem = str(error)
    numbers = [*(found.repairs if found else ()), *(list(found.keep)[:KEPT_SHOWN] if found else ()), *upload.undoes]
    named = await read(request.state["database"], lambda connection: siblings.some(connection, numbers))
    refusal = policy.why_not_own(upload)
    view = UndoView(upload, found, named, repairs=repairs, problem=problem, refusal=refusal)
    return await page(request, "undo.html", {"undo": view}, HTTPStatus.CONFLICT if problem else HTTPStatus.OK)


#: There are too many rows for a request to count them.
_LATER = {202: Answer("A worker counts the rows; ask again.", {JSON: None})}

routes = [
    GuardedRoute("/uploads/{upload_id:id}/undo", show, READ),
    GuardedRoute("/uploads/{upload_id:id}/undo", confirm, UPLOAD, methods=["POST"]),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/undo",
        preview,
        READ,
        operation=Operation(
            "Return what undoing an upload would do.",
            answer(answers.UndoPreview) | _LATER,
            query=(REPAIRS,),
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/undo",
        undo,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Undo an upload.",
            made(answers.Upload, "Location"),
            body={JSON: UNDO},
            body_needed=False,
            problems=(409,),
        ),
    ),
]
