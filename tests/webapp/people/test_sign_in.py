"""Signing in and out."""

import json
import re
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa

from jobs.people import passwords
from jobs.people.roles import Role, Scope
from jobs.tables import sessions
from tests.support.databases import BOTH_DATABASES
from tests.support.serving import Served
from tests.support.team import PASSWORD, Team
from webapp.people.sign_in import WRONG


@pytest.fixture
def ana(team: Team) -> None:
    team.add("Ana", Role.UPLOADER, passwords.hashed(PASSWORD, "Ana"))


def sign_in(browser: httpx.Client, name: str = "Ana", password: str = PASSWORD, **more: str) -> httpx.Response:
    return browser.post("/sign-in", data={"name": name, "password": password, **more})


def count(team: Team) -> int:
    with team.database.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one()


def test_whoever_is_unknown_is_led_to_sign_in_and_back(team: Team, ana: None) -> None:
    browser = team.browser()
    led = browser.get("/uploads", params={"q": "june & july"})

    assert led.status_code == 303
    form = browser.get(led.headers["location"])
    assert form.status_code == 200
    [wanted] = re.findall(r'name="next" value="([^"]*)"', form.text)
    answer = sign_in(browser, "aNA", next=wanted.replace("&amp;", "&"))
    assert answer.status_code == 303
    back = browser.get(answer.headers["location"])
    assert back.status_code == 200
    assert back.url.params["q"] == "june & july"


def test_the_cookie_is_for_this_host_and_no_script(team: Team, ana: None) -> None:
    cookie = sign_in(team.browser()).headers["set-cookie"].lower()

    assert cookie.startswith("session=")
    assert {"httponly", "path=/", "samesite=lax", "max-age=604800"} <= set(re.split(r"; ?", cookie))
    assert "domain=" not in cookie


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", ""]
)
def test_nobody_is_led_to_another_site(team: Team, ana: None, wanted: str) -> None:
    answer = sign_in(team.browser(), next=wanted)

    assert (answer.status_code, answer.headers["location"]) == (303, "/uploads")


@BOTH_DATABASES
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Ana", "wrong"),
        ("Ana", PASSWORD + " "),
        ("Ana", ""),
        ("nobody", PASSWORD),
        ("", ""),
        ("a\x00b", PASSWORD),
        ("x" * 70_000, "y" * 70_000),
        ("disabled", PASSWORD),
        ("invited", ""),
    ],
    ids=["wrong", "longer", "empty", "unknown", "nothing", "nul", "long", "disabled", "invited"],
)
def test_what_was_wrong_is_not_told(team: Team, ana: None, name: str, password: str) -> None:
    team.add("disabled", hashed=passwords.hashed(PASSWORD, "x"))
    team.add("invited", hashed=None)
    team.browser("root").post("/people/accounts/disabled/disable")
    before = count(team)
    answer = sign_in(team.browser(), name, password)

    assert answer.status_code == 401
    assert WRONG in answer.text
    assert "set-cookie" not in answer.headers
    assert count(team) == before
    entry = team.audit(action="sign_in")[0]
    assert (entry.actor, entry.result, entry.via) == (None, "refused", "web")
    assert entry.object.startswith(f"user {name[:64]}".replace("\x00", "\ufffd"))
    assert len(entry.object) <= 5 + 64


def test_a_wrong_name_stays_in_the_form_and_a_password_does_not(team: Team, ana: None) -> None:
    answer = sign_in(team.browser(), '"><b>', "secret words 1", next="/datasets")

    assert 'value="&#34;&gt;&lt;b&gt;"' in answer.text
    assert 'name="next" value="/datasets"' in answer.text
    assert "secret words" not in answer.text


def test_the_same_is_verified_for_names_that_exist_and_others(
    team: Team, ana: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str | None] = []
    verify = passwords.verify

    def counting(password: str, known: str | None) -> bool:
        verified.append(known)
        return verify(password, known)

    monkeypatch.setattr(passwords, "verify", counting)
    for name in ("Ana", "nobody"):
        sign_in(team.browser(), name, "wrong")

    assert [known is None for known in verified] == [False, True]


