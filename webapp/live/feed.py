"""What is told on one channel, gathered and joined once for all who listen.

States that come in are gathered for a tick and then told together: an edition. The feed keeps the newest state of each
upload with the number of the edition that told it, so a mailbox is no more than the number of the last edition its
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


class News:
    """All that is new after one edition, up to another.

    events: in the order of their times. nudged: uploads to be shown again whatever their event says. newest: the time
    of the newest state that this feed ever told, "" if none. oldest: that of the first of the events.
    """

    def __init__(self, edition: int, events: list[Event], nudged: set[int], newest: str) -> None:
        self.edition = edition
        self.events = sorted(events, key=lambda event: (event.timestamp, event.file_id, event.seq))
        self.nudged = nudged
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
    """The newest of one upload: a state and the edition that tells it, and the edition that nudges it."""

    __slots__ = ("edition", "ends", "event", "nudge")

    def __init__(self) -> None:
        self.event: Event | None = None
        self.edition = self.nudge = -1
        #: Final states that newer ones have replaced, with their editions.
        self.ends: list[tuple[int, Event]] = []

    def put(self, event: Event, edition: int) -> None:
        if self.event is not None and self.event.is_terminal:
            self.ends = [*self.ends, (self.edition, self.event)][-KEPT_ENDS:]
        self.event, self.edition = event, edition

    @property
    def touched(self) -> int:
        return max(self.edition, self.nudge)

    def told(self, after: int, until: int) -> Iterator[Event]:
        """What the editions after one, until another, told, as far as it matters still."""
        if self.event is not None:
            for edition, event in (*self.ends, (self.edition, self.event)):
                if after < edition <= until:
                    yield event


class Feed:
    """The newest states of one channel, told in editions at least a tick apart."""

    def __init__(self, tick: float) -> None:
        """tick: seconds."""
        self._tick = tick
        self._mailboxes: set[Mailbox] = set()
        self._held: OrderedDict[int, _Held] = OrderedDict()  # in the order of their last change
        self._forgotten = -1
        self._newest = ""
        self._news: dict[int, News] = {}
        self._next: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        #: The number of the last edition that is complete.
        self.edition = 0

    @contextmanager
    def filling(self, mailbox: "Mailbox") -> Iterator[None]:
        """Inside the block the mailbox is told of what comes in."""
        mailbox.begin(self)
        self._mailboxes.add(mailbox)
        try:
            yield
        finally:
            self._mailboxes.discard(mailbox)

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self._mailboxes

    def put(self, event: Event) -> None:
        """Tell a state with the next edition, unless it is older than what is known of its upload."""
        held = self._held.get(event.file_id) or _Held()
        if held.event is None or held.event.seq < event.seq:
            held.put(event, self._coming)
            self._newest = max(self._newest, event.timestamp)
            self._change(event.file_id, held)

    def nudge(self, upload_id: int) -> None:
        """The upload is as it was, but what is said about it is not: its place in the line."""
        held = self._held.get(upload_id) or _Held()
        held.nudge = self._coming
        self._change(upload_id, held)

    @property
    def _coming(self) -> int:
        """The edition that tells what comes in now; when nobody listens, it is told already."""
        return self.edition + 1 if self._mailboxes else self.edition

    def _change(self, upload_id: int, held: _Held) -> None:
        self._held[upload_id] = held
        self._held.move_to_end(upload_id)
        if len(self._held) > KEPT_STATES:
            self._forgotten = self._held.popitem(last=False)[1].touched
        if self._next is None and self._mailboxes:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time(), self._not_before), self._publish)

    def _publish(self) -> None:
        """Complete the edition and wake everybody: at once after a calm, else a tick after the one before."""
        self._next = None
        self._not_before = asyncio.get_running_loop().time() + self._tick
        self.edition += 1
        self._news.clear()
        for mailbox in self._mailboxes:
            mailbox.wake()

    def say(self, message: bytes) -> None:
        """Something for everybody who listens now and has nothing better to hear."""
        for mailbox in self._mailboxes:
            mailbox.aside = message
            mailbox.wake()

    def cut_stalled(self, seconds: float) -> None:
        """End the connections whose client has read nothing for so long."""
        late = time.monotonic() - seconds
        for mailbox in [each for each in self._mailboxes if each.sending_since and each.sending_since < late]:
            log.info("A client read nothing for %g s and was cut: it comes back to a snapshot.", seconds)
            mailbox.cut()

    def has_forgotten(self, edition: int) -> bool:
        """Whether something that came after an edition is not known any more."""
        return edition < self._forgotten

    def news(self, after: int) -> News:
        """All that was told after an edition; the same object for all who ask before the next one."""
        found = self._news.get(after)
        if found is None:
            events: list[Event] = []
            nudged: set[int] = set()
            for upload_id, held in reversed(self._held.items()):
                if held.touched <= after:
                    break
                events += held.told(after, self.edition)
                if after < held.nudge <= self.edition:
                    nudged.add(upload_id)
            found = self._news[after] = News(self.edition, events, nudged, self._newest)
        return found

    def close(self) -> None:
        """No more editions."""
        if self._next is not None:
            self._next.cancel()


class Mailbox:
    """One client's place in a feed."""

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._loop: asyncio.AbstractEventLoop
        self._told = 0
        self._waiting: asyncio.Future[None] | None = None
        self._over = False
        #: Said to everybody; b"" for nothing.
        self.aside = b""
        #: Whether the process is going.
        self.closed = False
        #: The moment at which a write to the client began that is not over; None while there is none.
        self.sending_since: float | None = None
        #: Ends the client's connection, whatever waits there to be read.
        self.cut: Callable[[], None] = lambda: None

    def begin(self, feed: Feed) -> None:
        """What comes in from now on is news."""
        self._feed, self._told, self._loop = feed, feed.edition, asyncio.get_running_loop()

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
        while not self._over and feed.edition == self._told and not self.aside:
            self._waiting = self._loop.create_future()
            await self._waiting
        return not self._over and not feed.has_forgotten(self._told)

    def news(self) -> News:
        assert self._feed is not None
        return self._feed.news(self._told)

    def note(self, news: News) -> None:
        """The client was told of it."""
        self._told = news.edition
        self.aside = b""
