"""Closes the connections of clients that read nothing for too long.

One loop checks all clients: a timer for each write took a quarter of the streams' CPU time.
"""

import asyncio
import logging
import time

from webapp.live.delivery.feeds import Feeds

log = logging.getLogger(__name__)

#: Seconds between two checks, at most: a client may stay this much longer than the timeout.
CHECK_INTERVAL = 1.0


async def enforce(feeds: Feeds, write_timeout: float) -> None:
    """Wait for the next check, then close each connection that could not be written to for `write_timeout` seconds."""
    await asyncio.sleep(min(write_timeout / 4, CHECK_INTERVAL))
    oldest = time.monotonic() - write_timeout
    for feed in feeds.all():
        for subscriber in feed.subscribers:
            if subscriber.blocked_since is not None and subscriber.blocked_since < oldest:
                log.info("A client read nothing for %g s; its connection was closed.", write_timeout)
                subscriber.disconnect()
                subscriber.blocked_since = None  # until its task ends, it is not cut again
                feeds.deliveries.cut += 1
