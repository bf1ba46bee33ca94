"""The upload's record and its state machine, through each database driver."""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import datasets, failed_rows, tables, uploads
from jobs.database import Database
from jobs.errors import ClaimLostError, DatabaseBusyError, OptionsFixedError, TransitionError, UploadNotFoundError
from jobs.failed_rows import FailedRow, Reason
from jobs.files import StoredFile
from jobs.history_query import HistoryQuery
from jobs.import_options import ImportOptions
from jobs.lanes import Lane
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import (
    ACTIVE,
    LONGEST_ERROR,
    MAX_ATTEMPTS_WITHOUT_PROGRESS,
    MAX_CUTS,
    TERMINAL,
    Claim,
    CutReason,
    HoldCode,
    Processor,
    Remedy,
    Status,
    Task,
    Upload,
    Waiting,
)

MOMENT = datetime(2026, 1, 31, 9, tzinfo=UTC)


def created(connection: sa.Connection, filename: str = "june.csv", *, sha256: str = "beef", **more: Any) -> Upload:
    return uploads.create(connection, StoredFile(filename, "00ff", 8, sha256), **more)


def claimed(connection: sa.Connection, upload: Upload | None = None, *, lease: float = 60) -> Upload:
    upload = uploads.claim(connection, (upload or created(connection)).id, worker="here:1", lease=lease)

    assert upload is not None

    return upload


def claim_of(upload: Upload) -> Claim:
    return Claim(upload.id, upload.attempt)


def advanced(connection: sa.Connection, claim: Claim, good: int = 1, bad: int = 0, *, next_byte: int = 4) -> Upload:
    rows = [FailedRow(number, ["x"], [Reason(None, "has 1 cell, expected 2")]) for number in range(1, bad + 1)]
    upload = uploads.advance(connection, claim, lease=60, good=good, bad=bad, next_byte=next_byte)
    failed_rows_writer.record(connection, upload.id, PackedFailedRows.pack(rows), room=9)
    return upload


def begun(connection: sa.Connection, claim: Claim, **otherwise: Any) -> Upload:
    known: dict[str, Any] = {"dataset": "june", "rows_total": 100, "next_byte": 4, "bytes_total": 8}
    known |= {"header": ["a", "b"], "parent": None, "notes": ["Read as UTF-8."]}
    return uploads.begin(connection, claim, lease=60, **{**known, **otherwise})


def set_to(connection: sa.Connection, upload: Upload, **values: Any) -> Upload:
    """The upload with columns set directly, such as a time in the past."""
    connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(**values))
    return uploads.get(connection, upload.id)


def reported(connection: sa.Connection, upload: Upload, target: Status = Status.PROCESSING, **said: Any) -> Upload:
    values: dict[str, Any] = {"rows_total": None, "rows_success": 0, "rows_failed": 0, "progress": 0, "error": None}
    return uploads.report(connection, upload, target, **{**values, **said})


def held(connection: sa.Connection, claim: Claim) -> Upload:
    hold = [uploads.hold_of(HoldCode.COLUMNS, "“Mail” may be “email”.")]
    mapping = {"Mail": "email", "b": None}
    return uploads.hold_for_review(
        connection, claim, hold, header=["Mail", "b"], mapping=mapping, notes=["Read as UTF-8."], warnings=[]
    )


def brought_to(connection: sa.Connection, status: Status, processor: Processor = Processor.WORKER) -> Upload:
    """An upload brought to a status by allowed transitions."""
    if processor is Processor.EXTERNAL:
        upload = created(connection, processor=processor)
        if status is Status.HELD:
            return uploads.hold_as_duplicate(connection, upload)
        return upload if status is Status.PENDING else reported(connection, upload, status)
    match status:
        case Status.PENDING:
            return created(connection)
        case Status.PROCESSING:
            return claimed(connection)
        case Status.HELD:
            return held(connection, claim_of(claimed(connection)))
        case Status.COMPLETED:
            return uploads.complete(connection, claim_of(claimed(connection)))
        case Status.FAILED:
            return uploads.fail(connection, claim_of(claimed(connection)), "This is no table.")
        case Status.CANCELLED:
            return uploads.cancel(connection, claimed(connection).id)


def hand_back(connection: sa.Connection, claim: Claim, **how: Any) -> Upload | None:
    return uploads.hand_back(connection, claim, because="its process ended", **how)


Action = Callable[[sa.Connection, Upload], Upload | None]

