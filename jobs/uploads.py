"""The upload's record and its state machine. Each function that changes a record runs in the caller's transaction.

A change is one statement, `UPDATE … WHERE id AND status IN (…) [AND attempt] RETURNING …`. A claimant that has lost its
claim matches no row, so it writes nothing even if it does not know yet.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, Self

import sqlalchemy as sa

from jobs import deleted_names, failed_rows, upload_log
from jobs.database import utc_now
from jobs.errors import ClaimLostError, OptionsFixedError, OriginalNeededError, TransitionError, UploadNotFoundError
from jobs.excerpt import excerpt, notes_excerpt
from jobs.files import StoredFile
from jobs.history_query import ALL_UPLOADS, HistoryQuery, search_text
from jobs.import_options import ImportOptions
from jobs.lanes import QUICK_BYTES, Lane
from jobs.modes import Mode
from jobs.tables import ALONE, datasets, uploads
from jobs.traces import row_lines, unchanged_rows, write_order
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
    UNDO = "undo"


class HoldCode(StrEnum):
    """Why an upload waits for a person."""

    DUPLICATE = "duplicate"  # the same bytes were imported before
    REVIEW = "review"  # somebody wanted to look at it
    COLUMNS = "columns"  # a field that needs a column has none, or a column that no field takes resembles one
    FAILING = "failing"  # many of the first rows would fail
    SHEET = "sheet"  # the worksheet is a guess
    HEADER = "header"  # the header is a guess
    TOTALS = "totals"  # what was imported is not what was expected
    OPTIONS = "options"  # it cannot be read with the import options that somebody chose


#: One reason: {"code", "detail"}.
Hold = dict[str, str]

#: How the log of a divided upload says what became of its parts.
_PARTS = "Its parts are imported as "
#: What the sentences of `hold_as_duplicate` say of the earlier upload.
_EARLIER = re.compile(r"(?<=The same file was imported) (?:into (?:“[^”]*”|another place) on [0-9-]+|before,) as #\d+")


#: What an upload brings: the rows of a file; failed rows of its parent that were repaired (repair_orders.py); or what
#: the dataset had before its parent (undo_orders.py).
IMPORT, REPAIR, UNDO = "import", "repair", "undo"


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
DIVIDE = Transition(
    frozenset({Status.PROCESSING}), Status.COMPLETED, "divided"
)  # a worker made uploads of its parts, as was wanted when it was sent
DIVIDE_HELD = Transition(
    frozenset({Status.HELD, Status.COMPLETED}), Status.COMPLETED, "divided"
)  # a person chose parts, or more of them
APPROVE = Transition(frozenset({Status.HELD}), Status.PENDING, "imported", None)  # a person says: import it
ORDER = Transition(
    ACTIVE | {Status.HELD}, Status.PENDING, "checked"
)  # a person wants it looked at again, also while a worker does so already; never while it is imported
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
MARK_UNDONE = Transition(TERMINAL, None, "undone", None)  # an undo of it is completed, or was undone itself
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
    part: str | None = None
    part_of: int | None = None
    parts_wanted: Literal["all"] | list[str] | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    mode: Mode | None = None
    mode_wanted: Mode | None = None
    rows_added: int | None = None
    rows_removed: int | None = None
    rows_unchanged: int | None = None
    fields_wanted: list[dict[str, Any]] | None = None
    rules: list[dict[str, Any]] = field(default_factory=list)
    original_removed_at: datetime | None = None
    failed_rows_removed_at: datetime | None = None
    expected: dict[str, Any] | None = None
    balance: list[dict[str, Any]] = field(default_factory=list)
    undoes: list[int] = field(default_factory=list)
    undone_by: int | None = None
    deleted_at: datetime | None = None
    deleted_by: str | None = None

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
        values["parts"] = values["parts"] or []
        values["mode"] = values["mode"] and Mode(values["mode"])
        values["mode_wanted"] = values["mode_wanted"] and Mode(values["mode_wanted"])
        values["rules"] = values["rules"] or []
        values["balance"] = values["balance"] or []
        values["undoes"] = values["undoes"] or []
        values["review"], values["task"] = Review(values["review"]), Task(values["task"])
        return cls(**values)

    @property
    def is_deleted(self) -> bool:
        """Whether only its number, its counts and its rows in the dataset are left."""
        return self.deleted_at is not None

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_divided(self) -> bool:
        """Whether its file is imported by other uploads, in parts."""
        return bool(self.parts)

    @property
    def is_held(self) -> bool:
        return self.status is Status.HELD

    @property
    def holds_totals(self) -> bool:
        """Whether all its rows were read, and a person decides whether they are right."""
        return self.is_held and any(each["code"] == HoldCode.TOTALS for each in self.hold)

    @property
    def is_checked(self) -> bool:
        """Whether a worker looks at it now, or soon."""
        return self.is_active and self.task is not Task.IMPORT

    @property
    def is_undo(self) -> bool:
        """Whether it brings back what the dataset had before other uploads."""
        return self.kind == UNDO

    @property
    def phase(self) -> Phase:
        if self.is_undo:
            return Phase.UNDO
        is_looked_at = self.is_held and not self.holds_totals
        return Phase.CHECK if is_looked_at or self.task is not Task.IMPORT else Phase.IMPORT

    @property
    def replaces_all(self) -> bool:
        """Whether its rows take the place of all rows of the dataset."""
        return self.mode is Mode.REPLACE

    @property
    def rows_open(self) -> int:
        """Failed rows that nobody has corrected yet, without those that failed again in an upload of corrections, or
        that were deleted, also by retention."""
        if self.failed_rows_removed_at is not None or self.is_deleted:
            return 0
        return self.rows_failed - self.rows_corrected - self.rows_failed_again

    @property
    def is_settled(self) -> bool:
        """Whether its state cannot change any more: it is completed, no failed row is left to be corrected, and
        there is nothing that can be undone."""
        if self.status is not Status.COMPLETED or self.is_external:
            return self.status is Status.COMPLETED
        can_be_undone = self.dataset is not None and (self.rows_success > 0 or self.is_undo)
        return self.rows_corrected >= self.rows_failed and not can_be_undone

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
        """Whether the server stores the file: for an external upload it need not, and a repair makes its own."""
        return self.stored_as != ""

    @property
    def keeps_file(self) -> bool:
        """Whether it has a file that retention did not remove."""
        return self.has_file and self.original_removed_at is None

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


@dataclass(frozen=True)
class Target:
    """Into which the rows of an upload go. dataset: one that exists; None: a new one. name: as it is wanted; "": that
    of the file. mode: what they do there with the rows that exist; None: what is usual for the dataset."""

    dataset: str | None
    name: str
    mode: Mode | None = None


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
    part: str | None = None,
    part_of: int | None = None,
    parts_wanted: Literal["all"] | list[str] | None = None,
    mode: Mode | None = None,
    kind: str = IMPORT,
    mapping: Mapping[str, str | None] | None = None,
    lane: Lane | None = None,
    expected: Mapping[str, Any] | None = None,
    undoes: Sequence[int] = (),
) -> Upload:
    """Record a pending upload. An external upload and an undo need no stored file, and a repair makes its own.

    dataset: an existing dataset that receives the rows. dataset_wanted: the name of a new one; "" names it after the
    file. rows_total: None if it is not known. parent: the upload whose failed rows the file corrects. quick_bytes: of
    the largest file on the quick lane. sender: whose turn it takes. by: who sent it. view: of the sender,
    who does not learn of the same file in a dataset that is hidden. review: whether a person looks at it first. part:
    what it takes of the file; None: the whole file. part_of: the upload that the file was sent as. parts_wanted: what
    is to be divided of it. kind: IMPORT, REPAIR or UNDO. mapping: which fields its columns fill. lane: of a file that
    is not there yet. mode: what its rows do with those of the dataset; None: what is usual for the dataset. undoes: the
    uploads that an undo undoes. expected: expectations.Expectations.as_json.
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
        .where(_earlier.c.sha256 == file.sha256, _earlier.c.rows_success > 0, _earlier.c.undone_by.is_(None))
        .where(_earlier.c.sha256 != "", view.condition(_earlier.c.dataset))
        .where(~deleted_names.condition(_earlier.c.dataset), _is_part(part))
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
        lane=None if is_external else lane or Lane.of(file.size, quick_bytes),
        sender=sender,
        account_id=owner.account_id,
        token_id=owner.token_id,
        uploaded_by=owner.name,
        review=review,
        task=Task.CHECK if review is Review.ALWAYS and not is_external else Task.IMPORT,
        part=part,
        part_of=part_of,
        parts_wanted=parts_wanted,
        mode_wanted=mode,
        mode=None if is_external or kind == UNDO else _mode_of(mode, dataset),
        kind=kind,
        undoes=list(undoes) or None,
        mapping=None if mapping is None else dict(mapping),
        expected=None if expected is None else dict(expected),
    )
    upload = Upload.from_row(connection.execute(statement.returning(uploads)).one())
    _log(connection, upload, Kind.CREATED, by=by)
    return upload


