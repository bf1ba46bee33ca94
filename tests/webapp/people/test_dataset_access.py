"""Who may see a dataset: the page, and the API."""

import re
from typing import Any

import pytest

from jobs.people.roles import Role, Scope
from tests.support.team import Team

OPEN = {"restricted": False, "grants": []}


@pytest.fixture(autouse=True)
def _people(team: Team) -> None:
    team.served.records.dataset("sales")
    team.add("Ana")
    team.browser("root").post("/people/groups", data={"name": "Finance"})


def test_access_is_read_and_replaced(team: Team) -> None:
    root = team.program("root", [Scope.ADMIN])
    wanted = {
        "restricted": True,
        "grants": [{"user": "ana", "role": "uploader"}, {"group": "finance", "role": "viewer"}],
    }
    shown = {
        "restricted": True,
        "grants": [{"user": "Ana", "role": "uploader"}, {"group": "Finance", "role": "viewer"}],
    }

    def ordered(access: dict[str, Any]) -> dict[str, Any]:
        return {**access, "grants": sorted(access["grants"], key=str)}

    assert root.get("/api/v1/datasets/sales/access").json() == OPEN
    put = root.put("/api/v1/datasets/sales/access", json=wanted)
    assert (put.status_code, ordered(put.json())) == (200, ordered(shown))
    assert ordered(root.get("/api/v1/datasets/sales/access").json()) == ordered(shown)
    assert root.put("/api/v1/datasets/sales/access", json={"restricted": False}).json() == OPEN
    assert [each.action for each in team.audit(object="dataset sales")] == ["dataset.access"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"restricted": "yes"},
        {"restricted": True, "grants": [{"user": "nobody", "role": "viewer"}]},
        {"restricted": True, "grants": [{"group": "none", "role": "viewer"}]},
        {"restricted": True, "grants": [{"role": "viewer"}]},
        {"restricted": True, "grants": [{"user": "ana", "group": "finance", "role": "viewer"}]},
        {"restricted": True, "grants": [{"user": "ana", "role": "emperor"}]},
        {"restricted": True, "grants": [{"user": "ana", "role": "viewer"}, {"user": "ANA", "role": "viewer"}]},
        {"restricted": True, "grants": [], "more": 1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_changes_nothing(team: Team, body: object) -> None:
    root = team.program("root")

    assert root.put("/api/v1/datasets/sales/access", json=body).status_code == 422
    assert root.get("/api/v1/datasets/sales/access").json() == OPEN


def test_a_dataset_that_does_not_exist_has_no_access(team: Team) -> None:
    root, of_sales = team.program("root"), team.program("root", dataset="sales")

    for name in ("none", "%00"):
        assert root.get(f"/api/v1/datasets/{name}/access").status_code == 404
        assert root.put(f"/api/v1/datasets/{name}/access", json=OPEN).status_code == 404
        assert team.browser("root").get(f"/datasets/{name}/access").status_code == 404
    assert of_sales.get("/api/v1/datasets/sales/access").status_code == 200
    team.served.records.dataset("stock")
    assert of_sales.get("/api/v1/datasets/stock/access").status_code == 404


def test_access_is_for_administrators(team: Team) -> None:
    bodies = {"restricted": True, "grants": [{"user": "ana", "role": "admin"}]}
    assert team.program("root").put("/api/v1/datasets/sales/access", json=bodies).status_code == 200

    for client in (team.program("ana"), team.program("root", [Scope.READ, Scope.UPLOAD, Scope.NOTIFY])):
        assert client.get("/api/v1/datasets/sales/access").status_code == 403
        assert client.put("/api/v1/datasets/sales/access", json=OPEN).status_code == 403
    assert team.browser("ana").get("/datasets/sales/access").status_code == 403


def test_the_page_grants_and_takes_back(team: Team) -> None:
    root = team.browser("root")
    fields = {
        "access": "restricted",
        "kind": ["user", "group", "user"],
        "name": ["ana", "finance", ""],
        "role": ["uploader", "viewer", "viewer"],
    }
    answer = root.post("/datasets/sales/access", data=fields)
    page = root.get(answer.headers["location"]).text

    assert answer.status_code == 303
    assert re.findall(r'name="name" value="(\w+)"', page) == ["Ana", "Finance"]
    assert 'value="restricted" checked' in page
    taken = {**fields, "access": "open", "role": ["none", "viewer", "viewer"]}
    assert root.post("/datasets/sales/access", data=taken).status_code == 303
    found = team.program("root").get("/api/v1/datasets/sales/access").json()
    assert found == {"restricted": False, "grants": [{"group": "Finance", "role": Role.VIEWER}]}


def test_the_page_says_which_grant_is_wrong_and_keeps_all_of_them(team: Team) -> None:
    fields = {"access": "restricted", "kind": ["user", "user"], "name": ["ana", "no<body"], "role": ["admin", "viewer"]}
    answer = team.browser("root").post("/datasets/sales/access", data=fields)

    assert answer.status_code == 422
    assert re.findall(r'id="grant-(\d)-error"', answer.text) == ["2"]
    assert re.findall(r'name="name" value="([^"]+)"', answer.text) == ["ana", "no&lt;body"]
    assert 'value="restricted" checked' in answer.text
    assert team.program("root").get("/api/v1/datasets/sales/access").json() == OPEN


def test_administrators_reach_it_from_the_pages_of_the_dataset(team: Team) -> None:
    for path in ("/datasets/sales", "/datasets/sales/columns", "/datasets/sales/uploads"):
        assert 'href="/datasets/sales/access"' in team.browser("root").get(path).text
        assert 'href="/datasets/sales/access"' not in team.browser("ana").get(path).text


def test_each_page_leads_to_the_account(team: Team) -> None:
    for path in ("/uploads", "/uploads/1", "/uploads/recent", "/datasets", "/datasets/sales", "/datasets/none"):
        assert '<a class="visitor" href="/account">Ana</a>' in team.browser("ana").get(path).text
