"""Undoing: the attempt of an upload of kind `undo`, under one claim.

While it runs, nothing else is imported into its dataset. It looks for the rows that are not as they should be once its
uploads are undone (versions.py), and changes them chunk by chunk; what they were is kept, so that it can be undone
itself. A chunk's rows and counters are committed together under the claim. So an attempt that follows an interruption
finds what is left, and changes no row twice.
"""

from functools import partial

import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.datasets import Dataset
from jobs.errors import DatasetTakenError
from jobs.traces import before_images
from jobs.traces.before_images import Lost
from jobs.undo.orders import Effect
from jobs.undo.versions import Changed, Decision, Versions
from jobs.uploads import Upload
from jobs.work.attempt import Attempt

#: Bytes of a row, for the size of a chunk: a chunk of an import has as many.
ROW_BYTES = 100


class Undoing(Attempt):
    """One attempt to undo uploads."""

    def _work(self) -> None:
        with self._database.transaction() as connection:
            dataset = self._entered(connection)
        with self._database.reading() as connection:
            rows = self._chunk_bytes // ROW_BYTES
            versions = Versions(connection, dataset, self._effect(connection), chunk_rows=rows)
            left = versions.rows_left(connection, self._upload.undoes)
        begin = partial(uploads.begin_undo, claim=self._claim, lease=self._settings.lease, rows_left=left)
        self._upload = self._changes.progress(begin)
        for changes in versions.changes(self._database, self._keep_claim):
            change = partial(self._change, dataset=dataset, versions=versions, changes=changes)
            self._upload = self._changes.progress(change)
        self._keep_claim()
        self._changes.make_several(self._undone)

    def _entered(self, connection: sa.Connection) -> Dataset:
        """The dataset, into which nothing else is imported meanwhile. Raises DatasetTakenError, DatasetNotFoundError,
        ClaimLostError."""
        name = self._upload.dataset or ""
        uploads.hold(connection, self._claim)
        dataset = datasets.lock(connection, name)
        if uploads.imported_meanwhile(connection, name, self._upload.id):
            raise DatasetTakenError(name)
        if self._keeps_images:
            before_images.make_table(connection, dataset)
        return dataset

    @property
    def _keeps_images(self) -> bool:
        return self._settings.undo_days > 0

    def _effect(self, connection: sa.Connection) -> Effect:
        return Effect.of(connection, self._upload.dataset or "", self._upload.undoes, self._upload.id)

    def _change(
        self, connection: sa.Connection, dataset: Dataset, versions: Versions, changes: list[Decision]
    ) -> Upload:
        """Change the rows of a chunk, and count them. Raises ClaimLostError."""
        uploads.hold(connection, self._claim)
        changed = versions.apply(connection, changes, self._upload.id, keep_images=self._keeps_images)
        upload = uploads.advance_undo(
            connection,
            self._claim,
            lease=self._settings.lease,
            removed=changed.removed,
            restored=changed.restored,
            added=changed.added,
        )
        self._pass_milestone(connection, upload)
        self._record(connection, dataset, changed)
        datasets.count_rows(connection, dataset.name, changed.added - changed.removed)
        return upload

    def _record(self, connection: sa.Connection, dataset: Dataset, changed: Changed) -> None:
        if changed.imaged:
            before_images.record(
                connection,
                self._upload.id,
                dataset.name,
                replaced=changed.imaged,
                images=changed.images,
                lost=None if self._keeps_images else Lost.OFF,
            )

    def _undone(self, connection: sa.Connection) -> tuple[None, list[Upload]]:
        """Complete the undo, and mark the uploads that are undone, or in effect again."""
        upload = uploads.complete_undo(connection, self._claim)
        effect = self._effect(connection)
        marked = effect.record(connection)
        for each in sorted(effect.dead):
            before_images.keep_longer(connection, each)
        return None, [upload, *marked]
