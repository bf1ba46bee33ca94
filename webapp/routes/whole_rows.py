"""Whole rows as plain text: pages show only the beginning of a long cell, and link to these."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from starlette.responses import Response, StreamingResponse

from jobs import datasets, failed_rows, row_excerpts
from jobs.errors import InvalidPositionError, RowNotFoundError
from webapp import threads
from webapp.access.needs import READ, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidQueryError
from webapp.routes import visible
from webapp.routes.pieces import in_pieces
from webapp.state import AppRequest

#: The text comes from a file that anybody may have sent: no browser is to see anything else in it.
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "content-disposition": "inline",
}


async def of_dataset(request: AppRequest) -> Response:
    """A row of a dataset, or with `?column=` one of its cells."""
    name, address = request.path_params["name"], request.path_params["position"]

    def query(connection: sa.Connection) -> tuple[str, list[str], list[str]]:
        dataset = request.state["policy"].dataset(connection, name)
        try:
            row = datasets.find(connection, dataset, row_excerpts.locate(connection, dataset, address))
        except InvalidPositionError as error:
            raise RowNotFoundError from error
        if row is None:
            raise RowNotFoundError
        return f"Row {row.row_number:,} of upload #{row.upload_id}", dataset.schema.names, row.cells

    return _respond(request, *await read(request.state["database"], query))


async def failed(request: AppRequest) -> Response:
    """A failed row with its reasons, or with `?column=` one of its cells."""
    upload_id, row_number = request.path_params["upload_id"], request.path_params["row_number"]

    def query(connection: sa.Connection) -> tuple[str, list[str], list[str]]:
        upload = request.state["policy"].upload(connection, upload_id)
        visible.require_failed_rows(upload)
        row = failed_rows.find(connection, upload_id, row_number)
        if row is None:
            raise RowNotFoundError
        reasons = "\n".join(reason.sentence for reason in row.reasons)
        where = f"Failed row {row.row_number:,} of upload #{upload_id}"
        where += "" if row.line is None else f", line {row.line:,}"
        return f"{where}\n{reasons}", upload.header or [], row.cells

    return _respond(request, *await read(request.state["database"], query))


def _respond(request: AppRequest, title: str, names: Sequence[str], cells: Sequence[str]) -> Response:
    column = request.query_params.get("column")
    if column is None:
        text = _text(title, names, cells)
    elif column in names[: len(cells)]:
        text = iter([cells[names.index(column)]])
    else:
        raise InvalidQueryError("column", "is not a column of this row.")
    body = threads.downloads.iterate(in_pieces(part.encode() for part in text))
    return StreamingResponse(body, headers=HEADERS, media_type="text/plain")


def _text(title: str, names: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    """Each cell below the name of its column, or its number if it has none."""
    yield f"{title}\n"
    for number, cell in enumerate(cells, start=1):
        name = names[number - 1] if number <= len(names) else f"Surplus cell {number:,}"
        yield f"\n[{name}]\n{cell}\n"


routes = [
    GuardedRoute("/datasets/{name}/rows/{position}.txt", of_dataset, READ),
    GuardedRoute("/uploads/{upload_id:id}/failed-rows/{row_number:id}", failed, READ),
]
