"""The newest state of each upload on one channel, delivered to subscribers in batches.

After a quiet time, changes are delivered at once. If many follow each other, those that arrive within the batch
interval become one revision of the feed, which ends sooner once an upload is over, unless there are many subscribers.
The feed keeps the newest state of each upload with the number of the revision
that contains it, so a subscriber is little more than the number of the last revision that its client received.
Subscribers at the same revision receive the same bytes. A late one receives everything after its own revision, each
upload once. There are no queues, so a slow client costs the others nothing.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.events import Event
from jobs.people.policy import Policy
from webapp.live.delivery.batch import Batch
from webapp.live.delivery.deliveries import Deliveries

#: Uploads whose newest state a feed keeps for late subscribers: it takes about 3 KB. The stream of a subscriber that is
#: later than that ends; its client reconnects and gets a snapshot.
MAX_STATES = 2_000
#: Final states that a feed keeps of one upload although a newer attempt replaced them: clients announce each of them.
MAX_FINAL_STATES = 10


#: Revisions that are completed without a wait after a quiet time. A small import has four states within 50 ms, none of
#: which should wait; under a steady load, revisions are one batch interval apart all the same.
BURST = 8

#: Seconds for each subscriber, up to a batch interval, from a revision to one in which an upload is over: whoever sends
#: one small file after the other waits for each end. What a revision costs is proportional to the subscribers.
PAUSE_FOR_EACH = 0.0001


class _UploadState:
    """The newest event of one upload, the revision that contains it, and the revision that invalidates the upload."""

    __slots__ = ("event", "final_states", "invalidated_in", "revision")

    def __init__(self) -> None:
        self.event: Event | None = None
        self.revision = self.invalidated_in = -1
        #: Final states that newer ones replaced, with their revisions.
        self.final_states: list[tuple[int, Event]] = []

    def replace(self, event: Event, revision: int) -> None:
        if self.event is not None and self.event.is_terminal:
            self.final_states = [*self.final_states, (self.revision, self.event)][-MAX_FINAL_STATES:]
        self.event, self.revision = event, revision

    @property
    def last_revision(self) -> int:
        return max(self.revision, self.invalidated_in)

    def events(self, after: int, until: int) -> Iterator[Event]:
        """What the revisions after one, up to another, contain of this upload."""
        if self.event is not None:
            for revision, event in (*self.final_states, (self.revision, self.event)):
                if after < revision <= until:
                    yield event


class Feed:
    """One channel. Revisions are one batch interval apart on average, at least, but for those in which an upload is
    over."""

    def __init__(self, batch_interval: float, deliveries: Deliveries | None = None) -> None:
        """batch_interval: seconds. deliveries: counts what was delivered."""
        self._batch_interval = batch_interval
        self._deliveries = deliveries
        self._subscribers: set[Subscriber] = set()
        self._states: OrderedDict[int, _UploadState] = OrderedDict()  # by upload id, least recently changed first
        self._last_dropped = -1
        self._newest = ""
        self._batches: dict[int, Batch] = {}
        self._timer: asyncio.Handle | None = None
        #: By the event loop's clock, when the timer is due.
        self._due = 0.0
        #: By the event loop's clock, when all revisions so far would be over if each had taken one batch interval.
        self._paced_until = 0.0
        #: When the last revision was completed.
        self._published = 0.0
        #: The number of the last complete revision.
        self.revision = 0

    @contextmanager
    def subscribe(self, subscriber: "Subscriber") -> Iterator[None]:
        """Inside the block the subscriber receives what arrives."""
        subscriber.join(self)
        self._subscribers.add(subscriber)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)

    @property
    def subscribers(self) -> list["Subscriber"]:
        return list(self._subscribers)

    @property
    def is_idle(self) -> bool:
        """Whether the feed has no subscriber."""
        return not self._subscribers

    def put(self, event: Event) -> None:
        """Add an event to the next revision, unless the feed has the same or a newer state of its upload."""
        state = self._states.get(event.file_id) or _UploadState()
        if state.event is None or state.event.seq < event.seq:
            state.replace(event, self._next_revision)
            self._newest = max(self._newest, event.timestamp)
            self._change(event.file_id, state, is_over=event.is_over)

    def invalidate(self, upload_id: int) -> None:
        """Have subscribers render an upload again whose record is the same: its position in the queue is not."""
        state = self._states.get(upload_id) or _UploadState()
        state.invalidated_in = self._next_revision
        self._change(upload_id, state)

    @property
    def _next_revision(self) -> int:
        """The revision that contains what arrives now. Without subscribers it is the current one."""
        return self.revision + 1 if self._subscribers else self.revision

    def _change(self, upload_id: int, state: _UploadState, *, is_over: bool = False) -> None:
        self._states[upload_id] = state
        self._states.move_to_end(upload_id)
        if len(self._states) > MAX_STATES:
            self._last_dropped = self._states.popitem(last=False)[1].last_revision
        if self._subscribers:
            self._publish_at(self._at_once if is_over else self._not_before)

    @property
    def _not_before(self) -> float:
        """When the next revision may be completed."""
        return self._paced_until - (BURST - 1) * self._batch_interval

    @property
    def _at_once(self) -> float:
        """When it may if an upload is over in it."""
        pause = min(self._batch_interval, len(self._subscribers) * PAUSE_FOR_EACH)
        return min(self._not_before, self._published + pause)

    def _publish_at(self, moment: float) -> None:
        loop = asyncio.get_running_loop()
        moment = max(loop.time(), moment)
        if self._timer is None or self._due > moment:
            self.close()
            self._timer, self._due = loop.call_at(moment, self._publish), moment

    def _publish(self) -> None:
        """Complete the revision and have it delivered."""
        self._timer, self._published = None, asyncio.get_running_loop().time()
        paced_until = max(self._paced_until, self._published) + self._batch_interval
        self._paced_until = min(paced_until, self._published + BURST * self._batch_interval)
        self.revision += 1
        self._batches.clear()
        for subscriber in self.subscribers:
            subscriber.deliver()

    def broadcast(self, message: bytes) -> None:
        """Send a message to each current subscriber for which there is no batch at that moment."""
        for subscriber in self.subscribers:
            subscriber.broadcast = message
            subscriber.deliver()

    def has_dropped(self, revision: int) -> bool:
        """Whether the feed dropped a state that came after this revision."""
        return revision < self._last_dropped

    def batch(self, after: int) -> Batch:
        """Everything after a revision. All callers before the next revision get the same object."""
        found = self._batches.get(after)
        if found is None:
            events: list[Event] = []
            invalidated: set[int] = set()
            for upload_id, state in reversed(self._states.items()):
                if state.last_revision <= after:
                    break
                events += state.events(after, self.revision)
                if after < state.invalidated_in <= self.revision:
                    invalidated.add(upload_id)
            found = self._batches[after] = Batch(self.revision, events, invalidated, self._newest, self._deliveries)
        return found

    def close(self) -> None:
        """Complete no further revision."""
        if self._timer is not None:
            self._timer.cancel()


class Subscriber(ABC):
    """One connected client of a feed."""

    #: What the client may see; it remains the same for as long as the client is subscribed.
    policy: Policy

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._revision = 0
        #: The last message to all subscribers, until this one has received something; b"" for none.
        self.broadcast = b""
        #: `time.monotonic()` when something could not be sent because the client does not read; None once it does.
        self.blocked_since: float | None = None

    @abstractmethod
    def deliver(self) -> None:
        """Send what the client has not received yet, as far as it reads. The feed calls this for each revision and for
        each broadcast. Must neither wait nor raise."""

    @abstractmethod
    def end(self) -> None:
        """End the stream; the client may reconnect."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close the client's connection, and drop what waits there to be sent."""

    def join(self, feed: Feed) -> None:
        """Receive what arrives in this feed from now on."""
        self._feed, self._revision = feed, feed.revision

    @property
    def has_news(self) -> bool:
        """Whether there is a batch or a broadcast that the client has not received."""
        assert self._feed is not None
        return self._feed.revision != self._revision or bool(self.broadcast)

    @property
    def is_too_late(self) -> bool:
        """Whether the feed no longer has everything that the client missed."""
        assert self._feed is not None
        return self._feed.has_dropped(self._revision)

    def batch(self) -> Batch:
        """Everything that the client has not received yet."""
        assert self._feed is not None
        return self._feed.batch(self._revision)

    def acknowledge(self, batch: Batch) -> None:
        """Note that the client receives this batch."""
        self._revision = batch.revision
        self.broadcast = b""
