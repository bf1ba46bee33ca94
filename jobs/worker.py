"""The RQ worker: takes uploads from the queue and imports each in a work horse, its child process."""

import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Literal

import psutil
import sqlalchemy as sa
from redis import Redis, RedisError
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import DequeueStrategy

from jobs import questions, uploads
from jobs.changes import Changes
from jobs.lanes import WORKER_LANES, Lane
from jobs.process import allocator, horse_state, log_context, shutdown
from jobs.queue import HEARTBEAT_SECONDS, QUEUES, VERSION_FIELD
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.sweeper import take_back
from jobs.uploads import Claim, CutReason
from jobs.work import watchdog
from jobs.work.watchdog import WATCH_SECONDS, Watchdog

log = logging.getLogger(__name__)

#: Seconds that RQ's idle worker subtracts from its `worker_ttl` to get the interval of its heartbeats.
RQ_HEARTBEAT_MARGIN = 15
#: Bytes of address space that Arrow's allocator reserves without using them, at most.
RESERVED_BYTES = 2 * 1024**3


#: By how much large imports are nicer than the web process and small imports, which people wait for: these get a
#: processor for three times as long. Not on SQLite, where a large import that waits for a processor may hold the lock
#: for which they wait. Without them it costs nothing.
BULK_NICENESS = 5


