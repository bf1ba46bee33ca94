"""What a connection costs and allows: bounds, deadlines, and how it ends.

The deadlines here are so short that a test waits for one, or so long that none passes.
"""

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from jobs.settings import Settings
from tests.support.parts import require
from tests.support.serving import Served
from tests.support.sockets import LARGE, Small, all_of, head, is_closed, response_of
from tests.support.waiting import until
from webapp.guard import HEADERS
from webapp.server import connection
from webapp.server.connection import HEAD_BYTES, HEADERS_MAX, PIPELINED_REQUESTS, UNSENT_BYTES
from webapp.server.connections import Connections, Deadlines

#: Bytes that the kernel may count for what was handed to it: its own bookkeeping comes on top.
KERNEL_BYTES = 4 * UNSENT_BYTES
#: Seconds of a deadline that passes soon, of one that passes unless a client does something, and of one that does not.
SHORT, MEDIUM, LONG = 0.15, 0.6, 600.0
#: Seconds between two things that a client does.
PAUSE = 0.03


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


def deadlines(head: float = LONG, body: float = LONG, write: float = LONG) -> Connections:
    return Connections(deadlines=Deadlines(head, body, write))


def broken(client: socket.socket) -> bool:
    """Whether it cannot send more; until then it sends."""
    try:
        client.sendall(b"x" * 100_000)
    except ConnectionError:
        return True
    return False


def check_refused(answer: bytes, status: int, words: str) -> None:
    """A response of a few lines, after which the connection is closed, with all headers that every response has."""
    before, _, body = answer.decode().partition("\r\n\r\n")
    line, *headers = before.split("\r\n")
    named = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}

    assert line.startswith(f"HTTP/1.1 {status} ")
    assert words in body
    assert named["connection"] == "close"
    assert int(named["content-length"]) == len(body.encode())
    assert named.keys() >= {*HEADERS, "date"}


# The head of a request


