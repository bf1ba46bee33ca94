"""Errors → responses."""

import asyncio
import json
import re
from html import unescape

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.errors import (
    BulkUploadError,
    ClaimLostError,
    DatabaseBusyError,
    DatasetNotFoundError,
    InvalidDatasetNameError,
    InvalidImportOptionError,
    KeyReusedError,
    NoFileError,
    RefusedError,
    ReportError,
    TooLargeError,
    TransitionError,
    UploadNotFoundError,
)
from webapp.errors import (
    BodyTooLargeError,
    InvalidBodyError,
    InvalidHeaderError,
    InvalidQueryError,
    ServerBusyError,
    TooManyStreamsError,
)
from webapp.problems import Problems
from webapp.templating import Templates, coded

SECRET = "postgresql://bulk:secret@db/records"


def answer(
    error: Exception, path: str, accept: str = "*/*", *, hidden: bool = True, method: str = "GET", referer: str = ""
) -> httpx.Response:
    """The response to a request that raises an error. hidden: False raises what the server would log."""

    async def fail(_request: Request) -> Response:
        raise error

    async def ask() -> httpx.Response:
        problems = Problems(Templates())
        handlers = {BulkUploadError: problems.expected, HTTPException: problems.http, Exception: problems.unexpected}
        app = Starlette(routes=[Route("/{path:path}", fail, methods=["GET", "POST"])], exception_handlers=handlers)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=not hidden)) as client:
            headers = {"Accept": accept, "Referer": referer}
            return await client.request(method, f"http://localhost{path}", headers=headers)

    return asyncio.run(ask())


KNOWN: list[tuple[Exception, int, str]] = [
    (RefusedError("The file type of “june.png” is not supported."), 422, "Upload rejected"),
    (TooLargeError("The file is larger than 10 bytes."), 413, "File too large"),
    (InvalidImportOptionError("Unknown encoding “klingon”."), 422, "Invalid import option"),
    (InvalidDatasetNameError("“?!” cannot be the name of a dataset."), 422, "Invalid dataset name"),
    (UploadNotFoundError(7), 404, "Upload not found"),
    (DatasetNotFoundError("june"), 404, "Dataset not found"),
    (NoFileError(7), 404, "File not available"),
    (TransitionError(7, "completed", "cancelled"), 409, "Not possible in this state"),
    (ReportError(7, "cannot go backwards."), 409, "Report rejected"),
    (InvalidQueryError("limit", "must be a whole number from 1 to 500."), 422, "Invalid query parameter"),
    (InvalidHeaderError("Idempotency-Key", "must have 1 to 200 characters."), 422, "Invalid request header"),
    (BodyTooLargeError("The request body is larger than 10 bytes."), 413, "Request body too large"),
    (KeyReusedError("june-1"), 422, "Idempotency-Key reused"),
    (DatabaseBusyError("The database has been busy for too long."), 503, "Database busy"),
    (ServerBusyError("The server is too busy."), 503, "Server busy"),
    (TooManyStreamsError("This server holds 3 event streams open."), 503, "Too many event streams"),
    (HTTPException(405, "Method Not Allowed", {"Allow": "GET"}), 405, "Method Not Allowed"),
]
IDS = [type(error).__name__ for error, _, _ in KNOWN]


@pytest.mark.parametrize(("error", "status", "title"), KNOWN, ids=IDS)
@pytest.mark.parametrize(
    ("path", "accept"),
    [("/api/v1/uploads", "*/*"), ("/api/v1/uploads", "text/html"), ("/uploads", "application/json, text/plain")],
)
def test_a_program_gets_problem_details(error: Exception, status: int, title: str, path: str, accept: str) -> None:
    found = answer(error, path, accept)

    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    field = getattr(error, "field", None)
    about = {"errors": [{"path": field, "detail": detail}]} if field else {}
    assert found.json() == {"type": "about:blank", "status": status, "title": title, "detail": detail, **about}


