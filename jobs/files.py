"""Where uploads are kept: each once, under a name of our own, hashed while it arrives, on disk before it counts."""

import errno
import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from jobs.errors import RefusedError, TooLargeError

#: Endings of the names of files that can be imported.
SUPPORTED = (".csv", ".tsv", ".tab", ".txt", ".gz", ".zip", ".xlsx", ".xlsm")
#: Longest name that is kept, in characters; the ending survives.
LONGEST_NAME = 200
#: Seconds after which a file that never finished arriving is removed.
ABANDONED_AFTER = 24 * 3600


@dataclass(frozen=True)
class StoredFile:
    """A file that arrived whole and is on disk. size: bytes. sha256: hexadecimal."""

    filename: str
    stored_as: str
    size: int
    sha256: str


class Arrival:
    """A file on its way in. Write what comes, then `keep` it; leaving the context without that removes it.

    Blocking: to be used off the event loop.
    """

    def __init__(self, folder: Path, filename: str, *, limit: int) -> None:
        """filename: as the sender calls it, perhaps with a path. limit: bytes. Raises RefusedError."""
        self.filename = presentable(filename)
        check_kind(self.filename)
        self._folder = folder
        self._limit = limit
        self._name = uuid4().hex
        self._part = folder / f"{self._name}.part"
        self._hash = hashlib.sha256()
        self._size = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("xb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Raises TooLargeError, and RefusedError when the disk is full."""
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(too_large(self._limit))
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise RefusedError("The server's disk is full: the file could not be stored.") from error
            raise
        self._hash.update(data)

    def keep(self) -> StoredFile:
        """Make it last: fsync, give it its name, fsync the folder. Raises RefusedError when it is empty."""
        if not self._size:
            raise RefusedError(f"“{self.filename}” is empty. Choose a file with a header line and rows below it.")
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._folder / self._name)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return StoredFile(self.filename, self._name, self._size, self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def too_large(limit: int) -> str:
    return (
        f"The file is larger than {limit:,} bytes, the most that is accepted here. Split it,"
        " or ask for a higher BULK_UPLOAD_MAX_UPLOAD_BYTES."
    )


def presentable(filename: str) -> str:
    """The last part of a name that may be a path, without control characters, of a bearable length."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: LONGEST_NAME - len(ending) - 1]}.{ending}" if dot and len(ending) < 20 else name[:LONGEST_NAME]


def check_kind(filename: str) -> None:
    """Raises RefusedError for a file that is not of a kind that can be imported."""
    if not filename:
        raise RefusedError("No file was sent. Choose a CSV file and try again.")
    if not filename.lower().endswith(SUPPORTED):
        raise RefusedError(
            f"“{filename}” is not of a kind that can be imported. Save it as CSV or as an Excel workbook (.xlsx)"
            f" and upload that: the name must end in {', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]}."
        )


def path_of(folder: Path, stored_as: str) -> Path:
    return folder / stored_as


def remove_abandoned(folder: Path) -> None:
    """Remove what began to arrive long ago and never finished."""
    for part in folder.glob("*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                part.unlink()
