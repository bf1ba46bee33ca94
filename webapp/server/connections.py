"""All connections of a web process: how many there may be, and which are closed to admit others."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

#: Connections without an event stream, at most: far more than a team's browsers open, and some 20 MB of memory.
MOST_CONNECTIONS = 1_000
#: Connections beyond the limit that are admitted only to be told so, while all others have a request in progress.
MARGIN = 32
#: Seconds between two checks of the deadlines, at most: a client may take this much longer than one allows.
CHECK_INTERVAL = 1.0


@dataclass(frozen=True)
class Deadlines:
    """For how many seconds a client may keep its connection waiting."""

    #: For the first or the rest of a request's head. A browser sends all of it at once.
    head: float = 10.0
    #: For the next byte of a request's body. An upload over a bad network may pause for some seconds.
    body: float = 30.0
    #: Until it reads more of a response. A download that somebody paused is a request that can be made again.
    write: float = 60.0

    @property
    def check_interval(self) -> float:
        return min(CHECK_INTERVAL, self.head / 4, self.body / 4, self.write / 4)


class Client(Protocol):
    """A connection, as this module needs it."""

    def check(self, now: float) -> None:
        """End the connection if a deadline has passed. now: the event loop's time."""

    def close(self) -> None: ...


class Connections:
    """Every connection is idle (no request, or one whose head is incomplete), busy, or an event stream.

    Idle ones may be closed at any time, the one that has been idle for longest first; clients then open another one.
    Busy ones and streams are never closed to make room. Streams have a limit of their own, and no deadlines: the hub
    closes those that are not read. One timer checks the deadlines of all the others.
    """

    def __init__(self, limit: int = MOST_CONNECTIONS, deadlines: Deadlines | None = None) -> None:
        """limit: of connections that are not streams."""
        self.deadlines = deadlines or Deadlines()
        self._limit = limit
        self._idle: dict[Client, None] = {}  # in the order in which they became idle
        self._busy: dict[Client, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._warned = False

    @property
    def is_full(self) -> bool:
        """Whether no further request can be served now."""
        return len(self._busy) >= self._limit

    def opened(self, client: Client) -> None:
        """Admit a connection. If there are too many, others that are idle are closed; if none is, this one."""
        self._make_room(1)
        if self._count >= self._limit + MARGIN:
            client.close()
            return
        self._idle[client] = None
        if self._timer is None:
            self._check_later()

    def began_request(self, client: Client) -> None:
        self._idle.pop(client, None)
        self._busy[client] = None

    def began_stream(self, client: Client) -> None:
        self._busy.pop(client, None)

    def ended_request(self, client: Client) -> None:
        self._busy.pop(client, None)
        self._idle[client] = None
        self._make_room(0)  # it may have been a stream, which did not count

    def closed(self, client: Client) -> None:
        self._idle.pop(client, None)
        self._busy.pop(client, None)

    @property
    def _count(self) -> int:
        return len(self._idle) + len(self._busy)

    def _make_room(self, needed: int) -> None:
        while self._count + needed > self._limit:
            self._warn()
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return
            del self._idle[oldest]
            oldest.close()

    def _warn(self) -> None:
        """Once until there is room again: this may happen many times a second."""
        if not self._warned:
            log.warning(
                "There are %d connections, as many as this process accepts besides event streams; idle ones are closed"
                " to admit others.",
                self._count,
            )
            self._warned = True

    def _check_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.deadlines.check_interval, self._check)

    def _check(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for client in (*self._idle, *self._busy):
            client.check(now)
        if self._count < self._limit:
            self._warned = False
        if self._count:
            self._check_later()
