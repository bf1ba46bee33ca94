"""External uploads: announcements, reports, and what pages and streams receive."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

import jobs.sweeper
from jobs import tables
from jobs.changes import Changes
from jobs.events import Event, channels
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.uploads import Processor, Status, Upload
from tests.support.commands import run
from tests.support.databases import ONE_DATABASE
from tests.support.listening import listening
from tests.support.queueing import rung_for
from tests.support.sending import by_body, by_form
from tests.support.serving import Served, Worker
from webapp.routes import upload_json
from webapp.routes.json_body import MAX_BYTES
from webapp.routes.notify import MAX_REPORTS

TOKEN = "s3cret/+=~-of-many"
PATHS = ["/api/v1/internal/notify", "/api/v1/internal/websocket/notify"]
EVIL = "<script>alert('&\")"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"notify_token": TOKEN})


def announce(served: Served, filename: str = "june.csv", **more: Any) -> httpx.Response:
    body = {"processor": "external", "filename": filename, **more}
    return served.client.post("/api/v1/uploads", json=body)


def announced(served: Served, filename: str = "june.csv", **more: Any) -> Upload:
    answer = announce(served, filename, **more)

    assert answer.status_code == 201, answer.text

    return served.records.all()[0]


def notify(served: Served, body: Any, path: str = PATHS[0], **headers: str) -> httpx.Response:
    given = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else json.dumps(body)
    return served.client.post(
        path, content=content, headers=[(name.encode(), each.encode()) for name, each in given.items()]
    )


def report(upload: Upload, event: str = "progress", **said: Any) -> dict[str, Any]:
    return {"file_id": upload.id, "event": f"bulk_upload_{event}", **said}


def check_problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()

    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in problem["detail"]
    return problem


def waiting(served: Served) -> set[int]:
    """Uploads that workers would take."""
    return set(rung_for(served.settings))


# Announcing


def test_an_external_upload_is_announced(served: Served) -> None:
    served.records.dataset("sales")
    answer = announce(served, "/srv/june.parquet", dataset="sales", size=1234, rows_total=100)
    [upload, *_] = served.records.all()
    shown = answer.json()

    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/uploads/{upload.id}")
    assert shown.items() >= vars(Event.from_upload(upload)).items()
    assert shown.items() >= {
        "id": upload.id, "processor": "external", "status": "pending", "filename": "june.parquet", "dataset": "sales",
        "size": 1234, "sha256": None, "rows_total": 100, "silent_since": None, "duplicate_of": None,
    }.items()  # fmt: skip
    assert shown["links"].keys() == {"self", "events", "html", "dataset"}
    assert served.client.get(answer.headers["location"]).json() == shown
    assert upload.stored_as == ""


@pytest.mark.parametrize("send", [by_form, by_body])
def test_an_external_upload_may_include_its_file(served: Served, send: Any) -> None:
    shown = send(served, processor="external").json()
    [upload] = served.records.all()

    assert (upload.processor, upload.dataset, shown["processor"]) == (Processor.EXTERNAL, None, "external")
    assert served.client.get(shown["links"]["original"]).content == b"a,b\n1,2\n"
    assert waiting(served) == set()


@ONE_DATABASE
@pytest.mark.parametrize("send", [by_form, by_body])
def test_the_default_processor_is_a_worker(served: Served, send: Any) -> None:
    for fields in ({}, {"processor": ""}, {"processor": "worker"}):
        shown = send(served, **fields).json()

        assert (shown["processor"], shown["id"] in waiting(served)) == ("worker", True)

    check_problem(send(served, processor="mine"), 422, "processor must be worker, or external")
    assert len(served.stored) == 3


NOT_ANNOUNCED: list[tuple[Any, str, str]] = [
    ({"filename": "june.csv"}, "processor", "is missing"),
    ({"processor": "external"}, "filename", "is missing"),
    ({"processor": "worker", "filename": "june.csv"}, "processor", "input should be 'external'"),
    ({"processor": "external", "filename": ""}, "filename", "has no printable characters"),
    ({"processor": "external", "filename": "/home/\u202e"}, "filename", "has no printable characters"),
    ({"processor": "external", "filename": 7}, "filename", "input should be a valid string"),
    ({"processor": "external", "filename": "a", "size": -1}, "size", "input should be greater than or equal to 0"),
    ({"processor": "external", "filename": "a", "rows_total": "9"}, "rows_total", "input should be a valid integer"),
    ({"processor": "external", "filename": "a", "rows": 9}, "rows", "is not a known field"),
    ([], "", "must be an object"),
    (None, "", "must be an object"),
]


@ONE_DATABASE
def test_an_invalid_announcement_is_rejected_with_the_path(served: Served) -> None:
    for body, path, what in NOT_ANNOUNCED:
        headers = {"Content-Type": "Application/JSON; charset=utf-8"}
        answer = served.client.post("/api/v1/uploads", content=json.dumps(body), headers=headers)
        [error] = check_problem(answer, 422, f"{path}: " if path else "", what)["errors"]

        assert error["path"] == path
        assert error["detail"].startswith(what)
    check_problem(announce(served, dataset="?!"), 422, "cannot be the name of a dataset")
    check_problem(announce(served, dataset="sales"), 422, "There is no dataset called “sales”")
    check_problem(by_form(served, processor="external", dataset="sales"), 422, "There is no dataset called “sales”")

    assert (served.records.all(), served.stored) == ([], [])


@ONE_DATABASE
def test_json_with_a_filename_parameter_is_a_file(served: Served) -> None:
    headers = {"Content-Type": "application/json"}
    answer = served.client.post("/api/v1/uploads?filename=june.csv", content=b"a\n1\n", headers=headers)

    assert (answer.status_code, answer.json()["processor"]) == (201, "worker")


@ONE_DATABASE
def test_a_file_that_is_not_stored_cannot_be_downloaded(served: Served) -> None:
    upload = announced(served)

    check_problem(
        served.client.get(f"/uploads/{upload.id}/original", headers={"Accept": "application/json"}),
        404,
        f"The file of upload #{upload.id} is not stored here",
    )


def test_no_worker_and_no_sweep_takes_an_external_upload(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.sweeper, "LOST_AFTER", 0)
    untouched = [announced(served), served.records.all()[0]]
    by_form(served, processor="external")
    untouched = [untouched[0], served.records.all()[0]]
    with Changes.opened(served.settings, served.records.database) as changes, Worker(served.settings):
        Sweeper(changes, external_timeout=3600).sweep()
        changes.queue.enqueue(untouched[1])
        served.post(b"a,b\n1,2\n")
        served.finished()

    assert untouched == [served.records.get(upload) for upload in untouched]


# Who may report


@ONE_DATABASE
def test_without_a_secret_reports_are_rejected_with_instructions(settings: Settings) -> None:
    with Served(settings.model_copy(update={"notify_token": None})) as served:
        upload = announced(served)
        for path in PATHS:
            check_problem(notify(served, report(upload), path), 403, "BULK_UPLOAD_NOTIFY_TOKEN")

        assert served.records.get(upload) == upload


@ONE_DATABASE
@pytest.mark.parametrize("path", PATHS)
def test_a_report_without_the_secret_is_rejected(served: Served, path: str) -> None:
    upload = announced(served)
    for given in ("", "Bearer", TOKEN, "Basic czNjcmV0", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ü"):
        answer = notify(served, report(upload), path, Authorization=given)
        check_problem(answer, 401, "BULK_UPLOAD_NOTIFY_TOKEN")

        assert answer.headers["www-authenticate"].startswith('Bearer realm="bulk-upload"')
        assert TOKEN not in answer.text
    assert served.records.get(upload) == upload


@ONE_DATABASE
@pytest.mark.parametrize("path", PATHS)
def test_the_old_path_answers_like_the_new_one(served: Served, path: str) -> None:
    upload = announced(served)
    answer = notify(served, report(upload, rows_success=5), path, Authorization=f"bearer  {TOKEN}")
    refused = served.client.get(path)

    assert (answer.status_code, answer.json()["rows_processed"]) == (200, 5)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


# Reporting


def test_an_upload_is_reported_on_to_its_end(served: Served) -> None:
    upload = announced(served, rows_total=100)
    first = notify(served, report(upload, rows_success=39, rows_failed=1))
    last = notify(served, report(upload, "complete", rows_success=97, rows_failed=3))
    late = notify(served, report(upload, rows_success=100))

    assert (first.status_code, last.status_code) == (200, 200)
    assert first.json().items() >= {
        "status": "processing", "progress": 40, "rows_total": 100, "rows_processed": 40, "attempt": 1, "seq": 2,
    }.items()  # fmt: skip
    assert last.json() == served.client.get(f"/api/v1/uploads/{upload.id}").json()
    assert last.json().items() >= {"status": "completed", "progress": 100, "rows_failed": 3, "seq": 3}.items()
    assert "failed_rows" not in last.json()["links"]
    check_problem(late, 409, f"Upload #{upload.id} is completed, so it cannot be reported on.")


def test_what_cannot_be_recorded_is_a_problem(served: Served) -> None:
    upload = announced(served, rows_total=10)
    workers = served.records.processing()
    notify(served, report(upload, rows_success=5))

    check_problem(notify(served, report(upload, rows_success=4)), 409, "cannot go backwards")
    check_problem(notify(served, report(upload, rows_success=11)), 409, "its rows_total is 10")
    check_problem(notify(served, report(workers, "error", error="No.")), 409, "is imported by a worker of this server")
    check_problem(notify(served, {"file_id": 404404, "event": "bulk_upload_error", "error": "x"}), 404, "#404404")
    assert served.records.get(upload).rows_success == 5
    assert served.records.get(workers) == workers


NO_REPORTS: list[tuple[Any, str, str]] = [
    (b"", "", "The body is not JSON: line 1, column 1: expecting value."),
    (b'{"file_id": 7;}', "", "The body is not JSON: line 1, column 14"),
    (b"\xff\xfe\xfd", "", "The body cannot be read as JSON."),
    (b"[" * 100_000, "", "The body cannot be read as JSON."),
    (b'{"file_id": ' + b"9" * 5_000 + b"}", "", "The body cannot be read as JSON."),
    ({"event": "bulk_upload_complete"}, "file_id", "is missing"),
    (7, "", "must be an object"),
    ([], "", "list should have at least 1 item"),
    ([{"file_id": 1, "event": "bulk_upload_complete"}] * (MAX_REPORTS + 1), "", "list should have at most 1000 items"),
    ([{"file_id": 1, "event": "bulk_upload_complete"}, {"file_id": 2}], "[1].event", "is missing"),
    ([[]], "[0]", "must be an object"),
]


@ONE_DATABASE
def test_an_invalid_report_is_rejected_with_the_path(served: Served) -> None:
    for body, path, what in NO_REPORTS:
        [error] = check_problem(notify(served, body), 422)["errors"]

        assert error["path"] == path, body
        assert error["detail"].startswith(what), body


@ONE_DATABASE
def test_a_body_that_is_too_large_is_rejected(served: Served) -> None:
    check_problem(notify(served, b" " * (MAX_BYTES + 1)), 413, "1,048,576 bytes")


def test_each_report_of_a_list_has_its_result(served: Served) -> None:
    one, two = announced(served), announced(served)
    served.records.cancel(two)
    some = notify(served, [report(one, rows_success=1), report(two), {**report(one), "file_id": 404404}])
    all_ = notify(served, [report(one, rows_success=2), report(one, "complete")])
    none = notify(served, [report(two)])

    assert (some.status_code, all_.status_code, none.status_code) == (207, 200, 207)
    assert [(each["file_id"], each["status"]) for each in some.json()] == [(one.id, 200), (two.id, 409), (404404, 404)]
    assert some.json()[0]["upload"]["rows_processed"] == 1
    assert some.json()[1]["problem"]["detail"] == f"Upload #{two.id} is cancelled, so it cannot be reported on."
    assert [each["upload"]["seq"] for each in all_.json()] == [3, 4]
    assert served.records.get(one).status is Status.COMPLETED


@ONE_DATABASE
def test_a_list_with_an_invalid_report_records_none(served: Served) -> None:
    upload = announced(served)
    check_problem(notify(served, [report(upload, rows_success=1), report(upload, rows_failed=-1)]), 422, "[1].rows_f")

    assert served.records.get(upload) == upload


def test_concurrent_reports_never_lower_the_counts(served: Served) -> None:
    upload = announced(served)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: notify(served, report(upload, rows_success=n, rows_failed=n)), range(1, 41)))
    taken = sorted((answer.json() for answer in answers if answer.status_code == 200), key=lambda each: each["seq"])
    after = served.records.get(upload)

    assert all("backwards" in answer.json()["detail"] for answer in answers if answer.status_code != 200)
    assert [each["seq"] for each in taken] == list(range(2, after.seq + 1))
    assert [each["rows_success"] for each in taken] == sorted(each["rows_success"] for each in taken)
    assert (after.rows_success, after.rows_processed) == (40, 80)


# Once


def test_a_repeated_report_gets_the_same_answer_and_is_recorded_once(served: Served) -> None:
    upload = announced(served)
    body = [report(upload, rows_success=5), {**report(upload), "file_id": 404404}]
    first, second = (notify(served, body, Idempotency_Key="june-1") for _ in range(2))
    third = notify(served, body, PATHS[1], Idempotency_Key="june-1")
    fourth = notify(served, body, Idempotency_Key="june-2")

    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert (first.status_code, first.content) == (third.status_code, third.content)
    assert served.records.get(upload).seq == fourth.json()[0]["upload"]["seq"] == 3


def test_a_repeated_report_gets_the_same_rejection(served: Served) -> None:
    upload = announced(served)
    served.records.report(upload, rows_success=5)
    first = notify(served, report(upload, rows_success=4), Idempotency_Key="june-1")
    served.records.retry(served.records.cancel(upload))
    second = notify(served, report(upload, rows_success=4), Idempotency_Key="june-1")

    check_problem(second, 409, "cannot go backwards")
    assert first.json() == second.json()
    assert served.records.get(upload).status is Status.PENDING


@ONE_DATABASE
def test_a_key_with_another_body_is_rejected(served: Served) -> None:
    upload = announced(served)
    notify(served, report(upload, rows_success=5), Idempotency_Key="june-1")
    before = served.records.get(upload)
    check_problem(notify(served, report(upload, rows_success=6), Idempotency_Key="june-1"), 422, "“june-1”")

    assert served.records.get(upload) == before


@ONE_DATABASE
@pytest.mark.parametrize("key", ["", "x" * 201, "ä", "a\tb"])
def test_an_invalid_key_is_rejected(served: Served, key: str) -> None:
    upload = announced(served)
    answer = notify(served, report(upload), Idempotency_Key=key)

    check_problem(answer, 422, "`Idempotency-Key` must have 1 to 200")
    assert served.records.get(upload) == upload


@ONE_DATABASE
def test_a_report_whose_commit_failed_can_be_repeated_with_its_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = announced(served)
    with monkeypatch.context() as broken:
        broken.setattr(upload_json, "as_json", None)  # a defect, behind the record
        stumbled = notify(served, report(upload, rows_success=5), Idempotency_Key="june-1", Connection="close")
    before = served.records.get(upload)
    answer = notify(served, report(upload, rows_success=5), Idempotency_Key="june-1")

    assert stumbled.status_code == 500
    assert before == upload
    assert (answer.status_code, answer.json()["seq"]) == (200, 2)


# Who hears of it


def test_each_report_is_published_on_both_channels(served: Served) -> None:
    upload = announced(served)
    with listening(served.settings, upload) as heard:
        told = [notify(served, report(upload, rows_success=5), Idempotency_Key="june-1").json()]
        notify(served, report(upload, rows_success=5), Idempotency_Key="june-1")
        notify(served, report(upload, rows_success=4))
        several = notify(served, [report(upload, rows_success=6), report(upload, "complete", rows_success=7)]).json()
        told += [each["upload"] for each in several]

    general, own = channels(upload.id)
    assert [event.seq for event in heard[general]] == [2, 3, 4]
    assert heard[general] == heard[own]
    assert [vars(event) for event in heard[own]] == [
        {name: each[name] for name in vars(heard[own][0])} for each in told
    ]
    assert [event.event for event in heard[own]] == [*["bulk_upload_progress"] * 2, "bulk_upload_complete"]


@pytest.mark.parametrize(
    ("event", "said", "label"),
    [("complete", {}, "Completed"), ("error", {"error": EVIL}, "Failed"), ("cancelled", {}, "Cancelled")],
)
def test_each_report_reaches_every_page_and_stream(served: Served, event: str, said: Any, label: str) -> None:
    upload = announced(served)
    with (
        served.stream("/uploads/events") as history,
        served.stream(f"/uploads/{upload.id}/events") as detail,
        served.stream("/api/v1/events") as general,
        served.stream(f"/api/v1/uploads/{upload.id}/events") as own,
    ):
        for page in (history, detail):
            page.next()
        notify(served, report(upload, event, **said))
        after = served.records.get(upload)

        assert general.until_seq(after)[-1].json() == own.until_seq(after)[-1].json() == vars(Event.from_upload(after))
        for page in (history, detail):
            assert "<script" not in page.until_text(label)


# What pages say


def test_pages_show_the_external_script(served: Served) -> None:
    upload = announced(served)
    history, detail = served.page("/uploads"), served.page(f"/uploads/{upload.id}")

    assert ">External script</span>" in history
    assert "Waiting for the external script" in history
    assert "Waiting for the external script" in detail
    assert "<dt>Imported by</dt><dd>External script</dd>" in detail
    assert "/original" not in detail
    assert "SHA-256" not in detail


def test_an_external_upload_never_shows_that_types_are_inferred(served: Served) -> None:
    upload = announced(served)
    notify(served, report(upload, progress=30))
    history, detail = served.page("/uploads"), served.page(f"/uploads/{upload.id}")

    for page in (history, detail):
        assert "Inferring" not in page
        assert 'value="30"' in page


def test_text_of_a_script_is_escaped(served: Served) -> None:
    upload = announced(served, f"{EVIL}.csv")
    notify(served, report(upload, "error", error=f"{EVIL}\n\x1b[31m\0"))
    for path in ("/uploads", f"/uploads/{upload.id}"):
        page = served.page(path)

        assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
        assert "&lt;" in page
    assert served.records.get(upload).error == f"{EVIL}\n[31m"


def aged(served: Served, upload: Upload, seconds: float) -> datetime:
    """Make the last report this old. Returns its time."""
    moment = (datetime.now(UTC) - timedelta(seconds=seconds)).replace(microsecond=0)
    with served.records.database.transaction() as connection:
        table = tables.uploads
        connection.execute(sa.update(table).where(table.c.id == upload.id).values(updated_at=moment))
    return moment


def test_a_silent_script_is_shown_until_its_next_report(served: Served) -> None:
    upload = announced(served)
    with served.stream(f"/uploads/{upload.id}/events") as detail, served.stream("/uploads/events") as history:
        detail.next()
        history.next()
        spoken = aged(served, upload, 120)
        since = f'No update since <time datetime="{spoken:%Y-%m-%dT%H:%M:%SZ}"'

        detail.until_text(since)
        history.until_text(since)
        assert served.client.get(f"/api/v1/uploads/{upload.id}").json()["silent_since"].startswith(f"{spoken:%Y-%m-%d}")

        notify(served, report(upload, rows_success=5))

        assert "word since" not in detail.until_text("Processing")
        assert served.client.get(f"/api/v1/uploads/{upload.id}").json()["silent_since"] is None


def test_a_script_that_stays_silent_fails_its_upload(settings: Settings) -> None:
    with Served(settings.model_copy(update={"external_timeout": 1800.0})) as served:
        upload = announced(served)
        with served.stream(f"/api/v1/uploads/{upload.id}/events") as stream:
            aged(served, upload, 1801)
            last = stream.rest()[-1]

        assert (last.event, last.json()["status"]) == ("bulk_upload_error", "failed")
        assert last.json()["error"].startswith("The external script sent no report for 30 minutes")
        check_problem(notify(served, report(upload)), 409, "is failed, so it cannot be reported on")


# Cancelling and trying again


@pytest.mark.parametrize("begun", [False, True])
def test_a_report_on_a_cancelled_upload_is_rejected(served: Served, begun: bool) -> None:
    upload = announced(served)
    if begun:
        notify(served, report(upload, rows_success=5))
    cancelled = served.client.post(f"/api/v1/uploads/{upload.id}/cancel").json()

    assert (cancelled["status"], cancelled["rows_success"]) == ("cancelled", 5 if begun else 0)
    for event in ("progress", "complete", "cancelled"):
        check_problem(notify(served, report(upload, event)), 409, "is cancelled, so it cannot be reported on")


def test_a_retried_external_upload_waits_for_its_script(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.sweeper, "LOST_AFTER", 0)
    upload = announced(served)
    notify(served, report(upload, "error", rows_success=5, error="The disk is full."))
    retried = served.client.post(f"/api/v1/uploads/{upload.id}/retry").json()
    stale = notify(served, report(upload, attempt=1, rows_success=6))
    anew = notify(served, report(upload, attempt=2, rows_success=2))

    assert (retried["status"], retried["error"], retried["rows_processed"]) == ("pending", None, 0)
    assert waiting(served) == set()
    check_problem(stale, 409, "is in attempt 2, but the report is about attempt 1")
    assert anew.json().items() >= {"status": "processing", "attempt": 2, "rows_processed": 2}.items()


@ONE_DATABASE
def test_the_retry_command_waits_for_the_script_too(served: Served) -> None:
    upload = served.records.cancel(announced(served))
    status, out, _ = run("retry", upload.id, **served.settings.environment())

    assert (status, out) == (0, f"Upload #{upload.id} (june.csv) is waiting for its external script again.\n")
    assert waiting(served) == set()
    assert served.records.get(upload).status is Status.PENDING
