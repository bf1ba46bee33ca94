"""What a person chooses on the page of a held upload."""

import re
from typing import Any

import httpx
import pytest

from jobs import review, uploads
from jobs.uploads import HoldCode, Status, Task, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, claim_of

SCRIPT = {"HX-Request": "true"}
COLUMNS = ("id", "Column X", "Column Y")
FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer"},
    {"name": "email", "constraints": {"required": True}},
    {"name": "remark", "type": "string"},
]


def held(served: Served, *, dataset: str | None = "people", mapping: dict[str, str | None] | None = None) -> Upload:
    """An upload that a worker has looked at. Into a dataset, only its first column is certain."""
    records = served.records
    mapping = {"id": "id", "Column X": None, "Column Y": None} if mapping is None and dataset else mapping
    fields = [{"name": name, "type": "string", "required": False, "column": name} for name in COLUMNS]
    reading: dict[str, Any] = {
        "options": {"encoding": "utf-8", "delimiter": ",", "header_row": 1, "sheet": None},
        "columns": [
            {"name": name, "samples": ["<b>"], "filled": 1.0, "field": (mapping or {}).get(name), "matched_by": None}
            for name in COLUMNS
        ],
        "fields": [] if dataset else fields,
        "rows": [["1", "<b>", ""]],
    }
    if dataset is None:
        reading["columns"] = [each | {"field": each["name"]} for each in reading["columns"]]
    claimed = records.claim(records.pending(dataset=dataset))
    claim = claim_of(claimed)
    upload = records.tell(
        lambda connection: uploads.hold_for_review(
            connection,
            claim,
            [uploads.hold_of(HoldCode.COLUMNS, "No column is certain to be “email”.")],
            header=list(COLUMNS),
            mapping=mapping,
            notes=["Read as UTF-8."],
            warnings=[],
        )
    )
    with records.database.transaction() as connection:
        review.record(connection, upload.id, reading, None)
    return upload


@pytest.fixture
def people(served: Served) -> None:
    served.records.declare("people", *FIELDS)


def choose(served: Served, upload: Upload, headers: dict[str, str] | None = None, **chosen: str) -> httpx.Response:
    """Send the form of the columns. chosen: x, y: the fields of the last two columns, of which none has one."""
    present = served.records.get(upload).mapping or {}
    fields = {"id": present["id"], "Column X": chosen.get("x"), "Column Y": chosen.get("y")}
    form = {
        "column": list(fields),
        "was": [present[name] or "" for name in fields],
        "field": [field if field is not None else present[name] or "" for name, field in fields.items()],
    }
    path = f"/uploads/{upload.id}/review/mapping"
    return served.client.post(path, data=form, headers=headers or {}, follow_redirects=False)


@pytest.mark.usefixtures("people")
def test_the_page_of_a_held_upload_has_three_parts_and_one_primary_button(served: Served) -> None:
    html = served.page(f"/uploads/{held(served).id}")

    assert re.findall(r"<h2 id=\"review-[a-z]+\">([^<]+)", html) == [
        "How it was read",
        "Columns to fields ",
        "What will happen",
    ]
    assert re.findall(r'class="button primary"[^>]*>([^<]+)', html) == ["Import"]
    assert "No column is certain to be “email”." in html
    assert "&lt;b&gt;" in html
    assert "/static/review.css" in html


@pytest.mark.usefixtures("people")
def test_a_choice_without_scripts_leads_back_to_the_page(served: Served) -> None:
    upload = held(served)
    answer = choose(served, upload, x="email")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/uploads/{upload.id}")
    assert served.records.get(upload).mapping == {"id": "id", "Column X": "email", "Column Y": None}


@pytest.mark.usefixtures("people")
def test_a_script_gets_the_part_that_changes(served: Served) -> None:
    upload = held(served)
    answer = choose(served, upload, SCRIPT, x="email")

    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert '<option value="email" selected>' in answer.text


