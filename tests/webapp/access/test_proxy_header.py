"""A proxy names the user, and nobody else can."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from jobs.people import accounts, audit, tokens
from jobs.people.audit import AuditQuery, Entry
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from jobs.tables import accounts as table
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served

#: The address of the proxy; that of everybody else is 127.0.0.1.
PROXY = "127.0.0.2"
SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"auth_header": "X-Remote-User", "trusted_proxies": f"{PROXY},127.0.0.8/29"})


@pytest.fixture
def proxied(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY), base_url=served.url) as client:
        yield client


def named(name: str, more: Mapping[str, str] | None = None) -> httpx.Headers:
    return httpx.Headers({"X-Remote-User": name, **(more or {})}, encoding="utf-8")


def names(served: Served) -> dict[str, Role]:
    with served.records.database.reading() as connection:
        return {each.name: each.role for each in accounts.all_accounts(connection)}


def entries(served: Served) -> list[Entry]:
    with served.records.database.reading() as connection:
        return audit.page(connection, AuditQuery(), limit=100)[::-1]


def test_an_account_is_made_as_viewer_at_first_sight(served: Served, proxied: httpx.Client) -> None:
    for name in ("Zoë", "zoë", "ZOË"):
        assert proxied.get("/uploads", headers=named(name)).status_code == 200
    refused = proxied.post("/api/v1/uploads?filename=a.csv", content="a\n1\n", headers=named("Zoë", SAME))
    entry, forbidden = entries(served)

    assert names(served) == {"Zoë": Role.VIEWER}
    assert refused.status_code == 403
    assert (entry.action, entry.object, entry.result, entry.address) == ("user.add", "user Zoë", "ok", PROXY)
    assert (forbidden.action, forbidden.actor) == ("forbidden", "Zoë")


@ONE_DATABASE
def test_it_is_noted_within_a_minute_when_an_account_was_used_last(served: Served, proxied: httpx.Client) -> None:
    def used_at() -> datetime | None:
        with served.records.database.reading() as connection:
            return accounts.get(connection, "ana").used_at

    assert proxied.get("/uploads", headers=named("ana")).status_code == 200
    first = used_at()
    assert first is not None
    proxied.get("/uploads", headers=named("ana"))
    assert used_at() == first
    with served.records.database.transaction() as connection:
        long_ago = first - timedelta(seconds=accounts.NOTE_SECONDS)
        connection.execute(sa.update(table).values(used_at=long_ago))
    proxied.get("/uploads", headers=named("ana"))
    noted = used_at()
    assert noted is not None
    assert noted >= first


@ONE_DATABASE
def test_an_account_keeps_what_an_administrator_made_of_it(served: Served, proxied: httpx.Client) -> None:
    with served.records.database.transaction() as connection:
        accounts.add(connection, "Ana", Role.UPLOADER)
    answer = proxied.post("/api/v1/uploads?filename=a.csv", content="a\n1\n", headers=named("ana", SAME))

    assert answer.status_code == 201
    assert names(served) == {"Ana": Role.UPLOADER}


@ONE_DATABASE
@pytest.mark.parametrize(
    "more",
    [{}, {"X-Forwarded-For": PROXY}, {"X-Forwarded-For": "127.0.0.9, 127.0.0.2"}, {"Forwarded": f"for={PROXY}"}],
)
def test_nobody_but_the_proxy_names_anybody(served: Served, more: dict[str, str]) -> None:
    answer = served.client.get("/api/v1/uploads", headers=named("Ana", more))

    assert (answer.status_code, names(served)) == (401, {})


@ONE_DATABASE
@pytest.mark.parametrize("client", ["203.0.113.7", "127.0.0.1", PROXY])
def test_whom_the_proxy_forwards_for_does_not_matter(served: Served, proxied: httpx.Client, client: str) -> None:
    answer = proxied.get("/api/v1/uploads", headers=named("Ana", {"X-Forwarded-For": client}))

    assert answer.status_code == 200


@ONE_DATABASE
def test_without_the_header_the_proxys_users_sign_in(served: Served, proxied: httpx.Client) -> None:
    for headers in ({}, named(""), {"X-Remote-Userx": "Ana"}):
        assert proxied.get("/uploads", headers=headers).headers["location"] == "/sign-in?next=%2Fuploads"
    assert names(served) == {}


def test_a_disabled_account_is_refused_and_noted_once(served: Served, proxied: httpx.Client) -> None:
    with served.records.database.transaction() as connection:
        accounts.add(connection, "Ana", Role.VIEWER)
        accounts.disable(connection, "Ana")
    answers = [proxied.get("/api/v1/uploads", headers=named("ana")) for _ in range(5)]
    [entry] = entries(served)

    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].json()["detail"] == "The account “Ana” is disabled."
    assert (entry.action, entry.object, entry.result) == ("sign_in", "user ana", "refused")


@ONE_DATABASE
@pytest.mark.parametrize("name", ["a" * 65, "a\tb", "a\u200bb"])
def test_a_name_that_no_account_can_have_is_refused(served: Served, proxied: httpx.Client, name: str) -> None:
    assert proxied.get("/uploads", headers=named(name)).status_code == 403
    assert names(served) == {}


@ONE_DATABASE
def test_two_names_are_none(served: Served, proxied: httpx.Client) -> None:
    answer = proxied.get("/uploads", headers=[("X-Remote-User", "Ana"), ("x-remote-user", "Bo")])

    assert answer.status_code == 403
    assert names(served) == {}


def test_a_token_counts_more_than_the_header(served: Served, proxied: httpx.Client) -> None:
    with served.records.database.transaction() as connection:
        account = accounts.add(connection, "Ana", Role.ADMIN)
        _, token = tokens.add(connection, account.id, name="script", scopes=[Scope.UPLOAD])
    bearer = {"Authorization": f"Bearer {token}"}
    headers = named("Bo", bearer)

    assert proxied.post("/api/v1/uploads?filename=a.csv", content="a\n1\n", headers=headers).status_code == 201
    assert proxied.get("/api/v1/uploads", headers=named("Bo", {"Authorization": "Bearer bu_x"})).status_code == 401
    assert names(served) == {"Ana": Role.ADMIN}


@ONE_DATABASE
def test_a_change_through_the_proxy_says_which_page_asked_for_it(served: Served, proxied: httpx.Client) -> None:
    with served.records.database.transaction() as connection:
        accounts.add(connection, "Ana", Role.UPLOADER)
    statuses = [
        proxied.post("/api/v1/uploads?filename=a.csv", content="a\n1\n", headers=named("Ana", more)).status_code
        for more in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": served.url})
    ]

    assert statuses == [403, 403, 201]


def test_first_requests_at_once_make_one_account(served: Served) -> None:
    def ask(_number: int) -> int:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY), base_url=served.url) as client:
            return client.get("/api/v1/uploads", headers=named("Ana")).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(ask, range(16)))

    assert statuses == {200}
    assert names(served) == {"Ana": Role.VIEWER}


@ONE_DATABASE
def test_without_the_setting_no_header_names_anybody(settings: Settings) -> None:
    off = settings.model_copy(update={"auth_header": None})
    with Records(off) as records, records.database.transaction() as connection:
        accounts.add(connection, "Ana", Role.ADMIN)
    with (
        Served(off) as served,
        httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY), base_url=served.url) as client,
    ):
        assert client.get("/api/v1/uploads", headers=named("Ana")).status_code == 401
