"""The review of a held upload, through the API and the page, with a real worker."""

import gzip
from typing import Any

import pytest

from jobs import datasets
from jobs.datasets import Mode
from jobs.schema import TableSchema
from jobs.uploads import Status, Upload
from tests.support.serving import Served, Worker
from tests.support.waiting import until

PEOPLE = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "email", "type": "string"}],
    "primaryKey": "id",
}
ID = {"name": "id", "type": "integer", "column": "id"}
CONTENT = "id,e-mail adress\n1,ann@example.org\n2,bob@example.org\n"


@pytest.fixture
def held(served: Served) -> Upload:
    """An upload whose second column nobody is certain of."""
    schema = TableSchema.parse(PEOPLE)
    with served.records.database.transaction() as connection:
        datasets.declare(connection, "people", schema, Mode.UPSERT)
    with Worker(served.settings):
        served.post(CONTENT, "people.csv", dataset="people", review="auto")
        return ended(served, Status.HELD)


def ended(served: Served, status: Status) -> Upload:
    until(lambda: served.records.all()[0].status is status, f"the upload to be {status}")
    return served.records.all()[0]


def api(served: Served, upload: Upload, what: str = "", method: str = "GET", **options: Any) -> Any:
    return served.client.request(method, f"/api/v1/uploads/{upload.id}{what}", **options)


def test_a_held_upload_is_mapped_checked_and_imported(served: Served, held: Upload) -> None:
    listed = served.client.get("/api/v1/uploads?status=held").json()["items"]
    before = api(served, held, "/review").json()
    mapped = api(served, held, "/mapping", "PUT", json={"columns": {"e-mail adress": "email"}, "remember": True}).json()
    with Worker(served.settings):
        asked = api(served, held, "/check", "POST")
        until(lambda: api(served, held, "/review").json()["check"], "the check to be made")
        checked = api(served, held, "/review").json()
        answer = api(served, held, "/import", "POST")
        done = ended(served, Status.COMPLETED)

    assert [each["id"] for each in listed] == [held.id]
    assert [each["name"] for each in before["columns"]] == ["id", "e-mail adress"]
    assert mapped["columns"][1]["field"] == "email"
    assert mapped["fields"][1] == {"name": "email", "type": "string", "required": False, "column": "e-mail adress"}
    assert (asked.status_code, asked.json()["status"], asked.json()["phase"]) == (202, "pending", "check")
    figures = {name: count for name, count in checked["check"].items() if isinstance(count, int) and count}
    assert figures == {"rows": 2, "would_insert": 2}
    assert (answer.status_code, answer.json()["phase"]) == (200, "import")
    assert (done.rows_success, done.warnings) == (2, [])


def test_a_file_is_read_with_other_options_while_it_is_held(served: Served, held: Upload) -> None:
    with Worker(served.settings):
        answer = api(served, held, "/options", "PUT", json={"header_row": 0})
        until(lambda: served.records.all()[0].header == ["id", "email"], "the file to be read anew")
        seen = api(served, held, "/review").json()
    refused = api(served, held, "/options", "PUT", json={"delimiter": "x"})

    assert answer.status_code in (200, 202)
    assert (seen["options"]["header_row"], seen["rows"][0]) == (0, ["id", "e-mail adress"])
    assert refused.status_code == 422


def test_only_a_held_upload_is_reviewed(served: Served) -> None:
    upload = served.records.completed()
    for what, method, body in (
        ("/import", "POST", None),
        ("/check", "POST", None),
        ("/options", "PUT", {}),
        ("/mapping", "PUT", {"columns": {"id": None}}),
        ("/schema", "PUT", {"fields": [ID]}),
    ):
        answer = api(served, upload, what, method, json=body)

        assert (answer.status_code, answer.json()["title"]) == (409, "Not possible in this state"), what
    empty = api(served, upload, "/review").json()
    assert (empty["columns"], empty["rows"], empty["check"]) == ([], [], None)


