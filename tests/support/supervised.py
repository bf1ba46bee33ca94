"""`bulk-upload serve` as a process that tests can observe, kill and end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.settings import Settings
from tests import ROOT
from tests.support.commands import interruptible
from tests.support.waiting import until

URL = re.compile(r"^  Address +(http://127\.0\.0\.1:\d+)$", re.MULTILINE)
BORN = re.compile(r"(The private Redis|The web process|(?:Worker|Quick worker) \d+) has process id (\d+)\.")


class Serve:
    """One `bulk-upload serve` on a data folder of the test, its output in files in the test's folder."""

    def __init__(self, folder: Path, data: str, *flags: str, port: int = 0, **variables: str) -> None:
        self.data = folder / data
        self._log = folder / f"serve-{time.monotonic_ns()}.log"
        self._out = self._log.with_suffix(".out")
        words = ["serve", "--data", str(self.data), "--port", str(port), "--workers", "1", "--quick-workers", "0"]
        with self._log.open("wb") as log, self._out.open("wb") as out, interruptible():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webapp.cli", *words, *flags],
                env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    @property
    def socket(self) -> Path:
        """The socket of its Redis."""
        return Settings(data=self.data).redis_socket

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    @property
    def log_size(self) -> int:
        """Bytes of the log so far."""
        return self._log.stat().st_size

    def log_since(self, size: int) -> str:
        """What was logged after so many bytes."""
        with self._log.open("rb") as file:
            file.seek(size)
            return file.read().decode("utf-8", "replace")

    @property
    def banner(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def children(self) -> dict[str, int]:
        """The newest process id of each child, by its name in the log."""
        return {name: int(pid) for name, pid in BORN.findall(self.log)}

    @property
    def url(self) -> str:
        """The address in the banner, once it is printed."""
        until(lambda: self.process.poll() is not None or URL.search(self.banner), f"the banner; the log: {self.log}")
        found = URL.search(self.banner)

        assert found is not None, self.log

        return found[1]

    @contextmanager
    def worker(self) -> Iterator[None]:
        """One more worker on the same data folder, inside the block."""
        process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", "worker", "--data", str(self.data)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)

    def refusal(self) -> tuple[int, str]:
        """Exit status and output of a start that fails."""
        return self.process.wait(60), self.log

    def kill_everything(self) -> None:
        """Kill all processes, as a power cut does."""
        for pid in [self.process.pid, *self.children.values()]:
            kill(pid)
        self.process.wait(60)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie: one whose parent was killed may wait for a while to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children_of(pid: int) -> list[int]:
    """The processes that a process has forked."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]
    except FileNotFoundError:
        return []
