"""Tells the open pages of uploads that an undo of them began, or was stopped: neither changes their records."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from jobs.database import Database
from jobs.undo import orders as undo_orders
from webapp.database_access import read
from webapp.live.delivery.feeds import Feeds

#: Seconds between two reads while no event reports an undo: one may have been lost.
INTERVAL = 10.0


class UndoMonitor:
    """Invalidates the uploads that undos concern whenever one of these begins or ends."""

    def __init__(self, database: Database, feeds: Feeds) -> None:
        self._database = database
        self._feeds = feeds
        #: Upload → its undo, as open pages were told.
        self._told: Mapping[int, int] = {}

    async def run(self) -> None:
        """Wait until an undo may have begun or ended, or the interval is over, and look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL):
                await self._feeds.undos_may_have_changed.wait()
        self._feeds.undos_may_have_changed.clear()
        await self.refresh()

    async def refresh(self) -> None:
        before, self._told = self._told, await read(self._database, undo_orders.under_way)
        for upload_id in before.keys() | self._told.keys():
            if before.get(upload_id) != self._told.get(upload_id):
                self._feeds.invalidate(upload_id)
