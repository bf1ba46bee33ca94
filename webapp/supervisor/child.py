"""A child process of the supervisor: starts, restarts and ends it."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

#: Seconds before the first, second, … restart; the last value repeats.
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
#: Seconds of running after which the pauses begin again with the first.
SETTLED_SECONDS = 30.0


class Child:
    """One process that should always run.

    name: the beginning of a log sentence, such as "The web process".
    spawn: starts the process; called again for each restart.
    """

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0
        self._restarts = 0

    def start(self) -> None:
        """Start the process."""
        self._process = self._spawn()
        self._started = time.monotonic()
        log.info("%s has process id %d.", self.name, self._process.pid)

    def ended(self) -> str | None:
        """How the process ended, as the rest of a sentence. None while it runs or waits for its restart."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        return f"(process {self._process.pid}) {_ending(status)}"

    def tend(self) -> None:
        """Restart the process if it has ended: at once the first time, then after increasing pauses."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self.start()
        elif (ended := self.ended()) is not None:
            pause = self._next_pause(now - self._started)
            when = f"in {pause:g} seconds" if pause else "at once"
            log.warning("%s %s. The supervisor restarts it %s.", self.name, ended, when)
            self._process, self._due = None, now + pause

    def terminate(self) -> None:
        """Send SIGTERM if the process runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def await_end(self, deadline: float) -> None:
        """Wait for the process to end; kill it at `deadline`, a time of the monotonic clock."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s (process %d) did not end in time. Killing it.", self.name, self._process.pid)
            self._process.kill()
            self._process.wait()

    def _next_pause(self, ran: float) -> float:
        if ran >= SETTLED_SECONDS:
            self._restarts = 0
        self._restarts += 1
        return PAUSES[min(self._restarts, len(PAUSES)) - 1]


def end(children: Sequence[Child], seconds: float) -> None:
    """End the children at the same time. Kill those that still run after so many seconds."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + seconds
    for child in children:
        child.await_end(deadline)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal: it has a number only
        return f"was ended by signal {-status}"
