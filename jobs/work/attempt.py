"""Attempt: the import of one upload under one claim.

One transaction, guarded by the claim, commits a chunk's rows, its failed rows, the counters and the checkpoint. So
wherever a process dies, the next attempt continues after the last committed chunk and imports no row twice.
"""

import logging
import time
import traceback
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import sqlalchemy as sa

from jobs import (
    corrections,
    datasets,
    deleted_names,
    expectations,
    failed_rows,
    lineage,
    parts,
    receipts,
    replacement,
    review,
    uploads,
    warnings,
)
from jobs.changes import Changes
from jobs.dataset_admin import changes as dataset_changes
from jobs.datasets import Dataset
from jobs.errors import (
    ClaimLostError,
    DatasetChangedError,
    DatasetInUseError,
    DatasetNotFoundError,
    DatasetTakenError,
    InvalidImportOptionError,
    MisreadFileError,
    MissingColumnsError,
    NotRepairableError,
    SeveralFilesError,
    StoreUnavailableError,
    UndoRefusedError,
    UnreadableFileError,
)
from jobs.events import Ticker
from jobs.expectations import Balance, Expectations, FoundSum, OnMismatch
from jobs.failed_rows import Reason
from jobs.files import StoredFile
from jobs.modes import Mode
from jobs.parts import Part
from jobs.people.policy import Policy
from jobs.pipeline import failed_rows_writer, read_back, reader, source, tally, writer
from jobs.pipeline.checker import CheckedChunk, Checker
from jobs.pipeline.chunk import Chunk
from jobs.pipeline.corrector import Corrector
from jobs.pipeline.failed_rows_writer import FailureTally, PackedFailedRows
from jobs.pipeline.found_unchanged import FoundUnchanged
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.prefetch import Prefetch, prefetch
from jobs.pipeline.prepared_table import PreparedTable
from jobs.pipeline.profiler import Profile
from jobs.pipeline.source import Limits, TextFile
from jobs.pipeline.tally import Tallier, Tally
from jobs.pipeline.validator import Validator
from jobs.pipeline.writer import BeginAgainError, Writer, Written
from jobs.process import disk, horse_state, shutdown
from jobs.repair import rules
from jobs.repair.rules import Ruled
from jobs.replacement import Replacement
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.traces import before_images, row_lines, unchanged_rows, write_order
from jobs.traces.row_lines import LineRun
from jobs.undo import orders as undo_orders
from jobs.upload_log import Milestones
from jobs.uploads import Claim, CutReason, HoldCode, Remedy, Review, Task, Upload
from jobs.warnings import UploadWarning
from jobs.work import inspection
from jobs.work.division import Division
from jobs.work.inspection import Inspection, about_columns
from jobs.work.mender import Gathering

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Failed rows after which an import stops if no row has succeeded: the rest would most likely fail too.
MAX_FAILED_ROWS_WITHOUT_SUCCESS = 10_000
#: Seconds that a worker waits for room on a full disk before it tries again, or takes another upload.
FULL_DISK_PAUSE = 5.0
#: Pauses after which a worker gives up handing its upload back; the sweeper takes it back when there is room.
FULL_DISK_PAUSES = 4
#: Seconds that a transaction waits for one more chunk; on SQLite, others wait for it meanwhile.
NEXT_CHUNK_SECONDS = 0.05
#: How many times as large as all transactions before it one may be. On PostgreSQL each costs more; on SQLite, what is
#: committed is copied into the file beside the next one.
GROWTH_ON_SQLITE, GROWTH_ON_POSTGRESQL = 1, 2
#: Seconds after which a transaction gets no more chunks, so that what is there is seen.
TRANSACTION_SECONDS = 0.5


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
        self._store = store_of(settings)
        self._path = self._store.work / upload.stored_as
        self._renewal = Ticker(self._renew, interval=settings.lease / 3, at_once=False)
        self._milestones: Milestones | None = None
        self._assigned: Mapping[str, str | None] = {}
        #: The dataset as it was before this upload adds fields to it.
        self._stored: Dataset | None = None
        #: If the upload replaces all rows of its dataset.
        self._replacement: Replacement | None = None
        #: What is stored, and what is if the transaction that runs is committed.
        self._tally: FailureTally | None = None
        self._new_tally: FailureTally | None = None
        #: The last run of lines that is stored, and that is if the transaction that runs is committed.
        self._run: LineRun | None = None
        self._new_run: LineRun | None = None
        #: Of the rows that are written, and that are if the transaction that runs is committed; None: not known.
        self._proof: Tally | None = None
        self._new_proof: Tally | None = None
        #: The dataset that receives the rows, and what makes tallies of them.
        self._into: Dataset | None = None
        #: Whether this attempt is the first that came to the rows, so that nothing is recorded of them yet.
        self._begins = False
        self._tallier = Tallier([])
        #: The stamp of the newest rows, likewise.
        self._stamp: int | None = None
        self._new_stamp: int | None = None
        self.was_handed_back = False

    def run(self) -> None:
        """Import the upload, or look at it. Records and publishes every outcome; re-raises an unexpected error, for the
        log."""
        try:
            self._work()
        except ClaimLostError as lost:
            log.info("%s The attempt stops.", lost)
            self._changes.remove_spools(self._upload.id)
        except StopRequestedError:
            self._hand_back("its worker was shut down", at_shutdown=True)
        except DatasetChangedError:
            self._hand_back("its dataset was changed", at_shutdown=True)
        except DatasetTakenError as taken:
            self._hand_back("its dataset receives other rows", at_shutdown=True, dataset=taken.name)
        except (UnreadableFileError, DatasetNotFoundError) as error:
            if isinstance(error.__cause__, OSError) and not disk.has_room(self._path.parent):
                self._hand_back_when_there_is_room()
            elif isinstance(error, UnreadableFileError) and self._was_held():
                self._end(partial(self._held_unread, error=error))
            else:
                self._fail(str(error), _remedy(error))
        except StoreUnavailableError as error:
            self._hand_back_later(str(error))
        except MemoryError as error:
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            log.warning("Upload %d: attempt %d got no more memory.", self._claim.upload_id, self._claim.attempt)
            self._end(lambda connection: uploads.cut(connection, self._claim, CutReason.MEMORY))
        except BaseException as error:
            if isinstance(error, FileNotFoundError) and self._is_gone():
                self._fail("The uploaded file is no longer stored on the server. Upload it again.", Remedy.FILE)
                return
            if disk.is_full(error):
                self._hand_back_when_there_is_room()
                return
            self._hand_back(f"an unexpected error occurred ({type(error).__name__})")
            raise

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """With the file on this machine. Raises FileNotFoundError, StoreUnavailableError, UnreadableFileError."""
        if not self._upload.has_file:
            yield
            return
        with self._store.at_work(self._file, self._keep_claim) as self._path:
            yield

    def _work(self) -> None:
        self._gather()
        with self._at_work():
            is_imported = self._import()
        if is_imported:
            self._complete()

    @property
    def _file(self) -> StoredFile:
        upload = self._upload
        return StoredFile(upload.filename, upload.stored_as, upload.size, upload.sha256)

    def _is_gone(self) -> bool:
        try:
            return self._store.state(self._upload.stored_as) is None
        except StoreUnavailableError:
            return False

    @property
    def _is_repair(self) -> bool:
        return self._upload.kind == uploads.REPAIR

    def _gather(self) -> None:
        """Make the file of a repair, once. Raises UnreadableFileError."""
        if not self._is_repair or self._upload.has_file:
            return
        try:
            gathering = Gathering(self._settings, self._database, self._upload, tick=self._keep_claim)
            self._upload = gathering.run(self._claim)
        except NotRepairableError as error:
            raise UnreadableFileError(str(error)) from error

    def _import(self) -> bool:
        """False: the upload was held or divided."""
        if self._is_repair and not self._upload.has_file:
            return True  # no row is right
        if (text := self._prepared()) is None:
            return False
        table = reader.inspect(text, tick=horse_state.state.progress)
        parent = self._parent(table)
        existing = self._existing(parent)
        self._stored = existing
        if existing is not None:
            existing = datasets.extended(existing, self._upload.fields_wanted)
        if existing is not None:
            table = table.for_dataset(existing.schema)
        self._assigned = self._assignment(table, existing)
        mode = self._mode(existing, parent)
        self._require_expected_columns(existing)
        if self._must_look(parent) and self._is_held(table, existing, mode, parent):
            return False
        dataset = self._dataset(table, existing, parent, mode)
        sources = datasets.match(dataset.schema, table.names, self._assigned).sources
        importing = dataset.importing(mode)
        rows = self._writer(importing, sources.keys())
        self._into, self._tallier = dataset, Tallier([each for each in dataset.schema.fields if each.name in sources])
        self._proof = Tally() if self._begins else self._read(self._stored_proof)
        check = Checker(
            Validator(dataset.schema, sources),
            sources,
            rows,
            tick=horse_state.state.progress,
            rules=self._rules_of(dataset),
            tallier=self._tallier,
        )
        corrector = Corrector(parent, table.names, is_repair=self._is_repair) if parent else None
        renew = partial(self._renew_rules, check, dataset)
        while not self._all_committed(partial(self._commits, table, check, rows, renew, corrector)):
            log.debug("Upload %d: a key exists; the rows of the transaction are read again.", self._upload.id)
        self._stop_if_all_failed(at_least=1)
        return True

    def _all_committed(self, transactions: Callable[[], Generator[Callable[[], Upload]]]) -> bool:
        """Commit them, from the checkpoint on. False: the writer wants the rows after the last one again."""
        with closing(transactions()) as commits:
            for commit in commits:
                try:
                    self._upload = commit()
                except BeginAgainError:
                    return False
                self._tally, self._run, self._stamp = self._new_tally, self._new_run, self._new_stamp
                self._proof = self._new_proof
                self._stop_if_all_failed(at_least=MAX_FAILED_ROWS_WITHOUT_SUCCESS)
                self._stop_if_requested()
        return True

    def _complete(self) -> None:
        """Complete the upload; one that replaces all rows, as soon as nobody else uses the table of its dataset."""
        if self._replacement is not None:
            if not self._upload.rows_success:
                raise UnreadableFileError(f"The file has no rows, so those of “{self._upload.dataset}” stay.")
            replacement.wait_for_readers(self._database, self._keep_claim)
        balance, problems = self._compared()
        while True:
            try:
                self._changes.make_several(partial(self._completed, balance=balance, problems=problems))
            except DatasetTakenError:
                self._keep_claim()
                with horse_state.state.waiting():
                    shutdown.requested.wait(replacement.PAUSE)
            else:
                return

    def _compared(self) -> tuple[list[Balance], list[str]]:
        """How the upload compares with what was expected of it, and what does not balance, in words. Sums are read back
        from the table."""
        upload, expected = self._upload, Expectations.from_json(self._upload.expected)
        sums: dict[str, FoundSum] = {}
        if expected.sums:
            sums = self._sums(expected)
        return expectations.compare(expected, rows=upload.rows_success, sha256=upload.sha256, sums=sums)

    def _sums(self, expected: Expectations) -> dict[str, FoundSum]:
        """Of the rows of this upload, by the names of the columns as they are expected."""
        assert self._into is not None  # a file with expectations was read
        fields = expected.fields(self._into.schema)
        wanted = list({each.name: each for each in fields.values()}.values())
        with self._database.reading() as connection:
            table = self._replacement.table(connection.dialect) if self._replacement else None
            found, sizes = read_back.tally(
                connection, self._into, wanted, self._upload.id, table=table, tick=horse_state.state.progress
            )
            if self._upload.rows_unchanged:
                same, more = read_back.tally_of_unchanged(
                    connection, self._into, wanted, self._upload.id, tick=horse_state.state.progress
                )
                found, sizes = found + same, {name: size + more[name] for name, size in sizes.items()}
        return {
            name: FoundSum(tally.exact(each, found.sums.get(each.name, 0)), told, sizes[each.name])
            for name, each in fields.items()
            for told in [tally.number_of(each, found.sums.get(each.name, 0))]
        }

    def _completed(
        self, connection: sa.Connection, balance: list[Balance], problems: list[str]
    ) -> tuple[Upload, list[Upload]]:
        """Returns the upload, and all that were changed."""
        upload = self._upload
        remedy = self._on_mismatch(connection) if problems and not self._was_accepted else OnMismatch.WARN
        if remedy is OnMismatch.HOLD:
            held = uploads.hold_for_totals(connection, self._claim, expectations.in_words(problems), balance)
            return held, [held]
        warned = [*upload.warnings, warnings.totals(problems, balance)] if problems else None
        end = partial(uploads.complete, connection, self._claim, balance=balance, warnings=warned)
        if self._replacement is None:
            completed = end()
        else:
            uploads.hold(connection, self._claim)
            completed = end(removed=self._end_replacement(connection))
        self._give_receipt(connection, completed)
        return completed, [completed, *(self._undo_of(connection, completed) if remedy is OnMismatch.UNDO else ())]

    def _undo_of(self, connection: sa.Connection, completed: Upload) -> list[Upload]:
        """The order to undo an upload that does not balance, if that is possible."""
        try:
            return [undo_orders.order(connection, completed, sender=completed.sender)]
        except UndoRefusedError as refused:
            log.warning("Upload %d does not balance, but cannot be undone: %s", completed.id, refused)
            return []

    def _end_replacement(self, connection: sa.Connection) -> int:
        """Returns how many rows are gone."""
        assert self._replacement is not None
        rows = self._upload.rows_added or 0
        return self._replacement.end(connection, rows, keeps_former=self._keeps_images)

    @property
    def _was_accepted(self) -> bool:
        """Whether a person saw what does not balance, and said that it is right."""
        return self._upload.is_approved and bool(self._upload.balance)

    def _on_mismatch(self, connection: sa.Connection) -> OnMismatch:
        name = self._upload.dataset
        wanted = datasets.totals_of(connection, name).on_mismatch if name is not None else None
        return OnMismatch(wanted or OnMismatch.WARN)

    def _give_receipt(self, connection: sa.Connection, completed: Upload) -> None:
        found = self._proof if self._into else Tally()
        fields = {each.name: each for each in self._into.schema.fields} if self._into else {}
        sums = (
            {}
            if found is None
            else {
                each.name: tally.number_of(fields[each.name], found.sums.get(each.name, 0))
                for each in self._tallier.fields
                if each.type in ("integer", "number")
            }
        )
        digest, rows = (None, completed.rows_success) if found is None else (found.digest, found.rows)
        receipts.complete(connection, completed, digest=digest, rows=rows, sums=sums)

    def _stored_proof(self, connection: sa.Connection) -> Tally | None:
        """The tally of the rows that earlier attempts wrote."""
        stored = receipts.tally_of(connection, self._upload.id)
        if stored is not None:
            return Tally.from_json(stored)
        return Tally() if receipts.was_begun(connection, self._upload.id) else None

    def _tally_of(self, chunk: CheckedChunk, written: Written) -> Tally:
        """By how much the tally of the upload's rows grows with a chunk that was just written."""
        batch = chunk.to_write.packed.batch
        is_missing = writer.among(batch, written.collisions) | writer.among(batch, written.left_out)
        found = self._tallier.of_some(batch, ~is_missing, whole=chunk.tally)
        if written.superseded:
            found -= self._tallier.of(read_back.arrays(self._tallier.fields, written.superseded))
        return found

    def _mode(self, existing: Dataset | None, parent: Upload | None) -> Mode:
        """What the rows do with those of the dataset. Raises UnreadableFileError if it does not allow that."""
        upload = self._upload
        if existing is None:
            return Mode.INSERT
        if upload.bytes_total is not None:  # decided when the import began
            return upload.mode or existing.mode
        wanted = upload.mode_wanted
        if parent is not None and wanted is Mode.REPLACE:
            raise UnreadableFileError(corrections.REPLACES_NOTHING)
        if parent is not None and wanted is None and parent.mode_wanted is not Mode.REPLACE:
            wanted = parent.mode_wanted
        if wanted is not None and wanted not in (existing.mode, *existing.modes):
            raise UnreadableFileError(datasets.not_allowed(existing, wanted))
        return wanted or existing.mode

    def _writer(self, dataset: Dataset, filled: Collection[str]) -> Writer:
        dialect, upload_id = self._database.engine.dialect, self._upload.id
        if self._replacement is not None:
            return writer.writer_for(dialect, dataset, upload_id, filled, table=self._replacement.table(dialect))
        keeps_images = dataset.replaces and self._keeps_images
        if keeps_images and not self._read(lambda connection: before_images.exist(connection, dataset.name)):
            with self._database.transaction() as connection:
                before_images.make_table(connection, dataset)
        found = FoundUnchanged()
        if not self._begins:
            with self._database.reading() as connection:
                self._stamp = self._new_stamp = write_order.last_stamp(connection, upload_id)
                found = FoundUnchanged(list(unchanged_rows.of_upload(connection, upload_id)))
        return writer.writer_for(dialect, dataset, upload_id, filled, keeps_images=keeps_images, found=found)

    @property
    def _keeps_images(self) -> bool:
        return self._settings.undo_days > 0

    def _prepared(self) -> TextFile | None:
        """The file as a table of text. None: the upload was held, or divided into uploads of the file's parts."""
        settings, upload = self._settings, self._upload
        division = Division(self._changes, self._claim, upload, self._store, settings.quick_bytes)
        try:
            text = source.prepare(
                self._path,
                upload.filename,
                upload.options,
                limits=self._limits,
                tick=self._keep_claim,
                fits=self._fits(),
            )
        except SeveralFilesError as error:
            if division.divide(error.parts) or division.hold(error):
                return None
            raise
        found = [Part.from_json(each) for each in text.detected.get("parts", ())]
        return None if division.divide(found) else text

    def _require_expected_columns(self, dataset: Dataset | None) -> None:
        """Raises UnreadableFileError if a sum is expected of a column that the dataset does not have, or that has no
        numbers."""
        if dataset is None:
            return
        try:
            Expectations.from_json(self._upload.expected).fields(dataset.schema)
        except InvalidImportOptionError as error:
            raise UnreadableFileError(str(error)) from error

    @property
    def _wanted_schema(self) -> TableSchema | None:
        """Of a new dataset, if a person chose it."""
        wanted = self._upload.schema_wanted
        return None if wanted is None else TableSchema.stored(wanted)

    def _assignment(self, table: PreparedTable, existing: Dataset | None) -> Mapping[str, str | None]:
        """What somebody chose for columns: of this file, or once for such columns of its dataset."""
        if self._upload.mapping is not None:
            return self._upload.mapping
        has_begun = self._upload.bytes_total is not None or self._is_repair
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

    def _is_held(self, table: PreparedTable, existing: Dataset | None, mode: Mode, parent: Upload | None) -> bool:
        """Look at the file, and hold the upload if there is something to ask, or somebody wanted to see it."""
        inspection = Inspection(
            self._changes,
            self._claim,
            self._upload,
            table,
            existing,
            mode,
            stored=self._stored,
            planned=self._wanted_schema,
            inferred=lambda: self._profile(table).schema(),
            remembered=self._remembered(existing, table) if existing else {},
            assigned=self._assigned,
            chunks=lambda: self._chunks(table, table.first_byte, 1),
            keep_claim=self._keep_claim,
            lease=self._settings.lease,
            rules=self._rules_of(existing),
            parent=parent,
        )
        return inspection.hold()

    def _rules_of(self, existing: Dataset | None) -> RuleSet | None:
        if existing is None:
            return None
        return self._read(lambda connection: RuleSet.read(connection, existing.name, existing.schema))

    def _fits(self) -> Callable[[list[str]], int]:
        """A function that tells how many fields of the wanted dataset the names of some columns fill."""
        if self._upload.dataset is None:
            return lambda _: 0
        schema = cache(lambda: self._read(lambda c: datasets.get(c, self._upload.dataset or "")).schema)

        def known(names: list[str]) -> Mapping[str, str | None]:
            with self._database.reading() as connection:
                return review.remembered(connection, self._upload.dataset or "", names)

        def fits(names: list[str]) -> int:
            try:
                return len(datasets.match(schema(), names, known(names)).sources)
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
        if name is None and (made := self._read(lambda c: parts.dataset_of_siblings(c, self._upload))) is not None:
            name = made
            self._upload = self._changes.make(lambda c: uploads.settle(c, self._claim, made))
        return None if name is None else self._read(lambda connection: datasets.get(connection, name))

    def _dataset(self, table: PreparedTable, existing: Dataset | None, parent: Upload | None, mode: Mode) -> Dataset:
        """The existing dataset, or a new one with types inferred from the whole file."""
        if existing is not None:
            if mode is Mode.REPLACE:
                self._replacement = Replacement(existing, self._upload.id)
            datasets.match(
                existing.schema, table.names, self._assigned
            )  # raises if a field that needs a column has none
            if self._upload.bytes_total is None:
                self._begin(
                    table,
                    partial(self._enter, existing=existing),
                    parent=parent,
                    mode=mode,
                    found=[] if self._is_repair else about_columns(existing, table, self._assigned),
                )
            return existing
        wanted = self._upload.dataset_wanted or datasets.name_from_filename(self._upload.filename)
        chosen = self._wanted_schema
        if chosen is not None:
            self._require_expected_columns(datasets.planned(wanted, chosen))
            return self._begin(table, lambda connection: self._created(connection, wanted, chosen))
        profile = self._profile(table)
        schema = profile.schema()
        self._require_expected_columns(datasets.planned(wanted, schema))
        nearly = [f"“{each.name}” is {each.description}." for each in schema.fields if each.near_type]
        return self._begin(
            table,
            lambda connection: self._created(connection, wanted, schema),
            profile.rows,
            found=profile.warnings(),
            notes=nearly,
        )

    def _created(self, connection: sa.Connection, wanted: str, schema: TableSchema) -> Dataset:
        """A new dataset. Raises DatasetChangedError if another part of the same file has made it meanwhile."""
        upload = self._upload
        siblings = parts.siblings(connection, upload) if upload.dataset_wanted else []
        return datasets.create(connection, wanted, schema, upload.id, siblings=siblings)

    def _enter(self, connection: sa.Connection, existing: Dataset) -> Dataset:
        """The dataset, into which nothing else is imported while its rows are replaced. Raises DatasetTakenError,
        DatasetChangedError."""
        assert self._stored is not None
        is_changed = self._stored.schema != existing.schema
        dataset = datasets.keep(connection, self._stored, alone=self._replacement is not None or is_changed)
        others_are_alone = self._replacement is None
        if uploads.imported_meanwhile(connection, dataset.name, self._upload.id, alone=others_are_alone):
            raise DatasetTakenError(dataset.name)
        if is_changed:
            try:
                dataset = dataset_changes.extend(connection, dataset, existing.schema)
            except DatasetInUseError as error:
                raise DatasetTakenError(dataset.name) from error
        if self._replacement is not None:
            self._replacement.begin(connection)
        return dataset

    def _begin(
        self,
        table: PreparedTable,
        dataset_of: Callable[[sa.Connection], Dataset],
        rows_total: int | None = None,
        parent: Upload | None = None,
        found: Sequence[UploadWarning] = (),
        notes: Sequence[str] = (),
        mode: Mode = Mode.INSERT,
    ) -> Dataset:
        """Record how the file is read and which dataset receives its rows."""
        chosen: list[Dataset] = []

        def begin(connection: sa.Connection) -> Upload:
            uploads.hold(connection, self._claim)
            chosen.append(dataset_of(connection))
            self._begin_receipt(connection, table, chosen[0])
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
                part=parts.part_of(self._upload.options, _sheet_among_several(table)),
                mode=mode,
            )

        self._upload = self._changes.make(begin)
        self._begins = True
        return chosen[0]

    def _begin_receipt(self, connection: sa.Connection, table: PreparedTable, dataset: Dataset) -> None:
        found = datasets.match(dataset.schema, table.names, self._assigned)
        field_of = {column: name for name, column in found.sources.items()}
        receipts.begin(
            connection,
            self._upload.id,
            options={**self._upload.options.as_json(), **table.options},
            mapping={column: field_of.get(column) for column in table.names},
            fields=[name for name in dataset.schema.names if name in found.sources],
            schema_version=datasets.schema_version(connection, dataset.name),
        )

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
        progress = horse_state.state.progress
        return reader.chunks(table, start=start, row=row, chunk_bytes=self._chunk_bytes, tick=progress)

    @property
    def _chunk_bytes(self) -> int:
        """Bytes of the file that are read and checked at once."""
        return min(self._settings.chunk_bytes, reader.CHUNK_BYTES)

    def _may_share(self) -> bool:
        """Whether one more chunk may share the transaction now. On SQLite, unless another writer waits that goes before
        imports. On PostgreSQL, imports wait for each other's keys: each in the order of the keys of a chunk, so that
        none waits for one that waits for it. So chunks share only if nothing else is imported into the dataset."""
        if self._database.is_sqlite:
            return not self._database.is_awaited()
        name, upload_id = self._upload.dataset, self._upload.id
        if name is None:
            return False
        return not self._read(partial(uploads.imported_meanwhile, dataset=name, upload_id=upload_id))

    def _renew_rules(self, check: Checker, dataset: Dataset, connection: sa.Connection) -> None:
        """Check with the rules that the dataset has now, in the transaction of a chunk."""
        version = rules.version_of(connection, dataset.name)
        if check.rules is None or check.rules.version != version:
            check.rules = RuleSet.read(connection, dataset.name, dataset.schema)

    def _commits(
        self,
        table: PreparedTable,
        check: Checker,
        rows: Writer,
        renew: Callable[[sa.Connection], None],
        corrector: Corrector | None,
    ) -> Generator[Callable[[], Upload]]:
        """What commits each transaction, from the checkpoint on. Corrections are checked in their transaction, all
        others before; and once more in it if the rules were changed since. renew: takes over the present rules."""
        chunks = self._chunks(table, max(self._upload.next_byte, table.first_byte), self._upload.rows_processed + 1)
        if corrector is not None:
            root = self._read(lambda connection: lineage.eldest(connection, self._upload))
            for chunk in chunks:
                yield partial(self._commit_corrections, check, rows, renew, corrector, root, chunk)
            return
        with Prefetch(map(check, chunks)) as checked:
            for first in checked:
                yield partial(self._commit, check, rows, renew, first, checked)

    def _commit(
        self,
        check: Checker,
        rows: Writer,
        renew: Callable[[sa.Connection], None],
        first: CheckedChunk,
        others: Prefetch[CheckedChunk],
    ) -> Upload:
        """Commit everything that some chunks change in one transaction, which first checks the claim. Raises
        BeginAgainError."""

        def write(connection: sa.Connection) -> Upload:
            uploads.hold(connection, self._claim)
            renew(connection)
            version, landed = check.rules.version if check.rules else 0, []
            with rows.together(connection) as put:
                for chunk in self._sharing(first, others):
                    current = chunk if chunk.rules_version == version else check(chunk.source)
                    landed.append(self._landed(check, current, put(current.to_write)))
            upload = self._record_landed(connection, landed)
            self._count(connection, upload, [each.written for each in landed])
            return upload

        return self._changes.progress(write)

    def _sharing(self, first: CheckedChunk, others: Prefetch[CheckedChunk]) -> Iterator[CheckedChunk]:
        """The chunks of a transaction, each when the one before it is written. It grows with those before it, so that
        the first rows are seen at once."""
        start, until = self._upload.next_byte, time.monotonic() + TRANSACTION_SECONDS
        growth = GROWTH_ON_SQLITE if self._database.is_sqlite else GROWTH_ON_POSTGRESQL
        most, chunk = min(self._settings.chunk_bytes, growth * start), first

        def has_room() -> bool:
            return chunk.source.next_byte + self._chunk_bytes <= start + most and time.monotonic() < until

        yield chunk
        while has_room() and self._may_share():
            found = others.soon(NEXT_CHUNK_SECONDS)
            if found is None:
                return
            chunk = found
            yield chunk

    def _commit_corrections(
        self,
        check: Checker,
        rows: Writer,
        renew: Callable[[sa.Connection], None],
        corrector: Corrector,
        root: int,
        chunk: Chunk,
    ) -> Upload:
        """As `_commit`, together with what became of the failed rows. root: the eldest upload of the family, whose lock
        keeps the others from correcting the same rows meanwhile."""

        def write(connection: sa.Connection) -> tuple[Upload, list[Upload]]:
            uploads.lock(connection, [root])
            uploads.hold(connection, self._claim)
            renew(connection)
            judged = corrector.judge(connection, chunk, ruled=check.rules.fields if check.rules else ())
            checked = check(judged.chunk)
            single = judged.without_repeated(checked.validated.good.index.tolist())
            checked = checked if single is judged else check(single.chunk)
            written = self._landed(check, checked, rows.write(connection, checked.to_write))
            upload = self._record_landed(connection, [written])
            landed = set(checked.validated.good.index.tolist()) - written.written.collisions.keys()
            changed = lineage.note(
                connection,
                upload.id,
                corrected={before.root for number, before in judged.before.items() if number in landed},
                failed_again={number: before for number, before in judged.before.items() if number not in landed},
            )
            self._count(connection, upload, [written.written])
            newest = {each.id: each for each in (upload, *changed)}
            return newest.pop(upload.id), list(newest.values())

        return self._changes.progress_with_others(write)

    def _landed(self, check: Checker, chunk: CheckedChunk, written: Written) -> "_Landed":
        check.tallies = 2 * len(written.left_out) <= len(chunk.to_write.packed)  # as in the next chunks, most likely
        return _Landed(
            written,
            good=len(chunk.validated.good) - len(written.collisions),
            failed=chunk.failed_with(written.collisions),
            tally=Tally() if self._proof is None else self._tally_of(chunk, written),
            lines=chunk.lines,
            next_byte=chunk.source.next_byte,
            blank=chunk.source.blank,
            warnings=chunk.source.warnings,
            ruled=chunk.validated.ruled,
        )

    def _record_landed(self, connection: sa.Connection, landed: Sequence["_Landed"]) -> Upload:
        """Record what became of the rows of some chunks."""
        failed = PackedFailedRows.joined([each.failed for each in landed])
        ruled = self._upload.rules
        for each in landed:
            ruled = rules.merged(ruled, each.ruled) if each.ruled else ruled
        upload = uploads.advance(
            connection,
            self._claim,
            lease=self._settings.lease,
            good=sum(each.good for each in landed),
            bad=len(failed),
            added=sum(each.written.added for each in landed),
            unchanged=sum(each.written.unchanged for each in landed),
            next_byte=landed[-1].next_byte,
            blank=sum(each.blank for each in landed),
            before=self._upload.warnings,
            warnings=[warning for each in landed for warning in each.warnings],
            ruled=ruled if ruled is not self._upload.rules else (),
        )
        self._pass_milestone(connection, upload)
        room = self._settings.failed_rows_kept - (upload.rows_failed - len(failed))
        self._new_tally = failed_rows_writer.record(connection, upload.id, failed, self._tally, room=room)
        self._new_run = self._run
        for each in landed:
            self._new_run = self._record_lines(connection, each.lines, self._new_run)
        self._new_proof = self._proof
        if self._proof is not None:
            self._new_proof = sum((each.tally for each in landed), self._proof)
            receipts.keep(connection, upload.id, self._new_proof.as_json())
        unchanged_rows.record(connection, upload.id, [block for each in landed for block in each.written.blocks])
        for each in landed:
            written = each.written
            if written.replaced and upload.dataset is not None:
                lost = None if self._keeps_images else before_images.Lost.OFF
                before_images.record(
                    connection, upload.id, upload.dataset, replaced=written.replaced, images=written.images, lost=lost
                )
        return upload

    def _record_lines(self, connection: sa.Connection, run: LineRun | None, last: LineRun | None) -> LineRun | None:
        """last: the last run that is stored. Returns the one that is now."""
        if run is None or (last and last.is_continued_by(run)):
            return last
        row_lines.record(connection, self._upload.id, run)
        return run

    def _count(self, connection: sa.Connection, upload: Upload, written: Sequence[Written]) -> None:
        """Keep the number of rows of the dataset; the last statement of a transaction. Those of a staging table are
        counted when it takes the place of the dataset's."""
        if self._replacement is None and upload.dataset is not None and upload.rows_success > self._upload.rows_success:
            is_changed = any(each.changed for each in written)
            added = sum(each.added for each in written)
            stamp = datasets.count_rows(connection, upload.dataset, added, by=upload.id, is_changed=is_changed)
            if stamp != self._stamp:
                write_order.record(connection, upload.id, self._upload.rows_processed + 1, stamp)
            self._new_stamp = stamp

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

    def _was_held(self) -> bool:
        """Whether a person looks at it, and chose how it is read."""
        task, upload_id = self._upload.task, self._upload.id
        was_seen = partial(review.was_seen, upload_id=upload_id)
        return task is Task.LOOK or (task is Task.CHECK and self._read(was_seen))

    def _held_unread(self, connection: sa.Connection, error: UnreadableFileError) -> Upload:
        """Hold it again, so that the person can choose otherwise."""
        upload = self._upload
        kept = [each for each in upload.hold if each["code"] == HoldCode.DUPLICATE]
        hold = [*kept, uploads.hold_of(HoldCode.OPTIONS, str(error))]
        held = uploads.hold_unread(connection, self._claim, hold)
        review.record_problem(connection, upload.id, inspection.option_to_blame(upload.options, str(error)), str(error))
        return held

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

    def _hand_back_later(self, because: str) -> None:
        """Hand back after a while. The attempt does not count as one without progress."""
        log.warning("Upload %d: %s The import continues when it does.", self._upload.id, because)
        wait_for_room()
        self._hand_back("the store of uploaded files did not respond", at_shutdown=True)

    def _hand_back(self, because: str, *, at_shutdown: bool = False, dataset: str | None = None) -> None:
        self.was_handed_back = True
        back = partial(uploads.hand_back, claim=self._claim, because=because, at_shutdown=at_shutdown, dataset=dataset)
        upload = self._end(back)
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


@dataclass(frozen=True)
class _Landed:
    """What became of the rows of a chunk that was written.

    good: how many are in the dataset. failed: the others. tally: by how much that of the upload grows. lines: where all
    rows begin. next_byte, blank, warnings: as in Chunk. ruled: what rules changed.
    """

    written: Written
    good: int
    failed: PackedFailedRows
    tally: Tally
    lines: LineRun | None
    next_byte: int
    blank: int
    warnings: Sequence[UploadWarning]
    ruled: Sequence[Ruled]


def _remedy(error: Exception) -> Remedy:
    """What may help after this error."""
    match error:
        case MisreadFileError():
            return Remedy.OPTIONS
        case UnreadableFileError() if error.__cause__ is None or not disk.is_full(error.__cause__):
            return Remedy.FILE
        case _:
            return Remedy.RETRY


def _sheet_among_several(table: PreparedTable) -> str | None:
    """The worksheet that was read, if there are others."""
    return table.options["sheet"] if len(table.options.get("sheets") or ()) > 1 else None
