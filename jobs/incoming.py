"""Files that arrive in several requests: their records, and what is there of each.

A file grows under the name that it has when it is complete, in the folder of the uploaded files. What the file system
says of its size is how far it has come, so that this is right after a crash, in whichever process asks. Whoever adds to
a file holds its lock, which the kernel releases when a process dies. The record comes before the file, and ends before
it: a file without one is removed (leftovers.py).
"""

import fcntl
import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from jobs import files, uploads
from jobs.database import Database, utc_now
from jobs.errors import (
    IncomingGoneError,
    IncomingMovedError,
    IncomingNotFoundError,
    QuotaExceededError,
    TooLargeError,
)
from jobs.files import StoredFile
from jobs.formats import file_kinds
from jobs.tables import incoming_files, incoming_parts
from jobs.uploads import Owner, Upload

if TYPE_CHECKING:  # which uses this module itself
    from jobs.store.store import Store

log = logging.getLogger(__name__)

#: Files of an account that may be arriving at once, with quotas or without: each has a record.
MOST_AT_ONCE = 1_000
#: Seconds that the record of a removed file is kept, to answer that it is gone.
GONE_KEPT_SECONDS = 7 * 86_400.0
#: Seconds without a byte after which the same file may take the place of one.
IDLE_SECONDS = 60.0
#: Files that one step of the sweeper removes.
REMOVED_AT_ONCE = 50
#: Bytes that are hashed in one step, so that a thread is free for others between two.
HASHED_AT_ONCE = 32 << 20
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Incoming:
    """size: bytes of the whole file. metadata: as its client sent it. is_of_form: a page's form sends it, no program.
    unchecked_from: where the bytes begin that must still be compared with their checksum. upload_id: of the finished
    file."""

    id: str
    filename: str
    size: int
    metadata: str
    account_id: int | None
    token_id: int | None
    is_of_form: bool
    unchecked_from: int | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    upload_id: int | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        return cls(**row._asdict())

    @property
    def is_gone(self) -> bool:
        """Whether it was removed before it was complete."""
        return self.ended_at is not None and self.upload_id is None


#: Of files that have no upload. The index has no others.
_without_upload = incoming_files.c.upload_id.is_(None)
#: Of files that are still arriving.
arriving = _without_upload & incoming_files.c.ended_at.is_(None)


def create(
    connection: sa.Connection,
    id_: str,
    filename: str,
    size: int,
    metadata: str,
    owner: Owner,
    *,
    seconds: float,
    is_of_form: bool = False,
) -> Incoming:
    """Record a file of which nothing has arrived. seconds: after which it expires. Raises QuotaExceededError."""
    mine = of_account(owner.account_id) & arriving
    count = connection.execute(sa.select(sa.func.count()).select_from(incoming_files).where(mine)).scalar_one()
    if count >= MOST_AT_ONCE:
        raise QuotaExceededError(
            f"{count:,} of your files have begun to arrive, and are not complete. Finish or cancel some of them first."
        )
    statement = sa.insert(incoming_files).values(
        id=id_,
        filename=filename,
        size=size,
        metadata=metadata,
        account_id=owner.account_id,
        token_id=owner.token_id,
        is_of_form=is_of_form,
        created_at=utc_now(),
        expires_at=utc_now(seconds),
    )
    return Incoming.from_row(connection.execute(statement.returning(incoming_files)).one())


def of_account(account_id: int | None) -> sa.ColumnElement[bool]:
    """Which files are those of an account; None: of nobody."""
    column = incoming_files.c.account_id
    return column.is_(None) if account_id is None else column == account_id


def get(connection: sa.Connection, id_: str) -> Incoming:
    """Raises IncomingNotFoundError."""
    row = connection.execute(sa.select(incoming_files).where(incoming_files.c.id == id_)).one_or_none()
    if row is None:
        raise IncomingNotFoundError
    return Incoming.from_row(row)


