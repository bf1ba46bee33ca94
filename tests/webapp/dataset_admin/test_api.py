"""The API's changes of datasets: declare, settings, columns, delete."""

import csv
import io
from typing import Any

import httpx
import pytest

from jobs import datasets, review
from jobs.dataset_admin import retyping
from jobs.errors import DatasetChangedError
from jobs.people.audit import AuditQuery, page
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Worker
from tests.support.waiting import until

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": 'E%mail "x"', "constraints": {"unique": True}},
        {"name": "price", "type": "number"},
    ],
    "primaryKey": ["id"],
}
SALES = {"name": "Sales 2024", "title": "Our sales", "schema": SCHEMA}


def declared(served: Served, **more: Any) -> dict[str, Any]:
    answer = served.client.post("/api/v1/datasets", json={"name": "sales", "schema": SCHEMA, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def upload(served: Served, content: str, dataset: str = "sales", filename: str = "sales.csv") -> int:
    answer = served.client.post(
        "/api/v1/uploads", params={"filename": filename, "dataset": dataset}, content=content.encode()
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def imported(served: Served, content: str, dataset: str = "sales", filename: str = "sales.csv") -> dict[str, Any]:
    """An upload that a worker has imported."""
    upload_id = upload(served, content, dataset, filename)
    with Worker(served.settings):
        until(lambda: shown(served, upload_id)["status"] not in ("pending", "processing"), "the import to end")
    return shown(served, upload_id)


def shown(served: Served, upload_id: int) -> dict[str, Any]:
    found: dict[str, Any] = served.client.get(f"/api/v1/uploads/{upload_id}").json()
    return found


def rows(served: Served, dataset: str = "sales") -> list[list[str]]:
    answer = served.client.get(f"/api/v1/datasets/{dataset}/rows.csv")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text)))


