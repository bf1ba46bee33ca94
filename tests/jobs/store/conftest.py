"""An S3 server for the tests of this folder."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.support.buckets import S3Server, shared_server


@pytest.fixture(scope="module")
def _s3() -> Iterator[S3Server]:
    yield from shared_server()


@pytest.fixture
def s3(_s3: S3Server) -> S3Server:
    """With an empty bucket."""
    _s3.empty()
    return _s3


@pytest.fixture
def in_bucket(settings: Settings, s3: S3Server) -> Settings:
    return s3.settings(settings)
