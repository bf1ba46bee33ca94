"""One action on several uploads, by the form of the history and by the API."""

import re
from html import unescape
from typing import Any

import httpx
import pytest

from jobs.uploads import Status, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.queueing import rung_for
from tests.support.serving import Served
from webapp.routes.batch import MAX_UPLOADS, NOTHING_SELECTED, Summary


def by_form(served: Served, action: str, *uploads: Upload, **query: str) -> str:
    """Send the form as a browser does without JavaScript. Returns what the page then says."""
    answer = served.client.post(
        "/uploads/batch", params=query, data={"action": action, "id": [str(each.id) for each in uploads]}
    )

    assert answer.status_code == 303

    html = served.page(answer.headers["location"])
    [said] = re.findall(r'<p class="notice said" role="status">(.*?)</p>', html)
    return unescape(said)


def by_api(served: Served, action: str, *ids: int) -> httpx.Response:
    return served.client.post("/api/v1/uploads/batch", json={"action": action, "ids": list(ids)})


def statuses(served: Served, *uploads: Upload) -> list[str]:
    return [served.records.get(each).status for each in uploads]


def held(served: Served) -> Upload:
    """An upload that waits because its file was imported before."""
    served.post("a,b\n1,2\n", "first.csv")
    [upload, *_] = served.records.all()
    served.records.complete(served.records.advance(served.records.claim(upload)))
    answer = served.post("a,b\n1,2\n", "again.csv", duplicates="hold")

    assert answer.json()["status"] == "held"
    return served.records.all()[0]


def test_all_selected_uploads_are_cancelled(served: Served) -> None:
    chosen = [served.records.processing("a.csv"), served.records.pending("b.csv"), served.records.completed("c.csv")]
    other = served.records.pending("d.csv")

    assert by_form(served, "cancel", *chosen) == "2 uploads cancelled, 1 had ended already."
    assert statuses(served, *chosen, other) == ["cancelled", "cancelled", "completed", "pending"]


def test_all_selected_uploads_are_retried_and_wait_for_workers(served: Served) -> None:
    records = served.records
    chosen = [records.fail(records.processing("a.csv")), records.cancel(records.pending("b.csv")), records.pending()]

    assert by_form(served, "retry", *chosen) == "2 uploads started again, 1 neither failed nor cancelled."
    assert statuses(served, *chosen) == ["pending"] * 3
    assert {chosen[0].id, chosen[1].id} <= set(rung_for(served.settings))


def test_a_duplicate_that_is_held_is_not_retried_with_others(served: Served) -> None:
    duplicate, failed = held(served), served.records.fail(served.records.processing("x.csv"))

    said = by_form(served, "retry", duplicate, failed)

    assert said == "1 upload started again, 1 held: review it on its own page."
    assert statuses(served, duplicate, failed) == ["held", "pending"]
    assert served.client.post(f"/uploads/{duplicate.id}/retry").status_code == 303


@ONE_DATABASE
def test_the_form_returns_to_the_filters_of_its_page(served: Served) -> None:
    upload = served.records.pending("june.csv")
    answer = served.client.post("/uploads/batch?q=june&since=7d&cursor=9", data={"action": "cancel", "id": upload.id})
    [address] = re.findall(r'id="batch"[^>]* action="([^"]*)"', served.page("/uploads", q="june", since="7d"))

    assert answer.headers["location"] == "/uploads?q=june&since=7d&cursor=9&said=cancel-1-0-0-0-0-0"
    assert unescape(address) == "/uploads/batch?q=june&since=7d"


@ONE_DATABASE
def test_the_form_with_javascript_receives_what_the_page_says(served: Served) -> None:
    upload = served.records.pending()
    answer = served.client.post(
        "/uploads/batch", data={"action": "cancel", "id": upload.id}, headers={"Accept": "application/json"}
    )

    assert (answer.status_code, answer.json()) == (200, {"detail": "1 upload cancelled."})


@ONE_DATABASE
def test_a_form_without_a_selected_upload_says_so(served: Served) -> None:
    served.records.pending()

    assert by_form(served, "cancel") == "No upload is selected."


