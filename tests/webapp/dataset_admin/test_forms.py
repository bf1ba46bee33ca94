"""The forms that change datasets, as a browser without scripts uses them."""

import re
from typing import Any

import httpx
import pytest

from jobs.people.roles import Role
from tests.support.databases import ONE_DATABASE
from tests.support.team import Team

pytestmark = ONE_DATABASE

NEW: dict[str, Any] = {
    "name": "Our sales",
    "title": "Sales of ours",
    "mode": "upsert",
    "field": ["id", "Größe", ""],
    "type": ["integer", "number", "string"],
    "key": ["0"],
    "required": ["1"],
    "unique": ["1"],
    "do": "create",
}


@pytest.fixture
def root(team: Team) -> httpx.Client:
    return team.browser("root")


def described(team: Team, name: str = "our_sales") -> dict[str, Any]:
    found: dict[str, Any] = team.program("root").get(f"/api/v1/datasets/{name}").json()
    return found


def errors(page: str) -> list[str]:
    return re.findall(r'class="(?:field-error|notice bad block)"[^>]*>([^<]+)<', page)


def test_a_dataset_is_made_from_the_rows_of_the_form(team: Team, root: httpx.Client) -> None:
    answer = root.post("/new-dataset", data=NEW)

    assert (answer.status_code, answer.headers["location"]) == (303, "/datasets/our_sales")
    assert described(team)["mode"] == "upsert"
    assert described(team)["schema"] == {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "Größe", "type": "number", "constraints": {"required": True, "unique": True}},
        ],
        "title": "Sales of ours",
        "primaryKey": ["id"],
    }
    assert [(each.actor, each.via) for each in team.audit(action="dataset.add")] == [("root", "web")]


def test_one_more_row_keeps_what_was_entered(root: httpx.Client) -> None:
    page = root.post("/new-dataset", data={**NEW, "do": "add"}).text

    assert re.findall(r'name="field" value="([^"]*)"', page) == ["id", "Größe", "", ""]
    assert re.findall(r"<option selected>(\w+)", page) == ["integer", "number", "string", "string"]
    assert re.findall(r'name="(\w+)" value="(\w+)" checked', page) == [
        ("mode", "upsert"),
        ("key", "0"),
        ("required", "1"),
        ("unique", "1"),
    ]
    assert re.findall(r'aria-label="([^"]+)" autofocus', page) == ["Name of column 4"]
    assert errors(page) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": ""}, "Enter a name for the dataset."),
        ({"name": "taken"}, "already exists"),
        ({"field": ["", "", ""]}, "Enter the name of at least one column."),
        ({"field": ["id", "_upload_id", ""]}, "This column is a reserved column name"),
        ({"field": ["id", "ID", ""]}, "are the same column name"),
        ({"key": []}, "This mode needs a key"),
        ({"title": "x" * 201}, "at most 200 characters"),
    ],
    ids=str,
)
def test_a_form_that_is_refused_comes_back_as_it_was(
    team: Team, root: httpx.Client, changed: dict[str, Any], sentence: str
) -> None:
    team.served.records.declare("taken", {"name": "a"})
    answer = root.post("/new-dataset", data={**NEW, **changed})

    assert answer.status_code == 422
    [error] = errors(answer.text)
    assert sentence in error
    assert re.findall(r'name="field" value="([^"]*)"', answer.text) == {**NEW, **changed}["field"]
    assert len(team.program("root").get("/api/v1/datasets").json()["items"]) == 1


def test_a_column_is_added_changed_and_dropped(team: Team, root: httpx.Client) -> None:
    team.served.records.declare("sales", {"name": "id", "type": "integer"}, primaryKey="id")
    price = {"name": "Preis %", "type": "number", "minimum": "0.5", "enum": "1\n2.5", "has_rules": "1", "required": "1"}
    assert root.post("/datasets/sales/add-column", data=price).status_code == 303
    page = root.get("/datasets/sales/edit-column", params={"column": "Preis %"}).text
    assert 'value="0.5"' in page
    assert "1.0\n2.5</textarea>" in page
    wanted = {"name": "sold", "type": "date", "format": "%d.%m.%Y", "minimum": "2020-01-01", "has_rules": "1"}
    wanted |= {"title": "Sold on", "aliases": "Verkauft am\n\n datum "}
    answer = root.post("/datasets/sales/edit-column", params={"column": "Preis %"}, data=wanted)

    assert answer.headers["location"] == "/datasets/sales/columns"
    assert described(team, "sales")["schema"]["fields"][1] == {
        "name": "sold",
        "type": "date",
        "format": "%d.%m.%Y",
        "title": "Sold on",
        "constraints": {"minimum": "2020-01-01"},
        "aliases": ["Preis %", "Verkauft am", "datum"],
    }
    refused = root.post("/datasets/sales/edit-column", params={"column": "sold"}, data={**wanted, "minimum": "soon"})
    assert (refused.status_code, 'value="soon"' in refused.text) == (422, True)
    assert 'id="minimum-error"' in refused.text
    dropped = root.post("/datasets/sales/drop-column", params={"column": "sold"})
    assert dropped.status_code == 303
    assert len(described(team, "sales")["schema"]["fields"]) == 1
    assert root.get("/datasets/sales/edit-column?column=sold").status_code == 404


