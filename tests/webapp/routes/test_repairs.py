"""Repair through the API, with a real worker, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobs import datasets
from jobs.datasets import Mode
from jobs.people import audit
from jobs.people.audit import AuditQuery
from jobs.schema import TableSchema
from jobs.uploads import Status, Upload
from tests.support.serving import Served, Worker
from tests.support.waiting import until

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer"},
    {"name": "country", "type": "string", "constraints": {"enum": ["Germany", "France", "Spain"]}},
    {"name": "amount", "type": "number"},
]
#: Rows 3 to 6 fail: two by spelling, one by a word for a number, one by both.
CONTENT = "id,Country,amount\n1,Germany,1\n2,France,2\n3,germany,3\n4,GERMANY,4\n5,Spain,twelve\n6,spain,twelve\n"


class Desk:
    """A server with a worker. Each upload goes into a dataset of its own."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._number = 0

    def send(self, content: str = CONTENT) -> Upload:
        self._number += 1
        name = f"sales_{self._number}"
        with self.served.records.database.transaction() as connection:
            schema = TableSchema.parse({"fields": FIELDS, "primaryKey": "id"})
            datasets.declare(connection, name, schema, Mode.INSERT)
        self.served.post(content, "june.csv", dataset=name)
        return self.served.finished()

    def ask(self, upload: Upload, what: str, method: str = "GET", **options: Any) -> Any:
        return self.served.client.request(method, f"/api/v1/uploads/{upload.id}{what}", **options)

    def rows(self, upload: Upload, **query: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.ask(upload, "/failed-rows", params=query).json()["items"]
        return items

    def edit(self, upload: Upload, number: int, version: int = 1, **cells: str) -> Any:
        return self.ask(upload, f"/failed-rows/{number}", "PATCH", json={"cells": cells, "version": version})

    def suggestions(self, upload: Upload) -> list[dict[str, Any]]:
        until(lambda: self.ask(upload, "/repairs").status_code == 200, "the suggestions to be measured")
        found: list[dict[str, Any]] = self.ask(upload, "/repairs").json()
        return found

    def repair(self, upload: Upload, **body: Any) -> dict[str, Any]:
        """The child after its end."""
        answer = self.ask(upload, "/repairs", "POST", json=body)
        assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/uploads/{answer.json()['id']}")
        return self.ended(answer.json()["id"])

    def ended(self, upload_id: int) -> dict[str, Any]:
        path = f"/api/v1/uploads/{upload_id}"
        until(lambda: self.served.client.get(path).json()["finished_at"], "the repair to end")
        found: dict[str, Any] = self.served.client.get(path).json()
        return found

    def now(self, upload: Upload) -> dict[str, Any]:
        return self.ended(upload.id)


@pytest.fixture(scope="module")
def desk(standing: Served) -> Iterator[Desk]:
    with Worker(standing.settings):
        yield Desk(standing)


def test_a_row_is_edited_and_checked_and_imported(desk: Desk) -> None:
    upload = desk.send()
    before = desk.rows(upload)
    edited = desk.edit(upload, 6, Country="Spain").json()
    right = desk.edit(upload, 6, 2, amount="12").json()
    answer = desk.ask(upload, "/failed-rows/import", "POST")
    child = desk.ended(answer.json()["id"])
    after = desk.now(upload)

    assert [row["row_number"] for row in before] == [3, 4, 5, 6]
    assert before[3] | {"reasons": []} == {
        "row_number": 6, "line": 7, "cells": {"id": "6", "Country": "spain", "amount": "twelve"}, "surplus": [],
        "reasons": [], "version": 1, "edited": False, "original": {}, "edited_by": None, "edited_at": None,
    }  # fmt: skip
    assert [reason["column"] for reason in before[3]["reasons"]] == ["country", "amount"]
    assert (edited["version"], edited["edited"], edited["cells"]["Country"]) == (2, True, "Spain")
    assert edited["original"] == {"Country": "spain"}
    assert [reason["column"] for reason in edited["reasons"]] == ["amount"]
    assert (right["version"], right["reasons"]) == (3, [])
    assert (answer.status_code, answer.json()["kind"], answer.json()["parent"]) == (201, "repair", upload.id)
    assert (child["status"], child["rows_success"], child["rows_failed"]) == ("completed", 1, 0)
    assert (after["rows_failed"], after["rows_corrected"], after["rows_open"]) == (4, 1, 3)
    assert after["children"] == [child["id"]]
    assert [row["row_number"] for row in desk.rows(upload)] == [3, 4, 5]
    assert desk.ask(upload, "/failed-rows/import", "POST").status_code == 409


@pytest.mark.parametrize(
    ("number", "body", "status"),
    [
        (3, {"cells": {"Country": "Spain"}, "version": 7}, 409),
        (3, {"cells": {"absent": "Spain"}, "version": 1}, 422),
        (3, {"cells": {}, "version": 1}, 422),
        (3, {"cells": {"Country": 1}, "version": 1}, 422),
        (3, {"cells": {"Country": "Spain"}}, 422),
        (1, {"cells": {"Country": "Spain"}, "version": 1}, 404),
        (99, {"cells": {"Country": "Spain"}, "version": 1}, 404),
    ],
)
def test_an_edit_that_is_not_possible_changes_nothing(
    desk: Desk, number: int, body: dict[str, Any], status: int
) -> None:
    upload = newest(desk)
    before = desk.rows(upload)
    answer = desk.ask(upload, f"/failed-rows/{number}", "PATCH", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.rows(upload) == before


def newest(desk: Desk) -> Upload:
    """An upload whose failed rows nobody edited yet."""
    found = [each for each in desk.served.records.all() if each.kind == "import" and each.rows_open == 4]
    return found[0] if found else desk.send()


def test_suggestions_are_measured_applied_and_stale_afterwards(desk: Desk) -> None:
    upload = desk.send()
    [first, *_] = found = desk.suggestions(upload)
    child = desk.repair(upload, apply=[first["id"]])
    again = desk.ask(upload, "/repairs", "POST", json={"apply": [first["id"]]})
    left = desk.rows(upload)

    assert (first["column"], first["kind"], first["rescues"], first["of"]) == ("country", "case", 2, 3)
    assert sorted(first["samples"])[:2] == [["GERMANY", "Germany"], ["germany", "Germany"]]
    assert all(each["rescues"] for each in found)
    assert (child["kind"], child["rows_success"]) == ("repair", 2)
    assert [row["row_number"] for row in left] == [5, 6]
    assert left[1]["cells"]["Country"] == "Spain"  # what remains wrong keeps the change
    assert (again.status_code, desk.suggestions(upload)) == (409, [])


def test_a_suggestion_is_stale_once_the_rows_were_edited(desk: Desk) -> None:
    upload = desk.send()
    [first, *_] = desk.suggestions(upload)
    for number in (3, 4):
        assert desk.edit(upload, number, Country="France").status_code == 200
    assert desk.edit(upload, 6, Country="France").status_code == 200

    assert desk.ask(upload, "/repairs", "POST", json={"apply": [first["id"]]}).status_code == 409
    assert first["id"] not in [each["id"] for each in desk.suggestions(upload)]


def test_values_are_replaced_wherever_they_are(desk: Desk) -> None:
    upload = desk.send()
    before = desk.ask(upload, "/failures").json()
    child = desk.repair(upload, replace=[{"column": "amount", "from": "twelve", "to": "12"}])
    second = desk.repair(upload, replace=[{"column": "Country", "from": "spain", "to": "Spain"}])
    after = desk.ask(upload, "/failures").json()

    assert {(each["column"], each["rows"]) for each in before} == {("country", 3), ("amount", 2)}
    assert [(child["rows_success"]), second["rows_success"]] == [1, 1]
    assert [(each["column"], each["rows"]) for each in after] == [("country", 2)]
    assert after[0]["values"] == [{"value": "GERMANY", "rows": 1}, {"value": "germany", "rows": 1}]


def test_what_is_remembered_repairs_the_next_file(desk: Desk) -> None:
    upload = desk.send()
    [first, *_] = desk.suggestions(upload)
    replace = [{"column": "amount", "from": "twelve", "to": "12"}]
    child = desk.repair(upload, apply=[first["id"]], replace=replace, remember=True)
    rules = desk.served.client.get(f"/api/v1/datasets/{upload.dataset}/rules").json()
    desk.served.post(
        CONTENT.replace("\n1,", "\n11,").replace("\n", "\n2")[:-1], "july.csv", dataset=str(upload.dataset)
    )
    second = desk.served.finished()

    assert (child["rows_success"], desk.now(upload)["rows_open"]) == (4, 0)
    found = rules["items"] if isinstance(rules, dict) else rules
    assert sorted((rule["column"], rule["kind"]) for rule in found) == [("amount", "replace"), ("country", "case")]
    assert (second.rows_success, second.rows_failed) == (6, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"apply": ["unknown"]}, 409),
        ({"replace": [{"column": "absent", "from": "a", "to": "b"}]}, 422),
        ({"replace": [{"column": "amount", "from": "twelve"}]}, 422),
        ({"replace": [{"column": "amount", "to": "12"}]}, 422),
        ({"apply": "id"}, 422),
    ],
)
def test_a_repair_that_is_not_possible_changes_nothing(desk: Desk, body: dict[str, Any], status: int) -> None:
    upload = newest(desk)
    answer = desk.ask(upload, "/repairs", "POST", json=body)

    assert (answer.status_code, desk.now(upload)["children"]) == (status, [])


