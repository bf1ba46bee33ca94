"""UploadView, and the partials that render it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.attempts import UploadLog
from jobs.failed_rows import FailedRow, FailedRowExcerpt, FailureCount, Reason
from jobs.forecast import Place, Workers
from jobs.import_options import ImportOptions
from jobs.lanes import Lane
from jobs.queue import QueueStatus
from jobs.uploads import UNDO, Processor, Status, Upload
from webapp.templating import Templates, when
from webapp.views import upload as upload_view
from webapp.views.failed_rows import FailedRowsView
from webapp.views.run import Records, RunView
from webapp.views.upload import UploadView

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FREE_SPACE = "The import starts automatically once your administrator has freed space on the server."
IDLE = QueueStatus(reachable=True, workers=Workers(2))
ASK_FOR_WORKER = "Ask your administrator to start one."

PENDING = Upload(
    id=7, seq=1, attempt=0, attempts_without_progress=0, cuts=0, status=Status.PENDING, filename="june.csv",
    dataset_wanted="", dataset=None, options=ImportOptions(), parent=None, duplicate_of=None, header=None,
    stored_as="0" * 32, size=1234, sha256="ab" * 32, next_byte=0, bytes_total=None, rows_total=None, rows_processed=0,
    rows_success=0, rows_failed=0, rows_corrected=0, rows_failed_again=0,
    error=None, remedy=None, notes=[], warnings=[], lines_blank=0,
    worker=None, lease_until=None, counting_since=None, counting_from=0, created_at=NOON,
    started_at=None, finished_at=None, updated_at=NOON, processor=Processor.WORKER, progress_reported=None,
    silent_since=None, search_text="june.csv\n", lane=Lane.QUICK, sender="192.0.2.1",
    account_id=None, token_id=None, uploaded_by=None,
)  # fmt: skip


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def page_of(view: UploadView, *failed: FailedRowExcerpt, counts: Sequence[FailureCount] = ()) -> dict[str, Any]:
    """What the partials of a page need. view: of an upload without a log."""
    upload = view._upload
    run = RunView(upload, Records(UploadLog([], []), counts))
    return {"upload": view, "run": run, "failed": FailedRowsView(upload, failed, sources={})}


@pytest.mark.parametrize(
    ("undone_by", "undoes", "status", "note"),
    [
        (None, [7], Status.PENDING, "Being undone by"),
        (None, [7], Status.CANCELLED, "Its undo was stopped half-way:"),
        (8, [8], Status.PROCESSING, "Being put back by"),
        (8, [8], Status.FAILED, "Putting it back was stopped half-way:"),
        (None, [5], Status.PROCESSING, ""),
    ],
)
def test_what_an_open_undo_does_with_an_upload_is_said_in_place_of_the_buttons_that_it_makes_impossible(
    undone_by: int | None, undoes: list[int], status: Status, note: str
) -> None:
    upload = replace(PENDING, status=Status.CANCELLED, dataset="june", rows_success=9, undone_by=undone_by)
    undo = replace(PENDING, id=9, kind=UNDO, undoes=undoes, status=status, rows_success=3)
    html = Templates().render("_upload_progress.html", page_of(UploadView(upload, IDLE, open_undo=undo)))
    free = Templates().render("_upload_progress.html", page_of(UploadView(replace(upload, undone_by=None), IDLE)))

    assert ('id="upload-undo-note"' in html) == bool(note)
    assert f'{note} <a href="/uploads/9">#9</a>' in html or not note
    assert [name in html for name in BUTTONS] == [False, False]
    assert [name in free for name in BUTTONS] == [True, True]


@pytest.mark.parametrize(
    ("status", "is_undone_now", "can"),
    [
        (Status.COMPLETED, False, True),
        (Status.COMPLETED, True, False),
        (Status.HELD, False, False),
        (Status.PENDING, False, False),
    ],
)
def test_only_what_ended_can_be_deleted_unless_it_is_being_undone(
    status: Status, is_undone_now: bool, can: bool
) -> None:
    undo = replace(PENDING, id=9, kind=UNDO, undoes=[7]) if is_undone_now else None
    assert UploadView(replace(PENDING, status=status), IDLE, open_undo=undo).can_delete is can


BUTTONS = ['id="upload-undo"', 'id="upload-retry"']


def processing(**values: Any) -> UploadView:
    upload = replace(PENDING, status=Status.PROCESSING, attempt=1, started_at=NOON, counting_since=NOON)
    return UploadView(replace(upload, **values), IDLE)


@pytest.mark.parametrize(
    ("status", "rows_failed", "expected"),
    [
        (Status.PENDING, 0, ("Pending", "pending")),
        (Status.PROCESSING, 3, ("Processing", "active")),
        (Status.COMPLETED, 0, ("Completed", "good")),
        (Status.COMPLETED, 1, ("Completed with failed rows", "warn")),
        (Status.FAILED, 1, ("Failed", "bad")),
        (Status.CANCELLED, 0, ("Cancelled", "muted")),
    ],
)
def test_a_status_has_a_label_and_a_tone(status: Status, rows_failed: int, expected: tuple[str, str]) -> None:
    view = UploadView(replace(PENDING, status=status, rows_failed=rows_failed), IDLE)

    assert (view.label, view.tone) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.PENDING, (False, True, False)),
        (Status.PROCESSING, (False, True, False)),
        (Status.COMPLETED, (True, False, False)),
        (Status.FAILED, (True, False, True)),
        (Status.CANCELLED, (True, False, True)),
    ],
)
def test_each_status_allows_its_own_actions(status: Status, expected: tuple[bool, bool, bool]) -> None:
    view = UploadView(replace(PENDING, status=status), IDLE)

    assert (view.is_terminal, view.can_cancel, view.can_retry) == expected


@pytest.mark.parametrize(
    ("queue_status", "expected", "advice"),
    [
        (QueueStatus(True, Workers(2), {7: Place(0)}, disk_full=True), "Disk full", FREE_SPACE),
        (QueueStatus(disk_full=True), "Disk full", FREE_SPACE),
        (QueueStatus(), "Queue unavailable", "The import starts automatically when the queue is available again."),
        (QueueStatus(reachable=True), "No worker is running", ASK_FOR_WORKER),
        (QueueStatus(True, Workers(2)), "Queued: next", None),
        (QueueStatus(True, Workers(2), {7: Place(0)}), "Queued: next", None),
        (QueueStatus(True, Workers(2), {3: Place(0), 7: Place(1)}), "Queued: 1 ahead", None),
        (QueueStatus(True, Workers(2), {7: Place(1234)}), "Queued: 1,234 ahead", None),
        (QueueStatus(True, Workers(quick=1), {7: Place(2)}), "Queued: 2 ahead", None),
        (QueueStatus(True, Workers(), {7: Place(5)}), "No worker is running", ASK_FOR_WORKER),
        (QueueStatus(True, Workers(bulk=1), {7: Place(5)}), "No worker for small files is running", ASK_FOR_WORKER),
    ],
)
def test_a_pending_upload_shows_why_it_waits_and_what_to_do(
    queue_status: QueueStatus, expected: str, advice: str | None
) -> None:
    view = UploadView(PENDING, queue_status)

    assert (view.waiting, view.waiting_advice) == (expected, advice)


@pytest.mark.parametrize(
    ("queue_status", "expected"),
    [
        (QueueStatus(True), f'<p class="quiet">{ASK_FOR_WORKER}</p>'),
        (QueueStatus(True, Workers(2), {7: Place(3)}), ">Queued: 3 ahead.</p>"),
    ],
)
def test_the_page_of_a_pending_upload_shows_the_advice(queue_status: QueueStatus, expected: str) -> None:
    html = Templates().render("_upload_progress.html", page_of(UploadView(PENDING, queue_status)))

    assert expected in html


@pytest.mark.parametrize(
    "queue_status", [QueueStatus(), QueueStatus(True), QueueStatus(True, Workers(2), {7: Place(5)})]
)
def test_an_external_upload_waits_for_no_worker(queue_status: QueueStatus) -> None:
    view = UploadView(replace(PENDING, processor=Processor.EXTERNAL), queue_status)

    assert (view.waiting, view.waiting_advice) == ("Waiting for the external script", None)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_only_pending_uploads_wait(status: Status) -> None:
    view = UploadView(replace(PENDING, status=status), QueueStatus())

    assert (view.waiting, view.waiting_advice) == (None, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"rows_processed": 1000, "updated_at": after(4)}, 250),
        ({"rows_processed": 1000, "counting_from": 600, "updated_at": after(4)}, 100),
        ({"rows_processed": 600, "counting_from": 600, "updated_at": after(4)}, None),
        ({"rows_processed": 1000, "updated_at": after(0.1)}, None),
        ({"rows_processed": 1000, "counting_since": None}, None),
        ({"rows_processed": 1000, "updated_at": after(4), "status": Status.COMPLETED}, None),
        ({"rows_processed": 1000, "updated_at": after(-4)}, None),
    ],
)
def test_the_rate_counts_only_the_current_attempt(values: dict[str, Any], expected: int | None) -> None:
    assert processing(**values).rate == expected


@pytest.mark.parametrize(
    ("rows_total", "rows_processed", "expected"),
    [
        (None, 1000, None),
        (2000, 0, None),
        (2000, 1000, "4.0 s"),
        (1_000_000, 1000, "1 h 6 min"),
        (1000, 1000, "< 0.1 s"),
    ],
)
def test_time_left_needs_a_total_and_a_rate(rows_total: int | None, rows_processed: int, expected: str | None) -> None:
    view = processing(rows_total=rows_total, rows_processed=rows_processed, updated_at=after(4))

    assert view.time_left == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"started_at": None}, (None, None)),
        ({"rows_processed": 500, "updated_at": after(5)}, ("5.0 s", 100)),
        ({"rows_processed": 500, "updated_at": after(99), "finished_at": after(50)}, ("50 s", 10)),
        ({"rows_processed": 0, "updated_at": after(5)}, ("5.0 s", None)),
        ({"rows_processed": 500}, ("< 0.1 s", None)),
        ({"status": Status.HELD, "updated_at": after(99)}, (None, None)),
    ],
)
def test_duration_and_average_rate_stop_when_the_upload_ends(
    values: dict[str, Any], expected: tuple[str | None, int | None]
) -> None:
    view = processing(**values)

    assert (view.elapsed, view.average_rate) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rows_total": 1000, "rows_processed": 500, "rows_success": 500}, ("50", [("in", 0, 50)])),
        (
            {"rows_total": 1000, "rows_processed": 400, "rows_success": 300, "rows_failed": 100},
            ("40", [("in", 0, 30), ("failed", 30, 10)]),
        ),
        (
            {"status": Status.COMPLETED, "rows_processed": 1000, "rows_success": 850, "rows_failed": 150},
            ("85", [("in", 0, 85), ("failed", 85, 15)]),
        ),
        (  # one row of a million can be seen, and is not rounded away
            {"status": Status.COMPLETED, "rows_processed": 10**6, "rows_success": 10**6 - 1, "rows_failed": 1},
            ("99", [("in", 0, 98.5), ("failed", 98.5, 1.5)]),
        ),
        (
            {"status": Status.COMPLETED, "rows_processed": 10**6, "rows_success": 1, "rows_failed": 10**6 - 1},
            ("<1", [("in", 0, 1.5), ("failed", 1.5, 98.5)]),
        ),
        (  # every row failed: nothing may suggest that it was nearly done
            {"status": Status.FAILED, "rows_total": 1000, "rows_processed": 1000, "rows_failed": 1000},
            (None, [("failed", 0, 100)]),
        ),
        ({"status": Status.FAILED}, (None, [])),
        (
            {"status": Status.CANCELLED, "rows_total": 10, "rows_processed": 5, "rows_success": 5},
            (None, [("in", 0, 50)]),
        ),
        ({"status": Status.COMPLETED}, ("100", [("in", 0, 100)])),
    ],
)
def test_the_bar_and_the_percentage_tell_what_became_of_the_rows(
    values: dict[str, Any], expected: tuple[str | None, list[tuple[str, float, float]]]
) -> None:
    view = processing(**values)

    assert (view.percent, [(part.kind, part.start, part.width) for part in view.segments]) == expected


def test_a_failed_row_names_each_column_and_its_reason() -> None:
    row = FailedRow(12, ["x", ""], [Reason("born", "is no date", "x"), Reason(None, "has 2 cells")])

    assert row.sentence == "born: “x” is no date; has 2 cells"


def test_the_records_attributes_keep_their_names() -> None:
    view = UploadView(PENDING, IDLE)

    assert (view.id, view.filename, view.sha256) == (7, "june.csv", "ab" * 32)
    with pytest.raises(AttributeError):
        _ = view.password


def test_progress_is_unknown_while_column_types_are_inferred() -> None:
    html = Templates().render("_upload_row.html", {"upload": processing()})

    assert "Inferring column types" in html
    assert '<progress class="progress " max="100" aria-label="Progress of june.csv"></progress>' in html
    assert " %" not in html


@pytest.mark.parametrize("template", ["_upload_row.html", "_upload_progress.html"])
def test_only_external_uploads_are_marked_as_external(template: str) -> None:
    external, by_worker = (
        Templates().render(template, page_of(processing(processor=processor)))
        for processor in (Processor.EXTERNAL, Processor.WORKER)
    )

    assert ">External script</span>" in external
    assert "Inferring" not in external
    assert 'value="0"' in external
    assert "External" not in by_worker


@pytest.mark.parametrize("template", ["_upload_row.html", "_upload_progress.html"])
def test_a_silent_script_is_shown_with_its_last_update(template: str) -> None:
    view = processing(processor=Processor.EXTERNAL, silent_since=NOON)

    assert f"No update since {when(NOON, 'clock')}" in Templates().render(template, page_of(view))
    assert "No update since" not in Templates().render(template, page_of(processing(processor=Processor.EXTERNAL)))


PARTIALS = {
    "_upload_row.html": "upload-7",
    "_upload_progress.html": "upload",
    "_failed_rows.html": "failed-rows",
    "_upload_aside.html": "upload-aside",
    "_toast.html": "toast-7-1",
}


@pytest.mark.parametrize("template", PARTIALS)
def test_a_partial_begins_with_an_element_that_carries_its_id(template: str) -> None:
    html = Templates().render(template, page_of(processing(rows_total=10))).lstrip()

    assert html.partition(">")[0].split('"')[1] == PARTIALS[template]


@pytest.mark.parametrize("template", PARTIALS)
def test_text_from_a_file_is_escaped(template: str) -> None:
    evil = "<script>alert('&\")</script>"
    upload = replace(
        PENDING,
        status=Status.FAILED,
        filename=evil,
        dataset=evil,
        error=evil,
        notes=[evil],
        rows_failed=1,
        header=[evil],
    )
    cells = [evil, f"{evil} and longer than thirty characters", evil * 99]
    failed = FailedRowExcerpt(1, cells, 4, [Reason(evil, evil, evil), Reason("else", evil, evil)], None)
    html = Templates().render(template, page_of(UploadView(upload, IDLE), failed, counts=[FailureCount(evil, evil, 1)]))

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "alert('" not in html


@pytest.mark.parametrize(
    ("lines", "note"), [(1, "1 blank line was skipped."), (1_093, "1,093 blank lines were skipped.")]
)
def test_a_note_says_how_many_blank_lines_were_skipped(lines: int, note: str) -> None:
    assert UploadView(replace(PENDING, lines_blank=lines, notes=["One column."]), IDLE).notes == ["One column.", note]
    assert UploadView(replace(PENDING, notes=["One column."]), IDLE).notes == ["One column."]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "Queued: 3 ahead"),
        (1, "Queued: 3 ahead"),
        (3, "Queued: 3 ahead, starts in a few seconds"),
        (26, "Queued: 3 ahead, starts in about 30 seconds"),
        (56, "Queued: 3 ahead, starts in about 1 minute"),
        (130, "Queued: 3 ahead, starts in about 2 minutes"),
        (3_500, "Queued: 3 ahead, starts in about 1 hour"),
        (90_000, "Queued: 3 ahead, starts in about 1 day"),
    ],
)
def test_an_upload_that_waits_shows_about_when_it_starts(seconds: float | None, words: str) -> None:
    assert upload_view.place_in_words(Place(3, None, seconds)) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"status": Status.PENDING}, ""),
        ({}, ""),
        ({"rows_total": 1000, "rows_processed": 850, "rows_success": 849, "rows_failed": 1}, "850 of 1,000 (85 %)"),
        ({"rows_processed": 1, "rows_success": 1, "next_byte": 1, "bytes_total": 8}, "1 row (12 %)"),
        ({"status": Status.COMPLETED, "rows_total": 20, "rows_processed": 20, "rows_success": 20}, "20 of 20 (100 %)"),
        (
            {"status": Status.COMPLETED, "rows_total": 1000, "rows_processed": 1000, "rows_success": 850,
             "rows_failed": 150},
            "850 of 1,000 (85 %)",
        ),
        ({"status": Status.COMPLETED}, "0 rows"),
        ({"status": Status.FAILED, "rows_total": 2, "rows_processed": 2, "rows_failed": 2}, "0 of 2"),
        ({"status": Status.FAILED}, ""),
        ({"status": Status.CANCELLED, "rows_total": 10, "rows_processed": 5, "rows_success": 5}, "5 of 10"),
    ],
)  # fmt: skip
def test_rows_are_counted_in_one_phrase(values: dict[str, Any], words: str) -> None:
    assert processing(**values).rows_in_words == words


WARNED = [{"code": "no_header", "detail": "The first row was imported as data."}]


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ({}, "Inferring column types"),
        ({"rows_total": 100, "rows_processed": 20, "updated_at": after(1)}, "4.0 s left"),
        ({"status": Status.PENDING}, "Queued: next"),
        ({"status": Status.FAILED, "error": "It is a picture."}, "It is a picture."),
        ({"status": Status.FAILED, "error": "x" * 999}, f"{'x' * 600}…"),
        ({"status": Status.COMPLETED}, ""),
        ({"status": Status.COMPLETED, "warnings": WARNED}, WARNED[0]["detail"]),
        ({"status": Status.COMPLETED, "rows_failed": 1}, "1 row failed"),
        ({"status": Status.COMPLETED, "rows_failed": 18, "warnings": WARNED}, "18 rows failed and 1 warning"),
        ({"status": Status.COMPLETED, "rows_failed": 18, "rows_corrected": 8}, "18 rows failed, 8 corrected"),
        ({"status": Status.COMPLETED, "rows_failed": 18, "rows_corrected": 18}, "18 rows failed, all corrected"),
        ({"status": Status.HELD, "hold": [{"code": "duplicate", "detail": "x"}], "duplicate_of": 3}, "Same file as #3"),
        ({"status": Status.HELD, "hold": [{"code": "header", "detail": "No header?"}]}, "No header?"),
        ({"status": Status.CANCELLED, "rows_success": 1_000}, "1,000 rows imported before"),
        ({"status": Status.CANCELLED}, ""),
    ],
)
def test_the_remark_is_what_a_person_should_know_first(values: dict[str, Any], remark: str) -> None:
    assert processing(**values).remark == remark


def test_a_long_remark_is_cut_in_the_row_and_whole_in_its_tooltip() -> None:
    error = "This is a long reason. " * 10
    html = Templates().render("_upload_row.html", {"upload": processing(status=Status.FAILED, error=error)})

    assert f'title="{error}">{error[:160]}…</span>' in html
