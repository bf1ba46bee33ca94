"""Retention: removes what the settings do not keep: uploaded files, failed rows, audit entries, stored answers.

Each step is short, and goes on where the last one ended. What somebody may still need stays: only uploads that ended
lose anything, and none whose failed rows an upload of corrections, or a repair, is at work with. What is removed is
noted first, so that pages can say so, and what a killed process left behind is removed later.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from jobs import failed_rows, idempotency
from jobs.database import Database, utc_now
from jobs.errors import StoreUnavailableError
from jobs.excerpt import notes_excerpt
from jobs.people import audit
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.tables import WITH_FAILED_ROWS, WITH_ORIGINAL
from jobs.tables import failed_rows as failed_rows_table
from jobs.tables import uploads as records
from jobs.upkeep import leftovers
from jobs.uploads import ACTIVE, TERMINAL, Status

log = logging.getLogger(__name__)

#: Seconds between the end of a pass and the beginning of the next one.
PASS_INTERVAL = 60.0
#: Seconds of one step of a pass, so that the sweeper's other work does not wait.
STEP_SECONDS = 0.2
#: Files that one transaction notes as removed, entries that one removes, and failed rows.
FILES_AT_ONCE, ENTRIES_AT_ONCE, ROWS_AT_ONCE = 50, 1_000, 5_000

_ended = records.c.status.in_(TERMINAL)
#: In the words of their indexes, which neither database would use otherwise.
_with_original, _with_failed_rows = sa.text(WITH_ORIGINAL), sa.text(WITH_FAILED_ROWS)


class Retention:
    """Passes over what is too old, once a minute."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._due = time.monotonic()
        self._pass: Iterator[None] | None = None
        #: Whether what a killed process left behind has been removed.
        self._is_clean = False

    @property
    def _is_wanted(self) -> bool:
        kept = self._settings
        return bool(
            kept.keep_originals_days
            or kept.keep_bytes
            or kept.keep_failed_rows_days
            or kept.keep_audit_days
            or kept.keep_idempotency_days
        )

    def step(self) -> None:
        """Continue the pass, or begin one that is due, for a moment. Raises what the database raises."""
        if self._pass is None:
            if not self._is_wanted or time.monotonic() < self._due:
                return
            self._pass = self._run()
        passing, self._pass = self._pass, None
        self._due = time.monotonic() + PASS_INTERVAL
        end = time.monotonic() + STEP_SECONDS
        for _ in passing:
            if time.monotonic() > end:
                self._pass = passing
                return

    def _run(self) -> Iterator[None]:
        """Yields after each transaction."""
        kept = self._settings
        if kept.keep_originals_days:
            yield from self._remove_originals(_before(kept.keep_originals_days), None)
        if kept.keep_bytes:
            yield from self._remove_surplus(kept.keep_bytes)
        if kept.keep_failed_rows_days:
            yield from self._remove_failed_rows(_before(kept.keep_failed_rows_days))
        if kept.keep_audit_days:
            yield from self._delete(
                "entries of the audit log",
                lambda connection: audit.delete_old(connection, kept.keep_audit_days, ENTRIES_AT_ONCE),
            )
        if kept.keep_idempotency_days:
            yield from self._delete(
                "stored answers",
                lambda connection: idempotency.delete_old(connection, kept.keep_idempotency_days, ENTRIES_AT_ONCE),
            )

    def _remove_surplus(self, limit: int) -> Iterator[None]:
        """Remove the files of the uploads that ended first, until all take less than a number of bytes."""
        with self._database.reading() as connection:
            taken = sa.select(sa.func.coalesce(sa.func.sum(records.c.size), 0)).where(_with_original)
            surplus = int(connection.execute(taken).scalar_one()) - limit
        if surplus > 0:
            yield from self._remove_originals(sa.true(), surplus)

    def _remove_originals(self, which: sa.ColumnElement[bool], surplus: int | None) -> Iterator[None]:
        """which: uploads that lose their file, if they ended. surplus: bytes after which that is enough."""
        count = size = 0
        while surplus is None or size < surplus:
            with self._database.transaction() as connection:
                found = _oldest(connection, sa.and_(which, _with_original), FILES_AT_ONCE)
                if surplus is not None:
                    found = _first_of(found, surplus - size)
                marked = sa.update(records).where(records.c.id.in_([row.id for row in found]), _ended)
                gone = connection.execute(
                    marked.values(original_removed_at=utc_now()).returning(records.c.stored_as, records.c.size)
                ).all()
            for row in gone:
                self._remove_file(row.stored_as)
            count, size = count + len(gone), size + sum(row.size for row in gone)
            yield
            if not gone:
                break
        if count:
            log.info("Retention removed %s (%s bytes).", _counted(count, "uploaded file"), f"{size:,}")

    def _remove_file(self, stored_as: str) -> None:
        """If that fails, the pass over left-over files tries again: nothing needs the file any more."""
        leftovers.remove_spools(self._database, self._settings.work, stored_as)
        with suppress(OSError, StoreUnavailableError):
            store_of(self._settings).remove(stored_as)

    def _remove_failed_rows(self, which: sa.ColumnElement[bool]) -> Iterator[None]:
        if not self._is_clean:
            yield from self._finish_failed_rows()
            self._is_clean = True
        count = 0
        while True:
            with self._database.transaction() as connection:
                found = _oldest(connection, sa.and_(which, _with_failed_rows, ~_is_corrected_now()), 1)
                marked = sa.update(records).where(records.c.id.in_([row.id for row in found]), _ended)
                gone = (
                    connection.execute(marked.values(failed_rows_removed_at=utc_now()).returning(records.c.id))
                    .scalars()
                    .all()
                )
                for upload_id in gone:
                    _note_lost_edits(connection, upload_id)
            for upload_id in gone:
                yield from self._delete_rows(upload_id)
            if not gone:
                break
            count += 1
            yield
        if count:
            log.info("Retention removed the failed rows of %s.", _counted(count, "upload"))

    def _finish_failed_rows(self) -> Iterator[None]:
        """Delete what a process that was killed meanwhile left of failed rows."""
        has_rows = sa.exists().where(failed_rows_table.c.upload_id == records.c.id)
        unfinished = sa.select(records.c.id).where(records.c.failed_rows_removed_at.is_not(None), has_rows)
        with self._database.reading() as connection:
            found = connection.execute(unfinished).scalars().all()
        for upload_id in found:
            yield from self._delete_rows(upload_id)

    def _delete_rows(self, upload_id: int) -> Iterator[None]:
        while True:
            with self._database.transaction() as connection:
                is_empty = failed_rows.delete_some(connection, upload_id, ROWS_AT_ONCE)
            if is_empty:
                return
            yield

    def _delete(self, what: str, delete: Callable[[sa.Connection], int]) -> Iterator[None]:
        count = 0
        while True:
            with self._database.transaction() as connection:
                deleted = delete(connection)
            count += deleted
            yield
            if deleted < ENTRIES_AT_ONCE:
                break
        if count:
            log.info("Retention removed %s %s.", f"{count:,}", what)


