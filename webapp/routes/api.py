"""The JSON API, /api/v1, and the health checks."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from jobs import corrections, datasets, disk, uploads
from jobs.database import Database
from jobs.datasets import Dataset, Row
from jobs.dialect import header_of
from jobs.events import timestamp
from webapp import threads
from webapp.database_access import read
from webapp.errors import InvalidQueryError, ServerBusyError
from webapp.history import HistoryView
from webapp.routes import actions, row_position, upload_json
from webapp.state import AppRequest

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
#: Bytes at the start of a file that are searched for its header.
HEAD_BYTES = 1 << 16


async def create(request: AppRequest) -> Response:
    """multipart/form-data with `file` and `dataset`, or the file as the body with ?filename= and ?dataset=, or JSON for
    an upload that an external script imports."""
    is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
    if is_json and "filename" not in request.query_params:
        upload = await actions.create_external(request)
    else:
        upload = await actions.create_from_file(request, raw_allowed=True)
    return JSONResponse(upload_json.as_json(upload), 201, {"Location": f"/api/v1/uploads/{upload.id}"})


async def index(request: AppRequest) -> Response:
    view, limit = HistoryView.from_query(request.query_params), _limit(request)
    page = await read(
        request.state["database"],
        lambda connection: uploads.page(connection, view, limit=limit, cursor=view.cursor),
    )
    following = view.at(page.older).url("/api/v1/uploads", limit=str(limit)) if page.older else None
    return _page([upload_json.as_json(upload) for upload in page.items], page.older, following)


async def detail(request: AppRequest) -> Response:
    upload_id = request.path_params["upload_id"]
    upload = await read(request.state["database"], lambda connection: uploads.get(connection, upload_id))
    return JSONResponse(upload_json.as_json(upload))


async def cancel(request: AppRequest) -> Response:
    return JSONResponse(upload_json.as_json(await actions.cancel(request)))


async def retry(request: AppRequest) -> Response:
    return JSONResponse(upload_json.as_json(await actions.retry(request)))


async def all_datasets(request: AppRequest) -> Response:
    found = await read(request.state["database"], datasets.all_with_row_counts)
    return _page([_dataset(dataset, rows) for dataset, rows in found], None, None)


async def dataset(request: AppRequest) -> Response:
    name = request.path_params["name"]
    found, rows = await read(
        request.state["database"], lambda connection: _with_rows(connection, datasets.get(connection, name))
    )
    return JSONResponse(_dataset(found, rows) | {"schema": found.schema.as_json()})


async def rows(request: AppRequest) -> Response:
    """Rows as lists of text in the order of `columns`, in the same form as in rows.csv."""
    name, limit = request.path_params["name"], _limit(request)
    after = row_position.parse(request.query_params, "cursor")

    def rows_after(connection: sa.Connection) -> tuple[Dataset, list[Row]]:
        found = datasets.get(connection, name)
        return found, datasets.rows_after(connection, found, after, limit=limit + 1)

    with row_position.reported_as("cursor"):
        found, read_rows = await read(request.state["database"], rows_after)
    shown = read_rows[:limit]
    cursor = str(shown[-1].position) if len(read_rows) > limit else None
    query = urlencode({"cursor": cursor or "", "limit": limit})
    items = [{"upload_id": row.upload_id, "row_number": row.row_number, "cells": row.cells} for row in shown]
    following = f"/api/v1/datasets/{name}/rows?{query}" if cursor else None
    return _page(items, cursor, following, columns=found.schema.names)


def _with_rows(connection: sa.Connection, found: Dataset) -> tuple[Dataset, int]:
    return found, datasets.row_count(connection, found)


async def match(request: AppRequest) -> Response:
    """The dataset that has the columns of a file, null if none or several have. The body: the file's first lines.

    The columns that mark a file of corrections are ignored.
    """
    head = bytearray()
    async for data in request.stream():
        head += data
        if len(head) > HEAD_BYTES:
            break
    text = head[:HEAD_BYTES].decode("utf-8-sig", "replace")
    header = header_of(text)
    names = corrections.without_tracking_columns(header)
    found = await read(request.state["database"], lambda connection: datasets.matching(connection, names))
    return JSONResponse({"dataset": found})


def _dataset(found: Dataset, row_count: int) -> dict[str, Any]:
    return {
        "name": found.name,
        "mode": found.mode,
        "rows": row_count,
        "upload_id": found.upload_id,
        "created_at": timestamp(found.created_at),
        "links": {
            "self": f"/api/v1/datasets/{found.name}",
            "rows": f"/api/v1/datasets/{found.name}/rows",
            "csv": f"/api/v1/datasets/{found.name}/rows.csv",
            "html": f"/datasets/{found.name}",
        },
    }


def _page(items: list[Any], cursor: int | str | None, following: str | None, **more: Any) -> Response:
    """A page of a list. cursor: of the next page, null on the last."""
    return JSONResponse({**more, "items": items, "cursor": cursor and str(cursor), "links": {"next": following}})


def _limit(request: AppRequest) -> int:
    """Raises InvalidQueryError."""
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


async def healthz(_request: AppRequest) -> Response:
    """Liveness: the process responds."""
    return PlainTextResponse("ok\n")


async def readyz(request: AppRequest) -> Response:
    """Readiness: 200 if database and Redis respond and the disk has room, else 503. The body has the state of each."""
    state = request.state
    states: dict[str, str] = {
        "database": await _state(lambda: "ok" if _is_reachable(state["database"]) else "unreachable"),
        "redis": await _state(state["queue"].state_of_redis),
    }
    if not await threads.files.run(partial(disk.has_room, state["settings"].data)):
        states["disk"] = "full"
    return JSONResponse(states, 200 if set(states.values()) == {"ok"} else 503)


async def _state(check: Callable[[], str]) -> str:
    try:
        return await threads.reads.run(check)
    except ServerBusyError:
        return "unreachable"


def _is_reachable(database: Database) -> bool:
    try:
        with database.reading() as connection:
            return bool(connection.execute(sa.select(1)).scalar())
    except sa.exc.SQLAlchemyError:
        return False


routes = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/api/v1/uploads", index, methods=["GET"]),
    Route("/api/v1/uploads", create, methods=["POST"]),
    Route("/api/v1/uploads/{upload_id:id}", detail),
    Route("/api/v1/uploads/{upload_id:id}/cancel", cancel, methods=["POST"]),
    Route("/api/v1/uploads/{upload_id:id}/retry", retry, methods=["POST"]),
    Route("/api/v1/datasets", all_datasets),
    Route("/api/v1/datasets/match", match, methods=["POST"]),
    Route("/api/v1/datasets/{name}", dataset),
    Route("/api/v1/datasets/{name}/rows", rows),
]
