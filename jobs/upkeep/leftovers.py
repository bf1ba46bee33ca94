"""Removes files that no upload needs: what killed processes left behind, and the spools of uploads that are over.

Several processes may do so at once, in a folder that several machines share. They go by records, by locks (files.py),
and by the clock of the file system, because the clocks of machines differ.
"""

import itertools
import logging
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from jobs import files, incoming, uploads
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.files import Name
from jobs.store import unfinished
from jobs.store.bucket import BucketStore
from jobs.store.folder import FolderStore
from jobs.store.objects import INCOMING, UPLOADS, Found
from jobs.store.store import Store
from jobs.uploads import Status

log = logging.getLogger(__name__)

#: Seconds between two passes over the folder, plus or minus a tenth, so that several processes take turns.
PASS_INTERVAL = 3600.0
#: Seconds until the next pass after one that failed, usually because the database did not respond.
RETRY_INTERVAL = 60.0
#: Seconds that one step of a pass may take, so that the sweeper's other checks do not wait.
STEP_SECONDS = 0.2
#: Files whose records one query looks up.
BATCH = 500
#: Seconds without a change after which a file may be left over although no lock proves it: a request that is still
#: receiving it writes or fails much sooner.
ABANDONED_AFTER = 3600.0
#: Stored files without a record that one pass removes, even if it finds no stored file with a record.
MOST_WITHOUT_RECORDS = 10
#: Stored files without a record that one pass remembers; the next one finds the others.
MOST_REMEMBERED = 1_000


@dataclass
class Removed:
    """What was removed. size: bytes."""

    files: int = 0
    size: int = 0

    def __str__(self) -> str:
        return f"{self.files:,} file{'' if self.files == 1 else 's'} that no upload needs ({self.size:,} bytes)"

    def remove(self, path: Path) -> None:
        """Remove a file, which another process may have removed at the same time."""
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s, which no upload needs, was not removed: %s.", path, error.strerror)
            return
        self.files += 1
        self.size += size


def remove_spools(database: Database, folder: Path, stored_as: str) -> Removed:
    """Remove the spools of an upload that is over. A spool that a work horse uses stays: the horse removes it."""
    removed, path = Removed(), folder / stored_as
    with files.unused(path, without_locks=True) as is_unused:
        spools = list(files.spools_of(path)) if is_unused else []
        if spools and _status(database, stored_as) not in uploads.ACTIVE:
            for spool in spools:
                removed.remove(spool)
    return removed


def remove_unrecorded(database: Database, store: Store, stored_as: str, *, may_be_recorded: bool) -> None:
    """Remove a stored file whose upload could not be recorded.

    may_be_recorded: the transaction reached its COMMIT, so an error does not prove that there is no record. SQLite
    tells; PostgreSQL may still commit, so the file stays, and a later pass decides.
    """
    if may_be_recorded:
        try:
            if _status(database, stored_as) is not None or not database.is_sqlite:
                return
        except sa.exc.SQLAlchemyError:
            return
    with suppress(OSError, StoreUnavailableError):  # the next pass tries again
        store.remove(stored_as)


def _status(database: Database, stored_as: str) -> Status | None:
    """The status of a stored file's upload. None: it has no record."""
    with database.reading() as connection:
        return uploads.statuses_of_files(connection, [stored_as]).get(stored_as)


def _is_recorded(database: Database, stored_as: str) -> bool:
    """Whether a stored file has an upload, or is still arriving."""
    with database.reading() as connection:
        return bool(
            uploads.statuses_of_files(connection, [stored_as]) or incoming.arriving_among(connection, [stored_as])
        )


