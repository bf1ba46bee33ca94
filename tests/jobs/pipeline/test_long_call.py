"""Calls that may take long."""

import threading

import pytest

from jobs.pipeline import long_call
from jobs.pipeline.long_call import TooSlowError, run_with_ticks, seconds_for
from tests.support.files import nothing


def test_the_result_or_the_error_of_the_call_is_returned() -> None:
    assert run_with_ticks(lambda: 1, nothing) == 1
    with pytest.raises(ZeroDivisionError):
        run_with_ticks(lambda: 1 // 0, nothing)


def test_a_call_beyond_its_time_is_given_up_and_ticks_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_call, "TICK_SECONDS", 0.01)
    released, ticks = threading.Event(), 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    with pytest.raises(TooSlowError, match="could not be read within the limits"):
        run_with_ticks(lambda: released.wait(60), tick, seconds=0.1)
    released.set()
    assert ticks > 1


def test_the_time_grows_with_the_size() -> None:
    assert (seconds_for(0), seconds_for(20_000_000)) == (30, 40)
