"""A single call that may take long, such as that of a library, with progress callbacks meanwhile."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from jobs.errors import UnreadableFileError

#: Seconds between two progress callbacks.
TICK_SECONDS = 0.5
#: Seconds that reading may take: some, and more for each byte. Libraries read at least 20 MB/s.
LEAST_SECONDS, BYTES_A_SECOND = 30, 2_000_000

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]
T = TypeVar("T")


class TooSlowError(UnreadableFileError):
    """A file is not read in the time that its size allows."""

    def __init__(self) -> None:
        super().__init__(
            "The file could not be read within the limits (time). Open it in the program that wrote it, save it again"
            " or save the table as CSV, then upload that file."
        )


def seconds_for(size: int) -> float:
    """How long reading may take. size: bytes after decompression."""
    return LEAST_SECONDS + size / BYTES_A_SECOND


def run_with_ticks(work: Callable[[], T], tick: Tick, *, seconds: float | None = None) -> T:
    """Run `work` in a thread and call `tick` meanwhile. Returns its result.

    seconds: raises TooSlowError if it takes longer; the thread, which cannot be stopped, ends with the process.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # a panic in Rust does not inherit from Exception
            errors.append(error)

    thread = threading.Thread(target=run, name="run_with_ticks", daemon=True)
    until = None if seconds is None else monotonic() + seconds
    thread.start()
    while thread.is_alive():
        thread.join(TICK_SECONDS)
        tick()
        if until is not None and thread.is_alive() and monotonic() > until:
            raise TooSlowError
    if errors:
        raise errors[0]
    return results[0]
