"""The job: one upload, from its claim to its end.

A chunk's rows, its failed rows, the counters and the checkpoint commit together under the claim, so wherever a process
dies, the next attempt goes on behind the last chunk and no row lands twice.
"""

import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

import sqlalchemy as sa

from jobs import datasets, failed_rows, files, uploads
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.errors import ClaimLostError, DatasetNotFoundError, UnreadableFileError
from jobs.events import Publisher, Ticker
from jobs.failed_rows import BadRow, Reason
from jobs.pipeline import failed_rows_writer, reader, source, writer
from jobs.pipeline.columns import Packed
from jobs.pipeline.failed_rows_writer import FailedRows
from jobs.pipeline.profiler import Profile
from jobs.pipeline.reader import Chunk, Layout
from jobs.pipeline.source import Limits, Prepared
from jobs.pipeline.validator import Validated, Validator
from jobs.pipeline.writer import Collisions, Writer
from jobs.queue import UploadQueue, stop_requested
from jobs.reading import Reading
from jobs.settings import Settings
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Rows that may fail, with none that succeeds, before the rest is not tried any more.
HOPELESS_AFTER = 10_000


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
        database.claim = str(self._claim)
        self._path = files.path_of(settings.files, upload.stored_as)
        self._progress = Ticker(publisher.publish)
        self._renewal = Ticker(self._renew, interval=settings.lease / 3)

    def run(self) -> None:
        """Whatever happens is recorded and told; what nobody foresaw is raised again, for the log."""
        try:
            self._import()
        except ClaimLostError as lost:
            log.info("%s It stops here.", lost)
        except StopRequestedError:
            self._hand_back("its worker was shut down", willingly=True)
        except (UnreadableFileError, FileNotFoundError, DatasetNotFoundError) as error:
            self._fail(error)
        except BaseException as error:
            self._hand_back(f"an unexpected error came up ({type(error).__name__})")
            raise

    def _import(self) -> None:
        self._publisher.publish(self._upload)
        reading = Reading(**{name: value for name, value in self._upload.reading.items() if name != "types"})
        prepared = source.prepare(self._path, self._upload.filename, reading, limits=self._limits, tick=self._keep)
        layout = reader.inspect(prepared.path, prepared.delimiter, prepared.header_row)
        dataset = self._dataset(prepared, layout)
        rows = writer.writer_for(self._database.engine.dialect, dataset, self._upload.id)
        for chunk in ahead(self._validated(prepared, layout, dataset, rows)):
            self._commit(rows, chunk)
            self._progress.tick(self._upload)
            self._stop_if_hopeless(at_least=HOPELESS_AFTER)
            self._stop_if_asked()
        self._stop_if_hopeless(at_least=1)
        with self._database.transaction() as connection:
            self._upload = uploads.complete(connection, self._claim)
        self._publisher.publish(self._upload)
        source.discard(self._path)

    def _dataset(self, prepared: Prepared, layout: Layout) -> Dataset:
        """Of an earlier attempt, or the one that was chosen, or a new one from a look through the whole file."""
        if self._upload.dataset is not None:
            with self._database.reading() as connection:
                dataset = datasets.get(connection, self._upload.dataset)
            ignored = datasets.match(dataset.schema, layout.names).ignored
            if self._upload.bytes_total is None:
                self._begin(prepared, layout, lambda _: dataset, ignored=ignored)
            return dataset
        profile = self._profile(prepared, layout)
        wanted = self._upload.dataset_wanted or datasets.name_after(self._upload.filename)
        schema, upload_id = profile.schema(), self._upload.id
        return self._begin(prepared, layout, lambda c: datasets.create(c, wanted, schema, upload_id), profile.rows)

    def _begin(
        self,
        prepared: Prepared,
        layout: Layout,
        dataset_of: Callable[[sa.Connection], Dataset],
        rows_total: int | None = None,
        ignored: Sequence[str] = (),
    ) -> Dataset:
        """Record how the file is read and where its rows go."""
        notes = [*prepared.notes, *layout.notes]
        if ignored:
            notes.append(f"Not in the dataset, and ignored: {', '.join(f'“{name}”' for name in ignored[:20])}.")
        with self._database.transaction() as connection:
            uploads.renew(connection, self._claim, lease=self._settings.lease)
            dataset = dataset_of(connection)
            self._upload = uploads.begin(
                connection,
                self._claim,
                lease=self._settings.lease,
                dataset=dataset.name,
                rows_total=rows_total,
                next_byte=layout.first_byte,
                bytes_total=prepared.path.stat().st_size,
                header=layout.names,
                parent=layout.parent,
                notes=notes,
            )
        self._publisher.publish(self._upload)
        return dataset

    def _profile(self, prepared: Prepared, layout: Layout) -> Profile:
        profile = Profile(layout.names, text_only=self._upload.reading.get("types") == "text")
        for chunk in ahead(self._chunks(prepared, layout, layout.first_byte, 1)):
            profile.see(chunk.rows, chunk.count)
            self._keep()
        return profile

    def _chunks(self, prepared: Prepared, layout: Layout, start: int, row: int) -> Iterator[Chunk]:
        found = reader.chunks(prepared.path, layout, start=start, row=row, block_bytes=self._settings.block_bytes)
        return (chunk.without(prepared.bad) for chunk in found) if prepared.bad else found

    def _validated(
        self, prepared: Prepared, layout: Layout, dataset: Dataset, rows: Writer
    ) -> Iterator["ValidatedChunk"]:
        sources = datasets.match(dataset.schema, layout.names).sources
        validator = Validator(dataset.schema, sources, upsert=dataset.mode is Mode.UPSERT)
        start = max(self._upload.next_byte, layout.first_byte)
        for chunk in self._chunks(prepared, layout, start, self._upload.rows_processed + 1):
            validated = validator.validate(chunk.rows)
            bad = FailedRows.of(_in_order(chunk.bad, validated.bad))
            yield ValidatedChunk(chunk, validated, rows.pack(validated.to_write), bad)

    def _commit(self, rows: Writer, chunk: "ValidatedChunk") -> None:
        """All that a chunk changes, or nothing; the guard first, which on SQLite is also what takes the lock."""
        with self._database.transaction() as connection:
            uploads.renew(connection, self._claim, lease=self._settings.lease)
            collisions = rows.write(connection, chunk.to_write)
            bad = chunk.failed(collisions)
            self._upload = uploads.advance(
                connection,
                self._claim,
                lease=self._settings.lease,
                good=len(chunk.validated.good) - len(collisions),
                bad=len(bad),
                next_byte=chunk.source.next_byte,
            )
            room = self._settings.failed_rows_kept - (self._upload.rows_failed - len(bad))
            failed_rows_writer.record(connection, self._upload.id, bad, room=room)

    def _keep(self) -> None:
        """Between two steps of long work: stay the one who does it, unless somebody asked to stop."""
        self._stop_if_asked()
        self._renewal.tick(self._upload)

    def _renew(self, _upload: Upload) -> None:
        with self._database.transaction() as connection:
            self._upload = uploads.renew(connection, self._claim, lease=self._settings.lease)

    @property
    def _limits(self) -> Limits:
        return Limits(ratio=self._settings.max_expansion_ratio, total=self._settings.max_expanded_bytes)

    def _stop_if_hopeless(self, *, at_least: int) -> None:
        """Raises UnreadableFileError when so many rows, or more, have failed and none has succeeded."""
        if self._upload.rows_success or self._upload.rows_failed < at_least:
            return
        with self._database.reading() as connection:
            first = failed_rows.counts(connection, self._upload.id, limit=1)
        which = f"The first {self._upload.rows_failed:,} rows" if at_least > 1 else "Every row"
        why = "".join(f" The most frequent reason: {Reason(count.column, count.rule).sentence}." for count in first)
        raise UnreadableFileError(f"{which} failed, so nothing was imported.{why}")

    def _stop_if_asked(self) -> None:
        if stop_requested.is_set():
            raise StopRequestedError

    def _fail(self, error: Exception) -> None:
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
class ValidatedChunk:
    """A chunk and what became of its rows. to_write, bad: as the database takes them."""

    source: Chunk
    validated: Validated
    to_write: Packed
    bad: FailedRows

    def failed(self, collisions: Collisions) -> FailedRows:
        """All that failed, those whose keys the database had already included."""
        if not collisions:
            return self.bad
        collided = [BadRow(number, self.source.cells(number), reasons) for number, reasons in collisions.items()]
        return FailedRows.of(_in_order(self.source.bad, self.validated.bad, collided))


def _in_order(*bad: list[BadRow]) -> list[BadRow]:
    return sorted(itertools.chain(*bad), key=lambda row: row.number)


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
