"""The stream of the history page."""

from datetime import datetime

from jobs.events import Event, timestamp
from jobs.view import View
from webapp.history import HistoryView
from webapp.live.delivery.batch import Batch
from webapp.live.record_cache import RecordCache
from webapp.live.renderer import Renderer, message
from webapp.live.snapshots import Snapshots
from webapp.live.streams.known_states import NOTHING_KNOWN, KnownStates
from webapp.live.streams.stream import Stream


class HistoryStream(Stream):
    """First the table as the page shows it; then rows, and a toast for each upload that ends.

    Only the page with the newest uploads and without a filter gets new rows. Any other page gets new states of the rows
    that it has, and which of the changed uploads match its filter.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        renderer: Renderer,
        records: RecordCache,
        view: HistoryView,
        *,
        seen: View,
        since: datetime | None,
    ) -> None:
        """seen: what exists for the client. since: the moment up to which it has every announcement; None for a
        client without a past."""
        self._snapshots = snapshots
        self._renderer = renderer
        self._records = records
        self._view = view
        self._seen = seen
        self._since = since
        self._known = NOTHING_KNOWN

    async def begin(self) -> bytes:
        snapshot = await self._snapshots.history(self._view, self._seen)
        missed = await self._snapshots.ended_since(self._since, self._seen) if self._since else []
        newest = max((timestamp(upload.updated_at) for upload in missed), default="")
        # Toasts for `missed` are sent here. Uploads that ended before the table's moment need none.
        self._known = KnownStates(
            {upload.id: upload.seq for upload in missed}, snapshot.moment, newest, snapshot.active
        )
        toasts = "".join(self._renderer.toast(upload) for upload in missed)
        return message(snapshot.html + toasts, snapshot.moment) if toasts else snapshot.message

    def tell(self, batch: Batch) -> bytes:
        if self._known.precede(batch):
            rows = batch.shared(self._view.is_newest, lambda: self._rows(batch, NOTHING_KNOWN))
            return rows + batch.encoded(self._view, self._matches)
        rows = batch.shared(self, lambda: self._rows(batch, self._known))
        return rows + self._matches(self._known.unseen(batch.events))

    async def _rows(self, batch: Batch, known: KnownStates) -> bytes:
        """Rows of all uploads of the batch, even those that the table shows in the same state: the toast for a missed
        end may be for a newer state than the table's."""
        seqs = dict.fromkeys(batch.invalidated, 0) | {event.file_id: event.seq for event in batch.events}
        found = [each for each in await self._records.get(seqs) if self._seen.shows(each.dataset)]
        records = await self._snapshots.as_seen(found, self._seen)
        html = self._renderer.rows(records, insert=self._view.is_newest, toasts=known.unseen_ends(batch.events))
        return message(html, max(batch.newest, known.moment)) if html else b""

    def _matches(self, events: list[Event]) -> bytes:
        return self._renderer.matches(self._view, events)
