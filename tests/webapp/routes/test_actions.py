"""Actions on uploads: what they record, publish and enqueue."""

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from html import unescape
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from jobs import datasets
from jobs.changes import Changes
from jobs.database import Database, migrate
from jobs.settings import Settings
from jobs.uploads import Remedy, Review, Status, Task, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.disks import SmallDisk
from tests.support.queueing import rung_for
from tests.support.sending import CONTENT, by_body, by_form
from tests.support.serving import Served, Web, Worker
from tests.support.waiting import until
from webapp import app

#: What the file of an upload has that Records makes.


def by_page(served: Served, content: bytes = CONTENT, filename: str = "june.csv", **fields: str) -> httpx.Response:
    """As the page's form sends it."""
    headers = {"Accept": "application/json"}
    return served.client.post("/uploads", files={"file": (filename, content)}, data=fields, headers=headers)


ALL_WAYS = pytest.mark.parametrize("send", [by_page, by_form, by_body])


def sent(served: Served, answer: httpx.Response) -> Upload:
    """The upload that was just recorded."""
    [upload, *_] = served.records.all()

    assert answer.status_code == 201
    assert answer.json()["id"] == upload.id
    return upload


def ahead(served: Served) -> set[int]:
    """Uploads that wait for a worker."""
    return set(rung_for(served.settings))


# Where rows go


@ALL_WAYS
def test_an_upload_names_an_existing_or_a_new_dataset(served: Served, send: Any) -> None:
    served.records.dataset("sales")
    for name, expected in [
        ("sales", ("sales", "sales")),
        (" sales ", ("sales", "sales")),
        ("sales_2", (None, "sales_2")),
        ("auto", (None, "")),
        ("", (None, "")),
    ]:
        upload = sent(served, send(served, dataset=name))

        assert (upload.dataset, upload.dataset_wanted) == expected
        assert upload.status is Status.PENDING


def test_the_form_adds_rows_to_an_existing_dataset(served: Served) -> None:
    with Worker(served.settings):
        by_page(served, b"id,name\n1,one\n2,two\n", "sales.csv")
        first = served.finished()
        by_page(served, b"Name;ID\nthree;3\n", "more.csv", dataset="sales", duplicates="hold")
        second = served.finished()
    rows = served.client.get("/datasets/sales/rows.csv?provenance=1").text.splitlines()

    assert [(each.status, each.dataset, each.rows_success) for each in (first, second)] == [
        (Status.COMPLETED, "sales", 2),
        (Status.COMPLETED, "sales", 1),
    ]
    assert rows == [
        "id,name,_upload_id,_row_number",
        f"1,one,{first.id},1",
        f"2,two,{first.id},2",
        f"3,three,{second.id},1",
    ]
    assert served.client.get("/api/v1/datasets/sales").json()["rows"] == 3
    assert "3 rows</b>, 2 columns" in served.page("/datasets/sales")


# The same file again


@ALL_WAYS
def test_a_duplicate_is_held_on_request(served: Served, send: Any) -> None:
    earlier = served.records.dataset("sales", [(1, "one", True)]).upload_id
    answer = send(served, dataset="sales", duplicates="hold")
    upload = sent(served, answer)
    day = f"{served.records.all()[-1].created_at:%Y-%m-%d}"
    told = f"The same file was imported into “sales” on {day} as #{earlier}. Import it a second time, or cancel it."
    hold = [{"code": "duplicate", "detail": told}]

    assert (upload.status, upload.duplicate_of, upload.hold, upload.attempt) == (Status.HELD, earlier, hold, 0)
    assert (
        answer.json().items()
        >= {
            "event": "bulk_upload_progress",
            "status": "held",
            "dataset": "sales",
            "duplicate_of": earlier,
            "error": None,
            "hold": hold,
            "phase": "check",
        }.items()
    )
    assert upload.finished_at is None
    assert ahead(served) == set()


