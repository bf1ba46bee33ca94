"""The hub on its own: what reaches its subscribers while Redis comes and goes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import anyio.to_thread
import pytest
from redis import Redis, RedisError

from jobs import uploads
from jobs.events import GENERAL_CHANNEL, Event, channel_of
from jobs.queue import QueueStatus, UploadQueue
from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.services import RedisServer
from tests.support.serving import Records
from tests.support.waiting import until
from webapp.live import hub as hubs
from webapp.live.feed import Subscriber
from webapp.live.hub import Hub

#: Seconds that a test waits for what has to come.
PATIENCE = 30.0

EVENT = Event(
    event="bulk_upload_progress", file_id=1, seq=1, attempt=1, filename="june.csv", dataset="june",
    status="processing", progress=0, rows_total=10, rows_processed=0, rows_success=0, rows_failed=0, error=None,
    timestamp="2026-01-31T09:00:00.000000Z",
)  # fmt: skip


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    """One database is enough: what differs between them is not the hub's."""
    return f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}"


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    with Records(settings) as records:
        yield records


@pytest.fixture
def redis(settings: Settings) -> Iterator[RedisServer]:
    """A Redis that may be killed; `ours` is what is to use it."""
    server = RedisServer()
    yield server
    with suppress(ProcessLookupError):
        server.thaw()
    server.remove()


@pytest.fixture
def ours(settings: Settings, redis: RedisServer) -> Iterator[Records]:
    with Records(settings.model_copy(update={"redis_url": redis.url})) as records:
        yield records


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that a test can wait for."""
    for name, seconds in {
        "PING_EVERY": 0.1,
        "SILENT_AFTER": 0.4,
        "RECONNECT_AFTER": 0.05,
        "REREAD_EVERY": 0.3,
        "REREAD_WITHOUT_REDIS": 0.1,
        "QUEUE_STATUS_INTERVAL": 0.1,
    }.items():
        monkeypatch.setattr(hubs, name, seconds)


@pytest.fixture
def _never_rereads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is delivered came from Redis, or from the read after a gap."""
    monkeypatch.setattr(hubs, "REREAD_WITHOUT_REDIS", 3600.0)


class Page:
    """A client of the hub that keeps all it is told."""

    def __init__(self) -> None:
        self.subscriber = Subscriber()
        self.heard: list[tuple[int, int]] = []
        self.invalidated: set[int] = set()

    async def hears(self, upload: Upload) -> None:
        """Raises TimeoutError when this state does not come."""
        async with asyncio.timeout(PATIENCE):
            while (upload.id, upload.seq) not in self.heard:
                await self._take()

    async def is_invalidated(self, upload: Upload) -> None:
        async with asyncio.timeout(PATIENCE):
            while upload.id not in self.invalidated:
                await self._take()

    async def _take(self) -> None:
        await self.subscriber.wait()
        batch = self.subscriber.batch()
        self.subscriber.acknowledge(batch)
        self.heard += [(event.file_id, event.seq) for event in batch.events]
        self.invalidated |= batch.invalidated


@asynccontextmanager
async def a_hub(records: Records, *of_uploads: int | None) -> AsyncIterator[tuple[Hub, list[Page]]]:
    """A hub that listens, and a page for the general channel (None) or an upload's."""
    queue = UploadQueue(records.settings.redis)
    hub = Hub(records.database, queue, records.settings.redis, batch_interval=0.01, write_timeout=30)
    pages = [Page() for _ in of_uploads]
    async with hub.running():
        with ExitStack() as stack:
            for page, upload_id in zip(pages, of_uploads, strict=True):
                stack.enter_context(hub.subscribe(page.subscriber, upload_id))
            yield hub, pages
    queue.close()


async def blocking(function: Callable[..., Any], *words: Any) -> Any:
    """Off the event loop, on which the hub is at work."""
    return await anyio.to_thread.run_sync(function, *words)


