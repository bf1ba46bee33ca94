"""While nobody has an account: everything works as without accounts, and people can be added."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from jobs.people import accounts
from jobs.people.roles import Role
from tests.support.serving import Served
from tests.support.team import BROWSER, PASSWORD


def test_the_single_user_has_no_account(served: Served) -> None:
    answer = served.client.get("/account")

    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    assert served.client.post("/account/tokens", data={"name": "n", "scope": "read"}).status_code == 403


def test_people_are_added_by_becoming_the_first_administrator(served: Served) -> None:
    browser = served.client
    page = served.page("/people")
    answer = browser.post("/people", data={"name": "Ana", "password": PASSWORD, "role": "viewer"}, headers=BROWSER)

    assert "Become administrator" in page
    assert "/audit" not in page
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    assert "Add a person" in browser.get("/people").text
    with served.records.database.reading() as connection:
        [account] = accounts.all_accounts(connection)
    assert (account.name, account.role, account.has_password) == ("Ana", Role.ADMIN, True)
    browser.cookies.clear()
    assert browser.get("/people").status_code == 303
    assert browser.post("/people", data={"name": "Bob", "password": PASSWORD}).status_code == 401


@pytest.mark.parametrize(("name", "password", "field"), [("", PASSWORD, "name"), ("Ana", "password123", "password")])
def test_the_form_says_what_is_wrong_beside_the_field(served: Served, name: str, password: str, field: str) -> None:
    answer = served.client.post("/people", data={"name": name, "password": password})

    assert answer.status_code == 422
    assert re.findall(r'id="([a-z]+)-error"', answer.text) == [field]
    assert served.client.get("/uploads").status_code == 200


def test_of_two_who_become_administrator_at_once_one_does(served: Served) -> None:
    def become(name: str) -> int:
        return httpx.post(f"{served.url}/people", data={"name": name, "password": PASSWORD}).status_code

    with ThreadPoolExecutor(2) as threads:
        outcomes = sorted(threads.map(become, ("ana", "bob")))

    assert outcomes[0] == 303
    assert outcomes[1] in (401, 403)
    with served.records.database.reading() as connection:
        assert len(accounts.all_accounts(connection)) == 1


def test_the_first_account_that_a_program_makes_is_an_administrator(served: Served) -> None:
    refused = served.client.post("/api/v1/users", json={"name": "ana", "role": "viewer", "password": PASSWORD})
    made = served.client.post("/api/v1/users", json={"name": "ana", "role": "admin", "password": PASSWORD})

    assert (refused.status_code, refused.json()["title"]) == (409, "No administrator")
    assert made.status_code == 201
    assert served.client.get("/api/v1/users").status_code == 401


def test_tokens_belong_to_accounts(served: Served) -> None:
    assert served.client.get("/api/v1/tokens").status_code == 403
    assert served.client.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"]}).status_code == 403
    assert served.client.get("/api/v1/sessions").status_code == 403


def test_a_wrong_api_token_is_refused_although_nobody_has_to_sign_in(served: Served) -> None:
    answer = served.client.get("/api/v1/uploads", headers={"Authorization": "Bearer bu_none"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert served.client.get("/api/v1/uploads").status_code == 200