def _mode_of(wanted: Mode | None, dataset: str | None) -> Any:
    """What was wanted, else what is usual for the dataset; a new one begins with its rows."""
    if dataset is None:
        return Mode.INSERT
    if wanted is not None:
        return wanted
    own = sa.select(datasets.c.mode).where(datasets.c.name == dataset).scalar_subquery()
    return sa.func.coalesce(own, Mode.INSERT)


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


def unnamed(text: str) -> str:
    """A sentence about a duplicate for whom the earlier upload does not exist."""
    return _EARLIER.sub(" before", text)


def _is_part(part: str | None) -> sa.ColumnElement[bool]:
    """Whether an earlier upload of the same bytes took the same of them, as far as that is known."""
    return sa.true() if part is None else _earlier.c.part.is_(None) | (_earlier.c.part == part)


def without_names(hold: Sequence[Hold]) -> list[Hold]:
    """Why an upload is held, for whom the upload does not exist whose file it repeats."""
    return [{**each, "detail": unnamed(each["detail"])} for each in hold]


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
    corrects: Upload | None = None,
    mode: Mode = Mode.INSERT,
) -> Upload:
    """Hold the upload that a worker looked at. Raises ClaimLostError.

    header: the columns of the file. mapping: which fields they fill. corrects: the upload whose failed rows it brings,
    into their dataset. mode: what they do with the rows there.
    """
    target: dict[str, Any] = {}
    if corrects is not None and corrects.dataset is not None:
        filename = get(connection, claim.upload_id).filename
        target = {"parent": corrects.id, "dataset": corrects.dataset, "mode": mode}
        target["search_text"] = search_text(filename, corrects.dataset)
    upload = _change_claimed(
        connection,
        HOLD,
        claim,
        **{**_UNCLAIMED, **_UNPLACED},
        hold=list(hold),
        header=header,
        mapping=None if mapping is None else dict(mapping),
        notes=notes_excerpt(list(notes)),
        warnings=kept(warnings),
        attempts_without_progress=0,
        cuts=0,
        **target,
    )
    _log(connection, upload, Kind.HELD, detail=" ".join(each["detail"] for each in hold))
    return upload


def hold_for_totals(
    connection: sa.Connection, claim: Claim, detail: str, balance: Sequence[Mapping[str, Any]]
) -> Upload:
    """Hold an upload all of whose rows were read, until a person says whether they are right. Raises ClaimLostError.

    detail: what is not as it was expected. balance: all comparisons.
    """
    upload = _change_claimed(
        connection,
        HOLD,
        claim,
        **_UNCLAIMED,
        hold=[hold_of(HoldCode.TOTALS, detail)],
        balance=list(map(dict, balance)),
        attempts_without_progress=0,
        cuts=0,
    )
    _log(connection, upload, Kind.HELD, detail=detail)
    return upload


def hold_unread(connection: sa.Connection, claim: Claim, hold: Sequence[Hold]) -> Upload:
    """Hold an upload again whose file cannot be read with the options that a person chose. Raises ClaimLostError."""
    upload = _change_claimed(
        connection,
        HOLD,
        claim,
        **{**_UNCLAIMED, **_UNPLACED},
        hold=list(hold),
        attempts_without_progress=0,
        cuts=0,
    )
    _log(connection, upload, Kind.HELD, detail=" ".join(each["detail"] for each in hold))
    return upload


def approve(
    connection: sa.Connection, upload_id: int, *, quick_bytes: int = QUICK_BYTES, by: By | None = None
) -> Upload:
    """Let a held upload be imported; one whose rows were all read, be completed. That it waited for a person is no part
    of the time that its import takes. quick_bytes: of the largest file on the quick lane. by: who says so.

    Raises UploadNotFoundError, TransitionError.
    """
    begins = {} if get(connection, upload_id).holds_totals else {**_UNREAD, "started_at": None}
    upload = _change_or_raise(
        connection,
        APPROVE,
        upload_id,
        **{**_RETRIED, **begins},
        hold=None,
        task=Task.IMPORT,
        is_approved=True,
        lane=_lane_by_size(quick_bytes),
    )
    _log(connection, upload, Kind.APPROVED, by=by)
    return upload


