"""Requests as bytes on a socket: no client library sends what these do."""

import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from tests.benchmarks.hostile.instance import Instance

#: Seconds without any answer after which a request counts as unanswered; the longest deadline of the server is 30 s.
PATIENCE = 50.0
#: Bytes that are sent and received at once, and bytes of an answer that are kept.
PIECE_BYTES, KEPT_BYTES = 1 << 16, 1 << 20


@dataclass(frozen=True)
class Reply:
    """status: 0 if the connection was closed without an answer, None if nothing came in time. sent: bytes."""

    status: int | None
    seconds: float
    sent: int
    text: str

    def __str__(self) -> str:
        said = {0: "closed", None: "no answer"}.get(self.status, str(self.status))
        return f"{said} after {self.seconds:.1f} s"


def request(instance: Instance, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request in one piece. headers: with "_" for "-"; a Content-Length is added unless there is one or a coding."""
    found = {"Host": f"{instance.address[0]}:{instance.address[1]}"}
    found |= {name.replace("_", "-"): value for name, value in headers.items()}
    names = {name.lower() for name in found}
    if body and not names & {"content-length", "transfer-encoding"}:
        found["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in found.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def connect(instance: Instance) -> socket.socket:
    return socket.create_connection(instance.address, timeout=10)


def exchange(instance: Instance, *pieces: bytes, more: Iterable[bytes] = (), seconds: float = PATIENCE) -> Reply:
    """Send the pieces until there is an answer, which may come before all are sent."""
    began, received, sent = time.monotonic(), bytearray(), 0
    waiting = _cut(pieces, more)
    pending = memoryview(next(waiting, b""))
    with connect(instance) as connection, selectors.DefaultSelector() as selector:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while (spent := time.monotonic() - began) < seconds:
            for _, events in selector.select(1.0):
                try:
                    if events & selectors.EVENT_READ:
                        data = connection.recv(PIECE_BYTES)
                        received += data
                        status = _status(received)
                        if not data or status:
                            return Reply(status, spent, sent, received[:KEPT_BYTES].decode("latin-1"))
                    if events & selectors.EVENT_WRITE and pending:
                        count = connection.send(pending)
                        sent, pending = sent + count, pending[count:]
                except OSError:
                    return Reply(_status(received), spent, sent, received.decode("latin-1"))
                if not pending:
                    pending = memoryview(next(waiting, b""))
                    selector.modify(connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0))
    return Reply(None, seconds, sent, received.decode("latin-1"))


def _cut(pieces: Iterable[bytes], more: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for begin in range(0, len(piece), PIECE_BYTES):
            yield piece[begin : begin + PIECE_BYTES]
    yield from more


def _status(received: bytes | bytearray) -> int:
    """The status of the first final answer whose head is complete; 0 if there is none."""
    while received.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in received:
        received = received.partition(b"\r\n\r\n")[2]
    if not received.startswith(b"HTTP/1.") or b"\r\n\r\n" not in received:
        return 0
    return int(received[9:12])


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed a connection. What it sent before is dropped."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        try:
            while data := connection.recv(PIECE_BYTES):
                del data
        except ConnectionError:
            return True
        return True
    return False


@contextmanager
def connections(instance: Instance, count: int, content: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, on each of which the content has been sent. One that is refused or reset is left out."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            with suppress(OSError):
                connection = stack.enter_context(connect(instance))
                connection.sendall(content)
                found.append(connection)
        yield found
