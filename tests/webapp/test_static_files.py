"""Static files: how they are cached and compressed."""

import asyncio
import gzip
import os
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from webapp.static_files import VersionedFiles
from webapp.templating import STATIC

STYLE = "/static/style.css"
CONTENT = (STATIC / "style.css").read_bytes()


class Client:
    """Asks an application that serves a folder."""

    def __init__(self, folder: Path = STATIC, encoding: str = "gzip") -> None:
        self._app = Starlette(routes=[Mount("/static", VersionedFiles(folder))])
        self._encoding = encoding

    def get(self, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
        """headers: with underscores for hyphens."""
        named = {"Accept-Encoding": self._encoding} | {name.replace("_", "-"): headers[name] for name in headers}

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app)) as client:
                return await client.request(method, f"http://localhost{path}", headers=named)

        return asyncio.run(ask())


def test_only_a_versioned_file_is_cached_permanently() -> None:
    client = Client()
    versioned, plain, missing = (client.get(f"/static/{path}") for path in ("style.css?v=1", "style.css", "no?v=1"))

    assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["cache-control"] == "public, no-cache"
    assert (missing.status_code, missing.headers.get("cache-control")) == (404, None)


def test_a_file_is_compressed_for_those_who_accept_it() -> None:
    client = Client()
    packed, plain = client.get(STYLE), client.get(STYLE, Accept_Encoding="identity")

    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(CONTENT) / 2
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == CONTENT
    assert packed.headers["content-type"] == plain.headers["content-type"] == "text/css; charset=utf-8"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("path", [STYLE, f"{STYLE}?v=1"])
def test_a_file_that_did_not_change_is_not_sent_again(encoding: str, path: str) -> None:
    client = Client(encoding=encoding)
    first = client.get(path)
    by_tag = client.get(path, If_None_Match=first.headers["etag"])
    by_time = client.get(path, If_Modified_Since=first.headers["last-modified"])
    other = client.get(path, If_None_Match='"another"')

    for answer in (by_tag, by_time):
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["cache-control"] == first.headers["cache-control"]
        assert answer.headers["vary"] == "Accept-Encoding"
    assert other.status_code == 200


def test_head_tells_the_size_of_what_get_would_send() -> None:
    client = Client()
    assert client.get(STYLE, method="HEAD").headers["content-length"] == client.get(STYLE).headers["content-length"]


def test_a_small_file_and_one_that_would_not_shrink_are_sent_as_they_are(tmp_path: Path) -> None:
    contents = {"small.css": b"a{}", "random.bin": os.urandom(5000), "packed.gz": gzip.compress(os.urandom(5000))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    client = Client(tmp_path)
    for name, content in contents.items():
        answer = client.get(f"/static/{name}")
        assert (answer.content, answer.headers.get("content-encoding")) == (content, None)


def test_a_file_that_changed_since_the_start_is_sent_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "style.css"
    file.write_text("a{}" * 1000)
    client = Client(tmp_path)
    assert client.get(STYLE).headers["content-encoding"] == "gzip"
    file.write_text("b{}" * 1000)
    os.utime(file, ns=(1, 1))

    assert client.get(STYLE).text == "b{}" * 1000
