"""The HTML pages, with and without JavaScript."""

import re
import threading
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa

from jobs import uploads, warnings
from jobs.errors import RefusedError
from jobs.events import timestamp
from jobs.failed_rows import FailedRow, Reason
from jobs.people.roles import Role
from jobs.settings import Settings
from jobs.tables import uploads as uploads_table
from jobs.uploads import Remedy, Upload
from jobs.warnings import UploadWarning
from tests.support import people, serving
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, claim_of, links
from tests.support.streams import toast_of
from tests.support.team import a_team
from webapp.history import PAGE_SIZE
from webapp.live import snapshots
from webapp.live.renderer import FIRST_FAILED_ROWS
from webapp.routes import pages
from webapp.routes.actions import SAMPLE
from webapp.templating import Templates, coded
from webapp.upload_page import FAILURE_REASONS

CONTENT = "id;größe\r\n1;ä\r\n".encode("latin-1") + bytes(range(256))
EVIL = "<img src=x onerror=alert('&')>"


def submit(served: Served, content: bytes = CONTENT, filename: str = "june.csv", **more: Any) -> httpx.Response:
    """Send the form as a browser does without JavaScript."""
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    return served.client.post(
        "/uploads", files={"file": (filename, content)}, **{"data": {"dataset": ""}, "headers": headers, **more}
    )


def row_ids(html: str) -> list[int]:
    return [int(each) for each in re.findall(r'<tr id="upload-(\d+)"', html)]


# The form


def test_the_form_redirects_to_the_page_of_the_upload(served: Served) -> None:
    answer = submit(served, data={"dataset": "sales"})
    [upload] = served.records.all()

    assert answer.status_code == 303
    assert answer.headers["location"] == f"/uploads/{upload.id}"
    assert (upload.filename, upload.dataset_wanted, upload.size) == ("june.csv", "sales", len(CONTENT))
    assert "june.csv" in served.page(answer.headers["location"])


@ONE_DATABASE
def test_the_form_with_javascript_receives_the_address_of_the_upload(served: Served) -> None:
    answer = submit(served, headers={"Accept": "application/json"})

    assert answer.status_code == 201
    assert answer.json()["links"]["html"] == f"/uploads/{answer.json()['id']}"
    assert answer.headers["location"] == f"/api/v1/uploads/{answer.json()['id']}"


REJECTED = "Upload rejected"
REJECTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no file chosen": (
        {"filename": "", "content": b""},
        REJECTED,
        "No file was sent. Choose a CSV file and try again.",
    ),
    "an empty file": ({"content": b""}, REJECTED, "“june.csv” is empty."),
    "an unsupported type": ({"filename": "june.png"}, REJECTED, "The file type of “june.png” is not supported."),
    "an invalid dataset name": (
        {"data": {"dataset": "?!"}},
        "Invalid dataset name",
        "“?!” cannot be the name of a dataset.",
    ),
    "an unknown encoding": ({"data": {"encoding": "klingon"}}, "Invalid import option", "Unknown encoding “klingon”."),
    "a raw body": (
        {"files": None, "data": None, "params": {"filename": "a.csv"}},
        REJECTED,
        "Send the file as multipart/form-data",
    ),
}


@pytest.mark.parametrize(("sent", "title", "sentence"), REJECTIONS.values(), ids=REJECTIONS.keys())
def test_a_rejected_upload_is_explained_beside_its_field(
    standing: Served, sent: dict[str, Any], title: str, sentence: str
) -> None:
    if "files" in sent:
        answer = standing.client.post("/uploads", params=sent["params"], content=CONTENT)
        problem = standing.client.post(
            "/uploads", params=sent["params"], content=CONTENT, headers={"Accept": "application/json"}
        )
    else:
        answer, problem = submit(standing, **sent), submit(standing, **sent, headers={"Accept": "application/json"})

    assert (answer.status_code, problem.status_code) == (422, 422)
    assert '<form id="upload-form"' in answer.text
    assert "<title>Error: Uploads" in answer.text
    [invalid] = re.findall(r'<input [^>]*aria-invalid="true"[^>]*>', answer.text)
    described_by = re.findall(r'aria-describedby="([^"]*)"', invalid)[0].split()[-1]
    [error] = re.findall(rf'<p id="{described_by}" class="field-error message">([^<]*)</p>', answer.text)
    assert unescape(error).startswith(sentence)
    assert "autofocus" in invalid
    assert problem.json()["errors"] == [{"path": re.findall('name="([^"]*)"', invalid)[0], "detail": unescape(error)}]
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["title"] == title
    assert problem.json()["detail"].startswith(sentence)
    assert standing.stored == []
    assert standing.records.all() == []


def checked(html: str, prefix: str) -> dict[str, str]:
    """What the fields of the import options have, by their ids without prefix."""
    inputs = re.findall(rf'<input id="{prefix}-(\w+)" type="text"[^>]* value="([^"]*)"', html)
    selects = re.findall(rf'<select id="{prefix}-(\w+)"(.*?)</select>', html, re.DOTALL)
    chosen = {name: "".join(re.findall(r'value="([^"]*)" selected', options)) for name, options in selects}
    return {**dict(inputs), **chosen}


ENTERED = {"encoding": "klingon", "delimiter": "semicolon", "header_row": "3", "sheet": "Q1", "types": "text"}
SHOWN = {"encoding": "klingon", "delimiter": "semicolon", "header": "3", "sheet": "Q1", "types": "text"}


def test_a_refused_upload_form_comes_back_as_it_was_filled_in(standing: Served) -> None:
    html = submit(standing, data={"dataset": "Sales <June>", **ENTERED}).text

    assert checked(html, "option") == SHOWN
    assert re.findall(r'<input id="upload-dataset"[^>]* value="([^"]*)"', html) == ["Sales &lt;June&gt;"]
    assert re.search(r'<details class="import-options" open>', html)


def test_a_file_that_is_too_large_comes_back_as_a_form_with_the_status_413(settings: Settings) -> None:
    with Served(settings.model_copy(update={"max_upload_bytes": 5})) as served:
        answer = submit(served)

    assert answer.status_code == 413
    assert "The file is larger than 5 bytes" in answer.text
    assert '<form id="upload-form"' in answer.text


def test_refused_options_of_a_retry_come_back_as_they_were_filled_in(served: Served) -> None:
    upload = served.records.fail(served.records.processing(), "The file cannot be read.", Remedy.OPTIONS)
    answer = served.client.post(f"/uploads/{upload.id}/retry", data=ENTERED)
    problem = served.client.post(f"/uploads/{upload.id}/retry", data=ENTERED, headers={"Accept": "application/json"})

    assert (answer.status_code, problem.status_code) == (422, 422)
    assert checked(answer.text, "retry") == SHOWN
    assert "Unknown encoding “klingon”" in answer.text
    assert re.search(r'<details id="upload-options"[^>]* open>', answer.text)
    assert "hx-sse:connect" not in answer.text
    assert served.records.get(upload) == upload