def divide(
    connection: sa.Connection,
    claim: Claim,
    parts: Sequence[Mapping[str, Any]],
    *,
    notes: Sequence[str] = (),
    warnings: Iterable[UploadWarning] = (),
) -> Upload:
    """Complete an upload whose file other uploads import, in parts. Raises ClaimLostError."""
    upload = _change_claimed(
        connection,
        DIVIDE,
        claim,
        **_ENDED,
        parts=[dict(each) for each in parts],
        notes=notes_excerpt(list(notes)),
        warnings=kept(warnings),
    )
    _log(connection, upload, Kind.COMPLETED, detail=_divided_in_words(parts))
    return upload


def divide_held(
    connection: sa.Connection, upload: Upload, parts: Sequence[Mapping[str, Any]], *, by: By | None = None
) -> Upload:
    """As `divide`, for an upload that waits for a person, or was divided into others. parts: the new ones. Raises
    TransitionError."""
    all_parts = get(connection, upload.id).parts  # also those that are hidden from whoever divides it
    known = [*all_parts, *(dict(each) for each in parts)]
    is_unchanged = uploads.c.seq == upload.seq
    ended = {**_ENDED, "hold": None, "warnings": []} if upload.is_held else {}
    divided = None
    if (upload.is_held and not upload.holds_totals) or upload.is_divided:
        divided = _change(connection, DIVIDE_HELD, upload.id, None, is_unchanged, parts=known, **ended)
    if divided is None:
        raise TransitionError(upload.id, get(connection, upload.id).status, DIVIDE_HELD.participle)
    _log(connection, divided, Kind.COMPLETED, detail=_divided_in_words(parts), by=by)
    return divided


def _divided_in_words(parts: Sequence[Mapping[str, Any]]) -> str:
    numbers = ", ".join(f"#{each['upload']}" for each in parts)
    return f"{_PARTS}{numbers}."


def in_words_as_seen(text: str, upload: Upload) -> str:
    """A sentence of the log without uploads that do not exist for whoever asks. upload: as they may see it."""
    if text.startswith(_PARTS):
        seen = {f"#{part['upload']}" for part in upload.parts}
        return f"{_PARTS}{', '.join(each for each in re.findall('#[0-9]+', text) if each in seen) or 'other uploads'}."
    return text if upload.duplicate_of is not None else unnamed(text)


def order(
    connection: sa.Connection,
    upload_id: int,
    task: Task,
    *,
    options: ImportOptions | None = None,
    mode: Mode | None = None,
    mapping: Mapping[str, str | None] | None = None,
    new_fields: Sequence[Mapping[str, Any]] = (),
    target: Target | None = None,
    quick_bytes: int = QUICK_BYTES,
    by: By | None = None,
) -> Upload:
    """Let a worker look at a held upload again, which the quick lane does, or check it; then it is held again. A look
    or a check that runs meanwhile ends: its worker loses the claim.

    options: to read it with from now on; what was chosen for its columns is forgotten. mode: what its rows do with
    those of the dataset, if somebody chose that. mapping, new_fields: as for `map_columns`, if somebody chose them.
    target: into which its rows go, if somebody chose that. quick_bytes: of the largest file
    that is checked on the quick lane. Raises UploadNotFoundError, TransitionError.
    """
    forgotten: dict[str, Any] = {"mapping": None, "schema_wanted": None, "fields_wanted": None}
    changed: dict[str, Any] = {} if options is None else {"options": options.as_json(), **forgotten}
    changed |= {} if mode is None else _of_mode(mode)
    if target is not None:
        changed |= forgotten | _of_target(connection, upload_id, target)
    if mapping is not None:
        changed |= {"mapping": dict(mapping), "fields_wanted": list(map(dict, new_fields)) or None}
    changed["lane"] = Lane.QUICK if task is Task.LOOK else _lane_by_size(quick_bytes)
    values = {**_RETRIED, **_UNREAD, "task": task, **changed}
    upload = _change_or_raise(connection, ORDER, upload_id, _nothing_imported, **values)
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
        connection, ORDER, upload_id, _nothing_imported, **{**_RETRIED, **_UNREAD}, task=Task.CHECK, **planned, **lane
    )
    _log(connection, upload, Kind.ORDERED, detail=Task.CHECK, by=by)
    return upload


def _lane_by_size(quick_bytes: int) -> sa.ColumnElement[str | None]:
    """The lane of an upload by the size of its file; null if it is an external one."""
    lane = sa.case((uploads.c.size <= quick_bytes, Lane.QUICK), else_=Lane.BULK)
    return sa.case((uploads.c.processor == Processor.WORKER, lane), else_=None)


def map_columns(
    connection: sa.Connection,
    upload_id: int,
    mapping: Mapping[str, str | None],
    new_fields: Sequence[Mapping[str, Any]] = (),
) -> Upload:
    """Choose which fields the columns of a held upload fill. new_fields: those that its import adds to the dataset.
    Raises UploadNotFoundError, TransitionError."""
    wanted = list(map(dict, new_fields)) or None
    values = {"mapping": dict(mapping), "fields_wanted": wanted}
    return _change_or_raise(connection, DECIDE, upload_id, _nothing_imported, **values)


def _of_target(connection: sa.Connection, upload_id: int, target: Target) -> dict[str, Any]:
    """What is recorded of the dataset that somebody chose. Raises UploadNotFoundError."""
    filename = get(connection, upload_id).filename
    return {
        "dataset": target.dataset,
        "dataset_wanted": target.name,
        "search_text": search_text(filename, target.dataset),
        "mode_wanted": target.mode,
        "mode": _mode_of(target.mode, target.dataset),
    }


def choose_mode(connection: sa.Connection, upload_id: int, mode: Mode) -> Upload:
    """Choose what the rows of a held upload do with those of the dataset. Raises UploadNotFoundError,
    TransitionError."""
    return _change_or_raise(connection, DECIDE, upload_id, _nothing_imported, **_of_mode(mode))


def _of_mode(mode: Mode) -> dict[str, Any]:
    """What is recorded of a mode that somebody chose: a new dataset begins with its rows, whatever that is."""
    return {"mode_wanted": mode, "mode": sa.case((uploads.c.dataset.is_(None), Mode.INSERT), else_=mode)}


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
    oldest upload goes first. An upload waits while its dataset receives as many imports as it may; one that replaces
    all rows, or undoes others, waits until no other is imported into its dataset, and those that came later wait for
    it. lease: seconds. dataset_imports: that may run into one dataset at once.
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
    upload = _changed(connection, _CLAIM, upload_id, None, {"lease": lease, "new_worker": worker})
    if upload is not None:
        _log(connection, upload, Kind.RESUMED if upload.rows_processed else Kind.CLAIMED, worker=worker)
    return upload


