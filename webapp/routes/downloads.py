"""Streamed downloads: an upload's original file and failed rows, a dataset's rows and template."""

import csv
import io
from collections.abc import Iterator, Sequence

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs import corrections, datasets, failed_rows, files, uploads
from jobs.database import Database
from jobs.datasets import Dataset, Position
from jobs.errors import NoFileError, UploadNotFoundError
from jobs.uploads import Upload
from webapp import threads
from webapp.database_access import read
from webapp.state import AppRequest

#: Rows read per transaction, so that no read transaction stays open for a whole download.
ROWS_READ = 5_000
#: Spreadsheet programs read a file that begins with this as UTF-8.
BOM = "\ufeff"
#: Columns with the origin of a row.
PROVENANCE = ("_upload_id", "_row_number")


async def original(request: AppRequest) -> Response:
    """The uploaded file, unchanged."""
    state, upload_id = request.state, request.path_params["upload_id"]
    upload = await read(state["database"], lambda connection: uploads.get(connection, upload_id))
    if not upload.has_file:
        raise NoFileError(upload_id)
    path = files.path_of(state["settings"].files, upload.stored_as)
    if not path.is_file():
        raise UploadNotFoundError(upload_id)
    return FileResponse(path, media_type="application/octet-stream", filename=upload.filename)


async def failed_rows_csv(request: AppRequest) -> Response:
    """The failed rows with original values and reasons. Users correct the file and upload it."""
    upload_id = request.path_params["upload_id"]
    upload = await read(request.state["database"], lambda connection: uploads.get(connection, upload_id))
    return _csv(f"upload-{upload_id}-failed-rows", _failed_rows(request.state["database"], upload))


def _failed_rows(database: Database, upload: Upload) -> Iterator[str]:
    header = upload.header or []
    yield BOM + _lines([corrections.header(header)])
    after = 0
    while True:
        with database.reading() as connection:
            rows = failed_rows.rows(connection, upload.id, after=after, limit=ROWS_READ)
        if not rows:
            return
        yield _lines([corrections.record(row, upload.id, len(header)) for row in rows])
        after = rows[-1].row_number


async def template_csv(request: AppRequest) -> Response:
    """An empty file with a dataset's header."""
    name = request.path_params["name"]
    found = await read(request.state["database"], lambda connection: datasets.get(connection, name))
    return _csv(f"{name}-template", iter([BOM + _lines([found.schema.names])]))


async def rows_csv(request: AppRequest) -> Response:
    """All rows of a dataset, in the order of its key. `?provenance=1` adds the origin of each."""
    name, database = request.path_params["name"], request.state["database"]
    found = await read(request.state["database"], lambda connection: datasets.get(connection, name))
    return _csv(name, _rows(database, found, request.query_params.get("provenance") == "1"))


def _rows(database: Database, found: Dataset, provenance: bool) -> Iterator[str]:
    yield _lines([[*found.schema.names, *PROVENANCE] if provenance else found.schema.names])
    position: Position | None = None
    while True:
        with database.reading() as connection:
            rows = datasets.rows_after(connection, found, position, limit=ROWS_READ)
        if not rows:
            return
        yield _lines(
            [[*row.cells, str(row.upload_id), str(row.row_number)] if provenance else row.cells for row in rows]
        )
        position = rows[-1].position


def _csv(name: str, content: Iterator[str]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(threads.downloads.iterate(content), media_type="text/csv; charset=utf-8", headers=headers)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


routes = [
    Route("/uploads/{upload_id:id}/original", original),
    Route("/uploads/{upload_id:id}/failed-rows.csv", failed_rows_csv),
    Route("/datasets/{name}/template.csv", template_csv),
    Route("/datasets/{name}/rows.csv", rows_csv),
    Route("/api/v1/datasets/{name}/rows.csv", rows_csv),
]