#: What a claimant does with its upload.
BY_CLAIM: dict[str, Action] = {
    "renew": lambda connection, upload: uploads.renew(connection, claim_of(upload), lease=60),
    "begin": lambda connection, upload: begun(connection, claim_of(upload)),
    "advance": lambda connection, upload: advanced(connection, claim_of(upload), bad=1),
    "complete": lambda connection, upload: uploads.complete(connection, claim_of(upload)),
    "fail": lambda connection, upload: uploads.fail(connection, claim_of(upload), "This is no table."),
    "hand back": lambda connection, upload: hand_back(connection, claim_of(upload)),
    "hand back at shutdown": lambda connection, upload: hand_back(connection, claim_of(upload), at_shutdown=True),
    "cut": lambda connection, upload: uploads.cut(connection, claim_of(upload), CutReason.TIME),
    "hold": lambda connection, upload: held(connection, claim_of(upload)),
    "report a check": lambda connection, upload: uploads.report_check(
        connection, claim_of(upload), lease=60, percent=5
    ),
}
#: What an external script's reports, or the lack of them, do with an upload.
BY_REPORT: dict[str, Action] = {
    "report progress": lambda connection, upload: reported(connection, upload),
    "report the end": lambda connection, upload: reported(connection, upload, Status.COMPLETED),
    "report failure": lambda connection, upload: reported(connection, upload, Status.FAILED, error="No disk."),
    "report that it was cancelled": lambda connection, upload: reported(connection, upload, Status.CANCELLED),
    "mark silent": lambda connection, upload: uploads.mark_silent(connection, upload.id, for_seconds=-1),
    "time out": lambda connection, upload: uploads.time_out(connection, upload.id, for_seconds=-1, error="Silent."),
}
#: Everything that can be done with an upload.
ACTIONS: dict[str, Action] = (
    BY_CLAIM
    | BY_REPORT
    | {
        "claim": lambda connection, upload: uploads.claim(connection, upload.id, worker="here:1", lease=60),
        "cancel": lambda connection, upload: uploads.cancel(connection, upload.id),
        "retry": lambda connection, upload: uploads.retry(connection, upload.id),
        "approve": lambda connection, upload: uploads.approve(connection, upload.id),
        "order": lambda connection, upload: uploads.order(connection, upload.id, Task.CHECK),
        "map": lambda connection, upload: uploads.map_columns(connection, upload.id, {"Mail": None}),
        "expire": lambda connection, upload: uploads.expire(connection, upload.id, for_seconds=-1, error="Too late."),
    }
)
#: Every allowed change of a worker's upload, and the status it leads to.
ALLOWED = {
    (Status.PENDING, "claim"): Status.PROCESSING,
    (Status.PENDING, "fail"): Status.FAILED,
    (Status.PENDING, "cancel"): Status.CANCELLED,
    (Status.PROCESSING, "renew"): Status.PROCESSING,
    (Status.PROCESSING, "begin"): Status.PROCESSING,
    (Status.PROCESSING, "advance"): Status.PROCESSING,
    (Status.PROCESSING, "complete"): Status.COMPLETED,
    (Status.PROCESSING, "fail"): Status.FAILED,
    (Status.PROCESSING, "hand back"): Status.PENDING,
    (Status.PROCESSING, "hand back at shutdown"): Status.PENDING,
    (Status.PROCESSING, "cut"): Status.PENDING,
    (Status.PROCESSING, "cancel"): Status.CANCELLED,
    (Status.PROCESSING, "hold"): Status.HELD,
    (Status.PROCESSING, "report a check"): Status.PROCESSING,
    (Status.HELD, "approve"): Status.PENDING,
    (Status.HELD, "order"): Status.PENDING,
    (Status.HELD, "map"): Status.HELD,
    (Status.HELD, "expire"): Status.CANCELLED,
    (Status.HELD, "cancel"): Status.CANCELLED,
    (Status.FAILED, "retry"): Status.PENDING,
    (Status.CANCELLED, "retry"): Status.PENDING,
}
#: The same for an external upload.
ALLOWED_EXTERNAL = {
    (Status.PENDING, "report progress"): Status.PROCESSING,
    (Status.PENDING, "report the end"): Status.COMPLETED,
    (Status.PENDING, "report failure"): Status.FAILED,
    (Status.PENDING, "report that it was cancelled"): Status.CANCELLED,
    (Status.PENDING, "mark silent"): Status.PENDING,
    (Status.PENDING, "time out"): Status.FAILED,
    (Status.PENDING, "cancel"): Status.CANCELLED,
    (Status.PROCESSING, "report progress"): Status.PROCESSING,
    (Status.PROCESSING, "report the end"): Status.COMPLETED,
    (Status.PROCESSING, "report failure"): Status.FAILED,
    (Status.PROCESSING, "report that it was cancelled"): Status.CANCELLED,
    (Status.PROCESSING, "mark silent"): Status.PROCESSING,
    (Status.PROCESSING, "time out"): Status.FAILED,
    (Status.PROCESSING, "cancel"): Status.CANCELLED,
    (Status.HELD, "approve"): Status.PENDING,
    (Status.HELD, "expire"): Status.CANCELLED,
    (Status.HELD, "cancel"): Status.CANCELLED,
    (Status.FAILED, "retry"): Status.PENDING,
    (Status.CANCELLED, "retry"): Status.PENDING,
}


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("processor", Processor)
def test_a_transition_has_the_status_of_the_table_or_changes_nothing(
    connection: sa.Connection, processor: Processor, status: Status, name: str
) -> None:
    before = brought_to(connection, status, processor)
    is_ours = processor is Processor.WORKER
    after: Upload | None = None
    with suppress(ClaimLostError, TransitionError):
        after = ACTIONS[name](connection, before)

    if target := (ALLOWED if is_ours else ALLOWED_EXTERNAL).get((status, name)):
        assert after is not None
        assert (target, before.seq + 1) == (after.status, after.seq)
        assert after == uploads.get(connection, before.id)
        assert (target in TERMINAL) == (after.finished_at is not None)
        is_held = is_ours and target is Status.PROCESSING
        assert is_held == (after.worker is not None) == (after.lease_until is not None)
        assert (name == "mark silent") == (after.silent_since is not None)
    else:
        assert after is None
        assert before == uploads.get(connection, before.id)
        assert failed_rows.rows(connection, before.id, limit=9) == []


@pytest.mark.parametrize("name", ["cancel", "retry"])
def test_a_cancel_or_retry_that_the_status_forbids_is_rejected(connection: sa.Connection, name: str) -> None:
    upload = brought_to(connection, Status.COMPLETED)

    with pytest.raises(TransitionError) as refused:
        ACTIONS[name](connection, upload)

    participle = {"cancel": "cancelled", "retry": "retried"}[name]
    assert f"Upload #{upload.id} is completed, so it cannot be {participle}." == str(refused.value)
    assert (upload.id, "completed") == (refused.value.upload_id, refused.value.status)


