"""What each route answers to each role, and to a token of each scope: a table."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount

from jobs.people import passwords
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.team import PASSWORD, Team
from tests.support.waiting import until
from webapp.access.needs import GuardedRoute
from webapp.app import create_app

pytestmark = ONE_DATABASE

#: The columns of the table: browsers of the roles, then programs with a token of an administrator with one scope.
ROLES = ("nobody", *Role)
SCOPES = tuple(Scope)
#: Seconds of a stream, so that requests for one end.
STREAM_AGE = 0.05
TABLE = Path(__file__).with_name("roles.txt")


@pytest.fixture
def team(settings: Settings) -> Iterator[Team]:
    """A server with an account of each role, and one upload and dataset that all may see."""
    with Served(settings.model_copy(update={"stream_max_age": STREAM_AGE})) as served:
        team = Team(served)
        served.records.dataset("prices", [(1, "a", True)])
        hashed = passwords.hashed(PASSWORD, "nobody")
        for role in Role:
            team.add(role, role, hashed)
        until(lambda: served.client.get("/api/v1/uploads").status_code == 401, "the accounts to take effect")
        yield team
        team.close()


def requests(settings: Settings) -> list[tuple[str, str]]:
    """Method and path of every route."""
    routes = [each for each in create_app(settings).routes if not isinstance(each, Mount)]
    assert all(isinstance(each, GuardedRoute) for each in routes)
    found = {
        (method, each.path_format)
        for each in routes
        if isinstance(each, GuardedRoute)
        for method in ((each.methods or set()) - {"HEAD"} or {"HEAD"})
    }
    return sorted(found, key=lambda each: (each[1], each[0]))


def filled(path: str, upload_id: int) -> str:
    """What exists where all may see it; what does not exist where it could be changed."""
    about_people = path.startswith(("/people", "/api/v1/users"))
    values = {"upload_id": str(upload_id), "name": "somebody" if about_people else "prices", "row_number": "1"}
    values |= {"position": "1.1", "group": "none", "user": "none", "token_id": "0", "session_id": "0", "secret": "x"}
    values |= {"field": "none", "column": "none", "file_id": "none", "rule_id": "0"}
    query = "?none=1" if path.endswith((".parquet", ".xlsx")) else ""  # a file takes a second, a refusal does not
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path) + query


def status(client: httpx.Client, method: str, path: str) -> int:
    with client.stream(method, path) as answer:
        return answer.status_code


class Callers:
    """Browsers of the roles, and programs with a token of an administrator with one scope."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._browsers = {name: team.browser() for name in ROLES}
        self._programs = [team.program("admin", [scope]) for scope in SCOPES]

    def ask(self, method: str, path: str) -> list[int]:
        """The statuses that each of them gets, in the order of the table."""
        return [status(client, method, path) for client in (*self._signed_in(), *self._programs)]

    def _signed_in(self) -> Iterator[httpx.Client]:
        """Some requests end the session, so each has one of its own."""
        for name, browser in self._browsers.items():
            browser.cookies.clear()
            if name != "nobody":
                browser.cookies.set("session", self._team.session_of(name), domain="127.0.0.1")
            yield browser


def table() -> dict[tuple[str, str], list[int]]:
    lines = [line.split() for line in TABLE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {(line[0], line[1]): [int(status) for status in line[2:]] for line in lines}


def test_each_route_answers_each_role_and_each_scope_as_the_table_says(team: Team, settings: Settings) -> None:
    expected, callers = table(), Callers(team)
    [upload] = team.served.records.all()
    found = {(method, path): callers.ask(method, filled(path, upload.id)) for method, path in requests(settings)}

    wrong = {request: (statuses, expected.get(request)) for request, statuses in found.items()}
    assert {request: each for request, each in wrong.items() if each[0] != each[1]} == {}
    assert set(expected) == set(found)
