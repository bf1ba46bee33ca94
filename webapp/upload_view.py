"""An upload as pages show it: its record, and the numbers and words that are made from it."""

from collections.abc import Sequence
from typing import Any

from jobs.failed_rows import FailedRow, FailureCount
from jobs.queue import QueueStatus
from jobs.uploads import Status, Upload
from webapp.templating import duration

_LABELS = {
    Status.PENDING: ("Pending", "pending"),
    Status.PROCESSING: ("Processing", "active"),
    Status.COMPLETED: ("Completed", "good"),
    Status.FAILED: ("Failed", "bad"),
    Status.CANCELLED: ("Cancelled", "muted"),
}


class UploadView:
    """An upload as people see it: its record, and the numbers and words that are made from it.

    Attributes of the record are there under their own names. Rates are rows a second.
    """

    def __init__(
        self,
        upload: Upload,
        queue_status: QueueStatus,
        failed_sample: Sequence[FailedRow] = (),
        failure_counts: Sequence[FailureCount] = (),
    ) -> None:
        self._upload = upload
        self.failure_counts = failure_counts
        self.waiting = _waiting(upload, queue_status)
        self.failed_sample = failed_sample
        self.label, self.tone = _LABELS[upload.status]
        if upload.status is Status.COMPLETED and upload.rows_failed:
            self.label, self.tone = "Completed with errors", "warn"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

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
    def is_learning(self) -> bool:
        """Whether a worker looks through the file before the first row goes in."""
        upload = self._upload
        is_ours = upload.status is Status.PROCESSING and not upload.is_external
        return is_ours and upload.rows_total is None and not upload.rows_processed

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to say that importing it again is meant."""
        upload = self._upload
        return upload.status is Status.CANCELLED and upload.duplicate_of is not None and not upload.attempt

    @property
    def rate(self) -> int | None:
        """Of this attempt, up to its last state; None until there is enough to tell."""
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


def _waiting(upload: Upload, queue_status: QueueStatus) -> str | None:
    """Why a pending upload has not begun, as far as is known."""
    if upload.status is not Status.PENDING:
        return None
    if upload.is_external:
        return "waiting for its script"
    if not queue_status.reachable:
        return "waiting: the queue cannot be reached"
    if not queue_status.workers:
        return "no worker is running"
    ahead = queue_status.position.get(upload.id, 0)
    return f"{ahead:,} ahead of it" if ahead else "next in line"
