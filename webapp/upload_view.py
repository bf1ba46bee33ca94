"""An upload as pages show it: its record, with labels and derived numbers."""

from collections.abc import Sequence
from typing import Any

from jobs.excerpt import excerpt
from jobs.failed_rows import FailedRowExcerpt, FailureCount
from jobs.queue import QueueStatus
from jobs.uploads import Status, Upload
from webapp.cells import Cell, fitting
from webapp.templating import duration

#: Characters of an error, and of the reasons of a failed row.
ERROR_LENGTH, REASONS_LENGTH = 2_000, 600
#: Bytes of HTML for the cells of one failed row: 20 such rows take less than half of a megabyte.
FAILED_ROW_BYTES = 20_000
#: Bytes of HTML for cells above which a page is rendered in a thread: it takes more than a millisecond.
LARGE_BYTES = 50_000

_LABELS = {
    Status.PENDING: ("Pending", "pending"),
    Status.PROCESSING: ("Processing", "active"),
    Status.COMPLETED: ("Completed", "good"),
    Status.FAILED: ("Failed", "bad"),
    Status.CANCELLED: ("Cancelled", "muted"),
}


class UploadView:
    """An upload's record, with labels and derived numbers.

    The record's attributes keep their names. Rates are rows per second.
    """

    def __init__(
        self,
        upload: Upload,
        queue_status: QueueStatus,
        failed_sample: Sequence[FailedRowExcerpt] = (),
        failure_counts: Sequence[FailureCount] = (),
    ) -> None:
        self._upload = upload
        self.failure_counts = failure_counts
        self.waiting, self.waiting_advice = _waiting(upload, queue_status)
        self.failed_sample = [FailedRowView(upload, row) for row in failed_sample]
        self.label, self.tone = _LABELS[upload.status]
        if upload.status is Status.COMPLETED and upload.rows_failed:
            self.label, self.tone = "Completed with failed rows", "warn"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    @property
    def error(self) -> str | None:
        return self._upload.error and excerpt(self._upload.error, ERROR_LENGTH)

    @property
    def notes(self) -> list[str]:
        return self._upload.notes_shown

    @property
    def is_large(self) -> bool:
        """Whether its page takes long to render."""
        return sum(row.html_bytes for row in self.failed_sample) > LARGE_BYTES

    @property
    def is_terminal(self) -> bool:
        return not self._upload.is_active

    @property
    def can_cancel(self) -> bool:
        return self._upload.is_active

    @property
    def can_retry(self) -> bool:
        return self._upload.status in (Status.FAILED, Status.CANCELLED)

    @property
    def is_inferring(self) -> bool:
        """Whether a worker profiles the file before it imports the first row."""
        upload = self._upload
        by_worker = upload.status is Status.PROCESSING and not upload.is_external
        return by_worker and upload.rows_total is None and not upload.rows_processed

    @property
    def is_held(self) -> bool:
        """Whether a duplicate file waits for a person to confirm the import."""
        upload = self._upload
        return upload.status is Status.CANCELLED and upload.duplicate_of is not None and not upload.attempt

    @property
    def rate(self) -> int | None:
        """Of this attempt, up to its last state. None until 0.2 s and one row have passed."""
        upload = self._upload
        if upload.status is not Status.PROCESSING or upload.counting_since is None:
            return None
        seconds = (upload.updated_at - upload.counting_since).total_seconds()
        rows = upload.rows_processed - upload.counting_from
        return round(rows / seconds) if seconds >= 0.2 and rows else None

    @property
    def time_left(self) -> str | None:
        rate = self.rate
        if not rate or self._upload.rows_total is None:
            return None
        return duration((self._upload.rows_total - self._upload.rows_processed) / rate)

    @property
    def elapsed(self) -> str | None:
        seconds = self._seconds()
        return None if seconds is None else duration(seconds)

    @property
    def average_rate(self) -> int | None:
        seconds = self._seconds()
        return round(self._upload.rows_processed / seconds) if seconds and self._upload.rows_processed else None

    def _seconds(self) -> float | None:
        upload = self._upload
        if upload.started_at is None:
            return None
        return ((upload.finished_at or upload.updated_at) - upload.started_at).total_seconds()


class FailedRowView:
    """A failed row, with as many of its cells as a page has room for. url: of the whole row."""

    def __init__(self, upload: Upload, row: FailedRowExcerpt) -> None:
        self.row_number = row.row_number
        self.line = row.row_number if row.line is None else row.line
        self.url = f"/uploads/{upload.id}/failed-rows/{row.row_number}"
        self.reasons = excerpt(row.sentence, REASONS_LENGTH)
        self.more_reasons = _more(row.more_reasons, 0)
        names = [*(upload.header or []), *[""] * len(row.cells)]
        cells = (Cell.of(text, name, self.url) for text, name in zip(row.cells, names, strict=False))
        self.cells = fitting(cells, FAILED_ROW_BYTES)
        self.more_cells = _more(row.more_cells, len(row.cells) - len(self.cells))

    @property
    def html_bytes(self) -> int:
        return sum(cell.html_bytes for cell in self.cells)


def _more(following: int | None, left_out: int) -> str:
    """For people: how many are not shown; "" if there are none. following: None if it is unknown."""
    if following is None:
        return "and more"
    return f"and {following + left_out:,} more" if following + left_out else ""


def _waiting(upload: Upload, queue_status: QueueStatus) -> tuple[str | None, str | None]:
    """Why a pending upload has not started, and a sentence that says what to do about it."""
    if upload.status is not Status.PENDING:
        return None, None
    if upload.is_external:
        return "Waiting for the external script", None
    if queue_status.disk_full:
        return "Disk full", "The import starts automatically once your administrator has freed space on the server."
    if not queue_status.reachable:
        return "Queue unavailable", "The import starts automatically when the queue is available again."
    if not queue_status.workers:
        return "No worker is running", "Ask your administrator to start one."
    ahead = queue_status.position.get(upload.id, 0)
    return f"Queued: {ahead:,} ahead" if ahead else "Queued: next", None