def problem(answer: httpx.Response, status: int) -> list[str]:
    """The paths of what is wrong."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    return [each["path"] for each in answer.json().get("errors", [])]


def noted(served: Served) -> list[tuple[str, str]]:
    with served.records.database.reading() as connection:
        found = page(connection, AuditQuery(), limit=99)
    return [(each.action, each.object) for each in reversed(found) if each.action.startswith("dataset.")]


def test_a_declared_dataset_takes_files_at_once(served: Served) -> None:
    answer = served.client.post("/api/v1/datasets", json=SALES)

    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/datasets/sales_2024"
    assert answer.json() == served.client.get("/api/v1/datasets/sales_2024").json()
    assert (answer.json()["title"], answer.json()["mode"], answer.json()["rows"]) == ("Our sales", "insert", 0)
    assert imported(served, "id,price\n1,2.5\n", "sales_2024")["rows_success"] == 1
    assert noted(served) == [("dataset.add", "dataset sales_2024")]
    assert problem(served.client.post("/api/v1/datasets", json=SALES), 409) == []


@ONE_DATABASE
@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["name", "schema"]),
        ({**SALES, "more": 1}, ["more"]),
        ({**SALES, "mode": "replace"}, ["mode"]),
        ({**SALES, "name": "売上"}, ["name"]),
        ({**SALES, "name": ""}, ["name"]),
        ({**SALES, "schema": {}}, ["schema.fields"]),
        (
            {**SALES, "schema": {"fields": [{"name": "a", "type": "date", "format": "x"}, {"type": "money"}]}},
            ["schema.fields[0]", "schema.fields[1].name", "schema.fields[1].type"],
        ),
        ({**SALES, "mode": "upsert", "schema": {"fields": [{"name": "a"}]}}, ["schema.primaryKey"]),
    ],
    ids=str,
)
def test_what_cannot_be_a_dataset_is_refused_with_the_paths(served: Served, body: object, paths: list[str]) -> None:
    assert sorted(problem(served.client.post("/api/v1/datasets", json=body), 422)) == sorted(paths)
    assert served.client.get("/api/v1/datasets").json()["items"] == []


@ONE_DATABASE
@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_a_number_that_no_json_has_is_refused(served: Served, number: str) -> None:
    body = f'{{"name": "sales", "schema": {{"fields": [{{"name": "a", "unit": {number}}}]}}}}'

    assert problem(served.client.post("/api/v1/datasets", content=body), 422) == ["schema.fields[0].unit"]


@ONE_DATABASE
def test_title_and_mode_change(served: Served) -> None:
    declared(served, title="Before")
    client, url = served.client, "/api/v1/datasets/sales"

    assert client.patch(url, json={"title": "After", "mode": "upsert"}).json()["title"] == "After"
    assert client.get(url).json()["mode"] == "upsert"
    assert client.get("/api/v1/datasets?q=after").json()["items"][0]["name"] == "sales"
    assert client.patch(url, json={"title": None}).json()["title"] is None
    assert client.get(url).json()["mode"] == "upsert"
    assert problem(client.patch(url, json={"title": 1}), 422) == ["title"]
    assert problem(client.patch(url, json={"primaryKey": []}), 422) == ["primaryKey"]
    tried = client.patch(url, params={"dry_run": "1"}, json={"primaryKey": ["id", "price"]})
    assert tried.json() == {"rows": 0, "would_fail": 0, "values": []}
    assert client.patch(url, params={"dry_run": "1"}, json={"title": "x"}).status_code == 422
    assert problem(client.patch(f"{url}_2", json={"title": "x"}), 404) == []
    served.records.declare("stock", {"name": "a"})
    assert problem(client.patch("/api/v1/datasets/stock", json={"mode": "upsert"}), 422) == ["mode"]
    assert noted(served) == [("dataset.add", "dataset sales"), *[("dataset.change", "dataset sales")] * 2]


def test_another_key_is_chosen_if_the_rows_allow_it(served: Served) -> None:
    client, url, tried = served.client, "/api/v1/datasets/stock", {"dry_run": "1"}
    served.records.declare("stock", {"name": "id", "type": "integer"}, {"name": "price", "type": "number"})
    imported(served, "id,price\n1,2.5\n2,2.5\n3,\n4,1.5\n", "stock")

    unfit = client.patch(url, params=tried, json={"primaryKey": ["price"]}).json()
    assert unfit == {
        "rows": 4, "would_fail": 3, "values": [{"value": "", "rows": 1}, {"value": "2.5", "rows": 2}]
    }  # fmt: skip
    refused = client.patch(url, json={"primaryKey": ["price"]})
    assert (refused.status_code, refused.json()["would_fail"]) == (422, 3)
    assert client.patch(url, json={"primaryKey": ["weight"]}).status_code == 422
    assert client.patch(url, params=tried, json={"primaryKey": ["id"]}).json()["would_fail"] == 0
    found = client.patch(url, json={"primaryKey": ["id"], "mode": "upsert", "modes": ["insert", "upsert"]}).json()
    assert (found["schema"]["primaryKey"], found["mode"], found["modes"]) == (["id"], "upsert", ["insert", "upsert"])
    imported(served, "id,price\n4,9\n5,3\n", "stock")
    present = [["id", "price"], ["1", "2.5"], ["2", "2.5"], ["3", ""], ["4", "9"], ["5", "3"]]
    assert rows(served, "stock") == present
    assert problem(client.patch(url, json={"primaryKey": []}), 422) == ["primaryKey"]
    without = client.patch(url, json={"primaryKey": [], "mode": "insert"}).json()
    assert (without["modes"], "primaryKey" in without["schema"]) == (["insert"], False)
    assert client.patch(url, json={"title": "Our stock"}).status_code == 200
    assert sorted(rows(served, "stock")) == sorted(present)


def test_nothing_is_changed_while_uploads_wait_or_run(served: Served) -> None:
    declared(served)
    waiting = served.records.pending(dataset="sales")
    client, url = served.client, "/api/v1/datasets/sales"

    for answer in (
        client.delete(url, params={"confirm": "sales"}),
        client.patch(url, json={"mode": "upsert"}),
        client.post(f"{url}/fields", json={"name": "more"}),
        client.patch(f"{url}/fields/price", json={"name": "cost"}),
        client.delete(f"{url}/fields/price"),
    ):
        assert problem(answer, 409) == []
        assert f"#{waiting.id}" in answer.json()["detail"]
    assert client.patch(url, json={"title": "A title hurts nobody"}).status_code == 200
    served.records.cancel(waiting)
    assert client.delete(url, params={"confirm": "sales"}).status_code == 204


def test_a_deleted_dataset_leaves_nothing_to_a_later_one_of_the_same_name(served: Served) -> None:
    declared(served)
    client, url = served.client, "/api/v1/datasets/sales"
    content = "id,price\n1,2.5\nx,3\n"
    before = imported(served, content)
    cancelled = upload(served, "id\n7\n")
    client.post(f"/api/v1/uploads/{cancelled}/cancel")
    failed = client.get(f"/uploads/{before['id']}/failed-rows.csv").text

    assert problem(client.delete(url), 422) == ["confirm"]
    assert problem(client.delete(url, params={"confirm": "stock"}), 422) == ["confirm"]
    assert len(rows(served)) == 2
    assert client.delete(url, params={"confirm": "sales"}).status_code == 204
    for path in ("", "/rows", "/rows.csv"):
        assert problem(client.get(f"{url}{path}"), 404) == []
    assert client.get("/datasets/sales").status_code == 404

    after = declared(served)
    old = shown(served, before["id"])
    assert (after["rows"], after["last_upload"]) == (0, None)
    assert (old["dataset"], old["rows_success"], "dataset" in old["links"]) == ("sales (deleted)", 1, False)
    assert client.get("/api/v1/uploads", params={"dataset": "sales"}).json()["items"] == []
    page = client.get(f"/uploads/{before['id']}", headers={"Accept": "text/html"}).text
    assert "sales (deleted)" in page
    assert "/datasets/sales" not in page
    assert problem(client.post(f"/api/v1/uploads/{cancelled}/retry"), 409) == []
    corrected = {"filename": "corrected.csv"}
    answer = client.post("/api/v1/uploads", params=corrected, content=failed.replace("\nx,", "\n9,").encode())
    assert problem(answer, 422) == ["file"]
    assert "was deleted" in answer.json()["detail"]
    again = imported(served, content)
    assert (again["duplicate_of"], again["rows_success"]) == (None, 1)

    assert client.delete(url, params={"confirm": "sales"}).status_code == 204
    assert shown(served, again["id"])["dataset"] == "sales (deleted 2)"
    assert shown(served, before["id"])["dataset"] == "sales (deleted)"


def test_a_column_is_added_behind_the_rows_that_exist(served: Served) -> None:
    declared(served)
    imported(served, "id,price\n1,2.50\n2,3\n")
    client, url = served.client, "/api/v1/datasets/sales"

    answer = client.post(
        f"{url}/fields", json={"name": 'Größe %s "a"', "type": "date", "constraints": {"unique": True}}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["schema"]["fields"][3]["name"] == 'Größe %s "a"'
    assert client.post(f"{url}/fields", json={"name": "note", "title": "Notes"}).status_code == 201
    assert problem(client.post(f"{url}/fields", json={"name": "x", "constraints": {"required": True}}), 422) == [
        "constraints.required"
    ]
    assert problem(client.post(f"{url}/fields", json={"name": "x", "type": "money"}), 422) == ["type"]
    assert problem(client.post(f"{url}/fields", json={"name": "PRICE"}), 422) == [""]
    assert client.post(f"{url}/fields", json={"type": "date"}).json()["detail"] == "name: is missing"
    assert [row[:3] for row in rows(served)[1:]] == [["1", "", "2.5"], ["2", "", "3"]]
    found = imported(served, 'id,"Größe %s ""a""",note\n3,2026-01-31,new\n4,2026-01-31,twice\n')
    assert (found["rows_success"], found["rows_failed"]) == (1, 1)
    assert rows(served)[3] == ["3", "", "", "2026-01-31", "new"]
    assert client.get(url).json()["rows"] == 3


