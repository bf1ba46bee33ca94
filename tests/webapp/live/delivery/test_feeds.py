"""Events reach the feeds of their channels."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from jobs.events import GENERAL_CHANNEL, Event, channel_of
from tests.support.hubs import EVENT, PATIENCE, Waiting
from webapp.live.delivery.feeds import Feeds

GENERAL, ONE, OTHER = None, 1, 2


def received(*deliveries: tuple[str, Event]) -> list[list[int]]:
    """Seqs that the subscribers of the general channel and of two uploads receive, from messages of Redis."""

    async def scene() -> list[list[int]]:
        feeds = Feeds(0.001)
        subscribers = [Waiting() for _ in range(3)]
        with ExitStack() as stack:
            for subscriber, upload_id in zip(subscribers, (GENERAL, ONE, OTHER), strict=True):
                stack.enter_context(feeds.subscribe(subscriber, upload_id))
            for channel, event in deliveries:
                feeds.receive(channel, event.json().encode())
            feeds.put(replace(EVENT, file_id=ONE, seq=99))  # from the database, for both channels
            feeds.put(replace(EVENT, file_id=OTHER, seq=99))
            async with asyncio.timeout(PATIENCE):
                for subscriber in subscribers:
                    assert await subscriber.wait()
            return [[event.seq for event in subscriber.batch().events] for subscriber in subscribers]

    return asyncio.run(scene())


FINAL = replace(EVENT, event="bulk_upload_error", seq=5)  # final states are kept beside newer ones


def test_an_event_reaches_the_subscribers_of_its_channel_only() -> None:
    assert received((GENERAL_CHANNEL, FINAL)) == [[5, 99, 99], [99], [99]]
    assert received((channel_of(ONE), FINAL)) == [[99, 99], [5, 99], [99]]
    assert received((channel_of(OTHER), replace(FINAL, file_id=OTHER))) == [[99, 99], [99], [5, 99]]


def test_an_event_of_an_upload_without_subscribers_is_dropped() -> None:
    assert received((channel_of(3), replace(FINAL, file_id=3))) == [[99, 99], [99], [99]]


@pytest.mark.parametrize("name", ["bulk_upload:", "bulk_upload:x", "bulk_upload:1:2", f"bulk_upload:{'1' * 19}", "x"])
def test_a_channel_of_no_upload_is_ignored(name: str, caplog: pytest.LogCaptureFixture) -> None:
    feeds = Feeds(0.001)
    feeds.receive(name, b"garbage")

    assert feeds.uploads_followed == 0
    assert caplog.records == []


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\x00", b"not json", b"null", b"[]", b"17", b"{}", b'{"event": "bulk_upload_progress"}', b"{" * 9999],
)
def test_a_message_that_is_not_an_event_is_logged_and_ignored(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    Feeds(0.001).receive(GENERAL_CHANNEL, garbage)

    assert "Ignored a message on bulk_upload that is not an event." in caplog.text


def test_the_feed_of_an_upload_exists_while_it_has_subscribers() -> None:
    async def scene() -> list[int]:
        feeds, found = Feeds(0.001), []
        with feeds.subscribe(Waiting(), ONE):
            with feeds.subscribe(Waiting(), ONE), feeds.subscribe(Waiting(), OTHER):
                found.append(feeds.uploads_followed)
            found.append(feeds.uploads_followed)
        return [*found, feeds.uploads_followed]

    assert asyncio.run(scene()) == [2, 1, 0]


def test_an_invalidated_upload_is_rendered_again_on_both_of_its_channels() -> None:
    async def scene() -> list[set[int]]:
        feeds, subscribers = Feeds(0.001), [Waiting(), Waiting()]
        with feeds.subscribe(subscribers[0], GENERAL), feeds.subscribe(subscribers[1], ONE):
            feeds.invalidate(ONE)
            async with asyncio.timeout(PATIENCE):
                for subscriber in subscribers:
                    assert await subscriber.wait()
            return [subscriber.batch().invalidated for subscriber in subscribers]

    assert asyncio.run(scene()) == [{ONE}, {ONE}]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (EVENT, True),  # no row yet: it was just created, claimed, or started again
        (replace(EVENT, rows_processed=1), False),
        (replace(EVENT, rows_processed=1, event="bulk_upload_complete"), True),
    ],
)
def test_an_event_that_may_move_uploads_in_the_queue_is_noticed(event: Event, expected: bool) -> None:
    feeds = Feeds(0.001)
    feeds.put(event)

    assert feeds.queue_may_have_changed.is_set() is expected
