"""The web process without a supervisor, as in production."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests import ROOT
from tests.support.parts import require
from tests.support.waiting import until


@contextmanager
def web(
    folder: Path, open_files: int | None = None, **variables: str
) -> Iterator[tuple["subprocess.Popen[bytes]", Path, str]]:
    """A web process on a free port: the process, its log, its address. open_files: how many it may have."""

    def limit() -> None:
        if open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

    log = folder / "web.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", "web", "--data", str(folder / "data"), "--port", "0"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdin=subprocess.DEVNULL,
            stderr=written,
            preexec_fn=limit,
        )
    with process:
        try:
            found = until(lambda: re.search(r"Listening on (http://\S+)\.\n", log.read_text("utf-8")), "the address")
            yield process, log, found[1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_responds_and_shuts_down(tmp_path: Path, number: signal.Signals) -> None:
    with web(tmp_path) as (process, log, url):
        answer = httpx.get(f"{url}/healthz", timeout=30)

        assert answer.status_code == 200
        assert "server" not in answer.headers

        process.send_signal(number)

        assert process.wait(60) == 0
        assert "Traceback" not in log.read_text("utf-8")


def test_it_raises_its_limit_on_open_files(tmp_path: Path) -> None:
    require(Path("/proc/self/limits").exists(), "needs /proc to look at limits")
    with web(tmp_path) as (process, _, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text("utf-8")
        found = re.search(r"^Max open files +(\w+) +(\w+)", limits, re.MULTILINE)

    assert found is not None
    assert found[1] == found[2]


def test_it_limits_streams_to_the_files_it_may_open(tmp_path: Path) -> None:
    with web(tmp_path, BULK_UPLOAD_STREAMS="1000000000") as (_, log, _):
        assert re.search(r"accepts \d+ event streams at once, not 1000000000. Raise", log.read_text("utf-8"))


def test_idle_connections_and_streams_shut_nobody_out_even_with_few_files(tmp_path: Path) -> None:
    with web(tmp_path, open_files=400) as (_, log, url), ExitStack() as stack:
        found = re.search(r"may open only 400 files, so it accepts (\d+) event streams", log.read_text("utf-8"))
        assert found is not None
        for _number in range(int(found[1])):
            assert stack.enter_context(asked_for(f"{url}/api/v1/events", "")).status_code == 200
        address = httpx.URL(url)
        for _number in range(330):
            stack.enter_context(socket.create_connection((address.host, address.port or 0)))

        for path in ("/healthz", "/uploads", "/static/style.css"):
            assert httpx.get(f"{url}{path}", timeout=30).status_code == 200
        sent = httpx.post(f"{url}/api/v1/uploads?filename=june.csv", content=b"a,b\n1,2\n", timeout=30)
        assert sent.status_code == 201
        assert httpx.get(f"{url}/api/v1/events", timeout=30).status_code == 503
        assert "idle ones are closed to admit others" in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        ("", "10.0.0.2", 503),
        ("10.1.2.3", "10.0.0.2", 503),
        ("127.0.0.1", "10.0.0.2", 200),
        ("127.0.0.0/8", "10.0.0.2", 200),
        ("127.0.0.1", "10.0.0.1", 503),
        ("127.0.0.1", "10.0.0.2, 10.0.0.1", 503),
    ],
)
def test_only_a_trusted_proxy_can_set_the_client_address(
    tmp_path: Path, trusted: str, forwarded: str, status: int
) -> None:
    variables = {"BULK_UPLOAD_TRUSTED_PROXIES": trusted, "BULK_UPLOAD_STREAMS_PER_ADDRESS": "1"}
    with web(tmp_path, None, **variables) as (_, _, url):
        answers = [
            asked_for(f"{url}/api/v1/events", "10.0.0.1"),
            asked_for(f"{url}/api/v1/events", forwarded),
        ]
        with answers[0] as first, answers[1] as second:
            assert (first.status_code, second.status_code) == (200, status)


@pytest.mark.parametrize(("trusted", "expected"), [("", None), ("127.0.0.1", "max-age=31536000")])
def test_tls_is_what_a_trusted_proxy_says(tmp_path: Path, trusted: str, expected: str | None) -> None:
    with web(tmp_path, None, BULK_UPLOAD_TRUSTED_PROXIES=trusted) as (_, _, url):
        for path in ("/uploads", "/nothing", "/static/style.css"):
            answer = httpx.get(f"{url}{path}", headers={"X-Forwarded-Proto": "https"}, timeout=30)
            assert answer.headers.get("strict-transport-security") == expected, path


def asked_for(url: str, forwarded: str) -> AbstractContextManager[httpx.Response]:
    return httpx.stream("GET", url, headers={"X-Forwarded-For": forwarded}, timeout=30)


def test_a_port_in_use_is_rejected(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "webapp.cli", "web", "--data", str(tmp_path), "--port", port],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert result.returncode == 1
    assert result.stderr.startswith(f"Port {port} on 127.0.0.1 is already in use by another program. ")
