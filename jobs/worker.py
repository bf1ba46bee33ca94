"""The RQ worker: takes uploads from the queue and imports each in a work horse, its child process."""

import logging
import os
import signal
import socket
import sys
from contextlib import suppress

import sqlalchemy as sa
from redis import Redis, RedisError
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from jobs import shutdown
from jobs.changes import Changes
from jobs.queue import HEARTBEAT_SECONDS, QUEUE
from jobs.settings import Settings
from jobs.sweeper import take_back
from jobs.uploads import Claim

log = logging.getLogger(__name__)

#: Seconds that RQ's idle worker subtracts from its `worker_ttl` to get the interval of its heartbeats.
RQ_HEARTBEAT_MARGIN = 15


class ImportWorker(Worker):
    """RQ's forking worker, with two differences: at shutdown it asks its work horse to hand the upload back instead of
    waiting for the whole file, and it keeps monitoring the work horse while Redis does not respond."""

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("Redis does not respond (%s); the import continues without it.", error)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)
        if shutdown.requested.is_set():  # requested between the fork and the assignment of its process id
            self._ask_horse_to_stop()

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]  # RQ's
        signal.signal(signal.SIGUSR1, lambda *_: shutdown.requested.set())

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ's
        shutdown.requested.set()  # for a work horse that is not forked yet
        self._ask_horse_to_stop()

    def _ask_horse_to_stop(self) -> None:
        if self.horse_pid:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.horse_pid, signal.SIGUSR1)


def work(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT. It imports the job's libraries first, so that its forks start fast."""
    import jobs.bulk_upload  # noqa: F401  # its libraries take seconds to load

    # The job reads its settings from the environment, which must include the options of the command line.
    os.environ.update(settings.environment())
    # A work horse must survive this signal between its fork and the installation of its own handler.
    signal.signal(signal.SIGUSR1, lambda *_: shutdown.requested.set())

    def on_horse_killed(job: Job, _pid: int, status: int, _usage: object) -> None:
        how = f"by signal {os.WTERMSIG(status)}" if status and os.WIFSIGNALED(status) else f"with status {status}"
        take_back_from_horse(settings, job.id, f"its process ended {how}")

    worker = ImportWorker(
        [QUEUE],
        name=f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}",
        connection=Redis.from_url(settings.redis),
        serializer=JSONSerializer,
        worker_ttl=HEARTBEAT_SECONDS + RQ_HEARTBEAT_MARGIN,
        job_monitoring_interval=HEARTBEAT_SECONDS,
        work_horse_killed_handler=on_horse_killed,
        log_job_description=False,
    )
    worker.log_result_lifespan = False
    logging.getLogger("rq.worker").addFilter(_without_traceback)
    try:
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("Redis does not respond (%s); this worker exits.", error)
        sys.exit(1)


def take_back_from_horse(settings: Settings, job_id: str, because: str) -> None:
    """Take the upload of a dead work horse back for the next worker at once. job_id: in the format of queue.py."""
    upload_id, attempt = (int(part) for part in job_id.split("-"))
    try:
        _take_back(settings, Claim(upload_id, attempt), because)
    except sa.exc.DBAPIError as error:
        log.warning("Upload %d was not taken back (%s); the sweeper does so later.", upload_id, error.orig)


def _take_back(settings: Settings, claim: Claim, because: str) -> None:
    with Changes.opened(settings) as changes:
        take_back(changes, claim, because)
        changes.remove_spools(claim.upload_id)  # of an upload that was cancelled while its work horse ran


def _without_traceback(record: logging.LogRecord) -> bool:
    """A logging filter that shortens a Redis error to one line."""
    if record.exc_info and isinstance(record.exc_info[1], RedisError):
        record.msg, record.args = f"{record.getMessage()} {record.exc_info[1]}", ()
        record.exc_info = None
    return True