class ImportWorker(Worker):
    """RQ's forking worker, with three differences: at shutdown it asks its work horse to hand the upload back instead
    of waiting for the whole file, it keeps monitoring the work horse while Redis does not respond, and it ends a work
    horse that the watchdog condemns.

    A job only says that an upload waits in a lane; the work horse chooses which one it imports, and may import several.
    """

    #: How imports are bounded. `work` sets it; None: no watchdog.
    settings: Settings | None = None
    _watchdog: Watchdog | None = None
    _verdict: CutReason | str | None = None
    #: The claim that the verdict is about; None: the work horse held none.
    _condemned: tuple[int, int] | None = None
    #: When the last heartbeat was sent, by the monotonic clock.
    _heartbeat = float("-inf")

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]  # RQ's
        self.connection.hset(self.key, VERSION_FIELD, version("bulk-upload"))

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Wait for the work horse; RQ calls `maintain_heartbeats` every WATCH_SECONDS meanwhile."""
        if self.settings is not None:
            self._watchdog = Watchdog(self.settings, horse_state.state, self.horse_pid)
        self._verdict = self._condemned = None
        try:
            super().monitor_work_horse(job, queue, execution)
        finally:
            if self._watchdog is not None:
                self._watchdog.close()
                self._watchdog = None

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        if self._watchdog is not None and self._verdict is None:
            self._judge(self._watchdog)
        if time.monotonic() < self._heartbeat + HEARTBEAT_SECONDS - WATCH_SECONDS / 2:
            return
        self._heartbeat = time.monotonic()
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("Redis does not respond (%s); the import continues without it.", error)

    def _judge(self, watchdog: Watchdog) -> None:
        """Kill the work horse if the watchdog says so, unless it has begun another upload since."""
        claim = horse_state.state.claim
        verdict = watchdog.verdict()
        if verdict is None or not horse_state.state.condemn(claim):
            return
        self._verdict, self._condemned = verdict, claim
        what = "a work horse without an upload" if claim is None else f"the import of upload {claim[0]}"
        log.warning("Ending %s: %s.", what, _as_sentence(verdict))
        self.kill_horse()

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: resource.struct_rusage) -> None:
        """Release the claim of a dead work horse, so that the upload goes on, or fails, at once."""
        if self.settings is None:
            return
        how = os.WTERMSIG(ret_val) if os.WIFSIGNALED(ret_val) else None
        verdict = self._verdict
        if verdict is None and self._watchdog is not None:
            verdict = self._watchdog.cause_of_death(how)
        held = self._condemned or horse_state.state.claim
        try:
            self._release(self.settings, held and Claim(*held), horse_state.name_of(retpid), verdict, how, ret_val)
        except sa.exc.DBAPIError as error:
            which = f"Upload {held[0]}" if held else "The upload of a dead work horse"
            log.warning("%s was not taken back (%s); the sweeper does so later.", which, error.orig)
        finally:
            log_context.upload_id.set(None)

    @staticmethod
    def _release(
        settings: Settings,
        claim: Claim | None,
        horse: str,
        verdict: CutReason | str | None,
        how: int | None,
        ret_val: int,
    ) -> None:
        """horse: its name. claim: None if the work horse told of none; it may have died just after it claimed."""
        with Changes.opened(settings) as changes:
            claim = claim or _claim_of(changes, horse)
            if claim is None:
                return
            log_context.upload_id.set(claim.upload_id)
            if isinstance(verdict, CutReason):
                cut(changes, claim, verdict)
            elif verdict is None:
                ended = f"by signal {how}" if how is not None else f"with status {ret_val}"
                take_back(changes, claim, f"its process ended {ended}")
            else:
                changes.database.end_sessions(str(claim))
            store_of(settings).tidy()
            changes.remove_spools(claim.upload_id)  # of an upload that was cancelled while its work horse ran

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        horse_state.state.reset()
        super().fork_work_horse(job, queue)
        if shutdown.requested.is_set():  # requested between the fork and the assignment of its process id
            self._ask_horse_to_stop()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        log_context.become("horse")
        if self.settings is not None:
            _limit_memory(self.settings.worker_memory)
            if queue.name == QUEUES[Lane.BULK] and self.settings.sqlite_folder is None:
                os.nice(BULK_NICENESS)
        super().main_work_horse(job, queue)

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


def without_exits(hook: Callable[["sys.UnraisableHookArgs"], Any]) -> Callable[["sys.UnraisableHookArgs"], None]:
    """A hook for exceptions that nobody can catch, which says nothing of SystemExit: whoever raises it looks later
    whether the process is still to end."""

    def ignored(found: "sys.UnraisableHookArgs") -> None:
        if found.exc_type is not SystemExit:
            hook(found)

    return ignored


def work(settings: Settings, lanes: Literal["all", "quick", "bulk"] = "all") -> None:
    """Run one worker until SIGTERM or SIGINT. It rehearses an import first, so that its forks start fast.

    lanes: all: quick uploads go first, but for one bulk upload after them, so that no lane waits for ever.
    """
    is_asked_to_end = False

    def end(*_: object) -> None:
        nonlocal is_asked_to_end
        is_asked_to_end = True
        sys.exit(0)

    sys.unraisablehook = without_exits(sys.unraisablehook)
    signal.signal(signal.SIGTERM, end)  # until RQ handles it: a rehearsal removes its files
    allocator.use_small_pages()
    from jobs.rehearsal import rehearse  # its libraries take seconds to load

    rehearse(settings)
    store_of(settings).tidy()
    if is_asked_to_end:  # while the garbage collector called a function, whose exceptions are ignored
        sys.exit(0)
    # The job reads its settings from the environment, which must include the options of the command line.
    os.environ.update(settings.environment())
    # A work horse must survive this signal between its fork and the installation of its own handler.
    signal.signal(signal.SIGUSR1, lambda *_: shutdown.requested.set())

    worker = ImportWorker(
        [*([questions.QUEUE] if Lane.QUICK in WORKER_LANES[lanes] else []), *(QUEUES[n] for n in WORKER_LANES[lanes])],
        name=f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}",
        connection=Redis.from_url(settings.redis, driver_info=None),  # as in events.py
        serializer=JSONSerializer,
        worker_ttl=HEARTBEAT_SECONDS + RQ_HEARTBEAT_MARGIN,
        job_monitoring_interval=WATCH_SECONDS,
        log_job_description=False,
    )
    worker.settings = settings
    worker.log_result_lifespan = False
    logging.getLogger("rq.worker").addFilter(_without_traceback)
    try:
        worker.work(logging_level="WARNING", dequeue_strategy=DequeueStrategy.ROUND_ROBIN)
    except RedisError as error:
        log.warning("Redis does not respond (%s); this worker exits.", error)
        sys.exit(1)


def _claim_of(changes: Changes, horse: str) -> Claim | None:
    with changes.database.reading() as connection:
        return uploads.claimed_by(connection, horse)


def cut(changes: Changes, claim: Claim, reason: CutReason) -> None:
    """Record that a work horse was cut: its upload is pending again, or failed after the second time."""
    changes.database.end_sessions(str(claim))
    upload = changes.make(lambda connection: uploads.cut(connection, claim, reason))
    if upload is not None:
        log.warning(
            "Cut attempt %d of upload %d (%s); it is %s.", claim.attempt, claim.upload_id, reason, upload.status
        )


def _limit_memory(worker_memory: int) -> None:
    """Let the kernel refuse memory to this work horse far beyond the limit, before the watchdog looks again."""
    used = getattr(psutil.Process().memory_info(), "data", None)  # None: not Linux
    if used is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = used + worker_memory * 3 // 2 + RESERVED_BYTES
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _as_sentence(verdict: CutReason | str) -> str:
    if verdict is CutReason.TIME:
        return f"it made no progress for {watchdog.NO_PROGRESS_SECONDS:g} s"
    if verdict is CutReason.MEMORY:
        return "it holds more memory than BULK_UPLOAD_WORKER_MEMORY"
    return str(verdict)


def _without_traceback(record: logging.LogRecord) -> bool:
    """A logging filter that shortens a Redis error to one line."""
    if record.exc_info and isinstance(record.exc_info[1], RedisError):
        record.msg, record.args = f"{record.getMessage()} {record.exc_info[1]}", ()
        record.exc_info = None
    return True
