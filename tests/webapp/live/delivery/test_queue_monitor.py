"""The queue status, and the uploads whose pages show it."""

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from jobs import forecast
from jobs.forecast import Place
from jobs.queue import QueueStatus, UploadQueue
from jobs.uploads import Upload
from tests.support.hubs import PATIENCE, Client, blocking
from tests.support.services import RedisServer
from tests.support.serving import Records
from webapp.live.delivery import queue_monitor as monitors
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.queue_monitor import QueueMonitor


class Scene:
    def __init__(self, records: Records) -> None:
        self.records = records
        self.queue = UploadQueue(records.settings.redis)
        self.feeds = Feeds(0.001)
        self.monitor = QueueMonitor(records.database, self.queue, self.feeds, dataset_imports=4)


@pytest.fixture
def scene(own_records: Records) -> Iterator[Scene]:
    scene = Scene(own_records)
    yield scene
    scene.queue.close()


def test_uploads_that_wait_are_invalidated_when_their_places_change(scene: Scene) -> None:
    first, second, running = scene.records.pending(), scene.records.pending(), scene.records.processing()

    async def play() -> list[QueueStatus]:
        found = [scene.monitor.status]
        with scene.feeds.subscribe((client := Client()).subscriber, None):
            await scene.monitor.refresh()
            await client.is_invalidated(second)
            found.append(scene.monitor.status)
            client.invalidated.clear()
            await blocking(scene.records.claim, first)
            await scene.monitor.refresh()
            await client.is_invalidated(second)
            found.append(scene.monitor.status)

        assert running.id not in client.invalidated
        return found

    assert asyncio.run(play()) == [
        QueueStatus(),
        QueueStatus(True, places={first.id: Place(0), second.id: Place(1)}),
        QueueStatus(True, places={second.id: Place(0)}),
    ]


def test_an_upload_is_placed_before_the_status_is_read_again(scene: Scene) -> None:
    first = scene.records.pending()

    async def play() -> None:
        await scene.monitor.refresh()
        second, third = [await blocking(scene.records.pending) for _ in range(2)]
        running = await blocking(scene.records.processing)

        placed = {first.id: Place(0), second.id: Place(1), third.id: Place(2)}
        assert scene.monitor.places_of([third, running, second, first]) == placed
        await scene.monitor.refresh()
        assert scene.monitor.status.places == placed

    asyncio.run(play())


def test_an_upload_that_is_placed_while_the_status_is_read_keeps_its_place(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, whole = scene.records.pending(), forecast.read
    created: list[Upload] = []

    def read(connection: sa.Connection) -> forecast.Scene:
        found = whole(connection)
        if not created:
            created.append(scene.records.pending())
            assert scene.monitor.places_of(created)[created[0].id].position == 0  # nothing was read before
        return found

    monkeypatch.setattr(forecast, "read", read)

    async def play() -> None:
        await scene.monitor.refresh()
        third = await blocking(scene.records.pending)
        placed = {first.id: Place(0), created[0].id: Place(1), third.id: Place(2)}
        assert scene.monitor.places_of([third]) == {third.id: Place(2)}
        assert scene.monitor.status.places == placed

    asyncio.run(play())


def test_an_upload_that_an_answer_placed_is_still_told_to_open_pages(scene: Scene) -> None:
    scene.records.pending()

    async def play() -> None:
        await scene.monitor.refresh()
        with scene.feeds.subscribe((client := Client()).subscriber, None):
            second = await blocking(scene.records.pending)  # an open page shows it before anybody placed it
            scene.monitor.places_of([second])
            await scene.monitor.refresh()
            await client.is_invalidated(second)

    asyncio.run(play())


def test_nothing_is_invalidated_while_the_status_stays_the_same(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.records.pending()
    invalidated: list[int] = []
    monkeypatch.setattr(scene.feeds, "invalidate", invalidated.append)

    async def play() -> None:
        for _ in range(3):
            await scene.monitor.refresh()

    asyncio.run(play())

    assert invalidated == [1]


def test_uploads_that_wait_are_invalidated_when_redis_does_not_respond(scene: Scene, redis: RedisServer) -> None:
    upload = scene.records.pending()

    async def play() -> None:
        await scene.monitor.refresh()
        assert scene.monitor.status.reachable
        with scene.feeds.subscribe((client := Client()).subscriber, None):
            await blocking(redis.kill)
            await scene.monitor.refresh()
            await client.is_invalidated(upload)
        assert scene.monitor.status == QueueStatus(places={upload.id: Place(0)})

    asyncio.run(play())


@pytest.mark.parametrize("interval", [0.01, 3600.0])
def test_the_status_is_read_after_an_event_at_once_and_else_after_the_interval(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    monkeypatch.setattr(monitors, "INTERVAL", interval)

    async def play() -> None:
        if interval > PATIENCE:
            scene.feeds.queue_may_have_changed.set()
        await asyncio.wait_for(scene.monitor.run(), PATIENCE)

    asyncio.run(play())

    assert scene.monitor.status == QueueStatus(True)
    assert not scene.feeds.queue_may_have_changed.is_set()
