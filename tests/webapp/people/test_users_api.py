"""Accounts and groups in the API."""

import pytest

from jobs.people import passwords
from jobs.people.roles import Role, Scope
from tests.support.databases import BOTH_DATABASES
from tests.support.team import PASSWORD, Team


def test_a_user_is_added_with_a_password(team: Team) -> None:
    root = team.program("root", [Scope.ADMIN])
    answer = root.post("/api/v1/users", json={"name": "Zoë Ng", "role": "uploader", "password": PASSWORD})
    shown = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == shown["links"]["self"] == "/api/v1/users/Zo%C3%AB%20Ng"
    assert (shown["name"], shown["role"], shown["disabled"], shown["has_password"]) == (
        "Zoë Ng",
        "uploader",
        False,
        True,
    )
    assert (shown["last_used_at"], "invitation" in shown) == (None, False)
    assert root.patch(shown["links"]["self"], json={"role": "viewer"}).json()["role"] == "viewer"
    assert PASSWORD not in str(team.audit())


def test_a_user_without_a_password_gets_an_invitation(team: Team) -> None:
    root = team.program("root")
    answer = root.post("/api/v1/users", json={"name": "bob", "role": "viewer"})
    link = answer.json()["invitation"]

    assert answer.status_code == 201
    assert link.startswith(f"{team.served.url}/invitation/")
    again = root.post("/api/v1/users/bob/invitation")
    assert again.status_code == 201
    assert team.browser().get(link).status_code == 404
    assert team.browser().post(again.json()["invitation"], data={"password": PASSWORD}).status_code == 303
    assert root.get("/api/v1/users").json()["items"][0]["has_password"] is True


