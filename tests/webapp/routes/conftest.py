"""What the tests of the routes share."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.support.databases import Databases
from tests.support.services import RedisServer
from tests.support.serving import Served


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(
    request: pytest.FixtureRequest,
    databases: Databases,
    _redis_of_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """An application for tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("standing")
    url = databases.migrated(request.param, folder / "data")
    with Served(Settings(data=folder / "data", database_url=url, redis_url=_redis_of_session.url, port=0)) as served:
        yield served
