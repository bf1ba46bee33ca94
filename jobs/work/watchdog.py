"""The watchdog: a worker's judgement of its work horse, about once a second.

A file that nobody foresaw may hang a library or fill the memory. The work horse cannot end itself then, so its parent
does. A work horse is *cut* if it makes no progress for a while or holds too much memory; it is ended without blame if
its claim is lost or its upload was cancelled, because it can no longer commit anything.
"""

import logging
import signal
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from jobs import uploads
from jobs.database import Database
from jobs.errors import ClaimLostError, UploadNotFoundError
from jobs.process.horse_state import HorseState
from jobs.settings import Settings
from jobs.uploads import Claim, CutReason, Status, Upload

log = logging.getLogger(__name__)

#: Seconds between two looks at a work horse: with one for its death, a cancelled import ends within 2 s.
WATCH_SECONDS = 1
#: Seconds without progress after which a work horse is cut. The reader, the archives and the workbooks tell of progress
#: at least once a second, and a wait for the database counts as progress.
NO_PROGRESS_SECONDS = 30.0
#: Seconds that the watchdog waits for a lock of the database: the worker sends no heartbeat meanwhile.
DATABASE_SECONDS = 2.0
#: Signals of a process that ends itself because it got no more memory.
_ABORTS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
#: Where Linux counts the processes that it killed because memory ran out.
_KERNEL_COUNTERS = Path("/proc/vmstat")


class Watchdog:
    """Watches one work horse from its fork to its death."""

    def __init__(self, settings: Settings, state: HorseState, pid: int) -> None:
        self._settings = settings
        self._state = state
        self._pid = pid
        self._database: Database | None = None
        self._kills_before = _kills_for_memory()
        #: The lease at the last look, and when it was seen first.
        self._lease: datetime | None = None
        self._lease_seen = time.monotonic()
        self.resident = 0

    def verdict(self) -> CutReason | str | None:
        """Why the work horse must end: a reason to cut it, or a sentence without blame; None while all is well."""
        with suppress(psutil.NoSuchProcess):
            self.resident = psutil.Process(self._pid).memory_info().rss
        if self.resident > self._settings.worker_memory:
            return CutReason.MEMORY
        if self._state.seconds_without_progress > NO_PROGRESS_SECONDS:
            return CutReason.TIME
        return self._lost_claim()

    def cause_of_death(self, how: int | None) -> CutReason | None:
        """Why a work horse that the watchdog did not end died, if memory was the cause. how: the
        signal that it died of, None if it exited."""
        if how == signal.SIGKILL and _kills_for_memory() > self._kills_before:
            return CutReason.MEMORY
        # Libraries in C++ and Rust abort when they get no more memory (RLIMIT_DATA in worker.py).
        if how in _ABORTS and self.resident > self._settings.worker_memory / 2:
            return CutReason.MEMORY
        return None

    def close(self) -> None:
        """Close the connection to the database, so that the next work horse inherits none."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _lost_claim(self) -> str | None:
        if self._state.claim is None:
            return None
        claim = Claim(*self._state.claim)
        try:
            upload = self._look(claim)
        except UploadNotFoundError:
            return "its upload was removed"
        except Exception as error:
            # The work horse goes on: it notices itself whether its claim is lost, when it writes next.
            log.warning("The watchdog cannot read upload %d: %s", claim.upload_id, error)
            return None
        if upload.attempt == claim.attempt and upload.status in (Status.PROCESSING, Status.COMPLETED):
            return None
        return "its upload was cancelled" if upload.status is Status.CANCELLED else "its claim is lost"

    def _look(self, claim: Claim) -> Upload:
        """The upload now. Renews the lease of a work horse that is busy and did not do so itself."""
        if self._database is None:
            self._database = Database(self._settings.database, lock_timeout=DATABASE_SECONDS)
        with self._database.reading() as connection:
            upload = uploads.get(connection, claim.upload_id)
        now = time.monotonic()
        if upload.lease_until != self._lease:
            self._lease, self._lease_seen = upload.lease_until, now
        is_late = now - self._lease_seen >= self._settings.lease / 3
        if is_late and not self._state.is_waiting and self._is_running():
            with suppress(ClaimLostError), self._database.transaction() as connection:
                return uploads.renew(connection, claim, lease=self._settings.lease)
        return upload

    def _is_running(self) -> bool:
        """Whether nobody stopped the process: the claim of a frozen work horse goes to the next one."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._pid).status() != psutil.STATUS_STOPPED
        return False


def _kills_for_memory() -> int:
    """Processes that the kernel killed because memory ran out, since the machine started; 0 where it does not tell."""
    with suppress(OSError, ValueError):
        counters = dict(line.split() for line in _KERNEL_COUNTERS.read_text("ascii").splitlines())
        return int(counters.get("oom_kill", 0))
    return 0
