"""JSON about one upload: its log, why rows failed, and the failed rows."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from jobs import failed_rows
from jobs.attempts import Attempt, UploadLog
from jobs.events import timestamp
from jobs.failed_rows import FailedRow, Failure
from jobs.upload_log import Entry
from webapp.access.needs import READ, GuardedRoute
from webapp.database_access import read
from webapp.failed_rows_query import AFTER, COLUMN, RULE, FailedRowsQuery
from webapp.openapi import answers
from webapp.operation import Operation, answer
from webapp.parameters import LIMIT
from webapp.state import AppRequest

#: Reasons that are listed of an upload.
REASONS_LISTED = 500
#: Characters of the cells on a page of failed rows, so that it stays below 10 MB. A single row may have more.
CELLS_LENGTH = 1_500_000


async def log(request: AppRequest) -> Response:
    """What happened to an upload, and its attempts."""
    upload_id = request.path_params["upload_id"]

    def query(connection: sa.Connection) -> UploadLog:
        return UploadLog.read(connection, request.state["policy"].upload(connection, upload_id))

    found = await read(request.state["database"], query)
    return JSONResponse({"attempts": list(map(_attempt, found.attempts)), "events": list(map(_entry, found.entries))})


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "worker": attempt.worker,
        "began_at": timestamp(attempt.began_at),
        "began_at_row": attempt.began_at_row,
        "ended_at": attempt.ended_at and timestamp(attempt.ended_at),
        "ended_at_row": attempt.ended_at_row,
        "end": attempt.end,
        "why": attempt.why,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "timestamp": timestamp(entry.at),
        "kind": entry.kind,
        "attempt": entry.attempt,
        "rows_processed": entry.rows_processed,
        "rows_failed": entry.rows_failed,
        "worker": entry.worker,
        "lane": entry.lane,
        "detail": entry.detail,
        "via": entry.by and entry.by.via,
        "by": entry.by and entry.by.name,
    }


async def failures(request: AppRequest) -> Response:
    """The reasons for which rows failed, the most frequent first, with the values that break each rule."""
    upload_id = request.path_params["upload_id"]

    def query(connection: sa.Connection) -> list[Failure]:
        request.state["policy"].upload(connection, upload_id)
        return failed_rows.failures(connection, upload_id, limit=REASONS_LISTED)

    found = await read(request.state["database"], query)
    return JSONResponse(
        [
            {
                "column": failure.column,
                "rule": failure.rule,
                "rows": failure.rows,
                "values": [each._asdict() for each in failure.values],
                "more_values": failure.more_values,
            }
            for failure in found
        ]
    )


async def rows(request: AppRequest) -> Response:
    """Failed rows in the order of the file, all or those with a reason. A page of large ones ends early."""
    upload_id, limit = request.path_params["upload_id"], LIMIT.read(request.query_params)
    query = FailedRowsQuery.parse(request.query_params)

    def page(connection: sa.Connection) -> tuple[list[FailedRow], Sequence[str]]:
        header = request.state["policy"].upload(connection, upload_id).header or []
        wanted = {"after": query.after, "limit": limit + 1, "enough": CELLS_LENGTH}
        return failed_rows.rows(connection, upload_id, **wanted, chosen=query.chosen), header

    found, header = await read(request.state["database"], page)
    shown = found[:limit]
    has_more = len(found) > limit or sum(row.length for row in shown) >= CELLS_LENGTH
    cursor = str(shown[-1].row_number) if shown and has_more else None
    following = urlencode([*query.parameters, ("after", cursor or ""), ("limit", limit)])
    links = {"next": f"/api/v1/uploads/{upload_id}/failed-rows?{following}" if cursor else None}
    return JSONResponse({"items": [_row(row, header) for row in shown], "cursor": cursor, "links": links})


def _row(row: FailedRow, header: Sequence[str]) -> dict[str, Any]:
    return {
        "row_number": row.row_number,
        "line": row.line,
        "cells": dict(zip(header, row.cells, strict=False)),
        "surplus": row.cells[len(header) :],
        "reasons": [reason._asdict() for reason in row.reasons],
    }


routes = [
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/log",
        log,
        READ,
        operation=Operation("Return what happened to an upload, and its attempts.", answer(answers.Log)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failures",
        failures,
        READ,
        operation=Operation("Return why rows failed, the most frequent reason first.", answer(list[answers.Failure])),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/failed-rows",
        rows,
        READ,
        operation=Operation(
            "List failed rows in the order of the file.",
            answer(answers.Page[answers.FailedRow]),
            query=(COLUMN, RULE, AFTER, LIMIT),
        ),
    ),
]
