"""What a script outside says of the upload that it imports: read, checked against the state machine, recorded."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from jobs import uploads
from jobs.errors import ReportError, TransitionError, UploadNotFoundError
from jobs.uploads import Status, Upload

#: Rows that an upload may have: far more than any has, and sums of it still fit into the database.
MAX_ROWS = 10**15
#: Characters that an error may have.
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

#: Why a report was not recorded.
Refusal = UploadNotFoundError | TransitionError | ReportError


class Report(BaseModel):
    """One report. What is left out stays as it is; of the three counts, any that follows from the others may be.

    Whoever has a whole event at hand (events.Event) may send that: what the server knows better is not looked at.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    file_id: Annotated[int, Field(ge=1, lt=2**63)]
    event: EventName
    #: Must be the one that the event leads to.
    status: str | None = None
    #: The attempt that is reported on, as the answer to its first report said; another one's is refused.
    attempt: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    #: Percent; without it, rows_processed of rows_total.
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    rows_total: Rows | None = None
    rows_success: Rows | None = None
    rows_failed: Rows | None = None
    rows_processed: Rows | None = None
    #: A sentence for people, which bulk_upload_error must have and bulk_upload_cancelled may have.
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
    def _of_the_event(cls, value: str | None, info: ValidationInfo) -> str | None:
        event = info.data.get("event")
        if value is not None and event is not None and value != _TARGETS[event]:
            raise ValueError(f"{event} leads to {_TARGETS[event]}")
        return value

    @field_validator("rows_processed")
    @classmethod
    def _sum(cls, value: int | None, info: ValidationInfo) -> int | None:
        success, failed = info.data.get("rows_success"), info.data.get("rows_failed")
        if value is None:
            return value
        if success is not None and failed is not None and value != success + failed:
            raise ValueError(f"rows_success + rows_failed is {success + failed}")
        if value < (success or 0) + (failed or 0):
            raise ValueError("is less than the rows it is made of")
        return value

    @field_validator("error")
    @classmethod
    def _sentence(cls, value: str | None, info: ValidationInfo) -> str | None:
        event = info.data.get("event")
        sentence = _printable(value or "")
        if event == "bulk_upload_error" and not sentence:
            raise ValueError("bulk_upload_error needs a sentence that says why it failed")
        if event in ("bulk_upload_progress", "bulk_upload_complete") and sentence:
            raise ValueError(f"{event} has none: send bulk_upload_error if it failed")
        return sentence or None


def _printable(text: str) -> str:
    """Without what steers a terminal, turns a line around or cannot be stored; line ends stay."""
    return "".join(character for character in text if character.isprintable() or character == "\n").strip()


def record(connection: sa.Connection, reports: Sequence[Report]) -> list[Upload | Refusal]:
    """Each report's upload as it is then, or why it stays as it was. A refused report keeps no other one back."""
    known = uploads.locked(connection, {report.file_id for report in reports})
    outcomes: list[Upload | Refusal] = []
    for report in reports:
        try:
            known[report.file_id] = _record(connection, known.get(report.file_id), report)
        except (UploadNotFoundError, TransitionError, ReportError) as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(known[report.file_id])
    return outcomes


def _record(connection: sa.Connection, upload: Upload | None, report: Report) -> Upload:
    """Raises UploadNotFoundError, TransitionError, ReportError."""
    if upload is None:
        raise UploadNotFoundError(report.file_id)
    _check_turn(upload, report)
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


def _check_turn(upload: Upload, report: Report) -> None:
    """That this script may speak about the upload now."""
    if not upload.is_external:
        raise ReportError(
            upload.id,
            "is imported by a worker here. Reports are taken only of uploads that were made with the processor"
            " “external”.",
        )
    if not upload.is_active:
        raise TransitionError(upload.id, upload.status, "reported on")
    current = upload.attempt + (upload.status is Status.PENDING)
    if report.attempt not in (None, current):
        raise ReportError(upload.id, f"is in attempt {current}, and the report is about attempt {report.attempt}.")


def _counts(upload: Upload, report: Report) -> tuple[int, int]:
    """Rows that succeeded and rows that failed, from what is said of either, or of their sum."""
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
            raise ReportError(upload.id, f"cannot go backwards: its {name} is {before:,} already, not {max(now, 0):,}.")
    if total is not None and processed > total:
        raise ReportError(upload.id, f"cannot have {processed:,} rows processed: its rows_total is {total:,}.")
    if target is Status.COMPLETED and total is not None and processed < total:
        raise ReportError(
            upload.id,
            f"is not complete: {processed:,} of its {total:,} rows are accounted for. Send the last counts with"
            " bulk_upload_complete, and rows_total if it is another one.",
        )


def _progress(upload: Upload, report: Report, processed: int, total: int | None) -> int:
    """Percent. Raises ReportError when it is said to fall; what follows from the rows just does not."""
    before = upload.progress_reported or 0
    if report.progress is not None:
        if report.progress < before:
            raise ReportError(
                upload.id, f"cannot go backwards: its progress is {before} already, not {report.progress}."
            )
        return report.progress
    return max(before, processed * 100 // total) if total else before
