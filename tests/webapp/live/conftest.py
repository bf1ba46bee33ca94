"""What the tests of the streams share."""

from collections.abc import Iterator

import pytest
from redis import Redis

from jobs.settings import Settings
from tests.support.rendering import Scene
from tests.support.serving import Records, Served
from tests.support.waiting import until
from webapp.live.delivery import resync


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An application whose hub is subscribed and never resyncs: what a stream misses stays missing."""
    monkeypatch.setattr(resync, "INTERVAL_WITHOUT_REDIS", 3600.0)
    with Served(settings) as served, Redis.from_url(settings.redis) as redis:
        until(lambda: redis.pubsub_numpat() == 1, "the hub to subscribe")
        yield served


@pytest.fixture
def scene(records: Records) -> Iterator[Scene]:
    scene = Scene(records)
    yield scene
    scene.close()
