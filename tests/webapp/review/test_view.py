"""A review as the page of a held upload shows it."""

from copy import deepcopy
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from jobs.uploads import Status, Task, Upload
from tests.webapp.views.test_upload import IDLE, PENDING, page_of
from webapp.review.view import COLUMNS_SHOWN, FIELDS_OFFERED, ReviewView
from webapp.templating import Templates
from webapp.views.upload import UploadView


def column(
    name: str, samples: list[str], filled: float, field: str | None, matched_by: str | None, score: float | None
) -> dict[str, Any]:
    return {
        "name": name, "samples": samples, "filled": filled, "field": field, "matched_by": matched_by, "score": score,
    }  # fmt: skip


def field(name: str, type: str = "string", required: bool = False) -> dict[str, Any]:  # noqa: A002  # as in the schema
    return {"name": name, "type": type, "required": required, "column": None}


HELD = replace(PENDING, status=Status.HELD, hold=[{"code": "review", "detail": "Look at it."}])
INTO_CUSTOMERS = replace(HELD, dataset="customers")
REVIEW: dict[str, Any] = {
    "options": {"encoding": "cp1252", "delimiter": ";", "header_row": 1, "sheet": None},
    "columns": [
        column("Customer ID", ["2000", "2001"], 1.0, "customer_id", "name", 1.0),
        column("Full name", ["Zoë Ng", ""], 0.98, "name", "similar", 0.972),
        column("Notes", ["<b>"], 0.001, None, None, None),
    ],
    "fields": [field("customer_id", "integer", True), field("name"), field("email", required=True), field("amount")],
    "rows": [["2000", "Zoë Ng", "<b>"]],
    "check": {
        "rows": 300,
        "would_insert": 280,
        "would_update": 10,
        "unchanged": 5,
        "superseded": 2,
        "would_fail": 3,
        "reasons": [{"column": "email", "rule": "is required", "rows": 3}],
        "updates": [{"key": {"customer_id": 7}, "before": {"name": "Ana"}, "after": {"name": "Anna"}}],
    },
}


def review_of(upload: Upload = INTO_CUSTOMERS, **changed: Any) -> ReviewView:
    return ReviewView(upload, {**deepcopy(REVIEW), **changed})


def shown(review: ReviewView, upload: Upload = INTO_CUSTOMERS) -> str:
    return Templates().render("_upload_progress.html", page_of(UploadView(upload, IDLE)) | {"review": review})


def test_each_column_says_its_field_and_why() -> None:
    found = [(each.name, each.field, each.filled, each.why) for each in review_of().columns]

    assert found == [
        ("Customer ID", "customer_id", "100 %", "same name"),
        ("Full name", "name", "98 %", "similar name, 97\u00a0% sure"),
        ("Notes", "", "< 1 %", ""),
    ]


def test_a_guess_is_never_said_to_be_certain() -> None:
    alike = review_of(columns=[column("Geburtstag", ["1990-01-31"], 1.0, "name", "similar", 1.0)])

    assert [each.why for each in alike.columns] == ["similar name, 99\u00a0% sure"]


def test_a_choice_never_takes_a_field_from_another_column() -> None:
    full_name = review_of().columns[1]

    assert [each.value for each in full_name.choices] == ["", "name", "email", "amount"]
    assert [each.value for each in full_name.choices if each.is_chosen] == ["name"]


def test_required_fields_without_a_column_are_said_before_the_import() -> None:
    html = shown(review_of())

    assert review_of().required == ["email"]
    assert 'Required, but without a column: <b class="name">email</b>. Every row would fail.' in html


def test_the_check_says_what_will_happen() -> None:
    review = review_of()
    html = shown(review)

    assert review.import_label == "Import 297 rows"
    assert "The whole file was checked: 300 rows." in html
    assert '<b class="name">email</b> is required' in html
    assert "<del>Ana</del> → <ins>Anna</ins>" in html


def test_a_review_that_was_not_checked_offers_the_check() -> None:
    review = review_of(check=None)

    assert review.import_label == "Import"
    assert "Check all rows" in shown(review)


def test_while_a_worker_looks_again_the_forms_stay_and_nothing_can_be_imported() -> None:
    upload = replace(INTO_CUSTOMERS, status=Status.PROCESSING, task=Task.CHECK, attempt=1)
    html = shown(ReviewView(upload, REVIEW), upload)

    assert 'id="column-1"' in html
    assert "Reading the file" in html
    assert '<button id="upload-import" class="button primary" type="submit" disabled>' in html
    assert "The whole file was checked" not in html


def test_what_the_file_says_is_text() -> None:
    html = shown(review_of())

    assert "&lt;b&gt;" in html
    assert "<b>" not in html.replace("<b>customer_id 7</b>", "")


def test_a_file_of_many_columns_is_reviewed_page_by_page() -> None:
    many = [column(f"c{number}", [], 1.0, None, None, None) for number in range(1, 121)]
    first = review_of(columns=many, fields=[])
    last = ReviewView(INTO_CUSTOMERS, {**REVIEW, "columns": many, "fields": []}, first_column=2 * COLUMNS_SHOWN + 1)

    assert [each.name for each in first.columns] == [f"c{number}" for number in range(1, COLUMNS_SHOWN + 1)]
    assert first.next_columns_url == f"/uploads/7?columns={COLUMNS_SHOWN + 1}#review"
    assert [each.id for each in last.columns] == [f"column-{number}" for number in range(101, 121)]
    assert last.next_columns_url is None
    assert last.action("mapping") == "/uploads/7/review/mapping?columns=101"


def test_the_page_of_the_widest_review_is_bounded() -> None:
    many = [column(f"{'<' * 250}{n}", ["<" * 300] * 9, 0.5, None, None, None) for n in range(1500)]
    fields = [field(f"{'<' * 250}{n}") for n in range(1500)]
    review = review_of(columns=many, fields=fields, rows=[["<" * 999] * 1500] * 20)

    assert len(review.left) > FIELDS_OFFERED
    assert not review.columns[0].choices
    assert len(shown(review).encode()) < 2_500_000


def test_the_fields_of_a_new_dataset_can_be_changed() -> None:
    fields = [
        {**field("customer_id", "integer"), "constraints": {"required": True, "minimum": 1}},
        {**field("name"), "constraints": {"enum": ["a", "b"]}},
        {**field("notes", "date"), "format": "%d.%m.%Y"},
    ]
    columns = [
        {**each, "field": name} for each, name in zip(REVIEW["columns"], ("customer_id", "name", "notes"), strict=True)
    ]
    check = {**REVIEW["check"], "reasons": [{"column": "notes", "rule": "is not a date", "rows": 3, "values": ["x"]}]}
    review = review_of(HELD, columns=columns, fields=fields, primary_key=["customer_id"], check=check)
    html = shown(review, HELD)
    first, second, third = review.fields

    assert (first.required, first.is_key, first.minimum, first.would_fail) == (True, True, "1", 0)
    assert second.enum == "a, b"
    assert (third.format, third.takes_format, third.would_fail) == ("%d.%m.%Y", True, 3)
    assert "is not a date: x" in unescape(html)
    assert "Import everything as text" in html


@pytest.mark.parametrize("part", ["options", "mapping"])
def test_each_choice_is_sent_at_once_and_a_button_sends_it_without_scripts(part: str) -> None:
    html = shown(review_of())
    [form] = [each for each in html.split("<form")[1:] if f'action="/uploads/7/review/{part}"' in each]

    assert f'hx-post="/uploads/7/review/{part}" hx-trigger="change, submit"' in form
    assert "<noscript><button" in form
