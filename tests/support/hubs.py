"""A running hub with subscribers that keep what they receive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio.to_thread
from redis import Redis, RedisError

from jobs.events import GENERAL_CHANNEL, Event
from jobs.people.policy import SINGLE_USER, Policy
from jobs.people.sessions import Lifetime
from jobs.queue import UploadQueue
from jobs.uploads import Upload
from tests.support.serving import Records
from tests.support.waiting import until
from webapp.access.mode import Mode
from webapp.live.delivery.feed import Subscriber
from webapp.live.delivery.hub import Hub
from webapp.live.record_cache import RecordCache

#: Seconds that a test waits for an event.
PATIENCE = 30.0

#: A state of an upload. Tests replace what matters to them.
EVENT = Event(
    event="bulk_upload_progress", file_id=1, seq=1, attempt=1, filename="june.csv", dataset="june",
    status="processing", progress=0, rows_total=10, rows_processed=0, rows_success=0, rows_failed=0, error=None,
    timestamp="2026-01-31T09:00:00.000000Z",
)  # fmt: skip


def at(second: int, **fields: Any) -> Event:
    """A state written in this second."""
    return replace(EVENT, timestamp=f"2026-01-31T09:00:{second:02}.000000Z", **fields)


class Waiting(Subscriber):
    """A subscriber that waits until something is delivered, and takes it when the test does."""

    policy = Policy(SINGLE_USER)

    def __init__(self) -> None:
        super().__init__()
        self._delivered = asyncio.Event()
        self.is_disconnected = self.has_ended = False

    def deliver(self) -> None:
        self._delivered.set()

    def end(self) -> None:
        self.has_ended = True

    def disconnect(self) -> None:
        self.is_disconnected = True

    async def wait(self) -> bool:
        """Wait until there is something to take. False: it is too late for that."""
        while not self.has_news:
            self._delivered.clear()
            await self._delivered.wait()
        return not self.is_too_late


class Client:
    """A subscriber that keeps everything it receives."""

    def __init__(self) -> None:
        self.subscriber = Waiting()
        self.received: list[tuple[int, int]] = []
        self.invalidated: set[int] = set()

    async def receives(self, upload: Upload) -> None:
        """Raises TimeoutError if this state does not arrive."""
        async with asyncio.timeout(PATIENCE):
            while (upload.id, upload.seq) not in self.received:
                await self.receive()

    async def is_invalidated(self, upload: Upload) -> None:
        """Raises TimeoutError when the upload does not have to be rendered again."""
        async with asyncio.timeout(PATIENCE):
            while upload.id not in self.invalidated:
                await self.receive()

    async def receive(self) -> None:
        """Wait for the next batch, or broadcast."""
        await self.subscriber.wait()
        batch = self.subscriber.batch()
        self.subscriber.acknowledge(batch)
        self.received += [(event.file_id, event.seq) for event in batch.events]
        self.invalidated |= batch.invalidated


@asynccontextmanager
async def running_hub(records: Records, *channels: int | None) -> AsyncIterator[tuple[Hub, list[Client]]]:
    """A hub that delivers, and a client for each channel: an upload's, or the general one for None."""
    settings, queue = records.settings, UploadQueue(records.settings.redis)
    cache = RecordCache(records.database)
    hub = Hub(
        records.database,
        queue,
        settings.redis,
        cache,
        batch_interval=0.01,
        write_timeout=30,
        dataset_imports=4,
        mode=Mode(records.database, settings),
        lifetime=Lifetime(idle=60, absolute=60),
    )
    clients = [Client() for _ in channels]
    async with hub.running():
        with ExitStack() as stack:
            for client, upload_id in zip(clients, channels, strict=True):
                stack.enter_context(hub.subscribe(client.subscriber, upload_id))
            yield hub, clients
    queue.close()


async def blocking(function: Callable[..., Any], *words: Any) -> Any:
    """Call a function in a thread, because the hub runs on the event loop."""
    return await anyio.to_thread.run_sync(function, *words)


async def is_subscribed(redis_url: str, number: int = 1) -> None:
    """Wait until so many hubs are subscribed."""

    def count() -> bool:
        with Redis.from_url(redis_url, socket_timeout=1) as client, suppress(RedisError):
            return [client.pubsub_numpat(), client.pubsub_numsub(GENERAL_CHANNEL)[0][1]] == [number, number]
        return False

    await blocking(until, count, "the hub to subscribe")
