"""Fixtures that several rooms' tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.settings import Settings
from tests import ROOT
from tests.support.databases import Databases
from tests.support.disks import SmallDisk, small_disk
from tests.support.memory import keep_files_in_memory
from tests.support.parts import require
from tests.support.services import RedisServer, require_redis
from tests.support.serving import Records, Served, Worker
from tests.support.sharing import share_what_is_compiled
from tests.support.supervised import Serve

# A busy machine is no reason to fail: no example has a deadline.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

#: Fixtures behind which a server, a process or a browser stands.
_HEAVY_FIXTURES = {"_redis_of_session", "redis", "start", "browser", "disk"}
#: Modules by which tests start processes.
_PROCESSES = {"subprocess", "tests.support.commands", "tests.support.proxies", "tests.support.services"}


def pytest_configure() -> None:
    keep_files_in_memory()
    share_what_is_compiled()


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `unit` each test of a package that starts no server, no process and no browser."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_unit(item):
            item.add_marker("unit")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter that is a file after its argument. Archives hold the time; xdist workers need the same names."""
    return argname if isinstance(val, bytes) and len(val) >= 20 else None


def _is_unit(item: pytest.Function) -> bool:
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return item.path.relative_to(ROOT / "tests").parts[0] in ("jobs", "webapp") and not (
        _HEAVY_FIXTURES & set(item.fixturenames)
        or any(str(each).startswith("postgresql") for each in parameters)
        or any(_origin(each) in _PROCESSES for each in vars(item.module).values())
    )


def _origin(value: object) -> str:
    """The module that is this, or that this comes from."""
    return str(getattr(value, "__module__", None) or getattr(value, "__name__", ""))


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


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which may be killed and frozen."""
    server = RedisServer()
    yield server
    with suppress(ProcessLookupError):
        server.thaw()
    server.remove()


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    databases = Databases(tmp_path_factory.mktemp("databases"))
    yield databases
    databases.remove()


@pytest.fixture
def sqlite_database_url(databases: Databases, tmp_path: Path) -> str:
    """The URL of a migrated SQLite database. A module whose tests need one kind only makes it its `database_url`."""
    return databases.migrated("sqlite", tmp_path / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database; each test that asks for it, or for what is made of it, runs on both kinds."""
    url = databases.migrated(request.param, tmp_path / "data")
    yield url
    databases.drop(url)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Settings:
    """Of a system that is quick to notice: a lease of 2 s, a sweep every 0.2 s. Its database is migrated."""
    return Settings.load(
        data=tmp_path / "data", database_url=database_url, redis_url=redis_server.url, lease=2, sweep=0.2, port=0
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 64 MB that the test may fill up."""
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        yield disk


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    with Records(settings) as records:
        yield records


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    """The application, for one test."""
    with Served(settings) as served:
        yield served


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Opened as the work horse does, so that a job may run in the test's own process."""
    database = Database(settings.database, bulk=True)
    yield database
    database.close()


@pytest.fixture(scope="module", params=["sqlite3", "adbc", "postgresql"])
def migrated(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database that the tests here share: each undoes what it did."""
    kind = "postgresql" if request.param == "postgresql" else "sqlite"
    url = databases.migrated(kind, tmp_path_factory.mktemp("data"))
    database = Database(url, bulk=request.param == "adbc")
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


@pytest.fixture
def site(tmp_path: Path, databases: Databases, redis_server: RedisServer) -> Iterator[Callable[..., Served]]:
    """Starts the application and a worker on SQLite in the folder `data`, in a tenth of the time that `start` takes.
    workers: 0 for none. variables: of the environment."""
    with ExitStack() as stack:

        def begin(workers: int = 1, **variables: str) -> Served:
            data = tmp_path / "data"
            options = {name.removeprefix("BULK_UPLOAD_").lower(): value for name, value in variables.items()}
            url = databases.migrated("sqlite", data)
            settings = Settings.load(data=data, database_url=url, redis_url=redis_server.url, port=0, **options)
            served = stack.enter_context(Served(settings))
            if workers:
                stack.enter_context(Worker(settings))
            return served

        yield begin
