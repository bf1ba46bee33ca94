"""The response that runs a stream for one client."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Protocol

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

from jobs.people.policy import Policy
from webapp.live import stream_subscriber
from webapp.live.delivery.hub import Hub
from webapp.live.stream_subscriber import StreamSubscriber
from webapp.live.streams.stream import Stream

#: Milliseconds after which clients reconnect when the process ends; another process, or a new one, takes them then.
SHUTDOWN_RETRY_MS = 500
#: By this share streams end before or after their max age, so that not all clients reconnect at once.
MAX_AGE_JITTER = 0.2
#: A response has one task, so nothing else writes meanwhile.
_NO_LOCK = nullcontext()


class Connection(stream_subscriber.Connection, Protocol):
    """The client's connection, as this module needs it."""

    @property
    def is_lost(self) -> bool:
        """Whether the client is gone, so that nothing needs to be sent."""

    def become_stream(self, subscriber: StreamSubscriber) -> None:
        """The response is an event stream, which receives nothing: the connection tells the subscriber when it can be
        written to again, when it is lost, and when the process ends."""


class StreamResponse(EventSourceResponse):
    """sse-starlette's response in one task instead of four: the connection says when the client is gone, or the process
    ends, the hub sends the heartbeats and closes the connections of stalled clients."""

    def __init__(self, stream: Stream, hub: Hub, connection: Connection, policy: Policy, *, max_age: float) -> None:
        """policy: of the client. max_age: seconds."""
        self._hub = hub
        self._channel = stream.upload_id
        self._connection = connection
        self._subscriber = StreamSubscriber(stream, connection, policy)
        self._age = max_age * random.uniform(1 - MAX_AGE_JITTER, 1 + MAX_AGE_JITTER)
        super().__init__(
            _last_message(self._subscriber),
            sep="\n",
            headers={"Cache-Control": "no-store, no-transform"},
            ping=0,
        )
        self._send_lock = _NO_LOCK  # type: ignore[assignment]  # sse-starlette has one for each response: 760 bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what reading the snapshot raises, before the response begins, so that it becomes an HTTP status."""
        if scope["method"] == "HEAD":
            await self._subscriber.begin()
            await super().__call__(scope, receive, send)
            return
        if self._connection.is_lost:
            return
        self._connection.become_stream(self._subscriber)
        age_timer = asyncio.get_running_loop().call_later(self._age, self._subscriber.end)
        try:
            # Subscribe first, then read the snapshot: no change between the two is lost.
            with self._hub.subscribe(self._subscriber, self._channel):
                await self._subscriber.begin()
                if not self._connection.is_lost:
                    await self._stream_response(self._watched(send))
        finally:
            age_timer.cancel()

    def _watched(self, send: Send) -> Send:
        """The same, with a note of when a write began: the hub watches that none takes too long."""

        async def watched(message: Message) -> None:
            self._subscriber.blocked_since = time.monotonic()
            await send(message)
            self._subscriber.blocked_since = None
            self.raw_headers = []  # they are sent; a stream of hours need not keep them: 500 bytes

        return watched

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """Overrides sse-starlette's, which has a timer for each write."""
        await send(message)


async def _last_message(subscriber: StreamSubscriber) -> AsyncIterator[bytes]:
    """What the response sends itself. All messages before, the subscriber writes to the connection."""
    await subscriber.run()
    if subscriber.is_shutting_down:
        yield ServerSentEvent("the server restarts", event="bye", retry=SHUTDOWN_RETRY_MS, sep="\n").encode()
