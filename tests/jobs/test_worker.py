"""Real workers with real work horses, on both databases."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from redis import Redis
from rq.utils import utcformat

import jobs.queue
from jobs import datasets, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.datasets import Mode
from jobs.forecast import Workers
from jobs.lanes import Lane
from jobs.process import shutdown
from jobs.queue import QueueStatus, UploadQueue
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.uploads import Status, Upload
from jobs.worker import ImportWorker, without_exits
from tests.support.databases import ONE_DATABASE
from tests.support.files import store
from tests.support.forking import fork
from tests.support.parts import require
from tests.support.queueing import now, recorded
from tests.support.waiting import until


@pytest.fixture
def _stop_is_taken_back() -> Iterator[None]:
    """Resets the stop request that a worker sets in the process of the test."""
    yield
    shutdown.requested.clear()


@pytest.mark.usefixtures("_stop_is_taken_back")
@ONE_DATABASE
def test_a_worker_stops_without_an_error_if_its_horse_has_just_ended(settings: Settings) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with Redis.from_url(settings.redis) as client:
        worker = ImportWorker(["bulk_upload"], connection=client)
        worker._horse_pid = ended.pid  # as it is for a moment after every job

        worker.handle_warm_shutdown_request()


#: What a worker process runs.
WORK = "from jobs.worker import work; from jobs.settings import Settings; work(Settings.load())"

#: The same, which takes uploads of the quick lane only.
WORK_QUICK = WORK.replace("work(Settings.load())", "work(Settings.load(), 'quick')")

#: The same, stopped after it has taken its first job and before it forks the work horse.
WORK_STOPPED_BEFORE_THE_FORK = f"""
import os, signal
from jobs.worker import ImportWorker, without_exits
fork = ImportWorker.fork_work_horse
def stopped(*words):
    os.kill(os.getpid(), signal.SIGTERM)
    fork(*words)
ImportWorker.fork_work_horse = stopped
{WORK}
"""


class WorkerProcess:
    """A worker process like `bulk-upload worker`, with its output in a file."""

    def __init__(self, settings: Settings, log: Path, script: str) -> None:
        self._log = log
        self.process = fork(script, [], {**os.environ, **settings.environment()}, log)
        self._horses: set[int] = set()

    @property
    def horse(self) -> int | None:
        """The work horse, if there is one now."""
        with suppress(FileNotFoundError):
            found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self._horses.update(map(int, found))
            return int(found[0]) if found else None
        return None

    @property
    def log(self) -> str:
        """Without a line of which only the beginning is written."""
        text = self._log.read_text("utf-8")
        return text[: text.rfind("\n") + 1]

    def kill(self) -> None:
        """End the worker and its known work horse."""
        self.process.kill()
        self.process.wait(60)
        for pid in self._horses:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


Start = Callable[..., WorkerProcess]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker with chunks of so many bytes; all end with the test."""
    require(Path("/proc/self/task").exists(), "needs /proc to find a worker's children")
    workers: list[WorkerProcess] = []

    def start(chunk_bytes: int = 1 << 20, script: str = WORK, **more: int) -> WorkerProcess:
        changed = settings.model_copy(update={"chunk_bytes": chunk_bytes, **more})
        workers.append(WorkerProcess(changed, tmp_path / f"worker-{len(workers)}.log", script))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


#: Rows of a file whose import takes about a second in chunks of 2 kB.
MANY = 40_000


def many_rows() -> str:
    return "n\n" + "".join(f"{n}\n" for n in range(1, MANY + 1))


def created(settings: Settings, connection: sa.Connection, content: str, **more: Any) -> Upload:
    return uploads.create(connection, store(settings, content), **more)


def long_import(settings: Settings, database: Database, queue: UploadQueue) -> Upload:
    """A queued upload whose import takes a while."""
    upload = recorded(settings, database, many_rows())
    queue.enqueue(upload)
    return upload


def under_way(database: Database, upload: Upload) -> Upload:
    """The upload once some of its rows are imported."""

    def some_rows() -> Upload | None:
        found = now(database, upload)
        return found if found.rows_processed else None

    found = until(some_rows, "the first rows")
    assert found.status is Status.PROCESSING
    return found


