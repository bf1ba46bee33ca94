"""FolderStore: uploaded files in a folder, which all processes share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from jobs import files, incoming
from jobs.database import Database
from jobs.files import Arrival, Name, StoredFile
from jobs.incoming import Incoming, IncomingFile
from jobs.store.store import Store, StoredState

#: Bytes that are read at once.
READ_BYTES = 1 << 20


class FolderStore(Store):
    def __init__(self, folder: Path) -> None:
        self.work = folder

    def __str__(self) -> str:
        return str(self.work)

    def receive(self, filename: str, *, limit: int) -> Arrival:
        return Arrival(self.work, filename, limit=limit)

    def again(self, file: StoredFile) -> StoredFile:
        return files.stored_again(self.work, file)

    def remove(self, name: str) -> None:
        (self.work / name).unlink(missing_ok=True)

    def state(self, name: str) -> StoredState | None:
        try:
            found = (self.work / name).stat()
        except FileNotFoundError:
            return None
        return StoredState(found.st_size, found.st_mtime, f"{found.st_mtime_ns:x}-{found.st_size:x}")

    def blocks(self, name: str, start: int, end: int) -> Iterator[bytes]:
        with (self.work / name).open("rb") as file:
            file.seek(start)
            yield from _blocks(file, end - start)

    @contextmanager
    def at_work(self, file: StoredFile, tick: Callable[[], None]) -> Iterator[Path]:
        path = self.work / file.stored_as
        with files.in_use(path):
            yield path

    def names(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for path in self.work.iterdir():
                name = Name.parse(path.name)
                if name is not None and not name.suffix and path.is_file():
                    yield name.stored_as

    def put(self, name: str, blocks: Iterator[bytes]) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        part, file = files.locked_part(self.work, uuid4().hex)
        try:
            with file, files.full_disk_reported():
                for block in blocks:
                    files.write_all(file, block)
                files.sync_file(file)
                part.rename(self.work / name)
                files.sync_folder(self.work)
        finally:
            part.unlink(missing_ok=True)

    def grow(self, database: Database, found: Incoming) -> IncomingFile | None:
        return IncomingFile.open(self.work, found)

    def durable_size(self, database: Database, id_: str) -> int:
        return incoming.durable_size(self.work, id_)


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(READ_BYTES, size))):
        yield block
        size -= len(block)
