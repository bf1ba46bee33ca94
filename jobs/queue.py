"""The RQ queue of uploads that wait for a worker, and its status.

RQ delivers at least once, and loses jobs if Redis loses its data. Both are harmless: the claim in the database decides
which worker imports, and the sweeper enqueues pending uploads that are not in the queue.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer
from rq.utils import utcparse
from rq.worker_registration import get_keys

from jobs import disk
from jobs.uploads import Upload

log = logging.getLogger(__name__)

QUEUE = "bulk_upload"
#: A name, not the function, so that a process that enqueues does not import pandas.
JOB = "jobs.bulk_upload.run"

#: Seconds a command may take before Redis counts as unavailable. Short, because a person waits for their upload.
REDIS_TIMEOUT = 1.0
#: Seconds after which RQ stops a job: a week, because the lease is the real timeout.
JOB_TIMEOUT = 7 * 24 * 3600
#: Seconds RQ keeps a failed job; the outcome of an upload is in the database.
JOB_KEPT = 3600
#: Seconds between two heartbeats of a worker, and seconds without one after which it counts as dead.
HEARTBEAT_SECONDS = 5
GONE_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS


@dataclass(frozen=True)
class QueueStatus:
    """Waiting uploads and workers. reachable: Redis takes jobs. workers: those that are alive. position: upload id →
    pending uploads ahead of it. disk_full: no upload starts before there is room on a disk, of Redis or of this server.
    """

    reachable: bool = False
    workers: int = 0
    position: Mapping[int, int] = field(default_factory=dict)
    disk_full: bool = False


class UploadQueue:
    """The uploads that wait for a worker."""

    def __init__(self, redis_url: str, database_folder: Path | None = None) -> None:
        """database_folder: of a SQLite database. None: the database is elsewhere, and so is its disk."""
        self._database_folder = database_folder
        self._redis: Any = Redis.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),
        )
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, upload: Upload) -> None:
        """Enqueue a pending upload, unless an external script imports it.

        Never raises: if Redis does not respond, the sweeper enqueues the upload later.
        """
        if upload.is_external:
            return
        try:
            self._queue.enqueue_call(
                JOB,
                args=(upload.id,),
                timeout=JOB_TIMEOUT,
                job_id=_job_id(upload),
                result_ttl=0,
                failure_ttl=JOB_KEPT,
                description=f"upload {upload.id}, attempt {upload.attempt + 1}",
            )
        except RedisError as error:
            log.warning("Could not enqueue upload %d (%s); trying again once Redis responds.", upload.id, error)
        else:
            log.info("Enqueued upload %d for attempt %d.", upload.id, upload.attempt + 1)

    def status(self) -> QueueStatus:
        """The queue status as Redis has it now; without Redis, one that is not reachable."""
        try:
            self._redis.ping()  # refused when Redis cannot write its files; reads are not
            ids = self._queue.get_job_ids()
            position = {_upload_id(job_id): n for n, job_id in reversed([*enumerate(ids)])}
            return QueueStatus(True, self._workers_alive(), position, not self.has_room())
        except RedisError as error:
            return QueueStatus(disk_full=disk.is_full_for_redis(error) or not self.has_room())

    def has_room(self) -> bool:
        """Whether the disk of a SQLite database has room for imports."""
        return self._database_folder is None or disk.has_room(self._database_folder)

    def is_reachable(self) -> bool:
        """Whether Redis takes jobs."""
        return self.state_of_redis() == "ok"

    def state_of_redis(self) -> Literal["ok", "disk full", "unreachable"]:
        try:
            self._redis.ping()
        except RedisError as error:
            return "disk full" if disk.is_full_for_redis(error) else "unreachable"
        return "ok"

    def _workers_alive(self) -> int:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in get_keys(queue=self._queue):
                pipeline.hmget(key, "last_heartbeat", "death")
            found = pipeline.execute()
        oldest = datetime.now(UTC) - timedelta(seconds=GONE_AFTER_SECONDS)
        return sum(bool(beat and not death and utcparse(beat.decode()) > oldest) for beat, death in found)

    def close(self) -> None:
        self._redis.close()


def _job_id(upload: Upload) -> str:
    """The upload's id and the number of the attempt that the job will make."""
    return f"{upload.id}-{upload.attempt + 1}"


def upload_and_attempt(job_id: str) -> tuple[int, int]:
    """The upload of a job, and the number of the attempt that it makes."""
    upload_id, attempt = job_id.split("-")
    return int(upload_id), int(attempt)


def _upload_id(job_id: str) -> int:
    return upload_and_attempt(job_id)[0]
