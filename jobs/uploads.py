"""The upload's record and its state machine. Every function changes one record, guarded, in the caller's transaction.

A change is one statement, `UPDATE … WHERE id AND status IN (…) [AND attempt] RETURNING …`, so a claimant whose claim
was given away matches no row and writes nothing, whatever it still believes (DESIGN, sections 3 and 4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa

from jobs import failed_rows
from jobs.database import utc_now
from jobs.errors import ClaimLostError, TransitionError, UploadNotFoundError
from jobs.files import StoredFile
from jobs.history_query import ALL_UPLOADS, HistoryQuery, search_text
from jobs.import_options import ImportOptions
from jobs.tables import uploads

#: Attempts in a row that commit no row before an upload is given up.
MAX_ATTEMPTS_WITHOUT_PROGRESS = 5


class Status(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Processor(StrEnum):
    """Who imports an upload: a worker of ours, or a script outside, which reports how far it is (reports.py)."""

    WORKER = "worker"
    EXTERNAL = "external"


ACTIVE = frozenset({Status.PENDING, Status.PROCESSING})
TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True)
class Transition:
    """From which states an upload may go to which, and what that is called when it is refused.

    target: None for the state that it is in. of: whose uploads; None for everybody's.
    """

    sources: frozenset[Status]
    target: Status | None
    participle: str
    of: Processor | None = Processor.WORKER


#: The state machine, whole. What is not here cannot happen.
CLAIM = Transition(frozenset({Status.PENDING}), Status.PROCESSING, "claimed")  # by a worker, with a lease
ADVANCE = Transition(frozenset({Status.PROCESSING}), Status.PROCESSING, "advanced")  # a chunk commits, a lease renews
HAND_BACK = Transition(
    frozenset({Status.PROCESSING}), Status.PENDING, "handed back"
)  # lease over, horse dead, shutdown
COMPLETE = Transition(frozenset({Status.PROCESSING}), Status.COMPLETED, "completed")  # the file's end
FAIL = Transition(ACTIVE, Status.FAILED, "failed")  # the file cannot be read, or attempts are given up
CANCEL = Transition(
    ACTIVE, Status.CANCELLED, "cancelled", None
)  # somebody asked; who works at it learns it as it writes
RETRY = Transition(frozenset({Status.FAILED, Status.CANCELLED}), Status.PENDING, "retried", None)  # a new run begins
#: By a report of the script that imports it: it goes on, or says how it ended.
REPORT = {
    target: Transition(ACTIVE, target, "reported on", Processor.EXTERNAL)
    for target in (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
}
FALL_SILENT = Transition(ACTIVE, None, "silent", Processor.EXTERNAL)  # its script has said nothing for a while
GIVE_UP = Transition(ACTIVE, Status.FAILED, "given up", Processor.EXTERNAL)  # nor for much longer


@dataclass(frozen=True)
class Upload:
    """One row of the table `uploads` (see tables.py for what each column means)."""

    id: int
    seq: int
    attempt: int
    attempts_without_progress: int
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
    error: str | None
    notes: list[str]
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

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        values = row._asdict()
        values["status"] = Status(values["status"])
        values["processor"] = Processor(values["processor"])
        values["options"] = ImportOptions.from_json(values["options"])
        return cls(**values)

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_external(self) -> bool:
        return self.processor is Processor.EXTERNAL

    @property
    def has_file(self) -> bool:
        """Whether its file is kept here: of an external one it need not be."""
        return self.stored_as != ""

    @property
    def progress(self) -> int:
        """Percent of the file that is accounted for, by its rows if they were counted: 100 only when completed."""
        if self.status is Status.COMPLETED:
            return 100
        if self.is_external:
            return min(99, self.progress_reported or 0)
        done, total = (self.rows_processed, self.rows_total) if self.rows_total else (self.next_byte, self.bytes_total)
        return min(99, done * 100 // total) if total else 0


@dataclass(frozen=True)
class Claim:
    """The right to write for an upload, until its attempt is over. Proven again by every write."""

    upload_id: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.upload_id}-{self.attempt}"


@dataclass(frozen=True)
class Page:
    """A page of uploads, newest first. newer, older: ids to begin at, or None where there is nothing more."""

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
) -> Upload:
    """Record an upload whose file is stored, or one that is external and needs none: pending.

    dataset: one that exists, which the rows go into. dataset_wanted: the name of a new one, "" for one after the file.
    rows_total: if it is known.
    """
    statement = sa.insert(uploads).values(
        seq=1,
        attempt=0,
        attempts_without_progress=0,
        status=Status.PENDING,
        filename=file.filename,
        dataset_wanted=dataset_wanted,
        dataset=dataset,
        duplicate_of=sa.select(sa.func.max(_earlier.c.id))
        .where(_earlier.c.sha256 == file.sha256, _earlier.c.dataset == dataset, _earlier.c.rows_success > 0)
        .where(_earlier.c.sha256 != "")
        .scalar_subquery(),
        options=(options or ImportOptions()).as_json(),
        stored_as=file.stored_as,
        size=file.size,
        sha256=file.sha256,
        next_byte=0,
        rows_total=rows_total,
        rows_processed=0,
        rows_success=0,
        rows_failed=0,
        notes=[],
        counting_from=0,
        created_at=utc_now(),
        updated_at=utc_now(),
        processor=processor,
        search_text=search_text(file.filename, dataset),
    )
    return Upload.from_row(connection.execute(statement.returning(uploads)).one())


def hold(connection: sa.Connection, upload: Upload) -> Upload:
    """Do not import what was imported before, until somebody says so: a retry is all it takes."""
    earlier = get(connection, upload.duplicate_of or upload.id)
    told = (
        f"The same file was imported into “{upload.dataset}” on {earlier.created_at:%Y-%m-%d} as #{earlier.id}."
        " Nothing was imported again; import it anyway if that is meant."
    )
    return _asked(connection, CANCEL, upload.id, **_ENDED, error=told)


def claim(connection: sa.Connection, upload_id: int, *, worker: str, lease: float) -> Upload | None:
    """Take a pending upload for this worker, or None when it is no longer to be had. lease: seconds."""
    return _change(
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


def renew(connection: sa.Connection, claim: Claim, *, lease: float) -> Upload:
    """Keep the claim for another lease while nothing else is written. Raises ClaimLostError."""
    return _owned(connection, ADVANCE, claim, lease_until=utc_now(lease))


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
) -> Upload:
    """The file was understood and its dataset exists: the first row is next. Raises ClaimLostError.

    rows_total: if the whole file was looked through.
    """
    filename = connection.execute(sa.select(uploads.c.filename).where(uploads.c.id == claim.upload_id)).scalar() or ""
    return _owned(
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
        notes=notes,
        counting_since=utc_now(),
    )


def advance(connection: sa.Connection, claim: Claim, *, lease: float, good: int, bad: int, next_byte: int) -> Upload:
    """Account for a chunk, and move the checkpoint behind it. Raises ClaimLostError.

    good, bad: rows that the caller writes, and keeps as failed, in this same transaction. next_byte: where the next
    chunk begins.
    """
    return _owned(
        connection,
        ADVANCE,
        claim,
        lease_until=utc_now(lease),
        attempts_without_progress=0,
        next_byte=next_byte,
        rows_processed=uploads.c.rows_processed + good + bad,
        rows_success=uploads.c.rows_success + good,
        rows_failed=uploads.c.rows_failed + bad,
    )


def complete(connection: sa.Connection, claim: Claim) -> Upload:
    """The file's end was reached. Raises ClaimLostError."""
    return _owned(connection, COMPLETE, claim, **_ENDED, rows_total=uploads.c.rows_processed)


