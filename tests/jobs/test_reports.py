"""Reports of external scripts: parsing, checks, and recording."""

from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from jobs import reports, uploads
from jobs.errors import BulkUploadError, ReportError, TransitionError, UploadNotFoundError
from jobs.files import StoredFile
from jobs.reports import MAX_ERROR, MAX_ROWS, Report
from jobs.uploads import Processor, Status, Upload
from webapp.errors import InvalidBodyError
from webapp.routes import json_body

EVENTS = {
    "bulk_upload_progress": Status.PROCESSING,
    "bulk_upload_complete": Status.COMPLETED,
    "bulk_upload_error": Status.FAILED,
    "bulk_upload_cancelled": Status.CANCELLED,
}


def created(connection: sa.Connection, processor: Processor = Processor.EXTERNAL, **more: Any) -> Upload:
    return uploads.create(connection, StoredFile("june.csv", "", 0, ""), processor=processor, **more)


def report(upload: Upload | int, event: str = "progress", **said: Any) -> Report:
    file_id = upload if isinstance(upload, int) else upload.id
    if event == "error":
        said.setdefault("error", "The disk is full.")
    return Report(file_id=file_id, event=f"bulk_upload_{event}", **said)  # type: ignore[arg-type]  # of the four


def recorded(connection: sa.Connection, upload: Upload, event: str = "progress", **said: Any) -> Upload:
    [outcome] = reports.record(connection, [report(upload, event, **said)])

    assert isinstance(outcome, Upload), outcome

    return outcome


def refused(connection: sa.Connection, upload: Upload, event: str = "progress", **said: Any) -> str:
    """The error of a rejected report; asserts that the upload did not change."""
    before = uploads.get(connection, upload.id)
    [outcome] = reports.record(connection, [report(upload, event, **said)])

    assert isinstance(outcome, BulkUploadError), outcome
    assert before == uploads.get(connection, upload.id)

    return str(outcome)


# Parsing


def problems(**body: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidBodyError) as wrong:
        json_body.parse(TypeAdapter(Report), body)
    return list(wrong.value.problems)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"file_id": None}, "file_id", "input should be a valid integer"),
    ({"file_id": "7"}, "file_id", "input should be a valid integer"),
    ({"file_id": True}, "file_id", "input should be a valid integer"),
    ({"file_id": 0}, "file_id", "input should be greater than or equal to 1"),
    ({"file_id": 2**63}, "file_id", "input should be less than 9223372036854775808"),
    ({"event": "progress"}, "event", "input should be 'bulk_upload_progress', 'bulk_upload_complete',"),
    ({"event": None}, "event", "input should be 'bulk_upload_progress'"),
    ({"status": "pending"}, "status", "bulk_upload_progress leads to processing"),
    ({"status": "completed"}, "status", "bulk_upload_progress leads to processing"),
    ({"progress": -1}, "progress", "input should be greater than or equal to 0"),
    ({"progress": 101}, "progress", "input should be less than or equal to 100"),
    ({"progress": 1.5}, "progress", "input should be a valid integer"),
    ({"progress": float("nan")}, "progress", "input should be a valid integer"),
    ({"attempt": 0}, "attempt", "input should be greater than or equal to 1"),
    ({"rows_total": -1}, "rows_total", "input should be greater than or equal to 0"),
    ({"rows_success": MAX_ROWS + 1}, "rows_success", "input should be less than or equal to 1000000000000000"),
    ({"rows_failed": 2**70}, "rows_failed", "input should be"),
    ({"rows_processed": 5, "rows_success": 3, "rows_failed": 1}, "rows_processed", "rows_success + rows_failed is 4"),
    ({"rows_processed": 2, "rows_failed": 3}, "rows_processed", "is less than rows_success + rows_failed"),
    ({"rows_procesed": 2}, "rows_procesed", "is not a known field"),
    (
        {"error": "It hurts."},
        "error",
        "bulk_upload_progress cannot have an error: send bulk_upload_error if the import failed",
    ),
    ({"event": "bulk_upload_complete", "error": "It hurts."}, "error", "bulk_upload_complete cannot have an error"),
    ({"event": "bulk_upload_error"}, "error", "bulk_upload_error needs a sentence that says why the import failed"),
    ({"event": "bulk_upload_error", "error": " \n\0"}, "error", "bulk_upload_error needs a sentence"),
    ({"event": "bulk_upload_error", "error": "x" * (MAX_ERROR + 1)}, "error", "string should have at most 4000"),
    ({"event": "bulk_upload_error", "error": 7}, "error", "input should be a valid string"),
]


