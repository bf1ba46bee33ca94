"""The JSON API and the health checks."""

import csv
import fcntl
import hashlib
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from jobs import datasets, sweeper
from jobs.dataset_admin import catalogue
from jobs.dataset_admin.catalogue import Entry
from jobs.datasets import Position
from jobs.errors import TookTooLongError
from jobs.events import Event, timestamp
from jobs.failed_rows import FailedRow, Reason
from jobs.settings import Settings
from jobs.tables import uploads
from jobs.traces import row_lines
from jobs.traces.row_lines import LineRun
from jobs.uploads import Status
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.queueing import rung_for
from tests.support.sending import CONTENT, by_body, by_form
from tests.support.services import RedisServer
from tests.support.serving import Served, Worker
from tests.support.waiting import until
from webapp import app
from webapp.routes import api

BOTH_WAYS = pytest.mark.parametrize("send", [by_form, by_body], ids=["form", "body"])


def check_problem(answer: httpx.Response, status: int, *words: str) -> None:
    problem = answer.json()

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() - {"errors", "request_id"} == {"type", "status", "title", "detail"}
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]


def check_nothing_is_left(served: Served) -> None:
    assert served.stored == []
    assert served.records.all() == []


@BOTH_WAYS
def test_an_upload_is_stored_recorded_and_answered(served: Served, send: Any) -> None:
    answer = send(served, dataset="sales")
    [upload] = served.records.all()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/uploads/{upload.id}"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "id": upload.id,
        "event": "bulk_upload_progress",
        "file_id": upload.id,
        "seq": 1,
        "attempt": 0,
        "filename": "june.csv",
        "dataset": None,
        "status": "pending",
        "progress": 0,
        "rows_total": None,
        "rows_processed": 0,
        "rows_success": 0,
        "rows_failed": 0,
        "error": None,
        "timestamp": timestamp(upload.updated_at),
        "warnings": [],
        "rows_corrected": 0,
        "rows_open": 0,
        "created_at": timestamp(upload.created_at),
        "uploaded_by": None,
        "phase": "import",
        "kind": "import",
        "hold": [],
        "rows_unchanged": 0,
        "undone_by": None,
        "processor": "worker",
        "part": None,
        "part_of": None,
        "parts": [],
        "mode": "insert",
        "rows_added": None,
        "rows_removed": None,
        "lane": "quick",
        "position": 0,
        "expected_start": None,
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "started_at": None,
        "finished_at": None,
        "silent_since": None,
        "deleted_at": None,
        "duplicate_of": None,
        "parent": None,
        "children": [],
        "notes": [],
        "rules": [],
        "undoes": [],
        "original_removed_at": None,
        "failed_rows_removed_at": None,
        "expected": None,
        "balance": [],
        "links": {
            "self": f"/api/v1/uploads/{upload.id}",
            "events": f"/api/v1/uploads/{upload.id}/events",
            "html": f"/uploads/{upload.id}",
            "original": f"/uploads/{upload.id}/original",
        },
    }
    assert served.client.get(answer.headers["location"]).json() == answer.json()
    assert upload.dataset_wanted == "sales"
    assert [path.read_bytes() for path in served.stored] == [CONTENT]


def test_uploads_that_wait_have_a_place_on_their_lane(served: Served) -> None:
    large = b"a\n" + b"1\n" * 600_000
    posted = [served.post(content).json() for content in (CONTENT, large, CONTENT, large)]
    places = [("quick", 0), ("bulk", 0), ("quick", 1), ("bulk", 1)]
    listed = served.client.get("/api/v1/uploads").json()["items"]
    detail = served.client.get(posted[2]["links"]["self"]).json()
    cancelled = served.client.post(f"{posted[0]['links']['self']}/cancel").json()

    assert [(each["lane"], each["position"]) for each in posted] == places
    assert [(each["lane"], each["position"]) for each in listed[::-1]] == places
    assert (detail["lane"], detail["position"], detail["expected_start"]) == ("quick", 1, None)
    assert (cancelled["lane"], cancelled["position"]) == ("quick", None)
    assert {each.sender for each in served.records.all()} == {"127.0.0.1"}


