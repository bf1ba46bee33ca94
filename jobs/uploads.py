"""The upload's record and its state machine. Each function that changes a record runs in the caller's transaction.

A change is one statement, `UPDATE … WHERE id AND status IN (…) [AND attempt] RETURNING …`. A claimant that has lost its
claim matches no row, so it writes nothing even if it does not know yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa

from jobs import deleted_names, failed_rows, upload_log
from jobs.database import utc_now
from jobs.errors import ClaimLostError, OptionsFixedError, TransitionError, UploadNotFoundError
from jobs.excerpt import excerpt, notes_excerpt
from jobs.files import StoredFile
from jobs.history_query import ALL_UPLOADS, HistoryQuery, search_text
from jobs.import_options import ImportOptions
from jobs.lanes import QUICK_BYTES, Lane
from jobs.tables import datasets, uploads
from jobs.upload_log import EXTERNAL_STEP, By, Kind, State, Via
from jobs.view import EVERYTHING, View
from jobs.warnings import UploadWarning, kept, merged

#: Consecutive attempts that commit nothing before an upload fails.
MAX_ATTEMPTS_WITHOUT_PROGRESS = 5
#: Times a worker may cut the import of a file before the upload fails: the first could be due to a busy machine.
MAX_CUTS = 2

#: By how much two times can differ that one statement writes: PostgreSQL's clock goes on in it.
_SAME_MOMENT = timedelta(milliseconds=1)
#: Characters of the longest error that is kept of an import: it may quote names from the file.
LONGEST_ERROR = 4_000
#: Identifies the lock of whoever chooses the next upload among a PostgreSQL database's advisory locks.
CHOICE_LOCK = 0x6E657874


class Status(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    HELD = "held"  # waits for a person
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Processor(StrEnum):
    """What imports an upload: a worker, or an external script that reports its progress (reports.py)."""

    WORKER = "worker"
    EXTERNAL = "external"


class Review(StrEnum):
    """Whether a person looks at an upload before it is imported."""

    NEVER = "never"
    AUTO = "auto"  # if there is something to ask
    ALWAYS = "always"


class Task(StrEnum):
    """What a worker does with an upload."""

    LOOK = "look"  # read the beginning, then hold it
    CHECK = "check"  # the import without its writes, then hold it
    IMPORT = "import"


class Phase(StrEnum):
    """What an upload is at, for people and programs."""

    CHECK = "check"
    IMPORT = "import"


class HoldCode(StrEnum):
    """Why an upload waits for a person."""

    DUPLICATE = "duplicate"  # the same bytes were imported before
    REVIEW = "review"  # somebody wanted to look at it
    COLUMNS = "columns"  # a field that needs a column has none, or a column that no field takes resembles one
    FAILING = "failing"  # many of the first rows would fail
    SHEET = "sheet"  # the worksheet is a guess
    HEADER = "header"  # the header is a guess


#: One reason: {"code", "detail"}.
Hold = dict[str, str]


class CutReason(StrEnum):
    """Which limit of a work horse a file exceeded (watchdog.py)."""

    TIME = "time"
    MEMORY = "memory"


class Remedy(StrEnum):
    """What may help after a failure."""

    RETRY = "retry"  # the same again: the file is not the cause
    OPTIONS = "options"  # to read the file in another way
    FILE = "file"  # another file only


ACTIVE = frozenset({Status.PENDING, Status.PROCESSING})
CANCELLABLE = ACTIVE | {Status.HELD}
TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True)
class Transition:
    """A change of state that is allowed.

    target: None keeps the current state. participle: for errors ("… cannot be cancelled."). processor: of the
    uploads it applies to; None for all.
    """

    sources: frozenset[Status]
    target: Status | None
    participle: str
    processor: Processor | None = Processor.WORKER


#: The whole state machine. A change that is not listed here cannot happen.
CLAIM = Transition(frozenset({Status.PENDING}), Status.PROCESSING, "claimed")  # by a worker, with a lease
ADVANCE = Transition(frozenset({Status.PROCESSING}), Status.PROCESSING, "advanced")  # a chunk commits, a lease renews
HAND_BACK = Transition(
    frozenset({Status.PROCESSING}), Status.PENDING, "handed back"
)  # the lease expired, the work horse died or was cut, or its worker shuts down
COMPLETE = Transition(frozenset({Status.PROCESSING}), Status.COMPLETED, "completed")  # the end of the file
FAIL = Transition(
    ACTIVE, Status.FAILED, "failed"
)  # the file cannot be read, exceeded a limit twice, or too many attempts committed nothing
HOLD = Transition(frozenset({Status.PROCESSING}), Status.HELD, "held")  # a worker has something to ask
HOLD_AT_ONCE = Transition(frozenset({Status.PENDING}), Status.HELD, "held", None)  # a duplicate, at its creation
APPROVE = Transition(frozenset({Status.HELD}), Status.PENDING, "imported", None)  # a person says: import it
ORDER = Transition(frozenset({Status.HELD}), Status.PENDING, "checked")  # a person wants it looked at again
DECIDE = Transition(frozenset({Status.HELD}), None, "changed")  # a person chooses how it will be imported
EXPIRE = Transition(frozenset({Status.HELD}), Status.CANCELLED, "cancelled", None)  # nobody decided in time
CANCEL = Transition(
    CANCELLABLE, Status.CANCELLED, "cancelled", None
)  # a person cancels; the claimant finds out when it writes next
RETRY = Transition(frozenset({Status.FAILED, Status.CANCELLED}), Status.PENDING, "retried", None)  # a new run begins
#: A report of the external script: progress, or how the import ended.
REPORT = {
    target: Transition(ACTIVE, target, "reported on", Processor.EXTERNAL)
    for target in (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
}
CORRECT = Transition(frozenset(Status), None, "corrected")  # an upload of corrections brings failed rows
MARK_SILENT = Transition(ACTIVE, None, "marked as silent", Processor.EXTERNAL)  # no report for a while
TIME_OUT = Transition(ACTIVE, Status.FAILED, "timed out", Processor.EXTERNAL)  # none for external_timeout


@dataclass(frozen=True)
class Upload:
    """One row of the table `uploads` (see tables.py for what each column means)."""

    id: int
    seq: int
    attempt: int
    attempts_without_progress: int
    cuts: int
    status: Status
    filename: str
    dataset_wanted: str
    dataset: str | None
    options: ImportOptions
    parent: int | None
    duplicate_of: int | None
    header: list[str] | None
    stored_as: str
    size: int
    sha256: str
    next_byte: int
    bytes_total: int | None
    rows_total: int | None
    rows_processed: int
    rows_success: int
    rows_failed: int
    rows_corrected: int
    rows_failed_again: int
    error: str | None
    remedy: Remedy | None
    notes: list[str]
    warnings: list[UploadWarning]
    lines_blank: int
    worker: str | None
    lease_until: datetime | None
    counting_since: datetime | None
    counting_from: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    processor: Processor
    progress_reported: int | None
    silent_since: datetime | None
    search_text: str
    lane: Lane | None
    sender: str
    account_id: int | None
    token_id: int | None
    uploaded_by: str | None
    outcome: str | None = None
    hold: list[Hold] = field(default_factory=list)
    mapping: dict[str, str | None] | None = None
    review: Review = Review.NEVER
    task: Task = Task.IMPORT
    kind: str = "import"
    is_approved: bool = False
    schema_wanted: dict[str, Any] | None = None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        values = row._asdict()
        values["status"] = Status(values["status"])
        values["processor"] = Processor(values["processor"])
        values["remedy"] = values["remedy"] and Remedy(values["remedy"])
        values["warnings"] = values["warnings"] or []
        values["options"] = ImportOptions.from_json(values["options"])
        values["lane"] = values["lane"] and Lane(values["lane"])
        values["hold"] = values["hold"] or []
        values["review"], values["task"] = Review(values["review"]), Task(values["task"])
        return cls(**values)

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_held(self) -> bool:
        return self.status is Status.HELD

    @property
    def phase(self) -> Phase:
        return Phase.CHECK if self.is_held or self.task is not Task.IMPORT else Phase.IMPORT

    @property
    def rows_open(self) -> int:
        """Failed rows that nobody has corrected yet, without those that failed again in an upload of corrections."""
        return self.rows_failed - self.rows_corrected - self.rows_failed_again

    @property
    def is_settled(self) -> bool:
        """Whether its state cannot change any more: it is completed, and no failed row is left to be corrected."""
        return self.status is Status.COMPLETED and (self.rows_corrected >= self.rows_failed or self.is_external)

    @property
    def changed_after_end(self) -> bool:
        """Whether its failed rows were corrected since it ended."""
        return self.finished_at is not None and self.updated_at - self.finished_at > _SAME_MOMENT

    @property
    def log_state(self) -> State:
        """What an entry of its log says of it."""
        return State(self.id, self.seq, self.updated_at, self.attempt, self.rows_processed, self.rows_failed)

    @property
    def is_external(self) -> bool:
        return self.processor is Processor.EXTERNAL

    @property
    def last_report(self) -> datetime:
        """Of an external upload: its last change, except for the one that set `silent_since`."""
        return self.silent_since or self.updated_at

    @property
    def has_file(self) -> bool:
        """Whether the server stores the file: for an external upload it need not."""
        return self.stored_as != ""

    @property
    def notes_shown(self) -> list[str]:
        """The notes for people, with one about blank lines if there are any."""
        which = "1 blank line was" if self.lines_blank == 1 else f"{self.lines_blank:,} blank lines were"
        return notes_excerpt([*self.notes, *([f"{which} skipped."] if self.lines_blank else [])])

    @property
    def progress(self) -> int:
        """Percent of rows that are processed, or of bytes if the rows were not counted; 100 only when completed."""
        if self.status is Status.COMPLETED:
            return 100
        if self.is_external or self.phase is Phase.CHECK:
            return min(99, self.progress_reported or 0)
        done, total = (self.rows_processed, self.rows_total) if self.rows_total else (self.next_byte, self.bytes_total)
        return min(99, done * 100 // total) if total else 0


@dataclass(frozen=True)
class Owner:
    """Whose an upload is: an account, the token that it used, if any, and its name."""

    account_id: int | None = None
    token_id: int | None = None
    name: str | None = None


#: Of uploads that were sent without signing in.
NOBODY = Owner()


@dataclass(frozen=True)
class Claim:
    """The right to write for an upload during one attempt. Every write checks it."""

    upload_id: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.upload_id}-{self.attempt}"


@dataclass(frozen=True)
class Page:
    """A page of uploads, newest first. newer, older: ids at which the adjacent pages begin, or None."""

    items: list[Upload]
    newer: int | None
    older: int | None


def create(
    connection: sa.Connection,
    file: StoredFile,
    *,
    dataset: str | None = None,
    dataset_wanted: str = "",
    options: ImportOptions | None = None,
    processor: Processor = Processor.WORKER,
    rows_total: int | None = None,
    parent: int | None = None,
    quick_bytes: int = QUICK_BYTES,
    sender: str = "",
    owner: Owner = NOBODY,
    view: View = EVERYTHING,
    by: By | None = None,
    review: Review = Review.NEVER,
) -> Upload:
    """Record a pending upload. An external upload needs no stored file.

    dataset: an existing dataset that receives the rows. dataset_wanted: the name of a new one; "" names it after the
    file. rows_total: None if it is not known. parent: the upload whose failed rows the file corrects. quick_bytes: of
    the largest file on the quick lane. sender: whose turn it takes. by: who sent it. view: of the sender,
    who does not learn of the same file in a dataset that is hidden. review: whether a person looks at it first.
    """
    is_external = processor is Processor.EXTERNAL
    statement = sa.insert(uploads).values(
        seq=1,
        attempt=0,
        attempts_without_progress=0,
        status=Status.PENDING,
        filename=file.filename,
        dataset_wanted=dataset_wanted,
        dataset=dataset,
        duplicate_of=sa.select(sa.func.max(_earlier.c.id))
        .where(_earlier.c.sha256 == file.sha256, _earlier.c.rows_success > 0)
        .where(_earlier.c.sha256 != "", view.condition(_earlier.c.dataset))
        .where(~deleted_names.condition(_earlier.c.dataset))
        .scalar_subquery(),
        options=(options or ImportOptions()).as_json(),
        parent=parent,
        stored_as=file.stored_as,
        size=file.size,
        sha256=file.sha256,
        next_byte=0,
        rows_total=rows_total,
        rows_processed=0,
        rows_success=0,
        rows_failed=0,
        notes=[],
        warnings=[],
        counting_from=0,
        created_at=utc_now(),
        updated_at=utc_now(),
        processor=processor,
        search_text=search_text(file.filename, dataset),
        lane=None if is_external else Lane.of(file.size, quick_bytes),
        sender=sender,
        account_id=owner.account_id,
        token_id=owner.token_id,
        uploaded_by=owner.name,
        review=review,
        task=Task.CHECK if review is Review.ALWAYS and not is_external else Task.IMPORT,
    )
    upload = Upload.from_row(connection.execute(statement.returning(uploads)).one())
    _log(connection, upload, Kind.CREATED, by=by)
    return upload


def hold_as_duplicate(connection: sa.Connection, upload: Upload, *, names_it: bool = True) -> Upload:
    """Hold a new upload whose file was imported before, until a person decides.

    names_it: say into which dataset; not everybody who sees this upload may know of it.
    """
    earlier = get(connection, upload.duplicate_of or upload.id)
    into = f"into “{upload.dataset}”" if upload.dataset else "into a new dataset"
    where = f"“{earlier.dataset}”" if earlier.dataset else "another place"  # by an external script
    again = "a second time" if upload.dataset == earlier.dataset else into
    when = f" into {where} on {earlier.created_at:%Y-%m-%d} as #{earlier.id}" if names_it else " before"
    detail = f"The same file was imported{when}. Import it {again}, or cancel it."
    held = _change_or_raise(connection, HOLD_AT_ONCE, upload.id, hold=[hold_of(HoldCode.DUPLICATE, detail)])
    number = f", as #{earlier.id}" if names_it else ""
    _log(connection, held, Kind.HELD, detail=f"The same file was imported before{number}.")
    return held


def hold_of(code: HoldCode, detail: str) -> Hold:
    return {"code": code, "detail": excerpt(detail, LONGEST_ERROR)}


def hold_for_review(
    connection: sa.Connection,
    claim: Claim,
    hold: Sequence[Hold],
    *,
    header: list[str],
    mapping: Mapping[str, str | None] | None,
    notes: Sequence[str],
    warnings: Iterable[UploadWarning],
) -> Upload:
    """Hold the upload that a worker looked at. Raises ClaimLostError.

    header: the columns of the file. mapping: which fields they fill.
    """
    upload = _change_claimed(
        connection,
        HOLD,
        claim,
        **{**_UNCLAIMED, **_UNREAD},
        hold=list(hold),
        header=header,
        mapping=None if mapping is None else dict(mapping),
        notes=notes_excerpt(list(notes)),
        warnings=kept(warnings),
        attempts_without_progress=0,
        cuts=0,
    )
    _log(connection, upload, Kind.HELD, detail=" ".join(each["detail"] for each in hold))
    return upload


def approve(
    connection: sa.Connection, upload_id: int, *, quick_bytes: int = QUICK_BYTES, by: By | None = None
) -> Upload:
    """Let a held upload be imported. quick_bytes: of the largest file on the quick lane. by: who says so.

    Raises UploadNotFoundError, TransitionError.
    """
    upload = _change_or_raise(
        connection,
        APPROVE,
        upload_id,
        **{**_RETRIED, **_UNREAD},
        hold=None,
        task=Task.IMPORT,
        is_approved=True,
        lane=_lane_by_size(quick_bytes),
    )
    _log(connection, upload, Kind.APPROVED, by=by)
    return upload


def order(
    connection: sa.Connection,
    upload_id: int,
    task: Task,
    *,
    options: ImportOptions | None = None,
    quick_bytes: int = QUICK_BYTES,
    by: By | None = None,
) -> Upload:
    """Let a worker look at a held upload again, which the quick lane does, or check it; then it is held again.

    options: to read it with from now on; what was chosen for its columns is forgotten. quick_bytes: of the largest file
    that is checked on the quick lane. Raises UploadNotFoundError, TransitionError.
    """
    forgotten: dict[str, Any] = {"mapping": None, "schema_wanted": None}
    changed: dict[str, Any] = {} if options is None else {"options": options.as_json(), **forgotten}
    changed["lane"] = Lane.QUICK if task is Task.LOOK else _lane_by_size(quick_bytes)
    upload = _change_or_raise(connection, ORDER, upload_id, **{**_RETRIED, **_UNREAD}, task=task, **changed)
    _log(connection, upload, Kind.ORDERED, detail=task, by=by)
    return upload


def plan(
    connection: sa.Connection,
    upload_id: int,
    *,
    dataset_wanted: str,
    schema: Mapping[str, Any],
    mapping: Mapping[str, str | None],
    quick_bytes: int = QUICK_BYTES,
    by: By | None = None,
) -> Upload:
    """Choose the name and the fields of the new dataset that a held upload makes, and let a worker check the file with
    them. mapping: column → field. quick_bytes: see `order`. Raises UploadNotFoundError, TransitionError."""
    planned = {"dataset_wanted": dataset_wanted, "schema_wanted": dict(schema), "mapping": dict(mapping)}
    lane = {"lane": _lane_by_size(quick_bytes)}
    upload = _change_or_raise(
        connection, ORDER, upload_id, **{**_RETRIED, **_UNREAD}, task=Task.CHECK, **planned, **lane
    )
    _log(connection, upload, Kind.ORDERED, detail=Task.CHECK, by=by)
    return upload


def _lane_by_size(quick_bytes: int) -> sa.ColumnElement[str | None]:
    """The lane of an upload by the size of its file; null if it is an external one."""
    lane = sa.case((uploads.c.size <= quick_bytes, Lane.QUICK), else_=Lane.BULK)
    return sa.case((uploads.c.processor == Processor.WORKER, lane), else_=None)


def map_columns(connection: sa.Connection, upload_id: int, mapping: Mapping[str, str | None]) -> Upload:
    """Choose which fields the columns of a held upload fill. Raises UploadNotFoundError, TransitionError."""
    return _change_or_raise(connection, DECIDE, upload_id, mapping=dict(mapping))


def held_for(connection: sa.Connection, seconds: float) -> list[Upload]:
    """Uploads that have waited for a person for so many seconds."""
    statement = sa.select(uploads).where(uploads.c.status == Status.HELD, uploads.c.updated_at < utc_now(-seconds))
    return [Upload.from_row(row) for row in connection.execute(statement.order_by(uploads.c.id))]


def expire(connection: sa.Connection, upload_id: int, *, for_seconds: float, error: str) -> Upload | None:
    """Cancel an upload that has been held for so many seconds. None: somebody decided."""
    waited = uploads.c.updated_at < utc_now(-for_seconds)
    upload = _change(connection, EXPIRE, upload_id, None, waited, **_ENDED, hold=None, error=error)
    if upload is not None:
        _log(connection, upload, Kind.CANCELLED, detail=error)
    return upload


def report_check(connection: sa.Connection, claim: Claim, *, lease: float, percent: int) -> Upload:
    """Note how far a check is. Raises ClaimLostError."""
    return _change_claimed(connection, ADVANCE, claim, lease_until=utc_now(lease), progress_reported=percent)


def claim_next(
    connection: sa.Connection, lane: Lane, *, worker: str, lease: float, dataset_imports: int
) -> Upload | None:
    """Claim the upload of a lane whose turn it is; None if none may start.

    The turn is that of the sender with the fewest running imports, then of the one served longest ago; of a sender, the
    oldest upload goes first. An upload waits while its dataset receives as many imports as it may. lease: seconds.
    dataset_imports: that may run into one dataset at once.
    """
    if connection.dialect.name == "postgresql":  # on SQLite, one transaction writes at a time
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CHOICE_LOCK)))
    while (upload_id := connection.scalar(_NEXT, {"lane": lane, "dataset_imports": dataset_imports})) is not None:
        upload = claim(connection, upload_id, worker=worker, lease=lease)
        if upload is not None:  # else it was cancelled meanwhile
            return upload
    return None


def may_start(connection: sa.Connection, lane: Lane, *, dataset_imports: int) -> bool:
    """Whether `claim_next` would find an upload. It reads only, so it waits for no writer."""
    return connection.scalar(_NEXT, {"lane": lane, "dataset_imports": dataset_imports}) is not None


def claim(connection: sa.Connection, upload_id: int, *, worker: str, lease: float) -> Upload | None:
    """Claim a pending upload for this worker; None if it is no longer pending. lease: seconds."""
    upload = _change(
        connection,
        CLAIM,
        upload_id,
        attempt=uploads.c.attempt + 1,
        attempts_without_progress=uploads.c.attempts_without_progress + 1,
        worker=worker,
        lease_until=utc_now(lease),
        counting_since=utc_now(),
        counting_from=uploads.c.rows_processed,
        started_at=sa.func.coalesce(uploads.c.started_at, utc_now()),
    )
    if upload is not None:
        _log(connection, upload, Kind.RESUMED if upload.rows_processed else Kind.CLAIMED, worker=worker)
    return upload


def renew(connection: sa.Connection, claim: Claim, *, lease: float) -> Upload:
    """Extend the claim by another lease. Raises ClaimLostError."""
    return _change_claimed(connection, ADVANCE, claim, lease_until=utc_now(lease))


def hold(connection: sa.Connection, claim: Claim) -> None:
    """Keep the claim until the transaction ends, and everybody else from changing the upload. Raises ClaimLostError.

    It costs a third of `renew`, which returns the whole record.
    """
    held = sa.select(uploads.c.id).where(
        uploads.c.id == claim.upload_id,
        uploads.c.attempt == claim.attempt,
        uploads.c.status.in_(ADVANCE.sources),
        uploads.c.processor == ADVANCE.processor,
    )
    if connection.execute(held.with_for_update(key_share=True)).one_or_none() is None:
        raise _claim_lost(claim)


def begin(
    connection: sa.Connection,
    claim: Claim,
    *,
    lease: float,
    dataset: str,
    rows_total: int | None,
    next_byte: int,
    bytes_total: int,
    header: list[str],
    parent: int | None,
    notes: list[str],
    warnings: Iterable[UploadWarning] = (),
    blank: int = 0,
    mapping: Mapping[str, str | None] | None = None,
) -> Upload:
    """Record how the file is read and its dataset, before the first row. Raises ClaimLostError.

    rows_total: None if the rows were not counted. blank: lines without any value that no chunk contains. mapping: which
    fields the columns fill, if that does not follow from their names.
    """
    filename = connection.execute(sa.select(uploads.c.filename).where(uploads.c.id == claim.upload_id)).scalar() or ""
    return _change_claimed(
        connection,
        ADVANCE,
        claim,
        lease_until=utc_now(lease),
        dataset=dataset,
        search_text=search_text(filename, dataset),
        rows_total=rows_total,
        next_byte=next_byte,
        bytes_total=bytes_total,
        header=header,
        parent=sa.select(_earlier.c.id).where(_earlier.c.id == parent).scalar_subquery(),
        notes=notes_excerpt(notes),
        warnings=kept(warnings),
        lines_blank=blank,
        counting_since=utc_now(),
        mapping=None if mapping is None else dict(mapping),
    )


def advance(
    connection: sa.Connection,
    claim: Claim,
    *,
    lease: float,
    good: int,
    bad: int,
    next_byte: int,
    blank: int = 0,
    before: Sequence[UploadWarning] = (),
    warnings: Sequence[UploadWarning] = (),
) -> Upload:
    """Count the rows of a chunk and move the checkpoint behind it. Raises ClaimLostError.

    good, bad: rows that the caller writes to the dataset, or records as failed, in the same transaction. next_byte:
    where the next chunk begins. blank: lines of the chunk without any value. before: the warnings of the upload.
    warnings: those of the chunk, to add to them.
    """
    changed: dict[str, Any] = {"warnings": merged(before, warnings)} if warnings else {}
    return _change_claimed(
        connection,
        ADVANCE,
        claim,
        lease_until=utc_now(lease),
        attempts_without_progress=0,
        next_byte=next_byte,
        rows_processed=uploads.c.rows_processed + good + bad,
        rows_success=uploads.c.rows_success + good,
        rows_failed=uploads.c.rows_failed + bad,
        lines_blank=uploads.c.lines_blank + blank,
        **changed,
    )


def complete(connection: sa.Connection, claim: Claim) -> Upload:
    """Complete the upload at the end of its file. Raises ClaimLostError."""
    upload = _change_claimed(connection, COMPLETE, claim, **_ENDED, rows_total=uploads.c.rows_processed)
    _log(connection, upload, Kind.COMPLETED)
    return upload


def fail(connection: sa.Connection, claim: Claim, error: str, remedy: Remedy = Remedy.RETRY) -> Upload:
    """Fail the upload. error: a sentence for the person who uploaded. Raises ClaimLostError."""
    kept_error = excerpt(error, LONGEST_ERROR)
    upload = _change_claimed(connection, FAIL, claim, **_ENDED, error=kept_error, remedy=remedy)
    _log(connection, upload, Kind.FAILED, detail=error)
    return upload


def hand_back(
    connection: sa.Connection, claim: Claim, *, because: str, at_shutdown: bool = False, expired: bool = False
) -> Upload | None:
    """End an attempt: the upload is pending again, or failed if too many attempts committed nothing.

    None: the upload is no longer this claimant's. because: what happened to the claimant, for people. at_shutdown: the
    attempt does not count as one without progress. expired: only if the lease has expired when the statement runs.
    """
    lease = uploads.c.lease_until < utc_now() if expired else sa.true()
    if at_shutdown:
        spared = sa.case((uploads.c.attempts_without_progress > 0, uploads.c.attempts_without_progress - 1), else_=0)
        upload = _change(
            connection, HAND_BACK, claim.upload_id, claim.attempt, lease, **_UNCLAIMED, attempts_without_progress=spared
        )
    else:
        given_up = uploads.c.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS
        error = f"Stopped after {MAX_ATTEMPTS_WITHOUT_PROGRESS} attempts without progress. The last time, {because}."
        upload = _change(
            connection, FAIL, claim.upload_id, claim.attempt, lease & given_up, **_ENDED, error=error
        ) or _change(connection, HAND_BACK, claim.upload_id, claim.attempt, lease, **_UNCLAIMED)
    if upload is not None:
        _log_end(connection, upload, Kind.LEASE_LOST if expired else Kind.HANDED_BACK, because)
    return upload


def cut(connection: sa.Connection, claim: Claim, reason: CutReason) -> Upload | None:
    """End an attempt whose work horse exceeded a limit: the upload is pending again, or failed after the second time.

    None: the upload is no longer this claimant's.
    """
    cuts, again = uploads.c.cuts + 1, uploads.c.cuts + 1 >= MAX_CUTS
    error = (
        f"The file could not be read within the limits ({reason})."
        " Split it into smaller files, or save it as a plain CSV file, then upload that."
    )
    upload = _change(
        connection, FAIL, claim.upload_id, claim.attempt, again, **_ENDED, error=error, cuts=cuts
    ) or _change(connection, HAND_BACK, claim.upload_id, claim.attempt, **_UNCLAIMED, cuts=cuts)
    if upload is not None:
        _log_end(connection, upload, Kind.CUT, f"it exceeded the limit of {_LIMITS[reason]}")
    return upload


def cancel(connection: sa.Connection, upload_id: int, *, by: By | None = None) -> Upload:
    """Cancel an upload. Rows that were imported stay in the dataset. by: who cancels it.

    Raises UploadNotFoundError, TransitionError.
    """
    upload = _change_or_raise(connection, CANCEL, upload_id, **_ENDED, hold=None)
    _log(connection, upload, Kind.CANCELLED, by=by)
    return upload


def retry(connection: sa.Connection, upload_id: int, *, by: By | None = None) -> Upload:
    """Begin a new run: behind the last committed chunk, or from the start if no row has succeeded.

    The counts of an external upload are reset: they come from the next reports. by: who retries it.

    Raises UploadNotFoundError, TransitionError.
    """
    upload = _change_or_raise(connection, RETRY, upload_id, **_RETRIED, task=Task.IMPORT)
    _log(connection, upload, Kind.RETRIED, by=by)
    if upload.mapping and not upload.is_approved and upload.bytes_total is None:  # it was held, and nobody decided
        forgotten = sa.update(uploads).where(uploads.c.id == upload_id).values(mapping=None)
        upload = Upload.from_row(connection.execute(forgotten.returning(uploads)).one())
    if not upload.is_external and (upload.rows_success or not upload.rows_failed):
        return upload
    return _restart(connection, upload_id)


def retry_with(connection: sa.Connection, upload_id: int, options: ImportOptions, *, by: By | None = None) -> Upload:
    """Begin a new run from the start, with other import options. A dataset that the upload created is no longer its.

    Raises UploadNotFoundError, TransitionError, and OptionsFixedError if a row has been imported, or an external script
    imports them.
    """
    nothing_imported = (uploads.c.rows_success == 0) & (uploads.c.processor == Processor.WORKER)
    again: dict[str, Any] = {"options": options.as_json(), "mapping": None, "task": Task.IMPORT, "is_approved": False}
    again["schema_wanted"] = None
    upload = _change(connection, RETRY, upload_id, None, nothing_imported, **_RETRIED, **again)
    if upload is None:
        upload = get(connection, upload_id)
        if upload.status not in RETRY.sources:
            raise TransitionError(upload_id, upload.status, RETRY.participle)
        if upload.is_external:
            raise OptionsFixedError(upload_id, "an external script reads the file.")
        rows = "1 row was" if upload.rows_success == 1 else f"{upload.rows_success:,} rows were"
        raise OptionsFixedError(upload_id, f"{rows} imported with the present ones.")
    _log(connection, upload, Kind.RETRIED, detail="with other import options", by=by)
    is_its_own = sa.exists().where(datasets.c.name == upload.dataset, datasets.c.upload_id == upload_id)
    known: dict[str, Any] = {"rows_total": None, "header": None, "notes": []}
    if connection.execute(sa.select(is_its_own)).scalar_one():
        known |= {"dataset": None, "search_text": search_text(upload.filename, None)}
    return _restart(connection, upload_id, **known)


def _restart(connection: sa.Connection, upload_id: int, **more: Any) -> Upload:
    """Forget what earlier attempts recorded."""
    failed_rows.delete_all(connection, upload_id)
    upload_log.forget_milestones(connection, upload_id)
    restarted = sa.update(uploads).where(uploads.c.id == upload_id)
    counts = ["next_byte", "rows_processed", "rows_success", "rows_failed", "lines_blank"]
    counts += ["rows_corrected", "rows_failed_again"]
    values: dict[str, Any] = dict.fromkeys(counts, 0) | {"progress_reported": None}
    values |= {"bytes_total": None, "warnings": [], **more}  # so that how the file is read is recorded again
    return Upload.from_row(connection.execute(restarted.values(values).returning(uploads)).one())


def count_corrections(connection: sa.Connection, upload_id: int, *, corrected: int, failed_again: int) -> Upload:
    """Count failed rows of an upload that an upload of corrections brought. corrected, failed_again: to be added.

    Raises UploadNotFoundError.
    """
    return _change_or_raise(
        connection,
        CORRECT,
        upload_id,
        rows_corrected=uploads.c.rows_corrected + corrected,
        rows_failed_again=uploads.c.rows_failed_again + failed_again,
    )


def lock(connection: sa.Connection, upload_ids: Iterable[int]) -> dict[int, Upload]:
    """Lock the uploads that exist until the transaction ends, and return them by id."""
    statement = sa.select(uploads).where(uploads.c.id.in_(set(upload_ids))).order_by(uploads.c.id).with_for_update()
    return {row.id: Upload.from_row(row) for row in connection.execute(statement)}


def report(
    connection: sa.Connection,
    upload: Upload,
    target: Status,
    *,
    rows_total: int | None,
    rows_success: int,
    rows_failed: int,
    progress: int,
    error: str | None,
) -> Upload:
    """Record a report on an external upload, checked against `upload` (reports.py).

    The first report of a run begins an attempt. Raises TransitionError if the upload has changed since.
    """
    rows = rows_success + rows_failed
    begins: dict[str, Any] = {}
    if upload.status is Status.PENDING:
        begins = {"attempt": upload.attempt + 1, "counting_since": utc_now(), "counting_from": rows}
    reported = _change(
        connection,
        REPORT[target],
        upload.id,
        upload.attempt,
        uploads.c.seq == upload.seq,
        rows_total=rows if target is Status.COMPLETED else rows_total,
        rows_processed=rows,
        rows_success=rows_success,
        rows_failed=rows_failed,
        progress_reported=progress,
        error=error,
        silent_since=None,
        started_at=sa.func.coalesce(uploads.c.started_at, utc_now()),
        finished_at=utc_now() if target in TERMINAL else None,
        **begins,
    )
    if reported is None:
        raise TransitionError(upload.id, get(connection, upload.id).status, REPORT[target].participle)
    _log_report(connection, upload, reported)
    return reported


def silent_for(connection: sa.Connection, seconds: float) -> list[Upload]:
    """Active external uploads without a report for so many seconds, oldest first."""
    statement = sa.select(uploads).where(
        uploads.c.processor == Processor.EXTERNAL, uploads.c.status.in_(ACTIVE), _last_report < utc_now(-seconds)
    )
    return [Upload.from_row(row) for row in connection.execute(statement.order_by(uploads.c.id))]


def mark_silent(connection: sa.Connection, upload_id: int, *, for_seconds: float) -> Upload | None:
    """Set `silent_since` of an external upload without a report for so many seconds.

    None: there was a report, or it is set already.
    """
    unmarked = uploads.c.silent_since.is_(None) & (_last_report < utc_now(-for_seconds))
    upload = _change(connection, MARK_SILENT, upload_id, None, unmarked, silent_since=uploads.c.updated_at)
    if upload is not None:
        _log(connection, upload, Kind.SILENT)
    return upload


def time_out(connection: sa.Connection, upload_id: int, *, for_seconds: float, error: str) -> Upload | None:
    """Fail an external upload without a report for so many seconds. None: there was a report."""
    upload = _change(connection, TIME_OUT, upload_id, None, _last_report < utc_now(-for_seconds), **_ENDED, error=error)
    if upload is not None:
        _log(connection, upload, Kind.FAILED, detail=error)
    return upload


#: The limits of a work horse in words.
_LIMITS = {CutReason.TIME: "time", CutReason.MEMORY: "memory"}


def _log(
    connection: sa.Connection,
    upload: Upload,
    kind: Kind,
    *,
    worker: str | None = None,
    detail: str | None = None,
    by: By | None = None,
) -> None:
    """Log the change that an upload just had, in its transaction."""
    lane = upload.lane if worker else None
    upload_log.write(connection, upload.log_state, kind, worker=worker, lane=lane, detail=detail, by=by)


def _log_end(connection: sa.Connection, upload: Upload, kind: Kind, why: str) -> None:
    """Log that an attempt ended early, and the upload with it if there were too many."""
    if upload.status is Status.FAILED:
        _log(connection, upload, Kind.FAILED, detail=upload.error)
    else:
        _log(connection, upload, kind, detail=why)


def _log_report(connection: sa.Connection, before: Upload, after: Upload) -> None:
    if after.status in TERMINAL:
        by = By(Via.SCRIPT) if after.status is Status.CANCELLED else None
        _log(connection, after, Kind(after.status), detail=after.error, by=by)
    elif before.status is Status.PENDING:
        _log(connection, after, Kind.STARTED)
    elif (before.progress_reported or 0) // EXTERNAL_STEP < (after.progress_reported or 0) // EXTERNAL_STEP:
        _log(connection, after, Kind.MILESTONE)


_earlier = uploads.alias("earlier")


def _next() -> sa.Select[Any]:
    """The id of the upload that `claim_next` claims."""
    by_worker = uploads.c.processor == Processor.WORKER
    running = (
        sa.select(uploads.c.sender, uploads.c.dataset)
        .where(uploads.c.status == Status.PROCESSING, by_worker)
        .cte("running")
    )
    full = (
        sa.select(running.c.dataset)
        .where(running.c.dataset.is_not(None))
        .group_by(running.c.dataset)
        .having(sa.func.count() >= sa.bindparam("dataset_imports", type_=sa.Integer))
    )
    first = (
        sa.select(uploads.c.sender, sa.func.min(uploads.c.id).label("id"))
        .where(uploads.c.status == Status.PENDING, by_worker, uploads.c.lane == sa.bindparam("lane", type_=sa.Text))
        .where(uploads.c.dataset.is_(None) | uploads.c.dataset.not_in(full))
        .group_by(uploads.c.sender)
        .cte("first")
    )
    imports = sa.select(sa.func.count()).where(running.c.sender == first.c.sender).scalar_subquery()
    served = sa.select(sa.func.max(_earlier.c.counting_since)).where(_earlier.c.sender == first.c.sender)
    return sa.select(first.c.id).order_by(imports, served.scalar_subquery().nulls_first(), first.c.id).limit(1)


_NEXT = _next()

#: Upload.last_report, in SQL.
_last_report = sa.func.coalesce(uploads.c.silent_since, uploads.c.updated_at)

_UNCLAIMED: Mapping[str, Any] = {"worker": None, "lease_until": None, "silent_since": None}
_RETRIED: Mapping[str, Any] = {
    **_UNCLAIMED, "error": None, "remedy": None, "finished_at": None, "attempts_without_progress": 0, "cuts": 0
}  # fmt: skip
#: Nothing is known of how far the file was read.
_UNREAD: Mapping[str, Any] = {"next_byte": 0, "bytes_total": None, "progress_reported": None}
_ENDED: Mapping[str, Any] = {**_UNCLAIMED, "finished_at": utc_now()}


def _change(
    connection: sa.Connection,
    transition: Transition,
    upload_id: int,
    expected_attempt: int | None = None,
    *conditions: sa.ColumnElement[bool],
    **values: Any,
) -> Upload | None:
    """The one guarded UPDATE. expected_attempt: the one that must hold the claim; None for any.

    None: the state or the attempt of the upload does not allow the change.
    """
    statement = sa.update(uploads).where(
        uploads.c.id == upload_id, uploads.c.status.in_(transition.sources), *conditions
    )
    if expected_attempt is not None:
        statement = statement.where(uploads.c.attempt == expected_attempt)
    if transition.processor is not None:
        statement = statement.where(uploads.c.processor == transition.processor)
    if transition.target is not None:
        values["status"] = transition.target
    statement = statement.values(seq=uploads.c.seq + 1, updated_at=utc_now(), **values)
    row = connection.execute(statement.returning(uploads)).one_or_none()
    return None if row is None else Upload.from_row(row)


def _change_claimed(connection: sa.Connection, transition: Transition, claim: Claim, **values: Any) -> Upload:
    upload = _change(connection, transition, claim.upload_id, claim.attempt, **values)
    if upload is None:
        raise _claim_lost(claim)
    return upload


def _claim_lost(claim: Claim) -> ClaimLostError:
    return ClaimLostError(f"Attempt {claim.attempt} no longer holds the claim on upload #{claim.upload_id}.")


def _change_or_raise(connection: sa.Connection, transition: Transition, upload_id: int, **values: Any) -> Upload:
    upload = _change(connection, transition, upload_id, **values)
    if upload is None:
        raise TransitionError(upload_id, get(connection, upload_id).status, transition.participle)
    return upload


def get(connection: sa.Connection, upload_id: int, view: View = EVERYTHING) -> Upload:
    """view: what exists for whoever asks. Raises UploadNotFoundError, also for an upload that it hides."""
    row = connection.execute(sa.select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    if row is None or not view.shows(row.dataset):
        raise UploadNotFoundError(upload_id)
    return as_seen(connection, [Upload.from_row(row)], view)[0]


def as_seen(connection: sa.Connection, found: Sequence[Upload], view: View) -> list[Upload]:
    """Uploads without references to others that do not exist for whoever asks."""
    named = {number for each in found for number in (each.duplicate_of, each.parent) if number is not None}
    if view.is_whole or not named:
        return list(found)
    statement = sa.select(uploads.c.id).where(uploads.c.id.in_(named), view.condition(uploads.c.dataset))
    visible = set(connection.scalars(statement))
    return [
        replace(
            each,
            duplicate_of=each.duplicate_of if each.duplicate_of in visible else None,
            parent=each.parent if each.parent in visible else None,
        )
        for each in found
    ]


def get_many(connection: sa.Connection, upload_ids: Iterable[int]) -> list[Upload]:
    """The uploads with these ids that exist, oldest first."""
    statement = sa.select(uploads).where(uploads.c.id.in_(list(upload_ids))).order_by(uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def filenames(connection: sa.Connection, upload_ids: Iterable[int]) -> dict[int, str]:
    """The names of the files of these uploads, by upload id."""
    statement = sa.select(uploads.c.id, uploads.c.filename).where(uploads.c.id.in_(list(upload_ids)))
    return {row.id: row.filename for row in connection.execute(statement)}


def statuses_of_files(connection: sa.Connection, stored_as: Iterable[str]) -> dict[str, Status]:
    """The status of the upload of each stored file that has one."""
    statement = sa.select(uploads.c.stored_as, uploads.c.status).where(uploads.c.stored_as.in_(list(stored_as)))
    return {row.stored_as: Status(row.status) for row in connection.execute(statement)}


def active(connection: sa.Connection) -> list[Upload]:
    """All pending and processing uploads, oldest first."""
    statement = sa.select(uploads).where(uploads.c.status.in_(ACTIVE)).order_by(uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def changed_since(connection: sa.Connection, moment: datetime) -> list[Upload]:
    """Uploads that are active, or changed at or after a moment, in the order of their changes."""
    condition = uploads.c.status.in_(ACTIVE) | (uploads.c.updated_at >= moment)
    statement = sa.select(uploads).where(condition).order_by(uploads.c.updated_at, uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def changed_lately(connection: sa.Connection, seconds: float) -> list[Upload]:
    """Uploads that are active, or changed within so many seconds by the database's clock, oldest first."""
    condition = uploads.c.status.in_(ACTIVE) | (uploads.c.updated_at >= utc_now(-seconds))
    return [
        Upload.from_row(row) for row in connection.execute(sa.select(uploads).where(condition).order_by(uploads.c.id))
    ]