def fail(connection: sa.Connection, claim: Claim, error: str) -> Upload:
    """The claimant cannot go on; error: a sentence for the person who uploaded. Raises ClaimLostError."""
    return _owned(connection, FAIL, claim, **_ENDED, error=error)


def hand_back(
    connection: sa.Connection, claim: Claim, *, because: str, willingly: bool = False, expired: bool = False
) -> Upload | None:
    """The claimant is gone, or goes: pending again, or failed when attempts are used up. None: it was not its own.

    because: what happened to the claimant, for the person. willingly: this attempt does not count among the barren
    ones. expired: only if its lease is over still, when the statement runs.
    """
    lease = uploads.c.lease_until < utc_now() if expired else sa.true()
    if willingly:
        spared = sa.case((uploads.c.attempts_without_progress > 0, uploads.c.attempts_without_progress - 1), else_=0)
        return _change(
            connection, HAND_BACK, claim.upload_id, claim.attempt, lease, **_UNCLAIMED, attempts_without_progress=spared
        )
    given_up = uploads.c.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS
    error = f"Stopped after {MAX_ATTEMPTS_WITHOUT_PROGRESS} attempts without progress. The last time, {because}."
    return _change(
        connection, FAIL, claim.upload_id, claim.attempt, lease & given_up, **_ENDED, error=error
    ) or _change(connection, HAND_BACK, claim.upload_id, claim.attempt, lease, **_UNCLAIMED)