@pytest.mark.parametrize(("body", "path", "what"), WRONG, ids=[str(each)[:50] for each, *_ in WRONG])
def test_an_invalid_report_is_rejected_with_the_path_of_each_problem(
    body: dict[str, Any], path: str, what: str
) -> None:
    [(found, words)] = problems(**{"file_id": 7, "event": "bulk_upload_progress", **body})

    assert path == found
    assert words.startswith(what)


def test_all_problems_of_a_report_are_named_at_once() -> None:
    assert problems(rows_failed=-1, more=1) == [
        ("file_id", "is missing"),
        ("event", "is missing"),
        ("rows_failed", "input should be greater than or equal to 0"),
        ("more", "is not a known field"),
    ]


@pytest.mark.parametrize(("event", "status"), EVENTS.items())
def test_a_whole_event_is_a_report(event: str, status: Status) -> None:
    whole = {
        "event": event, "file_id": 7, "seq": 17, "attempt": 1, "filename": "june.csv", "dataset": "sales",
        "status": str(status), "progress": 25, "rows_total": None, "rows_processed": 100, "rows_success": 99,
        "rows_failed": 1, "error": "No disk." if status is Status.FAILED else None, "timestamp": "2026-01-31",
    }  # fmt: skip

    assert status is json_body.parse(TypeAdapter(Report), whole).target


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (" The disk is full.\n", "The disk is full."),
        ("Zeile 1\nZeile 2: „ß“ 数", "Zeile 1\nZeile 2: „ß“ 数"),
        ("a\0b\x1b[31mc\u202ed", "ab[31mcd"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("x" * MAX_ERROR, "x" * MAX_ERROR),
    ],
)
def test_an_error_is_stored_without_control_characters(said: str, kept: str) -> None:
    assert kept == report(7, "error", error=said).error


def test_an_error_with_invalid_unicode_is_rejected() -> None:
    [(path, _)] = problems(file_id=7, event="bulk_upload_error", error="\ud800 at the start")

    assert path == "error"


# Checks


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.HELD])  # an external one never is
@pytest.mark.parametrize(("event", "target"), EVENTS.items())
def test_reports_are_recorded_until_the_upload_ends(
    connection: sa.Connection, event: str, target: Status, status: Status
) -> None:
    upload = created(connection)
    if status is not Status.PENDING:
        upload = recorded(connection, upload, {to: name for name, to in EVENTS.items()}[status][12:])
    short = event.removeprefix("bulk_upload_")
    if status in uploads.ACTIVE:
        after = recorded(connection, upload, short)

        assert (after.status, after.seq) == (target, upload.seq + 1)
        assert after == uploads.get(connection, upload.id)
    else:
        assert refused(connection, upload, short) == f"Upload #{upload.id} is {status}, so it cannot be reported on."


def test_a_report_on_an_upload_of_a_worker_is_rejected(connection: sa.Connection) -> None:
    waiting = created(connection, Processor.WORKER)
    claimed = uploads.claim(connection, created(connection, Processor.WORKER).id, worker="here:1", lease=60)
    assert claimed is not None
    for upload in (waiting, claimed):
        for event in EVENTS:
            said = refused(connection, upload, event.removeprefix("bulk_upload_"))

            assert said.startswith(f"Upload #{upload.id} is imported by a worker of this server.")
            assert "processor=external" in said