@pytest.mark.parametrize("columns", [{"id": "email"}, {"absent": "email"}, {"id": "absent"}])
def test_a_mapping_that_is_not_possible_changes_nothing(served: Served, held: Upload, columns: dict[str, str]) -> None:
    wanted = {"e-mail adress": "email", **columns}
    answer = api(served, held, "/mapping", "PUT", json={"columns": wanted})

    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid mapping")
    assert served.records.all()[0].mapping == held.mapping


@pytest.mark.parametrize("chosen", [7, [], {}, {"field": "email"}, {"field": {"name": "mail"}, "more": 1}])
def test_what_is_chosen_for_a_column_is_a_name_null_or_a_new_field(served: Served, held: Upload, chosen: Any) -> None:
    answer = api(served, held, "/mapping", "PUT", json={"columns": {"id": chosen}})

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["columns.id"]


def test_the_page_of_a_held_upload_says_why_and_imports_it(served: Served, held: Upload) -> None:
    html = served.page(f"/uploads/{held.id}")

    assert "Needs review" in html
    assert held.hold[0]["detail"] in html
    with Worker(served.settings):
        answer = served.client.post(f"/uploads/{held.id}/import")
        done = ended(served, Status.COMPLETED)
    assert answer.headers["location"] == f"/uploads/{held.id}"
    assert done.is_approved


def test_a_retry_imports_no_file_that_waits_for_a_review(served: Served, held: Upload) -> None:
    answers = [api(served, held, "/retry", "POST"), api(served, held, "/retry", "POST", json={"delimiter": ";"})]

    assert [each.status_code for each in answers] == [409, 409]
    assert answers[0].json()["detail"] == f"Upload #{held.id} is held, so it cannot be retried."
    assert served.records.get(held).status is Status.HELD


def test_the_stream_of_one_upload_ends_when_it_is_held(served: Served, held: Upload) -> None:
    with served.stream(f"/api/v1/uploads/{held.id}/events") as stream:
        *_, last = stream.rest()

    assert (last.json()["status"], last.json()["hold"]) == ("held", held.hold)


def test_what_rows_do_with_those_that_exist_is_chosen_for_each_upload(served: Served) -> None:
    api_of = served.client.request
    declared = {"name": "stock", "schema": {**PEOPLE, "fields": PEOPLE["fields"]}}
    made = api_of("POST", "/api/v1/datasets", json=declared).json()
    refused = [
        served.post("id,email\n1,a\n", "stock.csv", dataset="stock", mode="merge"),
        served.post("id,email\n1,a\n", "stock.csv", dataset="nothing", mode="upsert"),
    ]
    with Worker(served.settings):
        first = served.post("id,email\n1,a\n2,b\n", "stock.csv", dataset="stock").json()
        ended(served, Status.COMPLETED)
        served.post("id,email\n2,x\n3,c\n", "new.csv", dataset="stock", mode="only_new", review="always")
        held = ended(served, Status.HELD)
        seen = api(served, held, "/review").json()
        with_other = api(served, held, "/options", "PUT", json={"mode": "replace"})
        until(lambda: (api(served, held, "/review").json()["check"] or {}).get("mode") == "replace", "another check")
        checked = api(served, held, "/review").json()
        part = served.client.get(f"/uploads/{held.id}").text
        wrong = api(served, held, "/options", "PUT", json={"mode": "merge"})
        api(served, held, "/import", "POST")
        done = ended(served, Status.COMPLETED)
    page = served.client.get(f"/uploads/{held.id}").text
    api_of("PATCH", "/api/v1/datasets/stock", json={"modes": ["insert", "only_new"]})
    limited = api_of("GET", "/api/v1/datasets/stock").json()["modes"]
    not_allowed = served.post("id,email\n9,a\n", "stock.csv", dataset="stock", mode="replace")
    impossible = [
        api_of("PATCH", "/api/v1/datasets/stock", json={"modes": modes}).status_code
        for modes in (["replace"], [], ["x"])
    ]

    assert made["modes"] == ["insert", "upsert", "only_new", "replace"]
    assert [each.status_code for each in refused] == [422, 422]
    assert "insert, upsert, only_new or replace" in refused[0].json()["detail"]
    assert first["mode"] == "insert"
    assert (seen["mode"], seen["modes"]) == ("only_new", made["modes"])
    assert (seen["check"]["would_insert"], seen["check"]["unchanged"]) == (1, 1)
    assert with_other.status_code in (200, 202)
    assert (checked["check"]["would_insert"], checked["check"]["would_remove"]) == (2, 2)
    assert 'value="replace" selected' in part
    assert "Replace all rows by 2" in part
    assert wrong.status_code == 422
    shown = api(served, done).json()
    assert (shown["mode"], shown["rows_added"], shown["rows_removed"]) == ("replace", 2, 2)
    assert "Replaced all rows of stock: 2 new, 2 removed." in page
    assert limited == ["insert", "only_new"]
    assert not_allowed.status_code == 422
    assert "must be insert or only_new, not replace" in not_allowed.json()["detail"]
    assert impossible == [422, 422, 422]


