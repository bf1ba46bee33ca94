"""What a work horse tells its parent, in processes that share it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobs.process import horse_state
from jobs.process.horse_state import HorseState


class Clock:
    """Replaces the clock by one that the test sets, in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic_ns(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(horse_state, "time", clock)
    return clock


@contextmanager
def in_a_child() -> Iterator[bool]:
    """Runs the block in a fork only; the parent waits for it."""
    pid = os.fork()
    if pid == 0:
        try:
            yield True
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    yield False


def test_a_parent_reads_the_claim_that_its_child_holds() -> None:
    state = HorseState()
    before = state.claim
    with in_a_child() as is_child:
        if is_child:
            state.begin(7, 3)

    assert (before, state.claim) == (None, (7, 3))


def test_no_claim_is_held_after_its_end() -> None:
    state = HorseState()
    state.begin(7, 3)
    state.end()

    assert state.claim is None


def test_seconds_without_progress_count_from_the_last_progress(clock: Clock) -> None:
    state = HorseState()
    clock.seconds += 5
    late = state.seconds_without_progress
    state.progress()

    assert (late, state.seconds_without_progress) == (5, 0)


def test_waiting_counts_as_progress_even_of_several_threads_at_once(clock: Clock) -> None:
    state = HorseState()
    with state.waiting():
        with state.waiting():
            clock.seconds += 60
            both = state.seconds_without_progress
        clock.seconds += 60
        one = state.seconds_without_progress
    clock.seconds += 1

    assert (both, one, state.seconds_without_progress) == (0, 0, 1)


def test_a_new_work_horse_begins_afresh(clock: Clock) -> None:
    state = HorseState()
    state.begin(7, 3)
    with pytest.raises(KeyError), state.waiting():
        raise KeyError
    clock.seconds += 60
    state.reset()

    assert (state.claim, state.is_waiting, state.seconds_without_progress) == (None, False, 0)


def test_a_claim_is_condemned_only_while_it_is_held() -> None:
    state = HorseState()
    state.begin(7, 1)
    held = state.condemn((7, 1)), state.is_condemned
    state.reset()
    state.begin(8, 1)
    moved_on = state.condemn((7, 1)), state.is_condemned
    state.end()

    assert (held, moved_on) == ((True, True), (False, False))
    assert (state.condemn(None), state.is_condemned) == (True, True)