def test_an_upload_of_an_external_script_has_no_place(served: Served) -> None:
    answer = served.client.post("/api/v1/uploads", json={"processor": "external", "filename": "june.csv"}).json()

    assert (answer["lane"], answer["position"], answer["expected_start"]) == (None, None, None)


@ONE_DATABASE
def test_an_upload_that_waits_has_an_expected_start(served: Served) -> None:
    busy = served.records.processing("large.csv")
    with served.records.database.transaction() as connection:
        changed = sa.update(uploads).where(uploads.c.id == busy.id)
        long_ago = datetime.now(UTC) - timedelta(seconds=100)
        half = {"size": 20_000_000, "next_byte": 50, "bytes_total": 100, "rows_processed": 5, "rows_success": 5}
        connection.execute(changed.values(lane="bulk", counting_since=long_ago, **half))
    with Worker(served.settings, "--lane", "bulk") as worker:
        os.kill(worker.process.pid, signal.SIGSTOP)  # it is alive, and takes nothing
        answer = served.post(b"a\n" + b"1\n" * 600_000).json()
        until(lambda: served.client.get(answer["links"]["self"]).json()["expected_start"], "the forecast")
        found = served.client.get(answer["links"]["self"]).json()
        os.kill(worker.process.pid, signal.SIGCONT)
    seconds = (datetime.fromisoformat(found["expected_start"]) - datetime.now(UTC)).total_seconds()

    assert found["status"] == "pending"
    assert seconds == pytest.approx(100, abs=30)


@ONE_DATABASE
def test_an_upload_is_enqueued(served: Served) -> None:
    upload_id = served.post(CONTENT).json()["id"]

    assert rung_for(served.settings) == [upload_id]


@ONE_DATABASE
def test_a_name_is_kept_without_its_path(served: Served) -> None:
    for send in (by_form, by_body):
        for sent, expected in [("Größe 数.csv", "Größe 数.csv"), ("/home/me/june.csv", "june.csv")]:
            shown = send(served, filename=sent).json()

            assert shown["filename"] == expected
            assert served.records.all()[0].filename == expected


def no_file(served: Served) -> httpx.Response:
    return served.client.post("/api/v1/uploads", files={"dataset": (None, b"sales")})


def two_files(served: Served) -> httpx.Response:
    return served.client.post(
        "/api/v1/uploads", files=[("file", ("june.csv", CONTENT)), ("file", ("july.csv", CONTENT))]
    )


def broken_form(served: Served) -> httpx.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return served.client.post("/api/v1/uploads", headers=headers, content=CONTENT)


def no_boundary(served: Served) -> httpx.Response:
    return served.client.post("/api/v1/uploads", headers={"Content-Type": "multipart/form-data"}, content=CONTENT)


REFUSED: dict[str, tuple[Any, str]] = {
    "empty": (lambda served: by_form(served, b""), "“june.csv” is empty."),
    "empty body": (lambda served: by_body(served, b""), "“june.csv” is empty."),
    "no file": (no_file, "No file was sent."),
    "no name": (lambda served: by_body(served, filename=""), "No file was sent."),
    "wrong kind": (lambda served: by_form(served, filename="a.png"), "The file type of “a.png” is not supported."),
    "wrong kind of body": (
        lambda served: by_body(served, filename="a.pdf"),
        "The file type of “a.pdf” is not supported",
    ),
    "two files": (two_files, "Send one file at a time."),
    "broken form": (broken_form, "The form could not be read"),
    "no boundary": (no_boundary, "Send the file as multipart/form-data"),
}


