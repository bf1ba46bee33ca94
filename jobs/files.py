"""Stores uploaded files: under a generated name, hashed while they arrive, and synced to disk before they are used.

The folder holds, for each stored file, the file itself (32 hexadecimal digits), the spools that the pipeline prepared
from it (`….table…`), and parts of either that are being written (`….part`). Locks on these files tell other processes
what is in use; the kernel releases the locks of a process that dies.
"""

import fcntl
import hashlib
import io
import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from jobs.errors import DiskFullError, RefusedError, TooLargeError
from jobs.formats import file_kinds
from jobs.process import disk

#: Extensions of files that are stored unseen. Files with any other are stored if their first bytes may be a table.
UNSEEN = (
    ".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".bz2", ".xz", ".zst", ".zip",
    ".xlsx", ".xlsm", ".xlsb", ".ods",
)  # fmt: skip
#: Extensions that people are told of. What is called .xls is often something else, which is said at once.
SUPPORTED = (*UNSEEN, ".xls")
#: Extensions of files that are no tables, whatever their first bytes are.
NEVER_TABLES = (".pdf", ".png", ".jpg", ".jpeg", ".gif", ".doc", ".exe")
#: Characters of the longest name that is stored; a longer one keeps its extension.
LONGEST_NAME = 200
#: Seconds that a work horse waits until nobody removes the spools of its file, which takes milliseconds.
LOCK_SECONDS = 10.0
#: Seconds between two attempts to take that lock.
LOCK_POLL_SECONDS = 0.02


def _this_kernel() -> str:
    """Identifies the running kernel: its processes, in containers too, see each other's locks on any file system."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:  # not Linux
        identity = os.uname().nodename.encode()
    return hashlib.sha256(identity).hexdigest()[:12]


#: Part of the name of each file that this machine is receiving, until it restarts.
KERNEL = _this_kernel()


@dataclass(frozen=True)
class StoredFile:
    """A complete file on disk. size: bytes. sha256: hexadecimal."""

    filename: str
    stored_as: str
    size: int
    sha256: str


class Receiving(ABC):
    """A file that is being received. Call `write` for each part, then `keep`; without `keep`, the context removes it.

    It blocks, so use it off the event loop.
    """

    def __init__(self, filename: str, *, limit: int) -> None:
        """filename: as sent by the client, possibly with a path. limit: bytes. Raises RefusedError."""
        self.filename = required_name(filename)
        #: The first bytes, until they tell whether the file can be a table.
        self._head: bytes | None = None if is_stored_unseen(self.filename) else b""
        self._limit = limit
        self._hash = hashlib.sha256()
        self._size = 0
        self._is_kept = False

    @abstractmethod
    def _add(self, data: bytes | memoryview) -> None:
        """Raises DiskFullError, StoreUnavailableError."""

    @abstractmethod
    def _finish(self) -> str:
        """Make all of it durable. Returns the name of the stored file. Raises as `_add` does."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what the system holds for it, and remove a file that is not kept."""

    def write(self, data: bytes | memoryview) -> None:
        """Raises RefusedError, TooLargeError, DiskFullError or StoreUnavailableError."""
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(too_large(self._limit))
        if self._head is not None:
            self._head += data[: file_kinds.HEAD_BYTES - len(self._head)]
            if len(self._head) == file_kinds.HEAD_BYTES:
                self._check_kind(self._head)
        self._add(data)
        self._hash.update(data)

    def keep(self) -> StoredFile:
        """Store the file durably. Raises RefusedError if it is empty or no table, DiskFullError or
        StoreUnavailableError."""
        if not self._size:
            raise RefusedError(empty(self.filename))
        if self._head is not None:
            self._check_kind(self._head)
        name = self._finish()
        self._is_kept = True
        return StoredFile(self.filename, name, self._size, self._hash.hexdigest())

    def _check_kind(self, head: bytes) -> None:
        self._head = None
        check_kind(self.filename, head)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()


class Arrival(Receiving):
    """Into a folder."""

    def __init__(self, folder: Path, filename: str, *, limit: int) -> None:
        super().__init__(filename, limit=limit)
        self._folder = folder
        with full_disk_reported():
            folder.mkdir(parents=True, exist_ok=True)
            self._part, self._file = locked_part(folder)
        self._name = self._part.name.partition(".")[0]

    def _add(self, data: bytes | memoryview) -> None:
        with full_disk_reported():
            write_all(self._file, data)

    def _finish(self) -> str:
        """fsync it, rename it, fsync the folder."""
        with full_disk_reported():
            sync_file(self._file)
            self._part.rename(self._folder / self._name)
            self._file.close()
            sync_folder(self._folder)
        return self._name

    def _close(self) -> None:
        if not self._is_kept:
            self._part.unlink(missing_ok=True)
            (self._folder / self._name).unlink(missing_ok=True)
        self._file.close()


def required_name(filename: str) -> str:
    """The name of a file to show, as its client sent it. Raises RefusedError if there is none."""
    name = display_name(filename)
    if not name:
        raise RefusedError("No file was sent. Choose a CSV file and try again.")
    return name


def is_stored_unseen(filename: str) -> bool:
    """Whether a file's name says enough of its kind."""
    return filename.lower().endswith(UNSEEN)


