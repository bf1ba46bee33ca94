"""The pages of accounts, for administrators."""

import re

import pytest

from jobs.people import passwords
from jobs.people.roles import Role, Scope
from tests.support.team import PASSWORD, Team
from webapp.people import people_pages


def test_a_person_is_added_with_a_password(team: Team) -> None:
    root = team.browser("root")
    answer = root.post("/people", data={"name": "Zoë Ng?", "role": "uploader", "password": PASSWORD})
    page = root.get(answer.headers["location"])

    assert (answer.status_code, page.status_code) == (303, 200)
    assert "Zoë Ng?" in page.text
    assert team.get("zoë ng?").role is Role.UPLOADER
    assert team.browser().post("/sign-in", data={"name": "zoë ng?", "password": PASSWORD}).status_code == 303


def test_a_person_without_a_password_gets_a_link_that_is_shown_once(team: Team) -> None:
    root = team.browser("root")
    answer = root.post("/people", data={"name": "bob", "role": "viewer", "password": ""})
    [link] = re.findall(r'value="(http://[^"]*/invitation/[^"]+)"', answer.text)

    assert answer.status_code == 201
    assert link.startswith(f"{team.served.url}/invitation/")
    assert "/invitation/" not in root.get("/people/accounts/bob").text.replace("/people/accounts/bob/invitation", "")
    assert team.browser().post(link, data={"password": PASSWORD}).status_code == 303
    again = root.post("/people/accounts/bob/invitation")
    assert again.status_code == 201
    assert re.findall(r'value="(http://[^"]*/invitation/[^"]+)"', again.text)


@pytest.mark.parametrize(
    ("name", "password", "status", "field"),
    [
        ("", PASSWORD, 422, "name"),
        ("ROOT", PASSWORD, 409, "name"),
        ("ROOT", "", 409, "name"),
        ("bob", "2short2", 422, "password"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_the_rest_is_kept(
    team: Team, name: str, password: str, status: int, field: str
) -> None:
    answer = team.browser("root").post("/people", data={"name": name, "role": "admin", "password": password})

    assert answer.status_code == status
    assert re.findall(r'id="([a-z]+)-error"', answer.text) == [field]
    assert f'value="{name}"' in answer.text
    assert re.search(r'value="admin" checked', answer.text)
    assert not password or password not in answer.text


def test_a_token_of_a_person_is_revoked(team: Team) -> None:
    team.add("bob")
    team.add("eve")
    program, root = team.program("bob", [Scope.READ]), team.browser("root")
    [action] = re.findall(r'action="([^"]*/revoke)"', root.get("/people/accounts/bob").text)
    assert program.get("/api/v1/uploads").status_code == 200

    assert root.post(action.replace("bob", "eve")).status_code == 404
    assert team.browser("bob").post(action).status_code == 403
    answer = root.post(action)
    page = root.get(answer.headers["location"]).text
    assert (answer.status_code, "The token is revoked" in page, "/revoke" in page) == (303, True, False)
    assert program.get("/api/v1/uploads").status_code == 401
    assert root.post(action).status_code == 404
    assert [(each.actor, each.detail) for each in team.audit(action="token.revoke")] == [("root", "test, of bob")]


def test_a_role_changes(team: Team) -> None:
    team.add("bob")
    root = team.browser("root")

    assert root.post("/people/accounts/bob/role", data={"role": "uploader"}).status_code == 303
    assert team.get("bob").role is Role.UPLOADER
    assert root.post("/people/accounts/bob/role", data={"role": "emperor"}).status_code == 422


def test_disabling_says_what_happens_and_signs_out_at_once(team: Team) -> None:
    team.add("bob")
    root, bob, program = team.browser("root"), team.browser("bob"), team.program("bob")
    assert bob.get("/uploads").status_code == program.get("/api/v1/uploads").status_code == 200
    page = root.get("/people/accounts/bob").text

    assert "bob is signed out everywhere within seconds, and 1 API token is refused." in " ".join(page.split())
    assert root.post("/people/accounts/bob/disable").status_code == 303
    assert (bob.get("/uploads").status_code, program.get("/api/v1/uploads").status_code) == (303, 401)
    assert root.post("/people/accounts/bob/invitation").status_code == 403
    assert root.post("/people/accounts/bob/enable").status_code == 303
    assert (bob.get("/uploads").status_code, program.get("/api/v1/uploads").status_code) == (303, 200)


def test_the_last_administrator_stays_one(team: Team) -> None:
    root = team.browser("root")
    answers = [
        root.post("/people/accounts/root/disable"),
        root.post("/people/accounts/root/role", data={"role": "viewer"}),
    ]

    assert [each.status_code for each in answers] == [409, 409]
    assert all("only administrator" in each.text for each in answers)
    assert team.get("root").role is Role.ADMIN


def test_a_password_that_an_administrator_sets_ends_all_sessions(team: Team) -> None:
    team.add("bob", hashed=passwords.hashed(PASSWORD, "bob"))
    root, bob = team.browser("root"), team.browser("bob")

    assert root.post("/people/accounts/bob/password", data={"password": "bob"}).status_code == 422
    assert root.post("/people/accounts/bob/password", data={"password": "another harbour 3"}).status_code == 303
    assert bob.get("/account").status_code == 303


def test_accounts_come_a_page_at_a_time(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_pages, "SHOWN", 2)
    for name in ("Ana", "bob"):
        team.add(name)
    root = team.browser("root")
    first = root.get("/people").text
    [following] = re.findall(r'rel="next" href="([^"]*)"', first)

    assert re.findall(r'href="/people/accounts/(\w+)"', first) == ["Ana", "bob"]
    assert re.findall(r'href="/people/accounts/(\w+)"', root.get(following).text) == ["root"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.UPLOADER])
def test_they_are_for_administrators_only(team: Team, role: Role) -> None:
    team.add("bob", role)
    bob = team.browser("bob")

    for path in ("/people", "/people/accounts/root", "/people/groups", "/audit", "/audit.csv"):
        assert bob.get(path).status_code == 403
    for path in ("/people", "/people/accounts/root/disable", "/people/groups"):
        assert bob.post(path, data={"name": "x", "role": "admin"}).status_code == 403
    assert 'href="/people' not in bob.get("/account").text


@pytest.mark.parametrize("path", ["/people/accounts/nobody", "/people/accounts/%00", "/people/groups/none"])
def test_who_does_not_exist_is_not_found(team: Team, path: str) -> None:
    assert team.browser("root").get(path).status_code == 404
