"""How many uploads a work horse imports one after the other: a fork for each costs more than a small file."""

import time

import psutil

from jobs import horse_state, shutdown

#: Uploads of one work horse, and seconds after which it begins no other: what a library keeps is returned with the
#: process, a person who ends the worker waits for one upload only, and a bulk upload gets its turn at the worker.
MOST_UPLOADS, MOST_SECONDS = 100, 10.0
#: Part of BULK_UPLOAD_WORKER_MEMORY that earlier uploads may leave behind for the next one.
MEMORY_KEPT = 0.25


class Chain:
    """The uploads of this work horse."""

    def __init__(self, worker_memory: int) -> None:
        """worker_memory: bytes that one import may hold."""
        self._memory = worker_memory * MEMORY_KEPT
        self._until = time.monotonic() + MOST_SECONDS
        self._uploads = 0

    def goes_on(self) -> bool:
        """Whether the work horse may begin another upload. Called after each."""
        self._uploads += 1
        if shutdown.requested.is_set() or horse_state.state.is_condemned:
            return False
        if self._uploads >= MOST_UPLOADS or time.monotonic() >= self._until:
            return False
        return bool(psutil.Process().memory_info().rss <= self._memory)