def test_a_report_about_another_attempt_is_rejected(connection: sa.Connection) -> None:
    upload = recorded(connection, created(connection), attempt=1)
    stopped = uploads.cancel(connection, upload.id)
    waiting = uploads.retry(connection, stopped.id)

    expected = f"Upload #{upload.id} is in attempt 2, but the report is about attempt 1."
    assert expected == refused(connection, waiting, attempt=1)
    assert recorded(connection, waiting, attempt=2).attempt == 2
    assert expected == refused(connection, waiting, attempt=1)


#: The first report, the second one, and the resulting counts: success, failed, total, percent.
COUNTED: list[tuple[dict[str, Any], dict[str, Any], tuple[int, int, int | None, int]]] = [
    ({}, {}, (0, 0, None, 0)),
    ({}, {"rows_success": 5, "rows_failed": 1}, (5, 1, None, 0)),
    ({}, {"rows_processed": 6, "rows_success": 5, "rows_failed": 1}, (5, 1, None, 0)),
    ({}, {"rows_processed": 6, "rows_success": 5}, (5, 1, None, 0)),
    ({}, {"rows_processed": 6, "rows_failed": 1}, (5, 1, None, 0)),
    ({}, {"rows_processed": 6}, (6, 0, None, 0)),
    ({"rows_failed": 2}, {"rows_processed": 6}, (4, 2, None, 0)),
    ({"rows_success": 5, "rows_failed": 2}, {}, (5, 2, None, 0)),
    ({"rows_success": 5, "rows_failed": 2}, {"rows_success": 6}, (6, 2, None, 0)),
    ({"rows_success": 5, "rows_failed": 2}, {"rows_failed": 3}, (5, 3, None, 0)),
    ({"rows_success": 5, "rows_failed": 2}, {"rows_processed": 7}, (5, 2, None, 0)),
    ({"rows_total": 10}, {"rows_success": 4}, (4, 0, 10, 40)),
    ({"rows_total": 10, "rows_success": 4}, {"rows_total": 20}, (4, 0, 20, 40)),
    ({"rows_total": 20, "rows_success": 4}, {"rows_total": 10}, (4, 0, 10, 40)),
    ({"rows_total": 10, "rows_success": 9}, {"rows_success": 10}, (10, 0, 10, 99)),
    ({"rows_total": 0}, {}, (0, 0, 0, 0)),
    ({"progress": 30}, {"rows_success": 1, "rows_total": 10}, (1, 0, 10, 30)),
    ({"progress": 30}, {"progress": 30}, (0, 0, None, 30)),
    ({"progress": 30}, {"progress": 100}, (0, 0, None, 99)),
    ({"rows_total": 10, "rows_success": 1}, {"rows_success": 2, "progress": 70}, (2, 0, 10, 70)),
    ({"rows_success": MAX_ROWS}, {"rows_failed": MAX_ROWS}, (MAX_ROWS, MAX_ROWS, None, 0)),
]


@pytest.mark.parametrize(("before", "now", "expected"), COUNTED, ids=[f"{a} {b}" for a, b, _ in COUNTED])
def test_a_missing_count_is_derived_or_kept(
    connection: sa.Connection,
    before: dict[str, Any],
    now: dict[str, Any],
    expected: tuple[int, int, int | None, int],
) -> None:
    upload = recorded(connection, recorded(connection, created(connection), **before), **now)

    assert expected == (upload.rows_success, upload.rows_failed, upload.rows_total, upload.progress)
    assert upload.rows_processed == upload.rows_success + upload.rows_failed


