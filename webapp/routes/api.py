"""The JSON API, /api/v1, and the health checks."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from jobs import datasets, deleted_names, lineage, row_excerpts, uploads
from jobs.corrections import CorrectionsHead
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.dataset_admin.catalogue import Entry
from jobs.datasets import Dataset, Row
from jobs.events import Event, timestamp
from jobs.formats.dialect import header_of
from jobs.process import disk
from jobs.rows import filters as row_filters
from jobs.rows.time_limit import limited
from jobs.traces import row_lines
from jobs.uploads import Page, Upload
from webapp import history, parameters, threads
from webapp.access.needs import CREATE, PUBLIC, READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.errors import ServerBusyError
from webapp.history import RECENT, HistoryView
from webapp.openapi import answers
from webapp.operation import BINARY, JSON, Operation, answer, made
from webapp.parameters import LIMIT
from webapp.problems import details
from webapp.routes import actions, filter_parameters, options_body, row_position, upload_fields, upload_json, visible
from webapp.routes import batch as batches
from webapp.routes.pieces import PIECE_BYTES, in_pieces
from webapp.state import AppRequest
from webapp.views import catalogue as catalogue_view
from webapp.views.catalogue import CatalogueView

#: Bytes of the rows on a page; with the names of the columns it stays below 10 MB. A single row may have more.
ROWS_BYTES = 9_500_000
#: Bytes that tell where a row came from.
ORIGIN_BYTES = 100
CURSOR = parameters.found_by("cursor", "Where the page begins.", str, "", None)
FROM_ROW = parameters.number(
    "from_row",
    "The first row of the page, among those that the filters choose.",
    least=1,
    most=10**15 - 1,
    default=1,
    wanted="must be the number of a row, from 1.",
)
NAME = parameters.found_by("name", "As somebody types it.", str, "", "")
#: Parameters of a list of rows that choose none.
ROWS_PARAMETERS = (CURSOR.name, LIMIT.name, FROM_ROW.name)
#: Seconds that the database may look for the rows of a page.
ROWS_LIMIT = 10.0
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
    return actions.created(request, upload)


async def index(request: AppRequest) -> Response:
    view, limit = HistoryView.from_query(request.query_params), LIMIT.read(request.query_params)
    seen = request.state["policy"].view

    def page(connection: sa.Connection) -> tuple[Page, dict[int, list[int]]]:
        found = uploads.page(connection, view.query, limit=limit, cursor=view.cursor, seen=seen)
        return found, lineage.children(connection, [upload.id for upload in found.items])

    found, children = await read(request.state["database"], page)
    places = request.state["hub"].queue_monitor.places_of(found.items)
    items = [upload_json.as_json(each, children[each.id], places.get(each.id)) for each in found.items]
    following = view.at(found.older).url("/api/v1/uploads", limit=str(limit)) if found.older else None
    return _page(items, found.older, following)


async def recent(request: AppRequest) -> Response:
    """The uploads that ended lately, the last one first."""

    def ended(connection: sa.Connection) -> Response:
        found = uploads.ended_lately(connection, limit=RECENT, seen=request.state["policy"].view)
        children = lineage.children(connection, [upload.id for upload in found])
        return _page([upload_json.as_json(each, children[each.id]) for each in found], None, None)

    return await read(request.state["database"], ended)


async def detail(request: AppRequest) -> Response:
    upload_id = request.path_params["upload_id"]
    upload = await visible.upload(request, upload_id)
    return await _with_children(request, upload)


async def cancel(request: AppRequest) -> Response:
    return await _with_children(request, await actions.cancel(request))


async def retry(request: AppRequest) -> Response:
    return await _with_children(request, await actions.retry(request))


async def batch(request: AppRequest) -> Response:
    """What became of each upload, with a sentence about all of them. The status is 200 even if nothing was done."""
    wanted = await batches.of_json(request)
    results = await batches.run(request, wanted)
    summary = batches.Summary.of(wanted, results)
    return JSONResponse({"detail": summary.sentence, "results": [_result(each) for each in results]})


def _result(found: batches.Result) -> dict[str, Any]:
    """status: as if it had been done to this upload alone."""
    if found.upload is not None:
        return {"id": found.upload_id, "status": 200, "upload": vars(Event.from_upload(found.upload))}
    assert found.error is not None
    problem = details(found.error)
    return {"id": found.upload_id, **{name: problem[name] for name in ("status", "title", "detail")}}


async def _with_children(request: AppRequest, upload: Upload) -> Response:
    children = await read(request.state["database"], lambda connection: lineage.children(connection, [upload.id]))
    place = request.state["hub"].queue_monitor.places_of([upload]).get(upload.id)
    return JSONResponse(upload_json.as_json(upload, children[upload.id], place))


async def all_datasets(request: AppRequest) -> Response:
    query = CatalogueView.from_query(request.query_params).query

    def page(connection: sa.Connection) -> Response:
        return _page(
            [_dataset(each) for each in catalogue.entries(connection, query, seen=request.state["policy"].view)],
            None,
            None,
        )

    return await read(request.state["database"], page)


async def dataset(request: AppRequest) -> Response:
    def detail(connection: sa.Connection) -> Response:
        return JSONResponse(
            described(connection, request.state["policy"].dataset(connection, request.path_params["name"]))
        )

    return await read(request.state["database"], detail)


def described(connection: sa.Connection, found: Dataset) -> dict[str, Any]:
    """A dataset with its schema."""
    totals = datasets.totals_of(connection, found.name)
    more = {
        "review": datasets.review_of(connection, found.name),
        "totals": totals.on_mismatch,
        "totals_required": totals.are_required,
        "schema_version": datasets.schema_version(connection, found.name),
        "schema": found.schema.as_json(),
    }
    return _dataset(catalogue.entry(connection, found.name)) | more


async def rows(request: AppRequest) -> Response:
    """Rows as lists of text in the order of `columns`, in the same form as in rows.csv, all or those that filters
    choose.

    A page ends before its limit if its rows would have more than ROWS_BYTES.
    """
    name, limit = request.path_params["name"], LIMIT.read(request.query_params)

    def page(connection: sa.Connection) -> Response:
        found = request.state["policy"].dataset(connection, name)
        filters = row_filters.parse(request.query_params.multi_items(), found.schema, others=ROWS_PARAMETERS)
        after = row_position.locate(connection, found, request.query_params, "cursor")
        skipped = 0 if after else FROM_ROW.read(request.query_params) - 1
        found_rows: list[tuple[Row, str, bytes]] = []
        size, has_more = 0, False
        with limited(connection, ROWS_LIMIT):
            for row in datasets.each_after(
                connection, found, after, limit=limit + 1, selection=filters.selection, skipped=skipped
            ):
                cells = _json(row.cells)
                position = row_excerpts.address(row)
                size += len(cells) + len(position) + ORIGIN_BYTES
                if found_rows and (has_more := len(found_rows) == limit or size > ROWS_BYTES):
                    break
                found_rows.append((row, position, cells))
        lines = row_lines.lines_of(connection, [(row.upload_id, row.row_number) for row, _, _ in found_rows])
        items = [
            _item(row, lines.get((row.upload_id, row.row_number)), position, cells)
            for row, position, cells in found_rows
        ]
        cursor = found_rows[-1][1] if has_more else None
        query = urlencode([("cursor", cursor or ""), ("limit", limit), *filters.query])
        following = f"/api/v1/datasets/{name}/rows?{query}" if cursor else None
        parts = [b'{"columns":', _json(found.schema.names), b',"items":[']
        parts += [part for item in items for part in (b",", item)][1:]
        parts += [b'],"cursor":', _json(cursor), b',"links":', _json({"next": following}), b"}"]
        return _in_pieces(parts)

    with row_position.reported_as("cursor"):
        return await read(request.state["database"], page)


def _item(row: Row, line: int | None, position: str, cells: bytes) -> bytes:
    """A row as JSON. position: its address. cells: as JSON."""
    origin = _json({"upload_id": row.upload_id, "row_number": row.row_number, "line": line, "position": position})
    return b"".join([origin[:-1], b',"cells":', cells, b"}"])


def _in_pieces(parts: list[bytes]) -> Response:
    """JSON of these parts, which are not joined if they are many: they may have ROWS_BYTES."""
    size = sum(map(len, parts))
    if size <= PIECE_BYTES:
        return Response(b"".join(parts), media_type="application/json")

    async def pieces() -> AsyncIterator[bytes]:
        for piece in in_pieces(parts):
            yield piece

    headers = {"Content-Length": str(size)}
    return StreamingResponse(pieces(), headers=headers, media_type="application/json")


def _json(value: Any) -> bytes:
    return bytes(JSONResponse(value).body)


async def match(request: AppRequest) -> Response:
    """The datasets that have the columns of a file, the last used first. The body: the file's first lines.

    Of a file of corrections it is the dataset in which its rows failed.
    """
    head = bytearray()
    async for data in request.stream():
        head += data
        if len(head) > HEAD_BYTES:
            break
    beginning = bytes(head[:HEAD_BYTES])
    corrected = CorrectionsHead.read(beginning)
    names = corrected.names if corrected else header_of(beginning.decode("utf-8-sig", "replace"))

    seen = request.state["policy"].view

    def find(connection: sa.Connection) -> list[str]:
        parent = lineage.find_parent(connection, corrected.parent, names, seen) if corrected else None
        if parent and parent.dataset:
            return [parent.dataset] if deleted_names.former(parent.dataset) is None else []
        return datasets.matching(connection, names, seen)

    found = await read(request.state["database"], find)
    return JSONResponse({"dataset": found[0] if found else None, "datasets": found})


async def dataset_name(request: AppRequest) -> Response:
    """What a name that somebody types stands for: the name that the dataset gets or has, and its rows."""
    wanted = NAME.read(request.query_params)

    def look(connection: sa.Connection) -> Response:
        name = datasets.checked_name(wanted)
        if not (name and request.state["policy"].view.shows(name) and datasets.exists(connection, name)):
            return JSONResponse({"name": name, "exists": False, "rows": None})
        found = request.state["policy"].dataset(connection, name)
        return JSONResponse({"name": name, "exists": True, "rows": datasets.row_count(connection, found)})

    return await read(request.state["database"], look)


def _dataset(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "mode": entry.mode,
        "modes": entry.modes,
        "rows": entry.rows,
        "columns": entry.columns,
        "upload_id": entry.upload_id,
        "created_at": timestamp(entry.created_at),
        "changed_at": entry.changed_at and timestamp(entry.changed_at),
        "last_upload": entry.last_upload and _last_upload(entry.last_upload),
        "links": {
            "self": f"/api/v1/datasets/{entry.name}",
            "rows": f"/api/v1/datasets/{entry.name}/rows",
            "csv": f"/api/v1/datasets/{entry.name}/rows.csv",
            "html": f"/datasets/{entry.name}",
        },
    }


def _last_upload(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "status": upload.status,
        "rows_success": upload.rows_success,
        "rows_failed": upload.rows_failed,
        "warnings": len(upload.warnings),
        "links": {"self": f"/api/v1/uploads/{upload.id}", "html": f"/uploads/{upload.id}"},
    }


def _page(items: list[Any], cursor: int | None, following: str | None) -> Response:
    """A page of a list. cursor: of the next page, null on the last."""
    return JSONResponse({"items": items, "cursor": cursor and str(cursor), "links": {"next": following}})


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
    GuardedRoute("/healthz", healthz, PUBLIC),
    GuardedRoute("/readyz", readyz, PUBLIC),
    GuardedRoute(
        "/api/v1/uploads",
        index,
        READ,
        operation=Operation(
            "List uploads, newest first.", answer(answers.Page[answers.Upload]), query=(*history.PARAMETERS, LIMIT)
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads",
        create,
        CREATE,
        methods=["POST"],
        operation=Operation(
            "Create an upload from a file, or announce one that an external script imports.",
            made(answers.Upload, "Location"),
            query=upload_fields.OF_FILE,
            body={
                "multipart/form-data": upload_fields.form(),
                "application/octet-stream": BINARY,
                JSON: actions.EXTERNAL_UPLOAD,
            },
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/recent",
        recent,
        READ,
        operation=Operation("List the uploads that ended lately.", answer(answers.Page[answers.Upload])),
    ),
    GuardedRoute(
        "/api/v1/uploads/batch",
        batch,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Cancel or retry several uploads.", answer(answers.BatchResult), body={JSON: batches.BATCH}
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}",
        detail,
        READ,
        operation=Operation("Return an upload.", answer(answers.Upload)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/cancel",
        cancel,
        UPLOAD,
        methods=["POST"],
        operation=Operation("Cancel an upload.", answer(answers.Upload), problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/retry",
        retry,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Start a failed or cancelled upload again, with other import options if the body has some.",
            answer(answers.Upload),
            body={JSON: options_body.OPTIONS},
            body_needed=False,
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets",
        all_datasets,
        READ,
        operation=Operation(
            "List datasets.", answer(answers.Page[answers.Dataset]), query=(catalogue_view.SEARCH, catalogue_view.SORT)
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/match",
        match,
        READ,
        methods=["POST"],
        operation=Operation(
            "Find the datasets that have the columns of a file.",
            answer(answers.Matched),
            body={"application/octet-stream": BINARY, "text/csv": BINARY},
            body_needed=False,
        ),
    ),
    GuardedRoute(
        "/api/v1/dataset-name",
        dataset_name,
        READ,
        operation=Operation("Tell what a name stands for.", answer(answers.DatasetName), query=(NAME,)),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}",
        dataset,
        READ,
        operation=Operation("Return a dataset with its schema.", answer(answers.Dataset)),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/rows",
        rows,
        READ,
        operation=Operation(
            "List rows in the order of the key, all or those that filters choose.",
            answer(answers.Rows),
            query=(LIMIT, CURSOR, FROM_ROW, *filter_parameters.ALL),
            reads_filters=True,
        ),
    ),
]
