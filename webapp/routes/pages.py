"""The HTML pages of uploads: the history, and a page per upload."""

from datetime import datetime
from functools import partial

import sqlalchemy as sa
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from jobs import datasets, uploads
from jobs.events import timestamp
from jobs.uploads import Page
from webapp.database_access import read
from webapp.failed_rows_query import FailedRowsQuery
from webapp.history import PAGE_SIZE, RECENT, HistoryView
from webapp.live.delivery.heartbeat import HEARTBEAT_INTERVAL
from webapp.live.moments import EARLIEST
from webapp.problem_details import wants_json
from webapp.routes import actions
from webapp.state import AppRequest
from webapp.threads import in_thread

#: Names of datasets that the upload form proposes; any other one can be typed.
NAMES_PROPOSED = 500


async def home(_request: AppRequest) -> Response:
    return RedirectResponse("/uploads")


async def history(request: AppRequest) -> Response:
    state, view = request.state, HistoryView.from_query(request.query_params)

    def query(connection: sa.Connection) -> tuple[datetime | None, Page, list[str]]:
        newest = uploads.newest_change(connection)
        page = uploads.page(connection, view.query, limit=PAGE_SIZE, cursor=view.cursor)
        return newest, page, datasets.names(connection)[:NAMES_PROPOSED]

    newest, page, names = await read(state["database"], query)
    context = state["renderer"].table_context(view, page) | {
        "dataset_names": names,
        # Of a page without uploads a toast must announce whatever ends next.
        "events_url": view.stream_url(timestamp(newest or EARLIEST)),
        "heartbeat_interval": HEARTBEAT_INTERVAL,
        "changes_url": view.url("/uploads") if view.is_filtered else None,
        "max_upload_bytes": state["settings"].max_upload_bytes,
    }
    return HTMLResponse(state["templates"].render("uploads.html", context))


async def recent(request: AppRequest) -> Response:
    """The uploads that ended lately: what announcements said can be found again. A menu asks for the list alone."""
    state = request.state
    ended = await read(state["database"], lambda connection: uploads.ended_lately(connection, limit=RECENT))
    is_menu = request.headers.get("hx-request") == "true"
    context = {"uploads": [state["renderer"].view(upload) for upload in ended]}
    return HTMLResponse(state["templates"].render("_recent.html" if is_menu else "recent.html", context))


async def create(request: AppRequest) -> Response:
    """The target of the upload form. With JavaScript the form requests JSON, which has the address of the next page."""
    upload = await actions.create_from_file(request, raw_allowed=False)
    if wants_json(request):
        return actions.created(request, upload)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def detail(request: AppRequest) -> Response:
    state, upload_id = request.state, request.path_params["upload_id"]
    page = await state["snapshots"].detail(upload_id, FailedRowsQuery.parse(request.query_params))
    upload = page.upload
    context = page.context | {
        "events_url": None
        if upload.is_settled
        else f"/uploads/{upload_id}/events?since={timestamp(upload.updated_at)}",
        "heartbeat_interval": HEARTBEAT_INTERVAL,
    }
    render = partial(state["templates"].render, "upload.html", context)
    return HTMLResponse(await in_thread(render) if page.is_large else render())


async def cancel(request: AppRequest) -> Response:
    upload = await actions.cancel(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def retry(request: AppRequest) -> Response:
    upload = await actions.retry(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


routes = [
    Route("/", home),
    Route("/uploads", history, methods=["GET"]),
    Route("/uploads", create, methods=["POST"]),
    Route("/uploads/recent", recent),
    Route("/uploads/{upload_id:id}", detail),
    Route("/uploads/{upload_id:id}/cancel", cancel, methods=["POST"]),
    Route("/uploads/{upload_id:id}/retry", retry, methods=["POST"]),
]