def now(connection: sa.Connection) -> datetime:
    """The time by the database's clock."""
    moment = sa.type_coerce(utc_now(), uploads.c.updated_at.type)
    found: datetime = connection.execute(sa.select(moment)).scalar_one()
    return found


def abandoned(connection: sa.Connection) -> list[Upload]:
    """Uploads whose lease has expired: their worker died, froze, or lost its connection to the database."""
    statement = sa.select(uploads).where(uploads.c.status == Status.PROCESSING, uploads.c.lease_until < utc_now())
    return [Upload.from_row(row) for row in connection.execute(statement)]


def claimed_by(connection: sa.Connection, worker: str) -> Claim | None:
    """The claim that a work horse holds. worker: as it claimed."""
    statement = sa.select(uploads.c.id, uploads.c.attempt).where(
        uploads.c.status == Status.PROCESSING, uploads.c.worker == worker
    )
    row = connection.execute(statement).first()
    return None if row is None else Claim(row.id, row.attempt)


@dataclass(frozen=True)
class Waiting:
    """Uploads of a lane that wait. count: those that may start as far as their datasets are concerned. first: the id
    of one of them."""

    count: int
    first: int


def waiting_by_lane(connection: sa.Connection, *, dataset_imports: int, for_seconds: float = 0) -> dict[Lane, Waiting]:
    """The uploads that could start if there were workers enough. dataset_imports: into one dataset at once.
    for_seconds: how long they have not changed."""
    columns = uploads.c
    by_dataset = sa.select(columns.dataset, sa.func.count()).group_by(columns.dataset)
    is_running = (columns.status == Status.PROCESSING) & (columns.processor == Processor.WORKER)
    running = {row[0]: row[1] for row in connection.execute(by_dataset.where(is_running))}
    statement = (
        sa.select(columns.lane, columns.dataset, sa.func.count(), sa.func.min(columns.id))
        .where(columns.status == Status.PENDING, columns.processor == Processor.WORKER)
        .where(columns.lane.is_not(None), columns.updated_at <= utc_now(-for_seconds))
        .group_by(columns.lane, columns.dataset)
    )
    found: dict[Lane, Waiting] = {}
    for lane, dataset, count, first in connection.execute(statement):
        startable = count if dataset is None else min(count, dataset_imports - running.get(dataset, 0))
        if startable > 0:
            others = found.get(lane, Waiting(0, first))
            found[Lane(lane)] = Waiting(others.count + startable, min(others.first, first))
    return found