@pytest.mark.parametrize(
    ("plan", "path", "words"),
    [
        ({"fields": [ID, {"name": "mail"}]}, "fields[1].column", "is missing"),
        ({"fields": [ID, {"name": "mail", "column": "absent"}]}, "fields[1].column", "not a column of the file"),
        ({"fields": [ID, {**ID, "name": "again"}]}, "fields[1].column", "fills another field already"),
        ({"fields": [{**ID, "type": "money"}]}, "fields[0].type", "Input should be"),
        ({"fields": [ID], "primaryKey": "absent"}, "", "“absent”, which is not a field"),
    ],
)
def test_a_new_dataset_that_is_not_possible_is_refused_with_the_path(
    served: Served, plan: dict[str, Any], path: str, words: str
) -> None:
    with Worker(served.settings):
        served.post(CONTENT, "people.csv", review="always")
        upload = ended(served, Status.HELD)
    before = api(served, upload, "/review").json()
    answer = api(served, upload, "/schema", "PUT", json=plan)

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == [path]
    assert words in answer.json()["errors"][0]["detail"]
    assert api(served, upload, "/review").json() == before


def test_the_key_of_a_new_dataset_may_be_named_without_a_list(served: Served) -> None:
    with Worker(served.settings):
        served.post(CONTENT, "people.csv", review="always")
        upload = ended(served, Status.HELD)
        api(served, upload, "/schema", "PUT", json={"name": "people", "fields": [ID], "primaryKey": "id"})
        ended(served, Status.HELD)
        api(served, upload, "/import", "POST")
        ended(served, Status.COMPLETED)
    url = "/api/v1/datasets/people"
    changed = served.client.request("PATCH", url, json={"primaryKey": []}).json()["schema"].get("primaryKey", [])
    back = served.client.request("PATCH", url, json={"primaryKey": "id"}).json()["schema"]["primaryKey"]

    assert (changed, back) == ([], ["id"])


def test_a_review_tells_which_fields_of_a_new_dataset_a_person_chose(served: Served) -> None:
    with Worker(served.settings):
        served.post("id,mail,born\n1,ann@example.org,1990-01-31\n", "people.csv", review="always")
        upload = ended(served, Status.HELD)
        chosen = [ID, {"name": "email", "column": "mail"}]
        api(served, upload, "/schema", "PUT", json={"fields": chosen})
        ended(served, Status.HELD)
    seen = api(served, upload, "/review").json()

    assert [(each["field"], each["matched_by"], each["score"]) for each in seen["columns"]] == [
        ("id", "name", 1.0),
        ("email", "remembered", 1.0),
        (None, "remembered", None),
    ]
    assert [(each["name"], each["type"]) for each in seen["fields"]] == [("id", "integer"), ("email", "string")]


