"""What the tests of changes of datasets share."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.support.team import Team, a_team


@pytest.fixture
def team(settings: Settings) -> Iterator[Team]:
    with a_team(settings) as team:
        yield team