@pytest.mark.parametrize(("send", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_an_unusable_file_is_rejected_and_stores_nothing(standing: Served, send: Any, sentence: str) -> None:
    check_problem(send(standing), 422, sentence)
    check_nothing_is_left(standing)


@BOTH_WAYS
@pytest.mark.parametrize("name", ["?", "_", "\u2013", "s" * 49, "売上", "a売上", "x" * 9_999])
def test_an_invalid_dataset_name_is_rejected(standing: Served, send: Any, name: str) -> None:
    check_problem(send(standing, dataset=name), 422, "cannot be the name of a dataset", "Latin letters, digits")
    check_nothing_is_left(standing)


@ONE_DATABASE
def test_a_name_for_the_dataset_may_be_given(served: Served) -> None:
    for send in (by_form, by_body):
        for sent, kept in [("", ""), ("auto", ""), (" sales ", "sales"), ("s" * 48, "s" * 48)]:
            assert send(served, dataset=sent).status_code == 201
            assert served.records.all()[0].dataset_wanted == kept


ROWS = [(number * 10, f"<{number}>", number % 2 == 0) for number in range(1, 6)]


def test_a_dataset_is_appended_to_only_by_its_very_name(served: Served) -> None:
    served.records.dataset("sales")
    for send in (by_form, by_body):
        for name, expected in [("sales", "sales"), (" sales ", "sales"), ("sales_2", None), ("auto", None), ("", None)]:
            answer = send(served, filename="sales.csv", dataset=name)

            assert (answer.status_code, answer.json()["dataset"]) == (201, expected)
            assert answer.json()["links"].get("dataset") == (expected and f"/api/v1/datasets/{expected}")


@ONE_DATABASE
def test_a_busy_database_is_reported_and_stores_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOCK_TIMEOUT", 0.2)
    with Served(settings) as served:
        turn = os.open(f"{sa.make_url(served.settings.database).database}.turn", os.O_RDWR | os.O_CREAT)
        fcntl.flock(turn, fcntl.LOCK_EX)
        answer = served.post(CONTENT)
        os.close(turn)

        check_problem(answer, 503, "busy")
        check_nothing_is_left(served)


@pytest.fixture
def own_redis(settings: Settings) -> Iterator[tuple[RedisServer, Settings]]:
    server = RedisServer()
    yield server, settings.model_copy(update={"redis_url": server.url})
    server.remove()


@ONE_DATABASE
def test_an_upload_without_redis_is_enqueued_when_redis_responds_again(
    own_redis: tuple[RedisServer, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "LOST_AFTER", 0.5)
    server, settings = own_redis
    with Served(settings) as served:
        server.kill()
        answer = served.post(CONTENT)

        assert (answer.status_code, answer.json()["status"]) == (201, "pending")
        assert served.client.get("/readyz").json() == {"database": "ok", "redis": "unreachable"}
        assert served.client.get("/readyz").status_code == 503
        assert served.client.get("/healthz").status_code == 200

        server.start()
        until(lambda: rung_for(settings) == [answer.json()["id"]], "the upload to be enqueued")

        assert served.client.get("/readyz").status_code == 200


def test_a_healthy_process_is_ready(standing: Served) -> None:
    healthy, ready = standing.client.get("/healthz"), standing.client.get("/readyz")

    assert (healthy.status_code, healthy.text) == (200, "ok\n")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok", "redis": "ok"})


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_process_without_its_database_is_not_ready(served: Served) -> None:
    url = sa.make_url(served.settings.database)
    elsewhere = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{url.database}" WITH (FORCE)'))
    elsewhere.dispose()
    ready = served.client.get("/readyz")

    assert (ready.status_code, ready.json()) == (503, {"database": "unreachable", "redis": "ok"})
    assert served.client.get("/healthz").status_code == 200


def test_uploads_are_listed_in_pages_newest_first(served: Served) -> None:
    ids = [served.records.pending(f"{n}.csv").id for n in range(7)]
    pages, address = [], "/api/v1/uploads?limit=3"
    while address:
        page = served.client.get(address).json()
        pages.append([item["id"] for item in page["items"]])
        address = page["links"]["next"]

        assert page.keys() == {"items", "cursor", "links"}
        assert (page["cursor"] is None) is (address is None)

    assert pages == [ids[6:3:-1], ids[3:0:-1], ids[:1]]


@ONE_DATABASE
def test_a_cursor_is_stable_while_uploads_arrive(served: Served) -> None:
    ids = [served.records.pending().id for _ in range(4)]
    cursor = served.client.get("/api/v1/uploads?limit=2").json()["cursor"]
    served.records.pending()
    page = served.client.get("/api/v1/uploads", params={"limit": 2, "cursor": cursor}).json()

    assert [item["id"] for item in page["items"]] == [ids[1], ids[0]]


def test_filters_apply_to_the_next_page_too(served: Served) -> None:
    for name in ("june.csv", "May 50%.csv", "MAY_50%.csv", "may 500.csv"):
        served.records.fail(served.records.processing(name))
        served.records.pending(name)
    query = {"q": "may 50%", "status": "failed", "limit": "1"}
    first = served.client.get("/api/v1/uploads", params={"q": "may", "status": "failed", "limit": "2"}).json()
    second = served.client.get(first["links"]["next"]).json()

    assert [item["filename"] for item in first["items"]] == ["may 500.csv", "MAY_50%.csv"]
    assert [item["filename"] for item in second["items"]] == ["May 50%.csv"]
    assert {item["status"] for item in first["items"] + second["items"]} == {"failed"}
    found = served.client.get("/api/v1/uploads", params=query).json()
    assert [item["filename"] for item in found["items"]] == ["May 50%.csv"]


def test_a_search_may_contain_any_character(served: Served) -> None:
    served.records.pending("june.csv")
    for text in ("\0", "%", "_", "\\", "'", '"', "数", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        answer = served.client.get("/api/v1/uploads", params={"q": text})

        assert answer.status_code == 200, text


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "many", "", "9" * 5000])
@pytest.mark.parametrize("path", ["/api/v1/uploads", "/api/v1/datasets/sales/rows"])
def test_an_invalid_limit_is_rejected(standing: Served, path: str, limit: str) -> None:
    check_problem(
        standing.client.get(path, params={"limit": limit}), 422, "`limit` must be a whole number from 1 to 500"
    )


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/api/v1/uploads/7", "There is no upload #7."),
        ("GET", "/api/v1/uploads/7/events", "There is no upload #7."),
        ("POST", "/api/v1/uploads/7/cancel", "There is no upload #7."),
        ("POST", "/api/v1/uploads/7/retry", "There is no upload #7."),
        ("GET", "/api/v1/datasets/none", "There is no dataset called “none”."),
        ("GET", "/api/v1/datasets/none/rows", "There is no dataset called “none”."),
        ("GET", "/api/v1/datasets/none/rows.csv", "There is no dataset called “none”."),
        ("GET", "/api/v1/datasets/%00", "There is no dataset called"),
        ("GET", "/api/v1/uploads/june", "There is nothing at this address."),
        ("GET", "/api/v1/uploads/-1", "There is nothing at this address."),
        ("GET", "/api/v1/", "There is nothing at this address."),
        ("GET", f"/api/v1/uploads/{2**63}", ""),
        ("POST", f"/api/v1/uploads/{2**63}/cancel", ""),
        ("GET", f"/api/v1/uploads/{2**63}/events", ""),
        ("GET", f"/api/v1/uploads/{'9' * 5000}", ""),
    ],
)
def test_a_missing_resource_is_a_problem(standing: Served, method: str, path: str, words: str) -> None:
    check_problem(standing.client.request(method, path), 404, words)


