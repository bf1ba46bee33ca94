"""Problem details (RFC 9457): the JSON that describes an error to programs."""

from typing import Any

from starlette.requests import Request

from jobs.process import log_context

#: The first status that says that the server is the cause.
SERVER_ERROR = 500
MEDIA_TYPE = "application/problem+json"
#: A status of the protocol tus alone (https://tus.io/protocols/resumable-upload#checksum).
CHECKSUM_MISMATCH = 460


def wants_json(request: Request[Any]) -> bool:
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get("accept", "")


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    """title: what failed, the same for every such error. detail: a sentence about this one."""
    found: dict[str, Any] = {"type": "about:blank", "status": int(status), "title": title, "detail": detail}
    if status >= SERVER_ERROR and (request_id := log_context.request_id.get()) is not None:
        found["request_id"] = request_id  # with which an operator finds the cause in the log
    return found
