"""Events: the whole public state of an upload, published on two Redis channels after it is committed.

Every event goes to both channels: `bulk_upload`, which feeds the history, and `bulk_upload:<id>`, which feeds the
upload's page. Redis keeps no event for subscribers that miss it, so the database remains the source of truth.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.uploads import Hold, Status, Upload, without_names
from jobs.warnings import UploadWarning

log = logging.getLogger(__name__)

GENERAL_CHANNEL = "bulk_upload"

#: Seconds between two progress events of one upload: four per second look fluid and cost little.
PROGRESS_INTERVAL = 0.25

#: Seconds a publish may take before the import continues without it.
PUBLISH_TIMEOUT = 1.0

_NAMES = {
    Status.PENDING: "bulk_upload_progress",
    Status.PROCESSING: "bulk_upload_progress",
    Status.HELD: "bulk_upload_progress",
    Status.COMPLETED: "bulk_upload_complete",
    Status.FAILED: "bulk_upload_error",
    Status.CANCELLED: "bulk_upload_cancelled",
}


def channel_of(upload_id: int) -> str:
    """The channel of one upload."""
    return f"{GENERAL_CHANNEL}:{upload_id}"


def channels(upload_id: int) -> tuple[str, str]:
    """Both channels of the events of an upload."""
    return GENERAL_CHANNEL, channel_of(upload_id)


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: 2026-01-31T09:00:00.000000Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Event:
    """The public state of an upload. progress: percent. timestamp: when the state was written. created_at: when the
    file was received; "" in an event of an earlier release."""

    event: str
    file_id: int
    seq: int
    attempt: int
    filename: str
    dataset: str | None
    status: str
    progress: int
    rows_total: int | None
    rows_processed: int
    rows_success: int
    rows_failed: int
    error: str | None
    timestamp: str
    warnings: list[UploadWarning] = field(default_factory=list)
    rows_corrected: int = 0
    rows_open: int = 0
    created_at: str = ""
    uploaded_by: str | None = None
    phase: str = "import"
    kind: str = "import"
    hold: list[Hold] = field(default_factory=list)
    rows_unchanged: int = 0
    undone_by: int | None = None

    @classmethod
    def from_upload(cls, upload: Upload) -> Self:
        return cls(
            event=_NAMES[upload.status],
            file_id=upload.id,
            seq=upload.seq,
            attempt=upload.attempt,
            filename=upload.filename,
            dataset=upload.dataset,
            status=upload.status,
            progress=upload.progress,
            rows_total=upload.rows_total,
            rows_processed=upload.rows_processed,
            rows_success=upload.rows_success,
            rows_failed=upload.rows_failed,
            error=upload.error,
            timestamp=timestamp(upload.updated_at),
            warnings=upload.warnings,
            rows_corrected=upload.rows_corrected,
            rows_open=upload.rows_open,
            created_at=timestamp(upload.created_at),
            uploaded_by=upload.uploaded_by,
            phase=upload.phase,
            kind=upload.kind,
            hold=upload.hold,
            rows_unchanged=upload.rows_unchanged or 0,
            undone_by=upload.undone_by,
        )

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """Raises ValueError or TypeError if the data is not an event."""
        return cls(**json.loads(data))

    def without_names(self) -> Self:
        """For clients that may not know of all uploads: a duplicate does not say of which one."""
        return replace(self, hold=without_names(self.hold)) if self.hold else self

    @property
    def is_terminal(self) -> bool:
        return self.event != "bulk_upload_progress"

    @property
    def is_over(self) -> bool:
        """Whether nothing follows until a person does something."""
        return self.is_terminal or self.status == Status.HELD

    def json(self) -> str:
        return json.dumps(self.__dict__, ensure_ascii=False, separators=(",", ":"))


class Publisher:
    """Publishes events on both channels of an upload, through a connection of its own with short timeouts."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = Redis.from_url(
            redis_url,
            socket_timeout=PUBLISH_TIMEOUT,
            socket_connect_timeout=PUBLISH_TIMEOUT,
            retry=Retry(NoBackoff(), 1),
            driver_info=None,  # not to be told to Redis, and not looked up in each work horse
        )
        #: Events that this process could not publish.
        self.failures = 0

    def publish(self, upload: Upload) -> None:
        """Publish the state that was just committed. Never raises: pages read what they miss from the database."""
        event = Event.from_upload(upload)
        data = event.json()
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for channel in channels(upload.id):
                    pipeline.publish(channel, data)
                pipeline.execute()
        except RedisError as error:
            self.failures += 1
            log.warning(
                "Could not publish %s seq %d for upload %d to %s (%s); open pages read it from the database.",
                event.event, event.seq, event.file_id, ", ".join(channels(upload.id)), error,
            )  # fmt: skip
        else:
            log.info(
                "Published %s seq %d for upload %d to %s.",
                event.event, event.seq, event.file_id, ", ".join(channels(upload.id)),
            )  # fmt: skip

    def close(self) -> None:
        self._redis.close()


T = TypeVar("T")


class Ticker(Generic[T]):
    """Calls back with the latest of many values, at most once per interval; `flush` calls back at once."""

    def __init__(
        self,
        callback: Callable[[T], None],
        interval: float = PROGRESS_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_once: bool = True,
    ) -> None:
        """interval: seconds. at_once: whether the first value is not delayed."""
        self._callback = callback
        self._interval = interval
        self._clock = clock
        self._last: float | None = None if at_once else clock()
        self._pending: T | None = None

    def tick(self, value: T) -> None:
        self._pending = value
        if self._last is None or self._clock() - self._last >= self._interval:
            self.flush()

    def flush(self) -> None:
        if self._pending is not None:
            value, self._pending = self._pending, None
            self._last = self._clock()
            self._callback(value)
