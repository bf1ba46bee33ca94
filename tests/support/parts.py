"""Real parts that tests need: a Redis, a PostgreSQL, a browser."""

import os

import pytest


def require(condition: bool, reason: str) -> None:
    """Go on if the part is there. Else skip the test, or fail it in CI, where every part has to be."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
