"""What goes out on the streams: each snapshot and update is read and rendered once a process, for all clients."""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import anyio.to_thread
import sqlalchemy as sa
from sse_starlette import ServerSentEvent

from jobs import failed_rows, uploads
from jobs.database import Database
from jobs.errors import UploadNotFoundError
from jobs.events import Event, timestamp
from jobs.failed_rows import BadRow, FailureCount
from jobs.uploads import Page, Upload
from webapp.fragments import Fragments, UploadView
from webapp.history import PAGE_SIZE, HistoryView
from webapp.live.hub import Hub
from webapp.live.single_flight import SingleFlight

log = logging.getLogger(__name__)

#: Failed rows that an upload's page shows.
FAILED_SAMPLE = 20
#: Reasons that it lists.
FAILURE_REASONS = 20
#: Uploads that ended while a page was away of which it is told by a toast, at most.
MISSED_TOASTS = 5
#: Seconds between two reads of the same from the database.
APART = 0.05
#: Rendered pieces that are kept.
KEPT = 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """What a client is told first. message: the html alone. moment: it lacks nothing that is not newer than this, but
    for the end of an upload that it shows as active, by its id with its seq: a slow transaction commits late."""

    html: str
    message: bytes
    moment: str
    active: Mapping[int, int]


@dataclass(frozen=True)
class States:
    """States of uploads as the JSON streams tell them, and what of them a client knows then."""

    events: list[Event]
    message: bytes
    seqs: Mapping[int, int]
    newest: str


