"""Errors → responses: a page for people, problem details (RFC 9457) for programs."""

import logging
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from jobs.dataset_admin.changes import problems
from jobs.errors import (
    AccountNotFoundError,
    BulkUploadError,
    CheckTookTooLongError,
    DatabaseBusyError,
    DatasetDeletedError,
    DatasetExistsError,
    DatasetInUseError,
    DatasetNotFoundError,
    DiskFullError,
    FieldNotFoundError,
    GroupNotFoundError,
    HeldError,
    IncomingGoneError,
    IncomingMovedError,
    IncomingNotFoundError,
    InvalidChangeError,
    InvalidDatasetNameError,
    InvalidFilterError,
    InvalidGrantError,
    InvalidImportOptionError,
    InvalidMappingError,
    InvalidNameError,
    KeyReusedError,
    LastAdministratorError,
    MappingNotFoundError,
    NameTakenError,
    NoAdministratorError,
    NoAnswerError,
    NoFileError,
    NoReceiptError,
    NotAllowedError,
    NotExportableError,
    NothingToImportError,
    NothingToUndoError,
    NotRepairableError,
    OptionsFixedError,
    OriginalNeededError,
    QuotaExceededError,
    QuotaTooSmallError,
    RefusedError,
    RemovedError,
    ReportError,
    RetryRefusedError,
    RowChangedError,
    RowNotFoundError,
    RowNotOpenError,
    RowTakenError,
    RuleNotFoundError,
    SchemaError,
    StaleRepairError,
    StoreUnavailableError,
    TokenNotFoundError,
    TookTooLongError,
    TooLargeError,
    TransitionError,
    UndoRefusedError,
    UnknownColumnError,
    UnsafePasswordError,
    UploadDeletedError,
    UploadNotFoundError,
    ValuesDoNotFitError,
)
from jobs.process import disk
from webapp.errors import (
    BodyTooLargeError,
    ChecksumError,
    ConnectionBrokenError,
    FileLockedError,
    InvalidBodyError,
    InvalidHeaderError,
    InvalidQueryError,
    NotAPartError,
    ServerBusyError,
    TooManyAttemptsError,
    TooManyStreamsError,
    TusError,
    TusVersionError,
    WrongOffsetError,
)
from webapp.guard import headers_of
from webapp.page import Visitor
from webapp.problem_details import CHECKSUM_MISMATCH, MEDIA_TYPE, problem, wants_json
from webapp.templating import Templates

log = logging.getLogger(__name__)

#: Seconds after which a client may try again when a part does not respond or is full.
RETRY_AFTER = 5
#: Its name in HTTPStatus depends on the version of Python.
CONTENT_TOO_LARGE = HTTPStatus(413)

