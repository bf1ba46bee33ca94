"""An S3 server with a bucket, and a proxy before it that fails on request."""

import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from jobs.settings import Settings
from jobs.store.bucket import BucketStore
from jobs.store.chosen import named
from tests.support.waiting import until

BUCKET, PREFIX = "uploads-of-tests", "one/two"
#: Enough for moto, which checks no signature.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "secret"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class S3Server:
    """moto's, in a process of its own, with one bucket. It forgets everything at its end."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with Path(tempfile.gettempdir(), "bulk-moto.log").open("ab") as log:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "the S3 server to answer")
        assert httpx.put(f"{self.url}/{BUCKET}").status_code == 200

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url).status_code < 500
        return False

    def settings(self, settings: Settings, **more: object) -> Settings:
        """Of a system whose files are in the bucket."""
        given = {**settings.model_dump(), "store": f"s3://{BUCKET}/{PREFIX}", "s3_endpoint": self.url, **KEYS, **more}
        return Settings.load(**given)

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{BUCKET}{path}", headers=SIGNED)

    def objects(self) -> dict[str, bytes]:
        """All of them, by their names below the prefix."""
        listed = self._get("?list-type=2").text
        names = re.findall(r"<Key>([^<]*)</Key>", listed)
        return {name.removeprefix(f"{PREFIX}/"): self._get(f"/{quote(name)}").content for name in names}

    def unfinished(self) -> list[str]:
        """The objects of which parts are kept that nobody has put together."""
        return re.findall(r"<Key>([^<]*)</Key>", self._get("?uploads").text)

    def empty(self) -> None:
        for name, id_ in re.findall(
            r"<Key>([^<]*)</Key><UploadId>([^<]*)<", self._get("?uploads").text.replace("\n", "")
        ):
            httpx.delete(f"{self.url}/{BUCKET}/{name}", params={"uploadId": id_}, headers=SIGNED)
        for name in self.objects():
            httpx.delete(f"{self.url}/{BUCKET}/{PREFIX}/{quote(name)}", headers=SIGNED)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bucket_of(settings: Settings) -> BucketStore:
    store = named(settings, settings.store)
    assert isinstance(store, BucketStore)
    return store


class FaultyS3:
    """A proxy before an S3 server. `faults` are what it does with the next requests of a method, one each."""

    def __init__(self, server: S3Server) -> None:
        target = httpx.URL(server.url)
        self.faults: list[tuple[str, str]] = []
        #: Methods and paths of what was asked.
        self.asked: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path))
                fault = outer.fault_of(self.command)
                if fault == "500":
                    self.send_response(500)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault == "slow":
                    time.sleep(0.3)
                connection = HTTPConnection(target.host, target.port, timeout=30)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if fault == "lost":  # the server has done it, and nobody hears of it
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection", "server", "date"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if fault == "half" else content)
                if fault == "half":
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815  # as the module has it

            def log_message(self, *_: Any) -> None:
                """Tests read what was asked."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def fault_of(self, method: str) -> str:
        for place, (of, what) in enumerate(self.faults):
            if of == method:
                del self.faults[place]
                return what
        return ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(60)
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gives up is no news."""


def shared_server() -> Iterator[S3Server]:
    """For a fixture of a module."""
    with S3Server() as server:
        yield server