@ONE_DATABASE
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(("headers", "status"), [({}, 422), (SCRIPT, 200)])
def test_a_field_of_another_column_is_refused_and_nothing_moves(
    served: Served, headers: dict[str, str], status: int
) -> None:
    upload = held(served)
    answer = choose(served, upload, headers, x="id")

    assert answer.status_code == status
    assert "would fill “id” from both “id” and “Column X”" in answer.text
    assert served.records.get(upload).mapping == {"id": "id", "Column X": None, "Column Y": None}


@ONE_DATABASE
@pytest.mark.usefixtures("people")
def test_what_is_not_complete_is_not_imported(served: Served) -> None:
    upload = held(served)
    answer = served.client.post(f"/uploads/{upload.id}/import")

    assert answer.status_code == 422
    assert "No column fills the field “email”." in answer.text
    assert served.records.get(upload).status is Status.HELD


@pytest.mark.usefixtures("people")
def test_an_import_remembers_its_columns_if_that_is_wanted(served: Served) -> None:
    upload = held(served, mapping={"id": "id", "Column X": "email", "Column Y": None})
    path = f"/uploads/{upload.id}/import"
    answer = served.client.post(path, data={"remember": "1"}, follow_redirects=False)

    assert answer.status_code == 303
    assert served.records.get(upload).status is Status.PENDING
    with served.records.database.reading() as connection:
        assert review.remembered(connection, "people", COLUMNS) == {"id": "id", "Column X": "email", "Column Y": None}


@ONE_DATABASE
@pytest.mark.usefixtures("people")
def test_refused_options_stay_beside_what_is_wrong(served: Served) -> None:
    upload = held(served)
    path = f"/uploads/{upload.id}/review/options"
    answer = served.client.post(path, data={"encoding": "utf-99", "header_row": "2"}, headers=SCRIPT)

    assert answer.status_code == 200
    assert 'value="utf-99"' in answer.text
    assert 'id="review-encoding-error"' in answer.text
    assert served.records.get(upload).status is Status.HELD


def test_the_fields_of_a_new_dataset_are_planned_and_checked(served: Served) -> None:
    upload = held(served, dataset=None)
    form = {
        "dataset": "Contacts",
        "column": list(COLUMNS),
        "name": ["id", "email", "remark"],
        "type": ["integer", "string", "string"],
        **{name: [""] * 3 for name in ("format", "minimum", "maximum", "pattern", "enum")},
        "key": ["id"],
    }
    answer = served.client.post(f"/uploads/{upload.id}/review/schema", data=form, headers=SCRIPT)
    planned = served.records.get(upload)

    assert answer.status_code == 200
    assert (planned.status, planned.task, planned.dataset_wanted) == (Status.PENDING, Task.CHECK, "contacts")
    assert planned.mapping == {"id": "id", "Column X": "email", "Column Y": "remark"}
    assert planned.schema_wanted is not None
    assert [each["type"] for each in planned.schema_wanted["fields"]] == ["integer", "string", "string"]
    assert planned.schema_wanted["primaryKey"] == ["id"]


@ONE_DATABASE
def test_fields_that_cannot_be_are_refused_in_words(served: Served) -> None:
    upload = held(served, dataset=None)
    plan = {"name": "x", "fields": [{"name": "a", "type": "integer", "column": "id", "constraints": {"minimum": "z"}}]}
    answer = served.client.put(f"/api/v1/uploads/{upload.id}/schema", json=plan)
    twice = served.client.put(
        f"/api/v1/uploads/{upload.id}/schema",
        json={"fields": [{"name": "a", "column": "id"}, {"name": "b", "column": "id"}]},
    )

    assert (answer.status_code, twice.status_code) == (422, 422)
    assert "minimum" in answer.json()["detail"]
    assert "fields[1].column is “id”, which fills another field already" in twice.json()["detail"]
    assert served.records.get(upload).schema_wanted is None


@ONE_DATABASE
@pytest.mark.usefixtures("people")
def test_the_history_finds_what_needs_review_and_counts_it(served: Served) -> None:
    upload = held(served)
    html = served.page("/uploads?status=held")

    assert re.findall(r'<tr id="upload-(\d+)"[^>]*data-status="held"', html) == [str(upload.id)]
    assert "Needs review" in html
    assert "No column is certain to be “email”." in html
