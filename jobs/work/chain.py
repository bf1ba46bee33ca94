"""How many uploads a work horse imports one after the other: a fork for each costs more than a small file."""

import os
import time
from collections.abc import Callable

import psutil

from jobs.process import horse_state, shutdown

#: Uploads of one work horse, and seconds after which it begins no other: what a library keeps is returned with the
#: process, a person who ends the worker waits for one upload only, and a bulk upload gets its turn at the worker.
MOST_UPLOADS, MOST_SECONDS = 100, 10.0
#: Seconds between two looks for another upload, and looks before a work horse ends.
LINGERING_PAUSE, LINGERING_LOOKS = 0.005, 20
#: Part of BULK_UPLOAD_WORKER_MEMORY that earlier uploads may leave behind for the next one.
MEMORY_KEPT = 0.25


class Chain:
    """The uploads of this work horse."""

    def __init__(self, worker_memory: int) -> None:
        """worker_memory: bytes that one import may hold."""
        self._memory = worker_memory * MEMORY_KEPT
        self._until = time.monotonic() + MOST_SECONDS
        self._uploads = 0
        self._worker = os.getppid()

    def goes_on(self) -> bool:
        """Whether the work horse may begin another upload. Called after each."""
        self._uploads += 1
        return self._uploads < MOST_UPLOADS and self._may_go_on()

    def another_waits(self, is_rung: Callable[[], bool]) -> bool:
        """Wait a moment for another upload: who sends one file after the other sends the next one when the last is
        completed, and to fork another work horse takes longer than the import. is_rung: whether an upload waits."""
        with horse_state.state.waiting():
            for _ in range(LINGERING_LOOKS):
                rung = is_rung()
                if rung or not self._may_go_on():
                    return rung and self._may_go_on()
                shutdown.requested.wait(LINGERING_PAUSE)
        return False

    def _may_go_on(self) -> bool:
        if shutdown.requested.is_set() or horse_state.state.is_condemned or time.monotonic() >= self._until:
            return False
        if os.getppid() != self._worker:  # its worker died: nobody would watch the next import
            return False
        return bool(psutil.Process().memory_info().rss <= self._memory)
