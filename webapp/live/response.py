"""The response that runs a stream for one client."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

from sqlalchemy.exc import OperationalError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

from webapp.errors import ServerBusyError
from webapp.live.delivery.feed import Subscriber
from webapp.live.delivery.hub import Hub
from webapp.live.streams.stream import Stream

#: Seconds that streams have for their last message when the process ends.
SHUTDOWN_GRACE = 1.0
#: Milliseconds after which clients reconnect when the process ends; another process, or a new one, takes them then.
SHUTDOWN_RETRY_MS = 500
#: Seconds until a stream reads from the database again that did not respond.
RETRY_DELAY = 0.5
#: By this share streams end before or after their max age, so that not all clients reconnect at once.
MAX_AGE_JITTER = 0.2

#: Sent when there is nothing to send yet, so that clients and proxies see at once that the stream is open.
NOTHING_YET = b": nothing yet\n\n"


class StreamResponse(EventSourceResponse):
    """Sends a stream's messages without a timer for each write: the hub closes the connections of stalled clients."""

    def __init__(self, stream: Stream, hub: Hub, *, max_age: float) -> None:
        """max_age: seconds."""
        self._subscriber = Subscriber()
        super().__init__(
            _messages(stream, hub, self._subscriber, max_age),
            sep="\n",
            headers={"Cache-Control": "no-store, no-transform"},
            ping=0,  # the hub sends heartbeats, which all streams share
            shutdown_event=_Shutdown(self._subscriber),  # type: ignore[arg-type]  # of an event only `set` is used
            shutdown_grace_period=SHUTDOWN_GRACE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["state"].get("connection")
        if connection is not None:
            connection.become_stream()
            self._subscriber.disconnect = connection.disconnect
        await super().__call__(scope, receive, send)

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """Overrides sse-starlette's, whose cancel scope around each write took a quarter of the streams' CPU time."""
        self._subscriber.write_began_at = time.monotonic()
        await send(message)
        self._subscriber.write_began_at = None


class _Shutdown:
    """The event that sse-starlette sets when the process ends."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    def set(self) -> None:
        self._subscriber.shut_down()


async def _messages(stream: Stream, hub: Hub, subscriber: Subscriber, max_age: float) -> AsyncIterator[bytes]:
    """Subscribe first, then read the snapshot: no change between the two is lost."""
    age = max_age * random.uniform(1 - MAX_AGE_JITTER, 1 + MAX_AGE_JITTER)
    age_timer = asyncio.get_running_loop().call_later(age, subscriber.end)
    try:
        with hub.subscribe(subscriber, stream.upload_id):
            data = await stream.begin()
            yield data or NOTHING_YET
            del data
            while not stream.is_over and await subscriber.wait():
                batch, broadcast = subscriber.batch(), subscriber.broadcast
                try:
                    data = await stream.tell(batch)
                except (OperationalError, ServerBusyError):  # the hub logs it; this batch remains to be sent
                    await asyncio.sleep(RETRY_DELAY)
                    continue
                subscriber.acknowledge(batch)
                if data or broadcast:
                    yield data or broadcast
                del batch, broadcast, data  # else each waiting client would keep them in memory
    finally:
        age_timer.cancel()
    if subscriber.is_shutting_down:
        yield ServerSentEvent("the server restarts", event="bye", retry=SHUTDOWN_RETRY_MS, sep="\n").encode()
