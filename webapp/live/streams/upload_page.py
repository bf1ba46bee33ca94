"""The stream of an upload's page."""

from datetime import datetime

from jobs.events import timestamp
from jobs.uploads import Upload
from jobs.view import View
from webapp.live.delivery.batch import Batch
from webapp.live.moments import EARLIEST
from webapp.live.renderer import Renderer, message
from webapp.live.snapshots import Snapshots
from webapp.live.streams.stream import Stream

#: Removes the element that holds the page's connection, so that the page does not reconnect.
REMOVE_CONNECTION = '<hx-partial hx-target="#live" hx-swap="delete"></hx-partial>'


class UploadPageStream(Stream):
    """The part of the page that changes, again after each change, until nothing can change any more. A failed or
    cancelled upload can be started again, failed rows can be corrected, and rows in a dataset can be taken out by an
    undo and come back, so the streams of these go on."""

    upload_id: int

    def __init__(
        self, snapshots: Snapshots, renderer: Renderer, upload_id: int, *, seen: View, since: datetime | None
    ) -> None:
        """seen: what exists for the client. since: the moment of the state that the page shows, None if unknown."""
        self.upload_id = upload_id
        self._snapshots = snapshots
        self._renderer = renderer
        self._seen = seen
        self._since = since
        self._seq = 0

    async def begin(self) -> bytes:
        data, self._seq, self.is_over = await self._render(toast_after=self._since)
        return data

    def tell(self, batch: Batch) -> bytes:
        is_newer = any(event.seq > self._seq for event in batch.events)
        if not is_newer and not batch.invalidated:
            return b""
        data, seq, self.is_over = batch.shared(
            is_newer, lambda: self._render(toast_after=EARLIEST if is_newer else None)
        )
        self._seq = max(self._seq, seq)
        return data

    async def _render(self, *, toast_after: datetime | None) -> tuple[bytes, int, bool]:
        """The message, the seq of the state that it shows, and whether nothing can follow. toast_after: announce an end
        that is newer than this; None for no toast."""
        upload, html = await self._snapshots.progress(self.upload_id, self._seen)
        is_over = upload.is_settled
        if self._has_ended_since(upload, toast_after):
            html += self._renderer.toast(upload)
        if is_over:
            html += REMOVE_CONNECTION
        return message(html, timestamp(upload.updated_at)), upload.seq, is_over

    @staticmethod
    def _has_ended_since(upload: Upload, moment: datetime | None) -> bool:
        """Whether its end needs a toast. Corrections of an upload that is over are not its end."""
        if upload.is_active or upload.is_held or moment is None or (moment == EARLIEST and upload.changed_after_end):
            return False
        return (upload.finished_at or upload.updated_at) > moment
