"""The queue of uploads and its status."""

import logging
import subprocess
import sys
from contextlib import suppress

import pytest
from redis import Redis, RedisError

from jobs import uploads
from jobs.database import Database
from jobs.queue import QueueStatus, UploadQueue
from jobs.settings import Settings
from jobs.uploads import Claim
from tests.support.databases import ONE_DATABASE
from tests.support.disks import SmallDisk
from tests.support.queueing import NOWHERE, recorded, waiting_jobs
from tests.support.waiting import until
from webapp.supervisor import redis_server


@ONE_DATABASE
def test_the_job_id_is_the_upload_id_and_its_next_attempt(
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


@ONE_DATABASE
def test_the_queue_status_has_the_position_of_each_upload(
    settings: Settings, database: Database, queue: UploadQueue
) -> None:
    several = [recorded(settings, database) for _ in range(3)]
    for upload in [*several, several[1]]:
        queue.enqueue(upload)

    assert QueueStatus(True, 0, {upload.id: ahead for ahead, upload in enumerate(several)}) == queue.status()


@ONE_DATABASE
def test_the_queue_does_not_raise_without_redis(
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
