"""The JSON stream of the general channel."""

from datetime import datetime, timedelta

from jobs.view import View
from webapp.live.delivery.batch import Batch
from webapp.live.renderer import Renderer
from webapp.live.snapshots import Snapshots
from webapp.live.streams.event_filter import EventFilter, FilteredEvents
from webapp.live.streams.known_states import NOTHING_KNOWN, KnownStates
from webapp.live.streams.stream import Stream

#: How far the snapshot reaches back before the moment that the client names. The hub takes up to ten seconds to find a
#: state whose publish was lost, and the client may have received newer states of other uploads by then.
OVERLAP = timedelta(seconds=15)


class GeneralJsonStream(Stream):
    """First the states of all uploads that are active or changed since the client's moment; then each event.

    With a filter, only the events that match it. If the filter names uploads, the snapshot has exactly these.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        renderer: Renderer,
        filter_: EventFilter,
        *,
        seen: View,
        since: datetime | None,
        is_reconnect: bool,
    ) -> None:
        """seen: what exists for the client. since: the moment up to which it has every event. is_reconnect: whether
        a stream sent it these."""
        self._snapshots = snapshots
        self._renderer = renderer
        self._uploads = filter_.uploads
        self._filtered = FilteredEvents(filter_) if filter_ else None
        self._seen = seen
        self._since = since
        self._is_reconnect = is_reconnect
        self._known = NOTHING_KNOWN

    async def begin(self) -> bytes:
        if self._uploads:
            found = await self._snapshots.states(self._uploads, self._seen)
        else:
            found = await self._snapshots.changed(self._since - OVERLAP if self._since else None, self._seen)
        self._known = KnownStates(found.seqs, newest=found.newest)
        if self._filtered is None:
            return found.message
        if self._is_reconnect:
            self._filtered.mark_known(found.events)
        return self._renderer.json_messages(self._filtered.matching(found.events))

    def tell(self, batch: Batch) -> bytes:
        if self._filtered is not None:
            return self._renderer.json_messages(self._filtered.matching(self._known.unseen(batch.events)))
        if self._known.precede(batch):
            return batch.encoded("json", self._renderer.json_messages)
        return self._renderer.json_messages(self._known.unseen(batch.events))
