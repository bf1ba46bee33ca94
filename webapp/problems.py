"""Errors → answers: a page for people, problem details (RFC 9457) for programs."""

import logging
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from jobs.errors import (
    BulkUploadError,
    DatabaseBusyError,
    DatasetNotFoundError,
    KeyReusedError,
    NoFileError,
    RefusedError,
    ReportError,
    TooLargeError,
    TransitionError,
    UploadNotFoundError,
)
from webapp.errors import QueryError, TooManyStreamsError
from webapp.fragments import Fragments
from webapp.guard import HEADERS
from webapp.routes.json_body import BodyError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Seconds after which it is worth trying again when something is away or full.
RETRY_AFTER = 5

_STATUSES: list[tuple[type[BulkUploadError], HTTPStatus, str]] = [
    (TooLargeError, HTTPStatus.CONTENT_TOO_LARGE if hasattr(HTTPStatus, "CONTENT_TOO_LARGE") else HTTPStatus(413),
     "This file is too large"),
    (RefusedError, HTTPStatus.UNPROCESSABLE_ENTITY, "This upload was not accepted"),
    (UploadNotFoundError, HTTPStatus.NOT_FOUND, "No such upload"),
    (DatasetNotFoundError, HTTPStatus.NOT_FOUND, "No such dataset"),
    (NoFileError, HTTPStatus.NOT_FOUND, "No file"),
    (TransitionError, HTTPStatus.CONFLICT, "That is not possible any more"),
    (ReportError, HTTPStatus.CONFLICT, "This report does not fit"),
    (BodyError, HTTPStatus.UNPROCESSABLE_ENTITY, "This body is not understood"),
    (KeyReusedError, HTTPStatus.UNPROCESSABLE_ENTITY, "This key was used before"),
    (DatabaseBusyError, HTTPStatus.SERVICE_UNAVAILABLE, "The database is busy"),
    (QueryError, HTTPStatus.UNPROCESSABLE_ENTITY, "This address cannot be understood"),
    (TooManyStreamsError, HTTPStatus.SERVICE_UNAVAILABLE, "Too many event streams are open"),
]  # fmt: skip


def wants_json(request: Request[Any]) -> bool:
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get("accept", "")


def details(error: BulkUploadError) -> dict[str, Any]:
    """One of ours as problem details. errors: the path of each wrong thing in a body. Raises what nobody foresaw."""
    for kind, status, title in _STATUSES:
        if isinstance(error, kind):
            problem = _problem(status, title, str(error))
            if isinstance(error, BodyError):
                problem["errors"] = [{"path": path, "detail": what} for path, what in error.problems]
            return problem
    raise error  # one that nobody should come upon here: a defect


class Problems:
    """Exception handlers, which need the templates."""

    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments

    async def known(self, request: Request, error: Exception) -> Response:
        """One of ours: its text is for people."""
        assert isinstance(error, BulkUploadError)
        return self._answer(request, details(error))

    async def database_away(self, request: Request, error: Exception) -> Response:
        """The database does not answer: not for good, so that whoever asked may come back."""
        log.warning("The database cannot be reached: %s", getattr(error, "orig", error))
        detail = "The database cannot be reached at the moment. Please try again shortly."
        return self._answer(request, _problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database is away", detail))

    async def http(self, request: Request, error: Exception) -> Response:
        """One of Starlette's: no such page, wrong method."""
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        detail = "There is nothing at this address." if status == 404 else error.detail
        title = "Page not found" if status == 404 else status.phrase
        return self._answer(request, _problem(status, title, detail), dict(error.headers or {}))

    async def unforeseen(self, request: Request, _error: Exception) -> Response:
        """A defect: logged by the server, with its traceback; people are told that it is not their fault."""
        detail = "Something went wrong here that is not your doing. It was logged; trying again may help."
        # Starlette gives this answer outside the guard, which adds these to every other.
        problem = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong", detail)
        return self._answer(request, problem, dict(HEADERS))

    def _answer(self, request: Request, problem: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
        status = problem["status"]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {"Retry-After": str(RETRY_AFTER), **(headers or {})}
        if wants_json(request):
            return JSONResponse(problem, status, headers, MEDIA_TYPE)
        if "text/event-stream" in request.headers.get("accept", ""):  # nobody would read a page
            return PlainTextResponse(f"{problem['detail']}\n", status, headers)
        return HTMLResponse(self._fragments.render("error.html", problem), status, headers)


def _problem(status: HTTPStatus, title: str, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "status": int(status), "title": title, "detail": detail}