@ALL_WAYS
def test_a_duplicate_is_otherwise_imported_and_marked(served: Served, send: Any) -> None:
    earlier = served.records.dataset("sales", [(1, "one", True)]).upload_id
    for fields in ({}, {"duplicates": ""}, {"duplicates": "import"}):
        upload = sent(served, send(served, dataset="sales", review="never", **fields))

        assert (upload.status, upload.duplicate_of, upload.error) == (Status.PENDING, earlier, None)
        assert upload.id in ahead(served)
    html = served.page(f"/uploads/{upload.id}")

    assert f'The same file was already imported: <a href="/uploads/{earlier}">upload #{earlier}</a>.' in html
    assert "upload-import" not in html


@ALL_WAYS
def test_a_misspelt_word_does_not_import_a_duplicate(served: Served, send: Any) -> None:
    earlier = served.records.dataset("sales", [(1, "one", True)]).upload_id
    answer = send(served, dataset="sales", duplicates="Hold")

    assert (answer.status_code, "duplicates must be hold or import." in answer.text) == (422, True)
    assert [each.id for each in served.records.all()] == [earlier]


@ALL_WAYS
def test_a_duplicate_is_held_wherever_somebody_looks_at_files_first(served: Served, send: Any) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    for review, expected in (("auto", Status.HELD), ("always", Status.HELD), ("never", Status.PENDING)):
        assert sent(served, send(served, dataset="sales", review=review)).status is expected


def test_the_form_lets_a_worker_look_first_and_the_api_does_not(served: Served) -> None:
    served.records.dataset("sales")
    for send, expected in ((by_page, Review.AUTO), (by_form, Review.NEVER), (by_body, Review.NEVER)):
        assert sent(served, send(served, dataset="sales")).review is expected
    with served.records.database.transaction() as connection:
        datasets.set_review(connection, "sales", "always")
    for send in (by_page, by_form, by_body):
        upload = sent(served, send(served, dataset="sales"))

        assert (upload.review, upload.task) == (Review.ALWAYS, Task.CHECK)
    answer = by_body(served, review="sometimes")
    assert (answer.status_code, answer.json()["detail"]) == (422, "review must be never, auto or always.")


def test_the_same_bytes_are_a_duplicate_whichever_dataset_is_named(served: Served) -> None:
    records = served.records
    records.dataset("sales", [(1, "one", True)])
    for name in ("never", "failed"):
        records.declare(name, {"name": "a"}, {"name": "b"})
    records.fail(records.processing(dataset="failed"))
    for content, dataset, expected in (
        (CONTENT, "sales", Status.HELD),
        (CONTENT + b"3,4\n", "sales", Status.PENDING),
        (CONTENT, "never", Status.HELD),
        (CONTENT, "failed", Status.HELD),
        (CONTENT, "a_new_one", Status.HELD),
        (CONTENT, "", Status.HELD),
    ):
        upload = sent(served, by_page(served, content, dataset=dataset, duplicates="hold"))

        assert (upload.status, upload.duplicate_of is not None) == (expected, expected is Status.HELD), dataset


def test_a_file_that_was_imported_is_held_without_the_name_of_its_dataset(served: Served) -> None:
    planes = b"id,name\n1,one\n2,two\n"
    with Worker(served.settings):
        by_page(served, planes, "planes.csv", duplicates="hold")
        first = served.finished()
        by_page(served, planes, "planes.csv", duplicates="hold")
        held = served.finished()

        assert (held.status, held.duplicate_of, held.dataset) == (Status.HELD, first.id, None)
        assert "The same file was imported into “planes” on" in held.hold[0]["detail"]
        assert served.client.get("/api/v1/datasets/planes_2").status_code == 404

        served.client.post(f"/uploads/{held.id}/retry")
        again = served.finished()

    assert (again.status, again.dataset) == (Status.COMPLETED, "planes_2")


@ALL_WAYS
def test_the_name_of_a_dataset_is_normalised(served: Served, send: Any) -> None:
    served.records.dataset("sales_2024_q1")
    for name, expected in [
        ("sales 2024 Q1", ("sales_2024_q1", "sales_2024_q1")),
        ("Sales 2024 Q1 \u2013 Zürich", (None, "sales_2024_q1_zurich")),
    ]:
        upload = sent(served, send(served, dataset=name))

        assert (upload.dataset, upload.dataset_wanted) == expected


@ALL_WAYS
def test_a_name_that_cannot_be_normalised_is_refused(served: Served, send: Any) -> None:
    answer = send(served, dataset="\u2013 ?!")

    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid dataset name")
    assert served.records.all() == []
    assert served.stored == []


