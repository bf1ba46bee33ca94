"""Store: what whoever needs uploaded files may ask for, wherever they are. Blocking, and thread-safe."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from jobs.database import Database
from jobs.files import Receiving, StoredFile
from jobs.incoming import Incoming


@dataclass(frozen=True)
class StoredState:
    """size: bytes. modified: seconds since 1970, by the clock of the store. tag: changes with the content."""

    size: int
    modified: float
    tag: str


class Growing(Protocol):
    """A file that arrives in several requests, for whoever adds to it (incoming.IncomingFile)."""

    @property
    def offset(self) -> int:
        """Bytes that are there."""

    @property
    def is_complete(self) -> bool: ...

    def hold_back(self) -> None:
        """Keep nothing of what is written from now on until `sync`."""

    def write(self, data: bytes) -> None:
        """Raises TooLargeError, RefusedError for what cannot be a table, DiskFullError, StoreUnavailableError,
        IncomingMovedError."""

    def sync(self) -> None:
        """Make what has arrived durable, before anybody is told that it is there. Raises as `write` does."""

    def cut(self, offset: int) -> None:
        """Forget what has arrived behind an offset."""

    def hashing(self) -> Iterator[None]:
        """Make the hash of all that is there, in steps."""

    def stored(self) -> StoredFile:
        """The complete file, once it is hashed. Raises RefusedError."""

    def forget_pieces(self) -> None:
        """Remove what is not needed any more, once the upload is recorded."""

    def remove(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Store(ABC):
    """Names of files are 32 hexadecimal digits: `uploads.stored_as`."""

    #: The folder in which workers work on files.
    work: Path
    #: Whether its files are objects, which are safe without a copy.
    is_bucket = False

    @abstractmethod
    def receive(self, filename: str, *, limit: int) -> Receiving:
        """Begin to store a file. limit: bytes. Raises RefusedError."""

    @abstractmethod
    def again(self, file: StoredFile) -> StoredFile:
        """The same bytes under another name, for another upload. Raises FileNotFoundError."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def remove_incoming(self, id_: str) -> None:
        """Remove what has arrived of a file that nobody wants any more. One to which somebody adds at this moment loses
        its name, and with it its place on the disk when that request ends."""
        self.remove(id_)

    @abstractmethod
    def state(self, name: str) -> StoredState | None:
        """None: it is not there."""

    @abstractmethod
    def blocks(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`. Raises FileNotFoundError."""

    @abstractmethod
    def at_work(self, file: StoredFile, tick: Callable[[], None]) -> AbstractContextManager[Path]:
        """A file on this machine, with room for spools beside it, which nobody removes inside the block.

        tick: called during long work. Raises FileNotFoundError, UnreadableFileError if it was damaged.
        """

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Of all files that are stored, complete or still arriving."""

    @abstractmethod
    def put(self, name: str, blocks: Iterator[bytes]) -> None:
        """Store a file under a name, durably; nothing of it if it cannot be stored whole."""

    @abstractmethod
    def grow(self, database: Database, found: Incoming) -> Growing | None:
        """A file that arrives in several requests. None: somebody else adds to it."""

    @abstractmethod
    def durable_size(self, database: Database, id_: str) -> int:
        """Bytes that are there of a file to which somebody adds, and stay."""

    def each(self) -> Iterator["Store"]:
        """The stores that this one consists of."""
        yield self

    def tidy(self) -> None:  # noqa: B027  # most stores have nothing to do
        """Remove what processes of this machine that were killed have left in the folder for work."""

    def beginning(self, name: str, size: int) -> bytes:
        """The first bytes of a file. Raises FileNotFoundError."""
        return b"".join(self.blocks(name, 0, size))
