"""Keeps the queue status current: how many uploads are ahead of each, and how many workers run."""

import asyncio
from contextlib import suppress

import sqlalchemy as sa

from jobs import uploads
from jobs.database import Database
from jobs.queue import QueueStatus, UploadQueue
from webapp.database_access import read
from webapp.live.delivery.feeds import Feeds
from webapp.threads import in_thread

#: Seconds between two reads of the queue status while no event reports a change: workers start and stop without one.
INTERVAL = 2.0


class QueueMonitor:
    """Invalidates the uploads that wait whenever the queue status changes, because their pages show it."""

    def __init__(self, database: Database, queue: UploadQueue, feeds: Feeds) -> None:
        self._database = database
        self._queue = queue
        self._feeds = feeds
        #: At most about two seconds old.
        self.status = QueueStatus()

    async def run(self) -> None:
        """Wait until the status may have changed, or the interval is over, and read it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL):
                await self._feeds.queue_may_have_changed.wait()
        self._feeds.queue_may_have_changed.clear()
        await self.refresh()

    async def refresh(self) -> None:
        before, self.status = self.status, await in_thread(self._queue.status)
        if before == self.status:
            return
        for upload_id in await read(self._database, _waiting):
            self._feeds.invalidate(upload_id)


def _waiting(connection: sa.Connection) -> list[int]:
    return [upload.id for upload in uploads.waiting(connection)]
