"""Changes that Redis did not deliver are read from the database."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from jobs import uploads
from jobs.uploads import Upload
from tests.support.hubs import PATIENCE, Client, blocking
from tests.support.serving import Records
from webapp.live.delivery import resync as resyncs
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.resync import Resync
from webapp.live.delivery.subscription import RedisSubscription
from webapp.live.record_cache import RecordCache


class Scene:
    """A resync, and a client of each of the two channels of the first upload."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.cache = RecordCache(records.database)
        self.feeds = Feeds(0.001)
        self.resync = Resync(records.database, self.cache, self.feeds)
        self.clients = [Client(), Client()]

    async def receive(self, upload: Upload) -> None:
        for client in self.clients:
            await client.receives(upload)

    def run(self, play: Callable[[], object]) -> None:
        """Resync after a change that nobody published."""

        async def scene() -> None:
            with (
                self.feeds.subscribe(self.clients[0].subscriber, None),
                self.feeds.subscribe(self.clients[1].subscriber, 1),
            ):
                changed = await blocking(play)
                await self.resync.run()
                await self.receive(changed)

        asyncio.run(scene())


def test_a_change_whose_publish_was_lost_reaches_both_channels(records: Records) -> None:
    scene, upload = Scene(records), records.processing()
    scene.run(lambda: records.change(lambda c: uploads.cancel(c, upload.id)))


def test_an_upload_that_began_and_ended_between_two_resyncs_is_delivered(records: Records) -> None:
    scene = Scene(records)

    def unheard() -> Upload:
        upload = records.processing()
        return records.change(lambda c: uploads.cancel(c, upload.id))

    scene.run(unheard)


def test_a_resync_reads_again_what_was_committed_shortly_before_the_last_one(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaches: list[float] = []

    def changed_lately(_connection: object, seconds: float) -> list[Upload]:
        reaches.append(seconds)
        return []

    monkeypatch.setattr(uploads, "changed_lately", changed_lately)
    scene = Scene(records)

    async def run_twice() -> None:
        for _ in range(2):
            await scene.resync.run()

    asyncio.run(run_twice())

    assert all(resyncs.OVERLAP <= reach < resyncs.OVERLAP + PATIENCE for reach in reaches)
    assert len(reaches) == 2


def test_after_a_failure_the_next_resync_reaches_back_as_far(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reaches = [1000.0], []

    def changed_lately(_connection: object, seconds: float) -> list[Upload]:
        reaches.append(seconds)
        if len(reaches) == 1:
            raise ZeroDivisionError
        return []

    monkeypatch.setattr(uploads, "changed_lately", changed_lately)
    monkeypatch.setattr(resyncs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    scene = Scene(records)

    async def run() -> None:
        clock[0] += 5
        await scene.resync.run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    for _ in range(2):
        asyncio.run(run())

    assert reaches == [resyncs.OVERLAP + seconds for seconds in (5, 10, 5)]


def test_the_cache_has_the_records_that_a_resync_read(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = records.pending()
    scene = Scene(records)

    async def read() -> list[Upload]:
        await scene.resync.run()
        monkeypatch.delattr(uploads, "get_many")
        return await scene.cache.get({upload.id: upload.seq})

    assert asyncio.run(read()) == [upload]


@pytest.mark.parametrize(("is_active", "interval", "expected"), [(False, 3600.0, 3), (True, 3600.0, 0), (True, 0.0, 3)])
def test_a_resync_is_due_each_time_without_redis_and_else_after_the_interval(
    records: Records, monkeypatch: pytest.MonkeyPatch, is_active: bool, interval: float, expected: int
) -> None:
    monkeypatch.setattr(resyncs, "INTERVAL_WITHOUT_REDIS", 0.001)
    monkeypatch.setattr(resyncs, "INTERVAL", interval)
    reads: list[float] = []

    def changed_lately(_connection: object, seconds: float) -> list[Upload]:
        reads.append(seconds)
        return []

    async def nothing() -> None: ...

    monkeypatch.setattr(uploads, "changed_lately", changed_lately)
    subscription = RedisSubscription("redis://localhost", on_message=lambda *_: None, on_subscribed=nothing)
    subscription.is_active = is_active
    scene = Scene(records)

    async def run_three_times() -> None:
        for _ in range(3):
            await scene.resync.run_when_due(subscription)

    asyncio.run(run_three_times())

    assert len(reads) == expected