def renew(connection: sa.Connection, claim: Claim, *, lease: float) -> Upload:
    """Extend the claim by another lease. Raises ClaimLostError."""
    return _change_claimed(connection, ADVANCE, claim, lease_until=utc_now(lease))


def receive(connection: sa.Connection, claim: Claim, file: StoredFile, *, lease: float) -> Upload:
    """Record the file that a repair made. Raises ClaimLostError."""
    stored = {"stored_as": file.stored_as, "size": file.size, "sha256": file.sha256}
    return _change_claimed(connection, ADVANCE, claim, lease_until=utc_now(lease), **stored)


def hold(connection: sa.Connection, claim: Claim) -> None:
    """Keep the claim until the transaction ends, and everybody else from changing the upload. Raises ClaimLostError.

    It costs a third of `renew`, which returns the whole record.
    """
    held = connection.execute(_HELD, {"of_upload": claim.upload_id, "of_attempt": claim.attempt})
    if held.one_or_none() is None:
        raise _claim_lost(claim)


def settle(connection: sa.Connection, claim: Claim, dataset: str) -> Upload:
    """Choose the dataset of an upload that wanted a new one, which another part of its file has made. Raises
    ClaimLostError."""
    filename = connection.execute(sa.select(uploads.c.filename).where(uploads.c.id == claim.upload_id)).scalar() or ""
    return _change_claimed(connection, ADVANCE, claim, dataset=dataset, search_text=search_text(filename, dataset))


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
    part: str | None = None,
    mode: Mode = Mode.INSERT,
) -> Upload:
    """Record how the file is read and its dataset, before the first row. Raises ClaimLostError.

    rows_total: None if the rows were not counted. blank: lines without any value that no chunk contains. mapping: which
    fields the columns fill, if that does not follow from their names. part: what was read of the file. mode: what the
    rows do with those of the dataset.
    """
    filename = connection.execute(sa.select(uploads.c.filename).where(uploads.c.id == claim.upload_id)).scalar() or ""
    read = {
        "new_dataset": dataset,
        "new_search_text": search_text(filename, dataset),
        "new_rows_total": rows_total,
        "new_next_byte": next_byte,
        "new_bytes_total": bytes_total,
        "new_header": header,
        "new_parent": parent,
        "new_notes": notes_excerpt(notes),
        "new_warnings": kept(warnings),
        "new_lines_blank": blank,
        "new_mapping": None if mapping is None else dict(mapping),
        "new_part": part,
        "new_mode": mode,
    }
    return _changed_claimed(connection, _BEGIN, claim, {"lease": lease, **read})


def advance(
    connection: sa.Connection,
    claim: Claim,
    *,
    lease: float,
    good: int,
    bad: int,
    next_byte: int,
    added: int = 0,
    unchanged: int = 0,
    blank: int = 0,
    before: Sequence[UploadWarning] = (),
    warnings: Sequence[UploadWarning] = (),
    ruled: Sequence[Mapping[str, Any]] = (),
) -> Upload:
    """Count the rows of a chunk and move the checkpoint behind it. Raises ClaimLostError.

    good, bad: rows that the caller writes to the dataset, or records as failed, in the same transaction. next_byte:
    where the next chunk begins. added: by how many rows there are more. unchanged: rows that the dataset had already,
    so that the caller writes none for them. blank: lines of the chunk without any value. before: the warnings of the
    upload. warnings: those of the chunk, to add to them. ruled: what rules changed, this chunk included; empty: as
    before.
    """
    statement = _ADVANCE
    if warnings:
        statement = statement.values(warnings=merged(before, warnings))
    if ruled:
        statement = statement.values(rules=[dict(each) for each in ruled])
    counted = {
        "new_next_byte": next_byte,
        "more_processed": good + bad,
        "more_success": good,
        "more_failed": bad,
        "more_added": added,
        "more_unchanged": unchanged,
        "more_blank": blank,
    }
    return _changed_claimed(connection, statement, claim, {"lease": lease, **counted})


def complete(
    connection: sa.Connection,
    claim: Claim,
    *,
    removed: int = 0,
    balance: Sequence[Mapping[str, Any]] = (),
    warnings: Iterable[UploadWarning] | None = None,
) -> Upload:
    """Complete the upload at the end of its file. removed: rows that it replaced all. balance: how it compares with
    what was expected of it. warnings: all it has; None: as before. Raises ClaimLostError."""
    statement = _COMPLETE if warnings is None else _COMPLETE.values(warnings=kept(warnings))
    ended = {"new_removed": removed, "new_balance": list(map(dict, balance)) or None}
    upload = _changed_claimed(connection, statement, claim, ended)
    _log(connection, upload, Kind.COMPLETED)
    return upload


def fail(connection: sa.Connection, claim: Claim, error: str, remedy: Remedy = Remedy.RETRY) -> Upload:
    """Fail the upload. error: a sentence for the person who uploaded. Raises ClaimLostError."""
    kept_error = excerpt(error, LONGEST_ERROR)
    upload = _change_claimed(connection, FAIL, claim, **_ENDED_EARLY, error=kept_error, remedy=remedy)
    _log(connection, upload, Kind.FAILED, detail=error)
    return upload


def hand_back(
    connection: sa.Connection,
    claim: Claim,
    *,
    because: str,
    at_shutdown: bool = False,
    expired: bool = False,
    dataset: str | None = None,
) -> Upload | None:
    """End an attempt: the upload is pending again, or failed if too many attempts committed nothing.

    None: the upload is no longer this claimant's. because: what happened to the claimant, for people. at_shutdown: the
    attempt does not count as one without progress. expired: only if the lease has expired when the statement runs.
    dataset: into which its rows go, if that was not known before: it waits for its turn there.
    """
    lease = uploads.c.lease_until < utc_now() if expired else sa.true()
    if at_shutdown:
        spared = sa.case((uploads.c.attempts_without_progress > 0, uploads.c.attempts_without_progress - 1), else_=0)
        values = {**_UNCLAIMED, "attempts_without_progress": spared} | ({"dataset": dataset} if dataset else {})
        upload = _change(connection, HAND_BACK, claim.upload_id, claim.attempt, lease, **values)
    else:
        given_up = uploads.c.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS
        error = f"Stopped after {MAX_ATTEMPTS_WITHOUT_PROGRESS} attempts without progress. The last time, {because}."
        upload = _change(
            connection, FAIL, claim.upload_id, claim.attempt, lease & given_up, **_ENDED_EARLY, error=error
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
        connection, FAIL, claim.upload_id, claim.attempt, again, **_ENDED_EARLY, error=error, cuts=cuts
    ) or _change(connection, HAND_BACK, claim.upload_id, claim.attempt, **_UNCLAIMED, cuts=cuts)
    if upload is not None:
        _log_end(connection, upload, Kind.CUT, f"it exceeded the limit of {_LIMITS[reason]}")
    return upload


