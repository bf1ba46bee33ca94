"""Middleware: rejects requests that are not allowed, and adds security headers. Plain ASGI, no buffering."""

import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.problem_details import MEDIA_TYPE, problem, wants_json

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Ports that URLs need not name.
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f.]*:[0-9a-f:.]*)\]|(?P<name>[^\s\[\]:@/?#]+))(?::[0-9]{0,5})?")
#: What programs on other machines ask by address: whether the server is up.
ANY_HOST = ("/healthz", "/readyz")

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
    """Rejects requests for other host names than the server's, and changes that another website's page requests.

    A name of somebody else's that resolves to this server's address would let a page of theirs read everything
    here as its own (DNS rebinding); `Host` gives it away. A form or script on another website is given away by
    `Sec-Fetch-Site` or `Origin`.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str] = ()) -> None:
        """allowed_hosts: names in lower case and addresses; empty: those of loopback."""
        self._app = app
        self._allowed_hosts = frozenset(allowed_hosts)

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

        app = self._refusal(scope) or self._app
        await app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The response to a request that is not allowed; None for others."""
        headers = Headers(scope=scope)
        if scope["path"] in ANY_HOST:
            return None
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_allowed(host_name(hosts[0])):
            return _response(scope, HTTPStatus.BAD_REQUEST, "Host not allowed", _foreign_host(hosts))
        if scope["method"] not in _SAFE_METHODS and _is_foreign(headers, f"{scope['scheme']}://{hosts[0]}"):
            reason = "A page of another website sent this request. Only this server's own pages may change data."
            return _response(scope, HTTPStatus.FORBIDDEN, "Request not allowed", reason)
        return None

    def _is_allowed(self, name: str) -> bool:
        return name in self._allowed_hosts if self._allowed_hosts else is_loopback(name)


def _foreign_host(hosts: Sequence[str]) -> str:
    if len(hosts) != 1:
        return "A request names one host, in its header `Host`."
    return (
        f"This server does not answer for the host “{hosts[0]}”. Its administrator names the hosts that it answers for"
        " in BULK_UPLOAD_ALLOWED_HOSTS."
    )


def _response(scope: Scope, status: HTTPStatus, title: str, reason: str) -> Response:
    """Problem details for programs, plain text for people: a foreign host name gets no page."""
    if wants_json(Request(scope)):
        return JSONResponse(problem(status, title, reason), status, media_type=MEDIA_TYPE)
    return PlainTextResponse(reason, status)


def _is_foreign(headers: Headers, own: str) -> bool:
    """Whether a page of another origin than our own sent a request. Programs send neither of the headers."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and (_origin(origin) is None or _origin(origin) != _origin(own))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an HTTP URL; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port, in lower case; "" if it is invalid."""
    found = _HOST.fullmatch(host.lower())
    name: str = (found["address"] or found["name"]) if found else ""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