def test_a_first_row_that_is_data_stays_chosen_in_a_refused_form(standing: Served) -> None:
    html = submit(standing, data={"encoding": "klingon", "header_row": "0"}).text

    assert re.search(r'<input id="option-headerless"[^>]* checked', html)
    assert checked(html, "option")["header"] == ""


def test_what_ended_lately_is_listed_with_its_outcome(served: Served) -> None:
    records = served.records
    completed = records.completed("june.csv")
    failed = records.fail(records.processing("july.csv"), "The disk is full.")
    records.processing("august.csv")
    page = served.page("/uploads/recent")
    menu = served.client.get("/uploads/recent", headers={"HX-Request": "true"}).text
    listed = served.client.get("/api/v1/uploads/recent").json()["items"]

    for html in (page, menu):
        items = [
            " ".join(re.sub("<[^>]+>", "", item).split()) for item in re.findall("<li class.*?</li>", html, re.DOTALL)
        ]
        assert [re.sub(" 20..-.*", "", item) for item in items] == [
            "july.csv failed: The disk is full.",
            "june.csv completed: 0 rows imported",
        ]
    assert "<h1>" in page
    assert "<html" not in menu
    assert [each["id"] for each in listed] == [failed.id, completed.id]


@ONE_DATABASE
def test_the_size_limit_is_shown_before_and_after_an_upload(settings: Settings) -> None:
    with Served(settings.model_copy(update={"max_upload_bytes": 1000})) as served:
        html = served.page("/uploads")
        answer = submit(served, b"x" * 1001)

        assert "up to 1.0 kB" in html
        assert 'data-max-bytes="1000"' in html
        assert answer.status_code == 413
        assert "1,000 bytes" in answer.text
        assert served.stored == []


@ONE_DATABASE
def test_cancel_and_retry_redirect_to_the_page_of_the_upload(served: Served) -> None:
    upload = served.records.processing()
    path = f"/uploads/{upload.id}"
    for action, status in (("cancel", "cancelled"), ("retry", "pending")):
        assert f'action="{path}/{action}"' in served.page(path)

        answer = served.client.post(f"{path}/{action}")

        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert served.records.get(upload).status == status

    refused = served.client.post(f"{path}/retry")

    assert refused.status_code == 409
    assert f"Upload #{upload.id} is pending, so it cannot be retried." in refused.text


# History


@ONE_DATABASE
def test_the_root_redirects_to_the_history(served: Served) -> None:
    answer = served.client.get("/")

    assert answer.is_redirect
    assert answer.headers["location"] == "/uploads"


def test_the_history_shows_every_upload_with_its_numbers(served: Served) -> None:
    records = served.records
    done = records.complete(records.advance(records.processing("june.csv", rows=12_345), 12_345))
    failed = records.fail(records.processing("july.csv"))
    waiting = records.pending("august.csv")
    html = served.page("/uploads")

    assert row_ids(html) == [waiting.id, failed.id, done.id]
    assert "12,345" in html
    for words in ("Completed", "Failed", "Pending", "june.csv", "No worker is running"):
        assert words in html
    assert {f"/uploads/{each.id}" for each in (done, failed, waiting)} <= set(links(html))
    assert "/datasets/june" in links(html)


def test_an_empty_history_shows_why_it_is_empty(standing: Served) -> None:
    assert "No uploads yet" in standing.page("/uploads")
    html = standing.page("/uploads", q="june", status="failed")

    assert "No upload named like “june”, with the state “Failed”." in unescape(html)


def test_a_history_without_uploads_teaches_in_three_steps_and_offers_a_sample(served: Served) -> None:
    html = served.page("/uploads")

    assert len(re.findall(r"<li><b>", html)) == 3
    assert 'class="upload-form large"' in html
    assert '<form method="post" action="/uploads/sample">' in html
    assert 'id="batch"' not in html
    assert 'role="search"' not in html

    answer = served.client.post("/uploads/sample")
    [upload] = served.records.all()
    html = served.page("/uploads")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/uploads/{upload.id}")
    assert (upload.filename, upload.size) == ("sample-orders.csv", SAMPLE.stat().st_size)
    assert [path.read_bytes() for path in served.stored] == [SAMPLE.read_bytes()]
    assert 'class="upload-form"' in html
    assert 'role="search"' in html


@ONE_DATABASE
def test_a_sample_that_is_not_recorded_leaves_no_file(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Upload:
        raise RefusedError("Not now.")

    monkeypatch.setattr(uploads, "create", fail)

    assert served.client.post("/uploads/sample").status_code == 422
    assert served.stored == []


def test_the_history_is_filtered_by_outcome_dataset_and_time(served: Served) -> None:
    records = served.records
    failed = [FailedRow(1, ["x"], [Reason("a", "is wrong")])]
    plain = records.complete(records.advance(records.processing("a.csv", dataset="sales")))
    partly = records.complete(records.advance(records.processing("b.csv", dataset="sales"), 9, failed))
    warned = records.processing("c.csv", dataset="stock")
    records.warn(warned)
    warned = records.complete(warned)

    def shown(**query: str) -> list[int]:
        html, listed = served.page("/uploads", **query), served.client.get("/api/v1/uploads", params=query).json()

        assert row_ids(html) == [each["id"] for each in listed["items"]]
        return row_ids(html)

    assert shown(dataset="sales") == [partly.id, plain.id]
    assert shown(dataset="sale") == []
    assert shown(outcome="failed_rows") == [partly.id]
    assert shown(outcome="warnings") == [warned.id]
    assert shown(outcome="clean", dataset="sales") == [plain.id]
    assert shown(status="completed", outcome="warnings", dataset="stock", since="1h", q="C.") == [warned.id]
    assert shown(since="24h") == [warned.id, partly.id, plain.id]
    assert shown(until="24h") == []
    assert shown(since=timestamp(partly.created_at)) == [warned.id, partly.id]
    assert shown(until=timestamp(partly.created_at)) == [plain.id]
    assert shown(since=f"{partly.created_at:%Y-%m-%d}", until=f"{warned.created_at:%Y-%m-%d}")[-1] == plain.id


@ONE_DATABASE
def test_each_filter_can_be_removed_and_chosen_anew_without_losing_the_others(served: Served) -> None:
    served.records.pending()
    query = {"q": "june", "outcome": "failed_rows", "dataset": "sales & more", "since": "2026-01-01", "cursor": "7"}
    html = served.page("/uploads", **query)
    removals = {
        text: dict(httpx.URL(unescape(url)).params)
        for url, text in re.findall(r'href="([^"]*)" aria-label="Remove the filter: ([^"]*)"', html)
    }
    forms = re.findall(r'<form class="[^"]*" action="/uploads" method="get".*?</form>', html, re.S)
    kept = [dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)) for form in forms]
    set_ = {name: value for name, value in query.items() if name != "cursor"}

    def without(*names: str) -> dict[str, str]:
        return {name: value for name, value in set_.items() if name not in names}

    assert removals == {
        "“june”": without("q"),
        "Completed with failed rows": without("outcome"),
        "sales &amp; more": without("dataset"),
        "Since 2026-01-01": without("since"),
    }
    assert [{name: unescape(value) for name, value in each.items()} for each in kept] == [
        without("q"), without("dataset"), without("since")
    ]  # fmt: skip
    assert ' name="since" value="2026-01-01"' in html
    assert "/uploads?q=june&status=failed&dataset=sales+%26+more&since=2026-01-01" in links(html)
    assert "/uploads?q=june&outcome=failed_rows&dataset=sales+%26+more&since=7d" in links(html)