def check_kind(filename: str, head: bytes) -> None:
    """Raises RefusedError for a file that cannot be imported. head: its first bytes."""
    is_container = file_kinds.is_container(head)
    if not is_container and (sentence := file_kinds.other_kind(head)):
        raise RefusedError(sentence)
    may_be_table = is_container or file_kinds.is_text(head)
    is_other = not is_container and filename.lower().endswith(NEVER_TABLES)
    if not may_be_table or is_other:
        raise RefusedError(
            f"The file type of “{filename}” is not supported. Save it as CSV or as an Excel workbook (.xlsx) and upload"
            f" that. Supported extensions: {', '.join(SUPPORTED)}."
        )


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """All of the data, in as many steps as the system takes."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def stored_again(folder: Path, file: StoredFile) -> StoredFile:
    """The same bytes under another name, for another upload. It takes no room where the file system has hard links."""
    name = uuid4().hex
    with full_disk_reported():
        os.utime(folder / file.stored_as)  # the upload is recorded next; leftovers.py goes by this time
        try:
            os.link(folder / file.stored_as, folder / name)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(folder / file.stored_as, folder / name)
        sync_folder(folder)
    return replace(file, stored_as=name)


def locked_part(folder: Path, name: str | None = None) -> tuple[Path, io.FileIO]:
    """A new file for an arrival, locked before anybody could take it for abandoned. name: of the stored file; None: a
    new one."""
    while True:
        part = folder / f"{name or uuid4().hex}.{KERNEL}.part"
        file = part.open("xb", buffering=0)
        with suppress(OSError):  # a file system without locks: its age protects the file
            try_lock(file.fileno(), fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # not removed between the two steps
            return part, file
        file.close()


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """Raises DiskFullError instead of what the system raises."""
    try:
        yield
    except OSError as error:
        if disk.is_full(error):
            raise DiskFullError("the file was not stored") from error
        raise


def sync_file(file: io.FileIO) -> None:
    """Make a file durable that has just arrived."""
    os.fsync(file.fileno())
    os.utime(file.fileno())  # the upload is recorded next; leftovers.py goes by this time


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def empty(filename: str) -> str:
    return f"“{filename}” is empty. Choose a file with a header row and at least one row of data."


def too_large(limit: int) -> str:
    return (
        f"The file is larger than {limit:,} bytes, the limit of this server. Split the file, or ask the administrator"
        " to raise BULK_UPLOAD_MAX_UPLOAD_BYTES."
    )


def display_name(filename: str) -> str:
    """The last part of a name or path, without control characters, at most LONGEST_NAME characters."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: LONGEST_NAME - len(ending) - 1]}.{ending}" if dot and len(ending) < 20 else name[:LONGEST_NAME]


def path_of(folder: Path, stored_as: str) -> Path:
    return folder / stored_as


@dataclass(frozen=True)
class Name:
    """A name in the folder of files. stored_as: of the file that it belongs to. suffix: the rest of the name."""

    stored_as: str
    suffix: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """None: the name is not one of ours."""
        found = re.fullmatch(r"([0-9a-f]{32})(|(?:\.[0-9a-f]{12})?\.part|\.table[-.0-9a-z]*)", name)
        return cls(found[1], found[2]) if found else None

    @property
    def is_spool(self) -> bool:
        """Whether it belongs to a table that was prepared from the file, complete or not."""
        return self.suffix.startswith(".table")

    @property
    def is_part(self) -> bool:
        """Whether it is being written, or was."""
        return self.suffix.endswith(".part")

    @property
    def is_of_this_kernel(self) -> bool:
        """Whether a process of this machine receives it, so that its lock, or the lack of one, is certain."""
        return self.suffix == f".{KERNEL}.part"


def spools_of(path: Path) -> Iterator[Path]:
    """The spools of a stored file, and parts of them."""
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f"{path.name}.table"):
                yield path.with_name(entry.name)


def try_lock(descriptor: int, how: int) -> bool:
    """Whether this process got the lock, LOCK_SH or LOCK_EX, at once. Raises OSError where there are no locks."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def discard_spools(path: Path) -> None:
    """Remove the spools of a stored file, unless somebody uses them."""
    with unused(path, without_locks=True) as is_unused:
        if is_unused:
            for spool in spools_of(path):
                spool.unlink(missing_ok=True)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Inside the block nobody removes a stored file's spools; several may use them."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        with suppress(OSError):  # a file system without locks
            while not try_lock(descriptor, fcntl.LOCK_SH) and time.monotonic() < deadline:
                time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def unused(path: Path, *, without_locks: bool) -> Iterator[bool]:
    """Inside the block nobody begins to use a file, or a stored file's spools. Yields False if somebody does already.

    without_locks: what to yield if the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)  # for a lock, NFS wants a file that may be written
    except FileNotFoundError:
        yield True
        return
    except PermissionError:  # a file of another user
        yield False
        return
    try:
        try:
            is_unused = try_lock(descriptor, fcntl.LOCK_EX)
        except OSError:
            is_unused = without_locks
        yield is_unused
    finally:
        os.close(descriptor)