@pytest.mark.parametrize("size", [HEAD_BYTES - 100, HEAD_BYTES + 1, 4 * HEAD_BYTES])
@pytest.mark.parametrize("where", ["a header", "many headers", "the address"])
def test_a_head_is_bounded(where: str, size: int) -> None:
    sent = {
        "a header": head("GET", "/", "Connection: close", "X-Long: " + "x" * size),
        "many headers": head("GET", "/", "Connection: close", *["X: " + "y" * (size // 50 - 5)] * 50),
        "the address": head("GET", "/" + "x" * size, "Connection: close"),
    }[where]
    with Small() as small:
        answer = small.ask(sent)

    if size < HEAD_BYTES:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    else:
        check_refused(answer, 431, "larger than 32,768 bytes")
        assert small.seen == []


@pytest.mark.parametrize(("count", "status"), [(HEADERS_MAX, 200), (HEADERS_MAX + 1, 431)])
def test_the_headers_of_a_request_are_counted(count: int, status: int) -> None:
    with Small() as small:
        answer = small.ask(head("GET", "/", "Connection: close", *["X: y"] * (count - 2)))

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX", b"", b"\r\n"])
def test_a_head_without_an_end_is_not_kept(beginning: bytes) -> None:
    filling = b"\r\n" if beginning in (b"", b"\r\n") else b"x"
    with Small() as small, small.connect(beginning) as client:
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * HEAD_BYTES:
                sent += client.send(filling * 1000)
        answer = all_of(client)
        until(lambda: not small.open, "the connection to be closed")

    assert sent < 100 * HEAD_BYTES
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert small.seen == []


@pytest.mark.parametrize("sent", [b"G", head("GET", "/", "X: y")[:-2], b"\r\n"])
def test_an_incomplete_head_times_out(sent: bytes) -> None:
    with Small(deadlines(head=SHORT)) as small, small.connect(sent) as client:
        check_refused(all_of(client), 408, "did not arrive in time")
        until(lambda: not small.open, "the connection to be closed")


def test_a_head_that_comes_byte_by_byte_times_out_too() -> None:
    with Small(deadlines(head=SHORT)) as small, small.connect() as client:
        began = time.monotonic()
        with suppress(ConnectionError):
            for byte in head("GET", "/", "X: " + "y" * 1000):
                client.send(bytes([byte]))
                time.sleep(PAUSE)

        assert time.monotonic() - began < 500 * PAUSE
        assert small.seen == []


def test_a_connection_that_never_sends_is_closed_without_a_word() -> None:
    with Small(deadlines(head=SHORT)) as small, small.connect() as client:
        assert all_of(client) == b""


def test_a_second_head_times_out_as_the_first_does() -> None:
    with Small(deadlines(head=SHORT)) as small, small.connect(head("GET", "/")) as client:
        assert response_of(client).endswith(b"this is /")
        client.sendall(b"GET / HT")

        check_refused(all_of(client), 408, "did not arrive in time")


def test_requests_one_after_the_other_do_not_time_out() -> None:
    with Small(deadlines(head=MEDIUM)) as small, small.connect() as client:
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * MEDIUM:
            client.sendall(head("GET", "/"))
            assert response_of(client).endswith(b"this is /")
            time.sleep(PAUSE)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        head("POST", "/read", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("POST", "/read", "Content-Length: 3", "Content-Length: 4") + b"abcd",
        head("POST", "/read", "Content-Length: -3"),
        head("POST", "/read", "Content-Length: 99999999999999999999999"),
        head("POST", "/read", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
        head("POST", "/read", "Transfer-Encoding: chunked") + b"not a size\r\n",
        head("POST", "/read", "Transfer-Encoding: chunked") + b"fffffffffffffffffff\r\n",
    ],
)
def test_what_is_not_http_is_refused(sent: bytes) -> None:
    with Small() as small:
        check_refused(small.ask(sent), 400, "This is not a valid HTTP request.")

    assert set(small.seen) <= {"/read", "ClientDisconnect"}


# The body of a request


def test_a_body_that_stops_arriving_ends_its_request() -> None:
    with Small(deadlines(body=SHORT)) as small:
        with small.connect(head("POST", "/read", "Content-Length: 10") + b"x") as client:
            check_refused(all_of(client), 408, "body did not arrive in time")
        until(lambda: small.seen == ["/read", "ClientDisconnect"], "the request to end")


def test_a_body_may_take_longer_as_long_as_it_goes_on() -> None:
    sent = head("POST", "/read", "Content-Length: 30", "Connection: close")
    with Small(deadlines(body=MEDIUM)) as small, small.connect(sent) as client:
        for _ in range(30):
            client.sendall(b"x")
            time.sleep(PAUSE)

        assert all_of(client).endswith(b"30 bytes")


def test_a_body_that_this_process_does_not_read_does_not_time_out() -> None:
    with Small(deadlines(body=SHORT)) as small:
        body = b"x" * 10_000_000
        with small.connect(head("POST", "/wait", f"Content-Length: {len(body)}", "Connection: close")) as client:
            client.setblocking(False)
            sent = 0
            began = time.monotonic()
            while time.monotonic() - began < 3 * SHORT:
                with suppress(BlockingIOError):
                    sent += client.send(body[sent:])
                time.sleep(PAUSE)
            small.may_answer.set()
            client.settimeout(10)

            assert response_of(client).endswith(b"this is /wait")


def test_extensions_of_a_chunk_are_bounded() -> None:
    with Small() as small, small.connect(head("POST", "/read", "Transfer-Encoding: chunked") + b"1") as client:
        with suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b";extension=" + b"x" * 10_000)
        all_of(client)
        until(lambda: not small.open, "the connection to be closed")

    assert small.seen == ["/read", "ClientDisconnect"]


def test_trailers_of_a_body_are_bounded_and_do_not_reach_the_request() -> None:
    sent = head("POST", "/read", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n"
    with Small() as small:
        with small.connect(sent + b"X-Late: yes\r\n\r\n") as client:
            assert response_of(client).endswith(b"1 bytes")
        with small.connect(sent) as client:
            with suppress(ConnectionError):
                for _ in range(10_000):
                    client.sendall(b"X-Late: " + b"x" * 1000 + b"\r\n")
            all_of(client)
            until(lambda: not small.open, "the connections to be closed")


def test_tiny_chunks_are_read() -> None:
    with Small() as small:
        body = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
        answer = small.ask(head("POST", "/read", "Transfer-Encoding: chunked", "Connection: close") + body)

    assert answer.endswith(b"50000 bytes")


@pytest.mark.parametrize("closing", [True, False])
def test_a_response_that_does_not_wait_for_the_body_is_received(closing: bool) -> None:
    """The client sends everything before it reads, as browsers do."""
    body = b"x" * 5_000_000
    headers = [f"Content-Length: {len(body)}", *(["Connection: close"] if closing else [])]
    with Small() as small, small.connect(head("POST", "/early", *headers)) as client:
        until(lambda: small.seen == ["/early"], "the request")
        time.sleep(PAUSE)
        client.sendall(body)

        assert response_of(client).endswith(b"this is /early")
        if closing:
            assert all_of(client) == b""
        else:
            client.sendall(head("GET", "/next"))
            assert response_of(client).endswith(b"this is /next")


@pytest.mark.parametrize("closing", [True, False])
def test_what_is_discarded_is_bounded(monkeypatch: pytest.MonkeyPatch, closing: bool) -> None:
    monkeypatch.setattr(connection, "DISCARDED_BYTES", 100_000)
    headers = ["Content-Length: 100000000", *(["Connection: close"] if closing else [])]
    with Small() as small, small.connect(head("POST", "/early", *headers)) as client:
        assert response_of(client).endswith(b"this is /early")
        until(lambda: broken(client), "the connection to break")


@pytest.mark.parametrize("closing", [True, False])
def test_a_body_that_is_discarded_must_go_on_too(closing: bool) -> None:
    headers = ["Content-Length: 1000", *(["Connection: close"] if closing else [])]
    with Small(deadlines(body=SHORT)) as small, small.connect(head("POST", "/early", *headers)) as client:
        client.sendall(b"x")
        assert response_of(client).endswith(b"this is /early")
        assert all_of(client) == b""


def test_a_connection_whose_discarded_body_ended_does_not_stay_for_ever() -> None:
    sent = head("POST", "/early", "Content-Length: 2")
    with Small(deadlines(head=SHORT)) as small, small.connect(sent) as client:
        assert response_of(client).endswith(b"this is /early")
        client.sendall(b"xx")
        assert all_of(client) == b""


def test_a_client_that_asks_first_need_not_send_what_is_refused() -> None:
    with Small() as small, small.connect(head("POST", "/early", "Content-Length: 9", "Expect: 100-continue")) as client:
        assert response_of(client).startswith(b"HTTP/1.1 200 OK")


# Several requests


def test_requests_may_be_sent_before_the_response_to_the_one_before() -> None:
    sent = b"".join(head("GET", f"/{number}") for number in range(PIPELINED_REQUESTS))
    with Small() as small:
        answer = small.ask(sent + head("GET", "/last", "Connection: close"))

    assert small.seen == [*(f"/{number}" for number in range(PIPELINED_REQUESTS)), "/last"]
    assert answer.count(b"HTTP/1.1 200 OK") == PIPELINED_REQUESTS + 1


def test_requests_that_wait_on_one_connection_are_bounded() -> None:
    with Small() as small, small.connect(head("GET", "/wait") + head("GET", "/") * 10_000) as client:
        assert all_of(client) == b""
        assert small.seen in ([], ["/wait"])


def test_a_request_whose_connection_was_closed_for_those_behind_it_ends_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Small() as small, small.connect(head("GET", "/wait")) as client:
        until(lambda: small.seen == ["/wait"], "the request to begin")
        client.sendall(head("GET", "/") * 10_000)
        assert all_of(client) == b""
        small.may_answer.set()
        until(lambda: not small.server.server_state.tasks, "the request to end")

    assert "closed" not in caplog.text
    assert "Exception" not in caplog.text


def test_nonsense_behind_a_request_does_not_end_up_in_its_response() -> None:
    with Small() as small, small.connect(head("GET", "/large"), buffer=4096) as client:
        received = client.recv(1000)
        client.sendall(b"nonsense\r\n\r\n")
        received += all_of(client)

    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400" not in received


# Responses


def test_a_download_that_nobody_reads_ends() -> None:
    with Small(deadlines(write=SHORT)) as small, small.connect(head("GET", "/large"), buffer=4096) as client:
        client.recv(1)
        until(lambda: not small.open, "the connection to be closed")


@pytest.mark.parametrize("closing", [True, False])
def test_the_rest_of_a_response_that_nobody_reads_is_not_kept(closing: bool) -> None:
    """All of it is in the buffer of the process: nothing waits to be written, and still it must end."""
    with Small(deadlines(write=SHORT)) as small:
        headers = ["Connection: close"] if closing else []
        with small.connect(head("GET", "/rest", *headers), buffer=4096) as client:
            client.recv(1)
            until(lambda: not small.open, "the connection to be closed")


def test_a_slow_download_goes_on() -> None:
    with Small(deadlines(write=MEDIUM)) as small, small.connect(head("GET", "/large", "Connection: close")) as client:
        received, began = 0, time.monotonic()
        while time.monotonic() - began < 1.5 * MEDIUM:
            received += len(client.recv(1 << 20))
            time.sleep(PAUSE)
        received += len(all_of(client))

    assert received > LARGE


def test_no_deadline_applies_to_a_stream() -> None:
    with Small(deadlines(SHORT, SHORT, SHORT)) as small, small.connect(head("GET", "/stream")) as client:
        time.sleep(4 * SHORT)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert not is_closed(client)


# Many connections


def test_the_oldest_idle_connection_makes_room_for_a_new_one() -> None:
    with Small(Connections(limit=3)) as small, ExitStack() as stack:
        waiting = stack.enter_context(small.connect(head("GET", "/wait")))
        until(lambda: small.seen, "the request")
        used = stack.enter_context(small.connect())
        unused = stack.enter_context(small.connect())
        until(lambda: small.open == 3, "three connections")
        used.sendall(head("GET", "/"))
        response_of(used)
        newest = stack.enter_context(small.connect(head("GET", "/")))

        assert response_of(newest).endswith(b"this is /")
        assert all_of(unused) == b""
        assert not is_closed(used)
        small.may_answer.set()
        assert response_of(waiting).endswith(b"this is /wait")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"])
def test_idle_connections_shut_nobody_out(sent: bytes) -> None:
    with Small(Connections(limit=10, deadlines=Deadlines(LONG, LONG, LONG))) as small, ExitStack() as stack:
        for _ in range(330):
            stack.enter_context(small.connect(sent))
        with small.connect(head("GET", "/")) as client:
            assert response_of(client).endswith(b"this is /")
        assert small.open <= 11


def test_requests_beyond_the_limit_are_told_to_try_again_and_the_health_check_answers() -> None:
    with Small(Connections(limit=2)) as small, ExitStack() as stack:
        waiting = [stack.enter_context(small.connect(head("GET", "/wait"))) for _ in range(2)]
        until(lambda: len(small.seen) == 2, "the requests")
        for path, kind in [("/", b"text/plain; charset=utf-8"), ("/api/v1/uploads", b"application/problem+json")]:
            with small.connect(head("GET", path)) as client:
                answer = response_of(client)
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nretry-after: 5\r\n" in answer
            assert b"\r\ncontent-type: " + kind in answer
            assert b"x-content-type-options" in answer
            assert b"too many requests" in answer
        with small.connect(head("GET", "/healthz")) as client:
            assert response_of(client).endswith(b"this is /healthz")

        small.may_answer.set()
        assert all(response_of(client).endswith(b"this is /wait") for client in waiting)
        assert response_of(stack.enter_context(small.connect(head("GET", "/")))).endswith(b"this is /")


def test_streams_do_not_count() -> None:
    with Small(Connections(limit=2)) as small, ExitStack() as stack:
        streams = [stack.enter_context(small.connect(head("GET", "/stream"))) for _ in range(20)]
        for stream in streams:
            assert stream.recv(1)
        for _ in range(20):
            stack.enter_context(small.connect())
        with small.connect(head("GET", "/")) as client:
            assert response_of(client).endswith(b"this is /")
        for stream in streams:
            until(lambda stream=stream: stream.recv(1000).endswith(b"first\r\n"), "the stream")  # type: ignore[misc]
            assert not is_closed(stream)


def test_an_upload_whose_sender_stops_leaves_nothing(settings: Settings) -> None:
    with Served(settings, deadlines(body=SHORT)) as served:
        address = httpx.URL(served.url)
        request = f"POST /api/v1/uploads?filename=june.csv HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
        with socket.create_connection((address.host, address.port or 0), timeout=20) as client:
            client.sendall(f"{request}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 3_000_000)
            check_refused(all_of(client), 408, "body did not arrive in time")
        until(lambda: not served.stored, "what arrived to be removed")

        assert served.records.all() == []


@pytest.mark.parametrize("path", ["/uploads/1/original", "/datasets/sales/rows.csv"])
def test_stalled_downloads_stop_nothing(settings: Settings, path: str) -> None:
    with Served(settings) as served, ExitStack() as stack:
        served.records.pending(content="a,b\n" + "1,2\n" * 200_000)
        served.records.dataset("sales", [(number, "Ann" * 10_000, True) for number in range(25)])
        address = ("127.0.0.1", httpx.URL(served.url).port or 0)
        for _ in range(50):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20)
            client.connect(address)
            client.sendall(head("GET", path))
            assert client.recv(1)

        assert served.client.get("/uploads").status_code == 200
        assert served.client.get("/static/style.css").status_code == 200
        assert served.post("a,b\n1,2\n").status_code == 201
