"""The process's only Redis subscription: to the general channel, and by a pattern to the channels of all uploads."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from jobs.events import GENERAL_CHANNEL

log = logging.getLogger(__name__)

#: Seconds between two pings on the subscription: Redis replies to each, so that a healthy connection is never silent.
#: Connecting may take as long.
PING_INTERVAL = 2.0
#: Seconds without a message after which the connection is replaced; the replies to three pings are missing then.
SILENCE_TIMEOUT = 6.0
#: Seconds between the end of a connection and the next one, so that a restarting Redis is not flooded.
RECONNECT_DELAY = 0.5
#: Redis confirms the subscription to the channel and the one to the pattern. Any further confirmation means that
#: redis-py reconnected by itself, and that there was a gap.
_CONFIRMATIONS = 2


class RedisSubscription:
    """Passes each message on, and reports each time that messages may have been missed before."""

    def __init__(
        self,
        redis_url: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_subscribed: Callable[[], Awaitable[None]],
    ) -> None:
        """on_message: gets the channel and the data; must not raise. on_subscribed: after each gap, the first one
        included."""
        self._redis_url = redis_url
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        #: Whether Redis has confirmed the subscription, and the connection has not been lost since.
        self.is_active = False

    async def run(self) -> None:
        """Open a connection and use it until it is lost. Run this again to replace it."""
        client: Any = Redis.from_url(
            self._redis_url,
            socket_timeout=SILENCE_TIMEOUT,
            socket_connect_timeout=PING_INTERVAL,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(GENERAL_CHANNEL)
                await pubsub.psubscribe(f"{GENERAL_CHANNEL}:*")
                await self._receive(pubsub)
        except (RedisError, OSError, TimeoutError) as error:
            if self.is_active:
                log.warning(
                    "Lost the connection to Redis (%s); reading changes from the database until it responds again.",
                    error,
                )
        finally:
            self.is_active = False
            with suppress(RedisError, OSError):
                await client.aclose()
        await asyncio.sleep(RECONNECT_DELAY)

    async def _receive(self, pubsub: Any) -> None:
        """Raises TimeoutError when the connection has been silent for too long."""
        received_at = pinged_at = time.monotonic()
        confirmations = 0
        while time.monotonic() - received_at < SILENCE_TIMEOUT:
            if time.monotonic() - pinged_at >= PING_INTERVAL:
                await pubsub.ping()
                pinged_at = time.monotonic()
            message = await pubsub.get_message(timeout=PING_INTERVAL / 2)
            if message is None:
                continue
            received_at = time.monotonic()
            if message["type"] in ("subscribe", "psubscribe"):
                confirmations += 1
                if confirmations >= _CONFIRMATIONS:
                    self.is_active = True
                    await self._on_subscribed()
            elif message["type"] in ("message", "pmessage"):
                self._on_message(message["channel"].decode(), message["data"])
        raise TimeoutError(f"silent for {SILENCE_TIMEOUT:g} s")