# Change options and retry


def misread(served: Served, content: bytes = b"id;name\n1;a,b\n2;c,d\n", **fields: str) -> Upload:
    """A file of which no row is imported: with commas, each row is wider than the header."""
    by_page(served, content, "misread.csv", delimiter="comma", **fields)
    return served.finished()


def by_form_on_page(served: Served, upload: Upload, **fields: str) -> httpx.Response:
    return served.client.post(f"/uploads/{upload.id}/retry", data=fields)


def by_json(served: Served, upload: Upload, **fields: str | None) -> httpx.Response:
    return served.client.post(f"/api/v1/uploads/{upload.id}/retry", json=fields)


@pytest.mark.parametrize("retry", [by_form_on_page, by_json])
def test_a_misread_file_is_read_with_other_options(served: Served, retry: Any) -> None:
    with Worker(served.settings):
        failed = misread(served)

        assert (failed.status, failed.remedy, failed.dataset) == (Status.FAILED, Remedy.OPTIONS, "misread")
        assert (failed.rows_success, failed.rows_failed) == (0, 2)

        answer = retry(served, failed, delimiter=";")
        again = served.finished()

    assert answer.status_code in (200, 303)
    assert (again.id, again.status, again.dataset) == (failed.id, Status.COMPLETED, "misread")
    assert (again.rows_success, again.rows_failed, again.header) == (2, 0, ["id", "name"])
    assert served.client.get("/api/v1/datasets").json()["items"][0]["rows"] == 2
    assert [each["name"] for each in served.client.get("/api/v1/datasets").json()["items"]] == ["misread"]


@ONE_DATABASE
def test_a_retry_changes_only_the_options_that_it_names(served: Served) -> None:
    upload = sent(served, by_page(served, delimiter="comma", header_row="2", sheet="June", types="text"))
    for body, expected in [
        ({"header_row": 3}, {"delimiter": ",", "header_row": 3, "sheet": "June", "types": "text"}),
        ({"header_row": None, "types": None}, {"delimiter": ",", "sheet": "June"}),
        ({}, {"delimiter": ",", "sheet": "June"}),
        ({"encoding": "cp1252", "delimiter": "tab"}, {"encoding": "cp1252", "delimiter": "\t", "sheet": "June"}),
    ]:
        served.client.post(f"/api/v1/uploads/{upload.id}/cancel")
        answer = served.client.post(f"/api/v1/uploads/{upload.id}/retry", json=body)
        changed = served.records.get(upload)

        assert answer.status_code == 200
        assert (changed.status, changed.options.as_json()) == (Status.PENDING, expected)


@ONE_DATABASE
@pytest.mark.parametrize(
    ("body", "title", "detail"),
    [
        ({"delimiter": "#"}, "Invalid import option", "Unsupported delimiter “#”."),
        ({"header_row": "3"}, "Invalid request body", "header_row: input should be a valid integer"),
        ({"header_row": -1}, "Invalid import option", "header_row must be"),
        ({"colour": "red"}, "Invalid request body", "colour: is not a known field"),
        ([], "Invalid request body", "must be an object"),
    ],
)
def test_a_retry_with_invalid_options_changes_nothing(served: Served, body: Any, title: str, detail: str) -> None:
    upload = sent(served, by_page(served))
    served.client.post(f"/api/v1/uploads/{upload.id}/cancel")
    answer = served.client.post(f"/api/v1/uploads/{upload.id}/retry", json=body)

    assert (answer.status_code, answer.json()["title"]) == (422, title)
    assert detail in answer.json()["detail"]
    assert served.records.get(upload).status is Status.CANCELLED


def test_options_stay_once_a_row_is_imported(served: Served) -> None:
    upload = served.records.cancel(served.records.advance(served.records.processing(), 10))
    refused = served.client.post(f"/api/v1/uploads/{upload.id}/retry", json={"delimiter": ";"})
    page = served.client.post(f"/uploads/{upload.id}/retry", data={"delimiter": ";"})
    sentence = f"The import options of upload #{upload.id} cannot be changed: 10 rows were imported"

    assert (refused.status_code, page.status_code) == (409, 409)
    assert sentence in refused.json()["detail"]
    assert sentence in page.text
    assert served.records.get(upload).status is Status.CANCELLED

    same = served.client.post(f"/api/v1/uploads/{upload.id}/retry", json={"delimiter": None})

    assert (same.status_code, same.json()["rows_success"]) == (200, 10)


