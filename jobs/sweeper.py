"""The sweeper: takes uploads back from dead workers, enqueues lost uploads, and fails silent external ones.

Several processes may sweep at once: each change is guarded, so only one of them makes it.
"""

import logging
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from jobs import uploads
from jobs.changes import Changes
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

#: Seconds a pending upload may be missing from the queue before it is enqueued again: longer than a claim takes.
LOST_AFTER = 5.0
#: Seconds without a report after which pages show "No update since …": longer than a script needs for a chunk.
SILENT_AFTER = 60.0


class Sweeper:
    """Every web process runs it every few seconds."""

    def __init__(self, changes: Changes, *, external_timeout: float) -> None:
        """external_timeout: seconds without a report after which an external upload fails."""
        self._changes = changes
        self._external_timeout = external_timeout

    def sweep(self) -> None:
        """Run every check once."""
        self.take_back_expired()
        self.enqueue_lost()
        self.check_silent()

    def take_back_expired(self) -> None:
        """Take back uploads whose lease has expired, for the next worker."""
        for upload in self._read(uploads.abandoned):
            claim = Claim(upload.id, upload.attempt)
            self._changes.database.end_sessions(str(claim))
            take_back(self._changes, claim, "its worker stopped responding", expired=True)

    def enqueue_lost(self) -> None:
        """Enqueue pending uploads that are not in the queue: Redis lost them, or did not respond at their creation."""
        waiting = self._read(lambda connection: uploads.waiting(connection, for_seconds=LOST_AFTER))
        if not waiting:
            return
        status = self._changes.queue.status()
        for upload in waiting:
            if status.reachable and upload.id not in status.position:
                log.warning("Upload %d was pending but not in the queue; enqueuing it again.", upload.id)
                self._changes.queue.enqueue(upload)

    def check_silent(self) -> None:
        """Mark external uploads that have had no report for a while, and fail those that exceed the timeout."""
        timeout = self._external_timeout
        error = f"The external script sent no report for {_in_words(timeout)}. Check the script, then try again."

        def change(connection: sa.Connection, upload: Upload) -> Upload | None:
            failed = uploads.time_out(connection, upload.id, for_seconds=timeout, error=error)
            return failed or uploads.mark_silent(connection, upload.id, for_seconds=SILENT_AFTER)

        for upload in self._read(lambda c: uploads.silent_for(c, min(SILENT_AFTER, timeout))):
            changed = self._changes.make(partial(change, upload=upload))
            if changed is not None:
                log.warning("The script of upload %d sends no reports; the upload is %s.", changed.id, changed.status)

    def _read(self, query: Callable[[sa.Connection], list[Upload]]) -> list[Upload]:
        with self._changes.database.reading() as connection:
            return query(connection)


def take_back(changes: Changes, claim: Claim, because: str, *, expired: bool = False) -> None:
    """Take an upload back from a claimant that is dead. expired: only if its lease has still expired."""
    upload = changes.make(lambda connection: uploads.hand_back(connection, claim, because=because, expired=expired))
    if upload is not None:
        log.warning("Took upload %d back from attempt %d: %s.", claim.upload_id, claim.attempt, because)


def _in_words(seconds: float) -> str:
    """A duration in words: 1 hour, 30 minutes, 90 seconds."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