async def is_subscribed(redis_url: str, number: int = 1) -> None:
    """Wait until so many hubs listen."""

    def count() -> bool:
        with Redis.from_url(redis_url, socket_timeout=1) as client, suppress(RedisError):
            return [client.pubsub_numpat(), client.pubsub_numsub(GENERAL_CHANNEL)[0][1]] == [number, number]
        return False

    await blocking(until, count, "the hub to subscribe")


# Listening


@pytest.mark.usefixtures("_never_rereads")
def test_each_mailbox_is_filled_from_its_own_channel(records: Records) -> None:
    async def scene() -> list[list[tuple[int, int]]]:
        one, other = records.pending(), records.pending()
        async with a_hub(records, None, one.id, one.id, other.id) as (_, pages):
            await is_subscribed(records.settings.redis)
            for page, upload in zip(pages, (other, one, one, other), strict=True):
                await page.hears(upload)  # from the first read
            one = await blocking(records.claim, one)
            other = await blocking(records.claim, other)
            for page, upload in zip(pages, (other, one, one, other), strict=True):
                await page.hears(upload)
        return [page.heard for page in pages]

    assert asyncio.run(scene()) == [
        [(1, 1), (2, 1), (1, 2), (2, 2)],
        [(1, 1), (1, 2)],
        [(1, 1), (1, 2)],
        [(2, 1), (2, 2)],
    ]


def test_a_mailbox_is_filled_only_inside_its_block(records: Records) -> None:
    """A block that nobody else is in any more leaves nothing behind."""

    async def scene() -> None:
        async with a_hub(records, None) as (hub, [page]):
            await is_subscribed(records.settings.redis)
            left = [Subscriber(), Subscriber()]
            for subscriber, upload_id in zip(left, (None, 1), strict=True):
                with hub.subscribe(subscriber, upload_id):
                    pass
            waiting = [asyncio.create_task(subscriber.wait()) for subscriber in left[1:]]
            await page.hears(await blocking(records.pending))

            assert not any(task.done() for task in waiting)
            assert hub.uploads_followed == 0

            for task in waiting:
                task.cancel()

    asyncio.run(scene())


