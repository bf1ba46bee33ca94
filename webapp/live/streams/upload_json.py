"""The JSON stream of one upload."""

from jobs.events import Event
from jobs.view import View
from webapp.live.delivery.batch import Batch
from webapp.live.renderer import Renderer
from webapp.live.snapshots import Snapshots
from webapp.live.streams.known_states import NOTHING_KNOWN, KnownStates
from webapp.live.streams.stream import Stream

#: A comment behind the last event. It marks the bytes that all clients of a batch share as the last ones.
END = b": end\n\n"


class UploadJsonStream(Stream):
    """First the state of the upload, then each event, up to and including the one after which only a person goes on."""

    def __init__(self, snapshots: Snapshots, renderer: Renderer, upload_id: int, *, seen: View) -> None:
        """seen: what exists for the client."""
        self._seen = seen
        self.upload_id = upload_id
        self._snapshots = snapshots
        self._renderer = renderer
        self._uploads = frozenset({upload_id})
        self._known = NOTHING_KNOWN

    async def begin(self) -> bytes:
        found = await self._snapshots.states(self._uploads, self._seen)
        self._known = KnownStates(found.seqs, newest=found.newest)
        return self._mark_end(self._encode(found.events))

    def tell(self, batch: Batch) -> bytes:
        if self._known.precede(batch):
            return self._mark_end(batch.encoded("json", self._encode))
        return self._mark_end(self._encode(self._known.unseen(batch.events)))

    def _encode(self, events: list[Event]) -> bytes:
        is_last = any(event.is_over for event in events)
        return self._renderer.json_messages(events) + (END if is_last else b"")

    def _mark_end(self, data: bytes) -> bytes:
        self.is_over = data.endswith(END)
        return data
