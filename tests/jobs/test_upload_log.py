"""The log of an upload: written with each change, by nobody who has lost the claim, and bounded."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import tables, upload_log, uploads
from jobs.attempts import UploadLog
from jobs.errors import ClaimLostError, TransitionError
from jobs.files import StoredFile
from jobs.import_options import ImportOptions
from jobs.upload_log import (
    DETAIL_LENGTH,
    EXTERNAL_STEP,
    FIRST_KEPT,
    LAST_KEPT,
    MAX_MILESTONES,
    PRUNED_EVERY,
    By,
    Entry,
    Kind,
    Milestones,
    State,
    Via,
)
from jobs.uploads import Claim, CutReason, Processor, Remedy, Status, Upload

WEB = By(Via.WEB)


def created(connection: sa.Connection, **more: object) -> Upload:
    return uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"), **more)  # type: ignore[arg-type]  # of create


def claimed(connection: sa.Connection, upload: Upload) -> Upload:
    found = uploads.claim(connection, upload.id, worker="here:1", lease=60)

    assert found is not None
    return found


def claim_of(upload: Upload) -> Claim:
    return Claim(upload.id, upload.attempt)


def advanced(connection: sa.Connection, upload: Upload, good: int = 10, bad: int = 0) -> Upload:
    return uploads.advance(connection, claim_of(upload), lease=60, good=good, bad=bad, next_byte=4)


def log_of(connection: sa.Connection, upload: Upload) -> list[Entry]:
    return upload_log.read(connection, upload.id)


def kinds(connection: sa.Connection, upload: Upload) -> list[Kind]:
    return [entry.kind for entry in log_of(connection, upload)]


def test_an_import_logs_its_creation_its_claim_and_its_end(connection: sa.Connection) -> None:
    new = created(connection, by=WEB)
    upload = advanced(connection, claimed(connection, new), good=7, bad=3)
    ended = uploads.complete(connection, claim_of(upload))
    first, claim, end = log_of(connection, upload)

    assert (first.kind, first.seq, first.by, first.at) == (Kind.CREATED, 1, WEB, new.updated_at)
    assert (claim.kind, claim.worker, claim.lane, claim.attempt) == (Kind.CLAIMED, "here:1", "quick", 1)
    assert (end.kind, end.seq, end.at) == (Kind.COMPLETED, ended.seq, ended.updated_at)
    assert (end.rows_processed, end.rows_failed) == (10, 3)


def test_an_attempt_that_continues_says_at_which_row(connection: sa.Connection) -> None:
    upload = advanced(connection, claimed(connection, created(connection)))
    uploads.hand_back(connection, claim_of(upload), because="its worker was shut down", at_shutdown=True)
    again = claimed(connection, upload)

    assert kinds(connection, upload) == [Kind.CREATED, Kind.CLAIMED, Kind.HANDED_BACK, Kind.RESUMED]
    assert log_of(connection, upload)[-1] == Entry(
        again.seq, again.updated_at, Kind.RESUMED, 2, 10, 0, worker="here:1", lane="quick"
    )


def test_each_early_end_of_an_attempt_says_why(connection: sa.Connection) -> None:
    upload = claimed(connection, created(connection))
    uploads.hand_back(connection, claim_of(upload), because="an unexpected error occurred (KeyError)")
    upload = claimed(connection, upload)
    connection.execute(sa.update(tables.uploads).values(lease_until=upload.created_at - timedelta(hours=1)))
    uploads.hand_back(connection, claim_of(upload), because="its worker stopped responding", expired=True)
    upload = claimed(connection, upload)
    uploads.cut(connection, claim_of(upload), CutReason.MEMORY)

    assert [(entry.kind, entry.detail) for entry in log_of(connection, upload) if entry.detail] == [
        (Kind.HANDED_BACK, "an unexpected error occurred (KeyError)"),
        (Kind.LEASE_LOST, "its worker stopped responding"),
        (Kind.CUT, "it exceeded the limit of memory"),
    ]


def test_the_cut_that_fails_an_upload_is_its_end(connection: sa.Connection) -> None:
    upload = claimed(connection, created(connection))
    uploads.cut(connection, claim_of(upload), CutReason.TIME)
    upload = claimed(connection, upload)
    uploads.cut(connection, claim_of(upload), CutReason.TIME)

    assert kinds(connection, upload)[-3:] == [Kind.CUT, Kind.CLAIMED, Kind.FAILED]
    assert "limits (time)" in str(log_of(connection, upload)[-1].detail)


def test_who_cancels_and_who_retries_is_logged(connection: sa.Connection) -> None:
    upload = created(connection)
    uploads.cancel(connection, upload.id, by=By(Via.API))
    uploads.retry(connection, upload.id, by=By(Via.COMMAND))
    uploads.cancel(connection, upload.id)
    uploads.retry_with(connection, upload.id, ImportOptions(delimiter=";"), by=WEB)

    assert [(entry.kind, entry.by) for entry in log_of(connection, upload)][1:] == [
        (Kind.CANCELLED, By(Via.API)),
        (Kind.RETRIED, By(Via.COMMAND)),
        (Kind.CANCELLED, None),
        (Kind.RETRIED, WEB),
    ]
    assert log_of(connection, upload)[-1].detail == "with other import options"


def test_a_duplicate_that_is_held_says_of_which_upload(connection: sa.Connection) -> None:
    first = advanced(connection, claimed(connection, created(connection)))
    uploads.complete(connection, claim_of(first))
    second = uploads.hold_as_duplicate(connection, created(connection))

    assert log_of(connection, second)[-1].detail == f"The same file was imported before, as #{first.id}."


def test_a_lost_claim_logs_nothing(connection: sa.Connection) -> None:
    upload = claimed(connection, created(connection))
    uploads.cancel(connection, upload.id)
    before = log_of(connection, upload)
    with pytest.raises(ClaimLostError):
        uploads.complete(connection, claim_of(upload))
    with pytest.raises(ClaimLostError):
        uploads.fail(connection, claim_of(upload), "No.", Remedy.FILE)
    with pytest.raises(TransitionError):
        uploads.cancel(connection, upload.id)
    uploads.hand_back(connection, claim_of(upload), because="its worker stopped responding")
    uploads.cut(connection, claim_of(upload), CutReason.TIME)

    assert uploads.claim(connection, upload.id, worker="there:1", lease=60) is None
    assert before == log_of(connection, upload)


def test_a_detail_is_bounded(connection: sa.Connection) -> None:
    upload = claimed(connection, created(connection))
    uploads.fail(connection, claim_of(upload), "x" * 10 * DETAIL_LENGTH)

    assert len(str(log_of(connection, upload)[-1].detail)) == DETAIL_LENGTH + 1


def test_an_upload_that_changes_hands_without_end_keeps_its_first_and_its_last_entries(
    connection: sa.Connection,
) -> None:
    upload = created(connection)
    rounds = (FIRST_KEPT + LAST_KEPT) // 2 + 2 * PRUNED_EVERY
    for _ in range(rounds):
        upload = claimed(connection, upload)
        uploads.hand_back(connection, claim_of(upload), because="its worker was shut down", at_shutdown=True)
    entries = log_of(connection, upload)

    assert len(entries) <= FIRST_KEPT + LAST_KEPT + 2 * PRUNED_EVERY
    assert [entry.seq for entry in entries[:FIRST_KEPT]] == list(range(1, FIRST_KEPT + 1))
    assert entries[-1].attempt == rounds


def test_an_upload_that_is_retried_without_end_is_bounded_too(connection: sa.Connection) -> None:
    upload = created(connection)
    for _ in range(FIRST_KEPT + LAST_KEPT):
        uploads.cancel(connection, upload.id)
        uploads.retry(connection, upload.id)

    assert len(log_of(connection, upload)) <= FIRST_KEPT + LAST_KEPT


def states(upload: Upload, seconds: float, count: int) -> list[State]:
    """States of commits at even distances."""
    return [
        State(upload.id, 100 + n, upload.created_at + timedelta(seconds=seconds * n), 1, 10 * n, 0)
        for n in range(1, count + 1)
    ]


def milestones(connection: sa.Connection, upload: Upload) -> list[Entry]:
    return [entry for entry in log_of(connection, upload) if entry.kind is Kind.MILESTONE]


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 2_000), (1.0, 700), (60.0, 300)])
def test_milestones_are_few_and_evenly_spread(connection: sa.Connection, seconds: float, count: int) -> None:
    upload = created(connection)
    passed = Milestones(upload.created_at)
    for state in states(upload, seconds, count):
        passed.pass_by(connection, state)
    found = milestones(connection, upload)
    gaps = [(later.at - earlier.at).total_seconds() for earlier, later in itertools.pairwise(found)]

    assert MAX_MILESTONES // 2 - 5 <= len(found) <= MAX_MILESTONES
    assert max(gaps) <= 2.3 * min(gaps) + 2 * seconds
    assert found[-1].rows_processed >= 10 * count * 0.95


def test_a_short_import_has_no_milestone(connection: sa.Connection) -> None:
    upload = created(connection)
    passed = Milestones(upload.created_at)
    for state in states(upload, 0.01, 10):
        passed.pass_by(connection, state)

    assert milestones(connection, upload) == []


def test_an_attempt_that_continues_knows_the_milestones_before_it(connection: sa.Connection) -> None:
    upload = created(connection)
    for part in range(10):
        some = states(upload, 1.0, 1_000)[part * 100 : (part + 1) * 100]
        passed = Milestones.resumed(connection, upload.id, some[0].at)
        for state in some:
            passed.pass_by(connection, state)

    assert len(milestones(connection, upload)) <= MAX_MILESTONES


def test_a_run_from_the_start_forgets_the_milestones_of_the_one_before(connection: sa.Connection) -> None:
    upload = advanced(connection, claimed(connection, created(connection)), good=0, bad=3)
    upload_log.write(connection, upload.log_state, Kind.MILESTONE)
    uploads.fail(connection, claim_of(upload), "All rows failed.")
    uploads.retry(connection, upload.id)

    assert milestones(connection, upload) == []


def test_an_external_upload_logs_its_first_report_some_milestones_and_its_end(connection: sa.Connection) -> None:
    upload = created(connection, processor=Processor.EXTERNAL)
    for percent in range(101):
        target = Status.COMPLETED if percent == 100 else Status.PROCESSING
        counts: dict[str, Any] = {"rows_total": None, "rows_success": percent, "rows_failed": 0}
        upload = uploads.report(connection, upload, target, progress=percent, error=None, **counts)
    found = kinds(connection, upload)

    assert (found[:2], found[-1]) == ([Kind.CREATED, Kind.STARTED], Kind.COMPLETED)
    assert found.count(Kind.MILESTONE) == 100 // EXTERNAL_STEP - 1


def test_a_script_that_is_silent_is_logged(connection: sa.Connection) -> None:
    upload = created(connection, processor=Processor.EXTERNAL)
    connection.execute(sa.update(tables.uploads).values(updated_at=upload.created_at - timedelta(hours=1)))
    uploads.mark_silent(connection, upload.id, for_seconds=60)
    uploads.time_out(connection, upload.id, for_seconds=60, error="No report.")

    assert kinds(connection, upload)[1:] == [Kind.SILENT, Kind.FAILED]


def test_the_log_goes_with_its_upload(connection: sa.Connection) -> None:
    upload = created(connection)
    connection.execute(sa.delete(tables.uploads).where(tables.uploads.c.id == upload.id))

    assert log_of(connection, upload) == []


def test_an_upload_of_an_earlier_release_has_the_entries_that_its_record_tells_of(connection: sa.Connection) -> None:
    upload = advanced(connection, claimed(connection, created(connection)))
    upload = uploads.complete(connection, claim_of(upload))
    connection.execute(sa.delete(tables.upload_log))
    found = UploadLog.read(connection, upload)

    assert [entry.kind for entry in found.entries] == [Kind.CREATED, Kind.CLAIMED, Kind.COMPLETED]
    assert [entry.at for entry in found.entries] == [upload.created_at, upload.started_at, upload.finished_at]
    assert [(attempt.number, attempt.end) for attempt in found.attempts] == [(1, Kind.COMPLETED)]
