"""The hub as a whole: what its clients receive while Redis comes and goes."""

import asyncio
import threading
from typing import Any

import pytest
from redis import Redis

from jobs import uploads
from jobs.events import GENERAL_CHANNEL, channel_of
from jobs.forecast import Place
from jobs.queue import QueueStatus
from jobs.uploads import Claim, Upload
from tests.support.hubs import PATIENCE, Waiting, blocking, is_subscribed, running_hub
from tests.support.services import RedisServer
from tests.support.serving import Records
from tests.support.waiting import until
from webapp.live.delivery import subscription

# With Redis


@pytest.mark.usefixtures("_no_periodic_resync")
def test_each_client_receives_its_own_channel(records: Records) -> None:
    async def scene() -> list[list[tuple[int, int]]]:
        one, other = records.pending(), records.pending()
        async with running_hub(records, None, one.id, one.id, other.id) as (_, clients):
            await is_subscribed(records.settings.redis)
            for client, upload in zip(clients, (other, one, one, other), strict=True):
                await client.receives(upload)  # from the first resync
            one = await blocking(records.claim, one)
            other = await blocking(records.claim, other)
            for client, upload in zip(clients, (other, one, one, other), strict=True):
                await client.receives(upload)
        return [client.received for client in clients]

    assert asyncio.run(scene()) == [
        [(1, 1), (2, 1), (1, 2), (2, 2)],
        [(1, 1), (1, 2)],
        [(1, 1), (1, 2)],
        [(2, 1), (2, 2)],
    ]


def test_a_subscriber_receives_only_inside_its_block(records: Records) -> None:
    """A block that nobody else is in any more leaves nothing behind."""

    async def scene() -> None:
        async with running_hub(records, None) as (hub, [client]):
            await is_subscribed(records.settings.redis)
            left = [Waiting(), Waiting()]
            for subscriber, upload_id in zip(left, (None, 1), strict=True):
                with hub.subscribe(subscriber, upload_id):
                    pass
            waiting = [asyncio.create_task(subscriber.wait()) for subscriber in left[1:]]
            await client.receives(await blocking(records.pending))

            assert not any(task.done() for task in waiting)
            assert hub.feeds.uploads_followed == 0

            for task in waiting:
                task.cancel()

    asyncio.run(scene())


