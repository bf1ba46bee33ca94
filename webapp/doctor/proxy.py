"""The proxy in front, as a browser meets it: TLS, HTTP/2, and event streams that arrive at once."""

import socket
import ssl
import time
from collections.abc import Iterator

import httpx

from jobs.settings import Settings
from webapp.doctor.finding import Finding, failed, ok, warning

#: Seconds that the proxy may take to answer, and in which the first bytes of a stream must come. The server sends them
#: at once; the next are a heartbeat after 15 s.
PATIENCE = 5.0
STREAM = "/api/v1/events"


def check(settings: Settings, token: str | None, context: ssl.SSLContext | None = None) -> Iterator[Finding]:
    """token: of scope `read`, without which nobody lets a program in where there are accounts. context: for tests."""
    if settings.base_url is None:
        yield ok("proxy", "Not checked: set BULK_UPLOAD_BASE_URL to the address that browsers use.")
        return
    base = httpx.URL(settings.base_url)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    context = context or ssl.create_default_context()
    try:
        with httpx.Client(base_url=base, timeout=PATIENCE, headers=headers, verify=context) as client:
            ready = client.get("/readyz")
            page = client.get("/sign-in")
            yield _answer(base, ready)
            if base.scheme == "https":
                yield _tls(base, page, context)
            yield _stream(client)
    except (httpx.HTTPError, OSError) as error:
        yield failed("proxy", f"{base} cannot be reached: {error}. Check the proxy, its certificate, and the name.")


def _answer(base: httpx.URL, ready: httpx.Response) -> Finding:
    if ready.status_code not in (200, 503) or "x-request-id" not in ready.headers:
        return failed("proxy", f"{base}/readyz answers {ready.status_code}: the proxy does not lead to this server.")
    if ready.status_code == 503:
        return failed("proxy", f"{base} leads to this server, which is not ready: {ready.text}")
    return ok("proxy", f"{base} leads to this server, which is ready.")


def _tls(base: httpx.URL, page: httpx.Response, context: ssl.SSLContext) -> Finding:
    if page.status_code == 400:
        return failed("proxy TLS", f"The server does not answer for {base.host}: add it to BULK_UPLOAD_ALLOWED_HOSTS.")
    if "strict-transport-security" not in page.headers:
        return failed(
            "proxy TLS",
            "The server does not know that browsers use TLS, so it refuses every change. Let the proxy set"
            " X-Forwarded-Proto, and name its address in BULK_UPLOAD_TRUSTED_PROXIES.",
        )
    if not _speaks_http2(base, context):
        return warning("proxy TLS", "The proxy does not speak HTTP/2, so a browser can keep six pages open at most.")
    return ok("proxy TLS", "TLS and HTTP/2, and the server knows.")


def _speaks_http2(base: httpx.URL, context: ssl.SSLContext) -> bool:
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the certificate was checked by the requests before
    offering.check_hostname, offering.verify_mode = False, ssl.CERT_NONE
    offering.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((base.host, base.port or 443), PATIENCE) as connection,
        offering.wrap_socket(connection, server_hostname=base.host) as tls,
    ):
        return tls.selected_alpn_protocol() == "h2"


def _stream(client: httpx.Client) -> Finding:
    began = time.monotonic()
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    try:
        with client.stream("GET", STREAM, headers=headers) as response:
            if response.status_code == 401:
                return warning(
                    "proxy buffering", "Not checked: give a token of scope read with --token or BULK_UPLOAD_TOKEN."
                )
            if response.status_code != 200:
                return failed("proxy buffering", f"{STREAM} answers {response.status_code} through the proxy.")
            if response.headers.get("content-encoding"):
                return failed("proxy buffering", "The proxy compresses event streams, which delays them: exempt them.")
            next(response.iter_raw())
    except (httpx.ReadTimeout, StopIteration):
        return failed(
            "proxy buffering",
            f"Nothing of an event stream arrived within {PATIENCE:g} s: the proxy buffers it, so pages are not live."
            " nginx: proxy_buffering off; and proxy_http_version 1.1;",
        )
    return ok("proxy buffering", f"An event stream arrives at once ({time.monotonic() - began:.2f} s).")
