"""Links that work once: the set-up link, and invitations."""

import re

import pytest

from jobs.people import accounts, invitations
from jobs.people.roles import Role
from tests.support.serving import Served
from tests.support.team import BROWSER, PASSWORD, Team


def set_up_link(served: Served) -> str:
    with served.records.database.transaction() as connection:
        return f"/set-up/{invitations.make_set_up_link(connection)}"


def invitation(team: Team, name: str) -> str:
    with team.database.transaction() as connection:
        return f"/invitation/{invitations.invite(connection, accounts.get(connection, name))}"


def test_the_set_up_link_makes_the_first_administrator_who_is_signed_in_at_once(served: Served) -> None:
    link = set_up_link(served)
    browser = served.client
    assert browser.get("/uploads").status_code == 200
    assert "Set up this server" in served.page(link)
    answer = browser.post(link, data={"name": "Ana", "password": PASSWORD}, headers=BROWSER)

    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    assert "Ana" in browser.get("/people").text
    browser.cookies.clear()
    assert browser.get("/uploads").status_code == 303
    assert browser.get("/api/v1/uploads").status_code == 401
    assert browser.get(link).status_code == 404
    assert browser.post(link, data={"name": "Bob", "password": PASSWORD}).status_code == 404
    with served.records.database.reading() as connection:
        [account] = accounts.all_accounts(connection)
    assert (account.name, account.role) == ("Ana", Role.ADMIN)


@pytest.mark.parametrize(
    ("name", "password", "text"),
    [("", PASSWORD, "1 to 64"), ("a/b", PASSWORD, "no slash"), ("Ana", "short", "at least 10")],
)
def test_the_set_up_form_says_what_is_wrong_beside_the_field(
    served: Served, name: str, password: str, text: str
) -> None:
    link = set_up_link(served)
    answer = served.client.post(link, data={"name": name, "password": password})

    assert answer.status_code == 422
    field = "name" if password == PASSWORD else "password"
    [problem] = re.findall(rf'id="{field}-error" class="field-error">([^<]*)<', answer.text)
    assert text in problem
    assert f'value="{name}"' in answer.text
    assert served.client.post(link, data={"name": "Ana", "password": PASSWORD}).status_code == 303


@pytest.mark.parametrize("path", ["/set-up/unknown", "/set-up/%C3%BC", "/invitation/unknown", "/invitation/%00"])
def test_an_unknown_link_is_not_found(served: Served, path: str) -> None:
    assert served.client.get(path).status_code == 404
    assert served.client.post(path, data={"name": "Ana", "password": PASSWORD}).status_code == 404


def test_an_invitation_sets_the_password_and_signs_in(team: Team) -> None:
    team.add("Bob & Co", hashed=None)
    link, browser = invitation(team, "Bob & Co"), team.browser()
    assert "Welcome, Bob &amp; Co" in browser.get(link).text
    refused = browser.post(link, data={"password": "bob & co 1"})
    answer = browser.post(link, data={"password": PASSWORD})

    assert (refused.status_code, answer.status_code) == (422, 303)
    assert "little more than" in refused.text
    assert browser.get("/account").status_code == 200
    assert team.get("bob & co").has_password
    again = team.browser()
    assert again.get(link).status_code == 404
    assert again.post(link, data={"password": "another words 7"}).status_code == 404
    assert again.post("/sign-in", data={"name": "bob & co", "password": PASSWORD}).status_code == 303
    assert [(each.actor, each.action) for each in team.audit()] == [
        ("Bob & Co", "sign_in"),
        ("Bob & Co", "sign_in"),
        ("Bob & Co", "user.password"),
    ]


def test_an_invitation_ends_when_its_account_is_disabled(team: Team) -> None:
    team.add("bob", hashed=None)
    link = invitation(team, "bob")
    team.browser("root").post("/people/accounts/bob/disable")

    assert team.browser().get(link).status_code == 404
