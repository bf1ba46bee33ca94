"""The course of an import, as an upload's page shows it."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.attempts import UploadLog
from jobs.failed_rows import FailureCount
from jobs.failure_map import FailureMap
from jobs.upload_log import By, Entry, Kind, Via
from jobs.uploads import Status, Upload
from tests.webapp.views.test_upload import NOON, PENDING
from webapp.views.run import ENTRIES_SHOWN, Records, RunView


def entry(seq: int, kind: Kind, seconds: float, rows: int = 0, attempt: int = 1, **more: Any) -> Entry:
    return Entry(seq, NOON + timedelta(seconds=seconds), kind, attempt, rows, 0, **more)


def a_run(upload: Upload, *entries: Entry, **records: Any) -> RunView:
    return RunView(upload, Records(UploadLog(list(entries), []), **records))


COMPLETED = replace(PENDING, status=Status.COMPLETED, rows_total=1_000, rows_processed=1_000, rows_success=1_000)


def test_the_curve_shows_the_rate_between_two_milestones() -> None:
    spark = a_run(
        COMPLETED,
        entry(1, Kind.CREATED, -9, attempt=0),
        entry(2, Kind.CLAIMED, 0),
        entry(3, Kind.MILESTONE, 1, 100),
        entry(4, Kind.MILESTONE, 2, 500),
        entry(5, Kind.COMPLETED, 4, 1_000),
    ).spark

    assert spark.text == "Rows per second: 100 at first, 400 at most, 250 at last."
    assert [point.split(",")[0] for point in spark.line.split()] == [
        "0.00",
        "25.00",
        "25.00",
        "50.00",
        "50.00",
        "100.00",
    ]
    assert spark.fastest == 400


def test_the_curve_leaves_out_the_time_between_two_attempts() -> None:
    spark = a_run(
        COMPLETED,
        entry(2, Kind.CLAIMED, 0),
        entry(3, Kind.MILESTONE, 1, 100),
        entry(4, Kind.HANDED_BACK, 2, 200),
        entry(5, Kind.RESUMED, 1_000, 200, attempt=2),
        entry(6, Kind.COMPLETED, 1_002, 1_000, attempt=2),
    ).spark

    assert spark.text == "Rows per second: 100 at first, 400 at most, 400 at last."


def test_looks_at_the_file_are_no_part_of_the_import() -> None:
    run = a_run(
        COMPLETED,
        entry(2, Kind.CLAIMED, 0),
        entry(3, Kind.HELD, 1),
        entry(4, Kind.APPROVED, 500),
        entry(5, Kind.CLAIMED, 501, attempt=2),
        entry(6, Kind.MILESTONE, 502, 100, attempt=2),
        entry(7, Kind.MILESTONE, 503, 500, attempt=2),
        entry(8, Kind.COMPLETED, 505, 1_000, attempt=2),
    )

    assert run.spark.text == "Rows per second: 100 at first, 400 at most, 250 at last."
    assert [each.text for each in run.entries][:2] == ["Check started", "Waits for a review"]
    assert [each.text for each in run.entries][3] == "Import started"


def test_the_curve_of_an_import_that_runs_ends_with_its_present_state() -> None:
    upload = replace(
        PENDING, status=Status.PROCESSING, attempt=1, rows_processed=900, updated_at=NOON + timedelta(seconds=3)
    )
    spark = a_run(
        upload, entry(2, Kind.CLAIMED, 0), entry(3, Kind.MILESTONE, 1, 100), entry(4, Kind.MILESTONE, 2, 200)
    ).spark

    assert spark.text.endswith("700 at last.")


def test_a_short_import_has_no_curve() -> None:
    assert a_run(COMPLETED, entry(2, Kind.CLAIMED, 0), entry(3, Kind.COMPLETED, 0.1, 20)).spark.line == ""


def test_the_strip_shows_what_failed_and_what_was_not_read_yet() -> None:
    upload = replace(PENDING, status=Status.PROCESSING, rows_total=200, rows_processed=100, rows_failed=3)
    strip = a_run(upload, map=FailureMap().adding([1, 2, 51])).strip

    assert [cell.title for cell in (strip.cells[0], strip.cells[25], strip.cells[49], strip.cells[50])] == [
        "Rows 1 to 2: 2 failed",
        "Rows 51 to 52: 1 failed",
        "Rows 99 to 100: none failed",
        "Rows 101 to 102: not read yet",
    ]
    assert (strip.cells[0].height, strip.cells[25].height, strip.cells[1].height) == (100, 50, 0)
    assert strip.worst == strip.cells[0]
    assert strip.cells[25].url == "/uploads/7?after=50#failed-rows"


def test_a_cell_of_the_strip_is_drawn_as_high_as_its_failed_rows_and_leads_to_them() -> None:
    upload = replace(PENDING, status=Status.PROCESSING, rows_total=200, rows_processed=100, rows_failed=3)
    strip = a_run(upload, map=FailureMap().adding([1, 2, 51])).strip

    assert strip.cells[25].drawn(25) == (
        '<a href="/uploads/7?after=50#failed-rows" tabindex="-1"><g><title>Rows 51 to 52: 1 failed</title>'
        '<rect class="cell-read" x="25" width=".8" height="100"/>'
        '<rect class="cell-bad" x="25" width=".8" y="50" height="50"/></g></a>'
    )
    assert strip.cells[50].drawn(50) == (
        '<g><title>Rows 101 to 102: not read yet</title><rect class="cell-left" x="50" width=".8" height="100"/></g>'
    )
    assert strip.drawing == "".join(cell.drawn(place) for place, cell in enumerate(strip.cells))
    assert re.findall(r' x="(\d+)"', strip.drawing)[-1] == "99"


def test_the_strip_never_says_that_no_row_failed_if_some_did() -> None:
    upload = replace(COMPLETED, rows_total=100, rows_processed=100, rows_failed=3)
    removed = replace(upload, failed_rows_removed_at=upload.created_at)
    known = a_run(removed, map=FailureMap().adding([1, 2, 51])).strip

    assert a_run(upload).strip.cells == []
    assert known.worst is not None
    assert (known.worst.name, known.worst.failed, {cell.url for cell in known.cells}) == ("row 1", 1, {""})


def test_the_length_of_a_file_that_is_not_counted_is_estimated() -> None:
    upload = replace(
        PENDING, status=Status.PROCESSING, next_byte=100, bytes_total=400, rows_processed=50, rows_failed=1
    )
    strip = a_run(upload, map=FailureMap().adding([1])).strip

    assert strip.cells[-1].last == 200


def test_a_reason_leads_to_its_rows() -> None:
    upload = replace(COMPLETED, rows_failed=4)
    [first, second] = a_run(
        upload, counts=[FailureCount("a&b", "is wrong", 3), FailureCount(None, "is odd", 1)]
    ).reasons

    assert (first.share, second.share) == (75.0, 25.0)
    assert first.url == "/uploads/7?column=a%26b&rule=is+wrong#failed-rows"
    assert second.url == "/uploads/7?column=&rule=is+odd#failed-rows"


def test_of_the_milestones_one_for_each_quarter_is_in_the_log() -> None:
    milestones = [entry(n, Kind.MILESTONE, n, 10 * n) for n in range(3, 100)]
    run = a_run(
        COMPLETED, entry(2, Kind.CLAIMED, 0, worker="here:1"), *milestones, entry(200, Kind.COMPLETED, 100, 1_000)
    )

    assert [each.text for each in run.entries] == ["Import started", "250 rows", "500 rows", "750 rows", "Completed"]


def test_a_long_log_folds_its_earlier_entries() -> None:
    run = a_run(PENDING, *(entry(n, Kind.RETRIED, n) for n in range(1, 2 * ENTRIES_SHOWN)))

    assert [each.seq for each in run.entries] == [*range(ENTRIES_SHOWN, 2 * ENTRIES_SHOWN)]
    assert len(run.earlier) == ENTRIES_SHOWN - 1


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        (Kind.CREATED, {"by": By(Via.WEB)}, ("Uploaded in the browser", "")),
        (Kind.CREATED, {"by": By(Via.COMMAND)}, ("Uploaded by bulk-upload load", "")),
        (Kind.CANCELLED, {"by": By(Via.API)}, ("Cancelled by the API", "")),
        (Kind.CANCELLED, {"by": By(Via.WEB)}, ("Cancelled in the browser", "")),
        (Kind.RETRIED, {"by": By(Via.WEB, "Ana")}, ("Retried by Ana", "")),
        (
            Kind.CUT,
            {"detail": "it exceeded the limit of time"},
            ("Stopped by the watchdog after 0 rows", "it exceeded the limit of time"),
        ),
        (Kind.FAILED, {"detail": "This is a picture."}, ("Failed", "This is a picture.")),
        (Kind.SILENT, {}, ("No reports from the external script", "")),
    ],
)
def test_an_entry_is_in_words(kind: Kind, more: dict[str, Any], words: tuple[str, str]) -> None:
    [shown] = a_run(PENDING, entry(1, kind, 0, **more)).entries

    assert (shown.text, shown.detail) == words
