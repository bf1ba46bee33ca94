"""BothStores: the store that new files go into, and the one that they are being moved from."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from jobs import files
from jobs.database import Database
from jobs.files import Receiving, StoredFile
from jobs.incoming import Incoming
from jobs.store.store import Growing, Store, StoredState


class BothStores(Store):
    def __init__(self, first: Store, second: Store) -> None:
        """second: is asked for what the first does not have."""
        self.first = first
        self.second = second
        self.work = first.work

    def __str__(self) -> str:
        return str(self.first)

    def receive(self, filename: str, *, limit: int) -> Receiving:
        return self.first.receive(filename, limit=limit)

    def again(self, file: StoredFile) -> StoredFile:
        try:
            return self.first.again(file)
        except FileNotFoundError:
            return self._of(file.stored_as).again(file)

    def _of(self, name: str) -> Store:
        """Where a file is that the first store did not have. A file that moves meanwhile is in the first by now."""
        return self.second if self.second.state(name) is not None else self.first

    def remove(self, name: str) -> None:
        for store in (self.first, self.second):
            store.remove(name)

    def remove_incoming(self, id_: str) -> None:
        for store in (self.first, self.second):
            store.remove_incoming(id_)

    def state(self, name: str) -> StoredState | None:
        return self.first.state(name) or self.second.state(name) or self.first.state(name)

    def blocks(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """A file may move while it is read."""
        for store in (self.first, self.second, self.first):
            try:
                for block in store.blocks(name, start, end):
                    yield block
                    start += len(block)
            except FileNotFoundError:
                continue
            return
        raise FileNotFoundError(name)

    def beginning(self, name: str, size: int) -> bytes:
        try:
            return self.first.beginning(name, size)
        except FileNotFoundError:
            return self._of(name).beginning(name, size)

    @contextmanager
    def at_work(self, file: StoredFile, tick: Callable[[], None]) -> Iterator[Path]:
        with self._place_of(file, tick) as path:
            yield path
        if path.parent != self.work:  # where nobody else removes spools
            files.discard_spools(path)

    def _place_of(self, file: StoredFile, tick: Callable[[], None]) -> AbstractContextManager[Path]:
        found = self.first if self.first.state(file.stored_as) is not None else self._of(file.stored_as)
        return found.at_work(file, tick)

    def names(self) -> Iterator[str]:
        yield from self.first.names()

    def put(self, name: str, blocks: Iterator[bytes]) -> None:
        self.first.put(name, blocks)

    def grow(self, database: Database, found: Incoming) -> Growing | None:
        return self.first.grow(database, found)

    def durable_size(self, database: Database, id_: str) -> int:
        return self.first.durable_size(database, id_)

    def each(self) -> Iterator[Store]:
        yield from (self.first, self.second)

    def tidy(self) -> None:
        self.first.tidy()
