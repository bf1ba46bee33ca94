"""Streamed downloads: an upload's original file and failed rows, the template of a dataset."""

from collections.abc import Iterable, Iterator

from starlette.responses import FileResponse, Response, StreamingResponse

from jobs import corrections, failed_rows, files
from jobs.corrections import escape_formula
from jobs.database import Database
from jobs.errors import NoFileError, UploadNotFoundError
from jobs.export import csv_text
from jobs.uploads import Upload
from webapp import threads
from webapp.access.needs import READ, GuardedRoute
from webapp.routes import visible
from webapp.routes.pieces import in_pieces
from webapp.state import AppRequest

#: Rows and characters read per transaction, so that no read transaction stays open for a whole download.
ROWS_READ, CHARACTERS_READ = 5_000, 1 << 18
#: Spreadsheet programs read a file that begins with this as UTF-8.
BOM = "\ufeff".encode()


async def original(request: AppRequest) -> Response:
    """The uploaded file, unchanged."""
    state, upload_id = request.state, request.path_params["upload_id"]
    upload = await visible.upload(request, upload_id)
    if not upload.has_file:
        raise NoFileError(upload_id)
    path = files.path_of(state["settings"].files, upload.stored_as)
    if not path.is_file():
        raise UploadNotFoundError(upload_id)
    return FileResponse(path, media_type="application/octet-stream", filename=upload.filename)


async def failed_rows_csv(request: AppRequest) -> Response:
    """The failed rows with original values and reasons. Users correct the file and upload it. `?raw=1`: no escapes."""
    upload_id, is_raw = request.path_params["upload_id"], _is_raw(request)
    upload = await visible.upload(request, upload_id)
    return _csv(f"upload-{upload_id}-failed-rows", _failed_rows(request.state["database"], upload, is_raw))


def _failed_rows(database: Database, upload: Upload, is_raw: bool) -> Iterator[bytes]:
    header = upload.header or []
    yield BOM + csv_text.lines([corrections.header(header, raw=is_raw)])

    def part(after: int) -> tuple[bytes, int]:
        """Some lines, and the number of the last row. Only the lines stay in memory while a client reads them."""
        with database.reading() as connection:
            rows = failed_rows.rows(connection, upload.id, after=after, limit=ROWS_READ, enough=CHARACTERS_READ)
        lines = csv_text.lines(corrections.record(row, upload.id, len(header), raw=is_raw) for row in rows)
        return lines, rows[-1].row_number if rows else 0

    after = 0
    while (found := part(after))[0]:
        yield found[0]
        after = found[1]


async def template_csv(request: AppRequest) -> Response:
    """An empty file with a dataset's header."""
    name = request.path_params["name"]
    found = await visible.dataset(request, name)
    header = [escape_formula(name) for name in found.schema.names]
    return _csv(f"{name}-template", [BOM + csv_text.lines([header])])


def _is_raw(request: AppRequest) -> bool:
    return request.query_params.get("raw") == "1"


def _csv(name: str, content: Iterable[bytes]) -> Response:
    """content: read and encoded in a thread, one piece at a time."""
    body = threads.downloads.iterate(in_pieces(content))
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(body, media_type="text/csv; charset=utf-8", headers=headers)


routes = [
    GuardedRoute("/uploads/{upload_id:id}/original", original, READ),
    GuardedRoute("/uploads/{upload_id:id}/failed-rows.csv", failed_rows_csv, READ),
    GuardedRoute("/datasets/{name}/template.csv", template_csv, READ),
]
