"""The cookie of a session."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response


def name(request: Request[Any]) -> str:
    """With this prefix, browsers take the cookie over TLS only, for this host and all of its paths
    (RFC 6265bis, 4.1.3.2)."""
    return "__Host-session" if request.url.scheme == "https" else "session"


def read(request: Request[Any]) -> str | None:
    """The secret of the session."""
    return request.cookies.get(name(request)) or None


def put(request: Request[Any], response: Response, secret: str, *, max_age: float) -> None:
    """max_age: seconds after which the browser forgets it."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        name(request), secret, max_age=int(max_age), path="/", secure=is_secure, httponly=True, samesite="lax"
    )


def remove(request: Request[Any], response: Response) -> None:
    is_secure = request.url.scheme == "https"
    response.delete_cookie(name(request), path="/", secure=is_secure, httponly=True, samesite="lax")