@pytest.mark.parametrize("ask", [uploads.get, uploads.cancel, uploads.retry])
def test_an_upload_that_does_not_exist_is_not_found(
    connection: sa.Connection, ask: Callable[[sa.Connection, int], Upload]
) -> None:
    with pytest.raises(UploadNotFoundError, match=r"There is no upload #404404\."):
        ask(connection, 404404)


def test_a_new_upload_is_pending_with_all_counts_at_zero(connection: sa.Connection) -> None:
    upload = created(connection, "sales.csv", dataset_wanted="sales", options=ImportOptions(encoding="cp1252"))

    assert (upload.status, upload.seq, upload.attempt) == (Status.PENDING, 1, 0)
    assert (upload.filename, upload.dataset_wanted, upload.dataset) == ("sales.csv", "sales", None)
    assert (upload.stored_as, upload.size, upload.sha256) == ("00ff", 8, "beef")
    assert (upload.rows_processed, upload.rows_success, upload.rows_failed, upload.rows_total) == (0, 0, 0, None)
    assert (upload.next_byte, upload.bytes_total, upload.notes, upload.header) == (0, None, [], None)
    assert (upload.error, upload.started_at, upload.parent, upload.duplicate_of) == (None, None, None, None)
    assert upload.options == ImportOptions(encoding="cp1252")
    assert upload.created_at <= upload.updated_at
    assert abs(datetime.now(UTC) - upload.created_at) < timedelta(minutes=1)


def test_an_upload_may_have_an_existing_dataset(connection: sa.Connection) -> None:
    upload = created(connection, dataset="sales")

    assert (upload.dataset, upload.dataset_wanted, upload.options) == ("sales", "", ImportOptions())


def succeeded(connection: sa.Connection, **more: Any) -> Upload:
    """A completed upload with one imported row."""
    upload = claimed(connection, created(connection, **more))
    begun(connection, claim_of(upload), dataset=upload.dataset or "june")
    advanced(connection, claim_of(upload))
    return uploads.complete(connection, claim_of(upload))


@pytest.mark.parametrize("chosen", [{"dataset": "sales"}, {"dataset": "weather"}, {"dataset_wanted": "new"}, {}])
def test_an_upload_of_the_same_bytes_is_a_duplicate_whichever_dataset_has_its_rows(
    connection: sa.Connection, chosen: dict[str, str]
) -> None:
    succeeded(connection, dataset="sales")
    newest = succeeded(connection, dataset="planes")
    succeeded(connection, dataset="sales", sha256="cafe")

    assert newest.id == created(connection, "other.csv", **chosen).duplicate_of


def test_other_bytes_are_not_a_duplicate(connection: sa.Connection) -> None:
    succeeded(connection, dataset="sales")

    assert created(connection, dataset="sales", sha256="cafe").duplicate_of is None


def test_an_upload_of_a_file_that_failed_is_not_a_duplicate(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection, created(connection, dataset="sales")))
    advanced(connection, claim, good=0, bad=2)
    uploads.fail(connection, claim, "Every row failed.")

    assert created(connection, dataset="sales").duplicate_of is None


def test_a_duplicate_is_held_until_somebody_decides(connection: sa.Connection) -> None:
    earlier = succeeded(connection, dataset="sales")
    held = uploads.hold_as_duplicate(connection, created(connection, dataset="sales"))
    approved = uploads.approve(connection, held.id)

    assert (held.status, held.attempt, held.seq, held.error) == (Status.HELD, 0, 2, None)
    detail = (
        f"The same file was imported into “sales” on {earlier.created_at:%Y-%m-%d} as #{earlier.id}."
        " Import it a second time, or cancel it."
    )
    assert held.hold == [{"code": "duplicate", "detail": detail}]
    assert (approved.status, approved.hold, approved.is_approved) == (Status.PENDING, [], True)


@pytest.mark.parametrize(
    ("dataset", "again"),
    [
        ("sales", "Import it a second time, or"),
        ("planes", "Import it into “planes”, or"),
        (None, "Import it into a new dataset, or"),
    ],
)
def test_the_reason_of_a_held_duplicate_names_the_dataset_with_its_rows(
    connection: sa.Connection, dataset: str | None, again: str
) -> None:
    succeeded(connection, dataset="sales")
    held = uploads.hold_as_duplicate(connection, created(connection, dataset=dataset))

    [reason] = held.hold
    assert reason["detail"].startswith("The same file was imported into “sales” on ")
    assert again in reason["detail"]


def test_the_fields_of_an_upload_are_the_columns_of_its_table() -> None:
    assert [column.name for column in tables.uploads.columns] == [field.name for field in fields(Upload)]


def test_a_claim_sets_the_worker_the_lease_and_the_next_attempt(connection: sa.Connection) -> None:
    upload = claimed(connection, lease=60)

    assert (upload.attempt, upload.worker) == (1, "here:1")
    assert upload.lease_until is not None
    assert timedelta(seconds=59) < upload.lease_until - upload.updated_at < timedelta(seconds=61)
    assert upload.started_at is not None
    assert upload.counting_since is not None
    assert abs(upload.started_at - upload.counting_since) < timedelta(seconds=1)


def test_a_second_claim_keeps_the_start_and_counts_from_its_own_row(connection: sa.Connection) -> None:
    first = claimed(connection)
    advanced(connection, claim_of(first), good=7)
    hand_back(connection, claim_of(first))
    second = claimed(connection, first)

    assert first.started_at == second.started_at
    assert (second.attempt, second.counting_from, first.counting_from) == (2, 7, 0)


