"""Which requests the guard rejects, and which headers it adds."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from webapp.guard import Guard, is_loopback

HEADERS = {
    "cache-control",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "referrer-policy",
    "x-content-type-options",
}


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello", headers={"Referrer-Policy": "no-referrer"})(scope, receive, send)


def ask(
    method: str,
    host: str,
    headers: dict[str, str],
    *,
    path: str = "/uploads",
    allowed: Sequence[str] = (),
    scheme: str = "http",
) -> httpx.Response:
    """The response of a guarded application."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(_hello, allowed_hosts=allowed), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, f"{scheme}://127.0.0.1:8000{path}", headers={"Host": host, **headers})

    return asyncio.run(request())


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "something new"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "none", "Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "ws://127.0.0.1:8000"},
        {"Origin": "127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "http://127.0.0.1:8000/"},
        {"Origin": "http://somebody@127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:99999999"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_page_of_another_site_cannot_change_anything(method: str, headers: dict[str, str]) -> None:
    answer = ask(method, "127.0.0.1:8000", headers)

    assert answer.status_code == 403
    assert answer.text == "A page of another website sent this request. Only this server's own pages may change data."
    assert answer.headers.keys() >= HEADERS


@pytest.mark.parametrize(("path", "accept"), [("/api/v1/uploads", "*/*"), ("/uploads", "application/json")])
@pytest.mark.parametrize(
    ("host", "site", "expected", "words"),
    [
        ("127.0.0.1:8000", "cross-site", (403, "Request not allowed"), "A page of another website sent this request."),
        ("evil.example", "none", (400, "Host not allowed"), "does not answer for the host “evil.example”. Its"),
    ],
)
def test_a_program_is_rejected_with_problem_details(
    path: str, accept: str, host: str, site: str, expected: tuple[int, str], words: str
) -> None:
    answer = ask("POST", host, {"Sec-Fetch-Site": site, "Accept": accept}, path=path)
    problem = answer.json()

    assert answer.status_code == expected[0]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.keys() >= HEADERS
    assert problem.keys() == {"type", "status", "title", "detail"}
    assert (problem["status"], problem["title"]) == expected
    assert words in problem["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:8000"},
    ],
)
def test_own_pages_and_programs_may_change_things(headers: dict[str, str]) -> None:
    answer = ask("POST", "127.0.0.1:8000", headers)

    assert (answer.status_code, answer.text) == (200, "hello")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_links_from_other_sites_work(method: str) -> None:
    answer = ask(method, "127.0.0.1:8000", {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "192.168.1.7:8000",
        "",
        "[",
        "[127.0.0.1]",
        "localhost@evil",
        "localhost:evil",
        "localhost, evil.example",
        "localhost/evil",
        "localhost.",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_name_is_rejected(method: str, host: str) -> None:
    answer = ask(method, host, {"Cookie": "session=secret"})

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "set-cookie" not in answer.headers
    assert f"does not answer for the host “{host}”" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_whether_the_server_is_up_may_be_asked_by_any_name(path: str) -> None:
    assert ask("GET", "10.0.0.7:8000", {}, path=path).status_code == 200
    assert ask("GET", "10.0.0.7:8000", {}, path=f"{path}/more").status_code == 400


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
def test_a_request_names_one_host(hosts: list[str]) -> None:
    scope = {
        "type": "http", "method": "GET", "path": "/uploads", "scheme": "http", "query_string": b"",
        "headers": [(b"host", host.encode()) for host in hosts],
    }  # fmt: skip
    statuses = []

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> Message:
        raise AssertionError("nobody reads the body")

    asyncio.run(Guard(_hello)(scope, receive, send))

    assert statuses == [400]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("uploads.example.org", 200),
        ("UPLOADS.example.ORG:8443", 200),
        ("192.168.1.7:8000", 200),
        ("[2001:DB8::0:1]:8000", 200),
        ("example.org", 400),
        ("more.uploads.example.org", 400),
        ("localhost", 400),
        ("127.0.0.1:8000", 400),
        ("2001:db8::1", 400),
    ],
)
def test_only_the_names_of_the_settings_are_allowed(host: str, expected: int) -> None:
    allowed = Settings.load(allowed_hosts="Uploads.example.org, 192.168.1.7,[2001:db8::1]").host_names

    assert ask("GET", host, {}, allowed=allowed).status_code == expected


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST:8000", "127.0.0.1:8000", "127.0.0.2:8000", "[::1]:8000"]
)
def test_loopback_host_names_are_allowed(host: str) -> None:
    assert ask("GET", host, {}).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("imports.example", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "expected"),
    [
        ("https", "imports.example", "https://imports.example", 200),
        ("https", "imports.example:443", "https://imports.example", 200),
        ("https", "imports.example:8443", "https://IMPORTS.example:8443", 200),
        ("http", "imports.example:80", "http://imports.example", 200),
        ("https", "imports.example", "http://imports.example", 403),
        ("http", "imports.example", "https://imports.example", 403),
        ("https", "imports.example", "https://imports.example:80", 403),
        ("https", "imports.example", "https://evil.example", 403),
    ],
)
def test_the_origin_has_the_scheme_the_host_and_the_port_of_the_server(
    scheme: str, host: str, origin: str, expected: int
) -> None:
    answer = ask("POST", host, {"Origin": origin}, allowed=["imports.example"], scheme=scheme)

    assert answer.status_code == expected


