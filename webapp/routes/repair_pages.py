"""The repair of an upload as a page of its own, and as a part of the upload's page, which a script loads."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs.errors import BulkUploadError, NotAllowedError
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidBodyError
from webapp.failed_rows_query import FailedRowsQuery
from webapp.page import page
from webapp.review import form
from webapp.routes import json_body, repair_actions, visible
from webapp.routes.repair_actions import BULK_EDIT, BulkEdit, CellEdits
from webapp.state import AppRequest
from webapp.views.repair import Entered, RepairRecords, RepairView

#: Seconds that the part of a page waits for suggestions: its script asks again.
PATIENCE = 0.0


async def show(request: AppRequest) -> Response:
    return await _page(request, Entered())


async def change(request: AppRequest) -> Response:
    """One of the page's forms. `do` says which."""
    await visible.upload(request, request.path_params["upload_id"])
    entered = form.parse(await json_body.read_bytes(request))
    try:
        shown = await _do(request, entered)
    except NotAllowedError:
        raise
    except BulkUploadError as error:
        find = {name: _text(entered, name) for name in ("column", "from", "to")} if _text(entered, "find") else {}
        return await _page(request, Entered(find=find, problem=str(error)), HTTPStatus.UNPROCESSABLE_ENTITY)
    if shown.preview is None and not _is_part(request):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/uploads/{request.path_params['upload_id']}/repair{query}", HTTPStatus.SEE_OTHER)
    return await _page(request, shown)


def _is_part(request: AppRequest) -> bool:
    return request.headers.get("hx-request") == "true"


def _text(entered: Mapping[str, Sequence[str]], name: str) -> str:
    return entered.get(name, [""])[-1]


async def _do(request: AppRequest, entered: Mapping[str, Sequence[str]]) -> Entered:
    """Raises BulkUploadError."""
    match _text(entered, "do"):
        case "apply":
            return await _apply(request, {"apply": [_text(entered, "id")]}, "remember" in entered)
        case "replace":
            changed = {"column": _text(entered, "column"), "from": _text(entered, "from"), "to": _text(entered, "to")}
            return await _apply(request, {"replace": [changed]}, "remember" in entered)
        case "preview" | "find" as do:
            find = {name: _text(entered, name) for name in ("column", "from", "to")}
            wanted = json_body.parse(BULK_EDIT, {"find": [find]})
            if do == "preview":
                return Entered(find=find, preview=await repair_actions.preview(request, wanted))
            return _said(await repair_actions.edit_all(request, wanted))
        case "edit":
            return await _edit(request, entered)
        case "undo":
            undone = await repair_actions.undo(request)
            kept = f" {undone.kept:,} stay: they were edited again." if undone.kept else ""
            return Entered(said=f"Undone: {undone.title}.{kept}")
        case "import":
            child = await repair_actions.import_edited(request)
            return Entered(said=f"Upload #{child.id} imports the corrected rows.")
    raise InvalidBodyError([("do", "is not one of apply, replace, preview, find, edit, undo, import")])


async def _apply(request: AppRequest, wanted: Mapping[str, object], remember: bool) -> Entered:
    """Rows of an upload that has ended are edited, to be imported together. One that runs has rows to come: a repair of
    its own waits for its end."""
    of = await repair_actions.repairable(request)
    if of.upload.is_active:
        child = await repair_actions.repair(
            request, json_body.parse(repair_actions.REPAIRS, {**wanted, "remember": remember})
        )
        return Entered(said=f"Upload #{child.id} does that when this import has ended.")
    changes: BulkEdit = json_body.parse(BULK_EDIT, dict(wanted))
    if remember:
        repair_actions.require_rules(request)
    found = await repair_actions.edit_all(request, changes)
    if remember:
        await repair_actions.make_rules(request, json_body.parse(repair_actions.REPAIRS, dict(wanted)))
    return _said(found)


def _said(found: Mapping[str, int]) -> Entered:
    rows = "1 row was" if found["rows"] == 1 else f"{found['rows']:,} rows were"
    return Entered(said=f"{rows} changed, {found['right']:,} of them are right now.")


async def _edit(request: AppRequest, entered: Mapping[str, Sequence[str]]) -> Entered:
    """A row of the grid, without a script."""
    of = await repair_actions.repairable(request)
    number, version = _text(entered, "row_number"), _text(entered, "version")
    if not number.isdecimal() or not version.isdecimal():
        raise InvalidBodyError([("row_number", "must be a number")])
    places = {name: place for place, name in enumerate(of.header)}
    cells = {name: _text(entered, f"c{place}") for name, place in places.items() if f"c{place}" in entered}
    if not cells:
        raise InvalidBodyError([("cells", "has no cell")])
    row, _ = await repair_actions.edit_cells(request, int(number), CellEdits(cells=cells, version=int(version)))
    return Entered(said=f"Row {int(number):,} is {'right now' if row.is_right else 'still wrong'}.")


async def _page(request: AppRequest, entered: Entered, status: int = HTTPStatus.OK) -> HTMLResponse:
    """A script shows only what is answered with success."""
    upload_id, policy = request.path_params["upload_id"], request.state["policy"]
    query = FailedRowsQuery.parse(request.query_params)
    records = await read(
        request.state["database"], lambda connection: RepairRecords.read(connection, upload_id, policy, query)
    )
    if records.of and records.upload.rows_open and not records.is_measured:
        found = await repair_actions.suggestions(
            request, seconds=PATIENCE if _is_part(request) else repair_actions.PATIENCE
        )
        if found.is_current:
            records = await read(
                request.state["database"], lambda connection: RepairRecords.read(connection, upload_id, policy, query)
            )
    view = RepairView(
        records,
        refusal=policy.why_not_own(records.upload),
        may_remember=repair_actions.may_make_rules(request),
    )
    context = {"repair": view, "entered": entered, "upload": records.upload}
    if _is_part(request):
        return await page(request, "_repair.html", context)
    return await page(request, "repair.html", context, status)


routes = [
    GuardedRoute("/uploads/{upload_id:id}/repair", show, READ),
    GuardedRoute("/uploads/{upload_id:id}/repair", change, UPLOAD, methods=["POST"]),
]