def test_a_file_that_is_no_table_needs_another_file(served: Served) -> None:
    with Worker(served.settings):
        by_page(served, b"%PDF-1.7 ...", "report.csv")
        failed = served.finished()

    assert (failed.status, failed.remedy) == (Status.FAILED, Remedy.FILE)


@ONE_DATABASE
def test_an_upload_that_was_held_is_not_the_original_of_a_duplicate(served: Served) -> None:
    first = served.records.dataset("sales", [(1, "one", True)]).upload_id
    for _ in range(2):
        upload = sent(served, by_page(served, dataset="sales", duplicates="hold"))

        assert upload.duplicate_of == first


def test_a_retry_imports_a_held_file(served: Served) -> None:
    with Worker(served.settings):
        by_page(served, b"id,name\n1,one\n2,two\n", "sales.csv", duplicates="hold")
        first = served.finished()
        by_page(served, b"id,name\n1,one\n2,two\n", "again.csv", dataset="sales", duplicates="hold")
        held = served.finished()
        html = served.page(f"/uploads/{held.id}")

        assert (first.status, held.status, held.rows_processed) == (Status.COMPLETED, Status.HELD, 0)
        assert '<button class="button primary" type="submit">Import</button>' in html
        assert f"as #{first.id}. Import it a second time, or cancel it." in unescape(html)
        assert served.client.get("/api/v1/datasets/sales").json()["rows"] == 2

        answer = served.client.post(f"/uploads/{held.id}/retry")
        again = served.finished()

    assert answer.headers["location"] == f"/uploads/{held.id}"
    assert (again.id, again.status, again.rows_success, again.error) == (held.id, Status.COMPLETED, 2, None)
    assert again.duplicate_of == first.id
    assert served.client.get("/api/v1/datasets/sales").json()["rows"] == 4


@ONE_DATABASE
def test_a_held_upload_is_published(served: Served) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    with served.stream("/uploads/events") as html, served.stream("/api/v1/events") as events:
        html.next()
        upload = sent(served, by_page(served, dataset="sales", duplicates="hold"))
        [*_, event] = events.until_seq(upload)

        assert (event.event, event.json()["status"]) == ("bulk_upload_progress", "held")
        assert f'id="upload-{upload.id}"' in html.until_text("Needs review")


# How a file is to be read


READ = [
    ({}, {}),
    ({"encoding": "", "delimiter": "", "header_row": "", "sheet": "", "types": ""}, {}),
    ({"encoding": "cp1252"}, {"encoding": "cp1252"}),
    ({"encoding": "UTF-16"}, {"encoding": "UTF-16"}),
    ({"delimiter": "comma"}, {"delimiter": ","}),
    ({"delimiter": "semicolon"}, {"delimiter": ";"}),
    ({"delimiter": "tab"}, {"delimiter": "\t"}),
    ({"delimiter": "pipe"}, {"delimiter": "|"}),
    ({"delimiter": ";"}, {"delimiter": ";"}),
    ({"delimiter": "\t"}, {"delimiter": "\t"}),
    ({"header_row": "1"}, {"header_row": 1}),
    ({"header_row": "0"}, {"header_row": 0}),
    ({"header_row": "999999"}, {"header_row": 999_999}),
    ({"sheet": "Größe 2"}, {"sheet": "Größe 2"}),
    ({"types": "text"}, {"types": "text"}),
    ({"types": '{"a": "number"}'}, {"types": {"a": "number"}}),
    (
        {"encoding": "utf-8", "delimiter": "pipe", "header_row": "3", "sheet": "Data", "types": "text"},
        {"encoding": "utf-8", "delimiter": "|", "header_row": 3, "sheet": "Data", "types": "text"},
    ),
]


@ALL_WAYS
def test_import_options_are_recorded(served: Served, send: Any) -> None:
    for fields, expected in READ:
        upload = sent(served, send(served, **fields))

        assert upload.options.as_json() == expected


