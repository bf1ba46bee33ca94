"""Redis with a user and a password, on a port, with TLS and on a socket: every part of the system reaches it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.redis_forms import FORMS, LockedRedis
from tests.support.serving import Served, Worker, stream
from webapp.doctor import parts
from webapp.doctor.finding import Status

pytestmark = ONE_DATABASE


@pytest.fixture(params=FORMS)
def locked(request: pytest.FixtureRequest) -> Iterator[LockedRedis]:
    folder = Path(tempfile.mkdtemp(prefix="bulk-"))
    redis = LockedRedis(folder, request.param)
    yield redis
    redis.end()
    shutil.rmtree(folder)


def test_an_upload_is_imported_and_followed(locked: LockedRedis, settings: Settings) -> None:
    settings = settings.model_copy(update={"redis_url": locked.url, "log_level": "WARNING"})
    with Worker(settings) as worker, Served(settings) as served:
        with stream(served.client, "/api/v1/events") as events:
            sent = served.client.post("/api/v1/uploads", files={"file": ("a.csv", b"id\n1\n2\n")}).json()
            events.until(lambda event: event.json()["status"] == "completed")
        served.client.post("/api/v1/session", json={"name": "nobody", "password": "wrong"})
        found = [each for check in (parts.redis, parts.workers) for each in check(settings)]
        assert worker.log == ""
    refused = list(parts.redis(settings.model_copy(update={"redis_url": locked.url_of_nobody})))

    assert sent["id"] == 1
    assert [each.status for each in found] == [Status.OK] * len(found)
    assert {"redis", "clock of Redis", "workers quick", "workers bulk", "worker versions"} == {
        each.check for each in found
    }
    assert [each.status for each in refused] == [Status.FAILED]
    assert "wrong" not in refused[0].detail