@pytest.mark.parametrize(
    "content",
    [b"action=delete&id=1", b"id=1", b"action=cancel&id=x", b"action=cancel&id=0", b"action=cancel&id=1\xff",
     b"action=cancel" + b"&id=1" * (MAX_UPLOADS + 1), b"action=cancel&id=99999999999999999999"],
)  # fmt: skip
@ONE_DATABASE
def test_another_form_is_rejected(served: Served, content: bytes) -> None:
    served.records.pending()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = served.client.post("/uploads/batch", content=content, headers=headers)

    assert answer.status_code == 422
    assert "Invalid request body" in answer.text
    assert served.records.all()[0].status == "pending"


@ONE_DATABASE
def test_a_made_up_result_is_not_shown(served: Served) -> None:
    for said in ("", "cancel", "cancel-1", "cancel-1-0-0-0-0-x", "delete-1-0-0-0-0-0", "cancel-9999-0-0-0-0-0"):
        assert "notice said" not in served.page("/uploads", said=said)


# The API


def test_the_api_says_what_became_of_each_upload(served: Served) -> None:
    first, second = served.records.processing(), served.records.completed()
    answer = by_api(served, "cancel", second.id, first.id, 999, first.id)
    found = answer.json()

    assert answer.status_code == 200
    assert found["detail"] == "1 upload cancelled, 1 had ended already, 1 not found."
    assert [(each["id"], each["status"]) for each in found["results"]] == [
        (second.id, 409),
        (first.id, 200),
        (999, 404),
    ]
    assert found["results"][0]["title"] == "Not possible in this state"
    assert found["results"][0]["detail"] == f"Upload #{second.id} is completed, so it cannot be cancelled."
    assert found["results"][1]["upload"]["status"] == "cancelled"
    assert found["results"][1]["upload"]["seq"] == served.records.get(first).seq


@ONE_DATABASE
def test_the_api_holds_duplicates(served: Served) -> None:
    duplicate = held(served)
    [result] = by_api(served, "retry", duplicate.id).json()["results"]

    assert (result["status"], result["title"]) == (409, "Not possible in this state")
    assert result["detail"] == f"Upload #{duplicate.id} waits for a person. Review it alone to import it."


@pytest.mark.parametrize(
    "body",
    [
        {"action": "delete", "ids": [1]},
        {"action": "cancel"},
        {"action": "cancel", "ids": []},
        {"action": "cancel", "ids": ["1"]},
        {"action": "cancel", "ids": [0]},
        {"action": "cancel", "ids": [2**63]},
        {"action": "cancel", "ids": [1] * (MAX_UPLOADS + 1)},
        {"action": "cancel", "ids": [1], "because": "I want to"},
        [1],
    ],
)
def test_the_api_rejects_another_body(standing: Served, body: Any) -> None:
    answer = standing.client.post("/api/v1/uploads/batch", json=body)

    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid request body")


@ONE_DATABASE
def test_a_retry_of_the_batch_is_a_new_attempt(served: Served) -> None:
    upload = served.records.fail(served.records.processing())
    by_api(served, "retry", upload.id)

    assert served.records.get(upload).status == Status.PENDING
    assert served.records.claim(upload).attempt == upload.attempt + 1


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((3, 0, 0, 0, 0, 0), "3 uploads cancelled."),
        ((1, 2, 0, 1, 0, 0), "1 upload cancelled, 2 had ended already, 1 not found."),
        ((0, 2, 0, 0, 0, 0), "Nothing was cancelled, 2 had ended already."),
        ((0, 0, 0, 0, 2, 0), "Nothing was cancelled, 2 not allowed."),
        ((0, 0, 0, 0, 0, 4), "Nothing was cancelled, 4 not possible now, try again."),
        ((0, 0, 0, 0, 0, 0), "No upload is selected."),
    ],
)
def test_a_summary_is_a_sentence_and_survives_an_address(counts: tuple[int, ...], sentence: str) -> None:
    summary = Summary("cancel", counts)

    assert summary.sentence == sentence
    assert Summary.parse(str(summary)) == summary
    assert Summary.parse(str(NOTHING_SELECTED)) == NOTHING_SELECTED
