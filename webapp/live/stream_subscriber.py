"""A client of a stream, and how its messages reach its connection."""

import asyncio
import time
from typing import Any, Protocol

from sqlalchemy.exc import OperationalError

from jobs.people.policy import Policy
from webapp.errors import ServerBusyError
from webapp.live.delivery.batch import Batch, NotReadyError
from webapp.live.delivery.feed import Subscriber
from webapp.live.streams.stream import Stream

#: Seconds that a client has to read its last message when the process ends.
SHUTDOWN_GRACE = 1.0
#: Seconds until a stream reads from the database again that did not respond.
RETRY_DELAY = 0.5

#: Sent when there is nothing to send yet, so that clients and proxies see at once that the stream is open.
NOTHING_YET = b": nothing yet\n\n"


class Connection(Protocol):
    """A client's connection, as this module needs it."""

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what it is sent. When it does so again, the connection calls `deliver`."""

    def write(self, data: bytes) -> None:
        """Send a part of the body. A connection that was lost drops it."""

    def disconnect(self) -> None: ...


class StreamSubscriber(Subscriber):
    """Writes the messages of a stream to the client's connection, while its task waits for the end of the stream.

    No task wakes up for a batch. With one task for each client, which awaited each write, a server of a thousand
    clients took twice the time.
    """

    def __init__(self, stream: Stream, connection: Connection, policy: Policy) -> None:
        """policy: of whoever opened the stream. It remains the same: when it changes, the stream ends."""
        super().__init__()
        self.policy = policy
        self._stream = stream
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        #: Between `begin` and `run`.
        self._snapshot = b""
        #: Whether batches are delivered now: the snapshot was sent, and no batch waits for the database.
        self._is_live = False
        #: The batch that waits for the database.
        self._delayed: Batch | None = None
        #: Whether the stream ends because the process does.
        self.is_shutting_down = False

    async def begin(self) -> None:
        """Read the snapshot. Raises what the stream raises."""
        self._snapshot = await self._stream.begin() or NOTHING_YET

    async def run(self) -> None:
        """Send the snapshot, then deliver until the stream is over. Raises what the stream raises."""
        self._connection.write(self._snapshot)
        self._snapshot = b""
        if self._stream.is_over:
            return
        self._resume()
        await self._over

    def end(self) -> None:
        """End the stream; the client may reconnect."""
        if not self._over.done():
            self._over.set_result(None)

    def shut_down(self) -> None:
        """End the stream because the process ends."""
        self.is_shutting_down = True
        self.end()
        self._loop.call_later(SHUTDOWN_GRACE, self.disconnect)

    def disconnect(self) -> None:
        self._connection.disconnect()

    def deliver(self) -> None:
        while self._is_live and self.has_news and not self._over.done():
            if not self._connection.is_writable:
                self.blocked_since = self.blocked_since or time.monotonic()
                return
            self.blocked_since = None
            if self.is_too_late:
                self.end()
            else:
                self._send(self._delayed or self.batch().seen_by(self.policy.view))

    def _send(self, batch: Batch) -> None:
        broadcast = self.broadcast
        try:
            told = self._stream.tell(batch)
            data = told or broadcast
        except NotReadyError as error:
            self._is_live, self._delayed = False, batch
            error.task.add_done_callback(self._made)
            return
        except Exception as error:
            self._is_live, self._delayed = False, batch
            self._fail(error)
            return
        self._delayed = None
        self.acknowledge(batch)
        if data:
            self._connection.write(data)
        if told:
            batch.was_sent()
        if self._stream.is_over:
            self.end()

    def _made(self, task: "asyncio.Task[Any]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._resume()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, (OperationalError, ServerBusyError)):  # the hub logs it; the batch remains to be sent
            self._loop.call_later(RETRY_DELAY, self._resume)
        elif not self._over.done():
            self._over.set_exception(error)

    def _resume(self) -> None:
        self._is_live = True
        self.deliver()
