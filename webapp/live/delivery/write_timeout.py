"""Closes the connections of clients that read nothing for too long.

One loop checks all clients. A timer for each write, as sse-starlette has it, took a quarter of the streams' CPU time.
"""

import asyncio
import logging
import time

from webapp.live.delivery.feeds import Feeds

log = logging.getLogger(__name__)

#: Seconds between two checks, at most: a client may stay this much longer than the timeout.
CHECK_INTERVAL = 1.0


async def enforce(feeds: Feeds, write_timeout: float) -> None:
    """Wait for the next check, then close each connection whose current write has lasted longer than `write_timeout`
    seconds."""
    await asyncio.sleep(min(write_timeout / 4, CHECK_INTERVAL))
    oldest = time.monotonic() - write_timeout
    for feed in feeds.all():
        for subscriber in feed.subscribers:
            if subscriber.write_began_at and subscriber.write_began_at < oldest:
                log.info("A client read nothing for %g s; its connection was closed.", write_timeout)
                subscriber.disconnect()
