"""Backup: the database as it was at one moment, and the files that it names, in a folder; made while the server runs.

The order makes it whole. First all files that there are; they never change. Then the database, in one snapshot. Then
the files that came between the two. A file that the snapshot names may have been removed between the two as well: then
the database is taken anew, until nothing is missing that the server has.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from jobs import files
from jobs.database import Database
from jobs.errors import BackupError
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.store.folder import READ_BYTES
from jobs.store.moving import OtherBytesError, checked
from jobs.store.store import Store
from jobs.tables import uploads
from jobs.upkeep.database_copy import DatabaseCopy

#: Names in the folder. The last one is written last: a backup without it is not complete.
FILES, LIST, ABOUT = "files", "files.jsonl", "backup.json"
#: To be incremented with every change of what is in the folder.
FORMAT = 1
#: Snapshots of the database after which files that are missing count as lost.
SNAPSHOTS = 5


@dataclass(frozen=True)
class Kept:
    """A file that an upload of the snapshot has. is_here: whether its bytes are in the backup."""

    name: str
    size: int
    sha256: str
    is_here: bool = False


@dataclass
class About:
    """What is in a backup. database: sqlite or postgresql. store: where the files were. objects: whether those of a
    bucket were copied. lost: names of files that the store had not any more; damaged: that had other bytes than were
    uploaded."""

    made_at: str
    database: str
    store: str
    objects: bool
    uploads: int = 0
    files: int = 0
    bytes: int = 0
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises BackupError."""
        try:
            found = json.loads((folder / ABOUT).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BackupError(f"{folder} has no complete backup.") from error
        if found.get("format") != FORMAT:
            raise BackupError(f"The backup in {folder} was made by another version of this program.")
        return cls(**found)


def make(settings: Settings, folder: Path, *, objects: bool = False) -> About:
    """Write a backup into a new or empty folder. objects: copy those of a bucket too.

    Raises BackupError, StoreUnavailableError."""
    DatabaseCopy.of(settings, folder).require_database()
    _require_empty(folder)
    store, database = store_of(settings), Database(settings.database)
    try:
        return _Backup(settings, database, store, folder, objects).make()
    except OSError as error:
        raise BackupError(f"The backup was not made: {error}. Remove {folder} and try again.") from error
    finally:
        database.close()


def _require_empty(folder: Path) -> None:
    """And create it, for this user only. Raises BackupError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise BackupError(f"{folder} cannot be used: {error.strerror}.") from error
    if not is_empty:
        raise BackupError(f"{folder} is not empty. Name a new or an empty folder.")


class _Backup:
    def __init__(self, settings: Settings, database: Database, store: Store, folder: Path, objects: bool) -> None:
        self._settings, self._database, self._store, self._folder = settings, database, store, folder
        self._copies_objects = objects
        (folder / FILES).mkdir(mode=0o700)
        self._copied: set[str] = set()
        self._damaged: set[str] = set()

    def make(self) -> About:
        with self._database.reading() as connection:
            found = list(_kept(connection))
        for each in found:
            self._copy(each)
        copy = DatabaseCopy.of(self._settings, self._folder)
        missing: set[str] = set()
        for _ in range(SNAPSHOTS):
            with copy.taken(self._database) as connection:
                found = list(_kept(connection))
                count = connection.execute(sa.select(sa.func.count()).select_from(uploads)).scalar_one()
            missing = {each.name for each in found if not self._copy(each)}
            if not self._have_been_removed(missing):
                break
        self._drop_others({each.name for each in found})
        return self._described(found, count, missing, copy.kind)

    def _copy(self, file: Kept) -> bool:
        """Copy a file, if that is wanted. False: the store does not have it."""
        if file.name in self._copied:
            return True
        store = self._store_of(file.name)
        if store is None:
            return False
        if store.is_bucket and not self._copies_objects:
            return True
        path = self._folder / FILES / file.name
        try:
            with path.open("xb", buffering=0) as copy:
                for block in checked(store.blocks(file.name, 0, file.size), file.sha256, file.size):
                    files.write_all(copy, block)
                os.fsync(copy.fileno())
        except FileNotFoundError:
            path.unlink()
            return False
        except OtherBytesError:
            self._damaged.add(file.name)
        self._copied.add(file.name)
        return True

    def _store_of(self, name: str) -> Store | None:
        return next((store for store in self._store.each() if store.state(name) is not None), None)

    def _have_been_removed(self, names: set[str]) -> bool:
        """Whether one of these files belongs to no upload any more, so that the snapshot is too old."""
        with self._database.reading() as connection:
            return bool(names - {each.name for each in _kept(connection)})

    def _drop_others(self, wanted: set[str]) -> None:
        """Remove the files of uploads that ended between their copy and the snapshot."""
        for name in self._copied - wanted:
            (self._folder / FILES / name).unlink()
        self._copied &= wanted

    def _described(self, found: list[Kept], count: int, missing: set[str], kind: str) -> About:
        with (self._folder / LIST).open("x", encoding="utf-8") as lines:
            for each in found:
                described = asdict(each) | {"is_here": each.name in self._copied}
                lines.write(json.dumps(described) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
        about = About(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            database=kind,
            store=str(self._store),
            objects=self._copies_objects,
            uploads=count,
            files=len(self._copied),
            bytes=sum(each.size for each in found if each.name in self._copied),
            lost=sorted(missing),
            damaged=sorted(self._damaged),
        )
        part = self._folder / f"{ABOUT}.part"
        with part.open("x", encoding="utf-8") as file:
            json.dump(asdict(about), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._folder / ABOUT)
        for folder in (self._folder / FILES, self._folder):
            files.sync_folder(folder)
        return about


#: Uploads whose file the server has: retention removes it from others.
_is_kept = (uploads.c.stored_as != "") & uploads.c.original_removed_at.is_(None) & uploads.c.deleted_at.is_(None)


def _kept(connection: sa.Connection) -> Iterator[Kept]:
    columns = (uploads.c.stored_as, uploads.c.size, uploads.c.sha256)
    for row in connection.execute(sa.select(*columns).where(_is_kept).order_by(uploads.c.id)):
        yield Kept(*row)


def restore(settings: Settings, folder: Path) -> About:
    """Put a backup where the settings say, which must be empty. Imports that ran go on.

    Raises BackupError."""
    about = About.read(folder)
    copy = DatabaseCopy.of(settings, folder)
    if about.database != copy.kind:
        raise BackupError(
            f"The backup is of a {about.database} database, and DATABASE_URL names a {copy.kind} one."
            " They must be the same kind."
        )
    _require_untouched(settings.data)
    copy.require_empty()
    with (folder / LIST).open(encoding="utf-8") as lines:
        kept = [Kept(**json.loads(line)) for line in lines]
    store = next(store_of(settings).each())
    for each in kept:
        if each.is_here:
            _put(store, each, folder / FILES / each.name, is_damaged=each.name in about.damaged)
    copy.restore()
    if store.is_bucket and not about.objects:
        about.lost = sorted({each.name for each in kept if not each.is_here and store.state(each.name) is None})
    elif not about.objects:
        about.lost = sorted({each.name for each in kept if not each.is_here})
    return about


def _put(store: Store, file: Kept, path: Path, *, is_damaged: bool) -> None:
    try:
        store.put(file.name, checked(_blocks(path), "" if is_damaged else file.sha256, path.stat().st_size))
    except OtherBytesError as error:
        raise BackupError(f"The file {path} in the backup is damaged. Nothing was restored but files.") from error
    except OSError as error:
        raise BackupError(f"The files were not restored: {error}.") from error


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield block


def _require_untouched(data: Path) -> None:
    with suppress(FileNotFoundError):
        if next(data.iterdir(), None) is not None:
            raise BackupError(f"{data} is not empty. Restore into a new or an empty folder (BULK_UPLOAD_DATA).")