class Renderer:
    """Renders for the streams, and for the pages that include the same partials."""

    def __init__(self, database: Database, hub: Hub, fragments: Fragments) -> None:
        self._database = database
        self._hub = hub
        self._fragments = fragments
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._watermarks: SingleFlight[None, str] = SingleFlight(self._read_watermark, apart=APART)
        self._histories: SingleFlight[HistoryView, Snapshot] = SingleFlight(self._read_history, apart=APART)
        self._ended: SingleFlight[datetime, list[Upload]] = SingleFlight(self._read_ended, apart=APART)
        self._details: SingleFlight[int, tuple[Upload, str]] = SingleFlight(self._read_detail, apart=APART)
        self._states: SingleFlight[frozenset[int], States] = SingleFlight(self._read_states, apart=APART)
        self._changed: SingleFlight[datetime | None, States] = SingleFlight(self._read_changed, apart=APART)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Ask the database something, off the event loop."""

        def run() -> T:
            with self._database.reading() as connection:
                return query(connection)

        return await anyio.to_thread.run_sync(run)

    def table_context(self, view: HistoryView, page: Page) -> dict[str, Any]:
        """What `_uploads_table.html` needs."""
        return {
            "uploads": [UploadView(upload, self._hub.queue_status) for upload in page.items],
            "q": view.search,
            "status": view.status or "",
            "page": {
                "newer_url": view.at(page.newer).url("/uploads") if page.newer else None,
                "older_url": view.at(page.older).url("/uploads") if page.older else None,
            },
        }

    async def history(self, view: HistoryView) -> Snapshot:
        """The whole table as a page shows it now, as a swap."""
        return await self._histories.get(view)

    async def _read_history(self, view: HistoryView) -> Snapshot:
        moment = await self._read_watermark(None)
        page = await self.read(
            lambda connection: uploads.page(
                connection, limit=PAGE_SIZE, cursor=view.cursor, status=view.status, search=view.search
            )
        )
        self._hub.remember(page.items)
        table = self._fragments.render("_uploads_table.html", self.table_context(view, page))
        html = f'<hx-partial hx-target="#uploads" hx-swap="outerMorph">{table}</hx-partial>'
        active = {upload.id: upload.seq for upload in page.items if upload.is_active}
        return Snapshot(html, message(html, moment), moment, active)

    async def detail(self, upload_id: int) -> tuple[Upload, str]:
        """An upload and the part of its page that changes, as a swap. Raises UploadNotFoundError."""
        return await self._details.get(upload_id)

    async def _read_detail(self, upload_id: int) -> tuple[Upload, str]:
        upload, view = await self.view(upload_id)
        progress = self._fragments.render("_upload_progress.html", {"upload": view})
        return upload, f'<hx-partial hx-target="#upload" hx-swap="outerMorph">{progress}</hx-partial>'

    async def view(self, upload_id: int) -> tuple[Upload, UploadView]:
        """An upload and all that its page says of it. Raises UploadNotFoundError."""

        def read(connection: sa.Connection) -> tuple[Upload, list[BadRow], list[FailureCount]]:
            upload = uploads.get(connection, upload_id)
            if not upload.rows_failed:
                return upload, [], []
            sample = failed_rows.rows(connection, upload_id, limit=FAILED_SAMPLE)
            return upload, sample, failed_rows.counts(connection, upload_id, limit=FAILURE_REASONS)

        upload, sample, counts = await self.read(read)
        return upload, UploadView(upload, self._hub.queue_status, sample, counts)

    def rows(self, found: Iterable[Upload], *, insert: bool, toasts: Container[int]) -> str:
        """Rows of the history, as swaps, and the news of the uploads that just ended. One that fails spoils no other.

        insert: also where the page does not have it yet. toasts: ids of those that ended, if they are at an end still.
        """
        shown, told = [], []
        for upload in found:
            try:
                shown.append(self.row(upload, insert=insert))
                if upload.id in toasts and not upload.is_active:
                    told.append(self.toast(upload))
            except Exception:
                log.exception("The row of upload %d cannot be shown: open pages lack its newest state.", upload.id)
        return "".join(shown + told)

    def row(self, upload: Upload, *, insert: bool) -> str:
        """A row of the history, as a swap. insert: also where the page does not have it yet, sorted in by its id."""
        view = UploadView(upload, self._hub.queue_status)

        def render() -> str:
            row = self._fragments.render("_upload_row.html", {"upload": view})
            if insert:
                return f'<hx-upsert hx-target="#upload-rows" key="data-key" sort="desc">{row}</hx-upsert>'
            return f'<hx-partial hx-target="#upload-{upload.id}" hx-swap="outerMorph">{row}</hx-partial>'

        return self._keep(("row", upload.id, upload.seq, view.waiting, insert), render)

    def toast(self, upload: Upload) -> str:
        """The news that an upload ended, as a swap."""

        def render() -> str:
            toast = self._fragments.render("_toast.html", {"upload": UploadView(upload, self._hub.queue_status)})
            return f'<hx-partial hx-target="#toasts" hx-swap="beforeend">{toast}</hx-partial>'

        return self._keep(("toast", upload.id, upload.seq), render)

    def fitting(self, view: HistoryView, events: Iterable[Event]) -> bytes:
        """Which of these uploads belong to what a page with a filter shows: it counts those that it lacks."""
        fits = {event.file_id: view.matches(event) for event in events} if view.is_filtered else {}
        return ServerSentEvent(json.dumps(fits), event="fitting", sep="\n").encode() if fits else b""

    def json(self, event: Event) -> bytes:
        """An event as it stands on the JSON streams."""

        def render() -> bytes:
            return ServerSentEvent(event.json(), event=event.event, id=event.timestamp, retry=2_000, sep="\n").encode()

        return self._keep(("json", event.file_id, event.seq), render)

    def joined(self, events: Iterable[Event]) -> bytes:
        """Several of them."""
        return b"".join(map(self.json, events))

    async def states(self, upload_ids: frozenset[int]) -> States:
        """The states of these uploads. Raises UploadNotFoundError."""
        return await self._states.get(upload_ids)

    async def _read_states(self, upload_ids: frozenset[int]) -> States:
        found = await self.read(lambda connection: uploads.among(connection, upload_ids))
        if missing := upload_ids - {upload.id for upload in found}:
            raise UploadNotFoundError(min(missing))
        return self._as_states(found)

    async def changed(self, since: datetime | None) -> States:
        """The states of all active uploads, and of those that changed at or after a moment."""
        return await self._changed.get(since)

    async def _read_changed(self, since: datetime | None) -> States:
        found = await self.read(lambda c: uploads.changed_since(c, since) if since else uploads.active(c))
        return self._as_states(found)

    def _as_states(self, found: list[Upload]) -> States:
        events = [Event.of(upload) for upload in found]
        newest = max((event.timestamp for event in events), default="")
        return States(events, self.joined(events), {event.file_id: event.seq for event in events}, newest)

    async def ended_since(self, moment: datetime) -> list[Upload]:
        """Uploads that ended after a moment, the latest few, in order."""
        return await self._ended.get(moment)

    async def _read_ended(self, moment: datetime) -> list[Upload]:
        return await self.read(lambda connection: uploads.ended_since(connection, moment, limit=MISSED_TOASTS))

    async def watermark(self) -> str:
        """The time of the newest state there is; "" when there is none."""
        return await self._watermarks.get(None)

    async def _read_watermark(self, _key: None) -> str:
        newest = await self.read(uploads.newest_change)
        return timestamp(newest) if newest else ""

    def _keep(self, key: tuple[Any, ...], render: Callable[[], T]) -> T:
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = render()
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        found: T = self._kept[key]
        return found


def message(html: str, moment: str) -> bytes:
    """A swap, or several, as one message. moment: its id."""
    return ServerSentEvent(html, id=moment or None, sep="\n").encode()
