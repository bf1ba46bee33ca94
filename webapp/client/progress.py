"""Progress on a terminal: a bar a file, and words behind it."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from webapp.client.follower import State, rows

#: Seconds of an import before its rate says something.
RATE_AFTER = 0.5


class Bars:
    """For a terminal: a bar that is filled once by the bytes that are sent, then by the rows that are imported."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._task: TaskID | None = None
        self._begun: tuple[float, int] | None = None
        self._imports = False

    def begin(self, name: str, size: int) -> None:
        """A file will be sent. size: bytes."""
        self._task = self._progress.add_task(name, total=size, words=f"sending {size:,} bytes")
        self._begun, self._imports = None, False

    def follow(self, state: State) -> None:
        """A file is there already, and this is how far it is."""
        self._task = self._progress.add_task(state.filename, total=100, words="")
        self._begun, self._imports = None, True
        self.show(state)

    def sent(self, size: int) -> None:
        assert self._task is not None
        self._progress.advance(self._task, size)

    def show(self, state: State) -> None:
        assert self._task is not None
        if not self._imports:
            self._progress.reset(self._task)
            self._imports = True
        done, total = (state.rows_processed, state.rows_total) if state.rows_total else (state.progress, 100)
        self._progress.update(self._task, completed=done, total=total, words=words(state, self._rate(state)))

    def end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def _rate(self, state: State) -> float | None:
        """Rows a second since they began to come; what went before was no import yet."""
        if state.status != "processing":
            self._begun = None
            return None
        now = self._clock()
        if self._begun is None or self._begun[1] == state.rows_processed:
            self._begun = now, state.rows_processed
        seconds, done = now - self._begun[0], state.rows_processed - self._begun[1]
        return done / seconds if seconds >= RATE_AFTER else None


def words(state: State, rate: float | None) -> str:
    """How far an import is. rate: rows a second, if it can be told."""
    if state.status == "pending":
        return "waiting to begin"
    if state.status == "processing" and not state.rows_processed:
        return "reading the file"
    parts = [rows(state.rows_processed)]
    if state.rows_failed:
        parts.append(f"{state.rows_failed:,} failed")
    if rate is not None:
        parts.append(f"{rate:,.0f}/s")
    return ", ".join(parts)


def on_terminal() -> Progress | None:
    """What draws the bars, on stderr; None where it is no terminal."""
    console = Console(stderr=True)
    if not (sys.stderr.isatty() and console.is_interactive):
        return None
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what is piped on would come out on the terminal
    )
