"""The memory cost of a client that does not read, and how its connection is aborted."""

import socket
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from jobs.settings import Settings
from tests.support.parts import require
from tests.support.serving import Served
from tests.support.waiting import until
from webapp.server.connection import UNSENT_BYTES

#: Bytes that the kernel may count for what was handed to it: its own bookkeeping comes on top.
KERNEL_BYTES = 4 * UNSENT_BYTES


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: none is looked at here."""
    return sqlite_database_url


def deaf(served: Served) -> socket.socket:
    """A client that asks for the general stream and reads nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", httpx.URL(served.url).port or 0))
    client.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def waiting_to_be_sent(client: socket.socket) -> int:
    """Bytes in the kernel that the server has written to this client."""
    here = client.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text("utf-8").splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == here:
            return int(fields[4].partition(":")[0], 16)
    return 0


def test_the_kernel_buffers_little_for_a_client_that_does_not_read(settings: Settings) -> None:
    require(Path("/proc/net/tcp").exists(), "needs /proc/net/tcp to look into the kernel's buffers")
    with Served(settings) as served, deaf(served) as client, served.stream("/api/v1/events") as listener:
        for _ in range(60):
            upload = served.records.fail(served.records.processing(), "x" * 100_000)
            listener.until_seq(upload)

        assert 0 < waiting_to_be_sent(client) < KERNEL_BYTES


def test_an_aborted_connection_leaves_nothing_behind(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "webapp.live.delivery.write_timeout")
    require(Path("/proc/net/tcp").exists(), "needs /proc/net/tcp to look into the kernel's buffers")
    with Served(settings.model_copy(update={"stream_write_timeout": 0.3})) as served, deaf(served) as client:
        served.records.processing()
        client.recv(1)
        served.records.fail(served.records.processing(), "x" * 10_000_000)
        until(lambda: served.records.pending() and "its connection was closed" in caplog.text, "the client to be cut")
        until(lambda: not waiting_to_be_sent(client), "the kernel to forget it")

        with suppress(ConnectionResetError):
            while client.recv(1 << 20):
                pass