@pytest.mark.parametrize("name", BY_CLAIM)
def test_a_claimant_that_lost_its_claim_changes_nothing(connection: sa.Connection, name: str) -> None:
    old = claimed(connection)
    hand_back(connection, claim_of(old))
    new = claimed(connection, old)
    outcome: Upload | ClaimLostError | None
    try:
        outcome = ACTIONS[name](connection, old)
    except ClaimLostError as error:
        outcome = error

    assert isinstance(outcome, ClaimLostError) == (not name.startswith(("hand back", "cut")))
    assert outcome is None or str(outcome) == f"Attempt 1 no longer holds the claim on upload #{old.id}."
    assert new == uploads.get(connection, old.id)
    assert failed_rows.rows(connection, old.id, limit=9) == []


def test_a_claim_is_held_only_by_its_claimant(connection: sa.Connection) -> None:
    old = claimed(connection)
    uploads.hold(connection, claim_of(old))
    hand_back(connection, claim_of(old))
    new = claimed(connection, old)

    with pytest.raises(ClaimLostError, match=f"^Attempt 1 no longer holds the claim on upload #{old.id}.$"):
        uploads.hold(connection, claim_of(old))
    uploads.hold(connection, claim_of(new))
    assert new == uploads.get(connection, old.id)


def test_nobody_else_changes_an_upload_whose_claim_is_held(settings: Settings, database: Database) -> None:
    with database.transaction() as connection:
        upload = claimed(connection)
    with (
        closing(Database(settings.database, bulk=True, lock_timeout=0.1)) as other,
        database.transaction() as holding,
    ):
        uploads.hold(holding, claim_of(upload))
        with pytest.raises((DatabaseBusyError, sa.exc.OperationalError)), other.transaction() as connection:
            hand_back(connection, claim_of(upload))

    with database.reading() as connection:
        assert uploads.get(connection, upload.id) == upload