@BOTH_DATABASES
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": "bob"}, 422),
        ({"name": "bob", "role": "emperor"}, 422),
        ({"name": "bob", "role": "admin", "is_admin": True}, 422),
        ({"name": "", "role": "viewer"}, 422),
        ({"name": "a\x00b", "role": "viewer"}, 422),
        ({"name": "a/b", "role": "viewer"}, 422),
        ({"name": 7, "role": "viewer"}, 422),
        ({"name": "bob", "role": "viewer", "password": "short"}, 422),
        ({"name": "ROOT", "role": "viewer"}, 409),
        ([], 422),
    ],
    ids=str,
)
def test_a_user_who_cannot_be_is_refused(team: Team, body: object, status: int) -> None:
    answer = team.program("root").post("/api/v1/users", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert team.audit(action="user.add") == []


def test_users_come_a_page_at_a_time(team: Team) -> None:
    for name in ("Ana", "bob"):
        team.add(name)
    root = team.program("root")
    first = root.get("/api/v1/users", params={"limit": 2}).json()
    second = root.get(first["links"]["next"]).json()

    assert [each["name"] for each in first["items"]] == ["Ana", "bob"]
    assert [each["name"] for each in second["items"]] == ["root"]
    assert second["cursor"] is second["links"]["next"] is None
    assert root.get("/api/v1/users", params={"limit": 0}).status_code == 422


def test_a_user_is_disabled_and_enabled(team: Team) -> None:
    team.add("bob")
    root, bob = team.program("root"), team.program("bob")

    assert root.patch("/api/v1/users/BOB", json={"disabled": True}).json()["disabled"] is True
    assert bob.get("/api/v1/uploads").status_code == 401
    assert root.patch("/api/v1/users/bob", json={}).json()["disabled"] is True
    assert root.patch("/api/v1/users/bob", json={"disabled": False}).json()["disabled"] is False
    assert bob.get("/api/v1/uploads").status_code == 200
    assert root.patch("/api/v1/users/nobody", json={"disabled": True}).status_code == 404
    for body in ({"disabled": True}, {"role": "viewer"}):
        assert root.patch("/api/v1/users/root", json=body).status_code == 409
    for wrong in ({"disabled": "yes"}, {"name": "bobby"}, {"role": "emperor"}):
        assert root.patch("/api/v1/users/bob", json=wrong).status_code == 422


def test_an_administrator_sets_the_password_of_others(team: Team) -> None:
    team.add("bob")
    root, bob = team.program("root"), team.browser("bob")

    assert root.post("/api/v1/users/bob/password", json={"password": "short"}).status_code == 422
    assert root.post("/api/v1/users/nobody/password", json={"password": PASSWORD}).status_code == 404
    assert root.post("/api/v1/users/bob/password", json={"password": PASSWORD}).status_code == 204
    assert bob.get("/account").status_code == 303
    assert team.program().post("/api/v1/session", json={"name": "bob", "password": PASSWORD}).status_code == 201


def test_people_change_their_own_password_if_they_know_the_current_one(team: Team) -> None:
    team.add("bob", hashed=passwords.hashed(PASSWORD, "bob"))
    team.add("cleo")
    bob, other = team.browser("bob"), team.browser("bob")
    new = "another harbour 3"

    assert bob.post("/api/v1/users/bob/password", json={"password": new}).status_code == 422
    assert bob.post("/api/v1/users/bob/password", json={"password": new, "current": "x"}).status_code == 403
    assert bob.post("/api/v1/users/cleo/password", json={"password": new, "current": PASSWORD}).status_code == 403
    assert bob.post("/api/v1/users/nobody/password", json={"password": new}).status_code == 403
    assert bob.post("/api/v1/users/BOB/password", json={"password": new, "current": PASSWORD}).status_code == 204
    assert (bob.get("/account").status_code, other.get("/account").status_code) == (200, 303)
    assert team.program("bob").post("/api/v1/users/bob/password", json={"password": new}).status_code == 403


def test_groups_are_added_filled_and_removed(team: Team) -> None:
    team.add("Bob")
    root = team.program("root")
    added = root.post("/api/v1/groups", json={"name": "Finance"})

    assert (added.status_code, added.json()["name"], added.json()["members"]) == (201, "Finance", [])
    assert root.post("/api/v1/groups", json={"name": "FINANCE"}).status_code == 409
    assert root.post("/api/v1/groups", json={"name": "a\n"}).status_code == 201
    assert root.post("/api/v1/groups", json={"name": ""}).status_code == 422
    for _ in range(2):
        assert root.put("/api/v1/groups/finance/members/bob").status_code == 204
    assert root.get("/api/v1/groups").json()["items"][1]["members"] == ["Bob"]
    assert root.put("/api/v1/groups/finance/members/nobody").status_code == 404
    assert root.put("/api/v1/groups/none/members/bob").status_code == 404
    for _ in range(2):
        assert root.delete("/api/v1/groups/finance/members/bob").status_code == 204
    assert root.delete("/api/v1/groups/finance").status_code == 204
    assert root.delete("/api/v1/groups/finance").status_code == 404
    assert [each.action for each in team.audit()][:3] == ["group.remove", "group.member_remove", "group.member_add"]


PATHS = [
    ("GET", "/api/v1/users"),
    ("POST", "/api/v1/users"),
    ("PATCH", "/api/v1/users/root"),
    ("POST", "/api/v1/users/root/password"),
    ("POST", "/api/v1/users/root/invitation"),
    ("GET", "/api/v1/groups"),
    ("POST", "/api/v1/groups"),
    ("DELETE", "/api/v1/groups/finance"),
    ("PUT", "/api/v1/groups/finance/members/root"),
    ("DELETE", "/api/v1/groups/finance/members/root"),
    ("GET", "/api/v1/audit"),
]


def test_all_of_it_is_for_administrators_with_the_scope_and_for_the_whole_server(team: Team) -> None:
    team.served.records.dataset("sales")
    team.add("bob", Role.UPLOADER)
    refused = [
        team.browser("bob"),
        team.program("bob"),
        team.program("root", [Scope.READ, Scope.UPLOAD, Scope.NOTIFY]),
        team.program("root", dataset="sales"),
    ]

    for method, path in PATHS:
        body = {"password": PASSWORD} if path.endswith("password") else {}
        for client in refused:
            assert client.request(method, path, json=body).status_code == 403, (method, path)
        assert team.program().request(method, path, json=body).status_code == 401, (method, path)
