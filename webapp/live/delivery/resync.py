"""Reads from the database what changed, for all events that Redis did not deliver."""

import asyncio
import time

from jobs import uploads
from jobs.database import Database
from jobs.events import Event
from webapp.database_access import read
from webapp.live.delivery.feeds import Feeds
from webapp.live.delivery.subscription import RedisSubscription
from webapp.live.record_cache import RecordCache

#: Seconds between two resyncs while Redis delivers events. Nothing else reveals a change whose process crashed between
#: the commit and the publish.
INTERVAL = 10.0
#: Seconds between two resyncs without Redis: pages still show changes within about a second.
INTERVAL_WITHOUT_REDIS = 1.0
#: Seconds that each resync reads again of the time before the last one: a slow transaction commits a state some time
#: after the timestamp that it wrote.
OVERLAP = 10.0


class Resync:
    """Delivers the states that changed since the last resync. Feeds ignore the states that they have already."""

    def __init__(self, database: Database, records: RecordCache, feeds: Feeds) -> None:
        self._database = database
        self._records = records
        self._feeds = feeds
        self._last_run = time.monotonic()

    async def run(self) -> None:
        began = time.monotonic()
        seconds = began - self._last_run + OVERLAP
        changed = await read(self._database, lambda connection: uploads.changed_lately(connection, seconds))
        self._last_run = began
        self._records.remember(changed)
        for upload in changed:
            self._feeds.put(Event.from_upload(upload))

    async def run_when_due(self, subscription: RedisSubscription) -> None:
        """Wait a second, then resync unless Redis delivers events and the last resync is recent."""
        await asyncio.sleep(INTERVAL_WITHOUT_REDIS)
        if not subscription.is_active or time.monotonic() - self._last_run >= INTERVAL:
            await self.run()