BACKWARDS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"rows_success": 5_000}, {"rows_processed": 4_000}, "its rows_processed is already 5,000, more than 4,000"),
    ({"rows_success": 5_000}, {"rows_success": 4_999}, "its rows_processed is already 5,000, more than 4,999"),
    ({"rows_success": 5}, {"rows_success": 4, "rows_failed": 1}, "its rows_success is already 5, more than 4"),
    ({"rows_failed": 5}, {"rows_success": 9, "rows_failed": 4}, "its rows_failed is already 5, more than 4"),
    ({"rows_failed": 5}, {"rows_processed": 4}, "its rows_processed is already 5, more than 4"),
    ({"progress": 50}, {"progress": 49}, "its progress is already 50, more than 49"),
    ({"rows_total": 10, "rows_success": 5}, {"progress": 49}, "its progress is already 50, more than 49"),
]


@pytest.mark.parametrize("event", ["progress", "complete", "error", "cancelled"])
@pytest.mark.parametrize(("before", "now", "reason"), BACKWARDS)
def test_a_report_that_goes_backwards_is_rejected(
    connection: sa.Connection, before: dict[str, Any], now: dict[str, Any], reason: str, event: str
) -> None:
    upload = recorded(connection, created(connection), **before)

    assert refused(connection, upload, event, **now) == f"Upload #{upload.id} cannot go backwards: {reason}."


@pytest.mark.parametrize("event", ["progress", "complete", "error", "cancelled"])
@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"rows_total": 1_000}, {"rows_success": 1_001}),
        ({"rows_total": 1_000}, {"rows_success": 600, "rows_failed": 401}),
        ({"rows_success": 1_001}, {"rows_total": 1_000}),
        ({}, {"rows_total": 1_000, "rows_processed": 1_001}),
    ],
)
def test_a_report_that_exceeds_the_total_is_rejected(
    connection: sa.Connection, before: dict[str, Any], now: dict[str, Any], event: str
) -> None:
    upload = recorded(connection, created(connection), **before)

    expected = f"Upload #{upload.id} cannot have 1,001 rows processed: its rows_total is 1,000."
    assert expected == refused(connection, upload, event, **now)


def test_an_upload_is_complete_only_when_every_row_is_processed(connection: sa.Connection) -> None:
    upload = recorded(connection, created(connection, rows_total=1_000), rows_success=900)
    said = refused(connection, upload, "complete")
    counted = recorded(connection, upload, "complete", rows_total=902, rows_failed=2)

    assert said.startswith(f"Upload #{upload.id} is not complete: 900 of its 1,000 rows are processed.")
    assert (counted.rows_total, counted.rows_processed, counted.rows_failed, counted.progress) == (902, 902, 2, 100)


def test_without_a_reported_total_it_is_the_number_of_processed_rows(connection: sa.Connection) -> None:
    assert recorded(connection, created(connection), "complete", rows_success=7).rows_total == 7


@pytest.mark.parametrize("event", ["error", "cancelled"])
def test_an_end_before_the_last_row_keeps_the_counts_and_the_reason(connection: sa.Connection, event: str) -> None:
    upload = recorded(connection, created(connection, rows_total=100), rows_success=30)
    ended = recorded(connection, upload, event, error="The disk is full.")

    assert (ended.rows_success, ended.rows_total, ended.progress) == (30, 100, 30)
    assert ended.error == "The disk is full."
    assert ended.finished_at is not None


# Several reports at once


def test_a_rejected_report_does_not_affect_the_others(connection: sa.Connection) -> None:
    one, two = created(connection), created(connection)
    worker_s = created(connection, Processor.WORKER)
    outcomes = reports.record(
        connection,
        [
            report(two, rows_success=2),
            report(404404),
            report(one, rows_success=1),
            report(worker_s),
            report(two, rows_success=1),
            report(two, "complete", rows_success=3),
            report(two, rows_success=4),
        ],
    )
    kinds = [Upload, UploadNotFoundError, Upload, ReportError, ReportError, Upload, TransitionError]

    assert kinds == [type(outcome) for outcome in outcomes]
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Upload)] == [2, 2, 3]
    assert uploads.get(connection, one.id) == outcomes[2]
    assert uploads.get(connection, two.id) == outcomes[5]
