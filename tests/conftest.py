"""Fixtures that several rooms' tests share."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext

from jobs.database import Database, migrate
from jobs.files import Arrival, StoredFile
from jobs.settings import Settings
from tests.support.browsing import chromium, window
from tests.support.parts import require
from tests.support.services import PostgresServer, RedisServer, require_redis
from tests.support.supervised import Serve


@pytest.fixture(scope="session")
def _redis_of_session() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def redis_server(_redis_of_session: RedisServer) -> RedisServer:
    """A Redis with nothing in it. Not to be killed: take a RedisServer of your own for that."""
    _redis_of_session.empty()
    return _redis_of_session


@pytest.fixture(scope="session")
def _postgres_of_session() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; each test that asks for it, or for what is made of it, runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}"
    server: PostgresServer = request.getfixturevalue("_postgres_of_session")
    return server.create()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Settings:
    """Of a system that is quick to notice: a lease of 2 s, a sweep every 0.2 s. Its database is migrated."""
    settings = Settings.load(
        data=tmp_path / "data", database_url=database_url, redis_url=redis_server.url, lease=2, sweep=0.2, port=0
    )
    migrate(settings)
    return settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Opened as the work horse does, so that a job may run in the test's own process."""
    database = Database(settings.database, bulk=True)
    yield database
    database.close()


@pytest.fixture(scope="module", params=["sqlite3", "adbc", "postgresql"])
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database that the tests here share: each undoes what it did."""
    url = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("_postgres_of_session")
        url = server.create()
    settings = Settings.load(data=tmp_path_factory.mktemp("data"), database_url=url)
    migrate(settings)
    database = Database(settings.database, bulk=request.param == "adbc")
    yield database
    database.close()


class UndoneError(Exception):
    """Ends a test's transaction."""


@pytest.fixture
def connection(migrated: Database) -> Iterator[sa.Connection]:
    """A transaction that is rolled back after the test."""
    with suppress(UndoneError), migrated.transaction() as connection:
        yield connection
        raise UndoneError


def store(settings: Settings, content: bytes | str, filename: str = "june.csv") -> StoredFile:
    """A file as it is after it has arrived."""
    with Arrival(settings.files, filename, limit=1 << 30) as arrival:
        arrival.write(content.encode() if isinstance(content, str) else content)
        return arrival.keep()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Serve]]:
    """Starts a `serve` on the folder `data`; at the end of the test none is left."""
    require_redis()
    require(Path("/proc/self/stat").exists(), "needs /proc to look at processes")
    started: list[Serve] = []

    def begin(*flags: str, data: str = "data", port: int = 0, **variables: str) -> Serve:
        started.append(Serve(tmp_path, data, *flags, port=port, **variables))
        return started[-1]

    yield begin
    for serve in started:
        serve.kill_everything()


@pytest.fixture(scope="module")  # while Playwright runs, no other event loop can
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with window(browser) as context:
        yield context