class Leftovers:
    """Passes over the stored files, at the first step and hourly, a few hundred files at a time."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._due = time.monotonic()
        self._pass: Iterator[None] | None = None

    def step(self) -> None:
        """Continue the pass, or begin one that is due, for a moment. Raises what the database raises."""
        if self._pass is None:
            if time.monotonic() < self._due:
                return
            self._pass = self._over_all()
        passing, self._pass = self._pass, None
        self._due = time.monotonic() + RETRY_INTERVAL
        end = time.monotonic() + STEP_SECONDS
        for _ in passing:
            if time.monotonic() > end:
                self._pass = passing
                return
        self._due = time.monotonic() + PASS_INTERVAL * random.uniform(0.9, 1.1)

    def _over_all(self) -> Iterator[None]:
        """Raises StoreUnavailableError."""
        for store in self._store.each():
            if isinstance(store, FolderStore):
                yield from _Pass(self._database, folder=store.work).run()
            elif isinstance(store, BucketStore):
                yield from _BucketPass(self._database, store=store).run()


@dataclass
class _Unrecorded:
    """Stored files without a record, for the end of a pass."""

    database: Database
    removed: Removed = field(default_factory=Removed)
    #: Stored files with a record, and those without.
    recorded: int = 0
    unrecorded: int = 0
    remembered: list[str] = field(default_factory=list)

    def _remember(self, stored_as: str) -> None:
        self.unrecorded += 1
        if len(self.remembered) < MOST_REMEMBERED:
            self.remembered.append(stored_as)

    def _wanted(self, place: object) -> Iterator[str]:
        """Those to remove: none, if there are so many that the database is probably the wrong one, or was restored from
        a backup."""
        if self.unrecorded > max(MOST_WITHOUT_RECORDS, self.recorded):
            log.warning(
                "%s files in %s have no upload in this database, and only %s have one, so none was removed. Does "
                "DATABASE_URL name the right database?",
                f"{self.unrecorded:,}", place, f"{self.recorded:,}",
            )  # fmt: skip
            return
        for stored_as in self.remembered:
            if not _is_recorded(self.database, stored_as):
                yield stored_as


@dataclass
class _BucketPass(_Unrecorded):
    """One pass over a bucket, and over the folder in which processes of this machine work on copies."""

    store: BucketStore = field(kw_only=True)

    def run(self) -> Iterator[None]:
        """Yields after each batch."""
        self.store.tidy()
        yield
        now = unfinished.end_abandoned(self.store.access) or time.time()
        for batch in self.store.listed(UPLOADS):
            self._check(batch, now - ABANDONED_AFTER)
            yield
        for stored_as in self._wanted(self.store):
            self.store.remove(stored_as)
            self.removed.files += 1
            yield
        for batch in self.store.listed(INCOMING):
            self._check_pieces(batch, now - ABANDONED_AFTER)
            yield
        if self.removed.files:
            log.info("Removed %s.", self.removed)

    def _check(self, batch: Sequence[Found], oldest_kept: float) -> None:
        found = {name.stored_as: each for each in batch if (name := Name.parse(each.path.removeprefix(UPLOADS)))}
        with self.database.reading() as connection:
            recorded = set(uploads.statuses_of_files(connection, set(found)))
            recorded |= incoming.arriving_among(connection, set(found) - recorded)
        self.recorded += len(recorded)
        for stored_as in set(found) - recorded:
            if found[stored_as].modified < oldest_kept:
                self._remember(stored_as)

    def _check_pieces(self, batch: Sequence[Found], oldest_kept: float) -> None:
        """Pieces of a file are needed while it arrives."""
        old = [(each.path.split("/")[1], each) for each in batch if each.modified < oldest_kept]
        with self.database.reading() as connection:
            arriving = incoming.arriving_among(connection, {id_ for id_, _ in old})
        for id_, each in old:
            if id_ not in arriving:
                self.store.remove_objects([each.path])
                self.removed.files, self.removed.size = self.removed.files + 1, self.removed.size + each.size


@dataclass
class _Pass(_Unrecorded):
    """One pass over a folder."""

    folder: Path = field(kw_only=True)

    def run(self) -> Iterator[None]:
        """Yields after each batch."""
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            self._oldest_kept = _time_of_disk(self.folder) - ABANDONED_AFTER
            regular = (entry for entry in entries if entry.is_file(follow_symlinks=False))
            names = (name for entry in regular if (name := Name.parse(entry.name)))
            while batch := list(itertools.islice(names, BATCH)):
                self._check(batch)
                yield
        for stored_as in self._wanted(self.folder):
            self.removed.remove(self.folder / stored_as)
            yield
        if self.removed.files:
            log.info("Removed %s.", self.removed)

    def _check(self, batch: Sequence[Name]) -> None:
        with self.database.reading() as connection:
            statuses = uploads.statuses_of_files(connection, {name.stored_as for name in batch})
            arriving = incoming.arriving_among(connection, {name.stored_as for name in batch}.difference(statuses))
        for name in batch:
            status = statuses.get(name.stored_as)
            if name.is_spool:
                self._check_spool(name, status)
            elif name.is_part:
                self._check_arrival(name)
            elif status is None and name.stored_as not in arriving:
                self._check_unrecorded(name)
            else:
                self.recorded += 1

    def _check_spool(self, name: Name, status: Status | None) -> None:
        """A spool is needed until its upload is over; one that is being written, until its work horse ends."""
        is_over = status not in uploads.ACTIVE
        if is_over or (name.is_part and self._is_old(name)):
            with files.unused(self.folder / name.stored_as, without_locks=is_over) as is_unused:
                if is_unused and not (is_over and _status(self.database, name.stored_as) in uploads.ACTIVE):
                    self.removed.remove(self._path(name))

    def _check_arrival(self, name: Name) -> None:
        """A file that is being received is locked by the process that receives it."""
        is_old = self._is_old(name)
        if is_old or name.is_of_this_kernel:
            with files.unused(self._path(name), without_locks=is_old) as is_unused:
                if is_unused:
                    self.removed.remove(self._path(name))

    def _check_unrecorded(self, name: Name) -> None:
        if self._is_old(name):
            self._remember(name.stored_as)

    def _path(self, name: Name) -> Path:
        return self.folder / f"{name.stored_as}{name.suffix}"

    def _is_old(self, name: Name) -> bool:
        try:
            return self._path(name).stat().st_mtime < self._oldest_kept
        except FileNotFoundError:
            return False


def _time_of_disk(folder: Path) -> float:
    """The time by the clock of the file system, which stamps the files: that of a server, on a shared folder."""
    os.utime(folder)
    return folder.stat().st_mtime