@ONE_DATABASE
def test_a_method_that_is_not_allowed_is_a_problem(served: Served) -> None:
    upload = served.records.pending()
    answer = served.client.get(f"/api/v1/uploads/{upload.id}/cancel")

    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_an_upload_is_cancelled_and_retried(served: Served) -> None:
    path = f"/api/v1/uploads/{served.post(CONTENT).json()['id']}"
    cancelled = served.client.post(f"{path}/cancel")

    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["event"]) == ("cancelled", "bulk_upload_cancelled")
    assert cancelled.json()["finished_at"] is not None
    check_problem(served.client.post(f"{path}/cancel"), 409, "is cancelled, so it cannot be cancelled")

    retried = served.client.post(f"{path}/retry")

    assert retried.status_code == 200
    assert (retried.json()["status"], retried.json()["finished_at"]) == ("pending", None)
    check_problem(served.client.post(f"{path}/retry"), 409, "is pending, so it cannot be retried")


def test_a_completed_upload_stays_completed(served: Served) -> None:
    upload = served.records.completed()
    for action in ("cancel", "retry"):
        check_problem(served.client.post(f"/api/v1/uploads/{upload.id}/{action}"), 409, "is completed")

    assert served.records.get(upload) == upload


def test_an_upload_shows_its_public_state(served: Served) -> None:
    records = served.records
    for upload in (
        records.pending(),
        records.processing(),
        records.completed(),
        records.fail(records.processing()),
        records.cancel(records.processing()),
    ):
        shown = served.client.get(f"/api/v1/uploads/{upload.id}").json()

        assert shown.items() >= vars(Event.from_upload(upload)).items()
        assert shown["links"].get("dataset") == (f"/api/v1/datasets/{upload.dataset}" if upload.dataset else None)
        assert shown["started_at"] == (upload.started_at and timestamp(upload.started_at))
        assert shown["finished_at"] == (upload.finished_at and timestamp(upload.finished_at))


