"""A small application on uvicorn, with the connections of the web process, and clients that write bytes to a socket."""

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import Self

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.support.waiting import until
from webapp.server import connection
from webapp.server.connections import Connections

#: Seconds until a client of the tests gives up.
TIMEOUT = 20.0
#: Bytes of the response of /large: more than all buffers hold.
LARGE = 1 << 26
#: Bytes of the response of /rest: more than the kernel takes, in one piece.
REST = 1 << 22


class Quiet:
    """The subscriber of a stream that is told nothing."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def deliver(self) -> None: ...

    def end(self) -> None:
        self.ended.set()

    def shut_down(self) -> None: ...


class Small:
    """Answers at these paths: /read tells how many bytes the body had; /large sends much, /rest some megabytes in one
    piece; /stream is an event stream that never ends; /wait answers when `may_answer` is set. Others answer at once.
    """

    def __init__(self, connections: Connections | None = None) -> None:
        #: The paths of the requests that began, and what became of their bodies.
        self.seen: list[str] = []
        self.may_answer = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = uvicorn.Config(
            self._answer,
            http=connection.protocol(connections),
            interface="asgi3",
            lifespan="off",
            log_config=None,
            ws="none",
            timeout_graceful_shutdown=1,
            loop="uvloop",
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=[[self._listening]], name="uvicorn")

    @property
    def open(self) -> int:
        """Connections."""
        return len(self.server.server_state.connections)

    def connect(self, sent: bytes = b"", *, buffer: int | None = None) -> socket.socket:
        """A client that has sent this. buffer: bytes that its kernel buffers at most."""
        client = socket.socket()
        client.settimeout(TIMEOUT)
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.connect(self._listening.getsockname())
        client.sendall(sent)
        return client

    def ask(self, sent: bytes) -> bytes:
        """All that a client receives that sends this, until the server closes the connection."""
        with self.connect(sent) as client:
            return all_of(client)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.seen.append(path)
        if path == "/read":
            await self._read(scope, receive, send)
        elif path in ("/large", "/stream"):
            await self._send_much(scope, receive, send)
        else:
            if path == "/wait":
                await asyncio.to_thread(self.may_answer.wait, TIMEOUT)
            content = b"x" * REST if path == "/rest" else f"this is {path}"
            await PlainTextResponse(content)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        try:
            async for data in Request(scope, receive).stream():
                size += len(data)
        except Exception as error:
            self.seen.append(type(error).__name__)
            raise
        await PlainTextResponse(f"{size} bytes")(scope, receive, send)

    async def _send_much(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-bytes", str(LARGE).encode())]})
        if scope["path"] == "/stream":
            subscriber = Quiet()
            scope["state"]["connection"].become_stream(subscriber)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await subscriber.ended.wait()
        for _ in range(LARGE >> 16):
            await send({"type": "http.response.body", "body": b"x" * (1 << 16), "more_body": True})
        await send({"type": "http.response.body"})
        self.seen.append("sent all")

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.server.started, "uvicorn to start")
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self.server.should_exit = True
        self._thread.join(TIMEOUT)
        self._listening.close()
        assert not self._thread.is_alive(), "uvicorn did not end"


def all_of(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            received += data
    return bytes(received)


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection, of which nothing is left to be read."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        client.settimeout(TIMEOUT)


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def response_of(client: socket.socket) -> bytes:
    """One response of a few bytes, with its length."""
    received = b""
    deadline = time.monotonic() + TIMEOUT
    while not (ended := _end(received)):
        assert time.monotonic() < deadline
        data = client.recv(1 << 16)
        assert data, received
        received += data
    return received[:ended]


def _end(received: bytes) -> int:
    """Where the response ends; 0 if it is not complete."""
    before, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return 0
    length = int(before.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return len(before) + 4 + length if len(body) >= length else 0
