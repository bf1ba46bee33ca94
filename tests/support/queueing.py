"""Uploads in the queue, for tests of the queue, the worker and the sweeper."""

from typing import Any

from redis import Redis

from jobs import uploads
from jobs.database import Database
from jobs.lanes import Lane
from jobs.queue import QUEUES
from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.files import store

#: The URL of a Redis that does not exist.
NOWHERE = "unix:///nowhere/redis.sock"


def without_redis(settings: Settings) -> Settings:
    """The same settings with a Redis that does not exist."""
    return settings.model_copy(update={"redis_url": NOWHERE})


def recorded(settings: Settings, database: Database, content: str = "a\n1\n", **more: Any) -> Upload:
    """A pending upload. more: for uploads.create."""
    with database.transaction() as connection:
        return uploads.create(connection, store(settings, content), **more)


def claimed(database: Database, upload: Upload, *, lease: float) -> Upload:
    with database.transaction() as connection:
        claimed = uploads.claim(connection, upload.id, worker="elsewhere:1", lease=lease)
    assert claimed is not None
    return claimed


def now(database: Database, upload: Upload) -> Upload:
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def rung_for(settings: Settings) -> list[int]:
    """The uploads that jobs in the queues were added for, those of the quick lane first."""
    with Redis.from_url(settings.redis) as client:
        found: Any = [job for lane in Lane for job in client.lrange(f"rq:queue:{QUEUES[lane]}", 0, -1)]
        return [int(job.decode().partition("-")[0]) for job in found]