UNREADABLE = [
    ({"encoding": "klingon"}, "Unknown encoding “klingon”."),
    ({"encoding": "a\0"}, "Unknown encoding “a\0”."),
    ({"encoding": "rot13"}, "Unknown encoding “rot13”."),
    ({"encoding": "unicode_escape"}, "Unknown encoding “unicode_escape”."),
    ({"delimiter": "x"}, "Unsupported delimiter “x”."),
    ({"delimiter": ",,"}, "Unsupported delimiter “,,”."),
    ({"delimiter": "Comma"}, "Unsupported delimiter “Comma”."),
    ({"header_row": "-1"}, "header_row must be the line number of the header: 1 or more, or 0"),
    ({"header_row": "1.5"}, "header_row must be the line number"),
    ({"header_row": "first"}, "header_row must be the line number"),
    ({"header_row": "²"}, "header_row must be the line number"),
    ({"header_row": "9" * 5000}, "header_row must be the line number"),
    (
        {"types": "integer"},
        "types must be auto (infer them from the file), text (keep every column as text), or a JSON object",
    ),
]


@ALL_WAYS
@pytest.mark.parametrize(("fields", "sentence"), UNREADABLE, ids=[str(each)[:40] for each, _ in UNREADABLE])
def test_an_invalid_import_option_is_rejected_and_stores_nothing(
    standing: Served, send: Any, fields: dict[str, str], sentence: str
) -> None:
    answer = send(standing, **fields)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(sentence)
    assert (standing.stored, standing.records.all()) == ([], [])


@ONE_DATABASE
def test_the_worker_uses_the_import_options(served: Served) -> None:
    content = "made by hand\ncode|größe\n007|1,5\n008|2,5\n".encode("cp1252")
    said = {"encoding": "cp1252", "delimiter": "pipe", "header_row": "2", "types": "text"}
    with Worker(served.settings):
        by_page(served, content, "sales.csv", **said)
        upload = served.finished()
    fields = served.client.get("/api/v1/datasets/sales").json()["schema"]["fields"]

    assert (upload.status, upload.rows_success) == (Status.COMPLETED, 2)
    assert [(field["name"], field["type"]) for field in fields] == [("code", "string"), ("größe", "string")]
    assert served.client.get("/datasets/sales/rows.csv").text == 'code,größe\r\n007,"1,5"\r\n008,"2,5"\r\n'


# Nothing stays on disk without a record


