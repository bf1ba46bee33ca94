"""What is told on one channel, gathered and joined once for all who listen.

States that come in are gathered for a tick and then told together: an revision. The feed keeps the newest state of each
upload with the number of the revision that told it, so a subscriber is no more than the number of the last revision its
client was told. All who are at the same number are told the same bytes, and who is late is told everything since its
own number, each upload once. Nobody's slowness costs anybody else anything, and nobody waits in a queue.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jobs.events import Event

log = logging.getLogger(__name__)

#: Uploads whose newest state is kept for who is late; who is later than that comes back to a snapshot.
KEPT_STATES = 5_000
#: Final states of an upload that are kept although it was tried again since: each of them is told.
KEPT_ENDS = 10

T = TypeVar("T")


class Batch:
    """All that is new after one revision, up to another.

    events: in the order of their times. invalidated: uploads to be shown again whatever their event says. newest: the
    time of the newest state that this feed ever told, "" if none. oldest: that of the first of the events.
    """

    def __init__(self, revision: int, events: list[Event], invalidated: set[int], newest: str) -> None:
        self.revision = revision
        self.events = sorted(events, key=lambda event: (event.timestamp, event.file_id, event.seq))
        self.invalidated = invalidated
        self.newest = newest
        self.oldest = self.events[0].timestamp if events else ""
        self._joined: dict[Hashable, bytes] = {}
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}

    def joined(self, key: Hashable, join: Callable[[list[Event]], bytes]) -> bytes:
        """The events as one message, made by the first who asks for this key."""
        found = self._joined.get(key)
        if found is None:
            found = self._joined[key] = join(self.events)
        return found

    async def shared(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives to the first who asks for this key. Raises what it raised; then it is made anew."""
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.ensure_future(make())
            task.add_done_callback(lambda done: self._forget_failure(key, done))
        result: T = task.result() if task.done() else await asyncio.shield(task)
        return result

    def _forget_failure(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if task.cancelled() or task.exception() is not None:
            self._shared.pop(key, None)


class _Held:
    """The newest of one upload: a state and the revision that tells it, and the revision that invalidates it."""

    __slots__ = ("ends", "event", "invalidated", "revision")

    def __init__(self) -> None:
        self.event: Event | None = None
        self.revision = self.invalidated = -1
        #: Final states that newer ones have replaced, with their revisions.
        self.ends: list[tuple[int, Event]] = []

    def put(self, event: Event, revision: int) -> None:
        if self.event is not None and self.event.is_terminal:
            self.ends = [*self.ends, (self.revision, self.event)][-KEPT_ENDS:]
        self.event, self.revision = event, revision

    @property
    def touched(self) -> int:
        return max(self.revision, self.invalidated)

    def told(self, after: int, until: int) -> Iterator[Event]:
        """What the revisions after one, until another, told, as far as it matters still."""
        if self.event is not None:
            for revision, event in (*self.ends, (self.revision, self.event)):
                if after < revision <= until:
                    yield event


class Feed:
    """The newest states of one channel, told in revisions at least a tick apart."""

    def __init__(self, batch_interval: float) -> None:
        """batch_interval: seconds."""
        self._batch_interval = batch_interval
        self._subscribers: set[Subscriber] = set()
        self._held: OrderedDict[int, _Held] = OrderedDict()  # in the order of their last change
        self._forgotten = -1
        self._newest = ""
        self._batches: dict[int, Batch] = {}
        self._next: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        #: The number of the last revision that is complete.
        self.revision = 0

    @contextmanager
    def subscribe(self, subscriber: "Subscriber") -> Iterator[None]:
        """Inside the block the subscriber is told of what comes in."""
        subscriber.begin(self)
        self._subscribers.add(subscriber)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self._subscribers

    def put(self, event: Event) -> None:
        """Tell a state with the next revision, unless it is older than what is known of its upload."""
        held = self._held.get(event.file_id) or _Held()
        if held.event is None or held.event.seq < event.seq:
            held.put(event, self._next_revision)
            self._newest = max(self._newest, event.timestamp)
            self._change(event.file_id, held)

    def invalidate(self, upload_id: int) -> None:
        """The upload is as it was, but what is said about it is not: its place in the line."""
        held = self._held.get(upload_id) or _Held()
        held.invalidated = self._next_revision
        self._change(upload_id, held)

    @property
    def _next_revision(self) -> int:
        """The revision that tells what comes in now; when nobody listens, it is told already."""
        return self.revision + 1 if self._subscribers else self.revision

    def _change(self, upload_id: int, held: _Held) -> None:
        self._held[upload_id] = held
        self._held.move_to_end(upload_id)
        if len(self._held) > KEPT_STATES:
            self._forgotten = self._held.popitem(last=False)[1].touched
        if self._next is None and self._subscribers:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time(), self._not_before), self._publish)

    def _publish(self) -> None:
        """Complete the revision and wake everybody: at once after a calm, else a tick after the one before."""
        self._next = None
        self._not_before = asyncio.get_running_loop().time() + self._batch_interval
        self.revision += 1
        self._batches.clear()
        for subscriber in self._subscribers:
            subscriber.wake()

    def broadcast(self, message: bytes) -> None:
        """Something for everybody who listens now and has nothing better to hear."""
        for subscriber in self._subscribers:
            subscriber.broadcast = message
            subscriber.wake()

    def cut_stalled(self, write_timeout: float) -> None:
        """End the connections whose client has read nothing for so long."""
        late = time.monotonic() - write_timeout
        for subscriber in [each for each in self._subscribers if each.sending_since and each.sending_since < late]:
            log.info("A client read nothing for %g s and was cut: it comes back to a snapshot.", write_timeout)
            subscriber.cut()

    def has_forgotten(self, revision: int) -> bool:
        """Whether something that came after an revision is not known any more."""
        return revision < self._forgotten

    def batch(self, after: int) -> Batch:
        """All that was told after an revision; the same object for all who ask before the next one."""
        found = self._batches.get(after)
        if found is None:
            events: list[Event] = []
            invalidated: set[int] = set()
            for upload_id, held in reversed(self._held.items()):
                if held.touched <= after:
                    break
                events += held.told(after, self.revision)
                if after < held.invalidated <= self.revision:
                    invalidated.add(upload_id)
            found = self._batches[after] = Batch(self.revision, events, invalidated, self._newest)
        return found

    def close(self) -> None:
        """No more revisions."""
        if self._next is not None:
            self._next.cancel()