@ONE_DATABASE
def test_people_find_their_own_uploads_with_one_link(settings: Settings) -> None:
    with a_team(settings) as team:
        team.add("ana m", Role.UPLOADER)
        upload = team.served.records.completed("mine.csv")
        team.served.records.completed("theirs.csv")
        people.give(team.database, upload.id, "ana m")
        browser = team.browser("ana m")
        page = browser.get("/uploads?q=csv").text
        [mine] = re.findall(r'<a [^>]*href="([^"]*)">Mine</a>', page)
        found = browser.get(unescape(mine)).text

    assert unescape(mine) == "/uploads?q=csv&uploaded_by=ana+m"
    assert ("mine.csv" in found, "theirs.csv" in found, ">Mine</a>" in found) == (True, False, False)


@ONE_DATABASE
def test_rows_are_as_dense_as_the_reader_chose(served: Served) -> None:
    served.records.pending()

    assert '<div id="history">' in served.page("/uploads")

    served.client.cookies.set("density", "compact")

    assert '<div id="history" class="compact">' in served.page("/uploads")


def test_the_history_can_be_searched_and_filtered(served: Served) -> None:
    records = served.records
    june, july = records.pending("June 50%.csv"), records.fail(records.processing("ärger 500.csv", dataset="sums"))

    assert row_ids(served.page("/uploads", q="50%")) == [june.id]
    assert row_ids(served.page("/uploads", q="JUNE")) == [june.id]
    assert row_ids(served.page("/uploads", q="ÄRGER")) == [july.id]
    assert row_ids(served.page("/uploads", q="sum")) == [july.id]
    assert row_ids(served.page("/uploads", status="failed")) == [july.id]
    assert row_ids(served.page("/uploads", q="june", status="failed")) == []
    assert row_ids(served.page("/uploads", q="\0")) == [july.id, june.id]
    assert row_ids(served.page("/uploads", cursor=june.id)) == [june.id]


@ONE_DATABASE
@pytest.mark.parametrize("path", ["/uploads", "/uploads/events", "/api/v1/uploads"])
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", "`status` must be one of pending, processing, held, completed, failed, cancelled."),
        ("status=", "`status` must be one of pending, processing, held, completed, failed, cancelled."),
        ("outcome=good", "`outcome` must be one of clean, failed_rows, warnings, held, undone."),
        (
            "since=soon",
            "`since` must be a day like 2026-01-31, a time like 2026-01-31T09:00:00Z, or an age like 7d or 24h.",
        ),
        ("cursor=newest", "`cursor` must be the id of an upload."),
        ("cursor=-1&status=failed", "`cursor` must be the id of an upload."),
    ],
)
def test_an_invalid_filter_or_cursor_is_rejected(served: Served, path: str, query: str, sentence: str) -> None:
    served.records.pending()
    if path.endswith("/events"):
        query = query.replace("since=", "uploaded_since=")
    answer = served.client.get(f"{path}?{query}")

    assert answer.status_code == 422
    if path.startswith("/api/"):
        assert (answer.json()["title"], answer.json()["detail"]) == ("Invalid query parameter", sentence)
    else:
        assert "<h1>Invalid query parameter</h1>" in answer.text
        assert coded(sentence) in answer.text
        assert "/uploads" in links(answer.text)
        assert row_ids(answer.text) == []


@ONE_DATABASE
def test_a_rejected_stream_gets_one_line_of_plain_text(served: Served) -> None:
    answer = served.client.get("/uploads/events?status=done", headers={"Accept": "text/event-stream"})

    assert answer.status_code == 422
    assert answer.text == (
        "Invalid query parameter: `status` must be one of pending, processing, held, completed, failed, cancelled.\n"
    )


@ONE_DATABASE
def test_search_and_filter_can_be_combined(served: Served) -> None:
    html = served.page("/uploads", q="50% & more", status="failed")

    assert '<input type="hidden" name="status" value="failed">' in html
    assert 'name="q" value="50% &amp; more"' in html
    for link in links(html):
        if link.startswith("/uploads?") and "status" in link and link != "/uploads?status=failed":
            assert httpx.URL(link).params["q"] == "50% & more"
    assert re.findall(r'aria-label="Remove the filter: (.+?)"', html) == ["“50% &amp; more”", "Failed"]
    assert {"/uploads?status=failed", "/uploads?q=50%25+%26+more", "/uploads"} <= set(links(html))
    assert re.findall(r'aria-current="true">(.+?)<', html) == ["Failed", "Any", "Any time"]


def test_the_history_can_be_paged_in_both_directions(served: Served) -> None:
    ids = [served.records.pending(f"{n}.csv").id for n in range(2 * PAGE_SIZE + 3)][::-1]
    expected = [ids[:PAGE_SIZE], ids[PAGE_SIZE : 2 * PAGE_SIZE], ids[2 * PAGE_SIZE :]]
    html, seen = served.page("/uploads"), []
    assert links(html, "prev") == []

    seen.append(row_ids(html))
    while following := links(html, "next"):
        html = served.page(following[0])
        seen.append(row_ids(html))
    back = [row_ids(html)]
    while following := links(html, "prev"):
        html = served.page(following[0])
        back.append(row_ids(html))

    assert seen == expected
    assert back == expected[::-1]


@ONE_DATABASE
def test_the_history_subscribes_to_what_it_shows(served: Served) -> None:
    served.records.fail(served.records.processing("june.csv"))
    html = served.page("/uploads", q="june", status="failed")
    address = unescape(re.findall(r'hx-sse:connect="([^"]*)"', html)[0])
    with served.stream(address) as stream:
        table = stream.next().data

    assert httpx.URL(address).params["q"] == "june"
    assert httpx.URL(address).params["status"] == "failed"
    assert re.findall(r'<section id="uploads".*</section>', table, re.S)[0] in html


