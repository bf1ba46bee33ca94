"""A clock that jumps is noticed, in either direction."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from jobs.process.clock import Clock

HOUR = 3600.0
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Scene:
    """Both clocks, which the test moves. wall: seconds after noon."""

    def __init__(self) -> None:
        self.wall = self.monotonic = 0.0
        self.clock = Clock(lambda: self.monotonic)
        self.read()

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def read(self) -> datetime:
        return self.clock.read(lambda: at(self.wall))

    def elapsed(self, since: float) -> float:
        return self.clock.elapsed(self.read(), at(since))


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_time_that_passes_is_no_jump(scene: Scene) -> None:
    for _ in range(3):
        scene.pass_time(2 * HOUR)
        scene.read()

    assert scene.elapsed(0) == 6 * HOUR


@pytest.mark.parametrize("jump", [3.0, 60.0, 2 * HOUR])
def test_a_jump_forward_is_no_time_that_passed(scene: Scene, jump: float) -> None:
    scene.pass_time(100)
    scene.wall += jump
    scene.pass_time(1)

    assert scene.elapsed(90) == 11  # before the jump
    scene.pass_time(5)
    assert scene.elapsed(100 + jump + 2) == 4  # after it


def test_a_clock_that_was_corrected_counts_as_one_that_never_jumped(scene: Scene) -> None:
    scene.pass_time(10)
    scene.wall += 2 * HOUR
    scene.read()
    scene.pass_time(10)
    scene.wall -= 2 * HOUR
    scene.read()
    scene.pass_time(10)

    assert scene.elapsed(5) == 25


def test_a_clock_that_was_set_back_makes_nothing_older(scene: Scene) -> None:
    scene.pass_time(10)
    scene.wall -= 2 * HOUR

    assert scene.elapsed(5) < 0
    scene.pass_time(100)
    assert scene.elapsed(10 - 2 * HOUR) == 100


def test_several_jumps_add_up(scene: Scene) -> None:
    for _ in range(3):
        scene.wall += HOUR
        scene.pass_time(10)
        scene.read()

    assert scene.elapsed(0) == 30
    assert scene.elapsed(HOUR + 10) == 20


def test_a_slow_drift_is_noticed_in_the_end(scene: Scene) -> None:
    for _ in range(100):
        scene.pass_time(10)
        scene.wall += 0.1
        scene.read()

    assert scene.elapsed(0) == pytest.approx(1000, abs=3)


def slow(scene: Scene, seconds: float) -> Callable[[], datetime]:
    def now() -> datetime:
        found = at(scene.wall)
        scene.pass_time(seconds)
        return found

    return now


def test_a_slow_answer_of_the_database_is_no_jump(scene: Scene) -> None:
    scene.clock.read(slow(scene, 30))

    assert scene.elapsed(0) == 30


def test_a_deadline_moves_with_the_jump_after_it_was_set(scene: Scene) -> None:
    scene.pass_time(10)
    scene.wall += 2 * HOUR

    assert scene.clock.elapsed(scene.read(), at(20), noted=at(5)) == -10
    scene.pass_time(11)
    assert scene.clock.elapsed(scene.read(), at(20), noted=at(5)) == 1
