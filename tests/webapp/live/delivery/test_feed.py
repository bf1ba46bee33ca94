"""A feed and its subscribers: which events a subscriber receives, and when."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from tests.support.hubs import EVENT, PATIENCE, Waiting
from webapp.live.delivery import feed as feeds
from webapp.live.delivery.batch import Batch
from webapp.live.delivery.feed import Feed

T = TypeVar("T")

#: Seconds between two revisions.
BATCH_INTERVAL = 0.01

FINAL = replace(EVENT, event="bulk_upload_error", status="failed", seq=7)


def played(scene: Callable[[Feed, Waiting], Coroutine[Any, Any, T]], batch_interval: float = BATCH_INTERVAL) -> T:
    """What a scene with a feed and one subscriber comes to."""

    async def play() -> T:
        feed, subscriber = Feed(batch_interval), Waiting()
        with feed.subscribe(subscriber):
            async with asyncio.timeout(PATIENCE):
                found = await scene(feed, subscriber)
        feed.close()
        return found

    return asyncio.run(play())


async def take(subscriber: Waiting) -> Batch:
    """The next batch."""
    assert await subscriber.wait()
    batch = subscriber.batch()
    subscriber.acknowledge(batch)
    return batch


def seqs(batch: Batch) -> list[tuple[int, int]]:
    return [(event.file_id, event.seq) for event in batch.events]


def test_a_batch_has_the_newest_state_of_each_upload() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        for file_id, seq in [(2, 1), (1, 3), (1, 2), (2, 5), (1, 3), (2, 4)]:
            feed.put(replace(EVENT, file_id=file_id, seq=seq))
        return sorted(seqs(await take(subscriber)))

    assert played(scene) == [(1, 3), (2, 5)]


def test_an_older_state_never_follows_a_newer_one() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[list[tuple[int, int]]]:
        found: list[list[tuple[int, int]]] = []
        for seqs_ in ([5], [4, 6], [5, 6, 1], [7]):
            for seq in seqs_:
                feed.put(replace(EVENT, seq=seq))
            feed.put(replace(EVENT, file_id=2, seq=len(found) + 1))
            found.append(sorted(seqs(await take(subscriber))))
        return found

    assert played(scene) == [[(1, 5), (2, 1)], [(1, 6), (2, 2)], [(2, 3)], [(1, 7), (2, 4)]]


def test_a_late_subscriber_receives_everything_that_it_missed_each_upload_once() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        late = Waiting()
        with feed.subscribe(late):
            for seq in range(1, 5):
                feed.put(replace(EVENT, seq=seq))
                feed.put(replace(EVENT, file_id=seq + 10))
                await take(subscriber)
            return sorted(seqs(await take(late)))

    assert played(scene) == [(1, 4), (11, 1), (12, 1), (13, 1), (14, 1)]


def test_a_late_subscriber_does_not_miss_what_changes_again_while_it_reads() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        feed.put(EVENT)
        assert await subscriber.wait()
        feed.put(replace(EVENT, seq=2))  # for the next revision, before this one was read
        found = seqs(await take(subscriber))
        return found + seqs(await take(subscriber))

    assert played(scene)[-1] == (1, 2)


def test_a_final_state_is_delivered_although_the_upload_was_started_again() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        for event in (FINAL, replace(EVENT, seq=8), replace(FINAL, seq=9), replace(EVENT, seq=10)):
            feed.put(event)
        return seqs(await take(subscriber))

    assert played(scene) == [(1, 7), (1, 9), (1, 10)]


def test_a_final_state_is_delivered_once() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[list[tuple[int, int]]]:
        found = []
        for event in (FINAL, replace(EVENT, seq=8), replace(EVENT, seq=9)):
            feed.put(event)
            found.append(seqs(await take(subscriber)))
        return found

    assert played(scene) == [[(1, 7)], [(1, 8)], [(1, 9)]]


def test_a_final_state_is_not_lost_in_a_flood() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> Batch:
        feed.put(FINAL)
        for seq in range(7):
            feed.put(replace(EVENT, seq=seq))
        for file_id in range(2, feeds.MAX_STATES):
            feed.put(replace(EVENT, file_id=file_id))
        return await take(subscriber)

    assert FINAL in played(scene).events


def test_the_stream_of_a_subscriber_that_missed_more_than_is_kept_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_STATES", 10)

    async def scene(feed: Feed, subscriber: Waiting) -> list[bool]:
        prompt = Waiting()
        with feed.subscribe(prompt):
            for file_id in range(1, 12):
                feed.put(replace(EVENT, file_id=file_id))
                if file_id < 11:
                    await take(prompt)
            return [await prompt.wait(), await subscriber.wait()]

    assert played(scene) == [True, False]


def test_an_upload_is_invalidated_even_if_an_event_without_a_new_state_comes() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[list[tuple[int, int]], set[int]]]:
        found = []
        for _ in range(2):
            feed.invalidate(EVENT.file_id)
            feed.put(EVENT)
            batch = await take(subscriber)
            found.append((seqs(batch), batch.invalidated))
        return found

    assert played(scene) == [([(1, 1)], {1}), ([], {1})]


def test_what_came_before_is_no_batches() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        feed.put(EVENT)
        await take(subscriber)
        newcomer = Waiting()
        with feed.subscribe(newcomer):
            feed.put(replace(EVENT, file_id=2))
            return seqs(await take(newcomer))

    assert played(scene) == [(2, 1)]


def test_what_came_without_a_subscriber_is_not_delivered_later() -> None:
    async def play() -> list[tuple[int, int]]:
        feed, subscriber = Feed(BATCH_INTERVAL), Waiting()
        feed.put(replace(EVENT, seq=5))
        feed.invalidate(1)
        with feed.subscribe(subscriber):
            for event in (replace(EVENT, seq=4), replace(EVENT, file_id=2)):
                feed.put(event)
            batch = await take(subscriber)
            assert batch.invalidated == set()
            return seqs(batch)

    assert asyncio.run(asyncio.wait_for(play(), PATIENCE)) == [(2, 1)]


class StandingClock(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Paced:
    """A feed with one subscriber that receives everything at once, and a batch interval of one second."""

    def __init__(self, loop: StandingClock) -> None:
        self._loop = loop
        self._feed, self._subscriber = Feed(1.0), Waiting()
        self._subscription = self._feed.subscribe(self._subscriber)
        self._subscription.__enter__()
        self._seq = 0

    async def put(self, events: int = 1) -> None:
        for _ in range(events):
            self._seq += 1
            self._feed.put(replace(EVENT, seq=self._seq))
            await asyncio.sleep(0)  # the loop runs what is due
            await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        self._loop.now += seconds
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def received(self) -> int:
        """The newest seq that was delivered since the last call, 0 for none."""
        batch = self._subscriber.batch()
        self._subscriber.acknowledge(batch)
        return max((event.seq for event in batch.events), default=0)

    @property
    def revision(self) -> int:
        return self._feed.revision


def paced(script: Callable[[Paced], Coroutine[Any, Any, T]]) -> T:
    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StandingClock)
        return await script(Paced(loop))

    with asyncio.Runner(loop_factory=StandingClock) as runner:
        return runner.run(play())


def test_after_a_quiet_time_changes_are_delivered_at_once_although_they_follow_each_other() -> None:
    async def script(scene: Paced) -> list[int]:
        found = []
        for _ in range(feeds.BURST):
            await scene.put()
            found.append(scene.received())
        return found

    assert paced(script) == list(range(1, feeds.BURST + 1))


def test_changes_beyond_a_burst_are_delivered_together_after_the_batch_interval() -> None:
    async def script(scene: Paced) -> list[int]:
        await scene.put(feeds.BURST)
        found = [scene.received()]
        for _ in range(2):
            await scene.put(5)
            await scene.pass_(0.9)
            found.append(scene.received())
            await scene.pass_(0.1)
            found.append(scene.received())
        return found

    last = feeds.BURST
    assert paced(script) == [last, 0, last + 5, 0, last + 10]


def test_a_steady_load_has_one_revision_for_each_batch_interval() -> None:
    async def script(scene: Paced) -> int:
        for _ in range(1_000):
            await scene.put()
            await scene.pass_(0.125)
        return scene.revision

    assert paced(script) <= 125 + feeds.BURST


@pytest.mark.parametrize(("quiet", "at_once"), [(1.0, 1), (3.0, 3), (1_000.0, feeds.BURST)])
def test_the_longer_the_quiet_time_the_more_is_delivered_at_once(quiet: float, at_once: int) -> None:
    async def script(scene: Paced) -> int:
        await scene.put(feeds.BURST)
        await scene.pass_(quiet)
        before = scene.revision
        await scene.put(2 * feeds.BURST)
        return scene.revision - before

    assert paced(script) == at_once


def test_a_broadcast_reaches_a_subscriber_for_which_there_is_no_batch() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[bytes]:
        feed.broadcast(b"ping")
        received = []
        for _ in range(2):
            await subscriber.wait()
            received.append(subscriber.broadcast)
            subscriber.acknowledge(subscriber.batch())
            feed.put(EVENT)
        return received

    assert played(scene) == [b"ping", b""]


def test_subscribers_at_the_same_revision_receive_the_same_batch() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> int:
        subscribers = [Waiting() for _ in range(100)]
        with ExitStack() as stack:
            for each in subscribers:
                stack.enter_context(feed.subscribe(each))
            feed.put(EVENT)
            feed.put(replace(EVENT, file_id=2, seq=2))
            return len({id(await take(each)) for each in subscribers})

    assert played(scene) == 1


def test_a_subscriber_that_left_is_not_woken() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> bool:
        left = Waiting()
        with feed.subscribe(left):
            pass
        waiting = asyncio.create_task(left.wait())
        feed.put(EVENT)
        await take(subscriber)
        waiting.cancel()
        return left in feed.subscribers or waiting.done()

    assert played(scene) is False


async def flood(feed: Feed, subscriber: Waiting) -> None:
    """As many revisions as are completed without a wait."""
    for seq in range(1, feeds.BURST + 1):
        feed.put(replace(EVENT, seq=seq))
        await take(subscriber)


def test_in_a_flood_the_end_of_an_upload_waits_for_no_batch_interval() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        await flood(feed, subscriber)
        feed.put(replace(EVENT, file_id=2))
        feed.put(replace(FINAL, seq=feeds.BURST + 1))
        return sorted(seqs(await take(subscriber)))

    assert played(scene, batch_interval=3600) == [(1, feeds.BURST + 1), (2, EVENT.seq)]


def test_in_a_flood_the_end_of_an_upload_waits_too_if_there_are_many_subscribers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "PAUSE_FOR_EACH", 3600)

    async def scene(feed: Feed, subscriber: Waiting) -> bool:
        await flood(feed, subscriber)
        feed.put(replace(FINAL, seq=feeds.BURST + 1))
        await asyncio.sleep(0)
        waits = not subscriber.has_news
        await take(subscriber)
        return waits

    assert played(scene, batch_interval=0.2)


def test_after_many_ends_at_once_a_change_waits_for_one_batch_interval_at_most() -> None:
    async def scene(feed: Feed, subscriber: Waiting) -> list[tuple[int, int]]:
        for file_id in range(10, 10 + 20 * feeds.BURST):
            feed.put(replace(FINAL, file_id=file_id))
            await take(subscriber)
        feed.put(EVENT)
        return seqs(await take(subscriber))

    assert played(scene, batch_interval=0.5) == [(EVENT.file_id, EVENT.seq)]
