"""Moves the files of uploads from one store to another, while the server runs: each is copied, read back, and only then
removed where it was."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from jobs import files
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.store.folder import FolderStore
from jobs.store.store import Store
from jobs.tables import uploads

log = logging.getLogger(__name__)

#: Files whose records one query looks up.
BATCH = 500


@dataclass
class Moved:
    """files, size: that are in the other store now. here_before: of them, those that were there already. in_use: files
    that stay because somebody works on them. damaged: names of files whose bytes are not those that were uploaded."""

    files: int = 0
    size: int = 0
    here_before: int = 0
    in_use: int = 0
    damaged: tuple[str, ...] = ()


class OtherBytesError(Exception):
    """A file does not have the bytes that were uploaded."""


def move(
    database: Database, source: Store, target: Store, *, keeps: bool = False, tell: Callable[[Moved], None]
) -> Moved:
    """Move every file of an upload. What was moved before stays moved, so this can be repeated. keeps: do not remove
    them where they were. tell: called after each file. Raises StoreUnavailableError, and what a disk raises."""
    moved = Moved()
    names = list(source.names())
    for at in range(0, len(names), BATCH):
        for name, sha256, size in _records(database, names[at : at + BATCH]):
            try:
                _move(source, target, name, sha256, size, moved, keeps=keeps)
            except OtherBytesError:
                log.warning("The file %s is damaged, so it was not moved.", name)
                moved.damaged = (*moved.damaged, name)
            except FileNotFoundError:
                continue  # somebody has removed it meanwhile
            tell(moved)
    return moved


def _records(database: Database, names: list[str]) -> list[tuple[str, str, int]]:
    columns = uploads.c
    statement = sa.select(columns.stored_as, columns.sha256, columns.size).where(columns.stored_as.in_(names))
    with database.reading() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(statement)]


def _move(source: Store, target: Store, name: str, sha256: str, size: int, moved: Moved, *, keeps: bool) -> None:
    is_there = _has(target, name, sha256, size)
    if not is_there:
        target.put(name, checked(source.blocks(name, 0, size), sha256, size))
        if not _has(target, name, sha256, size):
            raise StoreUnavailableError(f"{name} was stored, but reads differently")
    moved.files, moved.size, moved.here_before = moved.files + 1, moved.size + size, moved.here_before + is_there
    if not keeps and not _remove(source, name):
        moved.in_use += 1


def _has(store: Store, name: str, sha256: str, size: int) -> bool:
    found = store.state(name)
    if found is None or found.size != size:
        return False
    try:
        for _ in checked(store.blocks(name, 0, size), sha256, size):
            pass
    except (OtherBytesError, FileNotFoundError):
        return False
    return True


def checked(blocks: Iterator[bytes], sha256: str, size: int) -> Iterator[bytes]:
    """The same blocks. Raises at their end if they are not those of an upload. sha256: "" if it is not known."""
    made, count = hashlib.sha256(), 0
    for block in blocks:
        made.update(block)
        count += len(block)
        yield block
    if count != size or (sha256 and made.hexdigest() != sha256):
        raise OtherBytesError


def _remove(store: Store, name: str) -> bool:
    """False: somebody works on it."""
    if isinstance(store, FolderStore):
        path = store.work / name
        with files.unused(path, without_locks=False) as is_unused:
            if not is_unused:
                return False
            for spool in files.spools_of(path):
                spool.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            return True
    store.remove(name)
    return True
