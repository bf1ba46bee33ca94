"""The queue of uploads and its status."""

import logging
import subprocess
import sys
from contextlib import suppress

import pytest
from redis import Redis, RedisError

import jobs.queue
from jobs.database import Database
from jobs.lanes import Lane
from jobs.queue import QueueStatus, UploadQueue
from jobs.settings import Settings
from jobs.uploads import Processor, Waiting
from tests.support.databases import ONE_DATABASE
from tests.support.disks import SmallDisk
from tests.support.queueing import NOWHERE, recorded, rung_for
from tests.support.waiting import until
from webapp.supervisor import redis_server


@ONE_DATABASE
def test_each_lane_has_a_queue_and_each_job_an_id_of_its_own(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    quick, bulk = recorded(settings, database), recorded(settings, database, quick_bytes=0)
    for upload in (quick, bulk, quick):
        queue.enqueue(upload)

    assert (quick.lane, bulk.lane) == (Lane.QUICK, Lane.BULK)
    assert rung_for(settings) == [quick.id, quick.id, bulk.id]
    assert len(set(queue.jobs_of(Lane.QUICK))) == 2


@ONE_DATABASE
def test_an_upload_of_an_external_script_wakes_nobody(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    queue.enqueue(recorded(settings, database, processor=Processor.EXTERNAL))

    assert rung_for(settings) == []


@ONE_DATABASE
def test_workers_are_woken_for_as_many_uploads_as_no_job_is_for(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    upload = recorded(settings, database)
    queue.enqueue(upload)
    waiting = {Lane.QUICK: Waiting(3, upload.id), Lane.BULK: Waiting(jobs.queue.MOST_RINGS + 1, upload.id)}

    assert queue.enqueue_missing(waiting) == {Lane.QUICK: 2, Lane.BULK: jobs.queue.MOST_RINGS}
    assert queue.enqueue_missing({Lane.QUICK: Waiting(3, upload.id)}) == {}
    assert len(queue.jobs_of(Lane.QUICK)) == 3


@ONE_DATABASE
def test_a_job_that_a_worker_has_taken_is_not_forgotten(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    upload = recorded(settings, database)
    for _ in range(3):
        queue.enqueue(upload)
    first, second, third = queue.jobs_of(Lane.QUICK)
    with Redis.from_url(settings.redis) as client:
        client.lpop(f"rq:queue:{jobs.queue.QUEUES[Lane.QUICK]}")
        queue.forget(Lane.QUICK, [first, second])
        kept = [bool(client.exists(f"rq:job:{job}")) for job in (first, second, third)]

    assert kept == [True, False, True]
    assert queue.jobs_of(Lane.QUICK) == [third]


@ONE_DATABASE
def test_the_queue_does_not_raise_without_redis(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    upload = recorded(settings, database)
    nowhere = UploadQueue(NOWHERE)
    nowhere.enqueue(upload)
    found = (nowhere.status(), nowhere.is_reachable())
    nowhere.close()

    assert (QueueStatus(reachable=False), False) == found
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"Could not enqueue upload {upload.id} (")
    assert warning.endswith("); trying again once Redis responds.")


@ONE_DATABASE
def test_a_redis_that_responds_is_reachable(queue: UploadQueue) -> None:
    assert queue.is_reachable()


def test_a_process_that_enqueues_does_not_import_pandas() -> None:
    script = "import sys, jobs.queue, jobs.datasets; print({'pandas', 'pyarrow', 'jobs.bulk_upload'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

    assert loaded == "set()\n"


@ONE_DATABASE
def test_a_redis_whose_disk_is_full_is_reported_as_that(settings: Settings, disk: SmallDisk) -> None:
    words = ["--port", "0", "--unixsocket", str(disk.path / "redis.sock"), "--dir", str(disk.path)]
    server = subprocess.Popen([redis_server.executable(), *words, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    queue = UploadQueue(f"unix://{disk.path / 'redis.sock'}")
    try:
        until(queue.is_reachable, "Redis to answer")
        disk.fill()
        with Redis(unix_socket_path=str(disk.path / "redis.sock")) as client, suppress(RedisError):
            client.set("key", "x" * 100_000)
        until(lambda: queue.state_of_redis() == "disk full", "Redis to notice")
        full = queue.status()
        disk.empty()
        until(queue.is_reachable, "Redis to continue")

        assert full == QueueStatus(disk_full=True)
        assert queue.status() == QueueStatus(True)
    finally:
        queue.close()
        server.kill()
        server.wait()


@ONE_DATABASE
def test_a_full_disk_of_the_database_is_part_of_the_queue_status(settings: Settings, disk: SmallDisk) -> None:
    queue = UploadQueue(settings.redis, disk.path)
    disk.fill()
    full = queue.status()
    disk.empty()
    again = queue.status()
    queue.close()

    assert (full, again) == (QueueStatus(True, disk_full=True), QueueStatus(True))