def test_a_renamed_column_keeps_its_values_and_takes_files_with_the_old_name(served: Served) -> None:
    declared(served)
    imported(served, 'id,"E%mail ""x""",price\n1,a@b.de,2.5\n')
    client, url = served.client, "/api/v1/datasets/sales"

    renamed = client.patch(f"{url}/fields/price", json={"name": "Cost %", "title": "What it costs"})
    assert renamed.status_code == 200, renamed.text
    assert renamed.json()["schema"]["fields"][2] == {
        "name": "Cost %", "type": "number", "title": "What it costs", "aliases": ["price"]
    }  # fmt: skip
    assert client.patch(f"{url}/fields/id", json={"name": "ID"}).json()["schema"]["primaryKey"] == ["ID"]
    assert client.patch(f"{url}/fields/E%25mail%20%22x%22", json={"name": "mail"}).status_code == 200
    found = imported(served, "id,price,mail\n2,4,c@d.de\n1,5,e@f.de\n3,6,a@b.de\n")
    assert (found["rows_success"], found["rows_failed"], found["warnings"]) == (1, 2, [])
    assert rows(served) == [["ID", "mail", "Cost %"], ["1", "a@b.de", "2.5"], ["2", "c@d.de", "4"]]
    assert problem(client.patch(f"{url}/fields/price", json={"name": "x"}), 404) == []
    assert problem(client.patch(f"{url}/fields/mail", json={"name": "id"}), 422) == [""]
    assert problem(client.patch(f"{url}/fields/mail", json={"name": 7}), 422) == ["name"]
    back = client.patch(f"{url}/fields/Cost%20%25", json={"name": "price"}).json()["schema"]["fields"][2]
    assert (back["name"], back["aliases"]) == ("price", ["Cost %"])