def cancel(connection: sa.Connection, upload_id: int) -> Upload:
    """Stop for good; rows that are in stay in. Raises UploadNotFoundError, TransitionError."""
    return _asked(connection, CANCEL, upload_id, **_ENDED)


def retry(connection: sa.Connection, upload_id: int) -> Upload:
    """Begin a new run: behind the last chunk that was committed, or from the start if no row ever succeeded.

    An external one waits for the reports of a script that begins anew, and that says itself from where.

    Raises UploadNotFoundError, TransitionError.
    """
    upload = _asked(
        connection, RETRY, upload_id, error=None, finished_at=None, attempts_without_progress=0, **_UNCLAIMED
    )
    if not upload.is_external and (upload.rows_success or not upload.rows_failed):
        return upload
    failed_rows.forget(connection, upload_id)
    restarted = sa.update(uploads).where(uploads.c.id == upload_id)
    values = {"next_byte": 0, "rows_processed": 0, "rows_success": 0, "rows_failed": 0, "progress_reported": None}
    return Upload.from_row(connection.execute(restarted.values(values).returning(uploads)).one())


def locked(connection: sa.Connection, upload_ids: Iterable[int]) -> dict[int, Upload]:
    """Those of these uploads that exist, by id. Nobody else changes them before this transaction ends."""
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
    """What the script of an external upload says of it, which was found to fit to `upload` (reports.py).

    The first report of a run begins an attempt. Raises TransitionError if the upload is not as it was.
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
    return reported


def silent(connection: sa.Connection, *, for_seconds: float) -> list[Upload]:
    """External uploads that are active and of which nothing was heard for so many seconds, oldest first."""
    statement = sa.select(uploads).where(
        uploads.c.processor == Processor.EXTERNAL, uploads.c.status.in_(ACTIVE), _heard < utc_now(-for_seconds)
    )
    return [Upload.from_row(row) for row in connection.execute(statement.order_by(uploads.c.id))]


def fall_silent(connection: sa.Connection, upload_id: int, *, for_seconds: float) -> Upload | None:
    """Note since when nothing was heard of an external upload. None: something was, or it is noted already."""
    unnoted = uploads.c.silent_since.is_(None) & (_heard < utc_now(-for_seconds))
    return _change(connection, FALL_SILENT, upload_id, None, unnoted, silent_since=uploads.c.updated_at)


def give_up(connection: sa.Connection, upload_id: int, *, for_seconds: float, error: str) -> Upload | None:
    """Fail an external upload of which nothing was heard for so many seconds. None: something was by now."""
    return _change(connection, GIVE_UP, upload_id, None, _heard < utc_now(-for_seconds), **_ENDED, error=error)


_earlier = uploads.alias("earlier")

#: When anything was heard of an external upload last: each change of it is a word, but the note that none comes.
_heard = sa.func.coalesce(uploads.c.silent_since, uploads.c.updated_at)

_UNCLAIMED: Mapping[str, Any] = {"worker": None, "lease_until": None, "silent_since": None}
_ENDED: Mapping[str, Any] = {**_UNCLAIMED, "finished_at": utc_now()}


def _change(
    connection: sa.Connection,
    transition: Transition,
    upload_id: int,
    held_by: int | None = None,
    *conditions: sa.ColumnElement[bool],
    **values: Any,
) -> Upload | None:
    """The one guarded statement. held_by: the attempt that must have the claim, if any must.

    None: the upload is not in a state, or not in the attempt, that allows it.
    """
    statement = sa.update(uploads).where(
        uploads.c.id == upload_id, uploads.c.status.in_(transition.sources), *conditions
    )
    if held_by is not None:
        statement = statement.where(uploads.c.attempt == held_by)
    if transition.of is not None:
        statement = statement.where(uploads.c.processor == transition.of)
    if transition.target is not None:
        values["status"] = transition.target
    statement = statement.values(seq=uploads.c.seq + 1, updated_at=utc_now(), **values)
    row = connection.execute(statement.returning(uploads)).one_or_none()
    return None if row is None else Upload.from_row(row)


def _owned(connection: sa.Connection, transition: Transition, claim: Claim, **values: Any) -> Upload:
    upload = _change(connection, transition, claim.upload_id, claim.attempt, **values)
    if upload is None:
        raise ClaimLostError(f"Upload #{claim.upload_id} is no longer with attempt {claim.attempt}.")
    return upload


def _asked(connection: sa.Connection, transition: Transition, upload_id: int, **values: Any) -> Upload:
    upload = _change(connection, transition, upload_id, **values)
    if upload is None:
        raise TransitionError(upload_id, get(connection, upload_id).status, transition.participle)
    return upload


def get(connection: sa.Connection, upload_id: int) -> Upload:
    """Raises UploadNotFoundError."""
    row = connection.execute(sa.select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    if row is None:
        raise UploadNotFoundError(upload_id)
    return Upload.from_row(row)


def among(connection: sa.Connection, upload_ids: Iterable[int]) -> list[Upload]:
    """Those of these uploads that exist, oldest first."""
    statement = sa.select(uploads).where(uploads.c.id.in_(list(upload_ids))).order_by(uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def active(connection: sa.Connection) -> list[Upload]:
    """All uploads that are not at an end, oldest first."""
    statement = sa.select(uploads).where(uploads.c.status.in_(ACTIVE)).order_by(uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def changed_since(connection: sa.Connection, moment: datetime) -> list[Upload]:
    """Uploads that are active, or changed at or after a moment; in the order of their changes."""
    condition = uploads.c.status.in_(ACTIVE) | (uploads.c.updated_at >= moment)
    statement = sa.select(uploads).where(condition).order_by(uploads.c.updated_at, uploads.c.id)
    return [Upload.from_row(row) for row in connection.execute(statement)]


def changed_lately(connection: sa.Connection, seconds: float) -> list[Upload]:
    """Uploads that are active, or changed in the last so many seconds by the database's clock."""
    condition = uploads.c.status.in_(ACTIVE) | (uploads.c.updated_at >= utc_now(-seconds))
    return [
        Upload.from_row(row) for row in connection.execute(sa.select(uploads).where(condition).order_by(uploads.c.id))
    ]


