"""Whether this process must stop: a work horse then hands its upload back after the current chunk."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Flag:
    """An event that a signal handler may set at any moment; one thread may wait for it.

    A `threading.Event` will not do: its lock may be held by the very code that the handler interrupts, which would then
    wait for itself. SimpleQueue promises that `put` may interrupt its other methods.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> None:
        """Until it is set, for so many seconds at most."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=seconds)


#: The worker's signal handlers set it (worker.py); the job reads it (bulk_upload.py).
requested = Flag()
