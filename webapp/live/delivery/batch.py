"""What a subscriber receives at once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from jobs.events import Event
from jobs.view import View
from webapp.live.delivery.deliveries import Deliveries, moment

T = TypeVar("T")


class NotReadyError(Exception):
    """A result that subscribers share is not ready. task: makes it; ask again once it is done."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        super().__init__()
        self.task = task


class Batch:
    """Everything that changed on a channel after one revision, up to another. Subscribers share it.

    revision: the last one that it covers. events: sorted by timestamp. invalidated: ids of uploads to render again even
    without a new event. newest: timestamp of the newest event that the feed ever had, "" if none. oldest: timestamp of
    the first event of the batch, "" if it has none.
    """

    def __init__(
        self,
        revision: int,
        events: list[Event],
        invalidated: set[int],
        newest: str,
        deliveries: Deliveries | None = None,
    ) -> None:
        self.revision = revision
        self.events = sorted(events, key=lambda event: (event.timestamp, event.file_id, event.seq))
        self.invalidated = invalidated
        self.newest = newest
        self.oldest = self.events[0].timestamp if events else ""
        self._encoded: dict[Hashable, bytes] = {}
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        self._seen_by: dict[View, Batch] = {}
        self._deliveries = deliveries
        self._committed: float | None = None

    def was_sent(self) -> None:
        """Note that a client was sent what changed."""
        if self._deliveries is None or not self.oldest:
            return
        if self._committed is None:
            self._committed = moment(self.oldest)
        self._deliveries.note(self._committed)

    def seen_by(self, view: View) -> "Batch":
        """What of it whoever has this view may learn. All who have an equal view share it, and what is made of it;
        nobody else does."""
        if view.is_whole:
            return self
        found = self._seen_by.get(view)
        if found is None:
            events = [event.without_names() for event in self.events if view.shows(event.dataset)]
            newest = max((event.timestamp for event in events), default="")
            found = self._seen_by[view] = Batch(self.revision, events, self.invalidated, newest, self._deliveries)
        return found

    def encoded(self, key: Hashable, encode: Callable[[list[Event]], bytes]) -> bytes:
        """The events as one message. The first caller with this key has it encoded; all others get the same bytes."""
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = encode(self.events)
        return found

    def shared(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the first caller's `make` with this key. Raises NotReadyError until there is one.

        If `make` raises, the next caller has it tried again.
        """
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(make(), name="shared by subscribers")
            task.add_done_callback(lambda done: self._forget_failure(key, done))
        if not task.done():
            raise NotReadyError(task)
        result: T = task.result()
        return result

    def _forget_failure(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if task.cancelled() or task.exception() is not None:
            self._shared.pop(key, None)
