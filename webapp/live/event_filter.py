"""Which events of the general channel a client of the JSON stream asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import QueryParams

from jobs.events import Event
from jobs.uploads import Status
from webapp.errors import InvalidQueryError

#: Uploads that one stream may name.
MAX_UPLOADS = 200


@dataclass(frozen=True)
class Filter:
    """Of each kind any one must fit; an empty one asks for nothing."""

    datasets: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    uploads: frozenset[int] = frozenset()

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """`?dataset=`, `?status=` and `?upload=`, each any number of times or with commas. Raises InvalidQueryError."""
        statuses, ids = _words(query, "status"), _words(query, "upload")
        if unknown := sorted(statuses - set(Status)):
            raise InvalidQueryError("status", f"must be one or more of {', '.join(Status)}, not “{unknown[0]}”.")
        if wrong := sorted(word for word in ids if not word.isdecimal() or len(word) > 18):
            raise InvalidQueryError("upload", f"must be one or more numbers of uploads, with commas, not “{wrong[0]}”.")
        if len(ids) > MAX_UPLOADS:
            raise InvalidQueryError(
                "upload",
                f"can name at most {MAX_UPLOADS} uploads. "
                "Leave it out to receive the events of all uploads; `file_id` says which upload an event is about.",
            )
        return cls(_words(query, "dataset"), statuses, frozenset(map(int, ids)))

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return self != Filter()

    def fits(self, event: Event) -> bool:
        return (
            (not self.uploads or event.file_id in self.uploads)
            and (not self.datasets or event.dataset in self.datasets)
            and (not self.statuses or event.status in self.statuses)
        )


class Filtered:
    """What a client with a filter is told: what fits, and once of an upload that it was told of and fits no more."""

    def __init__(self, filter_: Filter) -> None:
        self._filter = filter_
        self._believed: set[int] = set()

    def believe(self, events: Iterable[Event]) -> None:
        """A client that comes back may have been told of these uploads before, when they did fit."""
        self._believed |= {event.file_id for event in events}

    def of(self, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if self._concerns(event)]

    def _concerns(self, event: Event) -> bool:
        if self._filter.fits(event):
            self._believed.add(event.file_id)
            return True
        if event.file_id not in self._believed:
            return False
        self._believed.discard(event.file_id)
        return True


def _words(query: QueryParams, name: str) -> frozenset[str]:
    words = [word.strip() for text in query.getlist(name) for word in text.split(",")]
    if not all(words):
        raise InvalidQueryError(name, "must not be empty. Give it a value, or leave it out.")
    return frozenset(words)