def ended(database: Database, upload: Upload) -> Upload:
    def at_its_end() -> Upload | None:
        found = now(database, upload)
        return None if found.is_active else found

    return until(at_its_end, "the upload's end")


def check_whole(database: Database, upload: Upload) -> None:
    """Assert that each row of the file was imported once."""
    assert (upload.status, upload.error) == (Status.COMPLETED, None)
    assert (upload.rows_success, upload.rows_failed, upload.rows_total) == (MANY, 0, MANY)
    columns = 'count(*), count(DISTINCT "_row_number"), sum("_row_number"), sum(n), min(n), max(n)'
    with database.reading() as connection:
        found = tuple(map(int, connection.execute(sa.text(f"SELECT {columns} FROM data_june")).one()))
    assert found == (MANY, MANY, MANY * (MANY + 1) // 2, MANY * (MANY + 1) // 2, 1, MANY)


def test_a_worker_imports_queued_uploads_and_counts_as_alive(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start()
    until(lambda: queue.status().workers.both == 1, "the worker to be counted")
    upload = recorded(settings, database)
    queue.enqueue(upload)
    done = ended(database, upload)
    worker.process.terminate()

    assert (done.status, done.rows_success, done.attempt) == (Status.COMPLETED, 1, 1)
    assert worker.process.wait(60) == 0
    assert QueueStatus(True) == queue.status()
    assert "Traceback" not in worker.log


@ONE_DATABASE
def test_a_worker_without_heartbeats_does_not_count(settings: Settings, queue: UploadQueue, start: Start) -> None:
    worker = start()
    until(lambda: queue.status().workers.both == 1, "the worker to be counted")
    worker.kill()
    long_ago = datetime.now(UTC) - timedelta(seconds=jobs.queue.GONE_AFTER_SECONDS + 1)
    with Redis.from_url(settings.redis) as client:
        (key,) = client.smembers("rq:workers:bulk_upload")
        client.hset(key, "last_heartbeat", utcformat(long_ago))

    assert queue.status().workers.total == 0


def test_an_upload_whose_horse_is_killed_continues_at_once(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(chunk_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    horse = worker.horse
    assert horse is not None
    os.kill(horse, signal.SIGKILL)
    whole = ended(database, upload)

    check_whole(database, whole)
    assert (whole.attempt, worker.process.poll()) == (2, None)
    assert 0 < whole.counting_from < MANY
    assert f"Took upload {upload.id} back from attempt 1: its process ended by signal 9." in worker.log


def test_a_stopping_worker_hands_back_after_a_chunk_and_another_continues(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(chunk_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    worker.process.terminate()
    status = worker.process.wait(60)
    handed_back = now(database, upload)
    start()
    whole = ended(database, upload)

    assert (status, handed_back.status, handed_back.attempts_without_progress) == (0, Status.PENDING, 0)
    assert 0 < handed_back.rows_processed < MANY
    assert (whole.attempt, whole.counting_from) == (2, handed_back.rows_processed)
    check_whole(database, whole)


@ONE_DATABASE
def test_a_worker_stopped_before_the_fork_does_not_wait_for_the_whole_file(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    upload = long_import(settings, database, queue)
    worker = start(2048, WORK_STOPPED_BEFORE_THE_FORK)
    status = worker.process.wait(60)
    handed_back = now(database, upload)

    assert (status, handed_back.status, handed_back.rows_processed) == (0, Status.PENDING, 0)


def test_an_upload_whose_worker_and_horse_are_killed_continues_after_its_lease(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    worker = start(chunk_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    assert worker.horse is not None
    worker.kill()

    def swept() -> bool:
        Sweeper(changes, external_timeout=3600).sweep()
        return now(database, upload).status is Status.PENDING

    until(swept, "the lease to run out")
    left = now(database, upload)
    start()
    whole = ended(database, upload)

    assert (whole.attempt, whole.counting_from) == (2, left.rows_processed)
    check_whole(database, whole)


@ONE_DATABASE
def test_a_horse_whose_worker_is_killed_finishes_its_upload(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(chunk_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    assert worker.horse is not None
    worker.process.kill()
    whole = ended(database, upload)

    assert whole.attempt == 1
    check_whole(database, whole)


#: The same, with a reader that hangs on a certain file, and a watchdog that waits a second for progress.
WORK_THAT_HANGS = f"""
import time
from jobs.work import watchdog
from jobs.pipeline import reader
watchdog.NO_PROGRESS_SECONDS = 1
inspect = reader.inspect
def hang(text, **more):
    if not text.path.read_bytes().startswith(b"hang"):
        return inspect(text, **more)
    print("hanging", flush=True)
    while True:
        time.sleep(0.01)
reader.inspect = hang
{WORK}
"""

#: The same, hung for as long as the usual watchdog allows.
WORK_THAT_HANGS_LONG = WORK_THAT_HANGS.replace("watchdog.NO_PROGRESS_SECONDS = 1", "")

#: The same, with a reader that takes all memory that it gets, in steps.
WORK_THAT_TAKES_MEMORY = WORK_THAT_HANGS_LONG.replace(
    "    while True:", "    taken = []\n    while True:\n        taken.append(bytes([1]) * 20_000_000)"
)


def test_a_file_that_hangs_the_reader_fails_after_two_cuts_and_the_next_file_is_imported(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(script=WORK_THAT_HANGS)
    upload, next_upload = recorded(settings, database, "hang\n1\n"), recorded(settings, database)
    queue.enqueue(upload)
    queue.enqueue(next_upload)
    failed = ended(database, upload)
    until(lambda: f"Cut attempt 2 of upload {upload.id} (time); it is failed." in worker.log, "the log")
    assert (failed.status, failed.attempt) == (Status.FAILED, 2)
    assert str(failed.error).startswith("The file could not be read within the limits (time). ")
    assert ended(database, next_upload).status is Status.COMPLETED
    assert worker.process.poll() is None


def test_a_hanging_import_ends_soon_after_it_is_cancelled(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    worker = start(script=WORK_THAT_HANGS_LONG)
    upload = recorded(settings, database, "hang\n1\n")
    queue.enqueue(upload)
    until(lambda: "hanging" in worker.log, "the reader to hang")
    horse = worker.horse
    changes.make(lambda connection: uploads.cancel(connection, upload.id))
    until(lambda: worker.horse != horse, "the work horse to end")
    cancelled = now(database, upload)

    assert horse is not None
    assert (cancelled.status, cancelled.cuts, cancelled.attempt) == (Status.CANCELLED, 0, 1)
    assert "its upload was cancelled" in worker.log


@ONE_DATABASE
def test_a_file_that_fills_the_memory_fails_after_two_cuts(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    limited = {"worker_memory": 1 << 28}
    worker = start(script=WORK_THAT_TAKES_MEMORY, **limited)
    upload = recorded(settings, database, "hang\n1\n")
    queue.enqueue(upload)
    failed = ended(database, upload)

    assert (failed.status, failed.attempt, failed.cuts) == (Status.FAILED, 2, 2)
    assert str(failed.error).startswith("The file could not be read within the limits (memory). ")
    assert worker.process.poll() is None


# Several small uploads, one after the other

#: The same, with a work horse that says which upload it imports.
WORK_THAT_TELLS = f"""
import os
from jobs.work.attempt import Attempt
run = Attempt.run
worker = os.getpid()
def tell(attempt):
    if os.getpid() != worker:  # which only rehearses
        print("horse", os.getpid(), "imports", attempt._upload.id, flush=True)
    run(attempt)
Attempt.run = tell
{WORK}
"""


def imports(worker: WorkerProcess) -> list[tuple[str, int]]:
    """The work horse and the upload of each import."""
    words = [line.split() for line in worker.log.splitlines() if line.startswith("horse ")]
    return [(each[1], int(each[3])) for each in words]


def test_a_work_horse_imports_small_uploads_one_after_the_other(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    several = [changes.make(lambda connection: created(settings, connection, "a\n1\n")) for _ in range(4)]
    worker = start(script=WORK_THAT_TELLS)
    done = [ended(database, upload) for upload in several]
    until(lambda: worker.horse is None, "the work horse to end")

    assert [(upload.status, upload.attempt, upload.rows_success) for upload in done] == [(Status.COMPLETED, 1, 1)] * 4
    assert [upload_id for _, upload_id in imports(worker)] == [upload.id for upload in several]
    assert len({horse for horse, _ in imports(worker)}) == 1
    assert queue.jobs_of(Lane.QUICK) == []


#: The same, with a work horse that waits long for another upload.
WORK_THAT_LINGERS = f"from jobs.work import chain; chain.LINGERING_LOOKS = 10_000\n{WORK_THAT_TELLS}"


def test_a_work_horse_waits_a_moment_for_another_small_upload(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    worker = start(script=WORK_THAT_LINGERS)
    several = []
    for _ in range(3):
        several.append(changes.make(lambda connection: created(settings, connection, "a\n1\n")))
        ended(database, several[-1])

    assert [upload_id for _, upload_id in imports(worker)] == [upload.id for upload in several]
    assert len({horse for horse, _ in imports(worker)}) == 1


@ONE_DATABASE
def test_a_work_horse_that_waits_for_another_upload_ends_with_its_worker(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    worker = start(script=WORK_THAT_LINGERS)
    ended(database, changes.make(lambda connection: created(settings, connection, "a\n1\n")))
    worker.process.terminate()

    assert worker.process.wait(60) == 0
    assert worker.horse is None


@ONE_DATABASE
def test_a_work_horse_takes_no_other_upload_after_the_death_of_its_worker(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    worker = start(script=WORK_THAT_LINGERS)
    ended(database, changes.make(lambda connection: created(settings, connection, "a\n1\n")))
    horse = worker.horse
    assert horse is not None
    worker.process.kill()
    worker.process.wait(60)
    other = changes.make(lambda connection: created(settings, connection, "a\n1\n"))
    until(lambda: not psutil.pid_exists(horse) or psutil.Process(horse).status() == "zombie", "the work horse to end")

    assert len(imports(worker)) == 1
    assert now(database, other).status is Status.PENDING


@ONE_DATABASE
def test_a_work_horse_imports_one_large_upload_only(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    several = [changes.make(lambda c: created(settings, c, "a\n1\n", quick_bytes=0)) for _ in range(2)]
    worker = start(script=WORK_THAT_TELLS)
    for upload in several:
        ended(database, upload)

    assert len({horse for horse, _ in imports(worker)}) == 2


@ONE_DATABASE
def test_a_worker_for_both_lanes_takes_a_large_upload_between_small_ones(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    large = [changes.make(lambda c: created(settings, c, "a\n1\n", quick_bytes=0)) for _ in range(2)]
    small = [changes.make(lambda c: created(settings, c, "a\n1\n")) for _ in range(4)]
    worker = start(script=f"from jobs.work import chain; chain.MOST_UPLOADS = 2\n{WORK_THAT_TELLS}")
    for upload in [*large, *small]:
        ended(database, upload)
    order = [upload_id for _, upload_id in imports(worker)]

    assert order == [small[0].id, small[1].id, large[0].id, small[2].id, small[3].id, large[1].id]


def test_a_kill_between_small_uploads_hurts_the_current_one_only(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    contents = ["a\n1\n", "hang\n1\n", "a\n1\n"]
    first, second, third = [changes.make(partial(created, settings, content=content)) for content in contents]
    worker = start(script=WORK_THAT_HANGS_LONG)
    until(lambda: "hanging" in worker.log, "the reader to hang")
    assert worker.horse is not None
    os.kill(worker.horse, signal.SIGKILL)
    until(lambda: worker.log.count("hanging") == 2, "the second attempt")
    changes.make(lambda connection: uploads.cancel(connection, second.id))
    done = [ended(database, upload) for upload in (first, second, third)]

    assert [(each.status, each.attempt) for each in done] == [
        (Status.COMPLETED, 1), (Status.CANCELLED, 2), (Status.COMPLETED, 1)
    ]  # fmt: skip
    assert f"Took upload {second.id} back from attempt 1: its process ended by signal 9." in worker.log
    assert worker.log.count("Took upload") == 1


def test_an_upload_that_a_work_horse_claimed_just_before_its_death_is_taken_back(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    """It had not told its worker of the claim."""
    script = f"""
import os, signal
from jobs.process import horse_state
begin, worker = horse_state.HorseState.begin, os.getpid()
def die(state, upload_id, attempt):
    if attempt == 1 and os.getpid() != worker:  # which rehearses
        os.kill(os.getpid(), signal.SIGKILL)
    begin(state, upload_id, attempt)
horse_state.HorseState.begin = die
{WORK}
"""
    upload = changes.make(partial(created, settings, content="a\n1\n"))
    worker = start(script=script)
    done = ended(database, upload)

    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert f"Took upload {upload.id} back from attempt 1" in worker.log


def test_a_worker_that_shuts_down_begins_no_other_small_upload(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    script = WORK_THAT_TELLS.replace("    run(attempt)", "    time.sleep(0.2)\n    run(attempt)")
    several = [changes.make(partial(created, settings, content="a\n1\n")) for _ in range(30)]
    worker = start(script=f"import time\n{script}")
    until(lambda: len(imports(worker)) > 1, "the second upload")
    worker.process.terminate()
    status = worker.process.wait(60)
    after = [now(database, upload) for upload in several]

    assert status == 0
    assert {each.status for each in after} == {Status.COMPLETED, Status.PENDING}
    assert all(each.attempts_without_progress == 0 for each in after if each.status is Status.PENDING)


# Lanes, and the limit of a dataset


def test_a_small_upload_does_not_wait_for_a_large_one(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    start(chunk_bytes=2048)
    start(script=WORK_QUICK)
    until(lambda: queue.status().workers == Workers(both=1, quick=1), "both workers to report")
    large = changes.make(partial(created, settings, content=many_rows(), quick_bytes=1000))
    under_way(database, large)
    small = changes.make(partial(created, settings, content="a\n1\n"))
    done = ended(database, small)
    meanwhile = now(database, large)

    assert (done.status, large.lane, small.lane) == (Status.COMPLETED, Lane.BULK, Lane.QUICK)
    assert meanwhile.status is Status.PROCESSING
    check_whole(database, ended(database, large))


@ONE_DATABASE
def test_a_worker_for_small_files_leaves_large_ones_to_others(
    settings: Settings, database: Database, changes: Changes, start: Start
) -> None:
    start(script=WORK_QUICK)
    large = changes.make(partial(created, settings, content="a\n1\n", quick_bytes=0))
    small = changes.make(partial(created, settings, content="a\n1\n"))
    ended(database, small)

    assert now(database, large).status is Status.PENDING


def test_an_upload_that_waits_for_a_place_in_its_dataset_starts_when_another_ends(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, start: Start
) -> None:
    with database.transaction() as connection:
        schema = TableSchema.parse({"fields": [{"name": "n", "type": "integer"}]})
        datasets.declare(connection, "june", schema, Mode.INSERT)
    workers = [start(chunk_bytes=2048, dataset_imports=1) for _ in range(2)]
    until(lambda: queue.status().workers.both == 2, "both workers to report")
    content = many_rows()
    first, second = [changes.make(partial(created, settings, content=content, dataset="june")) for _ in range(2)]
    other = changes.make(partial(created, settings, content="n\n1\n"))
    passed = ended(database, other)
    done = [ended(database, upload) for upload in (first, second)]

    assert [(each.status, each.rows_success, each.attempt) for each in done] == [(Status.COMPLETED, MANY, 1)] * 2
    assert done[1].started_at is not None
    assert done[0].finished_at is not None
    assert done[1].started_at >= done[0].finished_at
    assert passed.started_at is not None
    assert passed.started_at < done[1].started_at
    assert all("Traceback" not in worker.log for worker in workers)


@pytest.mark.parametrize(("error", "told"), [(SystemExit(0), 0), (OSError("a defect"), 1)], ids=["exit", "defect"])
def test_an_exit_that_nobody_can_catch_is_no_line_of_the_log(
    error: BaseException, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collected:
        def __del__(self) -> None:
            raise error

    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", without_exits(lambda args: found.append(args.exc_type)))
    Collected()

    assert len(found) == told
