"""Streamed downloads: an upload's original file and failed rows, the template of a dataset."""

from starlette.responses import Response

from jobs.corrections import escape_formula
from jobs.errors import NoFileError, RemovedError, UploadNotFoundError
from jobs.export import csv_text, failed_rows
from jobs.store.chosen import store_of
from webapp import threads
from webapp.access.needs import READ, GuardedRoute
from webapp.routes import downloaded, visible
from webapp.routes.block_stream import BlockStream
from webapp.routes.stored_file_response import stored_file_response
from webapp.state import AppRequest

MEDIA_TYPE = "text/csv; charset=utf-8"


async def original(request: AppRequest) -> Response:
    """The uploaded file, unchanged."""
    state, upload_id = request.state, request.path_params["upload_id"]
    upload = await visible.upload(request, upload_id)
    if not upload.has_file:
        raise NoFileError(upload_id)
    if upload.original_removed_at is not None:
        raise RemovedError("The file", upload_id, upload.original_removed_at)
    store = store_of(state["settings"])
    found = await threads.downloads.run(lambda: store.state(upload.stored_as))
    if found is None:
        raise UploadNotFoundError(upload_id)
    downloaded.note(request, f"upload {upload_id}")
    return stored_file_response(request, store, upload, found)


async def failed_rows_csv(request: AppRequest) -> Response:
    """The failed rows with original values and reasons. Users correct the file and upload it. `?raw=1`: no escapes."""
    upload_id, is_raw = request.path_params["upload_id"], _is_raw(request)
    upload = await visible.upload(request, upload_id)
    visible.require_failed_rows(upload)
    downloaded.note(request, f"upload {upload_id}")
    blocks = failed_rows.csv_blocks(request.state["database"], upload, is_raw=is_raw)
    return BlockStream(blocks, MEDIA_TYPE, _attachment(f"upload-{upload_id}-failed-rows"))


async def template_csv(request: AppRequest) -> Response:
    """An empty file with a dataset's header."""
    name = request.path_params["name"]
    found = await visible.dataset(request, name)
    header = [escape_formula(name) for name in found.schema.names]
    content = failed_rows.BOM + csv_text.lines([header])
    return Response(content, media_type=MEDIA_TYPE, headers=_attachment(f"{name}-template"))


def _is_raw(request: AppRequest) -> bool:
    return request.query_params.get("raw") == "1"


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.csv"'}


routes = [
    GuardedRoute("/uploads/{upload_id:id}/original", original, READ),
    GuardedRoute("/uploads/{upload_id:id}/failed-rows.csv", failed_rows_csv, READ),
    GuardedRoute("/datasets/{name}/template.csv", template_csv, READ),
]
