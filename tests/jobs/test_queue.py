"""The line of uploads, its sweep, and real workers with real work horses, on both databases."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from redis import Redis
from rq.utils import utcformat

import jobs.queue
from jobs import uploads
from jobs.database import Database
from jobs.events import Publisher
from jobs.queue import ImportWorker, QueueStatus, UploadQueue, stop_requested
from jobs.settings import Settings
from jobs.uploads import Claim, Status, Upload
from tests.conftest import store
from tests.support.parts import require
from tests.support.waiting import until

#: For what has nothing to do with the kind of database.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: A Redis that is not there.
NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture
def queue(settings: Settings) -> Iterator[UploadQueue]:
    queue = UploadQueue(settings.redis)
    yield queue
    queue.close()


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    publisher = Publisher(settings.redis)
    yield publisher
    publisher.close()


@pytest.fixture
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pending upload counts as lost at once."""
    monkeypatch.setattr(jobs.queue, "LOST_AFTER", 0)


def recorded(settings: Settings, database: Database, content: str = "a\n1\n") -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content))


def claimed(database: Database, upload: Upload, *, lease: float) -> Upload:
    with database.transaction() as connection:
        claimed = uploads.claim(connection, upload.id, worker="elsewhere:1", lease=lease)
    assert claimed is not None
    return claimed


def now(database: Database, upload: Upload) -> Upload:
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def waiting_jobs(settings: Settings) -> list[str]:
    """What is in RQ's list, by the names it has there."""
    with Redis.from_url(settings.redis) as client:
        found: Any = client.lrange("rq:queue:bulk_upload", 0, -1)
        return [each.decode() for each in found]


