"""Makes every change of an upload in the one safe order: commit, then publish, then enqueue or remove its spools.

The database is the source of truth. A change published before its commit could be rolled back; an upload
enqueued before its commit could be claimed before it exists. A publish or an enqueue that fails is logged and repaired
later: pages reload from the database, and the sweeper enqueues again. Spools are large and can be made anew, so an
upload that is over keeps none.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import sqlalchemy as sa

from jobs import replacement, uploads
from jobs.database import Database
from jobs.errors import BulkUploadError
from jobs.events import Publisher, Ticker
from jobs.process import log_context
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.upkeep import leftovers
from jobs.uploads import Status, Upload

log = logging.getLogger(__name__)

#: An upload after its change, or None if the change did not apply.
U = TypeVar("U", bound=Upload | None)
T = TypeVar("T")


class Changes:
    """Commits and announces changes of uploads. Thread-safe, except for both kinds of `progress`."""

    def __init__(
        self, database: Database, publisher: Publisher, queue: UploadQueue, files: Path, *, dataset_imports: int
    ) -> None:
        """files: the folder in which workers work on files. dataset_imports: that may run into one dataset at once."""
        self.database = database
        self.dataset_imports = dataset_imports
        self._files = files
        self.queue = queue
        self._publisher = publisher
        self._progress = Ticker(publisher.publish)
        self._others: dict[int, Ticker[Upload]] = {}
        #: Uploads that people retried through this process.
        self.retries = 0

    @property
    def publish_failures(self) -> int:
        """Events that this process could not publish."""
        return self._publisher.failures

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings, database: Database | None = None) -> Iterator[Self]:
        """Open the connections and close them at the end. database: used instead of a new one, and left open."""
        used = database or Database(settings.database)
        publisher, queue = Publisher(settings.redis), UploadQueue(settings.redis, settings.sqlite_folder)
        try:
            yield cls(used, publisher, queue, settings.work, dataset_imports=settings.dataset_imports)
        finally:
            queue.close()
            publisher.close()
            if database is None:
                used.close()

    def begin_import(self) -> None:
        """Begin the progress of another upload, whose first state is published at once."""
        self._progress = Ticker(self._publisher.publish)
        self._others = {}

    def make(self, change: Callable[[sa.Connection], U]) -> U:
        """Commit a change of one upload, publish the upload's new state, and enqueue it if it waits for a worker.

        change: runs in the transaction; returns None if it did not apply, then nothing is published. Raises what
        `change` raises.
        """
        with self.database.transaction() as connection:
            upload = change(connection)
        for other in self._others.values():
            other.flush()
        if upload is not None:
            self._announce(upload)
        return upload

    def make_several(self, change: Callable[[sa.Connection], tuple[T, Sequence[Upload]]]) -> T:
        """Commit changes of several uploads together. change: returns a result and the changed uploads."""
        with self.database.transaction() as connection:
            result, changed = change(connection)
        for other in self._others.values():
            other.flush()
        for upload in changed:
            self._announce(upload)
        return result

    def progress(self, change: Callable[[sa.Connection], Upload]) -> Upload:
        """Commit progress of the upload that this process imports; publish the latest state a few times a second."""
        with self.database.transaction() as connection:
            upload = change(connection)
        self._progress.tick(upload)
        return upload

    def progress_with_others(self, change: Callable[[sa.Connection], tuple[Upload, Sequence[Upload]]]) -> Upload:
        """As `progress`. change: also returns other uploads that it changed, whose states are published as often."""
        with self.database.transaction() as connection:
            upload, others = change(connection)
        self._progress.tick(upload)
        for other in others:
            if other.is_deleted:  # nobody is told of it
                continue
            self._others.setdefault(other.id, Ticker(self._publisher.publish)).tick(other)
        return upload

    def remove_spools(self, upload_id: int) -> None:
        """Remove the spools of an upload that somebody else ended while this process, or its work horse, used them."""
        with self.database.reading() as connection:
            found = uploads.get_many(connection, [upload_id])
        for upload in found:
            if not upload.is_active:
                self._remove_spools(upload)
                self._discard_staged(upload)

    def _announce(self, upload: Upload) -> None:
        if upload.is_deleted:  # nobody is told of it
            return
        with log_context.about(upload.id):
            self._tell(upload)

    def _tell(self, upload: Upload) -> None:
        self._publisher.publish(upload)
        if upload.status is Status.PENDING:
            self.queue.enqueue(upload)
        elif not upload.is_active:
            self._remove_spools(upload)
            self._discard_staged(upload)
            if upload.dataset is not None and not upload.is_external:
                self._ring_for_those_behind(upload.dataset, was_alone=upload.replaces_all or upload.is_undo)

    def _ring_for_those_behind(self, dataset: str, *, was_alone: bool) -> None:
        """Wake workers for uploads that waited for an import into the same dataset to end. Whoever was woken for them
        before found that they may not start."""
        try:
            with self.database.reading() as connection:
                limit = self.dataset_imports
                if not uploads.waits_for(connection, dataset, dataset_imports=limit, was_alone=was_alone):
                    return
                waiting = uploads.waiting_by_lane(connection, dataset_imports=limit)
        except sa.exc.SQLAlchemyError as error:
            log.warning("Uploads into “%s” may wait for the sweeper (%s).", dataset, error)
        else:
            self.queue.enqueue_missing(waiting)

    def _discard_staged(self, upload: Upload) -> None:
        """Remove the rows of an upload that did not come to replace those of its dataset."""
        if not upload.replaces_all or upload.status is Status.COMPLETED or upload.holds_totals:
            return
        try:
            with self.database.transaction() as connection:
                replacement.discard(connection, upload.id)
        except (BulkUploadError, sa.exc.SQLAlchemyError) as error:
            log.warning("The staged rows of upload %d were not removed (%s); the sweeper does so.", upload.id, error)

    def _remove_spools(self, upload: Upload) -> None:
        if upload.is_external or not upload.has_file:  # has none
            return
        try:
            leftovers.remove_spools(self.database, self._files, upload.stored_as)
        except (OSError, sa.exc.SQLAlchemyError) as error:
            log.warning("The spool of upload %d was not removed (%s); the sweeper does so.", upload.id, error)
