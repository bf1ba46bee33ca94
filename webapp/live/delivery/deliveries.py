"""Deliveries: how long it took from the commit of a change to the sockets of those who follow it.

One list of counters, and no lock: the event loop alone counts. The histogram of a metrics library took five times as
long for each message of each client.
"""

import time
from bisect import bisect_left
from datetime import datetime

#: Seconds: upper bounds of the buckets. Most deliveries take tens of milliseconds; the database is read every second
#: while there is no Redis, and every ten seconds in any case.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Deliveries:
    """counts: deliveries by bucket, the last one without an upper bound. seconds: of all together. cut: streams that
    were closed because their clients did not read."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.cut = 0

    def note(self, committed: float) -> None:
        """A message was written to a client. committed: the time of its oldest change, in seconds since 1970."""
        took = time.time() - committed
        if took < 0:  # the database's clock is ahead of this one
            took = 0.0
        self.counts[bisect_left(BOUNDS, took)] += 1
        self.seconds += took


def moment(timestamp: str) -> float:
    """The time of an event in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()