def _note_lost_edits(connection: sa.Connection, upload_id: int) -> None:
    """Say with the upload how many rows somebody had edited, and not imported yet."""
    columns = failed_rows_table.c
    is_edited = (columns.upload_id == upload_id) & columns.edits.is_not(None) & columns.corrected_by.is_(None)
    count = connection.execute(sa.select(sa.func.count()).where(is_edited & columns.failed_again_in.is_(None))).scalar()
    if not count:
        return
    rows = "1 failed row that was edited and" if count == 1 else f"{count:,} failed rows that were edited and"
    note = f"{datetime.now(UTC):%Y-%m-%d}: retention removed {rows} not imported."
    this_one = records.c.id == upload_id
    notes = connection.execute(sa.select(records.c.notes).where(this_one)).scalar_one()
    connection.execute(sa.update(records).where(this_one).values(notes=notes_excerpt([note, *notes])))


def _before(days: float) -> sa.ColumnElement[bool]:
    return records.c.finished_at < utc_now(-days * 86_400)


def _oldest(connection: sa.Connection, which: sa.ColumnElement[bool], limit: int) -> Sequence[Any]:
    """Their ids and sizes. None of them is changed by another transaction meanwhile."""
    statement = (
        sa.select(records.c.id, records.c.size)
        .where(which, _ended, records.c.finished_at.is_not(None))
        .order_by(records.c.finished_at)
    )
    return connection.execute(statement.limit(limit).with_for_update(skip_locked=True)).all()


def _first_of(found: Sequence[Any], surplus: int) -> Sequence[Any]:
    """As many as are needed to make room for so many bytes."""
    for number, row in enumerate(found, 1):
        surplus -= row.size
        if surplus <= 0:
            return found[:number]
    return found


def _is_corrected_now() -> sa.ColumnElement[bool]:
    """Whether an upload that corrects this one, or repairs it, waits or runs."""
    child = records.alias("child")
    return sa.exists().where(child.c.parent == records.c.id, child.c.status.in_({*ACTIVE, Status.HELD}))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