def entries(served: Served) -> list[Entry]:
    with served.records.database.reading() as connection:
        return catalogue.entries(connection)


def test_datasets_are_searched_and_sorted(served: Served) -> None:
    for name, rows in (("sales", 1), ("salaries", 3), ("weather", 2)):
        served.records.dataset(name, ROWS[:rows])

    def names(**query: str) -> list[str]:
        return [item["name"] for item in served.client.get("/api/v1/datasets", params=query).json()["items"]]

    assert names(sort="-rows") == ["salaries", "weather", "sales"]
    assert names(q="SAL", sort="rows") == ["sales", "salaries"]
    assert names(sort="changed") == ["sales", "salaries", "weather"]
    assert served.client.get("/api/v1/datasets?sort=size").json()["detail"] == (
        "`sort` must be one of name, rows, changed, or - and one of them for a descending order."
    )


def test_datasets_are_listed_with_their_rows(served: Served) -> None:
    made = [served.records.dataset("sales", ROWS[:3]), served.records.dataset("empty")]
    listed = served.client.get("/api/v1/datasets").json()

    assert listed.keys() == {"items", "cursor", "links"}
    assert [(item["name"], item["rows"]) for item in listed["items"]] == [("empty", 0), ("sales", 3)]
    [entry] = [each for each in entries(served) if each.name == "sales"]
    upload_id = made[0].upload_id
    assert listed["items"][1] == {
        "name": "sales",
        "title": None,
        "mode": "insert",
        "modes": ["insert", "replace"],
        "rows": 3,
        "columns": 3,
        "upload_id": upload_id,
        "created_at": timestamp(made[0].created_at),
        "changed_at": timestamp(entry.changed_at or made[0].created_at),
        "last_upload": {
            "id": upload_id,
            "status": "completed",
            "rows_success": 3,
            "rows_failed": 0,
            "warnings": 0,
            "links": {"self": f"/api/v1/uploads/{upload_id}", "html": f"/uploads/{upload_id}"},
        },
        "links": {
            "self": "/api/v1/datasets/sales",
            "rows": "/api/v1/datasets/sales/rows",
            "csv": "/api/v1/datasets/sales/rows.csv",
            "html": "/datasets/sales",
        },
    }
    for link in listed["items"][1]["links"].values():
        assert served.client.get(link).status_code == 200


def test_a_dataset_is_described_by_a_table_schema(served: Served) -> None:
    served.records.dataset("sales", ROWS[:3])
    shown = served.client.get("/api/v1/datasets/sales").json()

    assert (shown["name"], shown["rows"]) == ("sales", 3)
    assert shown["schema"] == {
        "fields": [
            {"name": "id", "type": "integer", "description": "each is one"},
            {"name": "name", "type": "string"},
            {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
        ]
    }


def test_rows_are_read_from_a_number_on(served: Served) -> None:
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(9)])

    def ids(**query: str | int) -> list[str]:
        answer = served.client.get("/api/v1/datasets/sales/rows", params=query)
        return [row["cells"][0] for row in answer.json()["items"]]

    assert ids(from_row=8) == ["7", "8"]
    assert ids(from_row=2, limit=2, sort="-id", id__lte=5) == ["4", "3"]
    assert ids(from_row=10) == []
    refused = served.client.get("/api/v1/datasets/sales/rows?from_row=0")
    assert (refused.status_code, refused.json()["detail"]) == (422, "`from_row` must be the number of a row, from 1.")
    following = served.client.get("/api/v1/datasets/sales/rows?from_row=3&limit=2").json()["links"]["next"]
    assert [row["cells"][0] for row in served.client.get(following).json()["items"]] == ["4", "5"]


