"""JSON about one upload: its log."""

from typing import Any

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs import uploads
from jobs.attempts import Attempt, UploadLog
from jobs.events import timestamp
from jobs.upload_log import Entry
from webapp.database_access import read
from webapp.state import AppRequest


async def log(request: AppRequest) -> Response:
    """What happened to an upload, and its attempts."""
    upload_id = request.path_params["upload_id"]

    def query(connection: sa.Connection) -> UploadLog:
        return UploadLog.read(connection, uploads.get(connection, upload_id))

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


routes = [Route("/api/v1/uploads/{upload_id:id}/log", log)]
