"""The RQ queues: doorbells that wake a worker for an upload that waits, one queue for each lane; and their status.

A job in a queue says that an upload of the lane waits. It does not say which one the worker imports: the worker asks
the database whose turn it is (uploads.claim_next). RQ delivers at least once, and loses jobs if Redis loses its data.
Both are harmless: one job too many finds nothing to do, and the sweeper rings again for uploads that nobody was woken
for.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import utcparse
from rq.worker_registration import get_keys

from jobs import questions
from jobs.forecast import Place, Workers
from jobs.lanes import Lane
from jobs.process import disk
from jobs.uploads import Upload, Waiting

log = logging.getLogger(__name__)

#: The queue of each lane. The workers of earlier releases take all uploads from the first.
QUEUES: Mapping[Lane, str] = {Lane.BULK: "bulk_upload", Lane.QUICK: "bulk_upload_quick"}
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
#: Where a worker notes its release, among what RQ notes of it.
VERSION_FIELD = "bulk_upload_version"
#: Jobs that are added at once for uploads that nobody was woken for: enough for any number of workers.
MOST_RINGS = 100


@dataclass(frozen=True)
class QueueStatus:
    """Waiting uploads and workers. reachable: Redis takes jobs. workers: those that are alive. places: of the uploads
    that wait, by id. disk_full: no upload starts before there is room on a disk, of Redis or of this server.
    """

    reachable: bool = False
    workers: Workers = Workers()  # noqa: RUF009  # it is frozen
    places: Mapping[int, Place] = field(default_factory=dict)
    disk_full: bool = False


class UploadQueue:
    """The doorbells of the uploads that wait for a worker."""

    def __init__(self, redis_url: str, database_folder: Path | None = None) -> None:
        """database_folder: of a SQLite database. None: the database is elsewhere, and so is its disk."""
        self._database_folder = database_folder
        self._redis: Any = Redis.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),
            driver_info=None,  # as in events.py
        )
        self._queues = {
            lane: Queue(name, connection=self._redis, serializer=JSONSerializer) for lane, name in QUEUES.items()
        }

        self._questions = Queue(questions.QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, upload: Upload) -> None:
        """Wake a worker for a pending upload, unless an external script imports it.

        Never raises: if Redis does not respond, the sweeper rings again later.
        """
        if upload.lane is None:
            return
        try:
            self._ring(upload.lane, upload.id)
        except RedisError as error:
            log.warning("Could not enqueue upload %d (%s); trying again once Redis responds.", upload.id, error)
        else:
            log.info("Enqueued upload %d for attempt %d.", upload.id, upload.attempt + 1)

    def enqueue_missing(self, waiting: Mapping[Lane, Waiting]) -> dict[Lane, int]:
        """Wake workers for uploads that could start, as far as no job in the queue does so already. Returns how many
        jobs were added to each lane; none if Redis does not respond."""
        rung: dict[Lane, int] = {}
        try:
            for lane, uploads in waiting.items():
                if (missing := uploads.count - self._queues[lane].count) > 0:
                    rung[lane] = min(missing, MOST_RINGS)
                    for _ in range(rung[lane]):
                        self._ring(lane, uploads.first)
        except RedisError as error:
            log.warning("Could not wake a worker (%s); trying again once Redis responds.", error)
        return rung

    def _ring(self, lane: Lane, upload_id: int) -> None:
        self._queues[lane].enqueue_call(
            JOB,
            args=(upload_id,),
            timeout=JOB_TIMEOUT,
            job_id=f"{upload_id}-{uuid.uuid4().hex[:12]}",  # RQ forgets a job's id at its end, so none comes twice
            result_ttl=0,
            failure_ttl=JOB_KEPT,
            description=f"the next upload of the lane of upload {upload_id}",
        )

    def jobs_of(self, lane: Lane) -> list[str]:
        """The ids of the jobs that no worker has taken yet. Raises RedisError."""
        found: list[str] = self._queues[lane].get_job_ids()
        return found

    def forget(self, lane: Lane, job_ids: Collection[str]) -> None:
        """Remove jobs that no upload waits for any more, unless a worker has taken them. Raises RedisError."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.lrem(self._queues[lane].key, 1, job_id)
            removed = [job_id for job_id, count in zip(job_ids, pipeline.execute(), strict=True) if count]
        if removed:
            self._redis.delete(*map(Job.key_for, removed))

    def is_asked(self) -> bool:
        """Whether a question waits for a worker (questions.py). If Redis does not respond, nobody asks."""
        try:
            return bool(self._questions.count)
        except RedisError:
            return False

    def status(self) -> QueueStatus:
        """The queue status as Redis has it now, without the places; without Redis, one that is not reachable."""
        try:
            self._redis.ping()  # refused when Redis cannot write its files; reads are not
            return QueueStatus(True, self._workers_alive(), disk_full=not self.has_room())
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

    def versions(self) -> Counter[str]:
        """The workers that are registered, by their release; "" for an earlier one, which does not say so. Raises
        RedisError."""
        keys = {key for queue in self._queues.values() for key in get_keys(queue=queue)}
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(key, "last_heartbeat", "death", VERSION_FIELD)
            found = pipeline.execute()
        return Counter((release or b"").decode() for beat, death, release in found if _is_alive(beat, death))

    def has_worker(self, host: str) -> bool:
        """Whether a worker of a machine is alive. Raises RedisError."""
        prefix = f"{Worker.redis_worker_namespace_prefix}{host}-"
        keys = {key for queue in self._queues.values() for key in get_keys(queue=queue)}
        own = [key for key in keys if key.startswith(prefix)]
        return any(_is_alive(*self._redis.hmget(key, "last_heartbeat", "death")) for key in own)

    def _workers_alive(self) -> Workers:
        lanes: dict[str, set[Lane]] = {}
        for lane, queue in self._queues.items():
            for key in get_keys(queue=queue):
                lanes.setdefault(key, set()).add(lane)
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in lanes:
                pipeline.hmget(key, "last_heartbeat", "death")
            found = zip(lanes.values(), pipeline.execute(), strict=True)
        alive = [taken for taken, (beat, death) in found if _is_alive(beat, death)]
        return Workers(
            both=sum(len(taken) == len(Lane) for taken in alive),
            quick=alive.count({Lane.QUICK}),
            bulk=alive.count({Lane.BULK}),
        )

    def close(self) -> None:
        self._redis.close()


def _is_alive(beat: bytes | None, death: bytes | None) -> bool:
    """Whether a worker had a heartbeat lately. beat, death: when, as RQ writes it."""
    oldest = datetime.now(UTC) - timedelta(seconds=GONE_AFTER_SECONDS)
    return bool(beat and not death and utcparse(beat.decode()) > oldest)