@pytest.mark.parametrize(("error", "status", "title"), KNOWN, ids=IDS)
@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", ""])
def test_a_person_gets_a_page(error: Exception, status: int, title: str, accept: str) -> None:
    found = answer(error, "/uploads", accept)

    assert found.status_code == status
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert f"<h1>{title}</h1>" in found.text
    assert coded(error.detail if isinstance(error, HTTPException) else str(error)) in found.text


ENDED = TransitionError(7, "completed", "cancelled")
STEPS = [
    ("GET", "/uploads?q=a%26b", "", RuntimeError("a defect"), ["/uploads?q=a%26b", "/uploads"]),
    ("GET", "//other.example/x", "", RuntimeError("a defect"), ["/other.example/x", "/uploads"]),
    ("GET", "/uploads/7", "", UploadNotFoundError(7), ["/uploads"]),
    ("GET", "/datasets/june", "", DatasetNotFoundError("june"), ["/datasets"]),
    ("POST", "/uploads/7/retry", "http://localhost/uploads/7?x=1", ENDED, ["/uploads/7?x=1", "/uploads"]),
    ("POST", "/uploads/7/retry", "http://other.example/uploads/7", ENDED, ["/uploads"]),
    ("POST", "/uploads/7/retry", "http://[", ENDED, ["/uploads"]),
    ("POST", "/uploads/7/retry", "", RuntimeError("a defect"), ["/uploads"]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "referer", "error", "expected"), STEPS)
def test_an_error_page_leads_on(method: str, path: str, referer: str, error: Exception, expected: list[str]) -> None:
    found = answer(error, path, method=method, referer=referer).text

    assert [unescape(each) for each in re.findall(r'<a class="button[^"]*" href="([^"]*)"', found)] == expected
    assert found.count('class="button primary"') == 1


def test_headers_of_an_error_are_passed_on() -> None:
    assert answer(HTTPException(405, headers={"Allow": "GET, HEAD"}), "/uploads").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/uploads", "/api/v1/uploads"])
@pytest.mark.parametrize("error", [RuntimeError(SECRET), ClaimLostError(SECRET)])
def test_a_defect_is_not_shown_to_the_client(error: Exception, path: str) -> None:
    found = answer(error, path)

    assert found.status_code == 500
    assert "Internal error" in found.text
    assert "an internal error" in found.text
    assert "secret" not in found.text
    assert "Traceback" not in found.text


@pytest.mark.parametrize("error", [RuntimeError(SECRET), ClaimLostError(SECRET)])
def test_a_defect_reaches_the_server_which_logs_it(error: Exception) -> None:
    with pytest.raises(type(error)):
        answer(error, "/uploads", hidden=False)


def test_each_problem_of_a_body_has_its_path() -> None:
    found = answer(InvalidBodyError([("[1].rows_failed", "is missing"), ("", "is too much")]), "/api/v1/uploads").json()

    assert (found["status"], found["title"]) == (422, "Invalid request body")
    assert found["detail"] == "[1].rows_failed: is missing; is too much"
    assert found["errors"] == [
        {"path": "[1].rows_failed", "detail": "is missing"},
        {"path": "", "detail": "is too much"},
    ]


def test_a_stream_is_rejected_in_one_line() -> None:
    found = answer(InvalidQueryError("status", "must be failed."), "/uploads/events", "text/event-stream")

    assert (found.status_code, found.text) == (422, "Invalid query parameter: `status` must be failed.\n")


@pytest.mark.parametrize("path", ["/uploads", "/api/v1/uploads"])
def test_an_unknown_address_is_not_found(path: str) -> None:
    found = answer(HTTPException(404), path)

    assert found.status_code == 404
    assert "There is nothing at this address." in found.text


def test_the_text_of_an_error_is_escaped() -> None:
    evil = "The file type of “<script>alert(1)</script>.png” is not supported."
    page, problem = (answer(RefusedError(evil), path) for path in ("/uploads", "/api/v1/uploads"))

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text
    assert json.loads(problem.content)["detail"] == evil
