"""Makes every change of an upload in the one safe order: commit, then publish, then enqueue.

The database is the source of truth. A change published before its commit could be rolled back; an upload
enqueued before its commit could be claimed before it exists. A publish or an enqueue that fails is logged and repaired
later: pages reload from the database, and the sweeper enqueues again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self, TypeVar

import sqlalchemy as sa

from jobs.database import Database
from jobs.events import Publisher, Ticker
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.uploads import Status, Upload

#: An upload after its change, or None if the change did not apply.
U = TypeVar("U", bound=Upload | None)
T = TypeVar("T")


class Changes:
    """Commits and announces changes of uploads. Thread-safe, except for `progress`."""

    def __init__(self, database: Database, publisher: Publisher, queue: UploadQueue) -> None:
        self.database = database
        self.queue = queue
        self._publisher = publisher
        self._progress = Ticker(publisher.publish)

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings, database: Database | None = None) -> Iterator[Self]:
        """Open the connections and close them at the end. database: used instead of a new one, and left open."""
        used = database or Database(settings.database)
        publisher, queue = Publisher(settings.redis), UploadQueue(settings.redis)
        try:
            yield cls(used, publisher, queue)
        finally:
            queue.close()
            publisher.close()
            if database is None:
                used.close()

    def make(self, change: Callable[[sa.Connection], U]) -> U:
        """Commit a change of one upload, publish the upload's new state, and enqueue it if it waits for a worker.

        change: runs in the transaction; returns None if it did not apply, then nothing is published. Raises what
        `change` raises.
        """
        with self.database.transaction() as connection:
            upload = change(connection)
        if upload is not None:
            self._announce(upload)
        return upload

    def make_several(self, change: Callable[[sa.Connection], tuple[T, Sequence[Upload]]]) -> T:
        """Commit changes of several uploads together. change: returns a result and the changed uploads."""
        with self.database.transaction() as connection:
            result, changed = change(connection)
        for upload in changed:
            self._announce(upload)
        return result

    def progress(self, change: Callable[[sa.Connection], Upload]) -> Upload:
        """Commit progress of the upload that this process imports; publish the latest state a few times a second."""
        with self.database.transaction() as connection:
            upload = change(connection)
        self._progress.tick(upload)
        return upload

    def _announce(self, upload: Upload) -> None:
        self._publisher.publish(upload)
        if upload.status is Status.PENDING:
            self.queue.enqueue(upload)
