"""Connections of clients that read nothing."""

import asyncio
import time

import pytest

from tests.support.hubs import Waiting
from webapp.live.delivery import write_timeout
from webapp.live.delivery.feeds import Feeds


@pytest.mark.parametrize(
    ("blocked_for", "expected"), [(None, False), (0.0, False), (29.0, False), (31.0, True), (3600.0, True)]
)
@pytest.mark.parametrize("upload_id", [None, 7])
def test_a_connection_is_closed_when_nothing_could_be_sent_for_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    upload_id: int | None,
    blocked_for: float | None,
    expected: bool,
) -> None:
    monkeypatch.setattr(write_timeout, "CHECK_INTERVAL", 0.001)
    caplog.set_level("INFO", write_timeout.__name__)
    subscriber = Waiting()
    subscriber.blocked_since = None if blocked_for is None else time.monotonic() - blocked_for

    async def scene() -> None:
        feeds = Feeds(0.001)
        with feeds.subscribe(subscriber, upload_id), feeds.subscribe(Waiting(), upload_id):
            await write_timeout.enforce(feeds, 30.0)

    asyncio.run(scene())

    assert subscriber.is_disconnected is expected
    assert ("A client read nothing for 30 s; its connection was closed." in caplog.text) is expected
