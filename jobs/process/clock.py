"""The database's clock, watched for jumps: whether an hour passed, or somebody set the clock forward by an hour."""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

#: Seconds that the clock may drift from the monotonic one before that counts as a jump.
TOLERANCE = 2.0
#: Jumps that are remembered; a clock that jumps more often is broken.
MOST_JUMPS = 100


class Clock:
    """Compares the database's clock with this process's monotonic one.

    A clock that was set forward makes everybody look silent who reported before the jump. One that was set back makes
    them look alive for as long as the jump: nothing happens too early.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        #: A moment by both clocks.
        self._anchor: tuple[datetime, float] | None = None
        #: For each jump, the moment at which the clock would stand without it, and its size in seconds.
        self._jumps: deque[tuple[datetime, float]] = deque(maxlen=MOST_JUMPS)

    def read(self, now: Callable[[], datetime]) -> datetime:
        """The time by the database's clock. now: asks the database."""
        before = self._monotonic()
        found = now()
        after = self._monotonic()
        if after - before > TOLERANCE / 2:  # too slow an answer to compare
            return found
        if self._anchor is None:
            self._anchor = found, after
        expected = self._anchor[0] + timedelta(seconds=after - self._anchor[1])
        jump = (found - expected).total_seconds()
        if abs(jump) > TOLERANCE:
            self._jumps.append((expected, jump))
            self._anchor = found, after
        return found

    def set_forward_since(self, moment: datetime) -> float:
        """Seconds by which the clock was set forward after a moment that it showed; 0 if it was set back since."""
        return max(0.0, sum(jump for before, jump in self._jumps if moment <= before))

    def elapsed(self, now: datetime, since: datetime, *, noted: datetime | None = None) -> float:
        """Seconds from a moment to now, without the jumps forward. noted: when somebody noted the moment, if not then:
        that of a deadline lies ahead."""
        return (now - since).total_seconds() - self.set_forward_since(noted or since)
