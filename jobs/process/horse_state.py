"""What a work horse tells its parent: the claim it holds, and when it last made progress.

Both share the memory, so telling costs nothing and the parent can ask however busy the work horse is. The worker makes
the memory before it forks; each process that runs the job without a worker has memory of its own that nobody reads.
"""

import mmap
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_UPLOAD, _ATTEMPT, _PROGRESS, _WAITS, _CONDEMNED = range(5)
_NUMBER_BYTES = 8


def name_of(pid: int) -> str:
    """The name under which a work horse claims. pid: its process id."""
    return f"{socket.gethostname()}:{pid}"


class HorseState:
    """The state of one work horse. Its threads write it, its parent reads it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 5 * _NUMBER_BYTES)  # anonymous memory that a fork shares
        self._numbers = memoryview(self._memory).cast("q")
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget the last work horse. Called before the next one is forked."""
        self._numbers[_UPLOAD] = self._numbers[_ATTEMPT] = self._numbers[_WAITS] = self._numbers[_CONDEMNED] = 0
        self.progress()

    def begin(self, upload_id: int, attempt: int) -> None:
        """Tell which claim the work horse holds."""
        self._numbers[_ATTEMPT], self._numbers[_UPLOAD] = attempt, upload_id
        self.progress()

    def end(self) -> None:
        """Tell that the work horse no longer holds its claim: it recorded how the attempt ended."""
        self._numbers[_UPLOAD] = 0

    def progress(self) -> None:
        """Tell that something was read, profiled or written. Cheap; any thread may call it."""
        self._numbers[_PROGRESS] = time.monotonic_ns()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Tell that a thread waits for a lock or for the database, which counts as progress."""
        self._wait(1)
        try:
            yield
        finally:
            self._wait(-1)
            self.progress()

    def _wait(self, more: int) -> None:
        with self._lock:
            self._numbers[_WAITS] += more

    @property
    def claim(self) -> tuple[int, int] | None:
        """Upload and attempt of the claim that the work horse holds; None before it claims and after it ended it."""
        while True:
            upload_id, attempt = self._numbers[_UPLOAD], self._numbers[_ATTEMPT]
            if upload_id == self._numbers[_UPLOAD]:  # else the work horse has just begun the next upload
                return (upload_id, attempt) if upload_id else None

    def condemn(self, claim: tuple[int, int] | None) -> bool:
        """Forbid the work horse to begin another upload, because its parent will kill it for what it did under a claim.

        False: it holds another claim already, so it goes on. Its parent calls this.
        """
        self._numbers[_CONDEMNED] = 1
        if self.claim == claim:
            return True
        self._numbers[_CONDEMNED] = 0
        return False

    @property
    def is_condemned(self) -> bool:
        """Whether its parent is about to kill this work horse."""
        return self._numbers[_CONDEMNED] != 0

    @property
    def is_waiting(self) -> bool:
        """Whether a thread of the work horse waits for a lock or for the database."""
        return self._numbers[_WAITS] > 0

    @property
    def seconds_without_progress(self) -> float:
        """Seconds since the work horse last told of progress; 0 while it waits for the database."""
        return 0.0 if self.is_waiting else (time.monotonic_ns() - self._numbers[_PROGRESS]) / 1e9


#: The state of this process if it is a work horse, and of the current work horse if it is a worker.
state = HorseState()
