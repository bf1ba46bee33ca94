"""The sweeper: abandoned, lost and silent uploads, on both databases."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

import jobs.queue
from jobs import tables, uploads
from jobs.changes import Changes
from jobs.database import Database, utc_now
from jobs.events import channels
from jobs.process.clock import Clock
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.sweeper import SILENT_AFTER, Sweeper
from jobs.uploads import Processor, Status, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.listening import listening
from tests.support.queueing import NOWHERE, claimed, now, recorded, rung_for, without_redis
from tests.support.serving import Records


@pytest.fixture
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pending upload counts as lost at once."""
    monkeypatch.setattr(jobs.sweeper, "LOST_AFTER", 0)


@pytest.mark.usefixtures("_nobody_waits")
def test_a_pending_upload_that_is_not_queued_is_enqueued(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes
) -> None:
    lost, queued = recorded(settings, database), recorded(settings, database)
    queue.enqueue(queued)
    Sweeper(changes, external_timeout=HOUR).sweep()
    Sweeper(changes, external_timeout=HOUR).sweep()

    assert len(rung_for(settings)) == 2
    assert lost == now(database, lost)


@ONE_DATABASE
def test_a_pending_upload_does_not_count_as_lost_at_once(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes
) -> None:
    recorded(settings, database)
    Sweeper(changes, external_timeout=HOUR).sweep()

    assert rung_for(settings) == []


@ONE_DATABASE
@pytest.mark.usefixtures("_nobody_waits")
def test_an_upload_recorded_without_redis_is_enqueued_once_redis_responds(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes
) -> None:
    upload = recorded(settings, database)
    nowhere = UploadQueue(NOWHERE)
    nowhere.enqueue(upload)
    with Changes.opened(without_redis(settings), database) as unheard:
        Sweeper(unheard, external_timeout=HOUR).sweep()
    nowhere.close()
    Sweeper(changes, external_timeout=HOUR).sweep()

    assert rung_for(settings) == [upload.id]


