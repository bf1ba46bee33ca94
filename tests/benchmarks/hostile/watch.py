"""Watches an instance that is under attack: the memory of its processes, and how fast /healthz responds."""

import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.processes import KIB, resident

#: Seconds between two looks at the memory, and between two requests to /healthz.
LOOK_SECONDS, HEALTH_INTERVAL = 0.05, 0.1
#: Seconds after which a request to /healthz counts as unanswered.
HEALTH_TIMEOUT = 10.0
#: What is written to clear_refs of a process so that its peak begins again (man 5 proc).
RESET_PEAK = "5"
#: Work horses whose peak is remembered.
REMEMBERED = 5_000


@dataclass(frozen=True)
class Seen:
    """worker, web: bytes of the largest process of each kind at its peak. growth: of the web process. health: seconds
    of the slowest response of /healthz."""

    worker: int
    web: int
    growth: int
    health: float


class Watch:
    """Looks at an instance in two threads, inside the block; `begin` starts a new measurement, `seen` is its result."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._peaks: dict[int, int] = {}
        self._worker = self._web_peak = self._web_before = 0
        self._health = 0.0
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._look, self._ask)]

    def begin(self) -> None:
        with self._lock:
            self._worker, self._health = 0, 0.0
            for pid in [self._instance.web, *self._instance.workers()]:
                with suppress(OSError):
                    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
            self._web_before = self._web_peak = resident(self._instance.web)

    @property
    def seen(self) -> Seen:
        with self._lock:
            growth = max(0, self._web_peak - self._web_before)
            return Seen(self._worker, self._web_peak, growth, self._health)

    def peak_of(self, pid: int) -> int:
        """Bytes of a work horse at its peak, as far as it was seen."""
        return self._peaks.get(pid, 0)

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock, suppress(OSError, KeyError):
                for pid in self._instance.workers():
                    self._peaks[pid] = _peak(pid)
                    self._worker = max(self._worker, self._peaks[pid])
                self._web_peak = max(self._web_peak, _peak(self._instance.web))
                if len(self._peaks) > REMEMBERED:
                    del self._peaks[next(iter(self._peaks))]

    def _ask(self) -> None:
        while not self._over.wait(HEALTH_INTERVAL):
            began = time.monotonic()
            healthy = _is_healthy(self._instance.address)
            seconds = time.monotonic() - began
            with self._lock:
                self._health = max(self._health, seconds if healthy else max(seconds, HEALTH_TIMEOUT))

    def __enter__(self) -> Self:
        self.begin()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _peak(pid: int) -> int:
    """The most bytes that a process has had in memory; 0 if it has ended. Raises OSError if it does not exist."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
    return int(found[1]) * KIB if found else 0


def _is_healthy(address: tuple[str, int]) -> bool:
    """Asked on a new connection, as a load balancer does."""
    connection = HTTPConnection(*address, timeout=HEALTH_TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
