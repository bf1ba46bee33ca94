"""Owns and runs everything that delivers changes to subscribers."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

from jobs.database import Database
from jobs.people.sessions import Lifetime
from jobs.queue import UploadQueue
from webapp.access.mode import Mode
from webapp.live.delivery import background, heartbeat, write_timeout
from webapp.live.delivery.feed import Subscriber
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.policy_watch import PolicyWatch
from webapp.live.delivery.queue_monitor import QueueMonitor
from webapp.live.delivery.resync import Resync
from webapp.live.delivery.subscription import RedisSubscription
from webapp.live.delivery.undo_monitor import UndoMonitor
from webapp.live.record_cache import RecordCache


class Hub:
    """One for each web process, running as long as it does.

    Redis loses messages, hangs and restarts. The hub therefore reads from the database what changed: after every gap
    of the subscription, every second while there is no subscription, and every ten seconds in any case.
    """

    def __init__(
        self,
        database: Database,
        queue: UploadQueue,
        redis_url: str,
        records: RecordCache,
        *,
        batch_interval: float,
        write_timeout: float,
        dataset_imports: int,
        mode: Mode,
        lifetime: Lifetime,
    ) -> None:
        """batch_interval: seconds of changes that become one batch. write_timeout: seconds that a client may read
        nothing. dataset_imports: that may run into one dataset at once. lifetime: of sessions."""
        self.feeds = Feeds(batch_interval)
        self.policy_watch = PolicyWatch(database, self.feeds, mode, lifetime)
        self.queue_monitor = QueueMonitor(database, queue, self.feeds, dataset_imports=dataset_imports)
        self._undo_monitor = UndoMonitor(database, self.feeds)
        self._resync = Resync(database, records, self.feeds)
        self._subscription = RedisSubscription(redis_url, on_message=self.feeds.receive, on_subscribed=self._resync.run)
        self._write_timeout = write_timeout

    def subscribe(self, subscriber: Subscriber, upload_id: int | None) -> AbstractContextManager[None]:
        """Inside the block the subscriber receives the channel of one upload, or the general channel for None."""
        return self.feeds.subscribe(subscriber, upload_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside the block the hub delivers."""
        await self.queue_monitor.refresh()
        try:
            async with background.running(
                {
                    "Redis subscription": self._subscription.run,
                    "resync": partial(self._resync.run_when_due, self._subscription),
                    "queue monitor": self.queue_monitor.run,
                    "undo monitor": self._undo_monitor.run,
                    "policy watch": self.policy_watch.run,
                    "heartbeat": partial(heartbeat.send, self.feeds),
                    "write timeout": partial(write_timeout.enforce, self.feeds, self._write_timeout),
                }
            ):
                yield
        finally:
            self.feeds.close()
