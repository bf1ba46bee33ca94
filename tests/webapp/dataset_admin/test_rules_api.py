"""The rules of a dataset in the API."""

from typing import Any

import pytest

from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.webapp.dataset_admin.test_api import imported, noted, problem

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "country", "constraints": {"enum": ["Germany", "France"]}},
    ]
}
RULES = "/api/v1/datasets/sales/rules"
TYPO = {"column": "country", "kind": "replace", "from": "Germny", "to": "Germany"}


@pytest.fixture
def sales(served: Served) -> Served:
    answer = served.client.post("/api/v1/datasets", json={"name": "sales", "schema": SCHEMA})
    assert answer.status_code == 201
    return served


def test_rules_are_added_changed_moved_and_removed(sales: Served) -> None:
    assert sales.client.get(RULES).json() == {"items": [], "links": {"next": None}}
    answer = sales.client.post(RULES, json=TYPO)
    number = answer.json()["id"]

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{RULES}/{number}"
    assert answer.json() == {"id": number, **TYPO, "enabled": True, "version": 1, "position": 1}
    other = sales.client.post(RULES, json={"column": "country", "kind": "trim+case", "position": 1}).json()
    assert (other["from"], other["to"], other["position"]) == ([None, None], [None, None], 1)
    assert [each["id"] for each in sales.client.get(RULES).json()["items"]] == [other["id"], number]

    off = sales.client.patch(f"{RULES}/{number}", json={"enabled": False, "position": 1}).json()
    assert (off["enabled"], off["version"], off["position"]) == (False, 2, 1)
    assert sales.client.patch(f"{RULES}/{number}", json={"to": "France"}).json() == {
        **off,
        "to": "France",
        "version": 3,
    }
    assert sales.client.patch(f"{RULES}/{number}", json={}).json()["version"] == 3

    assert sales.client.delete(f"{RULES}/{number}").status_code == 204
    assert sales.client.delete(f"{RULES}/{number}").status_code == 404
    assert sales.client.patch(f"{RULES}/{number}", json={"enabled": True}).status_code == 404
    assert [each["id"] for each in sales.client.get(RULES).json()["items"]] == [other["id"]]
    assert [action for action, _ in noted(sales)][1:] == [
        *["dataset.rule_add"] * 2,
        *["dataset.rule_change"] * 2,
        "dataset.rule_remove",
    ]


@ONE_DATABASE
@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["column", "kind"]),
        ({**TYPO, "column": "nothing"}, ["column"]),
        ({**TYPO, "kind": "guess"}, ["kind"]),
        ({**TYPO, "kind": "number"}, ["to"]),
        ({"column": "country", "kind": "replace", "from": "x"}, ["to"]),
        ({"column": "id", "kind": "nearest"}, ["kind"]),
        ({"column": "country", "kind": "trim", "from": "x"}, ["from"]),
        ({"column": "country", "kind": "trim+case", "from": ["x"]}, ["from"]),
        ({"column": "country", "kind": "boolean", "from": "yes"}, ["from"]),
        ({**TYPO, "position": 0}, ["position"]),
        ({**TYPO, "from": "\u0000"}, ["from"]),
        ({**TYPO, "more": 1}, ["more"]),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_its_place(sales: Served, body: dict[str, Any], paths: list[str]) -> None:
    assert problem(sales.client.post(RULES, json=body), 422) == paths
    assert sales.client.get(RULES).json()["items"] == []


@ONE_DATABASE
def test_an_upload_says_what_the_rules_changed(sales: Served) -> None:
    assert imported(sales, "id,country\n1,Germany\n", filename="may.csv")["rules"] == []
    rule = sales.client.post(RULES, json=TYPO).json()
    upload = imported(sales, "id,country\n2,Germny\n3,France\n4,Germny\n")

    assert upload["rows_success"] == 3
    assert upload["rules"] == [{"id": rule["id"], "cells": 2}]
    assert sales.client.get("/api/v1/uploads").json()["items"][0]["rules"] == upload["rules"]
    page = sales.client.get(f"/uploads/{upload['id']}").text
    assert "Changed by rules" in page
    assert "2 cells: “Germny” → “Germany”" in page


@ONE_DATABASE
def test_a_check_tells_what_the_import_with_the_rules_would_do(sales: Served) -> None:
    sales.client.post(RULES, json=TYPO)
    sales.client.patch("/api/v1/datasets/sales", json={"review": "always"})
    upload = imported(sales, "id,country\n2,Germny\n3,Spain\n")

    check = sales.client.get(f"/api/v1/uploads/{upload['id']}/review").json()["check"]

    assert (check["would_insert"], check["would_fail"]) == (1, 1)
