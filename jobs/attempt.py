"""Attempt: the import of one upload under one claim.

One transaction, guarded by the claim, commits a chunk's rows, its failed rows, the counters and the checkpoint. So
wherever a process dies, the next attempt continues after the last committed chunk and imports no row twice.
"""

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from jobs import (
    corrections,
    datasets,
    deleted_names,
    disk,
    failed_rows,
    files,
    horse_state,
    lineage,
    review,
    shutdown,
    uploads,
    warnings,
)
from jobs.changes import Changes
from jobs.check import Check
from jobs.datasets import Dataset
from jobs.errors import (
    ClaimLostError,
    DatasetChangedError,
    DatasetNotFoundError,
    MisreadFileError,
    MissingColumnsError,
    UnreadableFileError,
)
from jobs.events import Ticker
from jobs.failed_rows import Reason
from jobs.look import LOOK_BYTES, Look
from jobs.people.policy import Policy
from jobs.pipeline import failed_rows_writer, reader, source, writer
from jobs.pipeline.checker import CheckedChunk, Checker
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.corrector import Corrector
from jobs.pipeline.failed_rows_writer import FailureTally
from jobs.pipeline.prefetch import prefetch
from jobs.pipeline.prepared_table import PreparedTable
from jobs.pipeline.profiler import Profile
from jobs.pipeline.source import Limits
from jobs.pipeline.validator import Validator
from jobs.pipeline.writer import Writer, Written
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.upload_log import Milestones
from jobs.uploads import Claim, CutReason, HoldCode, Remedy, Review, Task, Upload
from jobs.warnings import UploadWarning

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Failed rows after which an import stops if no row has succeeded: the rest would most likely fail too.
MAX_FAILED_ROWS_WITHOUT_SUCCESS = 10_000
#: Seconds between two notes of how far a check is: each is a transaction of its own.
CHECK_INTERVAL = 0.5
#: Seconds that a worker waits for room on a full disk before it tries again, or takes another upload.
FULL_DISK_PAUSE = 5.0
#: Pauses after which a worker gives up handing its upload back; the sweeper takes it back when there is room.
FULL_DISK_PAUSES = 4


class StopRequestedError(Exception):
    """The worker shuts down, so the upload must go back to the queue."""


def wait_for_room() -> None:
    """Wait a while, during which a full disk may get room."""
    with horse_state.state.waiting():
        shutdown.requested.wait(FULL_DISK_PAUSE)