class Subscriber:
    """One client's place in a feed."""

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._loop: asyncio.AbstractEventLoop
        self._revision = 0
        self._waiting: asyncio.Future[None] | None = None
        self._over = False
        #: Said to everybody; b"" for nothing.
        self.broadcast = b""
        #: Whether the process is going.
        self.closed = False
        #: The moment at which a write to the client began that is not over; None while there is none.
        self.sending_since: float | None = None
        #: Ends the client's connection, whatever waits there to be read.
        self.cut: Callable[[], None] = lambda: None

    def begin(self, feed: Feed) -> None:
        """What comes in from now on is batch."""
        self._feed, self._revision, self._loop = feed, feed.revision, asyncio.get_running_loop()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def end(self) -> None:
        """Whoever waits here is to leave, and may come back."""
        self._over = True
        self.wake()

    def close(self) -> None:
        """The process is going: whoever waits here is to leave."""
        self.closed = True
        self.end()

    async def wait(self) -> bool:
        """Until there is something to tell. False: there is nothing more to wait for, or too much was missed."""
        feed = self._feed
        assert feed is not None
        while not self._over and feed.revision == self._revision and not self.broadcast:
            self._waiting = self._loop.create_future()
            await self._waiting
        return not self._over and not feed.has_forgotten(self._revision)

    def batch(self) -> Batch:
        assert self._feed is not None
        return self._feed.batch(self._revision)

    def acknowledge(self, batch: Batch) -> None:
        """The client was told of it."""
        self._revision = batch.revision
        self.broadcast = b""