@ONE_DATABASE
def test_a_filtered_page_has_a_link_for_announcements(served: Served) -> None:
    for query in ({"status": "failed"}, {"q": "june & july"}, {"q": "june", "status": "pending", "cursor": "9"}):
        html = served.page("/uploads", **query)
        found = re.findall(r'<p id="changes"[^>]*><a class="[^"]*" href="([^"]*)" hidden></a></p>', html)

        assert [dict(httpx.URL(unescape(address)).params) for address in found] == [query]
        assert "/static/changes.js" in html

    assert '<p id="changes" class="changes" role="status" data-inserts>' in served.page("/uploads")

    later = served.page("/uploads", cursor="9")

    assert 'id="changes"' not in later
    assert "/static/changes.js" not in later


# An upload


def test_an_upload_shows_its_progress(served: Served) -> None:
    upload = served.records.advance(served.records.processing(rows=4000), 1000)
    html = served.page(f"/uploads/{upload.id}")

    assert '<progress class="visually-hidden" max="100" value="25"' in html
    assert 'aria-valuetext="1,000 of 4,000 rows imported"' in html
    assert '<rect class="part-in" x="0" y="0" width="25' in html
    assert "of 4,000" in html
    assert "Processing" in html
    assert 'http-equiv="refresh"' in html
    assert f"/uploads/{upload.id}/original" in links(html)


