"""X-Request-ID: taken or made, and in every answer."""

import re
import socket

import pytest

from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from webapp import request_id


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123", "abc-123"),
        (
            b"0af7651916cd43dd8448eb211c80319c/b7ad.6b7:1_2+3=4@5~",
            "0af7651916cd43dd8448eb211c80319c/b7ad.6b7:1_2+3=4@5~",
        ),
        (b'a"b<c>\xff\x01\td', "abcd"),
        (b"x" * 10_000, "x" * 128),
    ],
)
def test_an_id_is_taken_as_far_as_a_log_may_have_it(given: bytes, kept: str) -> None:
    assert request_id.of([(b"accept", b"*/*"), (b"x-request-id", given)]) == kept


@pytest.mark.parametrize("given", [[], [(b"x-request-id", b"")], [(b"x-request-id", b" <>\x00")]])
def test_without_one_an_id_is_made(given: list[tuple[bytes, bytes]]) -> None:
    made = request_id.of(given)

    assert re.fullmatch("[0-9a-f]{32}", made)
    assert made != request_id.of(given)


@ONE_DATABASE
def test_every_answer_has_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/uploads", "/healthz", "/static/style.css", "/api/v1/uploads", "/api/v1/uploads/99", "/nothing"):
        assert served.client.get(path, headers={"X-Request-ID": "of-a-proxy"}).headers["x-request-id"] == "of-a-proxy"
        assert re.fullmatch("[0-9a-f]{32}", served.client.get(path).headers["x-request-id"])
    foreign = served.client.get("/uploads", headers={"Host": "elsewhere.example", "X-Request-ID": "of-a-proxy"})
    assert (foreign.status_code, foreign.headers["x-request-id"]) == (400, "of-a-proxy")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("webapp.routes.api.JSONResponse", broken)
    once = {"X-Request-ID": "of-a-proxy", "Connection": "close"}  # as the server does after a defect
    defect = served.client.get("/api/v1/uploads", headers=once)
    assert (defect.status_code, defect.headers["x-request-id"]) == (500, "of-a-proxy")
    assert defect.json()["request_id"] == "of-a-proxy"

    monkeypatch.setattr("webapp.routes.visible.dataset", broken)
    page = served.client.get("/datasets/june/template.csv", headers=once)
    assert (page.status_code, page.headers["x-request-id"]) == (500, "of-a-proxy")
    assert '<code id="request-id">of-a-proxy</code>' in page.text
    assert "request-id" not in served.client.get("/nothing").text


@ONE_DATABASE
def test_what_is_no_request_is_answered_with_one_too(served: Served) -> None:
    url = served.client.base_url
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        answer = connection.makefile("rb").read().lower()

    assert answer.startswith(b"http/1.1 400")
    assert re.search(rb"\r\nx-request-id: [0-9a-f]{32}\r\n", answer)
