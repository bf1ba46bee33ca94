"""Fixtures for what hands uploads over and takes them back."""

from collections.abc import Iterator

import pytest

from jobs.changes import Changes
from jobs.database import Database
from jobs.queue import UploadQueue
from jobs.settings import Settings


@pytest.fixture
def queue(settings: Settings) -> Iterator[UploadQueue]:
    queue = UploadQueue(settings.redis)
    yield queue
    queue.close()


@pytest.fixture
def changes(settings: Settings, database: Database) -> Iterator[Changes]:
    with Changes.opened(settings, database) as changes:
        yield changes
