"""The sweep for external uploads of which nothing is heard."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jobs import silence, tables
from jobs.events import channels
from jobs.settings import Settings
from jobs.uploads import Processor, Status, Upload
from tests.support.listening import listening
from tests.support.serving import Records

HOUR = 3600.0


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    records = Records(settings)
    yield records
    records.close()


def quiet(records: Records, upload: Upload, seconds: float) -> Upload:
    """The upload as if it had not changed for so many seconds."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    with records.database.transaction() as connection:
        table = tables.uploads
        connection.execute(sa.update(table).where(table.c.id == upload.id).values(updated_at=moment))
    return records.get(upload)


def sweep(records: Records, patience: float = HOUR) -> None:
    silence.sweep(records.database, records.publisher, patience=patience)


def test_who_has_said_nothing_for_a_minute_is_shown_as_silent(records: Records) -> None:
    silent = quiet(records, records.external(), silence.SILENT_AFTER + 1)
    talking = quiet(records, records.external(), silence.SILENT_AFTER - 10)
    for _ in range(2):
        sweep(records)
    noted = records.get(silent)

    assert (noted.status, noted.seq, noted.silent_since) == (Status.PENDING, silent.seq + 1, silent.updated_at)
    assert talking == records.get(talking)


def test_who_stays_silent_is_failed_with_the_reason(records: Records) -> None:
    upload = quiet(records, records.report(records.external(), rows_success=5), HOUR - 10)
    sweep(records)
    noted = records.get(upload)
    sweep(records, HOUR - 20)
    failed = records.get(upload)

    assert noted.status is Status.PROCESSING
    assert (failed.status, failed.seq, failed.rows_success) == (Status.FAILED, upload.seq + 2, 5)
    assert failed.error == (
        "No word came from its script for 3,580 seconds, so it was given up. Is the script running?"
    )
    assert failed.finished_at is not None
    assert failed.silent_since is None


def test_a_short_patience_fails_without_a_note_first(records: Records) -> None:
    upload = quiet(records, records.external(), 3)
    sweep(records, 2)

    assert (records.get(upload).status, records.get(upload).seq) == (Status.FAILED, upload.seq + 1)


@pytest.mark.parametrize("processor", Processor)
def test_what_is_a_workers_or_at_an_end_is_left_alone(records: Records, processor: Processor) -> None:
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
def test_the_patience_is_told_as_people_say_it(records: Records, patience: float, words: str) -> None:
    upload = quiet(records, records.external(), 9 * 86400)
    sweep(records, patience)

    assert f"for {words}, so" in str(records.get(upload).error)


def test_silence_is_told_on_both_channels(records: Records) -> None:
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
