"""The HTML pages of uploads: the history, and a page per upload."""

from datetime import datetime
from functools import partial

import sqlalchemy as sa
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from jobs import datasets, uploads
from jobs.errors import BulkUploadError, InvalidImportOptionError
from jobs.events import timestamp
from jobs.uploads import Page, Upload
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.failed_rows_query import FailedRowsQuery
from webapp.history import PAGE_SIZE, RECENT, HistoryView
from webapp.history_filters import HistoryFilters
from webapp.live.delivery.heartbeat import HEARTBEAT_INTERVAL
from webapp.live.moments import EARLIEST
from webapp.page import Visitor
from webapp.problem_details import wants_json
from webapp.routes import actions, deletion
from webapp.routes import batch as batches
from webapp.state import AppRequest
from webapp.threads import in_thread
from webapp.views.form import FormView

#: Names of datasets that the upload form proposes; any other one can be typed.
NAMES_PROPOSED = 500


async def home(_request: AppRequest) -> Response:
    return RedirectResponse("/uploads")


async def history(request: AppRequest) -> Response:
    return await _history(request, HistoryView.from_query(request.query_params))


async def _history(request: AppRequest, view: HistoryView, form: FormView | None = None) -> Response:
    """form: that of a request that was refused."""
    state = request.state
    seen = state["policy"].view

    def query(connection: sa.Connection) -> tuple[datetime | None, Page, list[str]]:
        newest = uploads.newest_change(connection)
        page = uploads.page(connection, view.query, limit=PAGE_SIZE, cursor=view.cursor, seen=seen)
        return newest, page, [name for name in datasets.names(connection) if seen.shows(name)][:NAMES_PROPOSED]

    newest, page, names = await read(state["database"], query)
    context = state["renderer"].table_context(view, page) | {
        "filters": HistoryFilters(view, state["policy"].caller.name),
        "dataset_names": names,
        # Of a page without uploads a toast must announce whatever ends next.
        "events_url": view.stream_url(timestamp(newest or EARLIEST)),
        "heartbeat_interval": HEARTBEAT_INTERVAL,
        # A later page without filters does not change.
        "changes_url": view.url("/uploads") if view.is_filtered or view.is_newest else None,
        "is_newest": view.is_newest,
        "is_empty": newest is None and view.is_newest,
        "is_compact": request.cookies.get("density") == "compact",
        "batch_url": view.url("/uploads/batch"),
        "said": summary.sentence if (summary := batches.Summary.parse(request.query_params.get("said", ""))) else None,
        "max_upload_bytes": state["settings"].max_upload_bytes,
        "form": form,
        "visitor": Visitor.of(state["policy"]),
    }
    return HTMLResponse(state["templates"].render("uploads.html", context), form.status if form else 200)


async def recent(request: AppRequest) -> Response:
    """The uploads that ended lately: what announcements said can be found again. A menu asks for the list alone."""
    state = request.state
    seen = state["policy"].view
    ended = await read(state["database"], lambda connection: uploads.ended_lately(connection, limit=RECENT, seen=seen))
    is_menu = request.headers.get("hx-request") == "true"
    context = {
        "uploads": [state["renderer"].view(upload) for upload in ended],
        "visitor": Visitor.of(state["policy"]),
    }
    return HTMLResponse(state["templates"].render("_recent.html" if is_menu else "recent.html", context))


async def create(request: AppRequest) -> Response:
    """The target of the upload form. With JavaScript the form requests JSON, which has the address of the next page.
    Without, a form that is refused comes back as it was filled in."""
    if wants_json(request):
        return actions.created(request, await actions.create_from_file(request, raw_allowed=False))
    entered: dict[str, str] = {}
    try:
        upload = await actions.create_from_file(request, raw_allowed=False, entered=entered)
    except BulkUploadError as error:
        return await _history(request, HistoryView(), FormView.refused(error, entered))
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def sample(request: AppRequest) -> Response:
    """Import the sample file, and show how it goes."""
    upload = await actions.create_sample(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def detail(request: AppRequest) -> Response:
    return await _detail(request)


async def _detail(request: AppRequest, form: FormView | None = None) -> Response:
    """form: that of a request that was refused. Its page has no stream, which would undo what was entered; nor has
    one that shows later columns of a review: it would show the first ones again."""
    state, upload_id = request.state, request.path_params["upload_id"]
    query = FailedRowsQuery.parse(request.query_params)
    page = await state["snapshots"].detail(upload_id, state["policy"].view, query)
    upload = page.upload
    if upload.is_deleted:
        return await deletion.deleted_page(request, upload)
    context = page.context | {
        "form": form,
        "visitor": Visitor.of(state["policy"]),
        "events_url": None
        if upload.is_settled or form or (page.review and query.first_column > 1)
        else f"/uploads/{upload_id}/events?since={timestamp(upload.updated_at)}",
        "heartbeat_interval": HEARTBEAT_INTERVAL,
    }
    render = partial(state["templates"].render, "upload.html", context)
    html = await in_thread(render) if page.is_large else render()
    return HTMLResponse(html, form.status if form else 200)


async def cancel(request: AppRequest) -> Response:
    return _changed(await actions.cancel(request))


async def retry(request: AppRequest) -> Response:
    entered: dict[str, str] = {}
    try:
        upload = await actions.retry(request, entered)
    except InvalidImportOptionError as error:
        if wants_json(request):
            raise
        return await _detail(request, FormView.refused(error, entered))
    return _changed(upload)


def _changed(upload: Upload) -> Response:
    """To the upload's page. A script puts the focus on its content, so that a screen reader begins there (keys.js)."""
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def batch(request: AppRequest) -> Response:
    """Cancel or retry the selected uploads, and return to the page of the history that the form is on. With JavaScript
    the form requests JSON, which has what the page then says."""
    view = HistoryView.from_query(request.query_params)
    wanted = await batches.of_form(request)
    if wanted is None:
        summary = batches.NOTHING_SELECTED
    else:
        summary = batches.Summary.of(wanted, await batches.run(request, wanted))
    if wants_json(request):
        return JSONResponse({"detail": summary.sentence})
    return RedirectResponse(view.url("/uploads", said=str(summary)), 303)


routes = [
    GuardedRoute("/", home, READ),
    GuardedRoute("/uploads", history, READ),
    GuardedRoute("/uploads", create, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/recent", recent, READ),
    GuardedRoute("/uploads/batch", batch, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/sample", sample, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}", detail, READ),
    GuardedRoute("/uploads/{upload_id:id}/cancel", cancel, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/retry", retry, UPLOAD, methods=["POST"]),
]
