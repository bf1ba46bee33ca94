"""Databases before any migration."""

from pathlib import Path

import pytest

from tests.support.databases import Databases


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}"
    return databases.empty()
