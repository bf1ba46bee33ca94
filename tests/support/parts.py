"""Real parts that tests need: a Redis, a PostgreSQL, a browser."""

import os

import pytest


def require(condition: bool, reason: str) -> None:
    """Continue if the part is installed. Otherwise skip the test; in CI, which must have every part, fail it."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
