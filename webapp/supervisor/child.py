"""A child of the supervisor: started, started again when it dies, and ended."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

#: Seconds before the first, second, … start after a death; the last one stays.
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
#: Seconds of life after which a child counts as healthy again: its next death is a first one.
SETTLED_SECONDS = 30.0


class Child:
    """One process that should always run.

    name: as it reads in a sentence, "The web process".
    spawn: starts the process; called again after each death.
    """

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0
        self._deaths = 0

    def start(self) -> None:
        """Start the process."""
        self._process = self._spawn()
        self._started = time.monotonic()
        log.info("%s has process id %d.", self.name, self._process.pid)

    def ended(self) -> str | None:
        """How the process ended, to follow its name in a sentence, or None while it runs or waits to be started."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        return f"(process {self._process.pid}) {_ending(status)}"

    def tend(self) -> None:
        """Start the process again if it died: at once the first time, later after a pause that grows."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self.start()
        elif (ended := self.ended()) is not None:
            pause = self._next_pause(now - self._started)
            when = f"in {pause:g} seconds" if pause else "at once"
            log.warning("%s %s. It is started again %s.", self.name, ended, when)
            self._process, self._due = None, now + pause

    def ask_to_end(self) -> None:
        """Send SIGTERM, if there is a process to send it to."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def await_end(self, deadline: float) -> None:
        """Wait for the end until `deadline`, a time of the monotonic clock; then kill the process."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s (process %d) did not end in time and is killed.", self.name, self._process.pid)
            self._process.kill()
            self._process.wait()

    def _next_pause(self, lived: float) -> float:
        if lived >= SETTLED_SECONDS:
            self._deaths = 0
        self._deaths += 1
        return PAUSES[min(self._deaths, len(PAUSES)) - 1]


def end(children: Sequence[Child], seconds: float) -> None:
    """End the children together, in order if they manage it in so many seconds."""
    for child in children:
        child.ask_to_end()
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
