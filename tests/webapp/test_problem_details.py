"""Which requests get problem details, and what those hold."""

from http import HTTPStatus

import pytest
from starlette.requests import Request

from webapp import problem_details


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/api/v1/uploads", "text/html", True),
        ("/api/v1/uploads", None, True),
        ("/uploads", "application/json", True),
        ("/uploads", "text/html, application/json;q=0.5", True),
        ("/uploads", "text/html", False),
        ("/uploads", None, False),
        ("/apiary", None, False),
    ],
)
def test_the_api_and_senders_that_accept_json_get_it(path: str, accept: str | None, expected: bool) -> None:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    request = Request({"type": "http", "method": "GET", "path": path, "headers": headers})

    assert problem_details.wants_json(request) is expected


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    assert problem_details.problem(HTTPStatus.NOT_FOUND, "Upload not found", "There is no upload #7.") == {
        "type": "about:blank",
        "status": 404,
        "title": "Upload not found",
        "detail": "There is no upload #7.",
    }