@ALL_WAYS
def test_a_file_is_removed_if_the_database_does_not_respond(
    settings: Settings, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(settings.database)
    monkeypatch.setattr(app, "LOCK_TIMEOUT", 0.2)
    with Served(settings) as served:
        if database.is_sqlite:  # another process keeps it locked
            with database.transaction():
                answer = send(served)
        else:
            drop(settings)
            answer = send(served)

        assert answer.status_code == 503
        assert served.stored == []
    database.close()


def drop(settings: Settings) -> None:
    """Drop the PostgreSQL database."""
    url = sa.make_url(settings.database)
    elsewhere = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{url.database}" WITH (FORCE)'))
    elsewhere.dispose()


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_commit_without_an_answer_leaves_no_record_without_its_file(
    served: Served, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    def make(self: Changes, change: Callable[[sa.Connection], Upload]) -> Upload:
        with suppress(LookupError), self.database.transaction() as connection:
            change(connection)
            if not is_committed:
                raise LookupError
        raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection was lost"))

    monkeypatch.setattr(Changes, "make", make)
    answer = by_form(served)
    recorded = served.records.all()

    assert answer.status_code == 503
    assert len(recorded) == is_committed
    if is_committed or served.records.database.is_sqlite:  # PostgreSQL may still commit
        assert [path.name for path in served.stored] == [upload.stored_as for upload in recorded]


@ALL_WAYS
def test_a_full_disk_is_reported_and_nothing_stays(settings: Settings, disk: SmallDisk, send: Any) -> None:
    with Served(settings.model_copy(update={"data": disk.path})) as served:
        disk.fill(leave=2 << 20)
        refused = send(served, b"a,b\n" + b"1,2\n" * (1 << 20))
        left = served.stored
        ready = served.client.get("/readyz")
        disk.empty()
        accepted = send(served)

        assert (refused.status_code, refused.json()["title"]) == (507, "Disk full")
        assert refused.json()["detail"] == (
            "The server's disk is full, so the file was not stored. Ask the administrator of this server to free space,"
            " then try again."
        )
        assert left == []
        assert (ready.status_code, ready.json()["disk"]) == (503, "full")
        assert accepted.status_code == 201
        assert served.client.get("/readyz").json() == {"database": "ok", "redis": "ok"}


@ONE_DATABASE
def test_a_full_disk_of_the_database_is_reported_and_nothing_stays(settings: Settings, disk: SmallDisk) -> None:
    moved = settings.model_copy(update={"database_url": f"sqlite:///{disk.path / 'bulk_upload.db'}"})
    migrate(moved)
    with Served(moved) as served:
        disk.fill()
        answers = [by_form(served) for _ in range(9)]  # the first may fit into the log that is there
        [refused, *_] = [answer for answer in answers if answer.status_code != 201]

        assert (refused.status_code, refused.json()["title"]) == (507, "Disk full")
        assert "so nothing was saved." in refused.json()["detail"]
        assert len(served.stored) == len(served.records.all()) < 9
        disk.empty()
        assert by_form(served).status_code == 201


@ONE_DATABASE
def test_what_a_killed_process_was_receiving_is_removed_when_it_starts_again(settings: Settings) -> None:
    with Web(settings) as web:
        address = httpx.URL(web.url)
        with socket.create_connection((address.host, address.port or 0)) as client:
            request = f"POST /api/v1/uploads?filename=june.csv HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
            client.sendall(f"{request}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 3_000_000)
            until(lambda: list(settings.files.glob("*.part")), "the file to begin to arrive")
            web.kill()

            assert len(list(settings.files.iterdir())) == 1
        web.restart()
        until(lambda: not list(settings.files.iterdir()), "the part to be removed")

        assert re.search(r"Removed 1 file that no upload needs \([\d,]+ bytes\)\.", web.log)


@ALL_WAYS
def test_a_cancelled_upload_keeps_no_spool(served: Served, send: Any) -> None:
    upload = sent(served, send(served))
    (served.settings.files / f"{upload.stored_as}.table").write_bytes(b"a\n")
    served.client.post(f"/api/v1/uploads/{upload.id}/cancel")

    assert [path.name for path in served.stored] == [upload.stored_as]


@ONE_DATABASE
def test_a_column_that_is_nearly_a_number_is_imported_as_one_on_request(served: Served) -> None:
    content = "id,price\n" + "".join(f"{n},{price}\n" for n, price in enumerate(["1.50", "2.00", "n/a", "twelve"]))
    with Worker(served.settings):
        by_page(served, content.encode(), "sales.csv")
        first = served.finished()
        page = served.page("/datasets/sales/columns")
        answer = served.client.post("/datasets/sales/change-type?column=price", follow_redirects=False)
        second = served.finished()

    assert "text: 2 of 4 are numbers; not: <code>n/a</code> (1), <code>twelve</code> (1)" in page
    assert "Import again with price as number" in page
    assert (answer.status_code, answer.headers["location"]) == (303, f"/uploads/{second.id}")
    assert (second.dataset, second.rows_success, second.rows_failed) == ("sales_2", 3, 1)
    assert (second.stored_as != first.stored_as, second.sha256) == (True, first.sha256)
    assert served.client.get("/datasets/sales_2/rows.csv").text == "id,price\r\n0,1.50\r\n1,2.00\r\n2,n/a\r\n"
    refused = served.client.post("/datasets/sales/change-type?column=id")
    assert (refused.status_code, "cannot be changed" in refused.text or "can be changed" in refused.text) == (422, True)


@ONE_DATABASE
def test_types_of_columns_that_the_file_does_not_have_are_named(served: Served) -> None:
    with Worker(served.settings):
        by_page(served, b"id,price\n1,2\n", "sales.csv", types='{"prise": "number"}')
        upload = served.finished()

    assert upload.error == (
        "types names the column “prise”, which the file does not have. Its columns are: “id”, “price”."
    )
