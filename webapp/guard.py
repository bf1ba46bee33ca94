"""Middleware: rejects requests that are not allowed, and adds security headers. Plain ASGI, no buffering."""

from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.problem_details import MEDIA_TYPE, problem, wants_json

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Headers of every response that does not set them itself: for security, and so that no cache keeps what only some
#: people may see.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(),"
        " midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=()"
    ),
}
#: Those that browsers heed for documents alone. Scripts and styles go without: a page loads many, and should be light.
_OF_DOCUMENTS = frozenset({"content-security-policy", "cross-origin-opener-policy", "permissions-policy"})
_PARTS_OF_PAGES = frozenset({"text/javascript", "application/javascript", "text/css"})
#: Of responses to requests that came over TLS: from then on browsers use nothing else.
TLS_HEADERS = {"strict-transport-security": "max-age=31536000"}


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of every response to this request. The scheme is that of a trusted proxy's X-Forwarded-Proto."""
    return {**HEADERS, **TLS_HEADERS} if scope.get("scheme") == "https" else HEADERS


class Guard:
    """Rejects changes that another website's page requests and, with `loopback_only`, hosts that are not loopback.

    There is no sign-in yet. On loopback an attacker can only use the visitor's own browser: through a form on another
    website (detected by Sec-Fetch-Site or Origin) or a name that resolves to 127.0.0.1 (detected by Host).
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_document = headers.get("content-type", "").partition(";")[0] not in _PARTS_OF_PAGES
                for name, value in headers_of(scope).items():
                    if is_document or name not in _OF_DOCUMENTS:
                        headers.setdefault(name, value)
            await send(message)

        reason = self._rejection(scope["method"], Headers(scope=scope))
        app = self._app if reason is None else _forbidden(scope, reason)
        await app(scope, receive, with_headers)

    def _rejection(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if self._loopback_only and not is_loopback(_split(f"//{host}").hostname or ""):
            return (
                f"This server accepts requests for localhost only, and this one was for “{host}”. Start the server with"
                " --open to allow other host names."
            )
        if method not in _SAFE_METHODS and _is_foreign(headers, host):
            return "A page of another website sent this request. Only this server's own pages may change data."
        return None


def _forbidden(scope: Scope, reason: str) -> Response:
    """Problem details for programs, plain text for people: a foreign host name gets no page."""
    if wants_json(Request(scope)):
        details = problem(HTTPStatus.FORBIDDEN, "Request not allowed", reason)
        return JSONResponse(details, HTTPStatus.FORBIDDEN, media_type=MEDIA_TYPE)
    return PlainTextResponse(reason, HTTPStatus.FORBIDDEN)


def _is_foreign(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and _split(origin).netloc != host


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str) -> SplitResult:
    """The parts of a URL; all empty if it is invalid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