def test_rows_that_take_too_long_are_a_problem(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(9)])

    def too_long(*_words: object, **_more: object) -> None:
        raise TookTooLongError(10)

    monkeypatch.setattr(datasets, "each_after", too_long)
    answer = served.client.get("/api/v1/datasets/sales/rows?sort=name")

    assert (answer.status_code, answer.json()["title"]) == (503, "Query took too long")
    assert "took longer than 10 s" in answer.json()["detail"]


def test_rows_are_read_in_pages(served: Served) -> None:
    dataset = served.records.dataset("sales", ROWS)
    with served.records.database.transaction() as connection:
        row_lines.record(connection, dataset.upload_id or 0, LineRun(1, 2))
    pages, address = [], "/api/v1/datasets/sales/rows?limit=2"
    while address:
        page = served.client.get(address).json()
        pages.append(page["items"])
        address = page["links"]["next"]

        assert page["columns"] == ["id", "name", "paid"]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert pages[0][0] == {
        "upload_id": dataset.upload_id,
        "row_number": 1,
        "line": 2,
        "position": str(Position([dataset.upload_id, 1])),
        "cells": ["10", "<1>", "no"],
    }
    assert [item["line"] for page in pages for item in page] == [2, 3, 4, 5, 6]
    assert [item["row_number"] for page in pages for item in page] == [1, 2, 3, 4, 5]


def paged(served: Served, address: str) -> list[tuple[int, list[int]]]:
    """The bytes of each page, and the numbers of its rows."""
    pages = []
    while address:
        answer = served.client.get(address)
        pages.append((len(answer.content), [item["row_number"] for item in answer.json()["items"]]))
        address = answer.json()["links"]["next"]
    return pages


def test_a_page_of_rows_is_bounded_in_bytes_and_its_cursor_leads_on(served: Served) -> None:
    served.records.dataset("sales", [(n, '"' * 1_000_000, True) for n in range(9)])
    pages = paged(served, "/api/v1/datasets/sales/rows?limit=500")

    assert [numbers for _, numbers in pages] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert max(size for size, _ in pages) <= 10_000_000


@ONE_DATABASE
def test_a_row_that_is_larger_than_a_page_is_alone_on_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ROWS_BYTES", 1_000)
    texts = ["x", "x" * 5_000, "y" * 300, "y" * 300, "x" * 5_000]
    served.records.dataset("sales", [(n, text, True) for n, text in enumerate(texts)])
    numbers = [found for _, found in paged(served, "/api/v1/datasets/sales/rows")]

    assert [each for each in numbers if each] == [[1], [2], [3, 4], [5]]


@ONE_DATABASE
def test_a_cursor_behind_a_long_key_is_short(served: Served) -> None:
    dataset = served.records.declare("notes", {"name": "id"}, primaryKey="id")
    with served.records.database.transaction() as connection:
        insert_rows(connection, dataset, *({"id": f"{number}{'x' * 1_000_000}"} for number in range(1, 6)))
    cursor = served.client.get("/api/v1/datasets/notes/rows?limit=2").json()["cursor"]

    assert cursor == "~1.2"
    assert [found for _, found in paged(served, "/api/v1/datasets/notes/rows?limit=2")] == [[1, 2], [3, 4], [5]]


@ONE_DATABASE
def test_an_upload_has_at_most_twenty_notes(served: Served) -> None:
    upload = served.records.processing()
    notes = [f"Column {n} has no name and is called “column_{n}”." * 99 for n in range(1500)]
    with served.records.database.transaction() as connection:
        connection.execute(sa.update(uploads).values(notes=notes))
    answer = served.client.get(f"/api/v1/uploads/{upload.id}")

    assert len(answer.json()["notes"]) == 20
    assert len(answer.content) < 20_000


