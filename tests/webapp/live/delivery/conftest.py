"""What the tests of the hub's parts share."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.support.services import RedisServer
from tests.support.serving import Records
from webapp.live.delivery import background, queue_monitor, resync, subscription


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: what differs between them is not the hub's."""
    return sqlite_database_url


@pytest.fixture
def own_records(settings: Settings, redis: RedisServer) -> Iterator[Records]:
    with Records(settings.model_copy(update={"redis_url": redis.url})) as records:
        yield records


@pytest.fixture
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that a test can wait for."""
    monkeypatch.setattr(subscription, "PING_INTERVAL", 0.1)
    monkeypatch.setattr(subscription, "SILENCE_TIMEOUT", 0.4)
    monkeypatch.setattr(subscription, "RECONNECT_DELAY", 0.05)
    monkeypatch.setattr(background, "RETRY_DELAY", 0.05)
    monkeypatch.setattr(resync, "INTERVAL", 0.3)
    monkeypatch.setattr(resync, "INTERVAL_WITHOUT_REDIS", 0.1)
    monkeypatch.setattr(queue_monitor, "INTERVAL", 0.1)


@pytest.fixture
def _no_periodic_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is delivered came from Redis, or from the resync after a gap."""
    monkeypatch.setattr(resync, "INTERVAL_WITHOUT_REDIS", 3600.0)
