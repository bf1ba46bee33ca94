"""One Redis reader a process, and a feed a channel, to which each client has a subscriber.

The reader subscribes `bulk_upload` for the general feed and `bulk_upload:*` for those of one upload, so each stream
streams its own channel. Redis forgets, hangs and restarts: after every gap, while Redis is away, and now and
then anyway, the hub reads from the database what changed and delivers that as if it had been heard.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sse_starlette import ServerSentEvent

from jobs import uploads
from jobs.database import Database
from jobs.events import GENERAL_CHANNEL, Event, timestamp
from jobs.queue import QueueStatus, UploadQueue
from jobs.uploads import Upload
from webapp.live.feed import Feed, Subscriber
from webapp.live.single_flight import SingleFlight
from webapp.threads import in_thread

log = logging.getLogger(__name__)

#: Seconds between two pings of our own on the subscription, and how long it may stay silent before it is replaced.
PING_EVERY = 2.0
SILENT_AFTER = 6.0
#: Seconds until Redis is tried again.
RECONNECT_AFTER = 0.5
#: Seconds between two reads of what changed: all the time, for a crash between commit and publish; and without Redis.
REREAD_EVERY = 10.0
REREAD_WITHOUT_REDIS = 1.0
#: Seconds that each of these reads reaches back beyond the last one: a slow transaction commits late.
OVERLAP = 10.0
#: Seconds between two signs of life, by which a page, which is told of this, tells silence from calm.
HEARTBEAT_INTERVAL = 15.0
#: Seconds between two looks for clients that read nothing.
CUT_EVERY = 1.0
#: Seconds between two looks at who waits for whom.
QUEUE_STATUS_INTERVAL = 2.0
#: Uploads whose record is kept in memory.
KNOWN_UPLOADS = 1_000


class Hub:
    """Runs for as long as the web process does."""

    def __init__(
        self, database: Database, queue: UploadQueue, redis_url: str, *, batch_interval: float, write_timeout: float
    ) -> None:
        """Both in seconds. batch_interval: changes within it become one message. write_timeout: of a client that reads
        nothing."""
        self._database = database
        self._queue = queue
        self._redis_url = redis_url
        self._batch_interval = batch_interval
        self._write_timeout = write_timeout
        self._general = Feed(batch_interval)
        self._of_upload: dict[int, Feed] = {}
        self._known: OrderedDict[int, Upload] = OrderedDict()
        self._wanted: set[int] = set()
        self._records: SingleFlight[None, None] = SingleFlight(self._read_wanted)
        self._listening = False
        self._last_read = time.monotonic()
        self._queue_may_have_changed = asyncio.Event()
        #: Who waits for whom, as of some two seconds ago.
        self.queue_status = QueueStatus()

    @contextmanager
    def subscribe(self, subscriber: Subscriber, upload_id: int | None) -> Iterator[None]:
        """Inside the block the subscriber gets what the channel of one upload, or the general one, says."""
        if upload_id is None:
            with self._general.subscribe(subscriber):
                yield
            return
        feed = self._of_upload.setdefault(upload_id, Feed(self._batch_interval))
        try:
            with feed.subscribe(subscriber):
                yield
        finally:
            if feed.is_idle and self._of_upload.get(upload_id) is feed:
                del self._of_upload[upload_id]
                feed.close()

    @property
    def uploads_followed(self) -> int:
        """Uploads whose own channel somebody listens to."""
        return len(self._of_upload)

    async def records(self, seqs: Mapping[int, int]) -> list[Upload]:
        """The records of these uploads that exist, as new as their seq says, from one query for all who ask at once."""
        missing = {i for i, seq in seqs.items() if (known := self._known.get(i)) is None or known.seq < seq}
        if missing:
            self._wanted |= missing
            await self._records.get(None)
        return [self._known[upload_id] for upload_id in seqs if upload_id in self._known]

    def remember(self, found: Iterable[Upload]) -> None:
        for upload in found:
            known = self._known.get(upload.id)
            if known is None or known.seq <= upload.seq:
                self._known[upload.id] = upload
                self._known.move_to_end(upload.id)

    async def _read_wanted(self, _key: None) -> None:
        wanted, self._wanted = self._wanted, set()

        def read() -> list[Upload]:
            with self._database.reading() as connection:
                return uploads.among(connection, wanted)

        self.remember(await in_thread(read))
        while len(self._known) > KNOWN_UPLOADS:
            self._known.popitem(last=False)

    @asynccontextmanager
    async def running(self) -> Any:
        """Listens inside the block."""
        await self._read_queue_status()
        tasks = {
            asyncio.create_task(_forever(work), name=work.__name__)
            for work in (self._listen, self._reread, self._watch_queue_status, self._send_heartbeats, self._cut_stalled)
        }
        try:
            yield
        finally:
            while tasks:  # again and again: what they call may swallow a cancellation
                for task in tasks:
                    task.cancel()
                _, tasks = await asyncio.wait(tasks, timeout=0.1)
            self._general.close()

    async def _listen(self) -> None:
        """One connection's life. Whatever is wrong with it, a new one is made by whoever calls this again."""
        client: Any = Redis.from_url(
            self._redis_url, socket_timeout=SILENT_AFTER, socket_connect_timeout=PING_EVERY, retry=Retry(NoBackoff(), 0)
        )
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(GENERAL_CHANNEL)
                await pubsub.psubscribe(f"{GENERAL_CHANNEL}:*")
                await self._receive(pubsub)
        except (RedisError, OSError, TimeoutError) as error:
            if self._listening:
                log.warning("Lost Redis (%s): reading changes from the database until it is back.", error)
        finally:
            self._listening = False
            with suppress(RedisError, OSError):
                await client.aclose()
        await asyncio.sleep(RECONNECT_AFTER)

    async def _receive(self, pubsub: Any) -> None:
        heard = pinged = time.monotonic()
        confirmed = 0
        while time.monotonic() - heard < SILENT_AFTER:
            if time.monotonic() - pinged >= PING_EVERY:
                await pubsub.ping()
                pinged = time.monotonic()
            message = await pubsub.get_message(timeout=PING_EVERY / 2)
            if message is None:
                continue
            heard = time.monotonic()
            if message["type"] in ("subscribe", "psubscribe"):
                confirmed += 1
                if confirmed >= 2:  # of two subscriptions; any further one means that redis-py connected anew
                    self._listening = True
                    await self._resync()
            elif message["type"] in ("message", "pmessage"):
                self._hear(message["channel"].decode(), message["data"])
        raise TimeoutError(f"silent for {SILENT_AFTER:.0f} s")

    def _hear(self, channel: str, data: bytes) -> None:
        """Whatever is wrong with one message, the next one is heard."""
        feed = self._feed_of(channel)
        if feed is None:
            return
        try:
            self._deliver(feed, Event.parse(data))
        except Exception:
            log.exception("Something that is no event came in on %s.", channel)

    def _feed_of(self, channel: str) -> Feed | None:
        """None for an upload that nobody looks at, as most are: its events need not even be parsed."""
        if channel == GENERAL_CHANNEL:
            return self._general
        upload_id = channel.removeprefix(f"{GENERAL_CHANNEL}:")
        return self._of_upload.get(int(upload_id)) if upload_id.isdecimal() and len(upload_id) < 19 else None

    def _deliver(self, feed: Feed, event: Event) -> None:
        if event.event != "bulk_upload_progress" or not event.rows_processed:
            self._queue_may_have_changed.set()
        feed.put(event)

    async def _reread(self) -> None:
        """Crashes between commit and publish are revealed by nothing else."""
        await asyncio.sleep(REREAD_WITHOUT_REDIS)
        if not self._listening or time.monotonic() - self._last_read >= REREAD_EVERY:
            await self._resync()

    async def _resync(self) -> None:
        """Deliver to everybody what the database says changed since the last time, and a little before."""
        began = time.monotonic()
        reach = began - self._last_read + OVERLAP

        def read() -> list[Upload]:
            with self._database.reading() as connection:
                return uploads.changed_lately(connection, reach)

        found = await in_thread(read)
        self._last_read = began
        self.remember(found)
        for upload in found:
            for feed in self._feeds(upload.id):
                self._deliver(feed, Event.of(upload))

    def _feeds(self, upload_id: int) -> list[Feed]:
        """Those that hear of an upload."""
        own = self._of_upload.get(upload_id)
        return [self._general, own] if own else [self._general]

    async def _send_heartbeats(self) -> None:
        await asyncio.sleep(HEARTBEAT_INTERVAL)
        message = ServerSentEvent(timestamp(datetime.now(UTC)), event="ping", sep="\n").encode()
        for feed in self._all_feeds():
            feed.broadcast(message)

    async def _cut_stalled(self) -> None:
        await asyncio.sleep(min(self._write_timeout / 4, CUT_EVERY))
        for feed in self._all_feeds():
            feed.cut_stalled(self._write_timeout)

    def _all_feeds(self) -> list[Feed]:
        return [self._general, *self._of_upload.values()]

    async def _watch_queue_status(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(QUEUE_STATUS_INTERVAL):
                await self._queue_may_have_changed.wait()
        self._queue_may_have_changed.clear()
        await self._read_queue_status()

    async def _read_queue_status(self) -> None:
        """Have uploads shown again about which there is something else to say now."""
        before, self.queue_status = self.queue_status, await in_thread(self._queue.status)
        if before == self.queue_status:
            return

        def read() -> list[int]:
            with self._database.reading() as connection:
                return [upload.id for upload in uploads.waiting(connection)]

        for upload_id in await in_thread(read):
            for feed in self._feeds(upload_id):
                feed.invalidate(upload_id)


async def _forever(work: Any) -> None:
    """Again and again, whatever happens: one bad moment must not leave every page deaf."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("The hub's %s stumbled and goes on.", work.__name__.strip("_"))
            await asyncio.sleep(RECONNECT_AFTER)
