"""Problem details (RFC 9457): the JSON that describes an error to programs."""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"


def wants_json(request: Request[Any]) -> bool:
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get("accept", "")


def problem(status: HTTPStatus, title: str, detail: str) -> dict[str, Any]:
    """title: what failed, the same for every such error. detail: a sentence about this one."""
    return {"type": "about:blank", "status": int(status), "title": title, "detail": detail}