def test_anything_changes_while_there_are_no_rows(served: Served) -> None:
    declared(served)
    client, url = served.client, "/api/v1/datasets/sales"
    wanted = {"type": "date", "format": "%d.%m.%Y", "constraints": {"required": True, "unique": True}}

    assert client.patch(f"{url}/fields/price", json=wanted).status_code == 200
    assert client.patch(f"{url}/fields/id", json={"type": "string"}).status_code == 200
    assert problem(client.patch(f"{url}/fields/price", json={"decimalChar": ","}), 422) == [""]
    assert imported(served, "id,price\na,31.12.2026\nb,31.12.2026\nc,\n")["rows_success"] == 1
    assert rows(served)[1] == ["a", "", "31.12.2026"]
    assert problem(client.patch(f"{url}/fields/id", json={"type": "integer"}), 422) == ["type"]


def test_values_become_those_of_another_type(served: Served) -> None:
    texts = {"fields": [{"name": "id", "type": "integer"}, {"name": "sold %"}, {"name": "n", "type": "number"}]}
    declared(served, schema={**texts, "primaryKey": "id"})
    imported(served, "id,sold %,n\n1,31.12.2026,2\n2,,3\n3,1.2.2027,\n4,31.12.2026,2\n")
    client, url = served.client, "/api/v1/datasets/sales"
    for _ in range(12):  # on PostgreSQL connections prepare statements that they repeat
        assert client.get("/datasets/sales").status_code == client.get(f"{url}/rows").status_code == 200
    sold = f"{url}/fields/sold%20%25"

    as_date = {"type": "date", "format": "%d.%m.%Y", "name": "Sold"}
    assert client.patch(sold, params={"dry_run": 1}, json=as_date).json() == {
        "rows": 4, "would_fail": 0, "values": []
    }  # fmt: skip
    assert client.get(url).json()["schema"]["fields"][1] == {"name": "sold %"}
    assert client.patch(sold, json=as_date).status_code == 200
    assert client.patch(f"{url}/fields/n", json={"type": "integer"}).status_code == 200
    for _ in range(12):
        assert client.get("/datasets/sales").status_code == client.get(f"{url}/rows").status_code == 200
    assert [row[1:] for row in rows(served)] == [
        ["Sold", "n"], ["31.12.2026", "2"], ["", "3"], ["01.02.2027", ""], ["31.12.2026", "2"]
    ]  # fmt: skip
    assert client.get(f"{url}/rows?Sold__gte=2027-01-01").json()["items"][0]["cells"][0] == "3"
    again = imported(served, "id,sold %,n\n5,05.03.2027,7\n1,05.03.2027,7\n")
    assert (again["rows_success"], again["rows_failed"], client.get(url).json()["rows"]) == (1, 1, 5)
    assert client.patch(f"{url}/fields/Sold", json={"format": "%Y-%m-%d"}).status_code == 200
    assert rows(served)[3][1] == "2027-02-01"
    assert client.patch(f"{url}/fields/Sold", json={"type": "string", "format": None}).status_code == 200
    assert rows(served)[3][1] == "2027-02-01"


