"""Waiting for a condition, with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks: short enough that no test is slow for it.
LOOK_SECONDS = 0.02


def until(condition: Callable[[], T | None], what: str, seconds: float = 30) -> T:
    """The first truthy value of the condition. Raises AssertionError naming `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"Waited {seconds:g} seconds in vain for {what}.")
        time.sleep(LOOK_SECONDS)
    return value