def cancel(connection: sa.Connection, upload_id: int, *, by: By | None = None) -> Upload:
    """Cancel an upload. Rows that were imported stay in the dataset. by: who cancels it.

    Raises UploadNotFoundError, TransitionError.
    """
    upload = _change_or_raise(connection, CANCEL, upload_id, **_ENDED_EARLY, hold=None)
    _log(connection, upload, Kind.CANCELLED, by=by)
    return upload


#: What a worker does first with an upload that nobody has approved.
_FIRST_TASK = sa.case(
    ((uploads.c.review == Review.ALWAYS) & (uploads.c.processor == Processor.WORKER), Task.CHECK), else_=Task.IMPORT
)


def retry(connection: sa.Connection, upload_id: int, *, by: By | None = None) -> Upload:
    """Begin a new run: behind the last committed chunk, or from the start if no row has succeeded or all rows are to be
    replaced.

    The counts of an external upload are reset: they come from the next reports. by: who retries it.

    Raises UploadNotFoundError, TransitionError.
    """
    _require_original(connection, upload_id)
    task = sa.case((uploads.c.is_approved, Task.IMPORT), else_=_FIRST_TASK)
    upload = _change_or_raise(connection, RETRY, upload_id, _HAS_ORIGINAL, **_RETRIED, task=task, balance=None)
    _log(connection, upload, Kind.RETRIED, by=by)
    if upload.mapping and not upload.is_approved and upload.bytes_total is None:  # it was held, and nobody decided
        forgotten = sa.update(uploads).where(uploads.c.id == upload_id).values(mapping=None, fields_wanted=None)
        upload = Upload.from_row(connection.execute(forgotten.returning(uploads)).one())
    goes_on = upload.rows_success or not upload.rows_failed
    if not upload.is_external and goes_on and not upload.replaces_all:
        return upload
    return _restart(connection, upload_id)


def retry_with(connection: sa.Connection, upload_id: int, options: ImportOptions, *, by: By | None = None) -> Upload:
    """Begin a new run from the start, with other import options. A dataset that the upload created is no longer its.

    Raises UploadNotFoundError, TransitionError, and OptionsFixedError if a row has been imported, or an external script
    imports them.
    """
    nothing_imported = (uploads.c.rows_success == 0) & (uploads.c.processor == Processor.WORKER)
    nothing_imported &= (uploads.c.kind != REPAIR) & _HAS_ORIGINAL
    _require_original(connection, upload_id)
    again: dict[str, Any] = {"options": options.as_json(), "mapping": None, "task": _FIRST_TASK, "is_approved": False}
    again |= {"schema_wanted": None, "fields_wanted": None}
    upload = _change(connection, RETRY, upload_id, None, nothing_imported, **_RETRIED, **again)
    if upload is None:
        upload = get(connection, upload_id)
        if upload.status not in RETRY.sources:
            raise TransitionError(upload_id, upload.status, RETRY.participle)
        if upload.is_external:
            raise OptionsFixedError(upload_id, "an external script reads the file.")
        if upload.kind == REPAIR:
            raise OptionsFixedError(upload_id, "a repair makes its own file.")
        rows = "1 row was" if upload.rows_success == 1 else f"{upload.rows_success:,} rows were"
        raise OptionsFixedError(upload_id, f"{rows} imported with the present ones.")
    _log(connection, upload, Kind.RETRIED, detail="with other import options", by=by)
    is_its_own = sa.exists().where(datasets.c.name == upload.dataset, datasets.c.upload_id == upload_id)
    known: dict[str, Any] = {"rows_total": None, "header": None, "notes": []}
    if connection.execute(sa.select(is_its_own)).scalar_one():
        known |= {"dataset": None, "search_text": search_text(upload.filename, None)}
    return _restart(connection, upload_id, **known)


def _require_original(connection: sa.Connection, upload_id: int) -> None:
    """Raises OriginalNeededError if retention removed the file of an upload that could be retried otherwise."""
    upload = get(connection, upload_id)
    if upload.original_removed_at is not None and upload.status in RETRY.sources:
        raise OriginalNeededError(upload_id, upload.original_removed_at, "it cannot be retried")


def _restart(connection: sa.Connection, upload_id: int, **more: Any) -> Upload:
    """Forget what earlier attempts recorded."""
    failed_rows.delete_all(connection, upload_id)
    row_lines.delete_all(connection, upload_id)
    unchanged_rows.delete_all(connection, upload_id)
    write_order.delete_all(connection, upload_id)
    upload_log.forget_milestones(connection, upload_id)
    restarted = sa.update(uploads).where(uploads.c.id == upload_id)
    counts = ["next_byte", "rows_processed", "rows_success", "rows_failed", "lines_blank"]
    counts += ["rows_corrected", "rows_failed_again"]
    values: dict[str, Any] = dict.fromkeys(counts, 0) | {"progress_reported": None}
    values |= {"rows_added": None, "rows_removed": None, "rows_unchanged": None}
    # So that how the file is read is recorded again.
    values |= {"bytes_total": None, "warnings": [], "rules": None, "balance": None, **more}
    return Upload.from_row(connection.execute(restarted.values(values).returning(uploads)).one())


def begin_undo(connection: sa.Connection, claim: Claim, *, lease: float, rows_left: int) -> Upload:
    """Record how many rows an undo may still change. Raises ClaimLostError."""
    return _change_claimed(
        connection,
        ADVANCE,
        claim,
        lease_until=utc_now(lease),
        rows_total=uploads.c.rows_processed + rows_left,
        counting_since=utc_now(),
        counting_from=uploads.c.rows_processed,
        rows_added=sa.func.coalesce(uploads.c.rows_added, 0),
        rows_removed=sa.func.coalesce(uploads.c.rows_removed, 0),
    )


def advance_undo(
    connection: sa.Connection, claim: Claim, *, lease: float, removed: int, restored: int, added: int
) -> Upload:
    """Count the rows that a chunk of an undo changed, in its transaction. added: of the restored ones, those that were
    not there. Raises ClaimLostError."""
    return _change_claimed(
        connection,
        ADVANCE,
        claim,
        lease_until=utc_now(lease),
        attempts_without_progress=0,
        rows_processed=uploads.c.rows_processed + removed + restored,
        rows_success=uploads.c.rows_success + removed + restored,
        rows_added=uploads.c.rows_added + added,
        rows_removed=uploads.c.rows_removed + removed,
    )


