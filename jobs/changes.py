"""Every change of an upload, in the one order that loses nothing: commit, then publish, then enqueue.

The database is the truth. What is published before its commit could be rolled back; what is enqueued before its
commit could be claimed before it exists. A publish or an enqueue that fails is logged and made up for later: pages are
refreshed from the database, and the sweeper enqueues again.
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

#: An upload after its change, or None where the change may turn out not to apply.
U = TypeVar("U", bound=Upload | None)
T = TypeVar("T")


class Changes:
    """Makes changes of uploads known. Safe to use from several threads, but for `progress`."""

    def __init__(self, database: Database, publisher: Publisher, queue: UploadQueue) -> None:
        self.database = database
        self.queue = queue
        self._publisher = publisher
        self._progress = Ticker(publisher.publish)

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings, database: Database | None = None) -> Iterator[Self]:
        """Connections of their own for the time of the block. database: one to use instead, which stays open."""
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

        change: made in the transaction; None: it did not apply, so there is nothing to publish. Raises what it raises.
        """
        with self.database.transaction() as connection:
            upload = change(connection)
        if upload is not None:
            self._tell(upload)
        return upload

    def make_several(self, change: Callable[[sa.Connection], tuple[T, Sequence[Upload]]]) -> T:
        """Commit changes of several uploads together. change: returns its result, and the uploads that it changed."""
        with self.database.transaction() as connection:
            result, changed = change(connection)
        for upload in changed:
            self._tell(upload)
        return result

    def progress(self, change: Callable[[sa.Connection], Upload]) -> Upload:
        """Commit progress of the one upload that this process imports, and publish the newest a few times a second."""
        with self.database.transaction() as connection:
            upload = change(connection)
        self._progress.tick(upload)
        return upload

    def _tell(self, upload: Upload) -> None:
        self._publisher.publish(upload)
        if upload.status is Status.PENDING:
            self.queue.enqueue(upload)