def failed_table(html: str) -> list[list[str]]:
    """The table of failed rows as text: its head, then its rows."""
    [table] = re.findall(r'<table class="data failed"[^>]*>.*?</table>', html, re.S)
    rows = re.findall(r"<tr.*?</tr>", table, re.S)
    return [
        [" ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


def test_an_upload_shows_its_failed_rows_with_their_reasons_at_the_wrong_cells(served: Served) -> None:
    records = served.records
    bad = [
        FailedRow(7, ["x", ""], [Reason("born", "is no date", "x", "no day"), Reason("paid", "is empty")], line=9),
        FailedRow(8, ["y", "z", "a", "b"], [Reason(None, "has 4 cells, expected 2")], line=11),
        FailedRow(9, ["1"], [Reason("born", "is taken"), Reason("elsewhere", "is odd")]),
    ]
    upload = records.fail(records.advance(records.processing(header=["Born", "paid"]), 0, bad), "Every row failed.")
    records.declare("june", {"name": "born", "type": "date"}, {"name": "paid", "type": "string"})
    path = f"/uploads/{upload.id}"
    html = served.page(path)

    assert failed_table(html) == [
        ["Line", "Born", "paid"],
        ["9", "Wrong: x is no date (no day)", "Wrong: empty is empty"],
        ["11", "y", "z"],
        ["Line 11", "has 4 cells, expected 2 Show 2 surplus cells of line 11"],
        ["9", "Wrong: 1 is taken", "no cell"],
        ["Line 9", "elsewhere: is odd"],
    ]
    assert '<h2>Failed rows <span class="quiet">3</span></h2>' in html
    assert f"{path}/failed-rows.csv" in links(html)
    assert "Every row failed." in html
    assert "Try again" in html
    assert 'aria-label="0 of 100 rows imported, 3 failed"' in html
    assert "<dd>0 of 100</dd>" in html


def reasons(html: str) -> list[tuple[str, str, str]]:
    """The table of reasons: column, rule, rows."""
    table = re.findall(r'<table id="upload-reasons".*?</table>', html, re.S)
    cells = r'<b class="name">(.*?)</b> (.*?)</a></th>.*?<td class="num">(.*?)</td></tr>'
    return [row for each in table for row in re.findall(cells, each)]


def test_an_upload_counts_its_failed_rows_by_column_and_reason(served: Served) -> None:
    records = served.records
    date, empty, ragged = Reason("born", "is no date", "x"), Reason("name", "is empty"), Reason(None, "has 2 cells")
    kinds = [[date], [date, empty], [date, date], [ragged]]
    bad = [FailedRow(n, ["x"], kinds[n % 4]) for n in range(1, 2001)]
    upload = records.advance(records.advance(records.processing(), 5, bad[:900]), 5, bad[900:])

    assert reasons(served.page(f"/uploads/{upload.id}")) == [
        ("born", "is no date", "1,500"),
        ("Whole row", "has 2 cells", "500"),
        ("name", "is empty", "500"),
    ]


@ONE_DATABASE
def test_the_most_frequent_reasons_are_shown(served: Served) -> None:
    bad = [FailedRow(100 * n + m, [], [Reason("a", f"rule {n}")]) for n in range(25) for m in range(n + 1)]
    upload = served.records.advance(served.records.processing(), 1, bad)

    assert reasons(served.page(f"/uploads/{upload.id}")) == [
        ("a", f"rule {n}", str(n + 1)) for n in range(24, 24 - FAILURE_REASONS, -1)
    ]


@ONE_DATABASE
def test_reasons_are_shown_even_if_no_failed_row_is_stored(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "KEPT", 0)
    upload = served.records.advance(served.records.processing(), 1, [FailedRow(2, ["x"], [Reason("a", "is wrong")])])
    html = served.page(f"/uploads/{upload.id}")

    assert reasons(html) == [("a", "is wrong", "1")]
    assert "failed-rows.csv" not in html
    assert "The failed rows are not stored" in html


@ONE_DATABASE
def test_a_page_says_how_many_failed_rows_are_stored_if_not_all(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "KEPT", 2)
    bad = [FailedRow(n, ["x"], [Reason("a", "is wrong")]) for n in range(1, 6)]
    upload = served.records.complete(served.records.advance(served.records.processing(), 1, bad))
    html = served.page(f"/uploads/{upload.id}")

    assert numbers_shown(html) == [1, 2]
    assert "The first 2 failed rows are stored and shown here. The other 3 are only counted" in html


def test_an_upload_without_failed_rows_shows_no_failures(served: Served) -> None:
    upload = served.records.completed()
    html = served.page(f"/uploads/{upload.id}")

    assert reasons(html) == []
    assert "failed-rows.csv" not in html
    assert re.findall(r'<section id="failed-rows".*?</section>', html, re.S)[0].partition(">")[0].endswith(" hidden")
    assert 'class="data failed"' not in html


def numbers_shown(html: str) -> list[int]:
    return [int(row[0]) for row in failed_table(html)[1:] if row[0].isdecimal()]


def test_every_failed_row_is_reached_page_by_page(served: Served) -> None:
    bad = [FailedRow(n, ["x", ""], [Reason("a" if n % 2 else "b", "is wrong", "x")]) for n in range(1, 131)]
    upload = served.records.complete(served.records.advance(served.records.processing(), 1, bad))
    path, found = f"/uploads/{upload.id}", []
    html = served.page(path)
    while True:
        found.append(numbers_shown(html))
        following = links(html, "next")
        if not following:
            break
        html = served.page(following[0])

    assert found == [[*range(1, 51)], [*range(51, 101)], [*range(101, 131)]]
    assert links(html, "first") == [f"{path}#failed-rows"]
    back = [html]
    while previous := links(back[-1], "prev"):
        back.append(served.page(previous[0]))
    assert [numbers_shown(page) for page in reversed(back)] == found
    assert numbers_shown(served.page(links(back[-1], "next")[0])) == found[1]
    assert not links(back[-1], "first")
    assert 'data-page="first"' not in html


def test_failed_rows_are_filtered_by_each_reason(served: Served) -> None:
    bad = [FailedRow(n, ["x", ""], [Reason("a" if n % 2 else None, "is “w&o”", "x")]) for n in range(1, 131)]
    upload = served.records.complete(served.records.advance(served.records.processing(), 1, bad))
    html = served.page(f"/uploads/{upload.id}")
    of_row, of_column = [link for link in links(html) if "?column=" in link]
    filtered = served.page(of_row)

    assert numbers_shown(served.page(of_column))[:3] == [1, 3, 5]
    assert numbers_shown(filtered) == [*range(2, 101, 2)]
    following = served.page(links(filtered, "next")[0])
    assert numbers_shown(following) == [*range(102, 131, 2)]
    assert numbers_shown(served.page(links(following, "prev")[0])) == [*range(2, 101, 2)]
    assert '<h2>Failed rows <span class="quiet">65</span></h2>' in filtered
    assert "<span>Whole row: is “w&amp;o”</span>" in filtered
    assert f"/uploads/{upload.id}#failed-rows" in links(filtered)


@ONE_DATABASE
def test_of_a_wide_file_the_columns_with_wrong_cells_are_always_shown(served: Served) -> None:
    header = [f"c{n}" for n in range(1, 1501)]
    bad = [FailedRow(n, [f"v{m}" for m in range(1, 1501)], [Reason(f"c{1000 + n}", "is wrong")]) for n in range(1, 4)]
    upload = served.records.advance(served.records.processing(header=header), 1, bad)
    html = served.page(f"/uploads/{upload.id}")
    following = served.page(next(link for link in links(html) if "columns=13" in link))

    assert failed_table(html)[0] == ["Line", *header[:12], "c1001", "c1002", "c1003"]
    assert failed_table(following)[0] == ["Line", *header[12:24], "c1001", "c1002", "c1003"]
    assert failed_table(following)[1][13:] == ["Wrong: v1001 is wrong", "v1002", "v1003"]


@ONE_DATABASE
def test_a_page_of_large_failed_rows_is_bounded(served: Served) -> None:
    header = [f"{'<' * 60}{n}" for n in range(1500)]
    bad = [
        FailedRow(
            n, ["<" * 300] * 1500, [Reason(header[-m], "<" * 1_000, "<" * 1_000, "<" * 1_000) for m in range(1, 99)]
        )
        for n in range(1, 60)
    ]
    upload = served.records.complete(served.records.advance(served.records.processing(header=header), 1, bad))
    html = served.page(f"/uploads/{upload.id}")

    assert len(html.encode()) < 1_000_000
    assert links(html, "next")


@ONE_DATABASE
@pytest.mark.parametrize("query", ["after=x", "after=-1", "before=x", "columns=x", f"after={10**18}"])
def test_a_page_of_failed_rows_that_cannot_be_is_refused(served: Served, query: str) -> None:
    upload = served.records.processing()

    assert served.client.get(f"/uploads/{upload.id}?{query}").status_code == 422


@ONE_DATABASE
def test_behind_the_last_failed_row_a_link_leads_back(served: Served) -> None:
    upload = served.records.advance(served.records.processing(), 1, [FailedRow(2, ["x"], [Reason("a", "is wrong")])])
    html = served.page(f"/uploads/{upload.id}?after=2")

    assert "No failed row follows" in html
    assert links(html, "first") == [f"/uploads/{upload.id}#failed-rows"]


def test_the_strip_leads_to_the_failed_rows_of_each_part_of_the_file(served: Served) -> None:
    bad = [FailedRow(n, ["x"], [Reason("a", "is wrong")]) for n in (501, 502, 503, 990)]
    upload = served.records.complete(served.records.advance(served.records.processing(rows=1000), 996, bad))
    html = served.page(f"/uploads/{upload.id}")
    titles = re.findall(r"<title>(Rows .*?)</title>", html)
    [worst, _] = dict.fromkeys(link for link in links(html) if "after=" in link)

    assert len(titles) == 100
    assert titles[50] == "Rows 501 to 510: 3 failed"
    assert titles[51] == "Rows 511 to 520: none failed"
    assert 'most in <a href="' in html
    assert numbers_shown(served.page(worst)) == [501, 502, 503, 990]


def test_the_log_and_the_attempts_are_shown(served: Served) -> None:
    records = served.records
    upload = records.advance(records.processing(), 40)
    because = "its worker was shut down"
    records.tell(lambda connection: uploads.hand_back(connection, claim_of(upload), because=because))
    upload = records.complete(records.advance(records.claim(upload), 60))
    html = served.page(f"/uploads/{upload.id}")
    entries = re.findall(
        r'<span class="what">(.*?)</span> <time', re.findall(r'<ol class="log latest">.*?</ol>', html)[0]
    )

    assert [re.sub(r" ?<[^>]*>", "|", entry).strip("|") for entry in entries] == [
        "Uploaded",
        "Import started|a test, attempt 1",
        "Interrupted after 40 rows|its worker was shut down",
        "Continued after 40 rows|a test, attempt 2",
        "Completed|100 rows",
    ]
    assert (
        "Interrupted: its worker was shut down" in re.findall(r'<div id="upload-attempts">.*?</table>', html, re.S)[0]
    )


@ONE_DATABASE
def test_one_attempt_without_an_incident_is_folded(served: Served) -> None:
    html = served.page(f"/uploads/{served.records.completed().id}")

    assert '<details id="upload-attempts">' in html


@ONE_DATABASE
def test_an_upload_is_compared_with_the_last_ten_of_its_dataset(served: Served) -> None:
    found = [served.records.completed() for _ in range(14)]
    table = r'<table class="plain last">.*?</table>'
    [newest] = re.findall(table, served.page(f"/uploads/{found[-1].id}"), re.S)
    [oldest] = re.findall(table, served.page(f"/uploads/{found[0].id}"), re.S)

    assert re.findall(r"#(\d+)", newest) == [str(upload.id) for upload in found[:-11:-1]]
    assert re.findall(r"#(\d+)", oldest) == [*(str(upload.id) for upload in found[:-11:-1]), str(found[0].id)]
    assert links(oldest) == [f"/uploads/{upload.id}" for upload in found[:-11:-1]]


@ONE_DATABASE
def test_uploads_that_correct_each_other_are_linked_in_both_directions(served: Served) -> None:
    records = served.records
    parent = records.complete(records.advance(records.processing(), 1, [FailedRow(2, ["x"], [Reason("a", "is bad")])]))
    child = records.complete(records.advance(records.processing("fixed.csv", parent=parent.id), 7))
    [of_parent] = re.findall(r'<section id="upload-family".*?</section>', served.page(f"/uploads/{parent.id}"), re.S)
    [of_child] = re.findall(r'<section id="upload-family".*?</section>', served.page(f"/uploads/{child.id}"), re.S)

    assert links(of_parent) == [f"/uploads/{child.id}"]
    assert "7 of 7 rows imported" in of_parent
    assert links(of_child) == [f"/uploads/{parent.id}"]
    assert "1 of its rows failed" in of_child


@ONE_DATABASE
def test_each_end_has_one_primary_button_that_can_help(served: Served) -> None:
    records, bad = served.records, [FailedRow(2, ["x"], [Reason("a", "is wrong")])]
    options = records.fail(records.processing(), "All rows failed.", Remedy.OPTIONS)
    for upload, button in (
        (records.processing(), ""),
        (records.completed(), "Open dataset june"),
        (records.complete(records.advance(records.processing(), 1, bad)), "Fix 1 row"),
        (records.fail(records.processing()), "Try again"),
        (records.fail(records.processing(), "This is a picture.", Remedy.FILE), "Upload another file"),
        (options, "Retry with these options"),
        (records.cancel(records.processing()), "Try again"),
    ):
        shown = re.findall(r'class="button primary"[^>]*>(.*?)</(?:a|button)>', served.page(f"/uploads/{upload.id}"))
        primary = [re.sub(r"<[^>]*>", "", each) for each in shown if "these options" not in each or upload is options]

        assert primary == ([button] if button else []), upload


@ONE_DATABASE
def test_an_upload_page_subscribes_until_the_upload_can_no_longer_change(served: Served) -> None:
    records = served.records
    for upload, listens in (
        (records.pending(), True),
        (records.processing(), True),
        (records.fail(records.processing()), True),
        (records.cancel(records.processing()), True),
        (records.completed(), False),
    ):
        html = served.page(f"/uploads/{upload.id}")

        assert (f'hx-sse:connect="/uploads/{upload.id}/events?since=' in html) is listens
        assert ('http-equiv="refresh"' in html) is upload.is_active


@ONE_DATABASE
def test_page_and_stream_of_an_upload_show_the_same(served: Served) -> None:
    upload = served.records.fail(served.records.processing())
    with served.stream(f"/uploads/{upload.id}/events") as stream:
        progress = stream.next().data

    html = served.page(f"/uploads/{upload.id}")
    parts = re.findall(r'<hx-partial hx-target="(.*?)" hx-swap="outerMorph">(.*?)</hx-partial>', progress, re.S)

    assert [target for target, _ in parts] == ["#upload", FIRST_FAILED_ROWS, "#upload-aside"]
    for _, part in parts:
        assert part.strip() in html


# States: green means right


def a_warned(served: Served, *found: UploadWarning) -> Upload:
    upload = served.records.processing(rows=10)
    served.records.warn(upload, *found)
    return served.records.complete(served.records.advance(upload, 10))


def test_an_upload_with_warnings_is_amber_and_says_so_above_the_numbers(served: Served) -> None:
    upload = a_warned(served, warnings.columns_ignored([f"c{n}" for n in range(30)]), warnings.no_header())
    html = unescape(served.page(f"/uploads/{upload.id}"))
    history = served.page("/uploads")
    notice = html.index('id="upload-warnings"')

    assert 'class="upload tone-warn"' in html
    assert '<span class="badge" role="status">Completed with warnings</span>' in html
    assert notice < html.index("The file seems to have no header") < html.index('class="stats"')
    assert notice < html.index("Columns “c0”, “c1”, “c2”, “c3”, “c4” and 25 more of the file") < html.index("stats")
    assert "<summary>Show the first 20 of 30</summary>" in html
    assert re.findall(r"<li>(c\d+)</li>", html) == [f"c{n}" for n in range(20)]
    assert '<span class="badge">Completed with warnings</span>' in history
    assert 'class="tone-warn"' in history
    assert "tone-good" not in html + history


@ONE_DATABASE
def test_many_warnings_do_not_push_the_numbers_away(served: Served) -> None:
    many = [warnings.values_as_missing(f"c{n}", {"n/a": n}) for n in range(1, 8)]
    html = unescape(served.page(f"/uploads/{a_warned(served, *many).id}"))

    assert html.index("In the column “c4”") < html.index("Show 3 more warnings") < html.index("In the column “c5”")


@ONE_DATABASE
def test_a_warning_is_told_by_the_toast_and_by_the_stream(served: Served) -> None:
    with served.stream("/uploads/events") as stream:
        stream.next()
        a_warned(served)
        told = stream.until_text('class="toast toast-warn')

    assert "completed with warnings" in told
    assert "Column “Full name” of the file is not in the dataset" in told


@ONE_DATABASE
def test_only_a_clean_upload_is_green(served: Served) -> None:
    records = served.records
    bad = [FailedRow(1, ["x"], [Reason("a", "is wrong")])]
    uploads = [
        (a_warned(served), False),
        (records.complete(records.advance(records.processing(), 10, bad)), False),
        (records.fail(records.advance(records.processing(), 10)), False),
        (records.cancel(records.advance(records.processing(), 10)), False),
        (records.advance(records.processing(), 10), False),
        (records.complete(records.advance(records.processing(), 10)), True),
    ]
    for upload, is_green in uploads:
        assert ('class="upload tone-good"' in served.page(f"/uploads/{upload.id}")) is is_green


@ONE_DATABASE
def test_an_upload_with_failed_rows_and_warnings_shows_both(served: Served) -> None:
    upload = served.records.processing(rows=10)
    served.records.warn(upload)
    served.records.complete(
        served.records.advance(upload, 17, [FailedRow(n, ["x"], [Reason("a", "is wrong")]) for n in (1, 2, 3)])
    )
    history, html = served.page("/uploads"), served.page(f"/uploads/{upload.id}")

    assert '<span class="badge">Completed with failed rows</span>' in history
    assert "3 rows failed and 1 warning</span>" in history
    assert '<span class="rows">17 of 20<span class="share"> (85 %)</span></span>' in history
    assert '<rect class="part-in" x="0" y="0" width="85.0" height="1"/><rect class="part-failed" x="85.0"' in history
    assert 'aria-valuetext="17 of 20 rows imported, 3 failed"' in html
    assert 'id="upload-warnings"' in html


def actions(html: str) -> list[str]:
    """What the page of an upload that ended offers to do next."""
    ids = ("upload-retry", "upload-options", "upload-another")
    return [name for name in ids if f'id="{name}"' in html]


@ONE_DATABASE
def test_only_what_can_help_is_offered(served: Served) -> None:
    records = served.records
    bad = [FailedRow(1, ["x"], [Reason("a", "is wrong")])]
    ended = [
        (records.fail(records.processing()), ["upload-retry"]),
        (records.fail(records.processing(), remedy=Remedy.FILE), ["upload-another"]),
        (records.fail(records.advance(records.processing(), 0, bad), remedy=Remedy.OPTIONS), ["upload-options"]),
        (
            records.fail(records.advance(records.processing(parent=1), 0, bad), remedy=Remedy.OPTIONS),
            ["upload-another"],
        ),
        (records.cancel(records.processing()), ["upload-retry", "upload-options"]),
        (records.cancel(records.advance(records.processing(), 10)), ["upload-retry"]),
        (records.report(records.external(), "error", error="No disk."), ["upload-retry"]),
        (records.completed(), []),
    ]
    for upload, expected in ended:
        assert actions(served.page(f"/uploads/{upload.id}")) == expected


@ONE_DATABASE
def test_the_retry_form_has_the_options_that_were_chosen(served: Served) -> None:
    answer = submit(served, data={"delimiter": "semicolon", "header_row": "7", "sheet": "June", "types": "text"})
    upload_id = int(answer.headers["location"].rpartition("/")[2])
    served.client.post(f"/uploads/{upload_id}/cancel")
    html = served.page(f"/uploads/{upload_id}")

    for part in (
        '<option value="semicolon" selected>',
        'name="header_row" value="7"',
        'name="sheet" value="June"',
        '<option value="text" selected>',
        'type="checkbox" name="header_row" value="0">',
    ):
        assert part in html


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, "Nothing was imported."),
        (1, "1 row imported before the cancellation stays in the dataset."),
        (1200, "1,200 rows imported before the cancellation stay in the dataset."),
    ],
)
@ONE_DATABASE
def test_a_cancelled_import_says_how_many_rows_stay(served: Served, rows: int, expected: str) -> None:
    upload = served.records.cancel(served.records.advance(served.records.processing(), rows))

    assert expected in served.page(f"/uploads/{upload.id}")


