"""Which events a client of the general JSON stream receives."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import QueryParams

from jobs.events import Event
from jobs.uploads import Status
from webapp.errors import InvalidQueryError

#: Uploads that one stream may name: their states are read in one query.
MAX_UPLOADS = 200
#: Digits of the largest id of the database.
_MAX_ID_DIGITS = 18


@dataclass(frozen=True)
class EventFilter:
    """An event matches if it has one of the datasets, one of the statuses, and is of one of the uploads. An empty set
    matches everything."""

    datasets: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    uploads: frozenset[int] = frozenset()

    @classmethod
    def from_query(cls, query: QueryParams) -> Self:
        """`?dataset=`, `?status=` and `?upload=`, each repeated or with commas. Raises InvalidQueryError."""
        statuses, ids = _values(query, "status"), _values(query, "upload")
        if unknown := sorted(statuses - set(Status)):
            raise InvalidQueryError(
                "status", f"must be one or more of {', '.join(Status)}, separated by commas, not “{unknown[0]}”."
            )
        if invalid := sorted(id_ for id_ in ids if not id_.isdecimal() or len(id_) > _MAX_ID_DIGITS):
            raise InvalidQueryError(
                "upload", f"must be one or more numbers of uploads, separated by commas, not “{invalid[0]}”."
            )
        if len(ids) > MAX_UPLOADS:
            raise InvalidQueryError(
                "upload",
                f"may name at most {MAX_UPLOADS} uploads. Without it the stream has the events of all uploads;"
                " each event says in `file_id` which one it is about.",
            )
        return cls(_values(query, "dataset"), statuses, frozenset(map(int, ids)))

    def __bool__(self) -> bool:
        """Whether it excludes anything."""
        return self != EventFilter()

    def matches(self, event: Event) -> bool:
        return (
            (not self.uploads or event.file_id in self.uploads)
            and (not self.datasets or event.dataset in self.datasets)
            and (not self.statuses or event.status in self.statuses)
        )


class FilteredEvents:
    """The events for one client: those that match, and one more when an upload that the client knows stops matching."""

    def __init__(self, filter_: EventFilter) -> None:
        self._filter = filter_
        self._known: set[int] = set()

    def mark_known(self, events: Iterable[Event]) -> None:
        """A reconnecting client may know these uploads from before, when they matched."""
        self._known |= {event.file_id for event in events}

    def matching(self, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if self._passes(event)]

    def _passes(self, event: Event) -> bool:
        if self._filter.matches(event):
            self._known.add(event.file_id)
            return True
        if event.file_id not in self._known:
            return False
        self._known.discard(event.file_id)
        return True


def _values(query: QueryParams, name: str) -> frozenset[str]:
    values = [value.strip() for text in query.getlist(name) for value in text.split(",")]
    if not all(values):
        raise InvalidQueryError(name, "is empty. Give it a value, or leave it out.")
    return frozenset(values)
