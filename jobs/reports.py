"""Reports of external scripts on their uploads: parsed, checked against the state machine, and recorded."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from jobs import uploads
from jobs.errors import ReportError, TransitionError, UploadNotFoundError
from jobs.uploads import Status, Upload

#: The most rows of an upload: far more than any file has, and sums still fit into the database.
MAX_ROWS = 10**15
#: The most characters of an error.
MAX_ERROR = 4_000

EventName = Literal["bulk_upload_progress", "bulk_upload_complete", "bulk_upload_error", "bulk_upload_cancelled"]
Rows = Annotated[int, Field(ge=0, le=MAX_ROWS)]

#: The state that each event leads to.
_TARGETS: dict[str, Status] = {
    "bulk_upload_progress": Status.PROCESSING,
    "bulk_upload_complete": Status.COMPLETED,
    "bulk_upload_error": Status.FAILED,
    "bulk_upload_cancelled": Status.CANCELLED,
}

#: Why a report was rejected.
Refusal = UploadNotFoundError | TransitionError | ReportError


class Report(BaseModel):
    """One report. A field that is left out keeps its value; a count that follows from the other two may be left out.

    A script may send a whole event (events.Event): the fields that the server sets itself are ignored.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    file_id: Annotated[int, Field(ge=1, lt=2**63)]
    event: EventName
    #: If given, it must be the status that the event leads to.
    status: str | None = None
    #: The attempt that this report is about, from the response to its first report; any other one is rejected.
    attempt: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    #: Percent; the default is rows_processed of rows_total.
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    rows_total: Rows | None = None
    rows_success: Rows | None = None
    rows_failed: Rows | None = None
    rows_processed: Rows | None = None
    #: A sentence for people: required for bulk_upload_error, optional for bulk_upload_cancelled.
    error: Annotated[str, Field(max_length=MAX_ERROR)] | None = Field(default=None, validate_default=True)
    seq: Any = None
    filename: Any = None
    dataset: Any = None
    timestamp: Any = None

    @property
    def target(self) -> Status:
        return _TARGETS[self.event]

    @field_validator("status")
    @classmethod
    def _matches_event(cls, value: str | None, info: ValidationInfo) -> str | None:
        event = info.data.get("event")
        if value is not None and event is not None and value != _TARGETS[event]:
            raise ValueError(f"{event} leads to {_TARGETS[event]}")
        return value

    @field_validator("rows_processed")
    @classmethod
    def _check_sum(cls, value: int | None, info: ValidationInfo) -> int | None:
        success, failed = info.data.get("rows_success"), info.data.get("rows_failed")
        if value is None:
            return value
        if success is not None and failed is not None and value != success + failed:
            raise ValueError(f"rows_success + rows_failed is {success + failed}")
        if value < (success or 0) + (failed or 0):
            raise ValueError("is less than rows_success + rows_failed")
        return value

    @field_validator("error")
    @classmethod
    def _check_error(cls, value: str | None, info: ValidationInfo) -> str | None:
        event = info.data.get("event")
        sentence = _printable(value or "")
        if event == "bulk_upload_error" and not sentence:
            raise ValueError("bulk_upload_error needs a sentence that says why the import failed")
        if event in ("bulk_upload_progress", "bulk_upload_complete") and sentence:
            raise ValueError(f"{event} cannot have an error: send bulk_upload_error if the import failed")
        return sentence or None


def _printable(text: str) -> str:
    """The text without control characters, bidirectional marks and what cannot be stored; line ends stay."""
    return "".join(character for character in text if character.isprintable() or character == "\n").strip()


def record(
    connection: sa.Connection, reports: Sequence[Report], may_report: Callable[[Upload], bool] = lambda _: True
) -> list[Upload | Refusal]:
    """For each report, its upload as changed, or why it was rejected. A rejected report does not affect the others.

    may_report: whether whoever sends the reports may do so on an upload; other uploads do not exist for it.
    """
    known = uploads.lock(connection, {report.file_id for report in reports})
    outcomes: list[Upload | Refusal] = []
    for report in reports:
        try:
            upload = known.get(report.file_id)
            if upload is not None and upload.is_external and not may_report(upload):
                raise UploadNotFoundError(report.file_id)
            known[report.file_id] = _record(connection, upload, report)
        except (UploadNotFoundError, TransitionError, ReportError) as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(known[report.file_id])
    return outcomes


def _record(connection: sa.Connection, upload: Upload | None, report: Report) -> Upload:
    """Raises UploadNotFoundError, TransitionError, ReportError."""
    if upload is None:
        raise UploadNotFoundError(report.file_id)
    _check_accepts(upload, report)
    success, failed = _counts(upload, report)
    total = upload.rows_total if report.rows_total is None else report.rows_total
    progress = _progress(upload, report, success + failed, total)
    _check_counts(upload, report.target, success, failed, total)
    return uploads.report(
        connection,
        upload,
        report.target,
        rows_total=total,
        rows_success=success,
        rows_failed=failed,
        progress=progress,
        error=report.error,
    )


def _check_accepts(upload: Upload, report: Report) -> None:
    """Raises ReportError or TransitionError if the upload accepts no report, or none on this attempt."""
    if not upload.is_external:
        raise ReportError(
            upload.id,
            "is imported by a worker of this server. Reports are accepted only for uploads created with"
            " processor=external.",
        )
    if not upload.is_active:
        raise TransitionError(upload.id, upload.status, "reported on")
    current = upload.attempt + (upload.status is Status.PENDING)
    if report.attempt not in (None, current):
        raise ReportError(upload.id, f"is in attempt {current}, but the report is about attempt {report.attempt}.")


def _counts(upload: Upload, report: Report) -> tuple[int, int]:
    """Rows that succeeded and rows that failed, from the counts in the report."""
    success, failed = report.rows_success, report.rows_failed
    if report.rows_processed is not None:
        if failed is None:
            failed = upload.rows_failed if success is None else report.rows_processed - success
        if success is None:
            success = report.rows_processed - failed
    return upload.rows_success if success is None else success, upload.rows_failed if failed is None else failed


def _check_counts(upload: Upload, target: Status, success: int, failed: int, total: int | None) -> None:
    processed = success + failed
    for name, before, now in (
        ("rows_processed", upload.rows_processed, processed),
        ("rows_success", upload.rows_success, success),
        ("rows_failed", upload.rows_failed, failed),
    ):
        if now < before:
            raise ReportError(
                upload.id, f"cannot go backwards: its {name} is already {before:,}, more than {max(now, 0):,}."
            )
    if total is not None and processed > total:
        raise ReportError(upload.id, f"cannot have {processed:,} rows processed: its rows_total is {total:,}.")
    if target is Status.COMPLETED and total is not None and processed < total:
        raise ReportError(
            upload.id,
            f"is not complete: {processed:,} of its {total:,} rows are processed. Send the final counts with"
            " bulk_upload_complete, and rows_total if it changed.",
        )


def _progress(upload: Upload, report: Report, processed: int, total: int | None) -> int:
    """Percent. Raises ReportError if the report lowers it; a percentage computed from the rows never falls."""
    before = upload.progress_reported or 0
    if report.progress is not None:
        if report.progress < before:
            raise ReportError(
                upload.id, f"cannot go backwards: its progress is already {before}, more than {report.progress}."
            )
        return report.progress
    return max(before, processed * 100 // total) if total else before