# All pages


@ONE_DATABASE
def test_text_from_a_file_is_escaped(served: Served) -> None:
    records = served.records
    upload = records.processing(f"{EVIL}.csv", dataset="sales")
    bad = [FailedRow(1, [EVIL, EVIL * 3], [Reason(EVIL, EVIL, EVIL)])]
    upload = records.fail(records.advance(upload, 0, bad), EVIL)
    records.dataset("people", [(1, EVIL, True), (2, EVIL * 3, False)])
    for path in ("/uploads", f"/uploads?q={quote(EVIL)}&status=failed", f"/uploads/{upload.id}", "/datasets/people"):
        html = served.page(path)

        assert "<img" not in html, path
        assert "alert('" not in html, path
        assert "&lt;img" in html, path
    for path in ("/uploads/events", f"/uploads/{upload.id}/events"):
        with served.stream(path, "2020-01-01T00:00:00.000000Z") as stream:
            html = stream.next().data

            assert "<img" not in html
            assert "&lt;img" in html
    refused = submit(served, filename=f"{EVIL}.png")

    assert refused.status_code == 422
    assert "<img" not in refused.text


ERRORS = [
    ("GET", "/uploads/7", 404, "There is no upload #7."),
    ("GET", "/uploads/7/events", 404, "There is no upload #7."),
    ("GET", "/uploads/7/original", 404, "There is no upload #7."),
    ("GET", "/uploads/7/failed-rows.csv", 404, "There is no upload #7."),
    ("POST", "/uploads/7/cancel", 404, "There is no upload #7."),
    ("POST", "/uploads/7/retry", 404, "There is no upload #7."),
    ("GET", "/datasets/none", 404, "There is no dataset called “none”."),
    ("GET", "/datasets/none/rows.csv", 404, "There is no dataset called “none”."),
    ("GET", "/datasets/none/template.csv", 404, "There is no dataset called “none”."),
    ("GET", "/datasets/%00", 404, ""),
    ("GET", "/uploads/june", 404, "There is nothing at this address."),
    ("GET", "/nothing", 404, "There is nothing at this address."),
    ("GET", "/static/nothing.css", 404, "There is nothing at this address."),
    ("GET", "/static/../webapp/app.py", 404, "There is nothing at this address."),
    ("GET", "/static/%2e%2e/webapp/app.py", 404, "There is nothing at this address."),
    ("GET", f"/uploads/{2**63}", 404, ""),
    ("GET", f"/uploads/{2**63}/events", 404, ""),
    ("DELETE", "/uploads", 405, "Method Not Allowed"),
    ("GET", "/uploads/7/cancel", 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("method", "path", "status", "sentence"), ERRORS)
def test_an_error_page_has_no_traceback(standing: Served, method: str, path: str, status: int, sentence: str) -> None:
    answer = standing.client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert sentence in answer.text
    assert "Back to " in answer.text
    for word in ("Traceback", "Error(", "sqlalchemy", "SELECT"):
        assert word not in answer.text


@ONE_DATABASE
@pytest.mark.parametrize("path", ["/uploads/1", "/api/v1/uploads", "/uploads", "/datasets", "/api/v1/datasets/sales"])
def test_the_page_of_an_internal_error_has_no_traceback(served: Served, path: str) -> None:
    served.records.dataset("sales")
    with served.records.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE uploads SET status = 'nonsense'")
        connection.exec_driver_sql("UPDATE datasets SET mode = 'nonsense'")
    answer = served.client.get(path)

    assert answer.status_code == 500
    assert "an internal error" in answer.text
    for word in ("Traceback", "nonsense", "ValueError", "SELECT"):
        assert word not in answer.text


@ONE_DATABASE
def test_every_link_file_and_stream_of_a_page_exists(served: Served) -> None:
    records = served.records
    failed = records.fail(records.advance(records.processing(), 1, [FailedRow(1, ["x"], [Reason("a", "is wrong")])]))
    dataset = records.dataset("sales", [(1, "one", True)])
    records.dataset("june")
    submitted = submit(served).headers["location"]
    for path in ("/uploads", f"/uploads/{failed.id}", submitted, "/datasets", "/datasets/sales", "/nothing"):
        html = served.client.get(path).text
        files = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)

        assert len(files) > 5
        assert dataset.name == "sales"
        for file in files:
            answer = served.client.get(file)

            assert answer.status_code == 200, file
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        for link in links(html):
            if not link.startswith("#"):
                assert served.client.get(link, follow_redirects=True).status_code == 200, link
        for stream in re.findall(r'hx-sse:connect="([^"]*)"', html):
            assert served.client.head(unescape(stream)).status_code == 200


