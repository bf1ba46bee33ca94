"""One client's HTTP connection: uvicorn's, with bounds for what it buffers, and deadlines for the client."""

import asyncio
import functools
import logging
import socket
import struct
from http import HTTPStatus
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from webapp import request_id
from webapp.guard import HEADERS, headers_of
from webapp.problem_details import MEDIA_TYPE, problem, wants_json
from webapp.request_id import RequestId
from webapp.server.connections import Connections

log = logging.getLogger(__name__)

#: Bytes that this process buffers before writing pauses, and unsent bytes that the kernel buffers. A client that stops
#: reading costs about their sum; without the second limit it cost megabytes.
WRITE_BUFFER_BYTES = 32 * 1024
UNSENT_BYTES = 32 * 1024
#: Bytes of a request's head (its line and its headers), and of what may stand around the parts of a body that is sent
#: in chunks. Browsers send one or two thousand; other servers accept 8 to 64 KiB.
HEAD_BYTES = 32 * 1024
#: Headers of a request: browsers send about twenty, and each takes hundreds of bytes of memory, however short it is.
HEADERS_MAX = 100
#: Requests that may wait on a connection for the response to the one before. Browsers send none; one read of the socket
#: has room for thousands.
PIPELINED_REQUESTS = 16
#: Bytes of a request's body that are read and discarded after its response, so that a client that sends all of it
#: before it reads, as browsers do, receives the response and not a broken connection.
DISCARDED_BYTES = 1 << 28
#: Seconds after which a client may try again when there are too many requests.
RETRY_AFTER = 5


class Subscriber(Protocol):
    """What reads the events of a stream for its client, as this module needs it."""

    def deliver(self) -> None:
        """The client reads again."""

    def end(self) -> None:
        """The connection is lost."""

    def shut_down(self) -> None:
        """The process ends."""