def test_a_review_begins_for_a_duplicate_and_changes_its_dataset_its_options_and_its_fields(served: Served) -> None:
    declared = {"name": "people", "schema": PEOPLE, "mode": "upsert"}
    assert served.client.request("POST", "/api/v1/datasets", json=declared).status_code == 201
    with Worker(served.settings):
        served.post("id,email,Weight\n1,a@example.org,1.5\n", "people.csv")
        ended(served, Status.COMPLETED)
        again = served.post("id,email,Weight\n1,a@example.org,1.5\n", "people.csv", duplicates="hold").json()
        held = served.records.all()[0]
        before = served.page(f"/uploads/{held.id}")
        served.client.post(f"/uploads/{held.id}/review/options")
        until(lambda: api(served, held, "/review").json()["columns"], "a look at the file")
        looked = ended(served, Status.HELD)
        page = served.page(f"/uploads/{held.id}")
        served.client.post(f"/uploads/{held.id}/review/target", data={"dataset": "people"})
        until(lambda: (ended(served, Status.HELD)).dataset == "people", "the other dataset")
        moved = api(served, held, "/review").json()
        api(served, held, "/options", "PUT", json={"header_row": 50})
        until(lambda: api(served, held, "/review").json()["problem"], "that it cannot be read so")
        unread = served.page(f"/uploads/{held.id}")
        api(served, held, "/options", "PUT", json={"header_row": None})
        until(lambda: api(served, held, "/review").json()["columns"], "the file to be read again")
        field = {"name": "weight", "type": "number"}
        added = api(served, held, "/mapping", "PUT", json={"columns": {"Weight": {"field": field}}})
        api(served, held, "/import", "POST")
        ended(served, Status.COMPLETED)
    dataset = served.client.get("/api/v1/datasets/people").json()

    assert (again["status"], [each["code"] for each in again["hold"]]) == ("held", ["duplicate"])
    assert 'id="upload-look"' in before
    assert [each["code"] for each in looked.hold] == ["duplicate"]
    assert 'id="review-read"' in page
    assert '<option value="people">' in page
    assert [each["field"] for each in moved["columns"]] == ["id", "email", None]
    assert moved["columns"][2]["new_field"]["type"] == "number"
    assert 'id="review-header-error"' in unread
    assert 'id="review-columns"' not in unread
    assert added.status_code == 200
    assert added.json()["fields"][2] == {
        "name": "weight", "type": "number", "required": False, "column": "Weight", "is_new": True
    }  # fmt: skip
    assert [each["name"] for each in dataset["schema"]["fields"]] == ["id", "email", "weight"]
    assert dataset["rows"] == 1


def test_corrections_are_looked_at_if_somebody_asks_for_it_and_never_become_a_new_dataset(served: Served) -> None:
    schema = TableSchema.parse(PEOPLE)
    with served.records.database.transaction() as connection:
        datasets.declare(connection, "people", schema, Mode.INSERT)
    with Worker(served.settings):
        served.post("id,email\n1,a@example.org\nx,b@example.org\n", "people.csv", dataset="people")
        parent = ended(served, Status.COMPLETED)
        text = served.client.get(f"/uploads/{parent.id}/failed-rows.csv").text.replace("x,b@", "2,b@", 1)
        wrong = served.post(text, "failed-rows.csv", review="maybe")
        served.post(text, "failed-rows.csv", review="always")
        seen = ended(served, Status.HELD)
        archive = gzip.compress(text.encode())
        served.post(archive, "failed-rows.csv.gz", review="always")
        packed = ended(served, Status.HELD)
        plan = api(served, packed, "/schema", "PUT", json={"name": "other", "fields": [ID]})
        served.client.request("PATCH", "/api/v1/datasets/people", json={"review": "always"})
        served.post(text + "\n", "failed-rows.csv")
        by_dataset = ended(served, Status.HELD)
        elsewhere = api(served, packed, "/options", "PUT", json={"dataset": "other"})
        page = served.page(f"/uploads/{packed.id}")
        api(served, by_dataset, "/cancel", "POST")
        api(served, packed, "/import", "POST")
        until(lambda: api(served, packed).json()["status"] == "completed", "the import")
        done = served.records.get(packed)

    assert (wrong.status_code, wrong.json()["detail"]) == (422, "review must be never, auto or always.")
    for held in (seen, packed, by_dataset):
        assert (held.dataset, held.parent, held.phase) == ("people", parent.id, "check")
    assert (plan.status_code, elsewhere.status_code) == (422, 422)
    assert "Fields of the new dataset" not in page
    assert "Columns to fields" in page
    assert (done.rows_success, done.parent) == (1, parent.id)
