"""The HTML pages: history, an upload, datasets."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs import datasets, files, uploads
from jobs.database import Database
from jobs.datasets import Dataset, Position
from jobs.errors import UploadNotFoundError
from webapp import actions
from webapp.fragments import UploadView
from webapp.history import PAGE_SIZE, HistoryView
from webapp.live import FAILED_SAMPLE
from webapp.problems import wants_json
from webapp.state import AppRequest

#: Rows on a page of a dataset, and rows that a download reads at a time.
ROWS_SHOWN = 50
ROWS_READ = 5_000


async def home(_request: AppRequest) -> Response:
    return RedirectResponse("/uploads")


async def history(request: AppRequest) -> Response:
    state, view = request.state, HistoryView.of(request.query_params)
    watermark = await state["live"].watermark()
    page = await state["live"].read(
        lambda connection: uploads.page(
            connection, limit=PAGE_SIZE, cursor=view.cursor, status=view.status, search=view.search
        )
    )
    context = state["live"].table_context(view, page) | {
        "events_url": view.url("/uploads/events", since=watermark),
        "max_upload_bytes": state["settings"].max_upload_bytes,
    }
    return HTMLResponse(state["fragments"].render("uploads.html", context))


async def create(request: AppRequest) -> Response:
    """The form's target. With JavaScript the form asks for JSON, which says where to go."""
    upload = await actions.accept(request, raw_allowed=False)
    if wants_json(request):
        return JSONResponse(actions.as_json(upload), 201, {"Location": f"/api/v1/uploads/{upload.id}"})
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def detail(request: AppRequest) -> Response:
    state, upload_id = request.state, request.path_params["upload_id"]
    watermark = await state["live"].watermark()
    upload, sample = await state["live"].read(
        lambda connection: (
            uploads.get(connection, upload_id),
            uploads.bad_rows(connection, upload_id, limit=FAILED_SAMPLE),
        )
    )
    context = {
        "upload": UploadView(upload, state["hub"].line, sample),
        "events_url": None
        if upload.status is uploads.Status.COMPLETED
        else f"/uploads/{upload_id}/events?since={watermark}",
    }
    return HTMLResponse(state["fragments"].render("upload.html", context))


async def cancel(request: AppRequest) -> Response:
    upload = await actions.cancel(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def retry(request: AppRequest) -> Response:
    upload = await actions.retry(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


async def original(request: AppRequest) -> Response:
    state, upload_id = request.state, request.path_params["upload_id"]
    upload = await state["live"].read(lambda connection: uploads.get(connection, upload_id))
    path = files.path_of(state["settings"].files, upload.stored_as)
    if not path.is_file():
        raise UploadNotFoundError(upload_id)
    return FileResponse(path, media_type="application/octet-stream", filename=upload.filename)


async def all_datasets(request: AppRequest) -> Response:
    found = await request.state["live"].read(datasets.everything)
    listed = [
        {
            "name": dataset.name,
            "rows": rows,
            "columns": len(dataset.schema.fields),
            "created_at": dataset.created_at,
            "upload_id": dataset.upload_id,
        }
        for dataset, rows in found
    ]
    return HTMLResponse(request.state["fragments"].render("datasets.html", {"datasets": listed}))


async def dataset(request: AppRequest) -> Response:
    name = request.path_params["name"]
    after, before = (Position.parse(request.query_params.get(key, "")) for key in ("after", "before"))

    def read(connection: Any) -> tuple[Dataset, list[tuple[Position, list[str]]], int]:
        found = datasets.get(connection, name)
        if before:
            rows = datasets.rows_before(connection, found, before, limit=ROWS_SHOWN + 1)
        else:
            rows = datasets.rows_after(connection, found, after, limit=ROWS_SHOWN + 1)
        return found, rows, datasets.row_count(connection, name)

    found, rows, total = await request.state["live"].read(read)
    more = len(rows) > ROWS_SHOWN
    shown = rows[-ROWS_SHOWN:] if before else rows[:ROWS_SHOWN]
    has_previous, has_next = (more, True) if before else (after is not None, more)
    context = {
        "dataset": found,
        "columns": [
            {"name": each.name, "title": None, "type": each.type, "evidence": each.evidence}
            for each in found.schema.fields
        ],
        "rows": [[cell or None for cell in cells] for _, cells in shown],
        "row_numbers": [position[1] for position, _ in shown],
        "total": total,
        "page": {
            "previous_url": f"?before={shown[0][0]}" if has_previous and shown else None,
            "next_url": f"?after={shown[-1][0]}" if has_next and shown else None,
        },
    }
    return HTMLResponse(request.state["fragments"].render("dataset.html", context))


async def rows_csv(request: AppRequest) -> Response:
    """All rows of a dataset, streamed, in the order they came. `?provenance=1` says from where."""
    name, database = request.path_params["name"], request.state["database"]
    found = await request.state["live"].read(lambda connection: datasets.get(connection, name))
    provenance = request.query_params.get("provenance") == "1"
    return StreamingResponse(
        _csv(database, found, provenance),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def _csv(database: Database, found: Dataset, provenance: bool) -> Iterator[str]:
    """A few thousand rows at a time, so that no reader holds the database's view for the whole download."""
    names = [each.name for each in found.schema.fields]
    yield _lines([[*names, "_upload_id", "_row_number"] if provenance else names])
    position: Position | None = None
    while True:
        with database.reading() as connection:
            rows = datasets.rows_after(connection, found, position, limit=ROWS_READ)
        if not rows:
            return
        yield _lines([[*cells, str(key[0]), str(key[1])] if provenance else cells for key, cells in rows])
        position = rows[-1][0]


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


routes = [
    Route("/", home),
    Route("/uploads", history, methods=["GET"]),
    Route("/uploads", create, methods=["POST"]),
    Route("/uploads/{upload_id:id}", detail),
    Route("/uploads/{upload_id:id}/cancel", cancel, methods=["POST"]),
    Route("/uploads/{upload_id:id}/retry", retry, methods=["POST"]),
    Route("/uploads/{upload_id:id}/original", original),
    Route("/datasets", all_datasets),
    Route("/datasets/{name}", dataset),
    Route("/datasets/{name}/rows.csv", rows_csv),
]
