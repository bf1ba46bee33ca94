"""Which responses are compressed, on a real uvicorn."""

import threading

import pytest
from starlette.middleware.gzip import GZipResponder

from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served

pytestmark = ONE_DATABASE


@pytest.mark.parametrize("path", ["/uploads", "/uploads/1", "/datasets/sales", "/api/v1/uploads", "/nothing/here"])
def test_pages_and_json_are_compressed_for_those_who_accept_it(served: Served, path: str) -> None:
    served.records.dataset("sales", [(number, "Ann", True) for number in range(50)])
    path = "/uploads/999" if path == "/nothing/here" else path  # an error page of a route
    packed = served.client.get(path, headers={"Accept-Encoding": "gzip, br"})
    plain = served.client.get(path, headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert len(packed.text) == len(plain.text)


def test_streams_and_downloads_are_not(served: Served) -> None:
    served.records.dataset("sales", [(number, "Ann", True) for number in range(500)])
    upload = served.records.pending(content="a,b\n" + "1,2\n" * 1000)
    paths = [
        "/uploads/events",
        "/api/v1/events",
        "/datasets/sales/rows.csv",
        f"/uploads/{upload.id}/original",
        f"/uploads/{upload.id}/failed-rows.csv",
        "/healthz",
    ]
    for path in paths:
        with served.client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status_code == 200, path
            assert "content-encoding" not in answer.headers, path


def test_a_large_response_is_compressed_in_a_thread(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[tuple[int, str]] = []
    original = GZipResponder._compress_body

    def compress(self: GZipResponder, body: bytes, more_body: bool) -> bytes:
        threads.append((len(body), threading.current_thread().name))
        return original(self, body, more_body)

    monkeypatch.setattr(GZipResponder, "_compress_body", compress)
    with Served(settings) as served:
        served.records.dataset("sales", [(number, "Ann" * 100, True) for number in range(500)])
        for limit in (20, 500):
            rows = served.client.get(f"/api/v1/datasets/sales/rows?limit={limit}").json()
            assert len(rows["items"]) == limit

    (small, loop), (large, thread) = threads
    assert small < 1 << 16 < large
    assert loop == "uvicorn"
    assert thread != "uvicorn"