@on_sqlite
def test_an_upload_is_handed_over_under_its_id_and_its_next_attempt(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    upload = recorded(settings, database)
    queue.enqueue(upload)
    with database.transaction() as connection:
        first = uploads.claim(connection, upload.id, worker="elsewhere:1", lease=60)
        assert first is not None
        again = uploads.hand_back(connection, Claim(first.id, first.attempt), because="it died")
    assert again is not None
    queue.enqueue(again)

    assert waiting_jobs(settings) == [f"{upload.id}-1", f"{upload.id}-2"]


@on_sqlite
def test_the_status_tells_how_many_are_ahead_of_each(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    several = [recorded(settings, database) for _ in range(3)]
    for upload in [*several, several[1]]:
        queue.enqueue(upload)

    assert QueueStatus(True, 0, {upload.id: ahead for ahead, upload in enumerate(several)}) == queue.status()


@on_sqlite
def test_a_redis_that_is_away_is_no_error(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    upload = recorded(settings, database)
    nowhere = UploadQueue(NOWHERE)
    nowhere.enqueue(upload)
    found = (nowhere.status(), nowhere.is_reachable())
    nowhere.close()

    assert (QueueStatus(reachable=False, workers=0, position={}), False) == found
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"Could not enqueue upload {upload.id} (")
    assert warning.endswith("): it will be once Redis is back.")


@on_sqlite
def test_a_redis_that_answers_is_reachable(queue: UploadQueue) -> None:
    assert queue.is_reachable()


def test_who_enqueues_does_not_load_what_imports() -> None:
    script = "import sys, jobs.queue, jobs.datasets; print({'pandas', 'pyarrow', 'jobs.bulk_upload'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

    assert loaded == "set()\n"


@pytest.mark.usefixtures("_nobody_waits")
def test_a_pending_upload_that_nobody_queues_is_enqueued(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher
) -> None:
    lost, queued = recorded(settings, database), recorded(settings, database)
    queue.enqueue(queued)
    queue.sweep(database, publisher)
    queue.sweep(database, publisher)

    assert waiting_jobs(settings) == [f"{queued.id}-1", f"{lost.id}-1"]
    assert lost == now(database, lost)


@on_sqlite
def test_a_pending_upload_is_not_lost_while_somebody_may_be_about_to_claim_it(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher
) -> None:
    recorded(settings, database)
    queue.sweep(database, publisher)

    assert waiting_jobs(settings) == []


@on_sqlite
@pytest.mark.usefixtures("_nobody_waits")
def test_an_upload_that_was_recorded_while_redis_was_away_is_enqueued_once_it_is_back(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher
) -> None:
    upload = recorded(settings, database)
    nowhere = UploadQueue(NOWHERE)
    nowhere.enqueue(upload)
    nowhere.sweep(database, publisher)
    nowhere.close()
    queue.sweep(database, publisher)

    assert waiting_jobs(settings) == [f"{upload.id}-1"]


def test_an_upload_whose_lease_is_over_is_taken_back_and_enqueued(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    silent = claimed(database, recorded(settings, database), lease=-1)
    alive = claimed(database, recorded(settings, database), lease=60)
    queue.sweep(database, publisher)
    taken = now(database, silent)

    assert (taken.status, taken.attempt, taken.worker) == (Status.PENDING, 1, None)
    assert alive == now(database, alive)
    assert waiting_jobs(settings) == [f"{silent.id}-2"]
    assert f"Took upload {silent.id} back from attempt 1: its worker went silent." in caplog.messages


@on_sqlite
def test_an_upload_whose_workers_always_go_silent_is_given_up(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher
) -> None:
    upload = recorded(settings, database)
    for _ in range(uploads.MAX_BARREN_ATTEMPTS):
        claimed(database, upload, lease=-1)
        queue.sweep(database, publisher)
    given_up = now(database, upload)

    assert given_up.status is Status.FAILED
    assert str(given_up.error).endswith("The last time, its worker went silent.")
    assert f"{upload.id}-6" not in waiting_jobs(settings)


@on_sqlite
def test_a_lease_that_is_over_is_taken_back_although_redis_is_away(settings: Settings, database: Database) -> None:
    silent = claimed(database, recorded(settings, database), lease=-1)
    queue, publisher = UploadQueue(NOWHERE), Publisher(NOWHERE)
    queue.sweep(database, publisher)
    queue.close()
    publisher.close()

    assert now(database, silent).status is Status.PENDING


@pytest.mark.usefixtures("_nobody_waits")
def test_several_may_sweep_at_once(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher
) -> None:
    silent = [claimed(database, recorded(settings, database), lease=-1) for _ in range(3)]
    lost = [recorded(settings, database) for _ in range(3)]
    sweepers = 4
    at_once = threading.Barrier(sweepers)

    def sweep() -> None:
        at_once.wait(30)
        queue.sweep(database, publisher)

    with ThreadPoolExecutor(sweepers) as pool:
        for sweeping in [pool.submit(sweep) for _ in range(sweepers)]:
            sweeping.result(30)

    assert [upload.seq + 1 for upload in silent] == [now(database, upload).seq for upload in silent]
    assert lost == [now(database, upload) for upload in lost]
    jobs_wanted = {*(f"{upload.id}-2" for upload in silent), *(f"{upload.id}-1" for upload in lost)}
    assert jobs_wanted == set(waiting_jobs(settings))


@pytest.fixture
def _stop_is_taken_back() -> Iterator[None]:
    """A worker of the test's own process, told to stop, leaves the process itself as it was."""
    yield
    stop_requested.clear()


@pytest.mark.usefixtures("_stop_is_taken_back")
@on_sqlite
def test_a_worker_asked_to_stop_just_when_its_horse_has_ended_stops_in_peace(settings: Settings) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with Redis.from_url(settings.redis) as client:
        worker = ImportWorker(["bulk_upload"], connection=client)
        worker._horse_pid = ended.pid  # as it is for a moment after every job

        worker.handle_warm_shutdown_request()


#: What a worker process runs.
WORK = "from jobs.queue import work; from jobs.settings import Settings; work(Settings.load())"

#: The same, told to stop when it has taken its first job and is about to fork the horse for it.
WORK_STOPPED_BEFORE_THE_FORK = f"""
import os, signal
from jobs.queue import ImportWorker
fork = ImportWorker.fork_work_horse
def stopped(*words):
    os.kill(os.getpid(), signal.SIGTERM)
    fork(*words)
ImportWorker.fork_work_horse = stopped
{WORK}
"""


class WorkerProcess:
    """One worker, as `bulk-upload worker` is one, with its output in a file."""

    def __init__(self, settings: Settings, log: Path, script: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script],
                env={**os.environ, **settings.environment()},
                stdout=output,
                stderr=output,
            )
        self._horses: set[int] = set()

    @property
    def horse(self) -> int | None:
        """The process that imports, if there is one now."""
        with suppress(FileNotFoundError):
            found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self._horses.update(map(int, found))
            return int(found[0]) if found else None
        return None

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def kill(self) -> None:
        """End the worker, and a horse of it that was seen."""
        self.process.kill()
        self.process.wait(10)
        for pid in self._horses:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


Start = Callable[..., WorkerProcess]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker that imports in chunks of so many bytes; at the end of the test none is left."""
    require(Path("/proc/self/task").exists(), "needs /proc to find a worker's children")
    workers: list[WorkerProcess] = []

    def start(block_bytes: int = 1 << 20, script: str = WORK) -> WorkerProcess:
        changed = settings.model_copy(update={"block_bytes": block_bytes})
        workers.append(WorkerProcess(changed, tmp_path / f"worker-{len(workers)}.log", script))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


#: Rows of a file that takes its time: in chunks of 2 kB, a second or so.
MANY = 40_000


def long_import(settings: Settings, database: Database, queue: UploadQueue) -> Upload:
    """A file that is long under way, in the line."""
    upload = recorded(settings, database, "n\n" + "".join(f"{n}\n" for n in range(1, MANY + 1)))
    queue.enqueue(upload)
    return upload


def under_way(database: Database, upload: Upload) -> Upload:
    """The upload once some of its rows are in."""

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
    """That each of the file's rows is in, once."""
    assert (upload.status, upload.error) == (Status.COMPLETED, None)
    assert (upload.rows_success, upload.rows_failed, upload.rows_total) == (MANY, 0, MANY)
    columns = 'count(*), count(DISTINCT "_row_number"), sum("_row_number"), sum(n), min(n), max(n)'
    with database.reading() as connection:
        found = tuple(map(int, connection.execute(sa.text(f"SELECT {columns} FROM data_june")).one()))
    assert found == (MANY, MANY, MANY * (MANY + 1) // 2, MANY * (MANY + 1) // 2, 1, MANY)


def test_a_worker_imports_what_is_in_the_queue_and_is_counted_while_it_lives(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start()
    until(lambda: queue.status().workers == 1, "the worker to be counted")
    upload = recorded(settings, database)
    queue.enqueue(upload)
    done = ended(database, upload)
    worker.process.terminate()

    assert (done.status, done.rows_success, done.attempt) == (Status.COMPLETED, 1, 1)
    assert worker.process.wait(30) == 0
    assert QueueStatus(True, 0, {}) == queue.status()
    assert "Traceback" not in worker.log


@on_sqlite
def test_a_worker_that_has_been_silent_is_not_counted(settings: Settings, queue: UploadQueue, start: Start) -> None:
    worker = start()
    until(lambda: queue.status().workers == 1, "the worker to be counted")
    worker.kill()
    long_ago = datetime.now(UTC) - timedelta(seconds=jobs.queue.SILENT_AFTER + 1)
    with Redis.from_url(settings.redis) as client:
        (key,) = client.smembers("rq:workers:bulk_upload")
        client.hset(key, "last_heartbeat", utcformat(long_ago))

    assert queue.status().workers == 0


def test_an_upload_whose_horse_is_killed_is_gone_on_with_at_once(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(block_bytes=2048)
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


def test_a_worker_asked_to_stop_hands_back_after_the_running_chunk_and_another_goes_on(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(block_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    worker.process.terminate()
    status = worker.process.wait(30)
    handed_back = now(database, upload)
    start()
    whole = ended(database, upload)

    assert (status, handed_back.status, handed_back.barren_attempts) == (0, Status.PENDING, 0)
    assert 0 < handed_back.rows_processed < MANY
    assert (whole.attempt, whole.counting_from) == (2, handed_back.rows_processed)
    check_whole(database, whole)


@on_sqlite
def test_a_worker_asked_to_stop_before_its_horse_is_born_does_not_wait_for_the_whole_file(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    upload = long_import(settings, database, queue)
    worker = start(2048, WORK_STOPPED_BEFORE_THE_FORK)
    status = worker.process.wait(30)
    handed_back = now(database, upload)

    assert (status, handed_back.status, handed_back.rows_processed) == (0, Status.PENDING, 0)


def test_an_upload_whose_worker_and_horse_are_killed_is_gone_on_with_after_its_lease(
    settings: Settings, database: Database, queue: UploadQueue, publisher: Publisher, start: Start
) -> None:
    worker = start(block_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    assert worker.horse is not None
    worker.kill()

    def swept() -> bool:
        queue.sweep(database, publisher)
        return now(database, upload).status is Status.PENDING

    until(swept, "the lease to run out")
    left = now(database, upload)
    start()
    whole = ended(database, upload)

    assert (whole.attempt, whole.counting_from) == (2, left.rows_processed)
    check_whole(database, whole)


@on_sqlite
def test_a_horse_whose_worker_is_killed_finishes_its_upload(
    settings: Settings, database: Database, queue: UploadQueue, start: Start
) -> None:
    worker = start(block_bytes=2048)
    upload = long_import(settings, database, queue)
    under_way(database, upload)
    assert worker.horse is not None
    worker.process.kill()
    whole = ended(database, upload)

    assert whole.attempt == 1
    check_whole(database, whole)