def waits_for(connection: sa.Connection, dataset: str) -> bool:
    """Whether an upload waits that goes into a dataset."""
    is_waiting = (uploads.c.status == Status.PENDING) & (uploads.c.processor == Processor.WORKER)
    return bool(connection.scalar(sa.select(sa.exists().where(is_waiting, uploads.c.dataset == dataset))))


def lane_of(connection: sa.Connection, upload_id: int) -> Lane | None:
    """The lane of an upload; None if it has none, or does not exist."""
    lane = connection.scalar(sa.select(uploads.c.lane).where(uploads.c.id == upload_id))
    return None if lane is None else Lane(lane)


def page(
    connection: sa.Connection,
    query: HistoryQuery = ALL_UPLOADS,
    *,
    limit: int,
    cursor: int | None = None,
    seen: View = EVERYTHING,
) -> Page:
    """Uploads that match the query, with ids up to `cursor`, newest first. seen: what exists for whoever asks."""
    matching = _ids(query).where(seen.condition(uploads.c.dataset))
    upto = matching if cursor is None else matching.where(uploads.c.id <= cursor)
    ids = list(connection.scalars(upto.order_by(uploads.c.id.desc()).limit(limit + 1)))
    found = as_seen(connection, get_many(connection, ids[:limit])[::-1], seen)
    newer = _newer(connection, matching, limit, cursor) if cursor is not None else None
    return Page(found, newer, ids[limit] if len(ids) > limit else None)


