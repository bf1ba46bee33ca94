"""What the tests of accounts on the web share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.support.databases import Databases
from tests.support.team import Team, a_team


@pytest.fixture
def database_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> str:
    """Of SQLite; of both kinds for tests that are marked with BOTH_DATABASES: those of what people type."""
    return databases.migrated(getattr(request, "param", "sqlite"), tmp_path / "data")


@pytest.fixture
def team(settings: Settings) -> Iterator[Team]:
    with a_team(settings) as team:
        yield team
