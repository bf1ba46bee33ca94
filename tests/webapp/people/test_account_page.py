"""The page of one's own account."""

import re

import pytest

from jobs.people import passwords
from jobs.people.roles import Role, Scope
from tests.support.team import PASSWORD, Team
from webapp.people.account_page import browser

NEW = "another harbour 31"


@pytest.fixture(autouse=True)
def _ana(team: Team) -> None:
    team.add("ana", Role.UPLOADER, passwords.hashed(PASSWORD, "ana"))


def test_it_lists_the_sessions_of_the_account_and_ends_one(team: Team) -> None:
    own, other, of_root = team.browser("ana"), team.browser("ana"), team.browser("root")
    page = own.get("/account").text
    [end] = re.findall(r'action="(/account/sessions/\d+/end)"', page)

    assert page.count("192.0.2.9") == 2
    assert page.count("this one") == 1
    assert of_root.post(end).status_code == 404
    assert own.post(end).status_code == 303
    assert (own.get("/account").status_code, other.get("/account").status_code) == (200, 303)
    assert own.post(end).status_code == 404
    assert [(each.actor, each.action) for each in team.audit()] == [("ana", "session.end")]


def test_it_ends_all_other_sessions(team: Team) -> None:
    own, others, of_root = team.browser("ana"), [team.browser("ana") for _ in range(2)], team.browser("root")

    assert own.post("/account/sessions/end-others").status_code == 303
    assert {each.get("/account").status_code for each in others} == {303}
    assert own.get("/account").status_code == of_root.get("/account").status_code == 200


def test_a_new_password_needs_the_current_one_and_ends_the_other_sessions(team: Team) -> None:
    own, other = team.browser("ana"), team.browser("ana")
    wrong = own.post("/account/password", data={"current": "wrong", "password": NEW})
    unsafe = own.post("/account/password", data={"current": PASSWORD, "password": "password123"})

    assert (wrong.status_code, unsafe.status_code) == (422, 422)
    assert 'id="current-error"' in wrong.text
    assert 'id="password-error"' in unsafe.text
    assert "wrong" not in str(re.findall(r"<input[^>]*>", wrong.text))
    assert other.get("/account").status_code == 200
    assert own.post("/account/password", data={"current": PASSWORD, "password": NEW}).status_code == 303
    assert (own.get("/account").status_code, other.get("/account").status_code) == (200, 303)
    for password, status in ((PASSWORD, 401), (NEW, 303)):
        assert team.browser().post("/sign-in", data={"name": "ana", "password": password}).status_code == status
    entries = team.audit(action="user.password")
    assert [each.result for each in entries] == ["ok", "refused"]


def test_a_token_is_shown_once_and_works_until_it_is_revoked(team: Team) -> None:
    own = team.browser("ana")
    made = own.post("/account/tokens", data={"name": "nightly", "scope": ["read", "upload"], "expires": "30"})
    [secret] = re.findall(r'value="(bu_[^"]+)"', made.text)
    page = own.get("/account").text
    program = team.program()
    program.headers["Authorization"] = f"Bearer {secret}"

    assert made.status_code == 201
    assert "nightly" in page
    assert secret not in page
    assert program.get("/api/v1/uploads").status_code == 200
    [revoke] = re.findall(r'action="(/account/tokens/\d+/revoke)"', page)
    assert team.browser("root").post(revoke).status_code == 404
    assert own.post(revoke).status_code == 303
    assert program.get("/api/v1/uploads").status_code == 401
    assert own.post(revoke).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "nightly", "expires": ""}, "scope"),
        ({"name": "nightly", "scope": "everything"}, "scope"),
        ({"name": "", "scope": "read"}, "token-name"),
        ({"name": "nightly", "scope": "read", "dataset": "none"}, "dataset"),
    ],
)
def test_a_token_that_cannot_be_is_refused_beside_its_field(team: Team, fields: dict[str, str], field: str) -> None:
    answer = team.browser("ana").post("/account/tokens", data=fields)

    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert f'value="{fields["name"]}"' in answer.text
    assert "bu_" not in str(re.findall(r"<input[^>]*>", answer.text))


def test_a_token_may_be_for_one_dataset(team: Team) -> None:
    team.served.records.dataset("sales")
    answer = team.browser("ana").post("/account/tokens", data={"name": "n", "scope": "read", "dataset": "sales"})

    assert answer.status_code == 201
    assert '<option value="sales">' in answer.text


def test_no_program_opens_it(team: Team) -> None:
    assert team.program("ana", list(Scope)).get("/account").status_code == 403


def test_an_account_without_a_password_has_no_form_for_one(team: Team) -> None:
    team.add("oidc", hashed=None)
    own = team.browser("oidc")

    assert "/account/password" not in own.get("/account").text
    assert own.post("/account/password", data={"current": "", "password": NEW}).status_code == 422


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
            " Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iOS"),
        ("curl/8.5.0", "curl"),
        ("", "An unknown program"),
    ],
)
def test_a_browser_is_named_as_people_call_it(agent: str, shown: str) -> None:
    assert browser(agent) == shown
