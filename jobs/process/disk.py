"""Full disks: which errors say so, and whether a folder is on one."""

import errno
import os
from pathlib import Path

import sqlalchemy as sa

#: Bytes below which a disk counts as full: a chunk of rows with its log needs about as much.
LEAST_FREE_BYTES = 8 * 1024**2
#: No space left on the device, or none left for this user.
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What SQLite's two drivers say. SQLite cannot create its shared memory on a full disk: SQLITE_IOERR_SHMSIZE.
SQLITE_IS_FULL, _SQLITE_CODES = "database or disk is full", (13, 4874)
#: PostgreSQL's code for it (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_POSTGRESQL_CODE = "53100"
#: What Redis says when it cannot write its files, with the error of the system.
_REDIS_WORDS = ("MISCONF", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def is_full(error: BaseException) -> bool:
    """Whether an error of the operating system or of the database was caused by a full disk."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if not _is_of_driver(cause):
        return False
    return (
        getattr(cause, "sqlstate", None) == _POSTGRESQL_CODE
        or getattr(cause, "sqlite_errorcode", None) in _SQLITE_CODES
        or SQLITE_IS_FULL in str(cause)
    )


def _is_of_driver(error: BaseException | None) -> bool:
    """Whether it is a database error of PEP 249, whichever driver's: rows go to the drivers without SQLAlchemy, which
    would wrap their errors."""
    return any(each.__name__ == "DatabaseError" for each in type(error).__mro__)


def is_full_for_redis(error: Exception) -> bool:
    """Whether Redis refuses writes because its disk is full."""
    word, *causes = _REDIS_WORDS
    return word in str(error) and any(cause in str(error) for cause in causes)


def has_room(folder: Path) -> bool:
    """Whether there is room for more than a few megabytes."""
    try:
        found = os.statvfs(folder)
    except OSError:  # the folder does not exist yet
        return True
    free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return free * found.f_frsize >= LEAST_FREE_BYTES