def test_each_sign_in_is_a_new_session_that_ends_the_last_one_of_this_browser(team: Team, ana: None) -> None:
    browser, other = team.browser(), team.browser()
    sign_in(other)
    sign_in(browser)
    first = browser.cookies["session"]
    sign_in(browser)

    assert browser.cookies["session"] != first
    assert count(team) == 2
    browser.cookies.set("session", first, domain="127.0.0.1")
    assert browser.get("/account").status_code == 303
    assert other.get("/account").status_code == 200


def test_a_secret_that_a_stranger_put_into_the_cookie_is_not_kept(team: Team, ana: None) -> None:
    browser = team.browser()
    browser.cookies.set("session", "chosen", domain="127.0.0.1")
    sign_in(browser)

    assert browser.cookies["session"] != "chosen"


def test_signing_out_ends_the_session_and_removes_the_cookie(team: Team, ana: None) -> None:
    browser = team.browser()
    sign_in(browser)
    secret = browser.cookies["session"]
    answer = browser.post("/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "session" not in browser.cookies
    browser.cookies.set("session", secret, domain="127.0.0.1")
    assert browser.get("/account").status_code == 303
    assert [(each.actor, each.action) for each in team.audit()][:2] == [("Ana", "sign_out"), ("Ana", "sign_in")]


def test_whoever_signed_out_elsewhere_is_led_to_sign_in_by_the_next_form(team: Team) -> None:
    answer = team.browser().post("/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_whoever_is_signed_in_needs_no_form(team: Team) -> None:
    answer = team.browser("root").get("/sign-in", params={"next": "/datasets"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/datasets")


def test_a_script_of_a_page_is_refused_instead_of_led(team: Team) -> None:
    answer = team.browser().get("/uploads/recent", headers={"Sec-Fetch-Dest": "empty"})

    assert answer.status_code == 401


def test_a_form_of_another_site_signs_nobody_in(team: Team, ana: None) -> None:
    answer = team.program().post(
        "/sign-in", data={"name": "Ana", "password": PASSWORD}, headers={"Origin": "https://evil.example"}
    )

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_program_signs_in_and_out_with_json(team: Team, ana: None) -> None:
    program = team.program()
    answer = program.post("/api/v1/session", json={"name": "ana", "password": PASSWORD})

    assert (answer.status_code, answer.json()) == (201, {"name": "Ana", "role": "uploader"})
    assert program.get("/api/v1/uploads").status_code == 200
    assert program.delete("/api/v1/session").status_code == 403  # neither Origin nor Sec-Fetch-Site
    assert program.delete("/api/v1/session", headers={"Origin": team.served.url}).status_code == 204
    assert program.get("/api/v1/uploads").status_code == 401
    assert [each.via for each in team.audit()] == ["api", "api"]


@BOTH_DATABASES
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "ana", "password": "wrong"}, 401),
        ({"name": "a\x00", "password": "\ud800"}, 401),
        ({"name": "\ud800", "password": "x"}, 401),
        ({"name": "ana"}, 422),
        ({"name": "ana", "password": None}, 422),
        ({"name": "ana", "password": "x", "next": "/"}, 422),
        ([], 422),
    ],
    ids=str,
)
def test_a_session_that_cannot_be_is_a_problem(team: Team, ana: None, body: object, status: int) -> None:
    content = json.dumps(body)
    answer = team.program().post("/api/v1/session", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in answer.headers


def test_an_api_token_cannot_sign_out(team: Team) -> None:
    assert team.program("root", list(Scope)).post("/sign-out").status_code == 403


def test_a_session_ends_when_it_is_too_old(team: Team, ana: None) -> None:
    browser = team.browser("Ana")
    assert browser.get("/account").status_code == 200
    with team.database.transaction() as connection:
        connection.execute(sa.update(sessions).values(created_at=datetime(2026, 1, 31, tzinfo=UTC)))

    assert browser.get("/account").status_code == 303


def test_while_nobody_has_an_account_there_is_nothing_to_sign_in_to(served: Served) -> None:
    for path in ("/sign-in", "/sign-in?next=https://evil.example"):
        answer = served.client.get(path)

        assert (answer.status_code, answer.headers["location"]) == (303, "/uploads")
    assert served.client.post("/api/v1/session", json={"name": "ana", "password": "x"}).status_code == 401
    assert served.client.post("/sign-out").headers["location"] == "/sign-in"
