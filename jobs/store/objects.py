"""Objects of a bucket: their names, and what the library raises."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobs.errors import StoreUnavailableError

log = logging.getLogger(__name__)

#: What objects of uploads, and of files that are arriving, begin with.
UPLOADS, INCOMING = "uploads/", "incoming/"


@dataclass(frozen=True)
class Found:
    """An object that is listed. modified: seconds since 1970, by the clock of the store."""

    path: str
    size: int
    modified: float


def path_of(name: str) -> str:
    return f"{UPLOADS}{name}"


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


@contextmanager
def reported() -> Iterator[None]:
    """Raises StoreUnavailableError for what the library raises, but for FileNotFoundError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        log.warning("The store of uploaded files does not do what it is asked to: %s", first_line(error))
        raise StoreUnavailableError(str(error)) from error