def _ids(query: HistoryQuery) -> sa.Select[Any]:
    """The ids of the uploads that match. SQLite does not know how many uploads have a status or are of a dataset, so
    together with other filters it could look up nearly all of them, one by one."""
    matching = sa.select(uploads.c.id).where(query.where())
    return matching.with_hint(uploads, "INDEXED BY uploads_history", "sqlite") if query.is_composed else matching


def _newer(connection: sa.Connection, matching: sa.Select[Any], limit: int, cursor: int) -> int | None:
    """The id at which the page before this one begins."""
    above = matching.where(uploads.c.id > cursor).order_by(uploads.c.id.asc()).limit(limit)
    ids = connection.scalars(above).all()
    return ids[-1] if ids else None


def ended_since(connection: sa.Connection, moment: datetime, *, limit: int, seen: View = EVERYTHING) -> list[Upload]:
    """The last uploads that ended after a moment, in the order in which they ended. seen: what exists for whoever
    asks."""
    statement = sa.select(uploads).where(
        uploads.c.status.in_(TERMINAL),
        uploads.c.updated_at > moment,
        uploads.c.finished_at > moment,
        seen.condition(uploads.c.dataset),
    )
    rows = connection.execute(statement.order_by(uploads.c.updated_at.desc()).limit(limit)).all()
    return as_seen(connection, [Upload.from_row(row) for row in reversed(rows)], seen)


def ended_lately(connection: sa.Connection, *, limit: int, seen: View = EVERYTHING) -> list[Upload]:
    """The uploads that ended last, the last one first; of those that changed last, so that an index finds them. seen:
    what exists for whoever asks."""
    statement = sa.select(uploads).where(uploads.c.status.in_(TERMINAL), seen.condition(uploads.c.dataset))
    rows = connection.execute(statement.order_by(uploads.c.updated_at.desc()).limit(limit)).all()
    found = as_seen(connection, [Upload.from_row(row) for row in rows], seen)
    return sorted(found, key=lambda upload: (upload.finished_at or upload.updated_at, upload.id), reverse=True)


def newest_change(connection: sa.Connection) -> datetime | None:
    """The time of the latest change of any upload."""
    newest: datetime | None = connection.execute(sa.select(sa.func.max(uploads.c.updated_at))).scalar_one()
    return newest