def test_what_does_not_fit_is_told_and_nothing_changes(served: Served) -> None:
    declared(served, schema={"fields": [{"name": "code"}, {"name": "mail", "constraints": {"unique": True}}]})
    imported(served, "code,mail\n1,a\n2,b\nx,c\nx,d\ny,e\n,f\n")
    client, url = served.client, "/api/v1/datasets/sales"
    before = client.get(url).json(), rows(served)

    as_number = {"type": "integer", "constraints": {"required": True}}
    fit = {
        "rows": 6,
        "would_fail": 4,
        "values": [{"value": "x", "rows": 2}, {"value": "", "rows": 1}, {"value": "y", "rows": 1}],
    }
    assert client.patch(f"{url}/fields/code", params={"dry_run": 1}, json=as_number).json() == fit
    refused = client.patch(f"{url}/fields/code", json=as_number)
    assert problem(refused, 422) == []
    assert {name: refused.json()[name] for name in fit} == fit
    unique = client.patch(f"{url}/fields/code", json={"constraints": {"unique": True}})
    assert (unique.status_code, unique.json()["would_fail"]) == (422, 1)
    required = {"name": "more", "constraints": {"required": True}}
    assert client.post(f"{url}/fields?dry_run=1", json=required).json()["would_fail"] == 6
    assert client.delete(f"{url}/fields/code?dry_run=1").json() == {"rows": 6, "would_fail": 0, "values": []}
    assert (client.get(url).json(), rows(served)) == before


@pytest.mark.parametrize("word", ["true", "yes", ""])
def test_a_trial_that_is_misspelt_changes_nothing(served: Served, word: str) -> None:
    declared(served)
    client, url = served.client, "/api/v1/datasets/sales"
    before = client.get(url).json()

    answers = [
        client.patch(f"{url}/fields/price", params={"dry_run": word}, json={"type": "string"}),
        client.post(f"{url}/fields", params={"dry_run": word}, json={"name": "note"}),
        client.delete(f"{url}/fields/price", params={"dry_run": word}),
        client.patch(url, params={"dry_run": word}, json={"primaryKey": []}),
    ]

    assert {(each.status_code, each.json()["detail"]) for each in answers} == {(422, "`dry_run` must be 1 or 0.")}
    assert client.get(url).json() == before


def test_constraints_of_a_column_with_rows(served: Served) -> None:
    declared(served, schema={"fields": [{"name": "code"}, {"name": "mail", "constraints": {"unique": True}}]})
    imported(served, "code,mail\n1,a\n2,b\n")
    client, url = served.client, "/api/v1/datasets/sales"

    limits = {"constraints": {"pattern": "[0-9]", "unique": True, "required": True}}
    assert client.patch(f"{url}/fields/code", json=limits).status_code == 200
    assert client.patch(f"{url}/fields/mail", json={"constraints": None}).status_code == 200
    found = imported(served, "code,mail\n3,a\n1,c\n,d\nx,e\n", filename="more.csv")
    assert (found["rows_success"], found["rows_failed"]) == (1, 3)
    assert rows(served) == [["code", "mail"], ["1", "a"], ["2", "b"], ["3", "a"]]
    assert client.delete(f"{url}/fields/code").status_code == 200
    assert rows(served) == [["mail"], ["a"], ["b"], ["a"]]


