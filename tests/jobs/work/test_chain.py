"""How long a work horse goes on."""

from collections.abc import Iterator

import pytest

from jobs.process import horse_state, shutdown
from jobs.work import chain
from jobs.work.chain import Chain

GB = 1 << 30


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    shutdown.requested.clear()
    horse_state.state.reset()


def test_a_work_horse_takes_no_more_than_so_many_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MOST_UPLOADS", 3)
    uploads = Chain(100 * GB)

    assert [uploads.goes_on() for _ in range(3)] == [True, True, False]


def test_a_work_horse_begins_no_upload_after_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MOST_SECONDS", 0.0)

    assert not Chain(100 * GB).goes_on()


def test_a_work_horse_that_holds_much_memory_begins_no_other_upload() -> None:
    assert not Chain(1 << 20).goes_on()


def test_a_work_horse_begins_no_upload_when_its_worker_shuts_down() -> None:
    uploads = Chain(100 * GB)
    assert uploads.goes_on()
    shutdown.requested.set()

    assert not uploads.goes_on()


def test_a_condemned_work_horse_begins_no_other_upload() -> None:
    uploads = Chain(100 * GB)
    horse_state.state.begin(1, 1)
    assert horse_state.state.condemn((1, 1))

    assert not uploads.goes_on()
