"""What the tests of the commands share."""

from collections.abc import Iterator

import pytest

from tests.support import commands


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    commands.kill_all()
