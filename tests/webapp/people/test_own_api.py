"""Tokens and sessions in the API."""

from typing import Any

import pytest

from jobs.people import access
from jobs.people.access import Access
from jobs.people.roles import Role, Scope
from tests.support.databases import BOTH_DATABASES
from tests.support.team import Team


@pytest.fixture(autouse=True)
def _ana(team: Team) -> None:
    team.add("ana", Role.UPLOADER)


def test_a_token_is_handed_out_once(team: Team) -> None:
    ana = team.browser("ana")
    body = {"name": "nightly", "scopes": ["upload", "read"], "expires_at": "2999-12-31T00:00:00+02:00"}
    made = ana.post("/api/v1/tokens", json=body)
    token = made.json()

    assert made.status_code == 201
    assert list(token)[:2] == ["id", "token"]
    assert token["token"].startswith("bu_")
    assert (token["name"], token["user"], token["scopes"], token["dataset"]) == (
        "nightly",
        "ana",
        ["read", "upload"],
        None,
    )
    assert (token["expires_at"], token["last_used_at"]) == ("2999-12-30T22:00:00.000000Z", None)
    assert made.headers["location"] == f"/api/v1/tokens/{token['id']}"
    program = team.program()
    program.headers["Authorization"] = f"Bearer {token['token']}"
    assert program.get("/api/v1/uploads").status_code == 200
    [listed] = ana.get("/api/v1/tokens").json()["items"]
    assert {**listed, "last_used_at": None, "token": token["token"]} == token
    assert listed["last_used_at"] is not None


@BOTH_DATABASES
@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\x00"},
        {"name": None},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "read"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00"},
        {"expires_at": "tomorrow"},
        {"expires_at": 32503680000},
        {"dataset": "none"},
        {"dataset": "a\x00"},
        {"dataset": "hidden"},
        {"owner": "root"},
    ],
    ids=str,
)
def test_a_token_that_cannot_be_is_refused(team: Team, wrong: dict[str, Any]) -> None:
    team.served.records.dataset("hidden")
    with team.database.transaction() as connection:
        access.put(connection, "hidden", Access(True, []))
    ana = team.browser("ana")
    answer = ana.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"], **wrong})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert ana.get("/api/v1/tokens").json()["items"] == []


def test_a_token_makes_tokens_with_the_scope_admin_only(team: Team) -> None:
    team.served.records.dataset("sales")
    body = {"name": "n", "scopes": ["read"]}
    without = team.program("ana", [Scope.READ, Scope.UPLOAD, Scope.NOTIFY])
    bound = team.program("ana", list(Scope), dataset="sales")

    for client in (without, bound):
        assert client.post("/api/v1/tokens", json=body).status_code == 403
        assert client.get("/api/v1/tokens").status_code == 403
        assert client.delete("/api/v1/tokens/1").status_code == 403
    assert team.program("ana", [Scope.ADMIN]).post("/api/v1/tokens", json=body).json()["user"] == "ana"


def test_people_revoke_their_own_and_administrators_all(team: Team) -> None:
    root, ana = team.browser("root"), team.browser("ana")
    of_ana, of_root = (
        client.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"]}).json()["id"] for client in (ana, root)
    )

    assert [each["user"] for each in root.get("/api/v1/tokens?all=1").json()["items"]] == ["root", "ana"]
    assert ana.get("/api/v1/tokens?all=1").status_code == 403
    assert ana.delete(f"/api/v1/tokens/{of_root}").status_code == 404
    assert root.delete(f"/api/v1/tokens/{of_ana}").status_code == 204
    assert ana.delete(f"/api/v1/tokens/{of_ana}").status_code == 404
    assert root.delete(f"/api/v1/tokens/{of_root}").status_code == 204


def test_sessions_are_listed_and_ended(team: Team) -> None:
    own, other, third = (team.browser("ana") for _ in range(3))
    found = own.get("/api/v1/sessions").json()["items"]
    ids = [each["id"] for each in found if not each["is_own"]]

    assert (len(found), len(ids), found[0]["address"], found[0]["agent"]) == (3, 2, "192.0.2.9", "Test")
    assert team.browser("root").delete(f"/api/v1/sessions/{ids[0]}").status_code == 404
    assert own.delete(f"/api/v1/sessions/{min(ids)}").status_code == 204
    assert (other.get("/account").status_code, third.get("/account").status_code) == (303, 200)
    assert own.delete("/api/v1/sessions").status_code == 204
    assert third.get("/account").status_code == 303
    assert len(own.get("/api/v1/sessions").json()["items"]) == 1
    assert team.program("ana").get("/api/v1/sessions").status_code == 403


def test_tokens_are_listed_page_by_page(team: Team) -> None:
    root, ana = team.browser("root"), team.browser("ana")
    for client in (ana, root, ana):
        assert client.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"]}).status_code == 201

    first = root.get("/api/v1/tokens?all=1&limit=2").json()
    second = root.get(first["links"]["next"]).json()
    assert [each["user"] for each in (*first["items"], *second["items"])] == ["ana", "root", "ana"]
    assert (second["cursor"], second["links"]["next"]) == (None, None)
    own = ana.get("/api/v1/tokens?limit=1").json()
    assert own["cursor"] == str(own["items"][0]["id"])
    assert len(ana.get(own["links"]["next"]).json()["items"]) == 1
