"""The Redis subscription, while Redis is killed, frozen and restarted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis

from jobs.events import GENERAL_CHANNEL, channel_of
from jobs.settings import Settings
from tests.support.hubs import blocking, is_subscribed
from tests.support.services import RedisServer
from tests.support.waiting import until
from webapp.live.delivery import background
from webapp.live.delivery.subscription import RedisSubscription


class Recorder:
    """A subscription with everything that it reported."""

    def __init__(self, redis_url: str) -> None:
        self.url = redis_url
        self.messages: list[tuple[str, bytes]] = []
        self.gaps = 0
        self.subscription = RedisSubscription(
            redis_url,
            on_message=lambda channel, data: self.messages.append((channel, data)),
            on_subscribed=self._on_subscribed,
        )

    async def _on_subscribed(self) -> None:
        self.gaps += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with background.running({"Redis subscription": self.subscription.run}):
            yield

    async def has(self, *, gaps: int) -> None:
        """Wait until it is subscribed again after so many gaps, the start included."""
        await blocking(until, lambda: self.subscription.is_active and self.gaps >= gaps, "a subscription")

    async def is_lost(self) -> None:
        await blocking(until, lambda: not self.subscription.is_active, "the connection to be lost")

    async def receives(self, channel: str, data: bytes) -> None:
        def publish() -> None:
            with Redis.from_url(self.url) as client:
                client.publish(channel, data)

        await blocking(publish)
        await blocking(until, lambda: (channel, data) in self.messages, "the message")


def test_messages_of_both_kinds_of_channels_are_passed_on(settings: Settings) -> None:
    recorder = Recorder(settings.redis)

    async def scene() -> None:
        async with recorder.running():
            await recorder.has(gaps=1)
            for channel in (GENERAL_CHANNEL, channel_of(7), channel_of(8)):
                await recorder.receives(channel, b"data")

    asyncio.run(scene())

    assert len(recorder.messages) == 3
    assert recorder.gaps == 1


@pytest.mark.usefixtures("_short_intervals")
def test_a_quiet_connection_is_kept(settings: Settings) -> None:
    """Redis replies to the pings, so that it is never silent."""
    recorder = Recorder(settings.redis)

    def pings() -> int:
        with Redis.from_url(settings.redis) as client:
            found: Any = client.info("commandstats")
            return int(found.get("cmdstat_ping", {"calls": 0})["calls"])

    async def scene() -> None:
        async with recorder.running():
            await recorder.has(gaps=1)
            before = await blocking(pings)
            await blocking(until, lambda: pings() >= before + 10, "more pings than fit into two silence timeouts")
            await recorder.receives(GENERAL_CHANNEL, b"data")

    asyncio.run(scene())

    assert recorder.gaps == 1


@pytest.mark.usefixtures("_short_intervals")
def test_a_redis_that_is_killed_is_subscribed_again_when_it_is_back(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(redis.url)

    async def scene() -> None:
        async with recorder.running():
            for gaps in (1, 2, 3):
                await recorder.has(gaps=gaps)
                await recorder.receives(GENERAL_CHANNEL, f"data {gaps}".encode())
                await blocking(redis.kill)
                await recorder.is_lost()
                await blocking(redis.start)

    asyncio.run(scene())

    lost = [record.getMessage() for record in caplog.records if "Lost the connection to Redis" in record.getMessage()]
    assert len(lost) >= 2
    assert lost[0].endswith("; reading changes from the database until it responds again.")


@pytest.mark.usefixtures("_short_intervals")
def test_a_redis_that_hangs_is_replaced(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(redis.url)

    async def scene() -> None:
        async with recorder.running():
            await recorder.has(gaps=1)
            redis.freeze()
            await recorder.is_lost()
            redis.thaw()
            await recorder.has(gaps=2)
            await recorder.receives(GENERAL_CHANNEL, b"data")

    asyncio.run(scene())

    assert "Lost the connection to Redis" in caplog.text


@pytest.mark.usefixtures("_short_intervals")
def test_a_connection_that_redis_closes_is_replaced(settings: Settings) -> None:
    recorder = Recorder(settings.redis)

    def close() -> None:
        with Redis.from_url(settings.redis) as client:
            client.client_kill_filter(_type="pubsub")

    async def scene() -> None:
        async with recorder.running():
            for gaps in (1, 2, 3):
                await recorder.has(gaps=gaps)
                await recorder.receives(GENERAL_CHANNEL, f"data {gaps}".encode())
                await blocking(close)

    asyncio.run(scene())

    assert [each < other for each, other in pairwise(recorder.messages)] == [True, True]


@pytest.mark.usefixtures("_short_intervals")
def test_a_redis_that_does_not_respond_at_the_start_is_not_reported_as_lost(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    recorder = Recorder(redis.url)

    async def scene() -> None:
        async with recorder.running():
            await asyncio.sleep(0.3)
            await blocking(redis.start)
            await recorder.has(gaps=1)

    asyncio.run(scene())

    assert "Lost the connection" not in caplog.text


def test_a_subscription_that_ends_leaves_no_connection(settings: Settings) -> None:
    async def scene() -> None:
        for _ in range(3):
            async with Recorder(settings.redis).running():
                await is_subscribed(settings.redis)
            await is_subscribed(settings.redis, 0)

    asyncio.run(scene())


def test_a_failing_resync_after_a_gap_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RETRY_DELAY", 0.01)
    attempts: list[int] = []

    async def resync() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ZeroDivisionError

    subscription = RedisSubscription(settings.redis, on_message=lambda *_: None, on_subscribed=resync)

    async def scene() -> None:
        async with background.running({"Redis subscription": subscription.run}):
            await blocking(until, lambda: len(attempts) > 1, "a second resync")

    asyncio.run(scene())

    assert "The background task “Redis subscription” failed" in caplog.text