@pytest.mark.parametrize("seconds", [0.0])
def test_a_check_that_takes_too_long_changes_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    declared(served, schema={"fields": [{"name": "code"}]})
    imported(served, "code\n1\n")
    monkeypatch.setattr(retyping, "SECONDS", seconds)
    client, url = served.client, "/api/v1/datasets/sales"

    assert problem(client.patch(f"{url}/fields/code", json={"type": "integer"}), 422) == []
    assert client.get(url).json()["schema"]["fields"] == [{"name": "code"}]
    monkeypatch.undo()
    assert client.patch(f"{url}/fields/code", json={"type": "integer"}).status_code == 200


def test_a_column_is_dropped_with_its_values(served: Served) -> None:
    declared(served)
    imported(served, 'id,"E%mail ""x""",price\n1,a@b.de,2.5\n')
    client, url = served.client, "/api/v1/datasets/sales"

    assert problem(client.delete(f"{url}/fields/id"), 422) == ["name"]
    assert problem(client.delete(f"{url}/fields/none"), 404) == []
    assert client.delete(f"{url}/fields/E%25mail%20%22x%22").status_code == 200
    assert rows(served) == [["id", "price"], ["1", "2.5"]]
    assert client.delete(f"{url}/fields/price").status_code == 200
    assert imported(served, "id,price\n2,3\n1,4\n")["rows_failed"] == 1
    assert rows(served) == [["id"], ["1"], ["2"]]
    assert noted(served)[-1] == ("dataset.field_drop", "dataset sales")


def test_an_import_that_read_a_dataset_before_its_change_begins_again(served: Served) -> None:
    declared(served)
    database = served.records.database
    with database.reading() as connection:
        read = datasets.get(connection, "sales")
    served.client.patch("/api/v1/datasets/sales/fields/price", json={"name": "cost"})

    with database.transaction() as connection, pytest.raises(DatasetChangedError):
        datasets.keep(connection, read)
    with database.transaction() as connection:
        assert datasets.keep(connection, datasets.get(connection, "sales")).schema.names[2] == "cost"


def test_what_is_remembered_of_columns_is_listed_and_forgotten(served: Served) -> None:
    """A path may have any name of a column."""
    client = served.client
    declared(served)
    with served.records.database.transaction() as connection:
        review.remember_columns(connection, "sales", {"Unit price": "price", "a/b ": None})
    found = client.get("/api/v1/datasets/sales/mappings").json()["items"]

    assert [(each["column"], each["field"]) for each in found] == [("a/b", None), ("unitprice", "price")]
    assert client.delete("/api/v1/datasets/sales/mappings/Unit Price").status_code == 204
    assert client.delete("/api/v1/datasets/sales/mappings/unitprice").status_code == 404
    assert client.delete("/api/v1/datasets/sales/mappings/a/b").status_code == 204
    assert client.get("/api/v1/datasets/sales/mappings").json()["items"] == []
    assert client.get("/api/v1/datasets/nothing/mappings").status_code == 404
    assert [each["detail"] for each in client.get("/api/v1/audit?action=dataset.forget_column").json()["items"]] == [
        "a/b",
        "Unit Price",
    ]
    with served.records.database.transaction() as connection:
        review.remember_columns(connection, "sales", {"Unit price": "price"})
    assert "unitprice" in served.page("/datasets/sales/settings")
    answer = client.post("/datasets/sales/forget-column", data={"column": "unitprice"}, follow_redirects=True)
    assert "Forgotten." in answer.text
    assert "Remembered columns" not in answer.text