@functools.lru_cache(maxsize=4)  # a thousand clients receive the same message one after the other
def _chunk(data: bytes) -> bytes:
    """A part of a body in the chunked coding of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Unheard:
    """In place of the event for which an application waits that receives. Each has 760 bytes, a thirtieth of what a
    client of a stream takes."""

    def set(self) -> None:
        pass


_UNHEARD = _Unheard()


class Connection(HttpToolsProtocol):
    """Adds itself to the state of requests, as `connection`."""

    #: With as many attributes more, the dictionary of each instance would be 1.2 KB larger.
    __slots__ = (
        "_answered",
        "_application",
        "_body_moved",
        "_connections",
        "_deadlines",
        "_discarded",
        "_head_began",
        "_is_shutting_down",
        "_pending",
        "_refusal",
        "_subscriber",
        "_unsent",
        "_unsent_since",
        "is_lost",
    )

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._deadlines = connections.deadlines
        self._application = self.app
        #: Bytes received since the last complete head or the last byte of a body.
        self._pending = 0
        #: When the current head began; None while the client owes nothing.
        self._head_began: float | None = None
        #: When the last byte of a body arrived.
        self._body_moved = 0.0
        self._discarded = 0
        #: The request that is being answered, or was last.
        self._answered: RequestResponseCycle | None = None
        #: Bytes of responses in the buffer of this process at the last check, and since when there are as many.
        self._unsent = 0
        self._unsent_since = 0.0
        self._refusal = (HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")
        #: Of the event stream that is the current response.
        self._subscriber: Subscriber | None = None
        self._is_shutting_down = False
        #: Whether the client is gone.
        self.is_lost = False

    # Called by what serves a request

    def become_stream(self, subscriber: Subscriber) -> None:
        """The response is an event stream: no deadline applies to it, and it receives nothing."""
        self._connections.began_stream(self)
        assert self._answered is not None
        self._answered.message_event = _UNHEARD  # type: ignore[assignment]  # nothing else of it is used
        self._subscriber = subscriber
        if self._is_shutting_down:
            subscriber.shut_down()

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what it is sent."""
        return not self.flow.write_paused

    def write(self, data: bytes) -> None:
        """Send a part of a stream whose response has begun, without waiting until the client reads."""
        if not self.transport.is_closing():
            self.transport.write(_chunk(data))

    def disconnect(self) -> None:
        """Abort the connection at once and drop all unread data."""
        if self.is_lost:
            return
        self._option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # or the kernel keeps sending
        self._drop_response()
        self.transport.abort()

    # Called by Connections

    def close(self) -> None:
        """Close the connection, which has no request in progress."""
        if self.transport.get_write_buffer_size():
            self.disconnect()
        else:
            self.transport.close()

    def check(self, now: float) -> None:
        """Close the connection if the client took too long to send, or to read."""
        if self._is_unread(now):
            log.info("A client read nothing of a response for %g s; its connection was closed.", self._deadlines.write)
            self.disconnect()
        elif self.transport.is_closing():
            return
        elif self._head_began is not None:
            if now - self._head_began >= self._deadlines.head:
                self._time_out("The request's head did not arrive in time.")
        elif self.cycle is not None and self.cycle.more_body:
            if self.flow.read_paused:  # this process does not read
                self._body_moved = now
            elif now - self._body_moved >= self._deadlines.body:
                self._time_out("The request's body did not arrive in time.")

    def _is_unread(self, now: float) -> bool:
        """Whether the client has read nothing of a response since the deadline."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent or not self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return unsent > 0 and now - self._unsent_since >= self._deadlines.write

    def _time_out(self, sentence: str) -> None:
        if (
            self._head_began is not None and not self._pending
        ):  # it sent nothing, as browsers do that connect in advance
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, sentence)

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the signature is uvicorn's
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._head_began = self.loop.time()
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._connections.closed(self)
        if self._subscriber is not None:
            self._subscriber.end()
            self._subscriber = None
        self._drop_response()
        super().connection_lost(exc)
        # A request refers to its connection, by its scope. If the connection referred to it too, both would be garbage
        # in cycles, and the collector would stop the process for a while when a thousand clients have left.
        self.cycle = self._answered = self.scope = None  # type: ignore[assignment]  # nothing asks for them any more
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        if self._head_began is None and not self._is_busy and not self._is_discarding:
            self._head_began = self.loop.time()
        super().data_received(data)
        if self._pending > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(*_TOO_LARGE)

    def resume_writing(self) -> None:
        self._unsent = 0  # it has read
        super().resume_writing()
        if self._subscriber is not None:
            self._subscriber.deliver()

    # Called by uvicorn

    def shutdown(self) -> None:
        super().shutdown()
        self._is_shutting_down = True
        if self._subscriber is not None:
            self._subscriber.shut_down()

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            self._refusal = _TOO_LARGE
            raise ValueError(self._refusal[1])
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES or len(self.pipeline) >= PIPELINED_REQUESTS:
            self._refusal = _TOO_LARGE if size > HEAD_BYTES else _TOO_MANY
            raise ValueError(self._refusal[1])
        is_first = not self._is_busy
        self.app = RequestId(self._reject) if is_first and self._connections.is_full else self._application
        super().on_headers_complete()
        self.headers = []  # what follows the body does not become a part of the request, whose list the old one is
        self._pending = self._discarded = 0
        self._head_began, self._body_moved = None, self.loop.time()
        if is_first:
            self._connections.began_request(self)
        if not self.cycle.keep_alive:
            self.cycle.transport = _ClosedAfterBody(self)  # type: ignore[assignment]  # what a cycle uses of it

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        self._body_moved = self.loop.time()
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARDED_BYTES:
                self.disconnect()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending = 0
        super().on_message_complete()
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._head_began = self.loop.time()
            if not self.cycle.keep_alive:
                self.transport.close()

    def on_response_complete(self) -> None:
        self._subscriber = None
        super().on_response_complete()
        if self._is_busy:  # with the next one, which waited
            self._connections.began_request(self)
        else:
            self._head_began = self.loop.time() if self._pending and not self._is_discarding else None
            self._connections.ended_request(self)

    # The rest

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, _with_all_that_arrived(cycle, app))

    def _drop_response(self) -> None:
        """Let the request that is being answered write nothing more. uvicorn tells only the request that arrived last,
        which may wait behind it, and writing to a closed transport is an error."""
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_discarding(self) -> bool:
        """Whether the body of a request still arrives that was answered already."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def send_400_response(self, msg: str) -> None:
        """Overrides uvicorn's, which would also write it into the middle of another response."""
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answer what cannot become a request, or the request whose body arrives, and close the connection."""
        if self._is_discarding or (self._is_busy and (self.pipeline or not self._can_answer)):
            self.disconnect()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # its own response, if there is none yet, comes too late
            self.cycle.message_event.set()
        body = f"{status.phrase}: {sentence}\n".encode()
        headers = [
            *self.server_state.default_headers,
            *((name.encode(), value.encode()) for name, value in HEADERS.items()),
            (request_id.HEADER, self._request_id().encode()),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()

    def _request_id(self) -> str:
        """Of the request whose body arrives, or of what did not become one."""
        if self._is_busy:
            return self.cycle.scope["state"].get("request_id") or request_id.of(self.cycle.scope["headers"])
        return request_id.of(self.headers if isinstance(self.headers, list) else ())

    @property
    def _can_answer(self) -> bool:
        """Whether the current request is the one whose body arrives, and has no response yet."""
        return self.cycle.more_body and not self.cycle.response_started

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An application for requests that are too many. The health check is answered all the same."""
        if scope["path"] == "/healthz":
            await self._application(scope, receive, send)
            return
        headers = {**headers_of(scope), "Retry-After": str(RETRY_AFTER)}
        found = problem(HTTPStatus.SERVICE_UNAVAILABLE, "Server busy", _BUSY)
        response: Response = PlainTextResponse(f"{found['title']}: {_BUSY}\n", found["status"], headers)
        if wants_json(Request(scope)):
            response = JSONResponse(found, found["status"], headers, MEDIA_TYPE)
        await response(scope, receive, send)

    def _option(self, level: int, name: int, value: Any) -> None:
        connected = self.transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(level, name, value)


def _with_all_that_arrived(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """An application that receives the part of a body that arrived before its client left. uvicorn would forget it."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_rest() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and cycle.body and not cycle.response_complete:
                body, cycle.body = bytes(cycle.body), bytearray()
                return {"type": "http.request", "body": body, "more_body": cycle.more_body}
            return message

        await app(scope, receive_rest, send)  # type: ignore[arg-type]  # uvicorn has types of its own for the same

    return reading  # type: ignore[return-value]  # as above


_TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The address and the headers of the request are larger than {HEAD_BYTES:,} bytes, or more than {HEADERS_MAX}.",
)
_TOO_MANY = (HTTPStatus.BAD_REQUEST, f"More than {PIPELINED_REQUESTS} requests wait for a response on this connection.")
_BUSY = "The server has too many requests at the moment. Please try again shortly."


class _ClosedAfterBody:
    """The transport of a request after whose response the connection closes: not before its body has arrived, or the
    kernel would reset the connection, and the client could lose the response."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        cycle = self._connection.cycle
        if cycle is None or not (cycle.response_complete and cycle.more_body):
            self._connection.transport.close()


def protocol(connections: Connections | None = None) -> type[asyncio.Protocol]:
    """The value of uvicorn's `http`: makes all connections of one server."""
    return functools.partial(Connection, connections or Connections())  # type: ignore[return-value]  # it is only called