def test_all_rows_are_edited_after_a_preview_and_undone(desk: Desk) -> None:
    upload = desk.send()
    change = {"find": [{"column": "amount", "from": "twe", "to": "e"}], "replace": []}
    seen = desk.ask(upload, "/edits/preview", "POST", json=change)
    untouched = desk.ask(upload, "/edits").json()
    changed = desk.ask(upload, "/edits", "POST", json=change)
    replaced = desk.ask(upload, "/edits", "POST", json={"replace": [{"column": "amount", "from": "elve", "to": "11"}]})
    progress = desk.ask(upload, "/edits").json()
    undone = desk.ask(upload, "/edits/undo", "POST")
    values = [row["cells"]["amount"] for row in desk.rows(upload, column="amount")]

    assert seen.json() == {"rows": 2, "right": 0, "samples": [["twelve", "elve"]]}
    assert untouched == {"open": 4, "edited": 0, "right": 0, "last": None}
    assert (changed.status_code, changed.json()) == (201, {"rows": 2, "right": 0})
    assert replaced.json() == {"rows": 2, "right": 1}
    assert (progress["edited"], progress["right"], progress["last"]["rows"]) == (2, 1, 2)
    assert undone.json() == {"title": "amount: Replace “elve” with “11”", "rows": 2, "kept": 0}
    assert values == ["elve", "elve"]