def complete_undo(connection: sa.Connection, claim: Claim) -> Upload:
    """Complete an undo whose rows are all done. Raises ClaimLostError."""
    upload = _change_claimed(connection, COMPLETE, claim, **_ENDED, rows_total=uploads.c.rows_processed)
    _log(connection, upload, Kind.COMPLETED)
    return upload


def mark_undone(connection: sa.Connection, upload_id: int, undone_by: int | None) -> Upload:
    """Record that an upload was undone, or is in effect again. Raises UploadNotFoundError, TransitionError."""
    upload = _change_or_raise(connection, MARK_UNDONE, upload_id, undone_by=undone_by)
    if not upload.is_deleted:
        detail = f"by #{undone_by}" if undone_by else None
        _log(connection, upload, Kind.UNDONE if undone_by else Kind.REDONE, detail=detail)
    return upload


def undone(connection: sa.Connection, dataset: str) -> set[int]:
    """The uploads into a dataset that were undone."""
    found = sa.select(uploads.c.id).where(uploads.c.dataset == dataset, uploads.c.undone_by.is_not(None))
    return set(connection.scalars(found))


def bury(connection: sa.Connection, upload_id: int, *, by: str | None) -> None:
    """Forget the file of an upload, and how it was read. Nobody is told: whoever looks at it again sees that. by: the
    name of an account."""
    forgotten: dict[str, Any] = {"stored_as": "", "search_text": "", "notes": [], "warnings": [], "options": {}}
    nothing = ["header", "error", "remedy", "hold", "mapping", "schema_wanted", "fields_wanted", "rules", "worker"]
    values = {**forgotten, **dict.fromkeys(nothing), "deleted_at": utc_now(), "deleted_by": by}
    connection.execute(sa.update(uploads).where(uploads.c.id == upload_id).values(values))


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
_waiting = uploads.alias("waiting")


def _waits_for_others() -> sa.ColumnElement[bool]:
    """Whether an upload is a repair that has no file yet, and must not make it before its parent, and the repairs of it
    that were ordered before, have ended."""
    other = uploads.alias("other")
    is_active = other.c.status.in_(ACTIVE)
    parent_runs = sa.exists().where(other.c.id == uploads.c.parent, is_active)
    is_earlier = (other.c.parent == uploads.c.parent) & (other.c.id < uploads.c.id) & (other.c.kind == REPAIR)
    is_without_file = (uploads.c.kind == REPAIR) & (uploads.c.stored_as == "")
    return is_without_file & (parent_runs | sa.exists().where(is_earlier, is_active))


def _next() -> sa.Select[Any]:
    """The id of the upload that `claim_next` claims."""
    by_worker = uploads.c.processor == Processor.WORKER
    alone = _is_alone & (uploads.c.task == Task.IMPORT)
    running = (
        sa.select(uploads.c.sender, uploads.c.dataset, sa.case((alone, 1), else_=0).label("alone"))
        .where(uploads.c.status == Status.PROCESSING, by_worker)
        .cte("running")
    )
    full = (
        sa.select(running.c.dataset)
        .where(running.c.dataset.is_not(None))
        .group_by(running.c.dataset)
        .having(
            (sa.func.count() >= sa.bindparam("dataset_imports", type_=sa.Integer)) | (sa.func.max(running.c.alone) == 1)
        )
    )
    taken = sa.select(running.c.dataset).where(running.c.dataset.is_not(None))
    before_it = sa.exists().where(
        ALONE, _waiting.c.task == Task.IMPORT, _waiting.c.dataset == uploads.c.dataset, _waiting.c.id < uploads.c.id
    )
    first = (
        sa.select(uploads.c.sender, sa.func.min(uploads.c.id).label("id"))
        .where(uploads.c.status == Status.PENDING, by_worker, uploads.c.lane == sa.bindparam("lane", type_=sa.Text))
        .where(uploads.c.dataset.is_(None) | uploads.c.dataset.not_in(full))
        .where(uploads.c.dataset.is_(None) | ~alone | uploads.c.dataset.not_in(taken))
        .where(uploads.c.dataset.is_(None) | (uploads.c.task != Task.IMPORT) | ~before_it)
        .where(~_waits_for_others())
        .group_by(uploads.c.sender)
        .cte("first")
    )
    imports = sa.select(sa.func.count()).where(running.c.sender == first.c.sender).scalar_subquery()
    served = sa.select(sa.func.max(_earlier.c.counting_since)).where(_earlier.c.sender == first.c.sender)
    return sa.select(first.c.id).order_by(imports, served.scalar_subquery().nulls_first(), first.c.id).limit(1)


#: Whether nothing else is imported into its dataset meanwhile.
_is_alone = (sa.func.coalesce(uploads.c.mode, "") == Mode.REPLACE) | (uploads.c.kind == UNDO)

_NEXT = _next()

#: Whether it waits for a person before its import, or for a worker that only looks at it.
_nothing_imported = ((uploads.c.status == Status.HELD) & uploads.c.bytes_total.is_(None)) | (
    uploads.c.task != Task.IMPORT
)

#: Upload.last_report, in SQL.
_last_report = sa.func.coalesce(uploads.c.silent_since, uploads.c.updated_at)

#: Whether retention left it its file.
_HAS_ORIGINAL = uploads.c.original_removed_at.is_(None)

_UNCLAIMED: Mapping[str, Any] = {"worker": None, "lease_until": None, "silent_since": None}
_RETRIED: Mapping[str, Any] = {
    **_UNCLAIMED, "error": None, "remedy": None, "finished_at": None, "attempts_without_progress": 0, "cuts": 0
}  # fmt: skip
#: The import begins at the start of the file.
_UNPLACED: Mapping[str, Any] = {"next_byte": 0, "bytes_total": None}
#: Nor is anything known of how far a check came.
_UNREAD: Mapping[str, Any] = {**_UNPLACED, "progress_reported": None}
_ENDED: Mapping[str, Any] = {**_UNCLAIMED, "finished_at": utc_now()}
_REPLACES = uploads.c.mode == Mode.REPLACE
#: Of an upload that does not come to its end: if it was to replace all rows, none of its rows is in the dataset.
_ENDED_EARLY: Mapping[str, Any] = {
    **_ENDED,
    "rows_processed": sa.case((_REPLACES, uploads.c.rows_failed), else_=uploads.c.rows_processed),
    "rows_success": sa.case((_REPLACES, 0), else_=uploads.c.rows_success),
    "rows_added": sa.case((_REPLACES, 0), else_=uploads.c.rows_added),
}


