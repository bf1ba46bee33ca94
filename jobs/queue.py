"""The only room that names RQ: handing uploads to workers, the worker itself, and the sweep for what got lost.

RQ delivers at least once and forgets when Redis does. Neither matters: the claim in the database decides who imports,
and the sweep enqueues again whatever waits there and is not queued here.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import utcparse
from rq.worker_registration import get_keys

from jobs import uploads
from jobs.database import Database
from jobs.events import Publisher
from jobs.settings import Settings
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

QUEUE = "bulk_upload"
#: By name, so that who enqueues does not import pandas.
JOB = "jobs.bulk_upload.run"

#: Seconds that a command may take before Redis counts as away; whoever uploads is waiting for it.
REDIS_TIMEOUT = 1.0
#: Seconds a job may run in RQ's eyes; the lease is what really watches over it.
JOB_TIMEOUT = 7 * 24 * 3600
#: Seconds RQ keeps a job that ended; what became of it is in the database.
JOB_KEPT = 3600
#: Seconds a pending upload may be in nobody's queue before it is enqueued again: longer than a claim takes.
LOST_AFTER = 5.0
#: Seconds between a worker's signs of life, and after how many without one it counts as gone. RQ's idle worker gives
#: one each `worker_ttl - 15` seconds.
HEARTBEAT = 5
SILENT_AFTER = 3 * HEARTBEAT

#: Set in a work horse whose worker was asked to stop: it hands its upload back after the running chunk.
stop_requested = threading.Event()


@dataclass(frozen=True)
class QueueStatus:
    """Waiting uploads and workers. reachable: Redis responded. workers: those that are alive. position: upload id →
    pending uploads ahead of it."""

    reachable: bool = False
    workers: int = 0
    position: Mapping[int, int] = field(default_factory=dict)


class UploadQueue:
    """The line of uploads that wait for a worker."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = Redis.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),
        )
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, upload: Upload) -> None:
        """Hand a pending upload to the workers. Never fails: the sweep does it again when Redis is away.

        One that a script outside imports is none of theirs.
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
            log.warning("Could not enqueue upload %d (%s): it will be once Redis is back.", upload.id, error)
        else:
            log.info("Enqueued upload %d for attempt %d.", upload.id, upload.attempt + 1)

    def status(self) -> QueueStatus:
        """The queue status as Redis has it now; without Redis, one that is not reachable."""
        try:
            ids = self._queue.get_job_ids()
            return QueueStatus(
                True, self._workers_alive(), {_upload_id(job_id): n for n, job_id in reversed([*enumerate(ids)])}
            )
        except RedisError:
            return QueueStatus()

    def is_reachable(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def _workers_alive(self) -> int:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in get_keys(queue=self._queue):
                pipeline.hmget(key, "last_heartbeat", "death")
            found = pipeline.execute()
        oldest = datetime.now(UTC) - timedelta(seconds=SILENT_AFTER)
        return sum(bool(beat and not death and utcparse(beat.decode()) > oldest) for beat, death in found)

    def sweep(self, database: Database, publisher: Publisher) -> None:
        """Bring back what got lost: leases that ran out, and pending uploads that no queue knows."""
        with database.reading() as connection:
            abandoned = uploads.abandoned(connection)
            waiting = uploads.waiting(connection, for_seconds=LOST_AFTER)
        for upload in abandoned:
            database.end_sessions(str(Claim(upload.id, upload.attempt)))
            self._take_back(
                database, publisher, Claim(upload.id, upload.attempt), "its worker went silent", expired=True
            )
        if waiting:
            status = self.status()
            for upload in waiting:
                if status.reachable and upload.id not in status.position:
                    log.warning("Upload %d was waiting in no queue.", upload.id)
                    self.enqueue(upload)

    def _take_back(
        self, database: Database, publisher: Publisher, claim: Claim, because: str, *, expired: bool = False
    ) -> None:
        with database.transaction() as connection:
            upload = uploads.hand_back(connection, claim, because=because, expired=expired)
        if upload is None:
            return
        log.warning("Took upload %d back from attempt %d: %s.", claim.upload_id, claim.attempt, because)
        publisher.publish(upload)
        if upload.is_active:
            self.enqueue(upload)

    def horse_died(self, settings: Settings, job_id: str, because: str) -> None:
        """The parent saw its horse die: give its upload to the next worker at once."""
        upload_id, attempt = (int(part) for part in job_id.split("-"))
        database, publisher = Database(settings.database), Publisher(settings.redis)
        try:
            self._take_back(database, publisher, Claim(upload_id, attempt), because)
        finally:
            publisher.close()
            database.close()

    def close(self) -> None:
        self._redis.close()


def _job_id(upload: Upload) -> str:
    """Upload and the attempt that the job will be."""
    return f"{upload.id}-{upload.attempt + 1}"


def _upload_id(job_id: str) -> int:
    return int(job_id.split("-")[0])


class ImportWorker(Worker):
    """RQ's forking worker, which on its shutdown asks its horse to hand back instead of waiting for the whole file, and
    which stays with its horse while Redis is away."""

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("Redis is away (%s): the import goes on without it.", error)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)
        if stop_requested.is_set() and self.horse_pid:  # asked between the fork and its number being known
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGUSR1)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]  # RQ's
        signal.signal(signal.SIGUSR1, lambda *_: stop_requested.set())

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ's
        stop_requested.set()  # for a horse that is not born yet
        if self.horse_pid:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.horse_pid, signal.SIGUSR1)


def work(settings: Settings) -> None:
    """Be one worker, until SIGTERM or SIGINT. What a job needs is imported now, so that its fork starts warm."""
    import jobs.bulk_upload  # noqa: F401  # the libraries it brings take seconds to load

    # The job reads its settings from the environment: what the command line said must be there too.
    os.environ.update(settings.environment())
    # A horse between fork and its own handler must survive the signal that asks it to stop.
    signal.signal(signal.SIGUSR1, lambda *_: stop_requested.set())
    queue = UploadQueue(settings.redis)

    def on_horse_killed(job: Job, _pid: int, status: int, _usage: object) -> None:
        how = f"by signal {os.WTERMSIG(status)}" if status and os.WIFSIGNALED(status) else f"with status {status}"
        queue.horse_died(settings, job.id, f"its process ended {how}")

    worker = ImportWorker(
        [QUEUE],
        name=f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}",
        connection=Redis.from_url(settings.redis),
        serializer=JSONSerializer,
        worker_ttl=HEARTBEAT + 15,
        job_monitoring_interval=HEARTBEAT,
        work_horse_killed_handler=on_horse_killed,
        log_job_description=False,
    )
    worker.log_result_lifespan = False
    logging.getLogger("rq.worker").addFilter(_without_traceback)
    try:
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("Redis is away (%s): this worker ends.", error)
        sys.exit(1)


def _without_traceback(record: logging.LogRecord) -> bool:
    """That Redis is away is one line of the log, not a page."""
    if record.exc_info and isinstance(record.exc_info[1], RedisError):
        record.msg, record.args = f"{record.getMessage()} {record.exc_info[1]}", ()
        record.exc_info = None
    return True