class Attempt:
    """One attempt to import an upload, under one claim."""

    def __init__(self, settings: Settings, changes: Changes, upload: Upload) -> None:
        self._settings = settings
        self._changes = changes
        self._database = changes.database
        self._upload = upload
        self._claim = Claim(upload.id, upload.attempt)
        self._database.claim = str(self._claim)
        self._changes.begin_import()
        self._path = files.path_of(settings.files, upload.stored_as)
        self._renewal = Ticker(self._renew, interval=settings.lease / 3)
        self._milestones: Milestones | None = None
        self._assigned: Mapping[str, str | None] = {}
        #: What is stored, and what is if the transaction that runs is committed.
        self._tally: FailureTally | None = None
        self._new_tally: FailureTally | None = None
        self.was_handed_back = False

    def run(self) -> None:
        """Import the upload, or look at it. Records and publishes every outcome; re-raises an unexpected error, for the
        log."""
        try:
            with files.in_use(self._path):
                is_imported = self._import()
            if not is_imported:
                return
            self._changes.make(lambda connection: uploads.complete(connection, self._claim))
        except ClaimLostError as lost:
            log.info("%s The attempt stops.", lost)
            self._changes.remove_spools(self._upload.id)
        except StopRequestedError:
            self._hand_back("its worker was shut down", at_shutdown=True)
        except DatasetChangedError:
            self._hand_back("its dataset was changed", at_shutdown=True)
        except (UnreadableFileError, DatasetNotFoundError) as error:
            if isinstance(error.__cause__, OSError) and not disk.has_room(self._path.parent):
                self._hand_back_when_there_is_room()
            else:
                self._fail(str(error), _remedy(error))
        except MemoryError as error:
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            log.warning("Upload %d: attempt %d got no more memory.", self._claim.upload_id, self._claim.attempt)
            self._end(lambda connection: uploads.cut(connection, self._claim, CutReason.MEMORY))
        except BaseException as error:
            if isinstance(error, FileNotFoundError) and not self._path.exists():
                self._fail("The uploaded file is no longer stored on the server. Upload it again.", Remedy.FILE)
                return
            if disk.is_full(error):
                self._hand_back_when_there_is_room()
                return
            self._hand_back(f"an unexpected error occurred ({type(error).__name__})")
            raise

    def _import(self) -> bool:
        """False: the upload was held."""
        text = source.prepare(
            self._path,
            self._upload.filename,
            self._upload.options,
            limits=self._limits,
            tick=self._keep_claim,
            fits=self._fits(),
        )
        table = reader.inspect(text, tick=horse_state.state.progress)
        parent = self._parent(table)
        existing = self._existing(parent)
        if existing is not None:
            table = table.for_dataset(existing.schema)
        self._assigned = self._assignment(table, existing)
        if self._must_look(parent) and self._is_held(table, existing):
            return False
        dataset = self._dataset(table, existing, parent)
        sources = datasets.match(dataset.schema, table.names, self._assigned).sources
        rows = writer.writer_for(self._database.engine.dialect, dataset, self._upload.id, sources.keys())
        check = Checker(Validator(dataset.schema, sources), sources, rows, tick=horse_state.state.progress)
        chunks = self._chunks(table, max(self._upload.next_byte, table.first_byte), self._upload.rows_processed + 1)
        for commit in self._commits(chunks, check, Corrector(parent, table.names) if parent else None):
            self._upload = commit()
            self._tally = self._new_tally
            self._stop_if_all_failed(at_least=MAX_FAILED_ROWS_WITHOUT_SUCCESS)
            self._stop_if_requested()
        self._stop_if_all_failed(at_least=1)
        return True

    @property
    def _wanted_schema(self) -> TableSchema | None:
        """Of a new dataset, if a person chose it."""
        wanted = self._upload.schema_wanted
        return None if wanted is None else TableSchema.stored(wanted)

    def _assignment(self, table: PreparedTable, existing: Dataset | None) -> Mapping[str, str | None]:
        """What somebody chose for columns: of this file, or once for such columns of its dataset."""
        if self._upload.mapping is not None:
            return self._upload.mapping
        has_begun = self._upload.bytes_total is not None
        return {} if existing is None or has_begun else self._remembered(existing, table)

    def _remembered(self, existing: Dataset, table: PreparedTable) -> Mapping[str, str | None]:
        return self._read(lambda connection: review.remembered(connection, existing.name, table.names))

    def _must_look(self, parent: Upload | None) -> bool:
        """Whether somebody may want to see the file before its first row is imported. Corrections were seen."""
        upload = self._upload
        if upload.task is not Task.IMPORT:
            return True
        is_untouched = upload.bytes_total is None and not upload.is_approved
        return upload.review is Review.AUTO and is_untouched and parent is None

    def _is_held(self, table: PreparedTable, existing: Dataset | None) -> bool:
        """Look at the file, and hold the upload if there is something to ask, or somebody wanted to see it."""
        upload, schema = self._upload, existing.schema if existing else None
        beginning = reader.chunks(
            table, start=table.first_byte, row=1, chunk_bytes=LOOK_BYTES, tick=horse_state.state.progress
        )
        remembered = self._remembered(existing, table) if existing else {}
        seen = Look(upload, table, schema, remembered, upload.mapping, next(beginning, None))
        hold = [*(each for each in upload.hold if each["code"] == HoldCode.DUPLICATE), *seen.reasons()]
        if upload.task is not Task.IMPORT and not hold:
            hold = [uploads.hold_of(HoldCode.REVIEW, "Look at how the file was read before it is imported.")]
        if not hold:
            return False
        is_check, planned = upload.task is Task.CHECK, self._wanted_schema
        if is_check and existing is None and planned is None:
            planned = self._profile(table).schema()
        checked = self._checked(table, existing, seen, planned) if is_check else None
        warnings = [*table.warnings, *(_about_columns(existing, table, self._assigned) if existing else [])]
        is_new = existing is None

        def held(connection: sa.Connection) -> Upload:
            found = uploads.hold_for_review(
                connection,
                self._claim,
                hold,
                header=table.names,
                mapping=upload.mapping if is_new else seen.mapping,
                notes=table.notes,
                warnings=warnings,
            )
            review.record(connection, upload.id, seen.reading(planned), checked)
            return found

        self._changes.make(held)
        return True

    def _checked(
        self, table: PreparedTable, existing: Dataset | None, seen: Look, planned: TableSchema | None
    ) -> dict[str, Any] | None:
        """What the import would do; None if a field that needs a column has none. planned: of a new dataset."""
        if existing is None and planned is not None:
            wanted = self._upload.dataset_wanted or datasets.name_from_filename(self._upload.filename)
            dataset = datasets.planned(wanted, planned)
            sources = datasets.match(planned, table.names, self._assigned).sources
        elif existing is None or review.missing_fields(existing.schema, seen.mapping):
            return None
        else:
            dataset = existing
            sources = {field: name for name, field in seen.mapping.items() if field is not None}
        progress = Ticker(self._tell_of_check, interval=CHECK_INTERVAL)

        def passed(chunk: Chunk) -> None:
            self._keep_claim()
            progress.tick(chunk.next_byte * 100 // max(1, table.bytes_total))

        check = Check(
            self._database, dataset, self._upload.id, sources, exists=existing is not None, tick=self._keep_claim
        )
        return check.run(self._chunks(table, table.first_byte, 1), passed)

    def _tell_of_check(self, percent: int) -> None:
        lease = self._settings.lease
        self._upload = self._changes.progress(
            lambda connection: uploads.report_check(connection, self._claim, lease=lease, percent=percent)
        )

    def _fits(self) -> Callable[[list[str]], int]:
        """A function that tells how many fields of the wanted dataset the names of some columns fill."""
        if self._upload.dataset is None:
            return lambda _: 0
        with self._database.reading() as connection:
            schema = datasets.get(connection, self._upload.dataset).schema

        def known(names: list[str]) -> Mapping[str, str | None]:
            with self._database.reading() as connection:
                return review.remembered(connection, self._upload.dataset or "", names)

        def fits(names: list[str]) -> int:
            try:
                return len(datasets.match(schema, names, known(names)).sources)
            except MissingColumnsError:
                return 0

        return fits

    def _parent(self, table: PreparedTable) -> Upload | None:
        """The upload that the file corrects, if it exists for whoever sent the file. Raises UnreadableFileError if the
        file was sent into another dataset, or its sender may not upload into that one."""
        with self._database.reading() as connection:
            policy = Policy.of_sender(connection, self._upload)
            parent = lineage.find_parent(connection, table.parent, table.names, policy.view)
        if parent and deleted_names.former(parent.dataset) is not None:
            raise UnreadableFileError(corrections.deleted_dataset(parent.id, parent.dataset or ""))
        if parent and not policy.may_upload_into(parent.dataset):
            raise UnreadableFileError(f"You may not upload into “{parent.dataset}”, in which these rows failed.")
        chosen = self._upload.dataset or self._upload.dataset_wanted
        if parent and parent.dataset and chosen not in ("", parent.dataset):
            raise UnreadableFileError(corrections.wrong_dataset(parent.id, parent.dataset, chosen))
        return parent

    def _existing(self, parent: Upload | None) -> Dataset | None:
        """The dataset of an earlier attempt, the chosen one, or that of the corrected rows."""
        name = self._upload.dataset or (parent.dataset if parent else None)
        return None if name is None else self._read(lambda connection: datasets.get(connection, name))

    def _dataset(self, table: PreparedTable, existing: Dataset | None, parent: Upload | None) -> Dataset:
        """The existing dataset, or a new one with types inferred from the whole file."""
        if existing is not None:
            datasets.match(
                existing.schema, table.names, self._assigned
            )  # raises if a field that needs a column has none
            if self._upload.bytes_total is None:
                self._begin(
                    table,
                    partial(datasets.keep, dataset=existing),
                    parent=parent,
                    found=_about_columns(existing, table, self._assigned),
                )
            return existing
        wanted = self._upload.dataset_wanted or datasets.name_from_filename(self._upload.filename)
        upload_id, chosen = self._upload.id, self._wanted_schema
        if chosen is not None:
            return self._begin(table, lambda connection: datasets.create(connection, wanted, chosen, upload_id))
        profile = self._profile(table)
        schema = profile.schema()
        nearly = [f"“{each.name}” is {each.description}." for each in schema.fields if each.near_type]
        return self._begin(
            table,
            lambda connection: datasets.create(connection, wanted, schema, upload_id),
            profile.rows,
            found=profile.warnings(),
            notes=nearly,
        )

    def _begin(
        self,
        table: PreparedTable,
        dataset_of: Callable[[sa.Connection], Dataset],
        rows_total: int | None = None,
        parent: Upload | None = None,
        found: Sequence[UploadWarning] = (),
        notes: Sequence[str] = (),
    ) -> Dataset:
        """Record how the file is read and which dataset receives its rows."""
        chosen: list[Dataset] = []

        def begin(connection: sa.Connection) -> Upload:
            uploads.renew(connection, self._claim, lease=self._settings.lease)
            chosen.append(dataset_of(connection))
            return uploads.begin(
                connection,
                self._claim,
                lease=self._settings.lease,
                dataset=chosen[0].name,
                rows_total=rows_total,
                next_byte=table.first_byte,
                bytes_total=table.bytes_total,
                header=table.names,
                parent=parent.id if parent else None,
                notes=[*table.notes, *notes],
                warnings=[*table.warnings, *found],
                blank=table.blank,
                mapping=self._assigned or None,
            )

        self._upload = self._changes.make(begin)
        return chosen[0]

    def _profile(self, table: PreparedTable) -> Profile:
        options, tick = self._upload.options, horse_state.state.progress
        profile = Profile(
            table.names, text_only=options.all_text, wanted=options.types_of_columns, hints=table.hints, tick=tick
        )
        for chunk in prefetch(self._chunks(table, table.first_byte, 1)):
            profile.see(chunk.rows, chunk.count)
            self._keep_claim()
        return profile

    def _chunks(self, table: PreparedTable, start: int, row: int) -> Iterator[Chunk]:
        chunk_bytes, progress = self._settings.chunk_bytes, horse_state.state.progress
        return reader.chunks(table, start=start, row=row, chunk_bytes=chunk_bytes, tick=progress)

    def _commits(
        self, chunks: Iterator[Chunk], check: Checker, corrector: Corrector | None
    ) -> Iterator[Callable[[], Upload]]:
        """For each chunk, what commits it. Corrections are checked in their transaction, all others before."""
        if corrector is not None:
            root = self._read(lambda connection: lineage.eldest(connection, self._upload))
            for chunk in chunks:
                yield partial(self._commit_corrections, check, corrector, root, chunk)
            return
        for checked in prefetch(map(check, chunks)):
            yield partial(self._commit, check.rows, checked)

    def _commit(self, rows: Writer, chunk: CheckedChunk) -> Upload:
        """Commit everything that a chunk changes in one transaction, which first checks the claim."""

        def write(connection: sa.Connection) -> Upload:
            uploads.hold(connection, self._claim)
            upload, written = self._write(connection, rows, chunk)
            self._count(connection, upload, written)
            return upload

        return self._changes.progress(write)

    def _commit_corrections(self, check: Checker, corrector: Corrector, root: int, chunk: Chunk) -> Upload:
        """As `_commit`, together with what became of the failed rows. root: the eldest upload of the family, whose lock
        keeps the others from correcting the same rows meanwhile."""

        def write(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
            uploads.lock(connection, [root])
            uploads.hold(connection, self._claim)
            judged = corrector.judge(connection, chunk)
            checked = check(judged.chunk)
            single = judged.without_repeated(checked.validated.good.index.tolist())
            checked = checked if single is judged else check(single.chunk)
            upload, written = self._write(connection, check.rows, checked)
            landed = set(checked.validated.good.index.tolist()) - written.collisions.keys()
            changed = lineage.note(
                connection,
                upload.id,
                corrected={before.root for number, before in judged.before.items() if number in landed},
                failed_again={number: before for number, before in judged.before.items() if number not in landed},
            )
            self._count(connection, upload, written)
            newest = {each.id: each for each in (upload, *changed)}
            return newest.pop(upload.id), list(newest.values())

        return self._changes.progress_with_others(write)

    def _write(self, connection: sa.Connection, rows: Writer, chunk: CheckedChunk) -> tuple[Upload, Written]:
        """Write the rows of a chunk and record what became of them."""
        written = rows.write(connection, chunk.to_write)
        failed = chunk.failed_with(written.collisions)
        upload = uploads.advance(
            connection,
            self._claim,
            lease=self._settings.lease,
            good=len(chunk.validated.good) - len(written.collisions),
            bad=len(failed),
            next_byte=chunk.source.next_byte,
            blank=chunk.source.blank,
            before=self._upload.warnings,
            warnings=chunk.source.warnings,
        )
        self._pass_milestone(connection, upload)
        room = self._settings.failed_rows_kept - (upload.rows_failed - len(failed))
        self._new_tally = failed_rows_writer.record(connection, upload.id, failed, self._tally, room=room)
        return upload, written

    def _count(self, connection: sa.Connection, upload: Upload, written: Written) -> None:
        """Keep the number of rows of the dataset; the last statement of a chunk's transaction."""
        if upload.dataset is not None and upload.rows_success > self._upload.rows_success:
            datasets.count_rows(connection, upload.dataset, written.added)

    def _pass_milestone(self, connection: sa.Connection, upload: Upload) -> None:
        if self._milestones is None:
            begun = upload.counting_since or upload.updated_at
            resumes = self._upload.rows_processed > 0
            self._milestones = Milestones.resumed(connection, upload.id, begun) if resumes else Milestones(begun)
        self._milestones.pass_by(connection, upload.log_state)

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        with self._database.reading() as connection:
            return query(connection)

    def _keep_claim(self) -> None:
        """Tell of progress and renew the claim during long work, and stop if the worker shuts down."""
        horse_state.state.progress()
        self._stop_if_requested()
        self._renewal.tick(self._upload)

    def _renew(self, _upload: Upload) -> None:
        """Renew without publishing: pages do not show the lease."""
        with self._database.transaction() as connection:
            self._upload = uploads.renew(connection, self._claim, lease=self._settings.lease)

    @property
    def _limits(self) -> Limits:
        return Limits(ratio=self._settings.max_expansion_ratio, total=self._settings.max_expanded_bytes)

    def _stop_if_all_failed(self, *, at_least: int) -> None:
        """Raises MisreadFileError if at least so many rows have failed and none has succeeded."""
        if self._upload.rows_success or self._upload.rows_failed < at_least:
            return
        with self._database.reading() as connection:
            first = failed_rows.counts(connection, self._upload.id, limit=1)
        which = f"The first {self._upload.rows_failed:,} rows" if at_least > 1 else "All rows"
        why = "".join(f" The most frequent reason: {Reason(count.column, count.rule).sentence}." for count in first)
        raise MisreadFileError(f"{which} failed, so nothing was imported.{why}")

    def _stop_if_requested(self) -> None:
        if shutdown.requested.is_set():
            raise StopRequestedError

    def _fail(self, error: str, remedy: Remedy) -> None:
        self._end(lambda connection: uploads.fail(connection, self._claim, error, remedy))

    def _hand_back_when_there_is_room(self) -> None:
        """Hand back, which a full disk prevents too. The attempt does not count as one without progress."""
        log.warning("Upload %d: the disk is full; the import continues when there is room.", self._upload.id)
        for _ in range(FULL_DISK_PAUSES):
            wait_for_room()
            try:
                return self._hand_back("the disk was full", at_shutdown=True)
            except sa.exc.DBAPIError as error:
                if not disk.is_full(error):
                    raise
        return None

    def _hand_back(self, because: str, *, at_shutdown: bool = False) -> None:
        self.was_handed_back = True
        upload = self._end(
            lambda connection: uploads.hand_back(connection, self._claim, because=because, at_shutdown=at_shutdown)
        )
        if upload and upload.is_active:
            log.info(
                "Upload %d: attempt %d ends at row %d: %s.", upload.id, upload.attempt, upload.rows_processed, because
            )

    def _end(self, change: Callable[[sa.Connection], Upload | None]) -> Upload | None:
        """Record the end of the attempt. After it, the work horse holds no claim that its parent would look after."""
        try:
            return self._changes.make(change)
        except ClaimLostError:
            return None
        finally:
            horse_state.state.end()


def _remedy(error: Exception) -> Remedy:
    """What may help after this error."""
    match error:
        case MisreadFileError():
            return Remedy.OPTIONS
        case UnreadableFileError() if error.__cause__ is None or not disk.is_full(error.__cause__):
            return Remedy.FILE
        case _:
            return Remedy.RETRY


def _about_columns(dataset: Dataset, table: PreparedTable, assigned: Mapping[str, str | None]) -> list[UploadWarning]:
    """Warnings about columns that no field takes, and fields that no column fills."""
    found = datasets.pairs(dataset.schema, table.names, assigned)
    empty = [name for name in dataset.schema.names if name not in found.sources]
    return [
        *([warnings.columns_ignored(found.ignored)] if found.ignored else []),
        *([warnings.fields_empty(empty)] if empty else []),
    ]
