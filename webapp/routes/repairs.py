"""Repair in the API: open failed rows, suggestions, edits, and the uploads that bring the rows that are right."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from jobs.events import timestamp
from jobs.repair import open_rows
from jobs.repair.open_rows import LastEdit, OpenRow, Progress
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.failed_rows_query import AFTER, COLUMN, RULE, FailedRowsQuery
from webapp.openapi import answers
from webapp.operation import JSON, Answer, Operation, answer, made
from webapp.parameters import LIMIT
from webapp.routes import actions, json_body, repair_actions, visible
from webapp.routes.repair_actions import BULK_EDIT, CELL_EDITS, REPAIRS, SEVERAL_EDITS
from webapp.state import AppRequest

#: Characters of the cells on a page of failed rows, so that it stays below 10 MB. A single row may have more.
CELLS_LENGTH = 1_500_000


async def rows(request: AppRequest) -> Response:
    """Open failed rows in the order of the file, all or those with a reason. A page of large ones ends early."""
    upload_id, limit = request.path_params["upload_id"], LIMIT.read(request.query_params)
    query = FailedRowsQuery.parse(request.query_params)

    def page(connection: sa.Connection) -> tuple[list[OpenRow], Sequence[str]]:
        upload = request.state["policy"].upload(connection, upload_id)
        visible.require_failed_rows(upload)
        header = upload.header or []
        wanted: dict[str, Any] = {
            "after": query.after,
            "limit": limit + 1,
            "enough": CELLS_LENGTH,
            "chosen": query.chosen,
        }
        return open_rows.page(connection, upload_id, **wanted), header

    found, header = await read(request.state["database"], page)
    shown = found[:limit]
    has_more = len(found) > limit or sum(row.length for row in shown) >= CELLS_LENGTH
    cursor = str(shown[-1].row_number) if shown and has_more else None
    following = urlencode([*query.parameters, ("after", cursor or ""), ("limit", limit)])
    links = {"next": f"/api/v1/uploads/{upload_id}/failed-rows?{following}" if cursor else None}
    return JSONResponse({"items": [row_json(row, header) for row in shown], "cursor": cursor, "links": links})


def row_json(row: OpenRow, header: Sequence[str]) -> dict[str, Any]:
    cells = dict(zip(header, row.texts(header) if row.is_edited else row.cells, strict=False))
    original = dict(zip(header, row.cells, strict=False))
    return {
        "row_number": row.row_number,
        "line": row.line,
        "cells": cells,
        "surplus": row.cells[len(header) :],
        "reasons": [reason._asdict() for reason in row.still_wrong],
        "version": row.version,
        "edited": row.is_edited,
        "original": {name: original.get(name, "") for name in row.edits},
        "edited_by": row.edited_by,
        "edited_at": row.edited_at and timestamp(row.edited_at),
    }


async def edit_row(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(CELL_EDITS, await json_body.read(request))
    row, of = await repair_actions.edit_cells(request, request.path_params["row_number"], wanted)
    return JSONResponse(row_json(row, of.header))


async def edit_rows(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(SEVERAL_EDITS, await json_body.read(request))
    found, of = await repair_actions.edit_rows(request, wanted)
    return JSONResponse({"items": [row_json(row, of.header) for row in found], "links": {"next": None}})


async def import_edited(request: AppRequest) -> Response:
    return actions.created(request, await repair_actions.import_edited(request))


async def suggestions(request: AppRequest) -> Response:
    found = await repair_actions.suggestions(request)
    status = HTTPStatus.OK if found.is_current else HTTPStatus.ACCEPTED
    return JSONResponse([each.to_json() for each in found.suggestions] if found.is_current else [], status)


async def repair(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(REPAIRS, await json_body.read(request))
    return actions.created(request, await repair_actions.repair(request, wanted))


async def edits(request: AppRequest) -> Response:
    """How far the repair of an upload is, and what would be undone."""
    upload_id = request.path_params["upload_id"]

    def query(connection: sa.Connection) -> tuple[Progress, LastEdit | None]:
        upload = request.state["policy"].upload(connection, upload_id)
        return open_rows.progress(connection, upload), open_rows.last_edit(connection, upload_id)

    progress, last = await read(request.state["database"], query)
    shown = last and {"at": timestamp(last.at), "by": last.by, "title": last.title, "rows": last.rows}
    return JSONResponse({**progress._asdict(), "last": shown})


async def edit_all(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(BULK_EDIT, await json_body.read(request))
    return JSONResponse(await repair_actions.edit_all(request, wanted), HTTPStatus.CREATED)


async def preview(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(BULK_EDIT, await json_body.read(request))
    return JSONResponse(await repair_actions.preview(request, wanted))


async def undo(request: AppRequest) -> Response:
    return JSONResponse((await repair_actions.undo(request))._asdict())


#: A worker has to try them first.
_LATER = {202: Answer("A worker tries the suggestions; ask again.", {JSON: list[answers.Suggestion]})}

routes = [
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failed-rows",
        rows,
        READ,
        operation=Operation(
            "List open failed rows in the order of the file.",
            answer(answers.Page[answers.FailedRow]),
            query=(COLUMN, RULE, AFTER, LIMIT),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failed-rows",
        edit_rows,
        UPLOAD,
        methods=["PATCH"],
        operation=Operation(
            "Edit several failed rows, all of them or none.",
            answer(answers.Whole[answers.FailedRow]),
            body={JSON: SEVERAL_EDITS},
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failed-rows/import",
        import_edited,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Import the edited rows that are right.", made(answers.Upload, "Location"), problems=(409,)
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failed-rows/{row_number:id}",
        edit_row,
        UPLOAD,
        methods=["PATCH"],
        operation=Operation(
            "Edit cells of a failed row.",
            answer(answers.FailedRow),
            body={JSON: CELL_EDITS},
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/repairs",
        suggestions,
        READ,
        operation=Operation(
            "Return suggested repairs, with how many rows each rescues.",
            answer(list[answers.Suggestion]) | _LATER,
            problems=(503,),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/repairs",
        repair,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Repair failed rows, and import those that are right then.",
            made(answers.Upload, "Location"),
            body={JSON: REPAIRS},
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/edits",
        edits,
        READ,
        operation=Operation("Return how far the repair of failed rows is.", answer(answers.Edits)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/edits",
        edit_all,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Edit all failed rows that changes are about, without importing them.",
            made(answers.EditedRows),
            body={JSON: BULK_EDIT},
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/edits/preview",
        preview,
        UPLOAD,
        methods=["POST"],
        operation=Operation(
            "Return what such an edit would do.",
            answer(answers.EditPreview),
            body={JSON: BULK_EDIT},
            problems=(409, 503),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/edits/undo",
        undo,
        UPLOAD,
        methods=["POST"],
        operation=Operation("Undo the last edit of failed rows.", answer(answers.Undone), problems=(409,)),
    ),
]