def test_a_chunk_is_counted_with_its_failed_rows(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    advanced(connection, claim, good=5, next_byte=40)
    upload = advanced(connection, claim, good=3, bad=2, next_byte=90)

    assert (upload.rows_processed, upload.rows_success, upload.rows_failed) == (10, 8, 2)
    assert upload.next_byte == 90


def test_the_details_of_the_file_are_stored(connection: sa.Connection) -> None:
    upload = begun(connection, claim_of(claimed(connection)))

    assert (upload.dataset, upload.rows_total, upload.next_byte, upload.bytes_total) == ("june", 100, 4, 8)
    assert (upload.header, upload.notes, upload.parent) == (["a", "b"], ["Read as UTF-8."], None)


def test_the_parent_of_an_upload_must_exist(connection: sa.Connection) -> None:
    parent = created(connection)
    child, orphan = (begun(connection, claim_of(claimed(connection)), parent=wanted) for wanted in (parent.id, 404404))

    assert (child.parent, orphan.parent) == (parent.id, None)


@pytest.mark.parametrize("name", ["renew", "begin", "advance"])
def test_every_write_of_a_claimant_renews_its_lease(connection: sa.Connection, name: str) -> None:
    upload = ACTIONS[name](connection, claimed(connection, lease=1))

    assert upload is not None
    assert upload.lease_until is not None
    assert upload.lease_until - upload.updated_at > timedelta(seconds=50)


def test_an_upload_is_taken_back_only_after_its_lease_expires(connection: sa.Connection) -> None:
    alive, silent = claimed(connection, lease=60), claimed(connection, lease=-1)

    assert hand_back(connection, claim_of(alive), expired=True) is None
    assert alive == uploads.get(connection, alive.id)
    taken = hand_back(connection, claim_of(silent), expired=True)
    assert taken is not None
    assert taken.status is Status.PENDING


def test_a_claimant_keeps_an_expired_lease_until_the_upload_is_taken_back(connection: sa.Connection) -> None:
    upload = advanced(connection, claim_of(claimed(connection, lease=-1)))

    assert upload.status is Status.PROCESSING
    assert uploads.abandoned(connection) == []


def attempted(connection: sa.Connection, upload: Upload, times: int, **how: bool) -> Upload:
    """The upload after attempts that imported nothing."""
    for _ in range(times):
        handed_back = hand_back(connection, claim_of(claimed(connection, upload)), **how)
        assert handed_back is not None
        upload = handed_back
    return upload


def test_texts_from_a_file_are_kept_in_bounded_length(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    upload = begun(connection, claim, notes=["x" * 100_000] * 1500)
    failed = uploads.fail(connection, claim, "x" * 100_000)

    assert (len(upload.notes), max(map(len, upload.notes))) == (20, 500)
    assert failed.error == "x" * LONGEST_ERROR + "…"


@pytest.mark.parametrize("expired", [False, True])
def test_an_upload_fails_after_five_attempts_without_progress(connection: sa.Connection, expired: bool) -> None:
    upload = attempted(connection, created(connection), MAX_ATTEMPTS_WITHOUT_PROGRESS - 1)
    last = hand_back(connection, claim_of(claimed(connection, upload, lease=-1)), expired=expired)

    assert last is not None
    assert (last.status, last.attempt) == (Status.FAILED, 5)
    assert last.error == ("Stopped after 5 attempts without progress. The last time, its process ended.")
    assert last.finished_at is not None


def test_progress_resets_the_count_of_attempts(connection: sa.Connection) -> None:
    upload = attempted(connection, created(connection), MAX_ATTEMPTS_WITHOUT_PROGRESS - 1)
    claim = claim_of(claimed(connection, upload))
    advanced(connection, claim)
    upload_again = hand_back(connection, claim)

    assert upload_again is not None
    assert upload_again.status is Status.PENDING
    assert attempted(connection, upload, MAX_ATTEMPTS_WITHOUT_PROGRESS - 1).status is Status.PENDING
    assert attempted(connection, upload, 1).status is Status.FAILED


def test_an_attempt_that_ends_by_shutdown_does_not_count(connection: sa.Connection) -> None:
    upload = attempted(connection, created(connection), 20, at_shutdown=True)

    assert (upload.status, upload.attempt, upload.attempts_without_progress) == (Status.PENDING, 20, 0)


@pytest.mark.parametrize("reason", CutReason)
def test_an_upload_fails_when_it_is_cut_twice_whatever_it_imported_meanwhile(
    connection: sa.Connection, reason: CutReason
) -> None:
    upload = uploads.cut(connection, claim_of(claimed(connection)), CutReason.TIME)
    assert upload is not None
    assert (upload.status, upload.error) == (Status.PENDING, None)
    claim = claim_of(claimed(connection, upload))
    begun(connection, claim)
    advanced(connection, claim)
    failed = uploads.cut(connection, claim, reason)

    assert failed is not None
    assert (failed.status, failed.attempt, failed.worker) == (Status.FAILED, 2, None)
    assert str(failed.error).startswith(f"The file could not be read within the limits ({reason}). ")


def test_a_retry_forgets_the_cuts(connection: sa.Connection) -> None:
    upload = created(connection)
    for _ in range(MAX_CUTS):
        uploads.cut(connection, claim_of(claimed(connection, upload)), CutReason.MEMORY)
    uploads.retry(connection, upload.id)
    again = uploads.cut(connection, claim_of(claimed(connection, upload)), CutReason.MEMORY)

    assert again is not None
    assert again.status is Status.PENDING


def test_a_retry_continues_after_the_last_chunk(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    begun(connection, claim)
    advanced(connection, claim, good=3, bad=2, next_byte=44)
    stopped = uploads.cancel(connection, claim.upload_id)
    upload = uploads.retry(connection, claim.upload_id)

    assert (upload.next_byte, upload.rows_processed, upload.rows_success, upload.rows_failed) == (44, 5, 3, 2)
    assert (upload.error, upload.finished_at, upload.attempt) == (None, None, 1)
    assert stopped.seq + 1 == upload.seq
    assert len(failed_rows.rows(connection, upload.id, limit=9)) == 2
    assert claimed(connection, upload).attempt == 2


def test_a_retry_starts_over_if_all_rows_failed(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    advanced(connection, claim, good=0, bad=2, next_byte=44)
    failed = uploads.fail(connection, claim, "Every row failed.")
    upload = uploads.retry(connection, claim.upload_id)

    assert (upload.next_byte, upload.rows_processed, upload.rows_success, upload.rows_failed) == (0, 0, 0, 0)
    assert failed.seq + 1 == upload.seq
    assert upload == uploads.get(connection, upload.id)
    assert failed_rows.rows(connection, upload.id, limit=9) == []


def test_a_failure_is_recorded_with_what_may_help_until_the_retry(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    failed = uploads.fail(connection, claim, "The file has no header row.", Remedy.OPTIONS)

    assert failed.remedy is Remedy.OPTIONS
    assert uploads.retry(connection, failed.id).remedy is None


def test_a_retry_with_other_options_reads_the_file_anew(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection, created(connection, dataset="sales")))
    begun(connection, claim, dataset="sales", warnings=[{"code": "no_header", "detail": "It has none."}])
    advanced(connection, claim, good=0, bad=2)
    uploads.fail(connection, claim, "All rows failed.", Remedy.OPTIONS)
    retried = uploads.retry_with(connection, claim.upload_id, ImportOptions(delimiter=";"))

    assert (retried.status, retried.options, retried.dataset) == (
        Status.PENDING, ImportOptions(delimiter=";"), "sales",
    )  # fmt: skip
    assert (retried.next_byte, retried.bytes_total, retried.rows_total, retried.rows_failed) == (0, None, None, 0)
    assert (retried.header, retried.notes, retried.warnings, retried.error) == (None, [], [], None)
    assert failed_rows.rows(connection, retried.id, limit=9) == []


def test_a_retry_with_other_options_leaves_the_dataset_that_the_upload_created(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    schema = TableSchema.parse({"fields": [{"name": "a;b"}]})
    datasets.create(connection, "june", schema, claim.upload_id)
    begun(connection, claim)
    advanced(connection, claim, good=0, bad=2)
    uploads.fail(connection, claim, "All rows failed.", Remedy.OPTIONS)
    retried = uploads.retry_with(connection, claim.upload_id, ImportOptions(delimiter=";"))
    datasets.drop_unused(connection, claim.upload_id)

    assert (retried.dataset, retried.search_text) == (None, "june.csv\n")
    assert not datasets.exists(connection, "june")
    assert datasets.create(connection, "june", schema, claim.upload_id).name == "june"


def test_a_dataset_that_another_upload_names_is_not_removed(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    datasets.create(connection, "june", TableSchema.parse({"fields": [{"name": "a"}]}), claim.upload_id)
    created(connection, dataset="june")
    datasets.drop_unused(connection, claim.upload_id)

    assert datasets.exists(connection, "june")


def test_options_cannot_change_once_a_row_is_imported(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    advanced(connection, claim, good=1200)
    uploads.cancel(connection, claim.upload_id)
    with pytest.raises(OptionsFixedError) as refused:
        uploads.retry_with(connection, claim.upload_id, ImportOptions(delimiter=";"))

    assert str(refused.value) == (
        f"The import options of upload #{claim.upload_id} cannot be changed: 1,200 rows were imported with the present"
        " ones. Upload the file again instead."
    )
    assert uploads.get(connection, claim.upload_id).status is Status.CANCELLED


def test_options_of_an_external_or_active_upload_cannot_change(connection: sa.Connection) -> None:
    external = brought_to(connection, Status.FAILED, Processor.EXTERNAL)
    active = brought_to(connection, Status.PROCESSING)
    with pytest.raises(OptionsFixedError, match="an external script reads the file"):
        uploads.retry_with(connection, external.id, ImportOptions(delimiter=";"))
    with pytest.raises(TransitionError):
        uploads.retry_with(connection, active.id, ImportOptions(delimiter=";"))


def test_a_retry_resets_the_count_of_attempts(connection: sa.Connection) -> None:
    upload = attempted(connection, created(connection), MAX_ATTEMPTS_WITHOUT_PROGRESS)
    upload = uploads.retry(connection, upload.id)

    assert attempted(connection, upload, MAX_ATTEMPTS_WITHOUT_PROGRESS - 1).status is Status.PENDING


def test_a_retry_after_a_failure_before_the_first_row_keeps_the_dataset(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    begun(connection, claim)
    uploads.fail(connection, claim, "A disk was full.")

    assert (uploads.retry(connection, claim.upload_id).dataset, uploads.get(connection, claim.upload_id).next_byte) == (
        "june",
        4,
    )


def test_the_total_of_a_completed_upload_is_its_processed_rows(connection: sa.Connection) -> None:
    claim = claim_of(claimed(connection))
    begun(connection, claim)
    advanced(connection, claim, good=90, bad=7)

    assert uploads.complete(connection, claim).rows_total == 97


@pytest.mark.parametrize(
    ("status", "total", "processed", "progress"),
    [
        (Status.PENDING, None, 0, 0),
        (Status.PROCESSING, None, 0, 0),
        (Status.PROCESSING, 1000, 0, 0),
        (Status.PROCESSING, 1000, 9, 0),
        (Status.PROCESSING, 1000, 259, 25),
        (Status.PROCESSING, 1000, 999, 99),
        (Status.PROCESSING, 1000, 1000, 99),
        (Status.PROCESSING, 1000, 1200, 99),
        (Status.PENDING, 1000, 1000, 99),
        (Status.CANCELLED, 1000, 500, 50),
        (Status.FAILED, 1000, 1000, 99),
        (Status.COMPLETED, 1000, 1000, 100),
        (Status.COMPLETED, 0, 0, 100),
    ],
)
@pytest.mark.parametrize("counted", ["rows", "bytes"])
def test_progress_is_one_hundred_only_when_completed(
    connection: sa.Connection, status: Status, total: int | None, processed: int, progress: int, counted: str
) -> None:
    by = {"rows": ("rows_total", "rows_processed"), "bytes": ("bytes_total", "next_byte")}[counted]
    values: dict[str, Any] = dict(zip(by, (total, processed), strict=True))
    upload = replace(created(connection), status=status, **values)

    assert progress == upload.progress


def test_progress_is_computed_from_rows_if_they_were_counted(connection: sa.Connection) -> None:
    upload = replace(created(connection), rows_total=100, rows_processed=20, bytes_total=100, next_byte=70)

    assert upload.progress == 20


@pytest.mark.parametrize(
    ("status", "said", "progress"),
    [
        (Status.PENDING, None, 0),
        (Status.PROCESSING, 0, 0),
        (Status.PROCESSING, 42, 42),
        (Status.PROCESSING, 100, 99),
        (Status.FAILED, 42, 42),
        (Status.CANCELLED, 100, 99),
        (Status.COMPLETED, 42, 100),
    ],
)
def test_progress_of_an_external_upload_is_what_its_script_reports(
    connection: sa.Connection, status: Status, said: int | None, progress: int
) -> None:
    upload = created(connection, processor=Processor.EXTERNAL)

    assert progress == replace(upload, status=status, progress_reported=said, rows_total=10, rows_processed=1).progress


def test_the_first_report_of_a_run_begins_an_attempt(connection: sa.Connection) -> None:
    first = reported(connection, created(connection, processor=Processor.EXTERNAL), rows_success=7)
    second = reported(connection, first, rows_success=9)
    again = reported(connection, uploads.retry(connection, uploads.cancel(connection, second.id).id))

    assert (first.attempt, second.attempt, again.attempt) == (1, 1, 2)
    assert (first.counting_from, second.counting_from, again.counting_from) == (7, 7, 0)
    assert first.started_at is not None
    assert first.counting_since is not None
    assert first.started_at == second.started_at == again.started_at
    assert first.counting_since == second.counting_since


def test_a_report_checked_against_an_outdated_state_changes_nothing(connection: sa.Connection) -> None:
    old = brought_to(connection, Status.PROCESSING, Processor.EXTERNAL)
    new = reported(connection, old, rows_success=5)
    with pytest.raises(TransitionError):
        reported(connection, old, rows_success=4)

    assert new == uploads.get(connection, old.id)


def test_a_retry_of_an_external_upload_resets_its_counts(connection: sa.Connection) -> None:
    upload = created(connection, processor=Processor.EXTERNAL, rows_total=100)
    upload = reported(connection, upload, rows_total=100, rows_success=40, rows_failed=2, progress=42)
    upload = reported(
        connection, upload, Status.FAILED, rows_total=100, rows_success=40, rows_failed=2, progress=42, error="No disk."
    )
    retried = uploads.retry(connection, upload.id)

    assert (retried.status, retried.error, retried.finished_at) == (Status.PENDING, None, None)
    assert (retried.rows_processed, retried.rows_success, retried.rows_failed, retried.progress) == (0, 0, 0, 0)
    assert (retried.rows_total, retried.seq) == (100, upload.seq + 1)


def test_an_external_upload_neither_waits_for_a_worker_nor_is_taken_back(connection: sa.Connection) -> None:
    for status in (Status.PENDING, Status.PROCESSING):
        set_to(connection, brought_to(connection, status, Processor.EXTERNAL), updated_at=MOMENT)

    assert uploads.waiting_by_lane(connection, dataset_imports=1) == {}
    assert uploads.abandoned(connection) == []


def test_only_an_active_external_upload_becomes_silent(connection: sa.Connection) -> None:
    for status in Status:
        set_to(connection, brought_to(connection, status), updated_at=MOMENT)
    quiet = [set_to(connection, brought_to(connection, each, Processor.EXTERNAL), updated_at=MOMENT) for each in Status]
    brought_to(connection, Status.PROCESSING, Processor.EXTERNAL)

    assert [upload.id for upload in quiet if upload.is_active] == [
        upload.id for upload in uploads.silent_for(connection, 60)
    ]


def test_silence_is_recorded_once_and_counts_from_the_last_report(connection: sa.Connection) -> None:
    upload = set_to(connection, brought_to(connection, Status.PROCESSING, Processor.EXTERNAL), updated_at=MOMENT)
    noted = uploads.mark_silent(connection, upload.id, for_seconds=60)
    again = uploads.mark_silent(connection, upload.id, for_seconds=60)

    assert noted is not None
    assert (noted.silent_since, noted.status, noted.seq) == (MOMENT, Status.PROCESSING, upload.seq + 1)
    assert noted.updated_at > MOMENT
    assert again is None
    assert [noted] == uploads.silent_for(connection, 60)


def test_a_report_ends_the_silence(connection: sa.Connection) -> None:
    upload = set_to(connection, brought_to(connection, Status.PROCESSING, Processor.EXTERNAL), updated_at=MOMENT)
    silent = uploads.mark_silent(connection, upload.id, for_seconds=60)
    assert silent is not None
    spoken = reported(connection, silent)

    assert spoken.silent_since is None
    assert uploads.silent_for(connection, 60) == []
    assert uploads.mark_silent(connection, upload.id, for_seconds=60) is None
    assert uploads.time_out(connection, upload.id, for_seconds=60, error="Silent.") is None
    assert spoken == uploads.get(connection, upload.id)


def test_uploads_without_a_file_are_no_duplicates_of_each_other(connection: sa.Connection) -> None:
    more: dict[str, Any] = {"dataset": "sales", "processor": Processor.EXTERNAL}
    first = uploads.create(connection, StoredFile("june.csv", "", 0, ""), **more)
    reported(connection, first, Status.COMPLETED, rows_success=5)
    second = uploads.create(connection, StoredFile("june.csv", "", 0, ""), **more)

    assert (second.duplicate_of, second.has_file) == (None, False)


@pytest.mark.parametrize("status", Status)
def test_an_upload_is_active_until_it_ends(connection: sa.Connection, status: Status) -> None:
    upload = brought_to(connection, status)
    ids = {each.id for each in uploads.active(connection)}

    assert upload.is_active == (status in ACTIVE) == (upload.id in ids)
    assert (status in TERMINAL) == (not upload.is_active and not upload.is_held)


def many(connection: sa.Connection, count: int, filename: str = "june.csv") -> list[int]:
    """Ids of new uploads, newest first."""
    return [created(connection, filename).id for _ in range(count)][::-1]


def test_pages_lead_to_older_uploads_and_back(connection: sa.Connection) -> None:
    ids = many(connection, 7)
    first = uploads.page(connection, limit=3)
    second = uploads.page(connection, limit=3, cursor=first.older)
    third = uploads.page(connection, limit=3, cursor=second.older)

    assert [ids[:3], ids[3:6], ids[6:]] == [[each.id for each in page.items] for page in (first, second, third)]
    assert (first.newer, first.older) == (None, ids[3])
    assert (second.newer, second.older) == (ids[0], ids[6])
    assert (third.newer, third.older) == (ids[3], None)


def test_a_page_with_exactly_the_limit_has_no_older_page(connection: sa.Connection) -> None:
    many(connection, 3)

    assert uploads.page(connection, limit=3).older is None


def test_a_page_near_the_newest_links_back_to_the_first_page(connection: sa.Connection) -> None:
    ids = many(connection, 5)

    assert ids[0] == uploads.page(connection, limit=3, cursor=ids[2]).newer
    assert uploads.page(connection, limit=3, cursor=ids[0]).newer is None


def test_a_cursor_may_be_any_number(connection: sa.Connection) -> None:
    ids = many(connection, 2)

    assert ids == [each.id for each in uploads.page(connection, limit=9, cursor=ids[0] + 1000).items]
    assert uploads.page(connection, limit=9, cursor=ids[1] - 1) == uploads.Page([], ids[0], None)


def test_pages_of_one_status_skip_all_others(connection: sa.Connection) -> None:
    wanted = [brought_to(connection, status).id for status in (*Status, *Status) if status is not Status.PENDING]
    failed = [wanted[8], wanted[3]]
    query = HistoryQuery(status=Status.FAILED)
    first = uploads.page(connection, query, limit=1)
    second = uploads.page(connection, query, limit=1, cursor=first.older)

    assert failed == [first.items[0].id, second.items[0].id]
    assert (first.newer, first.older, second.newer, second.older) == (None, failed[1], failed[0], None)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("100%", ["100% done.csv"]),
        ("_done", ["100_done.csv"]),
        ("%_", []),
        ("DONE", ["100_done.csv", "100% done.csv", "1000done.csv"]),
        ("\\", ["back\\slash.csv"]),
        ("'", ["it's.csv"]),
        ("sales", ["it's.csv"]),
        ("ales_ju", ["it's.csv"]),
        ("nothing", []),
        (".csv", ["it's.csv", "back\\slash.csv", "100_done.csv", "100% done.csv", "1000done.csv"]),
    ],
)
def test_a_search_has_no_wildcards(connection: sa.Connection, search: str, found: list[str]) -> None:
    for name in ("1000done.csv", "100% done.csv", "100_done.csv", "back\\slash.csv"):
        created(connection, name)
    created(connection, "it's.csv", dataset="sales_june")
    page = uploads.page(connection, HistoryQuery(search), limit=9)

    assert found == [each.filename for each in page.items]


def changed(connection: sa.Connection, status: Status, seconds: float) -> int:
    """The id of an upload whose status changed so many seconds after MOMENT."""
    upload = set_to(connection, brought_to(connection, status), updated_at=MOMENT + timedelta(seconds=seconds))
    return upload.id


def test_uploads_that_ended_after_a_moment_are_in_the_order_of_their_end(connection: sa.Connection) -> None:
    changed(connection, Status.COMPLETED, 0)
    third = changed(connection, Status.CANCELLED, 3)
    first = changed(connection, Status.COMPLETED, 0.000001 if connection.dialect.name == "postgresql" else 0.001)
    second = changed(connection, Status.FAILED, 2)
    changed(connection, Status.PROCESSING, 4)
    changed(connection, Status.PENDING, 5)

    assert [first, second, third] == [each.id for each in uploads.ended_since(connection, MOMENT, limit=9)]
    assert [second, third] == [each.id for each in uploads.ended_since(connection, MOMENT, limit=2)]


def test_uploads_that_ended_lately_are_in_the_order_of_their_end(connection: sa.Connection) -> None:
    first = ended(connection, Status.COMPLETED, finished=1, updated=9)  # by an upload of corrections
    third = ended(connection, Status.CANCELLED, finished=3, updated=3)
    second = ended(connection, Status.FAILED, finished=2, updated=2)
    changed(connection, Status.PROCESSING, 4)

    assert [third, second, first] == [each.id for each in uploads.ended_lately(connection, limit=9)]
    assert [third, first] == [each.id for each in uploads.ended_lately(connection, limit=2)]


def ended(connection: sa.Connection, status: Status, *, finished: float, updated: float) -> int:
    """The id of an upload that ended and last changed so many seconds after MOMENT."""
    values = {"finished_at": MOMENT + timedelta(seconds=finished), "updated_at": MOMENT + timedelta(seconds=updated)}
    return set_to(connection, brought_to(connection, status), **values).id


def test_uploads_changed_since_a_moment_include_all_active_ones(connection: sa.Connection) -> None:
    later = changed(connection, Status.COMPLETED, 1)
    at_once = changed(connection, Status.CANCELLED, 0)
    changed(connection, Status.FAILED, -1)
    waiting = changed(connection, Status.PENDING, -3)
    running = changed(connection, Status.PROCESSING, -2)

    assert [waiting, running, at_once, later] == [each.id for each in uploads.changed_since(connection, MOMENT)]


def test_a_moment_may_have_any_time_zone(connection: sa.Connection) -> None:
    ended = changed(connection, Status.COMPLETED, 1)
    from_abroad = MOMENT.astimezone(datetime.strptime("+0530", "%z").tzinfo)

    assert [ended] == [each.id for each in uploads.ended_since(connection, from_abroad, limit=9)]
    assert MOMENT + timedelta(seconds=1) == uploads.get(connection, ended).updated_at


def test_recent_changes_are_determined_by_the_clock_of_the_database(connection: sa.Connection) -> None:
    fresh = brought_to(connection, Status.COMPLETED)
    changed(connection, Status.COMPLETED, 0)
    old_but_active = changed(connection, Status.PENDING, 0)

    assert [fresh.id, old_but_active] == [each.id for each in uploads.changed_lately(connection, 60)]


def test_only_uploads_with_an_expired_lease_are_abandoned(connection: sa.Connection) -> None:
    claimed(connection, lease=60)
    silent = claimed(connection, lease=-1)
    uploads.complete(connection, claim_of(claimed(connection, lease=-1)))
    created(connection)

    assert [silent] == uploads.abandoned(connection)


def test_waiting_time_counts_from_the_last_change_of_the_record(connection: sa.Connection) -> None:
    long_ago = changed(connection, Status.PENDING, 0)
    just_now = created(connection)
    changed(connection, Status.PROCESSING, 0)

    old = uploads.waiting_by_lane(connection, dataset_imports=1, for_seconds=60)
    all_ = uploads.waiting_by_lane(connection, dataset_imports=1)

    assert old == {Lane.QUICK: Waiting(1, long_ago)}
    assert all_ == {Lane.QUICK: Waiting(2, min(long_ago, just_now.id))}


def test_uploads_are_found_by_their_ids(connection: sa.Connection) -> None:
    newer, older = many(connection, 2)

    assert [older, newer] == [each.id for each in uploads.get_many(connection, [newer, 404404, older])]
    assert uploads.get_many(connection, []) == []


def test_the_newest_change_is_that_of_any_upload(connection: sa.Connection) -> None:
    assert uploads.newest_change(connection) is None

    changed(connection, Status.COMPLETED, 5)
    changed(connection, Status.PENDING, 1)

    assert MOMENT + timedelta(seconds=5) == uploads.newest_change(connection)
