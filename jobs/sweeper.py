"""The sweeper: takes uploads back from dead workers, enqueues lost uploads, and fails silent external ones.

Leases and reports carry times of the database's clock. If somebody sets it forward, they look older than they are; a
sweeper that was running then knows better (clock.py). One that starts later goes by the records.

Several processes may sweep at once: each change is guarded, so only one of them makes it.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from jobs import replacement, uploads
from jobs.changes import Changes
from jobs.process.clock import Clock
from jobs.traces import before_images
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

#: Seconds a pending upload may be missing from the queue before it is enqueued again: longer than a claim takes.
LOST_AFTER = 5.0
#: Seconds without a report after which pages show "No update since …": longer than a script needs for a chunk.
SILENT_AFTER = 60.0
#: Uploads whose images one sweep removes at most.
PRUNED_UPLOADS = 20


class Sweeper:
    """Every web process runs it every few seconds."""

    def __init__(
        self,
        changes: Changes,
        *,
        external_timeout: float,
        held_days: float = 30,
        undo_days: float = 30,
        clock: Clock | None = None,
    ) -> None:
        """external_timeout: seconds without a report after which an external upload fails. held_days: that an upload
        waits for a person at most. undo_days: for which replaced rows are kept. clock: for tests."""
        self._changes = changes
        self._external_timeout = external_timeout
        self._held_days = held_days
        self._undo_days = undo_days
        self._clock = clock or Clock()
        #: Uploads that this process took back.
        self.taken_back = 0

    def sweep(self) -> None:
        """Run every check once."""
        self.take_back_expired()
        self.enqueue_lost()
        self.check_silent()
        self.expire_held()
        self.discard_staged()
        self.prune_images()

    def take_back_expired(self) -> None:
        """Take back uploads whose lease has expired, for the next worker."""
        found, now = self._read_at(uploads.abandoned)
        for upload in found:
            if upload.lease_until and self._clock.elapsed(now, upload.lease_until, noted=upload.updated_at) < 0:
                continue  # it expired only because the clock was set forward since it was renewed
            claim = Claim(upload.id, upload.attempt)
            self._changes.database.end_sessions(str(claim))
            self.taken_back += take_back(self._changes, claim, "its worker stopped responding", expired=True)

    def enqueue_lost(self) -> None:
        """Enqueue pending uploads that are not in the queue: Redis lost them, or did not respond at their creation."""
        with self._changes.database.reading() as connection:
            waiting = uploads.waiting_by_lane(
                connection, dataset_imports=self._changes.dataset_imports, for_seconds=LOST_AFTER
            )
        for lane, count in self._changes.queue.enqueue_missing(waiting).items():
            which = "1 upload was" if count == 1 else f"{count:,} uploads were"
            log.warning("%s pending but not in the queue %s; enqueued again.", which, lane)

    def check_silent(self) -> None:
        """Mark external uploads that have had no report for a while, and fail those that exceed the timeout."""
        timeout = self._external_timeout
        error = f"The external script sent no report for {_in_words(timeout)}. Check the script, then try again."

        def change(connection: sa.Connection, upload: Upload, silence: float, forward: float) -> Upload | None:
            if silence >= timeout:
                return uploads.time_out(connection, upload.id, for_seconds=timeout + forward, error=error)
            return uploads.mark_silent(connection, upload.id, for_seconds=SILENT_AFTER + forward)

        found, now = self._read_at(lambda connection: uploads.silent_for(connection, min(SILENT_AFTER, timeout)))
        for upload in found:
            silence = self._clock.elapsed(now, upload.last_report)
            if silence < min(SILENT_AFTER, timeout):
                continue
            forward = self._clock.set_forward_since(upload.last_report)
            changed = self._changes.make(partial(change, upload=upload, silence=silence, forward=forward))
            if changed is not None:
                log.warning(
                    "The script of upload %d sends no reports; the upload is %s.", changed.id, changed.status,
                    extra={"upload_id": changed.id},
                )  # fmt: skip

    def expire_held(self) -> None:
        """Cancel uploads that nobody decided about."""
        seconds, days = self._held_days * 86_400, f"{self._held_days:g} day{'' if self._held_days == 1 else 's'}"
        error = f"Nobody decided within {days}, so nothing was imported. Retry it to import it."
        found, now = self._read_at(lambda connection: uploads.held_for(connection, seconds))
        for upload in found:
            if self._clock.elapsed(now, upload.updated_at) < seconds:
                continue  # the clock was set forward
            expire = partial(uploads.expire, upload_id=upload.id, for_seconds=seconds, error=error)
            if self._changes.make(expire) is not None:
                log.info("Upload %d was held for %s and is cancelled.", upload.id, days, extra={"upload_id": upload.id})

    def discard_staged(self) -> None:
        """Remove the staging tables of replacements that are over: their processes died before they could."""
        with self._changes.database.reading() as connection:
            found = replacement.staged(connection)
            known = uploads.get_many(connection, found)
        for upload_id in set(found) - {upload.id for upload in known if upload.is_active}:
            with self._changes.database.transaction() as connection:
                is_discarded = replacement.discard(connection, upload_id)
            if is_discarded:
                log.info(
                    "Removed the rows that upload %d did not come to replace others by.", upload_id,
                    extra={"upload_id": upload_id},
                )  # fmt: skip

    def prune_images(self) -> None:
        """Remove rows that were replaced long ago; of many, some in each sweep."""
        with self._changes.database.reading() as connection:
            found = before_images.expired(connection, self._undo_days)
            known = {each.id: each for each in uploads.get_many(connection, [kept.upload_id for kept in found])}
        for kept in found[:PRUNED_UPLOADS]:
            if (upload := known.get(kept.upload_id)) is not None and upload.is_active:
                continue
            with self._changes.database.transaction() as connection:
                current = before_images.of(connection, kept.upload_id)
                if current is None or current.at != kept.at:
                    continue  # somebody undid the upload meanwhile
                is_unfinished = before_images.prune(connection, current)
            if is_unfinished:
                break
            log.info("Removed the rows that upload %d replaced: it cannot be undone any more.", kept.upload_id)

    def _read_at(self, query: Callable[[sa.Connection], list[Upload]]) -> tuple[list[Upload], datetime]:
        """The uploads of a query, and the time by the database's clock."""
        with self._changes.database.reading() as connection:
            found = query(connection)
            return found, self._clock.read(partial(uploads.now, connection))


def take_back(changes: Changes, claim: Claim, because: str, *, expired: bool = False) -> bool:
    """Take an upload back from a claimant that is dead. expired: only if its lease has still expired. Returns whether
    it was still that claimant's."""
    upload = changes.make(lambda connection: uploads.hand_back(connection, claim, because=because, expired=expired))
    if upload is not None:
        log.warning(
            "Took upload %d back from attempt %d: %s.", claim.upload_id, claim.attempt, because,
            extra={"upload_id": claim.upload_id},
        )  # fmt: skip
    return upload is not None


def _in_words(seconds: float) -> str:
    """A duration in words: 1 hour, 30 minutes, 90 seconds."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
