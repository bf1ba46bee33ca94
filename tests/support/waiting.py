"""Waits for a condition, with a deadline, instead of a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two checks, too short to slow down a test.
CHECK_SECONDS = 0.02


def until(condition: Callable[[], T | None], what: str, seconds: float = 90) -> T:
    """The first truthy value of the condition. Raises AssertionError naming `what` if there is none in time.

    The limit is for what never comes: a slow machine must not reach it.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"Waited {seconds:g} seconds in vain for {what}.")
        time.sleep(CHECK_SECONDS)
    return value