@pytest.mark.usefixtures("_never_rereads")
@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\x00", b"not json", b"null", b"[]", b"17", b"{}", b'{"event": "bulk_upload_progress"}', b"{" * 9999],
)
def test_garbage_on_a_channel_ends_nothing(records: Records, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        upload = records.pending()
        async with a_hub(records, None, upload.id) as (_, pages):
            await is_subscribed(records.settings.redis)
            with Redis.from_url(records.settings.redis) as client:
                for channel in (GENERAL_CHANNEL, channel_of(upload.id), "bulk_upload:", "bulk_upload:x:y"):
                    await blocking(client.publish, channel, garbage)
            upload = await blocking(records.claim, upload)
            for page in pages:
                await page.hears(upload)

    asyncio.run(scene())

    assert "The hub's" not in caplog.text


@pytest.mark.usefixtures("_quick")
def test_a_crash_between_commit_and_publish_is_revealed(records: Records) -> None:
    async def scene() -> None:
        upload = records.pending()
        async with a_hub(records, None, upload.id) as (_, pages):
            await is_subscribed(records.settings.redis)
            upload = await blocking(records.change, lambda c: uploads.cancel(c, upload.id))
            for page in pages:
                await page.hears(upload)

    asyncio.run(scene())


@pytest.mark.usefixtures("_quick")
def test_an_upload_that_ended_during_a_gap_is_heard_of(records: Records) -> None:
    """Also one that is over by the time anybody looks."""

    async def scene() -> None:
        async with a_hub(records, None) as (_, [page]):
            await is_subscribed(records.settings.redis)

            def unheard() -> Upload:
                silent = records.processing()
                return records.change(lambda c: uploads.cancel(c, silent.id))

            await page.hears(await blocking(unheard))

    asyncio.run(scene())


# Redis comes and goes


@pytest.mark.usefixtures("_quick")
def test_pages_stay_live_while_redis_is_killed_and_come_back_with_it(ours: Records, redis: RedisServer) -> None:
    async def scene() -> None:
        upload = ours.processing(rows=1000)
        async with a_hub(ours, None, upload.id) as (_, pages):
            for _ in range(2):
                await is_subscribed(ours.settings.redis)
                upload = await blocking(ours.advance, upload)
                for page in pages:
                    await page.hears(upload)
                await blocking(redis.kill)
                for _ in range(2):
                    upload = await blocking(ours.advance, upload)
                    for page in pages:
                        await page.hears(upload)
                await blocking(redis.start)
            await is_subscribed(ours.settings.redis)

    asyncio.run(scene())


@pytest.mark.usefixtures("_never_rereads")
def test_what_changed_during_a_gap_is_read_when_redis_is_back(
    ours: Records, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "RECONNECT_AFTER", 0.05)

    async def scene() -> None:
        upload = ours.processing()
        async with a_hub(ours, None, upload.id) as (_, pages):
            await is_subscribed(ours.settings.redis)
            await blocking(redis.kill)
            upload = await blocking(ours.advance, upload)
            await blocking(redis.start)
            for page in pages:
                await page.hears(upload)
            upload = await blocking(ours.advance, upload)
            for page in pages:
                await page.hears(upload)

    asyncio.run(scene())


@pytest.mark.usefixtures("_quick")
def test_a_hub_that_starts_without_redis_is_live_and_finds_it(ours: Records, redis: RedisServer) -> None:
    async def scene() -> QueueStatus:
        redis.kill()
        upload = ours.pending()
        async with a_hub(ours, None) as (hub, [page]):
            before = hub.queue_status
            upload = await blocking(ours.claim, upload)
            await page.hears(upload)
            await blocking(redis.start)
            await is_subscribed(ours.settings.redis)
        return before

    assert asyncio.run(scene()) == QueueStatus()


@pytest.mark.usefixtures("_quick")
def test_a_redis_that_hangs_is_noticed_and_pages_stay_live(
    ours: Records, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        upload = ours.processing(rows=1000)
        async with a_hub(ours, None, upload.id) as (_, pages):
            await is_subscribed(ours.settings.redis)
            redis.freeze()
            for _ in range(2):
                upload = await blocking(ours.change, lambda c: uploads.renew(c, claim, lease=600))
                for page in pages:
                    await page.hears(upload)
            await blocking(until, lambda: "Lost Redis" in caplog.text, "the hub to notice")
            redis.thaw()
            await is_subscribed(ours.settings.redis)
            upload = await blocking(ours.advance, upload)
            for page in pages:
                await page.hears(upload)

    claim = uploads.Claim(1, 1)
    asyncio.run(scene())


@pytest.mark.usefixtures("_never_rereads")
def test_a_connection_that_redis_ends_is_made_anew(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "RECONNECT_AFTER", 0.05)

    async def scene() -> None:
        upload = records.processing(rows=1000)
        async with a_hub(records, None) as (_, [page]):
            for _ in range(3):
                await is_subscribed(records.settings.redis)
                with Redis.from_url(records.settings.redis) as client:
                    await blocking(lambda: client.client_kill_filter(_type="pubsub"))
                upload = await blocking(records.advance, upload)
                await page.hears(upload)

    asyncio.run(scene())


def test_a_hub_that_ends_leaves_no_connection(records: Records) -> None:
    async def scene() -> None:
        for _ in range(3):
            async with a_hub(records):
                await is_subscribed(records.settings.redis)
            await is_subscribed(records.settings.redis, 0)

    asyncio.run(scene())


def test_a_hub_ends_at_whatever_moment_it_is_told_to(records: Records) -> None:
    """Also while it connects: what it calls may swallow a cancellation."""

    async def scene() -> None:
        for steps in range(0, 40, 2):
            async with asyncio.timeout(5), a_hub(records):
                for _ in range(steps):
                    await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_hub_that_ends_waits_for_what_it_reads(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the database would be closed under it."""
    under_way, may_end = threading.Event(), threading.Event()
    ended: list[bool] = []
    original = uploads.changed_lately

    def changed_lately(connection: Any, seconds: float) -> list[Upload]:
        under_way.set()
        may_end.wait(PATIENCE)
        ended.append(True)
        return original(connection, seconds)

    monkeypatch.setattr(uploads, "changed_lately", changed_lately)

    async def scene() -> list[bool]:
        async with a_hub(records):
            await blocking(under_way.wait, PATIENCE)
            asyncio.get_running_loop().call_later(0.5, may_end.set)
        return list(ended)

    assert asyncio.run(scene()) == [True]


# What is said about waiting


@pytest.mark.usefixtures("_quick")
def test_uploads_that_wait_are_shown_again_when_the_line_is_another(records: Records) -> None:
    async def scene() -> list[QueueStatus]:
        upload = records.pending()
        queue = UploadQueue(records.settings.redis)
        async with a_hub(records, None, upload.id) as (hub, pages):
            found = [hub.queue_status]
            await blocking(queue.enqueue, upload)
            await asyncio.gather(*(page.is_invalidated(upload) for page in pages))
            found.append(hub.queue_status)
        queue.close()
        return found

    assert asyncio.run(scene()) == [QueueStatus(True, 0, {}), QueueStatus(True, 0, {1: 0})]


@pytest.mark.usefixtures("_quick")
def test_uploads_that_wait_are_shown_again_when_the_queue_is_away(ours: Records, redis: RedisServer) -> None:
    async def scene() -> None:
        upload = ours.pending()
        async with a_hub(ours, None) as (hub, [page]):
            assert hub.queue_status.reachable
            await blocking(redis.kill)
            await page.is_invalidated(upload)
            assert not hub.queue_status.reachable

    asyncio.run(scene())


# Records


def test_records_are_read_once_for_all_who_ask(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[list[int]] = []
    original = uploads.among

    def among(connection: Any, upload_ids: Any) -> list[Upload]:
        reads.append(sorted(upload_ids))
        return original(connection, upload_ids)

    monkeypatch.setattr(uploads, "among", among)

    async def scene() -> list[list[Upload]]:
        made = [await blocking(records.pending) for _ in range(3)]
        async with a_hub(records) as (hub, _):
            wanted = {upload.id: upload.seq for upload in made}
            found = await asyncio.gather(*(hub.records(wanted) for _ in range(50)))
            found.append(await hub.records(wanted))
            assert all(each == made for each in found)
            made[0] = await blocking(records.claim, made[0])
            assert await hub.records({made[0].id: made[0].seq}) == [made[0]]
        return found

    asyncio.run(scene())

    assert len(reads) <= 2
    assert len(reads[-1]) <= 3


def test_a_record_that_does_not_exist_is_left_out(records: Records) -> None:
    async def scene() -> list[Upload]:
        upload = await blocking(records.pending)
        async with a_hub(records) as (hub, _):
            return [upload, *await asyncio.wait_for(hub.records({99: 1, upload.id: 1}), PATIENCE)]

    upload, *found = asyncio.run(scene())

    assert found == [upload]


def test_a_record_older_than_an_event_says_is_given_as_it_is(records: Records) -> None:
    """As after the database was restored, or when somebody publishes nonsense."""

    async def scene() -> list[Upload]:
        upload = await blocking(records.pending)
        async with a_hub(records) as (hub, _):
            return [upload, *await asyncio.wait_for(hub.records({upload.id: 99}), 5)]

    upload, *found = asyncio.run(scene())

    assert found == [upload]


def test_not_all_records_are_kept_in_memory(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "KNOWN_UPLOADS", 2)

    async def scene() -> list[Upload]:
        made = [await blocking(records.pending) for _ in range(5)]
        async with a_hub(records) as (hub, _):
            for _ in range(2):
                for upload in made:
                    assert await hub.records({upload.id: 1}) == [upload]
            return await hub.records({made[0].id: 1, made[4].id: 1})

    assert [upload.id for upload in asyncio.run(scene())] == [1, 5]


def test_an_old_state_does_not_replace_a_newer_one(records: Records) -> None:
    async def scene() -> None:
        old = await blocking(records.pending)
        new = await blocking(records.claim, old)
        async with a_hub(records) as (hub, _):
            hub.remember([new, old])
            assert await hub.records({new.id: old.seq}) == [new]

    asyncio.run(scene())
