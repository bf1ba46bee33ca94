"""Which states a client has from its snapshot, so that it does not receive them again."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jobs.events import Event
from webapp.live.delivery.batch import Batch


class KnownStates:
    """All comparisons are by seq, which grows with each state of an upload, and by timestamp."""

    def __init__(
        self,
        seqs: Mapping[int, int],
        moment: str = "",
        newest: str = "",
        active: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """seqs: the state that the client has, by upload id. moment: it needs no announcement of an end that is not
        newer; "" if it needs all. newest: the latest timestamp among `seqs`. active: seqs of the uploads that it was
        shown as active."""
        self._seqs = seqs
        self._active = active
        self._newest = max(moment, newest)
        self.moment = moment

    def unseen(self, events: Iterable[Event]) -> list[Event]:
        """The events that the client does not have."""
        return [event for event in events if event.seq > self._seqs.get(event.file_id, 0)]

    def unseen_ends(self, events: Iterable[Event]) -> set[int]:
        """Ids of the uploads that ended without the client knowing. An upload that it saw as active may have ended with
        an older timestamp than the moment, because a slow transaction commits late."""
        return {
            event.file_id
            for event in self.unseen(events)
            if event.is_terminal
            and (event.timestamp > self.moment or event.seq > self._active.get(event.file_id, event.seq))
        }

    def precede(self, batch: Batch) -> bool:
        """Whether all of the batch is certainly new to the client: it then gets the message that all such clients
        share."""
        return batch.oldest > self._newest if batch.events else batch.newest >= self.moment


#: Of a client that gets everything.
NOTHING_KNOWN = KnownStates({})
