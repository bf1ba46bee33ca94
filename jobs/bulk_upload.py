"""The job: one upload, from its claim to its end.

A chunk's rows, its failed rows, the counters and the checkpoint commit together under the claim, so wherever a process
dies, the next attempt goes on behind the last chunk and no row lands twice.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

import pandas as pd

from jobs import datasets, files, reader, uploads, validator, writer
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.errors import ClaimLostError, UnreadableFileError
from jobs.events import Publisher, Ticker
from jobs.profiler import Profile
from jobs.queue import UploadQueue, stop_requested
from jobs.reader import Chunk, Layout
from jobs.settings import Settings
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

T = TypeVar("T")


class StopRequestedError(Exception):
    """The worker shuts down: the upload goes to another one."""


def run(upload_id: int) -> None:
    """Import an upload, if it is still to be had. What RQ calls, in a process of its own."""
    settings = Settings.load()
    database = Database(settings.database, bulk=True, idle_timeout=settings.lease / 2)
    publisher = Publisher(settings.redis)
    try:
        with database.transaction() as connection:
            upload = uploads.claim(
                connection, upload_id, worker=f"{socket.gethostname()}:{os.getpid()}", lease=settings.lease
            )
        if upload is None:
            log.info("Upload %d is not waiting any more: nothing to do.", upload_id)
            return
        log.info("Upload %d: attempt %d begins at row %d.", upload.id, upload.attempt, upload.rows_processed + 1)
        _Attempt(settings, database, publisher, upload).run()
    finally:
        publisher.close()
        database.close()


class _Attempt:
    """One claim on one upload."""

    def __init__(self, settings: Settings, database: Database, publisher: Publisher, upload: Upload) -> None:
        self._settings = settings
        self._database = database
        self._publisher = publisher
        self._upload = upload
        self._claim = Claim(upload.id, upload.attempt)
        self._path = files.path_of(settings.files, upload.stored_as)
        self._ticker = Ticker(publisher.publish)

    def run(self) -> None:
        """Whatever happens is recorded and told; what nobody foresaw is raised again, for the log."""
        try:
            self._import()
        except ClaimLostError as lost:
            log.info("%s It stops here.", lost)
        except StopRequestedError:
            self._hand_back("its worker was shut down", willingly=True)
        except (UnreadableFileError, FileNotFoundError) as error:
            self._fail(error)
        except BaseException as error:
            self._hand_back(f"an unexpected error came up ({type(error).__name__})")
            raise

    def _import(self) -> None:
        self._publisher.publish(self._upload)
        layout = reader.inspect(self._path)
        dataset = self._dataset(layout)
        for chunk in ahead(self._typed_chunks(layout, dataset)):
            self._commit(dataset, chunk)
            self._ticker.tick(self._upload)
            self._stop_if_asked()
        if self._upload.rows_failed and not self._upload.rows_success:
            raise UnreadableFileError("Every row failed, so nothing was imported. The first ones say why.")
        with self._database.transaction() as connection:
            self._upload = uploads.complete(connection, self._claim)
        self._publisher.publish(self._upload)

    def _dataset(self, layout: Layout) -> Dataset:
        """The dataset that an earlier attempt made, or a new one from a look through the whole file."""
        if self._upload.dataset is not None:
            with self._database.reading() as connection:
                return datasets.get(connection, self._upload.dataset)
        profile = self._profile(layout)
        wanted = self._upload.dataset_wanted or datasets.name_after(self._upload.filename)
        with self._database.transaction() as connection:
            self._upload = uploads.renew(connection, self._claim, lease=self._settings.lease)
            dataset = datasets.create(connection, wanted, profile.schema(), self._upload.id)
            self._upload = uploads.profiled(
                connection,
                self._claim,
                lease=self._settings.lease,
                dataset=dataset.name,
                rows_total=profile.rows,
                next_byte=layout.first_byte,
                notes=layout.notes,
            )
        self._publisher.publish(self._upload)
        return dataset

    def _profile(self, layout: Layout) -> Profile:
        profile = Profile(layout.names)
        renewal = Ticker(self._renew, interval=self._settings.lease / 3)
        for chunk in ahead(self._chunks(layout, layout.first_byte, 1)):
            profile.see(chunk.rows, chunk.count)
            renewal.tick(self._upload)
            self._stop_if_asked()
        return profile

    def _renew(self, _upload: Upload) -> None:
        with self._database.transaction() as connection:
            self._upload = uploads.renew(connection, self._claim, lease=self._settings.lease)

    def _chunks(self, layout: Layout, start: int, row: int) -> Iterator[Chunk]:
        return reader.chunks(self._path, layout, start=start, row=row, block_bytes=self._settings.block_bytes)

    def _typed_chunks(self, layout: Layout, dataset: Dataset) -> Iterator["TypedChunk"]:
        start = max(self._upload.next_byte, layout.first_byte)
        for chunk in self._chunks(layout, start, self._upload.rows_processed + 1):
            yield TypedChunk(chunk, validator.typed(chunk.rows, dataset.schema))

    def _commit(self, dataset: Dataset, chunk: "TypedChunk") -> None:
        """All that a chunk changes, or nothing; the guard first, which on SQLite is also what takes the lock."""
        with self._database.transaction() as connection:
            upload = uploads.advance(
                connection,
                self._claim,
                lease=self._settings.lease,
                good=len(chunk.rows),
                bad=chunk.source.bad,
                next_byte=chunk.source.next_byte,
            )
            writer.write(connection, dataset, upload.id, chunk.rows)
        self._upload = upload

    def _stop_if_asked(self) -> None:
        if stop_requested.is_set():
            raise StopRequestedError

    def _fail(self, error: UnreadableFileError | FileNotFoundError) -> None:
        sentence = "The stored file is gone from the server." if isinstance(error, FileNotFoundError) else str(error)
        self._end(lambda connection: uploads.fail(connection, self._claim, sentence))

    def _hand_back(self, because: str, *, willingly: bool = False) -> None:
        upload = self._end(
            lambda connection: uploads.hand_back(connection, self._claim, because=because, willingly=willingly)
        )
        if upload and upload.is_active:
            log.info(
                "Upload %d: attempt %d ends at row %d: %s.", upload.id, upload.attempt, upload.rows_processed, because
            )
            queue = UploadQueue(self._settings.redis)
            queue.enqueue(upload)
            queue.close()

    def _end(self, change: Callable[..., Upload | None]) -> Upload | None:
        with self._database.transaction() as connection:
            try:
                upload = change(connection)
            except ClaimLostError:
                return None
        if upload is not None:
            self._publisher.publish(upload)
        return upload


@dataclass(frozen=True)
class TypedChunk:
    """A chunk and its good rows in their columns' types."""

    source: Chunk
    rows: pd.DataFrame


def ahead(source: Iterator[T]) -> Iterator[T]:
    """The same items, each made in another thread while the one before it is in use: Arrow and the databases' drivers
    let go of the interpreter while they work. An error of the source is raised here, in its place."""
    done = object()
    over = threading.Event()
    waiting: Queue[T | BaseException | object] = Queue(maxsize=1)

    def hand_over(item: T | BaseException | object) -> bool:
        while not over.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in source:
                if not hand_over(item):
                    return
            hand_over(done)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=produce, name="reader", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not done:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]  # neither an error nor the end: one of the source's
    finally:
        over.set()
        thread.join()