@ONE_DATABASE
def test_every_page_answers_head_requests(served: Served) -> None:
    upload = f"/uploads/{served.records.dataset('sales', [(1, 'one', True)]).upload_id}"
    pages = ["/uploads", upload, f"{upload}/original", f"{upload}/failed-rows.csv", "/datasets", "/datasets/sales"]
    files = ["/datasets/sales/rows.csv", "/datasets/sales/template.csv", "/static/style.css"]
    for path in [*pages, *files, "/api/v1/uploads", "/healthz", "/readyz"]:
        answer = served.client.head(path)

        assert (answer.status_code, answer.content) == (200, b""), path


#: Bytes of a page or a snapshot at most.
PAGE_BYTES = 1_000_000
#: Takes the most bytes in HTML.
LONG = '"' * 1_000_000


def test_an_upload_with_failed_rows_of_a_megabyte_has_a_small_page_and_snapshot(served: Served) -> None:
    bad = [FailedRow(n, ["x", LONG], [Reason("b", "is wrong", LONG)]) for n in range(1, 31)]
    upload = served.records.advance(served.records.processing(rows=100), 1, bad)
    html = served.page(f"/uploads/{upload.id}")
    with served.stream(f"/uploads/{upload.id}/events") as stream:
        snapshot = stream.next().data

    assert len(html.encode()) < PAGE_BYTES
    assert len(snapshot.encode()) < PAGE_BYTES
    for text in (html, snapshot):
        assert f"{'&#34;' * 200}…" in text
        assert "&#34;" * 201 not in text
        assert links(text).count(f"/uploads/{upload.id}/failed-rows/1?column=b") == 1


