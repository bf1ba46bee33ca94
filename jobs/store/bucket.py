"""BucketStore: uploaded files as objects of a bucket, which web processes and workers reach without a common disk.

An object `<prefix>/uploads/<name>` is exactly the bytes that were uploaded. It appears whole or not at all: S3 puts a
large one together from parts when the last one has arrived (a multipart upload), and unfinished.py removes what killed
processes leave of one. Parts of files that arrive in several requests are `<prefix>/incoming/<id>/…` (pieces.py).

The library has threads of its own, which do not survive a fork: a process that forks must not have used it.
"""

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from jobs import files, incoming
from jobs.database import Database
from jobs.errors import StoreUnavailableError, UnreadableFileError
from jobs.files import Name, Receiving, StoredFile
from jobs.incoming import Incoming
from jobs.store import unfinished
from jobs.store.access import Access
from jobs.store.objects import INCOMING, UPLOADS, Found, first_line, path_of, reported
from jobs.store.pieces import GrowingObject
from jobs.store.store import Store, StoredState

if TYPE_CHECKING:  # it loads when the first file is used
    from obstore import WritableFile
    from obstore.store import S3Store

log = logging.getLogger(__name__)

#: Bytes of a part of a large object, and of what one request reads. S3 takes at least 5 MiB, and at most 10,000 parts.
PART_BYTES, MOST_PARTS = 8 << 20, 9_000
#: Parts of one object that are sent at once, besides the one that is being filled.
PARTS_AT_ONCE = 1
#: Seconds that a connection and a whole request may take.
CONNECT_SECONDS, REQUEST_SECONDS = 3, 30
#: Times that a request is repeated, and seconds after which it is not repeated any more.
RETRIES, RETRY_SECONDS = 5, 15
#: Times that a part is read if less of it comes than was announced.
READS = 3
#: Seconds between two ticks while a file is fetched.
TICK_SECONDS = 0.25
#: Objects that one request lists.
LISTED = 1_000


