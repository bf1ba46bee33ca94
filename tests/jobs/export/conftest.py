"""The databases that exports read."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.database import Database


@pytest.fixture(scope="module", params=["sqlite3", "postgresql"])
def migrated(request: pytest.FixtureRequest, databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A database of each kind that exports read."""
    kind = "postgresql" if request.param == "postgresql" else "sqlite"
    database = Database(databases.migrated(kind, tmp_path_factory.mktemp("data")))
    yield database
    database.close()
