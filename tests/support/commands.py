"""The commands as processes, with their output in pipes or on a terminal."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests import ROOT


@contextmanager
def interruptible() -> Iterator[None]:
    """A process started inside the block handles SIGINT, as if started from a terminal.

    Tests that run in the background of a script ignore SIGINT, and processes inherit that. The handler that this
    process has in the meantime is not inherited: the system replaces it by the default.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


#: Processes that tests have started.
_started: "list[subprocess.Popen[Any]]" = []


def kill_all() -> None:
    """Leave no process behind, of a test that failed half-way."""
    while _started:
        process = _started.pop()
        process.kill()
        process.wait(60)


def begin(*words_: object, **variables: str) -> "subprocess.Popen[str]":
    """Start the command, with its output in pipes."""
    with interruptible():
        process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", *map(str, words_)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    _started.append(process)
    return process


def run(*words_: object, **variables: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    process = begin(*words_, **variables)
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


class Terminal:
    """A command whose output goes to a terminal of 100 columns."""

    def __init__(self, *words_: object) -> None:
        self._ours, theirs = pty.openpty()
        with interruptible():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webapp.cli", *map(str, words_)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
                stdout=theirs,
                stderr=theirs,
            )
        _started.append(self.process)
        os.close(theirs)
        self.seen = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.seen += os.read(self._ours, 4096).decode("utf-8", "replace")
            except OSError:  # no process has the other end open any more
                os.close(self._ours)
                return

    def status(self) -> int:
        status = self.process.wait(60)
        self._reader.join(60)
        return status
