"""The data folder: creates and checks it, and lets one supervisor claim it at a time."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from webapp.errors import CannotStartError


def prepare(folder: Path) -> None:
    """Create the folder if it is missing, for this user only.

    Raises CannotStartError if this user may not write there, or everybody may. The folder's group may: on a shared file
    system or a volume of Kubernetes, it is the group that gives access, and an administrator chose who belongs to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise _unusable(folder, error.strerror) from error
    if mode & stat.S_IWOTH:
        raise CannotStartError(
            f"Every user of this machine may write to {folder}, so anybody could replace files and database. Take that "
            f"permission away (chmod o-w {folder}), or choose another folder with --data (or BULK_UPLOAD_DATA)."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable(folder, "this user has no permission to write there")


def prepare_private(folder: Path) -> None:
    """Create a folder that only this user can access: in the data folder, or in the one for temporary files, where
    everybody may write.

    Raises CannotStartError if its path is not a folder, or a folder of another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, error.strerror) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise CannotStartError(f"{folder} must be a folder that belongs to this user. Remove it and start again.")
    folder.chmod(0o700)


@dataclass(frozen=True)
class Claim:
    """The claim of a supervisor on its data folder.

    unclean: the previous supervisor did not release its claim, so some of its children may still be ending.
    """

    unclean: bool
    _file: TextIO

    def announce(self, url: str) -> None:
        """Record process id and URL for the error message of a second start."""
        self._write(f"{os.getpid()} {url}\n")

    def release(self) -> None:
        """Record a clean end. Closing the file releases the lock."""
        self._write("")

    def _write(self, text: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Claim the folder for this process. Raises CannotStartError if another process has it, or it cannot be used.

    The lock is a kernel lock on `serve.lock`: it is released when its process ends, and children do not inherit it.
    """
    prepare(folder)
    path = folder / "serve.lock"
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    with file:
        if not _locked(file):
            raise CannotStartError(_already_running(folder, path.read_text("utf-8")))
        claim = Claim(unclean=bool(path.read_text("utf-8")), _file=file)
        try:
            yield claim
        finally:
            claim.release()


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _already_running(folder: Path, announced: str) -> str:
    pid, _, url = announced.strip().partition(" ")
    where = f" at {url} (process {pid})" if url else ""
    return (
        f"Bulk Upload is already running on {folder}{where}. "
        "Use it, stop it first, or choose another folder with --data (or BULK_UPLOAD_DATA)."
    )


def _unusable(path: Path, reason: str | None) -> CannotStartError:
    return CannotStartError(
        f"Cannot use {path}: {reason}. Make it writable, or choose another folder with --data (or BULK_UPLOAD_DATA)."
    )
