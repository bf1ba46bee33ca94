"""Which events of the general channel a client of the JSON stream asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import QueryParams

from jobs.events import Event
from jobs.uploads import Status
from webapp.errors import QueryError

#: Uploads that one stream may name.
MAX_UPLOADS = 200


@dataclass(frozen=True)
class EventFilter:
    """Of each kind any one must fit; an empty one asks for nothing."""

    datasets: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    uploads: frozenset[int] = frozenset()

    @classmethod
    def from_query(cls, query: QueryParams) -> Self:
        """`?dataset=`, `?status=` and `?upload=`, each any number of times or with commas. Raises QueryError."""
        statuses, ids = _words(query, "status"), _words(query, "upload")
        if unknown := sorted(statuses - set(Status)):
            raise QueryError(f"“{unknown[0]}” is no status. Use {', '.join(Status)}, several with commas.")
        if wrong := sorted(word for word in ids if not word.isdecimal() or len(word) > 18):
            raise QueryError(f"upload must be the number of an upload, several with commas, not “{wrong[0]}”.")
        if len(ids) > MAX_UPLOADS:
            raise QueryError(
                f"A stream follows at most {MAX_UPLOADS} uploads that are named. "
                "Without `upload` it tells of all; `seq` and `file_id` say which."
            )
        return cls(_words(query, "dataset"), statuses, frozenset(map(int, ids)))

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return self != EventFilter()

    def matches(self, event: Event) -> bool:
        return (
            (not self.uploads or event.file_id in self.uploads)
            and (not self.datasets or event.dataset in self.datasets)
            and (not self.statuses or event.status in self.statuses)
        )


class FilteredEvents:
    """What a client with a filter is told: what fits, and once of an upload that it was told of and fits no more."""

    def __init__(self, filter_: EventFilter) -> None:
        self._filter = filter_
        self._known: set[int] = set()

    def mark_known(self, events: Iterable[Event]) -> None:
        """A client that comes back may have been told of these uploads before, when they did fit."""
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


def _words(query: QueryParams, name: str) -> frozenset[str]:
    words = [word.strip() for text in query.getlist(name) for word in text.split(",")]
    if not all(words):
        raise QueryError(f"{name} is empty: give it a value, or leave it out.")
    return frozenset(words)
