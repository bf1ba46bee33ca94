"""What clients receive first, read from the database. Clients that connect at the same time share each query."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from jobs import uploads
from jobs.database import Database
from jobs.errors import UploadNotFoundError
from jobs.events import Event, timestamp
from jobs.uploads import Page, Upload
from jobs.view import View
from webapp import upload_page
from webapp.database_access import read
from webapp.failed_rows_query import FailedRowsQuery
from webapp.history import PAGE_SIZE, HistoryView
from webapp.live.record_cache import RecordCache
from webapp.live.renderer import Renderer, UploadPage, message
from webapp.live.single_flight import SingleFlight
from webapp.threads import in_thread
from webapp.upload_page import FIRST_ROWS
from webapp.views.dataset import DatasetState

#: Toasts at most for uploads that ended while a client was disconnected: more would cover the page.
MISSED_TOASTS = 5
#: Seconds between two reads of the same snapshot.
MIN_INTERVAL = 0.05
#: The same for a dataset: several imports into it may each change it four times a second.
DATASET_INTERVAL = 0.4


@dataclass(frozen=True)
class HistorySnapshot:
    """The table of the history page. message: the html as a message. moment: the table contains every change up to it.

    active: ids of the uploads that the table shows as active, with their seqs. Their end may have an older timestamp
    than the moment, because a slow transaction commits late.
    """

    html: str
    message: bytes
    moment: str
    active: Mapping[int, int]


@dataclass(frozen=True)
class StatesSnapshot:
    """States of uploads for the JSON streams. message: the events, encoded. seqs: by upload id. newest: the latest
    timestamp, "" without events."""

    events: list[Event]
    message: bytes
    seqs: Mapping[int, int]
    newest: str


class Snapshots:
    """Each read begins after the call, so that a client that subscribed before misses nothing."""

    def __init__(self, database: Database, renderer: Renderer, records: RecordCache) -> None:
        self._database = database
        self._renderer = renderer
        self._records = records
        self._history = SingleFlight(self._read_history, min_interval=MIN_INTERVAL)
        self._progress = SingleFlight(self._read_progress, min_interval=MIN_INTERVAL)
        self._ended = SingleFlight(self._read_ended, min_interval=MIN_INTERVAL)
        self._dataset = SingleFlight(self._read_dataset, min_interval=DATASET_INTERVAL)
        self._states = SingleFlight(self._read_states, min_interval=MIN_INTERVAL)
        self._changed = SingleFlight(self._read_changed, min_interval=MIN_INTERVAL)

    async def history(self, view: HistoryView, seen: View) -> HistorySnapshot:
        """The table as a page with this view shows it. Here and below, seen: what exists for whoever asks."""
        return await self._history.get((view, seen))

    async def _read_history(self, key: tuple[HistoryView, View]) -> HistorySnapshot:
        view, seen = key

        def query(connection: sa.Connection) -> tuple[datetime | None, Page]:
            return uploads.newest_change(connection), uploads.page(
                connection, view.query, limit=PAGE_SIZE, cursor=view.cursor, seen=seen
            )

        newest, page = await read(self._database, query)
        moment = timestamp(newest) if newest else ""
        self._records.remember(page.items)
        html = self._renderer.table(view, page)
        active = {upload.id: upload.seq for upload in page.items if upload.is_active}
        return HistorySnapshot(html, message(html, moment), moment, active)

    async def progress(self, upload_id: int, seen: View) -> tuple[Upload, str]:
        """An upload, and the parts of its page that change, as swaps. Raises UploadNotFoundError."""
        return await self._progress.get((upload_id, seen))

    async def _read_progress(self, key: tuple[int, View]) -> tuple[Upload, str]:
        page = await self.detail(*key)
        if page.is_large:
            return page.upload, await in_thread(lambda: self._renderer.progress(page))
        return page.upload, self._renderer.progress(page)

    async def detail(self, upload_id: int, seen: View, query: FailedRowsQuery = FIRST_ROWS) -> UploadPage:
        """Everything that an upload's page shows. query: of its failed rows. Raises UploadNotFoundError. Not shared
        among callers."""
        found = await read(self._database, lambda connection: upload_page.read(connection, upload_id, seen, query))
        return self._renderer.page(found)

    async def dataset(self, name: str) -> DatasetState:
        """What the page of a dataset says above its rows. Raises DatasetNotFoundError."""
        return await self._dataset.get(name)

    async def _read_dataset(self, name: str) -> DatasetState:
        return await read(self._database, lambda connection: DatasetState.read(connection, name))

    async def states(self, upload_ids: frozenset[int], seen: View) -> StatesSnapshot:
        """The states of these uploads. Raises UploadNotFoundError."""
        return await self._states.get((upload_ids, seen))

    async def _read_states(self, key: tuple[frozenset[int], View]) -> StatesSnapshot:
        upload_ids, seen = key

        def query(connection: sa.Connection) -> list[Upload]:
            return self._seen(connection, uploads.get_many(connection, upload_ids), seen)

        found = await read(self._database, query)
        if missing := upload_ids - {upload.id for upload in found}:
            raise UploadNotFoundError(min(missing))
        return self._encode(found)

    async def changed(self, since: datetime | None, seen: View) -> StatesSnapshot:
        """The states of all uploads that are active, and of those that changed at or after a moment."""
        return await self._changed.get((since, seen))

    async def _read_changed(self, key: tuple[datetime | None, View]) -> StatesSnapshot:
        since, seen = key

        def query(connection: sa.Connection) -> list[Upload]:
            found = uploads.changed_since(connection, since) if since else uploads.active(connection)
            return self._seen(connection, found, seen)

        return self._encode(await read(self._database, query))

    @staticmethod
    def _seen(connection: sa.Connection, found: list[Upload], seen: View) -> list[Upload]:
        return uploads.as_seen(connection, [upload for upload in found if seen.shows(upload.dataset)], seen)

    def _encode(self, found: list[Upload]) -> StatesSnapshot:
        events = [Event.from_upload(upload) for upload in found]
        newest = max((event.timestamp for event in events), default="")
        seqs = {event.file_id: event.seq for event in events}
        return StatesSnapshot(events, self._renderer.json_messages(events), seqs, newest)

    async def as_seen(self, found: list[Upload], seen: View) -> list[Upload]:
        """Uploads without references to others that are hidden."""
        if seen.is_whole or not any(each.duplicate_of or each.parent for each in found):
            return found
        return await read(self._database, lambda connection: uploads.as_seen(connection, found, seen))

    async def ended_since(self, moment: datetime, seen: View) -> list[Upload]:
        """The uploads that ended last after a moment, oldest first."""
        return await self._ended.get((moment, seen))

    async def _read_ended(self, key: tuple[datetime, View]) -> list[Upload]:
        moment, seen = key

        def query(connection: sa.Connection) -> list[Upload]:
            return uploads.ended_since(connection, moment, limit=MISSED_TOASTS, seen=seen)

        return await read(self._database, query)
