"""How many wrong passwords and tokens are too many, whatever becomes of Redis."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest
from starlette.requests import Request

from jobs.database import Database
from jobs.people import accounts, audit, passwords
from jobs.people.audit import AuditQuery, Entry
from jobs.people.roles import Role
from jobs.settings import Settings
from tests.support.services import RedisServer
from tests.support.serving import Served
from tests.support.team import PASSWORD
from webapp.access.attempts import Attempts
from webapp.errors import TooManyAttemptsError

T = TypeVar("T")


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


@pytest.fixture
def opened(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def request_from(database: Database, address: str = "192.0.2.1", path: str = "/sign-in") -> Request[Any]:
    state = {"database": database}
    return Request(
        {"type": "http", "method": "POST", "path": path, "headers": [], "client": (address, 1), "state": state,
         "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 8000)}
    )  # fmt: skip


def run(redis: RedisServer, use: Callable[[Attempts], Awaitable[T]]) -> T:
    """With the limits of a process of its own."""

    async def main() -> T:
        attempts = Attempts(redis.url)
        try:
            return await use(attempts)
        finally:
            await attempts.close()

    return asyncio.run(main())


async def fail(attempts: Attempts, request: Request[Any], name: str, times: int) -> None:
    for _ in range(times):
        await attempts.check(request, name)
        await attempts.note_failure(request, name)


async def is_refused(attempts: Attempts, request: Request[Any], name: str) -> bool:
    try:
        await attempts.check(request, name)
    except TooManyAttemptsError:
        return True
    await attempts.note_success(request, name)
    return False


def entries(database: Database) -> list[Entry]:
    """Of the audit log, the oldest first."""
    with database.reading() as connection:
        return audit.page(connection, AuditQuery(), limit=100)[::-1]


def test_after_five_failures_an_account_is_refused_from_everywhere(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        await fail(attempts, request_from(opened), "Ana", 5)
        others = [("ANA", "192.0.2.2"), ("\uff41na", "192.0.2.3"), ("Bo", "192.0.2.1"), ("Ana ", "192.0.2.1")]
        return [await is_refused(attempts, request_from(opened, address), name) for name, address in others]

    assert run(redis_server, use) == [True, True, False, True]


def test_the_refusal_says_when_to_try_again(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> float:
        await fail(attempts, request_from(opened), "Ana", 5)
        with pytest.raises(TooManyAttemptsError, match=r"for this account\. Try again in [0-9]+ s\.$") as refused:
            await attempts.check(request_from(opened), "Ana")
        return refused.value.retry_after

    assert 1 <= run(redis_server, use) <= 60


def test_after_twenty_failures_an_address_is_refused_for_every_account(
    opened: Database, redis_server: RedisServer
) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        for number in range(20):
            await fail(attempts, request_from(opened), f"name {number}", 1)
        others = ["192.0.2.1", "192.0.2.2"]
        return [await is_refused(attempts, request_from(opened, address), "Zoe") for address in others]

    assert run(redis_server, use) == [True, False]


def test_the_addresses_of_an_ipv6_network_count_as_one(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        for number in range(20):
            await fail(attempts, request_from(opened, f"2001:db8::{number:x}"), f"name {number}", 1)
        others = ["2001:db8::ffff:1", "2001:db8:0:1::1"]
        return [await is_refused(attempts, request_from(opened, address), "Zoe") for address in others]

    assert run(redis_server, use) == [True, False]


def test_the_web_processes_count_together(opened: Database, redis_server: RedisServer) -> None:
    for _ in range(5):
        run(redis_server, lambda attempts: fail(attempts, request_from(opened), "Ana", 1))

    assert run(redis_server, lambda attempts: is_refused(attempts, request_from(opened), "Ana"))


def test_success_counts_neither_as_a_failure_nor_against_one(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        refused = [await is_refused(attempts, request_from(opened), "Ana") for _ in range(30)]
        await fail(attempts, request_from(opened), "Ana", 4)
        refused.append(await is_refused(attempts, request_from(opened), "Ana"))
        await fail(attempts, request_from(opened), "Ana", 1)
        refused.append(await is_refused(attempts, request_from(opened), "Ana"))
        return refused

    assert run(redis_server, use) == [False] * 31 + [True]


@pytest.mark.parametrize("failure", ["kill", "freeze"])
def test_without_redis_a_process_counts_for_itself(opened: Database, redis: RedisServer, failure: str) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        await fail(attempts, request_from(opened), "Ana", 2)
        getattr(redis, failure)()
        async with asyncio.timeout(30):
            await fail(attempts, request_from(opened), "Ana", 3)
            return [await is_refused(attempts, request_from(opened), name) for name in ("Ana", "Bo")]

    assert run(redis, use) == [True, False]


def test_any_number_at_once_tries_no_more_passwords_than_the_limit(opened: Database, redis_server: RedisServer) -> None:
    tried = []

    async def attempt(attempts: Attempts) -> None:
        try:
            await attempts.check(request_from(opened), "Ana")
        except TooManyAttemptsError:
            return
        tried.append("a password")
        await asyncio.sleep(0)
        await attempts.note_failure(request_from(opened), "Ana")

    async def use(attempts: Attempts) -> None:
        await asyncio.gather(*(attempt(attempts) for _ in range(50)))

    run(redis_server, use)

    assert len(tried) == 5


def test_right_passwords_at_once_wait_for_each_other(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> list[bool]:
        return await asyncio.gather(*(is_refused(attempts, request_from(opened), "Ana") for _ in range(50)))

    assert run(redis_server, use) == [False] * 50


def test_who_was_refused_is_in_the_audit_log(opened: Database, redis_server: RedisServer) -> None:
    typed = "Ana\x00\ud800" + "a" * 100

    async def use(attempts: Attempts) -> None:
        await fail(attempts, request_from(opened, path="/api/v1/session"), typed, 5)
        for _ in range(10):
            assert await is_refused(attempts, request_from(opened), typed)

    run(redis_server, use)
    found = entries(opened)

    assert [(each.action, each.result, each.actor, each.address) for each in found] == [
        ("sign_in", "refused", None, "192.0.2.1")
    ] * 6
    assert {each.object for each in found} == {"user Ana��" + "a" * 59}
    assert [each.via for each in found] == ["api"] * 5 + ["web"]
    assert [each.detail for each in found] == [""] * 5 + ["Too many failed attempts."]


def test_refused_tokens_are_limited_and_noted(opened: Database, redis_server: RedisServer) -> None:
    async def use(attempts: Attempts) -> list[str]:
        near, far = request_from(opened), request_from(opened, "192.0.2.2")
        attempts.check_secret(near)
        outcomes = []
        for _ in range(23):
            try:
                await attempts.note_refused_token(near)
                outcomes.append("refused")
            except TooManyAttemptsError:
                outcomes.append("too many")
        with pytest.raises(TooManyAttemptsError):
            attempts.check_secret(near)
        attempts.check_secret(far)
        return outcomes

    assert run(redis_server, use) == ["refused"] * 20 + ["too many"] * 3
    assert [(each.action, each.object) for each in entries(opened)] == [("token.use", "POST /sign-in")] * 20


def test_wrong_passwords_in_all_forms_count_together(settings: Settings) -> None:
    with Served(settings) as served:
        with served.records.database.transaction() as connection:
            accounts.add(connection, "Ana", Role.ADMIN, hashed=passwords.hashed(PASSWORD, "Ana"))
            accounts.add(connection, "Bo", Role.VIEWER, hashed=passwords.hashed(PASSWORD, "Bo"))
        with served.records.database.reading() as connection:
            assert accounts.exist(connection)
    with Served(settings) as served:
        here = {"Sec-Fetch-Site": "same-origin"}

        def form(password: str, name: str = "Ana") -> httpx.Response:
            return httpx.post(f"{served.url}/sign-in", data={"name": name, "password": password})

        def json(password: str) -> httpx.Response:
            return httpx.post(f"{served.url}/api/v1/session", json={"name": "ana", "password": password})

        def change(password: str, cookie: str) -> httpx.Response:
            fields = {"current": password, "password": "another harbour 30"}
            return httpx.post(f"{served.url}/account/password", data=fields, headers={"Cookie": cookie, **here})

        cookie = form(PASSWORD).headers["set-cookie"].partition(";")[0]
        statuses = [form("x").status_code, json("x").status_code, form("y").status_code, json("y").status_code]
        statuses.append(change("x", cookie).status_code)
        page, program, changed = form(PASSWORD), json(PASSWORD), change(PASSWORD, cookie)

        assert statuses == [401, 401, 401, 401, 422]
        assert [page.status_code, program.status_code, changed.status_code] == [429, 429, 429]
        assert program.json()["title"] == "Too many attempts"
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in (page, program, changed))
        assert "Too many failed sign-ins for this account." in page.text
        assert "set-cookie" not in page.headers
        assert form(PASSWORD, "Bo").status_code == 303
        assert httpx.get(f"{served.url}/uploads", headers={"Cookie": cookie}).status_code == 200