def test_an_upload_with_an_expired_lease_is_taken_back_and_enqueued(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    silent = claimed(database, recorded(settings, database), lease=-1)
    alive = claimed(database, recorded(settings, database), lease=60)
    Sweeper(changes, external_timeout=HOUR).sweep()
    taken = now(database, silent)

    assert (taken.status, taken.attempt, taken.worker) == (Status.PENDING, 1, None)
    assert alive == now(database, alive)
    assert rung_for(settings) == [silent.id]
    assert f"Took upload {silent.id} back from attempt 1: its worker stopped responding." in caplog.messages


@ONE_DATABASE
def test_an_upload_whose_workers_always_stop_responding_fails(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes
) -> None:
    upload = recorded(settings, database)
    for _ in range(uploads.MAX_ATTEMPTS_WITHOUT_PROGRESS):
        claimed(database, upload, lease=-1)
        Sweeper(changes, external_timeout=HOUR).sweep()
    given_up = now(database, upload)

    assert given_up.status is Status.FAILED
    assert str(given_up.error).endswith("The last time, its worker stopped responding.")
    assert len(rung_for(settings)) == uploads.MAX_ATTEMPTS_WITHOUT_PROGRESS - 1


@ONE_DATABASE
def test_an_expired_lease_is_taken_back_without_redis(settings: Settings, database: Database) -> None:
    silent = claimed(database, recorded(settings, database), lease=-1)
    with Changes.opened(without_redis(settings), database) as changes:
        Sweeper(changes, external_timeout=HOUR).sweep()

    assert now(database, silent).status is Status.PENDING


@pytest.mark.usefixtures("_nobody_waits")
def test_several_sweepers_may_run_at_once(
    settings: Settings, database: Database, queue: UploadQueue, changes: Changes
) -> None:
    silent = [claimed(database, recorded(settings, database), lease=-1) for _ in range(3)]
    lost = [recorded(settings, database) for _ in range(3)]
    sweepers = 4
    at_once = threading.Barrier(sweepers)

    def sweep() -> None:
        at_once.wait(60)
        Sweeper(changes, external_timeout=HOUR).sweep()

    with ThreadPoolExecutor(sweepers) as pool:
        for sweeping in [pool.submit(sweep) for _ in range(sweepers)]:
            sweeping.result(30)

    assert [upload.seq + 1 for upload in silent] == [now(database, upload).seq for upload in silent]
    assert lost == [now(database, upload) for upload in lost]
    assert len(rung_for(settings)) >= len(silent + lost)


# External uploads

HOUR = 3600.0


def quiet(records: Records, upload: Upload, seconds: float) -> Upload:
    """The upload as if it had not changed for so many seconds."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    with records.database.transaction() as connection:
        table = tables.uploads
        connection.execute(sa.update(table).where(table.c.id == upload.id).values(updated_at=moment))
    return records.get(upload)


def sweep(records: Records, patience: float = HOUR) -> None:
    with Changes.opened(records.settings, records.database) as changes:
        Sweeper(changes, external_timeout=patience).sweep()


def test_an_external_upload_without_a_report_for_a_minute_is_marked_silent(records: Records) -> None:
    silent = quiet(records, records.external(), SILENT_AFTER + 1)
    talking = quiet(records, records.external(), SILENT_AFTER - 10)
    for _ in range(2):
        sweep(records)
    noted = records.get(silent)

    assert (noted.status, noted.seq, noted.silent_since) == (Status.PENDING, silent.seq + 1, silent.updated_at)
    assert talking == records.get(talking)


def test_an_external_upload_fails_after_the_timeout(records: Records) -> None:
    upload = quiet(records, records.report(records.external(), rows_success=5), HOUR - 10)
    sweep(records)
    noted = records.get(upload)
    sweep(records, HOUR - 20)
    failed = records.get(upload)

    assert noted.status is Status.PROCESSING
    assert (failed.status, failed.seq, failed.rows_success) == (Status.FAILED, upload.seq + 2, 5)
    assert failed.error == ("The external script sent no report for 3,580 seconds. Check the script, then try again.")
    assert failed.finished_at is not None
    assert failed.silent_since is None


def test_a_short_timeout_fails_an_upload_without_marking_it_first(records: Records) -> None:
    upload = quiet(records, records.external(), 3)
    sweep(records, 2)

    assert (records.get(upload).status, records.get(upload).seq) == (Status.FAILED, upload.seq + 1)


@pytest.mark.parametrize("processor", Processor)
def test_uploads_of_workers_and_ended_uploads_do_not_time_out(records: Records, processor: Processor) -> None:
    if processor is Processor.WORKER:
        found = [records.pending(), records.processing(), records.completed()]
    else:
        found = [records.report(records.external(), "complete"), records.cancel(records.external())]
    found = [quiet(records, upload, 9 * HOUR) for upload in found]
    sweep(records)

    assert found == [records.get(upload) for upload in found]


@pytest.mark.parametrize(
    ("patience", "words"),
    [(1, "1 second"), (90, "90 seconds"), (60, "1 minute"), (1800, "30 minutes"), (3600, "1 hour"), (86400, "24 hours"),
     (2.5, "2.5 seconds")],
)  # fmt: skip
def test_the_error_has_the_timeout_in_words(records: Records, patience: float, words: str) -> None:
    upload = quiet(records, records.external(), 9 * 86400)
    sweep(records, patience)

    assert f"for {words}. " in str(records.get(upload).error)


def test_silence_and_the_timeout_are_published_on_both_channels(records: Records) -> None:
    upload = quiet(records, records.external(), HOUR - 10)
    with listening(records.settings, upload) as heard:
        sweep(records)
        sweep(records)
        sweep(records, HOUR - 20)

    general, own = channels(upload.id)
    assert [(event.event, event.seq) for event in heard[own]] == [
        ("bulk_upload_progress", upload.seq + 1),
        ("bulk_upload_error", upload.seq + 2),
    ]
    assert heard[general] == heard[own]


# A clock that somebody sets


class Clocks:
    """The database's clock and the monotonic one, which the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.monotonic = 0.0
        monkeypatch.setattr(uploads, "utc_now", lambda seconds=0: utc_now(seconds + self.wall))

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def sweeper(self, changes: Changes) -> Sweeper:
        clock = Clock(lambda: time.monotonic() + self.monotonic)
        return Sweeper(changes, external_timeout=HOUR, clock=clock)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_a_clock_set_forward_makes_no_external_upload_silent(records: Records, clocks: Clocks) -> None:
    with Changes.opened(records.settings, records.database) as changes:
        sweeper = clocks.sweeper(changes)
        reported = records.report(records.external(), rows_success=5)
        sweeper.sweep()
        clocks.wall += 2 * HOUR
        sweeper.sweep()

        assert reported == records.get(reported)

        reporting = records.report(records.external(), rows_success=5)
        clocks.pass_time(SILENT_AFTER + 5)
        sweeper.sweep()
        silent = [records.get(upload) for upload in (reported, reporting)]
        clocks.pass_time(HOUR)
        sweeper.sweep()
        failed = [records.get(upload) for upload in (reported, reporting)]

    assert [(upload.status, upload.silent_since is not None) for upload in silent] == [(Status.PROCESSING, True)] * 2
    assert [upload.status for upload in failed] == [Status.FAILED] * 2


def test_a_clock_set_back_fails_no_external_upload_early(records: Records, clocks: Clocks) -> None:
    with Changes.opened(records.settings, records.database) as changes:
        sweeper = clocks.sweeper(changes)
        reported = records.report(records.external(), rows_success=5)
        sweeper.sweep()
        clocks.wall -= 2 * HOUR
        sweeper.sweep()
        clocks.wall += 2 * HOUR
        sweeper.sweep()

        assert reported == records.get(reported)

        clocks.pass_time(HOUR + 5)
        sweeper.sweep()

    assert records.get(reported).status is Status.FAILED


def test_a_sweeper_that_starts_after_the_clock_was_set_goes_by_the_record(records: Records, clocks: Clocks) -> None:
    reported = records.report(records.external(), rows_success=5)
    clocks.wall += 2 * HOUR
    sweep(records)

    assert records.get(reported).status is Status.FAILED


def test_a_clock_set_forward_takes_no_upload_from_its_worker(
    settings: Settings, database: Database, changes: Changes, clocks: Clocks
) -> None:
    sweeper = clocks.sweeper(changes)
    upload = claimed(database, recorded(settings, database), lease=60)
    sweeper.sweep()
    clocks.wall += 2 * HOUR
    sweeper.sweep()

    assert upload == now(database, upload)

    clocks.pass_time(65)
    sweeper.sweep()
    assert now(database, upload).status is Status.PENDING


def test_an_upload_that_nobody_decides_about_is_cancelled_and_its_file_kept(
    settings: Settings, database: Database, changes: Changes
) -> None:
    late, early = recorded(settings, database), recorded(settings, database)
    with database.transaction() as connection:
        for upload, days in ((late, 31), (early, 29)):
            uploads.hold_as_duplicate(connection, upload)
            held_since = {"updated_at": utc_now(-days * 86_400)}
            connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(held_since))
    with listening(settings, late) as heard:
        Sweeper(changes, external_timeout=HOUR, held_days=30).sweep()

    assert (now(database, late).status, now(database, early).status) == (Status.CANCELLED, Status.HELD)
    assert now(database, late).error == "Nobody decided within 30 days, so nothing was imported. Retry it to import it."
    assert [event.event for event in heard[channels(late.id)[1]]] == ["bulk_upload_cancelled"]
