"""JSON about one upload: its log, and why rows failed."""

from typing import Any

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from jobs import failed_rows
from jobs.attempts import Attempt, UploadLog
from jobs.events import timestamp
from jobs.failed_rows import Failure
from jobs.upload_log import Entry
from webapp.access.needs import READ, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import Operation, answer
from webapp.state import AppRequest

#: Reasons that are listed of an upload.
REASONS_LISTED = 500


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
    """The reasons of open failed rows, the most frequent first, with the original values that break each rule."""
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
]
