"""The rules of a dataset on the page of its settings, as a browser without scripts uses it."""

import re

import httpx
import pytest

from tests.support.databases import ONE_DATABASE
from tests.support.team import Team

pytestmark = ONE_DATABASE

SETTINGS = "/datasets/sales/settings"


@pytest.fixture
def root(team: Team) -> httpx.Client:
    fields = [{"name": "price", "type": "number"}, {"name": "country", "constraints": {"enum": ["Germany", "France"]}}]
    team.program("root").post("/api/v1/datasets", json={"name": "sales", "schema": {"fields": fields}})
    return team.browser("root")


def rules(team: Team) -> list[dict[str, object]]:
    found: list[dict[str, object]] = team.program("root").get("/api/v1/datasets/sales/rules").json()["items"]
    return found


def add(root: httpx.Client, column: str, kind: str, source: str = "", target: str = "") -> httpx.Response:
    return root.post("/datasets/sales/add-rule", data={"column": column, "kind": kind, "from": source, "to": target})


def test_rules_are_added_ordered_switched_and_removed(team: Team, root: httpx.Client) -> None:
    assert add(root, "country", "replace", "Germny", "Germany").headers["location"] == f"{SETTINGS}?done=rule#rules"
    add(root, "country", "upper")
    add(root, "price", "number", "1.234,5")

    found = rules(team)
    assert [(each["kind"], each["from"], each["to"]) for each in found] == [
        ("replace", "Germny", "Germany"),
        ("case", None, "upper"),
        ("number", "1.234,5", None),
    ]
    page = root.get(SETTINGS).text
    assert re.findall(r'<td class="what">([^<]+)<', page) == [
        "Replace “Germny” with “Germany”",
        "Write in capital letters",
        "Read numbers like 1.234,5",
    ]
    for rule, do in ((2, "up"), (1, "off"), (0, "remove"), (2, "nonsense")):
        root.post("/datasets/sales/change-rule", data={"rule": str(found[rule]["id"]), "do": do})
    root.post("/datasets/sales/change-rule", data={"rule": "²", "do": "remove"})
    assert [(each["id"], each["enabled"]) for each in rules(team)] == [(found[2]["id"], True), (found[1]["id"], False)]
    assert {each.via for each in team.audit(action="dataset.rule_add")} == {"web"}


def test_a_rule_that_is_refused_stays_in_the_form(team: Team, root: httpx.Client) -> None:
    answer = add(root, "price", "nearest", "x", "y")

    assert answer.status_code == 422
    assert "needs a field" in answer.text or "is for the types" in answer.text
    assert '<option value="price" selected>' in answer.text
    assert '<option value="nearest" selected>' in answer.text
    assert rules(team) == []
