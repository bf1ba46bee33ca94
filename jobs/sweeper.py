"""The sweep: brings back uploads whose worker is gone, enqueues lost ones, and fails silent external ones.

Any number of processes may sweep at once: each change is guarded, so only one of them makes it.
"""

import logging
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from jobs import uploads
from jobs.changes import Changes
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

#: Seconds a pending upload may be in nobody's queue before it is enqueued again: longer than a claim takes.
LOST_AFTER = 5.0
#: Seconds without a report after which pages say so: longer than any script needs between two chunks.
SILENT_AFTER = 60.0


class Sweeper:
    """To be run every few seconds, by every web process."""

    def __init__(self, changes: Changes, *, external_timeout: float) -> None:
        """external_timeout: seconds without a report after which an external upload fails."""
        self._changes = changes
        self._external_timeout = external_timeout

    def sweep(self) -> None:
        """Everything once."""
        self.take_back_expired()
        self.enqueue_lost()
        self.note_silent()

    def take_back_expired(self) -> None:
        """Give uploads whose lease is over to the next worker: theirs died, froze, or lost the database."""
        for upload in self._read(uploads.abandoned):
            claim = Claim(upload.id, upload.attempt)
            self._changes.database.end_sessions(str(claim))
            take_back(self._changes, claim, "its worker stopped responding", expired=True)

    def enqueue_lost(self) -> None:
        """Enqueue pending uploads that no queue knows: Redis lost them, or did not respond when they came."""
        waiting = self._read(lambda connection: uploads.waiting(connection, for_seconds=LOST_AFTER))
        if not waiting:
            return
        status = self._changes.queue.status()
        for upload in waiting:
            if status.reachable and upload.id not in status.position:
                log.warning("Upload %d was pending but in no queue; enqueueing it again.", upload.id)
                self._changes.queue.enqueue(upload)

    def note_silent(self) -> None:
        """Note since when external uploads have had no report, and fail those that are over the timeout."""
        timeout = self._external_timeout
        error = f"The script sent no report for {_spoken(timeout)}, so the upload failed. Is the script still running?"

        def change(connection: sa.Connection, upload: Upload) -> Upload | None:
            failed = uploads.give_up(connection, upload.id, for_seconds=timeout, error=error)
            return failed or uploads.fall_silent(connection, upload.id, for_seconds=SILENT_AFTER)

        for upload in self._read(lambda c: uploads.silent(c, for_seconds=min(SILENT_AFTER, timeout))):
            changed = self._changes.make(partial(change, upload=upload))
            if changed is not None:
                log.warning("The script of upload %d sends no reports; the upload is %s.", changed.id, changed.status)

    def _read(self, query: Callable[[sa.Connection], list[Upload]]) -> list[Upload]:
        with self._changes.database.reading() as connection:
            return query(connection)


def take_back(changes: Changes, claim: Claim, because: str, *, expired: bool = False) -> None:
    """Take an upload away from a claimant that is gone. expired: only if its lease is over still."""
    upload = changes.make(lambda connection: uploads.hand_back(connection, claim, because=because, expired=expired))
    if upload is not None:
        log.warning("Took upload %d back from attempt %d: %s.", claim.upload_id, claim.attempt, because)


def _spoken(seconds: float) -> str:
    """A duration as people say it: 1 hour, 30 minutes, 90 seconds."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