def keep(connection: sa.Connection, id_: str, *, seconds: float, unchecked_from: int | None = None) -> Incoming:
    """Let a file expire later. unchecked_from: where the next bytes begin, if they have a checksum. Raises
    IncomingGoneError."""
    statement = (
        sa.update(incoming_files)
        .where(incoming_files.c.id == id_, arriving)
        .values(expires_at=utc_now(seconds), unchecked_from=unchecked_from)
        .returning(incoming_files)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise IncomingGoneError
    return Incoming.from_row(row)


def finish(connection: sa.Connection, create_upload: Callable[[sa.Connection], Upload], id_: str) -> Upload:
    """Create the upload of a complete file, or return the one that was created before. Raises IncomingGoneError, and
    what `create_upload` raises."""
    this_one = incoming_files.c.id == id_
    ended = sa.update(incoming_files).where(this_one, arriving).values(ended_at=utc_now())
    if connection.execute(ended.returning(incoming_files.c.id)).one_or_none() is None:
        found = get(connection, id_)
        if found.upload_id is None:
            raise IncomingGoneError
        return uploads.get(connection, found.upload_id)
    _forget_pieces(connection, [id_])
    upload = create_upload(connection)
    connection.execute(sa.update(incoming_files).where(this_one).values(upload_id=upload.id))
    return upload


@dataclass(frozen=True)
class Piece:
    """A part of an incoming file that is an object in a bucket. begin: where in the file. object: its name."""

    begin: int
    size: int
    object: str


def pieces_of(connection: sa.Connection, id_: str) -> list[Piece]:
    """In order."""
    columns = (incoming_parts.c.begin, incoming_parts.c.size, incoming_parts.c.object)
    found = sa.select(*columns).where(incoming_parts.c.incoming_id == id_).order_by(incoming_parts.c.begin)
    return [Piece(*row) for row in connection.execute(found)]


def add_pieces(connection: sa.Connection, id_: str, pieces: Sequence[Piece]) -> None:
    """Record pieces that follow what is there. Raises IncomingMovedError if that has changed meanwhile, or the file is
    not arriving any more: of several requests that add at the same place, one does."""
    _change_pieces(connection, id_, upto=pieces[0].begin)
    rows = [{"incoming_id": id_, **vars(piece)} for piece in pieces]
    connection.execute(sa.insert(incoming_parts), rows)


def cut_pieces(connection: sa.Connection, id_: str, pieces: Sequence[Piece]) -> None:
    """Forget the last pieces. Raises IncomingMovedError if they are not the last."""
    _change_pieces(connection, id_, upto=pieces[-1].begin + pieces[-1].size)
    these = incoming_parts.c.object.in_([piece.object for piece in pieces])
    connection.execute(sa.delete(incoming_parts).where(incoming_parts.c.incoming_id == id_, these))


def _change_pieces(connection: sa.Connection, id_: str, *, upto: int) -> None:
    """Let other transactions wait that change the pieces of a file. upto: where the last one ends."""
    same = sa.update(incoming_files).where(incoming_files.c.id == id_, arriving).values(id=id_)
    if connection.execute(same.returning(incoming_files.c.id)).one_or_none() is None:
        raise IncomingMovedError
    last = sa.select(sa.func.max(incoming_parts.c.begin + incoming_parts.c.size))
    if (connection.execute(last.where(incoming_parts.c.incoming_id == id_)).scalar() or 0) != upto:
        raise IncomingMovedError


def _forget_pieces(connection: sa.Connection, ids: Sequence[str]) -> None:
    connection.execute(sa.delete(incoming_parts).where(incoming_parts.c.incoming_id.in_(ids)))


def end(connection: sa.Connection, id_: str, *, expired: bool = False) -> bool:
    """Record that a file is no longer wanted. expired: only if it has still expired. Returns whether it was arriving.
    The caller removes the file once this is committed."""
    which = [incoming_files.c.id == id_, arriving]
    if expired:
        which.append(incoming_files.c.expires_at < utc_now())
    statement = sa.update(incoming_files).where(*which).values(ended_at=utc_now(), metadata="")
    if connection.execute(statement.returning(incoming_files.c.id)).one_or_none() is None:
        return False
    _forget_pieces(connection, [id_])
    return True


def end_same(connection: sa.Connection, size: int, metadata: str, owner: Owner, *, seconds: float) -> list[str]:
    """Record that files which their owner begins anew, and to which nothing is added, are no longer wanted. seconds:
    after which files expire. Returns their ids. The caller removes them once this is committed."""
    these = (incoming_files.c.size == size) & (incoming_files.c.metadata == metadata) & of_account(owner.account_id)
    are_idle = incoming_files.c.expires_at < utc_now(seconds - IDLE_SECONDS)
    statement = sa.update(incoming_files).where(these, are_idle, arriving).values(ended_at=utc_now(), metadata="")
    ended = list(connection.execute(statement.returning(incoming_files.c.id)).scalars())
    _forget_pieces(connection, ended)
    return ended


def arriving_among(connection: sa.Connection, names: Iterable[str]) -> set[str]:
    """Which of these stored files are arriving."""
    statement = sa.select(incoming_files.c.id).where(incoming_files.c.id.in_(sorted(names)), arriving)
    return set(connection.execute(statement).scalars())


def remove_expired(database: Database, store: "Store") -> None:
    """Remove files of which nothing has arrived for too long, and records of those that were removed long ago."""
    old = incoming_files.c.ended_at < utc_now(-GONE_KEPT_SECONDS)
    gone = sa.select(incoming_files.c.id).where(old, _without_upload).limit(REMOVED_AT_ONCE)
    expired = sa.select(incoming_files).where(arriving, incoming_files.c.expires_at < utc_now()).limit(REMOVED_AT_ONCE)
    with database.reading() as connection:
        forgotten = list(connection.execute(gone).scalars())
        found = [Incoming.from_row(row) for row in connection.execute(expired)]
    if forgotten:
        with database.transaction() as connection:
            connection.execute(sa.delete(incoming_files).where(incoming_files.c.id.in_(forgotten)))
    for each in found:
        file = store.grow(database, each)
        if file is None:
            continue  # something arrives
        with file:
            with database.transaction() as connection:
                is_ended = end(connection, each.id, expired=True)
            if is_ended:
                file.remove()
                log.info("Removed “%s”, of which %d of %d bytes had arrived.", each.filename, file.offset, each.size)


class IncomingFile:
    """What is there of a file, for whoever holds its lock. Blocking."""

    def __init__(self, folder: Path, filename: str, size: int, file: io.FileIO, path: Path) -> None:
        """size: bytes of the whole file."""
        self._folder = folder
        self._filename = filename
        self._size = size
        self._file = file
        self._path = path
        #: Bytes that are there.
        self.offset = os.fstat(file.fileno()).st_size
        self._is_checked = files.is_stored_unseen(filename)
        #: Of all that is there; None: of a file that was not written from its beginning by this object.
        self._hash = None if self.offset else hashlib.sha256()

    @classmethod
    def open(cls, folder: Path, incoming: Incoming) -> Self | None:
        """None: somebody else adds to the file. It is made if nothing has arrived."""
        opened = _locked(folder, incoming.id)
        if opened is None:
            return None
        return cls(folder, incoming.filename, incoming.size, opened, folder / incoming.id)

    @property
    def is_complete(self) -> bool:
        return self.offset == self._size

    def hold_back(self) -> None:
        """Whoever opens the file next cuts off what its record says is unchecked."""

    def write(self, data: bytes) -> None:
        """Raises TooLargeError, RefusedError for what cannot be a table, DiskFullError."""
        if self.offset + len(data) > self._size:
            raise TooLargeError(f"More bytes were sent than the {self._size:,} that the file has.")
        with files.full_disk_reported():
            self._file.seek(self.offset)
            try:
                files.write_all(self._file, data)
            finally:
                written = os.fstat(self._file.fileno()).st_size - self.offset
                self.offset += written
                if self._hash is not None:
                    self._hash.update(memoryview(data)[:written])
        if self.offset >= min(file_kinds.HEAD_BYTES, self._size):
            self.check_kind()

    def check_kind(self) -> None:
        """Raises RefusedError for what cannot be a table."""
        if not self._is_checked:
            files.check_kind(self._filename, os.pread(self._file.fileno(), file_kinds.HEAD_BYTES, 0))
            self._is_checked = True

    def sync(self) -> None:
        """Make what has arrived durable, before anybody is told that it is there. Raises DiskFullError."""
        with files.full_disk_reported():
            os.fsync(self._file.fileno())
            files.sync_folder(self._folder)

    def cut(self, offset: int) -> None:
        """Forget what has arrived behind an offset."""
        if offset < self.offset:
            self._file.truncate(offset)
            os.fsync(self._file.fileno())
            self.offset = offset
            self._hash = None if offset else hashlib.sha256()

    def hashing(self) -> Iterator[None]:
        """Make the hash of all that is there, in steps."""
        if self._hash is not None:
            return
        made, buffer = hashlib.sha256(), memoryview(bytearray(_READ_BYTES))
        self._file.seek(0)
        steps = 0
        while count := self._file.readinto(buffer):
            made.update(buffer[:count])
            steps += count
            if steps >= HASHED_AT_ONCE:
                steps = 0
                yield
        self._hash = made

    def stored(self) -> StoredFile:
        """The complete file, once it is hashed. Raises RefusedError."""
        assert self.is_complete
        assert self._hash is not None
        self.check_kind()
        os.utime(self._file.fileno())  # the upload is recorded next; leftovers.py goes by this time
        return StoredFile(self._filename, self._path.name, self._size, self._hash.hexdigest())

    def forget_pieces(self) -> None:
        """There are none."""

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def durable_size(folder: Path, id_: str) -> int:
    """Bytes that are there of a file to which somebody adds, and stay."""
    try:
        with (folder / id_).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
            return size
    except FileNotFoundError:
        return 0


def _locked(folder: Path, id_: str) -> io.FileIO | None:
    """An open file that this process alone changes, until it closes it. None: another one does."""
    path = folder / id_
    with files.full_disk_reported():
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    file = io.FileIO(descriptor, "r+b")
    try:
        is_mine = files.try_lock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        is_mine = True
    if is_mine and os.fstat(descriptor).st_nlink:
        return file
    file.close()
    return None