#: Parameters of statements that are made once, since to build one anew takes half as long as to run it. Their names are
#: none of columns, to which SQLAlchemy would assign them.
_OF_UPLOAD, _OF_ATTEMPT = sa.bindparam("of_upload", type_=sa.BigInteger), sa.bindparam("of_attempt", type_=sa.Integer)


def _lease() -> utc_now:
    return utc_now(sa.bindparam("lease", type_=sa.Float))


def _new(*names: str) -> dict[str, Any]:
    return {name: sa.bindparam(f"new_{name}", type_=uploads.c[name].type) for name in names}


def _more(name: str, rows: str) -> sa.ColumnElement[int]:
    return uploads.c[name] + sa.bindparam(f"more_{rows}", type_=sa.BigInteger)


def _change(
    connection: sa.Connection,
    transition: Transition,
    upload_id: int,
    expected_attempt: int | None = None,
    *conditions: sa.ColumnElement[bool],
    **values: Any,
) -> Upload | None:
    """Change an upload. expected_attempt: the one that must hold the claim; None for any.

    None: the state or the attempt of the upload does not allow the change.
    """
    statement = _guarded(transition, *conditions, of_attempt=expected_attempt is not None, **values)
    return _changed(connection, statement, upload_id, expected_attempt)


def _guarded(
    transition: Transition, *conditions: sa.ColumnElement[bool], of_attempt: bool, **values: Any
) -> sa.sql.dml.ReturningUpdate[Any]:
    """The one guarded UPDATE, for `_changed`. of_attempt: of an attempt that must hold the claim."""
    statement = sa.update(uploads).where(
        uploads.c.id == _OF_UPLOAD, uploads.c.status.in_(transition.sources), *conditions
    )
    if of_attempt:
        statement = statement.where(uploads.c.attempt == _OF_ATTEMPT)
    is_there = uploads.c.deleted_at.is_(None)
    told: dict[str, Any] = {"seq": uploads.c.seq + 1, "updated_at": utc_now()}
    if transition in (CORRECT, MARK_UNDONE):  # its rows are still in the dataset; nobody is told of it
        told = {name: sa.case((is_there, value), else_=uploads.c[name]) for name, value in told.items()}
    else:
        statement = statement.where(is_there)
    if transition.processor is not None:
        statement = statement.where(uploads.c.processor == transition.processor)
    if transition.target is not None:
        values["status"] = transition.target
    return statement.values(**told, **values).returning(uploads)


def _changed(
    connection: sa.Connection,
    statement: sa.sql.dml.ReturningUpdate[Any],
    upload_id: int,
    expected_attempt: int | None,
    values: Mapping[str, Any] = MappingProxyType({}),
) -> Upload | None:
    """values: of the parameters that the statement has besides."""
    attempt = {} if expected_attempt is None else {"of_attempt": expected_attempt}
    row = connection.execute(statement, {"of_upload": upload_id, **attempt, **values}).one_or_none()
    return None if row is None else Upload.from_row(row)


def _change_claimed(connection: sa.Connection, transition: Transition, claim: Claim, **values: Any) -> Upload:
    return _of_claim(_change(connection, transition, claim.upload_id, claim.attempt, **values), claim)


def _changed_claimed(
    connection: sa.Connection, statement: sa.sql.dml.ReturningUpdate[Any], claim: Claim, values: Mapping[str, Any]
) -> Upload:
    return _of_claim(_changed(connection, statement, claim.upload_id, claim.attempt, values), claim)


def _of_claim(upload: Upload | None, claim: Claim) -> Upload:
    if upload is None:
        raise _claim_lost(claim)
    return upload


def _claim_lost(claim: Claim) -> ClaimLostError:
    return ClaimLostError(f"Attempt {claim.attempt} no longer holds the claim on upload #{claim.upload_id}.")


_ONE = sa.select(uploads).where(uploads.c.id == _OF_UPLOAD)
_HELD = (
    sa.select(uploads.c.id)
    .where(
        uploads.c.id == _OF_UPLOAD,
        uploads.c.attempt == _OF_ATTEMPT,
        uploads.c.status.in_(ADVANCE.sources),
        uploads.c.processor == ADVANCE.processor,
    )
    .with_for_update(key_share=True)
)
_CLAIM = _guarded(
    CLAIM,
    of_attempt=False,
    attempt=uploads.c.attempt + 1,
    attempts_without_progress=uploads.c.attempts_without_progress + 1,
    lease_until=_lease(),
    counting_since=utc_now(),
    counting_from=uploads.c.rows_processed,
    progress_reported=None,  # by the check of an earlier attempt; this one begins again
    started_at=sa.func.coalesce(uploads.c.started_at, utc_now()),
    **_new("worker"),
)
_BEGIN = _guarded(
    ADVANCE,
    of_attempt=True,
    lease_until=_lease(),
    parent=sa.select(_earlier.c.id).where(_earlier.c.id == sa.bindparam("new_parent")).scalar_subquery(),
    counting_since=utc_now(),
    fields_wanted=None,
    rows_added=0,
    rows_removed=0,
    rows_unchanged=0,
    **_new("dataset", "search_text", "rows_total", "next_byte", "bytes_total", "header", "notes", "warnings"),
    **_new("lines_blank", "mapping", "part", "mode"),
)
_ADVANCE = _guarded(
    ADVANCE,
    of_attempt=True,
    lease_until=_lease(),
    attempts_without_progress=0,
    rows_processed=_more("rows_processed", "processed"),
    rows_success=_more("rows_success", "success"),
    rows_failed=_more("rows_failed", "failed"),
    rows_added=_more("rows_added", "added"),
    rows_unchanged=_more("rows_unchanged", "unchanged"),
    lines_blank=_more("lines_blank", "blank"),
    **_new("next_byte"),
)
_COMPLETE = _guarded(
    COMPLETE,
    of_attempt=True,
    rows_total=uploads.c.rows_processed,
    rows_removed=sa.bindparam("new_removed", type_=sa.BigInteger),
    **_ENDED,
    **_new("balance"),
)


def _change_or_raise(
    connection: sa.Connection,
    transition: Transition,
    upload_id: int,
    *conditions: sa.ColumnElement[bool],
    **values: Any,
) -> Upload:
    upload = _change(connection, transition, upload_id, None, *conditions, **values)
    if upload is None:
        raise TransitionError(upload_id, get(connection, upload_id).status, transition.participle)
    return upload


