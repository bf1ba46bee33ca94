"""A message on every stream at a fixed interval. Without it, a quiet stream and a lost connection look the same."""

import asyncio
from datetime import UTC, datetime

from sse_starlette import ServerSentEvent

from jobs.events import timestamp
from webapp.live.delivery.feeds import Feeds

#: Seconds between two heartbeats. Pages know this number and reconnect when a heartbeat is overdue; proxies commonly
#: close a connection that was silent for 60 s.
HEARTBEAT_INTERVAL = 15.0


async def send(feeds: Feeds) -> None:
    """Wait for the interval, then send one heartbeat to all subscribers. Its data is the server's time."""
    await asyncio.sleep(HEARTBEAT_INTERVAL)
    message = ServerSentEvent(timestamp(datetime.now(UTC)), event="ping", sep="\n").encode()
    for feed in feeds.all():
        feed.broadcast(message)