def test_values_are_checked_before_a_column_changes(team: Team, root: httpx.Client) -> None:
    team.served.records.dataset("sales", [(1, "a", True), (2, "7", True)])
    url = "/datasets/sales/edit-column?column=name"
    page = root.get(url).text
    assert "The values of the 2 rows that exist must fit." in page
    assert "2 of 2 rows have a value in it" in page

    integer = {"name": "who", "type": "integer", "has_rules": "1"}
    for answer, status in (
        (root.post(url, data={**integer, "do": "check"}), 200),
        (root.post(url, data=integer), 422),
    ):
        assert answer.status_code == status
        assert "1 of 2 rows does not fit" in answer.text
        assert re.findall(r'<span class="value">([^<]+)', answer.text) == ["a"]
        assert 'value="who"' in answer.text
        assert "<option selected>integer" in answer.text
    checked = root.post(url, data={"name": "who", "type": "string", "maxLength": "1", "has_rules": "1", "do": "check"})
    assert "All 2 rows fit." in checked.text
    assert described(team, "sales")["schema"]["fields"][1]["name"] == "name"
    assert root.post(url, data={"name": "who", "maxLength": "1", "type": "string", "has_rules": "1"}).status_code == 303
    assert described(team, "sales")["schema"]["fields"][1]["constraints"] == {"maxLength": 1}


def test_settings_change_and_a_dataset_is_deleted_by_its_name(team: Team, root: httpx.Client) -> None:
    team.served.records.declare("sales", {"name": "id", "type": "integer"}, primaryKey="id")
    saved = root.post("/datasets/sales/settings", data={"title": " Our sales ", "mode": "upsert"})
    assert saved.headers["location"] == "/datasets/sales/settings?done=settings"
    assert 'role="status">Saved.' in root.get(saved.headers["location"]).text
    assert (described(team, "sales")["title"], described(team, "sales")["mode"]) == ("Our sales", "upsert")

    limited = {"title": "", "mode": "upsert", "has_modes": "1", "modes": ["upsert", "only_new"]}
    assert root.post("/datasets/sales/settings", data=limited).status_code == 303
    assert described(team, "sales")["modes"] == ["upsert", "only_new"]
    for wrong in (["only_new"], []):
        refused = root.post("/datasets/sales/settings", data={**limited, "modes": wrong})
        assert (refused.status_code, 'id="modes-error"' in refused.text) == (422, True)

    checked = root.post("/datasets/sales/key", data={"key": "id", "do": "check"})
    assert (checked.status_code, "All 0 rows fit." in checked.text) == (200, True)
    refused = root.post("/datasets/sales/key", data={"do": "change"})
    assert (refused.status_code, 'id="key-error"' in refused.text) == (422, True)

    refused = root.post("/datasets/sales/delete", data={"confirm": "sale"})
    assert (refused.status_code, 'id="confirm-error"' in refused.text) == (422, True)
    assert 'value="sale"' in refused.text
    waiting = team.served.records.pending(dataset="sales")
    assert root.post("/datasets/sales/delete", data={"confirm": "sales"}).status_code == 409
    team.served.records.cancel(waiting)
    assert root.post("/datasets/sales/delete", data={"confirm": "sales"}).headers["location"] == "/datasets"
    assert root.get("/datasets/sales").status_code == 404
    group = root.get("/datasets").text
    assert "/datasets/sales" not in group


def test_only_administrators_see_and_use_them(team: Team, root: httpx.Client) -> None:
    team.served.records.dataset("sales", [(1, "a", True)])
    pages = ("/datasets", "/datasets/sales", "/datasets/sales/columns")
    links = "/new-dataset", "/datasets/sales/settings", "/datasets/sales/edit-column", "/datasets/sales/add-column"

    def offered(client: httpx.Client) -> set[str]:
        return {link for path in pages for link in links if f'href="{link}' in client.get(path).text}

    assert offered(root) == set(links)
    for role in (Role.VIEWER, Role.UPLOADER):
        team.add(role, role)
        somebody = team.browser(role)
        assert offered(somebody) == set()
        for path in links:
            assert somebody.get(path).status_code == 403
            assert somebody.post(path).status_code == 403
        assert somebody.post("/datasets/sales/delete", data={"confirm": "sales"}).status_code == 403
    assert described(team, "sales")["rows"] == 1


def test_what_was_hidden_stays_hidden_and_what_was_granted_opens_nothing_new(team: Team, root: httpx.Client) -> None:
    team.add("Ana")
    team.add("Bob")
    records = team.served.records
    records.dataset("sales", [(1, "secret value", True)])
    program = team.program("root")
    access = {"restricted": True, "grants": [{"user": "Ana", "role": "viewer"}]}
    program.put("/api/v1/datasets/sales/access", json=access)
    of_sales = team.program("root", dataset="sales")
    ana, bob = team.program("Ana"), team.program("Bob")
    [upload] = records.all()
    assert ana.get(f"/api/v1/uploads/{upload.id}").status_code == 200
    assert bob.get("/api/v1/uploads").json()["items"] == []
    assert program.delete("/api/v1/datasets/sales?confirm=sales").status_code == 204
    records.dataset("sales", [(1, "another", True)])
    program.put("/api/v1/datasets/sales/access", json={"restricted": True, "grants": []})

    assert ana.get(f"/api/v1/uploads/{upload.id}").json()["dataset"] == "sales (deleted)"
    assert ana.get("/api/v1/datasets/sales").status_code == 404
    assert of_sales.get("/api/v1/datasets/sales").status_code == 404
    assert of_sales.get(f"/api/v1/uploads/{upload.id}").status_code == 200
    assert bob.get(f"/api/v1/uploads/{upload.id}").status_code == 404
    program.put("/api/v1/datasets/sales/access", json={"restricted": False})
    assert [each["dataset"] for each in bob.get("/api/v1/uploads").json()["items"]] == ["sales"]
    assert f'href="/uploads/{upload.id}"' not in bob.get("/uploads").text
