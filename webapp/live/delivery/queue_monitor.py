"""Keeps the queue status current: the place of each upload that waits, and how many workers run."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from jobs import forecast
from jobs.database import Database
from jobs.forecast import Candidate, Place, Scene
from jobs.queue import QueueStatus, UploadQueue
from jobs.uploads import Status, Upload
from webapp.database_access import read
from webapp.live.delivery.feeds import Feeds
from webapp.threads import in_thread
from webapp.views.upload import place_in_words

#: Seconds between two reads of the queue status while no event reports a change: workers start and stop without one.
INTERVAL = 2.0
#: Of the time, the part for which the status may be read: of many uploads that wait, each change moves all places.
BUSY = 0.1


class QueueMonitor:
    """Invalidates the uploads that wait whenever what their pages show of the queue status changes."""

    def __init__(self, database: Database, queue: UploadQueue, feeds: Feeds, *, dataset_imports: int) -> None:
        """dataset_imports: that may run into one dataset at once."""
        self._database = database
        self._queue = queue
        self._feeds = feeds
        self._dataset_imports = dataset_imports
        self._scene = Scene(datetime.now(UTC))
        #: At most about two seconds old.
        self.status = QueueStatus()
        #: The places by upload id as the last read told them to open pages, which may show something else of an upload
        #: that was created since.
        self._told: dict[int, str] = {}
        #: What was placed since the last read began, which need not know of it.
        self._new: list[Candidate] = []

    async def run(self) -> None:
        """Wait until the status may have changed, or the interval is over, and read it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL):
                await self._feeds.queue_may_have_changed.wait()
        self._feeds.queue_may_have_changed.clear()
        clock = asyncio.get_running_loop().time
        began = clock()
        await self.refresh()
        await asyncio.sleep((clock() - began) * (1 / BUSY - 1))

    async def refresh(self) -> None:
        self._new = []
        found = await in_thread(self._queue.status)
        before, self.status = self.status, replace(found, places=self.status.places)  # if the database does not respond
        scene = await read(self._database, forecast.read)
        places = await in_thread(lambda: scene.places(found.workers, dataset_imports=self._dataset_imports))
        self._scene, self.status = scene, replace(found, places=places)
        for each in self._new:
            if each.id not in places:
                self._place(each)
        told = self._told if replace(before, places={}) == found else {}
        self._told = {upload_id: place_in_words(place) for upload_id, place in places.items()}
        for upload_id, words in self._told.items():
            if told.get(upload_id) != words:
                self._feeds.invalidate(upload_id)

    def places_of(self, uploads: Iterable[Upload]) -> Mapping[int, Place]:
        """The places of those of the uploads that wait for a worker, by id. What was created since the last read is
        placed into what it knew, so that no request costs a query."""
        waiting = [each for each in uploads if each.status is Status.PENDING and each.lane is not None]
        for each in sorted(waiting, key=lambda each: each.id):
            if each.lane is not None and each.id not in self.status.places:
                self._new.append(Candidate(each.id, each.lane, each.sender, each.dataset, each.size))
                self._place(self._new[-1])
        return {each.id: self.status.places[each.id] for each in waiting}

    def _place(self, new: Candidate) -> None:
        """Place an upload behind those of its sender; only the first of a sender costs a forecast."""
        places = dict(self.status.places)
        last = next((each.id for each in reversed(self._scene.waiting) if each.goes_before(new)), None)
        self._scene = self._scene.with_waiting(new)
        if last in places:
            places[new.id] = replace(places[last], position=places[last].position + 1)
        else:
            places |= self._scene.places(self.status.workers, dataset_imports=self._dataset_imports)
        self.status = replace(self.status, places=places)