@ONE_DATABASE
def test_an_invalid_cursor_is_rejected(served: Served) -> None:
    served.records.dataset("sales", ROWS[:2])
    for cursor in ("", "x", "1", "1-", "-1", f"{'9' * 19}-1"):
        answer = served.client.get("/api/v1/datasets/sales/rows", params={"cursor": cursor})

        check_problem(answer, 422, "`cursor` is not a position in this dataset. Start again from its first page.")
        assert answer.json()["title"] == "Invalid query parameter"


# Which dataset has the columns of a file


def matched(served: Served, head: bytes) -> str | None:
    answer = served.client.post("/api/v1/datasets/match", content=head)

    assert answer.status_code == 200
    assert answer.json().keys() == {"dataset", "datasets"}
    found: str | None = answer.json()["dataset"]
    assert found == next(iter(answer.json()["datasets"]), None)
    return found


def all_matched(served: Served, head: bytes) -> list[str]:
    found: list[str] = served.client.post("/api/v1/datasets/match", content=head).json()["datasets"]
    return found


HEADS = {
    "another order of the marks": b"id,name,paid,_row_number,_upload_id,_error\n1,one,yes,1,1,x\n",
    "the header alone": b"id,name,paid",
    "a line": b"id,name,paid\n1,one,yes\n",
    "no line end behind the last line": b"id,name,paid\r\n1,one,yes\r\n2,tw",
    "a last line that is cut within a quote": b'id,name,paid\n1,one,yes\n2,"tw',
    "a last line that is cut within a character": b"id,name,paid\n1,one,yes\n2,\xc3",
    "old line ends": b"id,name,paid\r1,one,yes\r2,two,no\r",
    "a byte order mark": b"\xef\xbb\xbfid,name,paid\n1,one,yes\n",
    "semicolons": b"id;name;paid\n1;one;yes\n",
    "tabs": b"id\tname\tpaid\n1\tone\tyes\n",
    "pipes": b"id|name|paid\n1|one|yes\n",
    "semicolons and decimal commas": b"id;name;paid\n1,5;1,5;2,5\n2,5;2,5;3,5\n",
    "quotes": b'"id","name","paid"\n1,"one, two",yes\n',
    "another order": b"paid,id,name\nyes,1,one\n",
    "capitals and spaces": b"ID, Name ,PAID\n1,one,yes\n",
    "a title above": b"Sales of June\n\nid,name,paid\n1,one,yes\n",
    "blank lines above": b"\n\nid,name,paid\n1,one,yes\n",
    "failed rows": b"\xef\xbb\xbfid,name,paid,_upload_id,_row_number,_error\r\nx,one,yes,7,1,id: is no number\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@ONE_DATABASE
def test_the_dataset_that_has_the_columns_of_a_file_is_found(served: Served, head: bytes) -> None:
    served.records.dataset("sales")
    served.records.declare("people", {"name": "id"}, {"name": "name"})

    assert matched(served, head) == "sales"


STRANGE = {
    "nothing": b"",
    "a line end": b"\n",
    "a byte order mark only": b"\xef\xbb\xbf",
    "a column less": b"id,name\n1,one\n",
    "a column more": b"id,name,paid,more\n1,one,yes,x\n",
    "a column twice": b"id,name,paid,paid\n1,one,yes,no\n",
    "another column": b"id,name,free\n1,one,yes\n",
    "rows without a header": b"1,one,yes\n2,two,no\n",
    "the marks alone": b"_upload_id,_row_number,_error\n1,1,x\n",
    "UTF-16": "id,name,paid\n1,one,yes\n".encode("utf-16"),
    "every byte": bytes(range(256)) * 9,
    "zeros": bytes(9999),
    "quotes": b'"' * 9999,
    "an endless line": b"id,name,paid" + b"x" * 200_000,
    "many columns": b"id,name,paid," * 9_999,
}


@pytest.mark.parametrize("head", STRANGE.values(), ids=STRANGE.keys())
@ONE_DATABASE
def test_a_file_with_other_columns_matches_no_dataset(served: Served, head: bytes) -> None:
    served.records.dataset("sales")

    assert matched(served, head) is None


def test_several_datasets_with_the_columns_are_offered_the_last_used_first(served: Served) -> None:
    head = b"id,name,paid\n1,one,yes\n"

    assert all_matched(served, head) == []

    served.records.dataset("sales", ROWS[:1])
    served.records.dataset("sales_2", ROWS[:1])

    assert all_matched(served, head) == ["sales_2", "sales"]

    served.records.advance(served.records.processing(dataset="sales"))

    assert all_matched(served, head) == ["sales", "sales_2"]


def test_corrections_go_into_the_dataset_of_their_parent(served: Served) -> None:
    for name in ("sales", "sales_2"):
        served.records.dataset(name, ROWS[:1])
    parent = served.records.processing(dataset="sales", header=["id", "name", "paid"])
    served.records.advance(parent, bad=[FailedRow(1, ["x", "one", "yes"], [Reason("id", "is no number")])])
    head = f"id,name,paid,_upload_id,_row_number,_error\r\nx,one,yes,{parent.id},1,id: is no number\r\n"

    assert all_matched(served, head.encode()) == ["sales"]
    assert all_matched(served, head.replace(f",{parent.id},", ",,").encode()) == ["sales", "sales_2"]
    assert all_matched(served, head.replace("id,name", "id,remark").encode()) == ["sales"]
    assert all_matched(served, head.replace("id,name,paid", "other,columns,here").encode()) == []


# What a name stands for


def test_a_typed_name_is_that_of_a_new_or_of_an_existing_dataset(served: Served) -> None:
    served.records.dataset("sales_2024", ROWS[:2])
    for typed, expected in [
        ("Sales 2024", {"name": "sales_2024", "exists": True, "rows": 2}),
        ("Sales 2025", {"name": "sales_2025", "exists": False, "rows": None}),
        ("", {"name": "", "exists": False, "rows": None}),
    ]:
        answer = served.client.get("/api/v1/dataset-name", params={"name": typed})

        assert (answer.status_code, answer.json()) == (200, expected)

    refused = served.client.get("/api/v1/dataset-name", params={"name": "?!"})

    assert (refused.status_code, refused.json()["title"]) == (422, "Invalid dataset name")


@ONE_DATABASE
def test_only_the_beginning_of_a_long_body_is_read(served: Served) -> None:
    served.records.dataset("sales")
    head = b"id,name,paid\n" + b"1,one,yes\n" * 800_000

    assert matched(served, head) == "sales"
    assert matched(served, b"id,name,paid\n") == "sales"


@ONE_DATABASE
def test_a_dataset_may_be_called_match(served: Served) -> None:
    served.records.dataset("match", ROWS[:1])

    assert served.client.get("/api/v1/datasets/match").json()["rows"] == 1
    assert matched(served, b"id,name,paid\n") == "match"


@pytest.mark.parametrize("header", [["%(x)s", "x", "?"], ["%(param_1)s", "a%", "%%"]])
def test_rows_of_columns_whose_names_look_like_sql_are_in_their_places(served: Served, header: list[str]) -> None:
    rows = [[f"r{number}c{column}" for column in range(len(header))] for number in range(1, 4)]
    file = "".join(f"{','.join(row)}\n" for row in [header, *rows])
    with Worker(served.settings):
        served.post(file, dataset="odd", header_row="1")
        upload = served.finished()
    first = served.client.get("/api/v1/datasets/odd/rows", params={"limit": 2})
    second = served.client.get(first.json()["links"]["next"])
    download = served.client.get("/api/v1/datasets/odd/rows.csv")
    page = served.page("/datasets/odd")

    assert (upload.status, upload.rows_success) == (Status.COMPLETED, 3)
    assert [answer.status_code for answer in (first, second, download)] == [200, 200, 200]
    assert first.json()["columns"] == header
    assert [item["cells"] for answer in (first, second) for item in answer.json()["items"]] == rows
    assert list(csv.reader(download.text.splitlines())) == [header, *rows]
    assert all(cell in page for row in rows for cell in row)
