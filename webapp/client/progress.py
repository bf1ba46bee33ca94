"""Progress in a terminal: one bar per file, followed by a text."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from webapp.client.follower import State, rows

#: Seconds of an import before its rate is meaningful.
RATE_AFTER = 0.5


class ProgressBars:
    """For a terminal: a bar that fills with the bytes sent, then again with the rows imported."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._task: TaskID | None = None
        self._begun: tuple[float, int] | None = None
        self._is_importing = False

    def begin(self, name: str, size: int) -> None:
        """Show a file that is about to be sent. size: bytes."""
        self._task = self._progress.add_task(name, total=size, text=f"sending {size:,} bytes")
        self._begun, self._is_importing = None, False

    def follow(self, state: State) -> None:
        """Show a file that the server already has."""
        self._task = self._progress.add_task(state.filename, total=100, text="")
        self._begun, self._is_importing = None, True
        self.show(state)

    def sent(self, size: int) -> None:
        assert self._task is not None
        self._progress.advance(self._task, size)

    def resuming(self, sent: int, size: int) -> None:
        """Sending goes on behind what the server has already."""
        assert self._task is not None
        self._progress.update(self._task, completed=sent, text=f"resuming at {100 * sent // size} %")

    def show(self, state: State) -> None:
        assert self._task is not None
        if not self._is_importing:
            self._progress.reset(self._task)
            self._is_importing = True
        done, total = (state.rows_processed, state.rows_total) if state.rows_total else (state.progress, 100)
        self._progress.update(self._task, completed=done, total=total, text=progress_text(state, self._rate(state)))

    def end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def _rate(self, state: State) -> float | None:
        """Rows a second since the first rows were imported; the time before is not counted."""
        if state.status != "processing":
            self._begun = None
            return None
        now = self._clock()
        if self._begun is None or self._begun[1] == state.rows_processed:
            self._begun = now, state.rows_processed
        seconds, done = now - self._begun[0], state.rows_processed - self._begun[1]
        return done / seconds if seconds >= RATE_AFTER else None


def progress_text(state: State, rate: float | None) -> str:
    """The progress of an import as text. rate: rows a second, None if unknown."""
    if state.status == "pending":
        return "waiting to start"
    if state.status == "processing" and not state.rows_processed:
        return "reading the file"
    parts = [rows(state.rows_processed)]
    if state.rows_failed:
        parts.append(f"{state.rows_failed:,} failed")
    if rate is not None:
        parts.append(f"{rate:,.0f}/s")
    return ", ".join(parts)


def on_terminal() -> Progress | None:
    """Draws the bars on stderr. None if stderr is not a terminal."""
    console = Console(stderr=True)
    if not (sys.stderr.isatty() and console.is_interactive):
        return None
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # otherwise piped output would appear in the terminal
    )
