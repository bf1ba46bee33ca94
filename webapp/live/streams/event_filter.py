"""Which events a client of the general JSON stream receives."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import QueryParams

from jobs.events import Event
from jobs.uploads import Status
from webapp import parameters
from webapp.errors import InvalidQueryError
from webapp.parameters import MOST_DIGITS

#: Uploads that one stream may name: their states are read in one query.
MAX_UPLOADS = 200

DATASETS = parameters.several("dataset", "Only events of uploads into these.", lambda _: True, "", {"type": "string"})
STATUSES = parameters.several(
    "status",
    "Only events with these.",
    lambda value: value in set(Status),
    f"must be one or more of {', '.join(Status)}",
    {"type": "string", "enum": list(Status)},
)
UPLOADS = parameters.several(
    "upload",
    "Only events of these.",
    lambda value: value.isdecimal() and len(value) <= MOST_DIGITS,
    "must be one or more numbers of uploads",
    {"type": "integer", "minimum": 0, "maximum": 10**MOST_DIGITS - 1},
)


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
        datasets, statuses, ids = DATASETS.read(query), STATUSES.read(query), UPLOADS.read(query)
        if len(ids) > MAX_UPLOADS:
            raise InvalidQueryError(
                "upload",
                f"may name at most {MAX_UPLOADS} uploads. Without it the stream has the events of all uploads;"
                " each event says in `file_id` which one it is about.",
            )
        return cls(datasets, statuses, frozenset(map(int, ids)))

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
