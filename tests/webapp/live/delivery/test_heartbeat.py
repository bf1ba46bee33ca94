"""Heartbeats on all streams."""

import asyncio
import re

import pytest

from tests.support.hubs import PATIENCE, Waiting
from webapp.live.delivery import heartbeat
from webapp.live.delivery.feeds import Feeds


def test_every_subscriber_receives_a_heartbeat_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.01)

    async def scene() -> list[bytes]:
        feeds, subscribers = Feeds(0.001), [Waiting() for _ in range(3)]
        with (
            feeds.subscribe(subscribers[0], None),
            feeds.subscribe(subscribers[1], 7),
            feeds.subscribe(subscribers[2], 8),
        ):
            async with asyncio.timeout(PATIENCE):
                await heartbeat.send(feeds)
                for subscriber in subscribers:
                    assert await subscriber.wait()
            return [subscriber.broadcast for subscriber in subscribers]

    found = asyncio.run(scene())

    assert re.fullmatch(rb"event: ping\ndata: 20[0-9T:.-]+Z\n\n", found[0])
    assert {id(each) for each in found} == {id(found[0])}  # rendered once