@pytest.mark.usefixtures("_no_periodic_resync")
@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\x00", b"not json", b"null", b"[]", b"17", b"{}", b'{"event": "bulk_upload_progress"}', b"{" * 9999],
)
def test_garbage_on_a_channel_ends_nothing(records: Records, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        upload = records.pending()
        async with running_hub(records, None, upload.id) as (_, clients):
            await is_subscribed(records.settings.redis)
            with Redis.from_url(records.settings.redis) as client:
                for channel in (GENERAL_CHANNEL, channel_of(upload.id), "bulk_upload:", "bulk_upload:x:y"):
                    await blocking(client.publish, channel, garbage)
            upload = await blocking(records.claim, upload)
            for each in clients:
                await each.receives(upload)

    asyncio.run(scene())

    assert "The background task" not in caplog.text


@pytest.mark.usefixtures("_short_intervals")
def test_a_change_whose_process_crashed_before_the_publish_is_delivered(records: Records) -> None:
    async def scene() -> None:
        upload = records.pending()
        async with running_hub(records, None, upload.id) as (_, clients):
            await is_subscribed(records.settings.redis)
            upload = await blocking(records.change, lambda c: uploads.cancel(c, upload.id))
            for client in clients:
                await client.receives(upload)

    asyncio.run(scene())


@pytest.mark.usefixtures("_short_intervals")
def test_an_upload_that_ended_during_a_gap_is_delivered(records: Records) -> None:
    """Also one that is over by the time of the next resync."""

    async def scene() -> None:
        async with running_hub(records, None) as (_, [client]):
            await is_subscribed(records.settings.redis)

            def unheard() -> Upload:
                silent = records.processing()
                return records.change(lambda c: uploads.cancel(c, silent.id))

            await client.receives(await blocking(unheard))

    asyncio.run(scene())


@pytest.mark.usefixtures("_short_intervals")
def test_uploads_that_wait_are_rendered_again_when_the_queue_status_changes(records: Records) -> None:
    async def scene() -> list[QueueStatus]:
        first, second = records.pending(), records.pending()
        async with running_hub(records, None, second.id) as (hub, clients):
            found = [hub.queue_monitor.status]
            await blocking(records.claim, first)
            await asyncio.gather(*(client.is_invalidated(second) for client in clients))
            found.append(hub.queue_monitor.status)
        return found

    assert asyncio.run(scene()) == [
        QueueStatus(True, places={1: Place(0), 2: Place(1)}),
        QueueStatus(True, places={2: Place(0)}),
    ]


# While Redis comes and goes


@pytest.mark.usefixtures("_short_intervals")
def test_clients_receive_changes_while_redis_is_killed_and_after_it_is_back(
    own_records: Records, redis: RedisServer
) -> None:
    async def scene() -> None:
        upload = own_records.processing(rows=1000)
        async with running_hub(own_records, None, upload.id) as (_, clients):
            for _ in range(2):
                await is_subscribed(own_records.settings.redis)
                upload = await blocking(own_records.advance, upload)
                for client in clients:
                    await client.receives(upload)
                await blocking(redis.kill)
                for _ in range(2):
                    upload = await blocking(own_records.advance, upload)
                    for client in clients:
                        await client.receives(upload)
                await blocking(redis.start)
            await is_subscribed(own_records.settings.redis)

    asyncio.run(scene())


@pytest.mark.usefixtures("_no_periodic_resync")
def test_changes_during_a_gap_are_read_when_redis_is_back(
    own_records: Records, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "RECONNECT_DELAY", 0.05)

    async def scene() -> None:
        upload = own_records.processing()
        async with running_hub(own_records, None, upload.id) as (_, clients):
            await is_subscribed(own_records.settings.redis)
            await blocking(redis.kill)
            upload = await blocking(own_records.advance, upload)
            await blocking(redis.start)
            for client in clients:
                await client.receives(upload)
            upload = await blocking(own_records.advance, upload)
            for client in clients:
                await client.receives(upload)

    asyncio.run(scene())


@pytest.mark.usefixtures("_short_intervals")
def test_a_hub_that_starts_without_redis_delivers_and_subscribes_later(
    own_records: Records, redis: RedisServer
) -> None:
    async def scene() -> QueueStatus:
        redis.kill()
        upload = own_records.pending()
        async with running_hub(own_records, None) as (hub, [client]):
            before = hub.queue_monitor.status
            upload = await blocking(own_records.claim, upload)
            await client.receives(upload)
            await blocking(redis.start)
            await is_subscribed(own_records.settings.redis)
        return before

    assert asyncio.run(scene()) == QueueStatus(places={1: Place(0)})


@pytest.mark.usefixtures("_short_intervals")
def test_clients_receive_changes_while_redis_hangs(
    own_records: Records, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        upload = own_records.processing(rows=1000)
        claim = Claim(upload.id, upload.attempt)
        async with running_hub(own_records, None, upload.id) as (_, clients):
            await is_subscribed(own_records.settings.redis)
            redis.freeze()
            for _ in range(2):
                upload = await blocking(own_records.change, lambda c: uploads.renew(c, claim, lease=600))
                for client in clients:
                    await client.receives(upload)
            await blocking(until, lambda: "Lost the connection to Redis" in caplog.text, "the hub to notice")
            redis.thaw()
            await is_subscribed(own_records.settings.redis)
            upload = await blocking(own_records.advance, upload)
            for client in clients:
                await client.receives(upload)

    asyncio.run(scene())


@pytest.mark.usefixtures("_no_periodic_resync")
def test_a_connection_that_redis_closes_is_replaced(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "RECONNECT_DELAY", 0.05)

    async def scene() -> None:
        upload = records.processing(rows=1000)
        async with running_hub(records, None) as (_, [client]):
            for _ in range(3):
                await is_subscribed(records.settings.redis)
                with Redis.from_url(records.settings.redis) as redis:
                    await blocking(lambda: redis.client_kill_filter(_type="pubsub"))
                upload = await blocking(records.advance, upload)
                await client.receives(upload)

    asyncio.run(scene())


# At the end


def test_a_hub_that_ends_leaves_no_connection(records: Records) -> None:
    async def scene() -> None:
        for _ in range(3):
            async with running_hub(records):
                await is_subscribed(records.settings.redis)
            await is_subscribed(records.settings.redis, 0)

    asyncio.run(scene())


def test_a_hub_can_end_at_any_moment(records: Records) -> None:
    """Also while it connects: redis-py may swallow a cancellation."""

    async def scene() -> None:
        for steps in range(0, 40, 2):
            async with asyncio.timeout(5), running_hub(records):
                for _ in range(steps):
                    await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_hub_that_ends_waits_for_its_queries(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the application would close the database during a query."""
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
        async with running_hub(records):
            await blocking(under_way.wait, PATIENCE)
            asyncio.get_running_loop().call_later(0.5, may_end.set)
        return list(ended)

    assert asyncio.run(scene()) == [True]
