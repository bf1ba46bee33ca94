"""The watchdog's verdicts about a work horse."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from jobs import uploads
from jobs.database import Database
from jobs.process.horse_state import HorseState
from jobs.settings import Settings
from jobs.uploads import CutReason, Upload
from jobs.work import watchdog
from jobs.work.watchdog import NO_PROGRESS_SECONDS, Watchdog
from tests.support.databases import ONE_DATABASE
from tests.support.queueing import claimed, now, recorded
from tests.support.waiting import until

Watch = Callable[..., Watchdog]


class StateOnPaper(HorseState):
    """A state whose time without progress the test sets."""

    idle = 0.0

    @property
    def seconds_without_progress(self) -> float:
        return 0.0 if self.is_waiting else self.idle


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Opened as in the worker that watches, which is not the process that imports."""
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def state() -> StateOnPaper:
    return StateOnPaper()


@pytest.fixture
def horse() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits."""
    command = [sys.executable, "-c", "print('waiting', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        yield process
        process.kill()


@pytest.fixture
def watch(settings: Settings, state: StateOnPaper, horse: subprocess.Popen[bytes]) -> Iterator[Watch]:
    """Makes a watchdog of the waiting process."""
    made: list[Watchdog] = []

    def make(**changed: object) -> Watchdog:
        made.append(Watchdog(settings.model_copy(update=changed), state, horse.pid))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def upload(settings: Settings, database: Database, state: StateOnPaper) -> Upload:
    """An upload that the work horse claimed."""
    upload = claimed(database, recorded(settings, database), lease=60)
    state.begin(upload.id, upload.attempt)
    return upload


@pytest.mark.usefixtures("upload")
def test_a_work_horse_that_makes_progress_goes_on(watch: Watch, state: StateOnPaper) -> None:
    state.idle = NO_PROGRESS_SECONDS - 1

    assert watch().verdict() is None


@pytest.mark.usefixtures("upload")
@ONE_DATABASE
def test_a_work_horse_without_progress_is_cut(watch: Watch, state: StateOnPaper) -> None:
    state.idle = NO_PROGRESS_SECONDS + 1

    assert watch().verdict() is CutReason.TIME


@pytest.mark.usefixtures("upload")
@ONE_DATABASE
def test_a_work_horse_that_waits_for_the_database_is_not_cut(watch: Watch, state: StateOnPaper) -> None:
    state.idle = NO_PROGRESS_SECONDS + 1
    with state.waiting():
        assert watch().verdict() is None


@pytest.mark.usefixtures("upload")
@ONE_DATABASE
def test_a_work_horse_that_holds_too_much_memory_is_cut(watch: Watch) -> None:
    assert watch(worker_memory=1 << 20).verdict() is CutReason.MEMORY


def test_a_work_horse_of_a_cancelled_upload_is_ended_without_a_cut(
    watch: Watch, database: Database, upload: Upload
) -> None:
    with database.transaction() as connection:
        uploads.cancel(connection, upload.id)

    assert watch().verdict() == "its upload was cancelled"


def test_a_work_horse_that_lost_its_claim_is_ended_without_a_cut(
    watch: Watch, database: Database, upload: Upload
) -> None:
    with database.transaction() as connection:
        uploads.hand_back(connection, uploads.Claim(upload.id, upload.attempt), because="it was silent")
    handed_back = watch().verdict()
    claimed(database, upload, lease=60)

    assert handed_back == watch().verdict() == "its claim is lost"


@ONE_DATABASE
def test_a_work_horse_that_recorded_the_end_may_clean_up(watch: Watch, database: Database, upload: Upload) -> None:
    with database.transaction() as connection:
        uploads.complete(connection, uploads.Claim(upload.id, upload.attempt))

    assert watch().verdict() is None


def leases(database: Database, upload: Upload) -> datetime:
    lease = now(database, upload).lease_until
    assert lease is not None
    return lease


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass on the watchdog's clock."""
    passed = [0.0]
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: passed[0])})
    monkeypatch.setattr(watchdog, "time", clock)

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


@pytest.mark.parametrize("idle", [0, NO_PROGRESS_SECONDS - 1])
def test_the_lease_of_a_work_horse_that_is_too_busy_to_renew_it_is_renewed(
    watch: Watch,
    database: Database,
    upload: Upload,
    state: StateOnPaper,
    wait: Callable[[float], None],
    idle: float,
) -> None:
    watchful, before = watch(lease=90), leases(database, upload)
    state.idle = idle
    watchful.verdict()
    wait(29)
    watchful.verdict()
    early = leases(database, upload)
    wait(2)

    assert watchful.verdict() is None
    assert (early, leases(database, upload) > before) == (before, True)


@ONE_DATABASE
def test_the_lease_of_a_work_horse_in_a_transaction_is_left_to_itself(
    watch: Watch, database: Database, upload: Upload, state: StateOnPaper, wait: Callable[[float], None]
) -> None:
    watchful, before = watch(lease=90), leases(database, upload)
    watchful.verdict()
    wait(60)
    with state.waiting():
        watchful.verdict()

    assert leases(database, upload) == before


@ONE_DATABASE
def test_the_lease_of_a_frozen_work_horse_is_left_to_expire(
    watch: Watch,
    database: Database,
    upload: Upload,
    horse: subprocess.Popen[bytes],
    wait: Callable[[float], None],
) -> None:
    watchful, before = watch(lease=90), leases(database, upload)
    watchful.verdict()
    wait(60)
    os.kill(horse.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(horse.pid).status() == psutil.STATUS_STOPPED, "the process to stop")

    assert watchful.verdict() is None
    assert leases(database, upload) == before


@pytest.mark.usefixtures("upload")
@ONE_DATABASE
def test_a_work_horse_goes_on_while_the_database_does_not_answer_the_watchdog(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = watch(database_url="postgresql://nobody@127.0.0.1:1/nothing")

    assert nowhere.verdict() is None
    assert "The watchdog cannot read upload" in caplog.text


@ONE_DATABASE
def test_a_kill_by_the_kernel_counts_as_too_much_memory(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    monkeypatch.setattr(watchdog, "_KERNEL_COUNTERS", counters)
    counters.write_text("nr_free_pages 12\noom_kill 3\n")
    watchful = watch()
    by_somebody = watchful.cause_of_death(signal.SIGKILL)
    counters.write_text("nr_free_pages 12\noom_kill 4\n")

    assert (by_somebody, watchful.cause_of_death(signal.SIGKILL)) == (None, CutReason.MEMORY)
    assert watchful.cause_of_death(None) is None


@ONE_DATABASE
def test_a_work_horse_that_aborts_near_the_limit_ran_out_of_memory(watch: Watch) -> None:
    large, small = watch(worker_memory=1 << 21), watch()
    for each in (large, small):
        each.verdict()

    assert large.cause_of_death(signal.SIGABRT) is CutReason.MEMORY
    assert small.cause_of_death(signal.SIGABRT) is None
