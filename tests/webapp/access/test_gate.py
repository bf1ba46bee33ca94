"""Who passes the gate, and what of their requests it needs to know."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jobs.people import accounts, audit, sessions, tokens
from jobs.people.audit import AuditQuery
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.services import RedisServer
from tests.support.serving import Served
from tests.support.team import LIFETIME

pytestmark = ONE_DATABASE


class People:
    """An administrator and a browser in which she is signed in."""

    def __init__(self, served: Served) -> None:
        with served.records.database.transaction() as connection:
            self.account = accounts.add(connection, "Ana", Role.ADMIN)
            self.session = sessions.begin(connection, self.account.id, LIFETIME, address="", agent="")
            _, self.token = tokens.add(connection, self.account.id, name="script", scopes=list(Scope))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"trusted_proxies": "127.0.0.2"})


@pytest.fixture
def people(settings: Settings) -> Iterator[People]:
    with Served(settings) as before:
        yield People(before)


@pytest.fixture
def team(settings: Settings, people: People) -> Iterator[Served]:
    """A server with an account."""
    with Served(settings) as served:
        yield served


def upload(served: Served, headers: dict[str, str], **more: Any) -> httpx.Response:
    return served.client.post("/api/v1/uploads?filename=june.csv", content="a\n1\n", headers=headers, **more)


def cookie(people: People, name: str = "session") -> dict[str, str]:
    return {"Cookie": f"{name}={people.session}"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "SERVER"}, 201),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_a_change_for_which_a_cookie_speaks_says_which_page_asked_for_it(
    team: Served, people: People, headers: dict[str, str], expected: int
) -> None:
    said = {name: value.replace("SERVER", team.url) for name, value in headers.items()}

    assert upload(team, {**cookie(people), **said}).status_code == expected


def test_a_program_with_a_token_need_not_say_where_it_asks_from(team: Served, people: People) -> None:
    assert upload(team, {"Authorization": f"Bearer {people.token}"}).status_code == 201
    assert upload(team, {"Authorization": f"Bearer {people.token}", **cookie(people)}).status_code == 201
    assert team.client.get("/api/v1/uploads", headers=cookie(people)).status_code == 200


def through(address: str) -> httpx.Client:
    """A client with this address, of which 127.0.0.2 is the proxy's."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address))


@pytest.mark.parametrize(
    ("address", "scheme", "name", "expected"),
    [
        ("127.0.0.2", "https", "__Host-session", 201),
        ("127.0.0.2", "http", "__Host-session", 403),
        ("127.0.0.1", "https", "session", 403),
        ("127.0.0.3", "https", "__Host-session", 403),
    ],
    ids=["the proxy with TLS", "the proxy without TLS", "no proxy", "another machine"],
)
def test_only_a_trusted_proxy_says_that_the_browser_uses_tls(
    team: Served, people: People, address: str, scheme: str, name: str, expected: int
) -> None:
    origin = team.url.replace("http:", "https:")
    headers = {"Origin": origin, "X-Forwarded-Proto": scheme, **cookie(people, name)}
    with through(address) as client:
        url = f"{team.url}/api/v1/uploads?filename=june.csv"
        answer = client.post(url, content="a\n1\n", headers=headers)

    assert answer.status_code == expected
    assert ("strict-transport-security" in answer.headers) == (expected == 201)


def test_the_host_is_not_what_a_proxy_says_that_was_forwarded(team: Served) -> None:
    with through("127.0.0.2") as client:
        headers = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost", "Host": "evil.example"}

        assert client.get(f"{team.url}/uploads", headers=headers).status_code == 400


def test_refused_tokens_become_too_many_and_are_noted(team: Served, people: People) -> None:
    def ask(token: str) -> httpx.Response:
        return team.client.get("/api/v1/uploads", headers={"Authorization": f"Bearer {token}"})

    statuses = [ask(f"bu_{number}").status_code for number in range(22)]
    late = ask("bu_late")

    assert statuses == [401] * 20 + [429] * 2
    assert (late.status_code, late.json()["title"]) == (429, "Too many attempts")
    assert 1 <= int(late.headers["retry-after"]) <= 60
    assert "content-security-policy" in late.headers
    assert ask("a guess").status_code == 429
    assert ask(people.token).status_code == 200
    with team.records.database.reading() as connection:
        found = audit.page(connection, AuditQuery(action="token.use"), limit=100)
    assert {(each.result, each.object) for each in found} == {("refused", "GET /api/v1/uploads")}
    assert len(found) == 20


@pytest.mark.parametrize("is_team", [False, True], ids=["single user", "team"])
def test_the_secret_for_reports_cannot_be_guessed(settings: Settings, people: People, is_team: bool) -> None:
    secret = "a secret that people chose".replace(" ", "-")
    with Served(settings.model_copy(update={"notify_token": secret})) as served:
        if not is_team:
            with served.records.database.transaction() as connection:
                for table in ("tokens", "sessions", "accounts"):
                    connection.exec_driver_sql(f"DELETE FROM {table}")
    with Served(settings.model_copy(update={"notify_token": secret})) as served:

        def report(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return served.client.post("/api/v1/internal/notify", json=[], headers=headers).status_code

        assert report(secret) not in (401, 403, 429)
        assert [report(f"guess-{number}") for number in range(21)] == [401] * 20 + [429]
        assert report(secret) == 429


def test_a_database_that_does_not_answer_is_no_defect_of_the_gate(
    team: Served, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    with team.records.database.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO lost")
    answer = team.client.get("/uploads", headers=cookie(people))

    assert answer.status_code == 503
    assert "Database unavailable" in answer.text


def test_without_redis_the_gate_lets_the_same_pass(settings: Settings, people: People, redis: RedisServer) -> None:
    with Served(settings.model_copy(update={"redis_url": redis.url})) as served:
        redis.freeze()
        try:
            wrong = served.client.get("/api/v1/uploads", headers={"Authorization": "Bearer bu_x"})
            right = served.client.get("/api/v1/uploads", headers={"Authorization": f"Bearer {people.token}"})
        finally:
            redis.thaw()

    assert (wrong.status_code, right.status_code) == (401, 200)


def test_who_may_not_do_something_is_noted(team: Served, people: People) -> None:
    with team.records.database.transaction() as connection:
        account = accounts.add(connection, "Bo", Role.VIEWER)
        _, token = tokens.add(connection, account.id, name="script", scopes=list(Scope))
    statuses = {upload(team, {"Authorization": f"Bearer {token}"}).status_code for _ in range(25)}
    with team.records.database.reading() as connection:
        found = audit.page(connection, AuditQuery(action="forbidden"), limit=100)

    assert statuses == {403}
    assert {(each.actor, each.object, each.result, each.via) for each in found} == {
        ("Bo", "POST /api/v1/uploads", "refused", "api")
    }
    assert len(found) == 20