@ONE_DATABASE
def test_an_upload_with_everything_as_long_as_it_gets_has_a_small_page_and_snapshot(served: Served) -> None:
    names = [f"{n}{'x' * 50}" for n in range(1500)]
    reasons = [Reason(name, f"matches {LONG[:2_000]}", LONG[:500]) for name in names[:30]]
    bad = [FailedRow(n, [LONG[:300]] * 1500, reasons) for n in range(1, 21)]
    upload = served.records.advance(served.records.processing(rows=100, header=names), 1, bad)
    upload = served.records.fail(upload, LONG)
    with served.records.database.transaction() as connection:
        connection.execute(sa.update(uploads_table).values(notes=[LONG[:9_999]] * 1500))
    html = served.page(f"/uploads/{upload.id}")
    with served.stream(f"/uploads/{upload.id}/events") as stream:
        snapshot = stream.next().data

    assert 300_000 < len(html.encode()) < PAGE_BYTES
    assert 300_000 < len(snapshot.encode()) < PAGE_BYTES


@ONE_DATABASE
def test_a_history_of_uploads_with_long_texts_is_small(served: Served) -> None:
    for _ in range(PAGE_SIZE + 1):
        upload = served.records.processing('"' * 195 + ".csv", header=["x" * 60] * 1500)
        served.records.fail(upload, LONG)
    html = served.page("/uploads")
    with served.stream("/uploads/events") as stream:
        snapshot = stream.next().data

    assert len(html.encode()) < PAGE_BYTES / 4
    assert len(snapshot.encode()) < PAGE_BYTES / 4


@ONE_DATABASE
def test_the_form_proposes_a_bounded_number_of_datasets(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "NAMES_PROPOSED", 2)
    for name in "abc":
        served.records.declare(name, {"name": "id"})

    assert re.findall(r'<option value="([abc])">', served.page("/uploads")) == ["a", "b"]


@ONE_DATABASE
def test_large_pages_are_rendered_outside_of_the_event_loop(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [FailedRow(n, [LONG[:300]] * 9, [Reason("b", "is wrong")]) for n in range(1, 31)]
    small = served.records.advance(served.records.processing(), 1, [FailedRow(1, ["x"], [Reason("a", "is wrong")])])
    large = served.records.advance(served.records.processing(), 1, bad)
    served.records.dataset("sales", [(1, "one", True)])
    threads: dict[str, set[str]] = {}
    render = Templates.render

    def noting(templates: Templates, template: str, context: Any) -> str:
        threads.setdefault(path, set()).add(threading.current_thread().name)
        return render(templates, template, context)

    monkeypatch.setattr(Templates, "render", noting)
    for path in (f"/uploads/{small.id}", f"/uploads/{large.id}", "/datasets/sales"):
        served.page(path)
    for path in (f"/uploads/{small.id}/events", f"/uploads/{large.id}/events"):
        with served.stream(path) as stream:
            stream.next()

    assert threads[f"/uploads/{small.id}"] == threads[f"/uploads/{small.id}/events"] == {"uvicorn"}
    for path in (f"/uploads/{large.id}", f"/uploads/{large.id}/events", "/datasets/sales"):
        assert "uvicorn" not in threads[path], path


# What many readers share, and what none waits for


@ONE_DATABASE
def test_a_reader_who_asks_for_page_after_page_waits_for_no_interval(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval between two reads of a snapshot, which many streams share, is longer than the test."""
    monkeypatch.setattr(snapshots, "MIN_INTERVAL", 3600.0)
    with Served(settings) as served:
        upload = served.records.processing()
        for _ in range(5):
            for path in ("/uploads", f"/uploads/{upload.id}", f"/api/v1/uploads/{upload.id}"):
                assert served.client.get(path).status_code == 200


def test_the_stream_of_a_page_announces_an_end_that_the_page_does_not_show_and_no_other(served: Served) -> None:
    failed, running = served.records.fail(served.records.processing()), served.records.processing()
    addresses = {upload.id: events_url(served.page(f"/uploads/{upload.id}")) for upload in (failed, running)}
    running = served.records.fail(running)

    with served.stream(addresses[running.id]) as listener:
        assert listener.next().data.count(toast_of(running)) == 1
    with served.stream(addresses[failed.id]) as listener:
        assert toast_of(failed) not in listener.next().data


def events_url(html: str) -> str:
    """The address of a page's stream."""
    [found] = re.findall(r'hx-sse:connect="([^"]+)"', html)
    return unescape(str(found))