def test_rows_are_found_by_the_reasons_that_they_have_now_as_these_are_counted(desk: Desk) -> None:
    upload = desk.send()
    desk.edit(upload, 5, amount="12")
    desk.edit(upload, 3, Country="France", amount="many")
    desk.edit(upload, 6, amount="nothing")

    for failure in desk.ask(upload, "/failures").json():
        query = {"column": failure["column"], "rule": failure["rule"]}
        found = [desk.ask(upload, "/failed-rows", params={**query, "limit": 1}).json()["items"]]
        while found[-1]:
            page = {**query, "limit": 1, "after": found[-1][0]["row_number"]}
            found.append(desk.ask(upload, "/failed-rows", params=page).json()["items"])
        assert [row["row_number"] for [row] in found[:-1]] == FAILING_NOW[failure["column"]]
        assert len(found) - 1 == failure["rows"]


FAILING_NOW = {"country": [4, 6], "amount": [3, 6]}


def test_several_rows_are_edited_together_or_not_at_all(desk: Desk) -> None:
    upload = desk.send()
    rows = [{"row_number": number, "version": 1, "cells": {"Country": "France"}} for number in (3, 4)]
    stale = desk.ask(upload, "/failed-rows", "PATCH", json={"rows": [rows[0], {**rows[1], "version": 2}]})
    untouched = [row["version"] for row in desk.rows(upload)]
    answer = desk.ask(upload, "/failed-rows", "PATCH", json={"rows": rows})

    assert (stale.status_code, untouched) == (409, [1, 1, 1, 1])
    assert [(row["row_number"], row["reasons"]) for row in answer.json()["items"]] == [(3, []), (4, [])]


def test_what_is_repaired_is_in_the_audit_log(desk: Desk) -> None:
    upload = desk.send()
    desk.edit(upload, 3, Country="France")
    child = desk.repair(upload, replace=[{"column": "amount", "from": "twelve", "to": "12"}])
    with desk.served.records.database.reading() as connection:
        edited = audit.page(connection, AuditQuery(object=f"upload {upload.id}"), limit=9)
        repaired = audit.page(connection, AuditQuery(object=f"upload {child['id']}"), limit=9)

    assert [each.action for each in edited if each.action.startswith("upload.edit")] == ["upload.edit"]
    assert [each.action for each in repaired] == ["upload.repair"]


def test_an_upload_without_failed_rows_has_nothing_to_repair(desk: Desk) -> None:
    upload = desk.send("id,Country,amount\n1,Germany,1\n")
    assert upload.status is Status.COMPLETED
    assert desk.ask(upload, "/repairs").json() == []
    body = {"replace": [{"column": "amount", "from": "twelve", "to": "12"}]}

    assert desk.ask(upload, "/repairs", "POST", json=body).status_code == 409
    assert desk.ask(upload, "/edits/undo", "POST").status_code == 409