def get(connection: sa.Connection, upload_id: int, view: View = EVERYTHING) -> Upload:
    """view: what exists for whoever asks. Raises UploadNotFoundError, also for an upload that it hides."""
    row = connection.execute(_ONE, {"of_upload": upload_id}).one_or_none()
    if row is None or not view.shows(row.dataset):
        raise UploadNotFoundError(upload_id)
    return as_seen(connection, [Upload.from_row(row)], view)[0]


def as_seen(connection: sa.Connection, found: Sequence[Upload], view: View) -> list[Upload]:
    """Uploads without references to others that do not exist for whoever asks."""
    named = {
        number
        for each in found
        for number in (
            each.duplicate_of,
            each.parent,
            each.part_of,
            each.undone_by,
            *(part["upload"] for part in each.parts),
        )
        if number is not None
    }
    if view.is_whole or not named:
        return list(found)
    statement = sa.select(uploads.c.id).where(uploads.c.id.in_(named), view.condition(uploads.c.dataset))
    visible = set(connection.scalars(statement))
    return [
        replace(
            each,
            duplicate_of=each.duplicate_of if each.duplicate_of in visible else None,
            parent=each.parent if each.parent in visible else None,
            part_of=each.part_of if each.part_of in visible else None,
            undone_by=each.undone_by if each.undone_by in visible else None,
            parts=[part for part in each.parts if part["upload"] in visible],
            hold=each.hold if each.duplicate_of in visible else without_names(each.hold),
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
    """The status of the upload of each stored file that has one. What retention removed has none."""
    statement = sa.select(uploads.c.stored_as, uploads.c.status).where(
        uploads.c.stored_as.in_(list(stored_as)), _HAS_ORIGINAL
    )
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
    is_alone = sa.case((_is_alone & (columns.task == Task.IMPORT), 1), else_=0)
    by_dataset = sa.select(columns.dataset, sa.func.count(), sa.func.max(is_alone)).group_by(columns.dataset)
    is_running = (columns.status == Status.PROCESSING) & (columns.processor == Processor.WORKER)
    running = {
        row[0]: dataset_imports if row[2] else row[1] for row in connection.execute(by_dataset.where(is_running))
    }
    statement = (
        sa.select(columns.lane, columns.dataset, sa.func.count(), sa.func.min(columns.id), sa.func.sum(is_alone))
        .where(columns.status == Status.PENDING, columns.processor == Processor.WORKER)
        .where(columns.lane.is_not(None), columns.updated_at <= utc_now(-for_seconds), ~_waits_for_others())
        .group_by(columns.lane, columns.dataset)
    )
    found: dict[Lane, Waiting] = {}
    for lane, dataset, count, first, excluding in connection.execute(statement):
        free = dataset_imports - running.get(dataset, 0)
        alone = excluding if free < dataset_imports else 0  # these wait until nothing else is imported
        startable = count if dataset is None else min(count - alone, free)
        if startable > 0:
            others = found.get(lane, Waiting(0, first))
            found[Lane(lane)] = Waiting(others.count + startable, min(others.first, first))
    return found


def imported_meanwhile(connection: sa.Connection, dataset: str, upload_id: int, *, alone: bool = False) -> bool:
    """Whether another upload is being imported into a dataset. alone: only one beside which nothing else may be."""
    return bool(connection.scalar(_MEANWHILE[alone], {"dataset": dataset, "of_upload": upload_id}))


def _meanwhile(*, alone: bool) -> sa.Select[Any]:
    columns = uploads.c
    others = (columns.status == Status.PROCESSING) & (columns.dataset == _OF_DATASET) & (columns.id != _OF_UPLOAD)
    imports = (columns.processor == Processor.WORKER) & (columns.task == Task.IMPORT)
    which = _is_alone if alone else sa.true()
    return sa.select(sa.exists().where(others, imports, which))


def waits_for(connection: sa.Connection, dataset: str, *, dataset_imports: int, was_alone: bool) -> bool:
    """Whether an upload waits that could not start before an import into its dataset ended. dataset_imports: that may
    run into it at once. was_alone: whether nothing else could be imported beside that one."""
    values = {"dataset": dataset} if was_alone else {"dataset": dataset, "others": dataset_imports - 1}
    return bool(connection.scalar(_WAITS_FOR[was_alone], values))


def _waits(*, was_alone: bool) -> sa.Select[Any]:
    columns = uploads.c
    is_running = (columns.status == Status.PROCESSING) & (columns.dataset == _OF_DATASET)
    running = sa.select(sa.func.count()).where(is_running, columns.processor == Processor.WORKER).scalar_subquery()
    is_waiting = (columns.status == Status.PENDING) & (columns.processor == Processor.WORKER)
    waited = (running >= sa.bindparam("others", type_=sa.Integer)) | _is_alone | (columns.kind == REPAIR)
    return sa.select(sa.exists().where(is_waiting, columns.dataset == _OF_DATASET, sa.true() if was_alone else waited))


_OF_DATASET = sa.bindparam("dataset", type_=sa.String)
_MEANWHILE = {alone: _meanwhile(alone=alone) for alone in (False, True)}
_WAITS_FOR = {was_alone: _waits(was_alone=was_alone) for was_alone in (False, True)}


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
    matching = sa.select(uploads.c.id).where(query.where(), uploads.c.deleted_at.is_(None))
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
        uploads.c.deleted_at.is_(None),
        seen.condition(uploads.c.dataset),
    )
    rows = connection.execute(statement.order_by(uploads.c.updated_at.desc()).limit(limit)).all()
    return as_seen(connection, [Upload.from_row(row) for row in reversed(rows)], seen)


def ended_lately(connection: sa.Connection, *, limit: int, seen: View = EVERYTHING) -> list[Upload]:
    """The uploads that ended last, the last one first; of those that changed last, so that an index finds them. seen:
    what exists for whoever asks."""
    is_there = uploads.c.status.in_(TERMINAL) & uploads.c.deleted_at.is_(None)
    statement = sa.select(uploads).where(is_there, seen.condition(uploads.c.dataset))
    rows = connection.execute(statement.order_by(uploads.c.updated_at.desc()).limit(limit)).all()
    found = as_seen(connection, [Upload.from_row(row) for row in rows], seen)
    return sorted(found, key=lambda upload: (upload.finished_at or upload.updated_at, upload.id), reverse=True)


def newest_change(connection: sa.Connection) -> datetime | None:
    """The time of the latest change of any upload."""
    newest: datetime | None = connection.execute(sa.select(sa.func.max(uploads.c.updated_at))).scalar_one()
    return newest
