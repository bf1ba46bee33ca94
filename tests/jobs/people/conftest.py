"""Databases as web processes open them: no other process asks about people."""

from collections.abc import Iterator

import pytest

from jobs.database import Database
from tests.support.databases import Databases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def migrated(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database that the tests of a module share: each undoes what it did."""
    database = Database(databases.migrated(request.param, tmp_path_factory.mktemp("data")))
    yield database
    database.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """For tests of what is committed."""
    database = Database(database_url)
    yield database
    database.close()