class BucketStore(Store):
    is_bucket = True

    def __init__(self, access: Access, work: Path) -> None:
        """work: a folder of this machine, which processes of other machines may not share."""
        self.access = access
        self.work = work

    def __str__(self) -> str:
        return str(self.access)

    @cached_property
    def s3(self) -> "S3Store":
        from obstore.store import S3Store

        access = self.access
        given: dict[str, Any] = {
            "access_key_id": access.key_id,
            "secret_access_key": access.secret,
            "session_token": access.session_token,
            "endpoint": access.endpoint,
            "region": access.region,
        }
        return S3Store(
            access.bucket,
            prefix=access.prefix or None,
            virtual_hosted_style_request=access.endpoint is None,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=REQUEST_SECONDS),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            **{name: value for name, value in given.items() if value is not None},
        )

    def receive(self, filename: str, *, limit: int) -> "ObjectArrival":
        return ObjectArrival(self, filename, limit=limit)

    def again(self, file: StoredFile) -> StoredFile:
        name = uuid4().hex
        with reported():
            if file.size < 1 << 30:  # S3 copies up to 5 GiB by itself, large ones slowly
                self.s3.copy(path_of(file.stored_as), path_of(name))
            else:
                self.put(name, self.blocks(file.stored_as, 0, file.size))
        return replace(file, stored_as=name)

    def remove(self, name: str) -> None:
        self.remove_objects([path_of(name)])

    def remove_incoming(self, id_: str) -> None:
        pieces = [each.path for batch in self.listed(f"{INCOMING}{id_}/") for each in batch]
        self.remove_objects([path_of(id_), *pieces])

    def remove_objects(self, paths: list[str]) -> None:
        with reported():
            for path in paths:  # one by one: some stores have no request for several
                with suppress(FileNotFoundError):
                    self.s3.delete(path)

    def state(self, name: str) -> StoredState | None:
        try:
            with reported():
                found = self.s3.head(path_of(name))
        except FileNotFoundError:
            return None
        return StoredState(found["size"], found["last_modified"].timestamp(), (found["e_tag"] or "").strip('"'))

    def blocks(self, name: str, start: int, end: int) -> Iterator[bytes]:
        return self.blocks_of(path_of(name), start, end)

    def blocks_of(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes of an object. Raises FileNotFoundError, StoreUnavailableError."""
        while start < end:
            block = self._read(path, start, min(start + PART_BYTES, end))
            if not block:
                return
            yield block
            start += len(block)

    def _read(self, path: str, start: int, end: int) -> bytes:
        """Less than asked for at the end of the object."""
        for last in (number == READS - 1 for number in range(READS)):
            try:
                with reported():
                    return bytes(self.s3.get_range(path, start=start, end=end))
            except StoreUnavailableError as error:  # a response may also end before its end
                if last or "InvalidRange" in error.why:
                    raise
        raise AssertionError("the last try returns or raises")

    def beginning(self, name: str, size: int) -> bytes:
        found = self.state(name)
        if found is None:
            raise FileNotFoundError(name)
        return b"".join(self.blocks(name, 0, min(size, found.size)))

    @contextmanager
    def at_work(self, file: StoredFile, tick: Callable[[], None]) -> Iterator[Path]:
        """A copy, which is removed after the block, with the spools beside it."""
        path = self.work / file.stored_as
        lock = self._locked_copy(file, path, tick)
        try:
            yield path
        finally:
            os.close(lock)
            self._discard(path)

    def _locked_copy(self, file: StoredFile, path: Path, tick: Callable[[], None]) -> int:
        """The descriptor of a copy that nobody removes while it is open."""
        while True:
            if not path.exists():
                self._fetch(file, path, tick)
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            with suppress(OSError):  # a file system without locks
                while not files.try_lock(descriptor, fcntl.LOCK_SH):
                    tick()
                    time.sleep(files.LOCK_POLL_SECONDS)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)  # somebody removed it between two steps

    def _fetch(self, file: StoredFile, path: Path, tick: Callable[[], None]) -> None:
        """In a thread, so that a request that waits for the store does not keep the caller from its ticks."""
        is_stopped, ended, failures = Event(), Event(), list[BaseException]()

        def check() -> None:
            if is_stopped.is_set():
                raise InterruptedError

        def fetch() -> None:
            try:
                self._fetch_here(file, path, check)
            except BaseException as error:
                failures.append(error)
            finally:
                ended.set()

        Thread(target=fetch, name="fetch", daemon=True).start()
        try:
            while not ended.wait(TICK_SECONDS):
                tick()
        finally:
            is_stopped.set()
        for failure in failures:
            raise failure

    def _fetch_here(self, file: StoredFile, path: Path, tick: Callable[[], None]) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        part, opened = files.locked_part(self.work)
        try:
            made = hashlib.sha256()
            with opened:
                for block in self.blocks(file.stored_as, 0, file.size):
                    files.write_all(opened, block)
                    made.update(block)
                    tick()
                if file.sha256 and made.hexdigest() != file.sha256:
                    raise UnreadableFileError(
                        "The uploaded file is damaged: its bytes are not those that were uploaded. Upload it again."
                    )
                part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def _discard(path: Path) -> None:
        with files.unused(path, without_locks=True) as is_unused:
            if is_unused:
                for spool in files.spools_of(path):
                    spool.unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def tidy(self) -> None:
        with suppress(FileNotFoundError):
            for found in list(self.work.iterdir()):
                name = Name.parse(found.name)
                if name is None:
                    continue
                if name.is_part and not name.is_spool:
                    with files.unused(found, without_locks=False) as is_unused:
                        if is_unused:
                            found.unlink(missing_ok=True)
                else:
                    self._discard(self.work / name.stored_as)

    def names(self) -> Iterator[str]:
        for batch in self.listed(UPLOADS):
            for each in batch:
                name = Name.parse(each.path.removeprefix(UPLOADS))
                if name is not None and not name.suffix:
                    yield name.stored_as

    def listed(self, prefix: str) -> Iterator[list[Found]]:
        """Objects, some at once."""
        with reported():
            for batch in self.s3.list(prefix.rstrip("/"), chunk_size=LISTED):
                yield [Found(each["path"], each["size"], each["last_modified"].timestamp()) for each in batch]

    def put(self, name: str, blocks: Iterator[bytes]) -> None:
        with self.writing(path_of(name)) as write:
            for block in blocks:
                write(block)

    @contextmanager
    def writing(self, path: str, limit: int = 0) -> Iterator[Callable[[bytes | memoryview], object]]:
        """Write an object, which appears after the block, unless that raised. limit: of its bytes."""
        writer = self.writer(path, limit)
        try:
            with reported():
                yield writer.write
                writer.close()
        except BaseException:
            self.abandon(writer, path)
            raise

    def writer(self, path: str, limit: int = 0) -> "WritableFile":
        import obstore

        size = max(PART_BYTES, limit // MOST_PARTS)
        return obstore.open_writer(self.s3, path, buffer_size=size, max_concurrency=PARTS_AT_ONCE)

    def abandon(self, writer: "WritableFile", path: str) -> None:
        """Keep nothing of what was written. Never raises: what stays, the hourly pass ends."""
        try:
            with suppress(OSError, StoreUnavailableError), reported():
                writer.__exit__(InterruptedError, InterruptedError(), None)
            unfinished.end_of(self.access, path)  # the library ends nothing that failed at its end
        except StoreUnavailableError as error:
            log.warning("Parts of an object stay in the bucket for an hour: %s", first_line(error))

    def grow(self, database: Database, found: Incoming) -> GrowingObject:
        return GrowingObject(self, database, found)

    def durable_size(self, database: Database, id_: str) -> int:
        with database.reading() as connection:
            pieces = incoming.pieces_of(connection, id_)
        return sum(piece.size for piece in pieces)


class ObjectArrival(Receiving):
    """Into a bucket, while it arrives."""

    def __init__(self, store: BucketStore, filename: str, *, limit: int) -> None:
        super().__init__(filename, limit=limit)
        self._store = store
        self._name = uuid4().hex
        self._writer = store.writer(path_of(self._name), limit)
        self._is_open = True

    def _add(self, data: bytes | memoryview) -> None:
        with reported():
            self._writer.write(bytes(data))

    def _finish(self) -> str:
        with reported():
            self._writer.close()
        self._is_open = False
        return self._name

    def _close(self) -> None:
        if self._is_kept:
            return
        if self._is_open:
            self._is_open = False
            self._store.abandon(self._writer, path_of(self._name))
        with suppress(StoreUnavailableError):  # then leftovers.py removes it
            self._store.remove(self._name)