def abandoned(connection: sa.Connection) -> list[Upload]:
    """Uploads in process whose lease is over: their worker is dead, frozen, or cut off from the database."""
    statement = sa.select(uploads).where(uploads.c.status == Status.PROCESSING, uploads.c.lease_until < utc_now())
    return [Upload.from_row(row) for row in connection.execute(statement)]


def waiting(connection: sa.Connection, *, for_seconds: float = 0) -> list[Upload]:
    """Pending uploads that wait for a worker and have not changed for so many seconds, oldest first."""
    condition = sa.and_(
        uploads.c.status == Status.PENDING,
        uploads.c.processor == Processor.WORKER,
        uploads.c.updated_at <= utc_now(-for_seconds),
    )
    return [
        Upload.from_row(row) for row in connection.execute(sa.select(uploads).where(condition).order_by(uploads.c.id))
    ]


def page(
    connection: sa.Connection, query: HistoryQuery = ALL_UPLOADS, *, limit: int, cursor: int | None = None
) -> Page:
    """Uploads that the query finds, with an id up to `cursor`, newest first."""
    statement = sa.select(uploads).where(query.where()).order_by(uploads.c.id.desc())
    upto = statement if cursor is None else statement.where(uploads.c.id <= cursor)
    found = [Upload.from_row(row) for row in connection.execute(upto.limit(limit + 1))]
    newer = _newer(connection, statement, limit, cursor) if cursor is not None else None
    return Page(found[:limit], newer, found[limit].id if len(found) > limit else None)


def _newer(connection: sa.Connection, statement: sa.Select[Any], limit: int, cursor: int) -> int | None:
    """The id at which the page before this one begins."""
    above = statement.where(uploads.c.id > cursor).order_by(None).order_by(uploads.c.id.asc()).limit(limit)
    ids = [row.id for row in connection.execute(above)]
    return ids[-1] if ids else None


def ended_since(connection: sa.Connection, moment: datetime, *, limit: int) -> list[Upload]:
    """The last uploads that came to an end after a moment, in that order."""
    statement = sa.select(uploads).where(uploads.c.status.in_(TERMINAL), uploads.c.updated_at > moment)
    rows = connection.execute(statement.order_by(uploads.c.updated_at.desc()).limit(limit)).all()
    return [Upload.from_row(row) for row in reversed(rows)]


def newest_change(connection: sa.Connection) -> datetime | None:
    """When any upload changed last."""
    newest: datetime | None = connection.execute(sa.select(sa.func.max(uploads.c.updated_at))).scalar_one()
    return newest
