"""Stores uploaded files: under a generated name, hashed while they arrive, and synced to disk before they are used."""

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

#: File extensions that can be imported.
SUPPORTED = (".csv", ".tsv", ".tab", ".txt", ".gz", ".zip", ".xlsx", ".xlsm")
#: Characters of the longest name that is stored; a longer one keeps its extension.
LONGEST_NAME = 200
#: Seconds after which a file whose upload did not finish is removed.
ABANDONED_AFTER = 24 * 3600


@dataclass(frozen=True)
class StoredFile:
    """A complete file on disk. size: bytes. sha256: hexadecimal."""

    filename: str
    stored_as: str
    size: int
    sha256: str


class Arrival:
    """A file that is being received. Call `write` for each part, then `keep`; without `keep`, the context removes it.

    It blocks, so use it off the event loop.
    """

    def __init__(self, folder: Path, filename: str, *, limit: int) -> None:
        """filename: as sent by the client, possibly with a path. limit: bytes. Raises RefusedError."""
        self.filename = display_name(filename)
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
        """Raises TooLargeError, or RefusedError if the disk is full."""
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(too_large(self._limit))
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise RefusedError(
                    "The server's disk is full, so the file was not stored. Ask the administrator of this server."
                ) from error
            raise
        self._hash.update(data)

    def keep(self) -> StoredFile:
        """Store the file durably: fsync it, rename it, fsync the folder. Raises RefusedError if it is empty."""
        if not self._size:
            raise RefusedError(
                f"“{self.filename}” is empty. Choose a file with a header row and at least one row of data."
            )
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
        f"The file is larger than {limit:,} bytes, the limit of this server. Split the file, or ask the administrator"
        " to raise BULK_UPLOAD_MAX_UPLOAD_BYTES."
    )


def display_name(filename: str) -> str:
    """The last part of a name or path, without control characters, at most LONGEST_NAME characters."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: LONGEST_NAME - len(ending) - 1]}.{ending}" if dot and len(ending) < 20 else name[:LONGEST_NAME]


def check_kind(filename: str) -> None:
    """Raises RefusedError for a file type that cannot be imported."""
    if not filename:
        raise RefusedError("No file was sent. Choose a CSV file and try again.")
    if not filename.lower().endswith(SUPPORTED):
        raise RefusedError(
            f"The file type of “{filename}” is not supported. Save it as CSV or as an Excel workbook (.xlsx) and"
            f" upload that. Supported extensions: {', '.join(SUPPORTED)}."
        )


def path_of(folder: Path, stored_as: str) -> Path:
    return folder / stored_as


def remove_abandoned(folder: Path) -> None:
    """Remove partial files of uploads that did not finish."""
    for part in folder.glob("*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                part.unlink()
