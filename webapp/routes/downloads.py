"""Streamed downloads: an upload's original file and failed rows, a dataset's rows and template."""

import csv
import io
from collections.abc import Iterable, Iterator

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs import corrections, datasets, failed_rows, files, uploads
from jobs.corrections import escape_formula
from jobs.database import Database
from jobs.datasets import Dataset, Position
from jobs.errors import NoFileError, UploadNotFoundError
from jobs.uploads import Upload
from webapp import threads
from webapp.database_access import read
from webapp.routes.pieces import in_pieces
from webapp.state import AppRequest

#: Rows and characters read per transaction, so that no read transaction stays open for a whole download.
ROWS_READ, CHARACTERS_READ = 5_000, 1 << 18
#: Characters of a row for which csv.writer would stop all other threads for milliseconds.
LONG_ROW = 100_000
#: Spreadsheet programs read a file that begins with this as UTF-8.
BOM = "\ufeff".encode()
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
    """The failed rows with original values and reasons. Users correct the file and upload it. `?raw=1`: no escapes."""
    upload_id, is_raw = request.path_params["upload_id"], _is_raw(request)
    upload = await read(request.state["database"], lambda connection: uploads.get(connection, upload_id))
    return _csv(f"upload-{upload_id}-failed-rows", _failed_rows(request.state["database"], upload, is_raw))


def _failed_rows(database: Database, upload: Upload, is_raw: bool) -> Iterator[bytes]:
    header = upload.header or []
    yield BOM + _lines([corrections.header(header, raw=is_raw)])

    def part(after: int) -> tuple[bytes, int]:
        """Some lines, and the number of the last row. Only the lines stay in memory while a client reads them."""
        with database.reading() as connection:
            rows = failed_rows.rows(connection, upload.id, after=after, limit=ROWS_READ, enough=CHARACTERS_READ)
        lines = _lines(corrections.record(row, upload.id, len(header), raw=is_raw) for row in rows)
        return lines, rows[-1].row_number if rows else 0

    after = 0
    while (found := part(after))[0]:
        yield found[0]
        after = found[1]


async def template_csv(request: AppRequest) -> Response:
    """An empty file with a dataset's header."""
    name = request.path_params["name"]
    found = await read(request.state["database"], lambda connection: datasets.get(connection, name))
    return _csv(f"{name}-template", iter([BOM + _lines([map(escape_formula, found.schema.names)])]))


async def rows_csv(request: AppRequest) -> Response:
    """All rows of a dataset for a spreadsheet, in the order of its key. `?raw=1`: formulas are not escaped."""
    return await _rows_csv(request, is_raw=_is_raw(request))


async def raw_rows_csv(request: AppRequest) -> Response:
    """All rows of a dataset with values as they are, in the order of its key."""
    return await _rows_csv(request, is_raw=True)


async def _rows_csv(request: AppRequest, *, is_raw: bool) -> Response:
    """`?provenance=1` adds the origin of each row."""
    name, database = request.path_params["name"], request.state["database"]
    found = await read(request.state["database"], lambda connection: datasets.get(connection, name))
    return _csv(name, _rows(database, found, request.query_params.get("provenance") == "1", is_raw))


def _rows(database: Database, found: Dataset, provenance: bool, is_raw: bool) -> Iterator[bytes]:
    def line(cells: Iterable[str], origin: Iterable[object]) -> list[str]:
        shown = list(cells) if is_raw else [escape_formula(cell) for cell in cells]
        return [*shown, *map(str, origin)] if provenance else shown

    def part(after: Position | None) -> tuple[bytes, Position | None]:
        """Some lines, and the position of the last row. Only the lines stay in memory while a client reads them."""
        with database.reading() as connection:
            rows = datasets.rows_after(connection, found, after, limit=ROWS_READ, enough=CHARACTERS_READ)
        lines = _lines(line(row.cells, (row.upload_id, row.row_number)) for row in rows)
        return lines, rows[-1].position if rows else None

    yield _lines([line(found.schema.names, PROVENANCE)])
    lines, position = part(None)
    while lines:
        yield lines
        lines, position = part(position)


def _is_raw(request: AppRequest) -> bool:
    return request.query_params.get("raw") == "1"


def _csv(name: str, content: Iterable[bytes]) -> Response:
    """content: read and encoded in a thread, one piece at a time."""
    body = threads.downloads.iterate(in_pieces(content))
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(body, media_type="text/csv; charset=utf-8", headers=headers)


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        cells = list(row)
        if sum(map(len, cells)) < LONG_ROW:
            writer.writerow(cells)
        else:
            text.write(",".join(map(_quoted, cells)) + "\r\n")
    return text.getvalue().encode()


def _quoted(cell: str) -> str:
    """The cell as csv.writer writes it, which looks at each character while no other thread can run."""
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


routes = [
    Route("/uploads/{upload_id:id}/original", original),
    Route("/uploads/{upload_id:id}/failed-rows.csv", failed_rows_csv),
    Route("/datasets/{name}/template.csv", template_csv),
    Route("/datasets/{name}/rows.csv", rows_csv),
    Route("/api/v1/datasets/{name}/rows.csv", raw_rows_csv),
]