#: The status and the title of each error that may reach a client. The first class that fits counts.
_STATUSES: list[tuple[type[BulkUploadError], int, str]] = [
    (QuotaTooSmallError, CONTENT_TOO_LARGE, "Quota reached"),
    (QuotaExceededError, HTTPStatus.TOO_MANY_REQUESTS, "Quota reached"),
    (TooLargeError, CONTENT_TOO_LARGE, "File too large"),
    (DiskFullError, HTTPStatus.INSUFFICIENT_STORAGE, "Disk full"),
    (RefusedError, HTTPStatus.UNPROCESSABLE_ENTITY, "Upload rejected"),
    (InvalidImportOptionError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid import option"),
    (InvalidDatasetNameError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid dataset name"),
    (UploadNotFoundError, HTTPStatus.NOT_FOUND, "Upload not found"),
    (DatasetNotFoundError, HTTPStatus.NOT_FOUND, "Dataset not found"),
    (FieldNotFoundError, HTTPStatus.NOT_FOUND, "Column not found"),
    (MappingNotFoundError, HTTPStatus.NOT_FOUND, "Column not remembered"),
    (RuleNotFoundError, HTTPStatus.NOT_FOUND, "Rule not found"),
    (DatasetExistsError, HTTPStatus.CONFLICT, "Dataset exists"),
    (DatasetInUseError, HTTPStatus.CONFLICT, "Dataset in use"),
    (DatasetDeletedError, HTTPStatus.CONFLICT, "Dataset deleted"),
    (InvalidChangeError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid change of a dataset"),
    (ValuesDoNotFitError, HTTPStatus.UNPROCESSABLE_ENTITY, "Values do not fit"),
    (CheckTookTooLongError, HTTPStatus.UNPROCESSABLE_ENTITY, "Too many values"),
    (RowNotFoundError, HTTPStatus.NOT_FOUND, "Row not found"),
    (AccountNotFoundError, HTTPStatus.NOT_FOUND, "Account not found"),
    (GroupNotFoundError, HTTPStatus.NOT_FOUND, "Group not found"),
    (TokenNotFoundError, HTTPStatus.NOT_FOUND, "API token not found"),
    (InvalidNameError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid name"),
    (UnsafePasswordError, HTTPStatus.UNPROCESSABLE_ENTITY, "Unsafe password"),
    (InvalidGrantError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid grant"),
    (NameTakenError, HTTPStatus.CONFLICT, "Name taken"),
    (LastAdministratorError, HTTPStatus.CONFLICT, "Last administrator"),
    (NoAdministratorError, HTTPStatus.CONFLICT, "No administrator"),
    (NotAllowedError, HTTPStatus.FORBIDDEN, "Not allowed"),
    (OriginalNeededError, HTTPStatus.CONFLICT, "File removed"),
    (RemovedError, HTTPStatus.GONE, "Removed by retention"),
    (NoFileError, HTTPStatus.NOT_FOUND, "File not available"),
    (TransitionError, HTTPStatus.CONFLICT, "Not possible in this state"),
    (UploadDeletedError, HTTPStatus.CONFLICT, "Upload deleted"),
    (NoReceiptError, HTTPStatus.CONFLICT, "No receipt"),
    (HeldError, HTTPStatus.CONFLICT, "Not possible in this state"),
    (RetryRefusedError, HTTPStatus.CONFLICT, "Not possible in this state"),
    (UndoRefusedError, HTTPStatus.CONFLICT, "Not possible to undo"),
    (OptionsFixedError, HTTPStatus.CONFLICT, "Not possible in this state"),
    (ReportError, HTTPStatus.CONFLICT, "Report rejected"),
    (InvalidQueryError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid query parameter"),
    (InvalidFilterError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid query parameter"),
    (TookTooLongError, HTTPStatus.SERVICE_UNAVAILABLE, "Query took too long"),
    (NotExportableError, HTTPStatus.UNPROCESSABLE_ENTITY, "Too large for this format"),
    (InvalidHeaderError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request header"),
    (InvalidMappingError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid mapping"),
    (SchemaError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid schema"),
    (InvalidBodyError, HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request body"),
    (BodyTooLargeError, CONTENT_TOO_LARGE, "Request body too large"),
    (KeyReusedError, HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key reused"),
    (IncomingNotFoundError, HTTPStatus.NOT_FOUND, "Upload not found"),
    (IncomingGoneError, HTTPStatus.GONE, "Upload removed"),
    (TusError, HTTPStatus.BAD_REQUEST, "Invalid request of tus"),
    (TusVersionError, HTTPStatus.PRECONDITION_FAILED, "Version of tus not supported"),
    (NotAPartError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Not a part of a file"),
    (IncomingMovedError, HTTPStatus.CONFLICT, "Wrong offset"),
    (WrongOffsetError, HTTPStatus.CONFLICT, "Wrong offset"),
    (FileLockedError, HTTPStatus.LOCKED, "File locked"),
    (ConnectionBrokenError, HTTPStatus.BAD_REQUEST, "Connection broken"),
    (ChecksumError, CHECKSUM_MISMATCH, "Checksum mismatch"),
    (RowNotOpenError, HTTPStatus.NOT_FOUND, "Row not open"),
    (RowChangedError, HTTPStatus.CONFLICT, "Row changed"),
    (RowTakenError, HTTPStatus.CONFLICT, "Row being imported"),
    (NothingToUndoError, HTTPStatus.CONFLICT, "Nothing to undo"),
    (NothingToImportError, HTTPStatus.CONFLICT, "Nothing to import"),
    (NotRepairableError, HTTPStatus.CONFLICT, "Nothing to repair"),
    (StaleRepairError, HTTPStatus.CONFLICT, "Suggestion out of date"),
    (UnknownColumnError, HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown column"),
    (NoAnswerError, HTTPStatus.SERVICE_UNAVAILABLE, "No worker available"),
    (DatabaseBusyError, HTTPStatus.SERVICE_UNAVAILABLE, "Database busy"),
    (StoreUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "Storage unavailable"),
    (ServerBusyError, HTTPStatus.SERVICE_UNAVAILABLE, "Server busy"),
    (TooManyAttemptsError, HTTPStatus.TOO_MANY_REQUESTS, "Too many attempts"),
    (TooManyStreamsError, HTTPStatus.SERVICE_UNAVAILABLE, "Too many event streams"),
]  # fmt: skip


def details(error: BulkUploadError) -> dict[str, Any]:
    """An error as problem details. errors: path and description of each problem in a body, or the field of a form.
    Raises an unlisted error."""
    for kind, status, title in _STATUSES:
        if isinstance(error, kind):
            found = problem(status, title, str(error))
            if isinstance(error, InvalidBodyError | InvalidChangeError):
                found["errors"] = [{"path": path, "detail": what} for path, what in error.problems]
            elif isinstance(error, SchemaError):
                found["errors"] = [{"path": path, "detail": what} for path, what in problems(error)]
            elif isinstance(error, ValuesDoNotFitError):
                found |= error.fit
            elif error.field is not None:
                found["errors"] = [{"path": error.field, "detail": str(error)}]
            return found
    raise error  # a defect: no request should cause it


class Problems:
    """Exception handlers. They render pages with the templates."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    async def expected(self, request: Request, error: Exception) -> Response:
        """A BulkUploadError, whose text is written for users."""
        assert isinstance(error, BulkUploadError)
        headers = {}
        if isinstance(error, NotAllowedError):
            await _note(request)
        if isinstance(error, QuotaExceededError | TooManyAttemptsError) and error.retry_after is not None:
            headers["Retry-After"] = str(ceil(error.retry_after))
        return self._answer(request, details(error), headers)

    async def database_unavailable(self, request: Request, error: Exception) -> Response:
        """The database does not respond, or its disk is full: the client may try again soon."""
        if disk.is_full(error):
            log.warning("The disk of the database is full: %s", getattr(error, "orig", error))
            return self._answer(request, details(DiskFullError("nothing was saved")))
        log.warning("The database cannot be reached: %s", getattr(error, "orig", error))
        detail = "The database cannot be reached at the moment. Please try again shortly."
        return self._answer(request, problem(HTTPStatus.SERVICE_UNAVAILABLE, "Database unavailable", detail))

    async def http(self, request: Request, error: Exception) -> Response:
        """An error of Starlette: unknown path, wrong method."""
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        detail = "There is nothing at this address." if status == 404 else error.detail
        title = "Page not found" if status == 404 else status.phrase
        return self._answer(request, problem(status, title, detail), dict(error.headers or {}))

    async def unexpected(self, request: Request, _error: Exception) -> Response:
        """A defect. The server logs the traceback; the client does not see it."""
        detail = (
            "The server could not complete this request because of an internal error. Please try again. If it happens"
            " again, tell your administrator: the server's log has the cause."
        )
        # Starlette sends this response outside the guard, which adds these headers to every other response.
        found = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error", detail)
        return self._answer(request, found, dict(headers_of(request.scope)))

    def _answer(self, request: Request, found: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
        status = found["status"]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {"Retry-After": str(RETRY_AFTER), **(headers or {})}
        if wants_json(request):
            return JSONResponse(found, status, headers, MEDIA_TYPE)
        if "text/event-stream" in request.headers.get("accept", ""):  # an EventSource cannot show a page
            return PlainTextResponse(f"{found['title']}: {found['detail']}\n", status, headers)
        visitor = Visitor.of(request.scope.get("state", {}).get("policy"))
        page = self._templates.render(
            "error.html", {**found, "steps": _next_steps(request, status), "visitor": visitor}
        )
        return HTMLResponse(page, status, headers)


def _next_steps(request: Request, status: int) -> list[tuple[str, str]]:
    """What a person can do, as labels and addresses: the best first."""
    steps = []
    if request.method not in ("GET", "HEAD"):
        steps += [("Go back", page) for page in _sending_page(request)]
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        steps.append(("Try again", _relative(request.url.path, request.url.query)))
    in_datasets = request.url.path.startswith("/datasets/")
    return [*steps, ("Back to datasets", "/datasets") if in_datasets else ("Back to uploads", "/uploads")]


def _sending_page(request: Request) -> list[str]:
    """The page with the form that sent the request, if it is one of this server's."""
    try:
        referer = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return []
    is_ours = referer.netloc == request.headers.get("host") and referer.path.startswith("/")
    return [_relative(referer.path, referer.query)] if is_ours else []


def _relative(path: str, query: str) -> str:
    """The address of a page of this server; a path with two slashes at its beginning would name another one."""
    return "/" + path.lstrip("/") + (f"?{query}" if query else "")


async def _note(request: Request) -> None:
    """Note in the audit log that somebody who is known may not do this."""
    state = request.scope.get("state", {})
    policy = state.get("policy")
    if policy is None or policy.caller.name is None:
        return
    try:
        await state["attempts"].note_forbidden(request, policy.caller.name)
    except Exception:  # the response says 403 all the same
        log.exception("A refusal could not be noted in the audit log.")
