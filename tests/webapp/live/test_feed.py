"""A feed on its own: who is told what, and what is made once for all."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from jobs.events import Event
from webapp.live import feed as feeds
from webapp.live.feed import Batch, Feed, Subscriber

T = TypeVar("T")

#: Seconds that a test waits for what has to come.
PATIENCE = 30.0
#: Seconds between two revisions.
BATCH_INTERVAL = 0.01

EVENT = Event(
    event="bulk_upload_progress", file_id=1, seq=1, attempt=1, filename="june.csv", dataset="june",
    status="processing", progress=0, rows_total=10, rows_processed=0, rows_success=0, rows_failed=0, error=None,
    timestamp="2026-01-31T09:00:00.000000Z",
)  # fmt: skip
FINAL = replace(EVENT, event="bulk_upload_error", status="failed", seq=7)


def at(second: int, **fields: Any) -> Event:
    return replace(EVENT, timestamp=f"2026-01-31T09:00:{second:02}.000000Z", **fields)


def played(scene: Callable[[Feed, Subscriber], Coroutine[Any, Any, T]], batch_interval: float = BATCH_INTERVAL) -> T:
    """What a scene with a feed and one subscriber comes to."""

    async def play() -> T:
        feed, subscriber = Feed(batch_interval), Subscriber()
        with feed.subscribe(subscriber):
            async with asyncio.timeout(PATIENCE):
                found = await scene(feed, subscriber)
        feed.close()
        return found

    return asyncio.run(play())


async def take(subscriber: Subscriber) -> Batch:
    """What is told next."""
    assert await subscriber.wait()
    batch = subscriber.batch()
    subscriber.acknowledge(batch)
    return batch


def seqs(batch: Batch) -> list[tuple[int, int]]:
    return [(event.file_id, event.seq) for event in batch.events]


def test_an_edition_tells_the_newest_state_of_each_upload() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[int, int]]:
        for file_id, seq in [(2, 1), (1, 3), (1, 2), (2, 5), (1, 3), (2, 4)]:
            feed.put(replace(EVENT, file_id=file_id, seq=seq))
        return sorted(seqs(await take(subscriber)))

    assert played(scene) == [(1, 3), (2, 5)]


def test_states_are_told_in_the_order_of_their_times() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[int]:
        for file_id, second in [(1, 5), (2, 3), (3, 9), (4, 1)]:
            feed.put(at(second, file_id=file_id))
        return [event.file_id for event in (await take(subscriber)).events]

    assert played(scene) == [4, 2, 1, 3]


def test_what_is_old_is_never_told_after_what_is_new() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[list[tuple[int, int]]]:
        found: list[list[tuple[int, int]]] = []
        for seqs_ in ([5], [4, 6], [5, 6, 1], [7]):
            for seq in seqs_:
                feed.put(replace(EVENT, seq=seq))
            feed.put(replace(EVENT, file_id=2, seq=len(found) + 1))
            found.append(sorted(seqs(await take(subscriber))))
        return found

    assert played(scene) == [[(1, 5), (2, 1)], [(1, 6), (2, 2)], [(2, 3)], [(1, 7), (2, 4)]]


def test_who_is_late_is_told_everything_since_each_upload_once() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[int, int]]:
        late = Subscriber()
        with feed.subscribe(late):
            for seq in range(1, 5):
                feed.put(replace(EVENT, seq=seq))
                feed.put(replace(EVENT, file_id=seq + 10))
                await take(subscriber)
            return sorted(seqs(await take(late)))

    assert played(scene) == [(1, 4), (11, 1), (12, 1), (13, 1), (14, 1)]


def test_who_is_late_does_not_miss_what_changes_again_while_it_reads() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[int, int]]:
        feed.put(EVENT)
        assert await subscriber.wait()
        feed.put(replace(EVENT, seq=2))  # for the next revision, before this one was read
        found = seqs(await take(subscriber))
        return found + seqs(await take(subscriber))

    assert played(scene)[-1] == (1, 2)


def test_a_final_state_is_told_although_the_upload_was_tried_again_since() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[int, int]]:
        for event in (FINAL, replace(EVENT, seq=8), replace(FINAL, seq=9), replace(EVENT, seq=10)):
            feed.put(event)
        return seqs(await take(subscriber))

    assert played(scene) == [(1, 7), (1, 9), (1, 10)]


def test_a_final_state_is_told_once() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[list[tuple[int, int]]]:
        found = []
        for event in (FINAL, replace(EVENT, seq=8), replace(EVENT, seq=9)):
            feed.put(event)
            found.append(seqs(await take(subscriber)))
        return found

    assert played(scene) == [[(1, 7)], [(1, 8)], [(1, 9)]]


def test_a_final_state_is_not_lost_in_a_flood() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> Batch:
        feed.put(FINAL)
        for seq in range(7):
            feed.put(replace(EVENT, seq=seq))
        for file_id in range(2, feeds.KEPT_STATES):
            feed.put(replace(EVENT, file_id=file_id))
        return await take(subscriber)

    assert FINAL in played(scene).events


def test_who_misses_more_than_is_kept_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT_STATES", 10)

    async def scene(feed: Feed, subscriber: Subscriber) -> list[bool]:
        prompt = Subscriber()
        with feed.subscribe(prompt):
            for file_id in range(1, 12):
                feed.put(replace(EVENT, file_id=file_id))
                if file_id < 11:
                    await take(prompt)
            return [await prompt.wait(), await subscriber.wait()]

    assert played(scene) == [True, False]


def test_an_upload_to_be_shown_again_is_also_when_an_event_without_news_came() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[list[tuple[int, int]], set[int]]]:
        found = []
        for _ in range(2):
            feed.invalidate(EVENT.file_id)
            feed.put(EVENT)
            batch = await take(subscriber)
            found.append((seqs(batch), batch.invalidated))
        return found

    assert played(scene) == [([(1, 1)], {1}), ([], {1})]


def test_what_came_before_is_no_batches() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[tuple[int, int]]:
        feed.put(EVENT)
        await take(subscriber)
        newcomer = Subscriber()
        with feed.subscribe(newcomer):
            feed.put(replace(EVENT, file_id=2))
            return seqs(await take(newcomer))

    assert played(scene) == [(2, 1)]


def test_what_came_while_nobody_listened_is_no_news_and_not_told_again() -> None:
    async def play() -> list[tuple[int, int]]:
        feed, subscriber = Feed(BATCH_INTERVAL), Subscriber()
        feed.put(replace(EVENT, seq=5))
        feed.invalidate(1)
        with feed.subscribe(subscriber):
            for event in (replace(EVENT, seq=4), replace(EVENT, file_id=2)):
                feed.put(event)
            batch = await take(subscriber)
            assert batch.invalidated == set()
            return seqs(batch)

    assert asyncio.run(asyncio.wait_for(play(), PATIENCE)) == [(2, 1)]


def test_all_who_were_told_as_much_are_told_the_same_bytes_made_once() -> None:
    made: list[int] = []

    def join(events: list[Event]) -> bytes:
        made.append(len(events))
        return b"".join(str(event.seq).encode() for event in events)

    async def scene(feed: Feed, subscriber: Subscriber) -> list[bytes]:
        subscribers = [Subscriber() for _ in range(100)]
        with ExitStack() as stack:
            for each in subscribers:
                stack.enter_context(feed.subscribe(each))
            feed.put(EVENT)
            feed.put(replace(EVENT, file_id=2, seq=2))
            return [(await take(each)).joined("bytes", join) for each in subscribers]

    found = played(scene)

    assert found == [b"12"] * 100
    assert len({id(each) for each in found}) == 1
    assert made == [2]


def test_what_takes_time_is_made_once_too_and_again_after_a_failure() -> None:
    made: list[str] = []

    async def make() -> str:
        made.append("made")
        await asyncio.sleep(0)
        if len(made) == 1:
            raise ZeroDivisionError
        return "bytes"

    async def scene(feed: Feed, subscriber: Subscriber) -> list[Any]:
        feed.put(EVENT)
        batch = await take(subscriber)
        first = await asyncio.gather(*(batch.shared("key", make) for _ in range(50)), return_exceptions=True)
        return [*{type(each) for each in first}, *[await batch.shared("key", make) for _ in range(3)]]

    assert played(scene) == [ZeroDivisionError, "bytes", "bytes", "bytes"]
    assert len(made) == 2


def test_editions_are_a_tick_apart_and_the_first_after_a_calm_comes_at_once() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[list[tuple[int, int]]]:
        feed.put(EVENT)
        first = await take(subscriber)
        for seq in (2, 3, 4):
            feed.put(replace(EVENT, seq=seq))
            await asyncio.sleep(0)
        return [seqs(first), seqs(await take(subscriber))]

    assert played(scene, batch_interval=0.3) == [[(1, 1)], [(1, 4)]]


def test_something_said_to_everybody_wakes_who_has_nothing_else_to_hear() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[bytes]:
        feed.broadcast(b"ping")
        heard = []
        for _ in range(2):
            await subscriber.wait()
            heard.append(subscriber.broadcast)
            subscriber.acknowledge(subscriber.batch())
            feed.put(EVENT)
        return heard

    assert played(scene) == [b"ping", b""]


def test_nobody_waits_at_a_mailbox_that_is_closed() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[bool]:
        waiting = asyncio.create_task(subscriber.wait())
        await asyncio.sleep(0)
        subscriber.close()
        return [await waiting, await subscriber.wait(), subscriber.closed]

    assert played(scene) == [False, False, True]


def test_a_mailbox_that_ends_is_not_closed_for_good() -> None:
    async def scene(feed: Feed, subscriber: Subscriber) -> list[bool]:
        subscriber.end()
        return [await subscriber.wait(), subscriber.closed]

    assert played(scene) == [False, False]