def test_a_header_of_the_response_is_kept() -> None:
    assert ask("GET", "localhost", {}).headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["localhost", "evil.example"], ids=["allowed", "rejected"])
def test_browsers_keep_to_tls_once_they_used_it(host: str) -> None:
    assert "strict-transport-security" not in ask("GET", host, {}).headers
    assert ask("GET", host, {}, scheme="https").headers["strict-transport-security"] == "max-age=31536000"


def test_a_body_is_not_buffered() -> None:
    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        sizes = [len(part) async for part in Request(scope, receive).stream() if part]
        await PlainTextResponse(f"{len(sizes)} parts, {sum(sizes)} bytes")(scope, receive, send)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 10

    async def request() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Guard(count))) as client:
            return (await client.post("http://localhost/", content=parts())).text

    assert asyncio.run(request()) == "3 parts, 30 bytes"


PATHS = [
    "/",
    "/uploads",
    "/uploads/1",
    "/uploads/2",
    "/uploads/1/original",
    "/uploads/events",
    "/uploads/1/events",
    "/uploads/2/events",
    "/datasets",
    "/datasets/none",
    "/nothing/here",
    "/api/v1/uploads",
    "/api/v1/uploads/1",
    "/api/v1/uploads/2",
    "/api/v1/events",
    "/api/v1/uploads/1/events",
    "/api/v1/nothing",
    "/static/style.css",
    "/static/vendor/htmx/htmx.min.js",
    "/static/nothing.js",
    "/healthz",
    "/readyz",
]


@ONE_DATABASE
def test_every_response_has_the_security_headers(served: Served) -> None:
    served.records.pending()
    for path in PATHS:
        with served.client.stream("GET", path) as answer:
            assert answer.status_code < 500, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["referrer-policy"] == "same-origin", path
            assert answer.headers["cross-origin-resource-policy"] == "same-origin", path
            if not path.endswith((".css", ".js")) or answer.status_code != 200:
                policy = answer.headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self';"), path
                assert answer.headers["cross-origin-opener-policy"] == "same-origin", path
                assert "camera=(), " in answer.headers["permissions-policy"], path
            assert "strict-transport-security" not in answer.headers, path
            is_public = path.startswith("/static") and answer.status_code == 200
            expected = "public" if is_public else "no-store"
            assert answer.headers["cache-control"].partition(",")[0] == expected, path


@ONE_DATABASE
def test_an_internal_error_has_them_too(served: Served) -> None:
    upload = served.records.pending()
    with served.records.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE uploads SET status = 'nonsense'")
    answer = served.client.get(f"/uploads/{upload.id}")

    assert answer.status_code == 500
    assert answer.headers.keys() >= HEADERS


@ONE_DATABASE
def test_the_forms_of_the_pages_are_guarded(served: Served) -> None:
    upload = served.records.pending()
    paths = ["/uploads", f"/uploads/{upload.id}/cancel", f"/uploads/{upload.id}/retry", "/api/v1/uploads"]
    statuses = [served.client.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code for path in paths]

    assert statuses == [403] * 4
    assert served.records.get(upload) == upload


@ONE_DATABASE
def test_the_pages_keep_within_their_own_policy(served: Served) -> None:
    """No script or style inside the page, no handler in an attribute, nothing from elsewhere."""
    upload = served.records.fail(served.records.processing())
    for path in ("/uploads", f"/uploads/{upload.id}", "/datasets", "/nothing"):
        html = served.client.get(path).text

        assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|hx-on|js:|javascript:", html) == []
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//', html) == []
